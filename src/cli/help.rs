//! Help, from the one definition of the command line: groups of commands, examples, exit statuses.
//!
//! A command's examples stand in its own file, as `after_help` that begins with [`EXAMPLES`]; the rest is put together here.

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::builder::{Resettable, StyledStr};
use clap::{ColorChoice, Command};

use super::error::MEANINGS;

/// What the examples of a command begin with.
pub(super) const EXAMPLES: &str = "Examples:\n";

/// The heading of options that every command takes.
pub(super) const GLOBAL: &str = "Global options";

/// The commands by what one wants to do, in the order in which help shows them.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("Capture", &["init", "snapshot"]),
    ("Look", &["list", "show", "ls", "cat"]),
    ("Compare", &["diff", "find", "history", "stats", "why-big", "why-new"]),
    ("Give back", &["restore", "mount", "unmount", "export", "import", "unpack"]),
    ("Keep", &["forget", "hold", "release", "policy"]),
    ("Records", &["records", "sync"]),
    ("Care", &["verify", "gc", "repair", "heal", "key"]),
    ("Other", &["config", "schema", "completions", "man", "help"]),
];

/// Commands that may end with other statuses than [`STORE`].
const STATUSES: &[(&str, &[u8])] = &[
    ("init", &[0, 1, 2, 130]),
    ("snapshot", &[0, 1, 2, 3, 10, 11, 12, 13, 14, 130]),
    ("restore", &[0, 1, 2, 3, 10, 12, 13, 14, 130]),
    ("forget", &[0, 1, 2, 3, 10, 11, 12, 13, 14, 130]),
    ("hold", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("release", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("policy", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("export", &[0, 1, 2, 3, 10, 12, 13, 14, 130]),
    ("import", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("unpack", &[0, 1, 2, 3, 10, 12, 13, 14, 130]),
    ("diff", &[0, 1, 2, 3, 10, 12, 13, 14, 130]),
    // A signal is how a mount ends in order.
    ("mount", &[0, 1, 2, 10, 12, 13, 14]),
    ("unmount", &[0, 1, 2, 10]),
    ("heal", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("repair", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("key", &[0, 1, 2, 10, 11, 12, 13, 14, 130]),
    ("records", &[0, 1, 2, 3, 10, 11, 12, 13, 14, 130]),
    ("sync", &[0, 1, 2, 3, 10, 11, 12, 13, 14, 130]),
    ("config", &[0, 1, 2]),
    ("schema", &[0, 1, 2]),
    ("completions", &[0, 1, 2]),
    ("man", &[0, 1, 2]),
];

/// What a command that reads a store may end with.
const STORE: &[u8] = &[0, 1, 2, 10, 12, 13, 14, 130];

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The definition with all that help shows.
pub(super) fn dressed(command: Command, color: ColorChoice) -> Command {
    let template = template(&command);
    let all: Vec<u8> = MEANINGS.iter().map(|(status, _)| *status).collect();
    let root = command.styles(STYLES).color(color).help_template(template).after_help(
        "`larder COMMAND -h` is short; `larder help COMMAND` tells all, with examples; `larder help config` the settings.",
    );
    root.after_long_help(exit_statuses(&all)).mut_subcommands(|c| {
        let examples = c.get_after_help().map(ToString::to_string);
        let statuses = exit_statuses(statuses(c.get_name()));
        let long = examples.map_or_else(|| statuses.clone(), |e| format!("{e}\n\n{statuses}"));
        c.after_help(Resettable::<StyledStr>::Reset).after_long_help(long)
    })
}

/// The exit statuses of a command.
pub(super) fn statuses(command: &str) -> &'static [u8] {
    STATUSES.iter().find(|(name, _)| *name == command).map_or(STORE, |(_, statuses)| statuses)
}

/// The meaning of each exit status, a line each.
pub(super) fn meanings(statuses: &[u8]) -> impl Iterator<Item = (u8, &'static str)> {
    MEANINGS.into_iter().filter(move |(status, _)| statuses.contains(status))
}

fn exit_statuses(statuses: &[u8]) -> String {
    let lines = meanings(statuses).map(|(status, meaning)| format!("\n  {status:>3}  {meaning}"));
    format!("Exit status:{}", lines.collect::<String>())
}

/// The name of a command that is known, for as long as the program runs.
pub(super) fn known(name: &str) -> &'static str {
    GROUPS.iter().flat_map(|(_, names)| names.iter()).find(|known| **known == name).map_or("larder", |known| known)
}

/// Help of the program as a whole: clap knows no groups of commands, so they are written into its template.
fn template(command: &Command) -> String {
    let painted = |text: &str, style: &Style| format!("{}{text}{}", style.render(), style.render_reset());
    let about = |name: &str| match command.find_subcommand(name).and_then(Command::get_about) {
        Some(about) => about.to_string(),
        None => "Tell about a command".to_owned(),
    };
    let mut groups = String::new();
    for (heading, names) in GROUPS {
        groups.push_str(&painted(&format!("{heading}:"), STYLES.get_header()));
        for name in *names {
            groups.push_str(&format!("\n  {}  {}", painted(&format!("{name:12}"), STYLES.get_literal()), about(name)));
        }
        groups.push_str("\n\n");
    }
    let global = painted(&format!("{GLOBAL}:"), STYLES.get_header());
    format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{global}\n{{options}}{{after-help}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = super::super::definition();
        let defined: Vec<&str> =
            command.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name).chain(["help"]).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for name in &defined {
            assert_eq!(grouped.iter().filter(|g| *g == name).count(), 1, "{name} must stand in one group of GROUPS");
        }
        for name in grouped.iter().chain(STATUSES.iter().map(|(name, _)| name)) {
            assert!(defined.contains(name), "{name} is no command");
        }
    }

    #[test]
    fn every_command_has_examples_and_short_help_has_none() {
        let command = dressed(super::super::definition(), ColorChoice::Never);
        for name in command.get_subcommands().map(|c| c.get_name().to_owned()) {
            let mut one = command.find_subcommand(&name).unwrap().clone();
            let (long, short) = (one.render_long_help().to_string(), one.render_help().to_string());
            assert!(long.contains(EXAMPLES) && long.contains("Exit status:"), "{name}: {long}");
            assert!(!short.contains(EXAMPLES) && !short.contains("Exit status:"), "{name}: {short}");
        }
    }

    /// The words of a line as a shell has them, up to a pipe, a redirection, or the blanks before a remark.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        let mut before = ' ';
        for c in line.trim().chars() {
            match (quote, c) {
                (Some(q), _) if c == q => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '|' | '>' | '<' | '&' | ';') => break,
                (None, ' ') if before == ' ' => break,
                (None, ' ') => words.extend(word.take()),
                _ => word.get_or_insert_default().push(c),
            }
            before = c;
        }
        words.extend(word);
        words
    }

    #[test]
    fn every_example_is_understood() {
        let mut seen = 0;
        for command in super::super::definition().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            for line in help.lines().filter(|line| line.trim_start().starts_with("larder ")) {
                let parsed = super::super::definition().try_get_matches_from(words(line));
                assert!(parsed.is_ok(), "{name}: {line}\n{}", parsed.unwrap_err());
                seen += 1;
            }
        }
        assert!(seen > 40, "only {seen} examples were found");
        let mistaken = super::super::definition().try_get_matches_from(words("  larder find --larger-than '1 M' '*'"));
        assert!(mistaken.is_err());
    }

    /// Help is plain text: nothing in it is marked for another renderer.
    #[test]
    fn no_help_is_marked_up() {
        fn look(command: &Command, seen: &mut usize) {
            let help = command.clone().render_long_help().to_string();
            *seen += 1;
            for word in help.split_whitespace().map(|word| word.trim_matches([',', '.', ';', ':', '(', ')'])) {
                let inner = word.strip_prefix('*').and_then(|word| word.strip_suffix('*')).unwrap_or_default();
                let is_marked = !inner.is_empty() && inner.chars().all(char::is_alphabetic);
                assert!(!is_marked, "{}: {word}", command.get_name());
            }
            command.get_subcommands().for_each(|command| look(command, seen));
        }
        let (command, mut seen) = (dressed(super::super::definition(), ColorChoice::Never), 0);
        look(&command, &mut seen);
        assert!(seen > 40, "only {seen} commands were looked at");
    }

    #[test]
    fn lines_fit_a_terminal() {
        let command = dressed(super::super::definition(), ColorChoice::Never);
        let long: Vec<String> = command
            .clone()
            .render_help()
            .to_string()
            .lines()
            .filter(|l| l.chars().count() > 100)
            .map(str::to_owned)
            .collect();
        assert_eq!(long, [""; 0]);
    }
}
