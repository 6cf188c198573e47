//! Section 6: hashing and ids. The one door to BLAKE3 and CRC-32.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::model::{ChunkId, DatasetKey, DatasetName, Digest, EpochId, KeyName, LinkGroup, PageId, SnapshotId};

/// What a MAC is made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacLabel {
    /// The header.
    Header,
    /// An epoch record.
    Epoch,
    /// A log entry.
    Log,
    /// A dataset record.
    Dataset,
    /// The tip.
    Tip,
    /// A row of the ledger.
    Ledger,
    /// A row of `digests`.
    Digest,
}

impl MacLabel {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Header => b"header",
            Self::Epoch => b"epoch",
            Self::Log => b"log",
            Self::Dataset => b"dataset",
            Self::Tip => b"tip",
            Self::Ledger => b"ledger",
            Self::Digest => b"digest",
        }
    }
}

/// The keys that follow from a store's id key. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct IdKeys {
    chunk: [u8; 32],
    page: [u8; 32],
    manifest: [u8; 32],
    boundary: [u8; 32],
    dataset: [u8; 32],
    link: [u8; 32],
    mac: [u8; 32],
    cache: [u8; 32],
    pack: [u8; 32],
    record: [u8; 32],
    redaction: [u8; 32],
    commitment: [u8; 32],
}

impl std::fmt::Debug for IdKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKeys(secret)")
    }
}

/// Plain BLAKE3.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// The commitment to an id key.
#[must_use]
pub fn commitment(id_key: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("larder v1 id key commitment", id_key)
}

/// What ties a redacted record to the one before, whose content had this SHA-256: whoever has the key can tell that one when it is shown,
/// nobody can find it by trying who has not.
#[must_use]
pub fn commit_to_record(key: &[u8; 32], content: &[u8; 32]) -> [u8; 32] {
    keyed(key, content)
}

/// The id key of unencrypted stores.
#[must_use]
pub fn public_id_key() -> [u8; 32] {
    blake3::derive_key("larder v1 public id key", b"")
}

/// The chunker seed of unencrypted stores.
#[must_use]
pub fn public_seed() -> [u8; 32] {
    blake3::derive_key("larder v1 public chunker seed", b"")
}

pub(super) fn keyed(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// A key that follows from another secret.
pub(super) fn derived(context: &str, secret: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, secret)
}

/// Compares in constant time.
pub(super) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

impl IdKeys {
    /// Derives them.
    #[must_use]
    pub fn new(id_key: &[u8; 32]) -> Self {
        let derive = |context| blake3::derive_key(context, id_key);
        Self {
            chunk: derive("larder v1 chunk id"),
            page: derive("larder v1 page id"),
            manifest: derive("larder v1 manifest id"),
            boundary: derive("larder v1 page boundary"),
            dataset: derive("larder v1 dataset"),
            link: derive("larder v1 link group"),
            mac: derive("larder v1 mac"),
            cache: derive("larder v1 capture cache"),
            pack: derive("larder v1 pack"),
            record: derive("larder v1 record"),
            redaction: derive("larder v1 redaction"),
            commitment: commitment(id_key),
        }
    }

    /// Id of a chunk whose plain digest is known.
    #[must_use]
    pub fn chunk_of(&self, content: &Digest) -> ChunkId {
        ChunkId::from_bytes(keyed(&self.chunk, content.as_bytes()))
    }

    /// Id of a chunk.
    #[must_use]
    pub fn chunk(&self, bytes: &[u8]) -> ChunkId {
        self.chunk_of(&digest(bytes))
    }

    /// Id of a page.
    #[must_use]
    pub fn page(&self, bytes: &[u8]) -> PageId {
        PageId::from_bytes(keyed(&self.page, digest(bytes).as_bytes()))
    }

    /// Id of a manifest.
    #[must_use]
    pub fn manifest(&self, bytes: &[u8]) -> SnapshotId {
        SnapshotId::from_bytes(keyed(&self.manifest, digest(bytes).as_bytes()))
    }

    /// Key of a dataset.
    #[must_use]
    pub fn dataset(&self, name: &DatasetName) -> DatasetKey {
        let hash = keyed(&self.dataset, name.as_str().as_bytes());
        DatasetKey::from_slice(&hash[..DatasetKey::LEN]).expect("16 of 32 bytes")
    }

