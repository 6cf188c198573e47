//! A disk that is full to the last byte, and one on which no file can be made any more: what was captured is had back, each command says
//! what to do, and room can be made. (gc.rs has a capture that fills the disk itself; crash/ a disk that is full at any one operation.)

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::behind::tables;
use crate::keys::stranger;
use crate::mounting::Mount;
use crate::sandbox::{Model, Ran, Sandbox, compare, model, noise};

/// A store with five snapshots on a small disk of its own.
struct Disk {
    _mount: Mount,
    sandbox: Sandbox,
    root: PathBuf,
    source: PathBuf,
    known: BTreeMap<String, Model>,
}

impl Disk {
    fn new(options: &str) -> Self {
        let sandbox = Sandbox::new();
        let (root, source) = (sandbox.path("disk"), sandbox.path("source"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&source).unwrap();
        let mount = Mount::new(&["-t", "tmpfs", "-o", options, "tmpfs"], root.clone());
        let mut disk = Self { _mount: mount, sandbox, root, source, known: BTreeMap::new() };
        disk.run(&["init"]).done();
        for turn in 0..5 {
            disk.change(turn);
            disk.capture().done();
            let newest = disk.run(&["list", "--limit", "1", "--json"]).ids().remove(0);
            disk.known.insert(newest, model(&disk.source));
        }
        disk
    }

    fn change(&self, turn: u64) {
        fs::write(self.source.join("file"), noise(turn, 2_000_000)).unwrap();
        fs::write(self.source.join(format!("small {turn}")), noise(turn + 50, 2000)).unwrap();
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.sandbox.client().run(&self.root.join("store"), words)
    }

    fn capture(&self) -> Ran {
        self.run(&["snapshot", self.source.to_str().unwrap(), "--dataset", "d"])
    }

    fn fill(&self, one: impl Fn(&Path) -> bool) {
        let filled = (0..100_000).find(|n| !one(&self.root.join(format!("fill{n}")))).unwrap();
        assert!(filled > 5, "{filled}");
    }

    /// Everything that was captured is there and is what it was.
    fn is_whole(&self) {
        assert_eq!(
            self.run(&["list", "--json"]).ids().iter().filter(|id| self.known.contains_key(*id)).count(),
            self.known.len()
        );
        self.run(&["ls", "-R", "d"]).done();
        self.run(&["verify", "--read-data"]).done();
        self.run(&["repair", "--plan"]).done();
        for (id, expected) in &self.known {
            let dest = self.sandbox.path("dest");
            self.run(&["restore", id, dest.to_str().unwrap()]).done();
            compare(expected, &model(&dest)).unwrap();
            fs::remove_dir_all(&dest).unwrap();
        }
    }

    /// Done all the same, or refused with what to do.
    fn says_what_to_do(&self, words: &[&str]) {
        let ran = self.run(words);
        let told = ran.stderr.contains("make room") && ran.stderr.contains("larder gc");
        assert!(ran.status == 0 || (ran.status == 1 && told), "{words:?}: {} {}", ran.status, ran.stderr);
    }

    fn stays_of_use(mut self, reserve: &str) {
        assert!(self.root.join(reserve).exists());
        self.change(100);
        self.capture().refused(1, "make room");
        let (_, recipient) = stranger(&self.sandbox, "second");
        for words in [&["key", "add", "-r", &recipient][..], &["key", "rotate"], &["repair", "--apply"]] {
            self.says_what_to_do(words);
        }
        self.is_whole();
        // What gives room back works, from the reserve.
        let oldest = self.run(&["list", "--json"]).ids().remove(0);
        self.known.remove(&oldest);
        self.run(&["forget", &oldest]).done();
        let freed = self.run(&["gc", "--json"]).json();
        assert!(freed["done"]["freed"].as_u64() > Some(1_900_000), "{freed}");
        // What was taken is given back first, if gc has made as much room: of files it makes some before it removes any.
        assert!(reserve != "store/reserve" || self.root.join(reserve).exists());
        self.is_whole();
        self.says_what_to_do(&["snapshot", self.source.to_str().unwrap(), "--dataset", "d"]);
        (0..200).for_each(|n| drop(fs::remove_file(self.root.join(format!("fill{n}")))));
        self.run(&["gc"]).done();
        assert!(self.root.join(reserve).exists(), "when there is room again");
        self.is_whole();
    }
}

#[test]
fn a_disk_full_to_the_last_byte_leaves_all_readable_and_room_can_be_made() {
    let disk = Disk::new("size=96m");
    disk.fill(|path| fs::write(path, vec![1; 1 << 16]).is_ok());
    disk.stays_of_use("store/reserve");
}

/// A small disk has a small store and a small reserve.
#[test]
fn a_small_disk_that_is_full_leaves_all_readable_and_room_can_be_made() {
    for size in ["size=24m", "size=40m"] {
        let disk = Disk::new(size);
        disk.fill(|path| fs::write(path, vec![1; 1 << 12]).is_ok());
        disk.stays_of_use("store/reserve");
    }
}

#[test]
fn a_disk_without_a_free_inode_leaves_all_readable_and_room_can_be_made() {
    let disk = Disk::new("size=512m,nr_inodes=500");
    disk.fill(|path| File::create_new(path).is_ok());
    disk.stays_of_use("store/reserve.files");
}

#[test]
fn a_repair_that_finds_the_disk_full_leaves_the_store_as_it_was() {
    let disk = Disk::new("size=96m");
    let files = fs::read_dir(disk.root.join("store/db")).unwrap().map(|item| item.unwrap().path());
    let holds = |path: &PathBuf, word: &[u8]| fs::read(path).unwrap().windows(word.len()).any(|w| w == word);
    let index = files.filter(|p| p.extension().is_some_and(|e| e == "sst")).find(|p| holds(p, b"chunks")).unwrap();
    let whole = fs::read(&index).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 3] ^= 0x11;
    fs::write(&index, &bytes).unwrap();
    disk.fill(|path| fs::write(path, vec![1; 1 << 14]).is_ok());
    disk.run(&["repair", "--apply"]).refused(1, "make room");
    let _ran = disk.run(&["repair", "--plan"]).ended(13);
    assert!(fs::read(&index).unwrap() == bytes, "it is as it was");
    for n in 0..900 {
        let _ = fs::remove_file(disk.root.join(format!("fill{n}")));
    }
    disk.run(&["repair", "--apply"]).done();
    disk.is_whole();
}

/// Room for what is written anew is enough, whether or not there seems to be some for what a database may want besides.
#[test]
fn a_repair_needs_no_more_room_than_what_it_writes() {
    let disk = Disk::new("size=128m");
    let big = disk.source.join("big");
    fs::write(&big, noise(77, 25_000_000)).unwrap();
    disk.capture().done();
    let files = tables(&disk.root.join("store")).into_iter();
    let file = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    assert!(bytes.len() > 25_000_000);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let free = || {
        let fs = rustix::fs::statvfs(&disk.root).unwrap();
        (fs.f_bavail * fs.f_frsize) >> 20
    };
    // So that a log of 35 MB beside the copy would not fit, though it fits alone.
    let fill = disk.root.join("fill");
    fs::write(&fill, vec![0; ((free() - 46) << 20) as usize]).unwrap();
    let ran = disk.run(&["repair", "--apply"]);
    assert_eq!(ran.status, 13, "{} MB free: {}", free(), ran.stderr);
    fs::remove_file(fill).unwrap();
    assert!(disk.run(&["verify"]).status == 13);
    disk.run(&["heal", disk.source.to_str().unwrap()]).done();
    disk.is_whole();
}
