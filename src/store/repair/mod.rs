//! Repair: what can be made anew from what is whole is made anew; what is damaged is set aside, never removed.
//!
//! The database is not mended in place. A fresh one is built beside it: files of blocks that are whole are linked into it, of damaged
//! ones every row that can still be read is copied, the indexes follow from a forward scan of all blocks, other rows are copied. Then the
//! two folders change places in one step, and the old database lies in `damaged/` as it was. So a kill leaves the store either as it
//! was or repaired.

mod build;
mod gathering;
mod log;
mod plain;
mod records;
mod scan;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::{BlockKind, Family, Place, Tip, from_bytes, number_key, sum_key_value, sum_parts};
use crate::model::{ChunkId, EpochId, Progress};

use super::chain::LostEntry;
use super::db::Db;
use super::error::StoreError;
use super::files::{ASIDE, new_aside, set_aside_unless};
use super::inspect::Finding;
use super::key_files::{self, is_age_file};
use super::keyring::Keyring;
use super::lock::{Waiting, WriterLock};
use super::losses::{self, Acceptance, Accepted};
use super::mend::{self, Mending};
use super::pins::ClientDirs;
use super::read::{CacheSize, Sort, places};
use super::unlock::Unlock;
use super::{Store, create, numbers, tip, unlock, unnamed};

use build::{Blocks, Fresh};
use gathering::{Locking, gather, gathered, with_unnamed};
use log::{Log, passed};
use records::Records;
use scan::{Scanned, Whole};

pub use plain::{PlainFile, of_wrong_sort, open_closed_for_repair, set_wrong_sort_aside};

/// Looks that begin anew, at most, where writers were at work and a plan found damage: it may be that two views were compared.
const MOST_LOOKS: u32 = 6;

/// What snapshots need and the indexes do not tell. Blocks that a killed capture or gc has left are in no index either, and no damage.
#[derive(Debug, Default)]
pub struct Sought {
    /// Chunks.
    pub chunks: HashSet<ChunkId>,
    /// There is more, and what is not known: pages or manifests are missing that would name it.
    pub more: bool,
}

impl Sought {
    fn wants(&self, sort: Sort, id: &[u8; 32]) -> bool {
        self.more || sort == Sort::Chunk && self.chunks.contains(&ChunkId::from_bytes(*id))
    }

    /// True if anything is missing.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        self.more || !self.chunks.is_empty()
    }
}

/// Finds it in the view that a store has.
pub type Seek<'a> = &'a dyn Fn(&Store) -> Result<Sought, StoreError>;

/// What is to be repaired, or was.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Blocks that were opened.
    pub blocks: u64,
    /// Their sealed bytes.
    pub bytes: u64,
    /// Blocks that cannot be opened: what is in them is no longer claimed by the index, so that it is stored anew when it is met again.
    pub damaged: Vec<Finding>,
    /// Files of the database that are damaged, and rows whose numbers nobody can have come to by counting.
    pub files: Vec<Finding>,
    /// Rows that are missing, or wrong where they stand, and are made anew: of indexes and digests, of the log where a manifest says
    /// what was in them, dataset records, records of epochs.
    pub missing_rows: u64,
    /// Rows of indexes and digests that name what is not there: they are left out.
    pub wrong_rows: u64,
    /// What cannot be made anew: entries of the log that are not about a snapshot, manifests.
    pub lost: Vec<Finding>,
    /// The entries of the log among it.
    pub lost_entries: Vec<LostEntry>,
    /// Entries of the log that are lost, which an owner has accepted before.
    pub void: u64,
    /// The loss that was accepted now.
    pub accepted: Option<Accepted>,
    /// Key objects of which file and row were different ones, and are the one that an owner wrote last.
    pub settled: Vec<PathBuf>,
    /// Those of which nobody has proved which one that is, or of a plan.
    pub unsettled: Vec<PathBuf>,
    /// The tip is made anew, and why.
    pub tip: Option<String>,
    /// The database is built anew.
    pub rebuild: bool,
    /// Snapshots still lack something, once that is done or if there is nothing to build anew.
    pub lacking: bool,
    /// Where the old one lies, once that is done.
    pub aside: Option<PathBuf>,
}

