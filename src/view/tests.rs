//! A view over a small tree of everything that is awkward.

use std::sync::{Arc, Mutex};

use crate::codec::ContentSum;
use crate::format::PageItem;
use crate::model::{
    Bits, Body, ChunkRef, Chunks, Entry, Evidence, Extent, FileBody, Holes, LinkItem, LinksRef, LongValue, Notice,
    Progress, SnapshotId, SnapshotKind, Statistics, Timestamp, TreeRef, Xattrs,
};
use crate::store::{NewSnapshot, Store, Waiting, Writer};
use crate::tree::samples::{entry, new_store};
use crate::tree::{MapBuilder, PageWriter};

use super::{Kind, NodeId, View, ViewError};

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<String>>);

impl Progress for Heard {
    fn notice(&self, notice: Notice) {
        self.0.lock().unwrap().push(format!("{notice:?}"));
    }
}

/// An entry and, of a folder, what is in it.
pub(crate) struct Item {
    entry: Entry,
    inside: Vec<Item>,
    pieces: Vec<Vec<u8>>,
}

fn item(name: &[u8], body: Body) -> Item {
    let mtime = Timestamp { seconds: -1_000_000_000, nanos: 123_456_789 };
    let entry = Entry { uid: 1, gid: 2, mtime, ..entry(name, body) };
    Item { entry, inside: Vec::new(), pieces: Vec::new() }
}

pub(crate) fn folder(name: &[u8], inside: Vec<Item>) -> Item {
    let empty = TreeRef { page: crate::model::PageId::from_bytes([0; 32]), counts: crate::model::Counts::default() };
    let mut folder = item(name, Body::Folder(empty));
    folder.entry.mode = 0o2755;
    Item { inside, ..folder }
}

/// A file of pieces, one chunk each, with holes.
pub(crate) fn file(name: &[u8], pieces: &[&[u8]], holes: &[(u64, u64)], size: u64) -> Item {
    let holes: Vec<_> = holes.iter().map(|&(offset, len)| Extent { offset, len }).collect();
    let holes = if holes.is_empty() { Holes::None } else { Holes::List(holes) };
    let body = FileBody { size, crc32: None, content: None, chunks: Chunks::None, holes };
    Item { pieces: pieces.iter().map(|p| p.to_vec()).collect(), ..item(name, Body::File(body)) }
}

fn store_item(item: &mut Item, writer: &Writer, pages: &mut PageWriter) {
    let ids = writer.store().keyring().ids().clone();
    if let Body::File(file) = &mut item.entry.body {
        let list: Vec<_> =
            item.pieces.iter().map(|p| ChunkRef { id: ids.chunk(p), len: u32::try_from(p.len()).unwrap() }).collect();
        for (chunk, piece) in list.iter().zip(&item.pieces) {
            if writer.claim_chunk(&chunk.id).unwrap() {
                writer.put_chunks(piece, &[(chunk.id, chunk.len)]).unwrap();
            }
        }
        file.chunks = match list.as_slice() {
            [] => Chunks::None,
            [_] if file.holes == Holes::None => {
                file.content = Some(ContentSum::of(&item.pieces[0]).blake3);
                Chunks::Whole
            }
            _ => Chunks::List(list),
        };
    }
    if let Body::Folder(tree) = &mut item.entry.body {
        item.inside.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
        let mut map = MapBuilder::<Entry>::default();
        for below in &mut item.inside {
            store_item(below, writer, pages);
            map.push(pages, below.entry.clone()).unwrap();
        }
        let (page, counts) = map.finish(pages).unwrap();
        *tree = TreeRef { page, counts };
    }
}

/// Captures a tree as a snapshot.
pub(crate) fn capture(store: &Store, mut root: Item, links: &[LinkItem], arrival: i64) -> SnapshotId {
    let writer = store.writer(Waiting::Wait, &|| true).unwrap();
    let mut pages = PageWriter::new(&writer);
    store_item(&mut root, &writer, &mut pages);
    let links = (!links.is_empty()).then(|| {
        let mut map = MapBuilder::<LinkItem>::default();
        let mut links = links.to_vec();
        links.sort_by_key(PageItem::key);
        for link in links {
            map.push(&mut pages, link).unwrap();
        }
        let (page, counts) = map.finish(&mut pages).unwrap();
        LinksRef { page, counts }
    });
    pages.flush().unwrap();
    drop(pages);
    let id = writer.commit(new(root.entry, links), Timestamp { seconds: arrival, nanos: 0 }).unwrap().id;
    store.refresh().unwrap();
    id
}

fn new(root: Entry, links: Option<LinksRef>) -> NewSnapshot {
    NewSnapshot {
        kind: SnapshotKind::Manual,
        dataset: "home".parse().unwrap(),
        root,
        links,
        statistics: Statistics::default(),
        client_time: Timestamp::EPOCH,
        host: String::new(),
        user: String::new(),
        program: String::new(),
        sources: Vec::new(),
        git_revision: None,
        reason: None,
        labels: Vec::new(),
        references: Vec::new(),
        evidence: Evidence::default(),
        origin: None,
        records: None,
    }
}

