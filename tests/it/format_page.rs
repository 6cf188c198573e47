//! `store-format.md` and the code say the same: its tables are read here and compared, its test vectors are made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use larder::codec::{
    Authority, DataKey, Effort, IdKeys, MacLabel, VoucherKey, digest, public_id_key, public_seed, seal_block,
    seal_value,
};
use larder::format::{
    BlockHeader, BlockKind, BlockTable, CONSTANTS, Cipher, Codec, EpochRecord, Family, Header, Page, PageItem,
    PageItems, Place, SealedHeader, join_mac, to_bytes, void_ext,
};
use larder::model::{
    Bits, Body, ChunkId, ChunkRef, Chunks, DatasetKey, Digest, Entry, EpochId, Extent, FileBody, ForgetCause,
    ForgetDetail, HoldAction, HoldDetail, Holes, KeyName, LinkItem, LogEntry, LogKind, LongValue, LossDetail, Name,
    PolicyDetail, RecordItem, RecordPlace, Rules, SnapshotId, StoreId, Timestamp, VoidEntry, Xattrs,
};

const PAGE: &str = include_str!("../../store-format.md");

/// The text of a section, by the beginning of its heading.
fn section(heading: &str) -> &'static str {
    let start = PAGE.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("store-format.md has no {heading:?}"));
    let rest = &PAGE[start + 1..];
    let body = rest.find('\n').map_or("", |end| &rest[end..]);
    body.find("\n#").map_or(body, |end| &body[..end])
}

