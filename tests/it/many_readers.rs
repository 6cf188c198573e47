//! Readers beside a writer, without the lock.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder::store::{self, CacheSize, ClientDirs};

use crate::no_keys::NoKeys;
use crate::sandbox::{Sandbox, noise};

#[test]
fn a_reader_never_misses_what_was_acknowledged_before_it_opened() {
    let sandbox = Sandbox::with_open_store();
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    let (acknowledged, opens, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let (store, client) = (sandbox.store(), sandbox.another_client("reader"));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (acknowledged, opens, stop, store, client) = (&acknowledged, &opens, &stop, &store, &client);
            scope.spawn(move || {
                // Each its own state folder: a pin seen by one must not help the other.
                let dirs = ClientDirs { state: client.home().join(format!("s{reader}")), cache: client.cache() };
                while !stop.load(Ordering::SeqCst) {
                    let at_least = acknowledged.load(Ordering::SeqCst);
                    let opened = store::open(store, &NoKeys, &dirs, CacheSize::default());
                    let opened = opened.unwrap_or_else(|e| panic!("open {}: {e}", opens.load(Ordering::SeqCst)));
                    let found = opened.snapshots().unwrap();
                    assert!(
                        found.len() >= at_least,
                        "{} snapshots seen, {at_least} were acknowledged before",
                        found.len()
                    );
                    for row in &found {
                        let manifest = opened.manifest(&row.id).unwrap_or_else(|e| panic!("a hole: {e}"));
                        let page = manifest.root.folder().unwrap().page;
                        assert!(opened.page(&page).is_ok(), "the root of {} is not found", row.id);
                    }
                    let numbers: Vec<_> = found.iter().map(|r| r.sequence).collect();
                    assert_eq!(numbers, (1..=found.len() as u64).collect::<Vec<_>>(), "a hole in the log");
                    opens.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // One that opens once: what it knew it finds again, though the files it was in are merged and gone.
        sandbox.snapshot(&tree, "d").done();
        acknowledged.fetch_add(1, Ordering::SeqCst);
        let dirs = ClientDirs { state: client.home().join("old"), cache: client.cache() };
        let old = store::open(&store, &NoKeys, &dirs, CacheSize(0)).unwrap();
        scope.spawn(|| {
            let old = old;
            while !stop.load(Ordering::SeqCst) {
                let rows = old.snapshots().unwrap_or_else(|e| panic!("the log, from an old open: {e}"));
                let manifest = old.manifest(&rows[0].id).unwrap_or_else(|e| panic!("from an old open: {e}"));
                assert!(old.page(&manifest.root.folder().unwrap().page).is_ok(), "a page, from an old open");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let mut turn = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begun.elapsed() < Duration::from_secs(15) {
                fs::write(tree.join("file"), noise(turn, 40_000)).unwrap();
                fs::write(tree.join(format!("file{}", turn % 50)), noise(turn, 500)).unwrap();
                sandbox.snapshot(&tree, "d").done();
                acknowledged.fetch_add(1, Ordering::SeqCst);
                turn += 1;
            }
        }));
        stop.store(true, Ordering::SeqCst);
        outcome.unwrap();
    });
    println!("{} opens beside {} captures", opens.load(Ordering::SeqCst), acknowledged.load(Ordering::SeqCst));
    assert!(opens.load(Ordering::SeqCst) >= 100 && acknowledged.load(Ordering::SeqCst) >= 10);
}
