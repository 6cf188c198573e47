//! Garbage collection: what no snapshot needs goes, and its room comes back.
//!
//! First what living snapshots need is marked, beside readers and captures. Then come steps under the writer lock, between which
//! a capture that waits goes first: manifests of snapshots that were given up, what little is needed of blocks that are mostly
//! dead (moved), index entries, blocks. At the start of each step what arrived meanwhile is marked too: needed is only ever more,
//! so what was dead when the first index entry went and is dead still was dead all the time. A run that was cut leaves nothing
//! that the next one would not find, and nothing depends on a clock. Where another collection has come between two steps, and what was marked
//! is gone, because it was given up meanwhile, all is looked at again.

mod mark;
mod moving;

use std::thread;
use std::time::Duration;

use crate::model::{LogKind, Progress, Role, SnapshotId, Timestamp};
use crate::snapshots::{Register, Standing};
use crate::store::{Clearance, OldEpochs, Room, SnapshotRow, Store, StoreError, Survey, Waiting, snapshot_label};
use crate::tree::Pages;

use super::query::QueryError;
use mark::Marker;
pub use moving::Resealed;

/// Between two steps: whoever waits for the lock looks every 50 milliseconds.
const PAUSE: Duration = Duration::from_millis(60);
/// How often all is looked at again, since another collection came in between.
const MOST_TURNS: usize = 16;
/// The same, where blocks stay under older identities: whoever has a key can make the index look so for good.
const TURNS_FOR_THE_MISNAMED: usize = 3;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct GcOptions {
    /// Only look.
    pub dry_run: bool,
    /// Whether what is sealed under older identities of the store is sealed anew too. For owners.
    pub reseal: bool,
    /// Whether to wait for another writer. If not, and one comes between two steps, the rest is left for the next run.
    pub waiting: Waiting,
    /// The present, for holds that end.
    pub now: Timestamp,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Snapshots that live.
    pub living: u64,
    /// Snapshots that were given up and are removed now.
    pub removed: Vec<SnapshotId>,
    /// Snapshots that were given up and stay this time, because somebody reads them.
    pub leased: Vec<SnapshotId>,
    /// Snapshots that were given up and must stay, and why.
    pub kept_back: Vec<(SnapshotId, String)>,
    /// All blocks before.
    pub all: Room,
    /// Blocks in which nothing is needed.
    pub dead: Room,
    /// Blocks of which less than half is needed.
    pub sparse: Room,
    /// Blocks that were moved out of, and bytes that were moved.
    pub repacked: (u64, u64),
    /// Index entries removed.
    pub index_entries: u64,
    /// Blocks removed, of all that there were.
    pub blocks: u64,
    /// Blocks removed that counted among none: runs that were cut left them, and no index knew them.
    pub left_behind: u64,
    /// Bytes by which the files of blocks became shorter; what was moved before is not taken off.
    pub freed: u64,
    /// Bytes of dead blocks that stay for now: too little of their files is dead to write those anew, or there is no room for it.
    pub kept: u64,
    /// Free bytes that the disk would have to have for it; 0 if that is not what is missing.
    pub wanted: u64,
    /// Chunks that snapshots need and the index does not know: damage.
    pub missing: u64,
    /// What was sealed anew, if that was asked for.
    pub resealed: Option<Resealed>,
    /// Another process began to write in between, and it was not to be waited for: this is what was done until then.
    pub cut_short: bool,
}

impl Collected {
    /// True if anything in the store has changed.
    fn has_done(&self) -> bool {
        let rows = self.resealed.is_some_and(|resealed| resealed.rows > 0);
        let counts = [self.repacked.0, self.index_entries, self.blocks, self.left_behind, self.freed];
        !self.removed.is_empty() || rows || counts.iter().any(|count| *count > 0)
    }

    /// Adds what an earlier turn has done.
    fn add(&mut self, earlier: &Self) {
        self.removed.splice(..0, earlier.removed.iter().copied());
        if earlier.all.blocks > 0 {
            self.all = earlier.all;
        }
        self.repacked = (self.repacked.0 + earlier.repacked.0, self.repacked.1 + earlier.repacked.1);
        self.index_entries += earlier.index_entries;
        self.blocks += earlier.blocks;
        self.left_behind += earlier.left_behind;
        self.freed += earlier.freed;
        if let Some(resealed) = &mut self.resealed {
            let earlier = earlier.resealed.unwrap_or_default();
            resealed.rows += earlier.rows;
            // What stays is looked at each time.
            resealed.blocks = resealed.blocks.max(earlier.blocks);
            resealed.epochs.removed += earlier.epochs.removed;
            resealed.epochs.rewrapped += earlier.epochs.rewrapped;
        }
    }
}

