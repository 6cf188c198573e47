//! `larder records log`

use std::collections::BTreeMap;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Role;
use crate::records::{JsonText, ObservedAt, Record, RecordParser};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, escaped};
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::get::{KeyArgs, one, versions};

/// Show the versions of a record, and when each was seen again
///
/// The version with the newest observation comes first. The current one is marked with a star: an earlier version that is seen again stays one, however late
/// that is, and is told then. Under `prefer_newest` the current one is thus the content that was new last, and not always that which was observed last.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    key: KeyArgs,
}

/// What `larder records log` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct LogJson {
    /// The key.
    key: String,
    /// Its versions, the one observed last first.
    versions: Vec<VersionJson>,
}

/// A version.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::cli) struct VersionJson {
    /// The hash of its content.
    content_sha256: String,
    /// It is what stands under the key.
    current: bool,
    /// When it was observed first.
    observed_at_utc: Option<String>,
    /// Names that observation.
    exchange_id: String,
    /// Who observed it.
    provenance: serde_json::Value,
    /// What ties it to the content that was redacted, if it was.
    original_commitment: Option<String>,
    /// Its tags.
    tags: serde_json::Value,
    /// Fields that are not known, by their names.
    fields: BTreeMap<String, serde_json::Value>,
    /// Further observations of the same content, in the order in which they came.
    sightings: Vec<SightingJson>,
}

/// A further observation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::cli) struct SightingJson {
    /// When.
    observed_at_utc: Option<String>,
    /// Names it.
    exchange_id: String,
    /// The key as it was written that time.
    natural_key: Option<String>,
    /// Who observed it.
    provenance: serde_json::Value,
    /// What ties it to the content that was redacted, if it was.
    original_commitment: Option<String>,
    /// Its tags.
    tags: serde_json::Value,
    /// Fields that are not known, by their names.
    fields: BTreeMap<String, serde_json::Value>,
}

pub(super) fn run(args: &LogArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "reading records", global)?;
    let (dataset, key, _) = one(&args.key, None, &store)?;
    let all = versions(&dataset, &key)?;
    let mut parser = RecordParser::of_stored();
    let mut shown = Vec::new();
    let last = all.len().saturating_sub(1);
    for (at, (record, line)) in all.into_iter().enumerate() {
        let again = dataset.seen_again(line.as_bytes(), &mut parser)?;
        let all = again.iter().map(|(record, _)| record).chain([&record]);
        let last_seen = all.filter_map(|record| record.observed_at.as_ref().map(ObservedAt::instant)).max();
        let sightings = again.into_iter().map(|(record, _)| sighting(record)).collect();
        let version = VersionJson {
            content_sha256: record.content_sha256.to_string(),
            current: at == last,
            observed_at_utc: record.observed_at.as_ref().map(|time| time.as_str().to_owned()),
            exchange_id: record.exchange_id.clone(),
            provenance: value(&record.provenance),
            original_commitment: record.original_commitment.clone(),
            tags: value(&record.tags),
            fields: fields(&record),
            sightings,
        };
        shown.push((last_seen, version));
    }
    shown.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.current.cmp(&a.1.current)));
    let returned = shown.first().is_some_and(|(last_seen, version)| last_seen.is_some() && !version.current);
    let versions: Vec<_> = shown.into_iter().map(|(_, version)| version).collect();
    if out.json() {
        let key = args.key.key.clone().unwrap_or_default();
        out.print_json(&RecordsReportJson::Log(LogJson { key, versions }))?;
        return Ok(Outcome::Done);
    }
    for version in &versions {
        let star = if version.current { '*' } else { ' ' };
        let time = version.observed_at_utc.as_deref().unwrap_or("at a time unknown");
        out.line(&escaped(&format!(
            "{star} {}  {time}  {}{}",
            &version.content_sha256[..16],
            version.exchange_id,
            in_words(&version.tags)
        )))?;
        for sighting in &version.sightings {
            let time = sighting.observed_at_utc.as_deref().unwrap_or("at a time unknown");
            out.line(&escaped(&format!(
                "    seen again     {time}  {}{}",
                sighting.exchange_id,
                in_words(&sighting.tags)
            )))?;
        }
    }
    if let Some(newest) = versions.first().filter(|_| returned) {
        out.remark(&format!(
            "{}, which is not current, was observed last: a content that comes again is a sighting, and what is current stays so",
            &newest.content_sha256[..16]
        ));
    }
    Ok(Outcome::Done)
}

fn sighting(record: Record) -> SightingJson {
    SightingJson {
        observed_at_utc: record.observed_at.as_ref().map(|time| time.as_str().to_owned()),
        natural_key: record.natural_key.clone(),
        provenance: value(&record.provenance),
        tags: value(&record.tags),
        fields: fields(&record),
        exchange_id: record.exchange_id,
        original_commitment: record.original_commitment,
    }
}

/// What is deeper, or holds other numbers, than is read here is null.
fn value(json: &JsonText) -> serde_json::Value {
    serde_json::from_str(json.as_str()).unwrap_or_default()
}

fn fields(record: &Record) -> BTreeMap<String, serde_json::Value> {
    record.others.iter().map(|(name, json)| (name.clone(), value(json))).collect()
}

/// Tags as they are shown behind an observation.
fn in_words(tags: &serde_json::Value) -> String {
    let tags = tags.as_array().into_iter().flatten();
    tags.map(|tag| format!("  #{}", tag.as_str().map_or_else(|| tag.to_string(), str::to_owned))).collect()
}
