//! Datasets as other programs see them: the older system's reader, grep, rsync, readers of CSV.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::mounting::Mounted;
use crate::record_sets::{counts, import, json, record, vectors};
use crate::sandbox::{Ran, Sandbox, compare, model};

/// Its own reader's words for where a pack is.
const KEY: &str = "clé-ключ-😀";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the older system sees of a pack (`tests/old_records.py`).
#[track_caller]
fn old_system(sandbox: &Sandbox, words: &[&Path]) -> Value {
    let python = std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = sandbox.client().command(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/old_records.py")).env("SNAPSHOT_ENCRYPTION_KEY", KEY);
    Ran::of(command.args(words)).json()
}

/// Runs the CLI with the password of a zip.enc at hand.
fn with_key(sandbox: &Sandbox, words: &[&str]) -> Ran {
    Ran::of(sandbox.client().larder(&sandbox.store()).env("SNAPSHOT_ENCRYPTION_KEY", KEY).args(words))
}

fn found(sandbox: &Sandbox, dataset: &str) -> Vec<String> {
    let found = sandbox.larder(["records", "find", dataset, "--json"]).lines();
    let hashes: BTreeSet<_> =
        found.iter().map(|record| record["content_sha256"].as_str().unwrap().to_owned()).collect();
    hashes.into_iter().collect()
}

/// Keys and texts that programs stumble over, versions, sightings, records without a key.
fn awkward() -> String {
    let mut lines = String::new();
    for (n, key) in ["a/b", "é", "e\u{301}", "\u{212b}", "x,\\\"y\\\"\\n", "\u{2028}\u{85}", "..", "%", "日本|語"]
        .iter()
        .enumerate()
    {
        let time = format!("2024-0{}-29T23:59:59.999999+14:00", n % 8 + 1);
        lines.push_str(&record(
            key,
            &format!("{{\"n\": {n}, \"t\": \"\\u0001{key}\", \"f\": [1e400, -0.0, 1.10]}}"),
            &time,
        ));
    }
    lines.push_str(&record("a/b", "2", "2025-01-01T00:00:00Z"));
    lines.push_str(&record("a/b", "2", "2025-01-02T00:00:00Z"));
    lines.push_str(&record("", "3", "2025-01-02").replace("\"natural_key\": \"\"", "\"natural_key\": null"));
    lines.push_str(&record("none", "4", "").replace("\"observed_at_utc\": \"\"", "\"observed_at_utc\": null"));
    lines
}

/// Mounted, as a folder, a zip and a zip.enc a snapshot is a pack to the system that the form comes from, views in it or not; its hashes are those that it computes.
#[test]
fn the_older_system_reads_mounts_and_exports() {
    let sandbox = Sandbox::with_store();
    for name in ["out-of-order", "nonfinite", "redacted"] {
        let pack = vectors().join("datasets").join(name);
        sandbox.larder(["records", "import", text(&pack), "-d", name]).done();
    }
    sandbox
        .larder([
            "records",
            "init",
            "awkward",
            "--source",
            "wiki",
            "--entity",
            "page",
            "--chunk-size",
            "3",
            "--conflict",
            "prefer_existing",
            "--description",
            "é\n",
        ])
        .done();
    fs::write(sandbox.path("awkward.ndjson"), awkward()).unwrap();
    let ran = sandbox.larder(["records", "import", text(&sandbox.path("awkward.ndjson")), "-d", "awkward", "--json"]);
    assert_eq!(counts(&ran.ended(0)), [11, 0, 1, 1, 0, 0]);
    sandbox.larder(["records", "init", "empty", "--source", "wiki", "--entity", "page"]).done();
    for dataset in ["out-of-order", "nonfinite", "redacted", "awkward", "empty"] {
        let hashes = found(&sandbox, dataset);
        assert_eq!(hashes.is_empty(), dataset == "empty");
        let mounted = Mounted::new(&sandbox, &format!("mnt-{dataset}"), &["--snapshot", dataset]);
        let seen = old_system(&sandbox, &["read".as_ref(), &mounted.point]);
        mounted.end();
        assert_eq!((&seen["name"], &seen["hashes"]), (&dataset.into(), &hashes.into()), "{dataset}");
        let at = |name: &str| sandbox.path(format!("{dataset}-{name}"));
        for views in [&[][..], &["--with-views"]] {
            let suffix = if views.is_empty() { "" } else { "-views" };
            let [folder, zip, sealed] =
                ["folder", "pack.zip", "pack.zip.enc"].map(|name| at(&format!("{suffix}{name}")));
            let export = |to: &Path| {
                let words = ["records", "export", dataset, "--format", "pack", "-o", text(to)];
                with_key(&sandbox, &[&words, views].concat()).done();
            };
            export(&folder);
            assert_eq!(old_system(&sandbox, &["read".as_ref(), &folder]), seen, "{dataset}");
            assert_eq!(folder.join("by-key").exists(), !views.is_empty() && dataset != "empty");
            for pack in [&zip, &sealed] {
                export(pack);
                let out = pack.with_extension("out");
                assert_eq!(old_system(&sandbox, &["unpack".as_ref(), pack, &out]), seen, "{}", pack.display());
                assert_eq!(out.join("by-key").exists(), !views.is_empty() && dataset != "empty");
                // What stands in views is no further record.
                let other = format!("{dataset}-again{suffix}");
                let ran = with_key(&sandbox, &["import", text(pack), "-d", &other, "--json"]).ended(0);
                assert_eq!(counts(&ran)[5], 0);
                assert_eq!(found(&sandbox, &other), found(&sandbox, dataset));
            }
        }
    }
    sandbox.larder(["export", "awkward", "-o", text(&sandbox.path("x.tar")), "--with-views"]).refused(2, "--bare");
    // A view that is named is wanted.
    for (n, word) in ["dir", "tar"].iter().enumerate() {
        let to = sandbox.path(format!("view{n}"));
        sandbox
            .larder(["export", "awkward:by-key", "--bare", "--accept-loss", "--format", word, "-o", text(&to)])
            .done();
        assert!(fs::metadata(&to).unwrap().len() > 0);
    }
    assert!(sandbox.path("view0/by-key/wiki/page/é.json").is_file());
    let words =
        ["records", "export", "awkward", "-o", text(&sandbox.path("x.ndjson")), "--with-views"].map(str::to_owned);
    sandbox.larder(words).refused(2, "pack");
}

/// A mounted dataset is copied by rsync as a restore writes it, and grep finds in it what stands there, each line where it is.
#[test]
fn a_mounted_dataset_is_searched_and_copied() {
    let sandbox = Sandbox::with_store();
    let many: String = (0..3000)
        .map(|n| record(&format!("key {n}"), &format!("{{\"n\": \"needle {n}.\"}}"), "2024-01-01T00:00:00Z"))
        .collect();
    import(&sandbox, &many, &[]).done();
    import(&sandbox, &awkward(), &[]).done();
    let mounted = Mounted::new(&sandbox, "mnt", &["--snapshot", "pages"]);
    let at = |name: &str| mounted.point.join(name);
    let lines = |words: &[&str]| {
        let out = Ran::of(sandbox.client().command(words[0]).args(&words[1..])).ended(0).stdout;
        let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let view = at("by-key/wiki/page/key 77.json");
    assert_eq!(lines(&["grep", "-rlF", "needle 77.", text(&at("by-key"))]), [text(&view)]);
    let all = lines(&["grep", "-rhF", "needle", text(&at("records"))]);
    assert_eq!(all.len(), 3000);
    assert_eq!(lines(&["grep", "-rhF", "needle", text(&at("by-key"))]), all);
    assert_eq!(fs::read_dir(at("by-key/wiki/page")).unwrap().count(), 3000 + 9 + 1 + 1);
    let (copied, restored) = (sandbox.path("copied"), sandbox.path("restored"));
    // Times to the nanosecond: folders made within the second of the capture differ in less.
    Ran::of(sandbox.client().command("rsync").args([
        "-a",
        "-@-1",
        &format!("{}/", text(&mounted.point)),
        text(&copied),
    ]))
    .done();
    sandbox.larder(["restore", "pages", text(&restored), "--with-views", "--verify"]).done();
    compare(&model(&mounted.point), &model(&copied)).unwrap();
    compare(&model(&restored), &model(&copied)).unwrap();
    // Copied once more it is all there: by checksum nothing differs.
    let again = ["-anc", "--delete", "--itemize-changes", &format!("{}/", text(&mounted.point)), text(&copied)];
    let told = Ran::of(sandbox.client().command("rsync").args(again)).ended(0);
    assert!(told.stdout.is_empty(), "{}", String::from_utf8_lossy(&told.stdout));
    mounted.end();
}

/// A table reads as its cells are: whatever stands in them.
#[test]
fn tables_are_read_by_python() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &awkward(), &[]).done();
    let deep = record("deep", &format!("{}7{}", "[".repeat(2000), "]".repeat(2000)), "2024-01-01T00:00:00Z");
    import(&sandbox, &deep, &["--max-depth", "3000"]).done();
    let csv = sandbox.path("pages.csv");
    let fields =
        ["natural_key", "content_sha256", "t=$.response.t", "r=$.response"].map(|field| format!("--field={field}"));
    sandbox.larder(["records", "export", "pages", "-o", text(&csv)].map(str::to_owned).iter().chain(&fields)).done();
    let script = "import csv, json, sys\ncsv.field_size_limit(1 << 30)\nrows = list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))\nprint(json.dumps(rows))";
    let rows = Ran::of(sandbox.client().command("python3").args(["-c", script, text(&csv)])).json();
    let stored = sandbox.larder(["records", "find", "pages", "--json"]).lines();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), stored.len());
    for (row, record) in rows.iter().zip(&stored) {
        assert_eq!(row["natural_key"].as_str().unwrap(), record["natural_key"].as_str().unwrap_or_default());
        assert_eq!(row["content_sha256"], record["content_sha256"]);
    }
    let of = |key: &str| rows.iter().find(|row| row["natural_key"] == key).unwrap();
    assert_eq!(of("x,\"y\"\n")["t"], "\u{1}x,\"y\"\n");
    assert_eq!(of("é")["r"], "{\"n\": 1, \"t\": \"\\u0001é\", \"f\": [1e400, -0.0, 1.10]}");
    assert_eq!(of("deep")["r"].as_str().unwrap().len(), 4001);
    // What is as deep is found too.
    let path = format!("--path=$.response{}=7", "[0]".repeat(2000));
    let found = sandbox.larder(["records", "find", "pages", "--json", &path]).lines();
    assert_eq!(found.len(), 1);
    assert_eq!(
        json(&sandbox.larder(["records", "find", "pages", "--json", "--path=$.response[*][0][0]"]).ended(0))["natural_key"],
        "deep"
    );
}
