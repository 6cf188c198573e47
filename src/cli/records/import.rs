//! `larder records import`

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::archives::{self, Opened};
use crate::model::{DatasetName, Role};
use crate::ops::records::{
    Dataset, ImportOptions, LeftOut, RawRecord, RecordsError, Report, Source, holds_dataset, import_records, newest_of,
    rehearse_records,
};
use crate::records::tape::Limits;
use crate::records::{ConflictStrategy, DatasetManifest, RecordParser, RedactionPolicy, Redactor};
use crate::store::{Store, Waiting};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, escaped, short_id};
use super::super::pack_input;
use super::super::pack_keys::PasswordArgs;
use super::super::progress::Bar;
use super::super::store_args::who;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::given;

/// Bad lines and conflicts that are told where nobody asked for JSON.
const TOLD: usize = 20;

/// Import records into a dataset, each content once
///
/// From lines of JSON, one JSON document, a list of records, a folder of such files, or a pack: of the system that the form comes from, or of Larder's. Of a folder
/// that is no pack all files are taken that end in .ndjson, .jsonl or .json, or begin as JSON does, compressed or not; what is left out is told. Of each record it is
/// decided once what becomes of it: it is skipped if its content is known (the observation is kept, if it is a new one), inserted if content and key
/// are new, a conflict if another content stands under its key. The dataset's strategy resolves conflicts, and what wins counts as
/// updated; nothing is lost, what loses is kept as an earlier version. All of it is one snapshot, or none.
///
/// A content that is known is never in conflict: an earlier version that comes again does not become current again, however late it was observed. The
/// import tells how many are so (if it brings at most 10,000 sightings), and `larder records log` of a key shows it.
///
/// A line that is no record is told, with its reason, and the others are imported (exit status 3), unless --strict. A dataset that is not there is
/// made, with the source, entity and type of the pack's manifest or of the first record.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder records import pages.ndjson --dataset pages
  larder records import pages/ -n               # a pack as a folder: what would be imported?
  fetch-pages | larder records import - --dataset pages --conflict fail --strict")]
pub(super) struct ImportArgs {
    /// A file, a folder or a pack; `-` is standard input
    #[arg(value_name = "FILE|DIR|PACK|-", value_hint = ValueHint::AnyPath)]
    from: PathBuf,
    /// Into which dataset [default: the one that the pack's manifest names, else the file's name; of standard input: default]
    #[arg(long, short = 'd', value_name = "NAME", value_hint = ValueHint::Other)]
    dataset: Option<DatasetName>,
    /// Tell what would become of each record, by the plan that an import applies, and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How conflicts are resolved [default: as the dataset says]
    #[arg(long, value_name = "HOW", value_parser = strategy())]
    conflict: Option<ConflictStrategy>,
    /// Import nothing if a line is no record
    #[arg(long)]
    strict: bool,
    /// Redact what a policy names, though the dataset does not ask for it
    #[arg(long, conflicts_with = "no_redact")]
    redact: bool,
    /// Do not redact, though the dataset asks for it
    #[arg(long)]
    no_redact: bool,
    /// With --json: tell the dataset, the snapshot, the bad lines, conflicts and redactions too
    #[arg(long)]
    details: bool,
    /// Lists and objects in each other that a record may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth)]
    max_depth: usize,
    #[command(flatten)]
    ratio: given::RatioArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Why it is made
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Reads a strategy by its name, or by the one that the other system has for it.
pub(super) fn strategy() -> impl TypedValueParser<Value = ConflictStrategy> {
    let names = [
        PossibleValue::new("prefer_newest"),
        PossibleValue::new("prefer_incoming").alias("prefer_json"),
        PossibleValue::new("prefer_existing").alias("prefer_sql"),
        PossibleValue::new("fail"),
    ];
    PossibleValuesParser::new(names).try_map(|name| ConflictStrategy::named(&name).ok_or("it is no strategy"))
}

/// What `larder records import` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct ImportReportJson {
    /// Records whose content was new, under a new key or none.
    inserted: u64,
    /// Records that won a conflict and are current now.
    updated: u64,
    /// Records whose content was known.
    skipped: u64,
    /// Records whose content was new, under a known key.
    conflicts: u64,
    /// Records in which something was redacted.
    redacted: u64,
    /// Records that said, as they came, that something had been redacted in them; left out if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_before: Option<u64>,
    /// Lines that are no records.
    invalid: u64,
    /// How long it took, in seconds.
    duration: f64,
    /// With --details.
    #[serde(flatten)]
    details: Option<DetailsJson>,
}

