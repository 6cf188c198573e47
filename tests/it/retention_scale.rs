//! Ten thousand snapshots: what retention reads of each must not add up. They are put into the database as a writer would have made them.

use std::time::{Duration, Instant};

use larder::codec::{DataKey, IdKeys, MacLabel, digest, seal_value, unwrap, wrap_to_store};
use larder::format::{EpochRecord, Family, KeyRecord, join_mac, number_key, to_bytes};
use larder::model::{EpochId, KeyName, LogEntry, LogKind, Manifest, SnapshotId, Timestamp};

use crate::behind::database;
use crate::clocked::{Told, capture_at, days_ago, folder, identities, opened};
use crate::sandbox::{Ran, Sandbox};

const COUNT: u64 = 10_000;

/// Makes snapshots like the first one, an hour apart, each with an epoch of its own.
struct Forger<'a> {
    db: &'a rocksdb::DB,
    record: &'a KeyRecord,
    ids: IdKeys,
    dataset: larder::model::DatasetKey,
}

impl Forger<'_> {
    fn put(&self, family: Family, key: &[u8], value: &[u8]) {
        self.db.put_cf(self.db.cf_handle(family.name()).unwrap(), key, value).unwrap();
    }

    fn epoch(&self, number: u64) -> (EpochId, DataKey) {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let plain = [&[1][..], &id, &[9; 32]].concat();
        let record = EpochRecord {
            epoch: EpochId::from_bytes(id),
            writer: KeyName::from_bytes([1; 8]),
            page_key: wrap_to_store(&plain, &self.record.page_recipient).unwrap(),
            chunk_key: Vec::new(),
            ext: Vec::new(),
        };
        let bytes = record.to_bytes();
        let mac = self.ids.mac(MacLabel::Epoch, &[&bytes]);
        self.put(Family::Epochs, &id, &join_mac(bytes, &mac));
        (EpochId::from_bytes(id), DataKey::new(&[9; 32]))
    }

    fn snapshot(&self, manifest: &Manifest) -> Vec<u8> {
        let (epoch, key) = self.epoch(manifest.sequence);
        let plain = to_bytes(manifest);
        let id = self.ids.manifest(&plain);
        let sealed = seal_value(epoch, &key, Family::Manifests.name(), id.as_bytes(), &plain);
        self.put(Family::Manifests, id.as_bytes(), &sealed);
        let bytes = self.entry(manifest, id).to_bytes();
        let mac = self.ids.mac(MacLabel::Log, &[&bytes]);
        let bytes = join_mac(bytes, &mac);
        self.put(Family::Log, &number_key(manifest.sequence), &bytes);
        bytes
    }

    fn entry(&self, manifest: &Manifest, id: SnapshotId) -> LogEntry {
        LogEntry {
            kind: LogKind::Snapshot,
            sequence: manifest.sequence,
            arrival: manifest.arrival,
            dataset: self.dataset,
            manifest: id,
            previous: manifest.previous,
            writer: KeyName::from_bytes([1; 8]),
            ext: Vec::new(),
        }
    }
}

fn fill(sandbox: &Sandbox, first: &Manifest, row_hash: larder::model::Digest) {
    let keys = std::fs::read_dir(sandbox.store().join("keys")).unwrap().next().unwrap().unwrap().path();
    let plain = unwrap(&std::fs::read(keys).unwrap(), &identities(sandbox.client())).unwrap();
    let record = KeyRecord::from_bytes(&plain).unwrap();
    let db = database(&sandbox.store());
    let ids = IdKeys::new(&record.id_key);
    let dataset = ids.dataset(&first.dataset);
    let forger = Forger { db: &db, record: &record, ids, dataset };
    let mut previous = row_hash;
    for sequence in 2..=COUNT {
        let hours = i64::try_from(COUNT - sequence).unwrap();
        let arrival = Timestamp { seconds: days_ago(1).seconds - hours * 3600, nanos: 0 };
        let manifest = Manifest { sequence, previous, arrival, ..first.clone() };
        previous = digest(&forger.snapshot(&manifest));
    }
    for family in Family::ALL {
        db.flush_cf(db.cf_handle(family.name()).unwrap()).unwrap();
    }
}

#[test]
fn ten_thousand_snapshots_are_decided_on_in_seconds() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 3);
    let store = opened(&sandbox, sandbox.client());
    let first = capture_at(&store, &source, "home", days_ago(500)).parse().unwrap();
    store.refresh().unwrap();
    let (manifest, hash) = (store.manifest(&first).unwrap(), store.log_hash(1).unwrap().unwrap());
    drop(store);
    fill(&sandbox, &manifest, hash);
    let begun = Instant::now();
    let words = ["forget", "--keep-hourly", "24", "--keep-daily", "30", "--keep-monthly", "all", "--json"];
    let told = Told::of(sandbox.larder(words), 0);
    let took = begun.elapsed();
    println!("{COUNT} snapshots were decided on in {took:?}");
    assert_eq!(told.kept.len() + told.forgotten.len(), usize::try_from(COUNT).unwrap());
    assert!(told.kept.len() > 50 && told.kept.len() < 80, "{}", told.kept.len());
    assert!(took < Duration::from_secs(20), "{took:?}");
    let begun = Instant::now();
    assert_eq!(sandbox.larder(["list", "--json"]).ids().len(), told.kept.len());
    println!("the rest was listed in {:?}", begun.elapsed());
    // What gc keeps from being read while it removes it costs no descriptor each.
    let mut few = sandbox.client().command("sh");
    few.args(["-c", "ulimit -n 256; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_larder"), "--store"]).arg(sandbox.store());
    let begun = Instant::now();
    let collected = Ran::of(few.args(["gc", "--json"])).json();
    assert_eq!(collected["removed"].as_array().unwrap().len(), told.forgotten.len());
    println!("the others were removed in {:?}", begun.elapsed());
}
