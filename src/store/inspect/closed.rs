//! A store of which no key is at hand: what can be told of it all the same.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::digest;
use crate::format::{EpochRecord, Family, Header, SealedHeader, Tip, number_key, split_mac};
use crate::model::{DatasetRecord, EpochId, LogEntry, LogKind, Progress, SnapshotId};

use super::super::chain::{Judge, Judged, Passage};
use super::super::claims::{Claims, FalseEntry};
use super::super::db::Db;
use super::super::error::{StoreError, THE_TIP};
use super::super::mend::{self, Mending};
use super::super::pins::{ClientDirs, PinFile};
use super::super::{create, files, snapshot_label, tip, unnamed};
use super::{BlockLook, Finding, Inspected, or_found, rows};

/// A store that was opened without a key. Nothing of it can be written.
#[derive(Debug)]
pub struct ClosedStore {
    dir: PathBuf,
    dirs: ClientDirs,
    db: Arc<Db>,
    /// Read before the database was opened: what it says was there by then. Nothing if it is damaged.
    tip: Option<Tip>,
    findings: Vec<Finding>,
}

/// Looks that begin anew, at most, where writers were at work and damage was found: it may be that two views were compared.
const MOST_LOOKS: u32 = 4;

/// What a look without a key found.
#[derive(Debug, Default)]
pub struct ClosedLook {
    /// Snapshots that the log lists.
    pub snapshots: u64,
    /// Entries of the log that are lost, of which another entry says that an owner has accepted it: that cannot be checked.
    pub void: Vec<u64>,
    /// Entries of the log that name a snapshot which an earlier one brought.
    pub false_entries: Vec<FalseEntry>,
    /// Index entries.
    pub index_entries: u64,
    /// Files of the database.
    pub tables: u64,
    /// Blocks.
    pub inspected: Inspected,
    /// Damage.
    pub findings: Vec<Finding>,
}

/// Opens a store without a key. What this client saw last of it is compared, not remembered. Without mending nothing is changed.
///
/// # Errors
/// If there is no store, or none that can be opened at all, or not the one that this client has seen.
pub fn open_closed(dir: &Path, dirs: &ClientDirs, mending: Mending) -> Result<ClosedStore, StoreError> {
    open_closed_with(dir, dirs, || mend::open_database(dir, None, mending))
}

/// The same with a database that is opened otherwise.
pub(in crate::store) fn open_closed_with(
    dir: &Path,
    dirs: &ClientDirs,
    open: impl FnOnce() -> Result<Db, StoreError>,
) -> Result<ClosedStore, StoreError> {
    let mut findings = Vec::new();
    let header = or_found(create::read_header(dir), &mut findings)?;
    // What these say was there when they were read: before the database is opened.
    let mut tip = or_found(read_tip(dir), &mut findings)?;
    let pin = header.as_ref().map(|header| PinFile::read(dirs, header.store, dir)).transpose()?;
    let db = open()?;
    if let Some((header, pin)) = header.zip(pin) {
        if let Err(e) = pin.check_commitment(&header.commitment) {
            // It is the file that is damaged if its copy is what this client has seen.
            let copy = or_found(db.get(Family::Default, b"header"), &mut findings)?.flatten();
            let copy = copy.and_then(|copy| Header::parse(&copy).ok()).filter(|copy| copy.store == header.store);
            if copy.is_none_or(|copy| pin.check_commitment(&copy.commitment).is_err()) {
                return Err(e);
            }
        }
        let canary = or_found(db.get(Family::Default, b"canary"), &mut findings)?.flatten();
        if canary.as_deref() != Some(header.store.as_bytes()) {
            findings.push(Finding::new("the database", "it is not the one that belongs to the header"));
        }
        // A store whose own tip says that its end is lost is damaged, not set back, and that is told.
        let is_whole = tip::check(tip, &db).is_ok();
        if pin.sequence() > 0 && is_whole {
            let hash = db.with(Family::Log, &number_key(pin.sequence()), digest);
            if let Some(hash) = or_found(hash, &mut findings)? {
                match pin.check_log(hash) {
                    Err(_) if is_void(&db, &pin)? => {}
                    // Then it is the end of the log that is lost, and what this client has seen tells it.
                    Err(_) if tip.is_none() || unnamed::beyond_the_log(&db, None)?.is_some() => tip = pin.seen(),
                    checked => checked?,
                }
            }
        }
    }
    findings.extend(db.trouble().map(|why| Finding::new("the database", why)));
    Ok(ClosedStore { dir: dir.to_owned(), dirs: dirs.clone(), db: Arc::new(db), tip, findings })
}

