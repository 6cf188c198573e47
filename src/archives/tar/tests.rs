//! Tars as no program that means well writes them, and as some did long ago.

use super::super::content::Part;
use super::super::limits::Limits;
use super::super::member::MemberKind;
use super::super::open::Opened;
use super::super::read::{Tally, read};
use super::super::{ArchiveError, Member};
use super::block::BLOCK;

/// A header; `change` has it before its sum is made.
fn header(name: &str, kind: u8, size: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000001\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(mut bytes: Vec<u8>, content: &[u8]) -> Vec<u8> {
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    padded(header(name, b'0', content.len(), |_| ()), content)
}

fn other(name: &str, kind: u8, link: &str) -> Vec<u8> {
    header(name, kind, 0, |block| block[157..157 + link.len()].copy_from_slice(link.as_bytes()))
}

fn pax(kind: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let len = (1..9).find(|digits| (rest.len() + digits).to_string().len() == *digits).unwrap() + rest.len();
        body.extend([len.to_string().as_bytes(), &rest].concat());
    }
    padded(header("pax", kind, body.len(), |_| ()), &body)
}

fn long(kind: u8, name: &str) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    padded(header("././@LongLink", kind, name.len(), |_| ()), &name)
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// Members, each with what is in it, holes as dots.
fn members(parts: &[Vec<u8>]) -> Result<(Vec<(Member, String)>, Tally), ArchiveError> {
    members_within(parts, &Limits::default())
}

fn members_within(parts: &[Vec<u8>], limits: &Limits) -> Result<(Vec<(Member, String)>, Tally), ArchiveError> {
    let mut found = Vec::new();
    let opened = Opened::Tar(Box::new(std::io::Cursor::new(parts.concat())));
    let tally = read(opened, limits, &mut |member, content| {
        let mut text = Vec::new();
        loop {
            match content.next(&mut text)? {
                Part::Data => {}
                Part::Hole(len) => text.extend(std::iter::repeat_n(b'.', usize::try_from(len).unwrap_or(0))),
                Part::End => break,
            }
        }
        found.push((member, String::from_utf8_lossy(&text).into_owned()));
        Ok::<(), ArchiveError>(())
    })?;
    Ok((found, tally))
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[test]
fn old_and_odd_forms() {
    let v7 = |name: &str, kind: u8, content: &[u8]| {
        padded(header(name, kind, content.len(), |block| block[257..].fill(0)), content)
    };
    let long_name = "l".repeat(200);
    let all = [
        v7("old/", 0, b""),
        v7("old/file", 0, b"one"),
        padded(header("contiguous", b'7', 3, |_| ()), b"two"),
        long(b'L', &long_name),
        long(b'K', "first/target"),
        other("short", b'2', "t"),
        header("volume", b'V', 0, |_| ()),
        padded(header("solaris", b'A', 4, |_| ()), b"acl\0"),
        padded(header("dump/", b'D', 5, |block| block[257..265].copy_from_slice(b"ustar  \0")), b"Ya\0\0\0"),
        header("prefixed", b'0', 0, |block| block[345..348].copy_from_slice(b"a/b")),
        header("star", b'0', 0, |block| {
            block[345..348].copy_from_slice(b"c/d");
            block[476..500].copy_from_slice(b"00000000001 00000000001 ");
            block[508..512].copy_from_slice(b"tar\0");
        }),
        header("binary", b'0', 0, |block| {
            block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
            block[116..124].copy_from_slice(&[0xff; 8]);
            block[136..148].fill(0xff);
        }),
        header("blank", b'0', 0, |block| block[100..148].fill(b' ')),
        end(),
        vec![0; 100],
    ];
    let (found, tally) = members(&all).unwrap();
    let names: Vec<_> = found.iter().map(|(m, content)| (text(&m.path), content.as_str())).collect();
    let name = |name: &str| name.to_owned();
    assert_eq!(
        names,
        [
            (name("old"), ""),
            (name("old/file"), "one"),
            (name("contiguous"), "two"),
            (long_name, ""),
            (name("dump"), ""),
            (name("a/b/prefixed"), ""),
            (name("c/d/star"), ""),
            (name("binary"), ""),
            (name("blank"), "")
        ]
    );
    assert_eq!([&found[0].0.kind, &found[4].0.kind], [&MemberKind::Folder; 2]);
    assert_eq!(found[3].0.kind, MemberKind::Symlink(b"first/target".as_slice().into()));
    let binary = &found[7].0;
    assert_eq!((binary.uid, binary.gid, binary.mtime.unwrap().seconds), (Some(0xffff_fffe), Some(u32::MAX), -1));
    let blank = &found[8].0;
    assert_eq!((blank.uid, blank.gid, blank.mtime, blank.mode), (None, None, None, 0o644));
    assert_eq!(
        (tally.remarks.losses, tally.remarks.lost),
        (1, vec!["ACLs in the form of Solaris are passed over".to_owned()])
    );
    assert_eq!((tally.members, tally.bytes), (9, 6));
}

#[test]
fn what_pax_says() {
    let all = [
        pax(b'g', &[("uname", b"all"), ("comment", b"x"), ("SCHILY.xattr.user.a", b"1")]),
        pax(
            b'x',
            &[("path", b"\xff/long"), ("size", b"3"), ("uid", b"4000000"), ("mtime", b"-1.5"), ("GNU.unknown", b"")],
        ),
        padded(header("short", b'0', 0, |_| ()), b"abc"),
        pax(b'x', &[("uname", b""), ("SCHILY.acl.access", b"user::rw-,user:7:r--,group::r--,mask::r--,other::---")]),
        file("second", b""),
        pax(b'x', &[("SCHILY.devmajor", b"300"), ("SCHILY.devminor", b"70000"), ("LIBARCHIVE.creationtime", b"5.5")]),
        header("device", b'3', 0, |_| ()),
        pax(b'x', &[("linkpath", b"./second")]),
        padded(header("hard", b'1', 2, |_| ()), b"xy"),
        end(),
    ];
    let (found, _) = members(&all).unwrap();
    let [first, second, device, hard] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&*first.0.path, first.1.as_str()), (&b"\xff/long"[..], "abc"));
    assert_eq!((first.0.uid, &*first.0.user), (Some(4_000_000), &b"all"[..]));
    assert_eq!(first.0.mtime.map(|t| (t.seconds, t.nanos)), Some((-2, 500_000_000)));
    assert_eq!(&*second.0.user, b"");
    let names: Vec<_> = second.0.xattrs.iter().map(|(name, _)| text(name)).collect();
    assert_eq!(names, ["system.posix_acl_access", "user.a"]);
    assert_eq!(device.0.kind, MemberKind::CharDevice(300, 70_000));
    assert_eq!(device.0.btime.map(|t| (t.seconds, t.nanos)), Some((5, 500_000_000)));
    assert_eq!(hard.0.kind, MemberKind::HardLink(b"second".as_slice().into()));
}

