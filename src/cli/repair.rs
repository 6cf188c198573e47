//! `larder repair`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Progress, Role};
use crate::ops::repair;
use crate::store::{
    Acceptance, ClosedStore, DAMAGED, DATABASE, Finding, LOST_ENTRIES, LostEntry, Mending, PlainFile, Repaired, Store,
    StoreError, THE_HEADER, Waiting, of_wrong_sort, set_wrong_sort_aside,
};

use super::context;
use super::error::CliError;
use super::forget::asked;
use super::output::{Output, counted, escaped, human_bytes};
use super::progress::Bar;
use super::verify_json::FindingJson;
use super::{Global, Outcome};

/// Make anew what can be made anew of a damaged store
///
/// Without --apply it only tells what it would do (exit status 13 if there is something). Header and key objects come from their copies in the
/// database, the indexes from a scan that opens every block, the tip from the log. Nothing that is damaged is removed: the database as it
/// was goes to the folder `damaged` in the store, which needs room for all that is not blocks. What is in damaged blocks is stored anew when a
/// later capture, or `larder heal`, meets it. Needs an owner's key.
///
/// Entries of the arrival log that are not about a snapshot (holds, policies, what was given up, changes of keys) stand nowhere else: of those that are lost
/// only a copy of the store can give back what they said (`larder heal COPY`). As long as entries are missing, nothing is forgotten or removed: one of them may be a hold.
/// With --accept-lost-entries an owner gives them up: what they said no longer counts, and the store works again. Look for a copy first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder repair                                        what is wrong, and what would be done
  larder repair --apply                                do it
  larder repair --apply --accept-lost-entries          no copy has what the log has lost: go on without
  larder verify --read-data                            what is still missing, and which snapshots and paths that touches")]
pub(super) struct RepairArgs {
    /// Tell what would be done and change nothing; this is what it does unless told otherwise
    #[arg(long, conflicts_with = "apply")]
    plan: bool,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Give up the entries of the arrival log that are lost for good, when all is made anew that can be: holds and policies among them no longer count,
    /// and what they gave up is back
    #[arg(long, requires = "apply")]
    accept_lost_entries: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", requires = "accept_lost_entries", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Fail if another larder writes to the store, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: &RepairArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let waiting = if args.no_wait { Waiting::NoWait } else { Waiting::Wait };
    let mending = if args.apply { Mending::Yes } else { Mending::No };
    let dir = context::store_path(global)?;
    let mut files = if args.apply { set_wrong_sort_aside(&dir)? } else { of_wrong_sort(&dir) };
    // A database that does not open has no copies to give.
    let closed = match opened(waiting, || context::open_closed_for_repair(mending, global)) {
        Err(e) if e.kind == Kind::Damage && args.apply => None,
        // What has a hint of its own is another matter: a store that was set back, say.
        Err(e) if e.kind == Kind::Damage && [DAMAGED, DATABASE].map(Some).contains(&e.hint.as_deref()) => {
            return Err(e.hint(DOES_NOT_OPEN));
        }
        closed => Some(closed?),
    };
    let damaged = closed.as_ref().map(ClosedStore::damaged_files).transpose()?.unwrap_or_default();
    let (others, damaged): (Vec<_>, Vec<_>) = damaged.into_iter().partition(PlainFile::is_another);
    if let Some(closed) = closed.as_ref().filter(|_| args.apply) {
        closed.put_in_place(&damaged, waiting, &|| true)?;
    }
    files.extend(damaged);
    // It may have been put together in a folder where it is about to be put together again.
    drop(closed);
    // Keys that are damaged open nothing; what is behind them can be told once they are in place.
    let store = match opened(waiting, || context::open_for_repair(mending, global)) {
        Err(e) if matches!(e.kind, Kind::WrongKey | Kind::Damage) && !others.is_empty() => {
            if args.apply {
                Some(open_with_others(e, others, &mut files, waiting, global)?)
            } else {
                files.extend(others);
                None
            }
        }
        Err(_) if !args.apply && !files.is_empty() => None,
        store => Some(store?),
    };
    if let Some(store) = &store {
        store.require(Role::Owner, "repairing")?;
    }
    let accept = args.accept_lost_entries.then(|| {
        let asked = asked(args.reason.as_ref(), args.no_wait);
        Acceptance { reason: asked.reason, by: asked.by, now: context::now() }
    });
    let bar = Bar::start(out, "repair");
    let keep_waiting = || !bar.cancelled();
    let repaired = match &store {
        Some(store) if args.apply => Some(repair::repair(store, accept.as_ref(), waiting, &keep_waiting, &bar)),
        Some(store) => Some(repair::plan(store, &bar)),
        None => None,
    };
    bar.finish();
    let repaired = repaired.transpose().map_err(|e| match e {
        StoreError::Interrupted => CliError::new(Kind::Interrupted, "interrupted; nothing was changed"),
        e => e.into(),
    })?;
    let report = RepairJson::new(args.apply, &files, repaired.as_ref());
    if out.json() {
        out.print_json(&report)?;
    } else {
        print(args.apply, &files, repaired.as_ref(), out)?;
    }
    end(&report, out)
}

