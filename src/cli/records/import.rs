//! `larder records import`

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Kind, Role};
use crate::ops::records::{
    Files, ImportOptions, RawRecord, RecordsError, Report, Source, Stream, holds_dataset, import_records, pack_lines,
    rehearse_records,
};
use crate::records::tape::Limits;
use crate::records::{ConflictStrategy, DatasetManifest};
use crate::store::Waiting;

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, short_id};
use super::super::pack_input;
use super::super::pack_keys::{PackKeys, PasswordArgs};
use super::super::progress::Bar;
use super::super::store_args::who;
use super::super::stream::StandardInput;
use super::super::{Global, Outcome};
use super::RecordsReportJson;

/// Bad lines and conflicts that are told where nobody asked for JSON.
const TOLD: usize = 20;

/// Import records into a dataset, each content once
///
/// From lines of JSON, one JSON document, a list of records, a folder of such files, or a pack of the system that the form comes from. Of each record it is
/// decided once what becomes of it: *skipped* if its content is known (the observation is kept, if it is a new one), *inserted* if content and key
/// are new, a *conflict* if another content stands under its key. The dataset's strategy resolves conflicts, and what wins counts as
/// *updated*; nothing is lost, what loses is kept as an earlier version. All of it is one snapshot, or none.
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
    /// Into which dataset [default: the one that the pack's manifest names, else the file's name]
    #[arg(long, short = 'd', value_name = "NAME")]
    dataset: Option<DatasetName>,
    /// Tell what would become of each record, by the plan that an import applies, and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How conflicts are resolved: `prefer_newest`, `prefer_incoming`, `prefer_existing`, or fail [default: as the dataset says]
    #[arg(long, value_name = "HOW", value_parser = strategy)]
    conflict: Option<ConflictStrategy>,
    /// Import nothing if a line is no record
    #[arg(long)]
    strict: bool,
    /// Redact what a policy names, though the dataset does not ask for it
    #[arg(long, overrides_with = "no_redact")]
    redact: bool,
    /// Do not redact, though the dataset asks for it
    #[arg(long, overrides_with = "redact")]
    no_redact: bool,
    /// Lists and objects in each other that a record may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth)]
    max_depth: usize,
    #[command(flatten)]
    password: PasswordArgs,
    /// Why it is made
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn strategy(text: &str) -> Result<ConflictStrategy, String> {
    ConflictStrategy::named(text)
        .ok_or_else(|| "it is none of prefer_newest, prefer_incoming, prefer_existing, fail".to_owned())
}

/// What `larder records import` prints: these members and nothing else.
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
    /// Lines that are no records.
    invalid: u64,
    /// How long it took, in seconds.
    duration: f64,
}

pub(super) fn run(args: &ImportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "importing records", global)?;
    let bar = Bar::start(out, "import");
    let begun = std::time::Instant::now();
    let (mut source, found) = open(args, global, &bar)?;
    let dataset = match (&args.dataset, &found) {
        (Some(name), _) => name.clone(),
        (None, Some(manifest)) => DatasetName::coerce(&manifest.dataset_name, "records"),
        (None, None) => pack_input::default_dataset(&args.from),
    };
    let mut peeked = Peeked { source: source.as_mut(), first: None };
    let new = match found {
        Some(mut manifest) => {
            manifest.dataset_name = dataset.to_string();
            Some(manifest)
        }
        None => peeked.manifest(dataset.as_str(), args.max_depth)?,
    };
    let options = ImportOptions {
        dataset: dataset.clone(),
        new,
        strategy: args.conflict,
        strict: args.strict,
        limits: Limits { depth: args.max_depth, ..Limits::default() },
        redact: if args.redact { Some(true) } else { args.no_redact.then_some(false) },
        waiting: if args.no_wait { Waiting::NoWait } else { Waiting::Wait },
        who: who(),
        reason: args.reason.clone(),
        sources: if args.from == Path::new("-") { Vec::new() } else { vec![path_bytes(&args.from)] },
    };
    let done = if args.dry_run {
        let newest = super::newest(&store, &dataset)?;
        let tmp = std::env::temp_dir();
        rehearse_records(&store, newest.as_ref(), &mut peeked, &options, &tmp, &bar, context::now())
    } else {
        import_records(&store, &mut peeked, options, &bar, &context::now)
    };
    bar.finish();
    tell(&done?, args.dry_run, &dataset, begun.elapsed().as_secs_f64(), out)
}

fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_bytes().to_vec()
}

/// The texts that are to be imported, and the manifest that lies beside them.
fn open(args: &ImportArgs, global: &Global, bar: &Bar) -> Result<(Box<dyn Source>, Option<DatasetManifest>), CliError> {
    let path = &args.from;
    let failed = |what: &str, e: io::Error| {
        let kind = if e.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        CliError::new(kind, format!("cannot read {what}: {e}"))
    };
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(CliError::new(Kind::Usage, "standard input is a terminal; records come through a pipe"));
        }
        let input = StandardInput::new(bar.stop()).map_err(|e| failed("standard input", e))?;
        return Ok((Box::new(Stream::new(input, "", "standard input")), None));
    }
    let shown = path.display().to_string();
    if path.is_dir() {
        let manifest = match std::fs::read(path.join("manifest.json")) {
            Ok(bytes) => {
                let parsed = DatasetManifest::parse(&bytes);
                Some(parsed.map_err(|e| CliError::new(Kind::Usage, format!("{shown}/manifest.json: {e}")))?)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(&format!("{shown}/manifest.json"), e)),
        };
        return Ok((Box::new(Files::of(path)?), manifest));
    }
    let mut file = File::open(path).map_err(|e| failed(&shown, e))?;
    if is_archive(path, &mut file).map_err(|e| failed(&shown, e))? {
        let limits = crate::archives::Limits::default();
        let archive = pack_input::open(path, &args.password.keys(global), &limits, bar)?;
        let (lines, manifest) =
            pack_lines(archive.opened, &limits, &std::env::temp_dir()).map_err(|e| pack_input::failed(path, e))?;
        let parsed = manifest.map(|bytes| DatasetManifest::parse(&bytes)).transpose();
        let manifest = parsed.map_err(|e| CliError::new(Kind::Usage, format!("{shown}: manifest.json: {e}")))?;
        return Ok((Box::new(lines), manifest));
    }
    Ok((Box::new(Stream::new(file, "", &shown)), None))
}

