//! Members' headers: ustar, and PAX records for what ustar cannot hold. The one door to the `tar` crate, with `member`.
//!
//! Names that are not UTF-8 stand in the records as they are, as GNU tar writes them; `hdrcharset=BINARY` would make it complain.

use tar::{EntryType, Header};

use crate::model::Timestamp;
use crate::packs::manifest::Time;

/// Name of the headers that hold PAX records; readers of PAX never show it.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// A member of a tar, as its header tells it.
pub(super) struct Member<'a> {
    pub(super) kind: EntryType,
    pub(super) path: Vec<u8>,
    /// Name in the ustar header where it is not the path (sparse files).
    pub(super) short_path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: &'a [u8],
    pub(super) group: &'a [u8],
    pub(super) mtime: Timestamp,
    /// Bytes that follow, padding not counted.
    pub(super) size: u64,
    pub(super) device: (u32, u32),
    /// More records, behind the standard ones.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// PAX records being gathered.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// `length key=value\n`, where the length counts itself.
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.0.extend_from_slice(len.to_string().as_bytes());
        for part in [&b" "[..], key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// A record for a text that a field of `room` bytes cannot hold as it is.
    fn text(&mut self, key: &[u8], value: &[u8], room: usize) {
        if value.len() > room || !value.is_ascii() {
            self.put(key, value);
        }
    }

    /// What the field gets: the number, or 0 and a record if it needs more than so many octal digits.
    fn number(&mut self, key: &[u8], value: u64, digits: u32) -> u64 {
        fits(value, digits).unwrap_or_else(|| {
            self.put(key, value.to_string().as_bytes());
            0
        })
    }
}

/// Copies what fits, ends with zeros.
fn fill(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
    field[len..].fill(0);
}

/// Value of a numeric field if it fits into that many octal digits.
fn fits(value: u64, digits: u32) -> Option<u64> {
    (value < 1 << (3 * digits)).then_some(value)
}

/// Puts a member's headers behind `out`.
pub(super) fn put_headers(out: &mut Vec<u8>, member: &Member) {
    let mut records = Records::default();
    let link = member.link.as_deref().unwrap_or_default();
    let mut header = Header::new_ustar();
    header.set_entry_type(member.kind);
    header.set_mode(u32::from(member.mode));
    if member.short_path.is_none() {
        records.text(b"path", &member.path, 100);
    }
    records.text(b"linkpath", link, 100);
    // Fields of 32 bytes that end in a zero byte.
    records.text(b"uname", member.user, 31);
    records.text(b"gname", member.group, 31);
    header.set_size(records.number(b"size", member.size, 11));
    header.set_uid(records.number(b"uid", u64::from(member.uid), 7));
    header.set_gid(records.number(b"gid", u64::from(member.gid), 7));
    let whole = u64::try_from(member.mtime.seconds).ok().and_then(|s| fits(s, 11));
    header.set_mtime(whole.unwrap_or(0));
    if whole.is_none() || member.mtime.nanos != 0 {
        records.put(b"mtime", Time(member.mtime).to_string().as_bytes());
    }
    let major = records.number(b"SCHILY.devmajor", u64::from(member.device.0), 7);
    let minor = records.number(b"SCHILY.devminor", u64::from(member.device.1), 7);
    for (key, value) in &member.records {
        records.put(key, value);
    }
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, member.short_path.as_deref().unwrap_or(&member.path));
        fill(&mut ustar.linkname, link);
        fill(&mut ustar.uname[..31], member.user);
        fill(&mut ustar.gname[..31], member.group);
        if matches!(member.kind, EntryType::Char | EntryType::Block) {
            ustar.set_device_major(u32::try_from(major).unwrap_or(0));
            ustar.set_device_minor(u32::try_from(minor).unwrap_or(0));
        }
    }
    if !records.0.is_empty() {
        put_pax(out, &records.0);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}

fn put_pax(out: &mut Vec<u8>, records: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, PAX_NAME);
    }
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    pad(out, records.len() as u64);
}

/// Zeros behind a content of this length, up to a whole block of 512 bytes.
pub(super) fn pad(out: &mut Vec<u8>, len: u64) {
    let zeros = (512 - len % 512) % 512;
    out.resize(out.len() + usize::try_from(zeros).unwrap_or(0), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for (value, wanted) in [(1, "6 k=x\n"), (4, "9 k=xxxx\n"), (5, "11 k=xxxxx\n"), (6, "12 k=xxxxxx\n")] {
            let mut records = Records::default();
            records.put(b"k", "x".repeat(value).as_bytes());
            assert_eq!(String::from_utf8_lossy(&records.0), wanted);
        }
        for len in [90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 994, 995] {
            let mut records = Records::default();
            records.put(b"k", &vec![b'x'; len]);
            let told: usize =
                String::from_utf8_lossy(&records.0).split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0);
            assert_eq!(told, records.0.len());
        }
    }
}
