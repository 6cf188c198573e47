//! What every change of a store begins and ends with: the lock and the database opened for writing, and the publishing of log entries.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::codec::{MacLabel, VoucherKey, digest};
use crate::format::{Family, Tip, join_mac, number_key};
use crate::model::{Digest, LogEntry};

use super::Store;
use super::db::{Db, Rows};
use super::error::StoreError;
use super::inspect::Finding;
use super::lock::{Waiting, WriterLock};
use super::numbers::last_sequence;
use super::voucher::{sign, vouch};

/// The database, open for writing by whoever holds the lock.
pub(super) struct Exclusive {
    pub(super) db: Db,
    // Dropped after the database is closed.
    pub(super) lock: WriterLock,
}

/// What to do about a store that has lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LostEnd {
    /// Nothing is written on top of it.
    Refused,
    /// It is about to be put back.
    Healed,
}

impl Exclusive {
    /// Takes the lock and opens the database, unless something is wrong with it that writing would make worse.
    pub(super) fn begin(store: &Store, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<Self, StoreError> {
        Self::begin_with(store, LostEnd::Refused, waiting, keep_waiting)
    }

    /// The same for who puts back what was lost of the log, its end too.
    pub(super) fn begin_healing(
        store: &Store,
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        Self::begin_with(store, LostEnd::Healed, waiting, keep_waiting)
    }

    fn begin_with(
        store: &Store,
        lost_end: LostEnd,
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        let dir = store.dir();
        if store.header().read_only_compatible != 0 {
            let why = "made by a newer version of Larder: this one may read it, not write".to_owned();
            return Err(StoreError::Newer { path: dir.to_owned(), why });
        }
        super::files::check_tmp(dir)?;
        let lock = WriterLock::take(dir, waiting, keep_waiting)?;
        log::info!("the writer lock of {} is ours", dir.display());
        // An open for writing removes files that the MANIFEST does not name: of a store that lost its end, or whose last writer
        // failed while it merged, that would be the end of what could still be had back.
        super::mend::put_back(dir)?;
        let mut lacks_files = store.db().lacks_files();
        if lacks_files || store.db().is_outdated() {
            store.refresh_by(super::mend::open_locked)?;
            lacks_files = store.db().lacks_files();
        }
        match store.lost_end() {
            None => {}
            Some(_) if lost_end == LostEnd::Healed && store.lost_tip().is_some() => {}
            Some(lost) => return Err(lost),
        }
        // What is captured now might need what was in them.
        if lacks_files {
            return Err(StoreError::damage("the database", "files that it names are missing"));
        }
        let tip = super::tip::read(dir, store.keyring().ids())?;
        super::reserve::keep(dir);
        // An open for writing would remove them.
        let unnamed = match tip {
            None => super::unnamed::without_a_tip(&store.db())?,
            Some(_) if store.lost_end().is_some() => super::unnamed::beyond_the_end(&store.db(), tip)?,
            Some(_) => super::unnamed::beyond_the_log(&store.db(), Some(store.keyring()))?,
        };
        if let Some(Finding { object, why, .. }) = unnamed {
            return Err(StoreError::damage(object, why));
        }
        let db = Db::open_write(&dir.join("db"), &dir.join("tmp"))?;
        if lost_end == LostEnd::Refused {
            super::tip::check(tip, &db)?;
        }
        super::files::empty_tmp(dir)?;
        // Rows of a log that has lost its end may be older than the files.
        if store.lost_end().is_some() {
            return Ok(Self { db, lock });
        }
        store.settle_keys(&db)?;
        Ok(Self { db, lock })
    }
}

/// Sequence and hash of the newest log entry; zeros if there is none.
pub(super) fn newest_entry(db: &Db) -> Result<(u64, Digest), StoreError> {
    let last = last_sequence(db)?;
    let hash = db.with(Family::Log, &number_key(last), digest)?;
    Ok((last, hash.unwrap_or(Digest::from_bytes([0; 32]))))
}

/// Adds an entry to the rows that are about to be published, with what shows whose key made it; gives its hash.
pub(super) fn add_entry(store: &Store, rows: &mut Rows, entry: LogEntry) -> Digest {
    add_entry_by(store.keyring().vouchers().first(), store, rows, entry)
}

/// The same, vouched for by this key.
pub(super) fn add_entry_by(key: Option<&VoucherKey>, store: &Store, rows: &mut Rows, mut entry: LogEntry) -> Digest {
    if let Some(key) = key {
        vouch(&mut entry, key);
    } else if let Some(key) = store.keyring().signing() {
        sign(&mut entry, key);
    }
    let body = entry.to_bytes();
    let mac = store.keyring().ids().mac(MacLabel::Log, &[&body]);
    let bytes = join_mac(body, &mac);
    rows.put(Family::Log, &number_key(entry.sequence), &bytes);
    digest(&bytes)
}

/// Writes rows with the log entries among them. When this returns they survive a power cut. `sequence` and `hash` are those of
/// the newest entry.
pub(super) fn publish(store: &Store, db: &Db, rows: &Rows, sequence: u64, hash: Digest) -> Result<(), StoreError> {
    log::debug!("committing entry {sequence}");
    db.write(rows, true)?;
    db.flush()?;
    super::tip::write(store.dir(), &Tip { sequence, log_hash: hash }, store.keyring().ids())?;
    let inner = &store.inner;
    inner.stale.store(true, Ordering::SeqCst);
    let mut pin = inner.pin.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = pin.remember(store.keyring(), sequence, &hash);
    Ok(())
}
