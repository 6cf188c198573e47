//! Archives in the layouts of other systems: what they become, what of them is refused, and that the old tools take what is written.
//!
//! `tests/old_tools.py` does what the older systems do with an archive, from their description.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

/// The folder of the older system's archives.
fn given(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/investigations").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the older system sees of an archive or bundle that it takes.
#[track_caller]
fn old_tool(what: &str, path: &Path) -> Value {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_tools.py")).arg(what).arg(path);
    if what == "investigation" {
        command.arg(given("metadata.schema.json"));
    }
    serde_json::from_slice(&Ran::of(&mut command).ended(0).stdout).unwrap()
}

fn unpacked(archive: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    Ran::of(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(into)).done();
}

fn under_gzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&fs::read(path).unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A folder with files, captured as `tree`.
fn captured(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with_open_store();
    write_all(&sandbox.path("source"), files);
    sandbox.snapshot(&sandbox.path("source"), "tree").done();
    sandbox
}

fn write_all(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder).unwrap();
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn export(sandbox: &Sandbox, layout: &str, more: &[&str]) -> Ran {
    sandbox.larder([&["export", "tree", "--layout", layout], more].concat())
}

const FIRST: (&str, &str) = (
    "evidence/001-hypothesis.json",
    r#"{"seq": 1, "kind": "hypothesis", "content": {"text": "schéma 😀", "confidence": 0.80}}"#,
);
const SECOND: (&str, &str) = (
    "evidence/002-query_result.json",
    r#"{"kind": "query_result", "content": {"sql": "SELECT 1", "n": 1400.0}, "sample_rows": [{"a": 1, "b": null}, {"a": 2.5}]}"#,
);
const THIRD: (&str, &str) = ("evidence/last.json", r#"{"content": [], "seq": 12, "kind": "run_summary"}"#);

#[test]
fn an_investigation_goes_out_as_it_came() {
    for name in ["snapshot-inv-json.tar.gz", "snapshot-inv-parquet.tar.gz"] {
        let sandbox = Sandbox::with_open_store();
        unpacked(&given(name), &sandbox.path("source"));
        sandbox.snapshot(&sandbox.path("source"), "tree").done();
        let out = sandbox.path("out.tar.gz");
        export(&sandbox, "investigation", &["-o", text(&out)]).done();
        assert_eq!(old_tool("investigation", &out), old_tool("investigation", &given(name)));
        assert!(under_gzip(&out) == under_gzip(&given(name)), "the tar is the same to the byte");
        let header = |path: &Path| fs::read(path).unwrap()[..30].to_vec();
        assert_eq!(header(&out), header(&given(name)), "so is the header of gzip");
        let inner = format!("tree:{}", name.trim_end_matches(".tar.gz"));
        let piped = sandbox.larder(["export", &inner, "--layout", "investigation", "-o", "-"]).ended(0);
        assert!(piped.stdout == fs::read(&out).unwrap());
    }
}

#[test]
fn a_captured_folder_becomes_an_investigation() {
    let prompts = [("prompts/query.txt", "Generate SQL"), ("lineage.json", "{\"target\": \"orders\"}")];
    let sandbox = captured(&[&[FIRST, SECOND, THIRD], &prompts[..]].concat());
    let [out, again] = ["out.tar.gz", "again.tar.gz"].map(|name| sandbox.path(name));
    let ran = sandbox.larder(["--json", "export", "tree", "--layout", "investigation", "-o", text(&out)]).ended(0);
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let seen = old_tool("investigation", &out);
    assert_eq!(seen["chain"], "valid");
    let metadata = &seen["metadata"];
    assert_eq!((&metadata["investigation_id"], &metadata["status"]), (&"tree".into(), &"unknown".into()));
    assert_eq!((&metadata["evidence_count"], &metadata["max_size_bytes"]), (&3.into(), &104_857_600.into()));
    assert_eq!(metadata["root_hash"], seen["evidence"][2]["content_hash"]);
    assert_eq!(told["layout"]["root_hash"], metadata["root_hash"]);
    assert_eq!(told["layout"]["computed"], true);
    let files = [
        "code_changes.json",
        "evidence/001-hypothesis.json",
        "evidence/002-query_result.json",
        "evidence/002-results.json",
        "evidence/012-run_summary.json",
        "lineage.json",
        "prompts/query.txt",
    ];
    assert_eq!(metadata["files"], files.to_vec().into());
    assert_eq!(seen["evidence"][1]["seq"], 2, "from the name of its file");
    assert_eq!(seen["prompts"]["query"], "Generate SQL");
    let show = sandbox.larder(["--json", "show", "tree"]).ended(0);
    let arrival: Value = serde_json::from_slice(&show.stdout).unwrap();
    let created_at = metadata["created_at"].as_str().unwrap();
    assert_eq!(created_at[..19], arrival["arrival"].as_str().unwrap()[..19], "the snapshot's time, not the export's");
    export(&sandbox, "investigation", &["-o", text(&again)]).done();
    assert!(fs::read(&out).unwrap() == fs::read(&again).unwrap());
    // As numbers are written, so they stay.
    let plain = String::from_utf8_lossy(&under_gzip(&out)).into_owned();
    assert!(plain.contains("\"confidence\": 0.80\n") && plain.contains("sch\\u00e9ma \\ud83d\\ude00"));
}

#[test]
fn a_chain_that_is_there_is_checked_and_not_changed() {
    let inner = "source/snapshot-inv-json/";
    let change = |name: &str, from: &str, to: &str| {
        let sandbox = Sandbox::with_open_store();
        unpacked(&given("snapshot-inv-json.tar.gz"), &sandbox.path("source"));
        let path = sandbox.path(format!("{inner}{name}"));
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from));
        fs::write(path, before.replace(from, to)).unwrap();
        sandbox.snapshot(&sandbox.path("source"), "tree").done();
        let ran = export(&sandbox, "investigation", &["-o", "out.tar.gz"]);
        assert!(!sandbox.client().home().join("out.tar.gz").exists());
        ran
    };
    let content = change("evidence/005-lineage_trace.json", "customers", "somebody");
    content.refused(13, "chain of evidence breaks at number 5");
    change("evidence/006-schema_snapshot.json", "\"prev_hash\": \"4d", "\"prev_hash\": \"5d").refused(13, "prev_hash");
    change("evidence/002-results.json", "foo", "bar").refused(13, "rows");
    change("metadata.json", "\"evidence_count\": 8", "\"evidence_count\": 9").refused(13, "evidence_count");
    change("metadata.json", "\"root_hash\": \"27", "\"root_hash\": \"28").refused(13, "root_hash");
    change("metadata.json", "    \"lineage.json\",\n", "").refused(13, "lineage.json");
    change("metadata.json", "\"1.0\"", "\"2.0\"").refused(14, "supported is 1.0");
    // Without metadata the chain is still checked, and what is made of it is the same.
    let sandbox = Sandbox::with_open_store();
    unpacked(&given("snapshot-inv-json.tar.gz"), &sandbox.path("source"));
    fs::remove_file(sandbox.path(format!("{inner}metadata.json"))).unwrap();
    sandbox.snapshot(&sandbox.path("source"), "tree").done();
    let out = sandbox.path("out.tar.gz");
    export(&sandbox, "investigation", &["-o", text(&out)]).done();
    let (ours, old) = (old_tool("investigation", &out), old_tool("investigation", &given("snapshot-inv-json.tar.gz")));
    assert_eq!(
        (&ours["evidence"], &ours["prompts"], &ours["lineage"]),
        (&old["evidence"], &old["prompts"], &old["lineage"])
    );
    for name in ["root_hash", "evidence_count", "files", "chain_metadata"] {
        assert_eq!(ours["metadata"][name], old["metadata"][name], "{name}");
    }
}

