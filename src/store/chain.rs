//! The chain of the log, from its end to its beginning: what stands there, what is lost, and what of that is void, because an owner has
//! accepted the loss (sections 15.1 and 15.3).
//!
//! Each entry has the hash of the one before it. So it is from behind that one knows what must stand in a place.

use std::collections::HashSet;

use crate::codec::digest;
use crate::format::{DETAIL, Family, number_key, void_entries};
use crate::model::{Digest, HoldAction, HoldDetail, LogEntry, LogKind, SnapshotId, VoidEntry};

use super::db::Db;
use super::error::{StoreError, entry_label};
use super::keyring::Keyring;
use super::pins::PinFile;
use super::{Store, tip};

/// Hash of a row that is not there.
pub(super) const NOTHING: Digest = Digest::from_bytes([0; 32]);

/// An entry of the log that is lost, or what it says beyond its kind.
#[derive(Debug, Clone)]
pub struct LostEntry {
    /// Which one.
    pub sequence: u64,
    /// What is wrong.
    pub why: String,
    /// Hash of what stands in its place; zeros if nothing does.
    pub stands: Digest,
    /// Hash of what must stand there, where the entry behind it, or the tip, says so.
    pub said: Option<Digest>,
    /// The entry, where that is whole, and only what it says beyond its kind cannot be read.
    pub entry: Option<LogEntry>,
}

impl LostEntry {
    /// What messages call it.
    #[must_use]
    pub fn object(&self) -> String {
        entry_label(self.sequence)
    }

    /// As an error.
    #[must_use]
    pub fn to_error(&self) -> StoreError {
        StoreError::damage(self.object(), &self.why)
    }

    /// True if its loss can be accepted: then it is void. A hold that cannot be read is in force, without an end, until it is lifted.
    #[must_use]
    pub fn can_be_void(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.kind != LogKind::Hold)
    }

    pub(super) fn as_void(&self) -> VoidEntry {
        VoidEntry { sequence: self.sequence, stands: self.stands }
    }
}

/// What an entry of the log turned out to be.
#[derive(Debug)]
pub(super) enum Judged {
    /// It is whole, and the one that it should be.
    Entry(LogEntry),
    /// It is lost, and that was accepted.
    Void(LostEntry),
    /// It is lost.
    Lost(LostEntry),
}

impl Judged {
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.sequence,
            Self::Void(lost) | Self::Lost(lost) => lost.sequence,
        }
    }
}

/// Judges entry by entry, the newest first.
pub(super) struct Judge<'a> {
    /// What tells whose word counts; without keys every entry is believed that has the right form.
    keyring: Option<&'a Keyring>,
    void: HashSet<VoidEntry>,
    /// How many more missing entries are told one by one.
    untold: u64,
    /// The entry that was judged last: its sequence, and the hash that it has of the one before.
    behind: Option<(u64, Option<Digest>)>,
}

impl<'a> Judge<'a> {
    /// `end`: sequence and hash that the newest entry must have, if that is known.
    pub(super) fn new(keyring: Option<&'a Keyring>, end: Option<(u64, Digest)>) -> Self {
        let behind = end.map(|(sequence, hash)| (sequence.saturating_add(1), Some(hash)));
        Self { keyring, void: HashSet::new(), untold: Family::Log.reach(), behind }
    }

    /// Judges a row: the hash of its bytes, and what they say. Of the entries between it and the one behind it, which are missing, `gap`
    /// tells.
    pub(super) fn row(&mut self, sequence: u64, stands: Digest, entry: Result<LogEntry, StoreError>) -> Judged {
        let said = self.said(sequence);
        let without = |why: String| LostEntry { sequence, why, stands, said, entry: None };
        let lost = |why: String| Judged::Lost(without(why));
        let begins_well = |entry: &LogEntry| sequence != 1 || entry.previous == NOTHING;
        let is_in_place = said.is_none_or(|said| said == stands);
        // What was put where nothing stood when the loss was accepted: nothing says that it is what was lost.
        let is_put_since = said.is_none() && stands != NOTHING && self.is_void(sequence, NOTHING);
        let judged = match entry {
            _ if is_put_since => Judged::Void(without("its loss was accepted when nothing stood there".to_owned())),
            Ok(entry) if is_in_place && begins_well(&entry) && self.keeps(&entry) => Judged::Entry(entry),
            _ if self.is_void(sequence, stands) => Judged::Void(without("its loss was accepted".to_owned())),
            Err(StoreError::Damage { why, .. }) => lost(why),
            Err(e) => lost(e.to_string()),
            Ok(_) if !is_in_place => {
                lost("it is not the one that the entry behind it, or the tip, was written behind".to_owned())
            }
            Ok(entry) if !begins_well(&entry) => lost("it names an entry before it, and is the first".to_owned()),
            Ok(entry) => Judged::Entry(entry),
        };
        match &judged {
            Judged::Entry(entry) => self.follow(entry),
            _ => self.behind = Some((sequence, None)),
        }
        judged
    }

