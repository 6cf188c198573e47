//! `tar`, canonical form `tar-v1`: the same tree gives the same bytes, for ever.
//!
//! POSIX ustar headers, PAX records only for what they cannot hold, in a fixed order. Members in preorder, names from the
//! root as `./a/b`. Holes in GNU's sparse format 1.0, ACLs and xattrs in the records that GNU tar, star and libarchive share
//! (`SCHILY.acl.*`, `SCHILY.xattr.*`). `tar --acls --xattrs --xattrs-include='*' -xpf` gives all of it back.

pub(crate) mod acl;
mod header;
mod member;
mod sparse;

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::model::{Entry, Progress};
use crate::tree::{Flow, Pages, in_order};

use super::{PackError, Packing};
use member::{Packed, pack};

/// A tar file ends at a multiple of this.
const RECORD: u64 = 10_240;

/// Writes trees as tar to `out`, in large slices. Each start is an entry and its path from the root; the root's path is empty.
///
/// # Errors
/// At the first thing that cannot be read or written: a tar cannot say that a file is damaged.
pub fn export(
    pages: &Pages,
    starts: Vec<(Box<[u8]>, Entry)>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let mut flow = Flow::new(pages, starts);
    let spare: Mutex<Vec<Vec<u8>>> = Mutex::default();
    let take_buffer = || spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    let mut packing = Packing::default();
    in_order(
        || Some(flow.batch()).filter(|batch| !batch.is_empty()),
        |batch| pack(pages, batch, take_buffer()),
        |packed| {
            let mut packed: Packed = packed?;
            packing.losses.append(std::mem::take(&mut packed.losses));
            out.write_all(&packed.bytes).map_err(PackError::Write)?;
            packing.bytes += packed.bytes.len() as u64;
            packing.members += packed.members;
            progress.advance(packed.members, packed.content);
            packed.bytes.clear();
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(packed.bytes);
            if progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
        },
    )?;
    let len = 1024 + (RECORD - (packing.bytes + 1024) % RECORD) % RECORD;
    out.write_all(&vec![0; usize::try_from(len).unwrap_or(1024)]).map_err(PackError::Write)?;
    out.flush().map_err(PackError::Write)?;
    packing.bytes += len;
    Ok(packing)
}
