//! From the text of a `larder.toml` to what it says. Each error tells file, line and column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::Kind;

use super::super::error::CliError;
use super::{At, Choice, Chosen, Config, Defaults, KeySettings, Options, Profile, Settable, Sort, StoreSettings};
use super::{paths, suggest};

type Value<'a> = Spanned<DeValue<'a>>;

/// Reads a file's text.
pub(super) fn parse(text: &str, file: PathBuf, options: &dyn Options) -> Result<Config, CliError> {
    let base = file.parent().map(Path::to_owned).unwrap_or_default();
    let reader = Reader { text, file: &file, base, home: std::env::home_dir(), options };
    let mut config = reader.config()?;
    config.file = Some(file);
    Ok(config)
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    base: PathBuf,
    home: Option<PathBuf>,
    options: &'a dyn Options,
}

impl Reader<'_> {
    fn config(&self) -> Result<Config, CliError> {
        let document = DeTable::parse(self.text)
            .map_err(|e| self.error(&e.span().unwrap_or_default(), e.message().lines().next().unwrap_or_default()))?;
        let mut config = Config::default();
        for (key, value) in document.get_ref() {
            match key.get_ref().as_ref() {
                "store" => config.store = Some(self.store(value)?),
                "stores" => config.stores = self.named(value, "stores", |v, place| self.store_settings(v, place))?,
                "defaults" => config.defaults = self.defaults(value)?,
                "profiles" => config.profiles = self.named(value, "profiles", |v, place| self.profile(v, place))?,
                "policies" => {
                    let error =
                        self.error(&key.span(), "policies of retention are kept in the store, not in this file");
                    return Err(error.hint("`larder policy set` sets one; `larder forget --policy` obeys them"));
                }
                _ => return Err(self.unknown(key, "at the top", &["store", "stores", "defaults", "profiles"])),
            }
        }
        for at in config.store.iter().chain(config.profiles.values().filter_map(|p| p.store.as_ref())) {
            self.known_store(at, &config)?;
        }
        Ok(config)
    }

    /// A word that is no path must be a name.
    fn known_store(&self, at: &At<PathBuf>, config: &Config) -> Result<(), CliError> {
        let name = at.value.to_string_lossy();
        if name.contains('/') || config.stores.contains_key(name.as_ref()) {
            return Ok(());
        }
        let message = format!("{}:{}: there is no [stores.{name}]", self.file.display(), at.line);
        Err(CliError::new(Kind::Usage, message).hint(
            match suggest::nearest(&name, config.stores.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("name one of [stores], or write a path: \"./{name}\" is a folder beside the file"),
            },
        ))
    }

    /// A table of tables, by name.
    fn named<T>(
        &self,
        value: &Value,
        what: &str,
        read: impl Fn(&Value, &str) -> Result<T, CliError>,
    ) -> Result<BTreeMap<String, T>, CliError> {
        let mut found = BTreeMap::new();
        for (name, value) in self.table(value, &format!("[{what}.NAME]"))? {
            let text = name.get_ref().as_ref();
            if text.is_empty() || text.contains('/') {
                return Err(
                    self.error(&name.span(), format!("{text:?} is no name: one has a character at least and no /"))
                );
            }
            found.insert(text.to_owned(), read(value, &format!("in [{what}.{text}]"))?);
        }
        Ok(found)
    }

    fn store_settings(&self, value: &Value, place: &str) -> Result<StoreSettings, CliError> {
        let (mut path, mut keys) = (None, KeySettings::default());
        for (key, entry) in self.table(value, place)? {
            match key.get_ref().as_ref() {
                "path" => path = Some(self.path(entry)?),
                name if self.key_setting(&mut keys, name, entry)? => {}
                _ => return Err(self.unknown(key, place, &["path", "identity", "passphrase-command"])),
            }
        }
        let path = path.ok_or_else(|| self.error(&value.span(), format!("{place}: `path` is missing")))?;
        Ok(StoreSettings { path, keys })
    }

    fn defaults(&self, value: &Value) -> Result<Defaults, CliError> {
        let place = "in [defaults]";
        let mut defaults = Defaults::default();
        for (key, entry) in self.table(value, place)? {
            match key.get_ref().as_ref() {
                "progress" => defaults.progress = Some(self.one_of(entry)?),
                "color" => defaults.color = Some(self.one_of(entry)?),
                name if self.key_setting(&mut defaults.keys, name, entry)? => {}
                name => {
                    let own = ["progress", "color", "identity", "passphrase-command"];
                    let unknown = || self.unknown(key, place, &self.with_options(&own));
                    defaults.options.push(self.option(name, entry)?.ok_or_else(unknown)?);
                }
            }
        }
        Ok(defaults)
    }

    fn profile(&self, value: &Value, place: &str) -> Result<Profile, CliError> {
        let mut profile = Profile::default();
        for (key, entry) in self.table(value, place)? {
            match key.get_ref().as_ref() {
                "store" => profile.store = Some(self.store(entry)?),
                "paths" => profile.paths = Some(self.at(entry, self.paths(entry)?)),
                name => {
                    let unknown = || self.unknown(key, place, &self.with_options(&["store", "paths"]));
                    profile.options.push(self.option(name, entry)?.ok_or_else(unknown)?);
                }
            }
        }
        Ok(profile)
    }

    /// Takes a key that says how a store is opened; false if it is another key.
    fn key_setting(&self, keys: &mut KeySettings, name: &str, value: &Value) -> Result<bool, CliError> {
        match name {
            "identity" => keys.identity = Some(self.at(value, self.paths(value)?)),
            "passphrase-command" => keys.passphrase_command = Some(self.at(value, self.string(value)?)),
            "passphrase" | "password" => {
                let error = self.error(&value.span(), "a passphrase does not belong in a file");
                return Err(error.hint("`passphrase-command` names a command that prints it"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An option of a snapshot; nothing if there is none of that name.
    fn option(&self, name: &str, value: &Value) -> Result<Option<Chosen>, CliError> {
        let (long, choice) = if name == "labels" {
            ("label", Choice::Many(self.labels(value)?))
        } else {
            let Some(option) = self.options.settable().iter().find(|o| o.long == name && o.long != "label") else {
                return Ok(None);
            };
            (name, self.choice(option, value)?)
        };
        let values = match &choice {
            Choice::Flag(_) => &[][..],
            Choice::Text(text) => std::slice::from_ref(text),
            Choice::Many(texts) => texts,
        };
        for text in values {
            self.options.check(long, text).map_err(|why| self.error(&value.span(), why))?;
        }
        Ok(Some(Chosen { option: long.to_owned(), value: choice, line: self.position(&value.span()).0 }))
    }

    fn choice(&self, option: &Settable, value: &Value) -> Result<Choice, CliError> {
        Ok(match option.sort {
            Sort::Flag => Choice::Flag(value.get_ref().as_bool().ok_or_else(|| self.expected(value, "true or false"))?),
            Sort::One if option.paths => Choice::Text(self.path_text(value)?),
            Sort::One => Choice::Text(self.scalar(value)?),
            Sort::Many => {
                let read = |v| if option.paths { self.path_text(v) } else { self.string(v) };
                Choice::Many(self.list(value)?.into_iter().map(read).collect::<Result<_, _>>()?)
            }
        })
    }

    fn labels(&self, value: &Value) -> Result<Vec<String>, CliError> {
        let table = value.get_ref().as_table().ok_or_else(|| self.expected(value, "a table: { KEY = \"VALUE\" }"))?;
        table.iter().map(|(key, value)| Ok(format!("{}={}", key.get_ref(), self.scalar(value)?))).collect()
    }

    fn with_options<'b>(&'b self, own: &[&'b str]) -> Vec<&'b str> {
        let options =
            self.options.settable().iter().map(|o| if o.long == "label" { "labels" } else { o.long.as_str() });
        own.iter().copied().chain(options).collect()
    }

    // What values may be.

    /// A name of [stores], or a path: that has a / in it, or is ~.
    fn store(&self, value: &Value) -> Result<At<PathBuf>, CliError> {
        let text = self.string(value)?;
        let front = text.starts_with(['~', '$']) || text.contains('/');
        let path = if front { self.path(value)? } else { PathBuf::from(text) };
        Ok(self.at(value, path))
    }

    fn path(&self, value: &Value) -> Result<PathBuf, CliError> {
        let text = self.string(value)?;
        paths::expand(&text, &self.base, self.home.as_deref()).map_err(|why| self.error(&value.span(), why))
    }

    fn path_text(&self, value: &Value) -> Result<String, CliError> {
        let path = self.path(value)?;
        path.into_os_string().into_string().map_err(|_| self.error(&value.span(), "the path is not UTF-8"))
    }

    fn paths(&self, value: &Value) -> Result<Vec<PathBuf>, CliError> {
        self.list(value)?.into_iter().map(|v| self.path(v)).collect()
    }

    /// The values of an array; one value alone counts as an array of one.
    fn list<'v, 'a>(&self, value: &'v Value<'a>) -> Result<Vec<&'v Value<'a>>, CliError> {
        match value.get_ref() {
            DeValue::Array(array) => Ok(array.iter().collect()),
            DeValue::String(_) => Ok(vec![value]),
            _ => Err(self.expected(value, "a list of strings")),
        }
    }

    fn string(&self, value: &Value) -> Result<String, CliError> {
        value.get_ref().as_str().map(str::to_owned).ok_or_else(|| self.expected(value, "a string"))
    }

    /// A string, or what is written as a string on the command line.
    fn scalar(&self, value: &Value) -> Result<String, CliError> {
        match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            _ => self.string(value),
        }
    }

    fn one_of<T: ValueEnum>(&self, value: &Value) -> Result<At<T>, CliError> {
        let text = self.string(value)?;
        let chosen = T::from_str(&text, false).map_err(|_| {
            let names: Vec<_> = T::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
            let names: Vec<_> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
            self.error(&value.span(), format!("{text:?} is not one of {}", names.join(", ")))
        })?;
        Ok(self.at(value, chosen))
    }

    fn table<'v, 'a>(&self, value: &'v Value<'a>, place: &str) -> Result<&'v DeTable<'a>, CliError> {
        value
            .get_ref()
            .as_table()
            .ok_or_else(|| self.error(&value.span(), format!("{place}: a table is expected here")))
    }

    // Where things are.

    fn at<T>(&self, value: &Value, read: T) -> At<T> {
        At { value: read, line: self.position(&value.span()).0 }
    }

    /// Line and column, both from 1; columns in characters.
    fn position(&self, span: &Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn error(&self, span: &Range<usize>, what: impl std::fmt::Display) -> CliError {
        let (line, column) = self.position(span);
        CliError::new(Kind::Usage, format!("{}:{line}:{column}: {what}", self.file.display()))
    }

    fn expected(&self, value: &Value, what: &str) -> CliError {
        self.error(&value.span(), format!("{what} is expected here"))
    }

    fn unknown(&self, key: &Spanned<std::borrow::Cow<str>>, place: &str, known: &[&str]) -> CliError {
        let name = key.get_ref();
        let error = self.error(&key.span(), format!("there is no setting {name:?} {place}"));
        match suggest::nearest(name, known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean {near:?}?")),
            None => error.hint("`larder help config` lists the settings"),
        }
    }
}

/// A few options, for tests.
#[cfg(any(test, fuzzing))]
struct Known(Vec<Settable>);

#[cfg(any(test, fuzzing))]
impl Options for Known {
    fn settable(&self) -> &[Settable] {
        &self.0
    }
    fn check(&self, _: &str, value: &str) -> Result<(), String> {
        if value.contains("bad") { Err(format!("{value} is bad")) } else { Ok(()) }
    }
}

#[cfg(any(test, fuzzing))]
fn known() -> Known {
    let option = |long: &str, sort, paths| Settable { long: long.to_owned(), sort, paths };
    Known(vec![
        option("exclude", Sort::Many, false),
        option("exclude-from", Sort::Many, true),
        option("dataset", Sort::One, false),
        option("one-file-system", Sort::Flag, false),
        option("label", Sort::Many, false),
    ])
}

/// Reads any text, for tests. What is wrong is told with the file and the line.
#[cfg(any(test, fuzzing))]
pub(crate) fn is_read(text: &str) -> bool {
    match parse(text, PathBuf::from("/etc/larder.toml"), &known()) {
        Ok(_) => true,
        Err(e) => {
            let line =
                e.message.strip_prefix("/etc/larder.toml:").and_then(|rest| rest.split(':').next()?.parse().ok());
            let lines = 1..=text.matches('\n').count() + 1;
            assert!(line.is_some_and(|line: usize| lines.contains(&line)), "no line of the file: {}", e.message);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let parsed = parse(text, PathBuf::from("/etc/larder.toml"), &known());
        parsed.map_err(|e| [e.message, e.hint.unwrap_or_default()].join(" "))
    }

    #[test]
    fn everything_that_a_file_may_say() {
        let config = read(
            "store = 'home'\n[stores.home]\npath = 'stores/home'\nidentity = '/key'\n[defaults]\nprogress = 'json'\n\
             exclude = ['*.o']\n[profiles.work]\nstore = './x'\npaths = ['work']\nexclude-from = 'list'\n\
             one-file-system = true\ndataset = 'w'\nlabels = { team = 'x', n = 3 }\n",
        )
        .unwrap();
        assert_eq!(config.store, Some(At { value: PathBuf::from("home"), line: 1 }));
        assert_eq!(config.store_path(Path::new("home")), Path::new("/etc/stores/home"));
        assert_eq!(config.store_path(Path::new("./home")), Path::new("./home"));
        assert_eq!(config.stores["home"].keys.identity.as_ref().unwrap().value, [PathBuf::from("/key")]);
        assert_eq!(config.defaults.options[0].value, Choice::Many(vec!["*.o".to_owned()]));
        let work = &config.profiles["work"];
        assert_eq!(work.store.as_ref().unwrap().value, Path::new("/etc/./x"));
        assert_eq!(work.paths.as_ref().unwrap().value, [PathBuf::from("/etc/work")]);
        let find = |name: &str| work.options.iter().find(|o| o.option == name).unwrap();
        assert_eq!(find("exclude-from").value, Choice::Many(vec!["/etc/list".to_owned()]));
        assert_eq!(find("one-file-system").value, Choice::Flag(true));
        assert_eq!(find("label").value, Choice::Many(vec!["n=3".to_owned(), "team=x".to_owned()]));
        assert_eq!(find("dataset").line, 13);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("stor = 'x'", "larder.toml:1:1: there is no setting \"stor\" at the top did you mean \"store\"?"),
            ("\n[profiles.a]\nexclude_from = 'x'", "larder.toml:3:1:"),
            ("[profiles.a]\nexclude_from = 'x'", "did you mean \"exclude-from\"?"),
            ("[policies]\nkeep-last = 3", "larder.toml:1:2: policies of retention are kept in the store"),
            ("[profiles.a]\n  exclude = 3", "larder.toml:2:13: a list of strings is expected here"),
            ("[profiles.a]\none-file-system = 'yes'", "true or false"),
            ("[profiles.a]\ndataset = 'bad'", "larder.toml:2:11: bad is bad"),
            ("[stores.a]\nidentity = 'x'", "`path` is missing"),
            ("[stores.'a/b']\npath = 'x'", "no name"),
            ("[defaults]\npassphrase = 'hunter2'", "does not belong in a file"),
            ("[stores.a]\npath = 'x'\npassword = 'hunter2'", "passphrase-command"),
            ("[defaults]\nprogress = 'some'", "not one of auto, none, bar, json"),
            (
                "store = 'hoem'\n[stores.home]\npath = 'x'",
                "larder.toml:1: there is no [stores.hoem] did you mean \"home\"?",
            ),
            ("store = ", "larder.toml:1:"),
            ("store = 'a'\nstore = 'b'", "larder.toml:2:1: duplicate key"),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "a secret is not repeated: {error}");
        }
    }
}
