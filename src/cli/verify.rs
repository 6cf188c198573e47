//! `larder verify`

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;

use crate::model::{Failure, Kind, Role, Timestamp};
use crate::ops::verify::{LedgerKept, Touched, Verified, VerifyOptions, verify, verify_closed};
use crate::store::{Finding, LOST_ENTRIES, Mending};

use super::context::{self, Opened};
use super::error::CliError;
use super::output::{Output, counted, escaped, human_bytes, short_id, short_time};
use super::progress::Bar;
use super::verify_json::VerifyJson;
use super::verify_pack::{self, VerifyPackArgs, VerifyReportJson};
use super::{Global, Outcome};

/// Paths shown for each snapshot that damage touches.
const PATHS_SHOWN: usize = 10;

/// Check the store, or a pack: structure, and that no byte has changed
///
/// Names each damaged object, and the snapshots and paths that it touches; exit status 13 if there is any damage. The store remembers
/// when each block was looked at: with --budget, or a part of a hundred, those come first that had to wait longest. Without a key at
/// hand it is still found whether a stored byte has changed, and told what that leaves out.
///
/// Entries of the log that name another's snapshot, or one that is not as they say, are told: somebody wrote them past Larder. They are not
/// heeded and are no damage; the exit status does not speak of them.
///
/// With PACK no store is looked at, but a pack of Larder's, of any format, sealed or not: each member against its inventory and its checksums.
/// So are investigation archives and export bundles, against what they say of themselves, and any other tar or zip, whose members are all read. Every member
/// that is damaged is named, and every one that would not be let in, as far as it can be told where the next one is. Of several packs the exit status is that of the worst.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder verify                                        structure, and the sealed bytes of every block
  larder verify --read-data                            every byte, as a restore would read it
  larder verify --read-data=5%                         a twentieth of the blocks, those that waited longest
  larder verify --read-data --budget 30m               as many as half an hour lets, the others next time
  larder verify --no-key                               on a machine that must not have the keys
  larder verify home.tar.zst                           a pack: inventory, checksums, every byte
  larder verify /mnt/tape/*.tar.zst                    several
  age -d home.tar.age | larder verify -                one that comes through a pipe")]
pub(super) struct VerifyArgs {
    /// Open blocks too, and recompute every hash; of a part, those not opened for the longest time
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100", value_parser = percent)]
    read_data: Option<u8>,
    /// Stop after that time (90s, 30m, 2h); what waited longest comes first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Option<Duration>,
    /// Ask for no key: check what can be checked without
    #[arg(long, conflicts_with_all = ["read_data", "budget"])]
    no_key: bool,
    #[command(flatten)]
    pack: VerifyPackArgs,
}

pub(super) fn run(args: &VerifyArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if !args.pack.packs.is_empty() {
        return verify_pack::run(&args.pack, global, out);
    }
    let read_data = args.read_data.unwrap_or(0);
    let opened = if args.no_key {
        Opened::Closed(Box::new(context::open_closed(Mending::Yes, global)?), None)
    } else {
        context::open_or_closed(global, read_data > 0 || args.budget.is_some())?
    };
    let begun = Instant::now();
    let bar = Bar::start(out, "verify");
    let verified = match &opened {
        Opened::Store(store) => {
            let (needs, act) = if read_data > 0 {
                (Role::Owner, "reading all content")
            } else {
                (Role::Catalog, "verifying structure")
            };
            store.require(needs, act)?;
            let time_is_up = || args.budget.is_some_and(|budget| begun.elapsed() >= budget);
            let time_is_up: &(dyn Fn() -> bool + Sync) = &time_is_up;
            let options = VerifyOptions { read_data, now: context::now(), time_is_up: args.budget.map(|_| time_is_up) };
            verify(store, &context::pages(store), options, &bar)
        }
        Opened::Closed(store, why) => verify_closed(store, &bar).map(|mut verified| {
            // What hindered the keys, where that is damage.
            if let Some(damage) = why.as_ref().filter(|e| e.is_damage()) {
                verified.findings.insert(0, Finding::from_error(damage));
            }
            verified
        }),
    };
    bar.finish();
    // It would send its user in a circle.
    let verified = verified.map_err(|e| CliError { hint: None, ..CliError::from(e) })?;
    if out.json() {
        out.print_json(&VerifyReportJson::Store(Box::new(VerifyJson::new(&verified, read_data))))?;
    } else {
        if let Opened::Closed(_, Some(why)) = &opened {
            out.remark(&format!("larder: {why}: checked without a key"));
        }
        print(&verified, read_data, out)?;
    }
    if verified.findings.is_empty() {
        return Ok(Outcome::Done);
    }
    let count = verified.findings.len();
    let objects = counted(count as u64, "object", "objects");
    let (text, next) = if verified.not_checked.is_empty() {
        let touched = counted(verified.touched.len() as u64, "snapshot", "snapshots");
        (format!("damage found: {objects}, {touched} touched"), NEXT)
    } else {
        (format!("damage found: {objects}"), WITH_A_KEY)
    };
    let of_the_log = verified.findings.iter().filter(|f| f.is_of_the_log()).count();
    let hint = match of_the_log {
        0 => next.to_owned(),
        all if all == count => LOST_ENTRIES.to_owned(),
        _ => format!("{next}; of entries of the log: {LOST_ENTRIES}"),
    };
    // What hindered the keys comes first.
    let hint = match &opened {
        Opened::Closed(_, Some(why)) if why.is_damage() => why.hint().unwrap_or(hint),
        _ => hint,
    };
    Err(CliError::new(Kind::Damage, text).hint(hint).told(out.json()))
}

/// What to do about damage.
const NEXT: &str = "what is not named above is whole and can be restored; `larder repair` tells what can be made anew, `larder repair --apply` does it and sets aside \
    what is damaged, and `larder heal` then takes what is lost from a folder, a mount or a copy of the store";

/// The same, where nobody could look what is needed for what.
const WITH_A_KEY: &str = "which snapshots and paths that touches only a key tells: `larder verify` where there is one, and `larder repair` what can be made anew";

fn print(verified: &Verified, read_data: u8, out: &Output) -> Result<(), CliError> {
    told(&verified.findings).iter().try_for_each(|line| out.line(line))?;
    print_touched(&verified.touched, out)?;
    for id in &verified.unlisted {
        out.line(&format!("listed nowhere, to be had by its id: snapshot {id}"))?;
    }
    if let [first, ..] = verified.void[..] {
        let count = counted(verified.void.len() as u64, "entry", "entries");
        let told = if verified.not_checked.is_empty() { "an owner has" } else { "the log says that an owner has" };
        out.line(&format!("void: {count} of the arrival log, from {first} on, lost for good: {told} accepted that"))?;
    }
    for entry in &verified.false_entries {
        out.line(&format!("false, and not heeded: {}", escaped(&entry.to_string())))?;
    }
    for what in verified.not_checked {
        out.line(&format!("not checked, for want of a key: {what}"))?;
    }
    let seen = &verified.inspected;
    if verified.cut_short {
        let left = seen.all.saturating_sub(seen.blocks);
        out.line(&format!("the time was up: {} not looked at", counted(left, "block was", "blocks were")))?;
    }
    if let Some(ledger) = &verified.ledger {
        print_ledger(ledger, read_data > 0, verified, out)?;
    }
    if verified.findings.is_empty() {
        let depth = match read_data {
            _ if !verified.not_checked.is_empty() => "sealed bytes alone".to_owned(),
            0 => "structure and sealed bytes".to_owned(),
            100 if !verified.cut_short => format!("every byte of {} read", counted(verified.files, "file", "files")),
            _ => format!("{} opened", counted(seen.opened, "block", "blocks")),
        };
        let entries = match verified.not_checked {
            [] => format!("{}, ", counted(verified.entries, "entry", "entries")),
            _ => String::new(),
        };
        out.line(&format!(
            "no damage: {}, {entries}{}, {} ({depth})",
            counted(verified.snapshots, "snapshot", "snapshots"),
            counted(seen.blocks, "block", "blocks"),
            human_bytes(seen.bytes)
        ))?;
    }
    Ok(())
}

/// A line for each finding; for what a file of the database takes along, one.
fn told(findings: &[Finding]) -> Vec<String> {
    let of_a_file = |finding: &&Finding| finding.why.contains(".sst");
    let mut others = HashMap::<&str, u64>::new();
    findings.iter().filter(of_a_file).for_each(|finding| *others.entry(&finding.why).or_default() += 1);
    let line = |finding: &Finding| {
        let others = match others.get_mut(finding.why.as_str()) {
            None => 0,
            // It was told.
            Some(0) => return None,
            Some(all) => std::mem::take(all) - 1,
        };
        let more = if others > 0 { format!(" and {}", counted(others, "other", "others")) } else { String::new() };
        Some(format!("damaged: {}{more}: {}", escaped(&finding.object), escaped(&finding.why)))
    };
    findings.iter().filter_map(line).collect()
}

/// Tells the snapshots and paths that damage touches.
pub(super) fn print_touched(touched: &[Touched], out: &Output) -> Result<(), CliError> {
    for touched in touched {
        let dataset = touched.dataset.as_ref().map_or_else(String::new, |d| format!(" of {}", escaped(d)));
        out.line(&format!("touched: snapshot {}{dataset}: {} paths", short_id(touched.snapshot), touched.count))?;
        for path in touched.paths.iter().take(PATHS_SHOWN) {
            let text = if path.is_empty() { "/ (all of it)".into() } else { String::from_utf8_lossy(path) };
            out.line(&format!("  {}", escaped(&text)))?;
        }
        let more = touched.count.saturating_sub(touched.paths.len().min(PATHS_SHOWN) as u64);
        if more > 0 {
            out.line(&format!("  … and {more} more; --json has them"))?;
        }
    }
    Ok(())
}

/// How old the oldest look is, where that is not this one; and whether the next one will know of this.
fn print_ledger(ledger: &LedgerKept, opened: bool, verified: &Verified, out: &Output) -> Result<(), CliError> {
    let ages = &ledger.ages;
    let (oldest, never, what) = if opened {
        (ages.opened, ages.never_opened, "opened")
    } else {
        (ages.compared, ages.never_compared, "compared with its digest")
    };
    let seen = &verified.inspected;
    let all = if opened { seen.opened == seen.all } else { seen.blocks == seen.all };
    match oldest {
        _ if all => {}
        None => out.line(&format!("never {what} yet: {}", counted(never, "block", "blocks")))?,
        Some(seconds) => {
            let time = Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 };
            out.line(&format!("the block that waits longest was {what} on {}", short_time(time)))?;
        }
    }
    match &ledger.not_kept {
        Some(why) if verified.findings.is_empty() => {
            out.remark(&format!("larder: not noted for the next look: {}", escaped(why)));
        }
        _ => {}
    }
    Ok(())
}

/// A part of a hundred, not none.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|n| (1..=100).contains(n)).ok_or_else(|| format!("{text:?} is no part of a hundred: 1% to 100%"))
}

/// A time to work: `90s`, `30m` (or `30min`), `2h`, `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is no time like 90s, 30m, 2h or 1d"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn what_a_file_takes_along_is_one_line() {
        let of = |(object, why): &(String, &str)| Finding::from_error(&StoreError::damage(object.clone(), *why));
        let lost = "IO error: /store/db/000012.sst: No such file or directory";
        let blocks = (1..=3).map(|n| (format!("block {n}"), lost));
        let others = (1..=2).map(|n| (format!("chunk {n}"), "it is not in the index"));
        let findings: Vec<_> = blocks.chain(others).map(|finding| of(&finding)).collect();
        assert_eq!(
            told(&findings),
            [
                &format!("damaged: block 1 and 2 others: {lost}"),
                "damaged: chunk 1: it is not in the index",
                "damaged: chunk 2: it is not in the index"
            ]
        );
        assert_eq!(told(&findings[2..3]), [format!("damaged: block 3: {lost}")]);
    }

    #[test]
    fn parts_and_times() {
        assert_eq!([percent("5%"), percent("100"), percent("1")], [Ok(5), Ok(100), Ok(1)]);
        for bad in ["", "0", "0%", "101", "-1", "5 %", "5%%", "1.5"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(
            [seconds("90s"), seconds("30m"), seconds("30min"), seconds("2h")],
            [Ok(90), Ok(1800), Ok(1800), Ok(7200)]
        );
        for bad in ["", "m", "30", "1w", "-1h", "99999999999999999999d", "99999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
