//! Record datasets, as their users work with them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

/// Envelopes made by the system that the form comes from.
pub(crate) fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/records")
}

/// A line of JSON without hash and id.
pub(crate) fn record(key: &str, response: &str, observed: &str) -> String {
    format!(
        r#"{{"exchange_id": "id-{key}-{observed}", "exchange_type": "http", "source_system": "wiki", "entity_type": "page", "natural_key": "{key}", "response": {response}, "observed_at_utc": "{observed}"}}"#
    ) + "\n"
}

pub(crate) fn import(sandbox: &Sandbox, text: &str, more: &[&str]) -> Ran {
    fs::write(sandbox.path("in.ndjson"), text).unwrap();
    let file = sandbox.path("in.ndjson");
    let mut arguments = vec!["records", "import", file.to_str().unwrap(), "--dataset", "pages", "--json"];
    arguments.extend(more);
    sandbox.larder(arguments)
}

pub(crate) fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&ran.stdout)))
}

/// The counts of a report, in their order: inserted, updated, skipped, conflicts, redacted, invalid.
pub(crate) fn counts(ran: &Ran) -> [u64; 6] {
    let mut report = json(ran);
    // Told where there are some.
    report.as_object_mut().unwrap().remove("redacted_before");
    let members: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = ["inserted", "updated", "skipped", "conflicts", "redacted", "invalid", "duration"];
    wanted.sort_unstable();
    assert_eq!(members, wanted, "these members and no other");
    ["inserted", "updated", "skipped", "conflicts", "redacted", "invalid"].map(|name| report[name].as_u64().unwrap())
}

pub(crate) fn count(sandbox: &Sandbox) -> [u64; 3] {
    let ran = sandbox.larder(["records", "count", "pages", "--json"]).ended(0);
    let counts = json(&ran);
    assert_eq!(counts["dataset"], "pages");
    ["records", "keys", "sightings"].map(|name| counts[name].as_u64().unwrap())
}

pub(crate) fn get(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    json(&sandbox.larder(["records", "get"].iter().chain(arguments)).ended(0))
}

#[test]
fn each_content_is_kept_once_and_each_observation() {
    let sandbox = Sandbox::with_store();
    let (a, b) = (record("a", "1", "2024-01-01T00:00:00+00:00"), record("b", "2", "2024-01-01T00:00:00+00:00"));
    let again = record("a", "1", "2024-01-02T00:00:00+00:00");
    let ran = import(&sandbox, &format!("{a}{b}{again}{a}"), &[]).ended(0);
    assert_eq!(counts(&ran), [2, 0, 2, 0, 0, 0]);
    assert_eq!(count(&sandbox), [2, 2, 1], "the same line twice is one observation");
    let ran = import(&sandbox, &format!("{a}{again}{b}"), &[]).ended(0);
    assert_eq!((counts(&ran), count(&sandbox)), ([0, 0, 3, 0, 0, 0], [2, 2, 1]));
    let third = record("a", "1", "2024-01-03T00:00:00+00:00");
    let ran = import(&sandbox, &format!("{third}{third}"), &[]).ended(0);
    assert_eq!((counts(&ran), count(&sandbox)), ([0, 0, 2, 0, 0, 0], [2, 2, 2]));
    let log = json(&sandbox.larder(["records", "log", "a", "--json"]).ended(0));
    let seen: Vec<_> =
        log["versions"][0]["sightings"].as_array().unwrap().iter().map(|s| &s["observed_at_utc"]).collect();
    assert_eq!(seen, ["2024-01-02T00:00:00+00:00", "2024-01-03T00:00:00+00:00"]);
    assert_eq!(log["versions"].as_array().unwrap().len(), 1);
    sandbox.larder(["verify", "--read-data"]).done();
    sandbox.larder(["list", "--dataset", "pages"]).done();
}

