//! What shows who made a log entry (section 15.1): vouchers, which catalog and owner keys can add and writer keys cannot, and signatures of
//! writer keys, each of which can make its own.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hash::{derived, keyed, same};
use crate::model::KeyName;

/// The key that vouches. It follows from a page identity, which no writer key has. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct VoucherKey {
    vouching: [u8; 32],
    signers: [u8; 32],
}

/// What signs the entries of one writer key: its holder has it, and whoever can vouch can make it. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SigningKey([u8; 32]);

impl std::fmt::Debug for VoucherKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VoucherKey(secret)")
    }
}

impl VoucherKey {
    /// From the text of a page identity.
    #[must_use]
    pub fn new(page_identity: &str) -> Self {
        let derive = |context| derived(context, page_identity.as_bytes());
        Self { vouching: derive("larder v1 voucher"), signers: derive("larder v1 signing key") }
    }

    /// The voucher for an entry.
    #[must_use]
    pub fn voucher(&self, entry: &[u8]) -> [u8; 32] {
        keyed(&self.vouching, entry)
    }

    /// What the record of a writer key holds, so that it can sign.
    #[must_use]
    pub fn signing_key(&self, name: &KeyName) -> SigningKey {
        SigningKey(keyed(&self.signers, name.as_bytes()))
    }

    /// Compares a voucher in constant time.
    #[must_use]
    pub fn holds(&self, entry: &[u8], voucher: &[u8; 32]) -> bool {
        same(&self.voucher(entry), voucher)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}

impl SigningKey {
    /// From a key record.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For a key record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The signature of an entry.
    #[must_use]
    pub fn signature(&self, entry: &[u8]) -> [u8; 32] {
        keyed(&self.0, entry)
    }

    /// Compares a signature in constant time.
    #[must_use]
    pub fn holds(&self, entry: &[u8], signature: &[u8; 32]) -> bool {
        same(&self.signature(entry), signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_holds_for_its_entry_and_key_alone() {
        let (one, other) = (VoucherKey::new("AGE-SECRET-KEY-1A"), VoucherKey::new("AGE-SECRET-KEY-1B"));
        let voucher = one.voucher(b"entry");
        assert!(one.holds(b"entry", &voucher));
        assert!(!one.holds(b"entrz", &voucher) && !other.holds(b"entry", &voucher) && !one.holds(b"entry", &[0; 32]));
    }

    #[test]
    fn a_signature_holds_for_its_entry_and_writer_alone() {
        let [one, other] = ["AGE-SECRET-KEY-1A", "AGE-SECRET-KEY-1B"].map(VoucherKey::new);
        let [ann, ben] = [1, 2].map(|n| KeyName::from_bytes([n; 8]));
        let key = one.signing_key(&ann);
        let signature = SigningKey::from_bytes(*key.as_bytes()).signature(b"entry");
        assert!(key.holds(b"entry", &signature) && !key.holds(b"entrz", &signature));
        for stranger in [one.signing_key(&ben), other.signing_key(&ann)] {
            assert!(!stranger.holds(b"entry", &signature));
        }
        assert_ne!(signature, one.voucher(b"entry"));
    }
}
