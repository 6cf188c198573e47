//! Record datasets in other forms: packs in archives, tables, mounts; and texts that are no records.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::record_sets::{counts, get, import, json, record, vectors};
use crate::sandbox::{Ran, Sandbox};

/// A pack comes in from a folder, a zip and a sealed zip, and by `larder import`; the zip that is written is the folder's.
#[test]
fn packs_in_archives() {
    let sandbox = Sandbox::with_store();
    let pack = vectors().join("datasets/out-of-order");
    let folder = pack.to_str().unwrap();
    sandbox.larder(["records", "import", folder, "--dataset", "pages"]).done();
    let zip = sandbox.path("pages.zip");
    let zip = zip.to_str().unwrap();
    sandbox.larder(["records", "export", "pages", "-o", zip]).done();
    let lines = |dataset: &str| {
        let out = sandbox.larder(["records", "export", dataset, "-o", "-"]).ended(0).stdout;
        let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let wanted = lines("pages");
    assert!(wanted.len() > 5);
    sandbox.larder(["records", "import", zip, "--dataset", "zipped"]).done();
    sandbox.larder(["import", zip, "--dataset", "imported"]).done();
    sandbox.larder(["import", folder, "--dataset", "folder"]).done();
    for dataset in ["zipped", "imported", "folder"] {
        assert_eq!(lines(dataset), wanted, "{dataset}");
    }
    let (sealed, key) = (sandbox.path("pages.zip.enc"), sandbox.path("key"));
    let (sealed, key) = (sealed.to_str().unwrap(), key.to_str().unwrap());
    fs::write(key, "geheim").unwrap();
    let export = ["export", "pages", "--bare", "--accept-loss", "--format", "zip.enc", "--key-file", key, "-o", sealed];
    sandbox.larder(export).done();
    sandbox.larder(["import", sealed, "--dataset", "sealed", "--key-file", key]).done();
    assert_eq!(lines("sealed"), wanted);
    // A pack of Larder's has the dataset in it: imported it is the same tree, and as records it is the dataset again.
    for name in ["whole.tar.zst", "whole.zip"] {
        let whole = sandbox.path(name);
        let whole = whole.to_str().unwrap();
        sandbox.larder(["export", "pages", "--accept-loss", "-o", whole]).done();
        sandbox.larder(["records", "import", whole, "--dataset", name]).done();
        assert_eq!(lines(name), wanted, "{name}");
        let tree = format!("tree-{name}");
        sandbox.larder(["import", whole, "--dataset", &tree]).done();
        sandbox.larder(["records", "count", &tree]).refused(10, "no record dataset");
    }
    // The manifest may stand behind however many files, as the other system's programs put them.
    let late = sandbox.path("late.zip");
    let script = "import sys, zipfile\nold, new = zipfile.ZipFile(sys.argv[1]), zipfile.ZipFile(sys.argv[2], 'w')\n\
                  for n in range(200): new.writestr(f'records/2024/2024-01-01/chunk-{n + 100:04}.ndjson', '\\n')\n\
                  for i in sorted(old.infolist(), key=lambda i: i.filename == 'manifest.json'): new.writestr(i, old.read(i))\nnew.close()";
    Ran::of(sandbox.client().command("python3").args(["-c", script, zip]).arg(&late)).done();
    sandbox.larder(["import", late.to_str().unwrap(), "--dataset", "late"]).done();
    assert_eq!(lines("late"), wanted);
    // A folder like any other, if that is wanted.
    sandbox.larder(["import", zip, "--dataset", "plain", "--layout", "none"]).done();
    sandbox.larder(["records", "count", "plain"]).refused(10, "no record dataset");
}

#[test]
fn tables_have_what_is_asked_for() {
    let sandbox = Sandbox::with_store();
    let lines = [
        record("a,\\\"b", "{\"t\": \"x\", \"n\": 12345678901234567890}", "2024-01-01T00:00:00Z")
            .replace("id-a,\\\"b", "id"),
        record("c", "[1]", "2024-02-01T00:00:00Z"),
    ];
    import(&sandbox, &lines.concat(), &[]).done();
    let fields = ["--field", "natural_key", "--field", "n=$.response.n", "--field", "r=$.response[0]"];
    let csv = ["records", "export", "pages", "--format", "csv", "-o", "-"];
    let out = String::from_utf8(sandbox.larder(csv.iter().chain(&fields)).ended(0).stdout).unwrap();
    assert_eq!(out, "natural_key,n,r\r\n\"a,\"\"b\",12345678901234567890,\r\nc,,1\r\n");
    let list = ["records", "export", "pages", "--format", "json", "-o", "-", "--since", "2024-01-15"];
    let list = json(&sandbox.larder(list).ended(0));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["natural_key"]), (1, &"c".into()));
    let table = sandbox.path("pages.parquet");
    sandbox.larder(["records", "export", "pages", "-o", table.to_str().unwrap()]).done();
    let bytes = fs::read(table).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

/// A mounted snapshot is the pack, and the view shows each key's current version.
#[test]
fn a_mounted_dataset_is_a_pack() {
    let sandbox = Sandbox::with_store();
    let lines = [
        record("a/b", "1", "2024-01-01T00:00:00Z"),
        record(".c", "2", "2024-01-02T00:00:00Z").replace("\"natural_key\": \".c\"", "\"natural_key\": null"),
        record("a/b", "3", "2024-01-03T00:00:00Z"),
    ];
    import(&sandbox, &lines.concat(), &[]).done();
    let mount = sandbox.path("mnt");
    fs::create_dir(&mount).unwrap();
    sandbox.larder(["mount", "-b", "--snapshot", "pages", mount.to_str().unwrap()]).done();
    let entity = mount.join("by-key/wiki/page");
    let read = |path: &std::path::Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    assert_eq!(read(&entity.join("a%2Fb.json"))["response"], 3);
    let keyless = fs::read_dir(entity.join(".by-hash")).unwrap().next().unwrap().unwrap().path();
    assert_eq!((&read(&keyless)["response"], &read(&keyless)["natural_key"]), (&2.into(), &Value::Null));
    let index = fs::read_to_string(mount.join("index.jsonl")).unwrap();
    let files = fs::read_to_string(mount.join("records/2024/2024-01-01/chunk-0001.ndjson")).unwrap();
    assert_eq!((index.lines().count(), files.lines().count()), (3, 3));
    sandbox.larder(["unmount", mount.to_str().unwrap()]).done();
}

