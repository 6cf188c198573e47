//! Section 14: manifests.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use super::MAX_MANIFEST;
use super::encoding::{DecodeError, decode_ext, encoded, encoded_byte, from_bytes, invalid};
use crate::model::{DatasetName, Evidence, LinksRef, Manifest, RecordsRef, Reference, SnapshotKind, Statistics};

encoded_byte!(SnapshotKind, "kind of snapshot" { Manual = 1, Scheduled = 2, Import = 3, Safety = 4, Pre = 5, Post = 6 });
encoded!(Statistics { files, folders, others, bytes, new_bytes, stored_bytes, unreadable, changed });
encoded!(Reference { key, uri, hash, verified });
encoded!(LinksRef { page, counts });
encoded!(RecordsRef { page, counts, files, records, keys, sightings });
encoded!(Evidence {
    scope,
    scope_ref,
    initiator,
    trigger_source,
    analyzer_version,
    rule_version,
    source_ref,
    immutable,
    retention_class,
    metrics,
    payload,
});

impl Encode for DatasetName {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.as_str().encode(e)
    }
}

impl<C> Decode<C> for DatasetName {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        <String as Decode<C>>::decode(d)?.parse().map_err(invalid)
    }
}

impl Encode for Manifest {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        1u8.encode(e)?;
        self.sequence.encode(e)?;
        self.previous.encode(e)?;
        self.arrival.encode(e)?;
        self.kind.encode(e)?;
        self.dataset.encode(e)?;
        self.parent.encode(e)?;
        self.root.encode(e)?;
        self.links.encode(e)?;
        self.statistics.encode(e)?;
        self.client_time.encode(e)?;
        self.host.encode(e)?;
        self.user.encode(e)?;
        self.program.encode(e)?;
        self.sources.encode(e)?;
        self.git_revision.encode(e)?;
        self.reason.encode(e)?;
        self.labels.encode(e)?;
        self.references.encode(e)?;
        self.evidence.encode(e)?;
        self.ext.encode(e)
    }
}

impl Decode<()> for Manifest {
    fn decode<D: Decoder<Context = ()>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let version = u8::decode(d)?;
        if version != 1 {
            return Err(invalid(format!("version {version}, made by a newer Larder")));
        }
        let manifest = Self {
            sequence: Decode::decode(d)?,
            previous: Decode::decode(d)?,
            arrival: Decode::decode(d)?,
            kind: Decode::decode(d)?,
            dataset: Decode::decode(d)?,
            parent: Decode::decode(d)?,
            root: Decode::decode(d)?,
            links: Decode::decode(d)?,
            statistics: Decode::decode(d)?,
            client_time: Decode::decode(d)?,
            host: Decode::decode(d)?,
            user: Decode::decode(d)?,
            program: Decode::decode(d)?,
            sources: Decode::decode(d)?,
            git_revision: Decode::decode(d)?,
            reason: Decode::decode(d)?,
            labels: Decode::decode(d)?,
            references: Decode::decode(d)?,
            evidence: Decode::decode(d)?,
            ext: decode_ext(d)?,
        };
        if manifest.root.folder().is_none() || !manifest.root.name.as_bytes().is_empty() {
            return Err(invalid("its root is not a nameless folder"));
        }
        if !manifest.labels.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(invalid("labels out of order"));
        }
        Ok(manifest)
    }
}

/// Decodes a manifest.
///
/// # Errors
/// If it is malformed.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, DecodeError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(DecodeError::malformed("manifest", "longer than a manifest may be"));
    }
    from_bytes(bytes, "manifest")
}

/// True if the sums of a manifest are those of its tree, as far as its root tells: views, which only record datasets have, count in that alone.
#[must_use]
pub fn sums_fit(manifest: &Manifest) -> bool {
    let Some(tree) = manifest.root.folder() else { return false };
    let sums = &manifest.statistics;
    let entries = [sums.folders, sums.others].into_iter().try_fold(sums.files, u64::checked_add);
    let has_views = manifest.ext.iter().any(|(tag, _)| *tag == Manifest::RECORDS);
    // Of entries whose sum is beyond all numbers nothing can be said.
    let bytes_fit = tree.counts.bytes == u64::MAX || sums.bytes == tree.counts.bytes;
    entries.is_some_and(|entries| {
        let is_less = has_views && entries <= tree.counts.total && sums.bytes <= tree.counts.bytes;
        is_less || entries == tree.counts.total && bytes_fit
    })
}

/// What a snapshot of a record dataset keeps beside its tree; nothing if it is of something else.
///
/// # Errors
/// If it is malformed.
pub fn records_of(manifest: &Manifest) -> Result<Option<RecordsRef>, DecodeError> {
    let bytes = manifest.ext.iter().find(|(tag, _)| *tag == Manifest::RECORDS).map(|(_, bytes)| bytes);
    bytes.map(|bytes| from_bytes(bytes, "manifest's index of records")).transpose()
}
