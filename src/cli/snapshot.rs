//! `larder snapshot`

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::model::{DatasetName, Kind, Name, Progress, Quiet, Role};
use crate::ops::capture::{CaptureOptions, Captured, Source, capture};

use super::context;
use super::error::CliError;
use super::evidence::{EvidenceArgs, read_labels};
use super::leave_out::LeaveOutArgs;
use super::output::{Output, counted, human_bytes, short_id};
use super::progress::Bar;
use super::rehearsal;
use super::snapshot_json::{CapturedJson, SnapshotJson, SnapshotReportJson};
use super::store_args::StoreArgs;
use super::stream::{CommandOutput, StandardInput};
use super::{Global, Outcome};

const USAGE: &str = "\
larder snapshot [OPTIONS] PATH...
       larder snapshot [OPTIONS] --stdin NAME
       larder snapshot [OPTIONS] --stdin-from-command [--stdin NAME] -- COMMAND [ARGUMENT]...";

const EXAMPLES: &str = "\
A .larderignore file in a folder of the source leaves out, from there down, what its lines fit, with the rules of \
.gitignore: the last line that fits decides, ! takes back, a deeper file goes before a higher one, and --exclude goes \
before all files. The file itself is captured; nothing in a folder that is left out is looked at.

Of file systems that show the kernel's state (proc, sysfs, cgroup, devpts, …) and of Larder's own mounts the mount point \
alone is captured, unless PATH is in them. The store and Larder's own cache and state folders are left out.

Examples:
  larder snapshot ~/src
  larder snapshot /etc /srv --dataset host --exclude '*.log' --skip-if-unchanged
  larder snapshot ~ --exclude-caches --exclude-larger-than 2G --dry-run
  larder snapshot --dataset db --stdin db.sql --stdin-from-command -- pg_dump db
  larder snapshot build --kind post --scope project --scope-ref web --metrics figures.json";

/// Capture folders, files, standard input or what a command prints
#[derive(Debug, Clone, Default, Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub(super) struct SnapshotArgs {
    /// One folder: its contents are the root. Several paths, or a file: each at its absolute path; a symlink as a link,
    /// unless a / stands behind it. With
    /// --stdin-from-command: the command and its arguments
    #[arg(value_name = "PATH", required_unless_present_any = ["stdin", "profile"], value_parser = word())]
    paths: Vec<PathBuf>,
    /// With the settings of this profile in the configuration; what is given here besides wins
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The series it belongs to [default: the folder's last name, or `default`]
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Option<DatasetName>,
    /// Do not go into other file systems
    #[arg(long, short = 'x')]
    one_file_system: bool,
    /// Read standard input into a file of this name
    #[arg(long, value_name = "NAME")]
    stdin: Option<String>,
    /// Run the command behind `--` and capture what it prints, as a file with the command's name or that of --stdin; if
    /// the command fails, there is no snapshot
    #[arg(long)]
    stdin_from_command: bool,
    /// Tell what would be captured and read, and each item that would be left out; write nothing to the store
    #[arg(long, short = 'n', conflicts_with_all = ["stdin", "stdin_from_command"])]
    dry_run: bool,
    /// Read every file, even those that look unchanged
    #[arg(long)]
    force_read: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    pub(super) leave_out: LeaveOutArgs,
    /// Why it is made
    #[arg(long, value_name = "TEXT", help_heading = "What the snapshot says about itself")]
    reason: Option<String>,
    /// A label (can be repeated)
    #[arg(long, short = 'l', value_name = "KEY=VALUE", help_heading = "What the snapshot says about itself")]
    label: Vec<String>,
    #[command(flatten)]
    evidence: EvidenceArgs,
}

pub(super) fn run(args: SnapshotArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let input = input(&args)?;
    let dry_run = args.dry_run;
    let options = options(args, &input)?;
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "snapshot");
    if let Ok(Some(record)) = store.dataset_record(store.keyring().ids().dataset(&options.dataset)) {
        // The one before is the best guess of how much there is.
        if let Ok(before) = store.manifest(&record.manifest) {
            let s = before.statistics;
            bar.expect(s.files + s.folders + s.others, s.bytes);
        }
    }
    if let (true, Input::Paths(paths)) = (dry_run, &input) {
        return rehearsal::run(&store, paths, &options, &bar, out);
    }
    let source = input.open(&bar, out)?;
    let captured = capture(&store, source, options, &bar, &context::now);
    bar.finish();
    let captured = captured?;
    tell(&captured, out)?;
    if captured.manifest.evidence.immutable && !captured.unchanged && store.keyring().role() == Role::Writer {
        out.remark("a writer key can only ask for that: it is immutable once a catalog or owner key grants it (`larder hold --immutable`); until somebody decides nothing forgets it");
    }
    Ok(if captured.manifest.statistics.unreadable > 0 { Outcome::Partial } else { Outcome::Done })
}

