//! `larder man`: the manual, a page for each command, from the one definition of the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::model::Kind;

use super::Outcome;
use super::error::CliError;
use super::help;
use super::output::Output;

/// Write the manual pages
///
/// Without a folder the page of the program as a whole goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder man | man -l -                                read it
  larder man --output-dir ~/.local/share/man/man1      larder.1, larder-snapshot.1 and so on")]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, which is made if it is not there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
}

/// Variables that Larder reads.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LARDER_STORE", "The store, if --store names none."),
    ("LARDER_IDENTITY", "Files with identities, separated by colons, if --identity names none."),
    ("LARDER_PASSPHRASE_COMMAND", "A command, run by sh, that prints the passphrase on its first line."),
    ("LARDER_CONFIG", "The configuration file, if --config names none."),
    ("LARDER_PROGRESS", "auto, none, bar or json, if --progress says nothing."),
    ("NO_COLOR", "If it is set and not empty: no colours, unless --color says otherwise."),
    ("CLICOLOR_FORCE", "If it is set and not 0: colours in pipes too, unless NO_COLOR or --color says otherwise."),
    (
        "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME",
        "Where the files below are, in place of the folders named there.",
    ),
];

/// Files that Larder keeps.
const FILES: &[(&str, &str)] = &[
    ("~/.config/larder/larder.toml", "Settings; larder-config(1) tells what it may hold."),
    ("~/.config/larder/identity.txt", "The default identity, made by the first larder init. Back it up."),
    ("~/.local/state/larder/pins/", "What this client last saw of each store, so that a store set back is noticed."),
    ("~/.cache/larder/", "What was unchanged at the last capture; may be removed."),
];

pub(super) fn run(args: &ManArgs, definition: Command, out: &Output) -> Result<Outcome, CliError> {
    if out.json() {
        return Err(CliError::new(Kind::Usage, "man writes manual pages, which are no JSON").hint("leave --json out"));
    }
    let mut root = definition.disable_help_subcommand(true);
    root.build();
    let Some(dir) = &args.output_dir else {
        out.raw(&page(&root))?;
        return Ok(Outcome::Done);
    };
    let fail =
        |path: &Path, e: std::io::Error| CliError::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    std::fs::create_dir_all(dir).map_err(|e| fail(dir, e))?;
    for (name, command) in pages(&root) {
        let file = dir.join(format!("{name}.1"));
        std::fs::write(&file, page(command)).map_err(|e| fail(&file, e))?;
    }
    Ok(Outcome::Done)
}

/// Every command and the name of its page.
fn pages(root: &Command) -> Vec<(String, &Command)> {
    let mut found = vec![(page_name(root), root)];
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        found.extend(pages(command));
    }
    found
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// A page: what `clap_mangen` writes, with our own sections in place of its one for everything else.
fn page(command: &Command) -> Vec<u8> {
    let man = Man::new(command.clone());
    // clap_mangen leaves an empty date out, and what follows it would move into its place. Pages of a version are the same
    // whenever they are written, so there is none.
    let title = page_name(command).to_uppercase();
    let mut page = format!(".TH {title} 1 \"\" \"larder {}\" \"Larder\"\n", env!("CARGO_PKG_VERSION")).into_bytes();
    // Writing into memory does not fail.
    let _ = man.render_name_section(&mut page);
    let _ = man.render_synopsis_section(&mut page);
    page.extend(description(&man));
    let _ = man.render_options_section(&mut page);
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut page);
    }
    let mut own = Roff::default();
    examples(&mut own, command);
    let top = page_name(command).split('-').nth(1).unwrap_or_default().to_owned();
    let statuses: Vec<u8> = if top.is_empty() { (0..=u8::MAX).collect() } else { help::statuses(&top).to_vec() };
    own.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in help::meanings(&statuses) {
        described(&mut own, &status.to_string(), meaning);
    }
    own.control("SH", ["ENVIRONMENT"]);
    ENVIRONMENT.iter().for_each(|(name, text)| described(&mut own, name, text));
    own.control("SH", ["FILES"]);
    FILES.iter().for_each(|(name, text)| described(&mut own, name, text));
    own.control("SH", ["SEE ALSO"]);
    let see = if top.is_empty() { "age(1), rsync(1), fusermount3(1)" } else { "larder(1), larder-config(1)" };
    own.text([roman(see)]);
    let _ = own.to_writer(&mut page);
    page
}

/// The description; what is indented in it stays as it is.
fn description(man: &Man) -> Vec<u8> {
    let mut section = Vec::new();
    let _ = man.render_description_section(&mut section);
    let mut text = String::new();
    let mut as_is = false;
    for line in String::from_utf8_lossy(&section).lines() {
        if line.starts_with("  ") != as_is {
            as_is = !as_is;
            text.push_str(if as_is { ".nf\n" } else { ".fi\n" });
        }
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(if as_is { ".fi\n" } else { "" });
    text.into_bytes()
}

fn described(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(text)]);
}

/// What stands behind the options in help: examples, and before them whatever the command has to say.
fn examples(roff: &mut Roff, command: &Command) {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let Some((notes, rest)) = help.split_once(help::EXAMPLES) else { return };
    let notes = notes.trim();
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    for paragraph in notes.split("\n\n").filter(|p| !p.is_empty()) {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
    let examples = rest.split("\n\n").next().unwrap_or_default();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in examples.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_sections() {
        let mut root =
            help::dressed(super::super::definition(), clap::ColorChoice::Never).disable_help_subcommand(true);
        root.build();
        let pages = pages(&root);
        assert!(
            pages.iter().any(|(name, _)| name == "larder") && pages.iter().any(|(name, _)| name == "larder-snapshot")
        );
        for (name, command) in pages {
            let text = String::from_utf8(page(command)).unwrap();
            for section in
                ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES", "\"SEE ALSO\""]
            {
                assert!(text.contains(&format!(".SH {section}")), "{name} has no {section}");
            }
            assert!(!text.contains("Exit status:"), "{name}: {text}");
        }
    }
}
