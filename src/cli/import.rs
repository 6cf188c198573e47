//! `larder import`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::archives::{Limits, Opened};
use crate::model::{DatasetName, Kind, Quiet, Role, SnapshotKind};
use crate::ops::capture::{CaptureOptions, Captured};
use crate::ops::records::holds_pack;
use crate::packs::{Audited, ImportOptions, Imported, Original, SnapshotInfo, dataset_of, import, rehearse};
use crate::store::Store;

use super::error::CliError;
use super::evidence::{EvidenceArgs, read_labels};
use super::layout_arg::LayoutArg;
use super::limit_args::{AllowArgs, LimitArgs};
use super::output::{Output, counted, escaped, human_bytes, short_id};
use super::pack_input::{default_dataset, failed, open, tell_met};
use super::pack_keys::PasswordArgs;
use super::progress::Bar;
use super::snapshot_json::SnapshotJson;
use super::store_args::StoreArgs;
use super::{Global, Outcome, context, records};

/// Make a snapshot of a pack, or of somebody else's archive
///
/// A pack of Larder's (`larder export`) becomes the snapshot that it was, in any store and from every format: the same tree, with all
/// metadata. It is proved against its manifest and its checksums on the way; if anything differs, nothing is imported. The snapshot is
/// marked as a replay (kind `import`, labels replay, original-id, original-created-at) and keeps what the original said of itself. Whether the original
/// was immutable, and its retention class, counts only with --keep-retention. Several snapshots in one pack are imported together or not at all.
///
/// Of any other tar or zip (compressed with gzip, zstd, xz or bzip2, sealed with age or as a zip.enc; told by content, not by name) the
/// tree that it holds becomes a snapshot. A name in it that differs from an earlier one in letter case or accents alone is refused unless --alike says
/// otherwise; absolute names, and members that are there twice, unless --allow does. What a member has that makes no sense (an ACL, say) is told and left out: exit status 3. A pack of exchange records (a folder, zip or zip.enc with the
/// manifest of a dataset and records/ in it) is imported as by `larder records import`, unless --layout says something else.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder import home-2026-11-20T08-00-00Z-1a2b3c4d.tar.zst
  larder import linux-6.1.tar.xz --dataset linux --label version=6.1 --alike tell
  age -d backup.tar.age | larder import - --dataset backup")]
pub(super) struct ImportArgs {
    /// Which file; `-` is standard input
    #[arg(value_name = "PACK", value_hint = ValueHint::FilePath)]
    pack: PathBuf,
    /// The series it goes to [default: the one that the pack names, with `.import` behind it where what is captured under that name goes on; of other
    /// archives the file's name, `default` of standard input]
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Option<DatasetName>,
    /// Take over from the pack that the original was immutable, and its retention class
    #[arg(long)]
    keep_retention: bool,
    /// Read and prove all of it, tell what would be imported, and write nothing to the store
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArgs,
    /// Which layouts of other systems are looked for, checked and understood, in an archive that is not Larder's
    #[arg(long, value_enum, value_name = "LAYOUT", default_value = "auto")]
    layout: LayoutArg,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Why it is made
    #[arg(long, value_name = "TEXT", help_heading = "What the snapshot says about itself")]
    reason: Option<String>,
    /// A label (can be repeated)
    #[arg(long, short = 'l', value_name = "KEY=VALUE", help_heading = "What the snapshot says about itself")]
    label: Vec<String>,
    #[command(flatten)]
    evidence: EvidenceArgs,
}

/// What `larder import --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ImportJson {
    /// Nothing was written.
    dry_run: bool,
    /// Members of the archive.
    members: u64,
    /// What members have that makes no sense, or is in a form that Larder does not know: it was left out.
    lost: u64,
    /// Names that are like another but for letter case or accents.
    alike: u64,
    /// The snapshots, in the order of the pack.
    snapshots: Vec<ImportedJson>,
}

