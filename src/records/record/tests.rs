use super::super::tape::Limits;
use super::*;

const HASHES: &str = include_str!("../../../tests/data/records/record_hash_vectors.jsonl");
const EXPECTED: &str = include_str!("../../../tests/data/records/expected.jsonl");

/// The chunks of the packs that the other system has written, and what it has computed of each record.
const CHUNKS: [(&str, &str, &str); 7] = [
    chunk(
        "nonfinite",
        "records/2024/2024-02-05/chunk-0001.ndjson",
        include_str!("../../../tests/data/records/datasets/nonfinite/records/2024/2024-02-05/chunk-0001.ndjson"),
    ),
    chunk(
        "out-of-order",
        "records/2024/2024-03-04/chunk-0003.ndjson",
        include_str!("../../../tests/data/records/datasets/out-of-order/records/2024/2024-03-04/chunk-0003.ndjson"),
    ),
    chunk(
        "out-of-order",
        "records/2024/2024-03-05/chunk-0001.ndjson",
        include_str!("../../../tests/data/records/datasets/out-of-order/records/2024/2024-03-05/chunk-0001.ndjson"),
    ),
    chunk(
        "out-of-order",
        "records/2024/2024-03-06/chunk-0002.ndjson",
        include_str!("../../../tests/data/records/datasets/out-of-order/records/2024/2024-03-06/chunk-0002.ndjson"),
    ),
    chunk(
        "out-of-order",
        "records/2024/2024-03-07/chunk-0004.ndjson",
        include_str!("../../../tests/data/records/datasets/out-of-order/records/2024/2024-03-07/chunk-0004.ndjson"),
    ),
    chunk(
        "redacted",
        "records/2024/2024-02-05/chunk-0001.ndjson",
        include_str!("../../../tests/data/records/datasets/redacted/records/2024/2024-02-05/chunk-0001.ndjson"),
    ),
    chunk(
        "redacted",
        "records/2024/2024-02-05/chunk-0002.ndjson",
        include_str!("../../../tests/data/records/datasets/redacted/records/2024/2024-02-05/chunk-0002.ndjson"),
    ),
];

const fn chunk(
    dataset: &'static str,
    file: &'static str,
    text: &'static str,
) -> (&'static str, &'static str, &'static str) {
    (dataset, file, text)
}

fn reason(line: &str) -> String {
    Record::parse(line.as_bytes()).unwrap_err().to_string()
}

