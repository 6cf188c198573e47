//! Packs: snapshots, or parts of them, as one file that stock tools open. pack-format.md says what they are.
//!
//! One archive format a folder: `tar`, `zip`; `dir` is a folder on a file system. What each can do is `archive::Archive`; `export` drives one of them.

mod archive;
pub mod audit;
pub mod checksums;
mod dir;
mod drain;
mod error;
mod form;
mod format;
mod import;
mod inventory;
pub mod laid_out;
pub mod layouts;
mod loss;
mod loss_counter;
pub mod manifest;
mod name;
mod prove;
mod readme;
mod records;
mod seal;
mod sink;
mod subject;
mod sums;
pub mod tar;
mod unpack;
pub mod verify;
mod watch;
mod zip;

use std::io::Write;
use std::path::Path;

use crate::codec::{GzipWriter, SeekableWriter, Sha256};
use crate::model::{Progress, Timestamp};

pub use audit::{AuditError, Audited, Drift, Visitor, audit};
pub use error::PackError;
pub use form::Form;
pub use format::{Compression, Format};
pub use import::{ImportError, ImportOptions, Imported, Original, dataset_of, import, rehearse};
pub use layouts::TableWriter;
pub use loss::{Loss, Losses};
pub use manifest::SnapshotInfo;
pub use prove::prove;
pub use seal::{Seal, Sealing};
pub use sink::Sink;
pub use subject::Subject;
pub use unpack::{UnpackError, UnpackOptions, Unpacked, unpack};
pub use watch::{Watched, watched};

use archive::{Archive, Counted, Extent, Tree};
use checksums::{line_len, put_line};
use inventory::{survey, write_lines, write_manifest};
use laid_out::LaidOut;
use layouts::Layout;
use loss_counter::LossCounter;
use readme::readme;
use sums::Sums;

/// What went into a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// Members.
    pub members: u64,
    /// Bytes, before a seal.
    pub bytes: u64,
    /// What the format cannot carry.
    pub losses: Losses,
}

/// How a pack is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// The sort of archive.
    pub format: Format,
    /// One of [`Format::levels`]; else [`Format::default_level`].
    pub level: Option<i32>,
    /// The trees alone, at the archive's root. Then there is one subject.
    pub bare: bool,
    /// Where what is too much for memory goes, sealed.
    pub scratch: &'a Path,
}

/// Writes subjects as a pack to `out`, in large slices: each in a folder of its own.
/// The same subjects give the same bytes: what is not compressed for ever, what is for one version of Larder.
///
/// # Errors
/// At the first thing that cannot be read or written: a pack cannot say that a file is damaged. What was written then does not
/// pass for a whole pack.
pub fn export(
    subjects: &[Subject],
    options: Options<'_>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    write(&What::Subjects(subjects), options, out, progress)
}

/// The same of a folder in the layout of another system. An investigation archive has one format, whatever the options say but the level.
///
/// # Errors
/// As [`export`].
pub fn export_laid_out(
    laid: &LaidOut,
    options: Options<'_>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    if laid.layout() != Layout::Investigation {
        return write(&What::Laid(laid), options, out, progress);
    }
    let mut counted = Counted { out, bytes: 0 };
    laid.write_tar_gz(options.level.and_then(|level| u32::try_from(level).ok()).unwrap_or(9), &mut counted)?;
    Ok(Packing { members: laid.files().count() as u64, bytes: counted.bytes, losses: Losses::default() })
}

/// What is written.
enum What<'a> {
    Subjects(&'a [Subject]),
    Laid(&'a LaidOut<'a>),
}

fn write(
    what: &What,
    options: Options<'_>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let level = options.level.or(options.format.default_level()).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(16);
    let write_tar = |out: &mut dyn Write| fill(Box::new(tar::Tar::new(out, progress)), what, options, progress);
    match options.format {
        Format::Tar => write_tar(out),
        Format::TarZst => {
            let mut counted = Counted { out, bytes: 0 };
            let mut frame = SeekableWriter::new(&mut counted, level, threads).map_err(PackError::Write)?;
            let packing = write_tar(&mut frame)?;
            frame.finish().and_then(Write::flush).map_err(PackError::Write)?;
            Ok(Packing { bytes: counted.bytes, ..packing })
        }
        Format::TarGz => {
            let mut counted = Counted { out, bytes: 0 };
            let mut member = GzipWriter::new(&mut counted, level, threads).map_err(PackError::Write)?;
            let packing = write_tar(&mut member)?;
            member.finish().and_then(Write::flush).map_err(PackError::Write)?;
            Ok(Packing { bytes: counted.bytes, ..packing })
        }
        Format::Zip(compression) => {
            let method = match compression {
                Compression::Stored => zip::Method::Stored,
                Compression::Deflate => zip::Method::Deflate(u32::try_from(level).unwrap_or_default()),
                Compression::Zstd => zip::Method::Zstd(level),
            };
            fill(Box::new(zip::Zip::new(out, method, options.scratch, progress)), what, options, progress)
        }
        Format::Dir => Err(PackError::Write(std::io::ErrorKind::IsADirectory.into())),
    }
}

