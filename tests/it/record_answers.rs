//! What is asked of record datasets: by tags, times and fields of each observation, by begins of hashes, by keys that look alike; and what imports,
//! `validate` and `verify` tell of lines and packs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::record_sets::{count, get, import, record};
use crate::sandbox::{Ran, Sandbox};

const TIME: &str = "2024-01-01T00:00:00+00:00";

fn found(sandbox: &Sandbox, query: &[&str]) -> Vec<String> {
    let lines = sandbox.larder(["records", "find", "pages", "--json"].iter().chain(query)).lines();
    lines.iter().map(|line| line["exchange_id"].as_str().unwrap().to_owned()).collect()
}

fn with(line: &str, fields: &str) -> String {
    line.replace("\"observed_at_utc\"", &format!("{fields}, \"observed_at_utc\""))
}

#[test]
fn what_was_said_when_a_content_was_seen_again_is_found() {
    let sandbox = Sandbox::with_store();
    let june = "2024-06-01T00:00:00+00:00";
    let again = with(&record("a", "1", june), r#""tags": ["seen", "x"], "job": 7, "provenance": {"host": "h"}"#);
    let other = with(&record("b", "2", TIME), r#""tags": ["seen"]"#);
    import(&sandbox, &(record("a", "1", TIME) + &other + &again), &[]).done();
    assert_eq!(count(&sandbox), [2, 2, 1]);
    let (first, second, b) = (format!("id-a-{TIME}"), format!("id-a-{june}"), format!("id-b-{TIME}"));
    for (query, wanted) in [
        (&[][..], vec![&first, &b]),
        (&["--tag", "seen"], vec![&second, &b]),
        (&["--tag", "seen", "--tag", "x"], vec![&second]),
        (&["--since", "2024-05-01"], vec![&second]),
        (&["--until", "2024-05-01"], vec![&first, &b]),
        (&["--tag", "x", "--until", "2024-05-01"], vec![]),
        (&["--path", "$.job=7"], vec![&second]),
        (&["--path", "$.provenance.host", "--path", "$.response=1"], vec![&second]),
        (&["--path", "$.response=1"], vec![&first]),
        (&["--path", "$.tags[0]=seen", "--source", "wiki"], vec![&second, &b]),
        (&["--path", "$.job=7", "--source", "none"], vec![]),
    ] {
        assert_eq!(found(&sandbox, query), wanted.into_iter().map(String::as_str).collect::<Vec<_>>(), "{query:?}");
    }
    // What is printed is a record as it was observed.
    let line = sandbox.larder(["records", "find", "pages", "--path", "$.job=7", "--records"]).ended(0).stdout;
    fs::write(sandbox.path("line"), &line).unwrap();
    sandbox.larder(["records", "validate", "--stored", sandbox.path("line").to_str().unwrap()]).done();
    let line: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&line["tags"], &line["response"], &line["observed_at_utc"]),
        (&json!(["seen", "x"]), &json!(1), &json!(june))
    );

    let log = sandbox.larder(["records", "log", "a", "--json"]).json();
    let version = &log["versions"][0];
    assert_eq!((&version["tags"], &version["fields"]), (&json!([]), &json!({})));
    let sighting = &version["sightings"][0];
    assert_eq!((&sighting["tags"], &sighting["fields"]), (&json!(["seen", "x"]), &json!({"job": 7})));
    assert_eq!((&sighting["provenance"], &sighting["exchange_id"]), (&json!({"host": "h"}), &json!(second)));
    let told = String::from_utf8(sandbox.larder(["records", "log", "a"]).ended(0).stdout).unwrap();
    assert!(
        told.lines().nth(1).unwrap().ends_with("  #seen  #x") && !told.lines().next().unwrap().contains('#'),
        "{told}"
    );
}

