//! Where the current version of a record stands: `by-key/<source>/<entity>/<key>.json`, and `…/.by-hash/<hash>.json` of one without a key.

use crate::codec::Sha256;
use crate::model::{InvalidName, Name};
use crate::records::{Record, RecordHash};

/// The folder of the current versions.
pub(super) const BY_KEY: &str = "by-key";
/// Below an entity: records without a key.
const BY_HASH: &[u8] = b".by-hash";
/// Bytes of a name that are kept of a long one.
const NAME_BYTES: usize = 200;

/// A path below [`BY_KEY`], its names behind each other with a NUL between them: in this form paths sort as they stand in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Box<[u8]>);

impl KeyPath {
    /// Of a record.
    pub(super) fn of(record: &Record) -> Self {
        match record.key() {
            Some(key) => Self::keyed(&record.source_system, &record.entity_type, key),
            None => Self::keyless(&record.source_system, &record.entity_type, &record.content_sha256),
        }
    }

    /// Of a key.
    pub(super) fn keyed(source: &str, entity: &str, key: &str) -> Self {
        Self::join(source, entity, &[&with_end(file_name(key))])
    }

    /// Of a key in folders that are known by their names.
    pub(super) fn below(source: &Name, entity: &Name, key: &str) -> Self {
        let key = with_end(file_name(key));
        Self([source.as_bytes(), entity.as_bytes(), &key].join(&0).into())
    }

    /// Of a record without one.
    pub(super) fn keyless(source: &str, entity: &str, hash: &RecordHash) -> Self {
        Self::join(source, entity, &[BY_HASH, format!("{hash}.json").as_bytes()])
    }

    fn join(source: &str, entity: &str, behind: &[&[u8]]) -> Self {
        let mut path = [file_name(source), file_name(entity)].join(&0);
        for name in behind {
            path.push(0);
            path.extend_from_slice(name);
        }
        Self(path.into())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folders, from the root on, and the file's name.
    pub(super) fn names(&self) -> Result<(Vec<Name>, Name), InvalidName> {
        let mut folders = vec![Name::new(BY_KEY.as_bytes())?];
        let mut file = Name::new(BY_KEY.as_bytes())?;
        for (at, name) in self.0.split(|b| *b == 0).enumerate() {
            if at > 0 {
                folders.push(file);
            }
            file = Name::new(name)?;
        }
        Ok((folders, file))
    }

    /// The same as text with `/` between the names, from the root on.
    pub(super) fn path(&self) -> Vec<u8> {
        let below = self.0.iter().map(|b| if *b == 0 { b'/' } else { *b });
        BY_KEY.bytes().chain(*b"/").chain(below).collect()
    }
}

fn with_end(mut name: Vec<u8>) -> Vec<u8> {
    name.extend_from_slice(b".json");
    name
}

/// A text as the name of a file: `/`, `%`, control characters and a dot in front as `%` and two digits for each byte; of a long one the
/// first 200 bytes and half of its SHA-256. No two texts have the same name: a short one has no more than 200 bytes, a long one more.
pub(super) fn file_name(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut cut = 0;
    for (at, c) in text.char_indices() {
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        if c.is_control() || c == '/' || c == '%' || (at == 0 && c == '.') {
            bytes.iter().for_each(|b| name.extend_from_slice(format!("%{b:02X}").as_bytes()));
        } else {
            name.extend_from_slice(bytes);
        }
        if name.len() <= NAME_BYTES {
            cut = name.len();
        }
    }
    if name.is_empty() {
        // No other text gives a percent sign alone.
        return b"%".to_vec();
    }
    if name.len() > NAME_BYTES {
        let mut hash = Sha256::default();
        hash.update(text.as_bytes());
        name.truncate(cut);
        name.push(b'-');
        name.extend_from_slice(&hash.hex().as_bytes()[..32]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_names() {
        let name = |text: &str| String::from_utf8(file_name(text)).unwrap();
        for (text, wanted) in [
            ("Ada Lovelace", "Ada Lovelace"),
            ("a/b%c", "a%2Fb%25c"),
            (".hidden", "%2Ehidden"),
            ("a.b", "a.b"),
            ("..", "%2E."),
            ("tab\tnul\0del\u{7f}", "tab%09nul%00del%7F"),
            ("next\u{85}line", "next%C2%85line"),
            ("é", "é"),
            ("", "%"),
        ] {
            assert_eq!(name(text), wanted, "{text:?}");
            assert!(Name::new(wanted.as_bytes()).is_ok());
        }
        assert_eq!(name(&"x".repeat(200)), "x".repeat(200));
        let long = name(&"é".repeat(101));
        assert_eq!((long.len(), long.starts_with(&"é".repeat(100))), (233, true));
        assert_ne!(long, name(&"é".repeat(102)));
        assert!(name(&"/".repeat(300)).starts_with(&"%2F".repeat(66)), "no half of an escape");
    }

    #[test]
    fn paths_sort_as_trees_do() {
        let path = KeyPath::keyed("s", "e", "a/b");
        let (folders, file) = path.names().unwrap();
        let names: Vec<_> = folders.iter().map(Name::as_bytes).collect();
        assert_eq!((names, file.as_bytes()), (vec![&b"by-key"[..], b"s", b"e"], &b"a%2Fb.json"[..]));
        assert_eq!(path.path(), b"by-key/s/e/a%2Fb.json");
        assert!(KeyPath::keyed("a", "b", "c") < KeyPath::keyed("a!", "b", "c"));
        let keyless = KeyPath::keyless("s", "e", &RecordHash::from_bytes([1; 32]));
        assert!(keyless < path && keyless.path().starts_with(b"by-key/s/e/.by-hash/0101"));
    }
}
