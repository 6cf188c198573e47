//! Writes a captured folder in the layout of another system, so that the old tools take it: what was imported as it was, what is laid
//! out like it with its chain, inventory and metadata computed. What is written was checked as an import checks it.

mod error;
mod folder;
mod tar_member;

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

use crate::model::{Entry, Progress, Timestamp};
use crate::tree::Pages;

use super::archive::Archive;
use super::error::PackError;
use super::layouts::{ComposeError, Content, Laid, Layout, LayoutError, Observer, Plan, Seen, Told, Wanted, plan};

pub use error::LaidOutError;
use folder::Folder;

/// Bytes that an investigation archive may have, unless told otherwise: what the older system takes.
pub const INVESTIGATION_MAX: u64 = 100 << 20;

/// A folder that is ready to be written.
pub struct LaidOut<'a> {
    folder: Folder<'a>,
    plan: Plan,
    seen: Seen,
    made_at: i64,
    progress: &'a dyn Progress,
}

/// Prepares a folder: plans what goes where, computes what is missing, and checks all of it. Reads every file once.
///
/// # Errors
/// If it is not laid out so, contradicts itself, or cannot be read.
pub fn lay_out<'a>(
    pages: &'a Pages,
    folder: &Entry,
    layout: Layout,
    told: &Told,
    progress: &'a dyn Progress,
) -> Result<LaidOut<'a>, LaidOutError> {
    let folder = Folder::gather(pages, folder, layout, progress)?;
    let paths: Vec<String> = folder.files.keys().cloned().collect();
    let plan = plan(layout, &paths, told, &mut |path| folder.read(path))?;
    let mut observer = Observer::new(Wanted::Only(layout));
    for name in &plan.folders {
        observer.folder(format!("{}/{name}", plan.root).as_bytes());
    }
    for laid in &plan.files {
        let path = format!("{}/{}", plan.root, laid.name);
        match &laid.content {
            Content::Made(bytes) => {
                observer.file(path.as_bytes(), bytes.len() as u64);
                observer.data(bytes);
            }
            Content::Captured(from) => {
                observer.file(path.as_bytes(), folder.size(from));
                folder.copy(from, &mut Observed(&mut observer))?;
            }
        }
        observer.end_file();
    }
    let none = ComposeError::Layout(LayoutError::Other { layout, why: "it does not say so" });
    let seen = observer.finish().map_err(ComposeError::Layout)?.ok_or(none)?;
    if !seen.faults.is_empty() {
        return Err(ComposeError::Faults { layout, faults: seen.faults }.into());
    }
    Ok(LaidOut { folder, plan, seen, made_at: told.time.seconds, progress })
}

impl std::fmt::Debug for LaidOut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaidOut").field("plan", &self.plan).finish_non_exhaustive()
    }
}

struct Observed<'a>(&'a mut Observer);

impl Write for Observed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LaidOut<'_> {
    /// Which layout it is.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.seen.layout
    }

    /// Puts all of it into an archive.
    pub(super) fn fill(&self, archive: &mut dyn Archive) -> Result<(), PackError> {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        let folders = std::iter::once(String::new()).chain(self.plan.folders.iter().map(|name| format!("{name}/")));
        for name in folders {
            archive.folder(&format!("{}/{name}", self.plan.root), at(self.made_at))?;
        }
        for (n, laid) in self.plan.files.iter().enumerate() {
            if self.progress.cancelled() {
                return Err(PackError::Interrupted);
            }
            let name = format!("{}/{}", self.plan.root, laid.name);
            let size = self.size(laid);
            archive.file(&name, at(self.time(laid)), size, &mut |out| Ok(self.write_file(n, out)?))?;
            self.progress.advance(1, size);
        }
        Ok(())
    }

    /// What an import of it would see.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The folder around all.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.plan.root
    }

    /// True if the metadata were there, and nothing was computed.
    #[must_use]
    pub fn as_it_was(&self) -> bool {
        self.plan.as_it_was
    }

    /// Its files in their order, and their sizes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.plan.files.iter().map(|laid| (laid.name.as_str(), self.size(laid)))
    }

    fn write_file(&self, at: usize, out: &mut dyn Write) -> Result<(), LaidOutError> {
        match self.plan.files.get(at).map(|laid| &laid.content) {
            Some(Content::Made(bytes)) => out.write_all(bytes).map_err(LaidOutError::Write),
            Some(Content::Captured(from)) => self.folder.copy(from, out),
            None => Ok(()),
        }
    }

    /// Writes all of it as tar: the same bytes as the older system's, times as they were captured.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn write_tar(&self, out: &mut dyn Write) -> Result<(), LaidOutError> {
        let mut written = 0;
        for (at, laid) in self.plan.files.iter().enumerate() {
            if self.progress.cancelled() {
                return Err(LaidOutError::Interrupted);
            }
            let size = self.size(laid);
            written += tar_member::header(&format!("{}/{}", self.plan.root, laid.name), size, self.time(laid), out)?;
            self.write_file(at, out)?;
            written += size + tar_member::pad(size, out)?;
            self.progress.advance(1, size);
        }
        tar_member::end(written, out)?;
        out.flush().map_err(LaidOutError::Write)
    }

    /// The same under gzip, with the header that the older system writes.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn write_tar_gz(&self, level: u32, out: &mut dyn Write) -> Result<(), LaidOutError> {
        let newest = self.plan.files.last().map_or(self.made_at, |laid| self.time(laid));
        let header =
            GzBuilder::new().filename(format!("{}.tar", self.plan.root)).mtime(u32::try_from(newest).unwrap_or(0));
        let mut encoder = header.write(out, Compression::new(level));
        self.write_tar(&mut encoder)?;
        encoder.finish().and_then(Write::flush).map_err(LaidOutError::Write)
    }

    fn size(&self, laid: &Laid) -> u64 {
        match &laid.content {
            Content::Made(bytes) => bytes.len() as u64,
            Content::Captured(from) => self.folder.size(from),
        }
    }

    /// In whole seconds, as the older system keeps them.
    fn time(&self, laid: &Laid) -> i64 {
        match &laid.content {
            Content::Made(_) => self.made_at,
            Content::Captured(from) => self.folder.time(from),
        }
    }
}
