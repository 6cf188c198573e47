//! The command line. The only place that prints, prompts, reads the environment and knows clap.
//!
//! Arguments are parsed into plain structs; each command is a file with its arguments and a `run`.

mod array;
mod cat;
mod context;
mod diff;
mod error;
mod evidence;
mod export;
mod find;
mod history;
mod init;
mod list;
mod ls;
mod mount;
mod output;
mod place;
mod progress;
mod report;
mod restore;
mod show;
mod size;
mod snapshot;
mod stats;
mod stream;
mod verify;
mod why;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use error::CliError;
use output::Output;

/// Snapshots of folders, each byte kept once, compressed and encrypted; mounted, restored and exported at will.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100, after_help = EXIT_STATUS, propagate_version = true)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 done · 1 failed · 2 usage · 3 done, but some items could not be read or carried · 10 no such store or \
snapshot · 11 locked · 12 wrong key · 13 damage found · 14 made by a newer version · 130 interrupted";

#[derive(Debug, Clone, Args)]
struct Global {
    /// The store: the folder that `larder init` made
    #[arg(
        long,
        short = 's',
        global = true,
        env = "LARDER_STORE",
        value_name = "PATH",
        help_heading = "Global options"
    )]
    store: Option<PathBuf>,
    /// A file with age identities or an SSH private key (can be repeated; LARDER_IDENTITY takes several, separated by `:`)
    #[arg(long, short = 'i', global = true, value_name = "FILE", help_heading = "Global options")]
    identity: Vec<PathBuf>,
    /// Print JSON alone on standard output, errors too
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Print neither progress nor remarks
    #[arg(long, short = 'q', global = true, help_heading = "Global options")]
    quiet: bool,
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
    Export(export::ExportArgs),
    Verify(verify::VerifyArgs),
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
            Self::Verify(args) => verify::run(&args, global, out),
        }
    }
}

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All done.
    Done,
    /// Done, but some items could not be read or carried.
    Partial,
}

/// Runs the program with these arguments (the first is its name) and tells how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let wants_json = args.iter().any(|a| a == "--json");
    let parsed = Cli::command().try_get_matches_from(&args).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => return report::usage(&e, wants_json),
    };
    let out = Output::new(cli.global.json, cli.global.quiet);
    match cli.command.run(&cli.global, &out) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::from(error::PARTIAL),
        Err(e) => report::failure(&e, &out),
    }
}
