//! Files that the user names on the command line: short ones are read whole, and nothing is waited for without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Bytes that a configuration, a list of patterns or an identity may have.
const MAX: u64 = 1 << 20;

/// Opens a regular file, or `/dev/null`, which is empty. A pipe that has a name, a device or a folder is refused, not waited for.
///
/// What the shell hands over as a descriptor (`<(command)` is `/dev/fd/63`) is opened as it is: its other end is there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if path.starts_with("/dev/fd") {
        return File::open(path);
    }
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() || (meta.file_type().is_char_device() && meta.rdev() == rustix::fs::makedev(1, 3)) {
        return Ok(file);
    }
    Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
}

/// Reads a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Room for all of it at once: of secrets no copy is left behind where a buffer has grown.
    let room = file.metadata()?.len().min(MAX) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
    file.take(MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX {
        return Err(Error::new(ErrorKind::InvalidInput, format!("it is longer than {} MiB", MAX >> 20)));
    }
    Ok(bytes)
}

/// Reads a text of at most 1 MiB.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_regular_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_text(&file).unwrap(), "text");
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
        std::fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("longer than 1 MiB"));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), dir.path()] {
            assert!(read(path).unwrap_err().to_string().contains("not a regular file"), "{}", path.display());
        }
    }
}
