//! What `forget`, `hold`, `release` and `policy` keep and give up. Issue 5: retention, holds, anomaly hold.

use std::fs;
use std::time::Duration;

use larder::format::number_key;
use larder::model::{Evidence, Failure, ForgetCause, ForgetDetail, LogKind, Quiet, Role, Rules};
use larder::ops::retention::{Asked, Keeping, forget as forget_by, forget_named, hold};
use larder::snapshots::{Register, SnapshotName, Standing, Wanted};
use larder::store::{NewEntry, Waiting};

use crate::behind::database;
use crate::clocked::{Told, capture_as, capture_at, client_with_role, days_ago, folder, now, opened};
use crate::sandbox::{Sandbox, noise};

/// A store with snapshots of `home`, at noon of each of the last so many days; gives their ids, oldest first.
fn daily(days: i64) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 3);
    let store = opened(&sandbox, sandbox.client());
    let ids = (1..=days).rev().map(|ago| capture_at(&store, &source, "home", days_ago(ago))).collect();
    (sandbox, ids)
}

fn forget(sandbox: &Sandbox, words: &[&str]) -> Told {
    Told::of(sandbox.larder(["forget", "--json"].iter().chain(words)), 0)
}

fn listed(sandbox: &Sandbox) -> Vec<String> {
    sandbox.larder(["list", "--json"]).ids()
}

#[test]
fn rules_keep_what_they_say_and_a_rehearsal_says_the_same() {
    let (sandbox, ids) = daily(6);
    let words = ["--keep-last", "1", "--keep-daily", "3"];
    let rehearsed = forget(&sandbox, &[&words[..], &["--dry-run"]].concat());
    assert_eq!(listed(&sandbox), ids, "a rehearsal changes nothing");
    let done = forget(&sandbox, &words);
    assert_eq!((&rehearsed.kept, &rehearsed.forgotten), (&done.kept, &done.forgotten));
    assert_eq!(done.kept, ids[3..]);
    assert_eq!(done.forgotten, ids[..3]);
    assert_eq!(done.codes(&ids[5]), ["last", "daily"]);
    assert_eq!(done.codes(&ids[0]), ["not kept"]);
    assert_eq!((&rehearsed.summary["dry_run"], &done.summary["dry_run"]), (&true.into(), &false.into()));
    assert_eq!(listed(&sandbox), ids[3..]);
    sandbox.larder(["show", &ids[0][..16]]).refused(10, "no snapshot");
    assert_eq!(forget(&sandbox, &words).forgotten, [""; 0], "once is enough");
    sandbox.larder(["verify"]).done();
}

#[test]
fn what_was_forgotten_stands_in_the_log_with_its_rule() {
    let (sandbox, ids) = daily(3);
    sandbox.larder(["forget", "--keep-last", "2", "--reason", "room"]).done();
    sandbox.larder(["forget", &ids[1]]).done();
    let store = opened(&sandbox, sandbox.client());
    let entries = store.log().unwrap().into_iter().map(|row| row.entry.unwrap());
    let forgets = entries.filter(|e| e.kind == LogKind::Forget);
    let details: Vec<_> = forgets.map(|e| (e.manifest.to_string(), store.detail(&e).unwrap().unwrap())).collect();
    let detail = |at: usize| ForgetDetail::from_bytes(&details[at].1).unwrap();
    assert_eq!([&details[0].0, &details[1].0], [&ids[0], &ids[1]]);
    assert_eq!((detail(0).cause, detail(0).rules.to_string()), (ForgetCause::Rules, "--keep-last 2".to_owned()));
    assert_eq!(detail(0).reason.as_deref(), Some("room"));
    assert_eq!((detail(1).cause, detail(1).rules.is_empty()), (ForgetCause::Named, true));
}

