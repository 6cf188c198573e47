//! What people write: names of snapshots, times, sizes, identities, `larder.toml`.

use std::path::Path;
use std::sync::Arc;

use crate::codec::{Passphrase, Prompt, parse_identities, parse_recipient, recipient_of};
use crate::model::{DatasetName, KeyName, Name, SnapshotId, Timestamp, age_text};
use crate::ops::capture::ignore_files;
use crate::snapshots::{SnapshotName, When, age_seconds};

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// `SNAP[:PATH]`, and what names in it may be.
pub(super) fn snapshot_name(bytes: &[u8]) -> bool {
    if let Some(text) = text(bytes) {
        let name = text.parse::<DatasetName>().ok();
        assert!(name.is_none_or(|name| name.as_str() == text && DatasetName::coerce(text, "x") == name));
        let coerced = DatasetName::coerce(text, "x");
        assert_eq!(coerced.as_str().parse().ok(), Some(coerced), "what is coerced is no name");
        let id = text
            .parse::<SnapshotId>()
            .map(|id| id.to_string())
            .or_else(|_| text.parse().map(|id: KeyName| id.to_string()));
        assert!(id.is_ok_and(|id| id.eq_ignore_ascii_case(text)) || text.parse::<SnapshotId>().is_err());
    }
    let Ok((name, path)) = SnapshotName::with_path(bytes) else { return false };
    let front = bytes.strip_suffix(path).expect("the path is the end of the text");
    let front = if path.is_empty() { front.strip_suffix(b":").unwrap_or(front) } else { &front[..front.len() - 1] };
    assert_eq!(text(front).and_then(|front| front.parse().ok()), Some(name));
    true
}

/// Times, ages and sizes.
pub(super) fn time(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let now = Timestamp { seconds: 1_700_000_000, nanos: 5 };
    let read = [When::parse(text), When::parse_or_age(text, now), When::parse_or_ahead(text, now)];
    for when in read.iter().flatten() {
        assert!(when.first <= when.last && when.first.nanos < 1_000_000_000 && when.last.nanos < 1_000_000_000);
    }
    let age = age_seconds(text);
    // An age may lead past the years that there are dates for.
    assert!(age.is_none() || read[0].is_err(), "an age is read as a time");
    assert!(age.is_some() || read[0].is_ok() == read[1].is_ok(), "what is no age is read as one");
    if let Some(age) = age {
        assert_eq!(age_seconds(&age_text(age.try_into().expect("no age is negative"))), Some(age));
    }
    let size = crate::cli::size::parse(text);
    assert!(
        size.as_ref().is_ok_and(|bytes| crate::cli::size::parse(&bytes.to_string()) == Ok(*bytes)) || size.is_err()
    );
    read[1].is_ok() || size.is_ok()
}

struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// Files of identities, recipients.
pub(super) fn identities(bytes: &[u8]) -> bool {
    let found = parse_identities(bytes, "file", Arc::new(Nobody));
    assert!(found.as_ref().is_ok_and(|list| !list.is_empty()) || found.is_err());
    let recipient = text(bytes).map(|text| {
        assert!(recipient_of(text).is_none_or(|recipient| recipient.starts_with("age1")));
        let recipient = parse_recipient(text, Arc::new(Nobody));
        match &recipient {
            Ok(recipient) => assert_eq!(recipient.to_string(), text.trim()),
            Err(e) => {
                let secret = text.trim().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-");
                assert!(!secret || text.trim().len() < 20 || !e.to_string().contains(text.trim()), "a secret is shown");
            }
        }
        recipient.is_ok()
    });
    found.is_ok() || recipient == Some(true)
}

/// `.larderignore` and `.gitignore`, which anybody may have written who may write in the source.
pub(super) fn ignore_file(bytes: &[u8]) -> bool {
    let mut troubles = Vec::new();
    let rules = ignore_files::parse(bytes, ".gitignore", &mut troubles);
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    assert!(troubles.iter().all(|trouble| trouble.line.is_none_or(|line| (1..=lines.len()).contains(&line))));
    // Names that the patterns themselves are, where folders can hold them.
    let names = lines.iter().filter_map(|line| Name::new(line).ok());
    for name in names.take(8).chain(Name::new(b"a.o")) {
        for path in [Path::new(name.as_os()).to_owned(), Path::new("a/b").join(name.as_os())] {
            let _ = (rules.matched(&path, false), rules.matched(&path, true));
        }
    }
    !rules.is_empty()
}

/// `larder.toml`.
pub(super) fn config(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(crate::cli::config::parse::is_read)
}
