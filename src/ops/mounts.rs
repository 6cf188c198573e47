//! What is mounted where, as the kernel's table (`/proc/self/mountinfo`) has it: to know without asking a mount, which may be
//! dead or closed to us.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// The number of its device, as `stat` gives it.
    pub(crate) device: u64,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// The type of file system: `ext4`, `fuse.larder`.
    pub(crate) kind: String,
    /// What is mounted; bytes that are not UTF-8 are replaced.
    pub(crate) source: String,
}

impl Mounted {
    /// True if `larder mount` made it.
    pub(crate) fn is_larder(&self) -> bool {
        self.kind == "fuse.larder" || (self.kind == "fuse" && self.source.starts_with("larder:"))
    }
}

/// What is mounted at a path: of several mounts the one on top. The path is absolute and without symlinks.
pub(crate) fn mounted_at(path: &Path) -> Option<Mounted> {
    rows(&table()).filter(|mounted| mounted.point == path).last()
}

/// The mount that a path is in, or at.
pub(crate) fn mount_of(path: &Path) -> Option<Mounted> {
    innermost(&table(), path)
}

/// True if the file system with this device number is a mount that `larder mount` made.
pub(crate) fn is_larder(device: u64) -> bool {
    rows(&table()).any(|mounted| mounted.device == device && mounted.is_larder())
}

/// Without `/proc` nothing is known.
fn table() -> Vec<u8> {
    std::fs::read("/proc/self/mountinfo").unwrap_or_default()
}

/// In the order in which they were mounted.
pub(crate) fn rows(table: &[u8]) -> impl Iterator<Item = Mounted> {
    table.split(|b| *b == b'\n').filter_map(parse)
}

fn innermost(table: &[u8], path: &Path) -> Option<Mounted> {
    // Of equals the last one counts: it is on top.
    rows(table).filter(|m| path.starts_with(&m.point)).max_by_key(|m| m.point.as_os_str().len())
}

fn parse(row: &[u8]) -> Option<Mounted> {
    let mut fields = row.split(|b| *b == b' ');
    let (device, _, point) = (fields.nth(2)?, fields.next()?, fields.next()?);
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    let mut tail = fields.skip_while(|f| *f != b"-").skip(1);
    let text = |field: &[u8]| unescaped(field).to_string_lossy().into_owned();
    let (kind, source) = (text(tail.next()?), text(tail.next()?));
    Some(Mounted { device, point: unescaped(point).into(), kind, source })
}

/// Octal escapes undone.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let byte = code.and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| u8::from_str_radix(c, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_on_top_is_found() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 22 0:50 / /mnt/a\\040b ro,nosuid - fuse larder:/store ro\n\
            41 22 0:51 / /mnt/x ro - fuse.larder larder:/store ro\n\
            43 22 0:53 / /mnt/y ro - fuse.sshfs host: rw\n\
            42 41 0:52 / /mnt/x rw shared:5 - tmpfs tmpfs rw\n";
        let at = |path: &str| rows(table).filter(|m| m.point == Path::new(path)).last();
        let known = |path: &str| at(path).map(|m| (rustix::fs::minor(m.device), m.is_larder()));
        assert_eq!(known("/mnt/a b"), Some((50, true)));
        assert_eq!(known("/mnt/x"), Some((52, false)));
        assert_eq!(known("/mnt/y"), Some((53, false)));
        assert_eq!(known("/mnt"), None);
        let of = |path: &str| innermost(table, Path::new(path)).map(|m| rustix::fs::minor(m.device));
        assert_eq!([of("/mnt/x/deep"), of("/mnt/xy"), of("/mnt/a b")], [Some(52), Some(1), Some(50)]);
    }
}
