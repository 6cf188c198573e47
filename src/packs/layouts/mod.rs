//! Layouts of other systems: what they put into an archive, told by its content, checked, and written again.
//!
//! An *investigation archive* holds evidence items that a chain of hashes joins, and metadata with an inventory. An *export
//! bundle* holds scenario plans, a manifest, and checksums of all files. [`Observer`] looks at either as it goes by, from an archive or a
//! folder, in any order and in bounded memory; what it comes to is a [`Seen`]. pack-format.md, section 8.

mod bundle;
mod checksums;
mod compose;
mod fault;
mod investigation;
mod item;
mod members;
mod metadata;
mod observer;
mod parquet;
mod provenance;
mod rows;
mod shown;

pub use self::parquet::TableWriter;
pub use compose::{ComposeError, Content, Laid, Plan, Read, Told, plan};
pub use fault::{Fault, LayoutError, Misfit, Seen};
pub use metadata::{MetadataError, SUPPORTED};
pub use observer::Observer;
pub use provenance::{Provenance, labels};

/// The version of investigation archives that is written.
const INVESTIGATION_VERSION: &str = "1.0";
/// The version of export bundles that is known.
const BUNDLE_VERSION: &str = "1";

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Evidence of an investigation, with its lineage, code changes and prompts.
    Investigation,
    /// Scenario plans of a workspace, with references to its model runs.
    Bundle,
}

impl Layout {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Investigation => "investigation",
            Self::Bundle => "bundle",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Investigation => "an investigation archive",
            Self::Bundle => "an export bundle",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// Whatever the content tells.
    #[default]
    Any,
    /// No layout: a folder like any other.
    None,
    /// This layout and no other.
    Only(Layout),
}