/// What `larder records import --details` tells beside numbers: of each list the first 10,000.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct DetailsJson {
    /// The dataset.
    dataset: String,
    /// The snapshot; nothing if none was made.
    snapshot: Option<String>,
    /// The dataset was not there before.
    new_dataset: bool,
    /// Further observations that were kept.
    sightings: u64,
    /// Of these: of versions that are not current, observed when a new content would have won. Not counted among more than 10,000 sightings.
    returned: u64,
    /// Files of a folder that hold no records.
    left_out: u64,
    /// These, each with the reason.
    left_out_files: Vec<LeftOutJson>,
    /// Lines that are no records.
    invalid_lines: Vec<LineJson>,
    /// Records whose content was new, under a known key.
    conflicting: Vec<ConflictJson>,
    /// Where something was redacted.
    redactions: Vec<RedactionJson>,
}

/// A file that was left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct LeftOutJson {
    /// Its path in the folder.
    file: String,
    /// Why.
    reason: String,
}

/// A line and what is wrong with it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct LineJson {
    /// The file that it is in; empty if there is only one.
    file: String,
    /// Its number, from 1.
    line: u64,
    /// What is wrong.
    reason: String,
}

/// A conflict.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct ConflictJson {
    /// The file that the record came in; empty if there is only one.
    file: String,
    /// Its line, from 1.
    line: u64,
    /// The path of the key.
    path: String,
    /// The hash of what was current.
    before: String,
    /// The hash of what came.
    incoming: String,
    /// What came is current now.
    won: bool,
}

/// A place where something was redacted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct RedactionJson {
    /// The file that the record came in; empty if there is only one.
    file: String,
    /// Its line, from 1.
    line: u64,
    /// Where in the record, as a JSON pointer.
    place: String,
    /// By which rule.
    rule: String,
}

impl DetailsJson {
    fn new(report: &Report, dataset: &DatasetName, left_out: &LeftOut) -> Self {
        let files = left_out.told.iter().cloned().map(|(file, reason)| LeftOutJson { file, reason });
        let bad = report.bad.iter().map(|bad| {
            let (file, reason) = (bad.file.clone(), bad.reason.clone());
            LineJson { file, line: bad.line, reason }
        });
        let conflicts = report.told.iter().map(|conflict| ConflictJson {
            file: conflict.file.clone(),
            line: conflict.line,
            path: conflict.path.clone(),
            before: conflict.before.to_string(),
            incoming: conflict.incoming.to_string(),
            won: conflict.won,
        });
        let redactions = report.redactions.iter().map(|place| RedactionJson {
            file: place.file.clone(),
            line: place.line,
            place: place.place.clone(),
            rule: place.rule.clone(),
        });
        Self {
            dataset: dataset.to_string(),
            snapshot: report.snapshot.as_ref().map(|(id, _)| id.to_string()),
            new_dataset: report.new_dataset,
            sightings: report.sightings,
            returned: report.returned,
            left_out: left_out.count,
            left_out_files: files.collect(),
            invalid_lines: bad.collect(),
            conflicting: conflicts.collect(),
            redactions: redactions.collect(),
        }
    }
}

pub(super) fn run(args: &ImportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "importing records", global)?;
    let bar = Bar::start(out, "import");
    let given = given::open(&args.from, &|| Ok(Box::new(password(args, &store)?.keys(global))), &args.ratio, &bar);
    let done = given.and_then(|given| import(args, given, &store, &bar, out));
    done.map_err(|e| given::or_interrupted(e, &bar, "interrupted; nothing was imported"))
}

