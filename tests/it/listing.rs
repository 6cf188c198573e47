//! `larder list` shows the snapshots that are asked for, and every name that a user may give a snapshot finds the right one.

use std::collections::BTreeMap;
use std::fs;

use crate::sandbox::Sandbox;

/// A store of snapshots with these options; gives their ids by number.
fn store(options: &[&[&str]]) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let make = |extra: &&[&str]| {
        let arguments = ["snapshot", "--json", source.to_str().unwrap()];
        let made = sandbox.larder(arguments.iter().chain(extra.iter())).json();
        made["id"].as_str().unwrap().to_owned()
    };
    let ids = options.iter().map(make).collect();
    (sandbox, ids)
}

const MADE: &[&[&str]] = &[
    &["-d", "home", "-l", "host=a"],
    &["-d", "work", "-l", "host=b", "-l", "keep=yes", "--kind", "scheduled"],
    &["-d", "home", "-l", "host=b", "--scope", "project", "--scope-ref", "web"],
    &["-d", "mail", "--kind", "pre", "--scope", "project", "--scope-ref", "mail"],
    &["-d", "home", "-l", "host=b", "--kind", "scheduled"],
];

#[test]
fn filters_and_limits() {
    let (sandbox, ids) = store(MADE);
    let cases: &[(&[&str], &[usize])] = &[
        (&[], &[0, 1, 2, 3, 4]),
        (&["--reverse"], &[4, 3, 2, 1, 0]),
        (&["-n", "2"], &[3, 4]),
        (&["-n", "2", "-r"], &[4, 3]),
        (&["-n", "0"], &[]),
        (&["-n", "100"], &[0, 1, 2, 3, 4]),
        (&["-d", "home"], &[0, 2, 4]),
        (&["-d", "home", "-d", "mail", "-n", "3"], &[2, 3, 4]),
        (&["-d", "none"], &[]),
        (&["-l", "host"], &[0, 1, 2, 4]),
        (&["-l", "host=b"], &[1, 2, 4]),
        (&["-l", "host=b", "-n", "2"], &[2, 4]),
        (&["-l", "host=b", "-l", "keep"], &[1]),
        (&["-l", "host="], &[]),
        (&["--kind", "scheduled"], &[1, 4]),
        (&["--kind", "scheduled", "--kind", "pre", "-n", "2", "-r"], &[4, 3]),
        (&["--kind", "scheduled", "-d", "work"], &[1]),
        (&["--scope", "project"], &[2, 3]),
        (&["--scope", "project", "--scope-ref", "web"], &[2]),
        (&["--scope-ref", "none"], &[]),
        (&["--since", "1h"], &[0, 1, 2, 3, 4]),
        (&["--until", "1h"], &[]),
        (&["--since", "2000-01-01", "--until", "2001-01-01T00:00"], &[]),
        (&["--since", "2000-01-01", "--until", "0s", "-n", "1"], &[4]),
    ];
    for (arguments, expected) in cases {
        let found = sandbox.larder(["list", "--json"].iter().chain(*arguments)).ids();
        assert_eq!(found, expected.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>(), "{arguments:?}");
        let lines = String::from_utf8(sandbox.larder(["list"].iter().chain(*arguments)).ended(0).stdout).unwrap();
        let shown: Vec<_> = lines.lines().skip(1).map(|l| l[..16].to_owned()).collect();
        assert_eq!(shown, expected.iter().map(|n| ids[*n][..16].to_owned()).collect::<Vec<_>>(), "{arguments:?}");
    }
    for (arguments, word) in [
        (["--since", "yesterday"], "36h"),
        (["--kind", "odd"], "scheduled"),
        (["--dataset", "a/b"], "a/b"),
        (["--limit", "-1"], "-1"),
    ] {
        sandbox.larder(["list"].iter().chain(&arguments)).refused(2, word);
    }
}

#[test]
fn arrival_is_compared_to_the_moment() {
    let (sandbox, ids) = store(&[&["-d", "a"], &["-d", "a"]]);
    let list = sandbox.larder(["list", "--json"]).json();
    let arrivals: Vec<_> = list.as_array().unwrap().iter().map(|s| s["arrival"].as_str().unwrap()).collect();
    for (option, expected) in [("--since", &ids[1..]), ("--until", &ids[..])] {
        assert_eq!(sandbox.larder(["list", "--json", option, arrivals[1]]).ids(), expected, "{option}");
    }
    assert_eq!(sandbox.larder(["list", "--json", "--until", arrivals[0]]).ids(), &ids[..1]);
}

#[test]
fn the_table_tells_kind_labels_and_reason_without_harm() {
    let (sandbox, _) =
        store(&[&["-d", "a", "--kind", "post", "-l", "k=\u{1b}[31m", "--reason", "why\nnot"], &["-d", "b"]]);
    let text = String::from_utf8(sandbox.larder(["list"]).ended(0).stdout).unwrap();
    let rows: Vec<_> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[1].ends_with("  post  k=\\u{1b}[31m  why\\u{a}not"), "{text}");
    assert!(!text.contains("manual"), "{text}");
}

#[test]
fn names_find_the_snapshot_they_mean() {
    let (sandbox, ids) = store(MADE);
    let found = |name: &str| sandbox.larder(["show", "--json", name]).json()["id"].as_str().unwrap().to_owned();
    let prefix = |n: usize| ids[n][..16].to_owned();
    let cases: BTreeMap<String, usize> = [
        ("latest".to_owned(), 4),
        ("latest~0".to_owned(), 4),
        ("latest~1".to_owned(), 3),
        ("latest~4".to_owned(), 0),
        ("home".to_owned(), 4),
        ("home~1".to_owned(), 2),
        ("mail".to_owned(), 3),
        ("home@0s".to_owned(), 4),
        (prefix(2), 2),
        (format!("{}~0", prefix(2)), 2),
        (format!("{}~1", prefix(2)), 0),
        (format!("{}~2", prefix(4)), 0),
        (format!("{}~1", ids[4].to_uppercase()), 2),
    ]
    .into();
    for (name, number) in cases {
        assert_eq!(found(&name), ids[number], "{name}");
    }
    let refused = [
        ("latest~5".to_owned(), 10, "the store has 5"),
        ("home~3".to_owned(), 10, "the dataset has 3"),
        ("mail~1".to_owned(), 10, "the dataset has only one"),
        ("none".to_owned(), 10, "of a dataset none"),
        (ids[0][..3].to_owned(), 10, "at least 4 digits"),
        (format!("{}~1", &ids[0][..1]), 10, "at least 4 digits"),
        ("home@1h".to_owned(), 10, "of home that had arrived by then"),
        ("home@1y".to_owned(), 2, "does not name a snapshot"),
        (format!("{}~1", prefix(0)), 10, "it is the first of its dataset"),
        (format!("{}~2", prefix(2)), 10, "only one came before it"),
        (format!("{}~3", prefix(4)), 10, "2 came before it"),
        ("latest~".to_owned(), 2, "how many"),
        ("latest~-1".to_owned(), 2, "how many"),
        ("latest~x".to_owned(), 2, "how many"),
        ("latest~99999999999999999999".to_owned(), 2, "how many"),
    ];
    for (name, status, word) in refused {
        sandbox.larder(["show", &name]).refused(status, word);
    }
}
