//! What do folders and the store's index cost?
//!
//! Units: entries a second (building, listing), time per look-up, items a second (put, claim, get). Input: one folder of
//! 100,000 entries with names as a camera gives them; 4,096 chunks of 1 KiB in blocks of 128 KiB. The store is unencrypted,
//! in a temporary folder; files are synced as in a capture, so `put` is bound by the disk.
//!
//! Expected on one core: building above 300,000 entries a second, listing above 1,000,000, a look-up below 20 µs with
//! decoded pages at hand, a chunk that is in memory below 2 µs. Look-ups grow with the logarithm of the folder's size;
//! `claim`, which asks the index for a chunk that is stored, is what an unchanged file that is read again costs beside its hash.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use larder::model::{Bits, Body, ChunkId, Entry, FileBody, Name, Timestamp, TreeRef, Xattrs};
use larder::store::{CacheSize, ClientDirs, NewStore, Store, Waiting, Writer, create, open};
use larder::tree::{MapBuilder, PageWriter, Pages};
use no_keys::NoKeys;

#[path = "../tests/it/no_keys.rs"]
mod no_keys;

const ENTRIES: u32 = 100_000;
const CHUNKS: u32 = 4096;

fn new_store(dir: &Path) -> Store {
    let path = dir.join("store");
    create(&path, &NewStore { recipients: Vec::new(), now: Timestamp::EPOCH }).expect("a store can be made");
    open_store(dir)
}

fn open_store(dir: &Path) -> Store {
    let dirs = ClientDirs { state: dir.join("state"), cache: dir.join("cache") };
    open(&dir.join("store"), &NoKeys, &dirs, CacheSize::default()).expect("the store opens")
}

fn writer(store: &Store) -> Writer {
    store.writer(Waiting::NoWait, &|| true).expect("nobody else writes")
}

fn name(n: u32) -> String {
    format!("IMG_{n:08}.jpeg")
}

fn entry(n: u32) -> Entry {
    Entry {
        name: Name::new(name(n).as_bytes()).expect("a good name"),
        bits: Bits::default(),
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        user: (*b"someone").into(),
        group: (*b"someone").into(),
        mtime: Timestamp { seconds: 1_700_000_000 + i64::from(n), nanos: n },
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        body: Body::File(FileBody::empty()),
        ext: Vec::new(),
    }
}

fn build(writer: &Writer, entries: &[Entry]) -> TreeRef {
    let mut pages = PageWriter::new(writer);
    let mut map = MapBuilder::default();
    for entry in entries {
        map.push(&mut pages, entry.clone()).expect("in order");
    }
    let (page, counts) = map.finish(&mut pages).expect("the store takes pages");
    pages.flush().expect("the store takes pages");
    TreeRef { page, counts }
}

fn folders(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = new_store(dir.path());
    let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
    let mut group = c.benchmark_group("folder");
    group.throughput(Throughput::Elements(u64::from(ENTRIES)));
    let writing = writer(&store);
    // From the second run on the pages are known: what is measured is encoding, hashing and the look-up of ids.
    let folder = build(&writing, &entries);
    group.bench_function("build", |b| b.iter(|| build(&writing, black_box(&entries))));
    let mut owner = 1000;
    group.bench_function("build of new pages", |b| {
        b.iter_batched(
            || {
                owner += 1;
                entries.iter().map(|entry| Entry { uid: owner, ..entry.clone() }).collect::<Vec<_>>()
            },
            |entries| build(&writing, black_box(&entries)),
            BatchSize::PerIteration,
        );
    });
    assert!(writing.failure().is_none(), "the store takes blocks");
    store.refresh().expect("the store opens again");
    let pages = Pages::new(&store, 256 << 20);
    group.bench_function("list", |b| {
        b.iter(|| {
            let mut listing = pages.list(&folder, 0, 0).expect("pages load");
            while let Some(found) = listing.next().expect("pages load") {
                black_box(found);
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut n = 0;
    group.bench_function("look-up", |b| {
        b.iter(|| {
            n = (n + 7919) % ENTRIES;
            pages.lookup(&folder, 0, name(n).as_bytes()).expect("pages load").expect("it is there")
        });
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(u64::from(CHUNKS)));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = new_store(dir.path());
    let mut round = 0_u32;
    let mut last = Vec::new();
    group.bench_function("put", |b| {
        b.iter(|| {
            round += 1;
            last = put(&store, round);
        });
    });
    let store = open_store(dir.path());
    let writing = writer(&store);
    group.bench_function("claim", |b| {
        b.iter(|| {
            for id in &last {
                assert!(!writing.claim_chunk(id).expect("the index answers"), "it is there");
            }
        });
    });
    assert!(writing.failure().is_none(), "the store is whole");
    group.bench_function("get", |b| {
        b.iter(|| last.iter().for_each(|id| drop(black_box(store.chunk(id).expect("it is there")))));
    });
    group.finish();
}

/// Puts chunks that no other round has, and waits until they are in.
fn put(store: &Store, round: u32) -> Vec<ChunkId> {
    let writer = writer(store);
    let ids = store.keyring().ids();
    let mut all = Vec::new();
    for block in 0..CHUNKS / 128 {
        let (mut content, mut items) = (Vec::new(), Vec::new());
        for chunk in 0..128 {
            let bytes: Vec<u8> = [round, block, chunk, 0].repeat(64).into_iter().flat_map(u32::to_le_bytes).collect();
            let id = ids.chunk(&bytes);
            assert!(writer.claim_chunk(&id).expect("the index answers"), "each chunk is new");
            content.extend_from_slice(&bytes);
            items.push((id, 1024));
            all.push(id);
        }
        writer.put_chunks(&content, &items).expect("the store takes blocks");
    }
    assert!(writer.failure().is_none(), "the store takes blocks");
    all
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    folders(&mut criterion);
    chunks(&mut criterion);
    criterion.final_summary();
}