fn import(args: &ImportArgs, given: given::Given, store: &Store, bar: &Bar, out: &Output) -> Result<Outcome, CliError> {
    let begun = std::time::Instant::now();
    given.remark(out);
    let given::Given { mut source, manifest: found, left_out } = given;
    let dataset = match (&args.dataset, &found) {
        (Some(name), _) => name.clone(),
        (None, Some(manifest)) => DatasetName::coerce(&manifest.dataset_name, "records"),
        (None, None) => pack_input::default_dataset(&args.from),
    };
    let mut peeked = Peeked { source: source.as_mut(), first: VecDeque::new() };
    // A pack without records is a dataset all the same.
    let empty = found.is_some();
    let mut new = match found {
        Some(manifest) => manifest,
        None => peeked.manifest(args)?,
    };
    new.dataset_name = dataset.to_string();
    // A dataset that was made for records without their secrets takes no others later.
    new.redaction_policy.enabled |= args.redact;
    let options = ImportOptions {
        dataset: dataset.clone(),
        new: Some(new),
        strategy: args.conflict,
        losing: std::collections::HashSet::new(),
        again: std::collections::HashSet::new(),
        empty,
        strict: args.strict,
        limits: Limits { depth: args.max_depth, ..Limits::default() },
        redact: if args.redact { Some(true) } else { args.no_redact.then_some(false) },
        waiting: if args.no_wait { Waiting::NoWait } else { Waiting::Wait },
        who: who(),
        reason: args.reason.clone(),
        sources: if args.from == Path::new("-") { Vec::new() } else { vec![path_bytes(&args.from)] },
    };
    let done = if args.dry_run {
        let tmp = std::env::temp_dir();
        rehearse_records(store, &mut peeked, &options, &tmp, bar, context::now())
    } else {
        import_records(store, &mut peeked, options, bar, &context::now)
    };
    bar.finish();
    let report = done?;
    let details = args.details.then(|| DetailsJson::new(&report, &dataset, &left_out));
    let outcome = tell(&report, args.dry_run, &dataset, begun.elapsed().as_secs_f64(), details, out)?;
    if report.new_dataset && (args.dry_run || report.snapshot.is_some()) {
        let made = if args.dry_run { "would be" } else { "is" };
        let nothing = if report.redacts {
            ""
        } else {
            "; nothing is redacted in it (--redact, or `larder records init --redact` before)"
        };
        out.remark(&format!("{dataset} {made} a new dataset{nothing}"));
    }
    Ok(outcome)
}

fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_bytes().to_vec()
}

/// Where the password is: as the user says, else as the dataset does if it is there already.
fn password(args: &ImportArgs, store: &Store) -> Result<PasswordArgs, CliError> {
    let newest = args.dataset.as_ref().map_or(Ok(None), |name| newest_of(store, name))?;
    let dataset = newest.map_or(Ok(None), |manifest| Dataset::of(&context::pages(store), &manifest))?;
    match dataset {
        Some(dataset) if args.password.key_file().is_none() => {
            args.password.by_policy(&dataset.manifest()?.encryption_policy)
        }
        _ => Ok(args.password.clone()),
    }
}

/// Members of an archive that are looked at to tell whether it is a pack of records.
const MEMBERS_LOOKED_AT: usize = 64;

/// True of a folder that is a pack of records.
pub(in crate::cli) fn is_pack_folder(path: &Path) -> bool {
    let manifest = std::fs::read(path.join("manifest.json"));
    manifest.is_ok_and(|bytes| DatasetManifest::parse(&bytes).is_ok()) && path.join("records").is_dir()
}

/// Tells whether a zip is a pack of records, by its first members; what is wrong with it is told by whoever reads it then. Gives it back as it was.
pub(in crate::cli) fn look_for_pack(opened: Opened, limits: &archives::Limits) -> (Opened, bool) {
    // What is declared here is declared again by whoever reads it.
    let limits = archives::Limits { declared: archives::Declared::default(), ..given::limits_of_packs(limits.clone()) };
    holds_dataset(opened, &limits, MEMBERS_LOOKED_AT)
}

/// What `larder import` was told that matters for a pack of records.
pub(in crate::cli) struct PackImport {
    pub(in crate::cli) from: PathBuf,
    pub(in crate::cli) dataset: Option<DatasetName>,
    pub(in crate::cli) dry_run: bool,
    pub(in crate::cli) reason: Option<String>,
    /// Limits of archives.
    pub(in crate::cli) limits: archives::Limits,
}

/// Imports a pack of records that was given to `larder import`, and opened there unless it is a folder.
pub(in crate::cli) fn import_pack(
    told: PackImport,
    opened: Option<Opened>,
    store: &Store,
    bar: &Bar,
    out: &Output,
) -> Result<Outcome, CliError> {
    store.require(Role::Owner, "importing records")?;
    let limits = given::limits_of_packs(told.limits);
    let given = match opened {
        Some(opened) => given::pack(&told.from, opened, &limits)?,
        None => given::folder(&told.from, &limits)?,
    };
    let args = ImportArgs {
        from: told.from,
        dataset: told.dataset,
        dry_run: told.dry_run,
        conflict: None,
        strict: false,
        details: false,
        redact: false,
        no_redact: false,
        max_depth: Limits::default().depth,
        ratio: given::RatioArgs::default(),
        password: PasswordArgs::default(),
        reason: told.reason,
        no_wait: false,
    };
    import(&args, given, store, bar, out)
}

/// A source whose first texts were looked at.
struct Peeked<'a> {
    source: &'a mut dyn Source,
    first: VecDeque<RawRecord>,
}

/// Texts among which the first record is looked for, and how many bytes they may have.
const TEXTS_LOOKED_AT: usize = 1000;
const BYTES_LOOKED_AT: usize = 64 << 20;

