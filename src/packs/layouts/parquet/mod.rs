//! Results in Parquet, as rows. The one door to that library.
//!
//! Whatever a file says of its schema and its sizes is looked at first (`footer`, `pages`): the library makes room for what it is told. What its decoders then
//! make of contents that no writer has written, nobody has proved: where they panic, it is a file that cannot be read.

mod footer;
mod pages;
mod thrift;
mod write;

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{self, UnwindSafe};
use std::sync::Once;

use ::parquet::basic::Encoding;
use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use bytes::Bytes;

use crate::records::json::Json;

use super::rows::{Digest, Rows};
use super::shown::short;
use footer::Look;

pub use write::TableWriter;

/// Bytes of all pages together, unpacked.
const MAX_PLAIN: usize = 64 << 20;
/// Values of all columns together.
const MAX_VALUES: usize = 1_000_000;
/// Bytes of texts, if each value were all of its column's dictionary.
const MAX_REFERRED: usize = 256 << 20;

/// Reads a file's rows; nothing if they cannot be compared with JSON, or are more than are worth it.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn rows(bytes: &[u8]) -> Result<Option<Rows>, String> {
    match footer::look(bytes) {
        Look::Sound => {}
        Look::Beyond => return Ok(None),
        Look::Broken => return Err("it is no Parquet file: its end does not hold together".to_owned()),
    }
    guarded(|| read(bytes)).unwrap_or_else(|| Err("it is no Parquet file: what is in it makes no sense".to_owned()))
}

thread_local! {
    /// What panics now is caught, and nobody needs to read of it.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls what may panic for what it reads; nothing if it does.
fn guarded<T>(work: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    static HOOK: Once = Once::new();
    // Where panics end the process there is no way out.
    const { assert!(cfg!(panic = "unwind")) };
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    GUARDED.set(true);
    let outcome = panic::catch_unwind(work);
    GUARDED.set(false);
    outcome.ok()
}

fn read(bytes: &[u8]) -> Result<Option<Rows>, String> {
    let broken = |e: ::parquet::errors::ParquetError| format!("it is no Parquet file: {}", short(&e.to_string()));
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(broken)?;
    if !is_worth_it(bytes, reader.metadata())? {
        return Ok(None);
    }
    let mut digest = Digest::default();
    for row in reader.get_row_iter(None).map_err(broken)? {
        match object(row.map_err(broken)?) {
            Some(row) => digest.row(&row),
            None => return Ok(None),
        }
    }
    Ok(Some(digest.finish()))
}

/// False if the rows are too many, or packed in a way that makes much of little.
fn is_worth_it(bytes: &[u8], metadata: &ParquetMetaData) -> Result<bool, String> {
    let (mut plain, mut values, mut referred) = (0_usize, 0_usize, 0_usize);
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let plain_encodings = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
        if !column.encodings().all(|e| plain_encodings.contains(&e) || e as i32 == 4) {
            return Ok(false);
        }
        let wrong = || "it is no Parquet file: a column does not lie in it".to_owned();
        let from = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let from = usize::try_from(from).map_err(|_| wrong())?;
        let len = usize::try_from(column.compressed_size()).map_err(|_| wrong())?;
        let stored = from.checked_add(len).and_then(|end| bytes.get(from..end)).ok_or_else(wrong)?;
        let pages =
            pages::pages(stored).ok_or_else(|| "it is no Parquet file: a page does not lie in it".to_owned())?;
        let own: usize = pages.iter().filter(|page| !page.is_dictionary).map(|page| page.values).sum();
        let dictionary: usize = pages.iter().filter(|page| page.is_dictionary).map(|page| page.plain).sum();
        plain = plain.saturating_add(pages.iter().map(|page| page.plain.max(page.stored)).sum());
        values = values.saturating_add(own);
        referred = referred.saturating_add(own.saturating_mul(dictionary));
        if usize::try_from(column.num_values()).map_or(true, |stated| stated > own) {
            return Err("it is no Parquet file: it has fewer values than it says".to_owned());
        }
    }
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(usize::MAX);
    Ok(plain <= MAX_PLAIN && values <= MAX_VALUES && referred <= MAX_REFERRED && rows <= MAX_VALUES)
}

/// A row as JSON would hold it; nothing if it has a value that JSON has no sort for.
fn object(row: Row) -> Option<Json<'static>> {
    let members = row.into_columns().into_iter().map(|(name, field)| Some((Cow::Owned(name), value(field)?)));
    members.collect::<Option<_>>().map(Json::Object)
}

fn value(field: Field) -> Option<Json<'static>> {
    let number = |text: String| Some(Json::Number(text.into()));
    match field {
        Field::Null => Some(Json::Null),
        Field::Bool(value) => Some(Json::Bool(value)),
        Field::Byte(value) => number(value.to_string()),
        Field::Short(value) => number(value.to_string()),
        Field::Int(value) => number(value.to_string()),
        Field::Long(value) => number(value.to_string()),
        Field::UByte(value) => number(value.to_string()),
        Field::UShort(value) => number(value.to_string()),
        Field::UInt(value) => number(value.to_string()),
        Field::ULong(value) => number(value.to_string()),
        Field::Double(value) => number(double(value)),
        Field::Str(text) => Some(Json::Text(text.into())),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect::<Option<_>>().map(Json::List),
        // What the older system wrote in JSON as the text of a Python value.
        _ => None,
    }
}

/// A double as JSON of Python's has it.
fn double(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::footer::tests::{LEAF, file};
    use super::*;

    /// Files that the library would take the process down with: it goes in as deep as they are nested, and makes room for as many children as they say.
    #[test]
    fn what_is_nested_without_end_or_promises_too_much() {
        let group: &[(u8, i8)] = &[(3, 1), (5, 1)];
        let deep = [&[&[(5, 1)][..]][..], &vec![group; 60_000], &[LEAF]].concat();
        assert_eq!(rows(&file(&deep)), Ok(None));
        let wide = [&[&[(5, 63)][..]][..], &[LEAF; 63]].concat();
        assert!(rows(&file(&wide)).is_err_and(|why| why.contains("no Parquet file")), "it has a schema, and no rows");
        let promising = vec![&[(3, 1), (5, 63)][..]; 1000];
        assert!(rows(&file(&promising)).is_err());
    }

    /// Its dictionary ends before it should, and the library's decoder asserts that it does not.
    #[test]
    fn what_the_library_panics_at_is_refused() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parquet/found-dictionary-that-is-cut");
        let bytes = fs::read(file).unwrap();
        assert_eq!(footer::look(&bytes), Look::Sound);
        assert!(std::panic::catch_unwind(|| read(&bytes)).is_err(), "it panics no more: guarded() may be needless");
        assert!(rows(&bytes).is_err_and(|why| why.contains("makes no sense")));
    }

    /// Whatever is changed in a file, the outcome is a value.
    #[test]
    fn changed_files_are_read_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parquet");
        let mut files: Vec<_> =
            fs::read_dir(corpus).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        files.sort();
        let (mut good, mut refused) = (0, 0);
        for whole in files.iter().filter(|bytes| rows(bytes).is_ok_and(|rows| rows.is_some())) {
            good += 1;
            for at in 0..whole.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut changed = whole.clone();
                    changed[at] ^= change;
                    refused += u32::from(rows(&changed).is_err());
                }
            }
        }
        assert!(good > 0 && refused > 100, "{good} {refused}");
    }
}
