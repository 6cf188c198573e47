//! What the arrival log says of all snapshots together: which arrived, who vouches for when, which were given up, are held, or are
//! under a policy.

use std::collections::{BTreeMap, HashMap};

use crate::model::{DatasetKey, Immutable, LogEntry, LogKind, PolicyDetail, Role, Rules, SnapshotId, Timestamp};
use crate::store::{Claims, FalseEntry, SnapshotRow, Store, StoreError};

use super::holds::{Hold, Holds};

/// The time that an entry says it was made at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which entry.
    pub sequence: u64,
    /// What it says.
    pub claimed: Timestamp,
    /// True if a catalog or owner key vouches for it.
    pub vouched: bool,
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Sequence of the log entry that set it.
    pub sequence: u64,
    /// When it was set.
    pub since: Timestamp,
    /// What it says: its rules are there.
    pub detail: PolicyDetail,
    /// What is kept.
    pub rules: Rules,
}

/// Policies by dataset (none: those without one of their own) and retention class.
type Policies = BTreeMap<(Option<DatasetKey>, Option<String>), Policy>;

/// The arrival log, read once from its beginning to its end.
#[derive(Debug)]
pub struct Register {
    /// All snapshots that ever arrived, oldest first.
    pub arrived: Vec<SnapshotRow>,
    /// Who said when: every entry, in order.
    pub moments: Vec<Moment>,
    /// Holds and confirmations.
    pub holds: Holds,
    /// What is damaged in the log. It may hide holds: nothing may be given up or removed then.
    pub damage: Option<StoreError>,
    /// Entries that want what a writer key may not: to forget, hold or rule. They are not heeded.
    pub unvouched: Vec<(u64, LogKind)>,
    /// Entries that name a snapshot which an earlier one brought. They are not heeded.
    pub false_entries: Vec<FalseEntry>,
    /// A policy that cannot be read: which ones are in force is not known.
    pub bad_policy: Option<StoreError>,
    forgotten: HashMap<SnapshotId, u64>,
    policies: Policies,
}

/// What may be done with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was not given up.
    Living,
    /// It was given up by the entry with this sequence; nothing keeps it.
    Forgotten(u64),
    /// It was given up, and must be kept all the same: why.
    Kept(String),
    /// It was given up and its manifest is gone: it has been removed.
    Removed,
}

impl Register {
    /// Reads it.
    ///
    /// # Errors
    /// If the log cannot be read at all, or the key in use may not read what it says.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let mut register = Self {
            arrived: Vec::new(),
            moments: Vec::new(),
            holds: Holds::default(),
            damage: None,
            unvouched: Vec::new(),
            false_entries: Vec::new(),
            bad_policy: None,
            forgotten: HashMap::new(),
            policies: Policies::new(),
        };
        let mut claims = Claims::default();
        for row in store.log()? {
            match row.entry {
                Ok(entry) => register.add(store, entry, &mut claims)?,
                Err(e) => {
                    register.damage.get_or_insert(e);
                }
            }
        }
        Ok(register)
    }

    fn add(&mut self, store: &Store, entry: LogEntry, claims: &mut Claims) -> Result<(), StoreError> {
        let Some(vouched) = store.keyring().vouches_for(&entry) else {
            return store.require(Role::Catalog, "reading what was forgotten and is held");
        };
        self.moments.push(Moment { sequence: entry.sequence, claimed: entry.arrival, vouched });
        match entry.kind {
            LogKind::Snapshot => {
                if let Err(false_entry) = claims.take(&entry) {
                    self.false_entries.push(false_entry);
                    return Ok(());
                }
                if vouched {
                    self.holds.add(store, &entry);
                } else {
                    self.holds.add_writers(store, &entry);
                }
                self.arrived.push(entry.into());
            }
            kind if !vouched => self.unvouched.push((entry.sequence, kind)),
            LogKind::Forget => {
                self.forgotten.entry(entry.manifest).or_insert(entry.sequence);
            }
            LogKind::Hold => self.holds.add(store, &entry),
            LogKind::Policy => self.add_policy(store, &entry),
            LogKind::KeyChange | LogKind::Loss => {}
        }
        Ok(())
    }

    fn add_policy(&mut self, store: &Store, entry: &LogEntry) {
        let detail = store.detail(entry).and_then(|plain| {
            let plain = plain.ok_or_else(|| StoreError::damage("a policy", "it does not say what is kept"))?;
            Ok(PolicyDetail::from_bytes(&plain)?)
        });
        match detail {
            Ok(detail) => {
                let dataset = detail.dataset.as_ref().map(|name| store.keyring().ids().dataset(name));
                let key = (dataset, detail.class.clone());
                match detail.rules {
                    Some(rules) => {
                        let policy = Policy { sequence: entry.sequence, since: entry.arrival, detail, rules };
                        self.policies.insert(key, policy);
                    }
                    None => drop(self.policies.remove(&key)),
                }
            }
            Err(e) => {
                self.bad_policy.get_or_insert(e);
            }
        }
    }

    /// The snapshots that were not given up, oldest first.
    pub fn living(&self) -> impl Iterator<Item = &SnapshotRow> {
        self.arrived.iter().filter(|row| !self.forgotten.contains_key(&row.id))
    }

    /// True if a catalog or owner key vouches for an entry.
    #[must_use]
    pub fn is_vouched(&self, sequence: u64) -> bool {
        self.moments.binary_search_by_key(&sequence, |m| m.sequence).is_ok_and(|at| self.moments[at].vouched)
    }

    /// The policies in force: first those of all datasets.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// The policy for snapshots of a dataset that name this retention class, or none.
    #[must_use]
    pub fn policy(&self, dataset: DatasetKey, class: Option<&str>) -> Option<&Policy> {
        let find = |dataset| self.policies.get(&(dataset, class.map(str::to_owned)));
        find(Some(dataset)).or_else(|| find(None))
    }

    /// A hold that keeps a snapshot.
    #[must_use]
    pub fn held(&self, id: &SnapshotId, now: Timestamp) -> Option<&Hold> {
        self.holds.in_force(id, now)
    }

    /// What may be done with a snapshot: of all that arrived, only [`Standing::Forgotten`] may be removed, and nothing at all where
    /// [`Self::damage`] says something. Reads the manifest of a snapshot that was given up.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn standing(&self, store: &Store, id: &SnapshotId, now: Timestamp) -> Result<Standing, StoreError> {
        let Some(sequence) = self.forgotten.get(id) else { return Ok(Standing::Living) };
        if !store.has_manifest(id)? {
            return Ok(Standing::Removed);
        }
        // A hold that had been lost came back from a copy of the store.
        if let Some(hold) = self.held(id, now) {
            return Ok(Standing::Kept(format!("entry {} of the log holds it", hold.sequence)));
        }
        Ok(match store.manifest(id) {
            Ok(manifest) => match self.holds.immutable(id, manifest.evidence.immutable) {
                Immutable::Yes => Standing::Kept("it is immutable".to_owned()),
                Immutable::Asked => Standing::Kept("a writer key asks that it be immutable".to_owned()),
                Immutable::No => Standing::Forgotten(*sequence),
            },
            Err(e) if e.is_damage() => Standing::Kept(format!("whether it is immutable cannot be read: {e}")),
            Err(e) => return Err(e),
        })
    }
}
