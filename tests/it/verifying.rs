//! verify: without keys, in parts, within a budget; what it remembers; no byte that it passes over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::behind::tables;
use crate::sandbox::{Sandbox, copy_tree, noise, pick, seed};

/// A store with two snapshots: long and short blocks, a file of several chunks, names.
fn captured() -> Sandbox {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("long"), noise(1, 400_000)).unwrap();
    for turn in 0..40 {
        fs::write(source.join("folder").join(format!("file{turn}")), noise(turn + 10, 700)).unwrap();
    }
    sandbox.snapshot(&source, "d").done();
    fs::write(source.join("new"), noise(2, 3000)).unwrap();
    sandbox.snapshot(&source, "d").done();
    sandbox
}

/// A store of some hundred blocks.
fn many_blocks() -> Sandbox {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("long"), noise(1, 30_000_000)).unwrap();
    sandbox.larder(["snapshot", source.to_str().unwrap(), "--block-size", "32K"]).done();
    sandbox
}

#[test]
fn an_identity_that_was_named_and_does_not_fit_is_no_wish_to_do_without() {
    let sandbox = captured();
    let stranger = sandbox.another_client("stranger");
    fs::remove_file(stranger.identity()).unwrap();
    fs::write(stranger.identity(), larder::codec::generate_identity().0.as_str()).unwrap();
    let named = stranger.identity();
    let run = |words: &[&str]| stranger.run(&sandbox.store(), words);
    run(&["verify", "-i", named.to_str().unwrap()]).refused(12, "identit");
    run(&["verify", "-i", named.to_str().unwrap(), "--no-key"]).done();
    run(&["verify"]).done();
}

#[test]
fn without_a_key_a_changed_byte_is_found_and_what_was_not_checked_is_told() {
    let sandbox = captured();
    let stranger = sandbox.another_client("stranger");
    fs::remove_file(stranger.identity()).unwrap();
    let run = |words: &[&str]| stranger.run(&sandbox.store(), words);
    let ran = run(&["verify"]).ended(0);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("not checked, for want of a key") && text.contains("no damage: 2 snapshots"), "{text}");
    assert!(ran.stderr.contains("none of the identities"), "{}", ran.stderr);
    run(&["verify", "--read-data"]).refused(12, "none of the identities");
    run(&["list"]).refused(12, "none of the identities");
    let told = run(&["verify", "--no-key", "--json"]).json();
    assert_eq!(told["not_checked"].as_array().map(Vec::len), Some(3), "{told}");
    assert!(told["blocks"] == told["all_blocks"] && told["blocks"].as_u64() > Some(3), "{told}");
    assert!(told["ledger"].is_null() && told["index_entries"].as_u64() > Some(40), "{told}");
    // With a key at hand the rest is checked too.
    let told = sandbox.larder(["verify", "--json"]).json();
    assert_eq!((told["not_checked"].as_array().map(Vec::len), &told["damaged"]), (Some(0), &false.into()));
    let mut hurt = 0;
    for file in tables(&sandbox.store()) {
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 4;
        fs::write(&file, changed).unwrap();
        let found = run(&["verify", "--json"]).ended(13);
        hurt += u32::from(String::from_utf8_lossy(&found.stdout).contains("\"damaged\":true"));
        fs::write(&file, whole).unwrap();
    }
    assert!(hurt > 10, "{hurt}");
    let key = fs::read_dir(sandbox.store().join("keys")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&key).unwrap();
    fs::write(&key, &whole[..whole.len() - 1]).unwrap();
    run(&["verify"]).refused(13, "damage found");
    fs::write(&key, whole).unwrap();
    run(&["verify"]).done();
}

/// Why a changed byte of a file does no harm, if that is so.
fn harmless(name: &str) -> Option<&'static str> {
    match name {
        "LOG" => Some("RocksDB's messages: nobody reads them"),
        "IDENTITY" => Some("RocksDB's name of the database: MANIFEST has it too"),
        "LOCK" => Some("empty"),
        _ if name.starts_with("LOG.old") => Some("RocksDB's messages: nobody reads them"),
        _ if name.starts_with("OPTIONS-") => Some("RocksDB's record of options: ours are given at each open"),
        _ if Path::new(name).extension().is_some_and(|e| e == "log") => {
            Some("a write-ahead log: what is acknowledged was flushed before")
        }
        _ => None,
    }
}