/// True of what is no text: a pack as a zip, a `.zip.enc`, or anything around one.
fn is_archive(path: &Path, file: &mut File) -> io::Result<bool> {
    if path.extension().is_some_and(|end| end == "enc") {
        return Ok(true);
    }
    let mut start = [0; 4];
    let got = io::Read::read(file, &mut start)?;
    io::Seek::rewind(file)?;
    let is_text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~') || *b >= 0xc2;
    let zip = start.starts_with(b"PK") || start.starts_with(b"age-") || start.starts_with(b"BZh");
    Ok(zip || !start[..got].iter().all(is_text) && !start.starts_with(b"\xef\xbb\xbf"))
}

/// Members of an archive that are looked at to tell what it is.
const LOOKED_AT: usize = 64;

/// True of a pack of records: a folder, or an archive by its name a zip or zip.enc, among whose first members is the manifest of a dataset.
pub(in crate::cli) fn is_pack(path: &Path, keys: &PackKeys) -> Result<bool, CliError> {
    if path.is_dir() {
        let manifest = std::fs::read(path.join("manifest.json"));
        let is_one = manifest.is_ok_and(|bytes| DatasetManifest::parse(&bytes).is_ok());
        return Ok(is_one && path.join("records").is_dir());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_zip =
        name.rsplit_once('.').is_some_and(|(front, end)| end == "zip" || end == "enc" && front.ends_with("zip"));
    if !is_zip || !path.is_file() {
        return Ok(false);
    }
    let limits = crate::archives::Limits::default();
    let bar = Bar::start(&Output::new(false, true), "import");
    let archive = pack_input::open(path, keys, &limits, &bar)?;
    // Whatever is wrong with it is told by the import.
    Ok(holds_dataset(archive.opened, &limits, LOOKED_AT))
}

/// Imports a pack of records that was given to `larder import`.
pub(in crate::cli) fn import_pack(
    from: PathBuf,
    dataset: Option<DatasetName>,
    dry_run: bool,
    password: PasswordArgs,
    reason: Option<String>,
    global: &Global,
    out: &Output,
) -> Result<Outcome, CliError> {
    let args = ImportArgs {
        from,
        dataset,
        dry_run,
        conflict: None,
        strict: false,
        redact: false,
        no_redact: false,
        max_depth: Limits::default().depth,
        password,
        reason,
        no_wait: false,
    };
    run(&args, global, out)
}

/// A source whose first text was looked at.
struct Peeked<'a> {
    source: &'a mut dyn Source,
    first: Option<RawRecord>,
}

impl Peeked<'_> {
    /// A description that fits the first text, if that is a record.
    fn manifest(&mut self, name: &str, depth: usize) -> Result<Option<DatasetManifest>, CliError> {
        self.first = self.source.next()?;
        let text = self.first.as_ref().and_then(|raw| raw.text.as_deref());
        let mut parser = crate::records::RecordParser::new(Limits { depth, ..Limits::default() });
        let record = text.and_then(|text| parser.read(text.trim_ascii()).ok());
        let of = |record: Option<crate::records::Record>| match record {
            Some(r) => DatasetManifest::new(name, &r.exchange_type, &r.source_system, &r.entity_type),
            None => DatasetManifest::new(name, "generic", "", ""),
        };
        Ok(Some(of(record)))
    }
}

impl Source for Peeked<'_> {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        match self.first.take() {
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
    out: &Output,
) -> Result<Outcome, CliError> {
    for bad in &report.bad[..report.bad.len().min(if out.json() { usize::MAX } else { TOLD })] {
        let file = if bad.file.is_empty() { String::new() } else { format!("{}:", bad.file) };
        out.tell(&format!("larder: {file}{}: {}", bad.line, bad.reason));
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
            invalid: report.invalid,
            duration,
        }))?;
    } else {
        if dry_run {
            for place in report.redactions.iter().take(TOLD) {
                let file = if place.file.is_empty() { String::new() } else { format!("{}:", place.file) };
                out.line(&format!("{file}{}: {} would be redacted by {}", place.line, place.place, place.rule))?;
            }
        }
        for conflict in report.told.iter().take(TOLD) {
            let outcome = if conflict.won { "is current now" } else { "is kept as an earlier version" };
            out.line(&format!("{}: what came {outcome}", conflict.path))?;
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
        out.line(&format!("{:10} {duration:.3} s", "duration"))?;
    }
    match &report.snapshot {
        Some((id, _)) => {
            let sightings = counted(report.sightings, "sighting", "sightings");
            out.remark(&format!("{} of {dataset}, {sightings} kept", short_id(*id)));
        }
        None if dry_run => out.remark("nothing was written"),
        None => out.remark(&format!("{dataset} has all of it; no snapshot was made")),
    }
    Ok(if report.invalid > 0 { Outcome::Partial } else { Outcome::Done })
}