/// Snapshots by what becomes of them.
#[derive(Default)]
struct Roots {
    needed: Vec<SnapshotRow>,
    /// Given up, and nothing keeps them.
    given_up: Vec<SnapshotRow>,
}

/// A run.
struct Collector<'a> {
    store: &'a Store,
    pages: &'a Pages,
    progress: &'a dyn Progress,
    /// The newest log entry that was looked at.
    seen: u64,
    /// The gc generation as this run has left it.
    generation: u64,
    /// Blocks that stayed as they are, since the index names other places for what they hold.
    misnamed: u64,
    done: Collected,
}

/// Collects.
///
/// # Errors
/// If the log, a manifest or a page is damaged: then what is needed cannot be told, and nothing more is removed. If another
/// process writes and we are not to wait, and nothing was changed before.
pub fn collect(
    store: &Store,
    pages: &Pages,
    options: GcOptions,
    progress: &dyn Progress,
) -> Result<Collected, QueryError> {
    store.require(Role::Catalog, "giving room back")?;
    if options.reseal {
        store.require(Role::Owner, "sealing the store anew")?;
    }
    let mut earlier = Collected::default();
    for turn in 1.. {
        let generation = store.gc_generation()?;
        let mut run =
            Collector { store, pages, progress, seen: 0, generation, misnamed: 0, done: Collected::default() };
        let ended = run.turn(options);
        let was_overtaken = || Ok::<_, StoreError>(turn < MOST_TURNS && store.gc_generation()? != run.generation);
        // Another collection may have moved, since this one looked, what they hold.
        let has_left = run.misnamed > 0 && run.done.resealed.is_some_and(|resealed| resealed.epochs.left > 0);
        let again = match &ended {
            Ok(()) => has_left && turn < TURNS_FOR_THE_MISNAMED,
            Err(e) => e.is_damage() && was_overtaken()?,
        };
        run.done.add(&earlier);
        earlier = run.done;
        match ended {
            _ if again => log::info!("another collection may have come in between: all is looked at again"),
            Err(StoreError::Locked(_)) if earlier.has_done() => {
                earlier.cut_short = true;
                break;
            }
            Err(StoreError::Interrupted) => return Err(QueryError::Stopped),
            ended => {
                ended?;
                break;
            }
        }
    }
    if !options.dry_run {
        store.renew_reserve();
    }
    Ok(earlier)
}

