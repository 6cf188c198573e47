//! Someone has a writer key and lies: about the time, about who forgets, by sheer number. Issue 5: retention that can't be poisoned.

use std::sync::Arc;

use larder::codec::{MacLabel, digest};
use larder::format::{Family, join_mac, number_key};
use larder::model::{DatasetName, Evidence, LogEntry, LogKind, Quiet, Role, Rules, Timestamp};
use larder::ops::retention::{Asked, Keeping, forget};
use larder::snapshots::Wanted;
use larder::store::{SnapshotRow, Store, Waiting};
use larder::view::View;

use crate::behind::database;
use crate::clocked::{Told, capture_as, capture_at, client_with_role, days_ago, folder, now, opened};
use crate::fixtures::script;
use crate::lost_entries::{self, parsed, set, with_mac, write_tip};
use crate::sandbox::{Client, Ran, Sandbox};

/// A store with snapshots of `home`, one a day for a week, by the owner and by a writer each.
struct Week {
    sandbox: Sandbox,
    writer: Client,
    owners: Vec<String>,
    writers: Vec<String>,
}

impl Week {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        folder(&sandbox, "source", 3);
        let writer = client_with_role(&sandbox, "writer", Role::Writer);
        let mut week = Self { sandbox, writer, owners: Vec::new(), writers: Vec::new() };
        for ago in (1..=7).rev() {
            let id = week.capture(&week.writing(), days_ago(ago));
            week.writers.push(id);
            let owner = opened(&week.sandbox, week.sandbox.client());
            let id = week.capture(&owner, later(days_ago(ago), 60));
            week.owners.push(id);
        }
        week
    }

    fn writing(&self) -> Store {
        opened(&self.sandbox, &self.writer)
    }

    fn capture(&self, store: &Store, time: Timestamp) -> String {
        capture_at(store, &self.sandbox.path("source"), "home", time)
    }

    fn forget(&self, words: &[&str], status: i32) -> Told {
        Told::of(self.sandbox.larder(["forget", "--json"].iter().chain(words)), status)
    }
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp { seconds: time.seconds + seconds, ..time }
}

