//! Nothing to unlock with: for unencrypted stores that are opened through the library. The benchmarks have this file too.

use larder::codec::{Identity, Passphrase};
use larder::store::{StoreError, Unlock};

/// Has no identity and knows no passphrase.
#[derive(Debug)]
pub(crate) struct NoKeys;

impl Unlock for NoKeys {
    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError> {
        Ok(None)
    }
}
