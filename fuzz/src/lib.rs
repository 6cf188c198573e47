//! What reads bytes from outside, without the database: those modules of the library that need no RocksDB, and for each of their
//! readers a property that must hold of all bytes whatever (`properties.rs`, which the library's own tests run over the corpus).

#![allow(dead_code, unused_imports, unreachable_pub, reason = "of each module only the readers are called")]

#[path = "../../src/archives/mod.rs"]
mod archives;
#[path = "../../src/codec/mod.rs"]
mod codec;
#[path = "../../src/format/mod.rs"]
mod format;
#[path = "../../src/model/mod.rs"]
mod model;

#[path = "../../src/records/mod.rs"]
mod records;

#[path = "../../src/snapshots"]
mod snapshots {
    pub(crate) mod name;
    pub(crate) mod when;
    pub(crate) use name::SnapshotName;
    pub(crate) use when::{When, age_seconds};
}

#[path = "../../src/store"]
mod store {
    pub(crate) mod error;
    mod files;
    pub(crate) mod pin;
    pub(crate) use error::StoreError;

    pub(crate) mod db {
        use super::StoreError;

        pub(crate) mod logs;
        pub(crate) mod tables;

        mod options {
            pub(super) fn holds_blocks(family: &str) -> bool {
                matches!(family, "data" | "tree")
            }
        }
    }
}

#[path = "../../src/ops"]
mod ops {
    pub(crate) mod capture {
        mod error;
        mod exclude;
        pub(crate) mod ignore_files;
        pub(crate) use error::CaptureError;
    }
    pub(crate) mod mounts;
    mod source;
}

#[path = "../../src/packs"]
mod packs {
    pub(crate) mod audit;
    pub(crate) mod checksums;
    mod form;
    pub(crate) mod layouts;
    mod loss;
    pub(crate) mod manifest;
    mod name;
    pub(crate) use loss::Loss;
    pub(crate) mod tar {
        pub(crate) mod acl;
        pub(crate) mod end;

        /// In place of what makes headers, which reads trees too.
        pub(crate) fn headers(_: &[u8], _: &crate::archives::Member, _: &[(u64, u64)]) -> Option<Vec<u8>> {
            None
        }
    }
    mod zip {
        mod canon;
        mod headers;
        mod name;
        pub(super) use canon::{Canon, ends_so};
        pub(super) use headers::kept_time;
        pub(super) use name::name_of;
    }
}

/// In place of what reads trees.
mod tree {
    pub(crate) fn covers(above: &[u8], path: &[u8]) -> bool {
        above.is_empty() || path.strip_prefix(above).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}

#[path = "../../src/cli"]
mod cli {
    pub(crate) mod config;
    mod error;
    mod files;
    pub(crate) mod size;

    /// In place of what asks the environment.
    mod folders {
        use std::path::{Path, PathBuf};

        pub(super) fn config() -> PathBuf {
            "/etc".into()
        }

        pub(super) fn same(a: &Path, b: &Path) -> bool {
            a == b
        }
    }

    /// In place of what prints.
    mod output {
        use clap::ValueEnum;

        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum ProgressMode {
            Auto,
            None,
            Bar,
            Json,
        }

        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum ColorMode {
            Auto,
            Always,
            Never,
        }
    }
}

mod memory;
mod properties;
mod seeds;

pub use libfuzzer_sys;
pub use seeds::write_seeds;

/// Calls a property. Ends the process if it does not hold, or takes more memory than any bytes may.
pub fn check(target: &str, bytes: &[u8]) {
    let property =
        properties::ALL.iter().find(|(name, _)| *name == target).expect("a property has the target's name").1;
    memory::bounded(|| _ = property(bytes));
}

/// A fuzz target: its property by name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::check($name, bytes));
    };
}
