//! What the configuration adds to a `larder snapshot`: its profile, and the defaults for every snapshot.
//!
//! The file sets options under their long names, and everything about them (whether they take a value, several, or a path)
//! is read from the one definition of the command line. So an option that is added to the command can be set in the file,
//! and a setting that nothing obeys cannot exist.

use std::ffi::OsString;

use clap::builder::ValueHint;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::model::Kind;

use super::config::{Choice, Chosen, Config, Options, Profile, Settable, Sort};
use super::error::CliError;
use super::leave_out::LeaveOutArgs;
use super::snapshot::SnapshotArgs;

/// Options that make sense for one run alone.
const ONCE: [&str; 4] = ["profile", "stdin", "stdin-from-command", "dry-run"];
/// Options by which something else than paths is captured.
const STREAMS: [&str; 2] = ["stdin", "stdin_from_command"];

/// The options of `larder snapshot`, as the configuration sees them.
#[derive(Debug)]
pub(super) struct SnapshotOptions {
    command: Command,
    settable: Vec<Settable>,
}

impl SnapshotOptions {
    pub(super) fn new() -> Self {
        let command = SnapshotArgs::augment_args(Command::new("snapshot"));
        let settable = command.get_arguments().filter_map(settable).collect();
        Self { command, settable }
    }

    /// True if the option takes several values.
    fn adds_up(&self, long: &str) -> bool {
        self.settable.iter().any(|o| o.long == long && o.sort == Sort::Many)
    }
}

fn settable(arg: &Arg) -> Option<Settable> {
    let long = arg.get_long().filter(|long| !ONCE.contains(long) && !arg.is_hide_set())?;
    let sort = match arg.get_action() {
        ArgAction::SetTrue => Sort::Flag,
        ArgAction::Set => Sort::One,
        ArgAction::Append => Sort::Many,
        _ => return None,
    };
    let paths = matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath);
    Some(Settable { long: long.to_owned(), sort, paths })
}

impl Options for SnapshotOptions {
    fn settable(&self) -> &[Settable] {
        &self.settable
    }

    fn check(&self, long: &str, value: &str) -> Result<(), String> {
        let words = ["snapshot", &format!("--{long}={value}"), "--", "."].map(OsString::from);
        // What an option needs beside it is looked at when all of them are known.
        match self.command.clone().try_get_matches_from(words) {
            Err(e) if matches!(e.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) => Err(reason(&e)),
            _ => Ok(()),
        }
    }
}

/// What clap complains of, in a line.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more"));
    lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What the configuration chooses for a snapshot, in the order in which lists add up: defaults, then the profile.
pub(super) fn chosen(config: &Config, profile: Option<&Profile>, options: &SnapshotOptions) -> Vec<Chosen> {
    let own = profile.map_or(&[][..], |p| &p.options);
    let kept = |d: &&Chosen| options.adds_up(&d.option) || !own.iter().any(|o| o.option == d.option);
    let mut all: Vec<_> = config.defaults.options.iter().filter(kept).chain(own).cloned().collect();
    let keys: Vec<String> = own.iter().flat_map(label_keys).collect();
    for defaults in all.iter_mut().filter(|c| !own.contains(c)) {
        drop_labels(defaults, &keys);
    }
    all
}

fn label_keys(chosen: &Chosen) -> Vec<String> {
    let Chosen { option, value: Choice::Many(labels), .. } = chosen else { return Vec::new() };
    let keys = labels.iter().filter_map(|l| l.split_once('=')).map(|(key, _)| key.to_owned());
    if option == "label" { keys.collect() } else { Vec::new() }
}

/// A label that is set nearer by wins over one of the same key.
fn drop_labels(chosen: &mut Chosen, keys: &[String]) {
    if let Chosen { option, value: Choice::Many(labels), .. } = chosen
        && option == "label"
    {
        labels.retain(|l| l.split_once('=').is_none_or(|(key, _)| !keys.iter().any(|k| k == key)));
    }
}

