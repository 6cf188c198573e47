//! What holds of all bytes, for each reader of bytes that come from a store, a file or another program. The library's own tests
//! include this module and run it over the corpus; the fuzz targets look for bytes of which it does not hold.
//!
//! A property panics where it does not hold. It says whether the bytes were taken for what the reader reads, so that a corpus
//! without any such is noticed.

mod archives;
mod exchange;
mod files;
mod packs;
mod records;
mod sealed;
mod stored;
mod words;

#[cfg(fuzzing)]
pub(crate) use sealed::IDENTITY;

/// A property.
pub(crate) type Property = fn(&[u8]) -> bool;

/// All of them, by the names of their fuzz targets and folders of the corpus.
pub(crate) const ALL: &[(&str, Property)] = &[
    ("acl", files::acl),
    ("archive", archives::archive),
    ("block", sealed::block),
    ("block_table", sealed::block_table),
    ("capture_cache", sealed::capture_cache),
    ("checksums", packs::checksums),
    ("config", words::config),
    ("dataset_record", stored::dataset_record),
    ("detail", stored::detail),
    ("entry", stored::entry),
    ("epoch_record", stored::epoch_record),
    ("exchange_form", exchange::exchange_form),
    ("header", stored::header),
    ("identities", words::identities),
    ("ignore_file", words::ignore_file),
    ("json", records::json),
    ("key_object", sealed::key_object),
    ("key_record", stored::key_record),
    ("layout", records::layout),
    ("ledger_row", stored::ledger_row),
    ("log_entry", stored::log_entry),
    ("manifest", stored::manifest),
    ("mounts", files::mounts),
    ("pack", packs::pack),
    ("pack_manifest", packs::manifest),
    ("page_of_chunks", stored::page_of_chunks),
    ("page_of_entries", stored::page_of_entries),
    ("page_of_holes", stored::page_of_holes),
    ("page_of_links", stored::page_of_links),
    ("parquet", records::parquet),
    ("pin", files::pin),
    ("places", stored::places),
    ("record_line", exchange::record_line),
    ("redaction", exchange::redaction),
    ("rocksdb_log", files::rocksdb_log),
    ("rocksdb_table", files::rocksdb_table),
    ("seal_block", sealed::seal_block),
    ("sealed_value", sealed::sealed_value),
    ("snapshot_name", words::snapshot_name),
    ("tar", archives::tar),
    ("time", words::time),
    ("tip", stored::tip),
    ("xattrs", stored::xattrs),
    ("zip", archives::zip),
];

#[cfg(test)]
mod tests;
