//! Durable and atomic: the store's folder, its database, its keys, its arrival log.
//!
//! A [`Store`] opens and hands out: items to read ([`Store::chunk`], [`Store::page`]), a [`Writer`] to add to it. What is
//! done with them lives above, in `tree`, `snapshots` and `ops`.

mod chain;
mod claims;
mod create;
pub(crate) mod db;
mod digests;
mod entries;
mod epochs;
mod error;
mod exclusive;
mod files;
mod heal;
mod inspect;
mod key_change;
mod key_files;
mod keyring;
mod keyrings;
mod lease;
mod ledger;
mod lock;
mod log;
mod losses;
mod mend;
mod named;
mod notes;
mod numbers;
mod own;
pub(crate) mod pin;
mod pins;
mod proof;
mod read;
mod renewal;
mod repack;
mod repair;
mod reseal;
mod reserve;
mod roster;
mod settling;
mod since;
mod survey;
mod sweep;
mod tip;
mod trust;
mod unlock;
mod unnamed;
mod voucher;
mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::codec::{Cutter, Identity};
use crate::format::{Cipher, Family, Header, Tip, number_key};
use crate::model::{Digest, Purpose, Role, SnapshotId, StoreId};

pub use chain::LostEntry;
pub use claims::{Claims, FalseEntry, SnapshotRow};
pub use create::{NewStore, create};
pub use digests::KnownPack;
pub use entries::{LogWriter, NewEntry};
pub use epochs::{OldBlocks, OldEpochs, UnderOld};
pub use error::{DAMAGED, DATABASE, LOST_ENTRIES, StoreError, THE_HEADER};
pub use files::lies_in;
pub use heal::LogHealed;
pub use inspect::{Ages, BlockLook, ClosedLook, ClosedStore, Depth, Finding, Inspected, open_closed};
pub use key_change::{Changed, KeyAdmin, NewKey, Sealed};
pub use key_files::lacks_key_files;
pub use keyring::Keyring;
pub use lease::{Clearance, Lease};
pub use ledger::Ledger;
pub use lock::Waiting;
pub use log::{Arrived, LogRow, NewSnapshot};
pub use losses::{Acceptance, Accepted};
pub use mend::Mending;
pub use own::OwnChunks;
pub use pins::{ClientDirs, remember_place};
pub use read::{CacheSize, Item};
pub use repack::Repack;
pub use repair::{
    PlainFile, Repaired, Seek, Sought, of_wrong_sort, open_closed_for_repair, open_for_repair, set_wrong_sort_aside,
};
pub use reseal::{EpochSweep, RowReseal};
pub use roster::{KeyList, KeyRow};
pub use survey::{Mark, Room, Survey};
pub use sweep::{BlockSweep, IndexSweep, Sweeper};
pub use unlock::Unlock;
pub use write::{CommitInfo, TINY_CHUNK, Writer};

use chain::Judged;
use db::Db;
use keyrings::Keyrings;
use pins::PinFile;
use read::Blocks;
use unlock::Unlocked;

/// An open store. Cheap to share; reads from any number of threads.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    header: Header,
    keyrings: Keyrings,
    /// What opened the key object; nothing if there is none.
    opener: Mutex<Option<Identity>>,
    db: RwLock<Arc<Db>>,
    blocks: Blocks,
    seen: ledger::Seen,
    leases: Arc<lease::Leases>,
    pin: Mutex<PinFile>,
    dirs: ClientDirs,
    lost_end: Mutex<Option<LostEnd>>,
    /// What this client has seen last: it stands for a tip that is lost, where that is to be made anew.
    seen_end: OnceLock<Tip>,
    /// This process has committed since `db` was opened.
    stale: AtomicBool,
    /// Why the pin could not be kept.
    unpinned: OnceLock<String>,
}

/// What the tip says was acknowledged and is not there, or what of the log cannot be read.
#[derive(Debug, Clone)]
struct LostEnd {
    /// Which entry.
    what: String,
    why: String,
    /// What was acknowledged, if that is known.
    tip: Option<Tip>,
}

