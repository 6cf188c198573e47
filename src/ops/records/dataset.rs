//! A record dataset as it is in a snapshot: what stands under a key, under a hash, and what was seen again.

use crate::format::records_of;
use crate::model::{ChunkRef, Chunks, Entry, FileBody, Manifest, RecordItem, RecordPlace, RecordsRef};
use crate::records::{DatasetManifest, Record, RecordHash, RecordParser};
use crate::store::{Item, Store, StoreError};
use crate::tree::{ContentPiece, Lookup, Pages, content_pieces};

use super::error::RecordsError;
use super::key::{BY_KEY, KeyPath, file_name};
use super::sighting::stated_hash;

/// Name of the description of a dataset in its root.
pub(super) const MANIFEST: &str = "manifest.json";
/// Name of the index in the form of the packs.
pub(super) const INDEX: &str = "index.jsonl";
/// Name of the folder of records.
pub(super) const RECORDS: &str = "records";
/// Name of the file of sightings.
pub(super) const SIGHTINGS: &str = "sightings.ndjson";

/// What the index finds, by the first byte of what is hashed.
pub(super) mod sort {
    /// Contents by their hashes.
    pub(crate) const CONTENT: u8 = b'h';
    /// Versions that are not current, by the paths of their keys.
    pub(crate) const VERSION: u8 = b'k';
    /// Sightings, by the hashes of their contents.
    pub(crate) const SIGHTING: u8 = b's';
}

/// A key that a dataset has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(KeyPath);

impl Key {
    /// The path of its current version, as messages show it.
    #[must_use]
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0.path()).into_owned()
    }
}

/// A record dataset in a snapshot.
#[derive(Debug, Clone)]
pub struct Dataset {
    pages: Pages,
    root: Entry,
    records: RecordsRef,
}

impl Dataset {
    /// The dataset in a snapshot; nothing if it is a snapshot of something else.
    ///
    /// # Errors
    /// If what the manifest says of it is damaged.
    pub fn of(pages: &Pages, manifest: &Manifest) -> Result<Option<Self>, StoreError> {
        let records = records_of(manifest).map_err(|e| StoreError::damage("the manifest of a snapshot", e))?;
        Ok(records.map(|records| Self { pages: pages.clone(), root: manifest.root.clone(), records }))
    }

    /// Why a snapshot that is named so is none of a record dataset.
    #[must_use]
    pub fn missing(pages: &Pages, manifest: &Manifest, shown: &str) -> RecordsError {
        if holds_pack(pages, manifest).unwrap_or_default() {
            return RecordsError::PackAsFiles(shown.to_owned());
        }
        RecordsError::NotRecords(shown.to_owned())
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> RecordsRef {
        self.records
    }

    /// Its root folder.
    #[must_use]
    pub fn root(&self) -> &Entry {
        &self.root
    }

    /// The pages that it reads through.
    #[must_use]
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    fn store(&self) -> &Store {
        self.pages.store()
    }

    /// Its description and policies.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn manifest(&self) -> Result<DatasetManifest, RecordsError> {
        let entry = self.pages.resolve(&self.root, MANIFEST.as_bytes())?;
        let missing = || RecordsError::damage(MANIFEST, "it is missing");
        let file = entry.as_ref().and_then(|found| found.entry.file()).ok_or_else(missing)?;
        Ok(DatasetManifest::parse(&self.bytes(file)?)?)
    }

    /// The bytes of a short file.
    fn bytes(&self, file: &FileBody) -> Result<Vec<u8>, StoreError> {
        if file.size > 16 << 20 {
            return Err(StoreError::damage("a file of a record dataset", "it is too long"));
        }
        let mut pieces = content_pieces(&self.pages, file)?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next()? {
            match piece {
                ContentPiece::Data { chunk, skip, len } => {
                    let item = self.store().chunk(&chunk.id)?;
                    let part = item.get(skip as usize..skip as usize + len as usize);
                    bytes.extend_from_slice(
                        part.ok_or_else(|| StoreError::damage("a chunk list", "a chunk is shorter"))?,
                    );
                }
                ContentPiece::Hole(_) => return Err(StoreError::damage("a file of a record dataset", "it has holes")),
            }
        }
        Ok(bytes)
    }

    /// The places that the index has for something, in their order.
    pub(super) fn places(&self, sort: u8, what: &[u8]) -> Result<Vec<RecordPlace>, StoreError> {
        let hash = self.store().keyring().ids().record(sort, what);
        let mut index = self.index()?;
        places_of(&mut index, hash)
    }

    /// The index from its first line.
    pub(super) fn index(&self) -> Result<Lookup<RecordItem>, StoreError> {
        Lookup::new(&self.pages, &self.records.page, &self.records.counts)
    }

