//! Blocks of which little is needed: that is written anew, in new blocks, so that the old ones are dead.

use crate::format::{index_key, to_bytes};

use super::Store;
use super::db::Rows;
use super::error::StoreError;
use super::lock::Waiting;
use super::read::{Sort, places};
use super::survey::Survey;
use super::write::Writer;

/// Bytes of blocks that one step opens.
const STEP: usize = 128 << 20;
/// Bytes of a new block.
const BLOCK: usize = 1 << 20;

/// How far it has come.
#[derive(Debug)]
pub struct Repack {
    todo: Vec<(Sort, u64)>,
    /// Blocks moved out of.
    pub blocks: u64,
    /// Items moved.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
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
}

impl Repack {
    /// Begins with all sparse blocks.
    #[must_use]
    pub fn new(survey: &Survey) -> Self {
        let of = |sort: Sort| survey.sparse_blocks(sort).into_iter().map(move |block| (sort, block));
        let mut todo: Vec<_> = of(Sort::Chunk).chain(of(Sort::Page)).collect();
        todo.reverse();
        Self { todo, blocks: 0, items: 0, bytes: 0 }
    }

    /// True if there is nothing more to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// One step, under the writer lock: moves what some blocks hold that is needed. A cut leaves items in two places, or none
    /// moved. `survey` must know all that is needed by now; `before` is called with it when the lock is ours, and brings it up to date.
    ///
    /// # Errors
    /// If reading or writing fails. A block that cannot be read stays as it is.
    pub fn step(
        &mut self,
        store: &Store,
        survey: &mut Survey,
        keep_waiting: &dyn Fn() -> bool,
        before: &mut dyn FnMut(&mut Survey) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut writer = store.writer(Waiting::Wait, keep_waiting)?;
        before(survey)?;
        let (mut opened, mut emptied) = (0, Vec::new());
        let mut moved = [Moved::default(), Moved::default()];
        while let Some((sort, block)) = (opened < STEP).then(|| self.todo.pop()).flatten() {
            let which = usize::from(sort == Sort::Page);
            let decoded = match store.decode(&store.db(), sort, block) {
                Ok(decoded) => decoded,
                Err(e) if e.is_damage() => {
                    log::warn!("what is needed of block {block} stays where it is: {e}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            let mut ids = Vec::new();
            for ordinal in 0..decoded.len() {
                let Some((id, item)) = store.id_at(&decoded, sort, ordinal).zip(decoded.item(ordinal)) else {
                    continue;
                };
                ids.push(id);
                if survey.is_needed(block, ordinal) && !stands_elsewhere(store, sort, &id, block)? {
                    moved[which].add(&id, item);
                    (self.items, self.bytes) = (self.items + 1, self.bytes + item.len() as u64);
                }
                if moved[which].content.len() >= BLOCK {
                    moved[which].write(&writer, sort)?;
                }
                opened += item.len();
            }
            emptied.push(Emptied { sort, block, ids });
        }
        for (which, sort) in [Sort::Chunk, Sort::Page].into_iter().enumerate() {
            moved[which].write(&writer, sort)?;
        }
        writer.settle()?;
        let rows = without(&writer, &emptied)?;
        writer.write_rows(&rows)?;
        emptied.iter().for_each(|emptied| survey.moved_out(emptied.block));
        self.blocks += emptied.len() as u64;
        Ok(())
    }
}

impl Moved {
    fn add(&mut self, id: &[u8; 32], item: &[u8]) {
        self.content.extend_from_slice(item);
        self.items.push((*id, u32::try_from(item.len()).unwrap_or(u32::MAX)));
    }

    fn write(&mut self, writer: &Writer, sort: Sort) -> Result<(), StoreError> {
        let Self { content, items } = std::mem::take(self);
        writer.put(sort, &content, items.into_iter())
    }
}

/// True if an item can be read from another block too: a run that moved it was cut.
fn stands_elsewhere(store: &Store, sort: Sort, id: &[u8; 32], block: u64) -> Result<bool, StoreError> {
    let db = store.db();
    let others = places(&db, sort, id)?.into_iter().filter(|place| place.block != block);
    for place in others {
        if store.item_at(&db, sort, id, place).is_ok_and(|item| item.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Index entries without the places in blocks that were moved out of, for items that stand elsewhere now.
fn without(writer: &Writer, emptied: &[Emptied]) -> Result<Rows, StoreError> {
    let mut rows = Rows::default();
    for Emptied { sort, block, ids } in emptied {
        for id in ids {
            let known = places(writer.db(), *sort, id)?;
            let kept: Vec<_> = known.iter().filter(|place| place.block != *block).copied().collect();
            if !kept.is_empty() && kept.len() < known.len() {
                rows.put(sort.index(), &index_key(id), &to_bytes(&kept));
            }
        }
    }
    Ok(rows)
}
