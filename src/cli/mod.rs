//! The command line. The only place that prints, prompts, reads the environment and knows clap.
//!
//! Arguments are parsed into plain structs; each command is a file with its arguments and a `run`. What commands share is
//! settled before one runs: the configuration file, progress, colours, the log.

mod arrival;
mod background;
mod cat;
mod changes;
mod completions;
pub(crate) mod config;
mod context;
mod diff;
mod entry;
mod error;
mod events;
mod evidence;
mod export;
mod files;
mod filter;
mod find;
mod folders;
mod forget;
mod fstab;
mod gc;
mod heal;
mod help;
mod history;
mod hold;
mod hold_json;
mod import;
mod init;
mod keep;
mod key;
mod layout_arg;
mod leave_out;
mod limit_args;
mod list;
mod logger;
mod ls;
mod man;
mod mount;
mod output;
mod pack_file;
mod pack_input;
mod pack_keys;
mod place;
mod policy;
mod profile;
mod progress;
mod records;
mod rehearsal;
mod repair;
mod report;
mod restore;
mod schema;
mod secrecy;
mod settings;
mod show;
mod show_config;
pub(crate) mod size;
mod snapshot;
mod snapshot_json;
mod stats;
mod stderr;
mod store_args;
mod stream;
mod sync;
mod unpack;
mod verdicts;
mod verify;
mod verify_json;
mod verify_pack;
mod why;
mod writers;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{
    ArgAction, ArgMatches, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint,
};

use error::CliError;
use output::{ColorMode, Output, ProgressMode};
use profile::SnapshotOptions;
use settings::Settings;

/// Snapshots of folders, each byte kept once, compressed and encrypted; mounted, restored and exported at will.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = help::GLOBAL)]
struct Global {
    /// The store: a name of the configuration, or the folder that `larder init` made
    #[arg(long, short = 's', global = true, env = "LARDER_STORE", hide_env_values = true, value_name = "STORE", value_hint = ValueHint::DirPath)]
    store: Option<PathBuf>,
    /// A file with age identities or an SSH private key (can be repeated; LARDER_IDENTITY takes several, separated by `:`)
    #[arg(long, short = 'i', global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    identity: Vec<PathBuf>,
    /// The configuration file, instead of larder/larder.toml in the configuration folder
    #[arg(long, global = true, env = "LARDER_CONFIG", hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print JSON alone on standard output, errors too; `larder schema` describes it
    #[arg(long, global = true)]
    json: bool,
    /// Print neither progress nor remarks
    #[arg(long, short = 'q', global = true)]
    quiet: bool,
    /// Tell on standard error what is done and how long it takes; twice: each step
    #[arg(long, short = 'v', global = true, action = ArgAction::Count)]
    verbose: u8,
    /// How progress is shown: auto, none, bar (with --json too) or json (on standard error) [default: auto]
    #[arg(
        long,
        global = true,
        env = "LARDER_PROGRESS",
        hide_env_values = true,
        value_name = "HOW",
        value_enum,
        hide_possible_values = true
    )]
    progress: Option<ProgressMode>,
    /// When colours are used: auto, always or never (`NO_COLOR` and `CLICOLOR_FORCE` are heeded) [default: auto]
    #[arg(long, global = true, value_name = "WHEN", value_enum, hide_possible_values = true)]
    color: Option<ColorMode>,
    /// What the configuration file says, and what follows from it.
    #[arg(skip)]
    settings: Settings,
}

