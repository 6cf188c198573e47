use super::*;

fn hash(n: u8) -> RecordHash {
    RecordHash::from_bytes([n; 32])
}

fn instant(n: u8) -> Instant {
    let mut instant = [0; 12];
    instant[7] = n;
    instant
}

/// A version: hash, time, line, whether it is current.
fn version((n, at, line, current): (u8, u8, u64, bool)) -> Version {
    Version { hash: hash(n), instant: instant(at), form: [0; 8], line, current }
}

/// A row: hash, time.
fn row((n, at): (u8, u8)) -> Standing {
    Standing { hash: hash(n), means: hash(n), instant: instant(at), form: [0; 8], known: false }
}

fn decided(
    direction: Direction,
    preference: Preference,
    versions: &[(u8, u8, u64, bool)],
    rows: &[(u8, u8)],
) -> (Vec<Step>, Vec<Resolution>, [u64; 6]) {
    let group = Group {
        keyed: true,
        versions: versions.iter().copied().map(version).collect(),
        rows: rows.iter().copied().map(row).collect(),
    };
    let mut decider = Decider::new(direction, preference);
    decider.decide(&group);
    let Tally { inserted, updated, skipped, taken, kept, known, .. } = decider.tally;
    let resolutions = decider.disputes.iter().map(|dispute| dispute.resolution).collect();
    (decider.steps, resolutions, [inserted, updated, skipped, taken, kept, known])
}

use Direction::{Both, Export, Import};
use Preference::{Dataset, Fail, Newest, Sql};
use Step::{Again, Insert, Keep, Replace, Take};