#[test]
fn asking_for_nothing_is_refused() {
    let (sandbox, ids) = daily(2);
    for words in [&["forget"][..], &["forget", "-d", "home"], &["forget", "--keep-last", "0"]] {
        sandbox.larder(words).refused(2, "--keep-last");
    }
    sandbox.larder(["forget", "--keep-none"]).refused(2, "would forget everything");
    sandbox.larder(["forget", "latest", "--keep-last", "1"]).refused(2, "--keep-last");
    sandbox.larder(["forget", "latest", "--policy"]).refused(2, "--policy");
    sandbox.larder(["forget", "--keep-last", "some"]).refused(2, "all");
    sandbox.larder(["forget", "--keep-within", "1x"]).refused(2, "36h");
    sandbox.larder(["forget", "--keep-last", "1", "-d", "hmoe"]).refused(10, "hmoe");
    assert_eq!(listed(&sandbox), ids);
    assert_eq!(forget(&sandbox, &["--keep-none", "-d", "home"]).forgotten, ids);
    assert_eq!(listed(&sandbox), [""; 0]);
}

#[test]
fn each_dataset_is_counted_by_itself_and_labels_choose() {
    let (sandbox, ids) = daily(3);
    let source = sandbox.path("source");
    let take = |label: &str| {
        let words = ["snapshot", source.to_str().unwrap(), "-d", "work", "-l", label, "--json"];
        sandbox.larder(words).json()["id"].as_str().unwrap().to_owned()
    };
    let work: Vec<_> = ["a=1", "a=2", "a=1", "a=2"].map(take).into();
    let told = forget(&sandbox, &["--keep-last", "1", "-n"]);
    assert_eq!(told.kept, [&ids[2], &work[3]].map(Clone::clone));
    let told = forget(&sandbox, &["--keep-last", "1", "-l", "a=1"]);
    assert_eq!((told.kept, told.forgotten), (vec![work[2].clone()], vec![work[0].clone()]));
    let told = forget(&sandbox, &["--keep-last", "1", "-d", "work"]);
    assert_eq!(told.forgotten, [&work[1], &work[2]].map(Clone::clone));
    assert_eq!(listed(&sandbox), [&ids[0], &ids[1], &ids[2], &work[3]].map(Clone::clone));
}

#[test]
fn snapshots_are_forgotten_by_name_all_or_none() {
    let (sandbox, ids) = daily(4);
    sandbox.larder(["forget", &ids[0], "home~9"]).refused(10, "home~9");
    sandbox.larder(["hold", &ids[1], "--reason", "case 1"]).done();
    sandbox.larder(["forget", &ids[0], &ids[1]]).refused(2, "held: case 1");
    assert_eq!(listed(&sandbox), ids);
    let told = forget(&sandbox, &[&ids[0][..8], "home~1", &ids[0], "-n"]);
    assert_eq!(told.forgotten, [&ids[0], &ids[2]].map(Clone::clone));
    forget(&sandbox, &[&ids[0][..8], "home~1"]);
    assert_eq!(listed(&sandbox), [&ids[1], &ids[3]].map(Clone::clone));
}

#[test]
fn an_immutable_snapshot_has_no_delete_path() {
    let (sandbox, ids) = daily(2);
    let store = opened(&sandbox, sandbox.client());
    let evidence = Evidence { immutable: true, ..Evidence::default() };
    let fixed = capture_as(&store, &sandbox.path("source"), "home", now(), evidence);
    let newest = capture_at(&store, &sandbox.path("source"), "home", now());
    sandbox.larder(["forget", &fixed]).refused(2, "immutable");
    sandbox.larder(["release", &fixed]).refused(2, "is immutable");
    sandbox.larder(["release", "--strange", &fixed]).done();
    sandbox.larder(["policy", "set", "--all", "--keep-last", "1"]).done();
    assert_eq!(forget(&sandbox, &["--policy"]).codes(&fixed), ["immutable"]);
    let left = forget(&sandbox, &["--keep-none", "-d", "home"]).kept;
    assert_eq!((&left, &listed(&sandbox)), (&vec![fixed.clone()], &vec![fixed]));
    assert!(!ids.contains(&newest));
}

