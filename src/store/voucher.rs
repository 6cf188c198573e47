//! Who made a log entry (section 15.1): all keys can make one in any name; only catalog and owner keys add a voucher, and only the writer key
//! that it names its signature.

use crate::codec::{MacLabel, SigningKey, VoucherKey, digest};
use crate::format::{join_mac, loss_proof, void_entries};
use crate::model::{Digest, KeyName, LogEntry, LogKind};

use super::Store;
use super::db::Db;
use super::keyring::Keyring;

/// Where an entry has its voucher.
const VOUCHER: u32 = 2;
/// Where it has the signature of the writer key that it names.
const SIGNATURE: u32 = 5;

impl Store {
    /// The names of the keys that there are and were, as far as they can be read.
    pub(super) fn known_writers(&self, db: &Db) -> Vec<KeyName> {
        let rows = super::key_files::rows(db).unwrap_or_default();
        let former = self.roster(db).map(|roster| roster.former).unwrap_or_default();
        rows.into_keys().chain(former.into_iter().map(|key| key.name)).collect()
    }

    /// An entry that is made anew, and its bytes: with the voucher or the signature of whichever of the store's page identities, or none, and of
    /// whichever writer, that gives it a hash that is `known`; as it is where no such is.
    pub(super) fn as_it_was(
        &self,
        entry: LogEntry,
        writers: &[KeyName],
        known: &dyn Fn(&Digest) -> bool,
    ) -> (LogEntry, Vec<u8>) {
        for writer in [entry.writer].iter().chain(writers) {
            let bare = LogEntry { writer: *writer, ..entry.clone() };
            let body = bare.to_bytes();
            let proofs = self.keyring().vouchers().iter().flat_map(|key| {
                let signature = key.signing_key(writer).signature(&body);
                [(VOUCHER, key.voucher(&body)), (SIGNATURE, signature)]
            });
            let proved = proofs.map(|(tag, proof)| {
                let mut proved = bare.clone();
                put(&mut proved, tag, &proof);
                proved
            });
            for candidate in proved.chain([bare.clone()]) {
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

/// Adds the voucher of a key.
pub(super) fn vouch(entry: &mut LogEntry, key: &VoucherKey) {
    put(entry, VOUCHER, &key.voucher(&without(entry, &[VOUCHER])));
}

/// Adds the signature of a writer key.
pub(super) fn sign(entry: &mut LogEntry, key: &SigningKey) {
    put(entry, SIGNATURE, &key.signature(&without(entry, &[VOUCHER, SIGNATURE])));
}

impl Keyring {
    /// Which of the vouchers, newest first, an entry has.
    pub(super) fn voucher_of(&self, entry: &LogEntry) -> Option<usize> {
        let voucher = proof(entry, VOUCHER)?;
        let bytes = without(entry, &[VOUCHER]);
        self.vouchers().iter().position(|key| key.holds(&bytes, voucher))
    }

    /// True if no newer identity was in use before this entry, as far as can be told.
    pub(super) fn was_newest(&self, which: usize, sequence: u64) -> bool {
        self.since().is_none_or(|since| since.latest.iter().take(which).all(|since| *since > sequence))
    }

    /// True if an older identity vouches for an entry, and a newer one may have been in use before it: the change of keys that brought that is lost.
    pub(super) fn is_in_doubt(&self, entry: &LogEntry) -> bool {
        let Some(since) = self.since().filter(|since| !since.is_known()) else { return false };
        let Some(by) = self.voucher_of(entry) else { return false };
        let may_be_behind = since.earliest.iter().take(by).any(|since| *since < entry.sequence);
        may_be_behind && self.was_newest(by, entry.sequence)
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
        Some(self.voucher_of(entry).is_some_and(|by| self.was_newest(by, entry.sequence)))
    }

    /// True if the writer key that an entry names signed it, as owners gave it to that key by then. In whose name another entry stands for which
    /// nobody vouches is what whoever made it says. False if the key in use cannot tell, a writer's, and in an unencrypted store, which has none.
    #[must_use]
    pub fn is_signed(&self, entry: &LogEntry) -> bool {
        let Some(signature) = proof(entry, SIGNATURE) else { return false };
        let bytes = without(entry, &[VOUCHER, SIGNATURE]);
        let by = self.vouchers().iter().position(|key| key.signing_key(&entry.writer).holds(&bytes, signature));
        by.is_some_and(|by| self.was_newest(by, entry.sequence))
    }

    /// True if an entry about a loss has any effect: a catalog or owner key vouches for it, and, where that can be told, an owner made it. A
    /// writer cannot tell either, and believes it.
    pub(super) fn heeds_loss(&self, entry: &LogEntry) -> bool {
        let Ok((_, list)) = void_entries(&entry.ext) else { return false };
        if !self.vouches_for(entry).unwrap_or(true) {
            return false;
        }
        let authorities = self.authorities();
        let proof = loss_proof(&entry.ext);
        let holds = |proof| {
            authorities.iter().enumerate().any(|(which, authority)| {
                self.was_newest(which, entry.sequence)
                    && authority.loss_proof_holds(entry.sequence, &entry.previous, list, proof)
            })
        };
        authorities.is_empty() || proof.is_some_and(holds)
    }

    /// True if an entry, which is whole and in its place, stays what it is whatever a loss says that was accepted. Nobody gives up a whole snapshot, hold or
    /// forget so; only what was put at the end of the log by somebody whom nobody vouches for, and who cannot prove that an owner gave it up believes none of it.
    pub(super) fn keeps(&self, entry: &LogEntry) -> bool {
        let is_kept = matches!(entry.kind, LogKind::Snapshot | LogKind::Forget | LogKind::Hold);
        is_kept && (self.authorities().is_empty() && self.knows_roles() || self.vouches_for(entry) == Some(true))
    }
}

fn proof(entry: &LogEntry, tag: u32) -> Option<&[u8; 32]> {
    let (_, proof) = entry.ext.iter().find(|(found, _)| *found == tag)?;
    proof.as_slice().try_into().ok()
}

fn without(entry: &LogEntry, tags: &[u32]) -> Vec<u8> {
    let mut bare = entry.clone();
    bare.ext.retain(|(tag, _)| !tags.contains(tag));
    bare.to_bytes()
}

fn put(entry: &mut LogEntry, tag: u32, proof: &[u8; 32]) {
    entry.ext.retain(|(found, _)| *found != tag);
    let at = entry.ext.partition_point(|(found, _)| *found < tag);
    entry.ext.insert(at, (tag, proof.to_vec()));
}
