//! The `manifest.json` of a dataset of records: what the dataset is, and the policies that every command obeys.
//!
//! Read with the defaults of the system that such packs come from, written as it writes: all keys in its order, an indent of 2, no line
//! end. What it does not know is kept, where it stands; it reads over it.

use std::borrow::Cow;
use std::fmt;

use super::json::{Json, JsonError, parse};

/// Why a manifest is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not read at all.
    #[error("it is no JSON: {0}")]
    NotJson(JsonError),
    /// A key is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key is something else.
    #[error("{key} is not {wanted}")]
    Type {
        /// Which.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// What happens to a record whose content is new though its key is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConflictStrategy {
    /// The one that was observed later wins; of equal times the incoming one.
    #[default]
    Newest,
    /// The incoming one wins.
    Incoming,
    /// The one that is there wins.
    Existing,
    /// Nothing is imported.
    Fail,
}

impl ConflictStrategy {
    /// From its name, or the one that the other system has for it: `prefer_json` is `prefer_incoming`, `prefer_sql` is `prefer_existing`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "prefer_newest" => Self::Newest,
            "prefer_incoming" | "prefer_json" => Self::Incoming,
            "prefer_existing" | "prefer_sql" => Self::Existing,
            "fail" => Self::Fail,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "prefer_newest",
            Self::Incoming => "prefer_incoming",
            Self::Existing => "prefer_existing",
            Self::Fail => "fail",
        }
    }

    /// The name that stands in a manifest: the other system ends at one that it does not know.
    const fn written(self) -> &'static str {
        match self {
            Self::Incoming => "prefer_json",
            Self::Existing => "prefer_sql",
            other => other.name(),
        }
    }
}

impl fmt::Display for ConflictStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key of a manifest that is not known, and its value as JSON.
type Other = (String, String);

/// The manifest of a dataset.
///
/// ```
/// use larder::records::{ConflictStrategy, DatasetManifest};
///
/// let mut manifest = DatasetManifest::new("pages", "http", "wiki", "page");
/// manifest.redaction_policy.enabled = true;
/// let text = manifest.to_text();
/// assert!(text.starts_with("{\n  \"dataset_name\": \"pages\",\n"));
/// assert_eq!(DatasetManifest::parse(text.as_bytes())?, manifest);
/// # Ok::<(), larder::records::ManifestError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetManifest {
    /// Its name.
    pub dataset_name: String,
    /// What it is, in words.
    pub description: String,
    /// Whose it is.
    pub owner: String,
    /// The type of its records.
    pub exchange_type: String,
    /// Their source.
    pub source_system: String,
    /// Their entity.
    pub entity_type: String,
    /// The table that mirrors it.
    pub sql_target: SqlTarget,
    /// What wins.
    pub sync_policy: SyncPolicy,
    /// What is replaced on the way in.
    pub redaction_policy: RedactionPolicy,
    /// How packs are sealed.
    pub encryption_policy: EncryptionPolicy,
    /// When it was made; as ISO 8601.
    pub created_at: Option<String>,
    /// When it was changed; the same.
    pub updated_at: Option<String>,
    /// A whole number.
    pub version: i64,
    /// Records in a file of `records/`; a key of Larder's, written if it is there.
    pub chunk_size: Option<u32>,
    /// What retention counts its snapshots as; the same.
    pub retention_class: Option<String>,
    others: Vec<Other>,
}

/// The table that mirrors a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTarget {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The column of natural keys.
    pub natural_key_column: Option<String>,
    /// The column of hashes.
    pub hash_column: String,
    others: Vec<Other>,
}

impl Default for SqlTarget {
    fn default() -> Self {
        let [schema, table, hash_column] = ["lake", "RawExchangeRecord", "content_sha256"].map(str::to_owned);
        Self { schema, table, natural_key_column: None, hash_column, others: Vec::new() }
    }
}

/// Which way a synchronisation goes and what wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPolicy {
    /// `bidirectional`, `json_to_sql` or `sql_to_json`.
    pub direction_default: String,
    /// What wins.
    pub conflict_strategy: ConflictStrategy,
    others: Vec<Other>,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        let direction_default = "bidirectional".to_owned();
        Self { direction_default, conflict_strategy: ConflictStrategy::default(), others: Vec::new() }
    }
}

