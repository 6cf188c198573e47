//! heal from packs that are damaged themselves: whatever else of them is whole is used, and what is not is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::by_hand::text;
use crate::sandbox::{Sandbox, copy_tree, noise};

/// Where so many bytes stand for the nth time.
fn place(bytes: &[u8], mark: &[u8], nth: usize) -> usize {
    let mut found = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at);
    found.nth(nth).unwrap()
}

/// What is done to a pack.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A store that has lost most contents, and packs of it.
struct Lost {
    sandbox: Sandbox,
    whole: PathBuf,
    chunks: u64,
}

impl Lost {
    fn new() -> Self {
        let sandbox = Sandbox::with_open_store();
        let source = sandbox.path("source");
        fs::create_dir(&source).unwrap();
        for n in 0..12 {
            fs::write(source.join(format!("f{n:02}")), noise(n, 409_600)).unwrap();
        }
        // What can be compressed, and is longer than 4 MiB: a zip has its sizes behind it.
        let digits: String = noise(99, 2_200_000).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(source.join("long"), digits).unwrap();
        sandbox.snapshot(&source, "d").done();
        for name in ["p.tar", "p.tar.zst", "p.zip"] {
            sandbox.larder(["export", "d", "--accept-loss", "-o", text(&sandbox.path(name))]).done();
        }
        crate::losses::lose_contents(&sandbox);
        let whole = sandbox.path("lost");
        copy_tree(&sandbox.store(), &whole);
        let nothing = sandbox.path("nothing");
        fs::create_dir(&nothing).unwrap();
        let ran = sandbox.larder(["heal", "--json", text(&nothing)]).ended(13);
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        Self { whole, chunks: told["chunks_left"].as_u64().unwrap(), sandbox }
    }

    /// Heals from a pack that was changed so; gives the chunks that are still missing, and what was told.
    fn healed(&self, pack: &str, change: impl FnOnce(&mut Vec<u8>)) -> (u64, String) {
        fs::remove_dir_all(self.sandbox.store()).unwrap();
        copy_tree(&self.whole, &self.sandbox.store());
        let mut bytes = fs::read(self.sandbox.path(pack)).unwrap();
        change(&mut bytes);
        let changed = self.sandbox.path(format!("changed-{pack}"));
        fs::write(&changed, bytes).unwrap();
        let ran = self.sandbox.larder(["heal", text(&changed), "--json"]);
        assert!([0, 13].contains(&ran.status), "{ran:?}");
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        (told["chunks_left"].as_u64().unwrap(), ran.stderr)
    }
}

/// Another sum for the header that begins there.
fn resum(bytes: &mut [u8], at: usize) {
    let header = &mut bytes[at..at + 512];
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

#[test]
fn what_is_whole_in_a_damaged_pack_is_used() {
    let lost = Lost::new();
    assert!(lost.chunks > 8, "{}", lost.chunks);
    assert_eq!(lost.healed("p.tar.zst", |_| ()).0, 0);
    // In the first frame of a zstd stream, and its mark.
    let (left, told) = lost.healed("p.tar.zst", |bytes| bytes[600_000..600_050].iter_mut().for_each(|b| *b ^= 0x55));
    assert!(left <= 3 && told.contains("bytes of its zstd stream are damaged"), "{left}: {told}");
    let (left, told) = lost.healed("p.tar.zst", |bytes| bytes[..4].fill(b'x'));
    assert!(left < lost.chunks && told.contains("4194304 bytes of its zstd stream are damaged"), "{left}: {told}");
    // The first header of a tar: a bit, all of it, and one that is empty.
    for change in
        [|header: &mut [u8]| header[3] ^= 1, |header: &mut [u8]| header.fill(b'x'), |header: &mut [u8]| header.fill(0)]
    {
        let (left, told) = lost.healed("p.tar", |bytes| change(&mut bytes[..512]));
        assert!(left == 0 && told.contains("its beginning: the header there is damaged"), "{left}: {told}");
    }
    // Sizes that make no sense, of a file and of what is none, under right sums.
    for (size, of) in [
        (&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], &b"/content/f03\0"[..]),
        (b"77777777777\0", b"/content/f03\0"),
        (b"\x80rubbish....", b"/content/f03\0"),
        (b"00000x00000\0", b"/content/f03\0"),
        (b"77777777777\0", b"/content/\0"),
    ] {
        let (left, told) = lost.healed("p.tar", |bytes| {
            let at = place(bytes, of, 0) / 512 * 512;
            bytes[at + 124..at + 136].copy_from_slice(size);
            resum(bytes, at);
        });
        assert!(left == 0 && told.contains("cannot read") && told.contains("content"), "{size:?} {left}: {told}");
    }
    // A tar that was cut gives what is left of the file in which it ends.
    let (left, told) =
        lost.healed("p.tar", |bytes| bytes.truncate(place(bytes, b"/content/long\0", 0) / 512 * 512 - 512 * 300));
    assert!(left > 0 && left < lost.chunks && told.contains("content/f11"), "{left}: {told}");
    // A zip without its last byte, without its directory, with one that is damaged as a whole or in one place, and with another beginning.
    let directory = |bytes: &[u8]| place(bytes, b"PK\x01\x02", 0);
    let changes: [(Change, &str); 6] = [
        (&|bytes| bytes.truncate(bytes.len() - 1), "its directory: "),
        (&|bytes| bytes.truncate(directory(bytes)), "its directory: "),
        (
            &|bytes| {
                let at = directory(bytes);
                bytes[at] ^= 1;
            },
            "its directory: ",
        ),
        (
            &|bytes| {
                let at = place(bytes, b"PK\x01\x02", 6);
                bytes[at + 42] ^= 1;
            },
            "content/",
        ),
        (
            &|bytes| {
                bytes[0] ^= 1;
                let len = bytes.len();
                bytes.truncate(len - 1);
            },
            "its directory: ",
        ),
        (
            &|bytes| {
                let at = place(bytes, b"/content/f03", 0);
                bytes[at + 1] ^= 1;
            },
            "content/f03",
        ),
    ];
    for (at, (change, word)) in changes.into_iter().enumerate() {
        let (left, told) = lost.healed("p.zip", change);
        assert!(left == 0 && told.contains("cannot read") && told.contains(word), "{at}: {left}: {told}");
    }
    // What is no archive at all is looked at as a file; if it may be one under a password, that is told.
    let (left, told) = lost.healed("p.zip", |bytes| *bytes = noise(777, 2_000_000));
    assert!(left == lost.chunks && !told.contains("cannot read"), "{left}: {told}");
    assert!(told.contains("SNAPSHOT_ENCRYPTION_KEY"), "{told}");
    let (left, told) = lost.healed("p.zip", |bytes| *bytes = b"a text\n".repeat(100_000));
    assert!(left == lost.chunks && told.is_empty(), "{left}: {told}");
}

#[test]
fn what_nothing_is_read_of_is_refused_by_name() {
    let sandbox = Sandbox::with_open_store();
    let pipe = sandbox.path("pipe");
    Command::new("mkfifo").arg(&pipe).status().unwrap();
    let socket = sandbox.path("socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&*pipe, &*socket, Path::new("/dev/null")] {
        sandbox.larder(["heal", text(path)]).refused(2, &format!("{} is a pipe, device or socket", text(path)));
    }
}