    /// The lines at a place.
    pub(super) fn lines_at(&self, place: RecordPlace) -> Result<Item, StoreError> {
        self.store().chunk(&self.chunk_at(place)?.id)
    }

    fn chunk_at(&self, place: RecordPlace) -> Result<ChunkRef, StoreError> {
        let path = file_path(place.file, place.day);
        let missing =
            || StoreError::damage(String::from_utf8_lossy(&path).into_owned(), "it has not what the index says");
        let found = self.pages.resolve(&self.root, &path)?.ok_or_else(missing)?;
        let file = found.entry.file().ok_or_else(missing)?;
        let chunk = match &file.chunks {
            Chunks::List(list) => list.get(place.part as usize).copied(),
            Chunks::Paged(page, counts) => {
                let mut items = self.pages.items_from(page, counts, u64::from(place.part))?;
                items.next()?
            }
            Chunks::None | Chunks::Whole | Chunks::Part(..) => None,
        };
        chunk.ok_or_else(missing)
    }

    /// Where the line of a content is: its chunk, from which byte on, and how long with its end.
    pub(super) fn part_of(&self, hash: &RecordHash) -> Result<Option<(ChunkRef, u32, u32)>, StoreError> {
        let Some((place, line)) = self.place_of(hash)? else { return Ok(None) };
        let (chunk, lines) = (self.chunk_at(place)?, self.lines_at(place)?);
        let found = line_ranges(&lines).into_iter().find(|range| lines[range.clone()] == line[..]);
        let short = |n: usize| u32::try_from(n).ok();
        let part = found.and_then(|range| Some((chunk, short(range.start)?, short(range.len() + 1)?)));
        Ok(part.filter(|(chunk, from, len)| from + len <= chunk.len))
    }

    /// The line of a content.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn by_hash(&self, hash: &RecordHash) -> Result<Option<Item>, StoreError> {
        Ok(self.place_of(hash)?.map(|(_, line)| line))
    }

    /// The same, and where it is.
    pub(super) fn place_of(&self, hash: &RecordHash) -> Result<Option<(RecordPlace, Item)>, StoreError> {
        let text = hash.to_string();
        for place in self.places(sort::CONTENT, hash.as_bytes())? {
            let lines = self.lines_at(place)?;
            if let Some(line) = line_ranges(&lines).into_iter().find(|l| stated_hash(&lines[l.clone()]) == Some(&text))
            {
                return Ok(lines.cut(line).map(|line| (place, line)));
            }
        }
        Ok(None)
    }

    /// The line of the current version under a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn current(&self, source: &str, entity: &str, key: &str) -> Result<Option<Item>, StoreError> {
        self.current_at(&KeyPath::keyed(source, entity, key))
    }

    pub(super) fn current_at(&self, path: &KeyPath) -> Result<Option<Item>, StoreError> {
        let path = path.path();
        let Some(found) = self.pages.resolve(&self.root, &path)? else { return Ok(None) };
        let Some(file) = found.entry.file() else { return Ok(None) };
        let damage = || StoreError::damage(String::from_utf8_lossy(&path).into_owned(), "it is no part of a chunk");
        let Chunks::Part(chunk, from) = file.chunks else { return Err(damage()) };
        let len = usize::try_from(file.size).map_err(|_| damage())?;
        let item = self.store().chunk(&chunk.id)?;
        let line = item.cut(from as usize..from as usize + len).ok_or_else(damage)?;
        let end = line.len().saturating_sub(1);
        line.cut(0..end).map(Some).ok_or_else(damage)
    }

    /// The keys in the dataset that are this text, of whatever source and entity, or of those asked for.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn keys(&self, key: &str, source: Option<&str>, entity: Option<&str>) -> Result<Vec<Key>, StoreError> {
        let mut found = Vec::new();
        let Some(by_key) = self.pages.resolve(&self.root, BY_KEY.as_bytes())? else { return Ok(found) };
        for source in self.folders(&by_key.entry, source)? {
            for entity in self.folders(&source, entity)? {
                let path = KeyPath::below(&source.name, &entity.name, key);
                if self.pages.resolve(&self.root, &path.path())?.is_some() {
                    found.push(Key(path));
                }
            }
        }
        Ok(found)
    }

    /// The folders in a folder, or the one for a text.
    fn folders(&self, folder: &Entry, wanted: Option<&str>) -> Result<Vec<Entry>, StoreError> {
        let Some(tree) = folder.folder() else { return Ok(Vec::new()) };
        if let Some(text) = wanted {
            return Ok(self.pages.lookup(tree, 0, &file_name(text))?.map(|found| found.entry).into_iter().collect());
        }
        let mut items = self.pages.items::<Entry>(&tree.page, &tree.counts)?;
        let mut folders = Vec::new();
        while let Some(entry) = items.next()? {
            folders.extend(entry.folder().is_some().then_some(entry));
        }
        Ok(folders)
    }

    /// The line of the current version under a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn current_of(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.current_at(&key.0)
    }

    /// The lines of the versions under a key that are not current, in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn earlier(&self, key: &Key) -> Result<Vec<Item>, StoreError> {
        let mut versions = Vec::new();
        let current = self.current_at(&key.0)?;
        let current = current.as_deref().and_then(stated_hash);
        let mut parser = RecordParser::of_stored();
        for place in self.places(sort::VERSION, key.0.as_bytes())? {
            let lines = self.lines_at(place)?;
            for range in line_ranges(&lines) {
                let line = &lines[range.clone()];
                let Ok(record) = parser.read(line) else { continue };
                if KeyPath::of(&record) == key.0 && stated_hash(line) != current {
                    versions.extend(lines.clone().cut(range));
                }
            }
        }
        Ok(versions)
    }

    /// The lines of `sightings.ndjson` about a content, in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sightings(&self, hash: &RecordHash) -> Result<Vec<Item>, StoreError> {
        let text = hash.to_string();
        let mut found = Vec::new();
        for place in self.places(sort::SIGHTING, hash.as_bytes())? {
            let lines = self.lines_at(place)?;
            for range in line_ranges(&lines) {
                if stated_hash(&lines[range.clone()]) == Some(&text) {
                    found.extend(lines.clone().cut(range));
                }
            }
        }
        Ok(found)
    }
}

