//! Sorting more records than memory holds: sorted runs, merged. Equal keys keep the order in which they came.

use std::io;
use std::path::{Path, PathBuf};

use super::{Records, Spill};

/// Bytes of records that are sorted in memory at a time.
const RUN_BYTES: usize = 32 << 20;
/// What a record takes in memory beside its bytes.
const OVERHEAD: usize = size_of::<Slot>();
/// Runs that are merged at once.
const RUNS: usize = 48;

/// A key and its value.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Takes pairs of key and value in any order.
#[derive(Debug)]
pub struct Sorter {
    dir: PathBuf,
    limit: usize,
    open: Open,
    runs: Vec<Spill>,
}

/// Pairs in memory: their bytes one behind the other, and where each is, in their order.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The first bytes of the key, so that most comparisons need look no further.
    begin: u64,
    from: usize,
    key: u32,
    value: u32,
}

impl Open {
    fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let mut begin = [0; 8];
        let known = key.len().min(8);
        begin[..known].copy_from_slice(&key[..known]);
        let short = |len: usize| u32::try_from(len).map_err(io::Error::other);
        let (begin, from) = (u64::from_be_bytes(begin), self.bytes.len());
        self.slots.push(Slot { begin, from, key: short(key.len())?, value: short(value.len())? });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.slots.len() * OVERHEAD
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    fn pair(&self, slot: &Slot) -> (&[u8], &[u8]) {
        let (from, key) = (slot.from, slot.key as usize);
        self.bytes[from..from + key + slot.value as usize].split_at(key)
    }

    fn sort(&mut self) {
        let Self { bytes, slots } = self;
        let key = |slot: &Slot| &bytes[slot.from..slot.from + slot.key as usize];
        let order = |a: &Slot, b: &Slot| a.begin.cmp(&b.begin).then_with(|| key(a).cmp(key(b)));
        // Most archives are in order already.
        if !slots.is_sorted_by(|a, b| order(a, b).is_le()) {
            slots.sort_by(order);
        }
    }
}

impl Sorter {
    /// What is more than a run goes to files in `dir`, sealed.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), limit: RUN_BYTES, open: Open::default(), runs: Vec::new() }
    }

    /// The same with runs of so many bytes.
    #[must_use]
    pub fn with_memory(dir: &Path, limit: usize) -> Self {
        Self { limit, ..Self::new(dir) }
    }

    /// Takes a pair.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.open.push(key, value)?;
        if self.open.size() < self.limit {
            return Ok(());
        }
        self.open.sort();
        let (mut run, mut packed) = (Spill::new(&self.dir, 0), Vec::new());
        for slot in &self.open.slots {
            let (key, value) = self.open.pair(slot);
            pack(key, value, &mut packed)?;
            run.push(&packed)?;
        }
        self.open.clear();
        run.end()?;
        self.runs.push(run);
        if self.runs.len() < RUNS {
            return Ok(());
        }
        let mut whole = Spill::new(&self.dir, 0);
        // Sorted just now, and empty.
        let mut merge = Merge::new(&self.runs, &self.open)?;
        while let Some((key, value)) = merge.next()? {
            pack(&key, &value, &mut packed)?;
            whole.push(&packed)?;
        }
        whole.end()?;
        self.runs = vec![whole];
        Ok(())
    }

    /// True if nothing was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.slots.is_empty() && self.runs.is_empty()
    }

    /// All pairs, in order of their keys.
    #[must_use]
    pub fn sorted(mut self) -> Sorted {
        self.open.sort();
        Sorted { open: self.open, runs: self.runs }
    }
}

/// Sorted pairs.
#[derive(Debug)]
pub struct Sorted {
    open: Open,
    runs: Vec<Spill>,
}

impl Sorted {
    /// Reads them from the first on.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&self) -> io::Result<Merge<'_>> {
        Merge::new(&self.runs, &self.open)
    }
}

/// Several runs as one.
#[derive(Debug)]
pub struct Merge<'a> {
    /// In the order in which they were made, those in memory last.
    runs: Vec<(Option<Pair>, Records<'a>)>,
    open: &'a Open,
    slots: std::slice::Iter<'a, Slot>,
    peeked: Option<Pair>,
}

impl<'a> Merge<'a> {
    fn new(runs: &'a [Spill], open: &'a Open) -> io::Result<Self> {
        let begin = |run: &'a Spill| {
            let mut records = run.read();
            Ok((next_of(&mut records)?, records))
        };
        let runs = runs.iter().map(begin).collect::<io::Result<_>>()?;
        Ok(Self { runs, open, slots: open.slots.iter(), peeked: None })
    }

    /// The next pair.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Pair>> {
        if let Some(pair) = self.peeked.take() {
            return Ok(Some(pair));
        }
        let heads = self.runs.iter().enumerate().filter_map(|(at, (head, _))| Some((at, &head.as_ref()?.0)));
        // Of equal keys the first run's.
        let least = heads.min_by(|a, b| a.1.cmp(b.1));
        let open = self.slots.as_slice().first().map(|slot| self.open.pair(slot));
        match (least, open) {
            (Some((at, key)), open) if open.is_none_or(|open| **key <= *open.0) => {
                let (head, records) = &mut self.runs[at];
                Ok(std::mem::replace(head, next_of(records)?))
            }
            (_, open) => {
                self.slots.next();
                Ok(open.map(|(key, value)| (key.into(), value.into())))
            }
        }
    }

    /// Looks at the next pair.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn peek(&mut self) -> io::Result<Option<&Pair>> {
        if self.peeked.is_none() {
            self.peeked = self.next()?;
        }
        Ok(self.peeked.as_ref())
    }
}

fn pack(key: &[u8], value: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    let len = u32::try_from(key.len()).map_err(io::Error::other)?;
    packed.clear();
    packed.extend_from_slice(&len.to_le_bytes());
    packed.extend_from_slice(key);
    packed.extend_from_slice(value);
    Ok(())
}

fn next_of(records: &mut Records) -> io::Result<Option<Pair>> {
    let Some(record) = records.next()? else { return Ok(None) };
    let parted = record
        .split_first_chunk::<4>()
        .and_then(|(len, rest)| rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?));
    let (key, value) = parted.ok_or_else(|| io::Error::other("a temporary file is cut short"))?;
    Ok(Some((key.into(), value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_in_order_and_equal_keys_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        for limit in [RUN_BYTES, 20_000] {
            let mut sorter = Sorter { limit, ..Sorter::new(dir.path()) };
            for n in 0..20_000u32 {
                let key = format!("{:05}", n.wrapping_mul(2_654_435_761) % 5_000);
                sorter.push(key.as_bytes(), &n.to_le_bytes()).unwrap();
            }
            assert_eq!(sorter.runs.is_empty(), limit == RUN_BYTES);
            let sorted = sorter.sorted();
            for _ in 0..2 {
                let (mut merge, mut before, mut count) = (sorted.read().unwrap(), (Box::default(), 0), 0);
                while let Some((key, value)) = merge.next().unwrap() {
                    let number = u32::from_le_bytes(value[..].try_into().unwrap());
                    assert!(before <= (key.clone(), number), "{key:?}");
                    (before, count) = ((key, number), count + 1);
                }
                assert_eq!(count, 20_000);
            }
        }
    }
}
