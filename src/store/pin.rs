//! Section 17: what a pin file says, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a client last saw of a store. Hashes as hexadecimal digits, so that they are compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(super) commitment: String,
    pub(super) recipients: String,
    pub(super) sequence: u64,
    pub(super) log_hash: String,
    /// The digest of the newest token of each key that was used here, by the key's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tokens: BTreeMap<String, String>,
}

impl Pin {
    /// Of this and what another process has written, the farther one, with the tokens of keys that only the other one knows.
    pub(super) fn or_farther(self, other: Self) -> Self {
        if other.commitment != self.commitment {
            return self;
        }
        let (mut farther, nearer) = if other.sequence > self.sequence { (other, self) } else { (self, other) };
        for (name, token) in nearer.tokens {
            farther.tokens.entry(name).or_insert(token);
        }
        farther
    }

    pub(crate) fn from_json(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
    }
}
