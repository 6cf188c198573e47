//! Who vouches for a log entry (section 15.1): all keys can make one, only catalog and owner keys add a voucher.

use crate::model::LogEntry;

use super::keyring::Keyring;

/// Where an entry has its voucher.
const VOUCHER: u32 = 2;

impl Keyring {
    /// Adds the voucher, if the key in use can.
    pub(super) fn vouch(&self, entry: &mut LogEntry) {
        if let Some(key) = self.vouchers().first() {
            entry.ext.retain(|(tag, _)| *tag != VOUCHER);
            let voucher = key.voucher(&entry.to_bytes());
            let at = entry.ext.partition_point(|(tag, _)| *tag < VOUCHER);
            entry.ext.insert(at, (VOUCHER, voucher.to_vec()));
        }
    }

    /// True if the holder of a catalog or owner key made an entry: then its time is true as far as that one's clock is, and what it
    /// gives up, holds or rules counts. In an unencrypted store everybody has all keys: true. Nothing if the key in use cannot tell, a
    /// writer's.
    #[must_use]
    pub fn vouches_for(&self, entry: &LogEntry) -> Option<bool> {
        if !self.knows_roles() {
            return Some(true);
        }
        if self.vouchers().is_empty() {
            return None;
        }
        let Some((_, voucher)) = entry.ext.iter().find(|(tag, _)| *tag == VOUCHER) else { return Some(false) };
        let Ok(voucher) = <&[u8; 32]>::try_from(voucher.as_slice()) else { return Some(false) };
        let mut bare = entry.clone();
        bare.ext.retain(|(tag, _)| *tag != VOUCHER);
        let bytes = bare.to_bytes();
        Some(self.vouchers().iter().any(|key| key.holds(&bytes, voucher)))
    }
}