impl Peeked<'_> {
    /// A description that fits the first text that is a record, without secrets if there are to be none.
    fn manifest(&mut self, args: &ImportArgs) -> Result<DatasetManifest, CliError> {
        let mut parser = RecordParser::new(Limits { depth: args.max_depth, ..Limits::default() });
        let (mut found, mut bytes) = (None, 0);
        while found.is_none() && self.first.len() < TEXTS_LOOKED_AT && bytes < BYTES_LOOKED_AT {
            let Some(raw) = self.source.next()? else { break };
            let text = raw.text.as_deref().unwrap_or_default();
            bytes += text.len();
            found = parser.read(text.trim_ascii()).ok();
            self.first.push_back(raw);
        }
        let Some(mut record) = found else { return Ok(DatasetManifest::new("", "generic", "", "")) };
        if args.redact {
            let redactor = Redactor::new(&RedactionPolicy::default(), [0; 32]).map_err(RecordsError::from)?;
            if let Some(redacted) = redactor.apply(&record, &mut parser).map_err(RecordsError::from)? {
                record = redacted.record;
            }
        }
        Ok(DatasetManifest::new("", &record.exchange_type, &record.source_system, &record.entity_type))
    }
}

impl Source for Peeked<'_> {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        match self.first.pop_front() {
            Some(first) => Ok(Some(first)),
            None => self.source.next(),
        }
    }
}

fn tell(
    report: &Report,
    dry_run: bool,
    dataset: &DatasetName,
    duration: f64,
    details: Option<DetailsJson>,
    out: &Output,
) -> Result<Outcome, CliError> {
    for bad in &report.bad[..report.bad.len().min(if out.json() { usize::MAX } else { TOLD })] {
        let file = if bad.file.is_empty() { String::new() } else { format!("{}:", bad.file) };
        out.tell(&escaped(&format!("larder: {file}{}: {}", bad.line, bad.reason)));
    }
    if report.bad.len() > TOLD && !out.json() {
        out.tell(&format!("larder: … and {} more", report.invalid - TOLD as u64));
    }
    if out.json() {
        out.print_json(&RecordsReportJson::Import(ImportReportJson {
            inserted: report.inserted,
            updated: report.updated,
            skipped: report.skipped,
            conflicts: report.conflicts,
            redacted: report.redacted,
            redacted_before: (report.redacted_before > 0).then_some(report.redacted_before),
            invalid: report.invalid,
            duration,
            details,
        }))?;
    } else {
        if dry_run {
            for place in report.redactions.iter().take(TOLD) {
                let file = if place.file.is_empty() { String::new() } else { format!("{}:", place.file) };
                let line = format!("{file}{}: {} would be redacted by {}", place.line, place.place, place.rule);
                out.line(&escaped(&line))?;
            }
            if report.redactions.len() > TOLD {
                out.line(&format!("… and {} more places", report.redactions.len() - TOLD))?;
            }
        }
        for conflict in report.told.iter().take(TOLD) {
            let outcome = if conflict.won { "is current now" } else { "is kept as an earlier version" };
            let file = if conflict.file.is_empty() { String::new() } else { format!("{}:", conflict.file) };
            out.line(&escaped(&format!("{file}{}: what came {outcome} under {}", conflict.line, conflict.path)))?;
        }
        if report.told.len() > TOLD {
            out.line(&format!("… and {} more conflicts", report.told.len() - TOLD))?;
        }
        for (name, count) in [
            ("inserted", report.inserted),
            ("updated", report.updated),
            ("skipped", report.skipped),
            ("conflicts", report.conflicts),
            ("redacted", report.redacted),
            ("invalid", report.invalid),
        ] {
            out.line(&format!("{name:10} {count}"))?;
        }
        if report.redacted_before > 0 {
            out.line(&format!("redacted before {}", report.redacted_before))?;
        }
        out.line(&format!("{:10} {duration:.3} s", "duration"))?;
    }
    match &report.snapshot {
        Some((id, _)) => {
            let sightings = counted(report.sightings, "sighting", "sightings");
            out.remark(&format!("{} of {dataset}, {sightings} kept", short_id(*id)));
        }
        None if dry_run => out.remark("nothing was written"),
        None if report.skipped > 0 => out.remark(&format!("{dataset} has all of it; no snapshot was made")),
        None => out.remark("nothing was imported; no snapshot was made"),
    }
    if report.returned > 0 {
        let sightings = counted(report.returned, "sighting is", "sightings are");
        out.remark(&format!(
            "{sightings} of an earlier version that would win if it were new; what is current stays so (`larder records log` shows both)"
        ));
    }
    Ok(if report.invalid > 0 { Outcome::Partial } else { Outcome::Done })
}