/// The snapshots that tests/reader.py finds; it also checks the store.
fn by_reader(sandbox: &Sandbox) -> Vec<String> {
    let run = |what: &str| {
        let mut command = script("reader.py");
        Ran::of(command.arg(sandbox.store()).arg("--identity").arg(sandbox.client().identity()).arg(what))
    };
    run("check").done();
    run("list").lines().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// Puts an entry into the log past the program, which refuses a writer; gives its sequence.
fn forged(sandbox: &Sandbox, writer: &Store, target: &SnapshotRow, kind: LogKind) -> u64 {
    let db = database(&sandbox.store());
    let log = db.cf_handle(Family::Log.name()).unwrap();
    let (last, value) = db.iterator_cf(log, rocksdb::IteratorMode::End).next().unwrap().unwrap();
    let sequence = u64::from_be_bytes((*last).try_into().unwrap()) + 1;
    let body = LogEntry {
        kind,
        sequence,
        arrival: now(),
        dataset: target.dataset,
        manifest: target.id,
        previous: digest(&value),
        writer: writer.keyring().name(),
        ext: Vec::new(),
    }
    .to_bytes();
    let mac = writer.keyring().ids().mac(MacLabel::Log, &[&body]);
    db.put_cf(log, number_key(sequence), join_mac(body, &mac)).unwrap();
    db.flush_cf(log).unwrap();
    sequence
}

#[test]
fn a_back_dated_flood_pushes_out_nobody() {
    let week = Week::new();
    let store = week.writing();
    for n in 0..20 {
        week.capture(&store, later(days_ago(n % 7 + 1), 3600 + n));
    }
    let told = week.forget(&["--keep-daily", "7"], 0);
    // All but the writer's own of the last day that anybody bears out.
    for id in week.owners.iter().chain(&week.writers[..6]) {
        assert!(told.kept.contains(id), "{id} was pushed out: {told:?}");
    }
    assert_eq!(told.summary["moved"], 17, "the others say a time that may be true");
    let said = week.sandbox.larder(["forget", "--keep-daily", "7", "-q"]).ended(0).stderr;
    assert!(said.contains("no entry around it bears out"), "{said}");
}

/// What somebody wants back as of then is what was there then, whatever a writer's clock, or a broken one, says.
#[test]
fn a_snapshot_is_not_found_at_a_time_that_it_only_claims() {
    let week = Week::new();
    let writer = week.writing();
    let (owner, then) = (opened(&week.sandbox, week.sandbox.client()), |ago| text(later(days_ago(ago), 120)));
    let early = week.capture(&writer, later(days_ago(3), 100));
    let broken = week.capture(&owner, Timestamp { seconds: 60_000_000, nanos: 0 });
    let newest = week.capture(&owner, now());
    let id = |name: &str| week.sandbox.larder(["show", name, "--json"]).json()["id"].clone();
    for (ago, owners) in [(3, &week.owners[4]), (4, &week.owners[3]), (6, &week.owners[1])] {
        for name in ["home", "latest"] {
            assert_eq!(id(&format!("{name}@{}", then(ago))), owners.as_str(), "{name}, {ago} d");
        }
    }
    assert_eq!(id("home"), newest.as_str());
    let listed = |words: &[&str]| week.sandbox.larder(["list", "--json"].iter().chain(words)).ids();
    let by_then = listed(&["--until", &then(3)]);
    assert!(
        by_then.contains(&week.owners[4]) && !by_then.contains(&early) && !by_then.contains(&broken),
        "{by_then:?}"
    );
    assert_eq!(
        listed(&["--since", &then(1)]),
        std::slice::from_ref(&newest),
        "the others count as the last witness before them"
    );
    let view = View::new(&owner, 1 << 20, Arc::new(Quiet)).unwrap();
    let catalog = view.catalog();
    let dataset = "home".parse::<DatasetName>().unwrap();
    let home = catalog.as_of(later(days_ago(3), 120).seconds)[&dataset].clone();
    assert_eq!((home.id.to_string(), home.time_name), (week.owners[4].clone(), file_name(later(days_ago(3), 60))));
    let latest = catalog.rows().iter().find(|row| row.id.to_string() == broken).unwrap();
    assert_eq!(latest.arrival, later(days_ago(1), 60));
}

#[test]
fn whose_a_snapshot_is_and_what_it_only_claims_is_told() {
    let week = Week::new();
    std::fs::write(week.sandbox.path("source/new"), "of the late one alone").unwrap();
    let late = week.capture(&week.writing(), days_ago(5));
    let name = week.writing().keyring().name().to_string();
    let run = |words: &[&str]| week.sandbox.larder(words);
    let shown = run(&["show", &late, "--json"]).json();
    assert_eq!(shown["writer"], name.as_str());
    assert_eq!(shown["counted_as"], text(later(days_ago(1), 60)));
    assert_eq!(run(&["show", &week.owners[0], "--json"]).json()["counted_as"], text(later(days_ago(7), 60)));
    let said = |words: &[&str]| String::from_utf8(run(words).ended(0).stdout).unwrap();
    assert!(
        said(&["show", &late]).contains("which nothing bears out") && said(&["show", &late]).contains("written by")
    );
    let list = said(&["list"]);
    let row = |id: &str| list.lines().find(|line| line.starts_with(&id[..16])).unwrap().to_owned();
    assert!(row(&late).contains("claims ") && row(&late).contains(&format!("by {name}")), "{list}");
    assert!(!row(&week.owners[0]).contains("claims ") && row(&week.owners[0]).contains("by "), "{list}");
    assert_eq!(run(&["list", "--json"]).json().as_array().unwrap().last().unwrap()["writer"], name.as_str());
    // Whatever looks into snapshots tells the same times, and marks what is only claimed.
    let counted = text(later(days_ago(1), 60));
    let found = run(&["find", "new", "--json"]).lines().remove(0);
    assert_eq!(
        (&found["last"]["counted_as"], &found["last"]["arrival"]),
        (&counted.clone().into(), &text(days_ago(5)).into())
    );
    let version = run(&["history", "new", "--json"]).lines().remove(0);
    assert_eq!((&version["counted_as"], &version["arrival"]), (&counted.clone().into(), &text(days_ago(5)).into()));
    let stats = run(&["stats", "home", "--json"]).json();
    assert_eq!(stats["datasets"][0]["last"], counted.as_str(), "{stats}");
    assert_eq!(stats["snapshots"].as_array().unwrap().last().unwrap()["counted_as"], counted.as_str());
    for words in [&["find", "new"][..], &["history", "new"], &["stats", "home"]] {
        let told = said(words);
        let line = told.lines().find(|line| line.contains(&late[..16])).unwrap();
        assert!(
            line.contains(&file_name(later(days_ago(1), 60))[..10]) && line.contains("claims "),
            "{words:?}: {told}"
        );
        assert_eq!(told.matches("claims ").count(), 1, "{words:?}: {told}");
    }
    let to = week.sandbox.path("to");
    let restored = run(&["restore", "home", to.to_str().unwrap()]).ended(0).stderr;
    assert!(restored.contains("of 2 keys") && restored.contains(&name), "{restored}");
    // Who writes under the name of an owner's key is not taken for the owner.
    let (keys, owner) = (week.writing(), opened(&week.sandbox, week.sandbox.client()).keyring().name());
    week.capture(&week.writing(), now());
    let last = week.writing().last_sequence().unwrap();
    let entry = LogEntry { writer: owner, ..parsed(&lost_entries::row(&week.sandbox, last).unwrap()) };
    let bytes = with_mac(&keys, &entry);
    write_tip(&week.sandbox, &keys, last, &digest(&bytes));
    set(&week.sandbox, &[(last, Some(bytes))]);
    assert!(said(&["list"]).contains("a writer key that claims to be"), "{}", said(&["list"]));
}

fn text(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds).unwrap().to_string()
}

