//! What `restore --delete` must not take away, and which snapshot nobody means by `latest`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

fn write(path: PathBuf) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "here").unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn beside_several_sources_nothing_is_removed() {
    let sandbox = Sandbox::with_open_store();
    let host = sandbox.path("host");
    write(host.join("one/file"));
    write(host.join("deep/two/file"));
    sandbox.larder(["snapshot", text(&host.join("one")), text(&host.join("deep/two")), "--dataset", "several"]).done();
    let inside = text(&host).trim_start_matches('/').to_owned();

    let root = sandbox.path("root");
    let there = root.join(&inside);
    for kept in [root.join("etc/passwd"), there.join("three/file"), there.join("deep/other")] {
        write(kept);
    }
    write(there.join("one/extra"));
    write(there.join("deep/two/extra/file"));
    let ran = sandbox.larder(["restore", "several", text(&root), "--delete", "--json"]).json();
    assert_eq!(ran["removed"], 3, "{ran}");
    assert!(there.join("one/file").exists() && there.join("deep/two/file").exists());
    assert!(!there.join("one/extra").exists() && !there.join("deep/two/extra").exists());
    assert!(root.join("etc/passwd").exists() && there.join("three/file").exists() && there.join("deep/other").exists());

    // The same of a part of it.
    let part = sandbox.path("part");
    write(part.join("three/file"));
    write(part.join("one/extra"));
    sandbox.larder(["restore", &format!("several:{inside}"), text(&part), "--delete"]).done();
    assert!(part.join("three/file").exists() && !part.join("one/extra").exists() && part.join("one/file").exists());
    let one = sandbox.path("one");
    write(one.join("extra"));
    sandbox.larder(["restore", &format!("several:{inside}/one"), text(&one), "--delete"]).done();
    assert!(one.join("file").exists() && !one.join("extra").exists());
}

#[test]
fn what_could_not_be_captured_is_not_removed() {
    let sandbox = Sandbox::with_open_store();
    let host = sandbox.path("host");
    write(host.join("one/file"));
    write(host.join("two/file"));
    let gone = sandbox.path("gone");
    let capture = || {
        let paths = [text(&host.join("one")).to_owned(), text(&gone).to_owned(), text(&host.join("two")).to_owned()];
        sandbox.larder([&["snapshot", "--dataset", "d"][..], &paths.each_ref().map(String::as_str)].concat())
    };
    let ran = capture().ended(3);
    assert!(ran.stderr.contains(text(&gone)), "{}", ran.stderr);
    let shown = sandbox.larder(["list"]).ended(0);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("lacks 1 unreadable"));

    let root = sandbox.path("root");
    let extra = root.join(text(&host).trim_start_matches('/')).join("one/extra");
    write(extra.clone());
    for dry in [&["--dry-run"][..], &[]] {
        let arguments = [&["restore", "d", text(&root), "--delete"], dry].concat();
        sandbox.larder(arguments).refused(2, "1 item that could not be read");
    }
    assert!(extra.exists());
    // The folders above have other permissions here: they stay as they are, and that is told.
    let told = sandbox.larder(["restore", "d", text(&root)]).ended(3);
    assert!(extra.exists() && told.stderr.contains("lacks 1 item"), "{}", told.stderr);
    sandbox.larder(["restore", "d", text(&root), "--delete", "--incomplete"]).done();
    assert!(!extra.exists());

    // All of them gone: there is nothing to capture.
    sandbox.larder(["snapshot", text(&gone), text(&sandbox.path("gone too"))]).refused(10, text(&gone));
}

#[test]
fn a_name_that_is_not_linked_any_more_is_told() {
    let sandbox = Sandbox::with_open_store();
    let tree = sandbox.path("tree");
    write(tree.join("a"));
    fs::hard_link(tree.join("a"), tree.join("b")).unwrap();
    sandbox.snapshot(&tree, "d").done();
    let dest = sandbox.path("dest");
    sandbox.larder(["restore", "d", text(&dest)]).done();
    fs::remove_file(dest.join("a")).unwrap();
    let ran = sandbox.larder(["restore", "d", text(&dest)]).ended(3);
    assert!(ran.stderr.contains("not linked to its other name"), "{}", ran.stderr);
    sandbox.larder(["restore", "d", text(&dest), "--overwrite", "if-changed"]).done();
    assert_eq!(fs::metadata(dest.join("a")).unwrap().nlink(), 2);
}
