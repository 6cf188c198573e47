//! What PostgreSQL's jsonb keeps of a line. It reads numbers as decimals without exponents, sorts the members of objects, takes neither U+0000 nor
//! NaN: of most records the hash stays what it was, and of the others the line goes in as one string.

use memchr::memchr2;

use crate::records::canonical::nfc;

/// Lists and objects in each other that are left to the server's parser, which is recursive.
const DEPTH_MAX: usize = 1000;
/// Digits of a number that are left to it.
const DIGITS_MAX: usize = 1000;

/// True if a line, read by jsonb and written again, has the content that it had.
pub(super) fn keeps(line: &str) -> bool {
    let bytes = line.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some((len, has_zero)) = string_len(&bytes[at..]) else { return false };
                let text = &line[at..at + len];
                let is_name = bytes[at + len..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                // Names that are one in NFC count by their order, which jsonb does not keep.
                if has_zero || is_name && nfc(text) != text {
                    return false;
                }
                at += len;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'N' | b'I' => return false,
            b'-' | b'0'..=b'9' => {
                let len =
                    bytes[at..].iter().take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
                let len = len.count();
                if !number_stays(&line[at..at + len]) {
                    return false;
                }
                // `-Infinity` comes here too, and goes on with its I.
                at += len;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    true
}

/// Bytes of the string at the beginning, with its quotes, and whether it has a zero in it.
fn string_len(bytes: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut has_zero) = (1, false);
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some((at + 1, has_zero));
        }
        has_zero |= bytes[at..].starts_with(b"\\u0000");
        at += 2;
    }
}

/// True if a number is a whole number, or none, before and behind.
fn number_stays(token: &str) -> bool {
    if token.len() > DIGITS_MAX {
        return false;
    }
    let Some((digits, exponent)) = token.split_once(['e', 'E']) else { return true };
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let Ok(exponent) = exponent.parse::<i32>() else { return false };
    // Digits stay behind the point, so that it is written.
    exponent.abs() <= 400 && i32::try_from(fraction).is_ok_and(|fraction| fraction - exponent > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_and_what_does_not() {
        for (line, stays) in [
            (r#"{"a": [1, -2, 1.50, 12345678901234567890123, -0, -0.0], "b": "1e5 NaN \" I", "c": null}"#, true),
            (r#"{"a": 1e-07}"#, true),
            (r#"{"a": 1.25e1}"#, true),
            (r#"{"a": 1.5e1}"#, false),
            (r#"{"a": 1E5}"#, false),
            (r#"{"a": 1e+16}"#, false),
            (r#"{"a": 1e-4000}"#, false),
            (r#"{"a": NaN}"#, false),
            (r#"{"a": -Infinity}"#, false),
            (r#"{"a": "x\u0000"}"#, false),
            (r#"{"a\u0000": 1}"#, false),
            ("{\"\u{e9}\": 1}", true),
            ("{\"e\u{301}\": 1}", false),
            ("{\"a\": \"e\u{301}\"}", true),
            (r#"{"\u0065": 1}"#, true),
        ] {
            assert_eq!(keeps(line), stays, "{line}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(keeps(&deep(1000)) && !keeps(&deep(1001)));
        assert!(!keeps(&"1".repeat(1001)));
    }
}
