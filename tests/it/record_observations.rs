//! Observations of contents: each is kept, with all that is said of it beside the content, and none twice.

use std::fs;

use serde_json::Value;

use crate::record_sets::{count, counts, get, import, json, record};
use crate::sandbox::Sandbox;

const TIME: &str = "2024-01-01T00:00:00+00:00";

/// The lines of `sightings.ndjson`.
fn sightings(sandbox: &Sandbox) -> Vec<Value> {
    let ran = sandbox.larder(["cat", "pages:sightings.ndjson"]);
    String::from_utf8(ran.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn snapshots(sandbox: &Sandbox) -> usize {
    sandbox.larder(["list", "--json"]).ids().len()
}

/// The same observation is skipped and no more; one that differs in anything is skipped, and kept. What brings nothing makes no snapshot.
#[test]
fn the_same_observation_is_not_a_further_one() {
    let sandbox = Sandbox::with_open_store();
    let first = record("a", "1", TIME);
    import(&sandbox, &first, &[]).done();
    for _ in 0..2 {
        let ran = import(&sandbox, &format!("{first}{first}"), &[]).ended(0);
        assert_eq!((counts(&ran), count(&sandbox), snapshots(&sandbox)), ([0, 0, 2, 0, 0, 0], [1, 1, 0], 1));
        assert!(ran.stderr.contains("no snapshot was made"), "{}", ran.stderr);
    }
    let with = |field: &str| first.replace("\"observed_at_utc\"", &format!("{field}, \"observed_at_utc\""));
    let others = [
        first.replace("\"exchange_id\": \"id", "\"exchange_id\": \"other"),
        first.replace("00:00:00+", "00:00:01+"),
        // The same moment, as another offset has it: another line, another observation.
        first.replace("2024-01-01T00:00:00+00:00", "2024-01-01T01:00:00+01:00"),
        with("\"provenance\": {\"host\": \"h\"}"),
        with("\"tags\": [\"t\"]"),
        with("\"response_ref\": \"blob\""),
        with("\"schema_version\": 2"),
        with("\"later\": {\"x\": NaN}"),
    ];
    for (n, line) in others.iter().enumerate() {
        for _ in 0..2 {
            let ran = import(&sandbox, line, &["-n"]).ended(0);
            assert_eq!(counts(&ran), [0, 0, 1, 0, 0, 0]);
            let ran = import(&sandbox, line, &[]).ended(0);
            assert_eq!(counts(&ran), [0, 0, 1, 0, 0, 0]);
            assert_eq!((count(&sandbox), snapshots(&sandbox)), ([1, 1, n as u64 + 1], n + 2), "{line}");
        }
    }
    let ran = import(&sandbox, &others.concat(), &[]).ended(0);
    assert_eq!((counts(&ran), snapshots(&sandbox)), ([0, 0, 8, 0, 0, 0], 9));
    // All of what differs is there.
    let lines = String::from_utf8(sandbox.larder(["cat", "pages:sightings.ndjson"]).ended(0).stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[..4].iter().all(|line| !line.contains("tags")), "what says nothing is left out");
    for (line, part) in lines[4..].iter().zip([
        "\"tags\": [\"t\"]",
        "\"response_ref\": \"blob\"",
        "\"schema_version\": 2",
        "\"later\": {\"x\": NaN}",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    let log = json(&sandbox.larder(["records", "log", "a", "--json"]).ended(0));
    assert_eq!(log["versions"][0]["sightings"].as_array().unwrap().len(), 8);
    sandbox.larder(["verify", "--read-data"]).done();
}

/// Two originals that differ in what is secret alone become one content. What ties each of them to what it was is kept.
#[test]
fn contents_that_become_one_keep_their_commitments() {
    let sandbox = Sandbox::with_open_store();
    let redacting = ["records", "init", "pages", "--source", "wiki", "--entity", "page", "--redact"];
    sandbox.larder(redacting).done();
    let original = |secret: &str, time: &str| record("a", &format!("{{\"password\": \"{secret}\", \"n\": 1}}"), time);
    let ran = import(&sandbox, &original("first-secret", TIME), &[]).ended(0);
    assert_eq!((counts(&ran), json(&ran).get("redacted_before")), ([1, 0, 0, 0, 1, 0], None));
    let later = original("second-secret", TIME);
    let ran = import(&sandbox, &later, &[]).ended(0);
    assert_eq!((counts(&ran), count(&sandbox)), ([0, 0, 1, 0, 1, 0], [1, 1, 1]));
    let again = format!("{}{later}{}", original("first-secret", TIME), original("third-secret", "2024-01-02"));
    let ran = import(&sandbox, &again, &[]).ended(0);
    assert_eq!((counts(&ran), count(&sandbox)), ([0, 0, 3, 0, 3, 0], [1, 1, 2]));
    let log = json(&sandbox.larder(["records", "log", "a", "--json"]).ended(0));
    let version = &log["versions"][0];
    let seen = version["sightings"].as_array().unwrap();
    let mut commitments: Vec<_> =
        seen.iter().chain([version]).map(|one| one["original_commitment"].as_str().unwrap()).collect();
    assert!(commitments.iter().all(|text| text.starts_with("blake3:")), "{commitments:?}");
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), 3);
    assert_eq!(get(&sandbox, &["a"])["original_commitment"], version["original_commitment"]);
    assert!(
        sightings(&sandbox).iter().all(|line| line["redactions_applied"] == serde_json::json!(["response_secrets"]))
    );
}

/// What says that it was redacted before is counted by itself, whether it is read or known by its line.
#[test]
fn what_was_redacted_before_is_counted_by_itself() {
    let sandbox = Sandbox::with_open_store();
    let with = |key: &str, list: &str, response: &str| {
        record(key, response, TIME)
            .replace("\"observed_at_utc\"", &format!("\"redactions_applied\": {list}, \"observed_at_utc\""))
    };
    let lines = [
        record("a", "\"redactions_applied\"", TIME),
        with("b", "[]", "1"),
        with("c", "[\"request_headers\"]", "\"[REDACTED]\""),
        with("d", "[\"request_headers\"]", "{\"password\": \"geheimgeheim\"}"),
    ]
    .concat();
    let figures = |more: &[&str]| {
        let ran = import(&sandbox, &lines, more).ended(0);
        (counts(&ran), json(&ran)["redacted_before"].as_u64())
    };
    assert_eq!(figures(&["-n", "--redact"]), ([4, 0, 0, 0, 1, 0], Some(2)));
    assert_eq!(figures(&[]), ([4, 0, 0, 0, 0, 0], Some(2)));
    assert_eq!(figures(&[]), ([0, 0, 4, 0, 0, 0], Some(2)));
    // Lines as they are stored are known without being read.
    let stored = sandbox.larder(["records", "export", "pages", "-o", "-"]).ended(0).stdout;
    fs::write(sandbox.path("stored"), stored).unwrap();
    let file = sandbox.path("stored");
    let words = ["records", "import", file.to_str().unwrap(), "-d", "pages"];
    let ran = sandbox.larder(words.iter().chain(&["--json"]));
    assert_eq!((counts(&ran), json(&ran)["redacted_before"].as_u64()), ([0, 0, 4, 0, 0, 0], Some(2)));
    let told = String::from_utf8(sandbox.larder(words).ended(0).stdout).unwrap();
    assert!(told.contains("redacted   0\n") && told.contains("redacted before 2\n"), "{told}");
    // What lies there from a time without redaction is not what would be stored now: it is redacted, though its line is known.
    let ran = sandbox.larder(words.iter().chain(&["--redact", "--json"])).ended(0);
    assert_eq!(counts(&ran), [0, 1, 3, 1, 1, 0]);
    assert_eq!(get(&sandbox, &["d"])["response"]["password"], "[REDACTED]");
}

/// What was observed further goes with a pack, and is a sighting where it comes in.
#[test]
fn sightings_go_with_packs() {
    let sandbox = Sandbox::with_open_store();
    let lines: String = (0..500)
        .map(|n| record(&format!("k{}", n % 100), &(n % 100).to_string(), &format!("2024-01-01T00:{:02}:00Z", n / 100)))
        .collect();
    import(&sandbox, &lines, &[]).done();
    assert_eq!(count(&sandbox), [100, 100, 400]);
    let other = Sandbox::with_store();
    for name in ["folder", "pack.zip"] {
        let pack = sandbox.path(name);
        let pack = pack.to_str().unwrap();
        sandbox.larder(["records", "export", "pages", "--format", "pack", "-o", pack]).done();
        // Where all of it is known nothing changes.
        let ran = sandbox.larder(["records", "import", pack, "-d", "pages", "--json"]).ended(0);
        assert_eq!((counts(&ran), snapshots(&sandbox)), ([0, 0, 500, 0, 0, 0], 1));
        let ran = other.larder(["records", "import", pack, "-d", name, "--json"]).ended(0);
        assert_eq!(counts(&ran), [100, 0, 400, 0, 0, 0]);
        let sorted = |sandbox: &Sandbox, file: &str| {
            let text = String::from_utf8(sandbox.larder(["cat", file]).ended(0).stdout).unwrap();
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&other, &format!("{name}:sightings.ndjson")), sorted(&sandbox, "pages:sightings.ndjson"));
    }
    // A sighting of nothing is told, with its line.
    let folder = sandbox.path("folder");
    let file = folder.join("sightings.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    let lying = text.lines().next().unwrap().replace(&text[20..40], &"0".repeat(20));
    fs::write(&file, format!("{text}{lying}\n")).unwrap();
    let ran = other.larder(["records", "import", folder.to_str().unwrap(), "-d", "folder", "--json"]).ended(3);
    assert_eq!(counts(&ran), [0, 0, 500, 0, 0, 1]);
    assert!(ran.stderr.contains("sightings.ndjson:401: "), "{}", ran.stderr);
}

/// A content that comes back is a sighting of the version that it is. It does not become current, and that is told: by the import and by `log`.
#[test]
fn a_version_that_comes_back_is_told() {
    let sandbox = Sandbox::with_open_store();
    let at = |response: &str, month: u32| record("k", response, &format!("2024-{month:02}-01T00:00:00+00:00"));
    let told = |text: &str, more: &[&str]| {
        let ran = import(&sandbox, text, &[&["--details"], more].concat()).ended(0);
        (json(&ran)["returned"].as_u64().unwrap(), ran.stderr.contains("of an earlier version that would win"))
    };
    assert_eq!(told(&(at("1", 2) + &at("2", 4)), &[]), (0, false));
    // Before the other one, it was current then.
    assert_eq!(told(&at("1", 3), &[]), (0, false));
    let log = sandbox.larder(["records", "log", "k"]).ended(0);
    assert!(!log.stderr.contains("observed last"), "{}", log.stderr);
    for more in [&["-n"][..], &["--conflict", "prefer_incoming", "-n"], &[]] {
        assert_eq!(told(&at("1", 5), more), (1, true), "{more:?}");
    }
    assert_eq!(told(&at("1", 5), &[]), (0, false), "it is known");
    assert_eq!(told(&at("1", 6), &["--conflict", "prefer_existing", "-n"]), (0, false), "nothing would win");
    assert_eq!(get(&sandbox, &["k"])["response"], 2);
    let log = sandbox.larder(["records", "log", "k"]).ended(0);
    assert!(log.stderr.contains("which is not current, was observed last"), "{}", log.stderr);
    // In one import too; and what is seen once more itself is no matter.
    assert_eq!(told(&(at("2", 7) + &at("3", 8) + &at("3", 9) + &at("2", 10)), &[]), (1, true));
    assert_eq!((&get(&sandbox, &["k"])["response"], count(&sandbox)), (&Value::from(3), [3, 1, 5]));
    sandbox.larder(["verify", "--read-data"]).done();
}