/// A value is found however it is spelt: what has one canonical form is one value.
#[test]
fn values_are_found_by_their_forms() {
    let sandbox = Sandbox::with_open_store();
    let response =
        r#"{"n": 1.50, "big": 100000.0, "long": 9007199254740993, "l": [1, 2.50], "o": {"b": 1, "a": "x"}, "a.b": 7}"#;
    import(&sandbox, &record("a", response, TIME), &[]).done();
    for (path, wanted) in [
        ("n=1.5", 1),
        ("n=1.50", 1),
        ("n=1.51", 0),
        ("big=100000", 1),
        ("big=1e5", 1),
        ("long=9007199254740993", 1),
        ("long=9007199254740992", 0),
        ("l=[1,2.5]", 1),
        ("l=[1]", 0),
        ("o={\"a\":\"x\",\"b\":1}", 1),
        ("o.a=x", 1),
        ("o.a=\"x\"", 1),
    ] {
        let ran = sandbox.larder(["records", "find", "pages", "--json", "--path", &format!("$.response.{path}")]);
        assert_eq!(ran.lines().len(), wanted, "{path}");
    }
    for path in ["$.response[\"a.b\"]=7", "$[\"response\"]['a.b']"] {
        assert_eq!(found(&sandbox, &["--path", path]).len(), 1, "{path}");
    }
}

/// What tells no time is in no span of time, and found by everything else.
#[test]
fn records_without_a_time() {
    let sandbox = Sandbox::with_open_store();
    let timeless =
        record("t", "1", TIME).replace(&format!("\"observed_at_utc\": \"{TIME}\""), "\"observed_at_utc\": null");
    import(&sandbox, &(timeless + &record("u", "2", TIME)), &[]).done();
    let (t, u) = (format!("id-t-{TIME}"), format!("id-u-{TIME}"));
    assert_eq!(found(&sandbox, &[]), [&*t, &u]);
    assert_eq!(found(&sandbox, &["--path", "$.response=1"]), [&*t]);
    assert_eq!(found(&sandbox, &["--since", "1970-01-01"]), [&*u]);
    assert_eq!(found(&sandbox, &["--until", "2100-01-01"]), [&*u]);
}

#[test]
fn a_hash_is_named_by_its_begin() {
    let sandbox = Sandbox::with_open_store();
    let lines: String = (0..1500).map(|n| record(&format!("k{}", n / 2), &n.to_string(), TIME)).collect();
    import(&sandbox, &lines, &[]).done();
    let mut begins: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for line in sandbox.larder(["records", "find", "pages", "--json"]).lines() {
        let hash = line["content_sha256"].as_str().unwrap().to_owned();
        begins.entry(hash[..4].to_owned()).or_default().push((hash, line["natural_key"].clone()));
    }
    let alone = begins.iter().find_map(|(begin, all)| if let [one] = &all[..] { Some((begin, one)) } else { None });
    let (begin, (hash, key)) = alone.unwrap();
    for name in [&hash[..16], begin, &hash.to_uppercase(), hash] {
        assert_eq!(get(&sandbox, &["--hash", name])["content_sha256"], **hash, "{name}");
        assert_eq!(get(&sandbox, &[key.as_str().unwrap(), "--hash", name])["content_sha256"], **hash, "{name}");
    }
    let (begin, several) = begins.iter().find(|(_, all)| all.len() > 1).expect("1500 hashes have two that begin alike");
    let ran = sandbox.larder(["records", "get", "--hash", begin]).ended(2);
    assert!(
        ran.stderr.contains("several hashes begin with") && several.iter().all(|(hash, _)| ran.stderr.contains(hash))
    );
    let status = if several.iter().any(|(_, key)| key == "k0") { 0 } else { 10 };
    let _ = sandbox.larder(["records", "get", "k0", "--hash", begin]).ended(status);
    sandbox.larder(["records", "get", "--hash", "0000000000000000"]).refused(10, "no record with the hash");
    for bad in ["abc", "xyzw", &format!("{hash}0")] {
        sandbox.larder(["records", "get", "--hash", bad]).refused(2, "a hash has 64");
    }
}

