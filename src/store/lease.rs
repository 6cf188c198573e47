//! Leases: what a reader needs is not collected while it reads (store-format.md, section 4).
//!
//! All are locks on one file, a byte for each snapshot: a reader has a shared lock on the byte at the sequence of each snapshot
//! that it needs, gc takes an exclusive one before it removes a snapshot. Locks end with their process, so none is ever
//! stale; they cost no descriptor each, and whoever may only read the store can take them where the file is there.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::Store;
use super::error::StoreError;
use super::files::{check_own, open_lock_file, open_regular};

/// The file that is locked, in the store's folder. It stays empty.
const FILE: &str = "leases/snapshots";
const FOLDER: &str = "leases";

/// What this process has leased of a store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    file: Option<File>,
    /// How often each sequence is leased: a second lock by the same descriptor is the same lock.
    counts: HashMap<u64, u64>,
    /// What this process keeps from being leased is locked by another descriptor, one for all, as long as there is anything.
    clearing: Weak<File>,
}

/// As long as it lives gc leaves a snapshot where it is.
#[derive(Debug)]
#[must_use = "a lease ends when it is dropped"]
pub struct Lease {
    leases: Arc<Leases>,
    sequence: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = held.counts.get_mut(&self.sequence) else { return };
        *count -= 1;
        if *count == 0 {
            held.counts.remove(&self.sequence);
            if let Some(file) = &held.file {
                // What cannot be let go ends with the process.
                let _ = set(file, libc::F_UNLCK, self.sequence);
            }
        }
    }
}

impl Store {
    /// Keeps the snapshot with this sequence from being collected. Look it up *after* this: it may be gone already.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if gc is about to remove it; another if the store's folder allows no locks to us.
    pub fn lease(&self, sequence: u64) -> Result<Lease, StoreError> {
        self.inner.leases.take(self.dir(), sequence)?;
        Ok(Lease { leases: self.inner.leases.clone(), sequence })
    }

    /// The same for as long as the store is open.
    ///
    /// # Errors
    /// As [`Self::lease`].
    pub fn keep(&self, sequence: u64) -> Result<(), StoreError> {
        self.inner.leases.take(self.dir(), sequence)
    }
}

/// As long as it lives nobody can lease a snapshot.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Clearance {
    file: Arc<File>,
    sequence: u64,
}

impl Drop for Clearance {
    fn drop(&mut self) {
        // What cannot be let go ends with the descriptor.
        let _ = set(&self.file, libc::F_UNLCK, self.sequence);
    }
}

impl Store {
    /// Keeps a snapshot that is about to be removed from being leased; nothing if somebody has leased it. To be asked for once at a time.
    ///
    /// # Errors
    /// If the store's folder allows no locks to us.
    pub fn clearance(&self, sequence: u64) -> Result<Option<Clearance>, StoreError> {
        self.inner.leases.clear(self.dir(), sequence)
    }
}

impl Leases {
    fn clear(&self, dir: &Path, sequence: u64) -> Result<Option<Clearance>, StoreError> {
        let path = dir.join(FILE);
        let fail = |e| StoreError::io(format!("cannot lock {}", path.display()), e);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match held.clearing.upgrade() {
            Some(file) => file,
            None => Arc::new(for_writing(dir)?.map_err(fail)?),
        };
        held.clearing = Arc::downgrade(&file);
        match set(&file, libc::F_WRLCK, sequence) {
            Ok(()) => Ok(Some(Clearance { file, sequence })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(e) => Err(fail(e.into())),
        }
    }

    fn take(&self, dir: &Path, sequence: u64) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { file, counts, .. } = &mut *held;
        let file = match file {
            Some(file) => file,
            None => file.insert(open(dir)?),
        };
        if !counts.contains_key(&sequence) {
            set(file, libc::F_RDLCK, sequence).map_err(|e| match e {
                Errno::EAGAIN | Errno::EACCES => StoreError::Locked(dir.to_owned()),
                other => StoreError::io(format!("cannot lock {}", dir.join(FILE).display()), other.into()),
            })?;
        }
        *counts.entry(sequence).or_default() += 1;
        Ok(())
    }
}

/// The file, made if it is not there and we may.
fn open(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(FILE);
    check_own(dir, FOLDER)?;
    check_own(dir, FILE)?;
    let opened = match open_regular(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => for_writing(dir)?,
        opened => opened,
    };
    opened.map_err(|e| StoreError::io(format!("cannot open {}", path.display()), e))
}

fn for_writing(dir: &Path) -> Result<std::io::Result<File>, StoreError> {
    check_own(dir, FOLDER)?;
    open_lock_file(dir, FILE)
}

/// Locks or unlocks the byte of a sequence, for this descriptor alone. Never waits.
fn set(file: &File, kind: libc::c_int, sequence: u64) -> Result<(), Errno> {
    let lock = libc::flock {
        l_type: i16::try_from(kind).map_err(|_| Errno::EINVAL)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(|_| Errno::EINVAL)?,
        l_start: i64::try_from(sequence).map_err(|_| Errno::EOVERFLOW)?,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_lease_holds_one_snapshot_until_the_last_of_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("leases")).unwrap();
        let leases = Arc::new(Leases::default());
        let lease = |sequence| leases.take(dir.path(), sequence).map(|()| Lease { leases: leases.clone(), sequence });
        let (first, second, _other) = (lease(7).unwrap(), lease(7).unwrap(), lease(9).unwrap());
        let gc = OpenOptions::new().read(true).write(true).open(dir.path().join(FILE)).unwrap();
        let takes = |sequence| set(&gc, libc::F_WRLCK, sequence).is_ok();
        assert!(takes(8) && !takes(7) && !takes(9));
        drop(first);
        assert!(!takes(7));
        drop(second);
        assert!(takes(7) && !takes(9));
        // What gc has taken is leased to nobody.
        assert!(matches!(lease(7), Err(StoreError::Locked(_))));
        set(&gc, libc::F_UNLCK, 7).unwrap();
        let _again = lease(7).unwrap();
        assert!(!takes(7));
    }

    /// Each is let go by itself, and all of them cost one descriptor.
    #[test]
    fn clearances_share_a_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("leases")).unwrap();
        let (gc, reader) = (Leases::default(), Arc::new(Leases::default()));
        let clear = |sequence| gc.clear(dir.path(), sequence).unwrap();
        let leased = |sequence| reader.take(dir.path(), sequence).is_ok();
        assert!(leased(5));
        let all: Vec<_> = (0..1000).map(clear).collect();
        let of = |sequence: usize| all[sequence].as_ref().map(|c| Arc::as_ptr(&c.file));
        assert!(of(5).is_none() && of(4).is_some() && of(4) == of(999));
        assert!(!leased(4) && !leased(999) && leased(1000));
        let mut all = all;
        drop(all.remove(4));
        assert!(leased(4) && !leased(3) && !leased(6));
        drop(all);
        assert!(leased(3));
        assert!(clear(3).is_none() && clear(4).is_none() && clear(6).is_some());
    }
}