#[test]
fn what_is_not_laid_out_like_an_investigation_is_told() {
    let refused = |files: &[(&str, &str)], status: i32, word: &str| {
        export(&captured(files), "investigation", &["-o", "out.tar.gz"]).refused(status, word);
    };
    refused(&[("a.txt", "")], 2, "not laid out like an investigation archive");
    refused(&[FIRST, ("notes.txt", "")], 2, "notes.txt has no place");
    refused(&[FIRST, ("prompts/other.txt", "")], 2, "prompts/other.txt has no place");
    refused(&[FIRST, ("evidence/001-a..b.json", "{\"seq\": 2}")], 2, "two dots");
    refused(&[FIRST, ("evidence/zmetadata.json", "{\"seq\": 2}")], 2, "take it for metadata.json");
    refused(&[FIRST, ("evidence/001-other.json", "{\"content\": 1}")], 2, "has its number 1 too");
    refused(&[FIRST, ("evidence/002-x.json", "{\"content_hash\": \"ab\"}")], 13, "content_hash");
    refused(&[FIRST, ("evidence/002-x.json", "{\"prev_hash\": \"ab\"}")], 2, "prev_hash");
    refused(&[("evidence/001-x.json", "{\"content\": 12345678901234567890}")], 2, "beyond");
    refused(&[("evidence/001-x.json", "[1]")], 2, "no object");
    refused(&[FIRST, ("evidence/003-results.json", "[{\"a\": 1}]")], 2, "no place");
    refused(&[FIRST, ("metadata.json", "{\"status\": \"x\"}")], 13, "investigation_id is missing");
}

