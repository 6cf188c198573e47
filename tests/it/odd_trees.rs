//! Somebody has a writer key and makes trees that no capture makes, right in all that is signed and hashed: pages that share pages, names of one
//! file that hold different things, sizes that no content has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use larder::format::{Child, Page, PageItem, PageItems};
use larder::model::{
    Bits, Body, Chunks, Counts, Digest, Entry, FileBody, LinkGroup, LinkItem, LinksRef, LongValue, Name, Quiet, Role,
    SnapshotKind, Statistics, Timestamp, TreeRef, Xattrs,
};
use larder::store::{NewSnapshot, Store, Waiting, Writer};
use larder::tree::{MapBuilder, PageWriter};
use larder::view::View;

use crate::clocked::{Told, capture_at, client_with_role, days_ago, folder, now, opened};
use crate::sandbox::{Client, Ran, Sandbox};

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
    commit_with(store, dataset, 0, make)
}

/// The same with so many files more than there are.
fn commit_with(
    store: &Store,
    dataset: &str,
    more: u64,
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
        statistics: Statistics { files: counts.total + more, bytes: counts.bytes, ..Statistics::default() },
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

/// Whoever searches or compares looks at each folder once, and what is found is told.
#[test]
fn such_a_tree_is_searched_and_compared() {
    let (sandbox, writer) = stage();
    let source = folder(&sandbox, "source", 3);
    let thief = opened(&sandbox, &writer);
    capture_at(&thief, &source, "home", days_ago(2));
    let file = |time: i64| {
        let mtime = Timestamp { seconds: time, nanos: 0 };
        vec![Entry { mtime, ..entry("leaf", Body::File(FileBody::empty())) }]
    };
    for dataset in ["home", "alone"] {
        commit(&thief, dataset, |_, pages| (bomb(pages, file(1)), None));
    }
    commit(&thief, "home", |_, pages| {
        let below = bomb(pages, file(2));
        let found = tree(pages, "other", vec![entry("found", Body::Fifo)]);
        (tree(pages, "", vec![Entry { name: Name::new(b"bomb").unwrap(), ..below }, found]), None)
    });
    for pattern in ["found", "other/f*", "/other/**", "**/found", "{other/f,x}ound"] {
        let told = String::from_utf8(sandbox.larder(["find", pattern]).ended(0).stdout).unwrap();
        assert!(told.contains("other/found") && told.lines().count() == 1, "{pattern}: {told}");
    }
    for words in [&["nothing"][..], &["no/**"], &["**/n03/*/nothing"], &["leaf", "--type", "d"]] {
        let told = sandbox.larder(["find"].iter().chain(words)).ended(0).stdout;
        assert_eq!(String::from_utf8_lossy(&told), "", "{words:?}");
    }
    for dataset in ["home", "home~1", "alone"] {
        sandbox.larder(["why-new", dataset]).done();
    }
    let [before, after] = [1, 2].map(|time| commit(&thief, "pair", |_, pages| (bomb(pages, file(time)), None)));
    sandbox.larder(["diff", "--content", &before, &after]).done();
    let sums = sandbox.larder(["diff", "--summary", "--json", &before, &after]).json();
    assert!(sums.to_string().contains(&16_u64.pow(11).to_string()), "{sums}");
}

#[test]
fn a_map_of_hard_links_that_is_not_that_of_the_names_is_told() {
    for (case, own, map) in [
        ("whole", "a", Some(("a", 2, "a"))),
        ("out", "a", Some(("a", 2, "../../outside"))),
        ("behind", "a", Some(("a", 2, "b"))),
        ("late", "b", Some(("b", 2, "b"))),
        ("other", "a", Some(("z", 2, "a"))),
        ("few", "a", Some(("a", 1, "a"))),
        ("many", "a", Some(("a", 1 << 62, "a"))),
        ("none", "a", None),
    ] {
        let (sandbox, writer) = stage();
        let id = commit(&opened(&sandbox, &writer), "home", |writer, pages| {
            let group = |path: &str| writer.store().keyring().ids().link_group(path.as_bytes());
            let link = Some(group(own));
            let [a, b] = ["a", "b"].map(|name| Entry { link, ..stored(writer, name, b"AAAA", 4) });
            let map = map.map(|(of, names, first)| links(pages, group(of), names, first));
            (tree(pages, "", vec![a, b, stored(writer, "c", b"CCCC", 4)]), map)
        });
        let read = sandbox.larder(["export", &id, "-o", sandbox.path("x.tar").to_str().unwrap()]).status;
        if case == "whole" {
            sandbox.larder(["verify", "--read-data"]).done();
            assert_eq!(read, 0);
            continue;
        }
        let said = String::from_utf8(sandbox.larder(["verify", "--read-data", "--json"]).ended(13).stdout).unwrap();
        assert!(said.contains("\"a\"") && said.contains("\"b\"") && !said.contains("\"c\""), "{case}: {said}");
        let why = match case {
            "late" => "a name of it comes before the path",
            "few" | "many" => "tells other numbers of names than there are",
            _ => "",
        };
        assert!(said.contains(why), "{case}: {said}");
    }
}

/// A map that tells of a group of which there is no name.
#[test]
fn a_group_without_names_is_told() {
    let (sandbox, writer) = stage();
    commit(&opened(&sandbox, &writer), "home", |writer, pages| {
        let group = writer.store().keyring().ids().link_group(b"a");
        (tree(pages, "", vec![stored(writer, "a", b"AAAA", 4)]), Some(links(pages, group, 1, "a")))
    });
    let said = String::from_utf8(sandbox.larder(["verify", "--read-data"]).ended(13).stdout).unwrap();
    assert!(said.contains("tells other numbers of names than there are"), "{said}");
}

/// Of each snapshot only what differs from the one before is looked at, and of each folder all its names at once.
#[test]
fn names_that_come_and_go_are_as_the_maps_of_hard_links_tell_them() {
    let (sandbox, writer) = stage();
    let thief = opened(&sandbox, &writer);
    let (all, first) = (16_u64.pow(11), format!("x/{}a", "n00/".repeat(11)));
    // The time of what stands beside them, whether there is a name in front of all others, and by how much the map miscounts the names.
    let snapshots = [(1, false, 0), (2, false, 0), (2, false, 1), (3, true, 1), (4, false, 0), (4, true, 0)];
    let ids = snapshots.map(|(time, early, more)| {
        commit(&thief, "home", |writer, pages| {
            let group = writer.store().keyring().ids().link_group(first.as_bytes());
            let name = |name| Entry { link: Some(group), ..entry(name, Body::Symlink(b"to".as_slice().into())) };
            let mut beside = entry("b", Body::Fifo);
            beside.mtime.seconds = time;
            let below = bomb(pages, vec![name("a"), beside]);
            let front = tree(pages, "a", early.then(|| name("z")).into_iter().collect());
            let root = tree(pages, "", vec![front, Entry { name: Name::new(b"x").unwrap(), ..below }]);
            (root, Some(links(pages, group, all + more, &first)))
        })
    });
    let said = sandbox.larder(["verify", "--read-data", "--json"]).ended(13).stdout;
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let findings = said["findings"].to_string();
    let (early, miscounted) = ("comes before the path", "tells other numbers");
    for ((_, is_early, more), id) in snapshots.into_iter().zip(&ids) {
        let of = |why: &str| {
            let mut all = said["findings"].as_array().unwrap().iter().map(ToString::to_string);
            all.any(|told| told.contains(&id[..8]) && told.contains(why))
        };
        assert_eq!((of(early), of(miscounted)), (is_early, (more == 1) != is_early), "{id}: {findings}");
    }
}

/// Of a folder of several pages each is in order, and so is what stands above them: but names of one stand in another too, or before those of the one in front.
#[test]
fn names_that_are_in_order_in_each_page_and_not_in_their_folder_are_told() {
    type Leaves = &'static [&'static [&'static str]];
    let cases: [(bool, Leaves); 6] = [
        (true, &[&["a", "m"], &["n", "z"]]),
        (false, &[&["a", "m"], &["b", "z"]]),
        (false, &[&["a", "m"], &["a", "z"]]),
        (false, &[&["a", "m"], &["m", "z"]]),
        // A level more: the page before is in another branch.
        (false, &[&["a", "g"], &["h", "m"], &["b", "z"], &["zz"]]),
        // The page is right behind another one, where it was looked at first.
        (false, &[&["a", "n"], &["n", "z"]]),
    ];
    let (sandbox, writer) = stage();
    let thief = opened(&sandbox, &writer);
    for (at, (is_right, leaves)) in cases.into_iter().enumerate() {
        let dataset = format!("d{at}");
        let id = commit(&thief, &dataset, |writer, pages| {
            let file = |name: &&str| stored(writer, name, name.as_bytes(), name.len() as u64);
            let mut level: Vec<_> =
                leaves.iter().map(|leaf| put(pages, 0, PageItems::Leaf(leaf.iter().map(file).collect()))).collect();
            for above in 1.. {
                level = level.chunks(2).map(|below| put(pages, above, PageItems::Inner(below.to_vec()))).collect();
                if level.len() == 1 {
                    break;
                }
            }
            let Child { page, counts, .. } = level.remove(0);
            (entry("", Body::Folder(TreeRef { page, counts })), None)
        });
        let out = sandbox.path(&dataset);
        for name in leaves.iter().copied().flatten() {
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join(name), *name).unwrap();
        }
        let names = || fs::read_dir(&out).unwrap().count();
        let before = names();
        let restored = sandbox.larder(["restore", "--delete", &id, out.to_str().unwrap()]);
        assert_eq!(names(), before, "{at}: nothing is removed");
        if is_right {
            restored.done();
            sandbox.larder(["verify"]).done();
            continue;
        }
        let why = "it begins with a key that does not come after those of the page before it";
        restored.refused(13, why);
        sandbox.larder(["cat", &format!("{id}:z")]).refused(13, why);
        sandbox.larder(["ls", &id]).refused(13, why);
        sandbox.larder(["export", &id, "-o", sandbox.path("x.tar").to_str().unwrap()]).refused(13, why);
        let said = String::from_utf8(sandbox.larder(["verify", "--json"]).ended(13).stdout).unwrap();
        assert!(said.contains(why) && said.contains(&dataset), "{at}: {said}");
    }
}

/// A page of these, as the page above lists it.
fn put(pages: &mut PageWriter, level: u8, items: PageItems<Entry>) -> Child<Entry> {
    let counts = match &items {
        PageItems::Leaf(items) => items.iter().map(PageItem::counts).collect::<Vec<_>>(),
        PageItems::Inner(below) => below.iter().map(|child| child.counts).collect(),
    };
    let counts = counts.iter().fold(Counts::default(), |sum, more| Entry::add(&sum, more).unwrap());
    let page = Page { level, counts, items, ext: Vec::new() };
    Child { last: page.last_key().unwrap(), page: pages.put(&page.to_bytes()).unwrap(), counts }
}

/// Folders in folders, so that the paths of those above one are many times longer together than its own: none of them is held but once.
#[test]
fn the_memory_for_a_deep_tree_grows_with_its_depth() {
    let (sandbox, writer) = stage();
    let name = "n".repeat(255);
    commit(&opened(&sandbox, &writer), "home", |writer, pages| {
        let leaf = vec![stored(writer, "f", b"AAAA", 4)];
        let deep = (0..2500).fold(leaf, |below, _| vec![tree(pages, &name, below)]);
        (tree(pages, "", deep), None)
    });
    let empty = folder(&sandbox, "empty", 0);
    let (empty, out) = (empty.to_str().unwrap(), sandbox.path("out"));
    for words in [
        &["verify", "--read-data"][..],
        &["find", "f"],
        &["diff", "--summary", "home", empty],
        &["why-big", "home"],
        &["why-new", "home"],
        &["restore", "-n", "-q", "home", out.to_str().unwrap()],
    ] {
        let mut little = sandbox.client().command("sh");
        little.args(["-c", "ulimit -d 600000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_larder"), "--store"]);
        Ran::of(little.arg(sandbox.store()).args(words)).done();
    }
}

