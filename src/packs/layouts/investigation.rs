//! Judges an investigation archive: metadata, inventory, evidence and its chain, results.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::Evidence;
use crate::records::{ALGORITHM, Chain, DOMAIN, Link, follow, same};

use super::fault::{Faults, LayoutError, Seen};
use super::item::{Item, numbered};
use super::members::{File, Held, Members};
use super::metadata::{Metadata, MetadataError};
use super::provenance::labels;
use super::rows::Rows;
use super::shown::short;
use super::{Layout, Provenance};

/// What the metadata stand in.
pub(super) const METADATA: &str = "metadata.json";
/// What the name of the folder around all begins with.
pub(super) const ROOT: &str = "snapshot-";

/// True if what stands below a folder, which ends with a slash or is empty, is meant to be one.
pub(super) fn is_one(members: &Members, root: &[u8]) -> bool {
    let named = root.starts_with(ROOT.as_bytes());
    let evidence = [root, b"evidence/"].concat();
    let has_evidence = members.below(&evidence).next().is_some();
    let Some(file) = members.file(root, METADATA) else { return named && has_evidence };
    let says_so = || match &file.held {
        Held::Whole(bytes) => {
            crate::records::json::parse(bytes).is_ok_and(|json| json.get("investigation_id").is_some())
        }
        _ => false,
    };
    // What the older system always writes beside it.
    let has_both = ["lineage.json", "code_changes.json"].iter().all(|name| members.file(root, name).is_some());
    named || has_evidence || has_both || says_so()
}

/// Judges one.
///
/// # Errors
/// If its metadata cannot be believed in any part.
pub(super) fn judge(members: &Members, root: &[u8]) -> Result<Seen, LayoutError> {
    let metadata = match members.file(root, METADATA).map(|file| &file.held) {
        None => return Err(MetadataError::None.into()),
        Some(Held::Whole(bytes)) => Metadata::read(bytes)?,
        Some(_) => return Err(MetadataError::TooLong.into()),
    };
    let (mut faults, mut remarks) = (Faults::default(), Vec::new());
    if !metadata.states_version {
        remarks.push("metadata.json states no schema_version: it is read as 1.0, as the format has it".to_owned());
    }
    for (path, what) in &members.others {
        faults.note(
            path.strip_prefix(root).unwrap_or(path),
            format!("{what} has no place in {}", Layout::Investigation.described()),
        );
    }
    for path in members.outside(root) {
        faults.note(&[&b"../"[..], path].concat(), "it stands beside the folder that the archive is");
    }
    compare_files(members, root, &metadata, &mut faults);
    let evidence = Evidenced::gather(members, root, &mut faults);
    evidence.count(&metadata, &mut faults);
    let chain = evidence.chain(&metadata, &mut faults, &mut remarks);
    evidence.compare_rows(&mut faults, &mut remarks);
    remarks.insert(0, evidence.summary(&metadata, chain));
    for name in ["lineage.json", "code_changes.json"] {
        if let Some(File { held: Held::Object(Err(why)), .. }) = members.file(root, name) {
            faults.note(name.as_bytes(), why);
        }
    }
    Ok(Seen {
        layout: Layout::Investigation,
        root: root.strip_suffix(b"/").unwrap_or(root).into(),
        faults: faults.finish(),
        remarks,
        provenance: provenance(&metadata, &evidence, chain),
    })
}

/// Compares the list of files with what is there. metadata.json need not be on it, and is not where the older system wrote it.
fn compare_files(members: &Members, root: &[u8], metadata: &Metadata, faults: &mut Faults) {
    let mut listed = BTreeSet::new();
    for path in &metadata.files {
        if !listed.insert(path.as_bytes()) {
            faults.note(path.as_bytes(), "metadata.json lists it twice");
        }
    }
    for (name, _) in members.below(root) {
        if !listed.remove(name) && name != METADATA.as_bytes() {
            faults.note(name, "metadata.json does not list it");
        }
    }
    for name in listed {
        faults.note(name, "metadata.json lists it, and it is not there");
    }
}

/// What is worth telling of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainState {
    None,
    Valid,
    Broken,
}

impl ChainState {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Valid => "valid",
            Self::Broken => "broken",
        }
    }
}

/// The evidence of an archive.
struct Evidenced<'a> {
    /// By their numbers, and of one number by their names.
    items: Vec<(&'a [u8], &'a Item)>,
    /// Files that should be items, those that are none too.
    files: usize,
    results: Vec<(&'a [u8], u64, &'a Result<Option<Rows>, String>)>,
}

