//! The snapshot that is taken before a restore changes a folder.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::sandbox::{Sandbox, noise};

#[test]
fn one_that_cannot_be_read_back_lets_nothing_be_removed() {
    let sandbox = Sandbox::with_open_store();
    let (first, other, target) = (sandbox.path("first"), sandbox.path("other"), sandbox.path("target"));
    for folder in [&first, &other, &target] {
        fs::create_dir(folder).unwrap();
    }
    let big = noise(1, 3_000_000);
    fs::write(first.join("big"), &big).unwrap();
    fs::write(other.join("small"), "small").unwrap();
    sandbox.snapshot(&first, "first").done();
    sandbox.snapshot(&other, "other").done();
    fs::write(target.join("only copy"), &big).unwrap();
    let target = target.to_str().unwrap();
    let restore = ["restore", "other", target, "--delete", "--safety"];

    // The store's own copy is damaged, and a capture relies on it.
    let files = fs::read_dir(sandbox.store().join("db")).unwrap().map(|item| item.unwrap().path());
    let largest = files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let file = fs::File::options().read(true).write(true).open(largest).unwrap();
    let mut bytes = [0; 200];
    file.read_exact_at(&mut bytes, 1_500_000).unwrap();
    file.write_all_at(&bytes.map(|b| b ^ 0x55), 1_500_000).unwrap();
    sandbox.larder(restore).refused(13, "cannot be read back");
    assert!(fs::read(format!("{target}/only copy")).unwrap() == big);

    file.write_all_at(&bytes, 1_500_000).unwrap();
    sandbox.larder(restore).done();
    assert!(!fs::exists(format!("{target}/only copy")).unwrap());
    sandbox.larder(["restore", "target.safety", target, "--delete"]).done();
    assert!(fs::read(format!("{target}/only copy")).unwrap() == big);
}
