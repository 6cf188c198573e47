//! What an import is given: lines that were cut, links, texts that grow, packs beyond limits, records that describe the dataset they make.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::record_sets::{count, counts, get, import, json, record, vectors};
use crate::sandbox::{Ran, Sandbox};

const TIME: &str = "2024-01-01T00:00:00+00:00";

fn manifest(sandbox: &Sandbox, dataset: &str) -> Value {
    sandbox.larder(["cat", &format!("{dataset}:manifest.json")]).json()
}

/// The first line is one of many: that it was cut short is told of it alone.
#[test]
fn a_first_line_that_is_cut_takes_no_other_along() {
    let sandbox = Sandbox::with_open_store();
    let lines: Vec<_> = (0..4).map(|n| record(&format!("k{n}"), r#"{"a": {"b": "c"}}"#, TIME)).collect();
    for (n, end) in ["{\"exchange_id\"", "\"wiki\"", "{\"a\": {\"b\"", "\"observed_at_utc\"", "\"}"].iter().enumerate()
    {
        let cut = &lines[0][..=lines[0].rfind(end).unwrap()];
        let dataset = format!("d{n}");
        fs::write(sandbox.path("in"), format!("{cut}\n{}", lines[1..].concat())).unwrap();
        let file = sandbox.path("in");
        let ran = sandbox.larder(["records", "import", file.to_str().unwrap(), "-d", &dataset, "--json"]).ended(3);
        assert_eq!(counts(&ran), [3, 0, 0, 0, 0, 1], "{cut}");
        assert!(ran.stderr.contains("larder: 1: it is no JSON"), "{}", ran.stderr);
        // What the dataset is like, the first record tells, not the first line.
        let made = manifest(&sandbox, &dataset);
        let told =
            ["dataset_name", "exchange_type", "source_system", "entity_type"].map(|name| made[name].as_str().unwrap());
        assert_eq!(told, [&*dataset, "http", "wiki", "page"]);
    }
}

#[test]
fn links_to_files_are_files() {
    let sandbox = Sandbox::with_open_store();
    let folder = sandbox.path("in");
    fs::create_dir(&folder).unwrap();
    fs::write(sandbox.path("elsewhere"), record("k", "1", TIME)).unwrap();
    symlink(sandbox.path("elsewhere"), folder.join("a.ndjson")).unwrap();
    symlink(sandbox.path("nowhere"), folder.join("b.ndjson")).unwrap();
    symlink(&folder, folder.join("c.ndjson")).unwrap();
    sandbox.larder(["records", "import", folder.to_str().unwrap(), "-d", "pages"]).done();
    assert_eq!(count(&sandbox), [1, 1, 0]);
}

/// Who wants no secrets in a dataset wants none in what describes it, and none later.
#[test]
fn a_dataset_that_is_made_with_redaction_goes_on_with_it() {
    let sandbox = Sandbox::with_open_store();
    let secret = |word: &str| {
        record("k", &format!("{{\"password\": \"{word}\"}}"), TIME)
            .replace("\"wiki\"", &format!("\"https://ann:{word}@wiki\""))
            .replace("\"page\"", &format!("\"page?token={word}\""))
            .replace("\"http\"", &format!("\"password={word}\""))
    };
    let _rubbish = import(&sandbox, &format!("rubbish\n{}", secret("geheim-eins")), &["--redact"]).ended(3);
    let made = manifest(&sandbox, "pages");
    assert!(!made.to_string().contains("geheim"), "{made}");
    assert_eq!(made["source_system"], "https://[REDACTED]@wiki");
    assert_eq!(made["redaction_policy"]["enabled"], true);
    let ran = import(&sandbox, &secret("geheim-zwei"), &[]).ended(0);
    assert_eq!(counts(&ran), [0, 0, 1, 0, 1, 0]);
    assert!(!get(&sandbox, &["k"]).to_string().contains("geheim"));
}

/// What is wrong with a line is told without what may be secret in it, if it is to be redacted.
#[test]
fn reasons_hold_no_secrets() {
    let sandbox = Sandbox::with_open_store();
    let lines = [
        record("k", "1", "Bearer geheim-eins"),
        record("k", "1", TIME).replace("\"response\"", "\"content_sha256\": \"ghp_geheim\", \"response\""),
    ];
    let ran = import(&sandbox, &lines.concat(), &["-n"]).ended(3);
    assert!(ran.stderr.contains("Bearer geheim-eins"), "{}", ran.stderr);
    for more in [&[][..], &["--details"], &["--strict"]] {
        let ran = import(&sandbox, &lines.concat(), &[&["-n", "--redact"], more].concat()).ended(3);
        let told = ran.stderr + &String::from_utf8_lossy(&ran.stdout);
        assert!(told.contains("observed_at_utc is another text, where a time") && !told.contains("geheim"), "{told}");
    }
}

/// What grows too much is refused with an option that the command has, and goes in with it.
#[test]
fn limits_name_options_that_there_are() {
    let sandbox = Sandbox::with_open_store();
    let folder = sandbox.path("in");
    fs::create_dir(&folder).unwrap();
    let line = record("k", &format!("\"{}\"", "x".repeat(1 << 20)), TIME);
    fs::write(sandbox.path("plain"), line.repeat(130)).unwrap();
    let packed = folder.join("a.ndjson.zst");
    let plain = sandbox.path("plain");
    Ran::of(sandbox.client().command("zstd").args(["-q", "-19"]).arg(&plain).arg("-o").arg(&packed)).done();
    for path in [&packed, &folder] {
        let words = ["records", "import", path.to_str().unwrap(), "-d", "pages"];
        let ran = sandbox.larder(words).ended(2);
        assert!(ran.stderr.contains("--max-ratio"), "{}", ran.stderr);
        let ran = sandbox.larder(words.iter().chain(&["--max-ratio", "100000", "--json"])).ended(0);
        assert_eq!(counts(&ran)[..3].iter().sum::<u64>(), 130);
        let words = ["records", "validate", path.to_str().unwrap()];
        sandbox.larder(words).refused(2, "--max-ratio");
        sandbox.larder(words.iter().chain(&["--max-ratio", "100000"])).done();
    }
    // Options that another command has are told as its own.
    let mut nested = line.into_bytes();
    for n in 0..5 {
        fs::write(sandbox.path(format!("n{n}")), &nested).unwrap();
        let file = fs::File::open(sandbox.path(format!("n{n}"))).unwrap();
        nested = Ran::of(sandbox.client().command("gzip").stdin(Stdio::from(file))).ended(0).stdout;
    }
    fs::write(sandbox.path("nested"), nested).unwrap();
    let nested = sandbox.path("nested");
    let words = ["records", "import", nested.to_str().unwrap(), "-d", "pages"];
    let ran = sandbox.larder(words).ended(2);
    assert!(
        ran.stderr.contains("--max-nesting") && ran.stderr.contains("an option of `larder import`"),
        "{}",
        ran.stderr
    );
}

/// Zips that the other system has packed, one sealed with a password that is not ASCII, come in as their folders do; the hostile one does not.
#[test]
fn packs_that_the_other_system_made() {
    let sandbox = Sandbox::with_open_store();
    let lines = |dataset: &str| {
        let out = sandbox.larder(["records", "export", dataset, "-o", "-"]).ended(0).stdout;
        let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let import = |from: &Path, dataset: &str, command: &[&str]| {
        let mut larder = sandbox.client().larder(&sandbox.store());
        larder.env("SNAPSHOT_ENCRYPTION_KEY", "clé-ключ-😀").args(command).arg(from).args(["-d", dataset, "--json"]);
        Ran::of(&mut larder)
    };
    let sealed = vectors().join("../sealed/redacted-utf8key.zip.enc");
    for (name, count, pack) in [
        ("nonfinite", 9, vectors().join("packs/nonfinite.zip")),
        ("out-of-order", 11, vectors().join("packs/out-of-order.zip")),
        ("redacted", 19, sealed),
    ] {
        import(&vectors().join("datasets").join(name), name, &["records", "import"]).done();
        let wanted = lines(name);
        for (n, command) in [&["records", "import"][..], &["import"]].into_iter().enumerate() {
            let dataset = format!("{name}{n}");
            let mut told = json(&import(&pack, &dataset, command).ended(0));
            let known = ["inserted", "conflicts", "skipped"].map(|name| told[name].take().as_u64().unwrap());
            assert_eq!(known.iter().sum::<u64>(), count, "{name}: {known:?}");
            assert_eq!(lines(&dataset), wanted, "{name}");
        }
    }
    let evil = vectors().join("packs/evil-zipslip.zip");
    for command in [&["records", "import"][..], &["import"]] {
        let _refused = import(&evil, "evil", command).ended(2);
    }
    sandbox.larder(["records", "count", "evil"]).refused(10, "evil");
}
