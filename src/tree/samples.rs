//! What unit tests of this layer and those above start from.

use std::path::Path;

use crate::codec::{Identity, Passphrase};
use crate::model::{Bits, Body, Entry, Name, Timestamp, Xattrs};
use crate::store::{CacheSize, ClientDirs, NewStore, Store, StoreError, Unlock, create, open};

/// Nothing to unlock with: the store is unencrypted.
struct NoKeys;

impl Unlock for NoKeys {
    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        Ok(Vec::new())
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError> {
        Ok(None)
    }
}

/// An empty store in a folder.
pub(crate) fn new_store(dir: &Path) -> Store {
    let place = dir.join("store");
    create(&place, &NewStore { recipients: Vec::new(), now: Timestamp::EPOCH }).unwrap();
    let dirs = ClientDirs { state: dir.join("state"), cache: dir.join("cache") };
    open(&place, &NoKeys, &dirs, CacheSize::default()).unwrap()
}

/// An entry with nothing special about it; without a name, a root.
pub(crate) fn entry(name: &[u8], body: Body) -> Entry {
    Entry {
        name: if name.is_empty() { Name::root() } else { Name::new(name).unwrap() },
        bits: Bits::default(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        user: Box::default(),
        group: Box::default(),
        mtime: Timestamp::EPOCH,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        body,
        ext: Vec::new(),
    }
}

/// The same store, as another process would have it.
pub(crate) fn opened_again(store: &Store) -> Store {
    open(store.dir(), &NoKeys, store.client_dirs(), CacheSize::default()).unwrap()
}
