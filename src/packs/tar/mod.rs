//! `tar`, canonical form `tar-v1`: the same tree gives the same bytes, for ever.
//!
//! POSIX ustar headers, PAX records only for what they cannot hold, in a fixed order. Members in preorder.
//! Holes in GNU's sparse format 1.0, ACLs and xattrs in the records that GNU tar, star and libarchive share
//! (`SCHILY.acl.*`, `SCHILY.xattr.*`). `tar --acls --xattrs --xattrs-include='*' -xpf` gives all of it back.

pub(crate) mod acl;
mod canon;
pub(crate) mod end;
mod header;
mod member;
mod sparse;

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tar::EntryType;

use crate::model::{Progress, Timestamp};
use crate::tree::in_order;

use super::PackError;
use super::archive::{Archive, Counted, Extent, Tree, Witness, WriteFile};
use super::loss::Losses;
use super::sums::Sums;
pub(crate) use canon::headers;
use header::{Member, pad, put_headers};
use member::{Content, Packed, Setting, pack};

/// A tar on its way out.
pub(super) struct Tar<'a> {
    out: &'a mut dyn Write,
    progress: &'a dyn Progress,
    extent: Extent,
}

impl<'a> Tar<'a> {
    /// Written to `out`, in large slices.
    pub(super) fn new(out: &'a mut dyn Write, progress: &'a dyn Progress) -> Self {
        Self { out, progress, extent: Extent::default() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Write)?;
        self.extent.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The header of a member that is not in the snapshot.
    fn own(&mut self, kind: EntryType, name: &str, mode: u16, mtime: Timestamp, size: u64) -> Result<(), PackError> {
        let member = Member {
            kind,
            path: name.as_bytes().to_vec(),
            short_path: None,
            link: None,
            mode,
            uid: 0,
            gid: 0,
            user: &[],
            group: &[],
            mtime,
            size,
            device: (0, 0),
            records: Vec::new(),
        };
        let mut bytes = Vec::new();
        put_headers(&mut bytes, &member);
        self.extent.members += 1;
        self.write(&bytes)
    }
}

impl Archive for Tar<'_> {
    fn folder(&mut self, name: &str, mtime: Timestamp) -> Result<(), PackError> {
        self.own(EntryType::Directory, name, 0o755, mtime, 0)
    }

    fn file(&mut self, name: &str, mtime: Timestamp, len: u64, write: WriteFile) -> Result<(), PackError> {
        self.own(EntryType::Regular, name, 0o644, mtime, len)?;
        let mut counted = Counted { out: &mut *self.out, bytes: 0 };
        write(&mut counted)?;
        if counted.bytes != len {
            return Err(PackError::length(name, len, counted.bytes));
        }
        self.extent.bytes += len;
        let mut zeros = Vec::new();
        pad(&mut zeros, len);
        self.write(&zeros)
    }

    fn tree(&mut self, tree: &Tree, mut sums: Option<&mut Sums>, witness: Witness) -> Result<Losses, PackError> {
        let pages = &tree.subject.pages;
        let mut flow = tree.subject.flow();
        let spare: Mutex<Vec<Vec<u8>>> = Mutex::default();
        let take_buffer = || spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let progress = self.progress;
        let stop = || progress.cancelled();
        let setting = Setting { prefix: tree.prefix.clone(), sums: sums.is_some() };
        in_order(
            || {
                let batch = flow.batch();
                batch.iter().for_each(&mut *witness);
                Some(batch).filter(|batch| !batch.is_empty())
            },
            |batch| pack(pages, &setting, batch, take_buffer(), &stop),
            |packed| {
                let mut packed: Packed = packed?;
                for (node, content) in packed.told.drain(..) {
                    let Some(sums) = &mut sums else { continue };
                    match content {
                        Content::Told(told) => sums.tell(&node, told)?,
                        Content::Data(range) => sums.data(&packed.bytes[range]),
                        Content::Zeros(len) => sums.zeros(len, &stop),
                    }
                }
                self.write(&packed.bytes)?;
                self.extent.members += packed.members;
                self.progress.advance(packed.members, packed.content);
                packed.bytes.clear();
                spare.lock().unwrap_or_else(PoisonError::into_inner).push(packed.bytes);
                if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
            },
        )?;
        Ok(Losses::default())
    }

    fn finish(mut self: Box<Self>) -> Result<Extent, PackError> {
        let len = end::zeros(self.extent.bytes);
        self.write(&vec![0; usize::try_from(len).unwrap_or(0)])?;
        self.out.flush().map_err(PackError::Write)?;
        Ok(self.extent)
    }
}
