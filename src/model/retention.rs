//! What is kept of a series of snapshots, and what the arrival log says about giving up, holds and policies.

use std::fmt;

use super::{DatasetName, Digest, Ext, Timestamp};

/// A rule of retention. `Last` keeps the newest snapshots; each other one the newest snapshot of each of the newest stretches of
/// time that have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The newest, whatever their times.
    Last,
    /// Hours.
    Hourly,
    /// Days.
    Daily,
    /// Weeks, from Monday.
    Weekly,
    /// Months.
    Monthly,
    /// Quarters of years.
    Quarterly,
    /// Years.
    Yearly,
}

impl Rule {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 7] =
        [Self::Last, Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Quarterly, Self::Yearly];

    /// The word used in the CLI and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Quarterly => "quarterly",
            Self::Yearly => "yearly",
        }
    }
}

/// How many snapshots each rule keeps; a snapshot stays that any of them keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// By rule, in the order of [`Rule::ALL`]: 0 if the rule is not used, [`Rules::EVERY`] if it has no end.
    pub counts: [u32; 7],
    /// Keeps what arrived within so many seconds before the newest; 0 if that is not used.
    pub within: u64,
}

impl Rules {
    /// The count of a rule without an end.
    pub const EVERY: u32 = u32::MAX;

    /// How many a rule keeps.
    #[must_use]
    pub const fn count(&self, rule: Rule) -> u32 {
        self.counts[rule as usize]
    }

    /// True if no rule is used: nothing would be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for rule in Rule::ALL {
            match self.count(rule) {
                0 => {}
                Self::EVERY => words.push(format!("--keep-{} all", rule.as_str())),
                count => words.push(format!("--keep-{} {count}", rule.as_str())),
            }
        }
        if self.within > 0 {
            words.push(format!("--keep-within {}", age_text(self.within)));
        }
        f.write_str(&words.join(" "))
    }
}

/// An age as the command line takes it, in the largest unit that fits.
#[must_use]
pub fn age_text(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(7 * 86_400, "w"), (86_400, "d"), (3600, "h"), (60, "min")];
    let fits = UNITS.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// What a snapshot was given up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetCause {
    /// Somebody named it.
    Named,
    /// Rules that were given with the command kept it not.
    Rules,
    /// Nor did a policy of the store.
    Policy,
    /// Its manifest was lost, and with it all that it held.
    Lost,
}

/// What a log entry says about a snapshot that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetDetail {
    /// By what.
    pub cause: ForgetCause,
    /// The rules that kept it not; none if it was named, or if all were to go.
    pub rules: Rules,
    /// Sequence of the log entry with the policy; 0 if it was none.
    pub policy: u64,
    /// Why, in the user's words.
    pub reason: Option<String>,
    /// Who, as `user@host`: what that machine said.
    pub by: String,
    /// What later versions add.
    pub ext: Ext,
}

/// What is done about a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldAction {
    /// It is set: the snapshot is kept.
    Set,
    /// One is lifted.
    Lifted,
    /// The snapshot is as it should be, however strange: nothing before it need be kept on its account.
    Confirmed,
    /// The snapshot is immutable from here on.
    Granted,
    /// That a writer key asks for it to be immutable is not heeded.
    Denied,
}

/// How far a snapshot is immutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Immutable {
    /// Not at all.
    No,
    /// A writer key asks for it, and no catalog or owner key has decided: until then it stays.
    Asked,
    /// It has no delete path.
    Yes,
}

/// What a log entry says about a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldDetail {
    /// What is done.
    pub action: HoldAction,
    /// Sequence of the log entry that set the hold which is lifted; else 0.
    pub hold: u64,
    /// When a hold that is set ends by itself; never if there is none.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// Who, as `user@host`: what that machine said.
    pub by: String,
    /// What later versions add.
    pub ext: Ext,
}

/// What a log entry says about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDetail {
    /// Its dataset; of all that have none of their own if there is none.
    pub dataset: Option<DatasetName>,
    /// Its retention class; of snapshots without one if there is none.
    pub class: Option<String>,
    /// What is kept; none if the policy is taken away.
    pub rules: Option<Rules>,
    /// Why.
    pub reason: Option<String>,
    /// Who, as `user@host`: what that machine said.
    pub by: String,
    /// What later versions add.
    pub ext: Ext,
}

/// What a log entry says about entries that are lost, beyond which ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossDetail {
    /// Why that was accepted.
    pub reason: Option<String>,
    /// Who did, as `user@host`: what that machine said.
    pub by: String,
    /// What later versions add.
    pub ext: Ext,
}

/// An entry of the log that is void, as long as what stands in its place is that which stood there when its loss was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VoidEntry {
    /// Which one.
    pub sequence: u64,
    /// Hash of the row's bytes; zeros if there is none.
    pub stands: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_in_words_are_what_the_command_line_takes() {
        let rules = Rules { counts: [3, 0, 7, 0, 0, 0, Rules::EVERY], within: 2 * 86_400 };
        assert_eq!(rules.to_string(), "--keep-last 3 --keep-daily 7 --keep-yearly all --keep-within 2d");
        assert!(Rules::default().is_empty() && !rules.is_empty());
        assert_eq!([60, 90, 3600, 14 * 86_400].map(age_text), ["1min", "90s", "1h", "2w"]);
    }
}
