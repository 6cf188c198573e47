//! Looking for bytes, many of them together.

/// A one in each byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each byte.
const HIGH: u64 = ONES << 7;

/// The high bit of each byte that is zero, and maybe of bytes above one.
pub(super) const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Where the first byte is, from `at` on, for which `sought` sets the high bit: eight bytes are looked at together. Source: the search for a
/// zero byte in a word, as in Warren, "Hacker's Delight".
pub(super) fn find(bytes: &[u8], mut at: usize, sought: impl Fn(u64) -> u64) -> Option<usize> {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = sought(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    (at..bytes.len()).find(|at| sought(u64::from(bytes[*at]) | ONES << 8 & !0xff) & 0x80 != 0)
}

/// Where a string ends whose inner bytes begin at `at`: behind its closing quote.
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = find(bytes, at, |word| zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)))?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Bytes of the JSON list or object at the beginning; which sort of bracket closes which is not looked at.
///
/// Source: the masks of 64 bytes of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019), without its instructions.
pub(super) fn nested_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut state) = (0, Nested::default());
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let masks = Masks::of(block);
        if !state.take_all(&masks)? {
            for (n, byte) in block.iter().enumerate() {
                if state.take(*byte)? {
                    return Some(at + n + 1);
                }
            }
        }
        at += 64;
    }
    for (n, byte) in bytes.get(at..)?.iter().enumerate() {
        if state.take(*byte)? {
            return Some(at + n + 1);
        }
    }
    None
}

/// Where in a value one is.
#[derive(Default)]
struct Nested {
    depth: u32,
    text: bool,
    escaped: bool,
}

impl Nested {
    /// Takes a byte; true if the value ends with it. Nothing if more is closed than was opened.
    fn take(&mut self, byte: u8) -> Option<bool> {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'"' => self.text = !self.text,
            b'\\' if self.text => self.escaped = true,
            b'{' | b'[' if !self.text => self.depth += 1,
            b'}' | b']' if !self.text => {
                self.depth = self.depth.checked_sub(1)?;
                return Some(self.depth == 0);
            }
            _ => {}
        }
        Some(false)
    }

    /// Takes 64 bytes; false, and nothing done, if the value may end among them, or a backslash stands outside of a string.
    fn take_all(&mut self, masks: &Masks) -> Option<bool> {
        let (escaped, carry) = masks.escaped(self.escaped);
        let mut inside = masks.quotes & !escaped;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= if self.text { u64::MAX } else { 0 };
        let (opens, closes) = ((masks.opens & !inside).count_ones(), (masks.closes & !inside).count_ones());
        if closes >= self.depth || masks.backslashes & !inside != 0 {
            return Some(false);
        }
        self.depth = (self.depth - closes).checked_add(opens)?;
        (self.text, self.escaped) = (inside >> 63 != 0, carry);
        Some(true)
    }
}

/// Which of 64 bytes are what: the first byte's bit is the lowest.
struct Masks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

impl Masks {
    fn of(block: &[u8; 64]) -> Self {
        // Square brackets and braces differ in this bit alone.
        let brackets = block.map(|b| b | 0x20);
        Self {
            quotes: equal(block, b'"'),
            backslashes: equal(block, b'\\'),
            opens: equal(&brackets, b'{'),
            closes: equal(&brackets, b'}'),
        }
    }

    /// Which bytes a backslash stands before that is not escaped itself, and whether that holds for the byte behind these.
    fn escaped(&self, first: bool) -> (u64, bool) {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let first = u64::from(first);
        if self.backslashes == 0 {
            return (first, false);
        }
        let backslashes = self.backslashes & !first;
        let behind = backslashes << 1 | first;
        // Runs of backslashes that begin at odd places carry over into the place behind them: there the parity is the other.
        let (ends, carry) = (backslashes & !EVEN & !behind).overflowing_add(backslashes);
        ((EVEN ^ ends << 1) & behind, carry)
    }
}

/// A bit for each of 64 bytes, set if it is this one.
fn equal(block: &[u8; 64], byte: u8) -> u64 {
    let same = block.map(|b| u8::from(b == byte));
    let eights = same.as_chunks::<8>().0.iter();
    // Gathers the lowest bits of eight bytes in the highest byte.
    let gathered = eights.map(|eight| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56);
    gathered.enumerate().fold(0, |mask, (n, bits)| mask | bits << (8 * n))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_found_wherever_they_are() {
        for len in 0..40 {
            for at in 0..len {
                for (byte, before) in [(b'"', b'!'), (b'\\', b'['), (b'"', b'#'), (b'"', 0xa2)] {
                    let mut bytes = vec![before; len];
                    bytes[at] = byte;
                    let sought = |word: u64| zeros(word ^ (ONES * u64::from(byte)));
                    for from in 0..=len {
                        assert_eq!(
                            find(&bytes, from, sought),
                            (from <= at).then_some(at),
                            "{len} {at} {from} {before}"
                        );
                    }
                }
            }
        }
    }

    /// Byte by byte.
    fn slowly(bytes: &[u8]) -> Option<usize> {
        let mut state = Nested::default();
        for (at, byte) in bytes.iter().enumerate() {
            if state.take(*byte)? {
                return Some(at + 1);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn many_bytes_together_give_what_one_by_one_gives(
            bytes in proptest::collection::vec(proptest::sample::select(&b"{[}]\"\\ab:, \x5b\x7b\x02\xa2\xdb\xfb\xdc"[..]), 0..400),
            depth in 1..40usize,
        ) {
            let value = [&vec![b'['; depth], &bytes[..], &vec![b'}'; depth]].concat();
            prop_assert_eq!(nested_len(&value), slowly(&value));
        }

        #[test]
        fn masks_tell_each_byte(block in proptest::array::uniform::<_, 64>(proptest::num::u8::ANY)) {
            let masks = Masks::of(&block);
            for (n, byte) in block.iter().enumerate() {
                let bit = |mask: u64| mask >> n & 1 == 1;
                prop_assert_eq!(bit(masks.quotes), *byte == b'"');
                prop_assert_eq!(bit(masks.backslashes), *byte == b'\\');
                prop_assert_eq!(bit(masks.opens), matches!(byte, b'[' | b'{'));
                prop_assert_eq!(bit(masks.closes), matches!(byte, b']' | b'}'));
            }
        }
    }
}