/// Opens, and waits for who else is writing if that is wanted: a database that does not open is put together from its files under the lock.
fn opened<T>(waiting: Waiting, open: impl Fn() -> Result<T, CliError>) -> Result<T, CliError> {
    loop {
        match open() {
            Err(e) if e.kind == Kind::Locked && waiting == Waiting::Wait => std::thread::sleep(LOCK_STEP),
            done => return done,
        }
    }
}

/// Opens a store that does not open with files that are whole: they give way to their copies, the header only where it may be its fault. Where that
/// does not help they come back.
fn open_with_others(
    mut why: CliError,
    others: Vec<PlainFile>,
    files: &mut Vec<PlainFile>,
    waiting: Waiting,
    global: &Global,
) -> Result<Store, CliError> {
    let put = |files: &[PlainFile]| -> Result<(), CliError> {
        let closed = opened(waiting, || context::open_closed_for_repair(Mending::Yes, global))?;
        Ok(closed.put_in_place(files, waiting, &|| true)?)
    };
    let before: Vec<_> = others.iter().filter_map(PlainFile::as_it_is).collect();
    let (header, keys): (Vec<_>, Vec<_>) = others.into_iter().partition(PlainFile::is_header);
    let is_headers = |e: &CliError| e.kind == Kind::WrongKey || e.message.contains(THE_HEADER);
    let groups = if why.message.starts_with(THE_HEADER) { [header, keys] } else { [keys, header] };
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        if group.iter().any(PlainFile::is_header) && !is_headers(&why) {
            continue;
        }
        put(&group)?;
        files.extend(group);
        match opened(waiting, || context::open_for_repair(Mending::Yes, global)) {
            Err(e) if matches!(e.kind, Kind::WrongKey | Kind::Damage) => why = e,
            done => return done,
        }
    }
    put(&before)?;
    Err(why)
}

/// After what time a lock that another process holds is tried again.
const LOCK_STEP: Duration = Duration::from_millis(100);

/// What it means that entries are void.
const MEANING: &str = "If there were holds or policies among them, these no longer count: set them again with `larder hold` and `larder policy set`. What they gave up \
    is listed again, unless gc has removed it: forget it again, or with --lost. `larder key list` shows the keys as they were before: `larder key rotate --keep NAME…` names those \
    that are to stay, and removes the others; then add again what was added by an entry among them";

/// What to do about what no repair makes anew.
const LOST: &str = "larder verify tells which snapshots and paths; capture their sources again, or give larder heal a folder, pack or store that has them; \
    snapshots whose manifests are lost for good `larder forget --lost` gives up";

/// What to do about key objects of which nobody has proved which ones are right.
const UNSETTLED: &str = "`larder key rotate` writes the objects of all keys anew";

/// What to do about a database without a CURRENT or MANIFEST.
const DOES_NOT_OPEN: &str = "`larder repair --apply` puts the database together anew from its table files";

/// What to do about lost entries of the log of which the first ones were given up now: very many are told at a time, and no more.
const ONCE_MORE: &str = "more of them came to light: run `larder repair --apply --accept-lost-entries` once more";

/// What to do about lost entries of the log. A hold that cannot be read holds, until it is lifted.
fn lost_entries_hint(report: &RepairJson) -> &'static str {
    if report.lost_entries.iter().all(|lost| lost.can_be_void) {
        LOST_ENTRIES
    } else {
        "`larder heal COPY` takes what they said from a copy of the store; else: a hold that cannot be read holds without an end, until `larder release` lifts it \
         (then `larder hold` sets it anew); all other entries `larder repair --apply --accept-lost-entries` gives up"
    }
}