/// What is replaced in records on the way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionPolicy {
    /// Whether anything is.
    pub enabled: bool,
    /// Patterns beside those that always apply.
    pub patterns: Vec<Pattern>,
    /// Names of headers, beside those that always apply.
    pub headers_to_redact: Vec<String>,
    others: Vec<Other>,
}

/// A pattern of a policy: in the manifest a text, or an object with `name` and `pattern`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What it is called in `redactions_applied`.
    pub name: Option<String>,
    /// The name of a pattern that is known, or a regular expression.
    pub pattern: String,
}

impl Default for RedactionPolicy {
    fn default() -> Self {
        let headers = ["authorization", "cookie", "set-cookie", "x-api-key", "api-key", "bearer"];
        Self {
            enabled: false,
            patterns: Vec::new(),
            headers_to_redact: headers.map(str::to_owned).to_vec(),
            others: Vec::new(),
        }
    }
}

/// How packs of a dataset are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionPolicy {
    /// Whether they are.
    pub enabled: bool,
    /// `aes-256-gcm`
    pub algorithm: String,
    /// `env`, `file` or `prompt`.
    pub key_source: String,
    /// The variable of the environment that holds the password.
    pub key_env_var: String,
    /// The file that does.
    pub key_file_path: Option<String>,
    others: Vec<Other>,
}

impl Default for EncryptionPolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            algorithm: "aes-256-gcm".to_owned(),
            key_source: "env".to_owned(),
            key_env_var: "SNAPSHOT_ENCRYPTION_KEY".to_owned(),
            key_file_path: None,
            others: Vec::new(),
        }
    }
}

impl DatasetManifest {
    /// One with defaults.
    #[must_use]
    pub fn new(name: &str, exchange_type: &str, source_system: &str, entity_type: &str) -> Self {
        Self {
            dataset_name: name.to_owned(),
            description: String::new(),
            owner: String::new(),
            exchange_type: exchange_type.to_owned(),
            source_system: source_system.to_owned(),
            entity_type: entity_type.to_owned(),
            sql_target: SqlTarget::default(),
            sync_policy: SyncPolicy::default(),
            redaction_policy: RedactionPolicy::default(),
            encryption_policy: EncryptionPolicy::default(),
            created_at: None,
            updated_at: None,
            version: 1,
            chunk_size: None,
            retention_class: None,
            others: Vec::new(),
        }
    }

