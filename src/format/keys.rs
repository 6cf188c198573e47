//! Sections 7.1, 7.2 and 15.3: what key records and epoch records have in their extensions, and the detail of a key change.

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError};

use super::encoding::{DecodeError, decode_ext, from_bytes, to_bytes};
use super::records::One;
use crate::model::{Digest, Ext, KeyChange, KeyInfo, Purpose, Role};

/// Tag in a key record: its tokens, one behind the other, newest first.
const TOKENS: u32 = 1;
/// Tag in the key records that init makes: the keys it made, a list of key infos.
const INITIAL_KEYS: u32 = 2;
/// Tag in the key records of writers: what signs their entries of the log.
const SIGNING_KEY: u32 = 3;
/// Tag in a key info: the hash of its key object.
const OBJECT: u32 = 1;
/// Tag in a key change: the keys that were removed and whose recipients are known, a list of key infos.
const FORMER_KEYS: u32 = 1;
/// Tag in an epoch record: the role of the key whose holder wrote, if it is not an owner's.
const WRITER_ROLE: u32 = 1;
/// Tag in an epoch record: empty, if the run moved what was there.
const MOVES: u32 = 2;
/// Tag in an epoch record: an owner's proof that its keys were made under the identities of then.
const PROOF: u32 = 3;

impl Encode for KeyInfo {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        self.name.encode(e)?;
        self.role.encode(e)?;
        self.recipient.encode(e)?;
        self.label.encode(e)?;
        self.added.encode(e)?;
        self.ext.encode(e)
    }
}

impl<C> Decode<C> for KeyInfo {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        Ok(Self {
            name: Decode::decode(d)?,
            role: Decode::decode(d)?,
            recipient: Decode::decode(d)?,
            label: Decode::decode(d)?,
            added: Decode::decode(d)?,
            ext: decode_ext(d)?,
        })
    }
}

impl Encode for KeyChange {
    fn encode<E: Encoder>(&self, e: &mut E) -> Result<(), EncodeError> {
        One.encode(e)?;
        self.added.encode(e)?;
        self.removed.encode(e)?;
        self.rotated.encode(e)?;
        self.keys.encode(e)?;
        self.ext.encode(e)
    }
}

impl<C> Decode<C> for KeyChange {
    fn decode<D: Decoder<Context = C>>(d: &mut D) -> Result<Self, BincodeDecode> {
        One::decode(d)?;
        Ok(Self {
            added: Decode::decode(d)?,
            removed: Decode::decode(d)?,
            rotated: Decode::decode(d)?,
            keys: Decode::decode(d)?,
            ext: decode_ext(d)?,
        })
    }
}

impl KeyChange {
    /// The encoded form, without the proof that stands behind it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Decodes it.
    ///
    /// # Errors
    /// If it is malformed or of an unknown version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_bytes(bytes, "key change")
    }
}

fn tagged(ext: &Ext, tag: u32) -> Option<&[u8]> {
    ext.iter().find(|(found, _)| *found == tag).map(|(_, bytes)| bytes.as_slice())
}

/// The extension of a key record: its tokens, the keys that init made if it is one of them, and what signs if it is a writer's.
#[must_use]
pub fn key_record_ext(tokens: &[[u8; 32]], initial: Option<&[KeyInfo]>, signing: Option<&[u8; 32]>) -> Ext {
    let mut ext = vec![(TOKENS, tokens.concat())];
    if let Some(keys) = initial {
        ext.push((INITIAL_KEYS, to_bytes(&keys.to_vec())));
    }
    if let Some(key) = signing {
        ext.push((SIGNING_KEY, key.to_vec()));
    }
    ext
}

/// What signs the entries of a writer key; none in a record of another role, or that was made before there was any.
#[must_use]
pub fn signing_key_of(ext: &Ext) -> Option<[u8; 32]> {
    tagged(ext, SIGNING_KEY)?.try_into().ok()
}

/// The tokens of a key record, newest first; none in one that was made before there were any.
#[must_use]
pub fn tokens_of(ext: &Ext) -> Vec<[u8; 32]> {
    tagged(ext, TOKENS).unwrap_or_default().as_chunks().0.to_vec()
}

/// The keys that init made, if a key record tells them.
///
/// # Errors
/// If they are malformed.
pub fn initial_keys(ext: &Ext) -> Result<Option<Vec<KeyInfo>>, DecodeError> {
    tagged(ext, INITIAL_KEYS).map(|bytes| from_bytes(bytes, "list of keys")).transpose()
}

