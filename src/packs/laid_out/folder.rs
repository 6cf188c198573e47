//! The captured folder: its files by their paths, wherever in it the layout begins.

use std::collections::BTreeMap;
use std::io::Write;

use crate::model::{Body, Entry, Progress};
use crate::ops::read::{cat, list};
use crate::packs::layouts::{ComposeError, Layout};
use crate::records::json::MAX_BYTES;
use crate::tree::Pages;

use super::LaidOutError;

/// Files that a folder may have; neither layout comes near it.
const MAX_FILES: usize = 100_000;

/// A captured folder.
pub(super) struct Folder<'a> {
    pages: &'a Pages,
    /// By their paths from where the layout begins.
    pub(super) files: BTreeMap<String, Entry>,
    progress: &'a dyn Progress,
}

impl std::fmt::Debug for Folder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.files.keys()).finish()
    }
}

impl<'a> Folder<'a> {
    /// Lists one. A folder that alone stands in it and holds the layout is what is meant.
    pub(super) fn gather(
        pages: &'a Pages,
        folder: &Entry,
        layout: Layout,
        progress: &'a dyn Progress,
    ) -> Result<Self, LaidOutError> {
        let no_folder = ComposeError::Nothing { layout, lacks: "files: it is one itself" };
        if folder.folder().is_none() {
            return Err(no_folder.into());
        }
        let mut folder = folder.clone();
        loop {
            let mut lister = list(pages, &folder, false)?;
            let (mut only, mut count, mut is_it) = (None, 0, false);
            while let Some((name, entry)) = lister.next()? {
                is_it |= is_mark(layout, &name);
                count += 1;
                only = Some(entry);
            }
            match only {
                Some(entry) if count == 1 && !is_it && entry.folder().is_some() => folder = entry,
                _ => break,
            }
        }
        let mut files = BTreeMap::new();
        let mut lister = list(pages, &folder, true)?;
        while let Some((path, entry)) = lister.next()? {
            let path = String::from_utf8(path).map_err(|e| {
                let path = String::from_utf8_lossy(e.as_bytes()).into_owned();
                ComposeError::File { path, why: "its name is not UTF-8".to_owned() }
            })?;
            match entry.body {
                Body::Folder(_) => {}
                Body::File(_) if files.len() < MAX_FILES => {
                    files.insert(path, entry);
                }
                _ => return Err(ComposeError::NoPlace { path, layout }.into()),
            }
        }
        Ok(Self { pages, files, progress })
    }

    pub(super) fn size(&self, path: &str) -> u64 {
        self.files.get(path).map_or(0, Entry::size)
    }

    pub(super) fn time(&self, path: &str) -> i64 {
        self.files.get(path).map_or(0, |entry| entry.mtime.seconds)
    }

    /// A file's bytes; of none that is longer than JSON is read.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, LaidOutError> {
        if self.size(path) > MAX_BYTES as u64 {
            let why = "it is longer than the 32 MiB that are read".to_owned();
            return Err(ComposeError::File { path: path.to_owned(), why }.into());
        }
        let mut bytes = Vec::new();
        self.copy(path, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn copy(&self, path: &str, out: &mut dyn Write) -> Result<(), LaidOutError> {
        match self.files.get(path) {
            Some(entry) => Ok(cat(self.pages, entry, path, out, self.progress)?),
            None => Ok(()),
        }
    }
}

/// True for what stands at the top of a layout.
fn is_mark(layout: Layout, name: &[u8]) -> bool {
    let marks: &[&str] = match layout {
        Layout::Investigation => &["metadata.json", "evidence"],
        Layout::Bundle => &["manifest.json", "scenario_plans", "checksums.sha256"],
    };
    marks.iter().any(|mark| mark.as_bytes() == name)
}
