//! Section 15.3: what log entries say beyond their kind.

use super::encoding::{encoded, encoded_byte};
use super::records::versioned;
use crate::model::{ForgetCause, ForgetDetail, HoldAction, HoldDetail, PolicyDetail, Rules};

encoded!(Rules { counts, within });
encoded_byte!(ForgetCause, "cause of a forget" { Named = 1, Rules = 2, Policy = 3, Lost = 4 });
encoded_byte!(HoldAction, "action on a hold" { Set = 1, Lifted = 2, Confirmed = 3, Granted = 4, Denied = 5 });
versioned!(ForgetDetail, "detail of a forget" { cause, rules, policy, reason, by });
versioned!(HoldDetail, "detail of a hold" { action, hold, until, reason, by });
versioned!(PolicyDetail, "detail of a policy" { dataset, class, rules, reason, by });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

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
    fn unknown_versions_and_numbers_are_refused() {
        for bad in [&[2, 1, 0, 0, 0, 0, 0][..], &[1, 6, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0], &[]] {
            assert!(HoldDetail::from_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(HoldDetail::from_bytes(&[1, 1, 0, 0, 0, 0, 0]).is_ok());
    }
}
