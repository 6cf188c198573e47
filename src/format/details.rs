//! Section 15.3: what log entries say beyond their kind.

use super::encoding::{DecodeError, encoded, encoded_byte, from_bytes, to_bytes};
use super::records::versioned;
use crate::model::{
    Ext, ForgetCause, ForgetDetail, HoldAction, HoldDetail, LossDetail, PolicyDetail, Rules, VoidEntry,
};

/// Where an entry of the log has what its kind says more, sealed.
pub const DETAIL: u32 = 1;
/// Where an entry of kind 6 has the list of the entries that are void.
const VOID: u32 = 3;
/// Where it has the proof that an owner made it.
const PROOF: u32 = 4;

encoded!(Rules { counts, within });
encoded_byte!(ForgetCause, "cause of a forget" { Named = 1, Rules = 2, Policy = 3, Lost = 4 });
encoded_byte!(HoldAction, "action on a hold" { Set = 1, Lifted = 2, Confirmed = 3, Granted = 4, Denied = 5 });
versioned!(ForgetDetail, "detail of a forget" { cause, rules, policy, reason, by });
versioned!(HoldDetail, "detail of a hold" { action, hold, until, reason, by });
versioned!(PolicyDetail, "detail of a policy" { dataset, class, rules, reason, by });
versioned!(LossDetail, "detail of a loss" { reason, by });
encoded!(VoidEntry { sequence, stands });

/// What an entry of the log about a loss has in clear: which entries are void, and the proof that an owner says so, if there is one. `prove` gets the
/// bytes of the list.
#[must_use]
pub fn void_ext(void: &[VoidEntry], prove: impl FnOnce(&[u8]) -> Option<[u8; 32]>) -> Ext {
    let list = to_bytes(&void.to_vec());
    let proof = prove(&list).map(|proof| (PROOF, proof.to_vec()));
    [(VOID, list)].into_iter().chain(proof).collect()
}

/// The entries that an entry about a loss says are void, and the bytes of that list.
///
/// # Errors
/// If the list is missing, malformed, empty, or not in ascending order.
pub fn void_entries(ext: &Ext) -> Result<(Vec<VoidEntry>, &[u8]), DecodeError> {
    const WHAT: &str = "list of lost entries";
    let bytes = tagged(ext, VOID).ok_or_else(|| DecodeError::malformed(WHAT, "there is none"))?;
    let list: Vec<VoidEntry> = from_bytes(bytes, WHAT)?;
    if list.is_empty() || !list.is_sorted_by(|a, b| a.sequence < b.sequence) {
        return Err(DecodeError::malformed(WHAT, "it is empty or out of order"));
    }
    Ok((list, bytes))
}

/// The proof that an entry about a loss has.
#[must_use]
pub fn loss_proof(ext: &Ext) -> Option<&[u8; 32]> {
    tagged(ext, PROOF)?.try_into().ok()
}

fn tagged(ext: &Ext, wanted: u32) -> Option<&[u8]> {
    ext.iter().find(|(tag, _)| *tag == wanted).map(|(_, bytes)| bytes.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Timestamp};

    #[test]
    fn details_are_as_the_page_says() {
        let rules = Rules { counts: [3, 0, 7, 0, 0, 0, Rules::EVERY], within: 300 };
        let forget = ForgetDetail {
            cause: ForgetCause::Policy,
            rules,
            policy: 9,
            reason: None,
            by: "a@b".to_owned(),
            ext: Vec::new(),
        };
        let rules_bytes = [3, 0, 7, 0, 0, 0, 252, 255, 255, 255, 255, 251, 44, 1];
        let bytes = [&[1, 3][..], &rules_bytes, &[9, 0, 3], b"a@b", &[0]].concat();
        assert_eq!(forget.to_bytes(), bytes);
        assert_eq!(ForgetDetail::from_bytes(&bytes).unwrap(), forget);
        let hold = HoldDetail {
            action: HoldAction::Set,
            hold: 0,
            until: Some(Timestamp { seconds: 1, nanos: 5 }),
            reason: Some("law".to_owned()),
            by: String::new(),
            ext: Vec::new(),
        };
        let bytes = [&[1, 1, 0, 1, 2, 5, 1, 3][..], b"law", &[0, 0]].concat();
        assert_eq!(hold.to_bytes(), bytes);
        assert_eq!(HoldDetail::from_bytes(&bytes).unwrap(), hold);
        let policy = PolicyDetail {
            dataset: Some("d".parse().unwrap()),
            class: None,
            rules: Some(rules),
            reason: None,
            by: String::new(),
            ext: vec![(7, vec![1])],
        };
        let bytes = [&[1, 1, 1][..], b"d", &[0, 1], &rules_bytes, &[0, 0, 1, 7, 1, 1]].concat();
        assert_eq!(policy.to_bytes(), bytes);
        assert_eq!(PolicyDetail::from_bytes(&bytes).unwrap(), policy);
    }

    #[test]
    fn losses_are_as_the_page_says() {
        let void =
            [(7, 0), (300, 9)].map(|(sequence, byte)| VoidEntry { sequence, stands: Digest::from_bytes([byte; 32]) });
        let list = [&[2, 7][..], &[0; 32], &[251, 44, 1], &[9; 32]].concat();
        let ext = void_ext(&void, |bytes| (bytes == list).then_some([5; 32]));
        assert_eq!(ext, [(3, list.clone()), (4, vec![5; 32])]);
        assert_eq!(void_entries(&ext).unwrap(), (void.to_vec(), &list[..]));
        assert_eq!(loss_proof(&ext), Some(&[5; 32]));
        assert_eq!(loss_proof(&void_ext(&void, |_| None)), None);
        let [first, second] = void;
        for bad in [&[][..], &[second, first], &[first, first]] {
            assert!(void_entries(&void_ext(bad, |_| None)).is_err(), "{bad:?}");
        }
        assert!(void_entries(&Ext::new()).is_err());
        let detail = LossDetail { reason: Some("fire".to_owned()), by: "a@b".to_owned(), ext: Ext::new() };
        let bytes = [&[1, 1, 4][..], b"fire", &[3], b"a@b", &[0]].concat();
        assert_eq!(detail.to_bytes(), bytes);
        assert_eq!(LossDetail::from_bytes(&bytes).unwrap(), detail);
    }

    #[test]
    fn unknown_versions_and_numbers_are_refused() {
        for bad in [&[2, 1, 0, 0, 0, 0, 0][..], &[1, 6, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0], &[]] {
            assert!(HoldDetail::from_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(HoldDetail::from_bytes(&[1, 1, 0, 0, 0, 0, 0]).is_ok());
    }
}
