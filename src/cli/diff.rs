//! `larder diff`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::capture::LeaveOut;
use crate::ops::diff::{
    Aspects, Change, DiffOptions, Rewritten, Side, Sort, Sums, Tally, What, between, sum_between, with_folder,
};

use super::context;
use super::entry::PathJson;
use super::error::CliError;
use super::leave_out::LeaveOutArgs;
use super::output::{Output, human_bytes};
use super::place::Place;
use super::progress::Bar;
use super::{Global, Outcome};

/// Show what differs between two snapshots, or a snapshot and a folder
///
/// Each line has `+` for what was added, `-` removed, `M` holds something else, `T` became another sort of thing, `U` only metadata
/// changed; then a size (of what was added or removed, or by how much it grew or shrank); then the path. Of a FOLDER is left out
/// what `larder snapshot` would leave out with the same options, its .larderignore files heeded; of the snapshot the same is left out then,
/// and a view (as by-key is in a dataset of records) that FOLDER does not have.
/// In the sums what became another sort of thing counts as removed and added too.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  larder diff work~1 work\n  larder diff work~1:src work:src --content\n  larder diff latest ~/work\n  larder diff latest:docs ./docs --json"
)]
pub(super) struct DiffArgs {
    /// The older one
    #[arg(value_name = "SNAP[:PATH]")]
    old: OsString,
    /// The newer one, or a folder as it is now: a path that begins with / or . or ~
    #[arg(value_name = "SNAP[:PATH]|FOLDER")]
    new: OsString,
    /// Only what files and links hold, no metadata; all files of a FOLDER are read, not only those whose time or size changed
    #[arg(long)]
    content: bool,
    /// Only sums
    #[arg(long)]
    summary: bool,
    /// Leave out of FOLDER what a snapshot with this profile of the configuration would; its [defaults] count in any case
    #[arg(long, value_name = "NAME", help_heading = "What is left out")]
    profile: Option<String>,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
    /// The same with what the configuration adds.
    #[arg(skip)]
    pub(super) configured: LeaveOutArgs,
}

/// A change; its path is from what was compared, empty for that itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangeJson {
    #[serde(flatten)]
    path: PathJson,
    /// `added`, `removed`, `type`, `content` or `metadata`.
    change: &'static str,
    /// Which metadata changed: `mode`, `owner`, `mtime`, `xattrs`, `links`, `holes`.
    metadata: Vec<&'static str>,
    /// What was there.
    old: Option<SideJson>,
    /// What is there.
    new: Option<SideJson>,
}

/// One side of a change.
#[derive(Debug, Serialize, JsonSchema)]
struct SideJson {
    /// `file`, `folder`, `symlink` or `special`.
    kind: &'static str,
    /// Bytes of a file, or of a symlink's target.
    size: u64,
}

/// Sums over what was added or removed.
#[derive(Debug, Serialize, JsonSchema)]
struct TallyJson {
    files: u64,
    folders: u64,
    others: u64,
    /// Sum of the files' sizes.
    bytes: u64,
}

/// Files and links that hold something else.
#[derive(Debug, Serialize, JsonSchema)]
struct ContentJson {
    items: u64,
    /// Their bytes before.
    old_bytes: u64,
    /// Their bytes now.
    new_bytes: u64,
}

/// Sums over all changes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SummaryJson {
    added: TallyJson,
    removed: TallyJson,
    content: ContentJson,
    /// Items of which only metadata changed.
    metadata: u64,
    /// Items that became another sort of thing; they count as removed and added too.
    types: u64,
    /// Items of the folder that could not be looked at.
    unreadable: u64,
}

/// What `larder diff --json` prints, one a line: changes in the order of the tree (none with `--summary`), then the sums.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum DiffJson {
    /// A change.
    Change(ChangeJson),
    /// The sums, last.
    Summary(SummaryJson),
}

pub(super) fn run(args: &DiffArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let old = Place::parse(&args.old).map_err(|e| folder_first(e, &args.old))?;
    let new = match as_folder(&args.new) {
        Some(path) => Newer::Folder(path),
        None => Newer::Place(Place::parse(&args.new).map_err(|e| missing_folder(e, &args.new))?),
    };
    if matches!(new, Newer::Place(_)) && (args.leave_out.is_given() || args.profile.is_some()) {
        return Err(CliError::new(
            Kind::Usage,
            "what is left out is told of a FOLDER; two snapshots are compared whole",
        ));
    }
    let leave_out = match new {
        Newer::Folder(_) => args.configured.clone().read()?,
        Newer::Place(_) => LeaveOut::default(),
    };
    let (needs, act) =
        if args.content { (Role::Owner, "comparing content") } else { (Role::Catalog, "comparing snapshots") };
    let store = context::open_for(needs, act, global)?;
    let old = old.find(&store).map_err(|e| folder_first(e, &args.old))?;
    let options = DiffOptions { content: args.content };
    let bar = Bar::start(out, "diff");
    let mut tell = |change: Change| -> Result<(), CliError> {
        if args.summary {
            Ok(())
        } else if out.json() {
            out.print_json(&DiffJson::Change(as_json(&change)))
        } else {
            line(&change, out)
        }
    };
    let (sums, unreadable) = match new {
        Newer::Place(new) => {
            let new = new.find(&store).map_err(|e| missing_folder(e, &args.new))?;
            let (pages, old, new) = (&old.pages, &old.entry, &new.entry);
            let sums = if args.summary {
                sum_between(pages, old, new, options, &bar)?
            } else {
                between(pages, old, new, options, &bar, &mut tell)?
            };
            (sums, 0)
        }
        Newer::Folder(path) => {
            if old.entry.folder().is_none() {
                return Err(CliError::new(Kind::Usage, "only a folder of a snapshot can be compared with a folder"));
            }
            with_folder(&old.pages, &old.entry, path, &leave_out, options, &bar, &mut tell)?
        }
    };
    bar.finish();
    let summary = summary(&sums, unreadable);
    if out.json() {
        out.print_json(&DiffJson::Summary(summary))?;
    } else if args.summary {
        out.line(&in_words(&sums))?;
    } else {
        out.remark(&in_words(&sums));
    }
    Ok(if unreadable > 0 { Outcome::Partial } else { Outcome::Done })
}

