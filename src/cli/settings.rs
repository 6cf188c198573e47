//! What holds for this run, and why: flag, else variable, else profile, else defaults of the file, else built in. Of the store
//! a profile that is named says more than a variable, which may have been set for other work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::config::{At, Config, KeySettings, Options};
use super::error::CliError;
use super::output::{ColorMode, ProgressMode};
use super::{Global, help};

/// Where a setting comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// An option of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A place in the configuration file.
    File(String),
    /// Nobody said anything.
    #[default]
    BuiltIn,
}

/// A setting and where it comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Sourced<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// The configuration file, and what follows from it for this run.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// The command that runs.
    pub(super) command: &'static str,
    pub(super) config: Config,
    /// Who named the configuration file.
    pub(super) config_origin: Origin,
    /// The store as it was named.
    pub(super) store: Option<Sourced<PathBuf>>,
    pub(super) progress: Sourced<ProgressMode>,
    pub(super) color: Sourced<ColorMode>,
}

impl Settings {
    /// What is known before the configuration is read.
    pub(super) fn early(command: Option<&str>, progress: Option<ProgressMode>, color: Option<ColorMode>) -> Self {
        Self {
            command: command.map_or("larder", help::known),
            progress: Sourced::new(progress.unwrap_or_default(), Origin::BuiltIn),
            color: color_before_file(color).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Reads the configuration and settles what commands share. The store goes into `global`, where commands look for it.
pub(super) fn settle(
    global: &mut Global,
    matches: &ArgMatches,
    options: &dyn Options,
    profile: Option<&str>,
) -> Result<(), CliError> {
    let given = |id: &str, flag, variable| match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => Origin::Variable(variable),
        _ => Origin::Flag(flag),
    };
    let config = Config::load(global.config.as_deref(), options)?;
    let config_origin =
        if global.config.is_some() { given("config", "--config", "LARDER_CONFIG") } else { Origin::BuiltIn };
    let profile = profile.map(|name| config.profile(name)).transpose()?;
    let from_file = |at: &At<PathBuf>| Sourced::new(at.value.clone(), Origin::File(config.place(at.line)));
    let of_profile = || profile.and_then(|p| p.store.as_ref()).map(from_file);
    let given_store =
        global.store.as_ref().map(|path| Sourced::new(path.clone(), given("store", "--store", "LARDER_STORE")));
    let store = match given_store {
        Some(flag @ Sourced { origin: Origin::Flag(_), .. }) => Some(flag),
        variable => of_profile().or(variable).or_else(|| config.store.as_ref().map(from_file)),
    };
    let progress = match (global.progress, &config.defaults.progress) {
        (Some(mode), _) => Sourced::new(mode, given("progress", "--progress", "LARDER_PROGRESS")),
        (None, Some(at)) => Sourced::new(at.value, Origin::File(config.place(at.line))),
        (None, None) => Sourced::default(),
    };
    let color = match (color_before_file(global.color), &config.defaults.color) {
        (Some(color), _) => color,
        (None, Some(at)) => Sourced::new(at.value, Origin::File(config.place(at.line))),
        (None, None) => Sourced::default(),
    };
    global.store = store.as_ref().map(|s| s.value.clone());
    global.settings = Settings { command: global.settings.command, config, config_origin, store, progress, color };
    Ok(())
}

/// What command line and environment say of colours.
fn color_before_file(flag: Option<ColorMode>) -> Option<Sourced<ColorMode>> {
    let set = |name: &'static str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(mode) = flag {
        return Some(Sourced::new(mode, Origin::Flag("--color")));
    }
    if set("NO_COLOR").is_some() {
        return Some(Sourced::new(ColorMode::Never, Origin::Variable("NO_COLOR")));
    }
    let forced = set("CLICOLOR_FORCE").filter(|value| value != "0");
    forced.map(|_| Sourced::new(ColorMode::Always, Origin::Variable("CLICOLOR_FORCE")))
}

/// The colours as far as they are known before the configuration is read.
pub(super) fn early_color(flag: Option<ColorMode>) -> ColorMode {
    color_before_file(flag).map_or(ColorMode::Auto, |c| c.value)
}

/// The identities that were named for the store at `path`. The default identity is tried behind them.
pub(super) fn identities(global: &Global, path: Option<&Path>) -> Sourced<Vec<PathBuf>> {
    if !global.identity.is_empty() {
        return Sourced::new(global.identity.clone(), Origin::Flag("--identity"));
    }
    if let Some(list) = std::env::var_os("LARDER_IDENTITY").filter(|list| !list.is_empty()) {
        let files = std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect();
        return Sourced::new(files, Origin::Variable("LARDER_IDENTITY"));
    }
    from_keys(global, path, |keys| keys.identity.as_ref()).unwrap_or_default()
}

/// The command that prints passphrases, if there is one.
pub(super) fn passphrase_command(global: &Global, path: Option<&Path>) -> Option<Sourced<OsString>> {
    let variable = "LARDER_PASSPHRASE_COMMAND";
    if let Some(command) = std::env::var_os(variable).filter(|c| !c.is_empty()) {
        return Some(Sourced::new(command, Origin::Variable(variable)));
    }
    let found = from_keys(global, path, |keys| keys.passphrase_command.as_ref())?;
    Some(Sourced::new(found.value.into(), found.origin))
}

/// What the file says of a store's keys, else what it says of all.
fn from_keys<T: Clone>(
    global: &Global,
    path: Option<&Path>,
    take: impl Fn(&KeySettings) -> Option<&At<T>>,
) -> Option<Sourced<T>> {
    let config = &global.settings.config;
    let store = path.and_then(|path| config.store_at(path)).and_then(|(_, store)| take(&store.keys));
    let at = store.or_else(|| take(&config.defaults.keys))?;
    Some(Sourced::new(at.value.clone(), Origin::File(config.place(at.line))))
}
