//! Zips that lie, and those that only look so.

use super::super::content::Part;
use super::super::limits::Limits;
use super::super::member::MemberKind;
use super::super::open::Opened;
use super::super::read::{Tally, read};
use super::super::{ArchiveError, Member};

/// What is written of a member, in both records.
#[derive(Clone)]
struct Made {
    name: Vec<u8>,
    host: u8,
    flags: u16,
    method: u16,
    crc: u32,
    stored: Vec<u8>,
    size: u32,
    attributes: u32,
    extra: Vec<u8>,
    /// What stands behind the content.
    behind: Vec<u8>,
}

fn made(name: &str, content: &[u8]) -> Made {
    Made {
        name: name.as_bytes().to_vec(),
        host: 3,
        flags: 0,
        method: 0,
        crc: crc32fast::hash(content),
        stored: content.to_vec(),
        size: u32::try_from(content.len()).unwrap(),
        attributes: 0o100_644 << 16,
        extra: Vec::new(),
        behind: Vec::new(),
    }
}

fn link(name: &str, target: &str) -> Made {
    Made { attributes: 0o120_777 << 16, ..made(name, target.as_bytes()) }
}

fn numbers(short: &[u16], long: &[u32]) -> Vec<u8> {
    short.iter().flat_map(|n| n.to_le_bytes()).chain(long.iter().flat_map(|n| n.to_le_bytes())).collect()
}

impl Made {
    fn fields(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap();
        let stored = u32::try_from(self.stored.len()).unwrap();
        let mut fields = numbers(&[20, self.flags, self.method, 0, 0x21], &[self.crc, stored, self.size]);
        fields.extend(numbers(&[len(&self.name), len(&self.extra)], &[]));
        fields
    }

    fn local(&self) -> Vec<u8> {
        [b"PK\x03\x04", &self.fields()[..], &self.name, &self.extra].concat()
    }

    fn central(&self, at: u32) -> Vec<u8> {
        let rest = numbers(&[0, 0, 0], &[self.attributes, at]);
        [b"PK\x01\x02\x14", &[self.host][..], &self.fields(), &rest, &self.name, &self.extra].concat()
    }
}

fn end(count: u16, size: usize, start: usize) -> Vec<u8> {
    let sizes = [size, start].map(|n| u32::try_from(n).unwrap());
    [b"PK\x05\x06", &numbers(&[0, 0, count, count], &sizes)[..], &[0, 0]].concat()
}

/// A zip in which both records of each member are given.
fn zip_of(pairs: &[(Made, Made)]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (local, central) in pairs {
        directory.extend(central.central(u32::try_from(zip.len()).unwrap()));
        zip.extend([&local.local()[..], &local.stored, &local.behind].concat());
    }
    let start = zip.len();
    zip.extend_from_slice(&directory);
    zip.extend(end(u16::try_from(pairs.len()).unwrap(), directory.len(), start));
    zip
}

fn zip(members: &[Made]) -> Vec<u8> {
    zip_of(&members.iter().map(|m| (m.clone(), m.clone())).collect::<Vec<_>>())
}

fn members(zip: Vec<u8>) -> Result<(Vec<(Member, String)>, Tally), ArchiveError> {
    members_within(zip, &Limits::default())
}

fn members_within(zip: Vec<u8>, limits: &Limits) -> Result<(Vec<(Member, String)>, Tally), ArchiveError> {
    let mut found = Vec::new();
    let tally = read(Opened::Zip(Box::new(std::io::Cursor::new(zip))), limits, &mut |member, content| {
        let mut text = Vec::new();
        while content.next(&mut text)? != Part::End {}
        found.push((member, String::from_utf8_lossy(&text).into_owned()));
        Ok::<(), ArchiveError>(())
    })?;
    Ok((found, tally))
}

fn refused(zip: Vec<u8>, why: &str) {
    match members(zip) {
        Err(e) => assert!(e.to_string().contains(why), "{e} is not: {why}"),
        Ok(found) => panic!("let in: {found:?}, which is wrong because: {why}"),
    }
}

