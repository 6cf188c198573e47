//! Looking for bytes, many of them together.

/// A one in each byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte that is zero, and maybe of bytes above one.
pub(super) const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
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

/// Bytes of the JSON list or object at the beginning; which sort of bracket closes which is not looked at. Between the strings there is little: to
/// look at many bytes together there, as for the strings, makes it no quicker.
pub(super) fn nested_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0usize, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_value_ends_with_the_bracket_that_closes_it() {
        let odd = [r#"{"a\\": ["}]\"", {"{": 1}]}"#, r#"[{"\\\\": "]"}]"#];
        for value in ["{}", "[]"].into_iter().chain(odd) {
            let behind = &value[value.len() - 1..];
            assert_eq!(nested_len(format!("{value}{behind}").as_bytes()), Some(value.len()), "{value}");
            (0..value.len()).for_each(|cut| assert_eq!(nested_len(&value.as_bytes()[..cut]), None, "{value} {cut}"));
        }
        assert_eq!(nested_len(b"}"), None);
    }
}