#[test]
fn keys_in_several_datasets_and_keys_that_look_alike() {
    let sandbox = Sandbox::with_open_store();
    let (composed, parted) = ("caf\u{e9}", "cafe\u{301}");
    import(&sandbox, &(record(composed, "1", TIME) + &record("k", "2", TIME) + &record(parted, "1", TIME)), &[]).done();
    assert_eq!(count(&sandbox), [2, 2, 1], "their contents are one");
    for key in [composed, parted] {
        assert_eq!(get(&sandbox, &[key])["natural_key"], composed);
        assert_eq!(
            sandbox.larder(["records", "log", key, "--json"]).json()["versions"][0]["sightings"][0]["natural_key"],
            parted
        );
    }
    // Where there is one of that name it is meant.
    import(&sandbox, &record(parted, "3", TIME), &[]).done();
    assert_eq!(
        (&get(&sandbox, &[parted])["response"], &get(&sandbox, &[composed])["response"]),
        (&json!(3), &json!(1))
    );
    fs::write(sandbox.path("other"), record("k", "2", TIME)).unwrap();
    sandbox.larder(["records", "import", sandbox.path("other").to_str().unwrap(), "-d", "other"]).done();
    let ran = sandbox.larder(["records", "get", "k"]).ended(2);
    for place in ["pages:by-key/wiki/page/k.json", "other:by-key/wiki/page/k.json"] {
        assert!(ran.stderr.contains(place), "{}", ran.stderr);
    }
    assert_eq!(get(&sandbox, &["k", "-d", "other"])["response"], 2);
}

#[test]
fn an_import_tells_its_lines() {
    let sandbox = Sandbox::with_open_store();
    let (old, new) = (record("k", "1", TIME), record("k", "\"password=hunter2\"", "2024-02-01T00:00:00+00:00"));
    let text = format!("{old}\nrubbish\n{new}");
    let foretold = import(&sandbox, &text, &["-n", "--details", "--redact"]).ended(3);
    let foretold: Value = serde_json::from_slice(&foretold.stdout).unwrap();
    assert_eq!(
        (&foretold["snapshot"], &foretold["dataset"], &foretold["new_dataset"]),
        (&Value::Null, &json!("pages"), &json!(true))
    );
    let told: Value =
        serde_json::from_slice(&import(&sandbox, &text, &["--details", "--redact"]).ended(3).stdout).unwrap();
    let listed = sandbox.larder(["list", "--json"]).ids();
    assert_eq!(told["snapshot"].as_str(), Some(&*listed[0]));
    assert_eq!((told["invalid_lines"][0]["line"].as_u64(), told["invalid"].as_u64()), (Some(3), Some(1)));
    assert!(told["invalid_lines"][0]["reason"].as_str().unwrap().starts_with("it is no JSON"), "{told}");
    assert_eq!((&told["conflicting"][0]["line"], &told["conflicting"][0]["won"]), (&json!(4), &json!(true)));
    assert_eq!(told["redactions"], json!([{"file": "", "line": 4, "place": "/response", "rule": "assignment"}]));
    for list in ["invalid_lines", "conflicting", "redactions"] {
        assert_eq!(foretold[list], told[list]);
    }
    // For people, and of several files.
    fs::create_dir(sandbox.path("in")).unwrap();
    let path = sandbox.path("in/b.ndjson");
    fs::write(&path, format!("\n{}", record("k", "3", "2024-03-01T00:00:00+00:00"))).unwrap();
    fs::write(sandbox.path("in/a.json"), record("z", "3", TIME)).unwrap();
    let folder = sandbox.path("in");
    let words = ["records", "import", folder.to_str().unwrap(), "-d", "pages"];
    sandbox
        .larder(words.iter().chain(&["--conflict", "fail"]))
        .refused(1, "b.ndjson:2: another content is known under the key");
    let told = String::from_utf8(sandbox.larder(words).ended(0).stdout).unwrap();
    assert!(told.contains("b.ndjson:2: what came is current now under by-key/wiki/page/k.json"), "{told}");
    let words = ["records", "import", path.to_str().unwrap(), "-d", "pages", "--conflict", "fail"];
    fs::write(&path, record("k", "4", TIME)).unwrap();
    sandbox.larder(words).refused(1, "line 1: another content is known");
}