    /// Group of the hard links whose first path this is.
    #[must_use]
    pub fn link_group(&self, path: &[u8]) -> LinkGroup {
        let hash = keyed(&self.link, path);
        LinkGroup::from_slice(&hash[..LinkGroup::LEN]).expect("16 of 32 bytes")
    }

    /// What a row of `digests` is called, of a pack with this SHA-256.
    #[must_use]
    pub fn pack(&self, sha256: &[u8; 32]) -> [u8; 32] {
        keyed(&self.pack, &[&b"sha256"[..], &[0], sha256].concat())
    }

    /// What the index of a record dataset has for something: `sort` tells the sorts of things apart.
    #[must_use]
    pub fn record(&self, sort: u8, what: &[u8]) -> [u8; 6] {
        let mut hasher = blake3::Hasher::new_keyed(&self.record);
        hasher.update(&[sort]).update(what);
        let mut short = [0; 6];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..6]);
        short
    }

    /// What ties redacted records to those before redaction.
    #[must_use]
    pub fn redaction(&self) -> [u8; 32] {
        self.redaction
    }

    /// What such a row has for the name of the pack's file.
    #[must_use]
    pub fn pack_file(&self, name: &[u8]) -> [u8; 16] {
        let hash = keyed(&self.pack, &[&b"file"[..], &[0], name].concat());
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        half
    }

    /// The number whose low bits decide whether a page ends after an item with this key.
    #[must_use]
    pub fn boundary(&self, level: u8, kind: u8, key: &[u8]) -> u32 {
        let mut hasher = blake3::Hasher::new_keyed(&self.boundary);
        hasher.update(&[level, kind]).update(key);
        let hash = hasher.finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A MAC.
    #[must_use]
    pub fn mac(&self, label: MacLabel, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac);
        hasher.update(label.text()).update(&[0]);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Compares a MAC in constant time.
    #[must_use]
    pub fn mac_holds(&self, label: MacLabel, parts: &[&[u8]], mac: &[u8; 32]) -> bool {
        same(&self.mac(label, parts), mac)
    }

    /// The key that seals the capture cache file with this salt.
    pub(super) fn cache_file_key(&self, salt: &[u8; 16]) -> [u8; 32] {
        let material = Zeroizing::new([&self.cache[..], salt].concat());
        blake3::derive_key("larder v1 capture cache file", &material)
    }

    /// The commitment, as the header has it.
    #[must_use]
    pub fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }
}

/// What only owners of a generation of the store's identities can make: it follows from the identity of the chunk class. Wiped
/// when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Authority([u8; 32]);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(secret)")
    }
}

impl Authority {
    /// Of the owners who hold this identity of the chunk class.
    #[must_use]
    pub fn new(chunk_identity: &str) -> Self {
        Self(blake3::derive_key("larder v1 key authority", chunk_identity.as_bytes()))
    }

    /// What the record of a key holds, so that its holder knows records that owners made.
    #[must_use]
    pub fn token(&self, name: &KeyName) -> [u8; 32] {
        self.make(b"token", &[name.as_bytes()])
    }

    /// The proof that an owner changed the keys: bound to the place of the log entry that tells of it.
    #[must_use]
    pub fn proof(&self, sequence: u64, previous: &Digest, detail: &[u8]) -> [u8; 32] {
        self.make(b"key change", &[&sequence.to_le_bytes(), previous.as_bytes(), detail])
    }

    /// Compares a proof in constant time.
    #[must_use]
    pub fn proof_holds(&self, sequence: u64, previous: &Digest, detail: &[u8], proof: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.proof(sequence, previous, detail)) == blake3::Hash::from_bytes(*proof)
    }

    /// The proof that an owner accepted the loss of entries of the log: bound to the place of the entry that says so.
    #[must_use]
    pub fn loss_proof(&self, sequence: u64, previous: &Digest, list: &[u8]) -> [u8; 32] {
        self.make(b"loss", &[&sequence.to_le_bytes(), previous.as_bytes(), list])
    }

    /// Compares such a proof in constant time.
    #[must_use]
    pub fn loss_proof_holds(&self, sequence: u64, previous: &Digest, list: &[u8], proof: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.loss_proof(sequence, previous, list)) == blake3::Hash::from_bytes(*proof)
    }

    /// The proof that an owner made the keys of an epoch.
    #[must_use]
    pub fn epoch_proof(&self, epoch: &EpochId) -> [u8; 32] {
        self.make(b"epoch", &[epoch.as_bytes()])
    }

    /// Compares such a proof in constant time.
    #[must_use]
    pub fn epoch_proof_holds(&self, epoch: &EpochId, proof: &[u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.epoch_proof(epoch)) == blake3::Hash::from_bytes(*proof)
    }

    fn make(&self, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(label).update(&[0]);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// The sums over a whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentSum {
    /// CRC-32 (IEEE).
    pub crc32: u32,
    /// BLAKE3.
    pub blake3: Digest,
}

