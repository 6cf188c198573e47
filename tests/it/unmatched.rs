//! Patterns that fit nothing: a restore that brought back less than was asked for does not pass for a whole one.

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn patterns_that_fit_nothing_are_told_and_seen_in_the_exit_status() {
    let sandbox = Sandbox::with_open_store();
    let (source, dest) = (sandbox.path("source"), sandbox.path("dest"));
    fs::create_dir_all(source.join("a")).unwrap();
    for name in ["a/one.c", "three.h", "top.c"] {
        fs::write(source.join(name), name).unwrap();
    }
    sandbox.snapshot(&source, "tree").done();
    let run = |more: &[&str]| sandbox.larder([&["restore", "tree", dest.to_str().unwrap()], more].concat());
    for dry in [&["--dry-run"][..], &[]] {
        let ran = run(&[dry, &["--include", "*.nothing"]].concat()).ended(3);
        assert!(ran.stderr.contains("nothing to restore fits the pattern \"*.nothing\""), "{}", ran.stderr);
        let ran = run(&[dry, &["--include", "/three.c", "--include", "*.c", "-q"]].concat()).ended(3);
        assert!(ran.stderr.contains("\"/three.c\"; one that begins with /"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("\"*.c\""), "{}", ran.stderr);
    }
    // One that fits what another took already has fitted; one of which an exclusion leaves nothing has not.
    run(&["--include", "a", "--include", "/a/one.c", "--include", "!x", "--overwrite", "always"]).done();
    for nothing in ["", "# remark", "!*.c"] {
        let _ran = run(&["--include", nothing]).ended(3);
    }
    let ran = run(&["--include", "*.c", "--exclude", "*.c", "--json"]).ended(3);
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["unmatched"], serde_json::json!(["*.c"]));
}