/// What the older one is compared with.
enum Newer<'a> {
    Place(Place),
    Folder(&'a Path),
}

/// A folder of the host, if the text is written as one. Snapshots are never written so.
fn as_folder(text: &OsStr) -> Option<&Path> {
    let bytes = text.as_bytes();
    let looks = matches!(bytes, b"." | b"..") || [&b"/"[..], b"./", b"../", b"~/"].iter().any(|f| bytes.starts_with(f));
    looks.then(|| Path::new(text))
}

fn missing_folder(error: CliError, text: &OsStr) -> CliError {
    let path = Path::new(text);
    if matches!(error.kind, Kind::NotFound | Kind::Usage) && path.is_dir() {
        return error.hint(format!("for the folder write ./{}", path.display()));
    }
    error
}

fn folder_first(error: CliError, text: &OsStr) -> CliError {
    let path = Path::new(text);
    if matches!(error.kind, Kind::NotFound | Kind::Usage) && path.is_dir() {
        let dot = if as_folder(text).is_some() { "" } else { "./" };
        return error.hint(format!("a folder stands second: larder diff SNAP {dot}{}", path.display()));
    }
    error
}

/// The sign and the word for what changed.
pub(super) fn signs(what: What) -> (char, &'static str) {
    match what {
        What::Added => ('+', "added"),
        What::Removed => ('-', "removed"),
        What::Type => ('T', "type"),
        What::Content(_) => ('M', "content"),
        What::Metadata(_) => ('U', "metadata"),
    }
}

/// Which metadata changed, to stand behind a path; nothing if more than metadata did.
pub(super) fn metadata_text(what: What) -> String {
    match what {
        What::Metadata(aspects) => format!("  ({})", aspects.words().collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}

fn line(change: &Change, out: &Output) -> Result<(), CliError> {
    let size = |side: Option<Side>| side.map_or(0, |s| s.size);
    let of_file = |side: Option<Side>| match side {
        Some(side) if side.sort == Sort::File => human_bytes(side.size),
        _ => String::new(),
    };
    let size = match change.what {
        What::Added | What::Type => of_file(change.new),
        What::Removed => of_file(change.old),
        What::Content(_) => growth(size(change.old), size(change.new)),
        What::Metadata(_) => String::new(),
    };
    let mut text = format!("{} {size:>10}  ", signs(change.what).0).into_bytes();
    text.extend_from_slice(&out.name(if change.path.is_empty() { b"." } else { &change.path }));
    if change.new.or(change.old).is_some_and(|s| s.sort == Sort::Folder) {
        text.push(b'/');
    }
    text.extend_from_slice(metadata_text(change.what).as_bytes());
    text.push(b'\n');
    out.raw(&text)
}

fn growth(old: u64, new: u64) -> String {
    let sign = if new < old { '-' } else { '+' };
    format!("{sign}{}", human_bytes(new.abs_diff(old)))
}

fn in_words(sums: &Sums) -> String {
    let items = |t: &Tally| t.files + t.folders + t.others;
    format!(
        "added: {} ({}) · removed: {} ({}) · changed: {} ({}) · only metadata: {} · another type: {}",
        items(&sums.added),
        human_bytes(sums.added.bytes),
        items(&sums.removed),
        human_bytes(sums.removed.bytes),
        sums.content.items,
        growth(sums.content.old_bytes, sums.content.new_bytes),
        sums.metadata,
        sums.types,
    )
}

fn as_json(change: &Change) -> ChangeJson {
    let side = |side: Side| SideJson {
        kind: match side.sort {
            Sort::File => "file",
            Sort::Folder => "folder",
            Sort::Symlink => "symlink",
            Sort::Special => "special",
        },
        size: side.size,
    };
    let aspects = match change.what {
        What::Added | What::Removed | What::Type => None,
        What::Content(aspects) | What::Metadata(aspects) => Some(aspects),
    };
    ChangeJson {
        path: (&*change.path).into(),
        change: signs(change.what).1,
        metadata: aspects.iter().flat_map(Aspects::words).collect(),
        old: change.old.map(side),
        new: change.new.map(side),
    }
}

fn summary(sums: &Sums, unreadable: u64) -> SummaryJson {
    let tally = |t: Tally| TallyJson { files: t.files, folders: t.folders, others: t.others, bytes: t.bytes };
    let Rewritten { items, old_bytes, new_bytes } = sums.content;
    SummaryJson {
        added: tally(sums.added),
        removed: tally(sums.removed),
        content: ContentJson { items, old_bytes, new_bytes },
        metadata: sums.metadata,
        types: sums.types,
        unreadable,
    }
}