/// A tree with hard links, holes, devices, odd names and a large folder.
pub(crate) fn awkward(store: &Store) -> (Item, Vec<LinkItem>) {
    let group = store.keyring().ids().link_group(b"a/one");
    let member = |name: &[u8]| {
        let mut member = file(name, &[b"shared"], &[], 6);
        member.entry.link = Some(group);
        member
    };
    let mut tagged = file(b"tagged", &[b"x"], &[], 1);
    tagged.entry.bits = Bits::XATTRS;
    tagged.entry.xattrs = Xattrs::List(vec![(b"user.a".to_vec(), b"1".to_vec())]);
    let many = (0..5000)
        .map(|n| file(format!("f{n:05}").as_bytes(), &[format!("content {n}").as_bytes()], &[], 0))
        .map(|mut f| {
            if let Body::File(body) = &mut f.entry.body {
                body.size = f.pieces[0].len() as u64;
            }
            f
        });
    let root = folder(
        b"",
        vec![
            folder(b"a", vec![member(b"one"), folder(b"deep", vec![member(b"two")])]),
            folder(b"b", vec![member(b"three")]),
            folder(b"many", many.collect()),
            file(b"holes", &[b"head", b"tail"], &[(4, 100_000), (100_008, 92)], 100_100),
            file(b"two-chunks", &[b"hello ", b"world"], &[], 11),
            file(b"\xff\xfe", &[], &[], 0),
            item(b"link", Body::Symlink(b"a/one".as_slice().into())),
            item(b"null", Body::CharDevice(1, 300_000)),
            item(b"pipe", Body::Fifo),
            tagged,
        ],
    );
    let links = vec![LinkItem { group, names: 3, first: LongValue::Inline(b"a/one".to_vec()) }];
    (root, links)
}

fn view_of(store: &Store) -> (View, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (View::new(store, 16 << 20, heard.clone()).unwrap(), heard)
}

fn find(view: &View, root: NodeId, path: &str) -> NodeId {
    path.split('/').fold(root, |at, name| view.lookup(at, name.as_bytes()).unwrap().unwrap().id())
}

#[test]
fn everything_awkward_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let (tree, links) = awkward(&store);
    let id = capture(&store, tree, &links, 1_700_000_000);
    let (view, heard) = view_of(&store);
    let root = view.open(&id).unwrap();
    let attr = |path: &str| view.node(find(&view, root, path)).unwrap().attr();
    assert_eq!((root.sequence(), root.index()), (1, 0));
    let root_attr = view.node(root).unwrap().attr();
    assert_eq!((root_attr.kind, root_attr.nlink, root_attr.mode), (Kind::Folder, 5, 0o2755));
    let shared: Vec<_> = ["a/one", "a/deep/two", "b/three"].iter().map(|p| attr(p)).collect();
    assert!(shared.iter().all(|a| a.id == shared[0].id && a.nlink == 3));
    assert_eq!(attr("null").device, (1, 300_000));
    assert_eq!((attr("holes").size, attr("holes").blocks), (100_100, 1));
    assert_eq!(attr("pipe").kind, Kind::Fifo);
    assert_eq!(attr("a").mtime, Timestamp { seconds: -1_000_000_000, nanos: 123_456_789 });
    assert_eq!(view.readlink(find(&view, root, "link")).unwrap(), b"a/one");
    assert!(view.lookup(root, b"\xff\xfe").unwrap().is_some());
    assert!(view.lookup(root, b"absent").unwrap().is_none());
    let tagged = view.node(find(&view, root, "tagged")).unwrap();
    assert_eq!(view.xattrs(&tagged).unwrap(), [(b"user.a".to_vec(), b"1".to_vec())]);
    assert!(matches!(view.lookup(find(&view, root, "pipe"), b"x"), Err(ViewError::NotA { .. })));
    assert!(matches!(view.node(NodeId::new(1, 1 << 30).unwrap()), Err(ViewError::Stale(_))));
    assert!(matches!(view.node(NodeId::new(99, 0).unwrap()), Err(ViewError::Stale(_))));
    assert!(heard.0.lock().unwrap().is_empty());
}