/// The rows of the first table in a text, the head left out; cells without backticks.
fn table(text: &'static str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|c| c.trim().replace('`', "")).collect();
    rows.skip(2).map(cells).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[test]
fn section_19_lists_the_constants_of_the_code_and_no_others() {
    let page: BTreeMap<String, u64> =
        table(section("## 19.")).into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
    let code: BTreeMap<String, u64> = CONSTANTS.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(page, code);
}

#[test]
fn section_9_lists_the_families_of_the_code_and_no_others() {
    let page: Vec<String> = table(section("## 9.")).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(page, Family::ALL.map(|f| f.name().to_owned()));
}

/// Which bytes differ.
fn changed(a: &[u8], b: &[u8]) -> BTreeSet<usize> {
    assert_eq!(a.len(), b.len());
    (0..a.len()).filter(|at| a[*at] != b[*at]).collect()
}

/// Holds a table of offsets against an encoding: each field, changed in all its bits, changes exactly its bytes.
fn offsets_agree(heading: &str, base: &[u8], fields: &[(&str, Vec<u8>)], fixed: &[(&str, &[u8])]) {
    let mut changes: BTreeMap<&str, BTreeSet<usize>> =
        fields.iter().map(|(f, bytes)| (*f, changed(base, bytes))).collect();
    let mut fixed: BTreeMap<&str, &[u8]> = fixed.iter().copied().collect();
    let mut end = 0;
    for row in table(section(heading)) {
        let (Ok(offset), Ok(size)) = (row[0].parse::<usize>(), row[1].parse::<usize>()) else {
            assert!(row[0] == "–" || row[1] == "–", "{row:?}");
            continue;
        };
        assert_eq!(offset, end, "{heading}: a gap before {row:?}");
        end = offset + size;
        let field = row[2].as_str();
        if let Some(bytes) = changes.remove(field) {
            assert_eq!(bytes, (offset..end).collect(), "{heading}: {field}");
        } else if field == "reserved" {
            assert!(base[offset..end].iter().all(|b| *b == 0), "{heading}: reserved bytes at {offset}");
        } else {
            let expected = fixed.remove(field).unwrap_or_else(|| panic!("{heading}: the test does not know {field:?}"));
            assert_eq!(&base[offset..end], expected, "{heading}: {field}");
        }
    }
    assert_eq!(end, base.len(), "{heading}: the table ends elsewhere");
    assert!(changes.is_empty() && fixed.is_empty(), "{heading}: not in the table: {changes:?} {fixed:?}");
}

#[test]
fn section_8_gives_the_offsets_of_the_header() {
    let base = Header {
        compatible: 0,
        read_only_compatible: 0,
        store: StoreId::from_bytes([0; 16]),
        created: 0,
        cipher: Cipher::None,
        chunk_min: 0,
        chunk_avg: 0,
        chunk_max: 0,
        page_mask: 0,
        page_min: 0,
        commitment: [0; 32],
        mac: [0; 32],
    };
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = base.clone();
        change(&mut header);
        header.to_bytes()
    };
    let fields = [
        ("compatible", with(&|h| h.compatible = u64::MAX)),
        ("read-only compatible", with(&|h| h.read_only_compatible = u64::MAX)),
        ("store", with(&|h| h.store = StoreId::from_bytes([0xff; 16]))),
        ("created", with(&|h| h.created = -1)),
        ("cipher", with(&|h| h.cipher = Cipher::Aes256Gcm)),
        ("chunk minimum", with(&|h| h.chunk_min = u32::MAX)),
        ("chunk average", with(&|h| h.chunk_avg = u32::MAX)),
        ("chunk maximum", with(&|h| h.chunk_max = u32::MAX)),
        ("page boundary mask", with(&|h| h.page_mask = u32::MAX)),
        ("page minimum", with(&|h| h.page_min = u32::MAX)),
        ("commitment", with(&|h| h.commitment = [0xff; 32])),
        ("mac", with(&|h| h.mac = [0xff; 32])),
    ];
    let fixed: [(&str, &[u8]); 4] = [
        ("magic", b"LARDER\x1a\n"),
        ("version", &[1, 0, 0, 0]),
        ("length", &[160, 0, 0, 0]),
        ("incompatible", &[0; 8]),
    ];
    offsets_agree("## 8.", &base.to_bytes(), &fields, &fixed);
}

fn block_header() -> BlockHeader {
    BlockHeader {
        kind: BlockKind::Data,
        cipher: Cipher::None,
        epoch: EpochId::from_bytes([0; 16]),
        table_nonce: 0,
        content_nonce: 0,
        table_len: 0,
        content_len: 0,
    }
}

#[test]
fn section_10_gives_the_offsets_of_a_block() {
    let base = block_header();
    let fields = [
        ("kind", BlockHeader { kind: BlockKind::Tree, ..base }.to_bytes().to_vec()),
        ("cipher", BlockHeader { cipher: Cipher::Aes256Gcm, ..base }.to_bytes().to_vec()),
        ("epoch", BlockHeader { epoch: EpochId::from_bytes([0xff; 16]), ..base }.to_bytes().to_vec()),
        ("table nonce", BlockHeader { table_nonce: u64::MAX, ..base }.to_bytes().to_vec()),
        ("content nonce", BlockHeader { content_nonce: u64::MAX, ..base }.to_bytes().to_vec()),
        ("table length", BlockHeader { table_len: u32::MAX, ..base }.to_bytes().to_vec()),
        ("content length", BlockHeader { content_len: u32::MAX, ..base }.to_bytes().to_vec()),
    ];
    offsets_agree("## 10.", &base.to_bytes(), &fields, &[("magic", b"LBK1")]);
}

#[test]
fn section_7_4_gives_the_offsets_of_a_sealed_value() {
    let base = SealedHeader { cipher: Cipher::None, epoch: EpochId::from_bytes([0; 16]), nonce: 0 };
    let fields = [
        ("cipher", SealedHeader { cipher: Cipher::Aes256Gcm, ..base }.to_bytes().to_vec()),
        ("epoch", SealedHeader { epoch: EpochId::from_bytes([0xff; 16]), ..base }.to_bytes().to_vec()),
        ("nonce", SealedHeader { nonce: u64::MAX, ..base }.to_bytes().to_vec()),
    ];
    offsets_agree("### 7.4", &base.to_bytes(), &fields, &[("version", &[1])]);
}

fn page_of<T: PageItem>(items: Vec<T>) -> Vec<u8> {
    let counts = items.iter().fold(T::Counts::default(), |sum, i| T::add(&sum, &i.counts()).unwrap());
    Page { level: 0, counts, items: PageItems::Leaf(items), ext: Vec::new() }.to_bytes()
}

fn file_entry() -> Entry {
    let content = b"hello";
    Entry {
        name: Name::new(b"a\xff").unwrap(),
        bits: Bits::XATTRS,
        mode: 0o644,
        uid: 1000,
        gid: 100_000,
        user: b"ann".as_slice().into(),
        group: Box::default(),
        mtime: Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 },
        btime: Some(Timestamp { seconds: -1, nanos: 999_999_999 }),
        xattrs: Xattrs::List(vec![(b"user.k".to_vec(), b"v".to_vec())]),
        link: None,
        body: Body::File(FileBody {
            size: 5,
            crc32: Some(crc32fast::hash(content)),
            content: Some(digest(content)),
            chunks: Chunks::Whole,
            holes: Holes::None,
        }),
        ext: Vec::new(),
    }
}

fn sparse_entry(ids: &IdKeys) -> Entry {
    let chunk = ChunkRef { id: ids.chunk(b"hello"), len: 5 };
    Entry {
        name: Name::new(b"s").unwrap(),
        bits: Bits::default(),
        mode: 0o7777,
        xattrs: Xattrs::None,
        btime: None,
        user: Box::default(),
        link: Some(ids.link_group(b"d/s")),
        body: Body::File(FileBody {
            size: 70_005,
            crc32: None,
            content: None,
            chunks: Chunks::List(vec![chunk]),
            holes: Holes::List(vec![Extent { offset: 5, len: 70_000 }]),
        }),
        ..file_entry()
    }
}

fn part_entry(ids: &IdKeys) -> Entry {
    let chunk = ChunkRef { id: ids.chunk(b"hello"), len: 5 };
    Entry {
        name: Name::new(b"p").unwrap(),
        bits: Bits::default(),
        mode: 0o644,
        xattrs: Xattrs::None,
        btime: None,
        link: None,
        body: Body::File(FileBody {
            size: 3,
            crc32: None,
            content: None,
            chunks: Chunks::Part(chunk, 2),
            holes: Holes::None,
        }),
        ..file_entry()
    }
}

/// What section 15.3 describes.
fn details() -> (ForgetDetail, HoldDetail, PolicyDetail) {
    let rules = Rules { counts: [3, 0, 7, 0, 0, 0, Rules::EVERY], within: 1_209_600 };
    let (by, reason, nothing) = ("ann@host".to_owned(), Some("why".to_owned()), Vec::new);
    let forget =
        ForgetDetail { cause: ForgetCause::Policy, rules, policy: 9, reason: None, by: by.clone(), ext: nothing() };
    let until = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let hold =
        HoldDetail { action: HoldAction::Set, hold: 0, until, reason: reason.clone(), by: by.clone(), ext: nothing() };
    let dataset_name = Some("home".parse().unwrap());
    let policy = PolicyDetail {
        dataset: dataset_name,
        class: Some("c".to_owned()),
        rules: Some(rules),
        reason,
        by,
        ext: nothing(),
    };
    (forget, hold, policy)
}

fn log_entry() -> LogEntry {
    LogEntry {
        kind: LogKind::Snapshot,
        sequence: 1,
        arrival: Timestamp { seconds: 1_700_000_000, nanos: 5 },
        dataset: DatasetKey::from_bytes([4; 16]),
        manifest: SnapshotId::from_bytes([5; 32]),
        previous: Digest::from_bytes([0; 32]),
        writer: KeyName::from_bytes([6; 8]),
        ext: Vec::new(),
    }
}

/// Every vector of section 21 by the name it has there, made by the library.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let ids = IdKeys::new(&public_id_key());
    let epoch = EpochId::from_bytes([3; 16]);
    let dataset = ids.dataset(&"home".parse().unwrap());
    let keys = || (DataKey::new(&[1; 32]), DataKey::new(&[2; 32]));
    let block = |keys: (DataKey, DataKey)| {
        seal_block(BlockKind::Data, epoch, (&keys.0, &keys.1), b"hello world", (vec![5, 6], &[]), Effort::USUAL, true)
            .unwrap()
            .bytes
    };
    let log = log_entry().to_bytes();
    let stands = digest(&join_mac(log.clone(), &ids.mac(MacLabel::Log, &[&log])));
    let void =
        [(3, Digest::from_bytes([0; 32])), (300, stands)].map(|(sequence, stands)| VoidEntry { sequence, stands });
    let void = void_ext(&void, |_| None).remove(0).1;
    let loss = LossDetail { reason: Some("why".to_owned()), by: "ann@host".to_owned(), ext: Vec::new() };
    let authority = Authority::new("AGE-SECRET-KEY-1EXAMPLE");
    let signing = VoucherKey::new("AGE-SECRET-KEY-1EXAMPLE").signing_key(&log_entry().writer);
    let note = EpochRecord {
        epoch,
        writer: KeyName::from_bytes([0; 8]),
        page_key: Vec::new(),
        chunk_key: Vec::new(),
        ext: Vec::new(),
    }
    .to_bytes();
    let mut header = Header {
        compatible: 0,
        read_only_compatible: 0,
        store: StoreId::from_bytes([7; 16]),
        created: 1_700_000_000,
        cipher: Cipher::None,
        chunk_min: 32_768,
        chunk_avg: 131_072,
        chunk_max: 1_048_576,
        page_mask: 63,
        page_min: 16,
        commitment: *ids.commitment(),
        mac: [0; 32],
    };
    header.mac = ids.mac(MacLabel::Header, &[&header.signed_part()]);
    let table =
        BlockTable { codec: Codec::Raw, dictionary: 0, padding: 0, length: 11, items: vec![5, 6], ext: Vec::new() };
    let link = LinkItem { group: ids.link_group(b"a/b"), names: 2, first: LongValue::Inline(b"a/b".to_vec()) };
    let hole = Extent { offset: 4096, len: 1 << 33 };
    let place = RecordPlace { file: 2, part: 1, day: 19_782 };
    let record = RecordItem { hash: ids.record(b'h', &[0; 32]), place };
    BTreeMap::from([
        ("u64 250", to_bytes(&250u64)),
        ("u64 251", to_bytes(&251u64)),
        ("u64 65535", to_bytes(&65_535u64)),
        ("u64 65536", to_bytes(&65_536u64)),
        ("u64 4294967296", to_bytes(&4_294_967_296u64)),
        ("i64 -1", to_bytes(&-1i64)),
        ("i64 1700000000", to_bytes(&1_700_000_000i64)),
        ("public id key", public_id_key().to_vec()),
        ("public chunker seed", public_seed().to_vec()),
        ("commitment", ids.commitment().to_vec()),
        ("chunk id", ids.chunk(b"hello").as_bytes().to_vec()),
        ("page id", ids.page(b"hello").as_bytes().to_vec()),
        ("manifest id", ids.manifest(b"hello").as_bytes().to_vec()),
        ("dataset key", dataset.as_bytes().to_vec()),
        ("link group", ids.link_group(b"a/b").as_bytes().to_vec()),
        ("MAC", ids.mac(MacLabel::Log, &[b"hello"]).to_vec()),
        ("boundary", ids.boundary(0, 1, b"hello").to_le_bytes().to_vec()),
        ("empty folder", page_of::<Entry>(Vec::new())),
        ("entry", to_bytes(&file_entry())),
        ("sparse entry", to_bytes(&sparse_entry(&ids))),
        ("folder page", page_of(vec![file_entry(), sparse_entry(&ids)])),
        ("chunk list page", page_of(vec![ChunkRef { id: ChunkId::from_bytes([8; 32]), len: 300 }])),
        ("hole map page", page_of(vec![hole])),
        ("links page", page_of(vec![link])),
        ("records page", page_of(vec![record])),
        ("record hash", record.hash.to_vec()),
        ("part entry", to_bytes(&part_entry(&ids))),
        ("places", to_bytes(&vec![Place { block: 300, ordinal: 7 }, Place { block: 1, ordinal: 0 }])),
        ("header", header.to_bytes()),
        ("epoch record", join_mac(note.clone(), &ids.mac(MacLabel::Epoch, &[&note]))),
        ("log entry", join_mac(log.clone(), &ids.mac(MacLabel::Log, &[&log]))),
        ("voucher", VoucherKey::new("AGE-SECRET-KEY-1EXAMPLE").voucher(&log).to_vec()),
        ("signing key", signing.as_bytes().to_vec()),
        ("signature", signing.signature(&log).to_vec()),
        ("forget detail", details().0.to_bytes()),
        ("hold detail", details().1.to_bytes()),
        ("policy detail", details().2.to_bytes()),
        ("loss detail", loss.to_bytes()),
        ("void entries", void.clone()),
        ("key token", authority.token(&log_entry().writer).to_vec()),
        ("key change proof", authority.proof(301, &stands, b"hello").to_vec()),
        ("epoch proof", authority.epoch_proof(&epoch).to_vec()),
        ("loss proof", authority.loss_proof(301, &stands, &void).to_vec()),
        ("block table", table.to_bytes()),
        ("open block", block((DataKey::none(), DataKey::none()))),
        ("sealed block", block(keys())),
        ("sealed value", seal_value(epoch, &keys().0, "datasets", dataset.as_bytes(), b"home")),
    ])
}

#[test]
fn section_21_shows_the_bytes_that_the_library_makes() {
    let page: BTreeMap<String, String> =
        table(section("## 21.")).into_iter().map(|row| (row[0].clone(), row[2].replace(' ', ""))).collect();
    let code: BTreeMap<String, String> =
        vectors().into_iter().map(|(name, bytes)| (name.to_owned(), hex(&bytes))).collect();
    for (name, bytes) in &code {
        assert_eq!(page.get(name), Some(bytes), "{name}; all of them:\n{code:#?}");
    }
    assert_eq!(page.len(), code.len(), "section 21 holds vectors that the test does not know");
}
