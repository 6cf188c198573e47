//! How long work reports on itself. Operations never see a terminal.

/// Something worth telling that does not stop the work.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An item could not be read and is left out.
    Unreadable {
        /// Which one.
        path: String,
        /// Why.
        why: String,
    },
    /// A file changed while it was read.
    Changed {
        /// Which one.
        path: String,
    },
    /// An item was left out on purpose (a socket, another file system, the store itself).
    Skipped {
        /// Which one.
        path: String,
        /// Why.
        why: String,
    },
    /// A property could not be given back (an owner, an attribute).
    NotCarried {
        /// Of which item.
        path: String,
        /// What and why.
        what: String,
    },
    /// Anything else.
    Remark(String),
}

/// Receives progress. Called from several threads.
pub trait Progress: Sync + Send {
    /// How much there will be, when that is known or better known than before.
    fn expect(&self, _items: u64, _bytes: u64) {}
    /// True if it is worth some work to find out how much there will be.
    fn wants_totals(&self) -> bool {
        false
    }
    /// So much more is done.
    fn advance(&self, _items: u64, _bytes: u64) {}
    /// Something to tell the user.
    fn notice(&self, _notice: Notice) {}
    /// True once the user wants the work stopped.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Reports nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {}