impl Repaired {
    /// True if there is nothing to do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let are_keys_settled = self.settled.is_empty() && self.unsettled.is_empty();
        !self.rebuild && self.tip.is_none() && self.lost.is_empty() && self.accepted.is_none() && are_keys_settled
    }
}

/// Opens a store as [`super::open`] does; a damaged tip counts as missing, and without mending nothing is changed.
///
/// # Errors
/// [`StoreError`] tells what stands in the way.
pub fn open_for_repair(
    dir: &Path,
    unlock: &dyn Unlock,
    dirs: &ClientDirs,
    cache: CacheSize,
    mending: Mending,
) -> Result<Store, StoreError> {
    let header = create::read_header(dir)?;
    let (keyring, unlocking) = unlock::Unlocking::begin(dir, &header, unlock, dirs)?;
    create::check_header(&header, &keyring)?;
    let tip = match tip::read(dir, keyring.ids()) {
        Err(e) if e.is_damage() => None,
        tip => tip?,
    };
    let db = match mend::open_database(dir, tip.as_ref(), mending) {
        Err(e) if e.is_damage() && mending == Mending::Yes => gather(dir, &e.to_string(), Locking::Needed)?,
        opened => opened?,
    };
    let db = if mending == Mending::Yes { with_unnamed(dir, db, tip, &keyring, Locking::Needed)? } else { db };
    // Another database must not take this one's place; where its row cannot be read, the MACs of the log tell.
    let canary = db.get(Family::Default, b"canary").ok().flatten();
    if canary.is_some_and(|id| id != *header.store.as_bytes()) && !belongs(&keyring, &db) {
        let why = "it is not the one that belongs to the header; if it is the header that was replaced, remove it, and `larder repair --apply` takes its copy from \
            the database";
        return Err(StoreError::damage("the database", why));
    }
    let unlocked = unlocking.settle(keyring, &db);
    let store = Store::assemble(dir, header, unlocked, dirs, db, cache)?;
    store.check_tip(tip)?;
    match store.check_pin(tip) {
        // It is all that tells what was acknowledged.
        Err(StoreError::SetBack { has_tip: false, .. }) if store.takes_seen_end()? => Ok(store),
        // Nor is it known where a log that cannot be read has ended.
        Ok(()) if tip.is_none() && store.lost_end().is_some() => store.takes_seen_end().map(|_| store),
        checked => checked.map(|()| store),
    }
}

/// True if a database has an entry of the log, or a record of an epoch, that was made with these keys.
fn belongs(keyring: &Keyring, db: &Db) -> bool {
    let has = |family, is_ours: &dyn Fn(&[u8], &[u8]) -> bool| {
        let mut found = false;
        let _ = db.scan(family, &[], |key, value| {
            found = is_ours(key, value);
            Ok(!found)
        });
        found
    };
    has(Family::Log, &|_, value| keyring.check_log_entry(value).is_ok())
        || has(Family::Epochs, &|key, value| is_epoch(keyring, key, value))
}

impl Store {
    /// The folder of what repairs have set aside, if there is any.
    #[must_use]
    pub fn set_aside(&self) -> Option<PathBuf> {
        Some(self.dir().join(ASIDE)).filter(|all| all.is_dir())
    }