impl ContentSum {
    /// The sums of bytes at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { crc32: crc32fast::hash(bytes), blake3: digest(bytes) }
    }
}

/// The CRC-32 (IEEE) of a content that comes piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Crc32(crc32fast::Hasher);

impl Crc32 {
    /// Of bytes at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u32 {
        crc32fast::hash(bytes)
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The digest of a content that comes piece by piece.
#[derive(Debug, Clone, Default)]
pub struct ContentDigest(Box<blake3::Hasher>);

/// Sums a content up piece by piece.
#[derive(Debug, Clone, Default)]
pub struct ContentHash {
    crc32: crc32fast::Hasher,
    blake3: ContentDigest,
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Gives so many zeros to `to`, in slices.
fn zeros(mut len: u64, mut to: impl FnMut(&[u8])) {
    while len > 0 {
        let step = len.min(ZEROS.len() as u64);
        to(&ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())]);
        len -= step;
    }
}

impl ContentDigest {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// So many zeros (a hole).
    pub fn zeros(&mut self, len: u64) {
        zeros(len, |bytes| self.update(bytes));
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest::from_bytes(*self.0.finalize().as_bytes())
    }
}

impl ContentHash {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc32.update(bytes);
        self.blake3.update(bytes);
    }

    /// So many zeros (a hole).
    pub fn zeros(&mut self, len: u64) {
        zeros(len, |bytes| self.update(bytes));
    }

    /// The sums.
    #[must_use]
    pub fn finish(self) -> ContentSum {
        ContentSum { crc32: self.crc32.finalize(), blake3: self.blake3.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piecewise_equals_whole() {
        let mut piecewise = ContentHash::default();
        piecewise.update(b"abc");
        piecewise.zeros(100_000);
        let whole = [&b"abc"[..], &vec![0; 100_000]].concat();
        assert_eq!(piecewise.finish(), ContentSum::of(&whole));
        let mut alone = ContentDigest::default();
        alone.update(b"abc");
        alone.zeros(100_000);
        assert_eq!(alone.finish(), digest(&whole));
    }

    #[test]
    fn an_authority_binds_names_places_and_words() {
        let (one, name) = (Authority::new("a"), KeyName::from_bytes([1; 8]));
        assert_ne!(one.token(&name), Authority::new("b").token(&name));
        assert_ne!(one.token(&name), one.token(&KeyName::from_bytes([2; 8])));
        let zero = Digest::from_bytes([0; 32]);
        let proof = one.proof(7, &zero, b"detail");
        assert!(one.proof_holds(7, &zero, b"detail", &proof));
        assert!(!one.proof_holds(8, &zero, b"detail", &proof));
        assert!(!one.proof_holds(7, &digest(b"x"), b"detail", &proof));
        assert!(!one.proof_holds(7, &zero, b"other", &proof));
        let epoch = EpochId::from_bytes([1; 16]);
        let proof = one.epoch_proof(&epoch);
        assert!(one.epoch_proof_holds(&epoch, &proof) && !Authority::new("b").epoch_proof_holds(&epoch, &proof));
        assert!(!one.epoch_proof_holds(&EpochId::from_bytes([2; 16]), &proof));
    }

    #[test]
    fn contexts_are_distinct() {
        let keys = IdKeys::new(&[1; 32]);
        assert_ne!(keys.chunk(b"x").as_bytes(), keys.page(b"x").as_bytes());
        assert_ne!(keys.page(b"x").as_bytes(), keys.manifest(b"x").as_bytes());
        assert_ne!(keys.mac(MacLabel::Log, &[b"x"]), keys.mac(MacLabel::Epoch, &[b"x"]));
        assert_eq!(keys.mac(MacLabel::Log, &[b"x", b"y"]), keys.mac(MacLabel::Log, &[b"xy"]));
    }
}
