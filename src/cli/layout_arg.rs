//! Which layout of another system is looked for in an archive.

use clap::ValueEnum;

use crate::packs::layouts::{Layout, Wanted};

/// Layouts of other systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LayoutArg {
    /// Whatever the content tells
    Auto,
    /// None: a folder like any other
    None,
    /// Evidence of an investigation
    Investigation,
    /// An export bundle
    Bundle,
}

impl LayoutArg {
    /// What is looked for.
    pub(super) fn wanted(self) -> Wanted {
        match self {
            Self::Auto => Wanted::Any,
            Self::None => Wanted::None,
            Self::Investigation => Wanted::Only(Layout::Investigation),
            Self::Bundle => Wanted::Only(Layout::Bundle),
        }
    }
}
