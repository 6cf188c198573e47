//! `dir`, canonical form `dir-v1`: a pack as a folder on a file system.
//!
//! Content is what a restore makes of it. Each file is read back from there: for its SHA-256, and to be compared with its BLAKE3.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::codec::{ContentDigest, Sha256};
use crate::model::{Digest, Progress, Timestamp};
use crate::ops::restore::{RestoreOptions, Select, restore};
use crate::tree::{Visit, in_order};

use super::PackError;
use super::archive::{Archive, Extent, Tree, Witness, WriteFile};
use super::loss::{Loss, Losses};
use super::sums::{Sum, Sums, Told};

/// A folder that is being filled.
pub(super) struct Dir<'a> {
    base: PathBuf,
    progress: &'a dyn Progress,
    extent: Extent,
    /// Folders that get their times at the end.
    times: Vec<(PathBuf, Timestamp)>,
}

impl<'a> Dir<'a> {
    /// `base`: an empty folder.
    pub(super) fn new(base: &Path, progress: &'a dyn Progress) -> Self {
        Self { base: base.to_owned(), progress, extent: Extent::default(), times: Vec::new() }
    }

    fn at(&self, name: &[u8]) -> PathBuf {
        self.base.join(OsStr::from_bytes(name))
    }

    /// Reads all files back.
    fn read_back(&self, tree: &Tree, mut sums: Option<&mut Sums>) -> Result<(), PackError> {
        let mut flow = tree.subject.flow().without_content();
        let base = self.at(&tree.prefix);
        in_order(
            || Some(flow.batch()).filter(|batch| !batch.is_empty()),
            |batch| {
                let mut told = Vec::new();
                for visit in batch {
                    match visit {
                        Visit::Enter { node, first, .. } if node.entry.file().is_some() => {
                            let sum = match first {
                                Some(_) => Told::Same,
                                None => {
                                    Told::Whole(sum_of(&base, &node.path, node.entry.file().and_then(|f| f.content))?)
                                }
                            };
                            told.push((node, sum));
                        }
                        Visit::Odd(node, error) | Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
                        _ => {}
                    }
                }
                Ok(told)
            },
            |told| {
                for (node, told) in told? {
                    if let Some(sums) = &mut sums {
                        sums.tell(&node, told)?;
                    }
                }
                if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
            },
        )
    }
}

/// The SHA-256 of a file that was restored, if its BLAKE3 is the one wanted.
fn sum_of(base: &Path, path: &[u8], wanted: Option<Digest>) -> Result<Sum, PackError> {
    let fail = |error: io::Error| PackError::Unproved {
        path: String::from_utf8_lossy(path).into_owned(),
        why: format!("it cannot be read back: {error}"),
    };
    let mut file = open_below(base, path).map_err(fail)?;
    let (mut sha256, mut blake3) = (Sha256::default(), ContentDigest::default());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                sha256.update(&buffer[..len]);
                blake3.update(&buffer[..len]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fail(e)),
        }
    }
    if wanted.is_some_and(|wanted| blake3.finish() != wanted) {
        return Err(fail(io::Error::other("its content is another")));
    }
    Ok(sha256.bytes())
}

/// Opens a file, name by name: a path can be longer than the system takes at once.
fn open_below(base: &Path, path: &[u8]) -> io::Result<File> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut names = path.split(|b| *b == b'/').peekable();
    let mut at = rustix::fs::open(base, flags | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    while let Some(name) = names.next() {
        let more = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::RDONLY };
        at = rustix::fs::openat(&at, OsStr::from_bytes(name), flags | more, Mode::empty())?;
    }
    Ok(File::from(at))
}

fn set_time(path: &Path, time: Timestamp) -> io::Result<()> {
    let time = time.to_system();
    File::open(path)?.set_times(FileTimes::new().set_accessed(time).set_modified(time))
}

impl Archive for Dir<'_> {
    fn folder(&mut self, name: &str, mtime: Timestamp) -> Result<(), PackError> {
        let path = self.at(name.as_bytes());
        let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        made.map_err(PackError::Write)?;
        self.times.push((path, mtime));
        self.extent.members += 1;
        Ok(())
    }

    fn file(&mut self, name: &str, mtime: Timestamp, len: u64, write: WriteFile) -> Result<(), PackError> {
        let path = self.at(name.as_bytes());
        let mut out = io::BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(PackError::Write)?);
        write(&mut out)?;
        let put = || -> io::Result<u64> {
            out.flush()?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            let len = file.metadata()?.len();
            drop(file);
            set_time(&path, mtime)?;
            Ok(len)
        };
        let written = put().map_err(PackError::Write)?;
        if written != len {
            return Err(PackError::length(name, len, written));
        }
        self.extent.members += 1;
        self.extent.bytes += len;
        Ok(())
    }

    fn tree(&mut self, tree: &Tree, sums: Option<&mut Sums>, witness: Witness) -> Result<Losses, PackError> {
        let subject = tree.subject;
        let mut flow = subject.flow().without_content();
        while let Some(visit) = flow.next() {
            witness(&visit);
        }
        let mut losses = Losses::default();
        let select = if subject.is_whole() {
            Select::default()
        } else {
            Select::paths(subject.starts.iter().map(|(path, _)| path.clone()).collect())
        };
        // A view that is named is wanted.
        let views = subject.views || !subject.is_whole();
        let options = RestoreOptions { select, views, ..RestoreOptions::default() };
        let (root, target) = (&subject.manifest.root, self.at(&tree.prefix));
        let restored = restore(&subject.pages, root, &target, &options, self.progress, &mut |_| ())?;
        let there = restored.files + restored.folders + restored.others;
        if restored.failed + restored.damaged + restored.kept > 0 {
            return Err(PackError::Incomplete {
                items: restored.failed + restored.damaged + restored.kept,
                damaged: restored.damaged > 0,
            });
        }
        if restored.owners_lost {
            losses.add(Loss::Owners, there);
        }
        losses.add(Loss::Attributes, restored.partly);
        self.read_back(tree, sums)?;
        self.extent.members += there;
        self.extent.bytes = self.extent.bytes.saturating_add(restored.bytes);
        Ok(losses)
    }

    fn finish(self: Box<Self>) -> Result<Extent, PackError> {
        for (path, time) in self.times.iter().rev() {
            set_time(path, *time).map_err(PackError::Write)?;
        }
        Ok(self.extent)
    }
}