#[test]
fn a_hold_keeps_until_it_is_lifted_or_its_time_is_over() {
    let (sandbox, ids) = daily(4);
    sandbox.larder(["hold", &ids[0], &ids[1], "--reason", "case\u{1b}[31m", "--until", "2099-01-01"]).done();
    sandbox.larder(["hold", &ids[0], "--reason", "another"]).done();
    sandbox.larder(["hold", &ids[2], "--reason", "short", "--until", "1s"]).done();
    sandbox.larder(["hold", &ids[2], "--reason", "x", "--until", "2001-01-01"]).refused(2, "before it begins");
    let shown = sandbox.larder(["show", &ids[0], "--json"]).json();
    let reasons: Vec<_> = shown["holds"].as_array().unwrap().iter().map(|h| h["reason"].clone()).collect();
    assert_eq!(reasons, ["case\u{1b}[31m", "another"]);
    assert!(shown["holds"][0]["until"].as_str().unwrap().starts_with("2099-01-01T23:59:59"), "{shown}");
    let text = String::from_utf8(sandbox.larder(["show", &ids[0]]).ended(0).stdout).unwrap();
    assert!(text.contains("by tester@") || text.contains("by root@"), "{text}");
    assert!(text.contains("case\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
    let table = String::from_utf8(sandbox.larder(["list"]).ended(0).stdout).unwrap();
    assert_eq!(table.lines().filter(|l| l.ends_with("  held")).count(), 3, "{table}");
    std::thread::sleep(Duration::from_millis(1100));
    let told = forget(&sandbox, &["--keep-last", "1"]);
    assert_eq!(told.kept, [&ids[0], &ids[1], &ids[3]].map(Clone::clone), "the time of one is over");
    assert_eq!(told.codes(&ids[0]), ["held"]);
    sandbox.larder(["release", &ids[0]]).done();
    sandbox.larder(["release", &ids[0]]).refused(2, "not held");
    assert_eq!(forget(&sandbox, &["--keep-last", "1"]).forgotten, ids[..1], "both holds were lifted");
}

#[test]
fn policies_are_found_by_dataset_and_class() {
    let (sandbox, ids) = daily(3);
    let store = opened(&sandbox, sandbox.client());
    let source = sandbox.path("source");
    let of = |class: &str| Evidence { retention_class: Some(class.to_owned()), ..Evidence::default() };
    let evidence: Vec<_> = (0..3).map(|_| capture_as(&store, &source, "home", now(), of("evidence"))).collect();
    let other = capture_as(&store, &source, "home", now(), of("other"));
    let policy = |words: &[&str]| sandbox.larder(["policy"].iter().chain(words)).done();
    sandbox.larder(["policy", "set", "home", "--class", "x"]).refused(2, "keep nothing");
    sandbox.larder(["policy", "set", "--keep-last", "1"]).refused(2, "DATASET");
    assert_eq!(forget(&sandbox, &["--policy"]).forgotten, [""; 0], "no policy, nothing to do");
    policy(&["set", "--all", "--keep-last", "1"]);
    policy(&["set", "home", "--keep-last", "2"]);
    policy(&["set", "--all", "--class", "evidence", "--keep-last", "1"]);
    let explained = Told::of(sandbox.larder(["policy", "explain", "home", "--json"]), 0);
    assert_eq!(explained.forgotten, [&ids[0], &evidence[0], &evidence[1]].map(Clone::clone));
    assert_eq!(explained.codes(&other), ["no policy"]);
    assert_eq!(listed(&sandbox).len(), 7, "to explain changes nothing");
    let shown = sandbox.larder(["policy", "show", "--json"]).lines();
    let words = |v: &serde_json::Value| format!("{} {} {}", v["dataset"], v["class"], v["options"].as_str().unwrap());
    assert_eq!(
        shown.iter().map(words).collect::<Vec<_>>(),
        ["null null --keep-last 1", "null \"evidence\" --keep-last 1", "\"home\" null --keep-last 2"]
    );
    policy(&["clear", "home"]);
    sandbox.larder(["policy", "clear", "home"]).refused(10, "no such policy");
    let told = forget(&sandbox, &["--keep-last", "1"]);
    assert_eq!(told.codes(&evidence[0]), ["class"], "rules leave classes alone");
    assert_eq!(told.forgotten, ids[..2], "and these take nobody's place");
    let told = forget(&sandbox, &["--policy"]);
    assert_eq!(told.kept, [&ids[2], &evidence[2], &other].map(Clone::clone));
}

#[test]
fn a_snapshot_that_shrank_keeps_what_came_before_until_it_is_confirmed() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 40);
    let store = opened(&sandbox, sandbox.client());
    let mut ids: Vec<_> = (2..8).rev().map(|ago| capture_at(&store, &source, "home", days_ago(ago))).collect();
    for file in 1..40 {
        fs::remove_file(source.join(file.to_string())).unwrap();
    }
    let shrunk = capture_at(&store, &source, "home", days_ago(1));
    ids.push(shrunk.clone());
    let told = Told::of(sandbox.larder(["forget", "--keep-last", "1", "--json"]), 3);
    assert_eq!((&told.kept, told.forgotten.len()), (&ids, 0));
    assert_eq!(told.codes(&ids[0]), ["strange"]);
    let strange = &told.summary["strange"][0];
    assert_eq!((&strange["id"], &strange["keeps"]), (&shrunk.clone().into(), &6.into()));
    let said = sandbox.larder(["forget", "-q", "--keep-last", "1"]).ended(3).stderr;
    assert!(said.contains("1 files where 40 are usual") && said.contains("release --strange"), "{said}");
    sandbox.larder(["forget", &ids[2]]).refused(2, "release --strange");
    sandbox.larder(["release", "--strange", &shrunk]).done();
    let told = forget(&sandbox, &["--keep-last", "1"]);
    assert_eq!(told.kept, [shrunk]);
}