#[test]
fn sorts_of_members() {
    let folder = |name: &str| Made { attributes: 0o040_750 << 16, ..made(name, b"") };
    let windows = |name: &[u8]| Made { name: name.to_vec(), host: 0, attributes: 1, ..made("", b"w") };
    let all = [
        folder("d/"),
        folder("e"),
        Made { attributes: 0, ..made("d/plain", b"text") },
        link("l", "../x"),
        Made { attributes: 0o010_600 << 16, ..made("pipe", b"") },
        windows(b"w\\caf\x82"),
        Made { attributes: 0x8000 | 0o100_755 << 16, host: 0, ..made("seven", b"7") },
        Made { attributes: 0o100_000 << 16, ..made("locked", b"") },
    ];
    let (found, tally) = members(zip(&all)).unwrap();
    let shown: Vec<_> =
        found.iter().map(|(m, c)| (String::from_utf8_lossy(&m.path).into_owned(), m.mode, c.as_str())).collect();
    let name = |name: &str| name.to_owned();
    assert_eq!(
        shown,
        [
            (name("d"), 0o750, ""),
            (name("e"), 0o750, ""),
            (name("d/plain"), 0o644, "text"),
            (name("l"), 0o777, ""),
            (name("pipe"), 0o600, ""),
            (name("w/café"), 0o444, "w"),
            (name("seven"), 0o755, "7"),
            (name("locked"), 0o0, ""),
        ]
    );
    assert_eq!(found[3].0.kind, MemberKind::Symlink(b"../x".as_slice().into()));
    assert_eq!(found[4].0.kind, MemberKind::Fifo);
    assert_eq!(found[0].0.mtime.unwrap().seconds, 315_532_800);
    assert_eq!(tally.remarks.strange, [""; 0]);
    let (found, tally) = members([b"#!/bin/sh\n".to_vec(), zip(&all)].concat()).unwrap();
    assert_eq!((found.len(), tally.remarks.strange.len()), (8, 1), "behind a program");
    assert_eq!(members(zip(&[])).unwrap().0.len(), 0);
    for zeros in [1, 512, 200_000] {
        assert_eq!(members([zip(&all), vec![0; zeros]].concat()).unwrap().0.len(), 8, "in front of {zeros} zeros");
    }
}

#[test]
fn what_is_refused_by_name() {
    for (member, why) in [
        (made("/etc/passwd", b""), "/etc/passwd: its name is absolute"),
        (made("a/../../b", b""), "a/../../b: its path leads upwards"),
        (Made { name: b"..\\x".to_vec(), host: 11, ..made("", b"") }, "../x: its path leads upwards"),
        (made("", b""), "its name is empty"),
        (made("a\0b", b""), "zero byte"),
        (made("a/", b"content"), "a/: it is no file and has a content"),
        (link("a/", "x"), "a/: a slash stands behind"),
        (link("a", ""), "a: it is a symlink whose target is empty"),
        (link("a", &"x".repeat(5000)), "a: it is a symlink whose target is longer"),
        (Made { attributes: 0o020_644 << 16, ..made("a", b"") }, "a: it is a device"),
        (Made { attributes: 0o150_644 << 16, ..made("a", b"") }, "a: it is of a sort"),
        (Made { flags: 1, ..made("a", b"") }, "a: it is encrypted with zip's own means"),
        (Made { method: 99, ..made("a", b"") }, "a: it is encrypted with zip's own means"),
        (Made { flags: 1 << 6, ..made("a", b"") }, "a: it is encrypted with PKWARE"),
        (Made { method: 98, ..made("a", b"") }, "a: it is compressed with PPMd (method 98)"),
        (Made { crc: 1, ..made("a", b"x") }, "a: its content does not have the sum"),
        (Made { size: 2, ..made("a", b"x") }, "a: it is not compressed, and has two sizes"),
        (Made { method: 8, ..made("a", b"\x03\0") }, "a: it has more or fewer bytes"),
        (Made { method: 8, size: 0, crc: 0, ..made("a", b"\x03\0more") }, "a: something stands behind the end"),
        (Made { method: 8, ..made("a", b"\xff\xff") }, "a: its content cannot be decompressed"),
        (Made { method: 93, ..made("a", b"xxxx") }, "a: its content cannot be decompressed"),
    ] {
        refused(zip(&[member]), why);
    }
    refused(zip(&[made("a", b""), made("a", b"")]), "a: it is there twice");
    refused(zip(&[link("a", "/etc"), made("a/passwd", b"")]), "a/passwd: it lies below a, which is a symlink");
    refused(
        zip(&[Made { name: b"a\\b".to_vec(), host: 0, ..made("", b"") }, made("a/b", b"")]),
        "a/b: it is there twice",
    );
}