/// What a program makes of bytes.
fn through(sandbox: &Sandbox, program: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut command = sandbox.client().command(program[0]);
    let mut child = command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|threads| {
        threads.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

/// Compressed lines are lines, whatever their name; so they are in folders, and for `validate`.
#[test]
fn compressed_lines_are_read_by_content() {
    let sandbox = Sandbox::with_open_store();
    let text: String = (0..50).map(|n| record(&format!("k{n}"), &n.to_string(), TIME)).collect();
    let list = format!("[{}]", text.trim().replace('\n', ","));
    let folder = sandbox.path("folder");
    fs::create_dir(&folder).unwrap();
    let mut datasets = 0;
    let mut imports = |path: PathBuf| {
        datasets += 1;
        let dataset = format!("d{datasets}");
        let told = sandbox.larder(["records", "validate", path.to_str().unwrap()]).ended(0);
        let told = String::from_utf8(told.stdout).unwrap();
        sandbox.larder(["records", "import", path.to_str().unwrap(), "-d", &dataset]).done();
        let counted = sandbox.larder(["records", "count", &dataset, "--json"]).json();
        assert_eq!(
            (counted["records"].as_u64(), &*told),
            (Some(50), "50 records: 50 valid, 0 invalid\n"),
            "{}",
            path.display()
        );
    };
    for (n, program) in [&["gzip"][..], &["zstd", "-q"], &["xz"], &["bzip2"]].iter().enumerate() {
        for (end, text) in [("ndjson", &text), ("json", &list), ("gz", &text), ("bin", &list)] {
            let path = sandbox.path(format!("{n}.{end}"));
            fs::write(&path, through(&sandbox, program, text.as_bytes())).unwrap();
            imports(path);
        }
    }
    let half = text.len() / 2;
    let half = half + text[half..].find('\n').unwrap() + 1;
    fs::write(folder.join("a.ndjson.gz"), through(&sandbox, &["gzip"], &text.as_bytes()[..half])).unwrap();
    fs::write(folder.join("b.jsonl.zst"), through(&sandbox, &["zstd", "-q"], &text.as_bytes()[half..])).unwrap();
    imports(folder.clone());
    // From a pipe, and what is cut short.
    let packed = through(&sandbox, &["gzip"], text.as_bytes());
    fs::write(sandbox.path("packed"), &packed).unwrap();
    let mut command = sandbox.client().larder(&sandbox.store());
    command
        .args(["records", "import", "-", "-d", "piped", "--json"])
        .stdin(fs::File::open(sandbox.path("packed")).unwrap());
    assert_eq!(Ran::of(&mut command).json()["inserted"], 50);
    for path in [sandbox.path("cut.ndjson"), folder.join("a.ndjson.gz")] {
        fs::write(&path, &packed[..packed.len() - 20]).unwrap();
        sandbox.larder(["records", "import", path.to_str().unwrap(), "-d", "cut"]).refused(13, "ends too early");
    }
    sandbox.larder(["records", "import", folder.to_str().unwrap(), "-d", "cut"]).refused(13, "a.ndjson.gz");
    sandbox.larder(["records", "count", "cut"]).refused(10, "cut");
}

/// `verify` compares the records of a pack with their hashes, and says what else there is to hold it against.
#[test]
fn packs_of_records_are_verified() {
    let sandbox = Sandbox::with_open_store();
    import(&sandbox, &(record("a", "1", TIME) + &record("b", "2", TIME)), &[]).done();
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let (zip, folder, whole) = (path("pack.zip"), path("pack"), path("whole.tar"));
    sandbox.larder(["records", "export", "pages", "-o", &zip]).done();
    sandbox.larder(["records", "export", "pages", "-o", &folder, "--format", "pack"]).done();
    sandbox.larder(["export", "pages", "-o", &whole]).done();
    for (pack, how) in
        [(&zip, "there is no list of checksums"), (&folder, "there is no list"), (&whole, "inventory and checksums")]
    {
        let told = String::from_utf8(sandbox.larder(["verify", pack]).ended(0).stdout).unwrap();
        assert!(told.contains("2 records, each with the hash of its content") && told.contains(how), "{told}");
        assert_eq!(sandbox.larder(["verify", pack, "--json"]).json()["records"], 2);
        sandbox.larder(["records", "validate", "--stored", pack]).done();
    }
    let chunk = sandbox.path("pack/records/2024/2024-01-01/chunk-0001.ndjson");
    let text = fs::read_to_string(&chunk).unwrap();
    fs::write(&chunk, text.replace("\"response\": 2", "\"response\": 3")).unwrap();
    let ran = sandbox.larder(["verify", &folder]).ended(13);
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(told.contains("damaged: records/2024/2024-01-01/chunk-0001.ndjson:2: content_sha256 is"), "{told}");
    let ran = sandbox.larder(["records", "validate", &folder]).ended(3);
    assert!(String::from_utf8(ran.stdout).unwrap().contains("chunk-0001.ndjson:2: content_sha256 is"));
    // Files of that name in what is no pack of records are nobody's business.
    fs::remove_file(sandbox.path("pack/manifest.json")).unwrap();
    let tar = path("other.tar");
    Ran::of(sandbox.client().command("tar").args(["-cf", &tar, "-C", &folder, "records"])).done();
    let told = String::from_utf8(sandbox.larder(["verify", &tar]).ended(0).stdout).unwrap();
    assert!(told.contains("there is no manifest or list of checksums"), "{told}");

    // A whole pack comes in as the tree that it is; how its records are had is told.
    let ran = sandbox.larder(["import", &whole, "--dataset", "tree"]).ended(0);
    assert!(
        ran.stderr.contains("`larder records import") && ran.stderr.contains("whole.tar --dataset NAME`"),
        "{}",
        ran.stderr
    );
    for words in [
        &["records", "count", "tree"][..],
        &["records", "policy", "tree"],
        &["records", "import", &whole, "-d", "tree"],
    ] {
        let ran = sandbox.larder(words.iter()).ended(10);
        assert!(
            ran.stderr.contains("tree holds a pack of records as files") && ran.stderr.contains("hint: "),
            "{}",
            ran.stderr
        );
    }
    sandbox.larder(["records", "import", &whole, "-d", "records"]).done();
    assert_eq!(sandbox.larder(["records", "count", "records", "--json"]).json()["records"], 2);
}

/// Lists, documents and lines of what has no hash or id yet are records; --stored wants both.
#[test]
fn validate_wants_what_the_form_wants() {
    let sandbox = Sandbox::new();
    let check = |text: &str, more: &[&str]| {
        fs::write(sandbox.path("in"), text).unwrap();
        let file = sandbox.path("in");
        sandbox.larder(["records", "validate", file.to_str().unwrap(), "--json"].iter().chain(more))
    };
    let plain = r#"{"exchange_type": "http", "source_system": "s", "entity_type": "e"}"#;
    for text in [
        format!("{plain}\n{plain}\n"),
        format!("[{plain},\n{plain}]"),
        format!("{}\n{plain}", plain.replace(',', ",\n")),
    ] {
        let told = check(&text, &[]).json();
        assert_eq!((&told["records"], &told["valid"]), (&json!(2), &json!(2)), "{text}");
        let told: Value = serde_json::from_slice(&check(&text, &["--stored"]).ended(3).stdout).unwrap();
        assert_eq!((&told["invalid"], &told["faults"][0]["reason"]), (&json!(2), &json!("exchange_id is missing")));
    }
    let told: Value = serde_json::from_slice(&check(&format!("[{plain},\n{{}}, 7]"), &[]).ended(3).stdout).unwrap();
    assert_eq!((&told["faults"][0]["line"], &told["faults"][1]["line"]), (&json!(2), &json!(2)));
}

/// A span of time holds its first moment and its last, to the microsecond; a day or an hour that is named is one from its begin to its end.
#[test]
fn spans_of_time_hold_their_ends() {
    let sandbox = Sandbox::with_open_store();
    let moments =
        ["2024-05-01T00:00:00", "2024-05-01T12:30:00", "2024-05-01T12:30:00.000001", "2024-05-01T23:59:59.999999"];
    let lines: String =
        moments.iter().enumerate().map(|(n, at)| record(&n.to_string(), "1", &format!("{at}+00:00"))).collect();
    import(&sandbox, &lines, &[]).done();
    for (query, wanted) in [
        (&["--since", "2024-05-01T12:30:00Z"][..], &[1, 2, 3][..]),
        (&["--since", "2024-05-01T12:30:00.000001Z"], &[2, 3]),
        (&["--since", "2024-05-01T12:30:00.000002Z"], &[3]),
        (&["--until", "2024-05-01T12:30:00.000001Z"], &[0, 1, 2]),
        (&["--since", "2024-05-01", "--until", "2024-05-01"], &[0, 1, 2, 3]),
        (&["--since", "2024-05-02"], &[]),
        (&["--until", "2024-04-30"], &[]),
        (&["--since", "2024-05-01T00:00:00.000001Z", "--until", "2024-05-01T12:30:00.000000Z"], &[1]),
    ] {
        let keys = sandbox.larder(["records", "find", "pages", "--json"].iter().chain(query)).lines();
        let keys: Vec<usize> = keys.iter().map(|line| line["natural_key"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(keys, wanted, "{query:?}");
    }
    // Seen again counts by the same ends.
    import(&sandbox, &record("0", "1", "2024-06-01T00:00:00.5+00:00"), &[]).done();
    assert_eq!(found(&sandbox, &["--since", "2024-06-01T00:00:00.500000Z"]).len(), 1);
    assert_eq!(found(&sandbox, &["--since", "2024-06-01T00:00:00.500001Z"]).len(), 0);
}

#[test]
fn records_are_found_by_source_entity_and_type() {
    let sandbox = Sandbox::with_open_store();
    let of = |n: &str, name: &str, value: &str| {
        record(n, "1", TIME).replace(&format!("\"{name}\""), &format!("\"{value}\""))
    };
    let lines = of("a", "none", "") + &of("b", "wiki", "other") + &of("c", "page", "talk") + &of("d", "http", "llm");
    import(&sandbox, &lines, &[]).done();
    for (query, wanted) in [
        (&["--source", "other"][..], &["b"][..]),
        (&["--entity", "talk"], &["c"]),
        (&["--type", "llm"], &["d"]),
        (&["--source", "wiki", "--entity", "page", "--type", "http"], &["a"]),
        (&["--source", "other", "--entity", "talk"], &[]),
        (&["--type", "LLM"], &[]),
    ] {
        let keys = sandbox.larder(["records", "find", "pages", "--json"].iter().chain(query)).lines();
        let keys: Vec<_> = keys.iter().map(|line| line["natural_key"].as_str().unwrap()).collect();
        assert_eq!(keys, wanted, "{query:?}");
    }
}

/// What there is more than is told by name is told by number.
#[test]
fn many_conflicts_and_bad_lines_are_cut() {
    let sandbox = Sandbox::with_open_store();
    let of =
        |response: &str, time: &str| -> String { (0..25).map(|n| record(&format!("k{n}"), response, time)).collect() };
    import(&sandbox, &of("1", TIME), &[]).done();
    fs::write(sandbox.path("in"), of("2", "2023-01-01T00:00:00Z") + &"rubbish\n".repeat(25)).unwrap();
    let file = sandbox.path("in");
    let ran = sandbox.larder(["records", "import", file.to_str().unwrap(), "-d", "pages"]).ended(3);
    let told = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(
        told.matches(": what came is kept as an earlier version under by-key/wiki/page/k").count(),
        20,
        "{told}"
    );
    assert!(told.contains("… and 5 more conflicts"), "{told}");
    assert_eq!(ran.stderr.matches("it is no JSON").count(), 20, "{}", ran.stderr);
    assert!(ran.stderr.contains("larder: … and 5 more"), "{}", ran.stderr);
}

#[test]
fn a_diff_tells_what_came_and_went() {
    let sandbox = Sandbox::with_open_store();
    import(&sandbox, &(record("a", "1", TIME) + &record("b", r#"{"x": 1}"#, TIME)), &[]).done();
    let keyless = record("", "3", TIME).replace("\"natural_key\": \"\"", "\"natural_key\": null");
    import(&sandbox, &(record("c", "2", TIME) + &record("b", r#"{"x": 2}"#, "2025-01-01T00:00:00Z") + &keyless), &[])
        .done();
    let diff = |old: &str, new: &str| {
        let told = sandbox.larder(["records", "diff", old, new, "--json"]).json();
        let keys = |list: &str| -> Vec<Value> {
            told[list].as_array().unwrap().iter().map(|one| one["natural_key"].clone()).collect()
        };
        (keys("added"), keys("changed"), keys("removed"), told)
    };
    let (added, changed, removed, told) = diff("pages~1", "pages");
    assert_eq!((added, changed, removed), (vec![Value::Null, json!("c")], vec![json!("b")], vec![]));
    assert_eq!(told["changed"][0]["changes"], json!([{"path": "/response/x", "before": "1", "after": "2"}]));
    assert!(told["added"][0]["before"].is_null() && told["added"][0]["after"].is_string());
    let (added, changed, removed, _) = diff("pages", "pages~1");
    assert_eq!((added, changed, removed), (vec![], vec![json!("b")], vec![Value::Null, json!("c")]));
    let shown = String::from_utf8(sandbox.larder(["records", "diff", "pages", "pages~1"]).ended(0).stdout).unwrap();
    for line in ["- wiki/page  c", "- wiki/page  -", "~ wiki/page  b", "    /response/x: 2 → 1"] {
        assert!(shown.lines().any(|found| found == line), "{shown}");
    }
    assert_eq!(diff("pages", "pages").3, json!({"added": [], "changed": [], "removed": []}));
}

/// A whole hash is looked up: what else is stored is not read for it. The begin of one is searched for in all of it.
#[test]
fn a_whole_hash_needs_no_other_record() {
    let sandbox = Sandbox::with_store();
    let noise: String = (0..60u64)
        .map(|n| {
            let text: String = crate::sandbox::noise(n, 30_000).iter().map(|b| format!("{b:02x}")).collect();
            record(&format!("n{n}"), &format!("\"{text}\""), TIME)
        })
        .collect();
    import(&sandbox, &noise, &[]).done();
    import(&sandbox, &record("k", "1", TIME), &[]).done();
    let hash = get(&sandbox, &["k"])["content_sha256"].as_str().unwrap().to_owned();
    let files = fs::read_dir(sandbox.store().join("db")).unwrap().map(|file| file.unwrap().path());
    let longest = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&longest).unwrap();
    assert!(bytes.len() > 1_000_000, "it holds the contents");
    let end = bytes.len() - 100_000;
    bytes[1000..end].iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
    fs::write(&longest, bytes).unwrap();
    assert_eq!(get(&sandbox, &["--hash", &hash])["natural_key"], "k");
    assert_eq!(get(&sandbox, &["k", "--hash", &hash[..8]])["natural_key"], "k");
    let _damaged = sandbox.larder(["records", "get", "--hash", &hash[..63]]).ended(13);
    let _damaged = sandbox.larder(["records", "find", "pages"]).ended(13);
}
