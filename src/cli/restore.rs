//! `larder restore`

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::model::{DatasetName, Kind, Progress, Role, SnapshotId, SnapshotKind, shell_word};
use crate::ops::capture::{CaptureOptions, Captured, LeaveOut, Source, capture};
use crate::ops::read;
use crate::ops::restore::{Change, Overwrite, RestoreError, RestoreOptions, Restored, Select, passed, restore};
use crate::store::Store;

use super::changes::{self, Changes, RestoreJson, RestoreReportJson, Run};
use super::context;
use super::error::CliError;
use super::folders;
use super::output::{Output, counted, escaped, short_id};
use super::place::Place;
use super::progress::Bar;
use super::store_args::who;
use super::writers::Writers;
use super::{Global, Outcome, settings};

/// Write a snapshot, or a part of it, into a folder
///
/// Of a folder its contents go into DEST, anything else goes there under its name. DEST is made if it is missing.
///
/// A restore that was cut short is finished by the same command: what is there with its size and time of change is not
/// written again. No file has its name before it is complete.
///
/// Patterns are those of .gitignore, from the root of what is restored: `*.c` and `cache/` at any depth, `/src` and
/// `docs/*.md` from the root. An exclusion weighs more than an inclusion; the folders above what is restored come along.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder restore latest:src /tmp/src
  larder restore work~1 ~/work --include '*.c' --dry-run
  larder restore work~1 ~/work --delete --safety      # make it as it was; the id that is told leads back")]
pub(super) struct RestoreArgs {
    /// What
    #[arg(value_name = "SNAP[:PATH]")]
    what: OsString,
    /// Where
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Restore only what matches, a folder with all that is in it (can be repeated); a pattern that nothing fits is told,
    /// and the exit status is 3
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave aside what matches (can be repeated); --delete leaves it aside too
    #[arg(long, short = 'e', value_name = "PATTERN")]
    exclude: Vec<String>,
    /// What happens to files that exist [default: never; with --delete: if-changed]
    #[arg(long, value_enum, value_name = "WHEN")]
    overwrite: Option<When>,
    /// Remove what DEST has and the snapshot has not; never in another file system, never what patterns leave aside
    ///
    /// That includes what rules left out of the capture (--safety keeps it). Of several paths that were captured together, only in them: the
    /// folders above keep what else they have.
    #[arg(long)]
    delete: bool,
    /// Let --delete remove what the snapshot lacks only because it could not be read
    #[arg(long, requires = "delete")]
    incomplete: bool,
    /// Restore views too: folders whose content stands elsewhere in the snapshot, as by-key does in a dataset of records
    #[arg(long)]
    with_views: bool,
    /// Change nothing; list what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// List each change: `+` made, `~` replaced, `.` only its metadata put right, `-` removed, `!` left as it is; `all`: also `=`, there already
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "done")]
    changes: Option<Changes>,
    /// Before DEST is changed, capture it as a snapshot of the dataset `NAME.safety`; `partial`: even if some of it cannot be read
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "whole")]
    safety: Option<Safety>,
    /// Read back what was written and compare
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// They stay; those of the same size, time, permissions and owner count as restored
    Never,
    /// Those that differ in size or time are replaced, unless their content is the same
    IfChanged,
    /// They are replaced
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Safety {
    /// The restore does not begin if anything of DEST cannot be read
    Whole,
    /// It begins all the same
    Partial,
}

pub(super) fn run(args: &RestoreArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let place = Place::parse(&args.what)?;
    let mut options = options(args, global)?;
    let store = context::open_for(Role::Owner, "restoring", global)?;
    let found = place.find(&store)?;
    Writers::tell(&store, place.name(), found.id, out);
    if let Some(lacking) = found.lacking() {
        if args.delete && !args.incomplete {
            return Err(CliError::new(Kind::Usage, format!("{lacking}: --delete could remove the only copy"))
                .hint("restore without --delete, or with --incomplete if you are sure"));
        }
        out.remark(&format!("larder: {lacking} when it was captured"));
    }
    options.passed = passed(&found.pages, &found.manifest, &found.path)?;
    let safety = safety_snapshot(args, &store, out)?;
    let bar = Bar::start(out, "restore");
    if options.select.is_all() {
        let (items, bytes) = found.extent();
        bar.expect(items, bytes);
    }
    let mut broken = None;
    let wanted = args.changes.or(args.dry_run.then_some(Changes::Done));
    let mut list = |change: Change| {
        if broken.is_none() {
            broken = Bar::aside(|| changes::print(&change, wanted, out)).err();
        }
    };
    let done = restore(&found.pages, &found.entry, &args.dest, &options, &bar, &mut list);
    bar.finish();
    let done = done?;
    if let Some(error) = broken {
        return Err(error);
    }
    let unmatched: Vec<_> = options.select.unmatched().map(str::to_owned).collect();
    unmatched.iter().for_each(|pattern| out.tell(&format!("larder: {}", nothing_fits(pattern))));
    let (snapshot, dest) = (found.id, &args.dest);
    let run = Run { snapshot, dest, dry_run: args.dry_run, safety, unmatched: &unmatched };
    if out.json() {
        out.print_json(&RestoreReportJson::Summary(Box::new(RestoreJson::new(&run, &done))))?;
    } else {
        out.remark(&changes::summary(&run, &done));
    }
    let ended = ended(&done, out)?;
    if !args.dry_run {
        store.note_reads(context::now());
    }
    match ended {
        Outcome::Done if !unmatched.is_empty() => Ok(Outcome::Partial),
        outcome => Ok(outcome),
    }
}

fn nothing_fits(pattern: &str) -> String {
    let from_root = "; one that begins with / counts from the root of what is restored";
    let why = if pattern.starts_with('/') { from_root } else { "" };
    format!("nothing to restore fits the pattern {pattern:?}{why}")
}

