//! `larder records get`

use std::collections::BTreeMap;

use clap::{Args, ValueHint};

use crate::model::{DatasetName, Kind, Role};
use crate::ops::records::{Dataset, Key, RecordsError, checked, newest_of};
use crate::records::canonical::twins;
use crate::records::{Record, RecordParser};
use crate::snapshots::{SnapshotName, When};
use crate::store::Store;

use super::super::context;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Global, Outcome};

/// Which key of which dataset.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The key, as the records have it
    #[arg(value_name = "KEY", required_unless_present = "hash")]
    pub(super) key: Option<String>,
    /// In which dataset, or one of its snapshots [default: all datasets of records]
    #[arg(long, short = 'd', value_name = "DATASET", value_hint = ValueHint::Other)]
    pub(super) dataset: Option<String>,
    /// Of which source
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Of which entity
    #[arg(long, value_name = "NAME")]
    pub(super) entity: Option<String>,
}

/// Print the record under a key, or with a hash
///
/// It is the current version, or with --as-of that of a snapshot or of a time: as the dataset was when that time came. Of a time before its first
/// snapshot it is the version that had been observed by then. The record is printed as it is stored, a line of JSON; its hash was checked.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// As of a time, or as it is in a snapshot
    #[arg(long, value_name = "TIME|SNAP")]
    as_of: Option<String>,
    /// The record with this `content_sha256`, or the only one whose hash begins so, be it current or not
    #[arg(long, value_name = "HASH", value_parser = hash_begin)]
    hash: Option<String>,
}

pub(super) fn run(args: &GetArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "reading records", global)?;
    let line = find(args, &store)?;
    out.line(&line)?;
    Ok(Outcome::Done)
}

fn not_found(what: impl std::fmt::Display) -> CliError {
    RecordsError::NotFound(format!("no record {what}")).into()
}

fn find(args: &GetArgs, store: &Store) -> Result<String, CliError> {
    let as_of = args.as_of.as_deref().map(|text| AsOf::parse(text, args.key.dataset.as_deref())).transpose()?;
    if let (Some(begin), None) = (&args.hash, &args.key.key) {
        let mut found = BTreeMap::new();
        for place in datasets(&args.key, as_of.as_ref(), store)? {
            for line in place.dataset.by_hash_begin(begin)? {
                let record = checked(&mut RecordParser::of_stored(), &line)?;
                found.insert(record.content_sha256.to_string(), String::from_utf8_lossy(&line).into_owned());
            }
        }
        let line = only(&found, begin)?;
        return line.cloned().ok_or_else(|| not_found(format!("with the hash {begin}")));
    }
    let key = args.key.key.as_deref().unwrap_or_default();
    let (dataset, found, time) = one(&args.key, as_of.as_ref(), store)?;
    if args.hash.is_none() && time.is_none() {
        let line = dataset.current_of(&found)?.ok_or_else(|| not_found(format!("under the key {key}")))?;
        return text(&line);
    }
    let versions = versions(&dataset, &found)?;
    let fits = |record: &Record| {
        args.hash.as_ref().is_none_or(|begin| record.content_sha256.to_string().starts_with(&**begin))
    };
    if let Some(begin) = &args.hash {
        let found = versions.iter().filter(|(record, _)| fits(record));
        only(&found.map(|(record, _)| (record.content_sha256.to_string(), ())).collect(), begin)?;
    }
    let observed = |record: &Record| record.observed_at.as_ref().map(crate::records::ObservedAt::instant);
    let by_then = |record: &Record| {
        time.is_none_or(|time| observed(record).is_some_and(|(seconds, micros)| (seconds, micros * 1000) <= time))
    };
    let best = versions.into_iter().filter(|(record, _)| fits(record) && by_then(record));
    // Of several of one time the current one, which comes last.
    let best = best.max_by_key(|(record, _)| observed(record));
    best.map(|(_, line)| line).ok_or_else(|| not_found(format!("under the key {key} that fits")))
}

/// The begin of a hash.
fn hash_begin(text: &str) -> Result<String, String> {
    let is_one = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_one {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a hash has 64 hexadecimal digits; the first 4 or more will do".to_owned())
    }
}

/// What was found by the begin of a hash, unless it is several.
fn only<'a, T>(found: &'a BTreeMap<String, T>, begin: &str) -> Result<Option<&'a T>, CliError> {
    if found.len() > 1 {
        let all: Vec<_> = found.keys().take(5).map(String::as_str).collect();
        let text = format!("several hashes begin with {begin}: {}", all.join(", "));
        return Err(CliError::new(Kind::Usage, text).hint("say more of it"));
    }
    Ok(found.values().next())
}

