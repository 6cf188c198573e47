//! Sightings: what is kept of a further observation of a content that is known.

use crate::codec::{behind_member, digest, line_members};
use crate::records::{RecordHash, USUAL_END};

/// A line of `sightings.ndjson`, without its end: the hash of the content, and all of the envelope that is not content. What stands behind the
/// hash in a record is left out where it is what stands there usually. Nothing if the record's line is not as lines are written.
pub(super) fn sighting_line(record: &[u8]) -> Option<Vec<u8>> {
    let [hash, id, time, key, provenance] =
        line_members(record, ["content_sha256", "exchange_id", "observed_at_utc", "natural_key", "provenance"])?;
    let mut line = Vec::with_capacity(256);
    for part in [
        &b"{\"content_sha256\": "[..],
        hash?,
        b", \"exchange_id\": ",
        id?,
        b", \"observed_at_utc\": ",
        time?,
        b", \"natural_key\": ",
        key?,
        b", \"provenance\": ",
        provenance?,
        // The object itself ends with its last brace alone: nothing within it, and no text, ends so.
        if record.ends_with(USUAL_END.as_bytes()) { b"}" } else { behind_member(record, "content_sha256")? },
    ] {
        line.extend_from_slice(part);
    }
    Some(line)
}

/// True if a line of a record says that something was redacted in it.
pub(super) fn says_redacted(record: &[u8]) -> bool {
    if record.ends_with(USUAL_END.as_bytes()) {
        return false;
    }
    let list = line_members(record, ["redactions_applied"]).and_then(|[list]| list);
    list.is_some_and(|list| list != b"[]")
}

/// The hash that a line of a record names, and what tells its observation from others.
pub(super) fn observed(record: &[u8]) -> Option<([u8; 32], Observation)> {
    let sighting = sighting_line(record)?;
    // It begins with the hash.
    let hash = std::str::from_utf8(sighting.get(HASH_AT..HASH_AT + 64)?).ok()?.parse::<RecordHash>().ok()?;
    Some((*hash.as_bytes(), observation(&sighting)))
}

/// Where the hash is in a line of sightings.
const HASH_AT: usize = "{\"content_sha256\": \"".len();

/// What tells the observations of one content apart: half of a digest of that line.
pub(super) type Observation = [u8; 16];

/// That of a line of `sightings.ndjson`.
pub(super) fn observation(sighting: &[u8]) -> Observation {
    let mut half = [0; 16];
    half.copy_from_slice(&digest(sighting).as_bytes()[..16]);
    half
}

/// The hash that a line of either sort names, as it is written.
pub(super) fn stated_hash(line: &[u8]) -> Option<&str> {
    let [hash] = line_members(line, ["content_sha256"])?;
    std::str::from_utf8(hash?).ok()?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Record;

    #[test]
    fn a_sighting_is_the_same_from_a_record_and_from_its_line() {
        let begin = r#"{"exchange_type": "http", "source_system": "s", "entity_type": "e", "response": {"x": "}\\\"", "y": [1]}"#;
        for rest in [
            "}",
            r#", "natural_key": "a \"quoted\" \\ k\u00e9y\n", "exchange_id": "1\t2"}"#,
            r#", "observed_at_utc": "2024-01-15T10:30:00.5Z", "provenance": {"host": "h\"{", "more": [1.50, null]}, "tags": ["}"], "other": 1}"#,
            r#", "response_ref": "r", "schema_version": 2}"#,
            r#", "other": {"schema_version": 1, "tags": [], "redactions_applied": [], "response_ref": null}}"#,
        ] {
            let record = Record::parse(format!("{begin}{rest}").as_bytes()).unwrap();
            let line = record.line();
            assert_eq!(sighting_line(line.as_bytes()).unwrap(), record.sighting().as_bytes(), "{line}");
            let (hash, seen) = observed(line.as_bytes()).unwrap();
            assert_eq!((hash, seen), (*record.content_sha256.as_bytes(), observation(record.sighting().as_bytes())));
        }
    }

    /// Of a record with these fields behind the others; the sighting without its beginning, and whether it says that something was redacted.
    #[track_caller]
    fn of(more: &str) -> (String, bool) {
        let line = format!(
            r#"{{"exchange_type": "http", "source_system": "s", "entity_type": "e", "response": {{"schema_version": 2}}{more}}}"#
        );
        let line = Record::parse(line.as_bytes()).unwrap().line();
        let sighting = String::from_utf8(sighting_line(line.as_bytes()).unwrap()).unwrap();
        let (_, behind) = sighting.split_once(r#""provenance": null"#).unwrap();
        serde_json::from_str::<serde_json::Value>(&sighting).unwrap();
        (behind.to_owned(), says_redacted(line.as_bytes()))
    }

    #[test]
    fn a_sighting_has_all_that_is_no_content() {
        assert_eq!(of(""), ("}".to_owned(), false));
        let usual = r#", "schema_version": 1, "tags": ["a"], "redactions_applied": [], "response_ref": null}"#;
        assert_eq!(of(r#", "tags": ["a"]"#), (usual.to_owned(), false));
        let more = r#", "schema_version": 1, "tags": [], "redactions_applied": ["x"], "response_ref": "r", "original_commitment": "c", "z": {"n": 1}}"#;
        assert_eq!(of(&more[..more.len() - 1]), (more.to_owned(), true));
        // What ends like that within another field is part of the field.
        let within = r#", "z": {"schema_version": 1, "tags": [], "redactions_applied": [], "response_ref": null}"#;
        let (behind, redacted) = of(within);
        assert!(behind.ends_with(&format!("{within}}}")) && behind.len() > within.len() + 1 && !redacted, "{behind}");
    }
}
