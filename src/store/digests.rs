//! Packs that were written, by the SHA-256 of their files (section 11.2 of the format), so that an archive on the shelf can be told from
//! one that is damaged.
//!
//! A convenience, never a promise: a row that is damaged or was not written by a holder of the id key counts for nothing.

use crate::codec::{IdKeys, MacLabel};
use crate::format::{Family, PackRow, join_mac, split_mac};
use crate::model::{SnapshotId, Timestamp};

use super::Store;
use super::db::Rows;
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::lock::Waiting;

/// Tag of further names in a row.
const OTHER_NAMES: u32 = 1;
/// Further names that a row keeps.
const MAX_NAMES: usize = 64;
/// What a row has in place of a name that there is not.
const NO_NAME: [u8; 16] = [0; 16];

/// A pack that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPack {
    /// When.
    pub written: Timestamp,
    /// What is in it, in its order.
    pub snapshots: Vec<SnapshotId>,
    /// Its file had the name that was asked for.
    pub same_name: bool,
    /// Its bytes have the SHA-256 that was asked for.
    pub same_bytes: bool,
}

impl Store {
    /// Remembers a pack. `file`: the last name of its path; nothing if it went elsewhere. While another process writes to the store,
    /// `keep_waiting` is asked.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub fn keep_pack(
        &self,
        sha256: &[u8; 32],
        file: Option<&[u8]>,
        snapshots: &[SnapshotId],
        at: Timestamp,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        let ids = self.keyring().ids();
        let key = ids.pack(sha256);
        let exclusive = Exclusive::begin(self, Waiting::Wait, keep_waiting)?;
        let file = file.map(|name| ids.pack_file(name)).unwrap_or_default();
        // The same bytes may have gone to files of other names, which are still theirs.
        let before = exclusive.db.get(Family::Digests, &key)?.and_then(|value| proved(ids, &key, &value));
        let before = before.map(|row| names(&row)).unwrap_or_default();
        let others = before.into_iter().filter(|name| *name != file && *name != NO_NAME).take(MAX_NAMES);
        let others: Vec<u8> = others.flatten().collect();
        let row = PackRow {
            written: u64::try_from(at.seconds).unwrap_or(0),
            file,
            snapshots: snapshots.to_vec(),
            ext: if others.is_empty() { Vec::new() } else { vec![(OTHER_NAMES, others)] },
        };
        let bytes = row.to_bytes();
        let mac = ids.mac(MacLabel::Digest, &[&key, &bytes]);
        let mut rows = Rows::default();
        rows.put(Family::Digests, &key, &join_mac(bytes, &mac));
        exclusive.db.write(&rows, true)?;
        exclusive.db.flush()?;
        if let Err(e) = exclusive.db.merge() {
            log::warn!("small files of the database stay as they are: {e}");
        }
        Ok(())
    }

    /// All packs that are remembered, the oldest first, compared with what is asked for.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn known_packs(&self, sha256: &[u8; 32], file: Option<&[u8]>) -> Result<Vec<KnownPack>, StoreError> {
        let ids = self.keyring().ids();
        let (wanted, name) = (ids.pack(sha256), file.map(|name| ids.pack_file(name)));
        let mut known = Vec::new();
        self.fresh_db()?.scan(Family::Digests, &[], |key, value| {
            if let Some(row) = proved(ids, key, value) {
                let same_name = name.is_some_and(|name| names(&row).contains(&name));
                known.push(KnownPack {
                    written: Timestamp { seconds: i64::try_from(row.written).unwrap_or(i64::MAX), nanos: 0 },
                    snapshots: row.snapshots,
                    same_name,
                    same_bytes: key == wanted,
                });
            }
            Ok(true)
        })?;
        known.sort_by_key(|pack| pack.written);
        Ok(known)
    }
}

/// The row that a holder of the id key wrote; nothing if it is another.
fn proved(ids: &IdKeys, key: &[u8], value: &[u8]) -> Option<PackRow> {
    let (body, mac) = split_mac(value, "pack row").ok()?;
    let holds = ids.mac_holds(MacLabel::Digest, &[key, body], mac);
    holds.then(|| PackRow::from_bytes(body).ok()).flatten()
}

/// The names of the files that a pack was written to, the newest first.
fn names(row: &PackRow) -> Vec<[u8; 16]> {
    let others = row.ext.iter().filter(|(tag, _)| *tag == OTHER_NAMES).flat_map(|(_, names)| names.as_chunks().0);
    std::iter::once(row.file).chain(others.copied()).collect()
}