    /// Tells what is to be repaired. Changes nothing.
    ///
    /// # Errors
    /// If the store cannot be read for another reason than damage, or the key in use may not read content.
    pub fn plan_repair(&self, seek: Seek, progress: &dyn Progress) -> Result<Repaired, StoreError> {
        let plan = || {
            let unsettled = self.unsettled(&self.db())?;
            let planned = survey(self, &self.db(), None, seek, Rebuild::IfNeeded, progress)?;
            Ok::<_, StoreError>(Repaired { unsettled, ..planned })
        };
        let mut planned = plan()?;
        for _ in 1..MOST_LOOKS {
            if planned.is_whole() || !self.db().is_outdated() || self.refresh().is_err() {
                break;
            }
            ::log::info!("writers were at work: what was found is looked at again");
            planned = plan()?;
        }
        Ok(planned)
    }

    /// Repairs. With `accept` entries of the log that are lost for good then are given up.
    ///
    /// # Errors
    /// If another process writes and we are not to wait, or the store cannot be read or written to. Then it is as it was, or whole but for what was
    /// to be given up.
    pub fn repair(
        &self,
        seek: Seek,
        accept: Option<&Acceptance>,
        waiting: Waiting,
        keep_waiting: &dyn Fn() -> bool,
        progress: &dyn Progress,
    ) -> Result<Repaired, StoreError> {
        let lock = WriterLock::take(self.dir(), waiting, keep_waiting)?;
        let db = self.view_of_lock_holder()?;
        let unknown = Db::unknown_families(db.dir())?;
        if let Some(name) = unknown.first() {
            let why = format!("it has a family {name} that this version does not know");
            return Err(StoreError::Newer { path: self.dir().to_owned(), why });
        }
        let aside = new_aside(self.dir())?;
        let fresh = Fresh::begin(self, &aside)?;
        // Behind a lost end there may be files that no list names: who opens the database for writing would remove them.
        let rebuild = if accept.is_some() && self.lost_end().is_some() { Rebuild::Always } else { Rebuild::IfNeeded };
        let mut repaired = match survey(self, &db, Some(&fresh), seek, rebuild, progress) {
            Ok(repaired) => repaired,
            Err(e) => {
                fresh.discard();
                return Err(e);
            }
        };
        if repaired.rebuild {
            fresh.put_in_place()?;
            repaired.aside = Some(aside);
        } else {
            fresh.discard();
        }
        if repaired.rebuild || repaired.tip.is_some() {
            let now = Db::open_read_locked(&self.dir().join("db"))?;
            // What a tip says was acknowledged stays so, be it lost.
            if repaired.tip.is_some() {
                let (sequence, log_hash) = self.newest_entry_in(&now)?;
                let seen = self.inner.seen_end.get().filter(|seen| seen.sequence > sequence);
                set_aside_unless(&tip::path(self.dir()), std::fs::Metadata::is_file, || new_aside(self.dir()))?;
                tip::write(self.dir(), seen.unwrap_or(&Tip { sequence, log_hash }), self.keyring().ids())?;
            }
            drop(db);
            self.inner.replace_db(Arc::new(now));
            let _ = std::fs::remove_dir_all(gathered(self.dir()));
        }
        if let Some(asked) = accept.filter(|_| !repaired.lost_entries.is_empty()) {
            let told: HashSet<_> = repaired.lost_entries.iter().map(LostEntry::object).collect();
            repaired.lost.retain(|finding| !told.contains(&finding.object));
            (repaired.accepted, repaired.lost_entries) = self.accept_losses(asked)?;
            let left = repaired.lost_entries.iter().map(|lost| Finding::from_error(&lost.to_error()));
            repaired.lost.splice(0..0, left);
        }
        self.settle_others(&mut repaired)?;
        drop(lock);
        Ok(repaired)
    }

    /// The key objects of which row and file are not the same, or of which there is no row.
    fn unsettled(&self, db: &Db) -> Result<Vec<PathBuf>, StoreError> {
        let without_row = self.keys_without_row(db).into_iter().map(|name| key_files::path(self.dir(), name));
        Ok(key_files::others(self.dir(), db)?.into_iter().chain(without_row).collect())
    }

