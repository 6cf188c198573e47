//! Files of others: RocksDB's, the kernel's, and our own pin.

use rustix::fs::MemfdFlags;

use crate::ops::mounts;
use crate::packs::tar::acl::acl_text;
use crate::store::db::logs::{endless_at, record_ends};
use crate::store::db::tables::{self, Looked, RowBlocks, Table, index_handles, named_handles};
use crate::store::pin::Pin;

/// MANIFEST and write-ahead logs.
pub(super) fn rocksdb_log(bytes: &[u8]) -> bool {
    let ends = record_ends(bytes);
    assert!(ends.is_sorted_by(|a, b| a < b) && ends.iter().all(|end| (7..=bytes.len()).contains(end)));
    // A log that is cut behind a record has those before the cut, and no more.
    if let [.., cut, _] = ends[..] {
        assert_eq!(record_ends(&bytes[..cut])[..], ends[..ends.len() - 1]);
    }
    if let Some(at) = endless_at(bytes) {
        assert!(at + 7 <= bytes.len() && [5, 6, 7, 8, 11, 131].contains(&bytes[at + 6]));
    }
    !ends.is_empty()
}

/// Table files: as a whole, and as the index of one that is whole.
pub(super) fn rocksdb_table(bytes: &[u8]) -> bool {
    let named = named_handles(bytes);
    assert!(named.iter().flatten().all(|(name, _)| name.len() <= 3 * 255));
    assert!(!matches!(look(bytes), Looked::Gone));
    let index = index_handles(bytes);
    let looked = look(&tables::with_index(bytes));
    match index.as_deref() {
        Some([]) => assert!(matches!(looked, Looked::Whole), "{looked:?}"),
        // What else an index may name is the index itself and the list of parts.
        Some(_) => assert!(!matches!(looked, Looked::Gone)),
        None => assert!(matches!(looked, Looked::Damaged(_)), "{looked:?}"),
    }
    named.is_some() || index.is_some()
}

fn look(file: &[u8]) -> Looked {
    let memory = rustix::fs::memfd_create("table", MemfdFlags::CLOEXEC).expect("memory can be a file");
    rustix::io::write(&memory, file).expect("memory can be written");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory)).into();
    let table = Table { name: String::new(), path, family: "data".to_owned(), keys: None };
    table.look(RowBlocks::All).expect("memory can be read")
}

/// The kernel's table of mounts, in which anybody may have written names.
pub(super) fn mounts(bytes: &[u8]) -> bool {
    let rows: Vec<_> = mounts::rows(bytes).collect();
    assert!(rows.len() <= bytes.split(|b| *b == b'\n').count());
    assert!(rows.iter().all(|row| row.point.as_os_str().len() <= bytes.len()));
    !rows.is_empty()
}

/// Access control lists, as the kernel has them.
pub(super) fn acl(bytes: &[u8]) -> bool {
    let Some(text) = acl_text(bytes) else { return false };
    assert_eq!(text.split(|b| *b == b',').count(), (bytes.len() - 4) / 8);
    assert!(text.iter().all(u8::is_ascii_graphic));
    true
}

pub(super) fn pin(bytes: &[u8]) -> bool {
    let Ok(pin) = Pin::from_json(bytes) else { return false };
    let again = pin.to_json().expect("a pin can be written");
    assert_eq!(Pin::from_json(&again).expect("what was written is read"), pin);
    true
}
