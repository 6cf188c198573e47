//! Section 5: the one door to bincode. `store-format.md` spells its bytes out, so the crate is replaceable.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use crate::model::{ChunkId, DatasetKey, Digest, EpochId, KeyName, LinkGroup, PageId, SnapshotId, StoreId, Timestamp};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the structure that was expected.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A version that this program does not know.
    #[error("{what} has version {found}, which this program does not know")]
    Version {
        /// Which structure.
        what: &'static str,
        /// Its version.
        found: u64,
    },
}

impl DecodeError {
    /// A malformed structure.
    pub fn malformed(what: &'static str, why: impl ToString) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }
}

/// What a decoder may allocate at most, whatever a length in the bytes says.
const DECODE_LIMIT: usize = 64 << 20;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

/// The encoded form of a value.
pub fn to_bytes<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).expect("encoding to memory cannot fail")
}

/// Decodes a value that must be exactly these bytes: nothing left over, every integer in its shortest form.
///
/// # Errors
/// [`DecodeError::Malformed`] names `what` and what is wrong.
pub fn from_bytes<T: Decode<()> + Encode>(bytes: &[u8], what: &'static str) -> Result<T, DecodeError> {
    let (value, used): (T, usize) =
        bincode::decode_from_slice(bytes, config()).map_err(|e| DecodeError::malformed(what, describe(&e)))?;
    if used != bytes.len() {
        return Err(DecodeError::malformed(what, format!("{} bytes left over", bytes.len() - used)));
    }
    if to_bytes(&value) != bytes {
        return Err(DecodeError::malformed(what, "not in canonical form"));
    }
    Ok(value)
}

fn describe(error: &BincodeDecode) -> String {
    match error {
        BincodeDecode::UnexpectedEnd { .. } => "it ends too early".to_owned(),
        BincodeDecode::LimitExceeded => "a length is beyond the limit".to_owned(),
        BincodeDecode::OtherString(why) => why.clone(),
        other => other.to_string(),
    }
}

/// An error from within a decoder.
pub(super) fn invalid(why: impl ToString) -> BincodeDecode {
    BincodeDecode::OtherString(why.to_string())
}

/// Appends a MAC to encoded bytes.
#[must_use]
pub fn join_mac(mut bytes: Vec<u8>, mac: &[u8; 32]) -> Vec<u8> {
    bytes.extend_from_slice(mac);
    bytes
}

/// Splits encoded bytes and the MAC behind them.
///
/// # Errors
/// If there are too few bytes.
pub fn split_mac<'a>(bytes: &'a [u8], what: &'static str) -> Result<(&'a [u8], &'a [u8; 32]), DecodeError> {
    bytes.split_last_chunk::<32>().ok_or_else(|| DecodeError::malformed(what, "it ends too early"))
}

/// Implements encoding for a struct: its fields in the order given.
macro_rules! encoded {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl bincode::Encode for $type {
            fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
                $(bincode::Encode::encode(&self.$field, e)?;)*
                Ok(())
            }
        }
        impl<C> bincode::Decode<C> for $type {
            fn decode<D: bincode::de::Decoder<Context = C>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
                Ok(Self { $($field: bincode::Decode::decode(d)?),* })
            }
        }
    };
}
pub(super) use encoded;

/// Implements encoding for a plain enum: one byte each.
macro_rules! encoded_byte {
    ($type:ty, $what:literal { $($variant:ident = $number:literal),* $(,)? }) => {
        impl bincode::Encode for $type {
            fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
                let byte: u8 = match self { $(Self::$variant => $number),* };
                bincode::Encode::encode(&byte, e)
            }
        }
        impl<C> bincode::Decode<C> for $type {
            fn decode<D: bincode::de::Decoder<Context = C>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
                match <u8 as bincode::Decode<C>>::decode(d)? {
                    $($number => Ok(Self::$variant),)*
                    other => Err($crate::format::encoding::invalid(format!(concat!("unknown ", $what, " {}"), other))),
                }
            }
        }
    };
}
pub(super) use encoded_byte;

macro_rules! encoded_id {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
                self.as_bytes().encode(e)
            }
        }
        impl<C> Decode<C> for $type {
            fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
                Ok(Self::from_bytes(Decode::decode(d)?))
            }
        }
    )*};
}
encoded_id!(ChunkId, PageId, SnapshotId, Digest, StoreId, EpochId, DatasetKey, LinkGroup, KeyName);

impl Encode for Timestamp {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.seconds.encode(e)?;
        self.nanos.encode(e)
    }
}

impl<C> Decode<C> for Timestamp {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        let (seconds, nanos) = (Decode::decode(d)?, Decode::decode(d)?);
        if nanos >= 1_000_000_000 {
            return Err(invalid("nanoseconds beyond a second"));
        }
        Ok(Self { seconds, nanos })
    }
}

/// Decodes an `ext` list and checks its order.
pub(super) fn decode_ext<C, D: Decoder<Context = C>>(d: &mut D) -> Result<crate::model::Ext, BincodeDecode> {
    let ext: crate::model::Ext = Decode::decode(d)?;
    if !ext.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(invalid("extension tags out of order"));
    }
    Ok(ext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_the_page_says() {
        for (value, bytes) in [
            (0u64, vec![0u8]),
            (250, vec![250]),
            (251, vec![251, 251, 0]),
            (65_535, vec![251, 255, 255]),
            (65_536, vec![252, 0, 0, 1, 0]),
            (1 << 32, vec![253, 0, 0, 0, 0, 1, 0, 0, 0]),
        ] {
            assert_eq!(to_bytes(&value), bytes);
            assert_eq!(from_bytes::<u64>(&bytes, "test").unwrap(), value);
        }
        assert_eq!(to_bytes(&-1i64), [1]);
        assert_eq!(to_bytes(&1i64), [2]);
        assert_eq!(to_bytes(&Some(vec![7u8, 8])), [1, 2, 7, 8]);
        assert_eq!(to_bytes(&String::from("é")), [2, 0xc3, 0xa9]);
        assert_eq!(to_bytes(&[1u8, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn refuses_long_integers_left_overs_and_lying_lengths() {
        for bad in [&[251u8, 1, 0][..], &[251, 1], &[0, 0], &[], &[254, 0], &[252, 255, 0, 0, 0]] {
            assert!(from_bytes::<u64>(bad, "test").is_err(), "{bad:?}");
        }
        assert!(from_bytes::<Vec<u8>>(&[253, 255, 255, 255, 255, 255, 255, 255, 127, 1], "test").is_err());
        assert!(from_bytes::<Vec<(u32, Vec<u8>)>>(&[253, 0, 0, 0, 0, 1, 0, 0, 0], "test").is_err());
        assert!(from_bytes::<Timestamp>(&[0, 252, 0, 0xca, 0x9a, 0x3b], "time").is_err());
    }
}
