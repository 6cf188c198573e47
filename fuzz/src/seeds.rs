//! First inputs: a few of each structure, with every variant in one of them, and the test vectors of store-format.md. What fuzzing
//! finds beside them is added by `scripts/fuzz --keep`.

use std::fs;
use std::io;
use std::path::Path;

use crate::codec::{DataKey, Effort, armoured, index_lines, seal_block, seal_value, wrap_to_store};
use crate::format::{
    BlockKind, CacheHead, CacheRecord, HostMark, KeyRecord, LedgerRow, Looks, join_mac, key_record_ext, sum_key_value,
    to_bytes,
};
use crate::model::{
    Bits, Body, ChunkCounts, ChunkId, ChunkRef, Chunks, Counts, DatasetRecord, Digest, Entry, EpochId, Evidence,
    Extent, FileBody, HoleCounts, Holes, KeyChange, KeyInfo, KeyName, LinkCounts, LinkGroup, LinksRef, Manifest, Name,
    PageId, Reference, Role, SnapshotId, SnapshotKind, Statistics, StoreId, Timestamp, TreeRef, Xattrs,
};
use crate::properties::IDENTITY;
use crate::store::db::tables::with_index;

/// Which target reads a test vector.
const VECTORS: [(&str, &str); 21] = [
    ("empty folder", "page_of_entries"),
    ("folder page", "page_of_entries"),
    ("chunk list page", "page_of_chunks"),
    ("hole map page", "page_of_holes"),
    ("links page", "page_of_links"),
    ("entry", "entry"),
    ("sparse entry", "entry"),
    ("places", "places"),
    ("header", "header"),
    ("epoch record", "epoch_record"),
    ("log entry", "log_entry"),
    ("forget detail", "detail"),
    ("hold detail", "detail"),
    ("policy detail", "detail"),
    ("loss detail", "detail"),
    ("void entries", "detail"),
    ("block table", "block_table"),
    ("open block", "block"),
    ("sealed block", "block"),
    ("sealed value", "sealed_value"),
    ("u64 65536", "capture_cache"),
];

