//! Content-defined cut points: FastCDC 2020 with a secret gear table, so that chunk sizes tell nothing.
//!
//! Source of the algorithm: W. Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems", IEEE TPDS 2020, as implemented by the crate `fastcdc`, pinned because cut points decide deduplication.

use fastcdc::v2020::{MASKS, cut_gear};

/// Finds cut points for one store.
#[derive(Clone)]
pub struct Cutter {
    gear: Box<[u64]>,
    gear_ls: Box<[u64]>,
    min: usize,
    avg: usize,
    max: usize,
    mask_small: u64,
    mask_large: u64,
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cutter({}, {}, {}, seed not shown)", self.min, self.avg, self.max)
    }
}

impl Cutter {
    /// A cutter with the store's seed and sizes in bytes (even numbers, ascending, average at least 256).
    #[must_use]
    pub fn new(seed: &[u8; 32], min: u32, avg: u32, max: u32) -> Self {
        let mut table = [0; 2048];
        blake3::Hasher::new_derive_key("larder v1 gear").update(seed).finalize_xof().fill(&mut table);
        let gear: Box<[u64]> =
            table.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        let gear_ls = gear.iter().map(|g| g << 1).collect();
        let bits = avg.max(256).ilog2() as usize;
        let mask = |bits: usize| MASKS.get(bits).copied().unwrap_or(MASKS[MASKS.len() - 1]);
        let (mask_small, mask_large) = (mask(bits + 1), mask(bits - 1));
        Self { gear, gear_ls, min: min as usize, avg: avg as usize, max: max as usize, mask_small, mask_large }
    }

    /// The longest chunk: [`Self::next`] wants to see that much, or all that is left.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// The smallest chunk: content up to this length is never cut.
    #[must_use]
    pub fn min(&self) -> usize {
        self.min
    }

    /// Length of the first chunk of `bytes`, which are all that is left or at least [`Self::max`] long.
    #[must_use]
    pub fn next(&self, bytes: &[u8]) -> usize {
        if bytes.len() <= self.min {
            return bytes.len();
        }
        let (_, len) = cut_gear(
            bytes,
            self.min,
            self.avg,
            self.max,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            &self.gear,
            &self.gear_ls,
        );
        len.clamp(1, bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
        out
    }

    fn cuts(cutter: &Cutter, mut bytes: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let len = cutter.next(&bytes[..bytes.len().min(cutter.max())]);
            out.push(len);
            bytes = &bytes[len..];
        }
        out
    }

    #[test]
    fn sizes_and_seed() {
        let data = noise(8 << 20);
        let cutter = Cutter::new(&[1; 32], 32 << 10, 128 << 10, 1 << 20);
        let a = cuts(&cutter, &data);
        assert_eq!(a.iter().sum::<usize>(), data.len());
        assert!(a[..a.len() - 1].iter().all(|n| (32 << 10..=1 << 20).contains(n)), "{a:?}");
        let average = data.len() / a.len();
        assert!((90 << 10..220 << 10).contains(&average), "{average}");
        assert_ne!(a, cuts(&Cutter::new(&[2; 32], 32 << 10, 128 << 10, 1 << 20), &data));
    }

    #[test]
    fn an_insertion_moves_few_cuts() {
        let data = noise(4 << 20);
        let mut changed = data.clone();
        changed.splice(1000..1000, *b"inserted");
        let cutter = Cutter::new(&[1; 32], 32 << 10, 128 << 10, 1 << 20);
        let (a, b) = (cuts(&cutter, &data), cuts(&cutter, &changed));
        let same = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
        assert!(same + 3 >= a.len(), "{same} of {}", a.len());
    }
}
