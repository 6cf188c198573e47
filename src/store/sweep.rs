//! Taking away what nothing needs, in steps (section 3: manifests, then index entries, then blocks). Each step holds the writer
//! lock, leaves the store right if it is cut anywhere, and needs nothing to be remembered: who begins anew finds what is left.

use crate::format::{BlockKind, Family, Place, from_bytes, number_key, to_bytes};
use crate::model::SnapshotId;

use super::Store;
use super::db::{BlockFile, Db, Rows};
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::lock::Waiting;
use super::notes::block_header;
use super::numbers::{MANY_ABSENT, NEXT_BLOCK, next_block};
use super::read::Sort;
use super::survey::Survey;

/// Rows of an index that one step looks at.
const ROWS: usize = 200_000;
/// Bytes that writing a file anew takes besides: rows of every family in small files, a quarter of its own length …
const BESIDES_LEAST: u64 = 512 << 10;
/// … and no more than these.
const BESIDES_MOST: u64 = 4 << 20;
/// A file is written anew when that part of it is dead: 1 of so many bytes.
const DEAD_PART: u64 = 8;

/// The one who may remove. Holds the writer lock while it lives: for one step, so that a capture that waits comes in between.
pub struct Sweeper {
    store: Store,
    exclusive: Exclusive,
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sweeper({})", self.store.dir().display())
    }
}

/// How far the indexes have been swept.
#[derive(Debug, Clone, Default)]
pub struct IndexSweep {
    pages: bool,
    from: Vec<u8>,
    done: bool,
    /// Index entries removed.
    pub removed: u64,
}

impl IndexSweep {
    /// True if all of both indexes was looked at.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}

/// What a sweep has taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blocks that the store counted as its own.
    pub blocks: u64,
    /// Blocks that runs which were cut have left, and that it did not.
    pub left_behind: u64,
    /// Bytes by which the files of blocks became shorter, those counted off that were written anew.
    pub freed: u64,
}

/// How far the files of blocks have been looked at.
#[derive(Debug, Clone, Default)]
pub struct BlockSweep {
    /// Whether files are written anew of which little is dead.
    thorough: bool,
    pages: bool,
    from: u64,
    done: bool,
    /// What was taken away so far.
    pub removed: Removed,
    /// Bytes of dead blocks in files of which too little is dead to write them anew, or for which the disk has no room.
    pub kept: u64,
    /// Room that the largest of these would take, if the disk has not so much.
    pub wanted: u64,
}

impl BlockSweep {
    /// Begins. `thorough`: nothing that is dead may stay, however little it is of its file.
    #[must_use]
    pub fn new(thorough: bool) -> Self {
        Self { thorough, ..Self::default() }
    }

    /// True if all files were looked at.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What it looks at now.
    pub(super) fn sort(&self) -> Sort {
        if self.pages { Sort::Page } else { Sort::Chunk }
    }

    /// True if so many bytes can be written, and what goes with them.
    fn has_room(&mut self, store: &Store, bytes: u64) -> bool {
        let wanted = bytes + (bytes / 4 + BESIDES_LEAST).min(BESIDES_MOST);
        let fits = wanted <= super::reserve::room(store.dir());
        if !fits {
            self.wanted = self.wanted.max(wanted);
        }
        fits
    }
}

impl Store {
    /// Takes the writer lock for one step of removal.
    ///
    /// # Errors
    /// As [`Store::writer`].
    pub fn sweeper(&self, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<Sweeper, StoreError> {
        super::reserve::give_up(self.dir());
        Ok(Sweeper { store: self.clone(), exclusive: Exclusive::begin(self, waiting, keep_waiting)? })
    }

    /// Keeps room free again for the next time that the disk is full, if there is any.
    pub fn renew_reserve(&self) {
        super::reserve::renew(self.dir());
    }
}

impl Sweeper {
    /// Removes manifests. Nobody else may have leased their snapshots: see [`Store::clearance`].
    ///
    /// # Errors
    /// If writing fails.
    pub fn remove_manifests(&self, ids: &[SnapshotId]) -> Result<(), StoreError> {
        let mut rows = self.begin_rows()?;
        ids.iter().for_each(|id| rows.remove(Family::Manifests, id.as_bytes()));
        self.write(&rows)
    }

