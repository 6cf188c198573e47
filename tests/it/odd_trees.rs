//! Somebody has a writer key and makes trees that no capture makes, right in all that is signed and hashed: pages that share pages, names of one
//! file that hold different things, sizes that no content has.

use std::fs;

use larder::model::{
    Bits, Body, Entry, FileBody, LinksRef, Name, Role, SnapshotKind, Statistics, Timestamp, TreeRef, Xattrs,
};
use larder::store::{NewSnapshot, Store, Waiting, Writer};
use larder::tree::{MapBuilder, PageWriter};

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
    sandbox.larder(["hold", &odd]).done();
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
    let content = blake3::hash(b"never stored");
    commit(&opened(&sandbox, &writer), "home", |_, pages| {
        let file = FileBody {
            size: 12,
            crc32: None,
            content: Some(larder::model::Digest::from_bytes(*content.as_bytes())),
            chunks: larder::model::Chunks::Whole,
            ..FileBody::empty()
        };
        (bomb(pages, vec![entry("a", Body::File(file)), entry("b", Body::File(FileBody::empty()))]), None)
    });
    let said = sandbox.larder(["verify", "--json"]).ended(13).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("n00/n00/n00/n00/n00/n00/n00/n00/n00/n00/n00/a"), "{said}");
    assert!(said.contains(&16_u64.pow(11).to_string()), "{said}");
    fs::remove_dir_all(sandbox.store()).unwrap();
}
