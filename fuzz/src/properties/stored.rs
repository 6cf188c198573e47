//! What the format document calls encoded, and the two files beside the database. Of each there is one form: what is read is
//! written again as the same bytes.

use crate::format::{
    DecodeError, EpochRecord, Header, KeyRecord, LedgerRow, MAX_CHUNK, MAX_ENTRY, MAX_LEVEL, MAX_NAME, MAX_PAGE,
    MAX_SYMLINK, MAX_TOTAL, Page, PageItem, PageItems, Place, Tip, chunk_list_fits, decode_manifest, decode_xattrs,
    encode_xattrs, encoded_entry_len, epoch_role, from_bytes, hole_list_fits, initial_keys, join_mac, split_mac,
    sum_key_value, sum_parts, to_bytes, tokens_of, void_entries, void_ext, xattrs_fit,
};
use crate::model::{
    Bits, Body, ChunkRef, Chunks, DatasetRecord, Entry, Ext, Extent, ForgetDetail, HoldDetail, Holes, KeyChange,
    LinkItem, LogEntry, LongValue, LossDetail, PolicyDetail, Xattrs,
};

/// A value that was read, and that is written again as it was.
fn same<T>(bytes: &[u8], read: Result<T, DecodeError>, write: impl Fn(&T) -> Vec<u8>) -> Option<T> {
    let value = read.ok()?;
    assert_eq!(write(&value), bytes, "it is written in another form than it was read in");
    Some(value)
}

/// The same of a value with a MAC behind it.
fn same_with_mac<T>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
    write: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let (body, mac) = split_mac(bytes, "test").ok()?;
    let value = same(body, read(body), write)?;
    assert_eq!(join_mac(body.to_vec(), mac), bytes);
    Some(value)
}

pub(super) fn header(bytes: &[u8]) -> bool {
    let Ok(header) = Header::parse(bytes) else { return false };
    assert_eq!(header.to_bytes(), bytes, "it is written in another form than it was read in");
    assert!((2..=1024).contains(&header.page_min) && header.chunk_max as usize <= MAX_CHUNK);
    true
}

pub(super) fn tip(bytes: &[u8]) -> bool {
    let Some((tip, mac)) = Tip::parse(bytes) else { return false };
    assert_eq!(join_mac(tip.signed_part(), &mac), bytes);
    true
}

pub(super) fn key_record(bytes: &[u8]) -> bool {
    let Some(record) = same(bytes, KeyRecord::from_bytes(bytes), KeyRecord::to_bytes) else { return false };
    in_order(&record.ext);
    assert!(tokens_of(&record.ext).len() <= bytes.len() / 32);
    let _ = initial_keys(&record.ext);
    let secret = record.page_identities.iter().chain(&record.chunk_identities).find(|text| text.len() > 40);
    assert!(secret.is_none_or(|secret| !format!("{record:?}").contains(secret.as_str())), "a secret is shown");
    true
}

pub(super) fn epoch_record(bytes: &[u8]) -> bool {
    let record = same_with_mac(bytes, EpochRecord::from_bytes, EpochRecord::to_bytes);
    record.is_some_and(|record| {
        in_order(&record.ext);
        let _ = epoch_role(&record.ext);
        true
    })
}

pub(super) fn log_entry(bytes: &[u8]) -> bool {
    same_with_mac(bytes, LogEntry::from_bytes, LogEntry::to_bytes).is_some_and(|entry| in_order(&entry.ext))
}

pub(super) fn dataset_record(bytes: &[u8]) -> bool {
    same_with_mac(bytes, DatasetRecord::from_bytes, DatasetRecord::to_bytes).is_some()
}

pub(super) fn ledger_row(bytes: &[u8]) -> bool {
    same_with_mac(bytes, LedgerRow::from_bytes, LedgerRow::to_bytes).is_some()
}

/// What log entries say beyond their kind.
pub(super) fn detail(bytes: &[u8]) -> bool {
    let forget = same(bytes, ForgetDetail::from_bytes(bytes), ForgetDetail::to_bytes);
    let hold = same(bytes, HoldDetail::from_bytes(bytes), HoldDetail::to_bytes);
    let policy = same(bytes, PolicyDetail::from_bytes(bytes), PolicyDetail::to_bytes);
    let change = same(bytes, KeyChange::from_bytes(bytes), KeyChange::to_bytes);
    let loss = same(bytes, LossDetail::from_bytes(bytes), LossDetail::to_bytes);
    // The list of an entry about a loss, as such an entry has it.
    let ext = vec![(3, bytes.to_vec())];
    let void = void_entries(&ext).map(|(list, _)| assert_eq!(void_ext(&list, |_| None), ext));
    forget.is_some() || hold.is_some() || policy.is_some() || change.is_some() || loss.is_some() || void.is_ok()
}

