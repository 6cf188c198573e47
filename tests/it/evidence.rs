//! What a snapshot says about itself is kept as it was given, shown without harm, and checked where it can be.

use std::fs;
use std::process::Stdio;

use crate::sandbox::{Ran, Sandbox};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A sandbox with a folder to capture and files to speak of; gives the folder's path.
fn sandbox() -> (Sandbox, String) {
    let sandbox = Sandbox::with_store();
    for (name, content) in [
        ("source/file", "x"),
        ("abc", "abc"),
        ("metrics", " {\"coverage\": 87.50, \"issues\": {\"high\": 0}}\n"),
        ("list", "[1, \"\\u001b[31m\"]"),
        ("broken", "{\"a\": }"),
    ] {
        let path = sandbox.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let source = sandbox.path("source").to_str().unwrap().to_owned();
    (sandbox, source)
}

#[test]
fn all_fields_come_back() {
    let (sandbox, source) = sandbox();
    let (abc, metrics, list) = (sandbox.path("abc"), sandbox.path("metrics"), sandbox.path("list"));
    let (metrics, list) = (metrics.to_str().unwrap(), list.to_str().unwrap());
    let texts = [
        ("scope", "project"),
        ("scope_ref", "web\u{1b}]0;title"),
        ("initiator", "release manager"),
        ("trigger_source", "gate"),
        ("analyzer_version", "2.1"),
        ("rule_version", "2024-01"),
        ("source_ref", "v1.2.3"),
        ("retention_class", "release"),
        ("kind", "pre"),
        ("reason", "two\nlines"),
    ];
    let mut arguments = vec!["snapshot".to_owned(), source, "--immutable".to_owned()];
    for (field, value) in texts {
        arguments.extend([format!("--{}", field.replace('_', "-")), value.to_owned()]);
    }
    arguments.extend(["--metrics", metrics, "--payload", list].map(str::to_owned));
    let checked = format!("model={}#sha256={ABC}", abc.display());
    arguments.extend(["--reference".to_owned(), checked, "--reference".to_owned(), "bug=https://x/1".to_owned()]);
    sandbox.larder(&arguments).done();
    let shown = sandbox.larder(["show", "--json"]).json();
    for (field, value) in texts {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["immutable"], true);
    assert_eq!(shown["metrics"], serde_json::json!({"coverage": 87.5, "issues": {"high": 0}}));
    assert_eq!(shown["payload"], serde_json::json!([1, "\u{1b}[31m"]));
    let references = serde_json::json!([
        {"key": "model", "uri": abc, "hash": format!("sha256={ABC}"), "verified": true},
        {"key": "bug", "uri": "https://x/1", "hash": null, "verified": null},
    ]);
    assert_eq!(shown["references"], references);
    let text = String::from_utf8(sandbox.larder(["show"]).ended(0).stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    for word in ["project", "web\\u{1b}]0;title", "release manager", "compared at capture", "87.50", "two\\u{a}lines"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn what_does_not_hold_is_refused_and_nothing_is_captured() {
    let (sandbox, source) = sandbox();
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    fs::write(sandbox.path("long"), format!("\"{}\"", "x".repeat(5 << 20))).unwrap();
    let cases = [
        (vec!["--metrics".to_owned(), path("list")], 2, "object"),
        (vec!["--metrics".to_owned(), path("broken")], 2, "not JSON"),
        (vec!["--payload".to_owned(), path("abc")], 2, "not JSON"),
        (vec!["--payload".to_owned(), path("long")], 2, "longer than 4 MiB"),
        (vec!["--payload".to_owned(), path("none")], 1, "No such file"),
        (vec!["--metrics".to_owned(), "-".to_owned(), "--payload".to_owned(), "-".to_owned()], 2, "not both"),
        (vec!["--scope".to_owned(), String::new()], 2, "--scope"),
        (vec!["--kind".to_owned(), "odd".to_owned()], 2, "scheduled"),
        (vec!["--reference".to_owned(), format!("k={}#sha256={}", path("list"), ABC)], 1, "does not hold"),
        (vec!["--reference".to_owned(), format!("k={}#sha256={}", path("none"), ABC)], 1, "cannot be checked"),
        (vec!["--reference".to_owned(), "k=x#sha256=12".to_owned()], 2, "64"),
        (vec!["--reference".to_owned(), "k=x".to_owned(), "--reference".to_owned(), "k=y".to_owned()], 2, "twice"),
        (vec!["--label".to_owned(), "k=x".to_owned(), "--label".to_owned(), "k=y".to_owned()], 2, "twice"),
    ];
    for (arguments, status, word) in cases {
        sandbox.larder(["snapshot".to_owned(), source.clone()].iter().chain(&arguments)).refused(status, word);
    }
    assert_eq!(sandbox.larder(["list", "--json"]).ids(), [""; 0]);
}

#[test]
fn metrics_may_come_from_standard_input() {
    let (sandbox, source) = sandbox();
    let mut command = sandbox.client().larder(&sandbox.store());
    command.args(["snapshot", "--json", &source, "--metrics", "-"]);
    command.stdin(Stdio::from(fs::File::open(sandbox.path("metrics")).unwrap()));
    assert_eq!(Ran::of(&mut command).json()["metrics"]["coverage"], 87.5);
}