impl<'a> Evidenced<'a> {
    fn gather(members: &'a Members, root: &'a [u8], faults: &mut Faults) -> Self {
        let mut found = Self { items: Vec::new(), files: 0, results: Vec::new() };
        for (name, file) in members.below(root) {
            match &file.held {
                Held::Item(Ok(item)) => found.items.push((name, item)),
                Held::Item(Err(why)) => faults.note(name, why),
                Held::Rows(rows) => {
                    let number = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("evidence/"));
                    let number = number.and_then(numbered).map_or(0, |(number, _)| number);
                    found.results.push((name, number, rows));
                }
                _ => continue,
            }
            found.files += usize::from(matches!(file.held, Held::Item(_)));
        }
        found.items.sort_by_key(|(_, item)| item.link.seq);
        found
    }

    fn summary(&self, metadata: &Metadata, chain: ChainState) -> String {
        let chain = match (chain, &metadata.root_hash) {
            (ChainState::None, _) => "no chain, since no item has a hash".to_owned(),
            (state, Some(root)) => format!("their chain is {}, its end {}", state.as_str(), short(root)),
            (state, None) => format!("their chain is {}", state.as_str()),
        };
        format!("investigation {}: evidence items: {}, {chain}", short(&metadata.investigation_id), self.items.len())
    }

    fn count(&self, metadata: &Metadata, faults: &mut Faults) {
        if metadata.evidence_count != self.files as u64 {
            let what = format!("evidence_count is {}, the evidence items are {}", metadata.evidence_count, self.files);
            faults.note(METADATA.as_bytes(), what);
        }
    }

    fn chain(&self, metadata: &Metadata, faults: &mut Faults, remarks: &mut Vec<String>) -> ChainState {
        let twice = self.items.windows(2).find(|pair| pair[0].1.link.seq == pair[1].1.link.seq);
        if let Some([(_, item), ..]) = twice {
            let seq = item.link.seq;
            remarks
                .push(format!("several evidence items have the number {seq}, of which the older system may keep one"));
        }
        let unknown = metadata.chain.as_ref().filter(|(algorithm, domain)| algorithm != ALGORITHM || domain != DOMAIN);
        if let Some((algorithm, domain)) = unknown {
            let what = format!("its chain is of {:?} under {:?}, which is not known", short(algorithm), short(domain));
            faults.note(METADATA.as_bytes(), what);
        }
        let links: Vec<&Link> = self.items.iter().map(|(_, item)| &item.link).collect();
        let state = match follow(&links) {
            Chain::None => ChainState::None,
            Chain::Valid => ChainState::Valid,
            Chain::Broken(seq, fault) => {
                let name = self.items.iter().find(|(_, item)| item.link.seq == seq).map_or(&b""[..], |(name, _)| name);
                faults
                    .note(name, format!("the chain of evidence breaks at number {seq}: {}", short(&fault.to_string())));
                ChainState::Broken
            }
        };
        let end = links.last().and_then(|link| link.content_hash.as_deref());
        match (&metadata.root_hash, end) {
            (Some(stated), Some(end)) if !same(stated, end) => {
                faults.note(METADATA.as_bytes(), "root_hash is not the content_hash of the last evidence item");
            }
            (Some(_), None) => {
                faults.note(METADATA.as_bytes(), "root_hash is stated, and no evidence item has a hash to prove it");
            }
            (None, Some(_)) => {
                remarks.push("metadata.json states no root_hash: nothing tells where the chain ends".to_owned());
            }
            _ => {}
        }
        state
    }

    fn compare_rows(&self, faults: &mut Faults, remarks: &mut Vec<String>) {
        for (name, number, rows) in &self.results {
            // Of several of one number the last counts, as it did.
            let item = self.items.iter().rev().find(|(_, item)| item.link.seq == *number);
            match (rows, item) {
                (Err(why), _) => faults.note(name, why),
                (Ok(_), None) => faults.note(name, format!("no evidence item has the number {number}")),
                (Ok(None), Some(_)) => {
                    remarks.push(format!("{}: its rows are of sorts that are not compared", super::shown::shown(name)));
                }
                (Ok(Some(rows)), Some((_, item))) => match &item.rows {
                    Some(own) if own == rows => {}
                    Some(own) if own.count != rows.count => {
                        faults.note(name, format!("it has {} rows, its evidence item {}", rows.count, own.count));
                    }
                    Some(_) => faults.note(name, "its rows are not those of its evidence item"),
                    None => faults.note(name, "its evidence item has no rows"),
                },
            }
        }
    }
}

fn provenance(metadata: &Metadata, evidence: &Evidenced, chain: ChainState) -> Provenance {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, item) in &evidence.items {
        *kinds.entry(item.kind.as_deref().unwrap_or("unknown")).or_default() += 1;
    }
    let rows: usize = evidence.items.iter().filter_map(|(_, item)| item.rows.as_ref()).map(|rows| rows.count).sum();
    let metrics =
        json!({ "evidence": evidence.items.len(), "kinds": kinds, "rows": rows, "results": evidence.results.len() });
    let payload = json!({ "replay_of": {
        "layout": Layout::Investigation.as_str(),
        "schema_version": super::SUPPORTED.last(),
        "investigation_id": metadata.investigation_id,
        "created_at": metadata.created_at,
        "source_instance": metadata.source_instance,
        "tenant_id": metadata.tenant_id,
        "status": metadata.status,
        "evidence_count": metadata.evidence_count,
        "root_hash": metadata.root_hash,
        "chain": chain.as_str(),
    }});
    let mut provenance = Provenance {
        original_id: metadata.investigation_id.clone(),
        original_created_at: metadata.created_at.clone(),
        labels: Vec::new(),
        evidence: Evidence {
            scope: Some(Layout::Investigation.as_str().to_owned()),
            scope_ref: Some(metadata.investigation_id.clone()),
            source_ref: metadata.source_instance.clone(),
            metrics: Some(metrics.to_string()),
            payload: Some(payload.to_string()),
            ..Evidence::default()
        },
        references: Vec::new(),
    };
    provenance.label(labels::REPLAY, Some("true"));
    provenance.label(labels::LAYOUT, Some(Layout::Investigation.as_str()));
    provenance.label(labels::ID, Some(&metadata.investigation_id));
    provenance.label(labels::CREATED_AT, metadata.created_at.as_deref());
    provenance.label(labels::STATUS, Some(&metadata.status));
    provenance.label(labels::ROOT_HASH, metadata.root_hash.as_deref());
    provenance
}