#[test]
fn conflicts_are_resolved_as_the_plan_says() {
    let old = record("k", "{\"v\": \"old\"}", "2024-01-01T00:00:00+00:00");
    let same = record("k", "{\"v\": \"same\"}", "2024-02-01T00:00:00+01:00");
    let before = record("k", "{\"v\": \"before\"}", "2024-01-31T23:00:00+00:00");
    let newest = record("k", "{\"v\": \"newest\"}", "2024-03-01T00:00:00+00:00");
    for (how, lines, wanted, current) in [
        // Of equal moments the incoming one wins, whatever their offsets.
        ("prefer_newest", format!("{before}{same}"), [1, 1, 0, 1, 0, 0], "same"),
        ("prefer_newest", format!("{newest}{old}"), [1, 0, 0, 1, 0, 0], "newest"),
        ("prefer_incoming", format!("{newest}{old}"), [1, 1, 0, 1, 0, 0], "old"),
        ("prefer_existing", format!("{old}{newest}"), [1, 0, 0, 1, 0, 0], "old"),
        ("prefer_newest", format!("{same}{newest}{old}{same}"), [1, 1, 1, 2, 0, 0], "newest"),
    ] {
        // Within one import and across several it is the same.
        for apart in [false, true] {
            let sandbox = Sandbox::with_open_store();
            let parts: Vec<&str> = if apart { lines.split_inclusive('\n').collect() } else { vec![&lines] };
            let mut sums = [0; 6];
            for part in parts {
                let foretold = if count_or_none(&sandbox) {
                    Some(counts(&import(&sandbox, part, &["--conflict", how, "-n"]).ended(0)))
                } else {
                    None
                };
                let told = counts(&import(&sandbox, part, &["--conflict", how]).ended(0));
                assert!(foretold.is_none_or(|foretold| foretold == told), "a dry run tells the same");
                (0..6).for_each(|at| sums[at] += told[at]);
            }
            assert_eq!(sums, wanted, "{how} {apart}\n{lines}");
            assert_eq!(get(&sandbox, &["k"])["response"]["v"], current, "{how} {apart}");
            let log = json(&sandbox.larder(["records", "log", "k", "--json"]).ended(0));
            let versions = log["versions"].as_array().unwrap().len() as u64;
            assert_eq!(versions, wanted[0] + wanted[3], "nothing is lost");
            assert_eq!(count(&sandbox)[..2], [versions, 1]);
        }
    }
}

fn count_or_none(sandbox: &Sandbox) -> bool {
    sandbox.larder(["records", "count", "pages"]).status == 0
}

#[test]
fn fail_and_strict_import_nothing() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &record("k", "1", "2024-01-01T00:00:00+00:00"), &[]).done();
    let (new, conflict) = (record("n", "1", "2024-01-01T00:00:00Z"), record("k", "2", "2024-01-02T00:00:00Z"));
    let failed = import(&sandbox, &format!("{new}{conflict}"), &["--conflict", "fail"]).ended(1);
    assert!(json(&failed).to_string().contains("by-key/wiki/page/k.json"));
    let failed = import(&sandbox, &format!("{new}rubbish\n"), &["--strict"]).ended(3);
    assert!(json(&failed).to_string().contains("2: "));
    assert_eq!(count(&sandbox), [1, 1, 0]);
    let ran = import(&sandbox, &format!("{new}rubbish\n{{\"a\": 1}}\n"), &[]).ended(3);
    assert_eq!(counts(&ran), [1, 0, 0, 0, 0, 2]);
    assert!(ran.stderr.contains("2: ") && ran.stderr.contains("3: "), "{}", ran.stderr);
    assert_eq!(count(&sandbox), [2, 2, 0]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let sandbox = Sandbox::with_store();
    let before = fs::read_dir(sandbox.store().join("db")).unwrap().count();
    let ran = import(&sandbox, &record("k", "1", "2024-01-01T00:00:00Z"), &["-n"]).ended(0);
    assert_eq!(counts(&ran), [1, 0, 0, 0, 0, 0]);
    assert_eq!(fs::read_dir(sandbox.store().join("db")).unwrap().count(), before);
    sandbox.larder(["records", "count", "pages"]).refused(10, "pages");
}

