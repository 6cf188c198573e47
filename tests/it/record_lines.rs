//! `records canon`, `hash` and `validate`: lines in, lines out.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::sandbox::{Ran, Sandbox, seed};

const CHUNK: &str = include_str!("../data/records/datasets/redacted/records/2024/2024-02-05/chunk-0001.ndjson");
const GOOD: &str = include_str!("../data/records/datasets/nonfinite/records/2024/2024-02-05/chunk-0001.ndjson");
const EXPECTED: &str = include_str!("../data/records/expected.jsonl");

/// Runs a command over a text on standard input.
fn piped(sandbox: &Sandbox, words: &[&str], input: &str) -> Ran {
    let file = sandbox.path("input");
    fs::write(&file, input).unwrap();
    let mut command = sandbox.client().larder(&sandbox.store());
    Ran::of(command.args(words).arg("-").stdin(Stdio::from(fs::File::open(file).unwrap())))
}

fn stdout(ran: &Ran) -> Vec<String> {
    String::from_utf8(ran.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn canon_answers_each_line() {
    let sandbox = Sandbox::new();
    let input = "\u{feff}{\"b\": 1.50, \"a\": \"e\\u0301\"}\n\n[1E400, -0]\r\n\"\\ud800\"\n{\"a\":}\n[[1]]";
    let ran = piped(&sandbox, &["records", "canon", "--max-depth", "1"], input).ended(3);
    let wanted = [
        "{\"a\":\"é\",\"b\":1.5}",
        "error: it ends where a value is due (column 1)",
        "[\"Infinity\",0]",
        "error: half of a surrogate pair is no character (column 8)",
        "error: no value begins so (column 6)",
        "error: it is nested more than 1 deep (column 2)",
    ];
    assert_eq!(stdout(&ran), wanted);
    assert!(ran.stderr.contains("4 of 6 lines"), "{}", ran.stderr);
    let ran = piped(&sandbox, &["records", "canon"], "[[1]]\n").ended(0);
    assert_eq!(stdout(&ran), ["[[1]]"]);
    let json = piped(&sandbox, &["records", "canon", "--json"], "[1.0]\n[\n").ended(3);
    assert_eq!(
        stdout(&json),
        [
            r#"{"line":1,"canonical":"[1.0]","error":null}"#,
            r#"{"line":2,"canonical":null,"error":"it ends within a list or object (column 2)"}"#
        ]
    );
    assert!(stdout(&piped(&sandbox, &["records", "canon"], "").ended(0)).is_empty());
}

/// Random values, and the form that Python makes of each from the rules.
#[test]
fn canon_is_what_python_makes_of_the_rules() {
    const COUNT: usize = 5000;
    let sandbox = Sandbox::new();
    let mut python =
        sandbox.client().command(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    python
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/canonical.py"))
        .args([seed().to_string(), COUNT.to_string()]);
    let told = stdout(&Ran::of(&mut python).ended(0));
    assert_eq!(told.len(), 2 * COUNT);
    let texts: Vec<_> = told.iter().step_by(2).map(String::as_str).collect();
    let found = stdout(&piped(&sandbox, &["records", "canon"], &texts.join("\n")).ended(0));
    assert_eq!(found.len(), COUNT);
    for ((text, wanted), found) in texts.iter().zip(told.iter().skip(1).step_by(2)).zip(&found) {
        assert_eq!(found, wanted, "{text}");
    }
}

/// However deep a line is, there is an answer: by default that it is too deep, and with the flag its form.
#[test]
fn depth_never_kills() {
    let sandbox = Sandbox::new();
    let deep = |depth: usize| format!("{}{}\n", "[".repeat(depth), "]".repeat(depth));
    let ran = piped(&sandbox, &["records", "canon"], &(deep(1000) + &deep(1001) + &deep(1_000_000))).ended(3);
    let lines = stdout(&ran);
    assert_eq!(lines[0], deep(1000).trim_end());
    assert!(
        lines[1..].iter().all(|line| line.starts_with("error: it is nested more than 1000 deep")) && lines.len() == 3
    );
    let ran = piped(&sandbox, &["records", "canon", "--max-depth", "1000000"], &deep(1_000_000)).ended(0);
    assert_eq!(stdout(&ran), [deep(1_000_000).trim_end()]);
}

#[test]
fn hash_is_that_of_the_content_whatever_the_line_says() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("chunk");
    fs::write(&file, CHUNK).unwrap();
    let ran = sandbox.larder(["records".as_ref(), "hash".as_ref(), file.as_os_str()]).ended(0);
    let expected: Vec<String> = EXPECTED
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["dataset"] == "redacted" && line["file"].as_str().unwrap().ends_with("chunk-0001.ndjson"))
        .map(|line| line["recomputed_from_ndjson_sha256"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(stdout(&ran), expected);
    let ran = piped(&sandbox, &["records", "hash"], "{\"exchange_type\": 1}\n[]\n").ended(3);
    assert_eq!(stdout(&ran), ["error: exchange_type is a number, where text is due", "error: it is no object"]);
    let json = piped(&sandbox, &["--json", "records", "hash"], GOOD.lines().next().unwrap()).json();
    assert_eq!(json["content_sha256"].as_str().unwrap().len(), 64);
    sandbox.larder(["records", "hash", "/nowhere"]).refused(10, "/nowhere cannot be read");
    sandbox.larder(["records", "hash", "/"]).refused(2, "is a folder");
}

#[test]
fn validate_tells_lines_and_reasons() {
    let sandbox = Sandbox::new();
    assert_eq!(
        stdout(&piped(&sandbox, &["records", "validate", "--stored"], GOOD).ended(0)),
        ["9 records: 9 valid, 0 invalid"]
    );
    let good = GOOD.lines().next().unwrap();
    let hash = &good[good.find("content_sha256").unwrap() + 18..][..64];
    let tampered = good.replace("\"http\"", "\"mttp\"");
    let nameless = good.replace("\"exchange_id\"", "\"exchange_no\"");
    let unhashed = good.replace("\"content_sha256\"", "\"content_sha\"");
    let input =
        format!("{good}\n\n{tampered}\n  \t\r\n{{\n{nameless}\n{unhashed}\n{}\n", CHUNK.lines().next().unwrap());
    let ran = piped(&sandbox, &["records", "validate", "--stored"], &input).ended(3);
    let lines = stdout(&ran);
    assert!(
        lines[0].starts_with(&format!("line 3: content_sha256 is {hash}, but the content has the hash ")),
        "{lines:?}"
    );
    assert_eq!(lines[1], "line 5: it is no JSON: it ends within a list or object (column 2)");
    assert_eq!(lines[2..4], ["line 6: exchange_id is missing", "line 7: content_sha256 is missing"]);
    assert!(
        lines[4].starts_with("line 8: content_sha256 is ") && lines[4].contains("redacted by a system"),
        "{lines:?}"
    );
    assert_eq!(lines[5..], ["6 records: 1 valid, 5 invalid"]);
    let ran = piped(&sandbox, &["--json", "records", "validate", "--stored"], &input).ended(3);
    let json: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        (json["records"].as_u64(), json["valid"].as_u64(), json["invalid"].as_u64()),
        (Some(6), Some(1), Some(5))
    );
    assert_eq!(json["faults"][1]["line"], 5);
    assert_eq!(json["faults"].as_array().unwrap().len(), 5);
}

/// Whoever reads the answers may go away, and answers come before all questions have been read.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.client().larder(&sandbox.store());
    let mut child =
        command.args(["records", "canon", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let line = "[1,2,3]\n".repeat(1 << 16);
    while stdin.write_all(line.as_bytes()).is_ok() {}
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
