//! `larder.toml`: what it may hold, and where it is found. Read and checked whole before anything is done.

pub(crate) mod parse;
mod paths;
mod suggest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::Kind;

use super::error::CliError;
use super::output::{ColorMode, ProgressMode};
use super::{files, folders};

/// A value and the line of the file that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// What a configuration file says. Without a file it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    /// Where the file is, if there is one.
    pub(super) file: Option<PathBuf>,
    /// The store to use when none is named: a name or a path.
    pub(super) store: Option<At<PathBuf>>,
    /// Stores by name.
    pub(super) stores: BTreeMap<String, StoreSettings>,
    /// For every command.
    pub(super) defaults: Defaults,
    /// For `larder snapshot --profile NAME`.
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// `[stores.NAME]`
#[derive(Debug, Clone)]
pub(super) struct StoreSettings {
    pub(super) path: PathBuf,
    pub(super) keys: KeySettings,
}

/// What opens a store.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySettings {
    pub(super) identity: Option<At<Vec<PathBuf>>>,
    pub(super) passphrase_command: Option<At<String>>,
}

/// `[defaults]`
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub(super) keys: KeySettings,
    pub(super) progress: Option<At<ProgressMode>>,
    pub(super) color: Option<At<ColorMode>>,
    /// For every snapshot.
    pub(super) options: Vec<Chosen>,
}

/// `[profiles.NAME]`
#[derive(Debug, Clone, Default)]
pub(super) struct Profile {
    pub(super) store: Option<At<PathBuf>>,
    pub(super) paths: Option<At<Vec<PathBuf>>>,
    pub(super) options: Vec<Chosen>,
}

/// An option of a command that the file sets, under the option's long name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) option: String,
    pub(super) value: Choice,
    pub(super) line: usize,
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Flag(bool),
    Text(String),
    Many(Vec<String>),
}

/// An option that the file may set.
#[derive(Debug, Clone)]
pub(super) struct Settable {
    /// Its long name.
    pub(super) long: String,
    pub(super) sort: Sort,
    /// True if its values are paths.
    pub(super) paths: bool,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Flag,
    One,
    Many,
}

/// What the file is checked against: the options of a snapshot, and whether one of them takes a value.
pub(super) trait Options {
    /// The options that profiles and defaults may set.
    fn settable(&self) -> &[Settable];

    /// Says what is wrong with a value, if the option does not take it.
    fn check(&self, long: &str, value: &str) -> Result<(), String>;
}

impl Config {
    /// Reads a file; without a name the default one, if that exists.
    pub(super) fn load(named: Option<&Path>, options: &dyn Options) -> Result<Self, CliError> {
        let file = named.map_or_else(default_file, Path::to_owned);
        let text = match files::read_text(&file) {
            Ok(text) => text,
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                let message = format!("cannot read the configuration {}: {e}", file.display());
                return Err(CliError::new(Kind::Usage, message));
            }
        };
        let file = std::path::absolute(&file).unwrap_or(file);
        parse::parse(&text, file, options)
    }

    /// The folder of a store that was named: by a name of the file, else by its path.
    ///
    /// A name wins over a folder of that name in the folder one happens to stand in; `./NAME` is always the folder.
    pub(super) fn store_path(&self, named: &Path) -> PathBuf {
        let known = named.to_str().and_then(|name| self.stores.get(name));
        known.map_or_else(|| named.to_owned(), |store| store.path.clone())
    }

    /// What is said of the store in a folder, whether it was named by name or by path.
    pub(super) fn store_at(&self, path: &Path) -> Option<(&str, &StoreSettings)> {
        let found = self.stores.iter().find(|(_, store)| folders::same(&store.path, path));
        found.map(|(name, store)| (name.as_str(), store))
    }

    /// A profile.
    pub(super) fn profile(&self, name: &str) -> Result<&Profile, CliError> {
        self.profiles.get(name).ok_or_else(|| {
            let place = self.file.as_ref().map_or_else(
                || format!("there is no {}", default_file().display()),
                |file| format!("{} has none of that name", file.display()),
            );
            let error = CliError::new(Kind::Usage, format!("there is no profile {name:?}: {place}"));
            match suggest::nearest(name, self.profiles.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean {near:?}?")),
                None => error.hint("`larder help config` tells how to write one"),
            }
        })
    }

    /// Where a line of the file is, for people.
    pub(super) fn place(&self, line: usize) -> String {
        self.file.as_ref().map_or_else(String::new, |file| format!("{}:{line}", file.display()))
    }
}

/// Where the file is looked for when none is named.
pub(super) fn default_file() -> PathBuf {
    folders::config().join("larder.toml")
}
