//! Names of members: UTF-8, and nothing that an extractor could take for a way out of its folder.

/// Stands in front of the two hex digits of a byte that cannot be written as it is.
const MARK: char = char::REPLACEMENT_CHARACTER;

/// The name of a member, and whether it is written otherwise than it is.
///
/// Bytes that are not UTF-8, backslashes, the colon of what looks like a drive in front, and U+FFFD itself are written as U+FFFD
/// and two hex digits for each byte. So two paths never become one name, and a path is the same again when it is read back so.
pub(super) fn member_name(path: &[u8], is_folder: bool) -> (String, bool) {
    let mut name = String::with_capacity(path.len() + 1);
    let drive = matches!(path, [letter, b':', ..] if letter.is_ascii_alphabetic());
    let mut changed = false;
    let mut mark = |name: &mut String, bytes: &[u8]| {
        changed = true;
        for byte in bytes {
            name.push(MARK);
            name.push_str(&format!("{byte:02X}"));
        }
    };
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | MARK => mark(&mut name, c.encode_utf8(&mut [0; 4]).as_bytes()),
                ':' if drive && name.len() == 1 => mark(&mut name, b":"),
                _ => name.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            mark(&mut name, chunk.invalid());
        }
    }
    if is_folder {
        name.push('/');
    }
    (name, changed)
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
            ("\u{fffd}E9".as_bytes(), "\u{fffd}EF\u{fffd}BF\u{fffd}BDE9"),
        ] {
            assert_eq!(member_name(path, false), (name.to_owned(), name.as_bytes() != path));
        }
        assert_eq!(member_name(b"a", true), ("a/".to_owned(), false));
    }
}
