//! How entries are shown: their paths, kinds, modes and owners.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Bits, Body, Entry};

use super::output::escaped;

/// A path, as the members that every object with a path has.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PathJson {
    /// Names joined by `/`, from the root unless the object says from where; bytes that are not UTF-8 are replaced.
    path: String,
    /// The path's bytes in hexadecimal, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl From<&[u8]> for PathJson {
    fn from(path: &[u8]) -> Self {
        let hex = || path.iter().map(|b| format!("{b:02x}")).collect();
        Self {
            path: String::from_utf8_lossy(path).into_owned(),
            path_hex: std::str::from_utf8(path).is_err().then(hex),
        }
    }
}

/// The letter that `ls -l` has for an entry's kind, and the word for it.
pub(super) fn kind(entry: &Entry) -> (char, &'static str) {
    match entry.body {
        Body::File(_) => ('-', "file"),
        Body::Folder(_) => ('d', "folder"),
        Body::Symlink(_) => ('l', "symlink"),
        Body::Fifo => ('p', "fifo"),
        Body::Socket => ('s', "socket"),
        Body::CharDevice(..) => ('c', "character device"),
        Body::BlockDevice(..) => ('b', "block device"),
    }
}

/// Kind and mode as `ls -l` shows them.
pub(super) fn mode_text(entry: &Entry) -> String {
    let mode = entry.mode;
    let mut text = String::from(kind(entry).0);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text.push(if entry.bits.has(Bits::ACCESS_ACL) { '+' } else { ' ' });
    text
}

/// An owner or group: its name, else its number.
pub(super) fn owner(name: &[u8], id: u32) -> String {
    if name.is_empty() { id.to_string() } else { escaped(&String::from_utf8_lossy(name)) }
}

/// BLAKE3 of a file's content in hexadecimal, where it was kept.
pub(super) fn content_digest(entry: &Entry) -> Option<String> {
    entry.file()?.content.map(|digest| digest.to_string())
}
