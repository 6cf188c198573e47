//! Zeros, for whoever writes or sums up a hole.

/// So many zeros, in pieces.
pub fn zeros(len: u64) -> impl Iterator<Item = &'static [u8]> {
    static PIECE: [u8; 256 << 10] = [0; 256 << 10];
    let mut left = len;
    std::iter::from_fn(move || {
        let step = usize::try_from(left).unwrap_or(PIECE.len()).min(PIECE.len());
        left -= step as u64;
        (step > 0).then(|| &PIECE[..step])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_wanted() {
        for len in [0, 1, 262_144, 262_145, 1_000_000] {
            assert_eq!(zeros(len).map(|piece| piece.len() as u64).sum::<u64>(), len);
            assert!(zeros(len).all(|piece| !piece.is_empty() && piece.iter().all(|b| *b == 0)));
        }
        assert_eq!(zeros(u64::MAX).take(3).map(<[u8]>::len).sum::<usize>(), 3 << 18);
    }
}
