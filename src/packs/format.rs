//! The sorts of packs.

use std::ops::RangeInclusive;

use crate::codec::{GzipWriter, SeekableWriter};

use super::form::Form;
use super::zip;

/// A sort of pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tar.
    Tar,
    /// Tar, compressed with zstd.
    TarZst,
    /// Tar, compressed with gzip.
    TarGz,
    /// Zip.
    Zip(Compression),
    /// A folder.
    Dir,
}

/// How the contents of a zip are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Stored,
    /// As every zip program can.
    Deflate,
    /// As few can.
    Zstd,
}

impl Format {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
            Self::TarGz => "tar.gz",
            Self::Zip(_) => "zip",
            Self::Dir => "dir",
        }
    }

    /// The rules that its bytes follow.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::Tar | Self::TarZst | Self::TarGz => Form::Tar,
            Self::Zip(_) => Form::Zip,
            Self::Dir => Form::Dir,
        }
    }

    /// The levels of compression that there are.
    #[must_use]
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::Tar | Self::Dir | Self::Zip(Compression::Stored) => None,
            Self::TarZst | Self::Zip(Compression::Zstd) => Some(SeekableWriter::<Vec<u8>>::LEVELS),
            Self::TarGz | Self::Zip(Compression::Deflate) => Some(zip::LEVELS),
        }
    }

    /// The level that is used if none is asked for.
    #[must_use]
    pub fn default_level(self) -> Option<i32> {
        match self {
            Self::Tar | Self::Dir | Self::Zip(Compression::Stored) => None,
            Self::TarZst | Self::Zip(Compression::Zstd) => Some(3),
            Self::TarGz => Some(GzipWriter::<Vec<u8>>::DEFAULT_LEVEL),
            Self::Zip(Compression::Deflate) => Some(zip::DEFAULT_LEVEL),
        }
    }
}
