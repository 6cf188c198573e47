//! What `--json` prints is what `larder schema` says: each command's output against its schema.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, noise};

/// Holds a value against a schema. Knows the keywords that our schemas have; another one fails, so that none is passed over.
/// A member that the schema does not describe fails too.
fn check(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{value} is not allowed")) };
    };
    for (keyword, says) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "format" | "default" => true,
            "$ref" => check(target(says, root), value, root).map(|()| true)?,
            "pattern" => value.as_str().is_none_or(|text| fits(says.as_str().unwrap(), text)),
            "type" => names(says).iter().any(|name| is_of(name, value)),
            "const" => says == value,
            "enum" => says.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|v| v >= says.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= says.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|v| v.len() as u64 >= says.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|v| v.len() as u64 <= says.as_u64().unwrap()),
            "oneOf" => matching(says, value, root) == 1,
            "anyOf" => matching(says, value, root) >= 1,
            "required" => names(says).iter().all(|name| value.get(name).is_some()),
            "properties" => members(schema, value, root).map(|()| true)?,
            "items" => each(value, |_, v| check(says, v, root))?,
            "prefixItems" => each(value, |at, v| check(&says[at], v, root))?,
            "additionalProperties" => match (value.as_object(), says) {
                (Some(members), Value::Object(_)) => members.values().try_for_each(|v| check(says, v, root)).is_ok(),
                _ => true,
            },
            other => return Err(format!("the keyword {other} is not known to this test")),
        };
        if !holds {
            return Err(format!("{value}: {keyword} {says} does not hold"));
        }
    }
    Ok(())
}

/// True if a text fits a pattern; of those that our schemas have.
fn fits(pattern: &str, text: &str) -> bool {
    let all = |text: &str, good: fn(u8) -> bool| !text.is_empty() && text.bytes().all(good);
    match pattern {
        "^([0-9a-f]{2})+$" => text.len().is_multiple_of(2) && all(text, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "^-?[0-9]+(\\.[0-9]{9})?$" => {
            let (whole, part) = text.split_once('.').unwrap_or((text, "000000000"));
            let digits = |text| all(text, |b| b.is_ascii_digit());
            digits(whole.trim_start_matches('-')) && digits(part) && part.len() == 9
        }
        other => panic!("the pattern {other} is not known to this test"),
    }
}

fn target<'a>(reference: &Value, root: &'a Value) -> &'a Value {
    root.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap()
}

fn names(says: &Value) -> Vec<String> {
    let one = |v: &Value| v.as_str().unwrap().to_owned();
    says.as_array().map_or_else(|| vec![one(says)], |list| list.iter().map(one).collect())
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn matching(says: &Value, value: &Value, root: &Value) -> usize {
    says.as_array().unwrap().iter().filter(|s| check(s, value, root).is_ok()).count()
}

fn each(value: &Value, check: impl Fn(usize, &Value) -> Result<(), String>) -> Result<bool, String> {
    value.as_array().into_iter().flatten().enumerate().try_for_each(|(at, v)| check(at, v)).map(|()| true)
}

fn members(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    for (name, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => check(schema, member, root).map_err(|e| format!("{name}: {e}"))?,
            None => return Err(format!("the member {name} is not described")),
        }
    }
    Ok(())
}

/// Each of the lines is a value of the schema.
#[track_caller]
pub(crate) fn hold(sandbox: &Sandbox, name: &str, lines: &str) -> usize {
    let schema = sandbox.larder(["schema", name]).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
        if let Err(e) = check(&schema, &value, &schema) {
            panic!("{name}: {e}\n{line}");
        }
    }
    lines.lines().count()
}

