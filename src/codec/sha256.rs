//! The one door to SHA-256: others' hash, never one of the store's own.

use sha2::Digest;

use super::zeros;

/// Hashes a content piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// So many zeros.
    pub fn zeros(&mut self, len: u64) {
        zeros(len).for_each(|piece| self.0.update(piece));
    }

    /// The hash.
    #[must_use]
    pub fn bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The hash as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
    #[must_use]
    pub fn hex(self) -> String {
        self.0.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        let mut hash = Sha256::default();
        hash.update(b"a");
        hash.update(b"bc");
        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn zeros_are_bytes() {
        let (mut told, mut given) = (Sha256::default(), Sha256::default());
        told.zeros(200_001);
        given.update(&vec![0; 200_001]);
        assert_eq!(told.bytes(), given.bytes());
    }
}
