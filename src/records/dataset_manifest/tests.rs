use super::*;

const WRITTEN: [&str; 4] = [
    include_str!("../../../tests/data/records/init_manifest.json"),
    include_str!("../../../tests/data/records/datasets/nonfinite/manifest.json"),
    include_str!("../../../tests/data/records/datasets/out-of-order/manifest.json"),
    include_str!("../../../tests/data/records/datasets/redacted/manifest.json"),
];

fn read(text: &str) -> DatasetManifest {
    DatasetManifest::parse(text.as_bytes()).unwrap()
}

#[test]
fn as_the_other_system_writes_it() {
    for text in WRITTEN {
        assert_eq!(read(text).to_text(), text);
    }
    let redacted = read(WRITTEN[3]).redaction_policy;
    assert!(redacted.enabled);
    assert_eq!(redacted.patterns, [Pattern { name: None, pattern: "custom-secret-pattern".to_owned() }]);
    assert_eq!(redacted.headers_to_redact, ["authorization", "cookie", "x-api-key"]);
}

const LEAST: &str = r#"{"dataset_name": "d", "exchange_type": "http", "source_system": "s", "entity_type": "e""#;

#[test]
fn what_is_missing_or_null_has_its_default() {
    let made = DatasetManifest::new("d", "http", "s", "e");
    assert_eq!(read(&format!("{LEAST}}}")), made);
    let nulls = r#", "description": null, "sql_target": null, "sync_policy": null, "redaction_policy": {"patterns": null}, "version": null}"#;
    assert_eq!(read(&format!("{LEAST}{nulls}")), made);
    assert_eq!(read(&made.to_text()), made);
}

#[test]
fn what_is_not_known_is_kept() {
    let more = concat!(
        r#", "sync_policy": {"every": "1h", "conflict_strategy": "prefer_sql"}, "redaction_policy": {"x": [1.50, {"é": 1E5}]}, "#,
        r#""chunk_size": 50, "retention_class": "legal", "mine": {"a": null}}"#
    );
    let manifest = read(&format!("{LEAST}{more}"));
    assert_eq!(manifest.sync_policy.conflict_strategy, ConflictStrategy::Existing);
    assert_eq!((manifest.chunk_size, manifest.retention_class.as_deref()), (Some(50), Some("legal")));
    let text = manifest.to_text();
    for kept in [
        "    \"conflict_strategy\": \"prefer_sql\",\n    \"every\": \"1h\"\n  },",
        "    \"x\": [\n      1.50,\n      {\n        \"é\": 1E5\n      }\n    ]\n  },",
        "  \"version\": 1,\n  \"chunk_size\": 50,\n  \"retention_class\": \"legal\",\n  \"mine\": {\n    \"a\": null\n  }\n}",
    ] {
        assert!(text.contains(kept), "{text}");
    }
    assert_eq!(read(&text), manifest);
}

#[test]
fn strategies() {
    for (name, strategy, written) in [
        ("prefer_newest", ConflictStrategy::Newest, "prefer_newest"),
        ("prefer_incoming", ConflictStrategy::Incoming, "prefer_json"),
        ("prefer_json", ConflictStrategy::Incoming, "prefer_json"),
        ("prefer_existing", ConflictStrategy::Existing, "prefer_sql"),
        ("prefer_sql", ConflictStrategy::Existing, "prefer_sql"),
        ("fail", ConflictStrategy::Fail, "fail"),
    ] {
        assert_eq!(ConflictStrategy::named(name), Some(strategy));
        let mut manifest = DatasetManifest::new("d", "http", "s", "e");
        manifest.sync_policy.conflict_strategy = strategy;
        assert!(manifest.to_text().contains(&format!("\"conflict_strategy\": \"{written}\"")));
    }
    assert_eq!(ConflictStrategy::named("newest"), None);
}

#[test]
fn what_is_no_manifest() {
    for (text, why) in [
        ("", "it is no JSON: it ends where a value is due (line 1, column 1)"),
        ("[]", "it is not an object"),
        ("{}", "dataset_name is missing"),
        (&format!("{LEAST}, \"owner\": 1}}"), "owner is not a text"),
        (&format!("{LEAST}, \"sync_policy\": []}}"), "sync_policy is not an object"),
        (
            &format!("{LEAST}, \"sync_policy\": {{\"conflict_strategy\": \"newest\"}}}}"),
            "sync_policy.conflict_strategy is not prefer_newest, prefer_incoming, prefer_existing or fail",
        ),
        (
            &format!("{LEAST}, \"redaction_policy\": {{\"enabled\": 1}}}}"),
            "redaction_policy.enabled is not true or false",
        ),
        (
            &format!("{LEAST}, \"redaction_policy\": {{\"headers_to_redact\": [1]}}}}"),
            "redaction_policy.headers_to_redact is not a list of texts",
        ),
        (
            &format!("{LEAST}, \"redaction_policy\": {{\"patterns\": [{{\"name\": \"a\"}}]}}}}"),
            "redaction_policy.patterns is not a list of patterns: texts, or objects with the texts name and pattern and nothing else",
        ),
        (&format!("{LEAST}, \"chunk_size\": 0}}"), "chunk_size is not a number from 1 on"),
        (&format!("{LEAST}, \"version\": 1.5}}"), "version is not a whole number of 64 bits"),
    ] {
        assert_eq!(DatasetManifest::parse(text.as_bytes()).unwrap_err().to_string(), why, "{text}");
    }
}