/// The same bytes behind a further name are data to PAX, and the next member to those before it.
#[test]
fn links_with_a_size() {
    let link = || header("b", b'1', BLOCK, |block| block[157] = b'a');
    let (found, _) = members(&[file("a", b"1"), link(), file("c", b"2"), end()]).unwrap();
    assert_eq!(found.len(), 3);
    let (found, _) = members(&[file("a", b"1"), link(), vec![b'x'; BLOCK], file("c", b"2"), end()]).unwrap();
    assert_eq!(found.len(), 3);
    let (found, _) = members(&[pax(b'g', &[]), file("a", b"1"), link(), file("c", b""), end()]).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn holes_in_all_forms() {
    let block = |byte: u8| vec![byte; BLOCK];
    let real = ("GNU.sparse.realsize", &b"2000"[..]);
    let one = &[("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"one"), real];
    let map = padded(Vec::new(), b"2\n512\n512\n1536\n64\n");
    let old = header("old", b'S', 576, |header| {
        header[257..265].copy_from_slice(b"ustar  \0");
        for (at, value) in [512, 512, 1536, 64].iter().enumerate() {
            let at = 386 + at * 12;
            header[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
        }
        header[483..495].copy_from_slice(b"00000003720\0");
    });
    let data = [block(b'a'), padded(vec![], &[b'b'; 64])].concat();
    let all = [
        pax(b'x', one),
        padded(
            header("GNUSparseFile.0/one", b'0', BLOCK + 576, |_| ()),
            &[&map[..], &block(b'a'), &[b'b'; 64]].concat(),
        ),
        pax(
            b'x',
            &[("GNU.sparse.map", b"512,512,1536,64"), ("GNU.sparse.size", b"2000"), ("GNU.sparse.name", b"list")],
        ),
        header("x", b'0', 576, |_| ()),
        data.clone(),
        pax(
            b'x',
            &[
                ("GNU.sparse.size", b"2000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"512"),
                ("GNU.sparse.numbytes", b"512"),
                ("GNU.sparse.offset", b"1536"),
                ("GNU.sparse.numbytes", b"64"),
            ],
        ),
        header("zero", b'0', 576, |_| ()),
        data.clone(),
        old,
        data,
        end(),
    ];
    let wanted = [".".repeat(512), "a".repeat(512), ".".repeat(512), "b".repeat(64), ".".repeat(400)].concat();
    let (found, tally) = members(&all).unwrap();
    let found: Vec<_> = found.iter().map(|(m, content)| (text(&m.path), *content == wanted)).collect();
    assert_eq!(found, ["one", "list", "zero", "old"].map(|name| (name.to_owned(), true)));
    assert_eq!(tally.bytes, 8000);
}

#[test]
fn what_is_refused() {
    let sized = |name: &str, kind: u8| padded(header(name, kind, 3, |_| ()), b"abc");
    let sparse = |map: &'static [u8]| pax(b'x', &[("GNU.sparse.map", map), ("GNU.sparse.size", b"2000")]);
    for (parts, why) in [
        (vec![file("/etc/passwd", b"")], "/etc/passwd: its name is absolute"),
        (vec![file("a/../../b", b"")], "a/../../b: its path leads upwards"),
        (vec![file("", b"").iter().map(|_| 0).collect(), file("x", b"")], ""),
        (vec![pax(b'x', &[("path", b"a\0b")]), file("x", b"")], "zero byte"),
        (vec![long(b'L', "a\0b"), file("x", b"")], "zero byte"),
        (vec![pax(b'x', &[("path", b"")]), file("x", b"")], "its name is empty"),
        (vec![file("a", b""), file("./a", b"")], "a: it is there twice"),
        (vec![other("a", b'2', "/etc"), file("a/passwd", b"")], "a/passwd: it lies below a, which is a symlink"),
        (vec![other("a", b'1', "/etc/passwd")], "a: it is a link, and of its target its name is absolute"),
        (vec![other("a", b'1', "../b")], "a: it is a link, and of its target its path leads upwards"),
        (vec![other("a", b'1', "b")], "a: it is a further name of b, which is no earlier member"),
        (vec![other("a", b'2', "")], "a: it is a symlink whose target is empty"),
        (vec![other("a/", b'2', "b")], "a/: a slash stands behind its name"),
        (
            vec![padded(header("a", b'2', 3, |b| b[157] = b'x'), b"abc")],
            "a: it is no file and says that 3 bytes follow",
        ),
        (vec![sized("a", b'5')], "a: it is no file"),
        (vec![sized("a/", b'0')], "a/: it is no file"),
        (vec![other("a", b'Z', "")], "a: it is of a sort that Larder does not know: `Z`"),
        (vec![other("a", b'M', "")], "a: it is the second part"),
        (vec![other("a", b'S', "")], "a: it has holes in the form of star"),
        (vec![pax(b'x', &[("hdrcharset", b"KOI8-R")]), file("a", b"")], "a: its name is in a set of characters"),
        (vec![pax(b'x', &[("size", b"-1")]), file("a", b"")], "a: its size is no number"),
        (vec![pax(b'x', &[("uid", b"4294967296")]), file("a", b"")], "a: its uid has more than 32 bits"),
        (vec![pax(b'x', &[("mtime", b"soon")]), file("a", b"")], "a: its time is no number"),
        (vec![pax(b'x', &[("SCHILY.xattr.", b"1")]), file("a", b"")], "a: the name of an attribute"),
        (vec![pax(b'g', &[("path", b"x")]), file("a", b"")], "a global header gives all members one name"),
        (vec![sparse(b"0,512,256,512"), file("a", &[0; 1024])], "a: its map of holes makes no sense"),
        (vec![sparse(b"0,512"), file("a", &[0; 1024])], "a: the bytes of its stretches"),
        (vec![sparse(b"0,10,512,512"), file("a", &[0; 522])], "a: its stretches of data do not end at blocks"),
        (
            vec![pax(b'x', &[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")]), file("a", b"")],
            "a: it has holes in a form",
        ),
        (vec![header("a", b'0', 0, |b| b[124..136].copy_from_slice(b"99999999999\0"))], "a: its size is no number"),
        (vec![header("a", b'0', 0, |b| b[124..136].fill(0xff))], "a: its size is negative"),
        (
            vec![header("a", b'3', 0, |b| b[329..337].copy_from_slice(b"x\0\0\0\0\0\0\0"))],
            "a: its device number is no number",
        ),
    ] {
        match members(&[parts.concat(), end()]) {
            Err(e) => assert!(!why.is_empty() && e.to_string().contains(why), "{e} is not: {why}"),
            Ok((found, tally)) => {
                assert!(
                    why.is_empty() && found.is_empty() && tally.remarks.strange.len() + tally.remarks.lost.len() == 1,
                    "{why}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_cut_or_changed() {
    let whole = [file("a", b"hello"), pax(b'x', &[("path", b"b")]), file("x", &[7; 600]), end()].concat();
    for len in 0..whole.len() {
        let cut = members(&[whole[..len].to_vec()]);
        // Between members nothing tells; of two empty blocks the second is missing.
        match len {
            0 => assert!(cut.unwrap().0.is_empty()),
            1024 | 3584 => assert!(cut.unwrap().1.remarks.strange[0].contains("no end mark"), "{len}"),
            4096.. => assert!(cut.unwrap().1.remarks.strange[0].contains("one empty block"), "{len}"),
            _ => assert!(cut.is_err(), "{len}"),
        }
    }
    // The last byte of the sum's field says nothing.
    for at in (0..500).chain(2048..2548).filter(|at| at % 2048 != 155) {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        assert!(members(&[changed]).is_err(), "{at}");
    }
    let (_, tally) = members(&[whole.clone(), b"rubbish".to_vec()]).unwrap();
    assert_eq!(tally.remarks.strange, ["something stands behind the end of the tar: it is not read"]);
    assert!(matches!(members(&[vec![1; BLOCK]]), Err(ArchiveError::Unknown(_))));
}

#[test]
fn limits_hold() {
    let few = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let parts = [file("a", b"hello"), file("b/c", b"hello"), end()];
        members_within(&parts, &limits).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(few(|l| (l.members, l.bytes, l.depth) = (3, Some(10), 1)), Ok(()));
    assert!(few(|l| l.members = 1).unwrap_err().contains("--max-members"));
    assert!(few(|l| l.bytes = Some(9)).unwrap_err().contains("--max-total"));
    assert!(few(|l| l.depth = 0).unwrap_err().contains("--max-depth"));
    // Holes cost nothing until there are more of them than any honest archive has.
    let holes = |size: &str| {
        let records: [(&str, &[u8]); 2] = [("GNU.sparse.map", b"0,512"), ("GNU.sparse.size", size.as_bytes())];
        [pax(b'x', &records), file("h", &[1; 512])].concat()
    };
    let heads = |parts: &[Vec<u8>], ratio| {
        let limits = Limits { ratio, ..Limits::default() };
        let opened = Opened::Tar(Box::new(std::io::Cursor::new(parts.concat())));
        // Only what is told of them counts here.
        let mut met = 0;
        let read = read(opened, &limits, &mut |_, _| {
            met += 1;
            Err::<(), _>(ArchiveError::Interrupted)
        });
        match read {
            Err(ArchiveError::Limit(why)) => why,
            Err(ArchiveError::Interrupted) => format!("{met} let in"),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(heads(&[holes("1099511627776"), end()], 1000), "1 let in");
    assert!(heads(&[holes("1099511627777"), end()], 1000).contains("h: with its holes"));
    assert_eq!(heads(&[holes("1099511627777"), end()], 1 << 32), "1 let in");
    let huge = header("x", b'x', 0, |b| b[124..136].copy_from_slice(b"77777777777\0"));
    assert!(members(&[huge]).unwrap_err().to_string().contains("64 MiB"));
}