impl ClosedStore {
    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(in crate::store) fn db(&self) -> &Db {
        &self.db
    }

    /// The same, where it is known that the tip is damaged: what it says is nothing to compare with.
    #[must_use]
    pub fn without_tip(self) -> Self {
        let findings = self.findings.into_iter().filter(|finding| finding.object != THE_TIP).collect();
        Self { tip: None, findings, ..self }
    }

    /// True if the log lacks what the tip says was acknowledged: what else the database says may be older than what lies beside it.
    pub(in crate::store) fn lacks_end(&self) -> bool {
        self.tip().is_err()
    }

    /// Looks at all that needs no key: digests of blocks, checksums of the database's files, the chain of the log and the tip's
    /// place in it, the form of records, that what rows name is there, the copies of header and key objects.
    ///
    /// # Errors
    /// If something cannot be read for another reason than damage.
    pub fn look(&self, progress: &dyn Progress) -> Result<ClosedLook, StoreError> {
        let (mut look, mut outdated) = (self.look_once(progress)?, self.db.is_outdated());
        for _ in 1..MOST_LOOKS {
            if look.findings.is_empty() || !outdated {
                break;
            }
            ::log::info!("writers were at work: what was found is looked at again");
            let fresh = open_closed(&self.dir, &self.dirs, Mending::No)?;
            (look, outdated) = (fresh.look_once(progress)?, fresh.db.is_outdated());
        }
        Ok(look)
    }

    fn look_once(&self, progress: &dyn Progress) -> Result<ClosedLook, StoreError> {
        let mut look = ClosedLook { findings: self.findings.clone(), ..ClosedLook::default() };
        let found = &mut look.findings;
        let stored = or_found(self.stored_bytes(), found)?.unwrap_or(0);
        progress.expect(0, stored);
        let mut lost = Vec::new();
        let log = or_found(self.log(&mut lost, &mut look.void, &mut look.false_entries), found)?;
        found.append(&mut lost);
        or_found(self.tip(), found)?;
        let unnamed = or_found(unnamed::beyond_the_end(&self.db, self.tip), found)?.flatten();
        found.extend(unnamed);
        let copies = or_found(rows::copies(&self.db, &self.dir), found)?;
        found.extend(copies.unwrap_or_default());
        let epochs = or_found(self.epochs(found), found)?.unwrap_or_default();
        or_found(self.sealed_rows(&epochs, log.as_ref(), found), found)?;
        let (tables, damaged) = rows::tables(&self.db, &self.dir, progress)?;
        found.extend(damaged);
        let blocks = BlockLook::closed(&self.db, progress)?;
        let (inspected, damaged) = blocks.finish(&|_: &BlockLook| {})?;
        found.extend(damaged);
        (look.tables, look.index_entries, look.inspected) = (tables, blocks.index_entries(), inspected);
        look.snapshots = log.map_or(0, |ids| ids.len() as u64);
        Ok(look)
    }

