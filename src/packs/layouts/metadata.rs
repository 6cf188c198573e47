//! `metadata.json` of an investigation archive.

use crate::model::{Failure, Kind};
use crate::records::json::{Json, JsonError, parse};

use super::shown::short;

/// The versions that are read.
pub const SUPPORTED: &[&str] = &[super::INVESTIGATION_VERSION];
/// What it must say.
const REQUIRED: [&str; 3] = ["investigation_id", "status", "evidence_count"];
/// Bytes that a text in it may have.
const MAX_TEXT: usize = 4096;

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Metadata {
    /// Whether it states its version; the format has 1.0 for those that do not.
    pub(super) states_version: bool,
    pub(super) investigation_id: String,
    /// As it is written; a time.
    pub(super) created_at: Option<String>,
    pub(super) source_instance: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) status: String,
    pub(super) evidence_count: u64,
    pub(super) root_hash: Option<String>,
    /// Algorithm and domain prefix.
    pub(super) chain: Option<(String, String)>,
    pub(super) files: Vec<String>,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is not there.
    #[error("the archive has no metadata.json")]
    None,
    /// It is too long.
    #[error("metadata.json: it is longer than anything of its sort")]
    TooLong,
    /// It is no JSON.
    #[error("metadata.json: {0}")]
    NotJson(JsonError),
    /// It holds another value than an object.
    #[error("metadata.json: it is no JSON object")]
    NotAnObject,
    /// It says something twice.
    #[error("metadata.json: the name {0:?} stands in it twice")]
    Doubled(String),
    /// It is of a version that is not known.
    #[error("metadata.json: schema_version {found} is not supported; supported is {}", SUPPORTED.join(", "))]
    Version {
        /// The version, as it is written.
        found: String,
    },
    /// Members are not there that must be.
    #[error("metadata.json: {} missing", listed(.0))]
    Missing(Vec<&'static str>),
    /// A member is of a wrong sort.
    #[error("metadata.json: {field} is not {wanted}")]
    WrongType {
        /// Which.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// `a is`, `a and b are`, `a, b and c are`.
fn listed(fields: &[&str]) -> String {
    match fields {
        [one] => format!("{one} is"),
        [all @ .., last] => format!("{} and {last} are", all.join(", ")),
        [] => String::new(),
    }
}

impl Failure for MetadataError {
    fn kind(&self) -> Kind {
        match self {
            Self::Version { .. } => Kind::Newer,
            _ => Kind::Damage,
        }
    }
}

impl Metadata {
    /// Reads it, as strictly as the system that wrote it: members that it does not know are passed over.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, MetadataError> {
        let json = parse(bytes).map_err(MetadataError::NotJson)?;
        if json.members().is_none() {
            return Err(MetadataError::NotAnObject);
        }
        if let Some(name) = json.doubled() {
            return Err(MetadataError::Doubled(short(name)));
        }
        let states_version = match json.get("schema_version") {
            None => false,
            Some(Json::Text(text)) if SUPPORTED.contains(&&**text) => true,
            Some(Json::Text(text)) => return Err(MetadataError::Version { found: format!("{:?}", short(text)) }),
            Some(Json::Number(text)) => {
                return Err(MetadataError::Version { found: format!("{} (a number)", short(text)) });
            }
            Some(_) => return Err(MetadataError::WrongType { field: "schema_version", wanted: "text" }),
        };
        let missing: Vec<_> = REQUIRED.iter().copied().filter(|field| json.get(field).is_none()).collect();
        if !missing.is_empty() {
            return Err(MetadataError::Missing(missing));
        }
        let required = |field| text(&json, field)?.ok_or_else(|| MetadataError::Missing(vec![field]));
        let created_at = text(&json, "created_at")?;
        if created_at.as_ref().is_some_and(|text| !is_time(text)) {
            return Err(MetadataError::WrongType { field: "created_at", wanted: "a time" });
        }
        count(&json, "max_size_bytes")?;
        Ok(Self {
            states_version,
            investigation_id: required("investigation_id")?,
            created_at,
            source_instance: text(&json, "source_instance")?,
            tenant_id: text(&json, "tenant_id")?,
            status: required("status")?,
            evidence_count: count(&json, "evidence_count")?
                .ok_or_else(|| MetadataError::Missing(vec!["evidence_count"]))?,
            root_hash: text(&json, "root_hash")?.filter(|hash| !hash.is_empty()),
            chain: chain(&json)?,
            files: files(&json)?,
        })
    }
}

fn text(json: &Json, field: &'static str) -> Result<Option<String>, MetadataError> {
    match json.get(field) {
        None => Ok(None),
        Some(Json::Null) if matches!(field, "source_instance" | "tenant_id" | "root_hash") => Ok(None),
        Some(Json::Text(text)) if text.len() <= MAX_TEXT => Ok(Some(text.clone().into_owned())),
        Some(Json::Text(_)) => Err(MetadataError::WrongType { field, wanted: "a text of at most 4096 bytes" }),
        Some(_) => Err(MetadataError::WrongType { field, wanted: "text" }),
    }
}

/// A number of things; the system that wrote it takes one in quotes too.
fn count(json: &Json, field: &'static str) -> Result<Option<u64>, MetadataError> {
    let wrong = MetadataError::WrongType { field, wanted: "a whole number from 0 on" };
    match json.get(field) {
        None => Ok(None),
        Some(Json::Number(text) | Json::Text(text)) => {
            let digits = text.strip_suffix(".0").unwrap_or(text);
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).map(Some).ok_or(wrong)
        }
        Some(_) => Err(wrong),
    }
}