/// Writes the inputs below a folder, in one for each target. `page` is the text of store-format.md.
///
/// # Errors
/// If they cannot be written.
pub fn write_seeds(corpus: &Path, page: &str) -> io::Result<()> {
    let mut all = vectors(page);
    all.extend(structures());
    all.extend(texts().map(|(target, text)| (target, text.as_bytes().to_vec())));
    for (target, bytes) in all {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        let name = match target {
            // No two key objects are the same: one that is there stays.
            "key_object" if bytes.starts_with(b"-----") => "seed-armoured".to_owned(),
            "key_object" => "seed-binary".to_owned(),
            _ => crate::codec::digest(&bytes).to_string()[..16].to_owned(),
        };
        if !folder.join(&name).exists() {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

fn vectors(page: &str) -> Vec<(&'static str, Vec<u8>)> {
    let rows = page.lines().filter_map(|line| {
        let [_, name, _, hex, _] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else { return None };
        let (_, target) = VECTORS.iter().find(|(vector, _)| *vector == name)?;
        let hex = hex.strip_prefix('`')?.strip_suffix('`')?;
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        Some((*target, hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?))
    });
    rows.collect()
}

const TIME: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 5 };

fn entry(name: &str, body: Body) -> Entry {
    Entry {
        name: if name.is_empty() { Name::root() } else { Name::new(name.as_bytes()).expect("a good name") },
        bits: Bits::default(),
        mode: 0o644,
        uid: 1000,
        gid: 100,
        user: (*b"ann").into(),
        group: (*b"users").into(),
        mtime: TIME,
        btime: Some(TIME),
        xattrs: Xattrs::None,
        link: None,
        body,
        ext: Vec::new(),
    }
}

fn chunk(id: u8, len: u32) -> ChunkRef {
    ChunkRef { id: ChunkId::from_bytes([id; 32]), len }
}

fn folder() -> Body {
    let counts = Counts { entries: 3, subdirs: 1, total: 9, bytes: 70_000 };
    Body::Folder(TreeRef { page: PageId::from_bytes([5; 32]), counts })
}

fn entries() -> Vec<Entry> {
    let paged = Body::File(FileBody {
        size: 1 << 33,
        crc32: None,
        content: None,
        chunks: Chunks::Paged(PageId::from_bytes([1; 32]), ChunkCounts { chunks: 90, bytes: 1 << 32 }),
        holes: Holes::Paged(PageId::from_bytes([2; 32]), HoleCounts { holes: 700, bytes: 1 << 32 }),
    });
    let listed = Body::File(FileBody {
        size: 600,
        crc32: Some(7),
        content: Some(Digest::from_bytes([9; 32])),
        chunks: Chunks::List(vec![chunk(1, 300), chunk(2, 100)]),
        holes: Holes::List(vec![Extent { offset: 10, len: 100 }, Extent { offset: 500, len: 100 }]),
    });
    let empty = Body::File(FileBody { size: 0, crc32: None, content: None, chunks: Chunks::None, holes: Holes::None });
    let mut all: Vec<_> = [folder(), paged, listed, empty, Body::Fifo, Body::Socket, Body::CharDevice(1, 3)]
        .into_iter()
        .chain([Body::BlockDevice(8, 300), Body::Symlink((*b"../a").into())])
        .enumerate()
        .map(|(at, body)| entry(&format!("n{at}"), body))
        .collect();
    all[1].link = Some(LinkGroup::from_bytes([7; 16]));
    all[2].bits = Bits::XATTRS.with(Bits::ACCESS_ACL);
    let list = vec![(b"system.posix_acl_access".to_vec(), acl()), (b"user.k".to_vec(), b"v".to_vec())];
    all[2].xattrs = Xattrs::List(list);
    all[3].bits = Bits::XATTRS;
    all[3].xattrs = Xattrs::Chunks(vec![chunk(4, 9000)]);
    all[4].ext = vec![(3, b"later".to_vec()), (300, Vec::new())];
    all
}

fn acl() -> Vec<u8> {
    let row = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let rows =
        [row(1, 6, u32::MAX), row(2, 5, 1000), row(4, 4, u32::MAX), row(8, 1, 5), row(0x10, 5, 9), row(0x20, 0, 9)];
    [&2u32.to_le_bytes()[..], &rows.concat()].concat()
}

fn manifest() -> Manifest {
    let text = |text: &str| Some(text.to_owned());
    Manifest {
        sequence: 3,
        previous: Digest::from_bytes([1; 32]),
        arrival: TIME,
        kind: SnapshotKind::Pre,
        dataset: "home".parse().expect("a good name"),
        parent: Some(SnapshotId::from_bytes([2; 32])),
        root: entry("", folder()),
        links: Some(LinksRef { page: PageId::from_bytes([3; 32]), counts: LinkCounts { groups: 2, names: 5 } }),
        statistics: Statistics { files: 5, folders: 300, bytes: 1 << 20, ..Statistics::default() },
        client_time: TIME,
        host: "host".to_owned(),
        user: "ann".to_owned(),
        program: "larder 0.1.0".to_owned(),
        sources: vec![b"/home/ann".to_vec(), b"\xff".to_vec()],
        git_revision: text("0123abcd"),
        reason: text("why"),
        labels: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())],
        references: vec![Reference {
            key: "k".to_owned(),
            uri: "file:///x".to_owned(),
            hash: None,
            verified: Some(true),
        }],
        evidence: Evidence { immutable: true, retention_class: text("c"), payload: text("{}"), ..Evidence::default() },
        ext: vec![(9, vec![1, 2])],
    }
}