#[test]
fn no_more_than_the_older_system_takes() {
    let sandbox = captured(&[FIRST]);
    let out = sandbox.path("out.tar.gz");
    let ran = export(&sandbox, "investigation", &["-o", text(&out), "--max-size", "100"]);
    ran.refused(1, "(100 bytes) are allowed");
    assert!(!out.exists());
    export(&sandbox, "investigation", &["-o", text(&out), "--max-size", "100K"]).done();
    assert_eq!(old_tool("investigation", &out)["metadata"]["max_size_bytes"], 102_400);
    export(&sandbox, "investigation", &["-o", "x.zip"]).refused(2, "tar.gz");
    export(&sandbox, "investigation", &["-o", "x", "--format", "tar"]).refused(2, "tar.gz");
}

#[test]
fn a_captured_folder_becomes_a_bundle() {
    let plans = [("scenario_plans/s1.json", "{\n  \"name\": \"base\"\n}\n"), ("scenario_plans/s2.json", "{}\n")];
    let sandbox = captured(&plans);
    let folder = sandbox.path("bundle");
    export(&sandbox, "bundle", &["-o", text(&folder), "--format", "dir"]).done();
    let inner = folder.join("tree");
    let seen = old_tool("bundle", &inner);
    assert_eq!(seen["manifest"]["workspace"]["workspace_id"], "tree");
    let plan = serde_json::json!({"file": "scenario_plans/s1.json", "name": "base", "scenario_id": "s1"});
    assert_eq!(seen["manifest"]["scenario_plans"][0], plan);
    Ran::of(Command::new("sha256sum").args(["-c", "--strict", "checksums.sha256"]).current_dir(&inner)).done();
    for name in ["b.tar", "b.tar.gz", "b.tar.zst", "b.zip"] {
        let file = sandbox.path(name);
        export(&sandbox, "bundle", &["-o", text(&file), "--accept-loss"]).done();
        let there = sandbox.path(format!("{name}.d"));
        if name == "b.zip" {
            Ran::of(Command::new("unzip").arg("-q").arg(&file).arg("-d").arg(&there)).done();
        } else {
            unpacked(&file, &there);
        }
        assert_eq!(old_tool("bundle", &there.join("tree")), seen, "{name}");
    }
    // What is whole goes out as it is; what was changed does not.
    sandbox.snapshot(&folder, "tree").done();
    let second = sandbox.path("second");
    export(&sandbox, "bundle", &["-o", text(&second), "--format", "dir"]).done();
    Ran::of(Command::new("diff").arg("-r").arg(&folder).arg(&second)).done();
    fs::write(inner.join("scenario_plans/s2.json"), "{ }\n").unwrap();
    sandbox.snapshot(&folder, "tree").done();
    export(&sandbox, "bundle", &["-o", "x.tar"]).refused(13, "SHA-256");
    fs::write(inner.join("checksums.sha256"), "").unwrap();
    sandbox.snapshot(&folder, "tree").done();
    export(&sandbox, "bundle", &["-o", "x.tar"]).refused(13, "empty");
    let none = captured(&[("a", "")]);
    export(&none, "bundle", &["-o", "x.tar"]).refused(2, "not laid out like an export bundle");
}