/// As when somebody has encrypted it: it keeps what came before, though as many files are there as ever.
#[test]
fn a_snapshot_that_is_new_from_end_to_end_keeps_what_came_before() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 3);
    let store = opened(&sandbox, sandbox.client());
    let write = |seed: u64, len: usize| fs::write(source.join("big"), noise(seed, len)).unwrap();
    let mut ids = Vec::new();
    for ago in (2..9).rev() {
        // Not the long file: how much of it is new hangs on where it is cut, which is another place in each store.
        write(1, 2_000_000);
        fs::write(source.join("note"), noise(u64::try_from(ago).unwrap(), 20_000)).unwrap();
        ids.push(capture_at(&store, &source, "home", days_ago(ago)));
    }
    write(2, 2_000_000);
    ids.push(capture_at(&store, &source, "home", days_ago(1)));
    let told = Told::of(sandbox.larder(["forget", "--keep-last", "1", "--json"]), 3);
    assert_eq!((&told.kept, told.codes(&ids[0])), (&ids, vec!["strange".to_owned()]));
    assert!(told.summary["strange"][0]["why"].as_str().unwrap().contains("bytes are new"), "{told:?}");
    for words in [&["policy", "explain", "--json"][..], &["forget", "--keep-daily", "2", "-n", "--json"]] {
        let ran = sandbox.larder(words);
        let status = ran.status;
        let told = Told::of(ran, status);
        let reasons = |line: &serde_json::Value| line["reasons"].as_array().unwrap().iter().all(|r| r["text"] != "");
        assert!(told.lines.len() == ids.len() && told.lines.iter().all(reasons), "a reason for each: {told:?}");
        assert!(ids.iter().all(|id| !told.codes(id).is_empty()));
    }
}

#[test]
fn a_snapshot_whose_files_are_all_overwritten_keeps_what_came_before() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 40);
    let store = opened(&sandbox, sandbox.client());
    let overwrite = |files: std::ops::Range<usize>, with: &str| {
        for file in files {
            let path = source.join(file.to_string());
            let size = fs::metadata(&path).unwrap().len();
            fs::write(&path, with.repeat(usize::try_from(size).unwrap())).unwrap();
        }
    };
    let mut ids = Vec::new();
    for ago in (2..9).rev() {
        overwrite(0..2, &ago.to_string());
        ids.push(capture_at(&store, &source, "home", days_ago(ago)));
    }
    assert_eq!(forget(&sandbox, &["--keep-last", "1", "-n"]).forgotten.len(), 6, "two a day are its habit");
    overwrite(0..40, "\0");
    ids.push(capture_at(&store, &source, "home", days_ago(1)));
    let told = Told::of(sandbox.larder(["forget", "--keep-last", "1", "--json"]), 3);
    assert_eq!((&told.kept, told.codes(&ids[0])), (&ids, vec!["strange".to_owned()]));
    assert!(told.summary["strange"][0]["why"].as_str().unwrap().contains("40 of 40 files"), "{told:?}");
}

