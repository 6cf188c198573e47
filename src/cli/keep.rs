//! Rules of retention as options: those of `larder forget` and of `larder policy set`.

use clap::Args;

use crate::model::{Rule, Rules};
use crate::snapshots::age_seconds;

/// What to keep
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What to keep")]
pub(super) struct KeepArgs {
    /// The newest N snapshots; `all` is every one, here and below
    #[arg(long, value_name = "N", value_parser = count)]
    keep_last: Option<u32>,
    /// The newest of each of the newest N hours that have any
    #[arg(long, value_name = "N", value_parser = count)]
    keep_hourly: Option<u32>,
    /// Of each of N days (UTC)
    #[arg(long, value_name = "N", value_parser = count)]
    keep_daily: Option<u32>,
    /// Of each of N weeks, from Monday
    #[arg(long, value_name = "N", value_parser = count)]
    keep_weekly: Option<u32>,
    /// Of each of N months
    #[arg(long, value_name = "N", value_parser = count)]
    keep_monthly: Option<u32>,
    /// Of each of N quarters
    #[arg(long, value_name = "N", value_parser = count)]
    keep_quarterly: Option<u32>,
    /// Of each of N years
    #[arg(long, value_name = "N", value_parser = count)]
    keep_yearly: Option<u32>,
    /// All that arrived so long before the newest, or later: 36h, 7d, 2w
    #[arg(long, value_name = "AGE", value_parser = age)]
    keep_within: Option<u64>,
}

impl KeepArgs {
    /// The rules that were given; a rule of 0 is none.
    pub(super) fn rules(&self) -> Rules {
        let mut rules = Rules { within: self.keep_within.unwrap_or(0), ..Rules::default() };
        let given = [
            (Rule::Last, self.keep_last),
            (Rule::Hourly, self.keep_hourly),
            (Rule::Daily, self.keep_daily),
            (Rule::Weekly, self.keep_weekly),
            (Rule::Monthly, self.keep_monthly),
            (Rule::Quarterly, self.keep_quarterly),
            (Rule::Yearly, self.keep_yearly),
        ];
        for (rule, count) in given {
            rules.counts[rule as usize] = count.unwrap_or(0);
        }
        rules
    }
}

fn count(text: &str) -> Result<u32, String> {
    if text == "all" {
        return Ok(Rules::EVERY);
    }
    let number = text.parse().ok().filter(|n| *n != Rules::EVERY);
    number.ok_or_else(|| "a number, or `all`, is wanted".to_owned())
}

fn age(text: &str) -> Result<u64, String> {
    let seconds = age_seconds(text).and_then(|seconds| u64::try_from(seconds).ok());
    seconds.ok_or_else(|| "an age like 36h, 7d or 2w is wanted; units are s, min, h, d and w".to_owned())
}