fn end(report: &RepairJson, out: &Output) -> Result<Outcome, CliError> {
    // What was in a damaged block may be needed by nothing that lives.
    let blocks = if report.applied || !report.rebuild { report.lacking } else { !report.damaged_blocks.is_empty() };
    let lost = blocks || !report.lost.is_empty();
    let (text, hint) = match (report.applied, report.needed, lost) {
        (true, _, false) if !report.unsettled_keys.is_empty() => ("key objects differ from the database", UNSETTLED),
        (_, false, false) => return Ok(Outcome::Done),
        (_, false, true) => ("snapshots lack what is lost", LOST),
        (false, true, _) if report.is_of_the_log_alone() => {
            ("entries of the arrival log are lost", lost_entries_hint(report))
        }
        (false, true, true) if report.makes_nothing() => ("something is lost for good", LOST),
        (false, _, _) => ("the store is damaged", "larder repair --apply does what is told above"),
        (true, _, false) => return Ok(Outcome::Done),
        (true, _, true) if report.has_more_to_accept() => ("entries of the arrival log are lost still", ONCE_MORE),
        (true, _, true) if !report.lost_entries.is_empty() => {
            ("repaired, but entries of the arrival log are lost", lost_entries_hint(report))
        }
        (true, _, true) => ("repaired, but something is lost", LOST),
    };
    Err(CliError::new(Kind::Damage, text).hint(hint).told(out.json()))
}

/// What is told of key objects of which file and row are different ones.
const ANOTHER: &str = "the database has another object of this key, or none";

fn print(applied: bool, files: &[PlainFile], repaired: Option<&Repaired>, out: &Output) -> Result<(), CliError> {
    let would = |done: &str, plan: &str| if applied { done.to_owned() } else { format!("would {plan}") };
    for file in files {
        let path = file.path.display().to_string();
        let what = if file.has_copy() {
            would("put in place", "put in place") + " from its copy in the database"
        } else {
            would("set aside", "set aside")
        };
        out.line(&format!("{what}: {}: {}", escaped(&path), escaped(&file.why)))?;
    }
    let Some(r) = repaired else {
        return out.line("the rest can be told when that is done: the store does not open yet");
    };
    let told = |word: &str, findings: &[Finding]| -> Result<(), CliError> {
        let each = |f: &Finding| out.line(&format!("{word}: {}: {}", escaped(&f.object), escaped(&f.why)));
        findings.iter().try_for_each(each)
    };
    told("damaged", &r.files)?;
    told("damaged", &r.damaged)?;
    told("lost for good", &r.lost)?;
    for (word, paths) in
        [("settled", &r.settled), (if applied { "not settled" } else { "to be settled" }, &r.unsettled)]
    {
        let each = |path: &PathBuf| out.line(&format!("{word}: {}: {ANOTHER}", escaped(&path.display().to_string())));
        paths.iter().try_for_each(each)?;
    }
    if let Some(why) = &r.tip {
        out.line(&format!("{}: {}", would("tip made anew", "make the tip anew"), escaped(why)))?;
    }
    if r.rebuild {
        let (missing, wrong) = (counted(r.missing_rows, "row", "rows"), counted(r.wrong_rows, "row", "rows"));
        let verb = would("database built anew", "build the database anew");
        out.line(&format!("{verb}: {missing} of indexes made anew, {wrong} that name what is not there left out"))?;
    }
    if let Some(accepted) = &r.accepted {
        for lost in &accepted.entries {
            out.line(&format!("void from now on: {}: {}", escaped(&lost.object()), escaped(&lost.why)))?;
        }
        out.line(&format!("entry {} of the arrival log says so. {MEANING}", accepted.sequence))?;
    }
    if let Some(aside) = &r.aside {
        out.line(&format!("the old one is in {}", escaped(&aside.display().to_string())))?;
    }
    if r.is_whole() && files.is_empty() {
        let (blocks, bytes) = (counted(r.blocks, "block", "blocks"), human_bytes(r.bytes));
        out.line(&format!("nothing to repair: {blocks}, {bytes} opened"))?;
    }
    Ok(())
}