    /// One step over the indexes: takes away the places of items in dead blocks.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn sweep_index(&self, survey: &Survey, sweep: &mut IndexSweep) -> Result<(), StoreError> {
        let sort = if sweep.pages { Sort::Page } else { Sort::Chunk };
        let mut rows = self.begin_rows()?;
        let (mut looked, mut ended, before) = (0, true, rows.len());
        self.db().scan(sort.index(), &sweep.from.clone(), |key, value| {
            if looked == ROWS {
                sweep.from = key.to_vec();
                ended = false;
                return Ok(false);
            }
            looked += 1;
            let places = from_bytes::<Vec<Place>>(value, "index entry")?;
            let kept: Vec<_> = places.iter().filter(|place| !survey.is_dead(place.block)).copied().collect();
            if kept.is_empty() {
                rows.remove(sort.index(), key);
            } else if kept.len() < places.len() {
                rows.put(sort.index(), key, &to_bytes(&kept));
            }
            Ok(true)
        })?;
        if rows.len() > before {
            sweep.removed += (rows.len() - before) as u64;
            self.write(&rows)?;
        }
        if ended {
            (sweep.done, sweep.pages) = (sweep.pages, true);
            sweep.from.clear();
        }
        Ok(())
    }

    /// One step over the files of blocks, when the indexes have been swept: takes the dead blocks out of the next file that has
    /// enough of them, and gives its room back.
    ///
    /// # Errors
    /// If reading or writing fails, or a block is not proven to be dead: see [`Survey::prove_next`].
    pub fn sweep_blocks(&self, survey: &Survey, sweep: &mut BlockSweep) -> Result<(), StoreError> {
        let family = sweep.sort().blocks();
        let files = self.db().block_files(family)?;
        // Removals that a step wrote which was cut before it gave their room back.
        if let Some(removals) = files.iter().find(|file| !file.is_bottom) {
            let over = |file: &&BlockFile| file.is_bottom && file.last >= removals.first && file.first <= removals.last;
            let bytes = files.iter().filter(over).map(|file| file.bytes).sum();
            if sweep.has_room(&self.store, bytes) {
                let before = self.db().family_bytes(family)?;
                self.db().rewrite_file(family, *removals)?;
                sweep.removed.freed += before.saturating_sub(self.db().family_bytes(family)?);
                return Ok(());
            }
        }
        let Some(Chosen { file, dead, is_whole }) = choose(&self.store, self.db(), survey, sweep)? else {
            (sweep.done, sweep.pages, sweep.from) = (sweep.pages, true, 0);
            return Ok(());
        };
        survey.prove_rest(self.db(), sweep.sort(), &dead)?;
        let before = self.db().family_bytes(family)?;
        self.take_out(family, file, &dead.rows, is_whole)?;
        sweep.removed.blocks += dead.blocks;
        sweep.removed.left_behind += dead.left_behind;
        sweep.removed.freed += before.saturating_sub(self.db().family_bytes(family)?);
        Ok(())
    }

