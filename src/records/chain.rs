//! The chain of hashes over evidence: each item vouches for its content and for the item before it.
//!
//! `content_hash` = SHA-256 of `evidence_v1:` and the canonical form (RFC 8785) of `{content, kind, prev_hash, seq}`.

use std::borrow::Cow;

use super::canonical::{CanonicalError, jcs};
use super::json::Json;
use crate::codec::Sha256;

/// What stands in front of the canonical form, so that no hash of another system can be taken for one of these.
pub const DOMAIN: &str = "evidence_v1:";
/// The hash.
pub const ALGORITHM: &str = "sha256";

/// What an evidence item says of its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number; 0 if it has none.
    pub seq: u64,
    /// The hash of the item before it.
    pub prev_hash: Option<String>,
    /// Its own, as it states it.
    pub content_hash: Option<String>,
    /// Its own, computed.
    pub computed: Result<String, CanonicalError>,
}

/// What a chain is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// No item states a hash.
    None,
    /// Every hash is what it should be.
    Valid,
    /// The first item, by its number, whose hash is not.
    Broken(u64, ChainFault),
}

/// What is wrong with an item's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// The first item names one before it.
    #[error("genesis: the first item names one before it in prev_hash")]
    Genesis,
    /// It does not name the item before it.
    #[error("prev_hash mismatch: it is not the content_hash of the item before it")]
    PrevHash,
    /// Its content is not what was hashed.
    #[error("content_hash mismatch: the content is not what was hashed")]
    ContentHash,
    /// It states no hash, others do.
    #[error("content_hash missing, though other items have one")]
    NoHash,
    /// Its hash cannot be computed.
    #[error("content_hash cannot be computed: {0}")]
    NotCanonical(CanonicalError),
}

impl Link {
    /// Reads it from an evidence item.
    ///
    /// # Errors
    /// What the item says that cannot be: it is no object, has a name twice, a number or hash that is none.
    pub fn of(item: &Json) -> Result<Self, String> {
        if item.members().is_none() {
            return Err("it is no object".to_owned());
        }
        if let Some(name) = item.doubled() {
            return Err(format!("the name {name:?} stands in it twice"));
        }
        let seq = match item.get("seq") {
            None => 0,
            Some(Json::Number(text)) => text.parse().map_err(|_| format!("seq {text} is no number of an item"))?,
            Some(_) => return Err("seq is no number".to_owned()),
        };
        let hash = |name: &str| match item.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone().into_owned())),
            Some(_) => Err(format!("{name} is neither text nor null")),
        };
        let (prev_hash, content_hash) = (hash("prev_hash")?, hash("content_hash")?);
        let computed = content_hash_of(item, seq, prev_hash.as_deref());
        Ok(Self { seq, prev_hash, content_hash, computed })
    }
}

/// The hash of an item that stands behind the one with the hash `prev`.
///
/// # Errors
/// If its content has no canonical form.
pub fn content_hash_of(item: &Json, seq: u64, prev: Option<&str>) -> Result<String, CanonicalError> {
    let member = |name: &str| item.get(name).cloned().unwrap_or(Json::Null);
    let hashed = Json::Object(vec![
        ("content".into(), member("content")),
        ("kind".into(), member("kind")),
        ("prev_hash".into(), prev.map_or(Json::Null, |hash| Json::Text(hash.into()))),
        ("seq".into(), Json::Number(Cow::Owned(seq.to_string()))),
    ]);
    let mut hash = Sha256::default();
    hash.update(DOMAIN.as_bytes());
    jcs(&hashed, &mut |piece| hash.update(piece.as_bytes()))?;
    Ok(hash.hex())
}

