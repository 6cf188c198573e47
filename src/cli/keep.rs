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
    /// All that arrived so long before the newest, or later: 36h, 7d, 2w, 1y6m. Months count as 31 days, years as 366
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

/// Seconds of an age, which may be a sum and have months and years in it: never less than those of the calendar.
fn age(text: &str) -> Result<u64, String> {
    let (mut rest, mut sum) = (text, Some(0u64));
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |len| end + len);
        let seconds = match &rest[end..unit_end] {
            "m" => rest[..end].parse().ok().and_then(|months: u64| months.checked_mul(31 * 86_400)),
            "y" => rest[..end].parse().ok().and_then(|years: u64| years.checked_mul(366 * 86_400)),
            _ => age_seconds(&rest[..unit_end]).and_then(|seconds| seconds.try_into().ok()),
        };
        sum = sum.zip(seconds).and_then(|(sum, more)| sum.checked_add(more));
        rest = &rest[unit_end..];
    }
    // An age ends with a unit.
    sum.filter(|_| rest.is_empty() && !text.is_empty()).ok_or_else(|| {
        "an age like 36h, 7d, 2w or 1y6m is wanted; units are s, min, h, d, w, m (months) and y".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let day = 86_400;
        for (text, seconds) in [("0s", 0), ("36h", 36 * 3600), ("30min", 1800), ("2w", 14 * day), ("30m", 930 * day)] {
            assert_eq!(age(text), Ok(seconds), "{text}");
        }
        assert_eq!(age("1y6m7d2h"), Ok((366 + 6 * 31 + 7) * day + 7200));
        for bad in [
            "",
            "7",
            "d",
            "1y6",
            "y1",
            "1 y",
            "-1d",
            "+1d",
            "1.5d",
            "1x",
            "1Y",
            "99999999999999999999d",
            "999999999999999999y",
        ] {
            assert!(age(bad).is_err(), "{bad}");
        }
        assert!(age("9000000000000000000s9000000000000000000s9000000000000000000s").is_err());
    }
}
