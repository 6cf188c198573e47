//! Holds: who wants a snapshot kept, why and until when.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::{HoldAction, HoldDetail, Immutable, LogEntry, LogKind, SnapshotId, Timestamp};
use crate::store::{SnapshotRow, Store, StoreError};

/// A hold that was set and not lifted. What it says may be unknown: it holds all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Sequence of the log entry that set it: by this it is lifted.
    pub sequence: u64,
    /// When it was set.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why; if what the entry says cannot be read, that.
    pub reason: Option<String>,
    /// Who set it, as `user@host`.
    pub by: String,
}

impl Hold {
    /// True unless its time is over.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now <= until)
    }
}

/// The holds of all snapshots, and which of them were confirmed, put together entry by entry in any order.
#[derive(Debug, Default)]
pub struct Holds {
    set: HashMap<SnapshotId, BTreeMap<u64, Hold>>,
    lifted: HashSet<(u64, SnapshotId)>,
    confirmed: HashSet<SnapshotId>,
    granted: HashSet<SnapshotId>,
    denied: HashSet<SnapshotId>,
    /// Snapshots that a catalog or owner key vouches for.
    vouched: HashSet<SnapshotId>,
    /// Entries of snapshots that were made with the key that they name.
    proved: HashSet<u64>,
    /// What is damaged in the log, and may be a hold.
    damage: Option<StoreError>,
}

impl Holds {
    /// The holds of the snapshots that arrived with this entry of the log or later ones. No more of the log is read than that. A key
    /// that reads no names sees no holds either.
    ///
    /// # Errors
    /// If the log cannot be read at all.
    pub fn since(store: &Store, sequence: u64) -> Result<Self, StoreError> {
        let mut holds = Self::default();
        holds.damage = store.newest_entries(|entry| {
            if store.keyring().vouches_for(&entry) == Some(true) {
                holds.add(store, &entry);
            } else {
                holds.add_writers(store, &entry);
            }
            entry.sequence > sequence
        })?;
        Ok(holds)
    }

    /// Takes an entry into account that somebody vouches for.
    pub(super) fn add(&mut self, store: &Store, entry: &LogEntry) {
        if entry.kind == LogKind::Snapshot {
            self.vouched.insert(entry.manifest);
            self.proved.insert(entry.sequence);
        }
        if entry.kind != LogKind::Hold {
            return;
        }
        let detail = store.detail(entry).and_then(|plain| {
            let plain = plain.ok_or_else(|| StoreError::damage("a hold", "it does not say what is done"))?;
            Ok(HoldDetail::from_bytes(&plain)?)
        });
        match detail {
            Ok(detail) => self.apply(entry, detail),
            Err(e) => {
                let reason = Some(format!("what entry {} of the log says cannot be read: {e}", entry.sequence));
                self.apply(entry, HoldDetail { action: HoldAction::Set, reason, ..nothing() });
            }
        }
    }

    /// Takes an entry into account for which nobody vouches: a writer's can tell no more than who made it.
    pub(super) fn add_writers(&mut self, store: &Store, entry: &LogEntry) {
        if entry.kind == LogKind::Snapshot && store.keyring().is_signed(entry) {
            self.proved.insert(entry.sequence);
        }
    }

    fn apply(&mut self, entry: &LogEntry, detail: HoldDetail) {
        match detail.action {
            HoldAction::Set => {
                let HoldDetail { until, reason, by, .. } = detail;
                let hold = Hold { sequence: entry.sequence, since: entry.arrival, until, reason, by };
                self.set.entry(entry.manifest).or_default().insert(entry.sequence, hold);
            }
            // A hold is never lifted before it is set, nor by an entry that names another snapshot.
            HoldAction::Lifted if detail.hold < entry.sequence => {
                self.lifted.insert((detail.hold, entry.manifest));
            }
            HoldAction::Lifted => {}
            HoldAction::Confirmed => drop(self.confirmed.insert(entry.manifest)),
            HoldAction::Granted => drop(self.granted.insert(entry.manifest)),
            HoldAction::Denied => drop(self.denied.insert(entry.manifest)),
        }
    }

    /// What is damaged in the part of the log that was read: a hold may be lost with it.
    pub fn damage(&mut self) -> Option<StoreError> {
        self.damage.take()
    }

    /// The holds of a snapshot, those too whose time is over, in the order in which they were set.
    pub fn on(&self, id: &SnapshotId) -> impl Iterator<Item = &Hold> {
        let set = self.set.get(id).into_iter().flat_map(BTreeMap::values);
        set.filter(|hold| !self.lifted.contains(&(hold.sequence, *id)))
    }