impl Inner {
    fn db(&self) -> Arc<Db> {
        self.db.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn replace_db(&self, fresh: Arc<Db>) {
        *self.db.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
    }
}

/// Opens a store for reading, and for writing through [`Store::writer`].
///
/// `unlock` is asked for identities and, if need be, a passphrase. What this client saw last of the store is compared.
///
/// # Errors
/// [`StoreError`] tells what stands in the way; nothing is changed.
pub fn open(dir: &Path, unlock: &dyn Unlock, dirs: &ClientDirs, cache: CacheSize) -> Result<Store, StoreError> {
    let header = create::read_header(dir)?;
    let (keyring, unlocking) = unlock::Unlocking::begin(dir, &header, unlock, dirs)?;
    let tip = tip::read(dir, keyring.ids())?;
    let db = mend::open_database(dir, tip.as_ref(), Mending::Yes)?;
    let unlocked = unlocking.settle(keyring, &db);
    let store = Store::assemble(dir, header, unlocked, dirs, db, cache)?;
    store.check_canary()?;
    store.check_tip(tip)?;
    store.check_pin(tip)?;
    ::log::info!("store {} is open: {} snapshots and other entries", store.id(), store.last_sequence()?);
    Ok(store)
}

impl Store {
    fn assemble(
        dir: &Path,
        header: Header,
        unlocked: Unlocked,
        dirs: &ClientDirs,
        db: Db,
        cache: CacheSize,
    ) -> Result<Self, StoreError> {
        let Unlocked { keyring, pin, opener } = unlocked;
        create::check_header(&header, &keyring)?;
        let inner = Inner {
            dir: dir.to_owned(),
            header,
            keyrings: Keyrings::new(keyring),
            opener: Mutex::new(opener),
            db: RwLock::new(Arc::new(db)),
            blocks: Blocks::new(cache),
            seen: ledger::Seen::default(),
            leases: Arc::default(),
            pin: Mutex::new(pin),
            dirs: dirs.clone(),
            lost_end: Mutex::default(),
            seen_end: OnceLock::new(),
            stale: AtomicBool::new(false),
            unpinned: OnceLock::new(),
        };
        let inner = Arc::new(inner);
        inner.keyrings.current().join(Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// Refuses a database that belongs to another header.
    fn check_canary(&self) -> Result<(), StoreError> {
        if self.db().get(Family::Default, b"canary")?.as_deref() != Some(self.id().as_bytes()) {
            return Err(StoreError::damage("the database", "it is not the one that belongs to the header"));
        }
        Ok(())
    }

    /// Compares the log with the tip. What is left of a store that lost its end can still be read: the loss is kept in mind,
    /// told by [`Self::lost_end`] and [`Self::log`], and nothing is written on top of it.
    fn check_tip(&self, tip: Option<Tip>) -> Result<(), StoreError> {
        let (db, tip) = (self.db(), tip.or_else(|| self.inner.seen_end.get().copied()));
        let lost = match tip::check(tip, &db) {
            Ok(()) => None,
            Err(StoreError::Damage { what, why }) => {
                match tip.filter(|tip| !numbers::has_in_reach(&db, tip.sequence)) {
                    None => Some(LostEnd { what, why, tip }),
                    Some(_) => {
                        Some(LostEnd { what: error::THE_TIP.to_owned(), why: tip::OUT_OF_REACH.to_owned(), tip: None })
                    }
                }
            }
            Err(e) => return Err(e),
        };
        *self.inner.lost_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lost;
        Ok(())
    }

    /// What is damaged, if something that was acknowledged is gone from the end of the log.
    #[must_use]
    pub fn lost_end(&self) -> Option<StoreError> {
        let lost = self.inner.lost_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lost.as_ref().map(|lost| StoreError::damage(lost.what.clone(), &lost.why))
    }

    /// What was acknowledged, if the log lacks it.
    fn lost_tip(&self) -> Option<Tip> {
        self.inner.lost_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_ref().and_then(|lost| lost.tip)
    }

    /// What is damaged, if the database could not be opened whole: what the damage does not touch can be read.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.db().trouble().map(|why| StoreError::damage("the database", why))
    }

    /// Compares the log with what this client saw last, and remembers what it sees now. A store whose own tip says that its end is
    /// lost is damaged, not set back, and that is told already: what is left can be read, and the pin stays as it is.
    fn check_pin(&self, tip: Option<Tip>) -> Result<(), StoreError> {
        if self.lost_end().is_some() {
            return Ok(());
        }
        match self.compare_pin() {
            Err(StoreError::SetBack { path, what, pin, claimed, .. }) => {
                if let Some(unnamed) = unnamed::beyond_the_log(&self.db(), Some(self.keyring()))? {
                    return Err(StoreError::damage(unnamed.object, unnamed.why));
                }
                Err(StoreError::SetBack { path, what, pin, claimed, has_tip: tip.is_some() })
            }
            // A log that cannot be read is damage, and no reason to keep what can be read from its user.
            Err(StoreError::Damage { what, why }) => {
                let lost = Some(LostEnd { what, why, tip: None });
                *self.inner.lost_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lost;
                Ok(())
            }
            compared => compared,
        }
    }

    fn compare_pin(&self) -> Result<(), StoreError> {
        let mut pin = self.inner.pin.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let db = self.db();
        let hash_at = |sequence: u64| -> Result<Option<_>, StoreError> {
            db.with(Family::Log, &number_key(sequence), crate::codec::digest)
        };
        if pin.sequence() > 0 {
            pin.check_log(hash_at(pin.sequence())?).or_else(|set_back| self.goes_on_behind(&pin, set_back))?;
        }
        // A client whose state folder cannot be written to still works; it only cannot notice a store set back.
        let (sequence, hash) = self.newest_entry_in(&db)?;
        let kept = pin.remember(self.keyring(), sequence, &hash);
        if let Err(e) = kept {
            self.inner.unpinned.get_or_init(|| e.to_string());
        }
        Ok(())
    }

    /// Sequence and hash of the newest entry; zeros if there is none. Rows behind it that are none were put there, and may be gone tomorrow.
    fn newest_entry_in(&self, db: &Db) -> Result<(u64, Digest), StoreError> {
        let mut newest = None;
        self.walk_back_in(db, &mut |judged, stands| {
            if let Judged::Entry(entry) = judged {
                newest = Some((entry.sequence, stands));
            }
            newest.is_none()
        })?;
        Ok(newest.unwrap_or((0, chain::NOTHING)))
    }

    /// Takes what this client has seen last for what a tip said that is lost, and tells what of it is gone. False if the log goes on
    /// farther than that, or cannot have come so far.
    fn takes_seen_end(&self) -> Result<bool, StoreError> {
        let seen = self.inner.pin.lock().unwrap_or_else(std::sync::PoisonError::into_inner).seen();
        let db = self.db();
        let (last, hash) = match self.newest_entry_in(&db) {
            Err(e) if e.is_damage() => (0, chain::NOTHING),
            newest => newest?,
        };
        // Another entry of that number is of another log, which goes on where this client has not been.
        let is_end = |seen: &Tip| seen.sequence > last || seen.sequence == last && seen.log_hash == hash;
        let Some(seen) = seen.filter(|seen| is_end(seen) && numbers::has_in_reach(&db, seen.sequence)) else {
            return Ok(false);
        };
        let _ = self.inner.seen_end.set(seen);
        self.check_tip(None)?;
        Ok(true)
    }

    /// Why this client cannot remember what it saw, if it cannot: then it will not notice that the store was set back.
    #[must_use]
    pub fn unpinned(&self) -> Option<&str> {
        self.inner.unpinned.get().map(String::as_str)
    }

    fn db(&self) -> Arc<Db> {
        self.inner.db()
    }

    /// As [`Self::db`], but what this process itself has committed since is in it.
    fn fresh_db(&self) -> Result<Arc<Db>, StoreError> {
        if self.inner.stale.swap(false, Ordering::SeqCst) {
            self.inner.replace_db(Arc::new(Db::open_read(&self.inner.dir.join("db"))?));
        }
        Ok(self.db())
    }

    /// Reads, and if that meets damage again from a fresh view: what was written, moved or sealed anew since this one was opened shows there.
    fn reading<T>(&self, read: impl Fn(&Arc<Db>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.db();
        match read(&db) {
            Err(e) if e.is_damage() && db.is_outdated() => {
                let Ok(fresh) = Db::open_read(&self.inner.dir.join("db")) else { return Err(e) };
                let fresh = Arc::new(fresh);
                let found = read(&fresh)?;
                self.inner.replace_db(fresh);
                Ok(found)
            }
            other => other,
        }
    }

    /// Looks at the store afresh: what was written since it was opened is seen after this.
    ///
    /// # Errors
    /// If it cannot be opened again.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.refresh_by(|dir, _| Db::open_read(&dir.join("db")))
    }

    fn refresh_by(&self, open: impl FnOnce(&Path, Option<&Tip>) -> Result<Db, StoreError>) -> Result<(), StoreError> {
        let tip = tip::read(&self.inner.dir, self.keyring().ids())?;
        self.inner.replace_db(Arc::new(open(&self.inner.dir, tip.as_ref())?));
        self.keyring().learn_since_anew();
        self.check_tip(tip)?;
        self.check_pin(tip)
    }

    /// True if a writer was at work since the store was looked at.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.db().is_outdated()
    }