/// Deep, long, broken and hostile texts are told, and harm nothing.
#[test]
fn hostile_lines() {
    let sandbox = Sandbox::with_store();
    let time = "2024-01-01T00:00:00Z";
    let deep = |n: usize| record("deep", &format!("{}{}", "[".repeat(n), "]".repeat(n)), time);
    let long = record("long", &format!("\"{}\"", "x".repeat(17 << 20)), time);
    let other = format!("\"content_sha256\": \"{}\", \"response\"", "0".repeat(64));
    let other_hash = record("h", "1", time).replace("\"response\"", &other);
    let half = record("half", "\"\\ud800\"", time);
    let text = [&deep(900)[..], &deep(5000), &long, &other_hash, &half, "\u{1}\n", "{\"a\": 1, \"a\": 2}\n", "null\n"]
        .concat();
    let ran = import(&sandbox, &text, &[]).ended(3);
    assert_eq!(counts(&ran), [1, 0, 0, 0, 0, 7], "{}", ran.stderr);
    // Names that no folder could hold, control characters, marks of the packing, and a name of 60,000 bytes.
    let keys = ["..", ".", "/", "a\\u0000b", "\\u0001\\u0002", "%2F", "x\\ny", &"k".repeat(60_000)];
    let line = |key: &&str| record(key, "\"\\u0003\"", time).replace(&format!("id-{key}"), "id");
    let lines: String = keys.iter().map(line).collect();
    assert_eq!(counts(&import(&sandbox, &lines, &[]).ended(0)), [8, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&import(&sandbox, &lines, &[]).ended(0)), [0, 0, 8, 0, 0, 0]);
    for key in ["..", "/", "%2F", "x\ny"] {
        assert_eq!(get(&sandbox, &[key])["natural_key"], key);
    }
    sandbox.larder(["verify", "--read-data"]).done();
    let out = sandbox.path("out");
    sandbox.larder(["restore", "pages", out.to_str().unwrap(), "--with-views", "--verify"]).done();
    assert!(out.join("by-key/wiki/page/%2F.json").exists() && !out.join("by-key/wiki/page.json").exists());
}

/// A dataset whose policy says that its packs are sealed gives no other, and takes the password from where the policy says.
#[test]
fn packs_are_sealed_as_the_policy_says() {
    let sandbox = Sandbox::with_store();
    let (pack, key) = (sandbox.path("pages"), sandbox.path("key"));
    fs::create_dir_all(pack.join("records/2024/2024-01-01")).unwrap();
    fs::write(pack.join("records/2024/2024-01-01/chunk-0001.ndjson"), record("a", "1", "2024-01-01T00:00:00Z"))
        .unwrap();
    fs::write(&key, "geheim\n").unwrap();
    let zip = |name: &str| sandbox.path(format!("{name}.zip.enc")).to_str().unwrap().to_owned();
    let sources = [
        ("variable", "\"env\", \"key_env_var\": \"PAGES_KEY\"".to_owned()),
        ("file", format!("\"file\", \"key_file_path\": {:?}", key.to_str().unwrap())),
        ("nowhere", "\"file\"".to_owned()),
    ];
    let larder = |words: &[&str], key: &str| {
        let mut command = sandbox.client().larder(&sandbox.store());
        Ran::of(command.args(words).env("PAGES_KEY", key).env("SNAPSHOT_ENCRYPTION_KEY", "another"))
    };
    for (name, source) in &sources {
        let text = format!(
            r#"{{"dataset_name": "{name}", "exchange_type": "http", "source_system": "wiki", "entity_type": "page", "encryption_policy": {{"enabled": true, "key_source": {source}}}}}"#
        );
        fs::write(pack.join("manifest.json"), text).unwrap();
        sandbox.larder(["records", "import", pack.to_str().unwrap()]).done();
        let plain = sandbox.path("plain.zip");
        let plain = plain.to_str().unwrap();
        larder(&["records", "export", name, "-o", plain], "geheim").refused(2, "sealed");
        larder(&["export", name, "--bare", "--accept-loss", "-o", plain], "geheim").refused(2, "sealed");
        assert!(!Path::new(plain).exists());
        let sealed = zip(name);
        let export = larder(&["records", "export", name, "-o", &sealed], "geheim");
        if *name == "nowhere" {
            export.refused(2, "--key-file");
            let file = key.to_str().unwrap();
            larder(&["records", "export", name, "-o", &sealed, "--key-file", file], "").done();
        } else {
            export.done();
            // The same password opens it for the dataset that is there; no other does, though it be where passwords usually are.
            larder(&["records", "import", &sealed, "-d", name], "geheim").done();
        }
        let new = format!("{name}-new");
        larder(&["records", "import", &sealed, "-d", &new], "geheim").refused(12, "does not open it");
        larder(&["records", "import", &sealed, "-d", &new, "--key-file", key.to_str().unwrap()], "").done();
        sandbox.larder(["records", "export", name, "-o", sandbox.path(name).to_str().unwrap()]).done();
    }
}
