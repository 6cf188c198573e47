//! `larder config`: the settings that hold, and where each comes from.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::config::{self, Choice};
use super::context::is_identity_itself;
use super::error::CliError;
use super::output::{Output, escaped};
use super::profile::{self, SnapshotOptions};
use super::settings::{self, Origin, Sourced};
use super::{Global, Outcome, folders};

/// The settings and their order, for help and manual.
const MANUAL: &str = r#"Show settings, and where they come from

Settings are read from a TOML file: the one that --config or LARDER_CONFIG
names, else larder/larder.toml in the configuration folder
($XDG_CONFIG_HOME or ~/.config), if it is there. It may hold:

  store = "home"                      # a name, or a path with a / in it

  [stores.home]                       # larder --store home
  path = "~/larder"
  identity = ["~/keys/home.txt"]      # what opens it, however it is named
  passphrase-command = "pass larder"  # or what prints its passphrase

  [defaults]                          # for every command
  identity = ["~/keys/all.txt"]       # passphrase-command, progress and
  color = "never"                     # color too
  exclude = ["*.o"]                   # and for every snapshot each option
                                      # of `larder snapshot`

  [profiles.work]                     # larder snapshot --profile work
  store = "home"
  paths = ["~/work"]
  dataset = "work"                    # each option of `larder snapshot`,
  labels = { team = "blue" }          # labels as a table

`~` and `$HOME` in front of a path are expanded; relative paths count from
the file's folder. A setting that is not known is an error. A passphrase
does not belong in the file.

What is nearer wins: options of the command line, then the variables
LARDER_STORE, LARDER_IDENTITY, LARDER_PASSPHRASE_COMMAND, LARDER_PROGRESS,
then the profile, then the file's store, stores and defaults, then what is
built in; but the store of a profile that is named goes before LARDER_STORE. Options that can be repeated (exclude, labels …) add up instead;
of two labels of one key the nearer wins. A flag that the file sets cannot
be unset on the command line: give --config /dev/null.

A store that is named is looked for in [stores] first, then as a path:
./NAME is always the folder."#;

/// Show settings, and where they come from
#[derive(Debug, Args)]
#[command(long_about = MANUAL, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  larder config show                                   what holds, and why
  larder config show --profile work --json
  larder config path                                   where the file is, or would be")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show each setting that holds, and where it comes from
    Show {
        /// With what this profile adds to a snapshot
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
    },
    /// Print where the configuration file is looked for
    Path,
}

impl ConfigArgs {
    /// True if the file is read.
    pub(super) fn reads_file(&self) -> bool {
        matches!(self.command, ConfigCommand::Show { .. })
    }
}

/// The settings that hold. `larder config path` prints the file alone.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigJson {
    /// The configuration file; nothing if there is none.
    file: Option<String>,
    /// A setting whose values come from several places has a row for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<SettingJson>,
}

/// A setting.
#[derive(Debug, Serialize, JsonSchema)]
struct SettingJson {
    /// `store`, `store path`, `identity`, `default identity` (which is tried last) …; options of a snapshot under their long names.
    name: String,
    /// Nothing if it is not set. A command that prints a passphrase is not shown.
    value: Option<ValueJson>,
    /// What said so.
    from: FromJson,
    /// Which option, variable, or place in the file (`FILE:LINE`).
    at: Option<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
enum ValueJson {
    Flag(bool),
    Text(String),
    Many(Vec<String>),
}

/// Sorts of places that a setting comes from.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FromJson {
    Flag,
    Variable,
    File,
    BuiltIn,
}