fn tell(captured: &Captured, out: &Output) -> Result<(), CliError> {
    let m = &captured.manifest;
    if out.json() {
        return out.print_json(&SnapshotReportJson::Captured(Box::new(CapturedJson {
            snapshot: SnapshotJson::new(captured.id, m, std::iter::empty()),
            skipped: captured.unchanged,
            left_out: captured.left_out,
        })));
    }
    if captured.unchanged {
        let id = short_id(captured.id);
        out.remark(&format!("nothing has changed since {id} of {}; no snapshot was made", m.dataset));
        return Ok(());
    }
    out.line(&captured.id.to_string())?;
    let s = &m.statistics;
    let mut text = format!(
        "{} of {}: {}, {}, {}; {} new, stored in {}",
        short_id(captured.id),
        m.dataset,
        counted(s.files, "file", "files"),
        counted(s.folders, "folder", "folders"),
        human_bytes(s.bytes),
        human_bytes(s.new_bytes),
        human_bytes(s.stored_bytes),
    );
    let notes = [
        (captured.left_out, "item left out", "items left out"),
        (s.unreadable, "item could not be read", "items could not be read"),
        (s.changed, "file changed while it was read", "files changed while they were read"),
    ];
    for (count, one, many) in notes.into_iter().filter(|(count, ..)| *count > 0) {
        text.push_str(&format!(", {}", counted(count, one, many)));
    }
    out.remark(&text);
    Ok(())
}

/// Where what is captured comes from.
#[derive(Debug)]
enum Input {
    Paths(Vec<PathBuf>),
    Stream(Name),
    Command(Name, Vec<std::ffi::OsString>),
}

impl Input {
    fn open(self, bar: &Bar, out: &Output) -> Result<Source, CliError> {
        Ok(match self {
            Self::Paths(paths) => Source::Paths(paths),
            Self::Stream(name) => {
                let input = StandardInput::new(bar.stop());
                let none = |e| CliError::new(Kind::Failed, format!("standard input cannot be read: {e}"));
                Source::Stream(name, Box::new(input.map_err(none)?))
            }
            Self::Command(name, words) => Source::Stream(name, Box::new(CommandOutput::new(words, bar.stop(), *out))),
        })
    }
}

/// A word of a command may be empty, which clap forbids for paths.
fn word() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn usage(text: impl Into<String>) -> CliError {
    CliError::new(Kind::Usage, text)
}

fn input(args: &SnapshotArgs) -> Result<Input, CliError> {
    let name = |bytes: &[u8]| Name::new(bytes).map_err(|e| usage(e.to_string()));
    if args.stdin_from_command {
        let program = args.paths.first().ok_or_else(|| {
            usage("--stdin-from-command wants a command").hint("write it behind the options: -- COMMAND ARGUMENT...")
        })?;
        let file_name = program.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
        let name = name(args.stdin.as_ref().map(String::as_bytes).or(file_name).unwrap_or_default())?;
        return Ok(Input::Command(name, args.paths.iter().map(|word| word.clone().into_os_string()).collect()));
    }
    match &args.stdin {
        None => Ok(Input::Paths(args.paths.clone())),
        Some(_) if !args.paths.is_empty() => Err(usage("--stdin and paths cannot be captured together")
            .hint("to capture what a command prints, add --stdin-from-command")),
        Some(_) if args.evidence.takes_stdin() => {
            Err(usage("standard input is captured: it cannot be --metrics or --payload too"))
        }
        Some(text) => Ok(Input::Stream(name(text.as_bytes())?)),
    }
}

fn options(args: SnapshotArgs, input: &Input) -> Result<CaptureOptions, CliError> {
    let dataset = args.dataset.unwrap_or_else(|| default_dataset(input));
    let leave_out = args.leave_out.read()?;
    let labels = read_labels(&args.label)?;
    let (kind, evidence, references) = args.evidence.read(&Quiet)?;
    Ok(CaptureOptions {
        leave_out,
        one_file_system: args.one_file_system,
        force_read: args.force_read,
        kind,
        reason: args.reason,
        labels,
        references,
        evidence,
        ..args.store.options(dataset)
    })
}

/// The folder's last name; `default` for several paths or a stream.
fn default_dataset(input: &Input) -> DatasetName {
    let name = match input {
        Input::Paths(paths) if paths.len() == 1 => {
            // `.` and `..` have no last name of their own.
            let named = paths[0].file_name().map(std::ffi::OsStr::to_owned);
            let name = named.or_else(|| paths[0].canonicalize().ok()?.file_name().map(std::ffi::OsStr::to_owned));
            name.map(|n| n.to_string_lossy().into_owned())
        }
        _ => None,
    };
    DatasetName::coerce(&name.unwrap_or_default(), "default")
}
