//! One writer at a time: `flock` on `writer.lock`. It ends with its process, so it is never stale.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::error::StoreError;

/// Held while writing. Let go when dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

/// What to do when another process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Wait for it.
    Wait,
    /// Fail.
    NoWait,
}

impl WriterLock {
    /// Takes the lock; `waits` is called once if another process has it and we wait.
    pub(super) fn take(dir: &Path, waiting: Waiting, waits: &dyn Fn()) -> Result<Self, StoreError> {
        let path = dir.join("writer.lock");
        let fail = |e| StoreError::io(format!("cannot lock {}", path.display()), e);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if waiting == Waiting::NoWait => {
                return Err(StoreError::Locked(dir.to_owned()));
            }
            Err(TryLockError::WouldBlock) => {
                waits();
                file.lock().map_err(fail)?;
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        Ok(Self { _file: file })
    }
}