fn file_name(time: Timestamp) -> String {
    text(time).replace(':', "-")
}

#[test]
fn a_future_dated_flood_pushes_out_nobody() {
    let week = Week::new();
    let store = week.writing();
    for n in 1..=20 {
        week.capture(&store, days_ago(-400 * n));
    }
    let told = week.forget(&["--keep-daily", "8", "--keep-yearly", "3"], 0);
    for id in week.owners.iter().chain(&week.writers) {
        assert!(told.kept.contains(id), "{id} was pushed out: {told:?}");
    }
    assert_eq!((&told.summary["moved"], told.forgotten.len()), (&20.into(), 19), "the newest of them is today's");
    let counted: Vec<_> = told.lines.iter().map(|l| l["counted_as"].as_str().unwrap().to_owned()).collect();
    assert!(counted.is_sorted() || counted.iter().all(|t| t.as_str() < "2100"), "{counted:?}");
}

#[test]
fn a_plain_flood_pushes_out_nobody_elses_and_is_told() {
    let week = Week::new();
    let store = week.writing();
    let mut flood: Vec<_> = (0..30).map(|n| week.capture(&store, later(days_ago(1), 600 + n))).collect();
    // Whoever forgets comes late enough to bear out that day.
    let told = week.forget(&["--keep-last", "3"], 3);
    assert_eq!(told.kept.iter().filter(|id| week.owners.contains(id)).count(), 3, "the owner's are counted alone");
    for id in &week.writers {
        assert_eq!(told.codes(id), ["strange"], "what came before the flood stays: {told:?}");
    }
    assert!(told.summary["strange"][0]["why"].as_str().unwrap().contains("where 1 are usual"), "{told:?}");
    assert_eq!(
        told.forgotten.iter().filter(|id| flood.contains(id)).count(),
        0,
        "they are of the day that is in doubt"
    );
    let newest = flood.pop().unwrap();
    week.sandbox.larder(["release", "--strange", &newest]).done();
    let told = week.forget(&["--keep-last", "3"], 0);
    assert!(told.forgotten.contains(&week.writers[0]), "{told:?}");
}

/// Few enough that a person could have done it, and more than a rule of numbers keeps.
#[test]
fn a_few_more_captures_than_usual_push_out_no_history_unnoticed() {
    for many in [8, 15] {
        let week = Week::new();
        let store = week.writing();
        let flood: Vec<_> = (0..many).map(|n| week.capture(&store, later(days_ago(1), 600 + n))).collect();
        // Days are not pushed out by a number: nobody is alarmed.
        let told = week.forget(&["--keep-daily", "5", "-n"], 0);
        assert_eq!(told.summary["strange"], serde_json::json!([]), "{many}: {told:?}");
        let told = week.forget(&["--keep-last", "5"], 3);
        for id in &week.writers {
            assert_eq!(told.codes(id), ["strange"], "{many}: {told:?}");
        }
        assert_eq!(told.kept.iter().filter(|id| week.owners.contains(id)).count(), 5, "{told:?}");
        let why = told.summary["strange"][0]["why"].as_str().unwrap().to_owned();
        let day = format!("{} snapshots arrived on its day where 1 are usual", many + 1);
        assert_eq!(why, format!("{day}, and push out 4 of 4 that would be kept"));
        assert_eq!(told.summary["strange"][0]["id"], flood.last().unwrap().as_str());
        week.sandbox.larder(["release", "--strange", flood.last().unwrap(), "--reason", "tried the new script"]).done();
        let told = week.forget(&["--keep-last", "5"], 0);
        assert_eq!(told.kept.iter().filter(|id| flood.contains(id)).count(), 5, "{told:?}");
    }
}

