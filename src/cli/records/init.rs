//! `larder records init`

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{DatasetName, Quiet, Role};
use crate::ops::records::{ImportOptions, Nothing, import_records, newest_of};
use crate::records::DatasetManifest;

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, short_id};
use super::super::store_args::who;
use super::super::{Global, Outcome};
use super::RecordsReportJson;
use super::policy::PoliciesArgs;

/// Make a record dataset, and say what holds for it
///
/// What is said is kept in the dataset's manifest.json, in the form of the packs, and obeyed by every command. `larder records policy` shows and changes it.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Its name
    #[arg(value_name = "DATASET")]
    dataset: DatasetName,
    /// The system that its records come from
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    source: String,
    /// What its records are about
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    entity: String,
    /// How they were exchanged: http, mediawiki, openalex, llm, file, generic or anything else
    #[arg(long = "type", value_name = "TYPE", default_value = "http", value_parser = NonEmptyStringValueParser::new())]
    kind: String,
    #[command(flatten)]
    policies: PoliciesArgs,
}

/// What `larder records init` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct InitJson {
    /// The dataset.
    dataset: String,
    /// Its first snapshot.
    snapshot: String,
}

pub(super) fn run(args: &InitArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "making a record dataset", global)?;
    if newest_of(&store, &args.dataset)?.is_some() {
        return Err(crate::ops::records::RecordsError::Exists(args.dataset.to_string()).into());
    }
    let mut manifest = DatasetManifest::new(args.dataset.as_str(), &args.kind, &args.source, &args.entity);
    args.policies.apply(&mut manifest)?;
    let mut options = ImportOptions::new(args.dataset.clone());
    (options.new, options.empty, options.who) = (Some(manifest), true, who());
    let report = import_records(&store, &mut Nothing, options, &Quiet, &context::now)?;
    let Some((id, _)) = report.snapshot else {
        return Err(crate::ops::records::RecordsError::Exists(args.dataset.to_string()).into());
    };
    if out.json() {
        let (dataset, snapshot) = (args.dataset.to_string(), id.to_string());
        out.print_json(&RecordsReportJson::Init(InitJson { dataset, snapshot }))?;
    } else {
        out.line(&id.to_string())?;
        out.remark(&format!("{} of {}, without records yet", short_id(id), args.dataset));
    }
    args.policies.remark(out);
    Ok(Outcome::Done)
}