/// Changes one byte after another, and has each change found with keys and without. `LARDER_FLIPS`: bytes of each file, or `all`.
#[test]
fn no_changed_byte_is_passed_over() {
    let sandbox = captured();
    let asked = std::env::var("LARDER_FLIPS").ok();
    let seed = seed();
    let store = sandbox.store();
    let mut files: Vec<_> = fs::read_dir(store.join("db")).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for (at, file) in (0..).zip(&files) {
        let len = fs::metadata(file).unwrap().len();
        let some = match asked.as_deref() {
            Some("all") => (0..len).collect(),
            Some(count) => spread(seed ^ at, count.parse().unwrap(), len),
            None => spread(seed ^ at, 3, len),
        };
        cases.extend(some.into_iter().map(|at| (file.file_name().unwrap().to_owned(), at)));
    }
    let (next, counts, missed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let (next, cases, counts, missed, sandbox, store) = (&next, &cases, &counts, &missed, &sandbox, &store);
            scope.spawn(move || {
                let copy = sandbox.path(format!("copy{worker}"));
                while let Some((file, at)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mask = 1 << pick(seed, *at, 8);
                    let mut found = [false; 2];
                    for (found, words) in found.iter_mut().zip([&["verify"][..], &["verify", "--no-key"]]) {
                        let _ = fs::remove_dir_all(&copy);
                        copy_tree(store, &copy);
                        let path = copy.join("db").join(file);
                        let mut bytes = fs::read(&path).unwrap();
                        bytes[*at as usize] ^= mask;
                        fs::write(&path, bytes).unwrap();
                        *found = sandbox.client().run(&copy, words).status != 0;
                    }
                    let name = file.to_str().unwrap();
                    let word = match (found, harmless(name)) {
                        ([true, true], _) => "found",
                        (_, Some(_)) => "harmless",
                        _ => "missed",
                    };
                    let sort = if name.contains(".sst") { "table" } else { name.split(['-', '.']).next().unwrap() };
                    let sort = sort.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
                    *counts.lock().unwrap().entry((word, sort)).or_insert(0) += 1;
                    if word == "missed" {
                        missed.lock().unwrap().push(format!("byte {at} of {name}: {found:?}"));
                    }
                }
            });
        }
    });
    for ((word, sort), count) in counts.into_inner().unwrap() {
        let sort = if sort.is_empty() { "write-ahead log" } else { &sort };
        println!("{count} bytes flipped in {sort}: {word}");
    }
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), cases.len(), missed.join("\n"));
}

/// Some places in a file, among them its first and last.
fn spread(seed: u64, count: u64, len: u64) -> Vec<u64> {
    let mut places: Vec<_> = (0..count).map(|turn| pick(seed, turn, len)).chain([0, len.saturating_sub(1)]).collect();
    places.retain(|at| *at < len);
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn parts_add_up_to_the_whole_those_that_waited_longest_first() {
    let sandbox = many_blocks();
    let first = sandbox.larder(["verify", "--read-data=30%", "--json"]).json();
    let all = first["all_blocks"].as_u64().unwrap();
    let opened = first["opened_blocks"].as_u64().unwrap();
    assert_eq!((first["blocks"].as_u64(), opened), (Some(all), (all * 30).div_ceil(100)), "{first}");
    assert!(all > 50, "{first}");
    assert_eq!(first["ledger"]["not_kept"], serde_json::Value::Null, "{first}");
    assert_eq!(first["ledger"]["never_opened"].as_u64(), Some(all - opened), "{first}");
    let mut left = all - opened;
    for turn in 0..3 {
        let next = sandbox.larder(["verify", "--read-data=30", "--json"]).json();
        left = left.saturating_sub(opened);
        assert_eq!(next["ledger"]["never_opened"].as_u64(), Some(left), "turn {turn}: {next}");
        assert_eq!(next["ledger"]["oldest_opened"].is_string(), left == 0, "turn {turn}: {next}");
    }
    assert_eq!(left, 0);
    // What came since waits.
    fs::write(sandbox.path("source/late"), noise(999, 5_000_000)).unwrap();
    sandbox.snapshot(&sandbox.path("source"), "source").done();
    let text = sandbox.larder(["verify", "--read-data=1%"]).ended(0).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("never opened yet: ") && text.contains("opened)"), "{text}");
    let whole = sandbox.larder(["verify", "--read-data", "--json"]).json();
    assert_eq!((&whole["ledger"]["never_opened"], &whole["opened_blocks"]), (&0.into(), &whole["all_blocks"]));
}