/// What is to be repaired, or was.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RepairJson {
    /// False if this is a plan and nothing was changed.
    applied: bool,
    /// True if there is, or was, something to do.
    needed: bool,
    /// Header and key objects that come from their copies in the database, and what is set aside because it stands in the place of a file or folder of the store.
    files: Vec<PlainFileJson>,
    /// Blocks that were opened; nothing if the store does not open before those files are in place.
    blocks: Option<u64>,
    /// Bytes of those blocks in the store.
    block_bytes: Option<u64>,
    /// Files of the database that are damaged, and rows whose numbers nobody can have come to by counting.
    database_files: Vec<FindingJson>,
    /// Blocks that cannot be opened. The index no longer claims what is in them.
    damaged_blocks: Vec<FindingJson>,
    /// Rows of indexes and digests that are made anew.
    missing_rows: u64,
    /// Rows of indexes and digests that name what is not there, and are left out.
    wrong_rows: u64,
    /// What cannot be made anew: entries of the log, manifests, dataset records.
    lost: Vec<FindingJson>,
    /// The entries of the arrival log among it.
    lost_entries: Vec<LostJson>,
    /// Entries of the arrival log that are lost, which an owner has accepted before.
    void_entries: u64,
    /// What was given up now; nothing unless that was asked for and there was something.
    accepted: Option<AcceptedJson>,
    /// Key objects of which file and row were different ones, or that had no row, and are the one that an owner wrote last.
    settled_keys: Vec<String>,
    /// Those of which nobody has proved which one that is, or in a plan those that differ or have no row.
    unsettled_keys: Vec<String>,
    /// Why the tip is made anew, if it is.
    tip: Option<String>,
    /// The database is built anew.
    rebuild: bool,
    /// Snapshots still lack something after this; `larder verify` tells which. Not known of a plan to build the database anew.
    lacking: bool,
    /// Where the old database is; nothing in a plan.
    aside: Option<String>,
}

/// An entry of the arrival log that is lost, or what it says.
#[derive(Debug, Serialize, JsonSchema)]
struct LostJson {
    sequence: u64,
    why: String,
    /// False of a hold that cannot be read: it holds until it is lifted.
    can_be_void: bool,
}

impl From<&LostEntry> for LostJson {
    fn from(lost: &LostEntry) -> Self {
        Self { sequence: lost.sequence, why: lost.why.clone(), can_be_void: lost.can_be_void() }
    }
}

/// Entries of the arrival log that were given up.
#[derive(Debug, Serialize, JsonSchema)]
struct AcceptedJson {
    /// The entry that says so.
    sequence: u64,
    /// Those that are void.
    entries: Vec<LostJson>,
}

/// A file that comes from its copy.
#[derive(Debug, Serialize, JsonSchema)]
struct PlainFileJson {
    path: String,
    why: String,
}

impl RepairJson {
    /// True if entries of the log are lost and nothing else, and nothing can be made anew.
    fn is_of_the_log_alone(&self) -> bool {
        self.makes_nothing() && !self.lost.is_empty() && self.lost.len() == self.lost_entries.len()
    }

    /// True if there is nothing that can be made anew.
    fn makes_nothing(&self) -> bool {
        !self.rebuild && self.tip.is_none() && self.files.is_empty() && self.unsettled_keys.is_empty()
    }

    /// True if entries were given up, and others that could be are left.
    fn has_more_to_accept(&self) -> bool {
        self.accepted.is_some() && self.lost_entries.iter().any(|lost| lost.can_be_void)
    }

    fn new(applied: bool, files: &[PlainFile], repaired: Option<&Repaired>) -> Self {
        let none = Repaired::default();
        let r = repaired.unwrap_or(&none);
        let plain = |f: &PlainFile| PlainFileJson { path: f.path.display().to_string(), why: f.why.clone() };
        Self {
            applied,
            needed: !files.is_empty() || !r.is_whole(),
            files: files.iter().map(plain).collect(),
            blocks: repaired.map(|r| r.blocks),
            block_bytes: repaired.map(|r| r.bytes),
            database_files: r.files.iter().map(Into::into).collect(),
            damaged_blocks: r.damaged.iter().map(Into::into).collect(),
            missing_rows: r.missing_rows,
            wrong_rows: r.wrong_rows,
            lost: r.lost.iter().map(Into::into).collect(),
            lost_entries: r.lost_entries.iter().map(Into::into).collect(),
            void_entries: r.void,
            accepted: r.accepted.as_ref().map(|accepted| AcceptedJson {
                sequence: accepted.sequence,
                entries: accepted.entries.iter().map(Into::into).collect(),
            }),
            settled_keys: r.settled.iter().map(|path| path.display().to_string()).collect(),
            unsettled_keys: r.unsettled.iter().map(|path| path.display().to_string()).collect(),
            tip: r.tip.clone(),
            rebuild: r.rebuild,
            lacking: r.lacking,
            aside: r.aside.as_ref().map(|path| path.display().to_string()),
        }
    }
}