#[test]
fn every_output_is_as_its_schema_says() {
    let sandbox = Sandbox::new();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("file", source.join("link")).unwrap();
    Ran::of(Command::new("mkfifo").arg(source.join("pipe"))).done();
    let mountpoint = sandbox.path("mnt");
    fs::create_dir(&mountpoint).unwrap();
    let run = |words: &[&str]| {
        let ran = sandbox.larder(words.iter().copied().chain(["--json"])).ended(0);
        String::from_utf8(ran.stdout).unwrap()
    };
    let source = source.to_str().unwrap();
    let (recipient, key) = (larder::codec::generate_identity().1, sandbox.path("key.txt").display().to_string());
    let [pack, tar] = ["pack", "pack.tar"].map(|name| sandbox.path(name).display().to_string());
    for (name, words, lines) in [
        ("init", &["init"][..], 1),
        ("snapshot", &["snapshot", source, "--label", "a=b", "--reason", "r"], 1),
        ("show", &["show"], 1),
        ("ls", &["ls", "-R"], 4),
        ("ls", &["ls", "latest:folder"], 0),
        ("list", &["list"], 1),
        ("find", &["find", "*"], 4),
        ("history", &["history", "file"], 1),
        ("stats", &["stats", "source"], 1),
        ("why-big", &["why-big", "--percent", "0"], 1),
        ("why-new", &["why-new", "--percent", "100"], 1),
        ("verify", &["verify", "--read-data"], 1),
        ("export", &["export", "latest", "-o", &pack, "--format=dir"], 1),
        ("export", &["export", "latest", "-o", &tar], 1),
        ("export", &["export", "--check", &tar], 1),
        ("hold", &["hold", "latest", "--reason", "r", "--until", "30d"], 1),
        ("show", &["show"], 1),
        ("policy", &["policy", "set", "--all", "--keep-last", "1", "--keep-within", "2w"], 1),
        ("policy", &["policy", "show"], 1),
        ("policy", &["policy", "explain"], 2),
        ("forget", &["forget", "--keep-daily", "1"], 2),
        ("release", &["release", "latest"], 1),
        ("release", &["release", "--strange", "latest"], 1),
        ("forget", &["forget", "latest", "-n"], 2),
        ("verify", &["verify", "--no-key"], 1),
        ("repair", &["repair"], 1),
        ("heal", &["heal", source], 1),
        ("key", &["key", "list"], 1),
        ("key", &["key", "rotate"], 1),
        ("key", &["key", "add", "-r", &recipient, "--label", "second"], 1),
        ("key", &["key", "remove", "second"], 1),
        ("key", &["key", "export", "-o", &key], 1),
        ("config", &["config", "show"], 1),
        ("config", &["config", "path"], 1),
        ("schema", &["schema"], 1),
    ] {
        assert_eq!(hold(&sandbox, name, &run(words)), lines, "{words:?}");
    }
    let folder = fs::read_dir(&pack).unwrap().next().unwrap().unwrap().path();
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    // Line feeds stand between members alone.
    assert_eq!(hold(&sandbox, "pack", &manifest.replace('\n', "")), 1);
    let mut mount = sandbox.client().larder(&sandbox.store());
    let told = sandbox.path("told");
    let child = mount.args(["mount", "--json"]).arg(&mountpoint).stdout(fs::File::create(&told).unwrap()).spawn();
    let mut child = child.unwrap();
    let waited = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::read_to_string(&told).is_ok_and(|t| t.ends_with('\n'))
    });
    let unmounted = run(&["unmount", mountpoint.to_str().unwrap()]);
    assert!(waited && child.wait().unwrap().success());
    assert_eq!(hold(&sandbox, "mount", &fs::read_to_string(&told).unwrap()), 1);
    assert_eq!(hold(&sandbox, "unmount", &unmounted), 1);
}

#[test]
fn a_sync_is_as_its_schema_says() {
    let sandbox = Sandbox::with_store();
    sandbox.larder(["records", "init", "r", "--source", "wiki", "--entity", "page"]).done();
    let line = crate::record_sets::record("a", "1", "2024-01-01T00:00:00Z");
    fs::write(sandbox.path("in.ndjson"), line).unwrap();
    sandbox
        .larder([
            "records".as_ref(),
            "import".as_ref(),
            sandbox.path("in.ndjson").as_os_str(),
            "-d".as_ref(),
            "r".as_ref(),
        ])
        .done();
    let url = format!("sqlite:{}", sandbox.path("r.db").display());
    for more in [&["--create"][..], &["-n"], &[]] {
        let ran = sandbox.larder(["sync", "r", "--sql", &url, "--json"].iter().chain(more)).ended(0);
        assert_eq!(hold(&sandbox, "sync", &String::from_utf8(ran.stdout).unwrap()), 1);
    }
}

#[test]
fn failures_and_findings_are_as_their_schemas_say() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let failed = |words: &[&str], status| {
        let ran = sandbox.larder(words.iter().copied().chain(["--json"])).ended(status);
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(hold(&sandbox, "error", &failed(&["show", "nothing"], 10)), 1);
    assert_eq!(hold(&sandbox, "error", &failed(&["show", "--nothing"], 2)), 1);
    sandbox.snapshot(&source, "d").done();
    let data = fs::read_dir(sandbox.store().join("db")).unwrap().map(|e| e.unwrap().path());
    let data: Vec<_> = data.filter(|p| p.extension().is_some_and(|e| e == "sst")).collect();
    let mut hurt = 0;
    for file in data {
        let bytes = fs::read(&file).unwrap();
        let Some(at) = bytes.windows(4).position(|w| w == b"LBK1") else {
            continue;
        };
        let mut changed = bytes.clone();
        changed[at + 100] ^= 1;
        fs::write(&file, changed).unwrap();
        let ran = sandbox.larder(["verify", "--json"]);
        fs::write(&file, bytes).unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        if ran.status == 13 && text.contains("\"findings\"") {
            hurt += hold(&sandbox, "verify", &text);
        }
    }
    assert!(hurt > 0, "no damage was told as findings");
}

