//! What `records export` writes for other programs: fields of tables, reports, and what becomes of it when nobody reads.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::record_sets::{import, record};
use crate::sandbox::{Ran, Sandbox};

const TIME: &str = "2024-01-01T00:00:00+00:00";

fn csv(sandbox: &Sandbox, fields: &[&str]) -> Ran {
    let words = ["records", "export", "pages", "-o", "-", "--format", "csv"];
    let fields = fields.iter().flat_map(|field| ["--field", *field]);
    sandbox.larder(words.into_iter().chain(fields))
}

#[test]
fn fields_are_all_that_stands_at_their_paths() {
    let sandbox = Sandbox::with_open_store();
    let response = r#"{"l": [1, "x, y", {"k": 2.50}], "a.b": 7, "c=d": null, "q\"]": true}"#;
    import(&sandbox, &(record("a", response, TIME) + &record("b", "{}", TIME)), &[]).done();
    for (field, head, cell) in [
        ("l=$.response.l[*]", "l", r#""[1,""x, y"",{""k"": 2.50}]""#),
        ("$.response.l[*].k", "response.l[*].k", "[2.50]"),
        ("one=$.response.l[1]", "one", "\"x, y\""),
        ("n=$.response[\"a.b\"]", "n", "7"),
        ("n=$.response['a.b']", "n", "7"),
        ("n=$.response[\"q\\\"]\"]", "n", "true"),
        ("n=$.response[\"c=d\"]", "n", ""),
        ("natural_key", "natural_key", "a"),
    ] {
        let ran = csv(&sandbox, &[field]).ended(0);
        let rest = if field == "natural_key" { "b" } else { "" };
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), format!("{head}\r\n{cell}\r\n{rest}\r\n"), "{field}");
        assert!(!ran.stderr.contains("no record has"), "{field}: {}", ran.stderr);
    }
    csv(&sandbox, &["$.response.c=d"]).refused(2, "is no field");
    csv(&sandbox, &["n=response.l"]).refused(2, "is no field");
    csv(&sandbox, &["a=$.response", "a=$.request"]).refused(2, "two fields are called a");
    csv(&sandbox, &["n=$.response[a.b]"]).refused(2, "a name in quotes");
    // A field that is nowhere is told, unless nobody asked for it.
    let ran = csv(&sandbox, &["natural_key", "nosuch", "n=$.response.none[*]"]).ended(0);
    assert!(
        ran.stderr.contains("no record has the field nosuch") && ran.stderr.contains("field n\n"),
        "{}",
        ran.stderr
    );
    assert!(!csv(&sandbox, &[]).ended(0).stderr.contains("no record has"));
}

#[test]
fn a_report_is_printed_where_records_go_to_a_file() {
    let sandbox = Sandbox::with_open_store();
    import(&sandbox, &(record("a", "1", TIME) + &record("b", "2", TIME)), &[]).done();
    for format in ["ndjson", "json", "csv", "parquet"] {
        let file = sandbox.path(format!("x.{format}"));
        let mut words = vec!["records", "export", "pages", "--json", "-o", file.to_str().unwrap()];
        let table = matches!(format, "csv" | "parquet");
        words.extend(["--field", "natural_key", "--field", "none"].iter().filter(|_| table));
        let printed = String::from_utf8(sandbox.larder(words).ended(0).stdout).unwrap();
        assert_eq!(crate::schema::hold(&sandbox, "records", &printed), 1);
        let report: Value = serde_json::from_str(&printed).unwrap();
        let empty = if table { json!(["none"]) } else { json!([]) };
        let wanted = json!({"dataset": "pages", "output": file, "format": format, "records": 2, "empty_fields": empty});
        assert_eq!(report, wanted);
    }
    let ran = sandbox.larder(["records", "export", "pages", "--json", "-o", "-"]);
    assert_eq!(ran.lines().len(), 2, "the records alone");
}

#[test]
fn whoever_reads_may_go_away() {
    let sandbox = Sandbox::with_open_store();
    let lines: String = (0..20_000).map(|n| record(&format!("k{n}"), &format!("\"{n:0>80}\""), TIME)).collect();
    import(&sandbox, &lines, &[]).done();
    for format in ["ndjson", "json", "csv", "parquet"] {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.args(["records", "export", "pages", "-o", "-", "--format", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*told), (Some(0), ""), "{format}");
    }
    // A file that cannot be written is a failure as before.
    fs::create_dir(sandbox.path("folder")).unwrap();
    let folder = sandbox.path("folder");
    let _ = sandbox.larder(["records", "export", "pages", "--format", "csv", "-o", folder.to_str().unwrap()]).ended(1);
}