    /// The entry in this place is this one.
    pub(super) fn follow(&mut self, entry: &LogEntry) {
        self.behind = Some((entry.sequence, Some(entry.previous)));
        if entry.kind == LogKind::Loss
            && self.heeds(entry)
            && let Ok((list, _)) = void_entries(&entry.ext)
        {
            self.void.extend(list.into_iter().filter(|void| void.sequence < entry.sequence));
        }
    }

    fn heeds(&self, entry: &LogEntry) -> bool {
        self.keyring.is_none_or(|keyring| keyring.heeds_loss(entry))
    }

    fn keeps(&self, entry: &LogEntry) -> bool {
        self.keyring.is_some_and(|keyring| keyring.keeps(entry))
    }

    fn is_void(&self, sequence: u64, stands: Digest) -> bool {
        self.void.contains(&VoidEntry { sequence, stands })
    }

    /// The numbers of the entries that are missing between this one and the one behind it, newest first: those that are void, and of very many others,
    /// in all the log, the newest, but one of each gap at least. So nobody who puts rows in reach of each other there makes it take long, or hides a loss.
    pub(super) fn gap(&mut self, sequence: u64) -> Vec<u64> {
        let next = self.behind.map_or(0, |(next, _)| next);
        let (mut holes, mut is_told) = (Vec::new(), false);
        for hole in (sequence.saturating_add(1)..next).rev() {
            if !self.is_void(hole, NOTHING) {
                if self.untold == 0 && is_told {
                    break;
                }
                (self.untold, is_told) = (self.untold.saturating_sub(1), true);
            }
            holes.push(hole);
        }
        holes
    }

    /// Judges an entry that is missing.
    pub(super) fn hole(&mut self, sequence: u64) -> Judged {
        self.row(sequence, NOTHING, Err(StoreError::damage(entry_label(sequence), "it is missing")))
    }

    /// The hash that the entry behind says this one has.
    pub(super) fn said(&self, sequence: u64) -> Option<Digest> {
        let (next, hash) = self.behind?;
        hash.filter(|_| Some(next) == sequence.checked_add(1))
    }
}

/// Whether a client may pass that has seen an entry which is void: fed with what the log's entries are, the newest first.
pub(super) struct Passage<'a> {
    pin: &'a PinFile,
    is_void: bool,
    follows: bool,
}

impl<'a> Passage<'a> {
    pub(super) fn new(pin: &'a PinFile) -> Self {
        Self { pin, is_void: false, follows: true }
    }

    /// Takes the next one into account; true if there is more to be known.
    pub(super) fn look(&mut self, judged: &Judged) -> bool {
        let seen = self.pin.sequence();
        match judged {
            Judged::Void(lost) => self.is_void |= lost.sequence == seen,
            Judged::Lost(_) => {}
            Judged::Entry(entry) => {
                self.follows &= entry.sequence != seen.saturating_add(1) || self.pin.has_seen(&entry.previous);
            }
        }
        judged.sequence() > seen
    }

    /// True if the entry is void, and the log goes on behind it as it was.
    pub(super) fn is_free(&self) -> bool {
        self.is_void && self.follows
    }
}

/// What entries say beyond their kind, the newest first: what of it cannot be read and matters.
#[derive(Default)]
pub(super) struct Details {
    /// Holds that were lifted.
    lifted: HashSet<(u64, SnapshotId)>,
}