/// What no reader of archives takes is told before any of it is written.
#[test]
fn a_path_that_no_archive_can_hold_is_refused_at_once() {
    let (sandbox, writer) = stage();
    let name = "n".repeat(255);
    let id = commit(&opened(&sandbox, &writer), "home", |writer, pages| {
        let leaf = vec![stored(writer, "f", b"AAAA", 4)];
        let deep = (0..260).fold(leaf, |below, _| vec![tree(pages, &name, below)]);
        let short = tree(pages, "short", vec![stored(writer, "g", b"GGGG", 4)]);
        let items = deep.into_iter().chain([short]).collect();
        (tree(pages, "", items), None)
    });
    let export = |words: &[&str]| sandbox.larder([&["export"], words].concat());
    let tar = sandbox.path("x.tar");
    for bare in [&[][..], &["--bare"]] {
        let words = [bare, &[&id, "-o", tar.to_str().unwrap()]].concat();
        export(&words).refused(1, "cannot be packed in a tar: its name there would have");
        assert!(!tar.exists());
    }
    assert_eq!(export(&[&id, "-o", "-"]).ended(1).stdout.len(), 0);
    export(&[&format!("{id}:short/g"), "-o", tar.to_str().unwrap()]).done();
    export(&[&id, "--format", "dir", "-o", sandbox.path("folder").to_str().unwrap()]).done();
    sandbox.larder(["restore", &id, sandbox.path("out").to_str().unwrap()]).done();
}

