//! What packs say of themselves.

use std::io::Cursor;
use std::path::Path;

use crate::archives::{ArchiveError, Content, Limits, Member, MemberKind, Opened, Part};
use crate::codec::ContentDigest;
use crate::model::Digest;
use crate::packs::audit::{AuditError, Audited, Visitor, audit};
use crate::packs::checksums::{parse_line, put_line};
use crate::packs::manifest::{Head, ManifestError, Tail, read_manifest};

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

/// A pack of Larder's, or what is nearly one, as a tar or a zip: manifest, inventory and checksums side by side with what is in the archive.
pub(super) fn pack(bytes: &[u8]) -> bool {
    let (strict, lenient) = (look(bytes, false), look(bytes, true));
    assert_eq!(look(bytes, true), lenient, "it is not read the same twice");
    let Some(whole) = &strict.read else {
        assert!(
            lenient.read.is_none() || lenient.faults > 0,
            "who takes nothing wrong refuses it, and who names all finds none"
        );
        return false;
    };
    assert!(lenient.faults == 0 && lenient.read.as_ref() == Some(whole), "it is taken, and something is wrong");
    assert_eq!((strict.begun, strict.ended), (whole.snapshots, whole.snapshots));
    for (path, kind, given, _) in &strict.items {
        let size = if let MemberKind::File { size } = kind { *size } else { 0 };
        assert_eq!(size, *given, "{path:?} was not given whole");
    }
    whole.snapshots > 0
}

/// What one who looks at a pack saw.
#[derive(Debug, Default, PartialEq)]
struct Looked {
    /// Nothing if it was not read to its end.
    read: Option<Audited>,
    begun: u64,
    ended: u64,
    faults: u64,
    /// Path, sort, bytes of the content, and its BLAKE3.
    items: Vec<(Box<[u8]>, MemberKind, u64, Digest)>,
    goes_on: bool,
}

fn look(bytes: &[u8], goes_on: bool) -> Looked {
    let limits = Limits { bytes: Some(4 << 20), members: 10_000, ratio: 100, ..Limits::default() };
    let from = Cursor::new(bytes.to_vec());
    let opened = if bytes.starts_with(b"PK") { Opened::Zip(Box::new(from)) } else { Opened::Tar(Box::new(from)) };
    let mut looked = Looked { goes_on, ..Looked::default() };
    looked.read = audit::<AuditError>(opened, &limits, Path::new("/nonexistent"), &mut looked).ok();
    looked
}

impl Visitor<AuditError> for Looked {
    fn begin(&mut self, _: &Head) -> Result<(), AuditError> {
        self.begun += 1;
        Ok(())
    }

    fn member(&mut self, member: &Member, _: bool, content: &mut dyn Content) -> Result<(), AuditError> {
        let (mut given, mut buffer, mut digest) = (0, Vec::new(), ContentDigest::default());
        loop {
            buffer.clear();
            let part = match content.next(&mut buffer) {
                Ok(part) => part,
                // Of what is not Larder's nobody else tells it.
                Err(_) if self.goes_on && self.begun > self.ended => return Ok(()),
                Err(error) => {
                    let error = ArchiveError::from(error);
                    self.faults += 1;
                    return if self.goes_on && error.is_of_member() { Ok(()) } else { Err(error.into()) };
                }
            };
            digest.update(&buffer);
            given += buffer.len() as u64;
            match part {
                Part::Data => {}
                Part::Hole(len) => {
                    digest.zeros(len);
                    given += len;
                }
                Part::End => break,
            }
        }
        self.items.push((member.path.clone(), member.kind.clone(), given, digest.finish()));
        Ok(())
    }

    fn end(&mut self, _: &Tail) -> Result<(), AuditError> {
        self.ended += 1;
        Ok(())
    }

    fn mismatch(&mut self, error: AuditError) -> Result<(), AuditError> {
        self.faults += 1;
        if self.goes_on { Ok(()) } else { Err(error) }
    }
}
