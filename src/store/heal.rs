//! Entries of the log that are lost come back from copies of the store: each entry has the hash of the one before, so what a copy has is
//! the same bytes, or is not taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use crate::codec::{Class, MacLabel, digest, open_value};
use crate::format::{DETAIL, Family, SealedHeader, Tip, join_mac, number_key};
use crate::model::{DatasetKey, DatasetRecord, Digest, EpochId, LogEntry, LogKind, Role, SnapshotId};

use super::chain::{Details, Judge, Judged, LostEntry, NOTHING, without_detail};
use super::claims::Claims;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::lock::Waiting;
use super::log::dataset_record;
use super::numbers::last_sequence;
use super::tip;
use super::{Store, settling};

/// What came of looking for lost entries of the log.
#[derive(Debug, Default)]
pub struct LogHealed {
    /// Entries that were lost, or what they say; as far as that is known.
    pub missing: u64,
    /// Those that are there again.
    pub found: u64,
    /// Those that are not, oldest first.
    pub left: Vec<LostEntry>,
}

impl Store {
    /// Takes lost entries of the log from copies of the store: what has the hash that the entry behind it, or the tip, says. Records of runs too, where one is
    /// missing that sealed what an entry says.
    ///
    /// # Errors
    /// If another process writes and we are not to wait, or the store cannot be read or written to. Then nothing is changed.
    pub fn heal_log(
        &self,
        copies: &[&Self],
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<LogHealed, StoreError> {
        let mut healed = self.heal_known_log(copies, waiting, keep_waiting)?;
        // Where what was known of its end is there again, a copy may go on behind that.
        let mut more = healed.found;
        while more > 0 && healed.left.is_empty() {
            let next = self.heal_known_log(copies, waiting, keep_waiting)?;
            (healed.missing, healed.found) = (healed.missing + next.missing, healed.found + next.found);
            (healed.left, more) = (next.left, next.found);
        }
        Ok(healed)
    }

    fn heal_known_log(
        &self,
        copies: &[&Self],
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<LogHealed, StoreError> {
        let (lost, void) = self.lost_entries()?;
        let is_whole = lost.is_empty() && void.is_empty() && self.end_in(copies, &*self.fresh_db()?)?.is_none();
        if copies.is_empty() || is_whole {
            return Ok(LogHealed { missing: lost.len() as u64, found: 0, left: lost });
        }
        let Exclusive { db, lock } = Exclusive::begin_healing(self, waiting, keep_waiting)?;
        let further = self.end_in(copies, &db)?;
        let tip = further.or(tip::read(self.dir(), self.keyring().ids())?).filter(|tip| tip.sequence > 0);
        let mut healer = Healer { store: self, db: &db, copies, rows: Rows::default(), entries: Vec::new() };
        let healed = healer.look(tip)?;
        healer.set_heads();
        // Rows and files of keys follow from what only an owner can check.
        if healer.entries.iter().any(|(entry, was_missing)| *was_missing && entry.kind == LogKind::KeyChange) {
            self.require(Role::Owner, "taking changes of keys from a copy")?;
        }
        if healed.found > 0 {
            // Caches of clients fit a log that is there again, and what they believe to be stored may have gone with what needed it.
            healer.rows.put(Family::Default, b"gc", &super::new_generation()?);
            db.write(&healer.rows, true)?;
            db.flush()?;
            if let Some(end) = further.filter(|end| tip::check(Some(*end), &db).is_ok()) {
                tip::write(self.dir(), &end, self.keyring().ids())?;
            }
            if tip::check(tip, &db).is_ok() {
                match settling::settle(self, &db) {
                    // Whoever comes next goes on with the keys of now.
                    Err(StoreError::KeysRenewed(_) | StoreError::KeyRemoved { .. }) => {}
                    settled => settled?,
                }
            }
            log::info!("{} entries of the log are there again", healed.found);
        }
        drop(db);
        drop(lock);
        self.inner.stale.store(true, Ordering::SeqCst);
        self.refresh()?;
        Ok(healed)
    }
}

impl Store {
    /// Where the log ends in a copy that is whole and goes on behind the end of this one, as none is known to be lost here: the tip may have been lost, or set
    /// back, together with what it named.
    ///
    /// # Errors
    /// If it goes on with keys that are not known here: what they vouch for would count for nothing.
    fn end_in(&self, copies: &[&Self], db: &Db) -> Result<Option<Tip>, StoreError> {
        if self.lost_end().is_some() {
            return Ok(None);
        }
        let (last, ours) = self.newest_entry_in(db)?;
        let mut end = None::<Tip>;
        for copy in copies.iter().filter(|copy| copy.lost_end().is_none()) {
            let there = copy.fresh_db().and_then(|db| db.with(Family::Log, &number_key(last), digest));
            // A log without any entry goes on with the first one.
            if there.ok().is_none_or(|there| there.unwrap_or(NOTHING) != ours) {
                continue;
            }
            let (mut newest, mut is_whole, mut is_known) = (None, true, true);
            let walked = copy.walk_back(|judged, stands| {
                let is_behind = judged.sequence() > last;
                match judged {
                    Judged::Entry(entry) if is_behind => {
                        let vouched = copy.keyring().vouches_for(&entry) == Some(true);
                        is_known &= !vouched || self.keyring().vouches_for(&entry) == Some(true);
                        newest.get_or_insert(Tip { sequence: entry.sequence, log_hash: stands });
                    }
                    Judged::Lost(_) if is_behind => is_whole = false,
                    _ => {}
                }
                is_behind && is_whole
            });
            let is_whole = is_whole && walked.is_ok();
            if is_whole && !is_known {
                let why =
                    "a copy goes on where it ends, with keys that this store does not know: put the copy in its place";
                return Err(StoreError::damage("the arrival log", why));
            }
            let further = newest.filter(|newest| is_whole && end.is_none_or(|end| end.sequence < newest.sequence));
            end = further.or(end);
        }
        Ok(end)
    }
}

struct Healer<'a> {
    store: &'a Store,
    db: &'a Db,
    copies: &'a [&'a Store],
    /// What is to be written.
    rows: Rows,
    /// The log as it will be, newest first, and whether each entry was missing.
    entries: Vec<(LogEntry, bool)>,
}