fn structures() -> Vec<(&'static str, Vec<u8>)> {
    let with_mac = |bytes| join_mac(bytes, &[0xaa; 32]);
    let info = |name, role| KeyInfo {
        name: KeyName::from_bytes([name; 8]),
        role,
        recipient: "age1…".to_owned(),
        label: "web 1".to_owned(),
        added: TIME,
        ext: Vec::new(),
    };
    let keys = vec![info(1, Role::Owner), info(2, Role::Writer)];
    let record = KeyRecord {
        store: StoreId::from_bytes([7; 16]),
        name: KeyName::from_bytes([1; 8]),
        role: Role::Owner,
        id_key: [1; 32],
        chunker_seed: [2; 32],
        page_recipient: "age1page".to_owned(),
        chunk_recipient: "age1chunk".to_owned(),
        page_identities: vec![IDENTITY.to_owned()],
        chunk_identities: vec![IDENTITY.to_owned(), "old".to_owned()],
        ext: key_record_ext(&[[1; 32], [2; 32]], Some(&keys), None),
    };
    let change = KeyChange {
        added: vec![keys[0].name],
        removed: vec![keys[1].name],
        rotated: true,
        keys,
        ext: vec![(1, vec![1])],
    };
    let looks = |compared, opened| Looks { compared, opened };
    let ledger = LedgerRow { runs: vec![(300, looks(1, 0)), (5, looks(1 << 33, 7))], ext: Vec::new() };
    let dataset = DatasetRecord {
        head: 9,
        manifest: SnapshotId::from_bytes([1; 32]),
        count: 2,
        name: b"sealed".to_vec(),
        ext: Vec::new(),
    };
    let mark = HostMark { ctime: TIME, dev: (8, 1), ino: 77 };
    let head = CacheHead {
        program: "larder 0.1.0".to_owned(),
        store: record.store,
        sequence: 4,
        log_hash: Digest::from_bytes([6; 32]),
        gc_generation: 1,
    };
    let record_of = |entry| CacheRecord { leave: false, item: Some((mark, entry)) };
    let cached: Vec<_> =
        entries().into_iter().map(record_of).chain([CacheRecord { leave: true, item: None }]).collect();
    let none = DataKey::none();
    let epoch = EpochId::from_bytes([3; 16]);
    let content = b"hello hello hello hello hello hello hello hello".repeat(4);
    let lengths = vec![100, u32::try_from(content.len()).expect("short") - 100];
    let block = seal_block(BlockKind::Tree, epoch, (&none, &none), &content, (lengths, &[]), Effort::USUAL, true);
    let recipient = crate::codec::recipient_of(IDENTITY).expect("a good identity");
    let object = wrap_to_store(&record.to_bytes(), &recipient).expect("age wraps");
    let mut all = vec![
        ("key_record", record.to_bytes()),
        ("detail", change.to_bytes()),
        ("ledger_row", with_mac(ledger.to_bytes())),
        ("dataset_record", with_mac(dataset.to_bytes())),
        ("capture_cache", head.to_bytes()),
        ("capture_cache", to_bytes(&cached)),
        ("manifest", to_bytes(&manifest())),
        ("block", block.expect("a block is made").bytes),
        ("block", block_of_lines(epoch, &none)),
        ("sealed_value", seal_value(epoch, &none, "log", b"row", b"plain")),
        ("seal_block", [&[0, 4, 99, 1][..], b"hello hello world hello hello"].concat()),
        ("seal_block", [&[1, 255, 1, 9][..], &content].concat()),
        ("seal_block", [&[0, 255, 100, 3][..], &record_lines()].concat()),
        ("places", sum_key_value(BlockKind::Data, &Digest::from_bytes([4; 32])).to_vec()),
        ("tip", [&b"LDRTIP1\n"[..], &7u64.to_le_bytes(), &[1; 64]].concat()),
        ("key_object", armoured(&object).expect("age armours")),
        ("key_object", object),
        ("acl", acl()),
        ("xattrs", to_bytes(&vec![(b"user.a".to_vec(), vec![7; 300]), (b"user.b".to_vec(), Vec::new())])),
        ("rocksdb_table", with_index(&[0; 4])),
        // Two blocks: at 5, of 7 bytes; and the one behind it, 2 bytes longer.
        ("rocksdb_table", vec![0, 1, b'k', 5, 7, 1, 1, b'l', 4, 0, 0, 0, 0, 1, 0, 0, 0]),
        ("rocksdb_log", [fragment(1, 10), fragment(2, 40), fragment(4, 5), fragment(131, 1)].concat()),
        ("rocksdb_log", [fragment(1, 32_758), vec![0; 3], fragment(1, 1)].concat()),
    ];
    all.extend(entries().iter().chain(&too_much()).map(|entry| ("entry", to_bytes(entry))));
    all
}

/// Records as lines: digests, ids, a digest that comes twice, a string that is nearly one.
fn record_lines() -> Vec<u8> {
    let line = |n: u8| {
        let hash = crate::codec::digest(&[n]).to_string();
        let id = format!("{}-{}-4abc-8def-{}", &hash[..8], &hash[8..12], &hash[20..32]);
        format!(
            "{{\"exchange_id\": \"{id}\", \"exchange_type\": \"http\", \"source_system\": \"s\", \"entity_type\": \"e\", \"natural_key\": \"k\\\"{n}\", \
             \"request\": null, \"response\": {{\"md5\": \"{}\", \"git\": \"{}\", \"x\": \"{}\"}}, \"observed_at_utc\": null, \
             \"provenance\": null, \"content_sha256\": \"{hash}\", \"again\": \"{hash}\"}}\n",
            &hash[..32],
            &hash[..40],
            &hash[..41]
        )
    };
    (0..4).map(line).collect::<String>().into_bytes()
}

