//! `larder export --layout`: a folder as another system's archive.

use std::path::Path;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Manifest};
use crate::packs::laid_out::{INVESTIGATION_MAX, LaidOut, lay_out};
use crate::packs::layouts::{Layout, Told, labels};
use crate::packs::{Format, Options};

use super::super::error::CliError;
use super::super::output::{Output, counted};
use super::super::place::Found;
use super::super::progress::Bar;
use super::{ExportArgs, FormatArg, Settled};

/// Layouts of other systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LayoutName {
    /// Evidence joined by a chain of hashes, with its lineage, code changes and prompts: a tar.gz of at most 100 MiB
    Investigation,
    /// Scenario plans with a manifest and checksums, in any format
    Bundle,
}

impl LayoutName {
    fn layout(self) -> Layout {
        match self {
            Self::Investigation => Layout::Investigation,
            Self::Bundle => Layout::Bundle,
        }
    }
}

/// What was written in the layout of another system.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LaidJson {
    /// `investigation` or `bundle`.
    name: &'static str,
    /// The folder around all in it.
    root: String,
    /// What the folder lacked, metadata and hashes, was computed.
    computed: bool,
    /// The id in the other system.
    id: String,
    /// Where the chain of evidence ends, if there is one.
    root_hash: Option<String>,
    /// What is worth knowing of it, references that are not resolved among it.
    remarks: Vec<String>,
}

impl LaidJson {
    pub(super) fn of(laid: &LaidOut) -> Self {
        let seen = laid.seen();
        let label =
            |key: &str| seen.provenance.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        Self {
            name: laid.layout().as_str(),
            root: laid.root().to_owned(),
            computed: !laid.as_it_was(),
            id: seen.provenance.original_id.clone(),
            root_hash: label(labels::ROOT_HASH),
            remarks: seen.remarks.clone(),
        }
    }
}

/// The format of an investigation archive, which is always the same.
pub(super) fn settle<'a>(args: &ExportArgs, output: &Path, scratch: &'a Path) -> Result<Settled<'a>, CliError> {
    let name = output.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    let other =
        [".tar", ".zst", ".tzst", ".zip", ".enc", ".xz", ".bz2"].iter().any(|end| name.ends_with(end.as_bytes()));
    if args.format.is_some_and(|format| format != FormatArg::TarGz) || (args.format.is_none() && other) {
        return Err(CliError::new(Kind::Usage, "an investigation archive is a tar.gz and nothing else")
            .hint("name the file .tar.gz, and leave --format out"));
    }
    if args.compression.is_some() {
        return Err(CliError::new(Kind::Usage, "--compression is for zips; an investigation archive is a tar.gz"));
    }
    if args.level.is_some_and(|level| !(1..=9).contains(&level)) {
        return Err(CliError::new(Kind::Usage, "tar.gz has the levels 1 to 9"));
    }
    let options = Options { format: Format::TarGz, level: args.level.or(Some(9)), bare: true, scratch };
    Ok(Settled { options, is_enc: false, says_age: name.ends_with(b".age") })
}

/// Bytes that the pack may have: of an investigation archive what the older system takes, unless told otherwise.
pub(super) fn max_size(args: &ExportArgs) -> Option<u64> {
    args.max_size.or((args.layout == Some(LayoutName::Investigation)).then_some(INVESTIGATION_MAX))
}

/// Prepares the one folder that is named, and tells what is worth knowing of it.
pub(super) fn prepare<'a>(
    name: LayoutName,
    found: &'a [Found],
    max_size: Option<u64>,
    out: &Output,
    bar: &'a Bar,
) -> Result<LaidOut<'a>, CliError> {
    let [one] = found else {
        return Err(CliError::new(Kind::Usage, "--layout makes one archive of one folder").hint("name one SNAP[:PATH]"));
    };
    let layout = name.layout();
    let laid = lay_out(&one.pages, &one.entry, layout, &told(layout, &one.manifest, max_size), bar)?;
    if !out.json() {
        for remark in &laid.seen().remarks {
            out.remark(&format!("larder: {remark}"));
        }
        let what = if laid.as_it_was() { "as it was captured" } else { "what it lacked is computed" };
        let files = counted(laid.files().count() as u64, "file", "files");
        out.remark(&format!("{} {}, {files}: {what}", layout.described(), laid.root()));
    }
    Ok(laid)
}

/// What the snapshot says, of which metadata are made.
fn told(layout: Layout, manifest: &Manifest, max_size: Option<u64>) -> Told {
    let label = |key: &str| manifest.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let scope = match layout {
        Layout::Investigation => "investigation",
        Layout::Bundle => "workspace",
    };
    let evidence = &manifest.evidence;
    let scoped = evidence.scope_ref.clone().filter(|_| evidence.scope.as_deref() == Some(scope));
    Told {
        id: scoped.or_else(|| label(labels::ID)).unwrap_or_else(|| manifest.dataset.as_str().to_owned()),
        status: label(labels::STATUS).or_else(|| label("status")),
        source: evidence.source_ref.clone(),
        time: manifest.arrival,
        max_size: max_size.unwrap_or(INVESTIGATION_MAX),
        references: manifest.references.clone(),
    }
}
