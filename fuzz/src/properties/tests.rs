//! The corpus as tests: each input, and for each a few that differ from it a little.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::{ALL, Property};

/// Changed forms of each input that are tried: as many as take a moment.
const CHANGED: u64 = 100;
/// Bytes that the corpus may have: it is read with every test.
const MAX_CORPUS: u64 = 300 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let items = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect()
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder("corpus").join(target);
    names(&folder)
        .into_iter()
        .map(|name| folder.join(name))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % (end as u64).max(1)).unwrap()
    }
}

/// One to three changes: a bit, a byte, a byte more, some bytes less, some of them twice.
fn changed(input: &[u8], seed: u64) -> Vec<u8> {
    let (mut bytes, mut numbers) = (input.to_vec(), Numbers(seed));
    for _ in 0..=numbers.below(3) {
        let (from, sort) = (numbers.below(bytes.len()), numbers.below(5));
        let to = bytes.len().min(from + 1 + numbers.below(8));
        match sort {
            _ if bytes.is_empty() => bytes.push(1),
            0 => bytes[from] ^= 1 << numbers.below(8),
            1 => bytes[from] = [0, 1, 0x7f, 0x80, 250, 251, 252, 253, 255][numbers.below(9)],
            2 => bytes.insert(from, u8::try_from(numbers.below(256)).unwrap()),
            3 => drop(bytes.drain(from..to)),
            _ => bytes.extend_from_within(from..to),
        }
    }
    bytes
}

/// Whether the bytes were taken; nothing where the property does not hold.
fn taken(property: Property, bytes: &[u8]) -> Option<bool> {
    catch_unwind(|| property(bytes)).ok()
}

#[test]
fn properties_hold_of_the_corpus_and_of_what_is_like_it() {
    let mut failures = Vec::new();
    for (target, property) in ALL {
        let mut is_read = false;
        for (path, input) in inputs(target) {
            let mut fail = |how: &str, bytes: &[u8]| failures.push(format!("{}{how}: {bytes:02x?}", path.display()));
            match taken(*property, &input) {
                Some(taken) => is_read |= taken,
                None => fail("", &input),
            }
            let mut changed = (0..CHANGED).map(|seed| changed(&input, seed));
            if let Some(bytes) = changed.find(|bytes| taken(*property, bytes).is_none()) {
                fail(", changed", &bytes);
            }
        }
        if !is_read {
            failures.push(format!("{target}: nothing in the corpus is what it should be"));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn every_property_has_a_target_and_a_corpus() {
    let all: BTreeSet<_> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(all.len(), ALL.len(), "two have one name");
    assert_eq!(names(&folder("corpus")), all);
    let files: BTreeSet<_> = all.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), files);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &all {
        let target = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(target.contains(&format!("target!(\"{name}\")")), "{name}.rs is another's target");
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is missing in fuzz/Cargo.toml"
        );
    }
    let bytes: u64 = ALL.iter().flat_map(|(name, _)| inputs(name)).map(|(_, input)| input.len() as u64).sum();
    assert!(bytes < MAX_CORPUS, "the corpus has {bytes} bytes");
}
