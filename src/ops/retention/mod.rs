//! Retention: which snapshots stay, by rules, policies, holds and what a dataset is used to; and giving up the others.
//!
//! Nothing here removes anything: a snapshot is given up by an entry of the log, and `gc` removes what nothing keeps.

mod buckets;
mod error;
mod facts;
mod flood;
mod forget;
mod habit;
mod hold;
mod plan;
mod policy;
mod rewritten;
mod survey;

pub use buckets::KeptBy;
pub use error::RetentionError;
pub use forget::{Forgot, GivenUp, forget, forget_lost, forget_named};
pub use hold::{Lifted, confirm, deny_immutable, grant_immutable, hold, release};
pub use plan::{Keeping, Plan, Reason, Verdict};
pub use policy::{clear_policy, set_policy};
pub use survey::{Origin, Strange, Tally};

use crate::model::{Progress, Role, Timestamp};
use crate::store::{LogWriter, Store, Waiting};

/// What gives the present. It is asked when the lock is ours: however long that took, entries come in the order of their times.
pub type Clock<'a> = &'a dyn Fn() -> Timestamp;

/// Who asks, and why: it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As `user@host`.
    pub by: String,
    /// In the user's words.
    pub reason: Option<String>,
    /// What to do while another process writes.
    pub waiting: Waiting,
    /// The clock is right, whatever the log says.
    pub sure_of_clock: bool,
}

/// Refuses a key that may not do such things.
///
/// # Errors
/// If it is a writer's.
pub fn may_rule(store: &Store) -> Result<(), RetentionError> {
    if store.keyring().role() == Role::Writer { Err(RetentionError::Writer) } else { Ok(()) }
}

/// Takes the lock, so that what the log says cannot change any more.
fn log_writer(store: &Store, asked: &Asked, progress: &dyn Progress) -> Result<LogWriter, RetentionError> {
    may_rule(store)?;
    Ok(store.log_writer(asked.waiting, &|| !progress.cancelled())?)
}