impl Details {
    /// Why what an entry says cannot be read, if it is a hold in force, a policy or a change of keys. What gives a snapshot up says no more than why.
    pub(super) fn lost(&mut self, store: &Store, db: &Db, entry: &LogEntry) -> Option<StoreError> {
        if !matches!(entry.kind, LogKind::Hold | LogKind::Policy | LogKind::KeyChange)
            || store.keyring().vouches_for(entry) != Some(true)
            || self.lifted.contains(&(entry.sequence, entry.manifest))
        {
            return None;
        }
        let (_, sealed) = entry.ext.iter().find(|(tag, _)| *tag == DETAIL)?;
        match store.open_page_value(db, Family::Log, &number_key(entry.sequence), sealed) {
            Err(e) => Some(e).filter(StoreError::is_damage),
            Ok(plain) if entry.kind == LogKind::Hold => {
                let lift = HoldDetail::from_bytes(&plain).ok().filter(|detail| detail.action == HoldAction::Lifted);
                self.lifted.extend(lift.map(|detail| (detail.hold, entry.manifest)));
                None
            }
            Ok(_) => None,
        }
    }
}

/// An entry of which what it says is lost.
pub(super) fn without_detail(entry: LogEntry, stands: Digest, why: &StoreError) -> LostEntry {
    let why = match why {
        StoreError::Damage { what, why } => format!("what it says cannot be read: {what}: {why}"),
        other => format!("what it says cannot be read: {other}"),
    };
    LostEntry { sequence: entry.sequence, why, stands, said: None, entry: Some(entry) }
}

impl Store {
    /// Judges the log from its end to its beginning, until `each` says false.
    pub(super) fn walk_back(&self, mut each: impl FnMut(Judged, Digest) -> bool) -> Result<(), StoreError> {
        self.walk_back_in(&*self.fresh_db()?, &mut each)
    }

    pub(super) fn walk_back_in(&self, db: &Db, each: &mut dyn FnMut(Judged, Digest) -> bool) -> Result<(), StoreError> {
        let mut judge = Judge::new(Some(self.keyring()), self.lost_tip().map(|tip| (tip.sequence, tip.log_hash)));
        let (mut goes_on, mut newest, mut is_told) = (true, None, false);
        let mut each = |judged: Judged, stands: Digest| {
            newest.get_or_insert(judged.sequence());
            is_told |= matches!(judged, Judged::Lost(_));
            each(judged, stands)
        };
        let scanned = db.scan_back(Family::Log, |key, value| {
            let sequence = key.try_into().map_or(0, u64::from_be_bytes);
            for hole in judge.gap(sequence) {
                goes_on = goes_on && each(judge.hole(hole), NOTHING);
            }
            let stands = digest(value);
            goes_on = goes_on && each(judge.row(sequence, stands, self.log_entry(sequence, value)), stands);
            Ok(goes_on)
        });
        for hole in judge.gap(0) {
            goes_on = goes_on && each(judge.hole(hole), NOTHING);
        }
        match scanned {
            // What the damage has taken along is told, or it is nothing: from the newest entry on the chain says what must be there.
            Err(e) if e.is_damage() && (is_told || newest.is_some_and(|newest| self.ends_with(newest))) => Ok(()),
            scanned => scanned,
        }
    }

    /// True if it is known that no entry behind this one was acknowledged.
    fn ends_with(&self, newest: u64) -> bool {
        let tip = tip::read(self.dir(), self.keyring().ids()).ok().flatten();
        tip.is_some_and(|tip| tip.sequence <= newest)
    }

    /// All that is lost of the log and not accepted as that, oldest first, what entries say beyond their kind too; and the entries that are void.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn lost_entries(&self) -> Result<(Vec<LostEntry>, Vec<u64>), StoreError> {
        let db = self.fresh_db()?;
        let (mut lost, mut void, mut details) = (Vec::new(), Vec::new(), Details::default());
        self.walk_back_in(&db, &mut |judged, stands| {
            match judged {
                Judged::Lost(entry) => lost.push(entry),
                Judged::Void(entry) => void.push(entry.sequence),
                Judged::Entry(entry) => {
                    if let Some(why) = details.lost(self, &db, &entry) {
                        lost.push(without_detail(entry, stands, &why));
                    }
                }
            }
            true
        })?;
        lost.reverse();
        void.reverse();
        Ok((lost, void))
    }
}
