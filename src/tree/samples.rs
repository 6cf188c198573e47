//! What unit tests of this layer and those above start from.

use std::path::Path;

use crate::codec::{Identity, Passphrase};
use crate::model::{Bits, Body, Entry, FileBody, Name, Timestamp, TreeRef, Xattrs};
use crate::store::{CacheSize, ClientDirs, NewStore, Store, StoreError, Unlock, Waiting, create, open};

use super::{MapBuilder, PageWriter};

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

/// A folder of these.
pub(crate) fn folder(pages: &mut PageWriter, name: &str, items: Vec<Entry>) -> Entry {
    let mut map = MapBuilder::default();
    items.into_iter().for_each(|item| map.push(pages, item).unwrap());
    let (page, counts) = map.finish(pages).unwrap();
    entry(name.as_bytes(), Body::Folder(TreeRef { page, counts }))
}

/// Folders in folders, all of one page at each level: ten to the power of so many files.
pub(crate) fn bomb(pages: &mut PageWriter, levels: usize, time: i64) -> Entry {
    let names: Vec<_> = (0..10).map(|n| format!("{n}")).collect();
    let file = |name: &String| {
        let mut file = entry(name.as_bytes(), Body::File(FileBody::empty()));
        file.mtime.seconds = time;
        file
    };
    let mut below = folder(pages, "x", names.iter().map(file).collect());
    for _ in 1..levels {
        let named = |name: &String| Entry { name: Name::new(name.as_bytes()).unwrap(), ..below.clone() };
        below = folder(pages, "x", names.iter().map(named).collect());
    }
    below
}

/// What `make` makes in a new store.
pub(crate) fn stored<T>(make: impl FnOnce(&mut PageWriter) -> T) -> (tempfile::TempDir, Store, T) {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let writer = store.writer(Waiting::Wait, &|| true).unwrap();
    let mut pages = PageWriter::new(&writer);
    let made = make(&mut pages);
    pages.flush().unwrap();
    drop(pages);
    drop(writer);
    store.refresh().unwrap();
    (dir, store, made)
}
