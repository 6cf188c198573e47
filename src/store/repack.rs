//! Moving what is needed out of blocks, into new ones, so that the old ones are dead: blocks of which little is needed, and
//! those that are sealed under identities which the store has given up.

use std::collections::HashSet;

use crate::format::{index_key, to_bytes};
use crate::model::Purpose;

use super::Store;
use super::db::Rows;
use super::epochs::OldBlocks;
use super::error::StoreError;
use super::lock::Waiting;
use super::read::{Sort, places};
use super::survey::Survey;
use super::write::Writer;

/// Bytes of blocks that one step opens …
const STEP: usize = 128 << 20;
/// … and at least, where there is little room.
const STEP_MIN: usize = 4 << 20;
/// Bytes of a new block.
const BLOCK: usize = 1 << 20;

/// How far it has come.
#[derive(Debug)]
pub struct Repack {
    todo: Vec<(Sort, u64)>,
    /// All blocks that are moved out of in this run: what stands in one of them too has no other place to stay.
    leaving: HashSet<u64>,
    /// Bytes of blocks that one step opens.
    step: usize,
    emptied: Vec<(Sort, u64)>,
    /// Blocks moved out of.
    pub blocks: u64,
    /// Items moved.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that stayed as they are, since the index names other places for what they hold: another collection may have moved it.
    pub misnamed: u64,
}

/// A block that was moved out of, and the ids of all that it holds.
struct Emptied {
    sort: Sort,
    block: u64,
    ids: Vec<[u8; 32]>,
}

/// Items on their way.
#[derive(Default)]
struct Moved {
    content: Vec<u8>,
    items: Vec<([u8; 32], u32)>,
    /// All that was moved in this step, and how long it is.
    ids: HashSet<[u8; 32]>,
    bytes: u64,
}

impl Repack {
    /// Begins with all sparse blocks, and with these. Blocks that stand beside each other are moved after each other, so that
    /// whole files become dead.
    #[must_use]
    pub fn new(survey: &Survey, others: &OldBlocks) -> Self {
        let of = |sort: Sort| survey.sparse_blocks(sort).into_iter().map(move |block| (sort, block));
        let mut todo: Vec<_> = of(Sort::Chunk).chain(of(Sort::Page)).chain(others.blocks.iter().copied()).collect();
        todo.sort_unstable_by_key(|(sort, block)| std::cmp::Reverse((*sort == Sort::Page, *block)));
        todo.dedup();
        let leaving = todo.iter().map(|(_, block)| *block).collect();
        Self { todo, leaving, step: STEP, emptied: Vec::new(), blocks: 0, items: 0, bytes: 0, misnamed: 0 }
    }

    /// True if there is nothing more to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// Takes those blocks up again that were moved out of and of which something is needed now: a capture has found it in the index
    /// before its entry was swept. Once that is done, it can find no more.
    pub fn take_up_again(&mut self, survey: &Survey) {
        self.todo.extend(self.emptied.drain(..).filter(|(_, block)| !survey.is_dead(*block)));
    }

    /// Makes the steps that follow shorter, so that they need less room. False if that would be too short.
    pub fn shorten(&mut self) -> bool {
        let may = self.step > STEP_MIN;
        self.step = (self.step / 4).max(STEP_MIN);
        may
    }

    /// One step, under the writer lock: moves what some blocks hold that is needed. A cut leaves items in two places, or none
    /// moved. `survey` must know all that is needed by now; `before` is called with it when the lock is ours, and brings it up to date.
    ///
    /// # Errors
    /// If reading or writing fails; the blocks of this step are left for another one then. A block that is damaged stays as it is.
    pub fn step(
        &mut self,
        store: &Store,
        survey: &mut Survey,
        (waiting, keep_waiting): (Waiting, &dyn Fn() -> bool),
        before: &mut dyn FnMut(&mut Survey) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut writer = Writer::begin(store, Purpose::Move, waiting, keep_waiting)?;
        before(survey)?;
        match self.move_some(store, survey, &mut writer) {
            Ok(()) => Ok(()),
            Err(e) => Err(writer.failure().unwrap_or(e)),
        }
    }