/// Night after night somebody forgets, and each day a writer key captures more than it used to.
#[test]
fn a_flood_of_many_days_leaves_most_of_the_history() {
    for many in [5_i64, 8, 15] {
        let sandbox = Sandbox::with_store();
        let source = folder(&sandbox, "source", 3);
        let writer = client_with_role(&sandbox, "writer", Role::Writer);
        let (store, owner) = (opened(&sandbox, &writer), opened(&sandbox, sandbox.client()));
        let capture = |ago: i64, n: i64| capture_at(&store, &source, "home", later(days_ago(ago), n * 60));
        let good: Vec<_> = (10..40).rev().map(|ago| capture(ago, 0)).collect();
        let rules = Rules { counts: [20, 0, 0, 0, 0, 0, 0], within: 0 };
        let asked = Asked { by: "me".to_owned(), reason: None, waiting: Waiting::Wait, sure_of_clock: false };
        for ago in (0..10).rev() {
            (0..many).for_each(|n| drop(capture(ago, n)));
            let at_night = || later(days_ago(ago), 30_000);
            let keeping = Keeping::Rules(rules);
            forget(&owner, keeping, &Wanted::default(), &asked, false, &at_night, &Quiet).unwrap();
        }
        owner.refresh().unwrap();
        let left: Vec<_> = owner.snapshots().unwrap().iter().map(|row| row.id.to_string()).collect();
        let left = good.iter().filter(|id| left.contains(id)).count();
        assert!(left >= 10, "{left} of the 20 that a rule kept are left, with {many} a day");
    }
}

/// A machine that was taken over captures next to nothing, again and again, until that should be what is usual.
#[test]
fn a_writer_that_goes_on_and_on_with_nothing_never_wears_out_what_was_good() {
    let sandbox = Sandbox::with_store();
    let source = folder(&sandbox, "source", 40);
    let writer = client_with_role(&sandbox, "writer", Role::Writer);
    let store = opened(&sandbox, &writer);
    let good: Vec<_> = (0..6).map(|n| capture_at(&store, &source, "home", days_ago(40 - n))).collect();
    for file in 1..40 {
        std::fs::remove_file(source.join(file.to_string())).unwrap();
    }
    for round in 0..5 {
        for n in 0..5 {
            capture_at(&store, &source, "home", days_ago(30 - round * 5 - n));
        }
        let told = Told::of(sandbox.larder(["forget", "--keep-last", "2", "--json"]), 3);
        assert!(good.iter().all(|id| told.kept.contains(id)), "round {round}: {told:?}");
    }
}

/// Whoever has a writer key cannot fill a store for ever, nor is what an honest one asks passed over.
#[test]
fn a_writer_can_only_ask_that_a_snapshot_be_immutable() {
    let week = Week::new();
    let (store, source) = (week.writing(), week.sandbox.path("source"));
    let fixed = || Evidence { immutable: true, ..Evidence::default() };
    let flood: Vec<_> = (0..5).map(|n| capture_as(&store, &source, "home", later(days_ago(1), n), fixed())).collect();
    let owner = opened(&week.sandbox, week.sandbox.client());
    let owners = capture_as(&owner, &source, "home", now(), fixed());
    let told = week.forget(&["--keep-none", "-d", "home"], 0);
    assert_eq!(told.kept, [&flood[..], std::slice::from_ref(&owners)].concat());
    assert_eq!(told.summary["undecided"], 5);
    assert!(flood.iter().all(|id| told.codes(id) == ["immutable asked"]) && told.codes(&owners) == ["immutable"]);
    let run = |words: &[&str]| week.sandbox.larder(words);
    let said = run(&["forget", "--keep-none", "-d", "home"]).ended(0).stderr;
    assert!(said.contains("5 snapshots in home ask to be immutable") && said.contains("release --immutable"), "{said}");
    run(&["forget", &flood[0]]).refused(2, "release --immutable");
    let shown = |id: &str| String::from_utf8(run(&["show", id]).ended(0).stdout).unwrap();
    assert!(shown(&flood[0]).contains("asked for by a writer key, and kept"), "{}", shown(&flood[0]));
    let list = String::from_utf8(run(&["list"]).ended(0).stdout).unwrap();
    assert_eq!(list.lines().filter(|l| l.ends_with("  asks to be immutable")).count(), 5, "{list}");
    // One is granted, the others are denied; the owner's own, and what was granted, are not for anybody to deny.
    run(&["hold", &flood[0]]).refused(2, "--reason");
    run(&["hold", "--immutable", &flood[0]]).done();
    run(&["release", "--immutable", &flood[0]]).refused(2, "immutable");
    run(&["release", "--immutable", &flood[1], &owners]).refused(2, "no option changes that");
    let others: Vec<_> = flood[1..].iter().map(String::as_str).collect();
    run(&[&["release", "--immutable", "--reason", "flood"], &others[..]].concat()).done();
    run(&["release", "--immutable", &flood[1]]).refused(2, "does not ask");
    assert!(shown(&flood[0]).contains("immutable      yes") && shown(&flood[1]).contains("and denied"));
    let told = week.forget(&["--keep-none", "-d", "home"], 0);
    assert_eq!((&told.kept[..], told.summary["undecided"].as_u64()), (&[flood[0].clone(), owners][..], Some(0)));
    let collected = run(&["gc", "--json"]).json();
    assert_eq!(collected["removed"].as_array().unwrap().len(), 14 + 4);
    run(&["verify", "--read-data"]).done();
    assert_eq!(by_reader(&week.sandbox), run(&["list", "--json"]).ids());
    // Nor can it grant itself what it asks for.
    let mine = capture_as(&store, &source, "home", now(), fixed());
    for words in [&["hold", "--immutable", &mine, "--reason", "x"][..], &["release", "--immutable", &mine]] {
        week.writer.run(&week.sandbox.store(), words).refused(12, "writer");
    }
    let target = owner_row(&week, &mine);
    forged(&week.sandbox, &store, &target, LogKind::Hold);
    assert_eq!(week.forget(&["--keep-none", "-d", "home"], 0).codes(&mine), ["immutable asked"]);
}