/// A snapshot that was imported, or would be.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct ImportedJson {
    /// The series it goes to.
    dataset: String,
    /// What was made, or stands for what has not changed; nothing with --dry-run.
    snapshot: Option<SnapshotJson>,
    /// No snapshot was made: the newest of the dataset is equal.
    skipped: bool,
    /// The id of the snapshot that was exported; nothing of archives of others.
    original_id: Option<String>,
    /// Its dataset.
    original_dataset: Option<String>,
    /// Of a pack that has not all of that snapshot: the paths that it has.
    paths: Option<Vec<String>>,
}

impl ImportedJson {
    fn new(dataset: &DatasetName, captured: Option<(SnapshotJson, bool)>, original: Option<&Original>) -> Self {
        let skipped = captured.as_ref().is_some_and(|(_, unchanged)| *unchanged);
        Self {
            dataset: dataset.to_string(),
            snapshot: captured.map(|(snapshot, _)| snapshot),
            skipped,
            original_id: original.map(|original| original.snapshot.id.clone()),
            original_dataset: original.map(|original| original.snapshot.dataset.clone()),
            paths: original.and_then(|original| original.paths.clone()),
        }
    }
}

pub(super) fn run(args: ImportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if args.pack == Path::new("-") && args.evidence.takes_stdin() {
        return Err(CliError::new(Kind::Usage, "standard input is imported: it cannot be --metrics or --payload too"));
    }
    let store = context::open_for(Role::Writer, "importing", global)?;
    let bar = Bar::start(out, "import");
    let limits = args.allow.of(args.limits.taking());
    let looks = matches!(args.layout, LayoutArg::Auto);
    if looks && records::is_pack_folder(&args.pack) {
        return import_records(args, None, &store, &bar, out);
    }
    let mut opened = open(&args.pack, &args.password.keys(global), &limits, &bar)?.opened;
    if looks {
        let is_pack;
        (opened, is_pack) = records::look_for_pack(opened, &limits);
        if is_pack {
            return import_records(args, Some(opened), &store, &bar, out);
        }
    }
    let (dry_run, pack) = (args.dry_run, args.pack.clone());
    let options = options(args, limits)?;
    if dry_run {
        let found = rehearse(opened, &options, &bar, &std::env::temp_dir());
        bar.finish();
        let (audited, originals) = found.map_err(|e| failed(&pack, e))?;
        foretell(&store, &audited, &originals, &options, out)?;
        return Ok(tell_met(&pack, &audited, out));
    }
    let imported = import(&store, opened, &options, &bar, &context::now);
    bar.finish();
    let (imported, met) = imported.map_err(|e| failed(&pack, e))?;
    tell(&imported, &met, out)?;
    for one in &imported {
        let Captured { manifest, .. } = &one.captured;
        // Whoever may only write cannot look.
        if holds_pack(&context::pages(&store), manifest).unwrap_or_default() {
            let (from, dataset) = (escaped(&pack.to_string_lossy()), &manifest.dataset);
            out.remark(&format!(
                "{dataset} has a pack of records as the files that they are: to find them by key and hash, `larder records import {from} --dataset NAME`"
            ));
        }
    }
    let outcome = tell_met(&pack, &met, out);
    let asked = imported.iter().any(|one| one.captured.manifest.evidence.immutable && !one.captured.unchanged);
    if asked && store.keyring().role() == Role::Writer {
        out.remark("a writer key can only ask for that: it is immutable once a catalog or owner key grants it (`larder hold --immutable`); until somebody decides nothing forgets it");
    }
    Ok(outcome)
}

/// A pack of exchange records, opened unless it is a folder.
fn import_records(
    args: ImportArgs,
    opened: Option<Opened>,
    store: &Store,
    bar: &Bar,
    out: &Output,
) -> Result<Outcome, CliError> {
    if !args.label.is_empty() || args.keep_retention || args.evidence != EvidenceArgs::default() {
        let message = format!(
            "{} is a pack of exchange records, which takes no labels, evidence or retention",
            args.pack.display()
        );
        return Err(CliError::new(Kind::Usage, message)
            .hint("leave them out, or import it as a folder like any other with --layout none"));
    }
    let limits = args.allow.of(args.limits.taking());
    let ImportArgs { pack, dataset, dry_run, reason, .. } = args;
    records::import_pack(records::PackImport { from: pack, dataset, dry_run, reason, limits }, opened, store, bar, out)
}

