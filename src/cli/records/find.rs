//! `larder records find`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Role};
use crate::ops::records::{JsonPath, Query};
use crate::snapshots::{SnapshotName, When};

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, escaped};
use super::super::{Global, Outcome};
use super::RecordsReportJson;

/// Find records by what they say
///
/// All versions are looked at, in the order in which they are stored, and those that fit all that is asked for are printed, a line each. So are their sightings: of a content
/// that was seen again the first observation counts that fits. What tells no time is not found by --since and --until.
#[derive(Debug, Args)]
pub(super) struct FindArgs {
    /// The dataset, or one of its snapshots
    #[arg(value_name = "DATASET")]
    dataset: String,
    #[command(flatten)]
    query: QueryArgs,
    /// Print the records themselves, a line of JSON each
    #[arg(long)]
    records: bool,
}

/// Which records.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of this entity
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Observed then or later
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Observed then or before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// With this tag (can be repeated: with each of them)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// With something at a place, or with this value there (can be repeated: with each of them)
    ///
    /// A place is like $.response.items[0].id; `[*]` and `.*` are any item or member, `["a.b"]` is a name that has dots or other signs in it. A value is
    /// a text as it is, or JSON, compared by its canonical form: 1.5 is 1.50, 2 is 2.0, and members of an object may stand in any order.
    #[arg(long, value_name = "$.PATH[=VALUE]")]
    path: Vec<String>,
}

impl QueryArgs {
    /// What is looked for; nothing if all will do.
    pub(super) fn query(&self) -> Result<Option<Query>, CliError> {
        let moment = |text: &Option<String>| -> Result<Option<When>, CliError> {
            let when = text.as_deref().map(|text| When::parse_or_age(text, context::now())).transpose();
            when.map_err(|e| CliError::new(Kind::Usage, e))
        };
        let (since, until) = (moment(&self.since)?, moment(&self.until)?);
        let paths = self.path.iter().map(|path| JsonPath::parse(path)).collect::<Result<_, _>>();
        let asked = [&self.source, &self.entity, &self.kind, &self.since, &self.until].iter().any(|o| o.is_some());
        let asked = asked || !self.tag.is_empty() || !self.path.is_empty();
        Ok(asked.then_some(Query {
            source: self.source.clone(),
            entity: self.entity.clone(),
            kind: self.kind.clone(),
            since: since.map(|when| (when.first.seconds, when.first.nanos)),
            until: until.map(|when| (when.last.seconds, when.last.nanos)),
            tags: self.tag.clone(),
            paths: paths.map_err(|e| CliError::new(Kind::Usage, e.to_string()))?,
        }))
    }
}

/// A record that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct FoundJson {
    /// Its source.
    source_system: String,
    /// Its entity.
    entity_type: String,
    /// Its type.
    exchange_type: String,
    /// Its key.
    natural_key: Option<String>,
    /// When it was observed.
    observed_at_utc: Option<String>,
    /// The hash of its content.
    content_sha256: String,
    /// Names the observation.
    exchange_id: String,
}

pub(super) fn run(args: &FindArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let query = args.query.query()?;
    let store = context::open_for_stream(Role::Owner, "reading records", global)?;
    let name: SnapshotName = args.dataset.parse()?;
    let mut found = super::dataset(&store, &name, &args.dataset)?.find(query.unwrap_or_default())?;
    let mut count = 0;
    while let Some((record, line)) = found.next_line()? {
        count += 1;
        if args.records {
            out.raw(&[&line[..], b"\n"].concat())?;
            continue;
        }
        let found = FoundJson {
            source_system: record.source_system,
            entity_type: record.entity_type,
            exchange_type: record.exchange_type,
            natural_key: record.natural_key,
            observed_at_utc: record.observed_at.as_ref().map(|time| time.as_str().to_owned()),
            content_sha256: record.content_sha256.to_string(),
            exchange_id: record.exchange_id,
        };
        if out.json() {
            out.print_json(&RecordsReportJson::Found(found))?;
        } else {
            out.line(&escaped(&format!(
                "{}  {:32}  {}/{}  {}",
                &found.content_sha256[..16],
                found.observed_at_utc.as_deref().unwrap_or("-"),
                found.source_system,
                found.entity_type,
                found.natural_key.as_deref().unwrap_or("-"),
            )))?;
        }
    }
    if !out.json() {
        out.remark(&counted(count, "record", "records"));
    }
    Ok(Outcome::Done)
}