#[test]
fn versions_as_of_then() {
    let sandbox = Sandbox::with_store();
    for (n, day) in ["2024-01-10", "2024-02-10", "2024-03-10"].iter().enumerate() {
        import(&sandbox, &record("k", &n.to_string(), &format!("{day}T12:00:00+00:00")), &[]).done();
    }
    assert_eq!(get(&sandbox, &["k"])["response"], 2);
    assert_eq!(get(&sandbox, &["k", "--as-of", "pages~1"])["response"], 1);
    assert_eq!(get(&sandbox, &["k", "--as-of", "pages~2"])["response"], 0);
    assert_eq!(get(&sandbox, &["k", "--as-of", "2024-02-20"])["response"], 1);
    assert_eq!(get(&sandbox, &["k", "--as-of", "2024-01-10T12:00"])["response"], 0);
    sandbox.larder(["records", "get", "k", "--as-of", "2024-01-09"]).refused(10, "no record");
    sandbox.larder(["records", "get", "none"]).refused(10, "no record");
    let first = get(&sandbox, &["k", "--as-of", "pages~2"])["content_sha256"].as_str().unwrap().to_owned();
    assert_eq!(get(&sandbox, &["--hash", &first])["response"], 0);
    assert_eq!(get(&sandbox, &["k", "--hash", &first])["response"], 0);
    let diff = json(&sandbox.larder(["records", "diff", "pages~2", "pages", "--json"]).ended(0));
    assert_eq!(diff["changed"][0]["changes"][0], serde_json::json!({"path": "/response", "before": "0", "after": "2"}));
    assert_eq!((diff["added"].as_array().unwrap().len(), diff["removed"].as_array().unwrap().len()), (0, 0));
    let found =
        sandbox.larder(["records", "find", "pages", "--since", "2024-02-01", "--until", "2024-02-28", "--records"]);
    assert_eq!(json(&found.ended(0))["response"], 1);
}

/// What `init` writes is what the other system writes, and what it reads.
#[test]
fn a_dataset_says_what_holds_for_it() {
    let sandbox = Sandbox::with_store();
    let init =
        ["records", "init", "pages", "--source", "wiki", "--entity", "page", "--owner", "ann", "--chunk-size", "2"];
    sandbox
        .larder(init.iter().chain(&[
            "--conflict",
            "prefer_existing",
            "--redact",
            "--redact-pattern",
            "n=number-[0-9]+",
            "--retention-class",
            "short",
        ]))
        .done();
    sandbox.larder(init).refused(2, "already");
    let manifest = json(&sandbox.larder(["cat", "pages:manifest.json"]).ended(0));
    assert_eq!((&manifest["owner"], &manifest["chunk_size"]), (&"ann".into(), &2.into()));
    let class = || sandbox.larder(["show", "pages", "--json"]).json()["retention_class"].clone();
    assert_eq!((&manifest["retention_class"], class()), (&"short".into(), "short".into()));
    assert_eq!(count(&sandbox), [0, 0, 0]);
    let lines =
        [("a", "\"number-7\""), ("b", "1"), ("c", "1"), ("a", "2")].map(|(k, v)| record(k, v, "2024-01-01T00:00:00Z"));
    let ran = import(&sandbox, &lines.concat(), &[]).ended(0);
    assert_eq!(counts(&ran), [3, 0, 0, 1, 1, 0]);
    let kept = get(&sandbox, &["a"]);
    assert!(!kept["response"].as_str().unwrap().contains("number-7"), "{kept}");
    assert_eq!(class(), "short", "each import obeys it");
    let listed = sandbox.larder(["ls", "-R", "pages:records"]).ended(0);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.matches("chunk-").count(), 2, "{listed}");
    sandbox.larder(["verify", "--read-data"]).done();
}