#[test]
fn reads_and_holes_are_exact_at_any_offset() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let (tree, links) = awkward(&store);
    let id = capture(&store, tree, &links, 0);
    let (view, _) = view_of(&store);
    let root = view.open(&id).unwrap();
    let holes = find(&view, root, "holes");
    let mut whole = b"head".to_vec();
    whole.resize(100_004, 0);
    whole.extend_from_slice(b"tail");
    whole.resize(100_100, 0);
    let mut bytes = Vec::new();
    for (offset, len) in
        [(0, 200_000), (2, 10), (4, 1), (100_000, 6), (100_005, 300), (100_099, 1), (100_100, 5), (u64::MAX, 1)]
    {
        view.read(holes, offset, len, &mut bytes).unwrap();
        let start = usize::try_from(offset).unwrap().min(whole.len());
        assert_eq!(bytes, whole[start..(start + len).min(whole.len())], "{offset} {len}");
    }
    let seeks = [(0, Some(0), Some(4)), (4, Some(100_004), Some(4)), (50, Some(100_004), Some(50))];
    for (offset, data, hole) in seeks {
        assert_eq!(
            (view.seek_data(holes, offset).unwrap(), view.seek_hole(holes, offset).unwrap()),
            (data, hole),
            "{offset}"
        );
    }
    assert_eq!(view.seek_data(holes, 100_008).unwrap(), None);
    assert_eq!(view.seek_hole(holes, 100_005).unwrap(), Some(100_008));
    assert_eq!(view.seek_hole(holes, 100_100).unwrap(), None);
    view.read(find(&view, root, "two-chunks"), 4, 4, &mut bytes).unwrap();
    assert_eq!(bytes, b"o wo");
}

#[test]
fn a_large_folder_is_listed_from_anywhere_and_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let (tree, links) = awkward(&store);
    let id = capture(&store, tree, &links, 0);
    let (view, _) = view_of(&store);
    let root = view.open(&id).unwrap();
    let many = find(&view, root, "many");
    for from in [0, 1, 16, 999, 4_999, 5_000, 9_000] {
        let mut children = view.list(many, from).unwrap();
        let mut at = from;
        while let Some(child) = children.next().unwrap() {
            assert_eq!((child.position, child.name().as_bytes()), (at, format!("f{at:05}").as_bytes()));
            at += 1;
        }
        assert_eq!(at, from.max(5_000));
    }
    // A view that has never listed finds the same nodes by number alone.
    let (fresh, _) = view_of(&store);
    let last = find(&view, root, "many/f04999");
    assert_eq!(fresh.path(last).unwrap(), b"many/f04999");
    assert_eq!(fresh.node(last).unwrap().parent(), many);
    let one = find(&view, root, "b/three");
    assert_eq!(fresh.path(one).unwrap(), b"a/one");
}

#[test]
fn damage_is_an_error_for_its_range_alone_and_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let mut tree = folder(b"", vec![file(b"f", &[b"good", b"gone", b"fine"], &[], 12)]);
    // The list names a chunk that was never stored.
    let writer = store.writer(Waiting::Wait, &|| true).unwrap();
    let mut pages = PageWriter::new(&writer);
    store_item(&mut tree, &writer, &mut pages);
    let ids = store.keyring().ids();
    if let Body::File(body) = &mut tree.inside[0].entry.body {
        let Chunks::List(list) = &mut body.chunks else { panic!() };
        list[1].id = ids.chunk(b"absent");
    }
    let mut map = MapBuilder::<Entry>::default();
    map.push(&mut pages, tree.inside[0].entry.clone()).unwrap();
    let (page, counts) = map.finish(&mut pages).unwrap();
    tree.entry.body = Body::Folder(TreeRef { page, counts });
    pages.flush().unwrap();
    drop(pages);
    drop(writer);
    store.refresh().unwrap();
    let id = commit_as_is(&store, tree.entry);
    let (view, heard) = view_of(&store);
    let f = find(&view, view.open(&id).unwrap(), "f");
    let mut bytes = Vec::new();
    view.read(f, 0, 4, &mut bytes).unwrap();
    assert_eq!(bytes, b"good");
    view.read(f, 8, 4, &mut bytes).unwrap();
    assert_eq!(bytes, b"fine");
    for _ in 0..2 {
        assert!(view.read(f, 3, 4, &mut bytes).is_err());
    }
    let heard = heard.0.lock().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let absent = ids.chunk(b"absent").to_string();
    assert!(
        heard[0].contains(&absent) && heard[0].contains(&id.to_string()[..16]) && heard[0].contains(": f"),
        "{heard:?}"
    );
}

/// Commits a root whose pages are stored already.
fn commit_as_is(store: &Store, root: Entry) -> SnapshotId {
    let writer = store.writer(Waiting::Wait, &|| true).unwrap();
    let id = writer.commit(new(root, None), Timestamp::EPOCH).unwrap().id;
    store.refresh().unwrap();
    id
}

#[test]
fn new_snapshots_show_and_share_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let store = new_store(dir.path());
    let first = capture(&store, folder(b"", Vec::new()), &[], 1_705_314_605);
    let (view, _) = view_of(&store);
    assert_eq!(view.catalog().rows().len(), 1);
    assert!(!view.look_again().unwrap());
    let second = capture(&store, folder(b"", vec![file(b"f", &[b"1"], &[], 1)]), &[], 1_705_314_605);
    assert!(view.look_again().unwrap());
    let after = view.catalog();
    assert_eq!(after.rows().len(), 2);
    assert_eq!(after.rows()[0].id, first);
    assert_eq!((after.rows()[1].id, after.rows()[1].time_name.as_str()), (second, "2024-01-15T10-30-05Z-2"));
    assert_eq!(after.datasets().len(), 1);
    assert!(!view.look_again().unwrap());
}