    /// Makes row and file of each key object the one that an owner wrote last, under the lock. Behind a lost end that may be another.
    fn settle_others(&self, repaired: &mut Repaired) -> Result<(), StoreError> {
        repaired.unsettled = self.unsettled(&self.db())?;
        if repaired.unsettled.is_empty() || self.lost_end().is_some() {
            return Ok(());
        }
        let dir = self.dir();
        super::files::check_tmp(dir)?;
        let db = Db::open_write(&dir.join("db"), &dir.join("tmp"))?;
        match self.settle_keys(&db) {
            // What this session knows is not for it to settle: the store is repaired all the same.
            Err(StoreError::KeyRemoved { .. } | StoreError::KeysRenewed(_)) => {}
            settled => settled?,
        }
        let left = self.unsettled(&db)?;
        let before = std::mem::take(&mut repaired.unsettled);
        (repaired.unsettled, repaired.settled) = before.into_iter().partition(|path| left.contains(path));
        drop(db);
        self.inner.replace_db(Arc::new(Db::open_read_locked(&dir.join("db"))?));
        Ok(())
    }

    /// Gives up what is lost of the log, under the lock and when all is made anew that can be; and what is lost still: a hold that cannot be read, and of
    /// very many what was not told before.
    fn accept_losses(&self, asked: &Acceptance) -> Result<(Option<Accepted>, Vec<LostEntry>), StoreError> {
        let dir = self.dir();
        super::files::check_tmp(dir)?;
        let tip = tip::read(dir, self.keyring().ids())?;
        let db = Db::open_write(&dir.join("db"), &dir.join("tmp"))?;
        // What is lost may be a rotation: then the files are newer than the rows.
        if self.lost_end().is_some() && !self.has_newest_list(&db) {
            super::settling::follow_files(self, &db)?;
        }
        self.settle_keys(&db)?;
        let mut lost = Log::look(self, &db, tip.as_ref())?.lost_entries;
        let accepted = losses::accept(self, &db, tip.as_ref(), lost.clone(), asked)?;
        if accepted.is_some() {
            // Now it can be told who was removed.
            self.settle_keys(&db)?;
            let tip = tip::read(dir, self.keyring().ids())?;
            let log = Log::look(self, &db, tip.as_ref())?;
            log.settle_datasets(self, &db)?;
            lost = log.lost_entries;
        }
        drop(db);
        self.inner.replace_db(Arc::new(Db::open_read_locked(&dir.join("db"))?));
        self.check_tip(tip::read(dir, self.keyring().ids())?)?;
        Ok((accepted, lost))
    }

    /// The database as it is now that nobody else can change it, as far as it opens. One that was put together from its files is so again: somebody
    /// else may have repaired it and written to it since.
    fn view_of_lock_holder(&self) -> Result<Arc<Db>, StoreError> {
        let dir = self.dir();
        let tip = tip::read(dir, self.keyring().ids()).ok().flatten();
        let opened = mend::open_locked(dir, tip.as_ref()).or_else(|_| mend::open_database(dir, None, Mending::Yes));
        let db = match opened {
            Err(e) if e.is_damage() => gather(dir, &e.to_string(), Locking::Held)?,
            opened => opened?,
        };
        self.inner.replace_db(Arc::new(with_unnamed(dir, db, tip, self.keyring(), Locking::Held)?));
        self.check_tip(tip)?;
        Ok(self.db())
    }
}

/// When a fresh database takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rebuild {
    /// If anything of the old one is damaged.
    IfNeeded,
    /// Whatever is found.
    Always,
}

