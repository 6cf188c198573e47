//! Records written and read by programs: `RecordWriter`, `RecordReader`.

use std::path::Path;

use larder::model::{DatasetName, Quiet, Timestamp};
use larder::ops::records::{
    FoundRecords, ImportOptions, JsonPath, Query, RecordReader, RecordWriter, RecordsError, Report,
};
use larder::records::tape::Limits;
use larder::records::{ConflictStrategy, DatasetManifest, JsonText, ObservedAt, Record, Verified};
use larder::store::{self, CacheSize, ClientDirs, Store};

use crate::no_keys::NoKeys;
use crate::sandbox::Sandbox;

fn open(sandbox: &Sandbox) -> Store {
    let client = sandbox.client();
    let dirs = ClientDirs { state: client.state().join("larder"), cache: client.cache().join("larder") };
    store::open(&sandbox.store(), &NoKeys, &dirs, CacheSize(0)).unwrap()
}

fn pages() -> DatasetName {
    "pages".parse().unwrap()
}

/// How a dataset is written to; the first time it is made.
fn options() -> ImportOptions {
    let mut options = ImportOptions::new(pages());
    options.new = Some(DatasetManifest::new("pages", "http", "wiki", "page"));
    options
}

fn record(id: &str, key: Option<&str>, response: &str, seconds: i64) -> Record {
    let response = JsonText::parse(response).unwrap();
    let mut record = Record::create("http", "wiki", "page", key, JsonText::default(), response).unwrap();
    id.clone_into(&mut record.exchange_id);
    record.observed_at = ObservedAt::utc(seconds, 0);
    record
}

fn write(store: &Store, options: ImportOptions, records: &[Record]) -> Result<Report, RecordsError> {
    let mut writer = RecordWriter::new(options, Path::new("/tmp"));
    for record in records {
        writer.write(record).unwrap();
    }
    assert_eq!(writer.len(), records.len() as u64);
    writer.finish(store, &Quiet, &|| Timestamp { seconds: 1_700_000_000, nanos: 0 })
}

fn counts(report: &Report) -> [u64; 5] {
    [report.inserted, report.updated, report.skipped, report.conflicts, report.invalid]
}

fn all(mut found: FoundRecords) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(record) = found.next().unwrap() {
        ids.push(record.exchange_id);
    }
    ids
}

