//! Names of members: UTF-8, and nothing that an extractor could take for a way out of its folder.

use crate::packs::manifest::ItemKind;

/// Longest name from the root: headers hold it with the pack's own folders and a few fields in 64 KiB.
pub(super) const NAME_MAX: usize = 65_000;
/// Stands in front of the two hex digits of a byte that cannot be written as it is.
const MARK: char = char::REPLACEMENT_CHARACTER;

/// What something of this sort and path is called in a zip, from the snapshot's root, a folder without its slash; nothing if it is not in it.
pub(in crate::packs) fn name_of(kind: ItemKind, path: &[u8]) -> Option<String> {
    if !matches!(kind, ItemKind::File | ItemKind::Folder | ItemKind::Symlink) {
        return None;
    }
    Some(member_name(path, false).0).filter(|name| name.len() <= NAME_MAX)
}

/// The name of a member, and whether it is written otherwise than it is.
///
/// Written as U+FFFD and two hex digits for each byte are: bytes that are not UTF-8, control characters and those that turn the
/// direction of writing, backslashes, the colon of what looks like a drive in front, a dot or blank at the end of a name, the
/// first letter of what Windows takes for a device, and U+FFFD itself. So two paths never become one name, and a path is the same
/// again when it is read back so.
pub(super) fn member_name(path: &[u8], is_folder: bool) -> (String, bool) {
    let mut name = String::with_capacity(path.len() + 1);
    let mut changed = false;
    for (at, part) in path.split(|b| *b == b'/').enumerate() {
        if at > 0 {
            name.push('/');
        }
        changed |= push_part(&mut name, part, at == 0);
    }
    if is_folder {
        name.push('/');
    }
    (name, changed)
}

/// Adds one name of a path; tells if it was changed.
fn push_part(name: &mut String, part: &[u8], is_first: bool) -> bool {
    let drive = is_first && matches!(part, [letter, b':', ..] if letter.is_ascii_alphabetic());
    let mut changed = false;
    let mut mark = |name: &mut String, bytes: &[u8]| {
        changed = true;
        for byte in bytes {
            name.push(MARK);
            name.push_str(&format!("{byte:02X}"));
        }
    };
    let device = is_device(part);
    let mut at = 0;
    for chunk in part.utf8_chunks() {
        for c in chunk.valid().chars() {
            let bytes = c.len_utf8();
            let astray = (at == 0 && device)
                || (at == 1 && drive)
                || (at + bytes == part.len() && matches!(c, '.' | ' '))
                || is_harmful(c);
            if astray {
                mark(name, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                name.push(c);
            }
            at += bytes;
        }
        if !chunk.invalid().is_empty() {
            mark(name, chunk.invalid());
            at += chunk.invalid().len();
        }
    }
    changed
}

/// True for what moves a cursor, begins a line or turns the direction of writing, and for what is not taken as itself. Joiners
/// stay: names in many languages, and emoji, have them.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\\' | MARK)
}

/// True for the names that Windows gives to devices, whatever stands behind a dot or colon: `con`, `NUL.txt`, `com1`.
fn is_device(part: &[u8]) -> bool {
    let stem = part.split(|b| matches!(b, b'.' | b':')).next().unwrap_or_default().trim_ascii_end();
    let stem = String::from_utf8_lossy(stem).to_ascii_uppercase();
    let port = |front| {
        stem.strip_prefix(front).is_some_and(|n: &str| {
            let mut chars = n.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || port("COM") || port("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, name) in [
            (&b"a/b c"[..], "a/b c"),
            ("ä/日本".as_bytes(), "ä/日本"),
            (b"caf\xe9", "caf\u{fffd}E9"),
            (b"a\\..\\b", "a\u{fffd}5C..\u{fffd}5Cb"),
            (b"C:/x", "C\u{fffd}3A/x"),
            (b"dir/C:", "dir/C:"),
            (b"ab:c", "ab:c"),
            (b"a\x1b[2J\n\x7f", "a\u{fffd}1B[2J\u{fffd}0A\u{fffd}7F"),
            ("x\u{202e}y\u{85}".as_bytes(), "x\u{fffd}E2\u{fffd}80\u{fffd}AEy\u{fffd}C2\u{fffd}85"),
            (b"con/NUL.txt", "\u{fffd}63on/\u{fffd}4EUL.txt"),
            (b"COM1 .x/lpt0:y", "\u{fffd}43OM1 .x/\u{fffd}6Cpt0:y"),
            ("a\u{200d}b".as_bytes(), "a\u{200d}b"),
            ("com²".as_bytes(), "\u{fffd}63om²"),
            (b"console/com10/.con", "console/com10/.con"),
            (b"end./end /.../a.b", "end\u{fffd}2E/end\u{fffd}20/..\u{fffd}2E/a.b"),
            (b" ", "\u{fffd}20"),
            ("\u{fffd}E9".as_bytes(), "\u{fffd}EF\u{fffd}BF\u{fffd}BDE9"),
        ] {
            assert_eq!(member_name(path, false), (name.to_owned(), name.as_bytes() != path));
        }
        assert_eq!(member_name(b"a", true), ("a/".to_owned(), false));
    }
}
