//! Exchange records: the hash that each states, against its content. What is stored is what was stored, by the ids of chunks; this tells whether
//! what was stored was right.

use std::collections::HashSet;

use crate::model::{Manifest, Progress, SnapshotId};
use crate::ops::records::{Dataset, Lines};
use crate::records::{RecordParser, Verified};
use crate::store::{Finding, StoreError};
use crate::tree::Pages;

/// Compares each record of each dataset once, and tells how many there were.
pub(super) fn compare(
    pages: &Pages,
    manifests: &[(SnapshotId, Manifest)],
    progress: &dyn Progress,
) -> (u64, Vec<Finding>) {
    let (mut compared, mut findings, mut seen) = (0, Vec::new(), HashSet::new());
    let mut parser = RecordParser::of_stored();
    for (id, manifest) in manifests {
        // What cannot be read is told by who looks at the structure.
        let Ok(Some(dataset)) = Dataset::of(pages, manifest) else { continue };
        let Ok(lines) = dataset.lines() else { continue };
        let mut lines: Lines = lines.without(std::mem::take(&mut seen));
        loop {
            if progress.cancelled() {
                return (compared, findings);
            }
            match lines.next() {
                Ok(Some(line)) => {
                    compared += 1;
                    if let Some(why) = fault(&mut parser, &line) {
                        let what = format!("a record of snapshot {id}");
                        findings.push(Finding::from_error(&StoreError::damage(what, why)));
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    findings.push(Finding::from_error(&e));
                    break;
                }
            }
        }
        seen = lines.seen();
    }
    (compared, findings)
}

/// What is wrong with a line that is stored.
fn fault(parser: &mut RecordParser, line: &[u8]) -> Option<String> {
    match parser.read(line) {
        Err(e) => Some(e.to_string()),
        Ok(record) if record.verified() != Verified::Same => Some("its hash is not that of its content".to_owned()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{JsonText, Record};

    #[test]
    fn what_is_wrong_with_a_line() {
        let response = JsonText::parse("[1.0]").unwrap();
        let line = Record::create("http", "s", "e", Some("k"), JsonText::default(), response).unwrap().line();
        let mut parser = RecordParser::of_stored();
        let mut told = |line: &str| fault(&mut parser, line.as_bytes());
        assert_eq!(told(&line), None);
        assert!(told(&line.replace("1.0", "1")).unwrap().starts_with("content_sha256 is"));
        assert!(told(&line[1..]).is_some());
        for (from, to) in
            [("content_sha256", "content_sha"), ("\"redactions_applied\": []", "\"redactions_applied\": [1]")]
        {
            let other = line.replace(from, to).replace("[1.0]", "[2.0]");
            assert_eq!(told(&other).unwrap(), "its hash is not that of its content");
        }
    }
}