/// Looks at everything that can be made anew; makes it in `fresh`, if there is one.
fn survey(
    store: &Store,
    db: &Db,
    fresh: Option<&Fresh>,
    seek: Seek,
    rebuild: Rebuild,
    progress: &dyn Progress,
) -> Result<Repaired, StoreError> {
    let mut repaired = Repaired::default();
    let (data, tree, _) = store.disk_bytes()?;
    progress.expect(0, data + tree);
    let (_, damaged) = store.check_tables(progress)?;
    repaired.files.extend(store.trouble().map(|e| Finding::from_error(&e)));
    repaired.files.extend(damaged);
    repaired.files.extend(numbers::strays(db).unwrap_or_default());
    let sought = seek(store)?;
    let (mut whole, mut epochs, mut right) = (HashSet::new(), HashSet::new(), 0);
    let scanned = scan::scan(store, db, progress, &mut |block: &Whole| {
        whole.insert(block.number);
        let rows = rows_of(db, block, &sought)?;
        right += rows.right;
        if let Some(missing) = rows.missing {
            repaired.missing_rows += missing;
            epochs.insert(block.epoch);
        }
        fresh.map_or(Ok(()), |fresh| fresh.index(block))
    })?;
    (repaired.blocks, repaired.bytes) = (scanned.blocks, scanned.bytes);
    repaired.wrong_rows = wrong_rows(db, &whole, right, &scanned, &mut repaired.damaged)?;
    // Manifests may be sealed under them too.
    let records = Records::look(store, db, &scanned)?;
    repaired.missing_rows += epochs.intersection(&records.without_row).count() as u64;
    repaired.files.extend_from_slice(&records.findings);
    repaired.files.extend(wrong_records(store, db)?);
    let mut acknowledged = None;
    repaired.tip = match tip::read(store.dir(), store.keyring().ids()) {
        Ok(Some(tip)) if !numbers::has_in_reach(db, tip.sequence) => Some(tip::OUT_OF_REACH.to_owned()),
        Ok(Some(tip)) => {
            // A plan takes no lock: a writer may have gone on since its view was opened, which had what the tip of then says.
            let is_behind = || numbers::last_sequence(db).is_ok_and(|last| last < tip.sequence);
            let is_later = fresh.is_none() && store.lost_end().is_none() && is_behind();
            acknowledged = Some(tip).filter(|_| !is_later);
            None
        }
        Ok(None) => Some("it was missing".to_owned()),
        Err(StoreError::Damage { why, .. }) => Some(why),
        Err(e) => return Err(e),
    };
    acknowledged = acknowledged.or_else(|| store.inner.seen_end.get().copied());
    let mut log = Log::look(store, db, acknowledged.as_ref())?;
    repaired.missing_rows += log.to_remake();
    repaired.wrong_rows += log.unreadable() + log.headless() + log.strays();
    if log.wrong_tip {
        repaired.tip =
            Some("it names another entry than the one that stands there and that somebody vouches for".to_owned());
    }
    let unnamed = match unnamed::beyond_the_end(db, acknowledged)? {
        None if fresh.is_none() && !db.is_outdated() => unnamed::beyond_the_log(db, Some(store.keyring()))?,
        some => some,
    };
    // What is lost is known when all files have been looked into.
    if unnamed.is_none() || fresh.is_some() {
        repaired.lost = std::mem::take(&mut log.lost);
        repaired.lost_entries = std::mem::take(&mut log.lost_entries);
    }
    repaired.files.extend(unnamed);
    repaired.void = log.void();
    repaired.rebuild =
        rebuild == Rebuild::Always || !repaired.files.is_empty() || repaired.missing_rows + repaired.wrong_rows > 0;
    // What a new database has more than this one is found when it is in place.
    repaired.lacking = !repaired.rebuild && sought.is_anything();
    if let Some(fresh) = fresh.filter(|_| repaired.rebuild) {
        fresh.copy_rows(db, &records, &log)?;
        let unfit = scanned.closed.iter().chain(records.wrong_notes()).copied().collect();
        fresh.copy_blocks(db, &Blocks { whole: &whole, unfit, records: &records }, progress)?;
    }
    Ok(repaired)
}

/// True if a row is the record of an epoch of this store.
fn is_epoch(keyring: &Keyring, key: &[u8], value: &[u8]) -> bool {
    EpochId::from_slice(key).is_some_and(|id| keyring.epoch_record(id, value).is_ok())
}