/// What `gc` asks before it removes anything: whatever put the entries there, only what nothing keeps may go.
#[test]
fn of_what_was_given_up_only_what_nothing_keeps_may_be_removed() {
    let (sandbox, ids) = daily(4);
    let store = opened(&sandbox, sandbox.client());
    let evidence = Evidence { immutable: true, ..Evidence::default() };
    let fixed = capture_as(&store, &sandbox.path("source"), "home", now(), evidence);
    sandbox.larder(["hold", &ids[0], "--reason", "x"]).done();
    store.refresh().unwrap();
    let rows = store.snapshots().unwrap();
    let mut log = store.log_writer(Waiting::Wait, &|| true).unwrap();
    let give_up = |id: &String| {
        let row = rows.iter().find(|row| row.id.to_string() == *id).unwrap();
        NewEntry { kind: LogKind::Forget, dataset: Some(row.dataset), snapshot: Some(row.id), detail: None }
    };
    log.append(&[&ids[0], &ids[1], &ids[2], &fixed].map(give_up), now()).unwrap();
    drop(log);
    {
        let db = database(&sandbox.store());
        db.delete_cf(db.cf_handle("manifests").unwrap(), rows[2].id.as_bytes()).unwrap();
        db.flush_cf(db.cf_handle("manifests").unwrap()).unwrap();
    }
    store.refresh().unwrap();
    let register = Register::read(&store).unwrap();
    assert!(register.damage.is_none());
    let standing = |at: usize| register.standing(&store, &rows[at].id, now()).unwrap();
    assert!(matches!(standing(0), Standing::Kept(why) if why.contains("holds it")));
    assert_eq!(standing(1), Standing::Forgotten(8));
    assert_eq!(standing(2), Standing::Removed);
    assert_eq!(standing(3), Standing::Living);
    assert!(matches!(standing(4), Standing::Kept(why) if why.contains("immutable")));
}

#[test]
fn a_log_with_a_hole_forgets_nothing() {
    let (sandbox, ids) = daily(3);
    sandbox.larder(["hold", &ids[0], "--reason", "x"]).done();
    sandbox.larder(["hold", &ids[1], "--reason", "y"]).done();
    {
        let db = database(&sandbox.store());
        db.delete_cf(db.cf_handle("log").unwrap(), number_key(4)).unwrap();
    }
    sandbox.larder(["forget", "--keep-last", "1"]).refused(13, "may hide holds");
    sandbox.larder(["forget", &ids[0]]).refused(13, "may hide holds");
    sandbox.larder(["release", &ids[1]]).refused(13, "may hide holds");
}

#[test]
fn a_catalog_key_forgets_and_holds_and_a_writer_key_does_not() {
    let (sandbox, ids) = daily(3);
    let writer = client_with_role(&sandbox, "writer", Role::Writer);
    let catalog = client_with_role(&sandbox, "catalog", Role::Catalog);
    let store = sandbox.store();
    for words in [
        &["forget", "--keep-last", "1"][..],
        &["forget", "--keep-last", "1", "-n"],
        &["forget", &ids[0]],
        &["hold", &ids[0], "--reason", "x"],
        &["release", &ids[0]],
        &["release", "--strange", &ids[0]],
        &["policy", "set", "--all", "--keep-last", "1"],
        &["policy", "show"],
        &["policy", "explain"],
        &["policy", "clear", "--all"],
    ] {
        writer.run(&store, words).refused(12, "writer");
    }
    catalog.run(&store, ["hold", &ids[0], "--reason", "x"]).done();
    catalog.run(&store, ["policy", "set", "--all", "--keep-last", "1"]).done();
    let told = Told::of(catalog.run(&store, ["forget", "--policy", "--json"]), 0);
    assert_eq!(told.kept, [&ids[0], &ids[2]].map(Clone::clone));
    assert_eq!(listed(&sandbox), told.kept, "the owner believes the catalog key");
}

#[test]
fn a_capture_is_not_skipped_for_a_snapshot_that_was_given_up() {
    let (sandbox, ids) = daily(2);
    let take = || {
        sandbox.larder([
            "snapshot",
            sandbox.path("source").to_str().unwrap(),
            "-d",
            "home",
            "--skip-if-unchanged",
            "--json",
        ])
    };
    assert_eq!(take().json()["id"], ids[1].as_str());
    sandbox.larder(["forget", "home"]).done();
    // The one before it is the same.
    assert_eq!(take().json()["id"], ids[0].as_str());
    sandbox.larder(["forget", "home"]).done();
    let made = take().json();
    assert_eq!((&made["skipped"], listed(&sandbox).len()), (&false.into(), 1));
}

