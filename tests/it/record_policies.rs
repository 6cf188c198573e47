//! What holds for a record dataset: said when it is made, shown, changed later.

use std::fs;

use serde_json::{Value, json};

use crate::record_sets::{count, get, import, record};
use crate::sandbox::{Ran, Sandbox};

const TIME: &str = "2024-01-01T00:00:00+00:00";

fn init(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let words = ["records", "init", "pages", "--source", "wiki", "--entity", "page"];
    sandbox.larder(words.iter().chain(more))
}

fn policy(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.larder(["records", "policy", "pages"].iter().chain(more))
}

fn snapshots(sandbox: &Sandbox) -> usize {
    sandbox.larder(["list", "--json"]).ids().len()
}

fn manifest(sandbox: &Sandbox) -> Value {
    sandbox.larder(["cat", "pages:manifest.json"]).json()
}

#[test]
fn policies_are_shown_and_changed() {
    let sandbox = Sandbox::with_store();
    let said =
        ["--direction", "import", "--sql-table", "lake.pages", "--sql-key-column", "k", "--sql-hash-column", "h"];
    init(&sandbox, &said).done();
    let made = manifest(&sandbox);
    assert_eq!(
        made["sql_target"],
        json!({"schema": "lake", "table": "pages", "natural_key_column": "k", "hash_column": "h"})
    );
    assert_eq!(made["sync_policy"]["direction_default"], "json_to_sql");
    import(&sandbox, &(record("a", "\"a@b.de\"", TIME) + &record("k", "1", TIME)), &[]).done();
    let before = snapshots(&sandbox);
    let told = String::from_utf8(policy(&sandbox, &[]).ended(0).stdout).unwrap();
    for line in [
        "conflict           prefer_newest",
        "redaction          off",
        "sync direction     import",
        "sync table         lake.pages (k, h)",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let shown = policy(&sandbox, &["--json"]).json();
    assert_eq!((&shown["snapshot"], &shown["manifest"]), (&Value::Null, &manifest(&sandbox)));
    // What holds already makes no snapshot.
    policy(&sandbox, &["--direction", "import", "--sql-table", "pages"]).done();
    assert_eq!(snapshots(&sandbox), before);

    let changes = [
        "--conflict",
        "prefer_existing",
        "--redact-pattern",
        "email",
        "--redact-pattern",
        "n=x[0-9]+",
        "--redact-header",
        "X-Mine",
        "--direction",
        "both",
        "--sql-key-column",
        "",
        "--owner",
        "ann",
        "--description",
        "all",
        "--retention-class",
        "short",
        "--chunk-size",
        "7",
        "--reason",
        "because",
    ];
    let changed = policy(&sandbox, &[&changes[..], &["--json"]].concat()).json();
    let now = manifest(&sandbox);
    assert_eq!((&changed["manifest"], changed["snapshot"].as_str().map(str::len)), (&now, Some(64)));
    assert_eq!(snapshots(&sandbox), before + 1);
    assert_eq!(now["redaction_policy"]["patterns"], json!(["email", {"name": "n", "pattern": "x[0-9]+"}]));
    assert_eq!(now["redaction_policy"]["enabled"], true);
    let headers = now["redaction_policy"]["headers_to_redact"].as_array().unwrap();
    assert!(headers.contains(&json!("X-Mine")) && headers.contains(&json!("authorization")), "{headers:?}");
    assert_eq!(now["sync_policy"], json!({"direction_default": "bidirectional", "conflict_strategy": "prefer_sql"}));
    assert_eq!(now["sql_target"]["natural_key_column"], Value::Null);
    assert_eq!((&now["owner"], &now["description"], &now["chunk_size"]), (&json!("ann"), &json!("all"), &json!(7)));
    let class = sandbox.larder(["show", "pages", "--json"]).json()["retention_class"].clone();
    assert_eq!((&now["retention_class"], &class), (&json!("short"), &json!("short")));
    // Nothing else has changed, and it is obeyed from then on.
    assert_eq!(count(&sandbox), [2, 2, 0]);
    assert_eq!(get(&sandbox, &["a"])["response"], "a@b.de");
    let more = record("b", "\"a@b.de X7\"", TIME) + &record("k", "2", "2024-01-02T00:00:00+00:00");
    import(&sandbox, &more, &[]).done();
    assert_eq!(get(&sandbox, &["b"])["response"], "[REDACTED] [REDACTED]");
    assert_eq!(get(&sandbox, &["k"])["response"], 1);

    policy(&sandbox, &["--drop-pattern", "n", "--drop-header", "x-mine", "--no-redact", "--retention-class", ""])
        .done();
    let now = manifest(&sandbox);
    assert_eq!(now["redaction_policy"]["patterns"], json!(["email"]));
    assert_eq!((&now["redaction_policy"]["enabled"], now.get("retention_class")), (&json!(false), None));
    policy(&sandbox, &["--drop-pattern", "n"]).refused(2, "no pattern n");
    policy(&sandbox, &["--no-redact", "--redact-pattern", "iban"]).refused(2, "cannot be used with");
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn policies_are_those_of_record_datasets() {
    let sandbox = Sandbox::with_store();
    policy(&sandbox, &["--redact"]).refused(10, "there is no dataset pages");
    fs::create_dir(sandbox.path("source")).unwrap();
    sandbox.snapshot(&sandbox.path("source"), "pages").done();
    policy(&sandbox, &[]).refused(10, "pages is no record dataset");
    policy(&sandbox, &["--redact"]).refused(10, "pages is no record dataset");
}

/// Headers and patterns mean that there is redaction; a name that is misspelt is told, and not taken for a regular expression.
#[test]
fn what_is_to_be_redacted_is_redacted() {
    for more in [&["--redact-header", "X-Mine"][..], &["--redact-pattern", "ticket=TCK-[0-9]+"]] {
        let sandbox = Sandbox::with_open_store();
        init(&sandbox, more).done();
        assert_eq!(manifest(&sandbox)["redaction_policy"]["enabled"], true);
    }
    let sandbox = Sandbox::with_open_store();
    for (pattern, words) in [
        ("emial", "is email meant?"),
        ("mail=e-mail", "is email meant?"),
        ("creditcard", "is credit_card meant?"),
        ("IPv4", "(?:IPv4)"),
        ("(", "unclosed group"),
    ] {
        init(&sandbox, &["--redact-pattern", pattern]).refused(2, words);
    }
    init(&sandbox, &["--sql-table", ""]).refused(2, "a name has 1 to 63 bytes");
    let ran = init(&sandbox, &["--redact-pattern", "phone", "--redact-pattern", "(?:emial)"]).ended(0);
    assert!(ran.stderr.contains("phone is a regular expression"), "{}", ran.stderr);
    assert_eq!(manifest(&sandbox)["redaction_policy"]["patterns"], json!(["phone", "(?:emial)"]));
    policy(&sandbox, &["--redact-pattern", "us_sssn"]).refused(2, "is us_ssn meant?");
}

/// What would redact nothing, or change nothing of what is redacted, is refused: whoever says it meant something.
#[test]
fn what_says_nothing_of_redaction_is_refused() {
    let sandbox = Sandbox::with_open_store();
    for more in [&["--redact-pattern", ""][..], &["--redact-pattern", "a="], &["--redact-header", " "]] {
        init(&sandbox, more).refused(2, "redacts nothing");
    }
    for (source, entity, kind) in [("", "page", "http"), ("wiki", "", "http"), ("wiki", "page", "")] {
        let words = ["records", "init", "pages", "--source", source, "--entity", entity, "--type", kind];
        sandbox.larder(words).refused(2, "a value is required");
    }
    assert_eq!(snapshots(&sandbox), 0);
    init(&sandbox, &["--redact-header", "X-Mine"]).done();
    for header in ["authorization", "Set-Cookie", "HTTP_COOKIE"] {
        policy(&sandbox, &["--drop-header", header]).refused(2, "whatever a policy says");
    }
    let told = String::from_utf8(policy(&sandbox, &[]).ended(0).stdout).unwrap();
    assert!(told.contains("  headers          those that always are, X-Mine\n"), "{told}");
    fs::write(sandbox.path("in"), record("a", "1", TIME)).unwrap();
    let file = sandbox.path("in");
    let words = ["records", "import", file.to_str().unwrap(), "-d", "pages"];
    for both in [["--redact", "--no-redact"], ["--no-redact", "--redact"]] {
        sandbox.larder(words.iter().chain(&both)).refused(2, "cannot be used with");
    }
    policy(&sandbox, &["--drop-header", "x-mine"]).done();
    // One name is one pattern.
    for pattern in ["t=a+", "t=b+"] {
        policy(&sandbox, &["--redact-pattern", pattern]).done();
    }
    assert_eq!(manifest(&sandbox)["redaction_policy"]["patterns"], json!([{"name": "t", "pattern": "b+"}]));
    sandbox.larder(words.iter().chain(&["--conflict", "prefer_never"])).refused(2, "prefer_existing");
    sandbox.larder(words.iter().chain(&["--conflict", "prefer_sql"])).done();
}
