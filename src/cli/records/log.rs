//! `larder records log`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::codec::line_members;
use crate::model::Role;
use crate::records::{ObservedAt, Record};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, escaped};
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::get::{KeyArgs, one, versions};

/// Show the versions of a record, and when each was seen again
///
/// The newest observation comes first. The current version is marked with a star.
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
}

pub(super) fn run(args: &LogArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "reading records", global)?;
    let (dataset, key, _) = one(&args.key, None, &store)?;
    let all: Vec<Record> = versions(&dataset, &key)?.into_iter().map(|(record, _)| record).collect();
    let mut shown = Vec::new();
    let last = all.len().saturating_sub(1);
    for (at, record) in all.into_iter().enumerate() {
        let mut sightings = Vec::new();
        for line in dataset.sightings(&record.content_sha256)? {
            sightings.push(sighting(&line)?);
        }
        let instant = record.observed_at.as_ref().map(ObservedAt::instant);
        let version = VersionJson {
            content_sha256: record.content_sha256.to_string(),
            current: at == last,
            observed_at_utc: record.observed_at.as_ref().map(|time| time.as_str().to_owned()),
            exchange_id: record.exchange_id.clone(),
            provenance: serde_json::from_str(record.provenance.as_str()).unwrap_or_default(),
            original_commitment: record.original_commitment.clone(),
            sightings,
        };
        shown.push((instant, version));
    }
    shown.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.current.cmp(&a.1.current)));
    let versions: Vec<_> = shown.into_iter().map(|(_, version)| version).collect();
    if out.json() {
        let key = args.key.key.clone().unwrap_or_default();
        out.print_json(&RecordsReportJson::Log(LogJson { key, versions }))?;
        return Ok(Outcome::Done);
    }
    for version in &versions {
        let star = if version.current { '*' } else { ' ' };
        let time = version.observed_at_utc.as_deref().unwrap_or("at a time unknown");
        out.line(&escaped(&format!("{star} {}  {time}  {}", &version.content_sha256[..16], version.exchange_id)))?;
        for sighting in &version.sightings {
            let time = sighting.observed_at_utc.as_deref().unwrap_or("at a time unknown");
            out.line(&escaped(&format!("    seen again     {time}  {}", sighting.exchange_id)))?;
        }
    }
    Ok(Outcome::Done)
}

fn sighting(line: &[u8]) -> Result<SightingJson, CliError> {
    let names = ["observed_at_utc", "exchange_id", "natural_key", "provenance", "original_commitment"];
    let damage =
        || crate::store::StoreError::damage("a line of sightings.ndjson", "it is not as such lines are written");
    // What else there is may be deeper, or hold other numbers, than serde_json reads.
    let [time, id, key, provenance, commitment] = line_members(line, names).ok_or_else(damage)?;
    let text = |value: Option<&[u8]>| -> Result<Option<String>, CliError> {
        let text = value.map(serde_json::from_slice::<Option<String>>).transpose();
        Ok(text.map_err(|_| damage())?.flatten())
    };
    Ok(SightingJson {
        observed_at_utc: text(time)?,
        exchange_id: text(id)?.unwrap_or_default(),
        natural_key: text(key)?,
        provenance: provenance.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default(),
        original_commitment: text(commitment)?,
    })
}
