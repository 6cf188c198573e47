//! Sightings: what is kept of a further observation of a content that is known.

use crate::codec::{digest, line_members};
use crate::records::RecordHash;

/// A line of `sightings.ndjson`, without its end: the hash of the content, and of the envelope what tells one observation from another. Nothing
/// if the record's line is not as lines are written.
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
        b"}",
    ] {
        line.extend_from_slice(part);
    }
    Some(line)
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
        ] {
            let record = Record::parse(format!("{begin}{rest}").as_bytes()).unwrap();
            let line = record.line();
            assert_eq!(sighting_line(line.as_bytes()).unwrap(), record.sighting().as_bytes(), "{line}");
            let (hash, seen) = observed(line.as_bytes()).unwrap();
            assert_eq!((hash, seen), (*record.content_sha256.as_bytes(), observation(record.sighting().as_bytes())));
        }
    }
}
