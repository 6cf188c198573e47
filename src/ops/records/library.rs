//! Record datasets for programs: a writer whose records become one snapshot, a reader of what is in one.

use std::path::Path;
use std::sync::Arc;

use crate::archives::{Records, Spill};
use crate::model::{DatasetName, Manifest, Progress, RecordsRef, Timestamp};
use crate::records::{DatasetManifest, Record, RecordHash, RecordParser};
use crate::store::{Item, Store};
use crate::tree::Pages;

use super::dataset::{Dataset, checked};
use super::error::RecordsError;
use super::found::FoundRecords;
use super::import::{ImportOptions, Report, import_records, newest_of, rehearse_records};
use super::query::Query;
use super::source::{RawRecord, Source};

/// Bytes of records that wait in memory.
const WAITING: usize = 8 << 20;
/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 32 << 20;

/// Takes records and imports them all at once: by one plan, with the dataset's policies, as one snapshot or none.
///
/// What is written waits in memory and, beyond some mebibytes, in a sealed file without a name. A writer that is dropped has written nothing.
///
/// ```no_run
/// use larder::model::{Quiet, Timestamp};
/// use larder::ops::records::{ImportOptions, RecordReader, RecordWriter};
/// use larder::records::{DatasetManifest, JsonText, Record};
/// # fn keys() -> Box<dyn larder::store::Unlock> { unimplemented!() }
/// # fn dirs() -> larder::store::ClientDirs { unimplemented!() }
///
/// let store = larder::store::open("/srv/larder".as_ref(), &*keys(), &dirs(), Default::default())?;
/// let mut options = ImportOptions::new("pages".parse()?);
/// options.new = Some(DatasetManifest::new("pages", "http", "wiki", "page"));
/// let mut writer = RecordWriter::new(options, &std::env::temp_dir());
/// let response = JsonText::parse(r#"{"title": "Ada"}"#)?;
/// writer.write(&Record::create("http", "wiki", "page", Some("Ada"), JsonText::default(), response)?)?;
/// let now = || Timestamp::from_system(std::time::SystemTime::now());
/// let report = writer.finish(&store, &Quiet, &now)?;
/// assert_eq!(report.inserted + report.updated + report.skipped, 1);
///
/// let mut reader = RecordReader::newest(&store, &"pages".parse()?)?;
/// let record = reader.current("wiki", "page", "Ada")?.expect("it was written");
/// assert_eq!(record.response.as_str(), r#"{"title": "Ada"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RecordWriter {
    options: ImportOptions,
    lines: Spill,
}

impl RecordWriter {
    /// One for a dataset. What does not fit into memory goes to a file in `tmp`.
    #[must_use]
    pub fn new(options: ImportOptions, tmp: &Path) -> Self {
        Self { options, lines: Spill::new(tmp, WAITING) }
    }

    /// Adds a record. Its hash must be that of its content ([`Record::hashed`]).
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn write(&mut self, record: &Record) -> Result<(), RecordsError> {
        self.write_line(record.line().as_bytes())
    }

    /// Adds a line as it is. What is no record is told by the report.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), RecordsError> {
        self.lines.push(line).map_err(RecordsError::temporary)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.lines.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Imports them. `clock` tells the time.
    ///
    /// # Errors
    /// If a policy, a conflict or a bad line forbids it, the store fails, or the user stops it; then there is no snapshot.
    pub fn finish(
        self,
        store: &Store,
        progress: &dyn Progress,
        clock: &dyn Fn() -> Timestamp,
    ) -> Result<Report, RecordsError> {
        let mut source = Waiting { lines: self.lines.read(), file: "".into(), number: 0 };
        import_records(store, &mut source, self.options, progress, clock)
    }

    /// Tells what [`RecordWriter::finish`] would come to, and writes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn rehearse(
        &self,
        store: &Store,
        tmp: &Path,
        progress: &dyn Progress,
        now: Timestamp,
    ) -> Result<Report, RecordsError> {
        let mut source = Waiting { lines: self.lines.read(), file: "".into(), number: 0 };
        rehearse_records(store, &mut source, &self.options, tmp, progress, now)
    }
}

/// What was written, as a source.
struct Waiting<'a> {
    lines: Records<'a>,
    file: Arc<str>,
    number: u64,
}

impl Source for Waiting<'_> {
    fn next(&mut self) -> Result<Option<RawRecord>, RecordsError> {
        let Some(line) = self.lines.next().map_err(RecordsError::temporary)? else { return Ok(None) };
        self.number += 1;
        Ok(Some(RawRecord { text: Some(line.to_vec()), file: self.file.clone(), line: self.number, fault: None }))
    }
}

/// Reads the records of a snapshot. The hash of each that it gives was compared with its content.
#[derive(Debug)]
pub struct RecordReader {
    dataset: Dataset,
    parser: RecordParser,
}

impl RecordReader {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// If it is one of something else, or cannot be read.
    pub fn of(store: &Store, manifest: &Manifest) -> Result<Self, RecordsError> {
        let found = Dataset::of(&Pages::new(store, PAGE_BUDGET), manifest)?;
        let dataset = found.ok_or_else(|| RecordsError::NotRecords("the snapshot".to_owned()))?;
        Ok(Self { dataset, parser: RecordParser::of_stored() })
    }

    /// Reads the newest snapshot of a dataset.
    ///
    /// # Errors
    /// If there is none, it is one of something else, or cannot be read.
    pub fn newest(store: &Store, dataset: &DatasetName) -> Result<Self, RecordsError> {
        let manifest = newest_of(store, dataset)?.ok_or_else(|| RecordsError::NoDataset(dataset.to_string()))?;
        Self::of(store, &manifest)
    }

    /// What the dataset is, and its policies.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn manifest(&self) -> Result<DatasetManifest, RecordsError> {
        self.dataset.manifest()
    }

    /// How many contents, keys and sightings there are.
    #[must_use]
    pub fn counts(&self) -> RecordsRef {
        self.dataset.counts()
    }

    fn read(&mut self, line: Option<Item>) -> Result<Option<Record>, RecordsError> {
        line.map(|line| checked(&mut self.parser, &line)).transpose()
    }

    /// The current version under a key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn current(&mut self, source: &str, entity: &str, key: &str) -> Result<Option<Record>, RecordsError> {
        let line = self.dataset.current(source, entity, key)?;
        self.read(line)
    }

    /// The record with a hash, current or not.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn by_hash(&mut self, hash: &RecordHash) -> Result<Option<Record>, RecordsError> {
        let line = self.dataset.by_hash(hash)?;
        self.read(line)
    }

    /// All versions under a key, in the order in which they came; the current one is the last.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn versions(&mut self, source: &str, entity: &str, key: &str) -> Result<Vec<Record>, RecordsError> {
        let mut versions = Vec::new();
        for key in self.dataset.keys(key, Some(source), Some(entity))? {
            for line in self.dataset.earlier(&key)?.into_iter().chain(self.dataset.current_of(&key)?) {
                versions.push(checked(&mut self.parser, &line)?);
            }
        }
        Ok(versions)
    }

    /// The further observations of a content, each as a line of JSON, in the order in which they came.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn sightings(&self, hash: &RecordHash) -> Result<Vec<String>, RecordsError> {
        let lines = self.dataset.sightings(hash)?;
        Ok(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }

    /// All records that fit, those of all versions, one by one; as [`Dataset::find`].
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find(&self, query: Query) -> Result<FoundRecords, RecordsError> {
        self.dataset.find(query)
    }
}
