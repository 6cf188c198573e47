//! What is not there, or not what it seems: records that an index lists, datasets that are two, contents that come back.

use std::fs;

use serde_json::{Value, json};

use crate::record_sets::{count, counts, get, import, record};
use crate::sandbox::{Ran, Sandbox};

const TIME: &str = "2024-01-01T00:00:00+00:00";

/// In a pack the index alone tells that a file of records, or the end of one, is gone.
#[test]
fn records_that_an_index_lists_are_missed() {
    let sandbox = Sandbox::with_open_store();
    let lines: String = (0..30).map(|n| record(&format!("k{n}"), &n.to_string(), TIME)).collect();
    import(&sandbox, &(lines + &record("k1", "1", "2025-01-01T00:00:00Z")), &[]).done();
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let [folder, zip] = ["pack", "pack.zip"].map(path);
    sandbox.larder(["records", "export", "pages", "--format", "pack", "-o", &folder]).done();
    let chunk = sandbox.path("pack/records/2024/2024-01-01/chunk-0001.ndjson");
    let whole = fs::read_to_string(&chunk).unwrap();
    let zipped = || {
        let _ = fs::remove_file(&zip);
        let script = "import os, sys, zipfile\nz = zipfile.ZipFile(sys.argv[2], 'w')\nos.chdir(sys.argv[1])\n[z.write(os.path.join(d, f)) for d, _, fs in os.walk('.') for f in fs]\nz.close()";
        Ran::of(sandbox.client().command("python3").args(["-c", script, &folder, &zip])).done();
    };
    zipped();
    for (n, pack) in [&folder, &zip].into_iter().enumerate() {
        sandbox.larder(["verify", pack]).done();
        let ran = sandbox.larder(["records", "import", pack, "-d", &format!("whole{n}"), "--json"]).ended(0);
        assert_eq!(counts(&ran), [30, 0, 1, 0, 0, 0]);
    }
    let cut: String =
        whole.split_inclusive('\n').filter(|line| !line.contains("\"k1\"") && !line.contains("\"k7\"")).collect();
    for (n, (text, gone)) in [(Some(cut), 2), (None, 30)].into_iter().enumerate() {
        match text {
            Some(text) => fs::write(&chunk, text).unwrap(),
            None => fs::remove_file(&chunk).unwrap(),
        }
        zipped();
        for (m, pack) in [&folder, &zip].into_iter().enumerate() {
            let dataset = format!("d{n}{m}");
            sandbox.larder(["records", "import", pack, "-d", &dataset, "--strict"]).refused(3, "index.jsonl:");
            let ran = sandbox.larder(["records", "import", pack, "-d", &dataset, "--json"]).ended(3);
            // The sighting of what is gone is told too.
            assert_eq!(counts(&ran), [30 - gone, 0, 0, 0, 0, gone + 1]);
            for part in [
                "index.jsonl:2: the record that it lists is not in the pack",
                "sightings.ndjson:1: the record that it was of is not",
            ] {
                assert!(ran.stderr.contains(part), "{}", ran.stderr);
            }
            let told = String::from_utf8(sandbox.larder(["records", "validate", pack]).ended(3).stdout).unwrap();
            assert!(told.contains("index.jsonl:2: the record that it lists is not in the pack"), "{told}");
            let told = String::from_utf8(sandbox.larder(["verify", pack]).ended(13).stdout).unwrap();
            assert!(told.contains("index.jsonl:2: the record that it lists is not in the pack"), "{told}");
        }
    }
    fs::write(&chunk, &whole).unwrap();
    fs::write(sandbox.path("pack/index.jsonl"), "rubbish\n").unwrap();
    let ran = sandbox.larder(["records", "import", &folder, "-d", "last", "--json"]).ended(3);
    assert_eq!(counts(&ran), [30, 0, 1, 0, 0, 1]);
    assert!(ran.stderr.contains("index.jsonl:1: it is no JSON"), "{}", ran.stderr);
    // Without an index nothing is missed.
    fs::remove_file(sandbox.path("pack/index.jsonl")).unwrap();
    fs::write(&chunk, whole.split_inclusive('\n').skip(2).collect::<String>()).unwrap();
    fs::remove_file(sandbox.path("pack/sightings.ndjson")).unwrap();
    let ran = sandbox.larder(["records", "import", &folder, "-d", "none", "--json"]).ended(0);
    assert_eq!(counts(&ran), [28, 0, 0, 0, 0, 0]);
}

