//! Names as file systems that fold them see them: the same for names that differ in letter case alone, or in the way their
//! accents are written.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// A name or path, folded; bytes that are not UTF-8 stay what they are.
#[must_use]
pub fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        let has_large = name.iter().any(u8::is_ascii_uppercase);
        return if has_large { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
    }
    let mut folded = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        folded.extend(chunk.valid().nfd().map(one).nfc().collect::<String>().into_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(folded)
}

/// Simple case folding, as file systems do it: one character for one, so that ß stays apart from ss.
fn one(c: char) -> char {
    let upper = single(c.to_uppercase()).unwrap_or(c);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_or_in_how_accents_are_written() {
        for (a, b, alike) in [
            ("Makefile", "makefile", true),
            ("a/B", "A/b", true),
            ("a", "b", false),
            ("\u{e9}t\u{e9}", "e\u{301}T\u{c9}", true),
            ("ΣΑΣ", "σας", true),
            ("stra\u{df}e", "strasse", false),
            ("\u{212b}", "\u{e5}", true),
            ("ﬁ", "fi", false),
        ] {
            assert_eq!(fold(a.as_bytes()) == fold(b.as_bytes()), alike, "{a} {b}");
        }
        assert_ne!(fold(b"caf\xe9"), fold(b"caf\xc9"));
    }
}