impl Global {
    /// How this run prints.
    fn output(&self) -> Output {
        let Settings { command, progress, color, .. } = &self.settings;
        Output::new(self.json, self.quiet).of(command, progress.value, color.value)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Snapshot(Box<snapshot::SnapshotArgs>),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Diff(diff::DiffArgs),
    Find(find::FindArgs),
    History(history::HistoryArgs),
    Stats(stats::StatsArgs),
    WhyBig(why::WhyBigArgs),
    WhyNew(why::WhyNewArgs),
    Restore(restore::RestoreArgs),
    Mount(mount::MountArgs),
    #[command(alias = "umount")]
    Unmount(mount::UnmountArgs),
    #[command(visible_alias = "pack")]
    Export(export::ExportArgs),
    Import(Box<import::ImportArgs>),
    Unpack(unpack::UnpackArgs),
    Forget(forget::ForgetArgs),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Policy(policy::PolicyArgs),
    Verify(verify::VerifyArgs),
    Gc(gc::GcArgs),
    Repair(repair::RepairArgs),
    Heal(heal::HealArgs),
    Key(key::KeyArgs),
    Records(records::RecordsArgs),
    Sync(sync::SyncArgs),
    Config(show_config::ConfigArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    fn run(self, global: &Global, out: &Output) -> Result<Outcome, CliError> {
        match self {
            Self::Init(args) => init::run(args, global, out),
            Self::Snapshot(args) => snapshot::run(*args, global, out),
            Self::List(args) => list::run(&args, global, out),
            Self::Show(args) => show::run(&args, global, out),
            Self::Ls(args) => ls::run(&args, global, out),
            Self::Cat(args) => cat::run(&args, global, out),
            Self::Diff(args) => diff::run(&args, global, out),
            Self::Find(args) => find::run(&args, global, out),
            Self::History(args) => history::run(&args, global, out),
            Self::Stats(args) => stats::run(&args, global, out),
            Self::WhyBig(args) => why::big(&args, global, out),
            Self::WhyNew(args) => why::new(&args, global, out),
            Self::Restore(args) => restore::run(&args, global, out),
            Self::Mount(args) => mount::run(args, global, out),
            Self::Unmount(args) => mount::run_unmount(&args, out),
            Self::Export(args) => export::run(&args, global, out),
            Self::Import(args) => import::run(*args, global, out),
            Self::Unpack(args) => unpack::run(&args, global, out),
            Self::Forget(args) => forget::run(&args, global, out),
            Self::Hold(args) => hold::run(&args, global, out),
            Self::Release(args) => hold::run_release(&args, global, out),
            Self::Policy(args) => policy::run(args, global, out),
            Self::Verify(args) => verify::run(&args, global, out),
            Self::Gc(args) => gc::run(&args, global, out),
            Self::Repair(args) => repair::run(&args, global, out),
            Self::Heal(args) => heal::run(&args, global, out),
            Self::Key(args) => key::run(&args, global, out),
            Self::Records(args) => records::run(&args, global, out),
            Self::Sync(args) => sync::run(&args, global, out),
            Self::Config(args) => show_config::run(&args, global, out),
            Self::Schema(args) => schema::run(&args, out),
            Self::Completions(args) => completions::run(&args, definition(), out),
            Self::Man(args) => man::run(&args, help::dressed(definition(), ColorChoice::Never), out),
        }
    }

    /// True if settings matter to it: a broken configuration must not hinder those that help to mend it, nor an unmount.
    fn reads_config(&self) -> bool {
        match self {
            Self::Unmount(_) | Self::Schema(_) | Self::Completions(_) | Self::Man(_) => false,
            Self::Config(args) => args.reads_file(),
            _ => true,
        }
    }
}

/// The command line's definition.
fn definition() -> clap::Command {
    Cli::command()
}

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All done.
    Done,
    /// Done, but some items could not be read or carried.
    Partial,
}

/// Runs the program with these arguments (the first is its name) and gives its exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    events::elapsed();
    let args = fstab::arguments(args.into_iter().collect());
    let wants_json = args.iter().any(|a| a == "--json");
    let definition = help::dressed(definition(), color_of_help(&args));
    let parsed = definition.try_get_matches_from(&args).and_then(|m| Ok((Cli::from_arg_matches(&m)?, m)));
    let (mut cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => return report::usage(&e, wants_json, init::cut_recipient(&args)),
    };
    cli.global.settings = Settings::early(matches.subcommand_name(), cli.global.progress, cli.global.color);
    let prepared = prepare(&mut cli, &matches);
    let out = cli.global.output();
    logger::start(cli.global.verbose, out.progress() == ProgressMode::Json);
    if let Some(file) = &cli.global.settings.config.file {
        log::info!("settings from {}", file.display());
    }
    let status = match prepared.and_then(|()| cli.command.run(&cli.global, &out)) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Partial) => error::PARTIAL,
        Err(e) => report::failure(&e, &out),
    };
    report::ended(status, &out);
    status
}

/// Runs another command with these arguments, of which the first is the program's name, as this one is run.
fn again(arguments: Vec<OsString>, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let parsed = definition().try_get_matches_from(arguments).and_then(|m| Cli::from_arg_matches(&m));
    let cli = parsed.map_err(|e| CliError::new(crate::model::Kind::Usage, e.to_string()))?;
    cli.command.run(global, out)
}

/// Reads the configuration and puts what it says where the command looks for it.
fn prepare(cli: &mut Cli, matches: &ArgMatches) -> Result<(), CliError> {
    if !cli.command.reads_config() {
        return Ok(());
    }
    let options = SnapshotOptions::new();
    let profile = named_profile(matches);
    settings::settle(&mut cli.global, matches, &options, profile)?;
    let config = &cli.global.settings.config;
    match (&mut cli.command, matches.subcommand()) {
        (Command::Snapshot(args), Some((_, given))) => **args = profile::filled(given, config, profile, &options)?,
        (Command::Diff(args), Some((_, given))) => {
            args.configured = profile::left_out(given, config, profile, &options)?;
        }
        _ => {}
    }
    Ok(())
}

/// The profile that was named, in `snapshot`, `diff` or `config show`.
fn named_profile(matches: &ArgMatches) -> Option<&str> {
    let (name, mut below) = matches.subcommand()?;
    if name == "config" {
        below = below.subcommand()?.1;
    }
    below.try_get_one::<String>("profile").ok().flatten().map(String::as_str)
}

/// Colours of help and of complaints about the arguments, which come before the arguments are understood.
fn color_of_help(args: &[OsString]) -> ColorChoice {
    let words = || args.iter().filter_map(|a| a.to_str());
    let joined = words().find_map(|a| a.strip_prefix("--color="));
    let apart = || words().skip_while(|a| *a != "--color").nth(1);
    let flag = joined.or_else(apart).and_then(|text| ColorMode::from_str(text, false).ok());
    match settings::early_color(flag) {
        ColorMode::Auto => ColorChoice::Auto,
        ColorMode::Always => ColorChoice::Always,
        ColorMode::Never => ColorChoice::Never,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_sound() {
        super::definition().debug_assert();
    }
}