    /// Reads a `manifest.json`. A section that is missing or null has its defaults.
    ///
    /// # Errors
    /// If it is no JSON, one of the four keys without a default is not there, or a key is something else than it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let json = parse(bytes).map_err(ManifestError::NotJson)?;
        let mut all = Section::of("", &json)?;
        let required = |all: &mut Section, key| all.maybe(key)?.ok_or(ManifestError::Missing(key));
        let mut found = Self {
            dataset_name: required(&mut all, "dataset_name")?,
            description: all.text("description", "")?,
            owner: all.text("owner", "")?,
            exchange_type: required(&mut all, "exchange_type")?,
            source_system: required(&mut all, "source_system")?,
            entity_type: required(&mut all, "entity_type")?,
            sql_target: SqlTarget::read(all.section("sql_target")?)?,
            sync_policy: SyncPolicy::read(all.section("sync_policy")?)?,
            redaction_policy: RedactionPolicy::read(all.section("redaction_policy")?)?,
            encryption_policy: EncryptionPolicy::read(all.section("encryption_policy")?)?,
            created_at: all.maybe("created_at")?,
            updated_at: all.maybe("updated_at")?,
            version: all.number("version")?.unwrap_or(1),
            chunk_size: None,
            retention_class: all.maybe("retention_class")?,
            others: Vec::new(),
        };
        if let Some(size) = all.number("chunk_size")? {
            let size = u32::try_from(size).ok().filter(|size| *size > 0);
            found.chunk_size = Some(size.ok_or_else(|| all.wrong("chunk_size", "a number from 1 on"))?);
        }
        found.others = all.rest();
        Ok(found)
    }

    /// Writes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (sql, sync) = (&self.sql_target, &self.sync_policy);
        let (redaction, encryption) = (&self.redaction_policy, &self.encryption_policy);
        let mut all = vec![
            ("dataset_name", text(&self.dataset_name)),
            ("description", text(&self.description)),
            ("owner", text(&self.owner)),
            ("exchange_type", text(&self.exchange_type)),
            ("source_system", text(&self.source_system)),
            ("entity_type", text(&self.entity_type)),
        ];
        let target = vec![
            ("schema", text(&sql.schema)),
            ("table", text(&sql.table)),
            ("natural_key_column", maybe(sql.natural_key_column.as_deref())),
            ("hash_column", text(&sql.hash_column)),
        ];
        all.push(("sql_target", object(target, &sql.others)));
        let policy = vec![
            ("direction_default", text(&sync.direction_default)),
            ("conflict_strategy", text(sync.conflict_strategy.written())),
        ];
        all.push(("sync_policy", object(policy, &sync.others)));
        let policy = vec![
            ("enabled", Json::Bool(redaction.enabled)),
            ("patterns", Json::List(redaction.patterns.iter().map(Pattern::json).collect())),
            ("headers_to_redact", Json::List(redaction.headers_to_redact.iter().map(|name| text(name)).collect())),
        ];
        all.push(("redaction_policy", object(policy, &redaction.others)));
        let policy = vec![
            ("enabled", Json::Bool(encryption.enabled)),
            ("algorithm", text(&encryption.algorithm)),
            ("key_source", text(&encryption.key_source)),
            ("key_env_var", text(&encryption.key_env_var)),
            ("key_file_path", maybe(encryption.key_file_path.as_deref())),
        ];
        all.push(("encryption_policy", object(policy, &encryption.others)));
        all.push(("created_at", maybe(self.created_at.as_deref())));
        all.push(("updated_at", maybe(self.updated_at.as_deref())));
        let number = |n: i64| Json::Number(Cow::Owned(n.to_string()));
        all.push(("version", number(self.version)));
        all.extend(self.chunk_size.map(|size| ("chunk_size", number(size.into()))));
        all.extend(self.retention_class.as_deref().map(|class| ("retention_class", text(class))));
        object(all, &self.others).indented_unescaped()
    }
}

impl SqlTarget {
    fn read(mut from: Section<'_>) -> Result<Self, ManifestError> {
        let Self { schema, table, hash_column, .. } = Self::default();
        Ok(Self {
            schema: from.text("schema", &schema)?,
            table: from.text("table", &table)?,
            natural_key_column: from.maybe("natural_key_column")?,
            hash_column: from.text("hash_column", &hash_column)?,
            others: from.rest(),
        })
    }
}

impl SyncPolicy {
    fn read(mut from: Section<'_>) -> Result<Self, ManifestError> {
        let direction_default = from.text("direction_default", "bidirectional")?;
        if !["bidirectional", "json_to_sql", "sql_to_json"].contains(&&*direction_default) {
            return Err(from.wrong("direction_default", "bidirectional, json_to_sql or sql_to_json"));
        }
        let strategy = ConflictStrategy::named(&from.text("conflict_strategy", "prefer_newest")?);
        let conflict_strategy = strategy.ok_or_else(|| {
            from.wrong("conflict_strategy", "prefer_newest, prefer_incoming, prefer_existing or fail")
        })?;
        Ok(Self { direction_default, conflict_strategy, others: from.rest() })
    }
}

impl RedactionPolicy {
    fn read(mut from: Section<'_>) -> Result<Self, ManifestError> {
        let mut read = Self { enabled: from.flag("enabled")?, ..Self::default() };
        if let Some(list) = from.list("patterns")? {
            let pattern = |item: &Json| Pattern::read(item).ok_or_else(|| from.wrong("patterns", PATTERNS));
            read.patterns = list.iter().map(pattern).collect::<Result<_, _>>()?;
        }
        if let Some(list) = from.list("headers_to_redact")? {
            let name = |item: &Json| item.text().map(str::to_owned);
            let names = list.iter().map(name).collect::<Option<_>>();
            read.headers_to_redact = names.ok_or_else(|| from.wrong("headers_to_redact", "a list of texts"))?;
        }
        read.others = from.rest();
        Ok(read)
    }
}

const PATTERNS: &str = "a list of patterns: texts, or objects with the texts name and pattern and nothing else";

