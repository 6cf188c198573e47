//! What lies around archives: compressions and seals. What Larder writes other tools read, and the other way round; nothing that was cut, changed or is
//! a bomb passes for whole.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use larder::archives::{Archive, ArchiveError, Input, Keys, Layer, Limits, NoKeys, Opened, open};
use larder::codec::{
    GzipWriter, Identity, Passphrase, Password, PasswordWriter, Prompt, Recipient, SealWriter, SeekableWriter,
    generate_identity, parse_identities, parse_recipient,
};
use larder::model::Quiet;
use zeroize::Zeroizing;

use crate::sandbox::{noise, pick};

/// Nobody to ask.
struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// Some keys.
#[derive(Default, Clone)]
struct Held {
    identity: Option<String>,
    passphrase: Option<&'static str>,
    password: Option<&'static str>,
}

impl Keys for Held {
    fn identities(&self) -> Result<Vec<Identity>, ArchiveError> {
        let parse = |text: &String| parse_identities(text.as_bytes(), "test", Arc::new(Nobody)).unwrap();
        Ok(self.identity.as_ref().map(parse).unwrap_or_default())
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, ArchiveError> {
        Ok(self.passphrase.map(|text| Passphrase::from(text.to_owned())))
    }

    fn password(&self) -> Result<Option<Password>, ArchiveError> {
        Ok(self.password.map(password))
    }
}

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.as_bytes().to_vec()))
}

/// Longer than one part of any of our compressors; some of it cannot be compressed.
fn content() -> Vec<u8> {
    content_of(60_000, 3 << 20)
}

fn content_of(lines: u64, noisy: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for turn in 0..lines {
        writeln!(text, "line {turn} of a text that says {} and {}", pick(1, turn, 977), pick(2, turn, 7)).unwrap();
    }
    [&text[..], &noise(3, noisy), &text].concat()
}

/// A tar with the content in it, made by GNU tar.
fn tar(dir: &Path) -> Vec<u8> {
    tar_of(dir, &content())
}

fn tar_of(dir: &Path, content: &[u8]) -> Vec<u8> {
    fs::create_dir(dir.join("tree")).unwrap();
    fs::write(dir.join("tree/content"), content).unwrap();
    fs::write(dir.join("tree/small"), "small").unwrap();
    ran(Command::new("tar").args(["-c", "tree"]).current_dir(dir), b"")
}