/// The decision table of the other system, and what it leaves open. `A` is the dataset's content at line 7, `B` the table's.
#[test]
fn one_key() {
    let (json, sql, failed) = (Resolution::Dataset, Resolution::Sql, Resolution::Failed);
    let keep = |n| Keep(hash(n), hash(n));
    let (a, old) = (&[(1, 5, 7, true)][..], &[(2, 1, 3, false), (1, 5, 7, true)][..]);
    for (direction, preference, versions, rows, steps, resolutions, counts) in [
        // Known content.
        (Import, Newest, a, &[(1, 5)][..], vec![], vec![], [0, 0, 1, 0, 0, 0]),
        (Both, Fail, a, &[(1, 5)], vec![], vec![], [0, 0, 1, 0, 0, 1]),
        (Export, Newest, a, &[(1, 5)], vec![], vec![], [0, 0, 0, 0, 0, 1]),
        // One side alone.
        (Import, Fail, a, &[], vec![Insert(7, hash(1))], vec![], [1, 0, 0, 0, 0, 0]),
        (Export, Fail, a, &[], vec![], vec![], [0; 6]),
        (Import, Fail, &[], &[(2, 1)], vec![], vec![], [0; 6]),
        (Both, Fail, &[], &[(2, 1)], vec![Take(hash(2))], vec![], [0, 0, 0, 1, 0, 0]),
        // Two contents: the later one, of equal times the dataset's, and a time before none.
        (Import, Newest, a, &[(2, 4)], vec![keep(2), Replace(7, hash(1), hash(2))], vec![json], [0, 1, 0, 0, 1, 0]),
        (Import, Newest, a, &[(2, 5)], vec![keep(2), Replace(7, hash(1), hash(2))], vec![json], [0, 1, 0, 0, 1, 0]),
        (Import, Newest, a, &[(2, 6)], vec![], vec![sql], [0, 0, 1, 0, 0, 0]),
        (Import, Newest, &[(1, 0, 7, true)], &[(2, 1)], vec![], vec![sql], [0, 0, 1, 0, 0, 0]),
        (
            Import,
            Newest,
            &[(1, 0, 7, true)],
            &[(2, 0)],
            vec![keep(2), Replace(7, hash(1), hash(2))],
            vec![json],
            [0, 1, 0, 0, 1, 0],
        ),
        (Both, Newest, a, &[(2, 4)], vec![keep(2), Replace(7, hash(1), hash(2))], vec![json], [0, 1, 0, 0, 1, 0]),
        (Both, Newest, a, &[(2, 6)], vec![Take(hash(2))], vec![sql], [0, 0, 1, 1, 0, 0]),
        (Export, Newest, a, &[(2, 4)], vec![keep(2)], vec![json], [0, 0, 0, 1, 0, 0]),
        (Export, Newest, a, &[(2, 6)], vec![Take(hash(2))], vec![sql], [0, 0, 0, 1, 0, 0]),
        // Preferences.
        (Import, Dataset, a, &[(2, 6)], vec![keep(2), Replace(7, hash(1), hash(2))], vec![json], [0, 1, 0, 0, 1, 0]),
        (Import, Sql, a, &[(2, 4)], vec![], vec![sql], [0, 0, 1, 0, 0, 0]),
        (Both, Sql, a, &[(2, 4)], vec![Take(hash(2))], vec![sql], [0, 0, 1, 1, 0, 0]),
        (Import, Fail, a, &[(2, 4)], vec![], vec![failed], [0; 6]),
        (Both, Fail, a, &[(2, 4)], vec![], vec![failed], [0; 6]),
        // The table has what the dataset had before.
        (Import, Newest, old, &[(2, 1)], vec![Replace(7, hash(1), hash(2))], vec![json], [0, 1, 0, 0, 0, 0]),
        (Export, Newest, old, &[(2, 1)], vec![], vec![], [0, 0, 0, 0, 0, 1]),
        (Export, Fail, old, &[(2, 1)], vec![], vec![failed], [0, 0, 0, 0, 0, 1]),
        (Import, Sql, old, &[(2, 1)], vec![], vec![sql], [0, 0, 1, 0, 0, 0]),
        (Both, Sql, old, &[(2, 1)], vec![Again(hash(2))], vec![sql], [0, 0, 1, 1, 0, 0]),
        (Export, Sql, old, &[(2, 1)], vec![Again(hash(2))], vec![sql], [0, 0, 0, 1, 0, 0]),
        (
            Both,
            Newest,
            &[(2, 6, 3, false), (1, 5, 7, true)],
            &[(2, 6)],
            vec![Again(hash(2))],
            vec![sql],
            [0, 0, 1, 1, 0, 0],
        ),
        (Both, Sql, old, &[(2, 1), (3, 0)], vec![keep(3), Again(hash(2))], vec![sql], [0, 0, 1, 2, 0, 0]),
        (Both, Sql, old, &[(2, 1), (3, 2)], vec![Take(hash(3))], vec![sql], [0, 0, 1, 1, 0, 1]),
        // Two rows under one key: the newer counts, the other is kept as it is.
        (Import, Newest, a, &[(2, 6), (3, 4)], vec![], vec![sql], [0, 0, 1, 0, 0, 0]),
        (Both, Newest, a, &[(2, 6), (3, 4)], vec![keep(3), Take(hash(2))], vec![sql], [0, 0, 1, 2, 0, 0]),
        (Both, Newest, &[], &[(2, 6), (3, 4)], vec![Take(hash(3)), Take(hash(2))], vec![], [0, 0, 0, 2, 0, 0]),
        (Import, Newest, a, &[(1, 5), (3, 6)], vec![], vec![], [0, 0, 1, 0, 0, 0]),
        (Both, Newest, a, &[(1, 5), (3, 6)], vec![Take(hash(3))], vec![sql], [0, 0, 1, 1, 0, 1]),
        (Both, Newest, a, &[(1, 5), (3, 4)], vec![keep(3)], vec![json], [0, 0, 1, 1, 0, 1]),
        (Both, Sql, a, &[(1, 5), (3, 4)], vec![keep(3)], vec![json], [0, 0, 1, 1, 0, 1]),
    ] {
        let (found, resolved, tally) = decided(direction, preference, versions, rows);
        let case = format!("{direction:?} {preference:?} {versions:?} {rows:?}");
        assert_eq!((found, resolved, tally), (steps, resolutions, counts), "{case}");
    }
}

