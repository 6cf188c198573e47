//! What of the metadata of an extracted pack is not as its manifest says, while the contents are.

use crate::archives::printable;

/// Paths that are named of each sort.
const NAMED: usize = 3;

/// A sort of metadata that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// In words: `its owner`, `its mode` …
    pub what: &'static str,
    /// How many items have it otherwise.
    pub items: u64,
    /// The first few, made printable.
    pub examples: Vec<String>,
}

/// Sorts, in the order in which they were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Drifts(pub(super) Vec<Drift>);

impl Drifts {
    /// Takes note of an item.
    pub(super) fn note(&mut self, what: &'static str, path: &[u8]) {
        let at = self.0.iter().position(|drift| drift.what == what).unwrap_or_else(|| {
            self.0.push(Drift { what, items: 0, examples: Vec::new() });
            self.0.len() - 1
        });
        let drift = &mut self.0[at];
        drift.items += 1;
        if drift.examples.len() < NAMED {
            drift.examples.push(printable(path));
        }
    }

    /// Adds what is in another pack.
    pub(super) fn append(&mut self, more: Self) {
        for Drift { what, items, examples } in more.0 {
            match self.0.iter_mut().find(|drift| drift.what == what) {
                Some(drift) => {
                    drift.items += items;
                    let room = NAMED - drift.examples.len();
                    drift.examples.extend(examples.into_iter().take(room));
                }
                None => self.0.push(Drift { what, items, examples }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_are_counted_and_the_first_few_named() {
        let of = |count: u8, what| {
            let mut drifts = Drifts::default();
            (0..count).for_each(|n| drifts.note(what, &[b'a' + n]));
            drifts
        };
        let mut all = of(2, "its mode");
        all.append(of(1, "its owner"));
        all.append(of(4, "its mode"));
        let found: Vec<_> = all.0.iter().map(|drift| (drift.what, drift.items, drift.examples.join(" "))).collect();
        assert_eq!(found, [("its mode", 6, "a b a".to_owned()), ("its owner", 1, "a".to_owned())]);
    }
}