    fn move_some(&mut self, store: &Store, survey: &mut Survey, writer: &mut Writer) -> Result<(), StoreError> {
        let (mut opened, mut left, mut emptied) = (0, self.todo.len(), Vec::new());
        let mut moved = [Moved::default(), Moved::default()];
        while opened < self.step && left > 0 {
            left -= 1;
            let (sort, block) = self.todo[left];
            let moved = &mut moved[usize::from(sort == Sort::Page)];
            let decoded = match store.decode(&store.db(), sort, block) {
                Ok(decoded) => decoded,
                Err(e) if e.is_damage() => {
                    log::warn!("what is needed of block {block} stays where it is: {e}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            if !survey.may_be_emptied(writer.db(), sort, &decoded)? {
                log::warn!(
                    "block {block} stays as it is: an entry of the index names an item of it that is another's, or none"
                );
                self.misnamed += 1;
                continue;
            }
            let mut ids = Vec::new();
            for ordinal in 0..decoded.len() {
                let Some((id, item)) = store.id_at(&decoded, sort, ordinal).zip(decoded.item(ordinal)) else {
                    continue;
                };
                ids.push(id);
                if survey.is_needed(block, ordinal) && !moved.ids.contains(&id) && !self.stays(store, sort, &id)? {
                    moved.add(&id, item);
                }
                if moved.content.len() >= BLOCK {
                    moved.write(writer, sort)?;
                }
                opened += item.len();
            }
            emptied.push(Emptied { sort, block, ids });
        }
        for (moved, sort) in moved.iter_mut().zip([Sort::Chunk, Sort::Page]) {
            moved.write(writer, sort)?;
        }
        writer.settle()?;
        writer.write_rows(&without(writer, &emptied)?)?;
        for emptied in &emptied {
            survey.moved_out(emptied.block);
            survey.set_proven(emptied.block);
        }
        self.todo.truncate(left);
        self.emptied.extend(emptied.iter().map(|emptied| (emptied.sort, emptied.block)));
        self.blocks += emptied.len() as u64;
        for moved in moved {
            (self.items, self.bytes) = (self.items + moved.ids.len() as u64, self.bytes + moved.bytes);
        }
        Ok(())
    }

    /// True if an item can be read from a block that it is not moved out of: a run that moved it was cut, or it was stored twice.
    fn stays(&self, store: &Store, sort: Sort, id: &[u8; 32]) -> Result<bool, StoreError> {
        let db = store.db();
        for place in places(&db, sort, id)?.into_iter().filter(|place| !self.leaving.contains(&place.block)) {
            if store.item_at(&db, sort, id, place).is_ok_and(|item| item.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Moved {
    fn add(&mut self, id: &[u8; 32], item: &[u8]) {
        self.content.extend_from_slice(item);
        self.items.push((*id, u32::try_from(item.len()).unwrap_or(u32::MAX)));
        self.ids.insert(*id);
        self.bytes += item.len() as u64;
    }

    fn write(&mut self, writer: &Writer, sort: Sort) -> Result<(), StoreError> {
        writer.put(sort, &self.content, self.items.drain(..))?;
        self.content.clear();
        Ok(())
    }
}

/// Index entries without the places in blocks that were moved out of, for items that stand elsewhere now.
fn without(writer: &Writer, emptied: &[Emptied]) -> Result<Rows, StoreError> {
    let (mut rows, mut done) = (Rows::default(), HashSet::new());
    let gone: HashSet<_> = emptied.iter().map(|emptied| emptied.block).collect();
    for (sort, id) in emptied.iter().flat_map(|emptied| emptied.ids.iter().map(|id| (emptied.sort, id))) {
        let key = index_key(id);
        if !done.insert((sort, key)) {
            continue;
        }
        let known = places(writer.db(), sort, id)?;
        let kept: Vec<_> = known.iter().filter(|place| !gone.contains(&place.block)).copied().collect();
        if !kept.is_empty() && kept.len() < known.len() {
            rows.put(sort.index(), &key, &to_bytes(&kept));
        }
    }
    Ok(rows)
}