impl Pattern {
    fn read(item: &Json) -> Option<Self> {
        if let Some(text) = item.text() {
            return Some(Self { name: None, pattern: text.to_owned() });
        }
        let text = |key| item.get(key).and_then(Json::text).map(str::to_owned);
        let known = item.members()?.iter().all(|(key, _)| matches!(&**key, "name" | "pattern"));
        Some(Self { name: Some(text("name")?), pattern: text("pattern").filter(|_| known)? })
    }

    fn json(&self) -> Json<'_> {
        match &self.name {
            None => text(&self.pattern),
            Some(name) => object(vec![("name", text(name)), ("pattern", text(&self.pattern))], &[]),
        }
    }
}

impl EncryptionPolicy {
    fn read(mut from: Section<'_>) -> Result<Self, ManifestError> {
        let usual = Self::default();
        Ok(Self {
            enabled: from.flag("enabled")?,
            algorithm: from.text("algorithm", &usual.algorithm)?,
            key_source: from.text("key_source", &usual.key_source)?,
            key_env_var: from.text("key_env_var", &usual.key_env_var)?,
            key_file_path: from.maybe("key_file_path")?,
            others: from.rest(),
        })
    }
}

/// An object of a manifest, and which of its keys were asked for.
struct Section<'a> {
    name: &'static str,
    json: Option<&'a Json<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn of(name: &'static str, json: &'a Json<'a>) -> Result<Self, ManifestError> {
        match json {
            Json::Object(_) => Ok(Self { name, json: Some(json), known: Vec::new() }),
            Json::Null if !name.is_empty() => Ok(Self { name, json: None, known: Vec::new() }),
            _ if name.is_empty() => Err(ManifestError::Type { key: "it".to_owned(), wanted: "an object" }),
            _ => Err(ManifestError::Type { key: name.to_owned(), wanted: "an object" }),
        }
    }

    fn wrong(&self, key: &str, wanted: &'static str) -> ManifestError {
        let dot = if self.name.is_empty() { "" } else { "." };
        ManifestError::Type { key: format!("{}{dot}{key}", self.name), wanted }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Json<'a>> {
        self.known.push(key);
        self.json?.get(key).filter(|value| **value != Json::Null)
    }

    fn section(&mut self, key: &'static str) -> Result<Section<'a>, ManifestError> {
        match self.get(key) {
            Some(json) => Section::of(key, json),
            None => Section::of(key, &Json::Null),
        }
    }

    fn maybe(&mut self, key: &'static str) -> Result<Option<String>, ManifestError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.text().map(|text| Some(text.to_owned())).ok_or_else(|| self.wrong(key, "a text"))
    }

    fn text(&mut self, key: &'static str, usual: &str) -> Result<String, ManifestError> {
        Ok(self.maybe(key)?.unwrap_or_else(|| usual.to_owned()))
    }

    fn flag(&mut self, key: &'static str) -> Result<bool, ManifestError> {
        match self.get(key) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn number(&mut self, key: &'static str) -> Result<Option<i64>, ManifestError> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Number(text)) => {
                text.parse().map(Some).map_err(|_| self.wrong(key, "a whole number of 64 bits"))
            }
            Some(_) => Err(self.wrong(key, "a whole number")),
        }
    }

    fn list(&mut self, key: &'static str) -> Result<Option<&'a [Json<'a>]>, ManifestError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.list().map(Some).ok_or_else(|| self.wrong(key, "a list"))
    }

    /// What was not asked for.
    fn rest(&self) -> Vec<Other> {
        let members = self.json.and_then(Json::members).unwrap_or_default().iter();
        let others = members.filter(|(key, _)| !self.known.contains(&&**key));
        others.map(|(key, value)| (key.clone().into_owned(), value.indented())).collect()
    }
}

fn text(text: &str) -> Json<'_> {
    Json::Text(text.into())
}

fn maybe(value: Option<&str>) -> Json<'_> {
    value.map_or(Json::Null, text)
}

fn object<'a>(members: Vec<(&'static str, Json<'a>)>, others: &'a [Other]) -> Json<'a> {
    let mut all: Vec<_> = members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect();
    // They were written by this module: they are JSON.
    all.extend(others.iter().filter_map(|(key, value)| Some((key.as_str().into(), parse(value.as_bytes()).ok()?))));
    Json::Object(all)
}

#[cfg(test)]
mod tests;
