use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::model::{Quiet, Timestamp};
use crate::ops::capture::{CaptureOptions, Source, capture};
use crate::ops::verify::{VerifyOptions, verify};
use crate::store::{Store, Waiting};
use crate::tree::samples::new_store;

use super::*;

/// A store with one snapshot of what `fill` puts into a folder.
struct Sandbox {
    dir: tempfile::TempDir,
    store: Store,
    root: Entry,
}

impl Sandbox {
    fn new(fill: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fill(&source);
        let store = new_store(dir.path());
        let mut options = CaptureOptions::new("test".parse().unwrap());
        options.waiting = Waiting::NoWait;
        let info = capture(&store, Source::Paths(vec![source]), options, &Quiet, &|| Timestamp::EPOCH).unwrap();
        store.refresh().unwrap();
        Self { dir, store, root: info.manifest.root }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn pages(&self) -> Pages {
        Pages::new(&self.store, 8 << 20)
    }

    fn restore(&self, target: &str, overwrite: Overwrite) -> Restored {
        let options = RestoreOptions { overwrite, verify: true, ..Default::default() };
        restore(&self.pages(), &self.root, &self.path(target), &options, &Quiet, &mut |_| {}).unwrap()
    }
}

/// Everything that must be the same, path by path.
fn picture(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let content = match m.file_type() {
            t if t.is_dir() => {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
                String::new()
            }
            t if t.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            t if t.is_file() => crate::codec::digest(&fs::read(&path).unwrap()).to_string(),
            _ => String::new(),
        };
        let (links, blocks) = if m.is_dir() { (0, 0) } else { (m.nlink(), m.blocks()) };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        lines.push(format!(
            "{name:?} {:o} {}:{} {}.{:09} {links} {blocks} {content}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec()
        ));
    }
    lines.sort();
    lines
}

fn some_of_everything(root: &Path) {
    fs::create_dir_all(root.join("a/b/empty")).unwrap();
    fs::write(root.join("a/file"), b"hello").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/b/again")).unwrap();
    fs::hard_link(root.join("a/file"), root.join("zz")).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    // Longer than a part, so that several threads write it.
    let noise: Vec<u8> =
        (0..9_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).step_by(4).collect();
    fs::write(root.join("long"), noise).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(3 << 20).unwrap();
    fs::File::create(root.join("hollow")).unwrap().set_len(5_000_001).unwrap();
    symlink("nowhere/at all", root.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), 0o640.into()).unwrap();
    fs::set_permissions(root.join("nothing"), PermissionsExt::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("a/b"), PermissionsExt::from_mode(0o2750)).unwrap();
    let old = std::time::UNIX_EPOCH - std::time::Duration::new(1_000_000, 1);
    fs::File::open(root.join("zz")).unwrap().set_modified(old).unwrap();
    fs::File::open(root.join("a")).unwrap().set_modified(old).unwrap();
}

#[test]
fn everything_comes_back() {
    let sandbox = Sandbox::new(some_of_everything);
    let restored = sandbox.restore("target", Overwrite::Never);
    assert_eq!((restored.kind(), restored.files, restored.folders, restored.others), (None, 7, 4, 2));
    assert_eq!(picture(&sandbox.path("source")), picture(&sandbox.path("target")));
    let options = VerifyOptions { read_data: 100, now: Timestamp::EPOCH, time_is_up: None };
    let report = verify(&sandbox.store, &sandbox.pages(), options, &Quiet).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.snapshots, report.files, report.long_contents), (1, 7, 2));
}

#[test]
fn what_is_there_stays_or_is_replaced_as_asked() {
    let sandbox = Sandbox::new(some_of_everything);
    let target = sandbox.path("target");
    sandbox.restore("target", Overwrite::Never);
    fs::write(target.join("a/b/mine"), b"mine").unwrap();
    fs::remove_file(target.join("nothing")).unwrap();
    fs::write(target.join("long"), b"changed").unwrap();
    let kept = sandbox.restore("target", Overwrite::Never);
    assert_eq!((kept.kind(), kept.files), (Some(crate::model::Kind::Partial), 1));
    assert_eq!(fs::read(target.join("long")).unwrap(), b"changed");
    let repaired = sandbox.restore("target", Overwrite::IfChanged);
    assert_eq!((repaired.kind(), repaired.files), (None, 1));
    assert_eq!(fs::read(target.join("a/b/mine")).unwrap(), b"mine");
    fs::remove_file(target.join("a/b/mine")).unwrap();
    sandbox.restore("target", Overwrite::Always);
    assert_eq!(picture(&sandbox.path("source")), picture(&target));
}

#[test]
fn a_symlink_in_the_way_is_not_followed() {
    let sandbox = Sandbox::new(some_of_everything);
    let (target, outside) = (sandbox.path("target"), sandbox.path("outside"));
    fs::create_dir(&target).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, target.join("a")).unwrap();
    symlink(outside.join("new"), target.join("nothing")).unwrap();
    let restored = sandbox.restore("target", Overwrite::Never);
    assert_eq!(restored.kept, 2);
    // Its first name is in the folder that could not be made: it comes back on its own.
    assert_eq!(fs::read(target.join("zz")).unwrap(), b"hello");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    sandbox.restore("target", Overwrite::IfChanged);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(picture(&sandbox.path("source")), picture(&target));
}
