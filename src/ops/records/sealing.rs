//! Blocks that are full are compressed and sealed by rayon tasks, beside those who fill others.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::store::{StoreError, Writer};

/// Blocks under way.
const BLOCKS: usize = 4;

/// Runs the tasks, a few at a time.
pub(super) struct Sealing<'t, 's> {
    writer: &'s Writer,
    tasks: &'t rayon::Scope<'s>,
    failed: &'s Mutex<Option<StoreError>>,
    tokens: (Sender<()>, Receiver<()>),
}

impl<'t, 's> Sealing<'t, 's> {
    /// `failed` has the first error when the scope has ended.
    pub(super) fn new(writer: &'s Writer, tasks: &'t rayon::Scope<'s>, failed: &'s Mutex<Option<StoreError>>) -> Self {
        Self { writer, tasks, failed, tokens: bounded(BLOCKS) }
    }

    pub(super) fn writer(&self) -> &'s Writer {
        self.writer
    }

    /// Begins a task, if those before it went well; waits while there are too many.
    pub(super) fn begin(
        &self,
        task: impl FnOnce(&Writer) -> Result<(), StoreError> + Send + 's,
    ) -> Result<(), StoreError> {
        if let Some(e) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(e);
        }
        // A thread of rayon's helps meanwhile: it may be the only one.
        while rayon::current_thread_index().is_some() && self.tokens.0.is_full() {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
        let _ = self.tokens.0.send(());
        let (writer, failed, done) = (self.writer, self.failed, self.tokens.1.clone());
        self.tasks.spawn(move |_| {
            if let Err(e) = task(writer) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
            }
            let _ = done.try_recv();
        });
        Ok(())
    }
}
