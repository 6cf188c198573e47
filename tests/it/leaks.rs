//! What an encrypted store gives away: nothing of what store-format.md, section 16, does not name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sandbox::{Sandbox, noise};

/// A name of so many bytes that nothing compresses and that occurs nowhere by chance.
fn name(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len).into_iter().map(|b| if matches!(b, 0 | b'/') { b'x' } else { b }).collect()
}

/// Letters that occur nowhere by chance.
fn word(seed: u64) -> String {
    noise(seed, 20).iter().map(|b| char::from(b'a' + b % 26)).collect()
}

const SIZES: [usize; 3] = [1_234_567, 81_939, 70_003];

/// What must not be found: what it is, and its bytes.
struct Secrets(Vec<(String, Vec<u8>)>);

/// Makes a tree and a snapshot of it with labels and a reason; gives what is secret about it.
fn known_snapshot(sandbox: &Sandbox) -> Secrets {
    let mut secrets = Vec::new();
    let mut keep = |what: &str, bytes: &[u8]| secrets.push((what.to_owned(), bytes.to_vec()));
    let tree = sandbox.path(OsStr::from_bytes(&[b"source-".as_slice(), word(1).as_bytes()].concat()));
    let folder = tree.join(OsStr::from_bytes(&name(2, 120)));
    fs::create_dir_all(&folder).unwrap();
    keep("the source's path", tree.as_os_str().as_bytes());
    keep("a folder's name", &name(2, 120));
    for (at, size) in (10u64..).zip(SIZES) {
        let (called, content) = (name(at, 100), noise(100 + at, size));
        fs::write(folder.join(OsStr::from_bytes(&called)), &content).unwrap();
        keep("a file's name", &called);
        keep("content", &content[5000..5064]);
        keep("the beginning of content", &content[..32]);
        digests(&mut keep, &content);
        keep("a size as varint", &[&[252u8][..], &(size as u32).to_le_bytes()].concat());
        keep("a size as u64", &(size as u64).to_le_bytes());
        keep("a size in decimal", size.to_string().as_bytes());
    }
    let text = format!("{} and the like, again and again\n", word(3)).repeat(3000);
    fs::write(folder.join("text"), &text).unwrap();
    keep("text", word(3).as_bytes());
    digests(&mut keep, text.as_bytes());
    // Small enough to be one chunk: its plain digest is in its entry, its id follows from it.
    let small = noise(4, 900);
    fs::write(folder.join("small"), &small).unwrap();
    keep("small content", &small[100..140]);
    digests(&mut keep, &small);
    let attribute = format!("user.{}", word(5));
    let value = noise(6, 60);
    rustix::fs::setxattr(folder.join("small"), attribute.as_str(), &value, rustix::fs::XattrFlags::empty())
        .expect("the test needs a file system with user xattrs");
    keep("an xattr's name", attribute.as_bytes());
    keep("an xattr's value", &value);
    let target = format!("{}/{}", word(7), word(8));
    std::os::unix::fs::symlink(&target, folder.join("symlink")).unwrap();
    keep("a symlink's target", target.as_bytes());
    let (dataset, reason, key, label) =
        (format!("set-{}", word(20)), format!("reason {}", word(21)), word(22), word(23));
    sandbox
        .larder([
            "snapshot".as_ref(),
            tree.as_os_str(),
            "--dataset".as_ref(),
            dataset.as_ref(),
            "--reason".as_ref(),
            reason.as_ref(),
            "--label".as_ref(),
            format!("{key}={label}").as_ref(),
        ] as [&OsStr; 8])
        .done();
    for (what, text) in
        [("the dataset", &dataset), ("the reason", &reason), ("a label's key", &key), ("a label", &label)]
    {
        keep(what, text.as_bytes());
        digests(&mut keep, text.as_bytes());
    }
    Secrets(secrets)
}

/// The plain BLAKE3 of something, raw and in hex.
fn digests(keep: &mut impl FnMut(&str, &[u8]), bytes: &[u8]) {
    let hash = blake3::hash(bytes);
    keep("a plain digest", hash.as_bytes());
    keep("the first half of a plain digest", &hash.as_bytes()[..16]);
    keep("a plain digest in hex", hash.to_hex().as_bytes());
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        if item.file_type().unwrap().is_dir() { files_below(&item.path(), found) } else { found.push(item.path()) }
    }
}

/// What of the secrets is in the names or bytes of the files below a folder.
fn search(dir: &Path, secrets: &Secrets) -> Vec<String> {
    let mut files = Vec::new();
    files_below(dir, &mut files);
    let mut found = Vec::new();
    for file in files {
        let bytes = [file.strip_prefix(dir).unwrap().as_os_str().as_bytes(), b"\0", &fs::read(&file).unwrap()].concat();
        for (what, secret) in &secrets.0 {
            // Short ones are worth a look only where chance would not give them.
            if bytes.windows(secret.len()).any(|w| w == secret) {
                found.push(format!("{what} in {}", file.strip_prefix(dir).unwrap().display()));
            }
        }
    }
    found
}

#[test]
fn an_encrypted_store_gives_away_no_name_size_digest_or_content() {
    let sandbox = Sandbox::with_store();
    let secrets = known_snapshot(&sandbox);
    let found = search(&sandbox.store(), &secrets);
    assert!(found.is_empty(), "{found:#?}");
    let found = search(&sandbox.client().cache(), &secrets);
    assert!(found.is_empty(), "in the cache: {found:#?}");
    let found = search(&sandbox.client().state(), &secrets);
    assert!(found.is_empty(), "in the state folder: {found:#?}");
}

#[test]
fn the_same_search_finds_all_of_it_in_an_unencrypted_store() {
    let sandbox = Sandbox::with_open_store();
    let secrets = known_snapshot(&sandbox);
    let found = search(&sandbox.store(), &secrets);
    // What is random stands as it is even in compressed blocks; sizes stand in manifest and tables.
    for what in [
        "a folder's name",
        "a file's name",
        "content",
        "the beginning of content",
        "a plain digest",
        "the dataset",
        "the reason",
        "a label",
        "an xattr's value",
        "small content",
    ] {
        assert!(found.iter().any(|f| f.starts_with(what)), "{what} is not found: the search is blind. {found:#?}");
    }
}