/// Rows of the indexes and of the digests.
pub(super) fn places(bytes: &[u8]) -> bool {
    let sum = sum_parts(bytes).map(|(kind, digest)| assert_eq!(sum_key_value(kind, &digest)[..], *bytes)).is_ok();
    sum || same(bytes, from_bytes::<Vec<Place>>(bytes, "places"), to_bytes).is_some()
}

pub(super) fn manifest(bytes: &[u8]) -> bool {
    let Some(manifest) = same(bytes, decode_manifest(bytes), to_bytes) else { return false };
    within_limits(&manifest.root);
    assert!(manifest.root.folder().is_some() && manifest.root.name.as_bytes().is_empty());
    assert!(manifest.labels.is_sorted_by(|a, b| a.0 < b.0), "labels are out of order");
    in_order(&manifest.ext)
}

pub(super) fn xattrs(bytes: &[u8]) -> bool {
    let list = same(bytes, decode_xattrs(bytes), |list| encode_xattrs(list));
    list.is_some_and(|list| list.is_sorted_by(|a, b| a.0 < b.0))
}

pub(super) fn entry(bytes: &[u8]) -> bool {
    let entry = same(bytes, from_bytes::<Entry>(bytes, "entry"), to_bytes);
    entry.as_ref().is_some_and(within_limits)
}

/// The limits of section 19 and the rules of section 13.
fn within_limits(entry: &Entry) -> bool {
    let name = entry.name.as_bytes();
    assert!(name.len() <= MAX_NAME && !name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b"..");
    assert!(encoded_entry_len(entry) <= MAX_ENTRY, "an entry is too long");
    assert!(entry.mode <= 0o7777 && entry.user.len() <= 255 && entry.group.len() <= 255);
    assert_eq!(entry.bits.has(Bits::XATTRS), entry.xattrs != Xattrs::None);
    if let Xattrs::List(list) = &entry.xattrs {
        assert!(xattrs_fit(&encode_xattrs(list)), "inline xattrs are too long");
    }
    if let Body::Symlink(target) = &entry.body {
        assert!(!target.is_empty() && target.len() <= MAX_SYMLINK);
    }
    if let Some(file) = entry.file() {
        if let Chunks::List(list) = &file.chunks {
            assert!(!list.is_empty() && chunk_list_fits(list), "an inline chunk list is too long");
        }
        if let Holes::List(list) = &file.holes {
            assert!(!list.is_empty() && hole_list_fits(list), "an inline hole map is too long");
            assert!(list.iter().all(|hole| hole.len > 0 && hole.offset + hole.len <= file.size));
        }
    }
    if let Some(tree) = entry.folder() {
        let counts = tree.counts;
        assert!(counts.subdirs <= counts.entries && counts.entries <= counts.total && counts.total <= MAX_TOTAL);
    }
    in_order(&entry.ext)
}

/// Tags of an extension ascend.
fn in_order(ext: &Ext) -> bool {
    assert!(ext.is_sorted_by(|a, b| a.0 < b.0), "extension tags are out of order");
    true
}

fn page<T: PageItem>(bytes: &[u8], good: impl Fn(&T) -> bool, named: impl Fn(&T::Key) -> bool) -> bool {
    let Some(page) = same(bytes, Page::<T>::from_bytes(bytes), Page::to_bytes) else { return false };
    assert!(bytes.len() <= MAX_PAGE && page.level <= MAX_LEVEL);
    let (keys, counts): (Vec<_>, Vec<_>) = match &page.items {
        PageItems::Leaf(items) => {
            assert!(page.level == 0 && items.iter().all(good), "a page holds what no item may be");
            items.iter().map(|item| (item.key(), item.counts())).unzip()
        }
        PageItems::Inner(children) => {
            assert!(page.level > 0 && !children.is_empty());
            children.iter().map(|child| (child.last.clone(), child.counts)).unzip()
        }
    };
    assert!(keys.iter().all(named), "a page holds a key that no item may have");
    assert!(keys.is_sorted_by(T::ordered), "items of a page are out of order");
    assert_eq!(counts.iter().try_fold(T::Counts::default(), |sum, one| T::add(&sum, one)), Some(page.counts));
    in_order(&page.ext)
}

pub(super) fn page_of_entries(bytes: &[u8]) -> bool {
    page::<Entry>(bytes, within_limits, |name| !name.as_bytes().is_empty())
}

pub(super) fn page_of_chunks(bytes: &[u8]) -> bool {
    page::<ChunkRef>(bytes, |chunk| (1..=MAX_CHUNK).contains(&(chunk.len as usize)), |_| true)
}

pub(super) fn page_of_holes(bytes: &[u8]) -> bool {
    page::<Extent>(bytes, |_| true, |(offset, len)| *len > 0 && offset.checked_add(*len).is_some())
}

pub(super) fn page_of_links(bytes: &[u8]) -> bool {
    let has_names = |item: &LinkItem| item.names > 0 && item.first != LongValue::Inline(Vec::new());
    page::<LinkItem>(bytes, has_names, |_| true)
}
