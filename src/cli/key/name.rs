//! How a key is named on the command line: by its name, the first digits of it, or its label.

use crate::model::{KeyInfo, KeyName, Kind};

use super::super::error::CliError;

/// Fewest digits of a name.
const DIGITS_MIN: usize = 4;

/// The key that is meant, among those that the owners know and others that lie in the store.
pub(super) fn find(text: &str, keys: &[KeyInfo], others: &[KeyName]) -> Result<KeyName, CliError> {
    let digits = text.len() >= DIGITS_MIN && text.bytes().all(|b| b.is_ascii_hexdigit());
    let begins = |name: &KeyName| digits && name.to_string().starts_with(&text.to_ascii_lowercase());
    // A whole name means that key, whatever labels others have.
    let is_whole = |name: &&KeyName| text.parse() == Ok(**name);
    if let Some(whole) = keys.iter().map(|key| &key.name).chain(others).find(is_whole) {
        return Ok(*whole);
    }
    let mut found: Vec<KeyName> = keys
        .iter()
        .filter(|key| (key.label == text && !text.is_empty()) || begins(&key.name))
        .map(|key| key.name)
        .collect();
    found.extend(others.iter().copied().filter(begins));
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CliError::new(Kind::NotFound, format!("the store has no key {text:?}"))
            .hint("`larder key list` shows names and labels; of a name, four digits are enough")),
        several => {
            Err(CliError::new(Kind::Usage, format!("{text:?} fits {} keys; nothing was changed", several.len()))
                .hint("name it by more digits of its name: `larder key list` shows them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ext, Role, Timestamp};

    #[test]
    fn by_digits_or_label_and_never_two() {
        let key = |first: u8, label: &str| KeyInfo {
            name: KeyName::from_bytes([0xab, 0xcd, first, 0, 0, 0, 0, 0]),
            role: Role::Owner,
            recipient: String::new(),
            label: label.to_owned(),
            added: Timestamp::EPOCH,
            ext: Ext::new(),
        };
        let keys = [key(1, "web"), key(2, "db"), key(3, "db"), key(4, "abcd010000000000")];
        let other = KeyName::from_bytes([0xef; 8]);
        assert_eq!(find("web", &keys, &[other]).unwrap(), keys[0].name);
        assert_eq!(find("ABCD02", &keys, &[other]).unwrap(), keys[1].name);
        assert_eq!(find("efef", &keys, &[other]).unwrap(), other);
        assert_eq!(find("abcd010000000000", &keys, &[other]).unwrap(), keys[0].name);
        for refused in ["db", "abcd", "abc", "", "none"] {
            assert!(find(refused, &keys, &[other]).is_err(), "{refused}");
        }
    }
}