/// A line of the least that a record has, and more.
fn line(more: &str) -> String {
    format!(r#"{{"exchange_type": "http", "source_system": "s", "entity_type": "e"{more}}}"#)
}

#[test]
fn hashes_bit_for_bit() {
    for vector in HASHES.lines() {
        let vector: serde_json::Value = serde_json::from_str(vector).unwrap();
        // The hash is of these members as they stand in the text: through another reader 1.0 would be 1.
        let args = HASHES.lines().find(|l| l.contains(vector["sha256"].as_str().unwrap())).unwrap();
        let args = &args["{\"args\": ".len()..args.find(", \"canonical\": ").unwrap()];
        let hash = RecordParser::default().hash(args.as_bytes()).unwrap();
        assert_eq!(hash.to_string(), vector["sha256"].as_str().unwrap(), "{args}");
    }
    assert_eq!(HASHES.lines().count(), 3);
}

/// Every line of the packs: its hash as the other system recomputes it, and the line itself when it is written again, byte for byte.
#[test]
fn packs_bit_for_bit() {
    let mut parser = RecordParser::default();
    let (mut count, mut before) = (0, 0);
    for expected in EXPECTED.lines() {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        let text = |name: &str| expected[name].as_str().unwrap();
        let number = usize::try_from(expected["line"].as_u64().unwrap()).unwrap();
        let (_, _, chunk) =
            CHUNKS.iter().find(|(set, file, _)| *set == text("dataset") && *file == text("file")).unwrap();
        let line = chunk.lines().nth(number - 1).unwrap();
        let record = parser.read(line.as_bytes()).unwrap();
        assert_eq!(record.exchange_id, text("exchange_id"));
        assert_eq!(record.natural_key.as_deref(), expected["natural_key"].as_str());
        assert_eq!(record.observed_at.as_ref().map(ObservedAt::as_str), expected["observed_at_utc"].as_str());
        assert_eq!(record.content_sha256.to_string(), text("recomputed_from_ndjson_sha256"));
        let stated: RecordHash = text("content_sha256").parse().unwrap();
        if expected["verifies"] == true {
            assert_eq!(record.verified(), Verified::Same);
            assert_eq!(record.line(), line);
        } else {
            assert_eq!(record.verified(), Verified::RedactedBefore(stated));
            assert_eq!(record.original_commitment, Some(format!("sha256:{stated}")));
            let now = line.replace(&stated.to_string(), &record.content_sha256.to_string());
            let now = format!("{}, \"original_commitment\": \"sha256:{stated}\"}}", &now[..now.len() - 1]);
            assert_eq!(record.line(), now);
            let again = parser.read(now.as_bytes()).unwrap();
            assert_eq!((again.verified(), again.line()), (Verified::Same, now));
            before += 1;
        }
        count += 1;
    }
    assert_eq!((count, before), (39, 16));
    assert_eq!(CHUNKS.iter().map(|(_, _, text)| text.lines().count()).sum::<usize>(), 39);
}

#[test]
fn defaults() {
    let record = Record::parse(line("").as_bytes()).unwrap();
    assert_eq!(
        record.line(),
        r#"{"exchange_id": "", "exchange_type": "http", "source_system": "s", "entity_type": "e", "natural_key": null, "request": null, "response": null, "observed_at_utc": null, "provenance": null, "content_sha256": "5951823061470516f57c1b4f8306304c541717e282d57b5cfdf75b68324b72ad", "schema_version": 1, "tags": [], "redactions_applied": [], "response_ref": null}"#
    );
    assert_eq!((record.verified(), record.key()), (Verified::New, None));
    let nulls = line(
        r#", "schema_version": null, "tags": null, "natural_key": null, "provenance": null, "content_sha256": null"#,
    );
    assert_eq!(Record::parse(nulls.as_bytes()).unwrap(), record);
    let keys = [(r#""""#, None), (r#""k""#, Some("k")), (r#""k\u0000 ""#, Some("k\0 "))];
    for (text, key) in keys {
        let record = Record::parse(line(&format!(r#", "natural_key": {text}"#)).as_bytes()).unwrap();
        assert_eq!(record.key(), key);
    }
}

#[test]
fn nothing_is_lost_or_brought_into_another_form() {
    let more = concat!(
        r#", "zz": {"b":1.50,"a":[ ]}, "response": {"n": [1E400, -0, 0.30000000000000004, NaN, -Infinity, 123456789012345678901234567890], "#,
        r#""u": "\u00e9e\u0301\/\u001f\u007f\ud83d\ude00", "d": 1, "d": 2}, "zz": {"b":1.50,"a":[ ]}, "": null"#
    );
    let record = Record::parse(line(more).as_bytes()).unwrap();
    assert_eq!(
        record.response.as_str(),
        "{\"n\": [1E400, -0, 0.30000000000000004, NaN, -Infinity, 123456789012345678901234567890], \
         \"u\": \"\u{e9}e\u{301}/\\u001f\u{7f}\u{1f600}\", \"d\": 1, \"d\": 2}"
    );
    let others: Vec<_> = record.others.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(others, [("zz", r#"{"b": 1.50, "a": []}"#), ("", "null")]);
    assert!(record.line().ends_with(r#", "response_ref": null, "zz": {"b": 1.50, "a": []}, "": null}"#));
    assert_eq!(Record::parse(record.line().as_bytes()).unwrap().line(), record.line());
}

#[test]
fn the_last_of_several_fields_counts() {
    let twice = line(r#", "natural_key": 7, "natural_key": "b", "x": 1, "y": 2, "x": 3, "\u0078": 4"#);
    let record = Record::parse(twice.as_bytes()).unwrap();
    assert_eq!(record.key(), Some("b"));
    assert_eq!(
        record.others.iter().map(|(name, value)| (&**name, value.as_str())).collect::<Vec<_>>(),
        [("x", "4"), ("y", "2")]
    );
}

#[test]
fn what_is_no_record() {
    for (text, why) in [
        ("", "it is no JSON: it ends where a value is due (column 1)"),
        ("{\"a\": 1", "it is no JSON: it ends within a list or object (column 8)"),
        ("[]", "it is no object"),
        ("{}", "exchange_type is missing"),
        (r#"{"exchange_type": null}"#, "exchange_type is missing"),
        (r#"{"exchange_type": 7}"#, "exchange_type is a number, where text is due"),
        (r#"{"exchange_type": "a", "source_system": "b"}"#, "entity_type is missing"),
        (&line(r#", "natural_key": 1"#), "natural_key is a number, where text is due"),
        (&line(r#", "request": []"#), "request is a list, where an object is due"),
        (&line(r#", "exchange_id": {}"#), "exchange_id is an object, where text is due"),
        (&line(r#", "provenance": "me""#), "provenance is text, where an object is due"),
        (&line(r#", "provenance": {"host": 1}"#), "provenance.host is a number, where text or null is due"),
        (&line(r#", "tags": "a""#), "tags is text, where a list is due"),
        (&line(r#", "redactions_applied": {}"#), "redactions_applied is an object, where a list is due"),
        (&line(r#", "schema_version": 1.0"#), "schema_version is a number, where a whole number is due"),
        (&line(r#", "schema_version": true"#), "schema_version is true or false, where a whole number is due"),
        (&line(r#", "response_ref": 1"#), "response_ref is a number, where text is due"),
        (&line(r#", "observed_at_utc": 1705314600"#), "observed_at_utc is a number, where text is due"),
        (&line(r#", "response": "\ud800""#), "it is no JSON: half of a surrogate pair is no character (column 88)"),
    ] {
        assert_eq!(reason(text), why, "{text}");
    }
    let time = reason(&line(r#", "observed_at_utc": "yesterday""#));
    assert_eq!(
        time,
        "observed_at_utc is \"yesterday\", where a time as ISO 8601 has it, like 2024-01-15T10:30:00+00:00, is due"
    );
    let long = reason(&line(&format!(r#", "observed_at_utc": "{}""#, "9".repeat(500))));
    assert!(long.len() < 250 && long.contains("…"), "{long}");
    for hash in ["A".repeat(64), "0".repeat(63), "g".repeat(64), format!("{}é", "0".repeat(62))] {
        let why = reason(&line(&format!(r#", "content_sha256": "{hash}""#)));
        assert!(why.ends_with("where a hash of 64 lower-case hexadecimal digits is due"), "{why}");
    }
}

/// A hash is compared, and only what says that it was redacted, and not by Larder, may have another.
#[test]
fn hashes_are_compared() {
    let zeros = "0".repeat(64);
    let other = format!(r#", "content_sha256": "{zeros}""#);
    let wrong = reason(&line(&other));
    assert!(
        wrong.starts_with(&format!("content_sha256 is {zeros}, but the content has the hash 59518230614705")),
        "{wrong}"
    );
    assert!(reason(&line(&format!(r#"{other}, "redactions_applied": []"#))).starts_with("content_sha256 is"));
    let redacted = format!(r#"{other}, "redactions_applied": ["x"]"#);
    let record = Record::parse(line(&redacted).as_bytes()).unwrap();
    assert_eq!(record.verified(), Verified::RedactedBefore(zeros.parse().unwrap()));
    let ours = format!(r#"{redacted}, "original_commitment": "blake3:00""#);
    assert!(reason(&line(&ours)).starts_with("content_sha256 is"));
}

#[test]
fn limits() {
    let deep = |depth: usize| line(&format!(r#", "response": {}{}"#, "[".repeat(depth), "]".repeat(depth)));
    let read = |depth, limits: Limits| RecordParser::new(limits).read(deep(depth).as_bytes());
    assert!(read(999, Limits::default()).is_ok());
    let why = read(1000, Limits::default()).unwrap_err().to_string();
    assert!(why.starts_with("it is no JSON: it is nested more than 1000 deep (column "), "{why}");
    let record = read(500_000, Limits { depth: 1_000_000, ..Limits::default() }).unwrap();
    assert_eq!(record.response.as_str().len(), 1_000_000);
    assert_eq!(record.clone(), record);
}

/// Very many fields that are not known, all of different names: each is kept, and not looked for among all others.
#[test]
fn many_fields() {
    let more: String = (0..200_000).map(|n| format!(", \"f{n}\": {n}")).collect();
    let record = Record::parse(line(&more).as_bytes()).unwrap();
    assert_eq!(record.others.len(), 200_000);
}

#[test]
fn made_records() {
    let json = |text: &str| JsonText::parse(text).unwrap();
    let made = Record::create("a\"", "s", "é", Some(""), json(" { \"x\" : 1.50 } "), json("[NaN]")).unwrap();
    let wanted = r#"{"exchange_id": "", "exchange_type": "a\"", "source_system": "s", "entity_type": "é", "natural_key": "", "request": {"x": 1.50}, "response": [NaN], "#;
    assert!(made.line().starts_with(wanted), "{}", made.line());
    assert_eq!(Record::parse(made.line().as_bytes()).unwrap().verified(), Verified::Same);
    let why = Record::create("a", "s", "e", None, json("[]"), JsonText::default()).unwrap_err();
    assert_eq!(why.to_string(), "request is a list, where an object is due");
    assert!(JsonText::parse("1 2").is_err());
    let mut changed = made.clone();
    changed.response = json("7");
    assert!(Record::parse(changed.line().as_bytes()).is_err(), "its hash is of what it was");
    let again = changed.hashed().unwrap();
    assert_ne!(again.content_sha256, made.content_sha256);
    assert_eq!(Record::parse(again.line().as_bytes()).unwrap().verified(), Verified::Same);
}