/// Follows the chain. `links` are sorted by their numbers.
#[must_use]
pub fn follow(links: &[&Link]) -> Chain {
    if links.iter().all(|link| link.content_hash.is_none()) {
        return Chain::None;
    }
    let mut before: Option<&str> = None;
    for (at, link) in links.iter().enumerate() {
        let broken = |fault| Chain::Broken(link.seq, fault);
        let Some(stated) = &link.content_hash else { return broken(ChainFault::NoHash) };
        match (&link.prev_hash, before) {
            (Some(_), None) if at == 0 => return broken(ChainFault::Genesis),
            (Some(prev), Some(before)) if !same(prev, before) => return broken(ChainFault::PrevHash),
            (None, Some(_)) => return broken(ChainFault::PrevHash),
            _ => {}
        }
        match &link.computed {
            Err(e) => return broken(ChainFault::NotCanonical(e.clone())),
            Ok(computed) if !same(computed, stated) => return broken(ChainFault::ContentHash),
            Ok(_) => before = Some(stated),
        }
    }
    Chain::Valid
}

/// Compares two hashes in a time that does not tell where they differ.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    const VECTORS: &str = include_str!("../../tests/data/investigations/chain_vectors.jsonl");

    fn item(seq: u64, prev: Option<&str>, content: &str) -> Link {
        let prev = prev.map_or("null".to_owned(), |hash| format!("\"{hash}\""));
        let text = format!(r#"{{"seq": {seq}, "kind": "k", "prev_hash": {prev}, "content": {content}}}"#);
        let mut link = Link::of(&parse(text.as_bytes()).unwrap()).unwrap();
        link.content_hash = link.computed.clone().ok();
        link
    }

    #[test]
    fn vectors_bit_for_bit() {
        let mut count = 0;
        for line in VECTORS.lines() {
            let link = Link::of(&parse(line.as_bytes()).unwrap()).unwrap();
            assert_eq!(link.computed.as_ref().ok(), link.content_hash.as_ref(), "{line}");
            count += 1;
        }
        assert_eq!(count, 4);
    }

    #[track_caller]
    fn broken(links: [&Link; 3], seq: u64, fault: ChainFault) {
        assert_eq!(follow(&links), Chain::Broken(seq, fault));
    }

    #[test]
    fn the_first_break_is_told() {
        let first = item(1, None, "1");
        let second = item(5, first.content_hash.as_deref(), "{\"b\": 2.0}");
        let third = item(6, second.content_hash.as_deref(), "[]");
        assert_eq!(follow(&[&first, &second, &third]), Chain::Valid);
        assert_eq!(follow(&[]), Chain::None);
        let changed = |link: &Link, change: fn(&mut Link)| {
            let mut link = link.clone();
            change(&mut link);
            link
        };
        let other = |link: &mut Link| link.content_hash = Some("0".repeat(64));
        let bare = |link: &mut Link| link.content_hash = None;
        let upper = |link: &mut Link| link.content_hash = link.content_hash.as_ref().map(|h| h.to_uppercase());
        let cut = |link: &mut Link| link.prev_hash = None;
        let none = [&first, &second].map(|link| changed(link, bare));
        assert_eq!(follow(&[&none[0], &none[1]]), Chain::None);
        broken([&second, &second, &third], 5, ChainFault::Genesis);
        broken([&first, &third, &third], 6, ChainFault::PrevHash);
        broken([&first, &changed(&second, cut), &third], 5, ChainFault::PrevHash);
        broken([&first, &changed(&second, other), &third], 5, ChainFault::ContentHash);
        broken([&changed(&first, upper), &second, &third], 1, ChainFault::ContentHash);
        broken([&first, &second, &changed(&third, bare)], 6, ChainFault::NoHash);
        let mut big = item(6, second.content_hash.as_deref(), "12345678901234567890");
        big.content_hash = Some("0".repeat(64));
        let why = CanonicalError::BeyondDoubles("12345678901234567890".to_owned());
        broken([&first, &second, &big], 6, ChainFault::NotCanonical(why));
    }

    #[test]
    fn what_is_no_item() {
        for text in [
            "[]",
            "1",
            r#"{"seq": "1"}"#,
            r#"{"seq": -1}"#,
            r#"{"seq": 1.0}"#,
            r#"{"prev_hash": 1}"#,
            r#"{"a": 1, "a": 2}"#,
        ] {
            assert!(Link::of(&parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
    }
}
