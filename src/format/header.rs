//! Section 8: the header file.

use crate::model::{Digest, StoreId};

use super::block::Cipher;
use super::{FORMAT_VERSION, HEADER_LEN, TIP_LEN};

const MAGIC: [u8; 8] = *b"LARDER\x1a\n";
const SIGNED: usize = 128;
#[allow(clippy::cast_possible_truncation, reason = "160 fits")]
const LENGTH: u32 = HEADER_LEN as u32;

/// A header, its MAC not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Feature bits that may be ignored.
    pub compatible: u64,
    /// Unknown bits: may be read, not written.
    pub read_only_compatible: u64,
    /// Store id.
    pub store: StoreId,
    /// Seconds since 1970.
    pub created: i64,
    /// How data is sealed.
    pub cipher: Cipher,
    /// Smallest chunk.
    pub chunk_min: u32,
    /// Average chunk.
    pub chunk_avg: u32,
    /// Largest chunk.
    pub chunk_max: u32,
    /// Page boundary mask.
    pub page_mask: u32,
    /// Children before a boundary is tested.
    pub page_min: u32,
    /// Commitment to the id key.
    pub commitment: [u8; 32],
    /// MAC of the bytes before it.
    pub mac: [u8; 32],
}

/// Why a file is not a header that this program can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is something else.
    #[error("not a Larder header")]
    NotAHeader,
    /// Made by a newer version.
    #[error("made by a newer version of Larder (format {0})")]
    Newer(String),
    /// It is a header, but damaged.
    #[error("the header is damaged: {0}")]
    Damaged(&'static str),
}

impl Header {
    /// The 128 bytes that the MAC covers.
    #[must_use]
    pub fn signed_part(&self) -> [u8; SIGNED] {
        let mut out = Vec::with_capacity(SIGNED);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&LENGTH.to_le_bytes());
        out.extend_from_slice(&self.compatible.to_le_bytes());
        out.extend_from_slice(&self.read_only_compatible.to_le_bytes());
        out.extend_from_slice(&0u64.to_le_bytes());
        out.extend_from_slice(self.store.as_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&[self.cipher.number(), 0, 0, 0]);
        for n in [self.chunk_min, self.chunk_avg, self.chunk_max, self.page_mask, self.page_min] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.commitment);
        out.try_into().expect("the fields add up to 128 bytes")
    }

    /// The whole header.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.signed_part().to_vec();
        out.extend_from_slice(&self.mac);
        out
    }

    /// Parses a header. The caller checks the MAC once it has the id key.
    ///
    /// # Errors
    /// [`HeaderError`] tells a foreign file, a newer version and damage apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() < 16 || bytes[..8] != MAGIC {
            return Err(HeaderError::NotAHeader);
        }
        let u32_at =
            |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or([0; 4])));
        let u64_at =
            |at: usize| bytes.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or([0; 8])));
        let version = u32_at(8);
        if version > FORMAT_VERSION {
            return Err(HeaderError::Newer(version.to_string()));
        }
        if version == 0 || bytes.len() != HEADER_LEN || u32_at(12) as usize != HEADER_LEN {
            return Err(HeaderError::Damaged("wrong version or length"));
        }
        let incompatible = u64_at(32);
        if incompatible != 0 {
            return Err(HeaderError::Newer(format!("{version} with features {incompatible:#x}")));
        }
        let cipher = Cipher::from_number(bytes[64]).ok_or(HeaderError::Damaged("unknown cipher"))?;
        let header = Self {
            compatible: u64_at(16),
            read_only_compatible: u64_at(24),
            store: StoreId::from_slice(&bytes[40..56]).ok_or(HeaderError::Damaged("store id"))?,
            created: u64_at(56).cast_signed(),
            cipher,
            chunk_min: u32_at(68),
            chunk_avg: u32_at(72),
            chunk_max: u32_at(76),
            page_mask: u32_at(80),
            page_min: u32_at(84),
            commitment: bytes[96..128].try_into().map_err(|_| HeaderError::Damaged("commitment"))?,
            mac: bytes[128..160].try_into().map_err(|_| HeaderError::Damaged("mac"))?,
        };
        let sizes = header.chunk_min >= 64
            && header.chunk_min <= header.chunk_avg
            && header.chunk_avg <= header.chunk_max
            && header.chunk_max as usize <= super::MAX_CHUNK
            && [header.chunk_min, header.chunk_avg, header.chunk_max].iter().all(|n| n % 2 == 0);
        if !sizes || header.page_min < 2 || header.page_min > 1024 {
            return Err(HeaderError::Damaged("impossible parameters"));
        }
        if header.signed_part()[..] != bytes[..SIGNED] {
            return Err(HeaderError::Damaged("reserved bytes are not zero"));
        }
        Ok(header)
    }
}

/// The newest state that was acknowledged, kept outside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Sequence of the newest log entry, 0 if there is none.
    pub sequence: u64,
    /// Hash of that entry; zeros if there is none.
    pub log_hash: Digest,
}

const TIP_MAGIC: [u8; 8] = *b"LDRTIP1\n";

impl Tip {
    /// The 48 bytes that the MAC covers.
    #[must_use]
    pub fn signed_part(&self) -> Vec<u8> {
        [&TIP_MAGIC[..], &self.sequence.to_le_bytes(), self.log_hash.as_bytes()].concat()
    }

    /// Parses a tip and the MAC behind it, which the caller checks.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, [u8; 32])> {
        if bytes.len() != TIP_LEN || bytes[..8] != TIP_MAGIC {
            return None;
        }
        let sequence = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        Some((Self { sequence, log_hash: Digest::from_slice(&bytes[16..48])? }, bytes[48..].try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            compatible: 0,
            read_only_compatible: 0,
            store: StoreId::from_bytes([7; 16]),
            created: 1_700_000_000,
            cipher: Cipher::Aes256Gcm,
            chunk_min: super::super::CHUNK_MIN,
            chunk_avg: super::super::CHUNK_AVG,
            chunk_max: super::super::CHUNK_MAX,
            page_mask: 63,
            page_min: 16,
            commitment: [1; 32],
            mac: [2; 32],
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Header::parse(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn every_changed_byte_of_the_fixed_part_is_noticed_or_is_a_value() {
        let good = sample().to_bytes();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x80;
            if let Ok(other) = Header::parse(&bytes) {
                assert_ne!(other, sample(), "byte {at}");
            }
        }
        for len in 0..good.len() {
            assert!(Header::parse(&good[..len]).is_err());
        }
    }

    #[test]
    fn newer_versions_are_told_apart() {
        let mut newer = sample().to_bytes();
        newer[8] = 2;
        newer.extend_from_slice(&[0; 40]);
        assert!(matches!(Header::parse(&newer), Err(HeaderError::Newer(_))));
        let mut feature = sample().to_bytes();
        feature[32] = 1;
        assert!(matches!(Header::parse(&feature), Err(HeaderError::Newer(_))));
        assert_eq!(Header::parse(b"something else entirely"), Err(HeaderError::NotAHeader));
    }
}