fn chain(json: &Json) -> Result<Option<(String, String)>, MetadataError> {
    let chain = match json.get("chain_metadata") {
        None | Some(Json::Null) => return Ok(None),
        Some(chain @ Json::Object(_)) => chain,
        Some(_) => return Err(MetadataError::WrongType { field: "chain_metadata", wanted: "an object" }),
    };
    let member = |field, default: &str| Ok(text(chain, field)?.unwrap_or_else(|| default.to_owned()));
    Ok(Some((member("algorithm", crate::records::ALGORITHM)?, member("domain_prefix", crate::records::DOMAIN)?)))
}

fn files(json: &Json) -> Result<Vec<String>, MetadataError> {
    let wrong = || MetadataError::WrongType { field: "files", wanted: "a list of paths" };
    let Some(list) = json.get("files") else { return Ok(Vec::new()) };
    let path = |value: &Json| value.text().map(str::to_owned).ok_or_else(wrong);
    list.list().ok_or_else(wrong)?.iter().map(path).collect()
}

/// A date and time as RFC 3339 and ISO 8601 write them, with or without an offset.
fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok() || (text.contains(':') && text.parse::<jiff::civil::DateTime>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<Metadata, MetadataError> {
        Metadata::read(
            format!(r#"{{"investigation_id": "i", "status": "complete", "evidence_count": 7{more}}}"#).as_bytes(),
        )
    }

    #[test]
    fn what_is_read() {
        let plain = read("").unwrap();
        assert!(!plain.states_version && plain.files.is_empty() && plain.root_hash.is_none());
        let all = read(
            r#", "schema_version": "1.0", "created_at": "2026-11-21T00:10:20.171937Z", "source_instance": null, "tenant_id": "t",
            "root_hash": "ab", "chain_metadata": {"algorithm": "sha256"}, "max_size_bytes": 104857600, "files": ["a", "b"],
            "future": {"x": [1]}"#,
        );
        let all = all.unwrap();
        assert_eq!(all.chain, Some(("sha256".to_owned(), "evidence_v1:".to_owned())));
        assert_eq!((all.files.len(), all.tenant_id.as_deref()), (2, Some("t")));
        for time in ["2026-11-21T00:10:20+00:00", "2026-11-21T00:10:20", "2026-11-21 00:10:20.5Z"] {
            assert_eq!(read(&format!(r#", "created_at": "{time}""#)).unwrap().created_at.as_deref(), Some(time));
        }
        let quoted = Metadata::read(br#"{"investigation_id": "i", "status": "s", "evidence_count": "7"}"#).unwrap();
        assert_eq!(quoted.evidence_count, 7);
    }

    #[test]
    fn what_is_refused() {
        let version = |found: &str| MetadataError::Version { found: found.to_owned() };
        for (more, error) in [
            (r#", "schema_version": "99.0""#, version("\"99.0\"")),
            (r#", "schema_version": "1.1""#, version("\"1.1\"")),
            (r#", "schema_version": """#, version("\"\"")),
            (r#", "schema_version": 1.0"#, version("1.0 (a number)")),
            (r#", "schema_version": null"#, MetadataError::WrongType { field: "schema_version", wanted: "text" }),
            (r#", "status": "again""#, MetadataError::Doubled("status".to_owned())),
            (r#", "created_at": "yesterday""#, MetadataError::WrongType { field: "created_at", wanted: "a time" }),
            (r#", "created_at": 5"#, MetadataError::WrongType { field: "created_at", wanted: "text" }),
            (r#", "files": {}"#, MetadataError::WrongType { field: "files", wanted: "a list of paths" }),
            (r#", "files": [1]"#, MetadataError::WrongType { field: "files", wanted: "a list of paths" }),
            (
                r#", "max_size_bytes": -1"#,
                MetadataError::WrongType { field: "max_size_bytes", wanted: "a whole number from 0 on" },
            ),
        ] {
            assert_eq!(read(more), Err(error), "{more}");
        }
        assert_eq!(Metadata::read(b"[]"), Err(MetadataError::NotAnObject));
        assert!(matches!(Metadata::read(b"{not json"), Err(MetadataError::NotJson(_))));
        let missing = Metadata::read(br#"{"status": "complete", "evidence_count": 5}"#);
        assert_eq!(missing, Err(MetadataError::Missing(vec!["investigation_id"])));
        let empty = Metadata::read(b"{}").unwrap_err().to_string();
        assert_eq!(empty, "metadata.json: investigation_id, status and evidence_count are missing");
        assert_eq!(read(r#", "schema_version": "2.0""#).unwrap_err().kind(), Kind::Newer);
        let text = read(r#", "schema_version": "99.0""#).unwrap_err().to_string();
        assert_eq!(text, "metadata.json: schema_version \"99.0\" is not supported; supported is 1.0");
    }
}
