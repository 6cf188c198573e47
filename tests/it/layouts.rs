//! Archives in the layouts of other systems: what they become, what of them is refused, and that the old tools take what is written.
//!
//! `tests/old_tools.py` does what the older systems do with an archive, from their description.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::by_hand::{storeless, text};
use crate::sandbox::{Ran, Sandbox};

/// The folder of the older system's archives.
fn given(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/investigations").join(name)
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

/// Changes a folder.
type Change = fn(&Path);

/// Who looks at an archive of another system, and checks it.
const VERBS: [&str; 2] = ["verify", "import"];

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
    let prompts = [("prompts/query.txt", "Generate SQL"), ("lineage.json", "{\n  \"target\": \"orders\"\n}")];
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
    assert_eq!(metadata["files"], serde_json::json!(files));
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
    refused(&[FIRST, ("metadata.json", "{\"status\": \"x\"}")], 13, "investigation_id and evidence_count are missing");
}

/// What stands beside it tells that it is meant to be one, whatever the folder around it is called.
#[test]
fn metadata_that_say_nothing_are_a_finding() {
    let sandbox = Sandbox::with_open_store();
    let folder = sandbox.path("inner/case");
    fs::create_dir_all(&folder).unwrap();
    for name in ["metadata.json", "lineage.json", "code_changes.json"] {
        fs::write(folder.join(name), "{}").unwrap();
    }
    let pack = sandbox.path("p.tar.gz");
    Ran::of(Command::new("tar").arg("-czf").arg(&pack).arg("-C").arg(sandbox.path("inner")).arg("case")).done();
    let missing = "investigation_id, status and evidence_count are missing";
    let ran = storeless(&sandbox, &["verify", "--json", text(&pack)]).ended(13);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&report["layout"], &report["damaged"]), (&"investigation".into(), &true.into()), "{report}");
    assert!(report["findings"][0]["why"].as_str().unwrap().contains(missing), "{report}");
    sandbox.larder(["import", text(&pack)]).refused(13, missing);
    storeless(&sandbox, &["unpack", text(&pack), text(&sandbox.path("out"))]).refused(13, missing);
    storeless(&sandbox, &["verify", text(&pack), "--layout", "none"]).done();
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

/// What becomes of each archive that is hostile or broken, and why. Nothing is imported of what is refused.
#[test]
fn each_hostile_archive_is_refused_for_its_reason_or_harmless() {
    let refused = [
        ("absolute", 2, "absolute"),
        ("bitflip", 13, ""),
        ("dotdot-in-filename", 13, "does not list it"),
        ("evidence-array", 13, "no object"),
        ("evidence-results-name", 13, "does not list it"),
        ("fifo", 13, "a pipe has no place"),
        ("gzip-bomb-200MB", 2, "--max-ratio"),
        ("hardlink", 13, "hard link"),
        ("metadata-missing-field", 13, "investigation_id is missing"),
        ("metadata-not-json", 13, "a name in quotes is due"),
        ("metadata-string-count", 13, "evidence_count is 7"),
        ("schema-99", 14, "supported is 1.0"),
        ("schema-number", 14, "supported is 1.0"),
        ("traversal-inner", 2, ".."),
        ("truncated", 13, "ends"),
    ];
    // An empty investigation with a member that later versions may have; one that is no gzip; a tar with one file.
    let harmless = ["metadata-extra-field", "plain-tar-not-gzip", "no-metadata"];
    let sandbox = Sandbox::with_open_store();
    let archive = |name: &str| given(&format!("malicious/{name}.tar.gz"));
    let out = sandbox.path("out");
    for (name, status, word) in refused {
        for verb in VERBS {
            let ran = sandbox.larder([verb.as_ref(), archive(name).as_os_str()]);
            let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
            assert!(ran.status == status && told.contains(word), "{verb} {name}: {} {told}", ran.status);
        }
        // Without a store no more is taken.
        let ran = storeless(&sandbox, &["unpack", text(&archive(name)), text(&out)]);
        assert!(ran.status == status && ran.stderr.contains(word), "unpack {name}: {} {}", ran.status, ran.stderr);
        assert!(!out.exists(), "{name}");
    }
    let listed = sandbox.larder(["--json", "list"]).ended(0);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("sequence"), "nothing was imported");
    for name in harmless {
        for verb in VERBS {
            sandbox.larder([verb.as_ref(), archive(name).as_os_str()]).done();
        }
        storeless(&sandbox, &["unpack", text(&archive(name)), text(&sandbox.path(name))]).done();
    }
    let all: Vec<_> = fs::read_dir(given("malicious")).unwrap().collect();
    assert_eq!(all.len(), refused.len() + harmless.len(), "each has its line");
    sandbox
        .larder(["import".as_ref(), archive("no-metadata").as_os_str(), "--layout=investigation".as_ref()])
        .refused(2, "no metadata.json");
    sandbox.larder(["import".as_ref(), archive("schema-99").as_os_str(), "--layout=none".as_ref()]).done();
    storeless(&sandbox, &["unpack", text(&archive("schema-99")), text(&out), "--layout=none"]).done();
}

