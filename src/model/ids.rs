//! Ids: each its own type, so that a page's id is never taken for a chunk's.

use std::fmt;
use std::str::FromStr;

/// The text is not an id of the expected length in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of {expected} hexadecimal digits: {text:?}")]
pub struct InvalidId {
    /// How many digits it should have.
    pub expected: usize,
    /// What was given.
    pub text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Takes a slice of exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId { expected: $len * 2, text: text.to_owned() };
                let mut bytes = [0; $len];
                if text.len() != $len * 2 || !text.is_ascii() {
                    return Err(invalid());
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
                    if pair.starts_with('+') {
                        return Err(invalid());
                    }
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

id! {
    /// Id of a chunk: keyed BLAKE3 of the BLAKE3 of its bytes.
    ChunkId, 32
}
id! {
    /// Id of a page of a tree.
    PageId, 32
}
id! {
    /// Id of a snapshot: that of its manifest.
    SnapshotId, 32
}
id! {
    /// Plain BLAKE3 of some bytes.
    Digest, 32
}
id! {
    /// Id of a store, random, made at init.
    StoreId, 16
}
id! {
    /// Id of an epoch: one writing run and its data keys.
    EpochId, 16
}
id! {
    /// Keyed hash of a dataset's name.
    DatasetKey, 16
}
id! {
    /// Keyed hash of the first path of a group of hard links.
    LinkGroup, 16
}
id! {
    /// Name of a key object; in hexadecimal it is the file's name.
    KeyName, 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_refusals() {
        let id = KeyName::from_bytes([0, 1, 2, 0xfe, 0xff, 9, 10, 11]);
        assert_eq!(id.to_string(), "000102feff090a0b");
        assert_eq!("000102feff090a0b".parse::<KeyName>().unwrap(), id);
        for bad in ["", "00", "000102feff090a0", "000102feff090a0g", "+00102feff090a0b", "é00102feff090a0"] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad}");
        }
    }
}