/// Runs a program on some input; it must end with 0.
#[track_caller]
fn ran(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[track_caller]
fn piped(words: &[&str], input: &[u8]) -> Vec<u8> {
    ran(Command::new(words[0]).args(&words[1..]), input)
}

fn python() -> Command {
    Command::new(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into()))
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut writer = SeekableWriter::new(Vec::new(), 3, 2).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new(), 5, 2).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn age(content: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut writer = SealWriter::new(Vec::new(), recipients).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn under_password(content: &[u8], text: &str) -> Vec<u8> {
    let mut writer = PasswordWriter::new(Vec::new(), &password(text)).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn recipient(public: &str) -> Recipient {
    parse_recipient(public, Arc::new(Nobody)).unwrap()
}

/// Opens as a stream and reads to the end.
fn read(bytes: &[u8], keys: &dyn Keys) -> Result<(Vec<Layer>, Vec<u8>), ArchiveError> {
    let input = Input::Stream(Box::new(Cursor::new(bytes.to_vec())));
    drain(open(input, keys, &Limits::default(), &Quiet)?)
}

fn drain(archive: Archive) -> Result<(Vec<Layer>, Vec<u8>), ArchiveError> {
    let mut all = Vec::new();
    match archive.opened {
        Opened::Tar(mut stream) => stream.read_to_end(&mut all)?,
        Opened::Zip(mut zip) => zip.read_to_end(&mut all)?,
        Opened::Members(_) => panic!("what was read is no stream"),
    };
    Ok((archive.around, all))
}

#[test]
fn what_we_compress_other_tools_read() {
    let dir = tempfile::tempdir().unwrap();
    let tar = tar(dir.path());
    let (zst, gz) = (zstd(&tar), gzip(&tar));
    piped(&["zstd", "-t"], &zst);
    piped(&["gzip", "-t"], &gz);
    for (words, packed) in [
        (&["zstd", "-dc"][..], &zst),
        (&["gzip", "-dc"], &gz),
        (&["busybox", "gunzip", "-c"], &gz),
        (
            &[
                "python3",
                "-c",
                "import gzip, sys; sys.stdout.buffer.write(gzip.GzipFile(fileobj=sys.stdin.buffer).read())",
            ],
            &gz,
        ),
        (
            &[
                "python3",
                "-c",
                "import zlib, sys; d = zlib.decompressobj(31); sys.stdout.buffer.write(d.decompress(sys.stdin.buffer.read())); assert d.eof and not d.unused_data",
            ],
            &gz,
        ),
    ] {
        assert!(piped(words, packed) == tar, "{words:?}");
    }
    for (name, packed) in [("a.tar.zst", &zst), ("a.tar.gz", &gz)] {
        fs::write(dir.path().join(name), packed).unwrap();
        let file = dir.path().join(name);
        for tool in [&["tar", "-xaf"][..], &["bsdtar", "-xf"]] {
            let to = dir.path().join(format!("to-{name}-{}", tool[0]));
            fs::create_dir(&to).unwrap();
            ran(Command::new(tool[0]).args(&tool[1..]).arg(&file).arg("-C").arg(&to), b"");
            assert!(fs::read(to.join("tree/content")).unwrap() == content(), "{name} {tool:?}");
        }
        ran(Command::new("7z").arg("t").arg(&file), b"");
    }
}

#[test]
fn what_others_compress_we_read() {
    let dir = tempfile::tempdir().unwrap();
    let tar = tar_of(dir.path(), &content_of(4000, 200 << 10));
    let (front, back) = tar.split_at(tar.len() / 3);
    for (words, layer) in [
        (&["zstd", "-c"][..], Layer::Zstd),
        (&["zstd", "-c", "--no-check", "-T2", "--long=27"], Layer::Zstd),
        (&["gzip", "-c"], Layer::Gzip),
        (&["busybox", "gzip", "-c"], Layer::Gzip),
        (&["xz", "-c0"], Layer::Xz),
        (&["xz", "-c0", "--check=sha256", "--x86", "--lzma2=preset=0", "--block-size=1MiB"], Layer::Xz),
        (&["bzip2", "-c"], Layer::Bzip2),
    ] {
        let one = piped(words, &tar);
        let (around, found) = read(&one, &NoKeys).unwrap();
        assert!(around == [layer] && found == tar, "{words:?}");
        let two = [piped(words, front), piped(words, back)].concat();
        assert!(read(&two, &NoKeys).unwrap().1 == tar, "{words:?}, one behind the other");
        for cut in [1, 9, one.len() / 2] {
            let cut = read(&one[..one.len() - cut], &NoKeys);
            assert!(matches!(cut, Err(ArchiveError::Damaged(_))), "{words:?} without {cut:?}");
        }
        let more = read(&[&one[..], b"something else"].concat(), &NoKeys);
        assert!(matches!(more, Err(ArchiveError::Damaged(_))), "{words:?} and more");
        for turn in 0..6 {
            let mut bad = one.clone();
            let at = 64 + usize::try_from(pick(9, turn, (one.len() - 80) as u64)).unwrap();
            bad[at] ^= 0x10;
            let unchecked = words.contains(&"--no-check");
            let result = read(&bad, &NoKeys);
            assert!(
                unchecked || matches!(result, Err(ArchiveError::Damaged(_))),
                "{words:?} changed at {at}: {result:?}"
            );
        }
    }
    assert_eq!(read(&tar, &NoKeys).unwrap(), (vec![], tar));
}

#[test]
fn age_opens_what_we_seal_and_we_what_age_seals() {
    let dir = tempfile::tempdir().unwrap();
    let packed = zstd(&tar(dir.path()));
    let ((secret, public), (other, other_public)) = (generate_identity(), generate_identity());
    let ssh = dir.path().join("ssh");
    ran(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&ssh), b"");
    let ssh_public = fs::read_to_string(ssh.with_extension("pub")).unwrap();
    let sealed = age(&packed, &[recipient(&other_public), recipient(&public), recipient(&ssh_public)]);
    for (name, text) in [("one", &secret), ("two", &other)] {
        fs::write(dir.path().join(name), text.as_bytes()).unwrap();
        let opened = ran(Command::new("age").arg("-d").arg("-i").arg(dir.path().join(name)), &sealed);
        assert!(opened == packed, "{name}");
    }
    assert!(ran(Command::new("age").arg("-d").arg("-i").arg(&ssh), &sealed) == packed);

    let held = |text: &str| Held { identity: Some(text.to_owned()), ..Held::default() };
    let mine = held(&secret);
    let theirs = ran(Command::new("age").args(["-r", &public]), &packed);
    let armoured = ran(Command::new("age").args(["-a", "-r", &public]), &packed);
    for (what, bytes) in [("ours", &sealed), ("theirs", &theirs), ("armoured", &armoured)] {
        let (around, found) = read(bytes, &mine).unwrap();
        assert!(around == [Layer::Age, Layer::Zstd] && fs::read(dir.path().join("tree/content")).is_ok(), "{what}");
        assert!(zstd(&found) == packed, "{what}");
        let cut = |len: usize| read(&bytes[..bytes.len() - len], &mine);
        // The last line feed of the armour is no loss.
        for len in [2, 70, 70_000, bytes.len() - 150] {
            assert!(matches!(cut(len), Err(ArchiveError::Damaged(_))), "{what} without {len}");
        }
        // A whole chunk of age's less is a file that ends where one of them does.
        if what != "armoured" {
            let head = bytes.windows(5).position(|w| w == b"\n--- ").unwrap() + 5 + 43 + 1 + 16;
            let whole = head + 2 * (65_536 + 16);
            assert!(matches!(read(&bytes[..whole], &mine), Err(ArchiveError::Damaged(_))), "{what} of two chunks");
            let more = read(&[&bytes[..], b"more"].concat(), &mine);
            assert!(matches!(more, Err(ArchiveError::Damaged(_))), "{what} and more");
        }
        let stranger = read(bytes, &held(&generate_identity().0));
        assert!(matches!(stranger, Err(ArchiveError::Key { .. })), "{what}");
        assert!(matches!(read(bytes, &NoKeys), Err(ArchiveError::Key { .. })), "{what}");
    }
}

#[test]
fn a_passphrase_seals_and_opens() {
    let packed = gzip(&[0; 1024]);
    let phrase = |text: &str| Passphrase::from(text.to_owned());
    let sealed = age(&packed, &[Recipient::passphrase(phrase("correct horse"), Some(10))]);
    let held = |text| Held { passphrase: Some(text), ..Held::default() };
    assert_eq!(read(&sealed, &held("correct horse")).unwrap(), (vec![Layer::Age, Layer::Gzip], vec![0; 1024]));
    assert!(matches!(read(&sealed, &held("battery staple")), Err(ArchiveError::Key { .. })));
    assert!(matches!(read(&sealed, &NoKeys), Err(ArchiveError::Key { .. })));
    // age lets a passphrase stand alone.
    let both = [Recipient::passphrase(phrase("x"), Some(10)), recipient(&generate_identity().1)];
    assert!(SealWriter::new(Vec::new(), &both).is_err());
}

/// A zip by Python, as the older system made them.
fn python_zip(dir: &Path) -> Vec<u8> {
    let path = dir.join("made.zip");
    let code = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n    z.writestr('manifest.json', '{}')\n    z.writestr('records/a', 'x' * 9999)\n";
    ran(Command::new("python3").args(["-c", code]).arg(&path), b"");
    fs::read(path).unwrap()
}

const DECRYPT: &str = "
import sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.hashes import SHA256
data = sys.stdin.buffer.read()
key = lambda salt: PBKDF2HMAC(SHA256(), 32, salt, 480000).derive('clé-ключ-😀'.encode())
if sys.argv[1] == 'open':
    sys.stdout.buffer.write(AESGCM(key(data[:16])).decrypt(data[16:28], data[28:], None))
else:
    sys.stdout.buffer.write(b's' * 16 + b'n' * 12 + AESGCM(key(b's' * 16)).encrypt(b'n' * 12, data, None))
";

#[test]
fn older_archives_are_opened_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let zip = python_zip(dir.path());
    let key = Held { password: Some("clé-ключ-😀"), ..Held::default() };
    let crypt = |what: &str, bytes: &[u8]| ran(python().args(["-c", DECRYPT, what]), bytes);
    let theirs = crypt("seal", &zip);
    let ours = under_password(&zip, "clé-ключ-😀");
    assert_eq!(ours.len(), zip.len() + 44);
    assert!(crypt("open", &ours) == zip);
    let vector =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sealed/redacted-utf8key.zip.enc")).unwrap();
    let inner = crypt("open", &vector);
    for (bytes, wanted) in [(&theirs, &zip), (&ours, &zip), (&vector, &inner)] {
        for input in
            [Input::Stream(Box::new(Cursor::new(bytes.clone()))), Input::Seekable(Box::new(Cursor::new(bytes.clone())))]
        {
            let archive = open(input, &key, &Limits::default(), &Quiet).unwrap();
            assert!(matches!(archive.opened, Opened::Zip(_)));
            assert_eq!(drain(archive).unwrap(), (vec![Layer::Password], wanted.clone()));
        }
    }
    let wrong = Held { password: Some("another"), ..Held::default() };
    assert!(matches!(read(&ours, &wrong), Err(ArchiveError::Key { .. })));
    assert!(matches!(read(&ours[..ours.len() - 1], &key), Err(ArchiveError::Key { .. })));
    assert!(matches!(read(&ours, &NoKeys), Err(ArchiveError::Opaque(_))));
    assert!(matches!(read(b"just a text", &key), Err(ArchiveError::Unknown(_))));
}

