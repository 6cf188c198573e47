use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::{LogKind, Quiet, SnapshotId, Timestamp};
use crate::ops::capture::{CaptureOptions, Captured, Source, capture};
use crate::ops::verify::{VerifyOptions, verify};
use crate::store::NewEntry;
use crate::tree::samples::new_store;

use super::*;

const MIB: usize = 1 << 20;

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

struct Sandbox {
    dir: tempfile::TempDir,
    store: Store,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        Self { dir, store }
    }

    /// A folder with these files.
    fn source(&self, name: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> PathBuf {
        let source = self.dir.path().join(name);
        let _ = fs::remove_dir_all(&source);
        fs::create_dir(&source).unwrap();
        for (name, bytes) in files {
            fs::write(source.join(name), bytes).unwrap();
        }
        source
    }

    fn capture(&self, dataset: &str, source: &Path) -> Captured {
        let options = CaptureOptions::new(dataset.parse().unwrap());
        let info = capture(&self.store, Source::Paths(vec![source.to_owned()]), options, &Quiet, &|| Timestamp::EPOCH);
        self.store.refresh().unwrap();
        info.unwrap()
    }

    fn forget(&self, info: &Captured) {
        forget(&self.store, info, Waiting::Wait).unwrap();
    }

    fn collect(&self, dry_run: bool) -> Collected {
        self.try_collect(dry_run, &Quiet).unwrap()
    }

    fn try_collect(&self, dry_run: bool, progress: &dyn Progress) -> Result<Collected, QueryError> {
        self.collect_with(GcOptions { dry_run, reseal: false, waiting: Waiting::Wait, now: Timestamp::EPOCH }, progress)
    }

    fn collect_with(&self, options: GcOptions, progress: &dyn Progress) -> Result<Collected, QueryError> {
        self.store.refresh().unwrap();
        let pages = Pages::new(&self.store, 8 << 20);
        let done = collect(&self.store, &pages, options, progress);
        self.store.refresh().unwrap();
        if let Ok(done) = &done {
            assert!(done.blocks <= done.all.blocks, "more went than there was: {done:?}");
        }
        done
    }

    /// Every byte of every snapshot.
    #[track_caller]
    fn is_whole(&self, snapshots: u64) {
        self.store.refresh().unwrap();
        let pages = Pages::new(&self.store, 8 << 20);
        let verified = verify(
            &self.store,
            &pages,
            VerifyOptions { read_data: 100, now: Timestamp::EPOCH, time_is_up: None },
            &Quiet,
        )
        .unwrap();
        assert!(verified.findings.is_empty(), "{:?}", verified.findings);
        assert_eq!(verified.snapshots, snapshots);
    }

    fn bytes_on_disk(&self) -> u64 {
        let (data, tree, _) = self.store.disk_bytes().unwrap();
        data + tree
    }

    fn has(&self, id: SnapshotId) -> bool {
        self.store.manifest_ids().unwrap().0.contains(&id)
    }
}

fn forget(store: &Store, info: &Captured, waiting: Waiting) -> Result<(), StoreError> {
    let entry = NewEntry {
        kind: LogKind::Forget,
        dataset: Some(store.keyring().ids().dataset(&info.manifest.dataset)),
        snapshot: Some(info.id),
        detail: None,
    };
    store.log_writer(waiting, &|| true)?.append(&[entry], Timestamp::EPOCH).map(drop)
}

fn files(names: std::ops::Range<u64>, len: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    names.map(move |seed| (format!("f{seed:04}"), noise(seed, len)))
}