/// The arguments of a snapshot, with what the configuration adds. Lists add up; of anything else the command line's wins.
pub(super) fn filled(
    given: &ArgMatches,
    config: &Config,
    profile: Option<&str>,
    options: &SnapshotOptions,
) -> Result<SnapshotArgs, CliError> {
    let settings = profile.map(|name| config.profile(name)).transpose()?;
    let mut words = words(given, config, settings, options, &options.command);
    let positional = options.command.get_positionals().find(|a| is_given(given, a));
    if let Some(paths) = positional {
        words.push("--".into());
        words.extend(raw(given, paths));
    } else if let (Some(name), false) = (profile, STREAMS.iter().any(|id| has(given, id))) {
        let paths = settings.and_then(|p| p.paths.as_ref()).filter(|p| !p.value.is_empty()).ok_or_else(|| {
            CliError::new(Kind::Usage, format!("nothing to capture: the profile {name:?} names no paths"))
                .hint("name them behind the options, or as `paths` in the profile")
        })?;
        words.push("--".into());
        words.extend(paths.value.iter().map(OsString::from));
    }
    let parsed = options.command.clone().try_get_matches_from(words);
    let mut args = parsed.and_then(|m| SnapshotArgs::from_arg_matches(&m)).map_err(|e| refused(&e, config))?;
    args.leave_out.given = given.get_many::<String>("exclude").into_iter().flatten().cloned().collect();
    Ok(args)
}

/// What is left out of a folder that is compared: as of one that is captured with the same words and profile.
pub(super) fn left_out(
    given: &ArgMatches,
    config: &Config,
    profile: Option<&str>,
    options: &SnapshotOptions,
) -> Result<LeaveOutArgs, CliError> {
    let settings = profile.map(|name| config.profile(name)).transpose()?;
    let command = LeaveOutArgs::augment_args(Command::new("diff"));
    let words = words(given, config, settings, options, &command);
    let parsed = command.try_get_matches_from(words);
    parsed.and_then(|m| LeaveOutArgs::from_arg_matches(&m)).map_err(|e| refused(&e, config))
}

fn refused(error: &clap::Error, config: &Config) -> CliError {
    let place = config.file.as_ref().map_or_else(String::new, |f| format!("with what {} says: ", f.display()));
    CliError::new(Kind::Usage, format!("{place}{}", reason(error)))
}

/// The words that give `command` the options which the configuration chooses, then those that were given.
fn words(
    given: &ArgMatches,
    config: &Config,
    profile: Option<&Profile>,
    options: &SnapshotOptions,
    command: &Command,
) -> Vec<OsString> {
    let mut words = vec![OsString::from(command.get_name())];
    let labels = given.try_get_many::<String>("label").ok().flatten();
    let keys: Vec<String> =
        labels.into_iter().flatten().filter_map(|l| l.split_once('=')).map(|(key, _)| key.to_owned()).collect();
    for mut chosen in chosen(config, profile, options) {
        let Some(arg) = command.get_arguments().find(|a| a.get_long() == Some(&chosen.option)) else { continue };
        if is_given(given, arg) && !options.adds_up(&chosen.option) {
            continue;
        }
        drop_labels(&mut chosen, &keys);
        words.extend(as_words(&chosen));
    }
    words.extend(command.get_arguments().filter(|a| !a.is_positional()).flat_map(|a| given_words(given, a)));
    words
}

fn has(given: &ArgMatches, id: &str) -> bool {
    given.try_contains_id(id).is_ok() && given.value_source(id) == Some(ValueSource::CommandLine)
}

