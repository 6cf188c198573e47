//! What record datasets are guarded from: other snapshots in their series, datasets that nobody wanted, keys that are no text for a terminal.

use std::fs;

use crate::record_sets::{count, import, record};
use crate::sandbox::Sandbox;

const TIME: &str = "2024-01-01T00:00:00+00:00";

/// A snapshot of something else would hide all records behind it: none gets there, by no way.
#[test]
fn nothing_but_records_comes_into_a_record_dataset() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &record("k", "1", TIME), &[]).done();
    let folder = sandbox.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "text").unwrap();
    let words = ["snapshot", folder.to_str().unwrap(), "--dataset", "pages"];
    sandbox.larder(words).refused(2, "pages is a record dataset");
    let (pack, tar) = (sandbox.path("pages.tar"), sandbox.path("folder.tar"));
    let (pack, tar) = (pack.to_str().unwrap(), tar.to_str().unwrap());
    sandbox.larder(["export", "pages", "-o", pack]).done();
    sandbox.snapshot(&folder, "folder").done();
    sandbox.larder(["export", "--bare", "folder", "-o", tar]).done();
    sandbox.larder(["import", tar, "--dataset", "pages"]).refused(2, "pages is a record dataset");
    // What is imported as it is has a series beside the records.
    sandbox.larder(["import", pack]).done();
    assert_eq!(count(&sandbox), [1, 1, 0]);
    let shown = sandbox.larder(["ls", "pages.import"]).ended(0);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("manifest.json"), "{}", shown.stderr);
    import(&sandbox, &record("l", "2", TIME), &[]).done();
    assert_eq!(count(&sandbox), [2, 2, 0]);
}

#[test]
fn what_has_no_record_makes_no_dataset() {
    let sandbox = Sandbox::with_store();
    let nothing = import(&sandbox, "rubbish\nmore of it\n", &[]).ended(3);
    assert!(nothing.stderr.contains("nothing was imported"), "{}", nothing.stderr);
    import(&sandbox, "", &[]).done();
    sandbox.larder(["records", "count", "pages"]).refused(10, "pages");
    let words = ["records", "init", "pages", "--source", "wiki", "--entity", "page", "--redact"];
    sandbox.larder(words).done();
    let first = import(&sandbox, &record("k", "1", TIME), &[]).ended(0);
    assert!(!first.stderr.contains("new dataset"), "{}", first.stderr);
    assert_eq!(count(&sandbox), [1, 1, 0]);
    // Who mistypes a name is told, and what that means for secrets.
    fs::write(sandbox.path("in.ndjson"), record("k", "1", TIME)).unwrap();
    let file = sandbox.path("in.ndjson");
    let words = ["records", "import", file.to_str().unwrap(), "-d", "pagse"];
    let made = sandbox.larder(words).ended(0);
    assert!(made.stderr.contains("pagse is a new dataset; nothing is redacted"), "{}", made.stderr);
    assert!(!sandbox.larder(words).ended(0).stderr.contains("new dataset"));
}

/// What stands in records is told as text: nothing in it reaches a terminal as a command, or looks like another line.
#[test]
fn keys_do_not_speak_to_terminals() {
    let sandbox = Sandbox::with_store();
    let odd = |response: &str| record(r"k\u001b[31m\nsecond\u202e", response, TIME);
    import(&sandbox, &odd("1"), &[]).done();
    let again = import(&sandbox, &odd(r#""\u001b]0;title\u0007""#).replace("id-", "id\\u001b[1m-"), &[]).ended(0);
    assert!(!again.stderr.contains('\u{1b}'));
    let key = "k\u{1b}[31m\nsecond\u{202e}";
    for words in [
        &["find", "pages"][..],
        &["diff", "pages~1", "pages"],
        &["log", key],
        &["import", "in.ndjson", "-d", "pages", "-n"],
    ] {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.current_dir(sandbox.path("")).arg("records").args(words);
        let ran = crate::sandbox::Ran::of(&mut command).ended(0);
        let shown = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{words:?}: {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("second")), "{words:?}: {shown:?}");
    }
    // A program has them as they are.
    let found = sandbox.larder(["records", "find", "pages", "--json"]).lines();
    assert_eq!(found[0]["natural_key"], key);
}

#[test]
fn a_name_promises_what_is_written() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &record("k", "1", TIME), &[]).done();
    for name in ["a.tar.zst", "a.tar", "a.ndjson.gz", "a.age"] {
        let file = sandbox.path(name);
        let words = ["records", "export", "pages", "-o", file.to_str().unwrap()];
        sandbox.larder(words).refused(2, "records are not written as");
        assert!(!file.exists());
    }
    let file = sandbox.path("a.txt");
    sandbox.larder(["records", "export", "pages", "-o", file.to_str().unwrap()]).done();
    assert!(fs::read_to_string(file).unwrap().starts_with("{\"exchange_id\""));
}