#[test]
fn what_no_snapshot_needs_goes_and_its_room_comes_back() {
    let sandbox = Sandbox::new();
    let first = sandbox.capture("d", &sandbox.source("a", files(0..3, MIB)));
    let second = sandbox.capture("d", &sandbox.source("a", files(0..6, MIB)));
    let third = sandbox.capture("d", &sandbox.source("a", files(0..2, MIB)));
    assert_eq!(sandbox.collect(false), Collected { living: 3, all: sandbox.collect(true).all, ..Default::default() });
    let before = sandbox.bytes_on_disk();
    sandbox.forget(&second);
    let told = sandbox.collect(true);
    assert_eq!(told.removed, [second.id]);
    assert!(sandbox.has(second.id) && sandbox.bytes_on_disk() == before);
    assert!((3..4).contains(&(told.dead.bytes >> 20)), "{told:?}");
    let done = sandbox.collect(false);
    assert_eq!((done.dead, &done.removed), (told.dead, &told.removed));
    assert!(done.blocks == done.dead.blocks && done.freed >= done.dead.bytes && done.kept == 0, "{done:?}");
    assert!(sandbox.bytes_on_disk() < before - 3 * MIB as u64, "{} of {before}", sandbox.bytes_on_disk());
    assert!(!sandbox.has(second.id) && sandbox.has(first.id) && sandbox.has(third.id));
    sandbox.is_whole(2);
    // What is gone is stored anew.
    sandbox.capture("d", &sandbox.source("a", files(0..6, MIB)));
    sandbox.is_whole(3);
    // The newest given up: the next one goes on from the one before.
    sandbox.forget(&third);
    let last = sandbox.store.newest_snapshots(|_| true, |_| false).unwrap();
    assert!(last.is_none());
}

#[test]
fn a_dataset_goes_on_from_its_newest_snapshot_that_is_left() {
    let sandbox = Sandbox::new();
    let first = sandbox.capture("d", &sandbox.source("a", files(0..1, 1000)));
    let second = sandbox.capture("d", &sandbox.source("a", files(0..2, 1000)));
    sandbox.forget(&second);
    sandbox.collect(false);
    let third = sandbox.capture("d", &sandbox.source("a", files(0..3, 1000)));
    assert_eq!(third.manifest.parent, Some(first.id));
    sandbox.forget(&first);
    sandbox.forget(&third);
    sandbox.collect(false);
    let fourth = sandbox.capture("d", &sandbox.source("a", files(0..3, 1000)));
    assert_eq!(fourth.manifest.parent, None);
    sandbox.is_whole(1);
}

#[test]
fn what_little_is_needed_of_a_block_is_moved() {
    let sandbox = Sandbox::new();
    // Some fifty files in each block; of each, one in five stays.
    let first = sandbox.capture("d", &sandbox.source("a", files(0..400, 20_000)));
    let stay = files(0..400, 20_000).enumerate().filter(|(at, _)| at % 5 == 0).map(|(_, file)| file);
    sandbox.capture("d", &sandbox.source("a", stay));
    let before = sandbox.bytes_on_disk();
    sandbox.forget(&first);
    let done = sandbox.collect(false);
    assert!(done.sparse.blocks >= 7 && done.repacked.0 >= 7 && done.repacked.1 > 79 * 20_000, "{done:?}");
    assert_eq!((done.blocks, done.left_behind), (done.dead.blocks + done.repacked.0, 0), "{done:?}");
    assert!(sandbox.bytes_on_disk() < before / 3, "{} of {before}", sandbox.bytes_on_disk());
    sandbox.is_whole(1);
    let again = sandbox.collect(false);
    assert_eq!((again.dead.blocks, again.sparse.blocks, again.freed), (0, 0, 0));
}