fn owner_row(week: &Week, id: &str) -> SnapshotRow {
    let owner = opened(&week.sandbox, week.sandbox.client());
    owner.snapshots().unwrap().into_iter().find(|row| row.id.to_string() == id).unwrap()
}

#[test]
fn a_writer_is_told_that_it_can_only_ask() {
    let week = Week::new();
    let source = week.sandbox.path("source");
    let words = ["snapshot", source.to_str().unwrap(), "-d", "home", "--immutable"];
    let said = week.writer.run(&week.sandbox.store(), words).ended(0).stderr;
    assert!(said.contains("hold --immutable"), "{said}");
    assert!(!week.sandbox.larder(words).ended(0).stderr.contains("hold --immutable"));
}

#[test]
fn a_writer_cannot_forget_hold_or_rule_by_entries_of_its_own_making() {
    let week = Week::new();
    let store = week.writing();
    let target = store.snapshots().unwrap().into_iter().find(|row| row.id.to_string() == week.owners[0]).unwrap();
    let made =
        [LogKind::Forget, LogKind::Hold, LogKind::Policy].map(|kind| forged(&week.sandbox, &store, &target, kind));
    let listed = week.sandbox.larder(["list", "--json"]).ids();
    assert!(listed.contains(&week.owners[0]), "it is still there");
    week.sandbox.larder(["show", &week.owners[0]]).done();
    assert_eq!(by_reader(&week.sandbox), listed, "and so it is by the format page alone");
    let told = week.forget(&["--keep-last", "1"], 0);
    assert!(told.forgotten.contains(&week.owners[0]), "nor is it held");
    assert_eq!(by_reader(&week.sandbox), week.sandbox.larder(["list", "--json"]).ids());
    assert_eq!(told.summary["unvouched"], serde_json::json!(made));
    assert!(week.sandbox.larder(["policy", "show", "--json"]).lines().is_empty());
    let said = week.sandbox.larder(["forget", "--keep-last", "1", "-q"]).ended(0).stderr;
    assert!(said.contains("vouched for by no catalog or owner key"), "{said}");
}

#[test]
fn nobody_vouches_for_an_entry_with_another_name_or_time() {
    let week = Week::new();
    let owner = opened(&week.sandbox, week.sandbox.client());
    for row in owner.log().unwrap() {
        let entry = row.entry.unwrap();
        let vouched = owner.keyring().vouches_for(&entry).unwrap();
        assert_eq!(vouched, week.owners.contains(&entry.manifest.to_string()));
        let changed = [
            {
                let mut e = entry.clone();
                e.arrival.seconds += 1;
                e
            },
            {
                let mut e = entry.clone();
                e.sequence += 1;
                e
            },
            {
                let mut e = entry.clone();
                e.kind = LogKind::Forget;
                e
            },
        ];
        assert!(changed.iter().all(|e| owner.keyring().vouches_for(e) == Some(false)));
        assert_eq!(week.writing().keyring().vouches_for(&entry), None, "a writer cannot tell");
    }
}