#[test]
fn a_clock_that_is_behind_forgets_nothing_unless_it_is_said_to_be_right() {
    let (sandbox, ids) = daily(2);
    let store = opened(&sandbox, sandbox.client());
    let ahead: Vec<_> = (0..2).map(|_| capture_at(&store, &sandbox.path("source"), "home", days_ago(-30))).collect();
    for words in [&["forget", "--keep-daily", "1"][..], &["forget", &ids[0]], &["policy", "explain"]] {
        sandbox.larder(words).refused(1, "clock of this machine is behind");
    }
    let told = forget(&sandbox, &["--keep-daily", "3", "--clock-is-right"]);
    assert_eq!(told.kept, [&ids[0], &ids[1], &ahead[1]].map(Clone::clone), "those from the future count as today's");
    assert_eq!(told.summary["moved"], 2);
}

/// Waits for the lock: a process that another test is just starting has it until it becomes its program.
fn asked(sure_of_clock: bool) -> Asked {
    Asked { by: "tester@here".to_owned(), reason: None, waiting: Waiting::Wait, sure_of_clock }
}

#[test]
fn a_clock_that_is_ahead_makes_nothing_old() {
    let (sandbox, ids) = daily(6);
    let (store, ahead) = (opened(&sandbox, sandbox.client()), days_ago(-365));
    let late = capture_at(&store, &sandbox.path("source"), "home", ahead);
    let keeping = Keeping::Rules(Rules { within: 30 * 86_400, ..Rules::default() });
    let kept = |sure| {
        let done = forget_by(&store, keeping, &Wanted::default(), &asked(sure), false, &|| ahead, &Quiet).unwrap();
        let kept = done.plan.verdicts.iter().filter(|v| !v.forget);
        kept.map(|v| (v.row.id.to_string(), v.reasons[0].to_string())).collect::<Vec<_>>()
    };
    let all = kept(false);
    assert_eq!(
        all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        [&ids[..], std::slice::from_ref(&late)].concat()
    );
    assert!(all[0].1.contains("unless a clock was ahead"), "{all:?}");
    assert_eq!(kept(true).len(), 1, "of a store that was not used for a year, if it is said");
    assert_eq!(listed(&sandbox), [late]);
}

#[test]
fn a_hold_ends_by_time_that_has_passed_and_not_by_a_clock() {
    let (sandbox, ids) = daily(3);
    let store = opened(&sandbox, sandbox.client());
    let (held, day) = ([ids[0].parse::<SnapshotName>().unwrap()], days_ago(0));
    hold(&store, &held, Some(days_ago(-5)), &asked(false), &|| day, &Quiet).unwrap();
    store.refresh().unwrap();
    let forget_at = |ago, sure| forget_named(&store, &held, &asked(sure), true, &|| days_ago(ago), &Quiet);
    let refused = forget_at(-6, false).unwrap_err();
    assert!(refused.to_string().contains("nothing but the clock of this machine says"), "{refused}");
    assert!(refused.hint().unwrap().contains("--clock-is-right"));
    assert_eq!(forget_at(-6, true).unwrap().len(), 1);
    assert!(forget_at(-4, true).unwrap_err().to_string().contains("held"), "its time is not over by any clock");
    for ago in 1..=5 {
        capture_at(&store, &sandbox.path("source"), "home", days_ago(-ago));
    }
    store.refresh().unwrap();
    assert_eq!(forget_at(-6, false).unwrap().len(), 1, "captures of each day bear it out");
}

#[test]
fn an_unencrypted_store_has_all_of_it() {
    let sandbox = Sandbox::with_open_store();
    let source = folder(&sandbox, "source", 1);
    for _ in 0..3 {
        sandbox.snapshot(&source, "home").done();
    }
    let ids = listed(&sandbox);
    sandbox.larder(["hold", &ids[0], "--reason", "x"]).done();
    sandbox.larder(["policy", "set", "home", "--keep-last", "1"]).done();
    assert_eq!(forget(&sandbox, &["--policy"]).forgotten, ids[1..2]);
    assert_eq!(listed(&sandbox), [&ids[0], &ids[2]].map(Clone::clone));
}
