//! A folder opened and listed: its names, the metadata of the first ones, and what it says itself should be left out.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::ops::source::{self, Meta, Names};

use super::ignore_files::{FolderRules, Trouble, Which};
use super::options::LeaveOut;
use super::roots::Only;

/// Names whose metadata are asked for in one go.
pub(super) const BATCH: usize = 512;

/// The tag of a cache folder, and how its content begins (<https://bford.info/cachedir/>).
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
pub(super) const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Metadata of some names.
pub(super) type Stats = Vec<Result<Meta, Errno>>;

/// What to look for in each folder that is listed.
#[derive(Debug)]
pub(super) struct LookFor {
    /// Files of patterns.
    pub(super) files: Which,
    /// Names of entries that tag a folder as one to be left empty.
    tags: Vec<Vec<u8>>,
    /// Whether folders that are tagged as caches are left empty.
    caches: bool,
}

impl LookFor {
    pub(super) fn new(leave_out: &LeaveOut) -> Self {
        Self {
            files: Which { larderignore: leave_out.ignore_files, gitignore: leave_out.gitignore },
            tags: leave_out.if_present.iter().map(|n| n.as_bytes().to_vec()).collect(),
            caches: leave_out.caches,
        }
    }

    /// The entries that tag this folder as one to be left empty.
    fn tags_in(&self, dir: &OwnedFd, names: &Names) -> Vec<&[u8]> {
        let mut found: Vec<_> = self.tags.iter().map(Vec::as_slice).filter(|t| names.contains(t)).collect();
        if self.caches && names.contains(CACHE_TAG) && has_cache_signature(dir) {
            found.push(CACHE_TAG);
        }
        found
    }
}

fn has_cache_signature(dir: &OwnedFd) -> bool {
    let Ok(file) = source::open_file(dir.as_fd(), CACHE_TAG) else { return false };
    let regular = source::stat_fd(file.as_fd()).is_ok_and(|m| m.kind == FileType::RegularFile);
    let mut front = Vec::new();
    regular && source::append_at(file.as_fd(), &mut front, CACHE_SIGNATURE.len(), 0).is_ok() && front == CACHE_SIGNATURE
}

/// A folder that was opened and listed, with the metadata of its first names.
pub(super) struct Listing {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) names: Arc<Names>,
    pub(super) first: Stats,
    /// What its files of patterns say.
    pub(super) rules: Option<FolderRules>,
    /// What is wrong with them.
    pub(super) troubles: Vec<Trouble>,
    /// The entry that tags it as one to be left empty, and how many others were left out for that.
    pub(super) emptied: Option<(String, usize)>,
}

impl Listing {
    /// Lists the folder; with `only`, the names that the user gave, whatever else is there.
    pub(super) fn read(fd: OwnedFd, only: Option<&Only>, look_for: &LookFor) -> Result<Self, Errno> {
        let (mut rules, mut troubles, mut emptied) = (None, Vec::new(), None);
        let names = if let Some(only) = only {
            Names::from_list(only.0.keys().map(Vec::as_slice))
        } else {
            let all = Names::read(fd.as_fd())?;
            rules = FolderRules::read(fd.as_fd(), &all, look_for.files, &mut troubles);
            let tags = look_for.tags_in(&fd, &all);
            if let Some(tag) = tags.first() {
                let kept = Names::from_list(tags.iter().copied());
                emptied = Some((String::from_utf8_lossy(tag).into_owned(), all.len() - kept.len()));
                kept
            } else {
                all
            }
        };
        let first = stat_batch(&fd, &names, 0);
        Ok(Self { fd: Arc::new(fd), names: Arc::new(names), first, rules, troubles, emptied })
    }
}

/// Metadata of the next names from a place on.
pub(super) fn stat_batch(dir: &OwnedFd, names: &Names, from: usize) -> Stats {
    (from..names.len().min(from + BATCH))
        .map(|at| source::stat_at(dir.as_fd(), names.get(at).unwrap_or_default()))
        .collect()
}
