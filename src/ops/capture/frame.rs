//! A folder that the walk is in. Listing folders and asking for metadata run ahead of it on a pool of their own.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use rayon::ThreadPool;
use rustix::io::Errno;

use crate::ops::source::{self, Meta, Names};

use super::listing::{BATCH, Listing, LookFor, Stats, stat_batch};
use super::roots::Only;

/// Folders listed ahead, per level.
const FOLDERS_AHEAD: usize = 8;
/// Batches of metadata asked for ahead.
const BATCHES_AHEAD: usize = 3;

/// A folder being walked.
pub(super) struct Frame {
    pub(super) fd: Arc<OwnedFd>,
    names: Arc<Names>,
    at: usize,
    batch: Stats,
    batch_from: usize,
    batches_ahead: VecDeque<Receiver<Stats>>,
    folders_ahead: VecDeque<(usize, Receiver<Result<Listing, Errno>>)>,
    looked_ahead: usize,
    /// The names that are captured, if not all.
    pub(super) only: Option<Only>,
    /// The device that it is on.
    pub(super) device: (u32, u32),
    /// Bytes of its path.
    pub(super) path_len: usize,
    /// Whether the old cache knows it and is in it.
    pub(super) in_cache: bool,
}

impl Frame {
    pub(super) fn new(
        listing: Listing,
        only: Option<Only>,
        device: (u32, u32),
        path_len: usize,
        in_cache: bool,
    ) -> Self {
        Self {
            fd: listing.fd,
            names: listing.names,
            at: 0,
            batch: listing.first,
            batch_from: 0,
            batches_ahead: VecDeque::new(),
            folders_ahead: VecDeque::new(),
            looked_ahead: 0,
            only,
            device,
            path_len,
            in_cache,
        }
    }

    /// The place of the next name and what the host says of it; nothing at the end.
    pub(super) fn next(&mut self) -> Option<(usize, Result<Meta, Errno>)> {
        if self.at >= self.names.len() {
            return None;
        }
        if self.at >= self.batch_from + self.batch.len() {
            self.batch_from = self.at;
            self.batch = match self.batches_ahead.pop_front().map(|r| r.recv()) {
                Some(Ok(batch)) => batch,
                _ => stat_batch(&self.fd, &self.names, self.at),
            };
        }
        let at = self.at;
        self.at += 1;
        Some((at, self.batch.get(at - self.batch_from).copied().unwrap_or(Err(Errno::IO))))
    }

    /// The name at a place.
    pub(super) fn name(&self, at: usize) -> &[u8] {
        self.names.get(at).unwrap_or_default()
    }

    /// Has the pool ask for the metadata of the next names.
    pub(super) fn stat_ahead(&mut self, pool: &ThreadPool) {
        while self.batches_ahead.len() < BATCHES_AHEAD {
            let from = self.batch_from + self.batch.len() + self.batches_ahead.len() * BATCH;
            if from >= self.names.len() {
                return;
            }
            let (done, batch) = bounded(1);
            let (fd, names) = (self.fd.clone(), self.names.clone());
            pool.spawn(move || {
                let _ = done.send(stat_batch(&fd, &names, from));
            });
            self.batches_ahead.push_back(batch);
        }
    }

    /// Has the pool list the next folders that are wanted.
    pub(super) fn list_ahead(
        &mut self,
        pool: &ThreadPool,
        look_for: &Arc<LookFor>,
        mut wanted: impl FnMut(&[u8], &Meta) -> bool,
    ) {
        self.looked_ahead = self.looked_ahead.max(self.at).max(self.batch_from);
        while self.folders_ahead.len() < FOLDERS_AHEAD {
            let at = self.looked_ahead;
            let Some(meta) = self.batch.get(at - self.batch_from) else { return };
            self.looked_ahead += 1;
            let name = self.names.get(at).unwrap_or_default();
            if !meta.is_ok_and(|meta| wanted(name, &meta)) {
                continue;
            }
            let (done, listing) = bounded(1);
            let (fd, name, look_for): (_, Box<[u8]>, _) = (self.fd.clone(), name.into(), look_for.clone());
            pool.spawn(move || {
                let listed =
                    source::open_dir(fd.as_fd(), &name).and_then(|folder| Listing::read(folder, None, &look_for));
                let _ = done.send(listed);
            });
            self.folders_ahead.push_back((at, listing));
        }
    }

    /// The listing of the folder at a place, if it was made ahead. Those of places before it are given up.
    pub(super) fn listed_ahead(&mut self, at: usize) -> Option<Result<Listing, Errno>> {
        while self.folders_ahead.pop_front_if(|(place, _)| *place < at).is_some() {}
        self.folders_ahead.pop_front_if(|(place, _)| *place == at).and_then(|(_, listing)| listing.recv().ok())
    }
}