/// Groups of hard links and snapshots may be many: of each snapshot some are told, and how many there are.
#[test]
fn many_groups_of_many_snapshots_are_told_in_few_words() {
    let (sandbox, writer) = stage();
    let thief = opened(&sandbox, &writer);
    for turn in 0..5 {
        commit(&thief, "home", |writer, pages| {
            let name = |path: String, target: String| {
                let link = Some(writer.store().keyring().ids().link_group(path.as_bytes()));
                [0, 1].map(|n| {
                    let body = Body::Symlink(format!("{target}{n}").into_bytes().into());
                    Entry { link, ..entry(&format!("{path}{n}"), body) }
                })
            };
            let inner = |pages: &mut PageWriter, at: usize, groups: usize| {
                let items = (0..groups).flat_map(|n| name(format!("{n:03}"), format!("to {n} of {at}"))).collect();
                tree(pages, &format!("{at:03}"), items)
            };
            // One thing that every name of a group is, and two.
            let folders = vec![inner(pages, 0, 200), inner(pages, 1 + turn, if turn < 3 { 30 } else { 40 })];
            (tree(pages, "", folders), None)
        });
    }
    let told = sandbox.larder(["verify", "--json"]).ended(13).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let (findings, touched) = (told["findings"].as_array().unwrap(), told["touched"].as_array().unwrap());
    assert_eq!((findings.len(), touched.len()), (55, 5), "{told}");
    assert!(touched[0]["count"].as_u64() == Some(460) && touched[4]["count"].as_u64() == Some(480), "{told}");
}

#[test]
fn sums_of_a_manifest_that_are_not_those_of_its_tree_are_told() {
    let (sandbox, writer) = stage();
    let id = commit_with(&opened(&sandbox, &writer), "home", 1, |writer, pages| {
        (tree(pages, "", vec![stored(writer, "a", b"AAAA", 4)]), None)
    });
    let said = String::from_utf8(sandbox.larder(["verify"]).ended(13).stdout).unwrap();
    assert!(said.contains("its sums are not those of its tree"), "{said}");
    sandbox.larder(["export", &id, "-o", sandbox.path("x.tar").to_str().unwrap()]).refused(13, "its sums");
    sandbox.larder(["restore", &id, sandbox.path("out").to_str().unwrap()]).done();
}