/// The lines of a pack go in and come out byte for byte, by key, by file, in the index.
#[test]
fn packs_of_the_other_system() {
    for name in ["out-of-order", "nonfinite"] {
        let sandbox = Sandbox::with_store();
        let pack = vectors().join("datasets").join(name);
        let ran = sandbox.larder([
            "records".as_ref(),
            "import".as_ref(),
            pack.as_os_str(),
            "--dataset".as_ref(),
            "pages".as_ref(),
            "--json".as_ref(),
        ]);
        let told = counts(&ran.ended(0));
        let mut lines = Vec::new();
        for entry in walk(&pack.join("records")) {
            lines.extend(fs::read_to_string(entry).unwrap().lines().map(str::to_owned));
        }
        assert_eq!(told[0] + told[2] + told[3], lines.len() as u64);
        let target = sandbox.path("restored");
        sandbox.larder(["restore".as_ref(), "pages".as_ref(), target.as_os_str()]).done();
        let mut stored = Vec::new();
        for entry in walk(&target.join("records")) {
            stored.extend(fs::read_to_string(entry).unwrap().lines().map(str::to_owned));
        }
        assert!(stored.iter().all(|line| lines.contains(line)), "{name}");
        let sightings = fs::read_to_string(target.join("sightings.ndjson")).unwrap_or_default();
        let id = |line: &str| {
            serde_json::from_str::<Value>(&line.replace("NaN", "0").replace("-Infinity", "0").replace("Infinity", "0"))
                .unwrap()["exchange_id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let mut kept: Vec<_> = stored.iter().map(|line| id(line)).chain(sightings.lines().map(id)).collect();
        let mut ids: Vec<_> = lines.iter().map(|line| id(line)).collect();
        kept.sort();
        ids.sort();
        assert_eq!(kept, ids, "{name}: no observation is lost");
        assert!(!target.join("by-key").exists(), "a view is left out");
        let index = fs::read_to_string(target.join("index.jsonl")).unwrap();
        assert_eq!(index.lines().count(), stored.len());
        for line in index.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let file = fs::read_to_string(target.join(entry["f"].as_str().unwrap())).unwrap();
            assert!(file.contains(entry["h"].as_str().unwrap()) && file.contains(entry["id"].as_str().unwrap()));
        }
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn many_records_and_one_more() {
    let sandbox = Sandbox::with_store();
    let many: String = (0..5000)
        .map(|n| {
            record(
                &format!("key {n}"),
                &format!("{{\"n\": {n}, \"text\": \"{}\"}}", "word ".repeat(20)),
                "2024-01-01T00:00:00Z",
            )
        })
        .collect();
    assert_eq!(counts(&import(&sandbox, &many, &[]).ended(0)), [5000, 0, 0, 0, 0, 0]);
    let ran = import(&sandbox, &record("one more", "1", "2024-02-01T00:00:00Z"), &[]).ended(0);
    assert_eq!(counts(&ran), [1, 0, 0, 0, 0, 0]);
    let shown = json(&sandbox.larder(["show", "pages", "--json"]).ended(0));
    let new = shown["new_bytes"].as_u64().unwrap();
    assert!(new < 100_000, "{new} bytes were written for one record");
    for n in [0, 1, 2500, 4999] {
        assert_eq!(get(&sandbox, &[&format!("key {n}")])["response"]["n"], n);
    }
    assert_eq!(get(&sandbox, &["one more"])["response"], 1);
    assert_eq!(count(&sandbox), [5001, 5001, 0]);
    // All of it again, with two that changed.
    let changed = many.replace("\"n\": 77,", "\"n\": 770,").replace("\"n\": 4000,", "\"n\": 40000,");
    assert_eq!(counts(&import(&sandbox, &changed, &[]).ended(0)), [0, 2, 4998, 2, 0, 0]);
    assert_eq!(get(&sandbox, &["key 77"])["response"]["n"], 770);
    assert_eq!(count(&sandbox), [5003, 5001, 0]);
    sandbox.larder(["verify", "--read-data"]).done();
    // What no snapshot needs goes, the rest stays.
    sandbox.larder(["forget", "--keep-last", "1", "--dataset", "pages"]).done();
    sandbox.larder(["gc"]).done();
    sandbox.larder(["verify", "--read-data"]).done();
    assert_eq!(
        get(&sandbox, &["key 77", "--hash", get(&sandbox, &["key 77"])["content_sha256"].as_str().unwrap()])["response"]
            ["n"],
        770
    );
    assert_eq!(counts(&import(&sandbox, &changed, &[]).ended(0)), [0, 0, 5000, 0, 0, 0]);
}

/// Lines as they are stored are passed over where they stand, whatever comes between, and are counted as if they had been read.
#[test]
fn what_was_exported_is_known_in_any_order() {
    let sandbox = Sandbox::with_open_store();
    let text = |n: u32| format!("{{\"n\": {n}, \"text\": \"{}\"}}", "word ".repeat(n as usize % 50));
    let day = |n: u32| format!("2024-0{}-0{}T00:00:00+00:00", 1 + n % 7, 1 + n % 9);
    let many: String = (0..4000).map(|n| record(&format!("k{n}"), &text(n), &day(n))).collect();
    import(&sandbox, &many, &[]).done();
    let out = sandbox.larder(["records", "export", "pages", "-o", "-"]).ended(0).stdout;
    let stored = String::from_utf8(out).unwrap();
    let new = |n: u32| record(&format!("n{n}"), "1", "2024-01-01T00:00:00Z");
    let mut lines: Vec<String> = stored.split_inclusive('\n').map(str::to_owned).collect();
    lines.sort_by_key(|line| {
        line.split("\"natural_key\": \"k").nth(1).and_then(|k| k.split('"').next()?.parse::<u32>().ok())
    });
    assert_eq!(lines.len(), 4000);
    assert_eq!(counts(&import(&sandbox, &lines.concat(), &["-n"]).ended(0)), [0, 0, 4000, 0, 0, 0], "in order");
    lines.drain(100..900);
    lines.insert(2000, new(1));
    lines.insert(7, "rubbish\n".to_owned());
    lines.swap(20, 3000);
    lines.push(new(2));
    assert_eq!(counts(&import(&sandbox, &lines.concat(), &["-n"]).ended(3)), [2, 0, 3200, 0, 0, 1]);
    lines.reverse();
    assert_eq!(counts(&import(&sandbox, &lines.concat(), &[]).ended(3)), [2, 0, 3200, 0, 0, 1], "backwards");
    assert_eq!(count(&sandbox), [4002, 4002, 0]);
}

/// The format page alone tells how to read a dataset: index, parts of chunks, blocks of lines.
#[test]
fn the_reader_made_from_the_format_page_reads_records() {
    let sandbox = Sandbox::with_open_store();
    let many: String = (0..3000u64)
        .map(|n| {
            let text = format!(
                "{{\"n\": {n}, \"sum\": \"{:032x}\", \"t\": \"é\\n\"}}",
                u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            );
            record(&format!("k{}/{n}", n % 7), &text, "2024-02-29T00:00:00Z")
        })
        .collect();
    import(&sandbox, &many, &[]).done();
    let again =
        record("k0/0", "\"other\"", "2024-03-01T00:00:00Z") + &record("k1/1", "\"other\"", "2023-12-31T00:00:00Z");
    let keyless = again.replace("\"natural_key\": \"k0/0\"", "\"natural_key\": null");
    import(&sandbox, &format!("{again}{keyless}{}", many.replace("2024-02-29", "2024-03-02")), &[]).done();
    assert_eq!(count(&sandbox), [3003, 3000, 3000]);
    let mut reader = sandbox.client().command(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or("python3".into()));
    reader.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py")).arg(sandbox.store()).arg("check");
    Ran::of(&mut reader).done();
}
