//! Somebody has a writer key and makes trees that no capture makes, right in all that is signed and hashed: pages that share pages, names of one
//! file that hold different things, sizes that no content has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use larder::model::{
    Bits, Body, Chunks, Digest, Entry, FileBody, LinkGroup, LinkItem, LinksRef, LongValue, Name, Quiet, Role,
    SnapshotKind, Statistics, Timestamp, TreeRef, Xattrs,
};
use larder::store::{NewSnapshot, Store, Waiting, Writer};
use larder::tree::{MapBuilder, PageWriter};
use larder::view::View;

use crate::clocked::{Told, capture_at, client_with_role, days_ago, folder, now, opened};
use crate::sandbox::{Client, Sandbox};

/// An entry with nothing special about it; without a name, a root.
fn entry(name: &str, body: Body) -> Entry {
    Entry {
        name: if name.is_empty() { Name::root() } else { Name::new(name.as_bytes()).unwrap() },
        bits: Bits::default(),
        mode: if matches!(body, Body::Folder(_)) { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        user: Box::default(),
        group: Box::default(),
        mtime: Timestamp::EPOCH,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        body,
        ext: Vec::new(),
    }
}

fn tree(pages: &mut PageWriter, name: &str, items: Vec<Entry>) -> Entry {
    let mut map = MapBuilder::default();
    items.into_iter().for_each(|item| map.push(pages, item).unwrap());
    let (page, counts) = map.finish(pages).unwrap();
    entry(name, Body::Folder(TreeRef { page, counts }))
}

/// A file of one chunk that says that it has so many bytes.
fn whole(name: &str, bytes: &[u8], size: u64) -> Entry {
    let content = Some(Digest::from_bytes(*blake3::hash(bytes).as_bytes()));
    entry(name, Body::File(FileBody { size, crc32: None, content, chunks: Chunks::Whole, ..FileBody::empty() }))
}

fn stored(writer: &Writer, name: &str, bytes: &[u8], size: u64) -> Entry {
    let id = writer.store().keyring().ids().chunk(bytes);
    if writer.claim_chunk(&id).unwrap() {
        writer.put_chunks(bytes, &[(id, bytes.len() as u32)]).unwrap();
    }
    whole(name, bytes, size)
}

/// The map of one group.
fn links(pages: &mut PageWriter, group: LinkGroup, names: u64, first: &str) -> LinksRef {
    let mut map = MapBuilder::default();
    map.push(pages, LinkItem { group, names, first: LongValue::Inline(first.as_bytes().to_vec()) }).unwrap();
    let (page, counts) = map.finish(pages).unwrap();
    LinksRef { page, counts }
}

/// Commits a snapshot of what `make` makes; gives its id.
fn commit(
    store: &Store,
    dataset: &str,
    make: impl FnOnce(&Writer, &mut PageWriter) -> (Entry, Option<LinksRef>),
) -> String {
    let writer = store.writer(Waiting::Wait, &|| true).unwrap();
    let mut pages = PageWriter::new(&writer);
    let (root, links) = make(&writer, &mut pages);
    pages.flush().unwrap();
    drop(pages);
    let counts = root.folder().unwrap().counts;
    let new = NewSnapshot {
        kind: SnapshotKind::Manual,
        dataset: dataset.parse().unwrap(),
        root,
        links,
        statistics: Statistics { files: counts.total, bytes: counts.bytes, ..Statistics::default() },
        client_time: now(),
        host: "h".to_owned(),
        user: "u".to_owned(),
        program: "p".to_owned(),
        sources: vec![b"/x".to_vec()],
        git_revision: None,
        reason: None,
        labels: Vec::new(),
        references: Vec::new(),
        evidence: larder::model::Evidence::default(),
        origin: None,
        records: None,
    };
    writer.commit(new, now()).unwrap().id.to_string()
}

/// A folder of sixteen folders of sixteen folders …, all of one page at each level.
fn bomb(pages: &mut PageWriter, leaf: Vec<Entry>) -> Entry {
    let mut below = tree(pages, "x", leaf);
    for _ in 0..11 {
        let named = |n| Entry { name: Name::new(format!("n{n:02}").as_bytes()).unwrap(), ..below.clone() };
        below = tree(pages, "", (0..16).map(named).collect());
    }
    below
}

fn stage() -> (Sandbox, Client) {
    let sandbox = Sandbox::with_store();
    let writer = client_with_role(&sandbox, "writer", Role::Writer);
    (sandbox, writer)
}

#[test]
fn a_few_pages_of_more_files_than_anybody_can_walk_hinder_no_retention() {
    let (sandbox, writer) = stage();
    let source = folder(&sandbox, "source", 20);
    let thief = opened(&sandbox, &writer);
    let honest: Vec<_> = (1..=6).rev().map(|ago| capture_at(&thief, &source, "home", days_ago(ago))).collect();
    let forget = |words: &[&str], status| Told::of(sandbox.larder(["forget", "--json"].iter().chain(words)), status);
    assert_eq!(forget(&["--keep-last", "1", "-n"], 0).forgotten, honest[..5]);
    let file = |n: usize| entry(&format!("n{n:02}"), Body::File(FileBody::empty()));
    let odd = commit(&thief, "home", |_, pages| (bomb(pages, (0..16).map(file).collect()), None));
    // All that was there before is gone in it.
    let told = forget(&["--keep-last", "1"], 3);
    assert_eq!((told.forgotten.len(), told.kept.len()), (0, 7), "{told:?}");
    sandbox.larder(["forget", &honest[0]]).refused(2, "gone or have another content");
    sandbox.larder(["hold", &odd, "--reason", "to be looked at"]).done();
    sandbox.larder(["release", &odd]).done();
    sandbox.larder(["forget", &odd]).done();
    assert_eq!(forget(&["--keep-last", "1"], 0).forgotten, honest[..5]);
    sandbox.larder(["gc"]).done();
    sandbox.larder(["verify"]).done();
}

/// What is damaged is told by its paths: by some of them, where there are more than anybody can tell.
#[test]
fn damage_in_such_a_tree_is_told() {
    let (sandbox, writer) = stage();
    commit(&opened(&sandbox, &writer), "home", |_, pages| {
        let lost = whole("a", b"never stored", 12);
        (bomb(pages, vec![lost, entry("b", Body::File(FileBody::empty()))]), None)
    });
    let said = sandbox.larder(["verify", "--json"]).ended(13).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("n00/n00/n00/n00/n00/n00/n00/n00/n00/n00/n00/a"), "{said}");
    assert!(said.contains(&16_u64.pow(11).to_string()), "{said}");
}

