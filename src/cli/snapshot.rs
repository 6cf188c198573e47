//! `larder snapshot`

use std::path::PathBuf;

use clap::Args;

use crate::model::{DatasetName, Evidence, Kind, Name, Progress, SnapshotKind};
use crate::ops::capture::{CaptureOptions, Source, capture};
use crate::store::Waiting;

use super::context;
use super::error::CliError;
use super::output::{Output, SnapshotJson, human_bytes, short_id};
use super::progress::Bar;
use super::{Global, Outcome};

/// Capture folders, files or standard input as a snapshot
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  larder snapshot ~/src\n  larder snapshot /etc /srv --dataset host --exclude '*.log'\n  pg_dump db | larder snapshot --stdin db.sql --dataset db"
)]
pub(super) struct SnapshotArgs {
    /// One folder: its contents are the root. Several paths, or a file: each at its absolute path
    #[arg(value_name = "PATH", required_unless_present = "stdin", conflicts_with = "stdin")]
    paths: Vec<PathBuf>,
    /// The series it belongs to [default: the folder's last name, or `default`]
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Option<DatasetName>,
    /// Leave out what matches, as in .gitignore (can be repeated)
    #[arg(long, short = 'e', value_name = "GLOB")]
    exclude: Vec<String>,
    /// Leave out what matches the patterns in a file, a line each (can be repeated)
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,
    /// Do not go into other file systems
    #[arg(long, short = 'x')]
    one_file_system: bool,
    /// Read standard input into a file of this name
    #[arg(long, value_name = "NAME")]
    stdin: Option<String>,
    /// Why it is made
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A label (can be repeated)
    #[arg(long, short = 'l', value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Read every file, even those that look unchanged
    #[arg(long)]
    force_read: bool,
    /// Do not decode each block again before it is written
    #[arg(long)]
    no_extra_verify: bool,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: SnapshotArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let (options, source) = plan(args)?;
    let store = context::open_named(global)?;
    let bar = Bar::start(out, "snapshot");
    if let Ok(Some(record)) = store.dataset_record(store.keyring().ids().dataset(&options.dataset)) {
        // The one before is the best guess of how much there is.
        if let Ok(before) = store.manifest(&record.manifest) {
            let s = before.statistics;
            bar.expect(s.files + s.folders + s.others, s.bytes);
        }
    }
    let info = capture(&store, source, options, &bar, &context::now);
    bar.finish();
    let info = info?;
    let m = &info.manifest;
    let s = &m.statistics;
    if out.json() {
        out.print_json(&SnapshotJson::new(info.id, m))?;
    } else {
        out.line(&info.id.to_string())?;
        let mut left =
            if s.unreadable > 0 { format!(", {} items could not be read", s.unreadable) } else { String::new() };
        if s.changed > 0 {
            left.push_str(&format!(", {} files changed while they were read", s.changed));
        }
        out.remark(&format!(
            "{} of {}: {} files, {} folders, {}; {} new, stored in {}{left}",
            short_id(info.id),
            m.dataset,
            s.files,
            s.folders,
            human_bytes(s.bytes),
            human_bytes(s.new_bytes),
            human_bytes(s.stored_bytes),
        ));
    }
    Ok(if s.unreadable > 0 { Outcome::Partial } else { Outcome::Done })
}

fn plan(args: SnapshotArgs) -> Result<(CaptureOptions, Source), CliError> {
    let usage = |text: String| CliError::new(Kind::Usage, text);
    let mut exclude = args.exclude;
    for file in &args.exclude_from {
        let text = std::fs::read_to_string(file)
            .map_err(|e| usage(format!("cannot read the patterns in {}: {e}", file.display())))?;
        exclude.extend(text.lines().map(str::to_owned));
    }
    let mut labels = Vec::new();
    for label in &args.label {
        let (key, value) = label
            .split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .ok_or_else(|| usage(format!("{label:?} is not KEY=VALUE")))?;
        labels.push((key.to_owned(), value.to_owned()));
    }
    labels.sort();
    if let Some(twice) = labels.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(usage(format!("the label {:?} is given twice", twice[0].0)));
    }
    let dataset = args.dataset.unwrap_or_else(|| default_dataset(&args.paths));
    let source = match args.stdin {
        Some(name) => {
            let name = Name::new(name.as_bytes()).map_err(|e| usage(e.to_string()))?;
            Source::Stream(name, Box::new(std::io::stdin()))
        }
        None => Source::Paths(args.paths),
    };
    let options = CaptureOptions {
        dataset,
        exclude,
        one_file_system: args.one_file_system,
        force_read: args.force_read,
        check_blocks: !args.no_extra_verify,
        waiting: if args.no_wait { Waiting::NoWait } else { Waiting::Wait },
        kind: SnapshotKind::Manual,
        reason: args.reason,
        labels,
        references: Vec::new(),
        evidence: Evidence::default(),
        who: who(),
    };
    Ok((options, source))
}

/// The folder's last name; `default` for several paths or a stream.
fn default_dataset(paths: &[PathBuf]) -> DatasetName {
    let name = match paths {
        [path] => path.canonicalize().ok().and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned())),
        _ => None,
    };
    DatasetName::coerce(&name.unwrap_or_default(), "default")
}

/// Machine, user and program, as manifests record them.
pub(super) fn who() -> (String, String, String) {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let uid = rustix::process::getuid().as_raw();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    (host, user.map_or_else(|| uid.to_string(), |u| u.name), concat!("larder ", env!("CARGO_PKG_VERSION")).to_owned())
}