#[test]
fn records_that_contradict_each_other() {
    let good = made("a", b"hello");
    for (local, why) in [
        (made("b", b"hello"), "another name"),
        (Made { method: 8, ..good.clone() }, "compressed otherwise"),
        (Made { crc: 0, ..good.clone() }, "other sizes or another sum"),
        (Made { size: 6, ..good.clone() }, "other sizes or another sum"),
    ] {
        refused(zip_of(&[(local, good.clone())]), why);
    }
    let streamed = Made { flags: 8, ..good.clone() };
    let before = Made { crc: 0, size: 0, ..streamed.clone() };
    let trailer = |mark: &[u8], crc: u32| [mark, &numbers(&[], &[crc, 5, 5])].concat();
    for mark in [&b"PK\x07\x08"[..], b""] {
        let local = Made { behind: trailer(mark, good.crc), ..before.clone() };
        // The stored size stands in the builder's local record; a streaming writer has none there.
        assert_eq!(members(zip_of(&[(local, streamed.clone())])).unwrap().0[0].1, "hello");
        let local = Made { behind: trailer(mark, 7), ..before.clone() };
        refused(zip_of(&[(local, streamed.clone())]), "what stands behind its content");
    }
}

/// The bomb of Fifield: members that share one content, or quote each other's records.
#[test]
fn members_that_overlap() {
    let (a, b) = (made("a", b"hello"), made("b", b"hello"));
    let first = [&a.local()[..], b"hello"].concat();
    let directory = |second: usize| [a.central(0), b.central(u32::try_from(second).unwrap())].concat();
    let quoted =
        Made { stored: [&b.local()[..], b"hello"].concat(), ..made("a", &[&b.local()[..], b"hello"].concat()) };
    let inner = quoted.local().len();
    let outer = [&quoted.local()[..], &quoted.stored].concat();
    let both = [quoted.central(0), b.central(u32::try_from(inner).unwrap())].concat();
    for (body, directory) in [(first.clone(), directory(0)), (outer, both)] {
        let tail = end(2, directory.len(), body.len());
        refused([body, directory, tail].concat(), "shares bytes with another member");
    }
    let directory = a.central(0);
    let into = Made { stored: vec![0; 5 + directory.len()], ..a.clone() };
    let bytes = [&into.local()[..], b"hello", &into.central(0), &end(1, into.central(0).len(), first.len())].concat();
    refused(bytes, "shares bytes with another member or with the directory");
}

#[test]
fn ends_that_lie() {
    let whole = zip(&[made("a", b"hello"), made("b", b"")]);
    let at = whole.len() - 22;
    let change = |at: usize, value: u8| {
        let mut zip = whole.clone();
        zip[at] = value;
        zip
    };
    refused(change(at + 10, 3), "several parts");
    refused(change(at + 8, 3), "several parts");
    refused(
        [change(at + 8, 1)[..at + 10].to_vec(), vec![1], whole[at + 11..].to_vec()].concat(),
        "has 2 members, its end says 1",
    );
    refused(change(at + 12, 255), "longer than what stands before it");
    refused(change(at + 4, 1), "several parts");
    refused([whole.clone(), b"x".to_vec()].concat(), "something stands behind it");
    let mut inside = whole.clone();
    let comment = end(0, 0, 0);
    inside[at + 20] = 22;
    inside.extend_from_slice(&comment);
    refused(inside, "two ends");
    for len in 0..whole.len() {
        assert!(members(whole[..len].to_vec()).is_err(), "{len}");
    }
}

#[test]
fn what_grows_too_much_is_refused() {
    let limits = Limits { ratio: 10, ..Limits::default() };
    let bomb = Made { method: 8, size: 70 << 20, ..made("bomb", &[0; 100]) };
    let error = members_within(zip(&[made("a", b""), bomb]), &limits).unwrap_err();
    assert!(error.to_string().contains("--max-ratio"), "{error}");
    let few = Limits { members: 1, ..Limits::default() };
    assert!(
        members_within(zip(&[made("a", b""), made("b", b"")]), &few).unwrap_err().to_string().contains("--max-members")
    );
}