#[test]
fn what_is_written_is_read() {
    let sandbox = Sandbox::with_open_store();
    let store = open(&sandbox);
    let (old, new) = (record("1", Some("Ada"), r#"{"n": 1.0}"#, 10), record("2", Some("Ada"), r#"{"n": 1}"#, 20));
    let keyless = record("3", None, "[1]", 5);
    let report = write(&store, options(), &[old.clone(), keyless.clone()]).unwrap();
    assert_eq!(counts(&report), [2, 0, 0, 0, 0]);
    assert!(report.snapshot.is_some());
    let mut again = old.clone();
    (again.exchange_id, again.observed_at) = ("4".to_owned(), ObservedAt::utc(30, 0));
    let report = write(&store, ImportOptions::new(pages()), &[again, new.clone()]).unwrap();
    assert_eq!(counts(&report), [0, 1, 1, 1, 0]);

    let mut reader = RecordReader::newest(&open(&sandbox), &pages()).unwrap();
    assert_eq!((reader.counts().records, reader.counts().keys, reader.counts().sightings), (3, 1, 1));
    assert_eq!(reader.manifest().unwrap().source_system, "wiki");
    let current = reader.current("wiki", "page", "Ada").unwrap().unwrap();
    assert_eq!((current.line(), current.verified()), (new.line(), Verified::Same));
    assert_eq!(reader.current("wiki", "page", "Eve").unwrap(), None);
    let versions: Vec<_> = reader.versions("wiki", "page", "Ada").unwrap().iter().map(Record::line).collect();
    assert_eq!(versions, [old.line(), new.line()]);
    let found = reader.by_hash(&keyless.content_sha256).unwrap().unwrap();
    assert_eq!(found.line(), keyless.line());
    let sightings = reader.sightings(&old.content_sha256).unwrap();
    assert!(sightings.len() == 1 && sightings[0].contains(r#""exchange_id": "4""#), "{sightings:?}");
    assert_eq!(all(reader.find(Query::default()).unwrap()).len(), 3);
    let query =
        Query { paths: vec![JsonPath::parse("$.response.n").unwrap()], since: Some((11, 0)), ..Query::default() };
    // The first had been observed before, and was seen again.
    assert_eq!(all(reader.find(query).unwrap()), ["4", "2"]);
}

/// A writer obeys what an import obeys; what it does not finish was never there.
#[test]
fn all_or_nothing() {
    let sandbox = Sandbox::with_open_store();
    let store = open(&sandbox);
    let first = record("1", Some("k"), "1", 10);
    assert!(
        write(&store, ImportOptions::new(pages()), std::slice::from_ref(&first)).is_err(),
        "there is no such dataset"
    );
    write(&store, options(), std::slice::from_ref(&first)).unwrap();
    let mut dropped = RecordWriter::new(options(), Path::new("/tmp"));
    dropped.write(&record("2", Some("k"), "2", 20)).unwrap();
    let rehearsed = dropped.rehearse(&store, Path::new("/tmp"), &Quiet, Timestamp::EPOCH).unwrap();
    assert_eq!((counts(&rehearsed), rehearsed.snapshot.is_none()), ([0, 1, 0, 1, 0], true));
    drop(dropped);
    let fail = ImportOptions { strategy: Some(ConflictStrategy::Fail), ..ImportOptions::new(pages()) };
    let error =
        write(&store, fail, &[record("3", Some("other"), "3", 0), record("4", Some("k"), "4", 30)]).unwrap_err();
    assert!(matches!(error, RecordsError::Conflict { .. }), "{error}");
    let mut stale = first.clone();
    stale.response = JsonText::parse("7").unwrap();
    let strict = ImportOptions { strict: true, ..ImportOptions::new(pages()) };
    let error = write(&store, strict, &[record("5", None, "5", 0), stale.clone()]).unwrap_err();
    assert!(error.to_string().contains("content_sha256 is"), "{error}");
    let report = write(&store, ImportOptions::new(pages()), &[stale]).unwrap();
    assert_eq!((counts(&report), report.bad.len()), ([0, 0, 0, 0, 1], 1));
    let reader = RecordReader::newest(&open(&sandbox), &pages()).unwrap();
    assert_eq!(all(reader.find(Query::default()).unwrap()), ["1"]);
}

/// What was let in by a larger limit comes out again, and more than fits into memory comes in.
#[test]
fn deep_and_many() {
    let sandbox = Sandbox::with_open_store();
    let store = open(&sandbox);
    let mut options = options();
    options.limits = Limits { depth: 50_000, ..Limits::default() };
    let mut writer = RecordWriter::new(options, Path::new("/tmp"));
    let head = r#"{"exchange_id": "deep", "exchange_type": "http", "source_system": "wiki", "entity_type": "page", "natural_key": "deep""#;
    writer
        .write_line(format!("{head}, \"response\": {}{}}}", "[".repeat(40_000), "]".repeat(40_000)).as_bytes())
        .unwrap();
    let long = "x".repeat(4000);
    for n in 0..4000 {
        writer.write(&record(&format!("id{n}"), Some(&format!("k{n}")), &format!("\"{n}{long}\""), n)).unwrap();
    }
    let report = writer.finish(&store, &Quiet, &|| Timestamp::EPOCH).unwrap();
    assert_eq!(counts(&report), [4001, 0, 0, 0, 0]);
    let mut reader = RecordReader::newest(&open(&sandbox), &pages()).unwrap();
    let deep = reader.current("wiki", "page", "deep").unwrap().unwrap();
    assert_eq!(deep.response.as_str().len(), 80_000);
    assert_eq!(reader.current("wiki", "page", "k3999").unwrap().unwrap().exchange_id, "id3999");
    assert_eq!(all(reader.find(Query::default()).unwrap()).len(), 4001);
    sandbox.larder(["records", "get", "deep", "--dataset", "pages"]).done();
    // Each is compared once, whatever the number of snapshots that it is in.
    write(&store, ImportOptions::new(pages()), &[record("last", Some("last"), "1", 0)]).unwrap();
    let told = sandbox.larder(["verify", "--read-data", "--json"]).json();
    assert_eq!(told["records"], 4002);
    assert_eq!(sandbox.larder(["verify", "--json"]).json()["records"], 0);
}