fn text(line: &[u8]) -> Result<String, CliError> {
    checked(&mut RecordParser::of_stored(), line)?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// All versions under a key, each with its line; the current one comes last.
pub(super) fn versions(dataset: &Dataset, key: &Key) -> Result<Vec<(Record, String)>, CliError> {
    let mut parser = RecordParser::of_stored();
    let lines = dataset.earlier(key)?.into_iter().chain(dataset.current_of(key)?);
    let mut versions = Vec::new();
    for line in lines {
        versions.push((checked(&mut parser, &line)?, String::from_utf8_lossy(&line).into_owned()));
    }
    Ok(versions)
}

/// What the user wants to look back to.
#[derive(Debug)]
pub(super) enum AsOf {
    Snapshot(SnapshotName, String),
    /// The last moment of a time: of it a snapshot, or an observation.
    Time(When),
}

impl AsOf {
    fn parse(text: &str, dataset: Option<&str>) -> Result<Self, CliError> {
        if let Ok(when) = When::parse_or_age(text, context::now()) {
            return Ok(Self::Time(when));
        }
        let shown = match dataset {
            // `~1` alone is one of the dataset that was named.
            Some(dataset) if text.starts_with('~') => format!("{dataset}{text}"),
            _ => text.to_owned(),
        };
        Ok(Self::Snapshot(shown.parse()?, shown))
    }
}

/// Seconds and nanoseconds.
type Moment = (i64, u32);

/// A dataset that is looked into.
struct Place {
    /// As messages name it.
    name: String,
    dataset: Dataset,
    /// By when a record must have been observed.
    moment: Option<Moment>,
}

/// The datasets that are looked into.
fn datasets(args: &KeyArgs, as_of: Option<&AsOf>, store: &Store) -> Result<Vec<Place>, CliError> {
    let whole = |name: &str, dataset| vec![Place { name: name.to_owned(), dataset, moment: None }];
    if let Some(AsOf::Snapshot(name, shown)) = as_of {
        return Ok(whole(shown, super::dataset(store, name, shown)?));
    }
    let names = match &args.dataset {
        Some(name) => {
            let parsed = name.parse::<SnapshotName>()?;
            if as_of.is_none() {
                return Ok(whole(name, super::dataset(store, &parsed, name)?));
            }
            vec![name.parse::<DatasetName>().map_err(|e| CliError::new(Kind::Usage, e.to_string()))?]
        }
        None => names(store)?,
    };
    let mut found = Vec::new();
    for name in names {
        let Some(newest) = newest_of(store, &name)? else { continue };
        let Some(mut dataset) = Dataset::of(&context::pages(store), &newest)? else { continue };
        let mut moment = None;
        if let Some(AsOf::Time(when)) = as_of {
            let then = SnapshotName::At(Some(name.clone()), when.last);
            match super::dataset(store, &then, name.as_str()) {
                Ok(then) => dataset = then,
                Err(e) if e.kind == Kind::NotFound => moment = Some((when.last.seconds, when.last.nanos)),
                Err(e) => return Err(e),
            }
        }
        found.push(Place { name: name.to_string(), dataset, moment });
    }
    if found.is_empty() {
        let what = args.dataset.clone().unwrap_or_else(|| "in this store there".to_owned());
        return Err(RecordsError::NotRecords(what).into());
    }
    Ok(found)
}

/// The names of all datasets.
fn names(store: &Store) -> Result<Vec<DatasetName>, CliError> {
    let mut seen = std::collections::HashSet::new();
    let newest_first = store.snapshots()?.into_iter().rev().filter(|row| seen.insert(row.dataset));
    newest_first.map(|row| Ok(store.manifest(&row.id)?.dataset)).collect()
}

/// The one key that is meant.
pub(super) fn one(
    args: &KeyArgs,
    as_of: Option<&AsOf>,
    store: &Store,
) -> Result<(Dataset, Key, Option<Moment>), CliError> {
    let key = args.key.as_deref().unwrap_or_default();
    let places = datasets(args, as_of, store)?;
    let mut found = Vec::new();
    // A content that was observed under both of two keys that look alike is under the one that came first.
    for key in std::iter::once(key.to_owned()).chain(twins(key)) {
        for Place { name, dataset, moment } in &places {
            let keys = dataset.keys(&key, args.source.as_deref(), args.entity.as_deref())?;
            found.extend(keys.into_iter().map(|key| (dataset.clone(), key, *moment, name.clone())));
        }
        if !found.is_empty() {
            break;
        }
    }
    match found.len() {
        0 => Err(not_found(format!("under the key {key}"))),
        1 => found.pop().map(|(dataset, key, moment, _)| (dataset, key, moment)).ok_or_else(|| not_found(key)),
        n => {
            let shown: Vec<_> = found.iter().map(|(_, key, _, name)| format!("{name}:{}", key.display())).collect();
            Err(CliError::new(Kind::Usage, format!("{n} records have the key {key}: {}", shown.join(", ")))
                .hint("say which with --dataset, --source or --entity"))
        }
    }
}
