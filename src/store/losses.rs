//! Losses of log entries that an owner accepts: an entry of kind 6 says which ones are void (section 15.3), and the log goes on behind them.

use crate::codec::seal_value;
use crate::format::{DETAIL, Family, Tip, number_key, void_entries, void_ext};
use crate::model::{DatasetKey, Digest, LogEntry, LogKind, LossDetail, Purpose, SnapshotId, Timestamp, VoidEntry};

use super::Store;
use super::chain::{Judged, LostEntry, Passage};
use super::db::{Db, Rows};
use super::error::StoreError;
use super::exclusive::{add_entry, newest_entry, publish};
use super::pins::PinFile;

/// Who accepts a loss, and why: it stands in the log.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// In the user's words.
    pub reason: Option<String>,
    /// As `user@host`.
    pub by: String,
    /// The present.
    pub now: Timestamp,
}

/// A loss that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The entry of the log that says so.
    pub sequence: u64,
    /// What is void from here on.
    pub entries: Vec<LostEntry>,
}

/// Adds the entry. For who holds the writer lock and has the database open. `tip`: what was acknowledged.
pub(super) fn accept(
    store: &Store,
    db: &Db,
    tip: Option<&Tip>,
    lost: Vec<LostEntry>,
    asked: &Acceptance,
) -> Result<Option<Accepted>, StoreError> {
    let entries: Vec<_> = lost.into_iter().filter(LostEntry::can_be_void).collect();
    if entries.is_empty() {
        return Ok(None);
    }
    // Numbers are never used twice: the log goes on behind what was acknowledged, be it lost.
    let newest = newest_entry(db)?;
    let (last, previous) = match tip {
        Some(tip) if tip.sequence >= newest.0 => (tip.sequence, tip.log_hash),
        _ => newest,
    };
    let void: Vec<_> = entries.iter().map(LostEntry::as_void).collect();
    let mut rows = Rows::default();
    let entry = entry(store, &mut rows, (last.saturating_add(1), previous), &void, asked)?;
    let sequence = entry.sequence;
    let hash = add_entry(store, &mut rows, entry);
    publish(store, db, &rows, sequence, hash)?;
    log::info!("entry {sequence} of the log: the loss of {} entries is accepted", entries.len());
    Ok(Some(Accepted { sequence, entries }))
}

fn entry(
    store: &Store,
    rows: &mut Rows,
    (sequence, previous): (u64, Digest),
    void: &[VoidEntry],
    asked: &Acceptance,
) -> Result<LogEntry, StoreError> {
    let keyring = store.keyring();
    let epoch = keyring.begin_epoch(Purpose::Add)?;
    rows.put(Family::Epochs, epoch.id.as_bytes(), &epoch.record);
    let detail = LossDetail { reason: asked.reason.clone(), by: asked.by.clone(), ext: Vec::new() }.to_bytes();
    let sealed = seal_value(epoch.id, &epoch.page, Family::Log.name(), &number_key(sequence), &detail);
    let authority = keyring.authorities().first();
    let proved = void_ext(void, |list| authority.map(|a| a.loss_proof(sequence, &previous, list)));
    Ok(LogEntry {
        kind: LogKind::Loss,
        sequence,
        arrival: asked.now,
        dataset: DatasetKey::from_bytes([0; 16]),
        manifest: SnapshotId::from_bytes([0; 32]),
        previous,
        writer: keyring.name(),
        ext: [(DETAIL, sealed)].into_iter().chain(proved).collect(),
    })
}

/// True if an entry is about the loss of another one.
pub(super) fn names(entry: &LogEntry, lost: u64) -> bool {
    let list = (entry.kind == LogKind::Loss).then(|| void_entries(&entry.ext).ok()).flatten();
    list.is_some_and(|(list, _)| list.iter().any(|void| void.sequence == lost))
}

impl Store {
    /// Lets a client pass that has seen an entry which is lost, if an owner has accepted that and the log goes on behind it as it was. A
    /// writer's key cannot tell.
    pub(super) fn goes_on_behind(&self, pin: &PinFile, set_back: StoreError) -> Result<(), StoreError> {
        let seen = pin.sequence();
        let (mut passage, mut claim) = (Passage::new(pin), None);
        self.walk_back(|judged, _| {
            if let Judged::Entry(entry) = &judged {
                claim = claim.or(names(entry, seen).then_some(entry.sequence));
            }
            passage.look(&judged)
        })?;
        let cannot_tell = self.keyring().knows_roles() && self.keyring().vouchers().is_empty();
        match set_back {
            _ if passage.is_free() && !cannot_tell => Ok(()),
            StoreError::SetBack { path, what, pin, has_tip, .. } if passage.is_free() => {
                Err(StoreError::SetBack { path, what, pin, claimed: claim, has_tip })
            }
            set_back => Err(set_back),
        }
    }
}
