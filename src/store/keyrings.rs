//! The keyring of a session, and those that an owner has given the store since: a mount or a long capture goes on with them.

use std::sync::OnceLock;

use super::keyring::Keyring;

/// A keyring, and the one that took its place. None is dropped: whoever borrowed one keeps it.
#[derive(Debug)]
pub(super) struct Keyrings {
    keyring: Keyring,
    next: OnceLock<Box<Keyrings>>,
}

impl Keyrings {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self { keyring, next: OnceLock::new() }
    }

    /// The newest.
    pub(super) fn current(&self) -> &Keyring {
        &self.last().keyring
    }

    /// Puts a newer one in place. Of two that are added at once the first counts: both are from the same object, or the next
    /// look finds out.
    pub(super) fn add(&self, keyring: Keyring) {
        let _ = self.last().next.set(Box::new(Self::new(keyring)));
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }
}