    /// Takes rows out of a file and gives their room back.
    fn take_out(&self, family: Family, file: BlockFile, dead: &[(u64, u64)], is_whole: bool) -> Result<(), StoreError> {
        let mut rows = self.begin_rows()?;
        for (number, _) in dead {
            rows.remove(Family::Sums, &number_key(*number));
            if !is_whole {
                rows.remove(family, &number_key(*number));
            }
        }
        self.write(&rows)?;
        log::info!("{} of {} blocks {} to {} taken out", dead.len(), family.name(), file.first, file.last);
        if is_whole { self.db().drop_file(family, file) } else { self.db().rewrite_file(family, file) }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn db(&self) -> &Db {
        &self.exclusive.db
    }

    /// Rows that remove something: the generation tells every client that what it relied on may be gone.
    pub(super) fn begin_rows(&self) -> Result<Rows, StoreError> {
        let mut rows = Rows::default();
        rows.put(Family::Default, b"gc", &super::new_generation()?);
        rows.put(Family::Default, NEXT_BLOCK, &next_block(self.db())?.to_be_bytes());
        Ok(rows)
    }

    /// Writes rows so that they last: nothing may depend on the write-ahead log.
    pub(super) fn write(&self, rows: &Rows) -> Result<(), StoreError> {
        self.db().write(rows, true)?;
        self.db().flush()?;
        self.store.inner.stale.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

/// The next file that is to be written anew without what nothing needs of it, or dropped.
pub(super) struct Chosen {
    file: BlockFile,
    pub(super) dead: Dead,
    is_whole: bool,
}

/// Finds it; `sweep` passes over files of which too little is dead, or for which there is no room.
pub(super) fn choose(
    store: &Store,
    db: &Db,
    survey: &Survey,
    sweep: &mut BlockSweep,
) -> Result<Option<Chosen>, StoreError> {
    let family = sweep.sort().blocks();
    for file in db.block_files(family)? {
        if file.last < sweep.from || sweep.from == u64::MAX {
            continue;
        }
        sweep.from = file.last.saturating_add(1);
        let (dead, is_whole) = dead_rows(db, family, file, survey)?;
        if dead.rows.is_empty() {
            continue;
        }
        let bytes = db.row_bytes(family, &dead.rows)?;
        let is_little = !sweep.thorough && bytes < file.bytes / DEAD_PART;
        if !is_whole && (is_little || !sweep.has_room(store, file.bytes.saturating_sub(bytes))) {
            sweep.kept += bytes;
            continue;
        }
        return Ok(Some(Chosen { file, dead, is_whole }));
    }
    Ok(None)
}

/// The rows of a file that nothing needs, and whether those are all.
fn dead_rows(db: &Db, family: Family, file: BlockFile, survey: &Survey) -> Result<(Dead, bool), StoreError> {
    let (mut dead, mut is_whole, mut end) = (Dead::default(), true, u64::MAX);
    // Backwards: a note is needed if a block is that comes behind it and before the next note.
    let mut is_noted = false;
    let (mut next, mut absent) = (Some(file.last), 0);
    while let Some(number) = next.filter(|number| *number >= file.first) {
        let fate = fate(db, family, number, survey)?;
        absent = if matches!(fate, Fate::Absent) { absent + 1 } else { 0 };
        next = match number.checked_sub(1) {
            Some(before) if absent >= MANY_ABSENT => db.number_up_to(family, before)?,
            before => before,
        };
        let is_dead = match fate {
            Fate::Absent => continue,
            Fate::Note => {
                dead.notes.push(number);
                !std::mem::take(&mut is_noted)
            }
            Fate::Dead => {
                dead.blocks += 1;
                true
            }
            Fate::LeftBehind => {
                dead.left_behind += 1;
                true
            }
            Fate::Needed => {
                is_noted = true;
                false
            }
        };
        is_whole &= is_dead;
        if is_dead {
            dead.rows.push((number, end));
        }
        end = number;
    }
    Ok((dead, is_whole))
}

fn fate(db: &Db, family: Family, number: u64, survey: &Survey) -> Result<Fate, StoreError> {
    let key = number_key(number);
    let has_sum = || db.with(Family::Sums, &key, |_| ()).map(|sum| sum.is_some());
    match survey.block(number) {
        Some((its, _)) if its != family => {
            let is_here = block_header(db, family, number)?.is_some();
            let why = "its digest is that of a block of another kind; nothing more was removed";
            return if is_here { Err(StoreError::damage(format!("block {number}"), why)) } else { Ok(Fate::Absent) };
        }
        Some((_, false)) => return Ok(Fate::Needed),
        // Its digest goes with it: without one it has been taken out already, by a step before.
        Some((_, true)) if has_sum()? => return Ok(Fate::Dead),
        _ => {}
    }
    // It came later, or a run was cut before it wrote the index entries; the lock is ours, so no run is about to.
    Ok(match block_header(db, family, number)? {
        None => Fate::Absent,
        Some(Ok(header)) if header.kind == BlockKind::EpochNote => Fate::Note,
        Some(Ok(_)) if !has_sum()? => Fate::LeftBehind,
        // What is damaged is for repair.
        Some(_) => Fate::Needed,
    })
}

/// What of a file nothing needs.
#[derive(Debug, Default)]
pub(super) struct Dead {
    /// Rows, each with the number of the row behind it; notes are among them.
    pub(super) rows: Vec<(u64, u64)>,
    /// The rows of notes of the file, dead or not.
    pub(super) notes: Vec<u64>,
    /// Blocks that have a digest.
    blocks: u64,
    /// Blocks that have none.
    left_behind: u64,
}

/// What becomes of a row of a file of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Absent,
    Note,
    Dead,
    /// It is dead too, and nothing but the file has it.
    LeftBehind,
    Needed,
}