/// Rows that are none of this store's, or lack, and follow from what there is beside them: of epochs, of the header and of keys.
fn wrong_records(store: &Store, db: &Db) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    passed(db.scan(Family::Epochs, &[], |key, value| {
        if !is_epoch(store.keyring(), key, value) {
            let object =
                EpochId::from_slice(key).map_or_else(|| "a row of epochs".to_owned(), |id| format!("epoch {id}"));
            found.push(Finding::new(object, "its record is not what was written"));
        }
        Ok(true)
    }))?;
    let row = |key: &[u8]| db.get(Family::Default, key).ok().flatten();
    for (key, right) in [(&b"canary"[..], store.id().as_bytes().to_vec()), (b"header", store.header().to_bytes())] {
        if row(key).is_none_or(|row| row != right) {
            found.push(Finding::new(
                format!("the row {} of the database", String::from_utf8_lossy(key)),
                "it is not what was written",
            ));
        }
    }
    passed(db.scan(Family::Default, &[], |key, value| {
        if !is_known(key, value) {
            let object = format!("the row {:?} of the database", String::from_utf8_lossy(key));
            found.push(Finding::new(object, "it is no key object"));
        }
        Ok(true)
    }))?;
    let without_row = store.rows_to_give(db, db).into_keys();
    found.extend(
        without_row.map(|name| Finding::new(format!("the key object {name}"), "the database has no row of it")),
    );
    Ok(found)
}

/// True of rows in the default family, but for what stands in the place of a key object and is none.
fn is_known(key: &[u8], value: &[u8]) -> bool {
    key.strip_prefix(b"key/").is_none_or(|name| plain::key_file(name).is_some() && is_age_file(value))
}

fn kind(sort: Sort) -> BlockKind {
    if sort == Sort::Chunk { BlockKind::Data } else { BlockKind::Tree }
}

/// What the indexes say of a whole block.
struct BlockRows {
    /// How many of its items they name, each under its own id.
    right: u64,
    /// How many rows it lacks; nothing if no index names it and nothing in it is sought.
    missing: Option<u64>,
}

fn rows_of(db: &Db, block: &Whole, sought: &Sought) -> Result<BlockRows, StoreError> {
    let (mut right, mut missing) = (0, 0);
    for (ordinal, id) in (0..).zip(&block.ids) {
        let named = match places(db, block.sort, id) {
            Err(e) if !e.is_damage() => return Err(e),
            found => found.is_ok_and(|places| places.contains(&Place { block: block.number, ordinal })),
        };
        right += u64::from(named);
        missing += u64::from(!named && sought.wants(block.sort, id));
    }
    let sum = match db.get(Family::Sums, &number_key(block.number)) {
        Err(e) if !e.is_damage() => return Err(e),
        row => row.ok().flatten(),
    };
    let is_needed = right > 0 || missing > 0;
    let has_sum = match sum {
        Some(sum) => sum == sum_key_value(kind(block.sort), &block.digest),
        None => !is_needed,
    };
    missing += u64::from(!has_sum);
    Ok(BlockRows { right, missing: (is_needed || missing > 0).then_some(missing) })
}