/// True if command line or environment say something of it.
fn is_given(given: &ArgMatches, arg: &Arg) -> bool {
    let source = given.value_source(arg.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn raw(given: &ArgMatches, arg: &Arg) -> Vec<OsString> {
    given.get_raw(arg.get_id().as_str()).into_iter().flatten().map(OsString::from).collect()
}

/// An option as it was given, in words that mean the same.
fn given_words(given: &ArgMatches, arg: &Arg) -> Vec<OsString> {
    let Some(long) = arg.get_long().filter(|_| is_given(given, arg)) else { return Vec::new() };
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append => raw(given, arg).into_iter().map(|v| with_value(long, v)).collect(),
        ArgAction::Count => {
            vec![OsString::from(format!("--{long}")); usize::from(given.get_count(arg.get_id().as_str()))]
        }
        _ => vec![OsString::from(format!("--{long}"))],
    }
}

fn as_words(chosen: &Chosen) -> Vec<OsString> {
    let long = chosen.option.as_str();
    match &chosen.value {
        Choice::Flag(true) => vec![OsString::from(format!("--{long}"))],
        Choice::Flag(false) => Vec::new(),
        Choice::Text(text) => vec![with_value(long, text.into())],
        Choice::Many(texts) => texts.iter().map(|text| with_value(long, text.into())).collect(),
    }
}

fn with_value(long: &str, value: OsString) -> OsString {
    let mut word = OsString::from(format!("--{long}="));
    word.push(value);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("larder.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), &SnapshotOptions::new())
    }

    /// What a snapshot with these words is told, as text.
    fn told(text: &str, words: &[&str]) -> Result<String, String> {
        let options = SnapshotOptions::new();
        let config = config(text).map_err(|e| e.message)?;
        let words = std::iter::once("snapshot").chain(words.iter().copied());
        let given = options.command.clone().try_get_matches_from(words).map_err(|e| e.to_string())?;
        let profile = given.get_one::<String>("profile").cloned();
        let args = filled(&given, &config, profile.as_deref(), &options).map_err(|e| e.message)?;
        Ok(format!("{args:?}"))
    }

    #[test]
    fn lists_add_up_and_the_rest_is_overridden() {
        let text = "[defaults]\nexclude = ['d']\nreason = 'default'\nlabels = { a = '1', b = '1', c = '1' }\n\
                    [profiles.p]\npaths = ['/p']\nexclude = ['p']\nreason = 'profile'\none-file-system = true\n\
                    labels = { a = '2', b = '2' }\n";
        let plain = told(text, &["/x"]).unwrap();
        assert!(plain.contains(r#"exclude: ["d"]"#) && plain.contains(r#"reason: Some("default")"#), "{plain}");
        let profile = told(text, &["--profile", "p"]).unwrap();
        for expected in [
            r#"paths: ["/p"]"#,
            r#"exclude: ["d", "p"]"#,
            r#"reason: Some("profile")"#,
            "one_file_system: true",
            r#"label: ["c=1", "a=2", "b=2"]"#,
        ] {
            assert!(profile.contains(expected), "no {expected} in {profile}");
        }
        let given = told(text, &["--profile", "p", "--reason=-x", "-e", "f", "-l", "b=3", "--force-read", "--", "-y"]);
        let given = given.unwrap();
        for expected in [
            r#"paths: ["-y"]"#,
            r#"exclude: ["d", "p", "f"]"#,
            r#"reason: Some("-x")"#,
            "force_read: true",
            r#"label: ["c=1", "a=2", "b=3"]"#,
        ] {
            assert!(given.contains(expected), "no {expected} in {given}");
        }
    }

    #[test]
    fn refusals() {
        assert!(told("[profiles.p]\nreason = 'x'\n", &["--profile", "p"]).unwrap_err().contains("names no paths"));
        assert!(told("[profiles.p]\npaths = ['/x']\n", &["--profile", "q"]).unwrap_err().contains("no profile \"q\""));
        assert!(told("[profiles.p]\nstdin = 'x'\n", &["/x"]).unwrap_err().contains("no setting \"stdin\""));
        assert!(told("[defaults]\ndataset = 'latest'\n", &["/x"]).unwrap_err().contains("larder.toml:2:11: "));
        let stdin = told("[profiles.p]\npaths = ['/x']\n", &["--profile", "p", "--stdin", "db"]).unwrap();
        assert!(stdin.contains("paths: []"), "{stdin}");
    }

    #[test]
    fn paths_count_from_the_file() {
        let told = told("[defaults]\nexclude-from = 'list'\n", &["/x"]).unwrap();
        assert!(told.contains("/list\"]") && !told.contains("[\"list\"]"), "{told}");
    }
}