#[test]
fn snapshots_in_use_and_immutable_ones_stay() {
    let sandbox = Sandbox::new();
    let source = sandbox.source("a", files(0..3, MIB));
    let info = sandbox.capture("d", &source);
    let lease = sandbox.store.lease(info.manifest.sequence).unwrap();
    sandbox.forget(&info);
    let done = sandbox.collect(false);
    assert_eq!((&done.leased, done.removed.len(), done.freed), (&vec![info.id], 0, 0));
    assert!(sandbox.has(info.id));
    drop(lease);
    assert_eq!(sandbox.collect(false).removed, [info.id]);
    assert!(!sandbox.has(info.id));

    let mut options = CaptureOptions::new("e".parse().unwrap());
    options.evidence.immutable = true;
    let kept = capture(&sandbox.store, Source::Paths(vec![source]), options, &Quiet, &|| Timestamp::EPOCH).unwrap();
    sandbox.forget(&kept);
    let done = sandbox.collect(false);
    assert_eq!((done.kept_back.len(), done.kept_back[0].0), (1, kept.id));
    assert!(sandbox.has(kept.id));
}

/// Stops a run when it has been asked so often whether to go on.
struct StopAfter(AtomicU64);

impl Progress for StopAfter {
    fn cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_run_that_was_stopped_anywhere_is_finished_by_the_next() {
    let sandbox = Sandbox::new();
    let mut rest = None;
    for stop in 0..60 {
        let given_up = sandbox.capture("d", &sandbox.source("a", files(0..60, 20_000)));
        let some = files(0..60, 20_000).filter(|(name, _)| name.ends_with('3'));
        let kept = sandbox.capture("d", &sandbox.source("a", some));
        sandbox.forget(&given_up);
        let stopped = sandbox.try_collect(false, &StopAfter(AtomicU64::new(stop)));
        sandbox.is_whole(1);
        if stopped.is_ok() {
            break;
        }
        let is_stopped = matches!(
            stopped,
            Err(QueryError::Interrupted | QueryError::Stopped | QueryError::Store(StoreError::Interrupted))
        );
        assert!(is_stopped);
        sandbox.collect(false);
        let bytes = sandbox.bytes_on_disk();
        assert!(bytes <= *rest.get_or_insert(bytes) + 200_000, "after {stop}: {bytes} of {rest:?}");
        sandbox.forget(&kept);
    }
}

/// Has another process write from the moment that the run has asked so often whether to go on.
struct WritesAfter {
    left: AtomicU64,
    path: PathBuf,
    held: std::sync::Mutex<Option<fs::File>>,
}

impl Progress for WritesAfter {
    fn cancelled(&self) -> bool {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            let mut held = self.held.lock().unwrap();
            let file = fs::File::open(&self.path).unwrap();
            if held.is_none() && file.try_lock().is_ok() {
                *held = Some(file);
            }
        }
        false
    }
}

#[test]
fn a_run_that_does_not_wait_does_nothing_or_tells_what_it_did() {
    let (mut refused, mut cut_short) = (0, 0);
    for left in 0..80 {
        let sandbox = Sandbox::new();
        let given_up = sandbox.capture("d", &sandbox.source("a", files(0..60, 20_000)));
        let some = files(0..60, 20_000).filter(|(name, _)| name.ends_with('3'));
        sandbox.capture("d", &sandbox.source("a", some));
        sandbox.forget(&given_up);
        let before = (sandbox.bytes_on_disk(), sandbox.store.gc_generation().unwrap());
        let path = sandbox.store.dir().join("writer.lock");
        let progress = WritesAfter { left: AtomicU64::new(left), path, held: std::sync::Mutex::default() };
        let options = GcOptions { dry_run: false, reseal: false, waiting: Waiting::NoWait, now: Timestamp::EPOCH };
        let done = sandbox.collect_with(options, &progress);
        let after = (sandbox.bytes_on_disk(), sandbox.store.gc_generation().unwrap());
        match &done {
            Err(QueryError::Store(StoreError::Locked(_))) => {
                refused += 1;
                assert!(after == before && sandbox.has(given_up.id), "{left}: {before:?} {after:?}");
            }
            Ok(done) if done.cut_short => {
                cut_short += 1;
                assert_eq!(done.removed == [given_up.id], !sandbox.has(given_up.id), "{left}: {done:?}");
                assert!(after.1 > before.1, "{left}: {done:?}");
            }
            other => assert!(other.is_ok(), "{left}: {other:?}"),
        }
        drop(progress);
        sandbox.is_whole(1);
        if done.is_ok_and(|done| !done.cut_short) {
            break;
        }
        sandbox.collect(false);
        sandbox.is_whole(1);
    }
    assert!(refused > 0 && cut_short > 4, "{refused} and {cut_short}");
}