/// A pack is of one dataset; of two nothing is mixed.
#[test]
fn two_datasets_are_not_made_one() {
    let sandbox = Sandbox::with_open_store();
    import(&sandbox, &record("k", "1", TIME), &[]).done();
    fs::write(sandbox.path("other"), record("l", "2", TIME)).unwrap();
    sandbox.larder(["records", "import", sandbox.path("other").to_str().unwrap(), "-d", "other"]).done();
    let both = sandbox.path("both.tar");
    let both = both.to_str().unwrap();
    sandbox.larder(["export", "pages", "other", "-o", both]).done();
    for more in [&[][..], &["-d", "new"]] {
        let words = ["records", "import", both];
        sandbox.larder(words.iter().chain(more)).refused(2, "several datasets in it: other, pages");
    }
    assert_eq!(count(&sandbox), [1, 1, 0]);
    // Two snapshots of one dataset are one.
    import(&sandbox, &record("k", "2", "2025-01-01T00:00:00Z"), &[]).done();
    let two = sandbox.path("two.tar");
    let two = two.to_str().unwrap();
    sandbox.larder(["export", "pages~1", "pages", "-o", two]).done();
    sandbox.larder(["records", "import", two, "-d", "again"]).done();
    assert_eq!(sandbox.larder(["records", "count", "again", "--json"]).json()["records"], 2);
}

/// What was let in however deep is whole in a pack too.
#[test]
fn deep_records_are_whole_in_packs() {
    let sandbox = Sandbox::with_open_store();
    let deep = record("deep", &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), TIME);
    import(&sandbox, &deep, &["--max-depth", "60000"]).done();
    let pack = sandbox.path("pages.tar");
    sandbox.larder(["export", "pages", "-o", pack.to_str().unwrap()]).done();
    sandbox.larder(["verify", pack.to_str().unwrap()]).done();
}

/// A content that comes back is seen again, and makes nothing current; the log has it first.
#[test]
fn a_content_that_comes_back() {
    let sandbox = Sandbox::with_open_store();
    for (response, day, first) in [("1", "2024-02-01", true), ("2", "2024-02-15", true), ("1", "2024-04-01", false)] {
        import(&sandbox, &record("k", response, &format!("{day}T00:00:00Z")), &[]).done();
        let log = sandbox.larder(["records", "log", "k", "--json"]).json();
        assert_eq!(log["versions"][0]["current"], first, "{day}");
    }
    assert_eq!(get(&sandbox, &["k"])["response"], 2);
    let told = String::from_utf8(sandbox.larder(["records", "log", "k"]).ended(0).stdout).unwrap();
    let stars: Vec<_> = told.lines().map(|line| line.starts_with("* ")).collect();
    assert_eq!(stars, [false, false, true], "{told}");
    let log = sandbox.larder(["records", "log", "k", "--json"]).json();
    let versions: Vec<(&Value, &Value)> =
        log["versions"].as_array().unwrap().iter().map(|one| (&one["current"], &one["observed_at_utc"])).collect();
    assert_eq!(
        versions,
        [(&json!(false), &json!("2024-02-01T00:00:00+00:00")), (&json!(true), &json!("2024-02-15T00:00:00+00:00"))]
    );
}

/// A hash in a content is not that of the record.
#[test]
fn hashes_within_contents() {
    let sandbox = Sandbox::with_open_store();
    let line = record("k", "1", TIME);
    fs::write(sandbox.path("line"), &line).unwrap();
    let hash = sandbox.larder(["records", "hash", sandbox.path("line").to_str().unwrap()]).ended(0).stdout;
    let hash = String::from_utf8(hash).unwrap();
    let within = record("j", &format!("{{\"content_sha256\": \"{}\"}}", hash.trim()), TIME);
    import(&sandbox, &(within + &line), &[]).done();
    for begin in [&hash[..4], &hash[..16], hash.trim()] {
        assert_eq!(get(&sandbox, &["--hash", begin])["natural_key"], "k", "{begin}");
    }
}
