//! What does a record cost a program?
//!
//! Units: records a second (import), time per record (get). Input: 100,000 records of some 650 bytes with random digests in them, imported into
//! a new store without encryption in a temporary folder, of which 5,000 from all over the dataset are asked for again and again, so that their
//! blocks and pages are in memory.
//!
//! Expected on two cores: import above 50,000 a second; a record by its key or its hash below 100 µs, most of it for reading the line and comparing its hash.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use larder::model::{Quiet, Timestamp};
use larder::ops::records::{ImportOptions, RecordReader, RecordWriter};
use larder::records::{DatasetManifest, Record, RecordParser};
use larder::store::{CacheSize, ClientDirs, NewStore, Store, create, open};
use no_keys::NoKeys;

#[path = "../tests/it/no_keys.rs"]
mod no_keys;

const RECORDS: u64 = 100_000;

fn new_store(dir: &Path) -> Store {
    let path = dir.join("store");
    create(&path, &NewStore { recipients: Vec::new(), now: Timestamp::EPOCH }).expect("a store can be made");
    let dirs = ClientDirs { state: dir.join("state"), cache: dir.join("cache") };
    open(&path, &NoKeys, &dirs, CacheSize(256 << 20)).expect("the store opens")
}

/// A digest that no other number has.
fn digest(n: u64) -> String {
    larder::codec::digest(&n.to_le_bytes()).to_string()
}

fn line(n: u64) -> String {
    let (one, other) = (digest(n), digest(n + RECORDS));
    format!(
        "{{\"exchange_id\": \"{}-{}-4{}-8{}-{}\", \"exchange_type\": \"file\", \"source_system\": \"bench\", \"entity_type\": \"package\", \
         \"natural_key\": \"package_{n}_amd64\", \"response\": {{\"Package\": \"package-{n}\", \"Version\": \"{}.{}-{}\", \
         \"Depends\": [\"libc6 (>= 2.34)\", \"libgcc-s1 (>= 3.4)\", \"libstdc++6 (>= 12)\", \"zlib1g (>= 1:1.2.0)\"], \
         \"Description\": \"what package {n} is for\", \"SHA256\": \"{other}\", \"Size\": {}}}, \
         \"observed_at_utc\": \"2026-11-{:02}T{:02}:{:02}:00+00:00\"}}",
        &one[..8],
        &one[8..12],
        &one[12..15],
        &one[15..18],
        &one[18..30],
        n % 9,
        n % 17,
        n % 5,
        n * 131 % 9_999_991,
        1 + n % 28,
        n % 24,
        n % 60,
    )
}

fn imported(dir: &Path, lines: &[String]) -> Store {
    let store = new_store(dir);
    let mut options = ImportOptions::new("bench".parse().expect("a good name"));
    options.new = Some(DatasetManifest::new("bench", "file", "bench", "package"));
    let mut writer = RecordWriter::new(options, dir);
    lines.iter().for_each(|line| writer.write_line(line.as_bytes()).expect("a temporary file can be written"));
    let report = writer.finish(&store, &Quiet, &|| Timestamp::EPOCH).expect("the store takes records");
    assert_eq!((report.inserted, report.invalid), (lines.len() as u64, 0), "each of them is new");
    store
}

fn records(c: &mut Criterion) {
    let lines: Vec<_> = (0..RECORDS).map(line).collect();
    let mut group = c.benchmark_group("records");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("import", |b| {
        let dir = || tempfile::tempdir().expect("a temporary folder");
        b.iter_batched(dir, |dir| (imported(dir.path(), &lines), dir), BatchSize::PerIteration);
    });
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = imported(dir.path(), &lines);
    store.refresh().expect("the store opens again");
    let mut reader = RecordReader::newest(&store, &"bench".parse().expect("a good name")).expect("it was imported");
    let wanted: Vec<u64> = (0..5000).map(|n| n * 7919 % RECORDS).collect();
    let mut parser = RecordParser::default();
    let hashes = wanted.iter().map(|n| parser.read(line(*n).as_bytes()).expect("a record").content_sha256);
    let hashes: Vec<_> = hashes.collect();
    group.throughput(Throughput::Elements(wanted.len() as u64));
    let here = |record: Option<Record>| drop(black_box(record.expect("it is there")));
    group.bench_function("get by key", |b| {
        b.iter(|| {
            for n in &wanted {
                let key = format!("package_{n}_amd64");
                here(reader.current("bench", "package", &key).expect("the store can be read"));
            }
        });
    });
    group.bench_function("get by hash", |b| {
        b.iter(|| hashes.iter().for_each(|hash| here(reader.by_hash(hash).expect("the store can be read"))));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    records(&mut criterion);
    criterion.final_summary();
}
