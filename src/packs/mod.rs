//! Packs: a snapshot, or part of one, as a portable file. One format a file; `members` reads what others have packed.

//TMPpub mod audit;
mod error;
//TMPmod import;
pub mod laid_out;
pub mod layouts;
mod loss;
mod members;
pub mod tar;
//TMPmod unpack;
//TMPmod watch;
mod zip;

use std::io::Write;
use std::ops::RangeInclusive;

use crate::codec::FrameWriter;
use crate::model::{Entry, Progress};
use crate::tree::Pages;

//TMPpub use audit::{AuditError, Audited, Visitor, audit};
pub use error::PackError;
//TMPpub use import::{ImportError, ImportOptions, Imported, dataset_of, import, rehearse};
pub use loss::{Loss, Losses};
//TMPpub use manifest::SnapshotInfo;
pub use members::{Take, members};
//TMPpub use watch::{Watched, watched};
//TMPpub use unpack::{UnpackError, UnpackOptions, Unpacked, unpack};

/// A sort of pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tar.
    Tar,
    /// Tar, compressed with zstd.
    TarZst,
    /// Zip.
    Zip,
}

impl Format {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
            Self::Zip => "zip",
        }
    }

    /// The name of the rules that its bytes follow.
    #[must_use]
    pub fn canonical_form(self) -> &'static str {
        match self {
            Self::Tar | Self::TarZst => "tar-v1",
            Self::Zip => "zip-v1",
        }
    }

    /// The levels of compression that there are.
    #[must_use]
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::Tar => None,
            Self::TarZst => Some(FrameWriter::<Vec<u8>>::LEVELS),
            Self::Zip => Some(zip::LEVELS),
        }
    }

    /// The level that is used if none is asked for.
    #[must_use]
    pub fn default_level(self) -> Option<i32> {
        match self {
            Self::Tar => None,
            Self::TarZst => Some(3),
            Self::Zip => Some(zip::DEFAULT_LEVEL),
        }
    }
}

/// What went into a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// Members.
    pub members: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What the format cannot carry.
    pub losses: Losses,
}

/// Writes trees as a pack to `out`, in large slices. Each start is an entry and its path from the root; the root's path is empty.
/// The same trees give the same bytes: of tar for ever, of what is compressed for one version of Larder.
///
/// `level`: one of [`Format::levels`], or [`Format::default_level`].
///
/// # Errors
/// At the first thing that cannot be read or written: a pack cannot say that a file is damaged. What was written then does not
/// pass for a whole pack.
pub fn export(
    pages: &Pages,
    starts: Vec<(Box<[u8]>, Entry)>,
    format: Format,
    level: Option<i32>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let level = level.or(format.default_level()).unwrap_or_default();
    match format {
        Format::Tar => tar::export(pages, starts, out, progress),
        Format::TarZst => {
            let threads = std::thread::available_parallelism().map_or(2, usize::from).min(16);
            let mut counted = Counted { out, bytes: 0 };
            let threads = u32::try_from(threads).unwrap_or(1);
            let mut frame = FrameWriter::new(&mut counted, level, threads).map_err(PackError::Write)?;
            let packing = tar::export(pages, starts, &mut frame, progress)?;
            frame.finish().and_then(Write::flush).map_err(PackError::Write)?;
            Ok(Packing { bytes: counted.bytes, ..packing })
        }
        Format::Zip => zip::export(pages, starts, level, out, progress),
    }
}

/// Counts what is written.
struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