/// A block of lines (store-format.md, 10.1): with their index, which is derived, and an item that only begins like one.
fn block_of_lines(epoch: EpochId, none: &DataKey) -> Vec<u8> {
    let lines = record_lines();
    let index = index_lines(&lines, b"records/2024/2024-01-15/chunk-0001.ndjson").expect("lines have an index");
    let items = [&lines[..], &index, b"{\"h\": \"no index\"}\n"];
    let lengths = items.iter().map(|item| u32::try_from(item.len()).expect("short")).collect();
    let block = seal_block(BlockKind::Data, epoch, (none, none), &items.concat(), (lengths, &[]), Effort::LINES, true);
    block.expect("a block is made").bytes
}

/// Entries that were read although the format refuses them.
fn too_much() -> Vec<Entry> {
    let file = |size, chunks, holes| Body::File(FileBody { size, crc32: None, content: None, chunks, holes });
    let holes = (0..600).map(|n| Extent { offset: 2 * n, len: 1 }).collect();
    let counts = Counts { entries: 1, subdirs: 1, total: u64::MAX, bytes: 0 };
    let mut all = vec![
        entry("chunks", file(40, Chunks::List((0..40).map(|n| chunk(n, 1)).collect()), Holes::None)),
        entry("holes", file(1200, Chunks::List(vec![chunk(1, 600)]), Holes::List(holes))),
        entry("counts", Body::Folder(TreeRef { page: PageId::from_bytes([5; 32]), counts })),
        entry("xattrs", Body::Fifo),
        entry("ext", Body::Fifo),
    ];
    all[3].bits = Bits::XATTRS;
    all[3].xattrs = Xattrs::List(vec![(b"user.k".to_vec(), vec![7; 600])]);
    all[4].ext = vec![(1, vec![0; 9000])];
    all
}

/// A fragment of a RocksDB log.
fn fragment(sort: u8, len: u16) -> Vec<u8> {
    let [low, high] = len.to_le_bytes();
    [&[0, 0, 0, 0, low, high, sort][..], &vec![0; usize::from(len)]].concat()
}

fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let names = [
        "latest",
        "latest~2",
        "home:a/b",
        "beef~1",
        "home@2024-01-15T10:30:/etc",
        "home@36h",
        "home@2024-01-15T10:30:05.5+02:00",
    ];
    let times =
        ["2024-01-15T10:30:00Z", "2024-01-15T10:30", "2024-01-15", "30min", "2w", "1.5G", "20MB", "4096", "2 TiB"];
    let mounts =
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:50 / /mnt/a\\040b ro,nosuid shared:5 - fuse larder:/store ro\n";
    let config = "store = 'home'\n[stores.home]\npath = '~/stores'\nidentity = ['/key', \"$HOME/k\"]\npassphrase-command = 'cat p'\n\
        [defaults]\nprogress = 'json'\ncolor = 'never'\nexclude = ['*.o']\n[profiles.work]\nstore = './x'\npaths = ['work']\n\
        exclude-from = 'list'\none-file-system = true\ndataset = 'w'\nlabels = { team = 'x', n = 3 }\n";
    let pin =
        "{\"commitment\":\"00ff\",\"recipients\":\"a\",\"sequence\":7,\"log_hash\":\"b\",\"tokens\":{\"0102\":\"c\"}}";
    let identity = "# created: today\nAGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n";
    let recipients = [
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n",
    ];
    let ignored = "# comment\n*.o\n!keep.o\n/build\ncache/\na/**/b\n[a-z]?{x,y}\n\\#name \\ \n[!";
    let one =
        [("mounts", mounts), ("config", config), ("pin", pin), ("identities", identity), ("ignore_file", ignored)];
    let many = |target, texts: Vec<&'static str>| texts.into_iter().map(move |text| (target, text));
    one.into_iter()
        .chain(many("snapshot_name", names.to_vec()))
        .chain(many("time", times.to_vec()))
        .chain(many("identities", recipients.to_vec()))
}