    /// A hold that is in force.
    #[must_use]
    pub fn in_force(&self, id: &SnapshotId, now: Timestamp) -> Option<&Hold> {
        self.on(id).find(|hold| hold.is_in_force(now))
    }

    /// How far a snapshot is immutable; `asks`: its manifest says so. What a catalog or owner key has said about its own snapshot, or
    /// granted, nobody takes back.
    #[must_use]
    pub fn immutable(&self, id: &SnapshotId, asks: bool) -> Immutable {
        match () {
            () if self.granted.contains(id) => Immutable::Yes,
            () if !asks => Immutable::No,
            () if self.vouched.contains(id) => Immutable::Yes,
            () if self.denied.contains(id) => Immutable::No,
            () => Immutable::Asked,
        }
    }

    /// True if the entry of a snapshot was made with the key that it names: a catalog or owner key vouches for it, or the writer key signed it. Of
    /// others the name is what whoever made it says.
    #[must_use]
    pub fn is_proved(&self, row: &SnapshotRow) -> bool {
        self.proved.contains(&row.sequence)
    }

    /// True if somebody confirmed that the snapshot is as it should be.
    #[must_use]
    pub fn is_confirmed(&self, id: &SnapshotId) -> bool {
        self.confirmed.contains(id)
    }
}

fn nothing() -> HoldDetail {
    let action = HoldAction::Set;
    HoldDetail { action, hold: 0, until: None, reason: None, by: String::new(), ext: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DatasetKey, Digest, KeyName};

    fn entry(sequence: u64, snapshot: u8) -> LogEntry {
        LogEntry {
            kind: LogKind::Hold,
            sequence,
            arrival: Timestamp::EPOCH,
            dataset: DatasetKey::from_bytes([0; 16]),
            manifest: SnapshotId::from_bytes([snapshot; 32]),
            previous: Digest::from_bytes([0; 32]),
            writer: KeyName::from_bytes([0; 8]),
            ext: Vec::new(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    /// What a writer asks for is kept until somebody decides; what was granted stays so, in whatever order the log is read.
    #[test]
    fn who_makes_a_snapshot_immutable() {
        let say = |sequence, action| (entry(sequence, 1), HoldDetail { action, ..nothing() });
        let (granted, denied) = (HoldAction::Granted, HoldAction::Denied);
        let id = SnapshotId::from_bytes([1; 32]);
        for (said, vouched, expected) in [
            (&[][..], false, [Immutable::No, Immutable::Asked]),
            (&[], true, [Immutable::No, Immutable::Yes]),
            (&[denied], false, [Immutable::No, Immutable::No]),
            (&[denied], true, [Immutable::No, Immutable::Yes]),
            (&[granted], false, [Immutable::Yes, Immutable::Yes]),
            (&[granted, denied], false, [Immutable::Yes, Immutable::Yes]),
            (&[denied, granted], false, [Immutable::Yes, Immutable::Yes]),
        ] {
            let mut holds = Holds::default();
            holds.vouched.extend(vouched.then_some(id));
            for (sequence, action) in (5..).zip(said) {
                let (entry, detail) = say(sequence, *action);
                holds.apply(&entry, detail);
            }
            assert_eq!([false, true].map(|asks| holds.immutable(&id, asks)), expected, "{said:?} {vouched}");
        }
    }

    #[test]
    fn holds_are_lifted_one_by_one_and_end_in_time() {
        let lift = |hold| HoldDetail { action: HoldAction::Lifted, hold, ..nothing() };
        let entries = [
            (entry(5, 1), nothing()),
            (entry(6, 1), HoldDetail { until: Some(at(100)), ..nothing() }),
            (entry(7, 1), lift(5)),
            (entry(8, 2), nothing()),
            (entry(9, 3), lift(8)),
            (entry(10, 2), lift(11)),
            (entry(11, 2), nothing()),
        ];
        // Forwards and backwards.
        for order in [0, 1] {
            let mut holds = Holds::default();
            let mut list = entries.to_vec();
            if order == 1 {
                list.reverse();
            }
            list.into_iter().for_each(|(entry, detail)| holds.apply(&entry, detail));
            let on = |n: u8| holds.on(&SnapshotId::from_bytes([n; 32])).map(|h| h.sequence).collect::<Vec<_>>();
            assert_eq!(on(1), [6]);
            assert_eq!(on(2), [8, 11], "an entry about another snapshot, or before it, lifts nothing");
            let first = SnapshotId::from_bytes([1; 32]);
            assert!(holds.in_force(&first, at(100)).is_some() && holds.in_force(&first, at(101)).is_none());
        }
    }
}