impl Healer<'_> {
    fn look(&mut self, tip: Option<Tip>) -> Result<LogHealed, StoreError> {
        let (store, mut standing) = (self.store, BTreeMap::new());
        let last = last_sequence(self.db)?;
        self.db.scan(Family::Log, &number_key(1), |key, value| {
            let Ok(sequence) = key.try_into().map(u64::from_be_bytes) else { return Ok(true) };
            if sequence > last {
                return Ok(false);
            }
            standing.insert(sequence, (digest(value), store.log_entry(sequence, value)));
            Ok(true)
        })?;
        let mut judge = Judge::new(Some(store.keyring()), tip.map(|tip| (tip.sequence, tip.log_hash)));
        let (mut healed, mut details) = (LogHealed::default(), Details::default());
        let front = std::iter::once((0, None));
        for (sequence, row) in standing.into_iter().rev().map(|(n, row)| (n, Some(row))).chain(front) {
            for hole in judge.gap(sequence) {
                let judged = judge.hole(hole);
                self.take(judged, NOTHING, &mut judge, &mut details, &mut healed)?;
            }
            if let Some((stands, entry)) = row {
                let judged = judge.row(sequence, stands, entry);
                self.take(judged, stands, &mut judge, &mut details, &mut healed)?;
            }
        }
        healed.left.reverse();
        Ok(healed)
    }

    fn take(
        &mut self,
        judged: Judged,
        stands: Digest,
        judge: &mut Judge<'_>,
        details: &mut Details,
        healed: &mut LogHealed,
    ) -> Result<(), StoreError> {
        let is_void = matches!(judged, Judged::Void(_));
        let (entry, was_lost) = match judged {
            Judged::Entry(entry) => (entry, false),
            // What is void counts again when it is there again: it is void as long as what stands in its place does.
            Judged::Void(lost) | Judged::Lost(lost) => {
                let copied = self.in_a_copy(&lost);
                healed.missing += u64::from(copied.is_some() || !is_void);
                let Some((entry, bytes)) = copied else {
                    healed.left.extend(Some(lost).filter(|_| !is_void));
                    return Ok(());
                };
                self.rows.put(Family::Log, &number_key(entry.sequence), &bytes);
                healed.found += 1;
                judge.follow(&entry);
                (entry, true)
            }
        };
        if let Some(why) = details.lost(self.store, self.db, &entry) {
            healed.missing += u64::from(!was_lost);
            if self.heal_epoch(&entry)? {
                healed.found += u64::from(!was_lost);
                // What it says counts, now that it can be read.
                let _ = details.lost(self.store, self.db, &entry);
            } else {
                healed.left.push(without_detail(entry.clone(), stands, &why));
            }
        }
        self.entries.push((entry, was_lost));
        Ok(())
    }

    /// The entry that must stand in a place, if a copy has it.
    fn in_a_copy(&self, lost: &LostEntry) -> Option<(LogEntry, Vec<u8>)> {
        let said = lost.said?;
        self.copies.iter().find_map(|copy| {
            let db = copy.fresh_db().ok()?;
            let bytes = db.get(Family::Log, &number_key(lost.sequence)).ok()??;
            let entry = self.store.whole_log_entry(lost.sequence, &bytes).ok()?;
            (digest(&bytes) == said).then_some((entry, bytes))
        })
    }

    /// Takes the record of the run that sealed what an entry says from a copy, if it opens that; true if one did.
    fn heal_epoch(&mut self, entry: &LogEntry) -> Result<bool, StoreError> {
        let sealed = entry.ext.iter().find(|(tag, _)| *tag == DETAIL).map(|(_, sealed)| sealed);
        let header = sealed.and_then(|sealed| SealedHeader::parse(sealed).ok());
        let (Some(sealed), Some((header, _))) = (sealed, header) else { return Ok(false) };
        for copy in self.copies {
            let record = copy.fresh_db()?.get(Family::Epochs, header.epoch.as_bytes()).ok().flatten();
            if let Some(record) = record.filter(|record| self.opens(header.epoch, record, entry.sequence, sealed)) {
                self.store.keyring().learn(header.epoch, &record);
                self.rows.put(Family::Epochs, header.epoch.as_bytes(), &record);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn opens(&self, epoch: EpochId, record: &[u8], sequence: u64, sealed: &[u8]) -> bool {
        let key = self.store.keyring().open_key(epoch, Class::Page, record).ok().flatten();
        key.is_some_and(|key| open_value(sealed, &key, Family::Log.name(), &number_key(sequence)).is_ok())
    }

    /// Datasets of which a newer snapshot is there again get it as their head. Those without a record are for repair to remake.
    fn set_heads(&mut self) {
        let mut claims = Claims::default();
        let oldest_first = self.entries.iter().rev().filter(|(entry, _)| entry.kind == LogKind::Snapshot);
        let own: Vec<_> = oldest_first.filter(|(entry, _)| claims.take(entry).is_ok()).collect();
        let snapshots = || own.iter().rev().copied();
        let datasets: HashSet<DatasetKey> =
            snapshots().filter(|(_, was_lost)| *was_lost).map(|(entry, _)| entry.dataset).collect();
        if datasets.is_empty() {
            return;
        }
        let forgotten: HashSet<SnapshotId> = self
            .entries
            .iter()
            .filter(|(entry, _)| self.store.forgets(entry))
            .map(|(entry, _)| entry.manifest)
            .collect();
        let (mut heads, mut counts) = (HashMap::new(), HashMap::<DatasetKey, u64>::new());
        for (entry, _) in snapshots().filter(|(entry, _)| datasets.contains(&entry.dataset)) {
            *counts.entry(entry.dataset).or_default() += 1;
            if !forgotten.contains(&entry.manifest) {
                heads.entry(entry.dataset).or_insert((entry.sequence, entry.manifest));
            }
        }
        let ids = self.store.keyring().ids();
        for (key, (head, manifest)) in heads {
            let Some(record) = dataset_record(self.db, ids, key).ok().flatten() else { continue };
            let count = counts.get(&key).copied().unwrap_or(record.count).max(record.count);
            let record = DatasetRecord { head, manifest, count, ..record }.to_bytes();
            let mac = ids.mac(MacLabel::Dataset, &[key.as_bytes(), &record]);
            self.rows.put(Family::Datasets, key.as_bytes(), &join_mac(record, &mac));
        }
    }
}
