//! Sorting more records than memory holds: sorted runs, merged. Equal keys keep the order in which they came.

use std::io;
use std::path::{Path, PathBuf};

use super::{Records, Spill};

/// Bytes of records that are sorted in memory at a time.
const RUN_BYTES: usize = 32 << 20;
/// What a record takes in memory beside its bytes.
const OVERHEAD: usize = 64;
/// Runs that are merged at once.
const RUNS: usize = 48;

/// A key and its value.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Takes pairs of key and value in any order.
#[derive(Debug)]
pub struct Sorter {
    dir: PathBuf,
    limit: usize,
    open: Vec<Pair>,
    bytes: usize,
    runs: Vec<Spill>,
}

impl Sorter {
    /// What is more than a run goes to files in `dir`, sealed.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), limit: RUN_BYTES, open: Vec::new(), bytes: 0, runs: Vec::new() }
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
        self.bytes += key.len() + value.len() + OVERHEAD;
        self.open.push((key.into(), value.into()));
        if self.bytes < self.limit {
            return Ok(());
        }
        self.sort_open();
        let mut run = Spill::new(&self.dir, 0);
        for pair in self.open.drain(..) {
            run.push(&packed(&pair)?)?;
        }
        self.bytes = 0;
        self.runs.push(run);
        if self.runs.len() < RUNS {
            return Ok(());
        }
        let mut whole = Spill::new(&self.dir, 0);
        let mut merge = Merge::new(&self.runs, &[])?;
        while let Some(pair) = merge.next()? {
            whole.push(&packed(&pair)?)?;
        }
        self.runs = vec![whole];
        Ok(())
    }

    /// True if nothing was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.runs.is_empty()
    }

    fn sort_open(&mut self) {
        // Most archives are in order already.
        if !self.open.is_sorted_by(|a, b| a.0 <= b.0) {
            self.open.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }

    /// All pairs, in order of their keys.
    #[must_use]
    pub fn sorted(mut self) -> Sorted {
        self.sort_open();
        Sorted { open: self.open, runs: self.runs }
    }
}

/// Sorted pairs.
#[derive(Debug)]
pub struct Sorted {
    open: Vec<Pair>,
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
    open: std::slice::Iter<'a, Pair>,
    peeked: Option<Pair>,
}

impl<'a> Merge<'a> {
    fn new(runs: &'a [Spill], open: &'a [Pair]) -> io::Result<Self> {
        let begin = |run: &'a Spill| {
            let mut records = run.read();
            Ok((next_of(&mut records)?, records))
        };
        let runs = runs.iter().map(begin).collect::<io::Result<_>>()?;
        Ok(Self { runs, open: open.iter(), peeked: None })
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
        match (least, self.open.as_slice().first()) {
            (Some((at, key)), open) if open.is_none_or(|pair| *key <= pair.0) => {
                let (head, records) = &mut self.runs[at];
                Ok(std::mem::replace(head, next_of(records)?))
            }
            _ => Ok(self.open.next().cloned()),
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

fn packed((key, value): &Pair) -> io::Result<Vec<u8>> {
    let len = u32::try_from(key.len()).map_err(io::Error::other)?;
    Ok([&len.to_le_bytes()[..], key, value].concat())
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
