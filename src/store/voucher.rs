//! Who vouches for a log entry (section 15.1): all keys can make one, only catalog and owner keys add a voucher.

use crate::codec::{MacLabel, digest};
use crate::format::{join_mac, loss_proof, void_entries};
use crate::model::{Digest, KeyName, LogEntry};

use super::Store;
use super::db::Db;
use super::keyring::Keyring;
use super::roster::authorities;

/// Where an entry has its voucher.
const VOUCHER: u32 = 2;

impl Store {
    /// The names of the keys that there are and were, as far as they can be read.
    pub(super) fn known_writers(&self, db: &Db) -> Vec<KeyName> {
        let rows = super::key_files::rows(db).unwrap_or_default();
        let former = self.roster(db).map(|roster| roster.former).unwrap_or_default();
        rows.into_keys().chain(former.into_iter().map(|key| key.name)).collect()
    }

    /// An entry that is made anew, and its bytes: with the voucher of whichever of the store's page identities, or none, and of whichever writer, that
    /// gives it a hash that is `known`; as it is where no such is.
    pub(super) fn as_it_was(
        &self,
        entry: LogEntry,
        writers: &[KeyName],
        known: &dyn Fn(&Digest) -> bool,
    ) -> (LogEntry, Vec<u8>) {
        for writer in [entry.writer].iter().chain(writers) {
            let bare = LogEntry { writer: *writer, ..entry.clone() };
            let body = bare.to_bytes();
            let vouched = self.keyring().vouchers().iter().map(|key| {
                let mut vouched = bare.clone();
                vouched.ext.push((VOUCHER, key.voucher(&body).to_vec()));
                vouched
            });
            for candidate in vouched.chain([bare.clone()]) {
                let bytes = self.with_mac(&candidate);
                if known(&digest(&bytes)) {
                    return (candidate, bytes);
                }
            }
        }
        let bytes = self.with_mac(&entry);
        (entry, bytes)
    }

    fn with_mac(&self, entry: &LogEntry) -> Vec<u8> {
        let body = entry.to_bytes();
        let mac = self.keyring().ids().mac(MacLabel::Log, &[&body]);
        join_mac(body, &mac)
    }
}

impl Keyring {
    /// Adds the voucher, if the key in use can.
    pub(super) fn vouch(&self, entry: &mut LogEntry) {
        if let Some(key) = self.vouchers().first() {
            entry.ext.retain(|(tag, _)| *tag != VOUCHER);
            let voucher = key.voucher(&entry.to_bytes());
            let at = entry.ext.partition_point(|(tag, _)| *tag < VOUCHER);
            entry.ext.insert(at, (VOUCHER, voucher.to_vec()));
        }
    }

    /// True if the holder of a catalog or owner key made an entry: then its time is true as far as that one's clock is, and what it
    /// gives up, holds or rules counts. In an unencrypted store everybody has all keys: true. Nothing if the key in use cannot tell, a
    /// writer's.
    #[must_use]
    pub fn vouches_for(&self, entry: &LogEntry) -> Option<bool> {
        if !self.knows_roles() {
            return Some(true);
        }
        if self.vouchers().is_empty() {
            return None;
        }
        let Some((_, voucher)) = entry.ext.iter().find(|(tag, _)| *tag == VOUCHER) else { return Some(false) };
        let Ok(voucher) = <&[u8; 32]>::try_from(voucher.as_slice()) else { return Some(false) };
        let mut bare = entry.clone();
        bare.ext.retain(|(tag, _)| *tag != VOUCHER);
        let bytes = bare.to_bytes();
        Some(self.vouchers().iter().any(|key| key.holds(&bytes, voucher)))
    }

    /// True if an entry about a loss has any effect: a catalog or owner key vouches for it, and, where that can be told, an owner made it. A
    /// writer cannot tell either, and believes it.
    pub(super) fn heeds_loss(&self, entry: &LogEntry) -> bool {
        let Ok((_, list)) = void_entries(&entry.ext) else { return false };
        if !self.vouches_for(entry).unwrap_or(true) {
            return false;
        }
        let authorities = self.key().map_or_else(Vec::new, |(record, _)| authorities(record));
        let proof = loss_proof(&entry.ext);
        let holds =
            |proof| authorities.iter().any(|a| a.loss_proof_holds(entry.sequence, &entry.previous, list, proof));
        authorities.is_empty() || proof.is_some_and(holds)
    }
}
