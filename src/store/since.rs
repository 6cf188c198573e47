//! Since when the store has had each of its identities (section 15.1): whoever was given older ones alone vouches for nothing behind that.
//!
//! Anybody who was given an identity once can put a row with its voucher anywhere. So what counts is what the entries behind say was there, from the
//! end of the log on, and the changes of keys that brought new identities.

use std::sync::Arc;

use crate::codec::{Class, digest, open_value};
use crate::format::{DETAIL, Family, SealedHeader, Tip, number_key, split_mac};
use crate::model::{Digest, KeyChange, LogEntry, LogKind};

use super::chain::NOTHING;
use super::db::Db;
use super::error::StoreError;
use super::keyring::{Keyring, Since};
use super::{Inner, tip};

/// An entry with a voucher.
struct Vouched {
    sequence: u64,
    /// Of which identity.
    by: usize,
    /// Each entry behind it, to the end of the log, says that this one was there.
    is_said: bool,
    /// It is the change of keys that brought that identity.
    brings: bool,
}

impl Keyring {
    /// Finds out since when each of the store's identities is in use. Where the log is damaged the rest of it tells.
    pub(super) fn learn_since(&self, session: &Inner) -> Arc<Since> {
        let tip = tip::read(&session.dir, self.ids()).ok().flatten().filter(|tip| tip.sequence > 0);
        let since = self.since_in(&session.db(), tip);
        // What the session sees may be from before the identities that it was given since.
        if since.latest.first() == Some(&u64::MAX)
            && let Ok(db) = Db::open_read(&session.dir.join("db"))
        {
            return Arc::new(self.since_in(&db, tip));
        }
        Arc::new(since)
    }

    fn since_in(&self, db: &Db, tip: Option<Tip>) -> Since {
        let (mut vouched, mut behind, mut is_first, mut is_whole) = (Vec::new(), None::<(LogEntry, bool)>, true, false);
        let looked = db.scan_back(Family::Log, |key, value| {
            let (sequence, stands) = (key.try_into().map_or(0, u64::from_be_bytes), digest(value));
            let next = behind.take().filter(|(next, _)| next.sequence == sequence.saturating_add(1));
            let fits = |hash: Digest| hash == stands;
            let named = tip.filter(|tip| tip.sequence == sequence).map(|tip| fits(tip.log_hash));
            let is_end = std::mem::take(&mut is_first) && tip.is_none_or(|tip| tip.sequence < sequence);
            let is_in_place = named.unwrap_or_else(|| next.as_ref().is_none_or(|(next, _)| fits(next.previous)));
            let entry = self.check_log_entry(value).ok().map(|(entry, _)| entry);
            let Some(entry) = entry.filter(|entry| is_in_place && entry.sequence == sequence) else { return Ok(true) };
            let is_said = named == Some(true) || is_end || next.is_some_and(|(_, is_said)| is_said);
            if let Some(by) = self.voucher_of(&entry) {
                vouched.push(Vouched { sequence, by, is_said, brings: self.brings(db, &entry, by) });
            }
            is_whole = is_said && sequence == 1 && entry.previous == NOTHING;
            behind = Some((entry, is_said));
            Ok(true)
        });
        if let Err(e) = looked {
            log::warn!("since when the store has its identities is not known for sure: {e}");
            is_whole = false;
        }
        let (earliest, latest) =
            (0..self.vouchers().len().saturating_sub(1)).map(|by| range(&vouched, by, is_whole)).unzip();
        Since { earliest, latest }
    }

    /// True if an entry is the change of keys that brought the identity by which it is vouched for; owners ask for its proof too.
    fn brings(&self, db: &Db, entry: &LogEntry, by: usize) -> bool {
        let is_proved = |plain: &[u8]| {
            let (detail, proof) = split_mac(plain, "key change").ok()?;
            let holds = |proof: &[u8; 32]| {
                let authority = self.authorities().get(by);
                authority.is_none_or(|a| a.proof_holds(entry.sequence, &entry.previous, detail, proof))
            };
            (holds(proof) && KeyChange::from_bytes(detail).ok()?.rotated).then_some(())
        };
        entry.kind == LogKind::KeyChange && self.said_in(db, entry).is_ok_and(|plain| is_proved(&plain).is_some())
    }

    /// What an entry says beyond its kind.
    fn said_in(&self, db: &Db, entry: &LogEntry) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        let what = || super::error::entry_label(entry.sequence);
        let (_, sealed) = entry
            .ext
            .iter()
            .find(|(tag, _)| *tag == DETAIL)
            .ok_or_else(|| StoreError::damage(what(), "it says nothing beyond its kind"))?;
        let (header, _) = SealedHeader::parse(sealed)?;
        let page = self.data_key(db, header.epoch, Class::Page)?;
        let page = page.ok_or_else(|| StoreError::damage(what(), "the key in use does not open it"))?;
        open_value(sealed, &page, Family::Log.name(), &number_key(entry.sequence))
            .map_err(|e| StoreError::damage(what(), e))
    }
}

/// The first and the last entry since which an identity may have been in use.
fn range(vouched: &[Vouched], by: usize, is_whole: bool) -> (u64, u64) {
    let first = |fits: &dyn Fn(&Vouched) -> bool| {
        vouched.iter().filter(|entry| entry.by == by && fits(entry)).map(|entry| entry.sequence).min()
    };
    if let Some(change) = first(&|entry| entry.brings && entry.is_said) {
        return (change, change);
    }
    let Some(any) = first(&|_| true) else { return (u64::MAX, u64::MAX) };
    let said = first(&|entry| entry.is_said);
    let changes = || vouched.iter().filter(|entry| entry.by == by && entry.brings).map(|entry| entry.sequence);
    match (changes().min(), changes().max()) {
        (Some(earliest), Some(latest)) => (earliest, said.map_or(latest, |said| said.min(latest))),
        // All are said to have been there: what changed the keys only cannot be read.
        _ if is_whole => (any, any),
        // The change of keys is lost, and may have been in front of any entry.
        _ => (0, said.unwrap_or(any)),
    }
}