fn options(args: &RestoreArgs, global: &Global) -> Result<RestoreOptions, RestoreError> {
    let dirs = folders::client_dirs();
    let mut guarded = vec![folders::default_identity(), dirs.state, dirs.cache];
    guarded.extend(settings::identities(global, context::store_path(global).ok().as_deref()).value);
    guarded.extend(global.settings.config.file.clone());
    let overwrite = match args.overwrite {
        None if args.delete => Overwrite::IfChanged,
        None | Some(When::Never) => Overwrite::Never,
        Some(When::IfChanged) => Overwrite::IfChanged,
        Some(When::Always) => Overwrite::Always,
    };
    let select = Select::new(&args.include, &args.exclude)?;
    let (verify, delete, dry_run) = (args.verify, args.delete, args.dry_run);
    let views = args.with_views;
    Ok(RestoreOptions { overwrite, verify, select, delete, views, dry_run, guarded, passed: HashSet::new() })
}

/// Captures what is in the target, if there is anything and the user wants it.
fn safety_snapshot(args: &RestoreArgs, store: &Store, out: &Output) -> Result<Option<SnapshotId>, CliError> {
    let Some(safety) = args.safety.filter(|_| !args.dry_run) else { return Ok(None) };
    if !std::fs::read_dir(&args.dest).is_ok_and(|mut items| items.next().is_some()) {
        return Ok(None);
    }
    let options = CaptureOptions {
        // Nothing at all is left out: no ignore file counts here.
        leave_out: LeaveOut::default(),
        kind: SnapshotKind::Safety,
        reason: Some(format!("before {} was restored into {}", args.what.display(), args.dest.display())),
        who: who(),
        ..CaptureOptions::new(safety_dataset(&args.dest))
    };
    let before = before_same_restore(store, &options);
    let bar = Bar::start(out, "safety");
    let info = capture(store, Source::Paths(vec![args.dest.clone()]), options, &bar, &context::now);
    bar.finish();
    let info = info?;
    let (id, unreadable) = (short_id(info.id), info.manifest.statistics.unreadable);
    read_back(store, &info, out)?;
    if unreadable > 0 && safety == Safety::Whole {
        let left = counted(unreadable, "item", "items");
        return Err(CliError::new(
            Kind::Partial,
            format!("the safety snapshot {id} lacks {left} that could not be read; nothing was restored"),
        )
        .hint("--safety=partial restores all the same"));
    }
    if !out.json() {
        let way = undo(&id, &args.dest).map(|undo| format!("; `{undo}` leads back")).unwrap_or_default();
        out.tell(&format!("safety snapshot {id}{way}"));
        if let Some(before) = before {
            out.tell(&format!("the one before it, {}, was taken before the same restore began", short_id(before)));
        }
    }
    Ok(Some(info.id))
}

/// The safety snapshot before, if it was taken before the same restore: that may have been cut short, and this one goes on.
fn before_same_restore(store: &Store, options: &CaptureOptions) -> Option<SnapshotId> {
    let record = store.dataset_record(store.keyring().ids().dataset(&options.dataset)).ok()??;
    let before = store.manifest(&record.manifest).ok()?;
    (before.reason == options.reason).then_some(record.manifest)
}

/// Reads the safety snapshot whole: what it shares with older ones may be damaged, and what is removed now would be the last copy.
fn read_back(store: &Store, safety: &Captured, out: &Output) -> Result<(), CliError> {
    store.refresh()?;
    let bar = Bar::start(out, "safety check");
    bar.expect(safety.manifest.root.span(), safety.manifest.statistics.bytes);
    let checked = read::check(&context::pages(store), &safety.manifest.root, &bar);
    bar.finish();
    checked.map_err(|e| {
        let error = CliError::from(e);
        if error.kind == Kind::Interrupted {
            let message =
                format!("stopped; nothing was restored, and the safety snapshot {} is kept", short_id(safety.id));
            return CliError { message, ..error };
        }
        let what = format!("the safety snapshot {} cannot be read back: {}", short_id(safety.id), error.message);
        CliError { message: format!("{what}; nothing was restored"), ..error }
    })
}

/// The command that leads back, as a shell takes it; nothing if the path holds what a terminal or a shell could misread.
fn undo(id: &str, dest: &Path) -> Option<String> {
    let dest = dest.canonicalize().ok()?;
    let dest = dest.to_str().filter(|path| escaped(path) == *path)?;
    Some(format!("larder restore {id} {} --delete", shell_word(dest)))
}

/// A series of its own: the dataset that has the folder's name stays what it is.
fn safety_dataset(dest: &Path) -> DatasetName {
    let name = dest.canonicalize().ok().and_then(|path| path.file_name().map(|n| n.to_string_lossy().into_owned()));
    let fits: String = name.unwrap_or_else(|| "root".to_owned()).chars().take(60).collect();
    DatasetName::coerce(&format!("{fits}.safety"), "safety")
}

fn ended(done: &Restored, out: &Output) -> Result<Outcome, CliError> {
    match done.kind() {
        None => Ok(Outcome::Done),
        Some(Kind::Partial) => Ok(Outcome::Partial),
        Some(Kind::Damage) => {
            Err(CliError::new(Kind::Damage, "not everything could be restored: the store is damaged")
                .hint("larder verify --read-data tells everything that is affected, `larder repair` and `larder heal` what can be done about it")
                .told(out.json()))
        }
        Some(kind) => {
            let error = CliError::new(kind, "not all reads back as the snapshot has it");
            let hint =
                "what was there already with the same size and time was not written; --overwrite always writes all";
            let error = if done.unchanged + done.adjusted > 0 { error.hint(hint) } else { error };
            Err(error.told(out.json()))
        }
    }
}
