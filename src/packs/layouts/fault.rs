//! What an observer comes to: what was seen, what is wrong with it, why it is not even that.

use crate::model::{Failure, Kind};

use super::metadata::MetadataError;
use super::shown::shown;
use super::{BUNDLE_VERSION, Layout, Provenance};

/// Something that is not as it should be: a file that is missing, one too many, a hash that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which file, from the folder that holds the layout.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which layout it is.
    pub layout: Layout,
    /// The folder that holds it, without a slash at its end; empty if nothing stands around it.
    pub root: Box<[u8]>,
    /// What is wrong. None: it may be believed as far as it can be checked.
    pub faults: Vec<Fault>,
    /// What is worth telling and does no harm.
    pub remarks: Vec<String>,
    /// What it says of itself.
    pub provenance: Provenance,
}

/// Why it is none of these layouts, or cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// It says of itself what cannot be.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It is of a version that is not known.
    #[error("manifest.json: bundle_format_version {found} is not supported; supported is {}", BUNDLE_VERSION)]
    BundleVersion {
        /// The version, as it is written.
        found: String,
    },
    /// It is not what was asked for.
    #[error("this is not {}: {why}", layout.described())]
    Other {
        /// What was asked for.
        layout: Layout,
        /// What it lacks.
        why: &'static str,
    },
}

impl Failure for LayoutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(e) => e.kind(),
            Self::BundleVersion { .. } => Kind::Newer,
            Self::Other { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("--layout none takes it as a folder like any other".to_owned())
    }
}

/// Why an archive is not taken for what its layout says.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// It is not of the layout that was asked for, or of a version that is not known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It has the layout of another system, and is not as that says.
    #[error("{}", first(.0))]
    Faults(Vec<Fault>),
}

/// The first few.
fn first(all: &[Fault]) -> String {
    let lines: Vec<_> = all.iter().take(10).map(ToString::to_string).collect();
    let more = all.len() - lines.len();
    lines.join("; ") + &if more > 0 { format!("; and {more} more") } else { String::new() }
}

impl Failure for Misfit {
    fn kind(&self) -> Kind {
        match self {
            Self::Layout(e) => e.kind(),
            Self::Faults(_) => Kind::Damage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(e) => e.hint(),
            Self::Faults(_) => Some("--layout none takes it as a folder like any other".to_owned()),
        }
    }
}

/// Faults as they are found: the first thousand, and how many more.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    more: usize,
}

impl Faults {
    const MAX: usize = 1000;

    pub(super) fn note(&mut self, path: &[u8], what: impl Into<String>) {
        if self.list.len() < Self::MAX {
            self.list.push(Fault { path: shown(path), what: what.into() });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn finish(mut self) -> Vec<Fault> {
        if self.more > 0 {
            self.list.push(Fault { path: "…".to_owned(), what: format!("and {} more", self.more) });
        }
        self.list
    }
}
