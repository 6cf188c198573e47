//! Patterns that a policy can name.

/// Patterns that a policy can name, beside those that always apply.
pub(super) const KNOWN: [(&str, &str); 5] = [
    ("email", r"(?-u:\b)[a-z0-9._%+-]{1,64}(?:@|%40)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*\.[a-z]{2,24}(?-u:\b)"),
    ("ipv4", r"(?-u:\b)(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?-u:\b)"),
    ("credit_card", r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)"),
    ("iban", r"(?-i)(?-u:\b)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?-u:\b)"),
    ("us_ssn", r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)"),
];

/// The check digit of Luhn, and a first digit as cards have it: moments in milliseconds are none.
pub(super) fn is_card(text: &str) -> bool {
    if !text.starts_with(['2', '3', '4', '5', '6']) {
        return false;
    }
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let sum: u32 =
        digits.enumerate().map(|(n, d)| if n % 2 == 0 { d } else { d * 2 - if d > 4 { 9 } else { 0 } }).sum();
    sum.is_multiple_of(10)
}

/// The names of patterns that are known.
pub fn known_patterns() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// The pattern that was probably meant: of a plain word that is no known name, but much like one. As a regular expression it would find that word alone.
#[must_use]
pub fn misspelt_pattern(word: &str) -> Option<&'static str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace(['_', '-', ' '], "");
    let is_word = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '));
    let folded = fold(word);
    if !is_word || folded.len() < 3 || folded.len() > 24 || known_patterns().any(|known| known == word) {
        return None;
    }
    known_patterns().find(|known| {
        let known = fold(known);
        let few = if known.len() > 4 { 2 } else { 1 };
        known.contains(&folded) || folded.contains(&known) || distance(&known, &folded) <= few
    })
}

/// How many letters must be put in, taken out or changed to make one word of another (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = n + 1;
        for (m, b) in other.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[m + 1];
            row[m + 1] = changed.min(corner + 1).min(row[m] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_meant_as_names() {
        for (word, meant) in [
            ("emial", "email"),
            ("E-Mail", "email"),
            ("emails", "email"),
            ("mail", "email"),
            ("ipv6", "ipv4"),
            ("creditcard", "credit_card"),
            ("credit-crad", "credit_card"),
            ("card", "credit_card"),
            ("IBAN", "iban"),
            ("ssn", "us_ssn"),
        ] {
            assert_eq!(misspelt_pattern(word), Some(meant), "{word}");
        }
        for other in ["email", "iban", "ticket", "phone", "ip", "(?:emial)", "emial+", "^mail$", "", "secret"] {
            assert_eq!(misspelt_pattern(other), None, "{other}");
        }
        assert_eq!((distance("abc", ""), distance("kitten", "sitting")), (3, 3));
    }
}