impl Collector<'_> {
    /// Looks at all, and takes away what is dead.
    fn turn(&mut self, options: GcOptions) -> Result<(), StoreError> {
        let roots = self.roots(options.now)?;
        // Before the survey: then it has all that is sealed by these runs.
        let old = if options.reseal {
            self.store.old_epochs(options.waiting, &|| !self.progress.cancelled())?
        } else {
            OldEpochs::default()
        };
        let (mut survey, mut going) = (self.store.survey()?, Vec::new());
        self.done.all = survey.all()?;
        for row in &roots.given_up {
            if let Some(clearance) = self.may_go(row)? {
                going.push((row.id, clearance));
            } else {
                self.mark(&mut survey, &row.id)?;
            }
        }
        for row in &roots.needed {
            self.mark(&mut survey, &row.id)?;
        }
        self.done.living = (roots.needed.len() - self.done.kept_back.len()) as u64;
        (self.done.dead, self.done.sparse) = (survey.dead()?, survey.sparse()?);
        if options.dry_run {
            self.done.removed = going.iter().map(|(id, _)| *id).collect();
            return Ok(());
        }
        self.check_missing()?;
        self.remove(options, going)?;
        self.sweep(options, &mut survey, &old)
    }

    /// What is needed and not in the index may stand in a block that would be taken for dead: a repair would find it there.
    fn check_missing(&self) -> Result<(), StoreError> {
        match self.done.missing {
            0 => Ok(()),
            missing => Err(StoreError::damage(
                format!("{missing} chunks that snapshots need"),
                "they are not in the index; nothing more was removed. `larder repair` finds those that are still there; when it finds no \
                 more, `larder heal` takes them from elsewhere, or `larder forget` gives up the snapshots that `larder verify` names",
            )),
        }
    }

    /// Reads the log; all of it must be whole, for what is damaged may hide a snapshot or a hold.
    fn roots(&mut self, now: Timestamp) -> Result<Roots, StoreError> {
        let register = Register::read(self.store)?;
        if let Some(damage) = register.damage {
            return Err(damage);
        }
        self.seen = register.moments.last().map_or(0, |moment| moment.sequence);
        let mut roots = Roots::default();
        for row in &register.arrived {
            match register.standing(self.store, &row.id, now)? {
                Standing::Living => roots.needed.push(row.clone()),
                Standing::Forgotten(_) => roots.given_up.push(row.clone()),
                Standing::Kept(why) => {
                    self.done.kept_back.push((row.id, why));
                    roots.needed.push(row.clone());
                }
                Standing::Removed => {}
            }
        }
        Ok(roots)
    }

    /// The right to remove a snapshot that was given up, if there is nothing against it.
    fn may_go(&mut self, row: &SnapshotRow) -> Result<Option<Clearance>, StoreError> {
        let clearance = self.store.clearance(row.sequence)?;
        if clearance.is_none() {
            self.done.leased.push(row.id);
        }
        Ok(clearance)
    }

    fn mark(&mut self, survey: &mut Survey, id: &SnapshotId) -> Result<(), StoreError> {
        let manifest = self.store.manifest(id)?;
        let mut marker = Marker { pages: self.pages, survey, progress: self.progress, missing: 0 };
        marker.snapshot(&manifest).map_err(|e| match e {
            StoreError::Damage { what, why } => {
                StoreError::damage(format!("{what} (needed by {})", snapshot_label(*id)), why)
            }
            other => other,
        })?;
        self.done.missing += marker.missing;
        Ok(())
    }

    /// Marks what arrived since the last look. Called under the lock: nothing more arrives then.
    fn mark_new(&mut self, survey: &mut Survey) -> Result<(), StoreError> {
        let (seen, mut new) = (self.seen, Vec::new());
        // Those that were given up already, too: somebody may read them.
        let damage = self.store.newest_entries(|entry| {
            let is_new = entry.sequence > seen;
            if is_new {
                new.push(entry);
            }
            is_new
        })?;
        if let Some(damage) = damage {
            return Err(damage);
        }
        for entry in new.iter().rev() {
            if entry.kind == LogKind::Snapshot && self.store.has_manifest(&entry.manifest)? {
                self.mark(survey, &entry.manifest)?;
            }
            self.seen = entry.sequence;
        }
        self.check_missing()
    }

    fn remove(&mut self, options: GcOptions, going: Vec<(SnapshotId, Clearance)>) -> Result<(), StoreError> {
        if going.is_empty() {
            return Ok(());
        }
        let sweeper = self.store.sweeper(options.waiting, &|| !self.progress.cancelled())?;
        let ids: Vec<_> = going.iter().map(|(id, _)| *id).collect();
        let is_first = self.is_first()?;
        sweeper.remove_manifests(&ids)?;
        self.done.removed = ids;
        self.go_on_from(is_first)
    }

    /// True if no other collection has removed anything since this one looked. Under the lock.
    fn is_first(&self) -> Result<bool, StoreError> {
        Ok(self.store.gc_generation()? == self.generation)
    }

    /// What this run has removed is no other's doing. Under the lock.
    fn go_on_from(&mut self, is_first: bool) -> Result<(), StoreError> {
        if is_first {
            self.generation = self.store.gc_generation()?;
        }
        Ok(())
    }

    /// Fails once the user wants it stopped.
    fn go_on(&self) -> Result<(), StoreError> {
        if self.progress.cancelled() { Err(StoreError::Interrupted) } else { Ok(()) }
    }

    /// One step under the lock.
    fn step(
        &mut self,
        options: GcOptions,
        survey: &mut Survey,
        work: impl FnOnce(&crate::store::Sweeper, &Survey) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.go_on()?;
        let sweeper = self.store.sweeper(options.waiting, &|| !self.progress.cancelled())?;
        let is_first = self.is_first()?;
        self.mark_new(survey)?;
        work(&sweeper, survey)?;
        self.go_on_from(is_first)?;
        drop(sweeper);
        thread::sleep(PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
