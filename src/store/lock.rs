//! One writer at a time: `flock` on `writer.lock`. It ends with its process, so it is never stale.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::error::StoreError;
use super::files::open_lock_file;

/// The file that is locked.
const NAME: &str = "writer.lock";

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
    /// Takes the lock. While another process has it and we wait, `keep_waiting` is asked again and again.
    pub(super) fn take(dir: &Path, waiting: Waiting, keep_waiting: &dyn Fn() -> bool) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        let fail = |e| StoreError::io(format!("cannot lock {}", path.display()), e);
        let file = open_lock_file(dir, NAME)?.map_err(fail)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if waiting == Waiting::NoWait => {
                    return Err(StoreError::Locked(dir.to_owned()));
                }
                Err(TryLockError::WouldBlock) if !keep_waiting() => return Err(StoreError::Interrupted),
                Err(TryLockError::WouldBlock) if !told => {
                    log::info!("another larder is writing to {}; waiting for it", dir.display());
                    told = true;
                }
                // Asked for again and again, so that whoever waits can be stopped by a signal.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
                Err(TryLockError::Error(e)) => return Err(fail(e)),
            }
        }
    }
}
