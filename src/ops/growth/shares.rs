//! Sums of bytes by path, and which of the paths amount to enough to be told.

use std::collections::HashMap;

use crate::tree::push_name;

/// Which paths are told.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Those with at least this part of the whole, from 0 to 100; with a byte at least.
    pub percent: f64,
    /// Those of at most so many names. Folders of that many stand for all that is in them.
    pub depth: Option<usize>,
}

impl Limits {
    /// The bytes that a path must have, of a whole of so many. Never falls when the whole grows.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size is a size")]
    fn least(&self, whole: u64) -> u64 {
        ((whole as f64 * self.percent / 100.0) as u64).max(1)
    }

    fn reach(&self, depth: usize) -> bool {
        self.depth.is_none_or(|most| depth <= most)
    }
}

/// A path and what it amounts to with all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The last name of the path; empty for the root.
    pub name: Box<[u8]>,
    /// How many names the path has: those before the last are of the folders that were told before and hold it.
    pub depth: usize,
    /// True for a folder.
    pub folder: bool,
    /// Bytes.
    pub bytes: u64,
    /// Items counted.
    pub items: u64,
}

/// Paths that are not told one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many; what is below one of them counts with it.
    pub paths: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Rest {
    fn add(&mut self, paths: u64, bytes: u64) {
        self.paths += paths;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The paths that amount to enough, and the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Each folder before what is in it, the biggest first; the whole is the first one.
    pub told: Vec<Share>,
    /// What lies directly in the folders that are told, and amounts to less.
    pub rest: Rest,
}

impl Shares {
    /// Each path that is told, from the root, its names joined by `/`, with what it amounts to.
    pub fn each(&self, mut tell: impl FnMut(&[u8], &Share)) {
        let (mut path, mut ends) = (Vec::new(), Vec::new());
        for share in &self.told {
            // Of each depth the path that was told last ends here.
            ends.truncate(share.depth);
            path.truncate(ends.last().copied().unwrap_or_default());
            push_name(&mut path, &share.name);
            ends.push(path.len());
            tell(&path, share);
        }
    }
}

/// Sums up paths that come in preorder.
///
/// Memory: the folders that are open, and the paths that amount to enough of what has come so far. Of one depth these are at most
/// `ln(bytes) / -ln(1 - percent / 100)`, below 900 with 5 percent, since each adds its part to the whole.
#[derive(Debug)]
pub(super) struct Sums {
    limits: Limits,
    /// The root, and from it down to what was entered last.
    open: Vec<Sum>,
    /// What may be told, by the folder that it is in.
    done: HashMap<u64, Vec<Sum>>,
    /// The path of what was entered last: those of the folders it is in begin it.
    path: Vec<u8>,
    /// How many were entered.
    entered: u64,
    whole: u64,
}

#[derive(Debug)]
struct Sum {
    /// What it is known by among all that were entered.
    number: u64,
    share: Share,
    /// How long the path is of the folder it is in.
    above: usize,
    /// What is directly in it and surely amounts to too little.
    rest: Rest,
}

impl Sum {
    fn new(number: u64, (name, depth): (Box<[u8]>, usize), folder: bool, above: usize) -> Self {
        let share = Share { name, depth, folder, bytes: 0, items: 0 };
        Self { number, share, above, rest: Rest::default() }
    }
}

impl Sums {
    pub(super) fn new(limits: Limits, folder: bool) -> Self {
        let root = Sum::new(0, (Box::default(), 0), folder, 0);
        Self { limits, open: vec![root], done: HashMap::new(), path: Vec::new(), entered: 0, whole: 0 }
    }

    /// The path entered last.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Enters something in the folder entered last: what is added from now on is in it.
    pub(super) fn enter(&mut self, name: &[u8], folder: bool) {
        self.entered += 1;
        self.open.push(Sum::new(self.entered, (name.into(), self.open.len()), folder, self.path.len()));
        push_name(&mut self.path, name);
    }

    /// Enters a path from the root, with the folders above it; leaves what it is not in.
    pub(super) fn enter_path(&mut self, path: &[u8], folder: bool) {
        let names: Vec<_> = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).collect();
        let is_above = |open: &[u8]| {
            open.is_empty() || path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        while !is_above(self.path()) {
            self.leave();
        }
        for at in self.open.len() - 1..names.len() {
            self.enter(names[at], folder || at + 1 < names.len());
        }
    }

    /// Adds to what was entered last, and to all above it.
    pub(super) fn add(&mut self, items: u64, bytes: u64) {
        self.whole = self.whole.saturating_add(bytes);
        if let Some(Sum { share, .. }) = self.open.last_mut() {
            share.items += items;
            share.bytes = share.bytes.saturating_add(bytes);
        }
    }

    /// Leaves what was entered last.
    pub(super) fn leave(&mut self) {
        let (Some(sum), Some(parent)) = (self.open.pop(), self.open.last_mut()) else { return };
        self.path.truncate(sum.above);
        let Share { depth, bytes, items, .. } = sum.share;
        parent.share.items += items;
        parent.share.bytes = parent.share.bytes.saturating_add(bytes);
        if !self.limits.reach(depth) {
            return;
        }
        // The whole only grows: what is too little of it now will be.
        if bytes < self.limits.least(self.whole) {
            parent.rest.add(1, bytes);
        } else {
            self.done.entry(parent.number).or_default().push(sum);
        }
    }

    /// Leaves all, and tells what amounts to enough of the whole.
    pub(super) fn finish(mut self) -> Shares {
        while self.open.len() > 1 {
            self.leave();
        }
        let least = self.limits.least(self.whole);
        let mut shares = Shares::default();
        let mut next = self.open;
        while let Some(sum) = next.pop() {
            shares.rest.add(sum.rest.paths, sum.rest.bytes);
            let below = self.done.remove(&sum.number).unwrap_or_default();
            let (mut told, small): (Vec<_>, Vec<_>) = below.into_iter().partition(|sum| sum.share.bytes >= least);
            small.iter().for_each(|sum| shares.rest.add(1, sum.share.bytes));
            // The biggest is popped first.
            told.sort_by(|a, b| (a.share.bytes, &b.share.name).cmp(&(b.share.bytes, &a.share.name)));
            next.extend(told);
            shares.told.push(sum.share);
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, u64); 5] = [("a/b/y", 1), ("a/b/z", 2), ("a/x", 5), ("a.txt", 0), ("c", 10)];

    fn shares(percent: f64, depth: Option<usize>) -> (Vec<(String, usize, u64, u64)>, Rest) {
        let mut sums = Sums::new(Limits { percent, depth }, true);
        for (path, bytes) in FILES {
            sums.enter_path(path.as_bytes(), false);
            sums.add(1, bytes);
        }
        let found = sums.finish();
        let mut told = Vec::new();
        found.each(|path, share| {
            assert_eq!(share.folder, FILES.iter().all(|(file, _)| file.as_bytes() != path));
            told.push((String::from_utf8_lossy(path).into_owned(), share.depth, share.bytes, share.items));
        });
        (told, found.rest)
    }

    #[test]
    fn sums_go_up_and_the_biggest_comes_first() {
        let (told, rest) = shares(0.0, None);
        let expected = [
            ("", 0, 18, 5),
            ("c", 1, 10, 1),
            ("a", 1, 8, 3),
            ("a/x", 2, 5, 1),
            ("a/b", 2, 3, 2),
            ("a/b/z", 3, 2, 1),
            ("a/b/y", 3, 1, 1),
        ];
        assert_eq!(told, expected.map(|(path, depth, bytes, items)| (path.to_owned(), depth, bytes, items)));
        assert_eq!(rest, Rest { paths: 1, bytes: 0 }, "a.txt is empty");
    }

    #[test]
    fn what_is_told_and_the_rest_are_the_whole() {
        // At least 4 of 18 bytes: `a/b` is too small, and what is in it counts with it.
        let (told, rest) = shares(23.0, None);
        assert_eq!(told.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["", "c", "a", "a/x"]);
        assert_eq!(rest, Rest { paths: 2, bytes: 3 });
        // `a` stands for what is in it.
        let (told, rest) = shares(23.0, Some(1));
        assert_eq!(told.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["", "c", "a"]);
        assert_eq!(rest, Rest { paths: 1, bytes: 0 });
        let (told, rest) = shares(100.0, None);
        assert_eq!((told.len(), rest), (1, Rest { paths: 3, bytes: 18 }));
    }

    #[test]
    fn memory_is_bounded_by_the_percentage() {
        let mut sums = Sums::new(Limits { percent: 5.0, depth: None }, true);
        for n in 0..100_000 {
            sums.enter_path(format!("{n:06}").as_bytes(), false);
            sums.add(1, 1000);
        }
        sums.leave();
        let kept: usize = sums.done.values().map(Vec::len).sum();
        assert!(kept < 900, "{kept} are kept");
        let found = sums.finish();
        assert_eq!((found.told.len(), found.rest), (1, Rest { paths: 100_000, bytes: 100_000_000 }));
    }
}
