//! A kill, a power cut, a full disk or a failing one at any operation of a command that writes to a store.
//!
//! After each the store is opened again and verified, what was acknowledged is compared with what was captured, the command's effect is
//! whole or absent, and the same command run again does it.
//!
//! `LARDER_CRASH=all` tries every point with every variant (`scripts/crash-all`), `LARDER_CRASH=85-105` those points; otherwise a
//! random sample whose seed is shown.

mod attempt;
mod commands;
mod init;
mod power_cut;
mod shim;
mod stage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sandbox::{pick, seed};

use power_cut::{CUTS, Cut};
use shim::Trouble;

pub(crate) use shim::{Shimmed, run_shimmed, shim};
pub(crate) use stage::{Stage, Trial, oracle, write_tree};

/// The points to try with every variant, if that is asked for.
pub(crate) fn asked_points() -> Option<std::ops::RangeInclusive<u64>> {
    let text = std::env::var("LARDER_CRASH").ok()?;
    if text == "all" {
        return Some(1..=u64::MAX);
    }
    let (from, to) = text.split_once('-').expect("LARDER_CRASH is `all` or a range like 85-105");
    Some(from.parse().unwrap()..=to.parse().unwrap())
}

/// Tries every point and variant, or a sample of so many, of a command that has `count` operations.
fn enumerate(
    name: &str,
    count: u64,
    troubles: &[Trouble],
    sample: u64,
    work: impl Fn(Trouble, u64, &[Cut]) -> Vec<String> + Sync,
) {
    let (seed, asked) = (seed(), asked_points());
    let all = asked.is_some();
    // One beyond the last: trouble after the end, when all was acknowledged.
    let every = troubles.iter().flat_map(|t| (1..=count + 1).map(|at| (*t, at)));
    let mut points: Vec<_> = every.collect();
    if let Some(range) = asked {
        points.retain(|(_, at)| range.contains(at));
    } else {
        let total = points.len() as u64;
        let mut turns: Vec<_> = (0..sample).map(|turn| pick(seed, turn, total) as usize).collect();
        turns.sort_unstable();
        turns.dedup();
        points = turns.into_iter().map(|i| points[i]).collect();
        // The end is always tried.
        points.extend(troubles.iter().filter(|t| **t == Trouble::PowerCut).map(|t| (*t, count + 1)));
    }
    let cuts_of = |at: u64| -> Vec<Cut> {
        if all { CUTS.to_vec() } else { (0..3).map(|i| CUTS[pick(seed, at * 8 + i, 8) as usize]).collect() }
    };
    try_all(name, &points, cuts_of, work);
}

/// Tries points on all processors; fails with all that is wrong.
fn try_all(
    name: &str,
    points: &[(Trouble, u64)],
    cuts_of: impl Fn(u64) -> Vec<Cut> + Sync,
    work: impl Fn(Trouble, u64, &[Cut]) -> Vec<String> + Sync,
) {
    let (next, done, runs) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    // Commands wait now and then, for each other or for others.
    let workers = 3 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((trouble, at)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cuts = if *trouble == Trouble::PowerCut { cuts_of(*at) } else { Vec::new() };
                    runs.fetch_add(cuts.len().max(1), Ordering::Relaxed);
                    let found = work(*trouble, *at, &cuts);
                    found.iter().for_each(|why| println!("{name}: {why}"));
                    wrong.lock().unwrap().extend(found);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(500) {
                        println!("{name}: {done} of {} troubles", points.len());
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let distinct =
        |of: &dyn Fn(&(Trouble, u64)) -> String| points.iter().map(of).collect::<std::collections::BTreeSet<_>>().len();
    let (places, troubles) = (distinct(&|p| p.1.to_string()), distinct(&|p| format!("{:?}", p.0)));
    // scripts/crash-all makes a table of these lines.
    println!("crash-table | {name} | {places} | {troubles} | {} | {} |", runs.into_inner(), wrong.len());
    assert!(wrong.is_empty(), "{name}: {} findings:\n{}", wrong.len(), wrong.join("\n"));
}