#[test]
fn names_of_one_file_that_hold_different_things_are_told_and_never_mixed_up() {
    let others: [fn(&Writer) -> Entry; 3] = [
        |writer| stored(writer, "b", b"BBBB", 4),
        |_| entry("b", Body::Symlink(b"elsewhere".as_slice().into())),
        |_| entry("b", Body::Fifo),
    ];
    for (at, other) in others.into_iter().enumerate() {
        for names in [1, 2] {
            let (sandbox, writer) = stage();
            let id = commit(&opened(&sandbox, &writer), "home", |writer, pages| {
                let group = writer.store().keyring().ids().link_group(b"in/a");
                let link = Some(group);
                let first = Entry { link, ..stored(writer, "a", b"AAAA", 4) };
                let items = vec![first, Entry { link, ..other(writer) }, stored(writer, "c", b"CCCC", 4)];
                let inner = tree(pages, "in", items);
                (tree(pages, "", vec![inner]), Some(links(pages, group, names, "in/a")))
            });
            let said = String::from_utf8(sandbox.larder(["verify", "--json"]).ended(13).stdout).unwrap();
            assert!(said.contains("its names do not hold the same"), "{said}");
            assert!(said.contains("in/a") && said.contains("in/b") && !said.contains("in/c"), "{said}");
            let out = sandbox.path("out");
            sandbox.larder(["restore", &id, out.to_str().unwrap()]).refused(13, "in/b");
            assert_eq!(fs::read(out.join("in/a")).unwrap(), b"AAAA");
            assert_eq!(fs::read(out.join("in/c")).unwrap(), b"CCCC");
            assert!(fs::symlink_metadata(out.join("in/b")).is_err(), "case {at}");
            for form in ["tar", "zip"] {
                let pack = sandbox.path(format!("x.{form}"));
                sandbox.larder(["export", &id, "-o", pack.to_str().unwrap()]).refused(13, "in/b");
                assert!(!pack.exists());
            }
            let view = View::new(&opened(&sandbox, sandbox.client()), 16 << 20, Arc::new(Quiet)).unwrap();
            let inner = view.lookup(view.open(&id.parse().unwrap()).unwrap(), b"in").unwrap().unwrap().id();
            let [a, b] = ["a", "b"].map(|name| view.lookup(inner, name.as_bytes()).unwrap().unwrap());
            assert_ne!(a.id(), b.id());
            assert_ne!(a.entry().body, b.entry().body);
        }
    }
}

/// From one snapshot to the next all names change together.
#[test]
fn names_of_one_file_that_change_are_as_they_should_be() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 3);
    fs::create_dir(source.join("in")).unwrap();
    for content in ["one", "two", "three"] {
        fs::write(source.join("0"), content).unwrap();
        for name in ["in/x", "y"] {
            let _ = fs::remove_file(source.join(name));
            fs::hard_link(source.join("0"), source.join(name)).unwrap();
        }
        sandbox.snapshot(&source, "home").done();
        // The same paths, and another file.
        let other = folder(&sandbox, &format!("other {content}"), 3);
        fs::hard_link(other.join("0"), other.join("y")).unwrap();
        sandbox.snapshot(&other, "home").done();
    }
    sandbox.larder(["verify"]).done();
    sandbox.larder(["verify", "--read-data"]).done();
    let out = sandbox.path("out");
    sandbox.larder(["restore", "home~1", out.to_str().unwrap()]).done();
    assert_eq!(fs::metadata(out.join("in/x")).unwrap().nlink(), 3);
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_told() {
    for (size, reads) in [(1 << 62, false), (5, true), (3, true)] {
        let (sandbox, writer) = stage();
        let id = commit(&opened(&sandbox, &writer), "home", |writer, pages| {
            let items = vec![stored(writer, "a", b"AAAA", size), stored(writer, "b", b"BBBB", 4)];
            (tree(pages, "", items), None)
        });
        let words: &[&str] = if reads { &["verify", "--read-data", "--json"] } else { &["verify", "--json"] };
        let said = String::from_utf8(sandbox.larder(words).ended(13).stdout).unwrap();
        assert!(said.contains("\"a\"") && !said.contains("\"b\""), "{said}");
        sandbox.larder(["restore", &id, sandbox.path("out").to_str().unwrap()]).refused(13, "a");
    }
}
