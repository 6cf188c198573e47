//! Vouchers (section 15.1): what catalog and owner keys can add to a log entry, and writer keys cannot.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hash::{derived, keyed, same};

/// The key that vouches. It follows from a page identity, which no writer key has. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct VoucherKey([u8; 32]);

impl std::fmt::Debug for VoucherKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VoucherKey(secret)")
    }
}

impl VoucherKey {
    /// From the text of a page identity.
    #[must_use]
    pub fn new(page_identity: &str) -> Self {
        Self(derived("larder v1 voucher", page_identity.as_bytes()))
    }

    /// The voucher for an entry.
    #[must_use]
    pub fn voucher(&self, entry: &[u8]) -> [u8; 32] {
        keyed(&self.0, entry)
    }

    /// Compares a voucher in constant time.
    #[must_use]
    pub fn holds(&self, entry: &[u8], voucher: &[u8; 32]) -> bool {
        same(&self.voucher(entry), voucher)
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
}