pub(super) fn run(args: &ConfigArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    match &args.command {
        ConfigCommand::Path => {
            let file = global.config.clone().unwrap_or_else(config::default_file).display().to_string();
            if out.json() {
                out.print_json(&ConfigJson { file: Some(file), settings: Vec::new() })?;
            } else {
                out.line(&file)?;
            }
        }
        ConfigCommand::Show { profile } => {
            let rows = rows(global, profile.as_deref())?;
            let file = global.settings.config.file.as_ref().map(|f| f.display().to_string());
            if out.json() {
                out.print_json(&ConfigJson { file, settings: rows })?;
            } else {
                rows.iter().try_for_each(|row| out.line(&as_text(row)))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn rows(global: &Global, profile: Option<&str>) -> Result<Vec<SettingJson>, CliError> {
    let settings = &global.settings;
    let config = &settings.config;
    let text = |path: &Path| ValueJson::Text(path.display().to_string());
    let file = config.file.as_ref().map(|f| text(f));
    let mut rows = vec![row("config", file, &settings.config_origin)];
    let path = global.store.as_ref().map(|named| config.store_path(named));
    match &settings.store {
        Some(store) => rows.push(row("store", Some(text(&store.value)), &store.origin)),
        None => rows.push(row("store", None, &Origin::BuiltIn)),
    }
    if let (Some(path), Some(store)) = (&path, &settings.store) {
        rows.push(row("store path", Some(text(path)), &store.origin));
    }
    let Sourced { value, origin } = settings::identities(global, path.as_deref());
    let shown = |f: &PathBuf| {
        // A secret that stands where a file's name belongs is not shown.
        if is_identity_itself(f) { "(an identity itself)".to_owned() } else { f.display().to_string() }
    };
    let identities = value.iter().map(shown).collect();
    rows.push(row("identity", Some(ValueJson::Many(identities)), &origin));
    rows.push(row("default identity", Some(text(&folders::default_identity())), &Origin::BuiltIn));
    let command = settings::passphrase_command(global, path.as_deref());
    let hidden = command.as_ref().map(|_| ValueJson::Text("(a command)".to_owned()));
    rows.push(row("passphrase-command", hidden, &command.map_or(Origin::BuiltIn, |c| c.origin)));
    rows.push(row("progress", Some(word(settings.progress.value)), &settings.progress.origin));
    rows.push(row("color", Some(word(settings.color.value)), &settings.color.origin));
    let profile = profile.map(|name| config.profile(name)).transpose()?;
    if let Some(paths) = profile.and_then(|p| p.paths.as_ref()) {
        let shown = paths.value.iter().map(|p| p.display().to_string()).collect();
        rows.push(row("paths", Some(ValueJson::Many(shown)), &Origin::File(config.place(paths.line))));
    }
    for chosen in profile::chosen(config, profile, &SnapshotOptions::new()) {
        let value = match chosen.value {
            Choice::Flag(flag) => ValueJson::Flag(flag),
            Choice::Text(text) => ValueJson::Text(text),
            Choice::Many(texts) => ValueJson::Many(texts),
        };
        let name = if chosen.option == "label" { "labels" } else { &chosen.option };
        rows.push(row(name, Some(value), &Origin::File(config.place(chosen.line))));
    }
    Ok(rows)
}

fn word(value: impl ValueEnum) -> ValueJson {
    ValueJson::Text(value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned()))
}

fn row(name: &str, value: Option<ValueJson>, origin: &Origin) -> SettingJson {
    let (from, at) = match origin {
        Origin::Flag(flag) => (FromJson::Flag, Some((*flag).to_owned())),
        Origin::Variable(variable) => (FromJson::Variable, Some((*variable).to_owned())),
        Origin::File(place) => (FromJson::File, Some(place.clone())),
        Origin::BuiltIn => (FromJson::BuiltIn, None),
    };
    SettingJson { name: name.to_owned(), value, from, at }
}

fn as_text(row: &SettingJson) -> String {
    let value = match &row.value {
        None => "-".to_owned(),
        Some(ValueJson::Flag(flag)) => flag.to_string(),
        Some(ValueJson::Text(text)) => text.clone(),
        Some(ValueJson::Many(texts)) if texts.is_empty() => "-".to_owned(),
        Some(ValueJson::Many(texts)) => texts.join(", "),
    };
    let origin = row.at.as_deref().unwrap_or("built in");
    escaped(&format!("{:20} {value}  ({origin})", row.name))
}