#[test]
fn a_budget_ends_a_look_in_order_and_damage_is_told_all_the_same() {
    let sandbox = many_blocks();
    let none = sandbox.larder(["verify", "--budget", "0s", "--json"]).json();
    assert_eq!((&none["cut_short"], &none["blocks"], &none["damaged"]), (&true.into(), &0.into(), &false.into()));
    let text = sandbox.larder(["verify", "--budget", "0s"]).ended(0).stdout;
    assert!(String::from_utf8_lossy(&text).contains("not looked at"), "{}", String::from_utf8_lossy(&text));
    let whole = sandbox.larder(["verify", "--read-data", "--budget", "10m", "--json"]).json();
    assert_eq!((&whole["cut_short"], &whole["blocks"]), (&false.into(), &whole["all_blocks"]));
    assert_eq!(whole["opened_blocks"], whole["all_blocks"]);
    for bad in ["", "30", "5 m", "1w"] {
        let _ran = sandbox.larder(["verify", "--budget", bad]).ended(2);
    }
    let _ran = sandbox.larder(["verify", "--read-data=0"]).ended(2);
    let key = fs::read_dir(sandbox.store().join("keys")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&key, sandbox.path("key")).unwrap();
    fs::write(key.with_file_name("0000000000000000.age"), "rubbish").unwrap();
    let _ran = sandbox.larder(["verify", "--budget", "0s"]).ended(13);
}

#[test]
fn beside_a_writer_and_in_a_damaged_store_the_ledger_stays_as_it_is() {
    let sandbox = captured();
    let lock = fs::File::open(sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let told = sandbox.larder(["verify", "--json"]).json();
    assert!(told["ledger"]["not_kept"].as_str().unwrap().contains("writing"), "{told}");
    assert_eq!(told["ledger"]["never_compared"], 0, "this look counts: {told}");
    let ran = sandbox.larder(["verify"]).ended(0);
    assert!(ran.stderr.contains("not noted for the next look"), "{}", ran.stderr);
    drop(lock);
    let before = tables(&sandbox.store());
    let file = before.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let whole = fs::read(file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(file, changed).unwrap();
    let told = sandbox.larder(["verify", "--json"]).ended(13);
    assert!(String::from_utf8_lossy(&told.stdout).contains("there is damage"));
    assert_eq!(tables(&sandbox.store()).len(), before.len());
    fs::write(file, whole).unwrap();
    sandbox.larder(["verify"]).done();
    assert!(tables(&sandbox.store()).len() > before.len(), "the ledger was not written");
}

#[test]
fn what_was_read_whole_need_not_be_opened_so_soon() {
    let sandbox = many_blocks();
    let never_opened = || {
        let told = sandbox.larder(["verify", "--json"]).json();
        (told["ledger"]["never_opened"].as_u64().unwrap(), told["all_blocks"].as_u64().unwrap())
    };
    let restore = |name| {
        let dest = sandbox.path(name);
        sandbox.larder(["restore", "latest", dest.to_str().unwrap()]).done();
    };
    let (never, all) = never_opened();
    assert!(never == all && all > 50, "{never} of {all}");
    // Beside a writer nothing is noted, and nothing waited for.
    let lock = fs::File::open(sandbox.store().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    restore("first");
    drop(lock);
    assert_eq!(never_opened(), (all, all));
    restore("second");
    let (left, _) = never_opened();
    assert!(left < all / 10, "{left} of {all}");
    // The rest comes first.
    let told = sandbox.larder(["verify", "--read-data=10%", "--json"]).json();
    assert_eq!(told["ledger"]["never_opened"], 0, "{told}");
}