#[test]
fn an_imported_investigation_is_a_replay_and_goes_out_as_it_came() {
    let sandbox = Sandbox::with_open_store();
    for name in ["json", "parquet"] {
        let archive = given(&format!("snapshot-inv-{name}.tar.gz"));
        sandbox.larder(["import".as_ref(), archive.as_os_str(), "--dataset".as_ref(), name.as_ref()]).done();
        let ran = sandbox.larder(["--json", "show", name]).ended(0);
        let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let label = |key: &str| shown["labels"][key].as_str().unwrap_or_default().to_owned();
        assert_eq!((label("replay"), label("layout")), ("true".to_owned(), "investigation".to_owned()), "{shown}");
        assert_eq!(label("original-id"), format!("inv-{name}"));
        assert_eq!((label("original-status"), &label("root-hash")[..4]), ("complete".to_owned(), "272f"));
        assert!(label("original-created-at").starts_with("2026-11-21T00:17:17.9"));
        let out = sandbox.path("out.tar.gz");
        sandbox.larder(["export", name, "--layout", "investigation", "-o", text(&out)]).done();
        assert!(under_gzip(&out) == under_gzip(&archive), "the tar is the same to the byte");
        sandbox.larder(["verify", text(&out)]).done();
        assert_eq!(old_tool("investigation", &out), old_tool("investigation", &archive));
    }
}

#[test]
fn a_bundle_is_imported_with_its_references() {
    let sandbox = captured(&[("scenario_plans/s1.json", "{}\n")]);
    let [folder, tar] = ["bundle", "b.tar"].map(|name| sandbox.path(name));
    let bundle = |runs: &str, unresolved: &str| {
        let _ = fs::remove_dir_all(&folder);
        write_all(&folder.join("w1"), &[("scenario_plans/s1.json", "{}\n")]);
        let manifest = format!(
            r#"{{"bundle_format_version": 1, "exported_at": "2026-01-01T00:00:00.000001+00:00", "files": [{{"path": "scenario_plans/s1.json", "size_bytes": 3}}],
            "model_runs": [{runs}], "scenario_plans": [], "unresolved_references": [{unresolved}], "workspace": {{"workspace_id": "w1", "status": "completed"}}}}"#
        );
        fs::write(folder.join("w1/manifest.json"), manifest).unwrap();
        let sums = Ran::of(
            Command::new("sha256sum").args(["manifest.json", "scenario_plans/s1.json"]).current_dir(folder.join("w1")),
        );
        fs::write(folder.join("w1/checksums.sha256"), sums.ended(0).stdout).unwrap();
        Ran::of(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&folder).arg("w1")).done();
    };
    let hash = "a".repeat(64);
    let run = format!(
        r#"{{"key": "winning_run_id", "artifact_uri": "s3://m/1", "artifact_hash": "{hash}", "artifact_verified": true, "metrics": {{"x": NaN}}}}"#
    );
    bundle(&run, r#"{"key": "v2_run_id", "ref_id": "r2", "reason": "HTTP 404"}"#);
    sandbox.larder(["verify", text(&tar)]).done();
    sandbox.larder(["verify", text(&folder.join("w1")), "--layout", "bundle"]).done();
    let ran = sandbox.larder(["import", text(&tar), "--dataset", "b"]).ended(0);
    assert!(ran.stderr.contains("unresolved reference: v2_run_id r2: HTTP 404"), "{}", ran.stderr);
    let ran = sandbox.larder(["--json", "show", "b"]).ended(0);
    let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let reference = &shown["references"][0];
    assert_eq!((&reference["uri"], &reference["verified"]), (&"s3://m/1".into(), &true.into()), "{shown}");
    assert_eq!(reference["hash"], format!("sha256={hash}"));
    let changes: [(Change, &str); 6] = [
        (|at| fs::write(at.join("checksums.sha256"), "").unwrap(), "empty"),
        (|at| fs::write(at.join("extra"), "").unwrap(), "does not list it"),
        (|at| fs::remove_file(at.join("scenario_plans/s1.json")).unwrap(), "not there"),
        (|at| fs::write(at.join("scenario_plans/s1.json"), "{ }").unwrap(), "SHA-256"),
        (|at| fs::write(at.join("checksums.sha256"), format!("{}  ../x\n", "0".repeat(64))).unwrap(), "leads out"),
        (|at| fs::remove_file(at.join("manifest.json")).unwrap(), "not there"),
    ];
    for (change, word) in changes {
        bundle(&run, "");
        change(&folder.join("w1"));
        Ran::of(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&folder).arg("w1")).done();
        for verb in VERBS {
            let ran = sandbox.larder([verb, text(&tar)]).ended(13);
            let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
            assert!(told.contains(word), "{verb}, {word}: {told}");
        }
    }
}