#[test]
fn captures_go_on_meanwhile_and_use_what_was_about_to_go() {
    let sandbox = Sandbox::new();
    let all = sandbox.source("all", files(0..200, 20_000));
    let given_up = sandbox.capture("d", &all);
    sandbox.forget(&given_up);
    let ended = AtomicBool::new(false);
    let captured = std::thread::scope(|scope| {
        let captures = scope.spawn(|| {
            let other = crate::tree::samples::opened_again(&sandbox.store);
            let mut count = 0;
            while !ended.load(Ordering::SeqCst) || count == 0 {
                let options = CaptureOptions::new("e".parse().unwrap());
                let source = Source::Paths(vec![all.clone()]);
                capture(&other, source, options, &Quiet, &|| Timestamp::EPOCH).unwrap();
                count += 1;
            }
            count
        });
        for _ in 0..3 {
            sandbox.collect(false);
        }
        ended.store(true, Ordering::SeqCst);
        captures.join().unwrap()
    });
    sandbox.is_whole(captured);
    sandbox.collect(false);
    sandbox.is_whole(captured);
}

/// Another session gives a snapshot up and collects, as far as to be asked so often whether to stop, when it has been asked that so often itself, unless
/// somebody writes then.
struct CollectsAfter<'a> {
    left: AtomicU64,
    as_far_as: u64,
    sandbox: &'a Sandbox,
    going: &'a Captured,
    forgot: AtomicBool,
}

impl Progress for CollectsAfter<'_> {
    fn cancelled(&self) -> bool {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            let other = crate::tree::samples::opened_again(&self.sandbox.store);
            if forget(&other, self.going, Waiting::NoWait).is_ok() {
                self.forgot.store(true, Ordering::SeqCst);
                other.refresh().unwrap();
                let options =
                    GcOptions { dry_run: false, reseal: false, waiting: Waiting::NoWait, now: Timestamp::EPOCH };
                let stop = StopAfter(AtomicU64::new(self.as_far_as));
                let _ = collect(&other, &Pages::new(&other, 8 << 20), options, &stop);
            }
        }
        false
    }
}

#[test]
fn two_collections_at_once_take_each_others_work_for_no_damage() {
    // Stopped with index entries gone and blocks there, and not at all.
    for as_far_as in [3, 4, 100] {
        let mut turn = 0;
        loop {
            let sandbox = Sandbox::new();
            let first = sandbox.capture("d", &sandbox.source("a", files(0..60, 20_000)));
            // Of each block little is needed: it is to be moved.
            let of = |digit: char| files(0..60, 20_000).filter(move |(name, _)| name.ends_with(digit));
            let going = sandbox.capture("e", &sandbox.source("a", of('3')));
            sandbox.capture("f", &sandbox.source("a", of('7')));
            sandbox.forget(&first);
            let (left, forgot) = (AtomicU64::new(turn), AtomicBool::new(false));
            let progress = CollectsAfter { left, as_far_as, sandbox: &sandbox, going: &going, forgot };
            let collected = sandbox.try_collect(false, &progress);
            assert!(collected.is_ok(), "{as_far_as} after {turn}: {collected:?}");
            sandbox.collect(false);
            sandbox.is_whole(if progress.forgot.load(Ordering::SeqCst) { 1 } else { 2 });
            if progress.left.load(Ordering::SeqCst) < u64::MAX / 2 {
                break;
            }
            turn += 1;
        }
        assert!(turn > 5, "{turn}");
    }
}