/// Keys that are one in NFC: equal contents are one record, others are two.
#[test]
fn twins() {
    let mut twin = row((1, 5));
    twin.form = [1; 8];
    let group = Group { keyed: true, versions: vec![version((1, 5, 7, true))], rows: vec![twin.clone()] };
    let mut decider = Decider::new(Both, Fail);
    decider.decide(&group);
    assert_eq!((decider.steps.len(), decider.tally.skipped, decider.tally.known), (0, 1, 1));
    (twin.hash, twin.means) = (hash(2), hash(2));
    let group = Group { rows: vec![twin], ..group };
    let mut decider = Decider::new(Both, Fail);
    decider.decide(&group);
    decider.steps.sort_by_key(|step| matches!(step, Take(_)));
    assert_eq!(decider.steps, [Insert(7, hash(1)), Take(hash(2))]);
    assert!(decider.disputes.is_empty());
}

/// What the dataset had under the other form of a key is no earlier version of this one.
#[test]
fn twins_of_earlier_versions() {
    let mut old = version((2, 9, 3, false));
    old.form = [1; 8];
    let mut other = version((3, 1, 4, true));
    other.form = [1; 8];
    let versions = vec![version((1, 5, 7, true)), old, other];
    let group = Group { keyed: true, versions, rows: vec![row((2, 9)), row((3, 1))] };
    let mut decider = Decider::new(Both, Sql);
    decider.decide(&group);
    assert_eq!(decider.steps, []);
}

/// A row that is redacted on its way into the dataset is what it becomes there.
#[test]
fn redacted() {
    let mut row = row((2, 5));
    row.means = hash(1);
    let group = Group { keyed: true, versions: vec![version((1, 5, 7, true))], rows: vec![row] };
    for direction in [Import, Export, Both] {
        let mut decider = Decider::new(direction, Fail);
        decider.decide(&group);
        assert!(decider.steps.is_empty() && decider.disputes.is_empty());
    }
}

/// After what was decided is done, the same decides that nothing is to be done, whatever was there and whoever wins.
#[test]
fn both_converges() {
    for preference in [Newest, Dataset, Sql] {
        for contents in 0..81u32 {
            // Per content: nowhere, in the dataset, in the table, in both; one of the dataset's is current.
            let place = |n: u32| contents / 3u32.pow(n) % 3;
            for current in 0..5u8 {
                let mut versions: Vec<(u8, u8, u64, bool)> = Vec::new();
                let mut rows: Vec<(u8, u8)> = Vec::new();
                for n in 0..4u8 {
                    let at = n % 2;
                    if matches!(place(n.into()), 1) || n == current {
                        versions.push((n, at, n.into(), n == current));
                    }
                    if matches!(place(n.into()), 2) {
                        rows.push((n, at));
                    }
                }
                if current == 4 {
                    versions.clear();
                }
                let (steps, _, _) = decided(Both, preference, &versions, &rows);
                for step in steps {
                    let taken = |hash: RecordHash| rows.iter().copied().find(|row| row.0 == hash.as_bytes()[0]);
                    match step {
                        Insert(line, _) | Replace(line, ..) => {
                            let version = versions.iter().find(|version| version.2 == line).copied().unwrap();
                            if let Replace(_, _, old) = step {
                                rows.retain(|row| row.0 != old.as_bytes()[0]);
                            }
                            rows.push((version.0, version.1));
                        }
                        Again(hash) => {
                            versions.iter_mut().for_each(|version| version.3 = version.0 == hash.as_bytes()[0]);
                        }
                        Take(hash) => {
                            versions.iter_mut().for_each(|version| version.3 = false);
                            let (n, at) = taken(hash).unwrap();
                            versions.push((n, at, n.into(), true));
                        }
                        Keep(hash, _) => {
                            let (n, at) = taken(hash).unwrap();
                            versions.push((n, at, n.into(), false));
                        }
                    }
                }
                let (steps, disputes, _) = decided(Both, preference, &versions, &rows);
                assert_eq!((steps, disputes), (vec![], vec![]), "{preference:?} {versions:?} {rows:?}");
            }
        }
    }
}
