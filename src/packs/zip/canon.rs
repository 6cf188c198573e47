//! Whether a zip is written as `zip-v1` has it, beside what is in its members.

use crate::archives::ZipRecords;
use crate::model::Timestamp;

use super::headers::{FIRST, Member, SHORT, Written, end};

/// Walks over the records of a zip.
#[derive(Debug)]
pub(crate) struct Canon {
    /// The number of the next member and where it begins; nothing if that is not known.
    next: Option<(u64, u64)>,
    /// How contents are compressed.
    method: Option<u16>,
}

impl Canon {
    pub(crate) fn new() -> Self {
        Self { next: Some((0, 0)), method: None }
    }

    /// What of the next member's records is not as it is written.
    pub(crate) fn member(&mut self, found: &ZipRecords) -> Option<&'static str> {
        // Behind one that cannot be read nothing is known.
        let known = self.next.filter(|(number, _)| *number == found.number);
        let stands = known.is_none_or(|(_, next)| next == found.offset);
        let len = (found.local.len() + found.behind.len()) as u64;
        let end = found.offset.checked_add(len).and_then(|end| end.checked_add(found.stored));
        self.next = end.map(|end| (found.number + 1, end));
        if !stands {
            return Some("it does not stand right behind the member in front of it");
        }
        let is_file = found.mode & 0o170_000 == 0o100_000;
        let method = if is_file && found.size > 0 { *self.method.get_or_insert(found.method) } else { 0 };
        if found.method != method || !matches!(method, 0 | 8 | 93) {
            return Some("it is compressed otherwise than the others");
        }
        if is_written_so(found) {
            return None;
        }
        self.next = None;
        Some("its headers in the zip are written otherwise than zip-v1 has them")
    }
}

fn is_written_so(found: &ZipRecords) -> bool {
    let slash = if found.mode & 0o170_000 == 0o040_000 { &b"/"[..] } else { b"" };
    // Of what is stored the sum is known beforehand, or not.
    let behind = found.is_streamed && found.size > SHORT;
    let (Ok(name), Some(mtime)) = (String::from_utf8(found.name.clone()), found.mtime) else { return false };
    let must = found.method != 0 && found.size > SHORT;
    if found.name != [&*found.path, slash].concat() || found.is_streamed != behind || must && !behind {
        return false;
    }
    // Of a time that no field can hold, since it is too long ago, the first one that a zip knows is left.
    let long_ago = Timestamp { seconds: i64::MIN, nanos: 0 };
    let times = [Some(mtime), Some(long_ago).filter(|_| mtime.seconds == FIRST)];
    times.into_iter().flatten().any(|mtime| {
        let member =
            Member { name: name.clone(), mode: found.mode, mtime, method: found.method, size: found.size, behind };
        is_as(&member, found)
    })
}

/// True if a member's records are as they are written of this one.
fn is_as(member: &Member, found: &ZipRecords) -> bool {
    let behind = member.behind;
    let written = Written { crc: found.crc, compressed: found.stored };
    let (mut local, mut trailer, mut central) = (Vec::new(), Vec::new(), Vec::new());
    member.put_local(&mut local, Some(written).filter(|_| !behind));
    if behind {
        member.put_behind(&mut trailer, written);
    }
    member.put_central(&mut central, written, found.offset);
    (local, trailer, central) == (found.local.clone(), found.behind.clone(), found.central.clone())
}

/// True if a zip ends so.
pub(crate) fn ends_so(members: u64, directory: (u64, u64), bytes: &[u8]) -> bool {
    end(members, directory.0, directory.1) == bytes
}
