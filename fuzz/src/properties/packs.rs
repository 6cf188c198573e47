//! What packs say of themselves.

use crate::packs::checksums::{parse_line, put_line};
use crate::packs::manifest::{ManifestError, read_manifest};

/// Lines of checksums.sha256.
pub(super) fn checksums(bytes: &[u8]) -> bool {
    let mut any = false;
    for line in bytes.split(|b| *b == b'\n') {
        let Some((hex, name)) = parse_line(line) else { continue };
        any = true;
        assert!(hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && !name.is_empty());
        let mut written = Vec::new();
        put_line(&mut written, &hex, &name);
        assert_eq!(written.pop(), Some(b'\n'));
        assert!(!written.contains(&b'\n'), "a line is one line");
        assert_eq!(parse_line(&written), Some((hex, name)));
    }
    any
}

/// manifest.json.
pub(super) fn manifest(bytes: &[u8]) -> bool {
    let pieces = || {
        let mut pieces = Vec::new();
        let read = read_manifest::<ManifestError>(bytes, &mut |piece| {
            pieces.push(format!("{piece:?}"));
            Ok(())
        });
        read.map(|()| pieces)
    };
    let Ok(found) = pieces() else { return false };
    assert!(found.len() >= 2, "a head and a tail");
    assert!(pieces().is_ok_and(|again| again == found), "it is not read the same twice");
    true
}