    /// What changes when a writer has been at work: compare two of them to know whether [`Self::refresh`] is worth its time.
    #[must_use]
    pub fn change_mark(&self) -> Option<(Vec<u8>, u64)> {
        self.db().mark()
    }

    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The store's id.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.inner.header.store
    }

    /// The store's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// True if data is sealed.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.inner.header.cipher != Cipher::None
    }

    /// The keys in use.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        self.inner.keyrings.current()
    }

    /// Refuses what the key in use may not do. `act` says what that is, as in "reading content".
    ///
    /// # Errors
    /// [`StoreError::Closed`] if its role is less than `needs`.
    pub fn require(&self, needs: Role, act: &'static str) -> Result<(), StoreError> {
        let role = self.keyring().role();
        if role >= needs { Ok(()) } else { Err(StoreError::Closed { role, act, needs }) }
    }

    /// Where this client keeps what is its own.
    #[must_use]
    pub fn client_dirs(&self) -> &ClientDirs {
        &self.inner.dirs
    }

    /// A cutter with the store's seed and sizes.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        let h = &self.inner.header;
        Cutter::new(self.keyring().seed(), h.chunk_min, h.chunk_avg, h.chunk_max)
    }

    /// The gc generation: another one when something was removed, or may have been.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn gc_generation(&self) -> Result<u64, StoreError> {
        db_gc_generation(&*self.fresh_db()?)
    }

    /// Bytes that the store takes on disk, by what is in them.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub fn disk_bytes(&self) -> Result<(u64, u64, u64), StoreError> {
        let db = self.db();
        let data = db.family_bytes(Family::Data)?;
        let tree = db.family_bytes(Family::Tree)?;
        let mut rest = 0;
        for family in Family::ALL {
            if family != Family::Data && family != Family::Tree {
                rest += db.family_bytes(family)?;
            }
        }
        Ok((data, tree, rest))
    }

    /// Takes the writer lock and makes the store ready to be added to.
    ///
    /// While another process has the lock and we wait for it, `keep_waiting` is asked again and again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process writes and we are not to wait.
    pub fn writer(&self, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<Writer, StoreError> {
        Writer::begin(self, Purpose::Add, waiting, keep_waiting)
    }
}

fn db_gc_generation(db: &Db) -> Result<u64, StoreError> {
    let value = db.get(Family::Default, b"gc")?;
    Ok(value.and_then(|v| v.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// A gc generation that the store has not had: whatever was set back or put together anew, none comes again.
fn new_generation() -> Result<[u8; 8], StoreError> {
    Ok(crate::codec::random_bytes()?)
}

/// What a snapshot is called in messages.
#[must_use]
pub fn snapshot_label(id: SnapshotId) -> String {
    format!("snapshot {}", &id.to_string()[..16])
}
