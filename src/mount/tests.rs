//! The mount against the real kernel. Needs /dev/fuse and, unless run by root, fusermount3: fails where they are missing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuser::INodeNo;

use crate::model::SnapshotId;
use crate::store::Store;
use crate::tree::samples::new_store;
use crate::view::tests::{Heard, awkward, capture, file, folder};
use crate::view::{NodeId, View};

use super::held::Held;
use super::{MountError, MountOptions, mount, unmount};

/// A mount in a thread. Taken away when dropped.
struct Mounted {
    path: PathBuf,
    thread: Option<JoinHandle<Result<(), MountError>>>,
}

impl Mounted {
    fn new(dir: &Path, store: &Store, snapshot: Option<SnapshotId>) -> Self {
        let path = dir.join("mnt");
        fs::create_dir_all(&path).unwrap();
        let (store, options) = (store.clone(), MountOptions::new(snapshot, path.clone()));
        let (ready, is_ready) = crossbeam_channel::bounded(1);
        let thread =
            std::thread::spawn(move || mount(&store, &options, Arc::new(Heard::default()), || ready.send(()).unwrap()));
        if is_ready.recv().is_err() {
            let why = thread.join().unwrap();
            panic!("{why:?}");
        }
        Self { path, thread: Some(thread) }
    }

    fn end(mut self) {
        unmount(&self.path).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.path);
    }
}

#[test]
fn one_snapshot_is_mounted_faithfully() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let (tree, links) = awkward(&store);
    let id = capture(&store, tree, &links, 0);
    let mounted = Mounted::new(dir.path(), &store, Some(id));
    let at = |name: &str| mounted.path.join(name);
    assert_eq!(fs::read(at("a/one")).unwrap(), b"shared");
    let one = fs::metadata(at("a/one")).unwrap();
    let three = fs::metadata(at("b/three")).unwrap();
    assert_eq!((one.ino(), one.nlink()), (three.ino(), 3));
    assert_eq!((one.mtime(), one.mtime_nsec(), one.uid(), one.gid()), (-1_000_000_000, 123_456_789, 1, 2));
    assert_eq!(fs::metadata(at("a")).unwrap().mode() & 0o7777, 0o2755);
    assert_eq!((fs::metadata(at("holes")).unwrap().size(), fs::metadata(at("holes")).unwrap().blocks()), (100_100, 1));
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("a/one"));
    let null = fs::metadata(at("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((rustix::fs::major(null.rdev()), rustix::fs::minor(null.rdev())), (1, 300_000));
    let mut names: Vec<_> =
        fs::read_dir(&mounted.path).unwrap().map(|e| e.unwrap().file_name().as_bytes().to_vec()).collect();
    names.sort();
    assert_eq!((names.len(), names.last().unwrap().as_slice()), (10, b"\xff\xfe".as_slice()));
    assert_eq!(fs::read_dir(at("many")).unwrap().count(), 5_000);
    assert_eq!(fs::read(at("many/f04321")).unwrap(), b"content 4321");
    let mut value = [0; 16];
    assert_eq!(rustix::fs::getxattr(at("tagged"), "user.a", &mut value[..]).unwrap(), 1);
    assert!(fs::metadata(at("absent")).is_err());
    assert!(fs::write(at("new"), b"").is_err());
    mounted.end();
}

#[test]
fn a_store_shows_its_snapshots_and_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let first = capture(&store, folder(b"", vec![file(b"f", &[b"1"], &[], 1)]), &[], 1_705_314_605);
    let mounted = Mounted::new(dir.path(), &store, None);
    let home = mounted.path.join("datasets/home");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&home).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["2024-01-15T10-30-05Z", "latest"]);
    assert_eq!(fs::read(home.join("latest/f")).unwrap(), b"1");
    let tree = fs::read_link(home.join("latest")).unwrap();
    assert_eq!(tree, Path::new("../../snapshots").join(&first.to_string()[..16]));
    capture(&store, folder(b"", vec![file(b"f", &[b"22"], &[], 2)]), &[], 1_705_314_700);
    // Through its name at once, in the listing soon.
    assert_eq!(fs::read(home.join("2024-01-15T10-31-40Z/f")).unwrap(), b"22");
    let begun = Instant::now();
    while names().len() < 3 || fs::read(home.join("latest/f")).unwrap() != b"22" {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", names());
        std::thread::sleep(Duration::from_millis(50));
    }
    mounted.end();
}

#[test]
fn a_busy_mount_is_detached() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let id = capture(&store, folder(b"", vec![file(b"f", &[b"still here"], &[], 10)]), &[], 0);
    let mounted = Mounted::new(dir.path(), &store, Some(id));
    let open = fs::File::open(mounted.path.join("f")).unwrap();
    unmount(&mounted.path).unwrap();
    assert!(matches!(unmount(&mounted.path), Err(MountError::NotMounted(_))));
    assert_eq!(fs::read_dir(&mounted.path).unwrap().count(), 0);
    assert_eq!(std::io::read_to_string(&open).unwrap(), "still here");
    drop(open);
    let mut mounted = mounted;
    mounted.thread.take().unwrap().join().unwrap().unwrap();
}

#[test]
fn a_snapshot_is_held_until_all_that_was_told_of_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    capture(&store, folder(b"", vec![file(b"f", &[b"1"], &[], 1)]), &[], 0);
    let heard = Arc::new(Heard::default());
    let held = Held::new(View::new(&store, 1 << 20, heard.clone()).unwrap(), heard.clone());
    let mut batch = held.batch();
    (0..3).for_each(|index| batch.add(INodeNo(NodeId::new(1, index).unwrap().raw())));
    batch.add(INodeNo(1));
    batch.tell();
    assert_eq!(held.len(), 0, "listed, not leased");
    assert!(held.look_up(1));
    for (forgotten, held_after) in [(1, 1), (2, 1), (1, 0)] {
        held.forget(1, forgotten);
        assert_eq!(held.len(), held_after);
    }
    assert!(!held.look_up(2), "there is none");
    assert_eq!((held.len(), heard.0.lock().unwrap().len()), (0, 0));
}
