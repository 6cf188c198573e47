//! First names, and what restores that were cut short left under them.
//!
//! Whoever restores into a folder holds a shared `flock` on it while anything in it is not complete. Who gets it alone knows that
//! what has a first name there is nobody's any more. A first name tells the hash of the final one and who made it, so that no two
//! restores share one, and nothing that a user has is taken for one by chance.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FlockOperation, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::codec::digest;
use crate::model::TreeRef;
use crate::store::StoreError;

use super::Context;
use super::folders::Folder;
use super::guard::hold;

const PREFIX: &[u8] = b".larder-part-";
/// Of one folder's leftovers as many are cleared away at a time: memory stays bounded.
const MAX_LEFT: usize = 1 << 16;

/// What a restore's first names end with: no other restore has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token(pub(super) [u8; 8]);

fn hash(name: &[u8]) -> String {
    let digest = digest(name);
    let half = digest.as_bytes().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
    format!("{half:032x}")
}

/// The first name of an item that will be called `name`.
pub(super) fn first_name(name: &[u8], token: Token) -> Vec<u8> {
    [PREFIX, hash(name).as_bytes(), format!("-{:016x}", u64::from_be_bytes(token.0)).as_bytes()].concat()
}

/// The hash in a first name, if this is one.
fn hash_in(name: &[u8]) -> Option<&[u8]> {
    let is_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (hash, rest) = name.strip_prefix(PREFIX)?.split_at_checked(32)?;
    let (dash, token) = rest.split_first()?;
    (*dash == b'-' && token.len() == 16 && is_hex(hash) && is_hex(token)).then_some(hash)
}

impl Context<'_> {
    /// Clears away what restores that were cut short left in a folder. Gives the first names that are none of the user's, gone
    /// or still in use: they are no strangers.
    pub(super) fn clear_leftovers(&self, folder: &Folder, tree: &TreeRef) -> HashSet<Vec<u8>> {
        if folder.is_new() {
            return HashSet::new();
        }
        let left = first_names(folder.as_fd()).unwrap_or_default();
        if left.is_empty() {
            return left;
        }
        let left = self.known(left, tree).unwrap_or_default();
        if !self.dry && rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            for name in &left {
                let _ = rustix::fs::unlinkat(folder, &name[..], AtFlags::empty());
            }
        }
        hold(folder.as_fd());
        left
    }

    /// Those that stand for a name of the snapshot, and are not in it themselves.
    fn known(&self, mut left: HashSet<Vec<u8>>, tree: &TreeRef) -> Result<HashSet<Vec<u8>>, StoreError> {
        let hashes: HashSet<Vec<u8>> = left.iter().filter_map(|name| hash_in(name).map(<[u8]>::to_vec)).collect();
        let mut known = HashSet::new();
        let mut listing = self.pages.list(tree, 0, 0)?;
        while let Some(item) = listing.next()? {
            let name = item.entry.name.as_bytes();
            left.remove(name);
            let hash = hash(name).into_bytes();
            if hashes.contains(&hash) {
                known.insert(hash);
            }
        }
        left.retain(|name| hash_in(name).is_some_and(|hash| known.contains(hash)));
        Ok(left)
    }
}

/// What in a folder is called as first names are. The folder is left at its beginning.
fn first_names(folder: BorrowedFd) -> Result<HashSet<Vec<u8>>, Errno> {
    rustix::fs::seek(folder, SeekFrom::Start(0))?;
    let mut found = HashSet::new();
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut items = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(item) = items.next() {
        let item = item?;
        let name = item.file_name().to_bytes();
        if found.len() < MAX_LEFT && hash_in(name).is_some() {
            found.insert(name.to_vec());
        }
    }
    rustix::fs::seek(folder, SeekFrom::Start(0))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_first_name() {
        let name = first_name(b"file", Token([7; 8]));
        assert_eq!(hash_in(&name), Some(hash(b"file").as_bytes()));
        assert_ne!(name, first_name(b"file", Token([8; 8])));
        let text = String::from_utf8(name).unwrap();
        for other in [".larder-part-", ".larder-part-notes", &text[1..], &text[..text.len() - 1], &text.to_uppercase()]
        {
            assert_eq!(hash_in(other.as_bytes()), None, "{other}");
        }
        assert_eq!(hash_in(format!("{text}0").as_bytes()), None);
    }
}