fn options(args: ImportArgs, limits: Limits) -> Result<ImportOptions, CliError> {
    let labels = read_labels(&args.label)?;
    let named = args.evidence.kind.is_some();
    let (kind, evidence, references) = args.evidence.read(&Quiet)?;
    let name = args.pack.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(ImportOptions {
        limits,
        keep_retention: args.keep_retention,
        layout: args.layout.wanted(),
        source: name.filter(|name| name != "-"),
        capture: CaptureOptions {
            kind: if named { kind } else { SnapshotKind::Import },
            reason: args.reason,
            labels,
            references,
            evidence,
            ..args.store.options(default_dataset(&args.pack))
        },
        dataset: args.dataset,
    })
}

/// Tells what would be imported.
fn foretell(
    store: &Store,
    audited: &Audited,
    originals: &[Original],
    options: &ImportOptions,
    out: &Output,
) -> Result<(), CliError> {
    let would = |original: Option<&Original>| -> Result<ImportedJson, CliError> {
        let foreign = || options.dataset.clone().unwrap_or_else(|| options.capture.dataset.clone());
        let dataset =
            original.map_or_else(|| Ok(foreign()), |original| dataset_of(store, options, &original.snapshot))?;
        Ok(ImportedJson::new(&dataset, None, original))
    };
    let snapshots = match originals {
        [] => vec![would(None)?],
        originals => originals.iter().map(|original| would(Some(original))).collect::<Result<_, _>>()?,
    };
    let (lost, alike) = (audited.remarks.losses, audited.alike);
    if out.json() {
        return out.print_json(&ImportJson { dry_run: true, members: audited.members, lost, alike, snapshots });
    }
    for one in snapshots {
        let of = match (one.original_id, one.paths) {
            (Some(id), None) => format!(" of the snapshot {id}"),
            (Some(id), Some(paths)) => format!(" of parts of the snapshot {id} ({})", escaped(&paths.join(", "))),
            _ => String::new(),
        };
        out.line(&format!("{}: a snapshot{of} would be made", one.dataset))?;
    }
    let members = counted(audited.members, "member", "members");
    out.remark(&format!("{members}, {} were read and are whole", human_bytes(audited.bytes)));
    Ok(())
}

fn tell(imported: &[Imported], met: &Audited, out: &Output) -> Result<(), CliError> {
    if out.json() {
        let json = |one: &Imported| {
            let Captured { id, manifest, unchanged, .. } = &one.captured;
            let snapshot = SnapshotJson::new(*id, manifest, std::iter::empty());
            ImportedJson::new(&manifest.dataset, Some((snapshot, *unchanged)), one.original.as_ref())
        };
        let snapshots = imported.iter().map(json).collect();
        let (members, lost, alike) = (met.members, met.remarks.losses, met.alike);
        return out.print_json(&ImportJson { dry_run: false, members, lost, alike, snapshots });
    }
    for one in imported {
        let (id, m) = (one.captured.id, &one.captured.manifest);
        if one.captured.unchanged {
            let id = short_id(id);
            out.remark(&format!("it is equal to {id}, the newest of {}; no snapshot was made", m.dataset));
            continue;
        }
        out.line(&id.to_string())?;
        let s = &m.statistics;
        let original = one.original.as_ref().map_or_else(String::new, |original| {
            let Original { snapshot: SnapshotInfo { id, dataset, .. }, paths } = original;
            let parts = paths.as_ref().map_or_else(String::new, |paths| format!("parts ({}) of ", paths.join(", ")));
            format!(", a replay of {parts}{} of {dataset}", id.get(..8).unwrap_or(id))
        });
        out.remark(&format!(
            "{} of {}: {}, {}, {}; {} new, stored in {}{}",
            short_id(id),
            m.dataset,
            counted(s.files, "file", "files"),
            counted(s.folders, "folder", "folders"),
            human_bytes(s.bytes),
            human_bytes(s.new_bytes),
            human_bytes(s.stored_bytes),
            escaped(&original),
        ));
    }
    Ok(())
}