/// True of a snapshot whose files are a pack of records, which are not found by key and hash.
///
/// # Errors
/// If the store cannot be read.
pub fn holds_pack(pages: &Pages, manifest: &Manifest) -> Result<bool, StoreError> {
    let of_records = records_of(manifest).is_ok_and(|records| records.is_some());
    let find = |name: &str| pages.resolve(&manifest.root, name.as_bytes());
    let (description, records) = (find(MANIFEST)?, find(RECORDS)?);
    let is_folder = records.is_some_and(|found| found.entry.folder().is_some());
    Ok(!of_records && is_folder && description.is_some_and(|found| found.entry.file().is_some()))
}

/// A record as it stands in the store, its hash checked.
///
/// # Errors
/// If it is not what it should be.
pub fn checked(parser: &mut RecordParser, line: &[u8]) -> Result<Record, RecordsError> {
    parser.read(line).map_err(|e| RecordsError::damage("a record", e))
}

/// The places of a hash, from an index that has not gone beyond it.
pub(super) fn places_of(index: &mut Lookup<RecordItem>, hash: [u8; 6]) -> Result<Vec<RecordPlace>, StoreError> {
    let mut places = Vec::new();
    let mut from = (hash, RecordPlace { file: 0, part: 0, day: i32::MIN });
    while let Some(item) = index.from(&from)?.filter(|item| item.hash == hash) {
        places.push(item.place);
        match item.place.day.checked_add(1) {
            Some(day) => from.1 = RecordPlace { day, ..item.place },
            None => break,
        }
    }
    Ok(places)
}

/// Where the lines of a group are, without their ends.
pub(super) fn line_ranges(lines: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut ranges) = (0, Vec::with_capacity(lines.len() / 256));
    for end in memchr::memchr_iter(b'\n', lines) {
        ranges.push(at..end);
        at = end + 1;
    }
    if at < lines.len() {
        ranges.push(at..lines.len());
    }
    ranges
}

/// The path of a file of records, or of the sightings.
pub(super) fn file_path(file: u64, day: i32) -> Vec<u8> {
    if file == 0 {
        return SIGHTINGS.as_bytes().to_vec();
    }
    let [year, date, name] = file_names(file, day);
    format!("{RECORDS}/{year}/{date}/{name}").into_bytes()
}

/// The names of its folders below `records`, and its own.
pub(super) fn file_names(file: u64, day: i32) -> [String; 3] {
    let (year, month, day) = date_of(day);
    [format!("{year:04}"), format!("{year:04}-{month:02}-{day:02}"), format!("chunk-{file:04}.ndjson")]
}

/// The day that is so many after 1970-01-01. Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn date_of(days: i32) -> (i64, i64, i64) {
    let z = i64::from(days) + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// How many days a day is after 1970-01-01.
pub(super) fn days_of((year, month, day): (i32, u8, u8)) -> i32 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((2024, 2, 29), 19_782),
            ((1, 1, 1), -719_162),
            ((9999, 12, 31), 2_932_896),
            ((1969, 12, 31), -1),
        ] {
            assert_eq!(days_of(date), days);
            assert_eq!(date_of(days), (i64::from(date.0), i64::from(date.1), i64::from(date.2)));
        }
        assert_eq!(file_path(12, 19_782), b"records/2024/2024-02-29/chunk-0012.ndjson");
        assert_eq!(file_path(10_000, 0), b"records/1970/1970-01-01/chunk-10000.ndjson");
    }
}
