//! What a format cannot carry.

/// A sort of thing that a format cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Who owns an item.
    Owners,
    /// Times below a second, or beyond what the format can hold.
    Times,
    /// Extended attributes, ACLs among them.
    Attributes,
    /// Holes: they are stored as zeros.
    Holes,
    /// That several names are of one file: each has the content.
    HardLinks,
    /// Devices, pipes and sockets: they are left out.
    Special,
    /// Names: they are changed, or their items left out.
    Names,
    /// That names differ in letter case, or in the way in which accents are written, alone: not every system can tell them apart.
    Case,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Owners,
        Self::Times,
        Self::Attributes,
        Self::Holes,
        Self::HardLinks,
        Self::Special,
        Self::Names,
        Self::Case,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owners => "owners",
            Self::Times => "times",
            Self::Attributes => "attributes",
            Self::Holes => "holes",
            Self::HardLinks => "hard-links",
            Self::Special => "special",
            Self::Names => "names",
            Self::Case => "case",
        }
    }

    /// What becomes of it.
    #[must_use]
    pub fn explained(self) -> &'static str {
        match self {
            Self::Owners => "owners and groups are left out",
            Self::Times => "times are kept to the second, from 1901 to 2038",
            Self::Attributes => "extended attributes and ACLs are left out",
            Self::Holes => "holes are stored as zeros",
            Self::HardLinks => "each further name of a file has the content again",
            Self::Special => "devices, pipes and sockets are left out",
            Self::Names => "names are written otherwise, or too long and left out with their items",
            Self::Case => "names that are one name to Windows and macOS: only one of the items is extracted there",
        }
    }

    /// True if it is nearly every item's: naming some says nothing.
    fn is_general(self) -> bool {
        matches!(self, Self::Owners | Self::Times)
    }
}

/// Paths of one sort that are named.
const NAMED: usize = 5;

/// What a pack does not carry: how many items of each sort, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    counts: [u64; Loss::ALL.len()],
    examples: [Vec<String>; Loss::ALL.len()],
}

impl Losses {
    /// Counts an item.
    pub(super) fn note(&mut self, loss: Loss, path: impl FnOnce() -> String) {
        let at = loss as usize;
        self.counts[at] += 1;
        if self.examples[at].len() < NAMED && !loss.is_general() {
            self.examples[at].push(path());
        }
    }

    /// Counts so many items.
    pub(super) fn add(&mut self, loss: Loss, items: u64) {
        self.counts[loss as usize] += items;
    }

    /// Adds those of what comes behind.
    pub(super) fn append(&mut self, behind: Self) {
        for (count, more) in self.counts.iter_mut().zip(behind.counts) {
            *count += more;
        }
        for (examples, more) in self.examples.iter_mut().zip(behind.examples) {
            let room = NAMED - examples.len();
            examples.extend(more.into_iter().take(room));
        }
    }

    /// Each sort that there is, the number of items, and the paths of the first few, where naming some says something.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64, &[String])> {
        let all =
            Loss::ALL.into_iter().map(|loss| (loss, self.counts[loss as usize], &self.examples[loss as usize][..]));
        all.filter(|(_, count, _)| *count > 0)
    }

    /// Number of items, those that lose several sorts of things counted for each.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_named() {
        let mut losses = Losses::default();
        for part in 0..3 {
            let mut more = Losses::default();
            for at in 0..4 {
                more.note(Loss::Holes, || format!("{part}.{at}"));
                more.note(Loss::Owners, || unreachable!());
            }
            losses.append(more);
        }
        let found: Vec<_> = losses.iter().map(|(loss, count, names)| (loss, count, names.to_vec())).collect();
        let names = ["0.0", "0.1", "0.2", "0.3", "1.0"].map(str::to_owned).to_vec();
        assert_eq!(found, [(Loss::Owners, 12, Vec::new()), (Loss::Holes, 12, names)]);
        assert_eq!(losses.total(), 24);
    }

    #[test]
    fn every_sort_has_its_place() {
        assert!(Loss::ALL.iter().enumerate().all(|(at, loss)| *loss as usize == at));
    }
}