#[test]
fn a_zip_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let zip = python_zip(dir.path());
    let program = [b"#!/bin/sh\nexec unzip -p \"$0\"\n", &zip[..]].concat();
    let behind_noise = [&noise(5, 70_000)[..], &zip].concat();
    assert_eq!(read(&zip, &NoKeys).unwrap().1, zip);
    assert_eq!(read(&program, &NoKeys).unwrap().1, program, "the reader finds the members");
    assert_eq!(read(&gzip(&zip), &NoKeys).unwrap(), (vec![Layer::Gzip], zip.clone()));
    for (name, bytes) in [("zip", &zip), ("program", &program), ("noise", &behind_noise)] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let archive = open(Input::file(&path).unwrap(), &NoKeys, &Limits::default(), &Quiet).unwrap();
        assert!(matches!(archive.opened, Opened::Zip(_)), "{name}");
        assert_eq!(&drain(archive).unwrap().1, bytes);
    }
    assert!(
        matches!(read(&behind_noise, &NoKeys), Err(ArchiveError::Opaque(_))),
        "of a stream no copy is made for that"
    );
}

#[test]
fn bombs_and_what_is_no_archive_are_refused() {
    let limits = |ratio, nesting| Limits { ratio, nesting, ..Limits::default() };
    let try_open = |bytes: &[u8], limits: &Limits| {
        open(Input::Stream(Box::new(Cursor::new(bytes.to_vec()))), &NoKeys, limits, &Quiet).and_then(drain)
    };
    let zeros = vec![0; 130 << 20];
    let small = piped(&["zstd", "-c", "-1"], &zeros);
    assert!(zeros.len() / small.len() > 1000);
    assert!(
        matches!(try_open(&small, &limits(1000, 4)), Err(ArchiveError::Limit(text)) if text.contains("--max-ratio"))
    );
    assert!(try_open(&small, &limits(1_000_000, 4)).is_ok());
    let twice = gzip(&small);
    assert!(
        matches!(try_open(&twice, &limits(1000, 4)), Err(ArchiveError::Limit(_))),
        "what is in it counts against all that was read"
    );
    let mut nested = vec![0; 10_240];
    for depth in 0..6 {
        let opened = try_open(&nested, &limits(1000, 4));
        assert!(if depth <= 4 { opened.is_ok() } else { matches!(opened, Err(ArchiveError::Limit(_))) }, "{depth}");
        nested = gzip(&nested);
    }
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"{}\n", "begins like none"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z archive"),
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (&gzip(b"just a text"), "inside of the gzip stream"),
    ] {
        match try_open(bytes, &limits(1000, 4)) {
            Err(ArchiveError::Unknown(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{word}: {other:?}"),
        }
    }
}

/// A password that is at hand for older archives makes no sealed one of what is damaged, or of a text.
#[test]
fn what_is_damaged_in_front_is_not_taken_for_a_sealed_archive() {
    let dir = tempfile::tempdir().unwrap();
    let tar = tar_of(dir.path(), &content_of(100, 3000));
    let zip = python_zip(dir.path());
    let (secret, public) = generate_identity();
    let key = Held { password: Some("secret"), identity: Some(secret.to_string()), ..Held::default() };
    let sealed = age(&tar, &[recipient(&public)]);
    let packed = |words: &[&str]| piped(words, &tar);
    for (what, whole) in [
        ("tar", tar.clone()),
        ("tar.gz", gzip(&tar)),
        ("tar.gz with a name", packed(&["sh", "-c", "cat > /dev/null; printf x > x; gzip -c x; rm x"])),
        ("tar.zst", zstd(&tar)),
        ("tar.xz", packed(&["xz", "-c"])),
        ("tar.bz2", packed(&["bzip2", "-c"])),
        ("zip", zip),
        ("age", sealed),
    ] {
        for (at, seekable) in [(0, true), (1, false), (2, true)] {
            let mut bad = whole.clone();
            bad[at] ^= 0x11;
            let cursor = Cursor::new(bad);
            let input = if seekable { Input::Seekable(Box::new(cursor)) } else { Input::Stream(Box::new(cursor)) };
            let found = open(input, &key, &Limits::default(), &Quiet).and_then(drain);
            // A zip is found by its end, too; whoever reads its members meets the damage.
            let fits = matches!(found, Err(ArchiveError::Damaged(_))) || (what == "zip" && found.is_ok());
            assert!(fits, "{what} changed at {at}: {:?}", found.err());
        }
    }
    let text = "A text that nobody has sealed, which is longer than what is looked at.\n".repeat(40);
    assert!(matches!(read(text.as_bytes(), &key), Err(ArchiveError::Unknown(_))));
    let unknown = noise(7, 5000);
    assert!(matches!(read(&unknown, &key), Err(ArchiveError::Key { .. })), "it may be sealed with another password");
}