/// Writes subjects into an empty folder, as [`export`] writes an archive.
///
/// # Errors
/// As for an archive.
pub fn export_into(
    subjects: &[Subject],
    options: Options<'_>,
    base: &Path,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    fill(Box::new(dir::Dir::new(base, progress)), &What::Subjects(subjects), options, progress)
}

/// The same of a folder in the layout of another system.
///
/// # Errors
/// As [`export_into`].
pub fn export_laid_out_into(
    laid: &LaidOut,
    options: Options<'_>,
    base: &Path,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let options = Options { bare: true, ..options };
    fill(Box::new(dir::Dir::new(base, progress)), &What::Laid(laid), options, progress)
}

/// Fills an archive and ends it.
fn fill(
    mut archive: Box<dyn Archive + '_>,
    what: &What,
    options: Options<'_>,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let form = options.format.form();
    let mut losses = Losses::default();
    let subjects = match what {
        What::Subjects(subjects) => *subjects,
        What::Laid(laid) => {
            laid.fill(&mut *archive)?;
            &[]
        }
    };
    for subject in subjects {
        losses.append(if options.bare {
            let prefix = if form == Form::Tar { b"./".to_vec() } else { Vec::new() };
            tree(&mut *archive, &Tree { subject, prefix }, form, None, progress)?
        } else {
            folder(&mut *archive, subject, form, options.scratch, progress)?
        });
    }
    let Extent { members, bytes } = archive.finish()?;
    Ok(Packing { members, bytes, losses })
}

/// Writes a tree, and counts what is lost of it.
fn tree(
    archive: &mut dyn Archive,
    tree: &Tree,
    form: Form,
    sums: Option<&mut Sums>,
    progress: &dyn Progress,
) -> Result<Losses, PackError> {
    let mut counter = LossCounter::new(form);
    let beside = archive.tree(tree, sums, &mut |visit| counter.visit(visit))?;
    let mut losses = counter.finish(progress);
    losses.append(beside);
    Ok(losses)
}

/// Writes the folder of a subject.
fn folder(
    archive: &mut dyn Archive,
    subject: &Subject,
    form: Form,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<Losses, PackError> {
    let name = subject.name();
    let mtime = Timestamp { nanos: 0, ..subject.manifest.arrival };
    let survey = survey(subject, form, progress)?;
    let readme = readme(form);
    archive.folder(&format!("{name}/"), mtime)?;
    archive.file(&format!("{name}/manifest.json"), mtime, survey.manifest_len, &mut |out| {
        write_manifest(subject, form, out, progress)
    })?;
    archive.file(&format!("{name}/README.txt"), mtime, readme.len() as u64, &mut |out| {
        out.write_all(readme.as_bytes()).map_err(PackError::Write)
    })?;
    if !subject.is_whole() {
        archive.folder(&format!("{name}/content/"), mtime)?;
    }
    let mut sums = Sums::new(scratch);
    let place = Tree { subject, prefix: format!("{name}/content/").into_bytes() };
    let losses = tree(archive, &place, form, Some(&mut sums), progress)?;
    let mut readme_sum = Sha256::default();
    readme_sum.update(readme.as_bytes());
    let readme_sum = readme_sum.hex();
    let len = line_len(b"manifest.json") + line_len(b"README.txt") + survey.lines_len;
    archive.file(&format!("{name}/checksums.sha256"), mtime, len, &mut |out| {
        let mut lines = Vec::new();
        put_line(&mut lines, &survey.manifest_sha256, b"manifest.json");
        put_line(&mut lines, &readme_sum, b"README.txt");
        out.write_all(&lines).map_err(PackError::Write)?;
        write_lines(subject, form, &sums, out, progress)
    })?;
    Ok(losses)
}
