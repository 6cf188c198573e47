//! Keeps what is in memory out of core dumps and away from debuggers, before a key comes into it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From here on this process leaves no core dump, and only root can look into its memory. That it cannot be had hinders nothing:
/// the keys are safe unless something else goes wrong too.
pub(super) fn guard_memory() {
    let limit = getrlimit(Resource::Core);
    let none = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum });
    if let Err(e) = none.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        log::warn!("a crash may leave a core dump with keys in it: {e}");
    }
}
