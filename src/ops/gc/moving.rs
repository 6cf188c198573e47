//! What is needed of blocks is moved out of them, in rounds, between which the room of what was left is given back: so little room
//! is wanted for it, however much is moved.

use std::thread;

use crate::model::{Notice, Role};
use crate::store::{BlockSweep, EpochSweep, IndexSweep, OldBlocks, OldEpochs, Repack, RowReseal, StoreError, Survey};

use super::{Collector, GcOptions, PAUSE};

/// Bytes that are moved in a round at least …
const ROUND_MIN: u64 = 2 << 30;
/// … or this part of the store: the indexes are read once a round.
const ROUND_PART: u64 = 64;

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// With its measure of work, or with all of it.
    Done,
    /// With a full disk.
    Full,
}

/// What was sealed anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Blocks that were under older identities of the store.
    pub blocks: u64,
    /// Manifests and names of datasets.
    pub rows: u64,
    /// Of them, those that are damaged and stay as they are.
    pub damaged: u64,
    /// Runs that were under older identities, by what became of their records.
    pub epochs: EpochSweep,
}

impl Collector<'_> {
    /// Takes away what is dead, and moves what has to be moved before that.
    pub(super) fn sweep(&mut self, options: GcOptions, survey: &mut Survey, old: &OldEpochs) -> Result<(), StoreError> {
        let rows = if old.is_empty() { RowReseal::default() } else { self.reseal_rows(options, old)? };
        let blocks = survey.blocks_of(old)?;
        self.progress.expect(blocks.len(), 0);
        // Only owners can open what is to be moved, and what they seal others trust.
        let may_move = self.store.keyring().role() == Role::Owner;
        let mut repack = may_move.then(|| Repack::new(survey, &blocks));
        loop {
            let round = repack.as_mut().map_or(Ok(Round::Done), |repack| self.round(options, survey, repack))?;
            let freed = self.sweep_dead(options, survey, !old.is_empty())?;
            if let Some(repack) = &mut repack {
                repack.take_up_again(survey);
            }
            if repack.as_ref().is_none_or(Repack::is_done) {
                break;
            }
            if round == Round::Full && freed == 0 && !repack.as_mut().is_some_and(Repack::shorten) {
                self.progress.notice(Notice::Remark(
                    "the disk is full: what is to be moved is left for the next time".to_owned(),
                ));
                break;
            }
        }
        if options.reseal {
            self.finish_reseal(options, survey, old, &blocks, &rows)?;
        }
        Ok(())
    }

    fn reseal_rows(&mut self, options: GcOptions, old: &OldEpochs) -> Result<RowReseal, StoreError> {
        let mut rows = RowReseal::default();
        while !rows.is_done() {
            self.go_on()?;
            self.store.reseal_rows(old, &mut rows, options.waiting, &|| !self.progress.cancelled())?;
            let (rows, damaged) = (rows.rows, rows.damaged);
            self.done.resealed = Some(Resealed { rows, damaged, ..Resealed::default() });
            thread::sleep(PAUSE);
        }
        Ok(rows)
    }

    fn finish_reseal(
        &mut self,
        options: GcOptions,
        survey: &mut Survey,
        old: &OldEpochs,
        blocks: &OldBlocks,
        rows: &RowReseal,
    ) -> Result<(), StoreError> {
        // Though nothing is left to do: a run may have been cut before the files of rows were written anew.
        let mut epochs = EpochSweep::default();
        self.step(options, survey, |sweeper, survey| {
            epochs = sweeper.sweep_epochs(survey, old)?;
            Ok(())
        })?;
        let (rows, damaged) = (rows.rows, rows.damaged);
        self.done.resealed = Some(Resealed { blocks: blocks.len(), rows, damaged, epochs });
        Ok(())
    }

    /// Moves until it is enough for a round.
    fn round(&mut self, options: GcOptions, survey: &mut Survey, repack: &mut Repack) -> Result<Round, StoreError> {
        let enough = repack.bytes + (self.done.all.bytes / ROUND_PART).max(ROUND_MIN);
        while !repack.is_done() && repack.bytes < enough {
            self.go_on()?;
            let (store, progress, before) = (self.store, self.progress, repack.blocks);
            let keep_waiting = || !progress.cancelled();
            match repack.step(store, survey, (options.waiting, &keep_waiting), &mut |survey| self.mark_new(survey)) {
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull => {
                    return Ok(Round::Full);
                }
                stepped => stepped?,
            }
            self.done.repacked = (repack.blocks, repack.bytes);
            self.misnamed = repack.misnamed;
            progress.advance(repack.blocks - before, 0);
            thread::sleep(PAUSE);
        }
        Ok(Round::Done)
    }

    /// Takes dead blocks away, with their index entries before them. Gives the bytes by which files became shorter.
    fn sweep_dead(&mut self, options: GcOptions, survey: &mut Survey, thorough: bool) -> Result<u64, StoreError> {
        let mut index = IndexSweep::default();
        while !index.is_done() {
            let before = index.removed;
            self.step(options, survey, |sweeper, survey| sweeper.sweep_index(survey, &mut index))?;
            self.done.index_entries += index.removed - before;
        }
        let mut freed = 0;
        loop {
            let mut blocks = BlockSweep::new(thorough);
            while !blocks.is_done() {
                let before = blocks.removed;
                survey.prove_next(&blocks, self.progress)?;
                self.step(options, survey, |sweeper, survey| sweeper.sweep_blocks(survey, &mut blocks))?;
                self.done.blocks += blocks.removed.blocks - before.blocks;
                self.done.left_behind += blocks.removed.left_behind - before.left_behind;
                self.done.freed += blocks.removed.freed - before.freed;
            }
            (self.done.kept, self.done.wanted) = (blocks.kept, blocks.wanted);
            freed += blocks.removed.freed;
            // What went has made room for files that could not be written anew before.
            if blocks.wanted == 0 || blocks.removed.freed == 0 {
                return Ok(freed);
            }
        }
    }
}