/// How many rows name blocks that are not whole, which are told, and items of whole ones that are another's, or none: those are what is named
/// besides the `right` ones.
fn wrong_rows(
    db: &Db,
    whole: &HashSet<u64>,
    right: u64,
    scanned: &Scanned,
    damaged: &mut Vec<Finding>,
) -> Result<u64, StoreError> {
    let (mut wrong, mut named, mut with_sum) = (0, 0, HashSet::new());
    let told = |number: u64| {
        let of = |f: &&Finding| f.data_block.or(f.tree_block) == Some(number);
        scanned.damaged.iter().find(of).cloned()
    };
    let last = scan::last_number(db, Family::Sums)?.unwrap_or(0);
    let looked = db.scan(Family::Sums, &[], |key, value| {
        let number = scan::number(key).unwrap_or(0);
        if number > last {
            return Ok(false);
        }
        if !whole.contains(&number) {
            with_sum.insert(number);
            wrong += 1;
            let sort =
                if sum_parts(value).is_ok_and(|(kind, _)| kind == BlockKind::Tree) { Sort::Page } else { Sort::Chunk };
            damaged.push(told(number).unwrap_or_else(|| scan::finding(sort, number, "it cannot be read".to_owned())));
        }
        Ok(true)
    });
    passed(looked)?;
    // No row is about these; but nobody removes what cannot be opened, so they would stay for ever.
    for number in scanned.closed.iter().filter(|number| !with_sum.contains(number)) {
        wrong += 1;
        damaged.extend(told(*number));
    }
    for family in [Family::Chunks, Family::Pages] {
        passed(db.scan(family, &[], |_, value| {
            let places = from_bytes::<Vec<Place>>(value, "index entry").unwrap_or_default();
            let bad = places.is_empty() || places.iter().any(|place| !whole.contains(&place.block));
            wrong += u64::from(bad);
            named += places.iter().filter(|place| whole.contains(&place.block)).count() as u64;
            Ok(true)
        }))?;
    }
    Ok(wrong + named.saturating_sub(right))
}

#[cfg(test)]
mod tests {
    use crate::format::{index_key, to_bytes};
    use crate::model::{Digest, EpochId};

    use super::super::db::Rows;
    use super::*;

    fn block(number: u64, ids: &[[u8; 32]]) -> Whole {
        let (epoch, digest) = (EpochId::from_bytes([0; 16]), Digest::from_bytes([0; 32]));
        Whole { number, sort: Sort::Chunk, epoch, digest, ids: ids.to_vec() }
    }

    /// Of a database whose index has these rows, with these blocks in it: how many rows are wrong.
    fn wrong(rows: &[([u8; 32], &[(u64, u32)])], blocks: &[Whole]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(&dir.path().join("db")).unwrap();
        let mut written = Rows::default();
        for (id, places) in rows {
            let places: Vec<_> =
                places.iter().map(|(block, ordinal)| Place { block: *block, ordinal: *ordinal }).collect();
            written.put(Family::Chunks, &index_key(id), &to_bytes(&places));
        }
        db.write(&written, false).unwrap();
        let right = blocks.iter().map(|block| rows_of(&db, block, &Sought::default()).unwrap().right).sum();
        let whole = blocks.iter().map(|block| block.number).collect();
        wrong_rows(&db, &whole, right, &Scanned::default(), &mut Vec::new()).unwrap()
    }

    #[test]
    fn rows_that_name_items_of_others_are_wrong_and_those_that_two_ids_share_are_not() {
        let (one, other) = ([1; 32], [2; 32]);
        let mut like_one = one;
        like_one[31] = 9;
        let blocks = [block(5, &[one, like_one]), block(7, &[other, one])];
        let shared: &[(u64, u32)] = &[(5, 0), (5, 1), (7, 1)];
        assert_eq!(wrong(&[(one, shared), (other, &[(7, 0)])], &blocks), 0);
        assert_eq!(wrong(&[(one, &[(7, 1)])], &blocks), 0, "what is not named is not wrong");
        assert_eq!(wrong(&[(one, shared), (other, &[(7, 0), (5, 1)])], &blocks), 1);
        assert_eq!(wrong(&[(one, &[(7, 0)]), (other, &[(7, 1)])], &blocks), 2, "changed places");
        assert_eq!(wrong(&[(one, &[(5, 0), (5, 7)]), (other, &[(7, 0)])], &blocks), 1, "no such item");
        assert_eq!(wrong(&[(one, &[(5, 0), (5, 0)])], &blocks), 1, "twice");
        assert_eq!(wrong(&[(one, &[(9, 0)])], &blocks), 1, "no such block");
    }
}