    fn stored_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.db.family_bytes(Family::Data)? + self.db.family_bytes(Family::Tree)?)
    }

    /// The chain of the log, and the snapshots that it lists.
    fn log(
        &self,
        found: &mut Vec<Finding>,
        void: &mut Vec<u64>,
        false_entries: &mut Vec<FalseEntry>,
    ) -> Result<HashSet<SnapshotId>, StoreError> {
        let (mut arrived, mut forgotten, mut lost) = (Vec::new(), HashSet::new(), Vec::new());
        walk_back(&self.db, |judged| {
            match judged {
                Judged::Lost(entry) => lost.push(Finding::from_error(&entry.to_error())),
                Judged::Void(entry) => void.push(entry.sequence),
                Judged::Entry(entry) => match entry.kind {
                    LogKind::Forget => drop(forgotten.insert(entry.manifest)),
                    LogKind::Snapshot => arrived.push(entry),
                    _ => {}
                },
            }
            true
        })?;
        found.extend(lost.into_iter().rev());
        let mut claims = Claims::default();
        false_entries.extend(arrived.iter().rev().filter_map(|entry| claims.take(entry).err()));
        Ok(arrived.into_iter().map(|entry| entry.manifest).filter(|id| !forgotten.contains(id)).collect())
    }

    /// That the log has the entry that the tip names.
    fn tip(&self) -> Result<(), StoreError> {
        tip::check(self.tip, &self.db)
    }

    fn epochs(&self, found: &mut Vec<Finding>) -> Result<HashSet<EpochId>, StoreError> {
        let mut epochs = HashSet::new();
        self.db.scan(Family::Epochs, &[], |key, value| {
            match parted::<EpochRecord>(value, EpochRecord::from_bytes) {
                Ok(record) if record.epoch.as_bytes()[..] == *key => drop(epochs.insert(record.epoch)),
                Ok(_) => found.push(Finding::new("an epoch", "it is the record of another one")),
                Err(why) => found.push(Finding::new("an epoch", why)),
            }
            Ok(true)
        })?;
        Ok(epochs)
    }

    /// The form of manifests and dataset records, that their epochs are there, and that every snapshot has a manifest.
    fn sealed_rows(
        &self,
        epochs: &HashSet<EpochId>,
        snapshots: Option<&HashSet<SnapshotId>>,
        found: &mut Vec<Finding>,
    ) -> Result<(), StoreError> {
        let sealed = |value: &[u8]| match SealedHeader::parse(value) {
            Ok((header, _)) if epochs.contains(&header.epoch) => None,
            Ok((header, _)) => Some(format!("the record of its epoch {} is missing", header.epoch)),
            Err(e) => Some(e.to_string()),
        };
        let mut there = HashSet::new();
        self.db.scan(Family::Manifests, &[], |key, value| {
            let id = SnapshotId::from_slice(key);
            let name = id.map_or_else(|| "a manifest".to_owned(), manifest_label);
            there.extend(id);
            found.extend(sealed(value).map(|why| Finding::new(name, why)));
            Ok(true)
        })?;
        let missing = snapshots.into_iter().flatten().filter(|id| !there.contains(*id));
        found.extend(missing.map(|id| Finding::new(manifest_label(*id), "it is missing")));
        self.db.scan(Family::Datasets, &[], |_, value| {
            let why = match parted::<DatasetRecord>(value, DatasetRecord::from_bytes) {
                Ok(record) => sealed(&record.name),
                Err(why) => Some(why),
            };
            found.extend(why.map(|why| Finding::new("the record of a dataset", why)));
            Ok(true)
        })
    }
}

/// Judges the log from its end to its beginning, until `each` says false: the form of its entries, and the chain; what an entry says of lost
/// ones is believed.
fn walk_back(db: &Db, mut each: impl FnMut(Judged) -> bool) -> Result<(), StoreError> {
    let mut judge = Judge::new(None, None);
    let mut goes_on = true;
    db.scan_back(Family::Log, |key, value| {
        let sequence = key.try_into().map_or(0, u64::from_be_bytes);
        for hole in judge.gap(sequence) {
            goes_on = goes_on && each(judge.hole(hole));
        }
        let entry = match parted::<LogEntry>(value, LogEntry::from_bytes) {
            Ok(entry) if entry.sequence != sequence => Err("it belongs elsewhere".to_owned()),
            parted => parted,
        };
        let entry = entry.map_err(|why| StoreError::damage("an entry", why));
        goes_on = goes_on && each(judge.row(sequence, digest(value), entry));
        Ok(goes_on)
    })?;
    for hole in judge.gap(0) {
        goes_on = goes_on && each(judge.hole(hole));
    }
    Ok(())
}

/// True if the entry that a client saw last is lost, an entry says that an owner has accepted that, and the log goes on behind it.
fn is_void(db: &Db, pin: &PinFile) -> Result<bool, StoreError> {
    let mut passage = Passage::new(pin);
    walk_back(db, |judged| passage.look(&judged))?;
    Ok(passage.is_free())
}

/// The tip; its MAC cannot be checked.
fn read_tip(dir: &Path) -> Result<Tip, StoreError> {
    let path = tip::path(dir);
    let bytes = match files::read_small(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::damage(THE_TIP, "it is missing"));
        }
        Err(e) => return Err(files::unreadable(&path, e)),
    };
    let (tip, _) = Tip::parse(&bytes).ok_or_else(|| StoreError::damage(THE_TIP, "it is not what was written"))?;
    Ok(tip)
}

fn manifest_label(id: SnapshotId) -> String {
    format!("the manifest of {}", snapshot_label(id))
}

/// The record before a MAC, which cannot be checked.
fn parted<T>(stored: &[u8], parse: impl FnOnce(&[u8]) -> Result<T, crate::format::DecodeError>) -> Result<T, String> {
    let (body, _) = split_mac(stored, "record").map_err(|e| e.to_string())?;
    parse(body).map_err(|e| e.to_string())
}
