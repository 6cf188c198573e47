//! Folders of records: what is taken of them, and what is left out is told.

use std::fs;

use serde_json::{Value, json};

use crate::record_sets::record;
use crate::sandbox::Sandbox;

const TIME: &str = "2024-01-01T00:00:00+00:00";

#[test]
fn files_are_taken_by_what_they_hold_and_others_told() {
    let sandbox = Sandbox::with_open_store();
    let folder = sandbox.path("folder");
    fs::create_dir_all(folder.join("deep")).unwrap();
    let line = |n: u64| record(&format!("k{n}"), &n.to_string(), TIME);
    for (n, (name, text)) in [
        ("a.nd", line(1)),
        ("b.txt", line(2).replace('\n', "\r\n")),
        ("noext", format!("[{}]", line(3))),
        ("x.ndjson", format!("\u{feff}{}", line(4))),
        ("deep/y", format!("\n{}", line(5))),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(folder.join(name), text).unwrap();
        let file = folder.join(name);
        sandbox.larder(["records", "import", file.to_str().unwrap(), "-d", &format!("d{n}")]).done();
    }
    fs::write(folder.join("README.md"), "Records of the wiki.\n").unwrap();
    fs::write(folder.join("deep/log"), "[2024-01-01] fetched\n").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("link.ndjson")).unwrap();
    let from = folder.to_str().unwrap();
    let names = ["README.md", "deep/log", "empty", "link.ndjson"];

    let told = sandbox.larder(["records", "validate", from]).ended(0);
    assert_eq!(String::from_utf8_lossy(&told.stdout), "5 records: 5 valid, 0 invalid\n");
    assert!(names.iter().all(|name| told.stderr.contains(&format!("{name} is left out"))), "{}", told.stderr);
    assert_eq!(sandbox.larder(["records", "validate", from, "--json"]).json()["left_out"], 4);

    let ran = sandbox.larder(["records", "import", from, "-d", "all", "--json", "--details"]).ended(0);
    assert!(names.iter().all(|name| ran.stderr.contains(&format!("{name} is left out"))), "{}", ran.stderr);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&report["inserted"], &report["invalid"], &report["left_out"]), (&json!(5), &json!(0), &json!(4)));
    let told: Vec<_> = report["left_out_files"].as_array().unwrap().iter().map(|file| &file["file"]).collect();
    assert_eq!(told, names);

    // Of a pack nothing is left out.
    let pack = sandbox.path("pack");
    let pack = pack.to_str().unwrap();
    sandbox.larder(["records", "export", "all", "--format", "pack", "-o", pack]).done();
    let ran = sandbox.larder(["records", "import", pack, "-d", "all"]).ended(0);
    assert!(!ran.stderr.contains("left out"), "{}", ran.stderr);

    // Many are counted.
    for n in 0..30 {
        fs::write(folder.join(format!("note{n}")), "no").unwrap();
    }
    let ran = sandbox.larder(["records", "import", from, "-d", "all", "-n"]).ended(0);
    assert!(ran.stderr.contains("… and 14 more files are left out"), "{}", ran.stderr);
    // What describes the records is none.
    let manifest = sandbox.larder(["cat", "all:manifest.json"]).ended(0).stdout;
    fs::write(folder.join("manifest.json"), manifest).unwrap();
    let told = sandbox.larder(["records", "validate", from]).ended(0);
    assert_eq!(String::from_utf8_lossy(&told.stdout), "5 records: 5 valid, 0 invalid\n");
    assert!(!told.stderr.contains("manifest.json"), "{}", told.stderr);
}