#[test]
fn verify_counts_every_file_that_it_read() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for (name, content) in [("empty", Vec::new()), ("short", b"short".to_vec()), ("long", noise(1, 3_000_000))] {
        fs::write(source.join(name), content).unwrap();
    }
    fs::copy(source.join("long"), source.join("twin")).unwrap();
    sandbox.snapshot(&source, "d").done();
    let whole = sandbox.larder(["verify", "--read-data", "--json"]).json();
    assert_eq!((&whole["files_read"], &whole["long_contents"]), (&4.into(), &1.into()), "{whole}");
    let sealed = sandbox.larder(["verify", "--json"]).json();
    assert_eq!((&sealed["files_read"], &sealed["long_contents"]), (&0.into(), &0.into()), "{sealed}");
    let text = String::from_utf8(sandbox.larder(["verify", "--read-data"]).ended(0).stdout).unwrap();
    assert!(text.contains("every byte of 4 files read"), "{text}");
}

#[test]
fn progress_is_as_its_schema_says() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let _socket = UnixListener::bind(source.join("socket")).unwrap();
    let words = ["snapshot", source.to_str().unwrap(), "--json", "--progress", "json", "-vv"];
    let ran = sandbox.larder(words).ended(0);
    assert_eq!(hold(&sandbox, "snapshot", std::str::from_utf8(&ran.stdout).unwrap()), 1);
    hold(&sandbox, "progress", &ran.stderr);
    let events: Vec<Value> = ran.stderr.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|e| e["type"] == name).collect::<Vec<_>>();
    let skipped = of("notice").into_iter().find(|n| n["sort"] == "skipped").unwrap();
    assert!(skipped["path"].as_str().unwrap().ends_with("socket"), "{skipped}");
    assert_eq!((&of("progress")[0]["command"], &of("progress")[0]["bytes"]), (&"snapshot".into(), &7.into()));
    assert!(!of("log").is_empty());
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["exit_status"]), (&"done".into(), &0.into()));
    let ran = sandbox.larder(["show", "nothing", "--progress", "json"]).ended(10);
    assert_eq!(hold(&sandbox, "progress", &ran.stderr), 2, "an error and done: {}", ran.stderr);
    assert!(ran.stdout.is_empty());
}

#[test]
fn listings_of_what_would_be_done_are_as_their_schemas_say() {
    let sandbox = Sandbox::with_store();
    let (source, dest) = (sandbox.path("source"), sandbox.path("dest"));
    for file in [source.join("folder/file"), source.join("same"), source.join("left.o"), dest.join("extra")] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "content").unwrap();
    }
    sandbox.snapshot(&source, "d").done();
    let run = |words: &[&str]| {
        let ran = sandbox.larder(words.iter().copied().chain(["--json"])).ended(0);
        String::from_utf8(ran.stdout).unwrap()
    };
    let (source, dest) = (source.to_str().unwrap(), dest.to_str().unwrap());
    assert_eq!(hold(&sandbox, "snapshot", &run(&["snapshot", "--dry-run", source, "-e", "*.o"])), 2);
    let restore = |more: &[&str]| run(&[&["restore", "d", dest, "--delete"], more].concat());
    let foretold = restore(&["--dry-run"]);
    let done = restore(&["--changes"]);
    let again = restore(&["--changes=all"]);
    for (text, words) in [
        (&foretold, &["made left.o", "made same", "removed extra", "made folder", "made folder/file"][..]),
        (&done, &["made left.o", "made same", "removed extra", "made folder", "made folder/file"]),
        (&again, &["same folder/file", "same left.o"]),
    ] {
        hold(&sandbox, "restore", text);
        let values: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let (last, changes) = values.split_last().unwrap();
        assert_eq!(last["type"], "summary");
        let word = |v: &Value| format!("{} {}", v["change"].as_str().unwrap(), v["path"].as_str().unwrap());
        let told: Vec<_> = changes.iter().map(word).collect();
        for word in words {
            assert!(told.iter().any(|t| t == word), "{word}: {told:?}");
        }
        assert!(changes.iter().all(|v| v["folder"] == (v["path"] == "folder" || v["path"] == "")), "{text}");
    }
    assert_eq!(hold(&sandbox, "restore", &restore(&[])), 1);
}

#[test]
fn a_name_that_is_no_schema_is_refused() {
    Sandbox::new().larder(["schema", "nothing"]).refused(2, "larder schema");
}

/// A validator that lets everything pass would prove nothing.
#[test]
fn the_validator_can_fail() {
    let schema: Value = serde_json::from_str(
        r##"{"type":"object","properties":{"a":{"type":"integer","minimum":0},"b":{"$ref":"#/$defs/B"}},
            "required":["a"],"$defs":{"B":{"oneOf":[{"const":"x"},{"type":["null","boolean"]}]}}}"##,
    )
    .unwrap();
    let passes = |text: &str| check(&schema, &serde_json::from_str(text).unwrap(), &schema).is_ok();
    assert!(passes(r#"{"a":1}"#) && passes(r#"{"a":1,"b":"x"}"#) && passes(r#"{"a":1,"b":null}"#));
    for wrong in [r"{}", r#"{"a":-1}"#, r#"{"a":"1"}"#, r#"{"a":1,"b":"y"}"#, r#"{"a":1,"c":2}"#, r"[]"] {
        assert!(!passes(wrong), "{wrong}");
    }
    assert!(check(&serde_json::json!({"novel": 1}), &Value::Null, &Value::Null).is_err());
}