impl KeyInfo {
    /// The hash of its object, as owners wrote that last; nothing of an object that init made, or an older version.
    #[must_use]
    pub fn object(&self) -> Option<Digest> {
        tagged(&self.ext, OBJECT)?.try_into().ok().map(Digest::from_bytes)
    }

    /// The same key with an object that has this hash.
    pub fn set_object(&mut self, hash: &Digest) {
        self.ext.retain(|(tag, _)| *tag != OBJECT);
        let at = self.ext.partition_point(|(tag, _)| *tag < OBJECT);
        self.ext.insert(at, (OBJECT, hash.as_bytes().to_vec()));
    }
}

/// The extension of a key change: keys that were removed.
#[must_use]
pub fn key_change_ext(former: &[KeyInfo]) -> Ext {
    if former.is_empty() { Ext::new() } else { vec![(FORMER_KEYS, to_bytes(&former.to_vec()))] }
}

/// The keys that a key change tells were removed, by itself or before it.
///
/// # Errors
/// If they are malformed.
pub fn former_keys(ext: &Ext) -> Result<Vec<KeyInfo>, DecodeError> {
    tagged(ext, FORMER_KEYS).map_or(Ok(Vec::new()), |bytes| from_bytes(bytes, "list of keys"))
}

/// The extension of an epoch record that the holder of such a key writes, with an owner's proof.
#[must_use]
pub fn epoch_ext(role: Role, purpose: Purpose, proof: Option<&[u8; 32]>) -> Ext {
    let role = (role != Role::Owner).then(|| (WRITER_ROLE, to_bytes(&role)));
    let moves = (purpose == Purpose::Move).then(|| (MOVES, Vec::new()));
    role.into_iter().chain(moves).chain(proof.map(|proof| (PROOF, proof.to_vec()))).collect()
}

/// An owner's proof that an epoch record has (section 7.5).
#[must_use]
pub fn epoch_proof(ext: &Ext) -> Option<[u8; 32]> {
    tagged(ext, PROOF)?.try_into().ok()
}

/// What the run of an epoch record was for.
#[must_use]
pub fn epoch_purpose(ext: &Ext) -> Purpose {
    if tagged(ext, MOVES).is_some() { Purpose::Move } else { Purpose::Add }
}

/// The role of the key whose holder wrote an epoch record, as it says.
///
/// # Errors
/// If it is none that is known.
pub fn epoch_role(ext: &Ext) -> Result<Role, DecodeError> {
    tagged(ext, WRITER_ROLE).map_or(Ok(Role::Owner), |bytes| from_bytes(bytes, "role"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyName, Timestamp};

    fn info(name: u8) -> KeyInfo {
        KeyInfo {
            name: KeyName::from_bytes([name; 8]),
            role: Role::Writer,
            recipient: "age1…".to_owned(),
            label: "web 1".to_owned(),
            added: Timestamp { seconds: 5, nanos: 6 },
            ext: Ext::new(),
        }
    }

    #[test]
    fn changes_and_extensions_come_back() {
        let change = KeyChange {
            added: vec![info(1).name],
            removed: vec![info(2).name],
            rotated: true,
            keys: vec![info(1), info(3)],
            ext: key_change_ext(&[info(2)]),
        };
        assert_eq!(former_keys(&change.ext).unwrap(), [info(2)]);
        assert_eq!(former_keys(&key_change_ext(&[])).unwrap(), []);
        let bytes = change.to_bytes();
        assert_eq!(KeyChange::from_bytes(&bytes).unwrap(), change);
        for len in 0..bytes.len() {
            assert!(KeyChange::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
        }
        let ext = key_record_ext(&[[1; 32], [2; 32]], Some(&change.keys), Some(&[3; 32]));
        assert_eq!(tokens_of(&ext), [[1; 32], [2; 32]]);
        assert_eq!(initial_keys(&ext).unwrap().unwrap(), change.keys);
        assert_eq!(signing_key_of(&ext), Some([3; 32]));
        let ext = key_record_ext(&[], None, None);
        assert!(initial_keys(&ext).unwrap().is_none() && signing_key_of(&ext).is_none());
        assert_eq!(tokens_of(&Ext::new()), [[0; 32]; 0]);
        for role in [Role::Writer, Role::Catalog, Role::Owner] {
            for (purpose, proof) in [(Purpose::Add, None), (Purpose::Move, Some([4; 32]))] {
                let ext = epoch_ext(role, purpose, proof.as_ref());
                assert_eq!((epoch_role(&ext).unwrap(), epoch_purpose(&ext)), (role, purpose));
                assert_eq!(epoch_proof(&ext), proof);
            }
        }
        assert!(epoch_role(&vec![(WRITER_ROLE, vec![9])]).is_err());
    }
}
