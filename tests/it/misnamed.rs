//! Rows of the indexes, which have no MAC, name other places than the right ones: by damage, or by somebody who may write the store's folder and
//! has no key. Nothing is lost by that, for the blocks hold all; so nothing may be removed for it, and repair makes it good.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use larder::format::{Family, Place, from_bytes, number_key, to_bytes};
use larder::model::Role;
use serde_json::Value;

use crate::behind::{database, delete};
use crate::clocked::client_with_role;
use crate::sandbox::{Ran, Sandbox, compare, model, noise};

type Index = BTreeMap<Vec<u8>, Vec<Place>>;

fn index(sandbox: &Sandbox, family: Family) -> Index {
    let db = database(&sandbox.store());
    let rows = db.iterator_cf(db.cf_handle(family.name()).unwrap(), rocksdb::IteratorMode::Start).map(Result::unwrap);
    rows.map(|(key, value)| (key.to_vec(), from_bytes(&value, "row").unwrap())).collect()
}

fn set(sandbox: &Sandbox, family: Family, rows: &Index) {
    let db = database(&sandbox.store());
    let handle = db.cf_handle(family.name()).unwrap();
    rows.iter().for_each(|(key, places)| db.put_cf(handle, key, to_bytes(places)).unwrap());
    db.flush_cf(handle).unwrap();
}

/// The key and the place of what is in the first index and not in the second: a file of one chunk that was captured between.
fn new_in(after: &Index, before: &Index) -> (Vec<u8>, Place) {
    let mut new = after.iter().filter(|(key, _)| !before.contains_key(*key));
    let (key, places) = new.next().unwrap();
    assert!(new.next().is_none() && places.len() == 1);
    (key.clone(), places[0])
}

/// A store with a snapshot of each of these files by itself, in a dataset of its name: each is one chunk, in a block of its own.
struct Stage {
    sandbox: Sandbox,
    source: PathBuf,
    /// Key and place of each one's chunk.
    chunks: Vec<(Vec<u8>, Place)>,
}

impl Stage {
    fn new(files: &[&str]) -> Self {
        let mut stage = Self { sandbox: Sandbox::with_store(), source: PathBuf::new(), chunks: Vec::new() };
        stage.source = stage.sandbox.path("source");
        let mut before = Index::new();
        for (turn, file) in (1..).zip(files) {
            fs::create_dir_all(stage.source.join(file)).unwrap();
            fs::write(stage.source.join(file).join("file"), noise(turn, 60_000)).unwrap();
            stage.sandbox.snapshot(&stage.source.join(file), file).done();
            let after = index(&stage.sandbox, Family::Chunks);
            stage.chunks.push(new_in(&after, &before));
            before = after;
        }
        stage
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.sandbox.larder(words)
    }

    fn set(&self, rows: impl IntoIterator<Item = (usize, Vec<Place>)>) {
        set(
            &self.sandbox,
            Family::Chunks,
            &rows.into_iter().map(|(at, row)| (self.chunks[at].0.clone(), row)).collect(),
        );
    }

    fn key(&self, at: usize) -> Vec<u8> {
        self.chunks[at].0.clone()
    }

    fn place(&self, at: usize) -> Place {
        self.chunks[at].1
    }

    /// How many blocks there are.
    fn blocks(&self) -> usize {
        let db = database(&self.sandbox.store());
        let rows = |family: Family| db.iterator_cf(db.cf_handle(family.name()).unwrap(), rocksdb::IteratorMode::Start);
        rows(Family::Data).count() + rows(Family::Tree).count()
    }

    /// Gc removes no block, and says what helps.
    #[track_caller]
    fn gc_is_stopped(&self) {
        let before = self.blocks();
        let said = self.run(&["gc"]).ended(13).stderr;
        assert!(
            said.contains("larder repair") && said.contains("index of chunks") && said.contains("removed"),
            "{said}"
        );
        assert_eq!(self.blocks(), before, "{said}");
    }

    /// Repair tells that rows are wrong, and makes them good; then all is well, for gc too.
    #[track_caller]
    fn is_repaired(&self, living: &[&str]) {
        let told: Value = serde_json::from_slice(&self.run(&["repair", "--json"]).ended(13).stdout).unwrap();
        assert!(told["wrong_rows"].as_u64().unwrap() > 0 && told["rebuild"] == true, "{told}");
        let done = self.run(&["repair", "--apply", "--json"]).json();
        assert_eq!(done["wrong_rows"], told["wrong_rows"]);
        self.is_well(living);
        self.run(&["gc"]).done();
        self.is_well(living);
    }

    #[track_caller]
    fn is_well(&self, living: &[&str]) {
        self.run(&["repair"]).done();
        self.run(&["verify", "--read-data"]).done();
        self.run(&["verify", "--no-key"]).done();
        for name in living {
            let dest = self.sandbox.path("dest");
            self.run(&["restore", name, dest.to_str().unwrap()]).done();
            compare(&model(&self.source.join(name)), &model(&dest)).unwrap();
            fs::remove_dir_all(dest).unwrap();
        }
    }
}

/// That is a finding without a key, and gc of whatever key removes nothing.
#[test]
fn all_rows_name_one_place() {
    let stage = Stage::new(&["a", "b", "c"]);
    stage.run(&["hold", "a", "--reason", "the case"]).done();
    let owner = stage.run(&["gc", "--dry-run", "--json"]).json();
    assert_eq!(owner["dead"]["blocks"], 0);
    let catalog = client_with_role(&stage.sandbox, "catalog", Role::Catalog);
    stage.set((0..3).map(|at| (at, vec![stage.place(2)])));
    for words in [&["verify"][..], &["verify", "--no-key"]] {
        let said = stage.run(words).ended(13).stderr;
        assert!(said.contains("larder repair"), "{said}");
    }
    let told = stage.run(&["verify", "--json"]).ended(13);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(told["findings"][0]["why"].as_str().unwrap().contains("named before"), "{told}");
    let touched = told["touched"].as_array().unwrap();
    assert_eq!(touched.len(), 2, "those whose chunk is elsewhere: {told}");
    let _ran = stage.run(&["gc", "--dry-run"]).ended(13);
    stage.gc_is_stopped();
    let before = stage.blocks();
    let _ran = catalog.run(&stage.sandbox.store(), ["gc"]).ended(13);
    assert_eq!(stage.blocks(), before);
    stage.is_repaired(&["a", "b", "c"]);
}

/// Nothing of the rows alone tells it: the block that is needed looks as if it were not.
#[test]
fn what_is_needed_and_what_is_not_have_changed_places() {
    let stage = Stage::new(&["kept", "gone"]);
    stage.run(&["forget", "gone"]).done();
    stage.set([(0, vec![stage.place(1)]), (1, vec![stage.place(0)])]);
    stage.gc_is_stopped();
    let _ran = stage.run(&["verify", "--read-data"]).ended(13);
    stage.is_repaired(&["kept"]);
}

#[test]
fn an_item_is_named_that_no_block_has() {
    for ordinal in [1, 60_000, u32::MAX] {
        let stage = Stage::new(&["kept", "gone"]);
        stage.run(&["forget", "gone"]).done();
        stage.set([(0, vec![Place { ordinal, ..stage.place(1) }])]);
        stage.gc_is_stopped();
        let _ran = stage.run(&["verify", "--read-data"]).ended(13);
        stage.is_repaired(&["kept"]);
    }
}

/// Reading goes on to the place behind it.
#[test]
fn a_wrong_place_stands_before_or_behind_the_right_one() {
    for is_first in [true, false] {
        let stage = Stage::new(&["a", "b"]);
        let wrong = |other: Place| {
            let mut row = vec![stage.place(0), other];
            if is_first {
                row.reverse();
            }
            [(0, row)]
        };
        for other in [stage.place(1), Place { ordinal: 9, ..stage.place(1) }] {
            stage.set(wrong(other));
            let told = stage.run(&["verify", "--read-data", "--json"]).ended(13);
            let told: Value = serde_json::from_slice(&told.stdout).unwrap();
            assert_eq!(told["touched"].as_array().unwrap().len(), 0, "all can be read: {told}");
            let read = stage.run(&["cat", "a:file"]).ended(0);
            assert!(read.stdout == noise(1, 60_000));
            stage.is_repaired(&["a", "b"]);
            // Repair has put them in their order.
            assert_eq!(index(&stage.sandbox, Family::Chunks)[&stage.key(0)], [stage.place(0)]);
        }
    }
}

/// A block of which little is needed is moved out of: what would be left in it is looked at as well.
#[test]
fn what_stays_behind_when_a_block_is_emptied_is_proven_to_be_dead() {
    let stage = Stage::new(&["other"]);
    let before = index(&stage.sandbox, Family::Chunks);
    let (all, some) = (stage.source.join("all"), stage.source.join("some"));
    fs::create_dir_all(&all).unwrap();
    fs::create_dir_all(&some).unwrap();
    (0..12).for_each(|n| fs::write(all.join(format!("f{n}")), noise(100 + n, 20_000)).unwrap());
    stage.sandbox.snapshot(&all, "all").done();
    (0..3).for_each(|n| fs::write(some.join(format!("f{n}")), noise(100 + n, 20_000)).unwrap());
    fs::write(some.join("new"), noise(200, 20_000)).unwrap();
    stage.sandbox.snapshot(&some, "some").done();
    stage.run(&["forget", "all"]).done();
    let rows = index(&stage.sandbox, Family::Chunks);
    // By its marks gc says which are needed: those of them that it does not move are not.
    let told = stage.run(&["gc", "--dry-run", "--json"]).json();
    assert_eq!(told["sparse"]["blocks"], 1, "{told}");
    let mut block: Vec<_> = rows.iter().filter(|(key, _)| !before.contains_key(*key)).collect();
    let number = block[0].1[0].block.min(block[1].1[0].block);
    block.retain(|(_, places)| places[0].block == number);
    assert_eq!(block.len(), 12);
    // Each takes the next one's place: some that are needed look dead then.
    block.sort_by_key(|(_, places)| places[0]);
    let turned = (0..12).map(|at| (block[at].0.clone(), block[(at + 5) % 12].1.clone())).collect();
    set(&stage.sandbox, Family::Chunks, &turned);
    stage.gc_is_stopped();
    stage.is_repaired(&["other", "some"]);
}

/// Blocks without a digest are what runs leave that were cut; one whose digest was taken away is none of those. Nor is its run's record needed to
/// tell: the note before it has that too.
#[test]
fn a_block_that_looks_like_one_of_a_run_that_was_cut() {
    let stage = Stage::new(&["kept"]);
    fs::write(stage.source.join("kept/more"), noise(9, 60_000)).unwrap();
    stage.sandbox.snapshot(&stage.source.join("kept"), "kept").done();
    let after = index(&stage.sandbox, Family::Chunks);
    let other = after.iter().find(|(key, _)| **key != stage.key(0)).unwrap().1[0];
    let first = stage.run(&["list", "--json"]).ids().remove(0);
    stage.run(&["forget", &first]).done();
    stage.run(&["gc"]).done();
    let db = database(&stage.sandbox.store());
    let block =
        db.get_cf(db.cf_handle(Family::Data.name()).unwrap(), number_key(stage.place(0).block)).unwrap().unwrap();
    drop(db);
    stage.set([(0, vec![Place { ordinal: 60_000, ..other }])]);
    delete(&database(&stage.sandbox.store()), Family::Sums, &number_key(stage.place(0).block));
    stage.gc_is_stopped();
    delete(&database(&stage.sandbox.store()), Family::Epochs, &block[8..24]);
    stage.gc_is_stopped();
    stage.is_repaired(&["kept"]);
}

/// What a block is said to be is not what it is: in the family where it stands nobody would know it.
#[test]
fn a_block_is_said_to_be_one_of_pages() {
    let stage = Stage::new(&["kept", "gone"]);
    stage.run(&["forget", "gone"]).done();
    stage.set([(0, vec![Place { ordinal: 60_000, ..stage.place(1) }])]);
    let db = database(&stage.sandbox.store());
    let (sums, key) = (db.cf_handle(Family::Sums.name()).unwrap(), number_key(stage.place(0).block));
    let mut sum = db.get_cf(sums, key).unwrap().unwrap();
    sum[0] = 2;
    db.put_cf(sums, key, sum).unwrap();
    db.flush_cf(sums).unwrap();
    drop(db);
    let before = stage.blocks();
    stage.run(&["gc"]).refused(13, "another kind");
    assert_eq!(stage.blocks(), before);
    stage.is_repaired(&["kept"]);
}

/// Pages too: their index is as bare.
#[test]
fn two_pages_have_changed_places() {
    let stage = Stage::new(&["kept", "gone"]);
    stage.run(&["forget", "gone"]).done();
    let mut rows = index(&stage.sandbox, Family::Pages);
    let keys: Vec<_> = rows.keys().cloned().collect();
    assert_eq!(keys.len(), 2);
    let first = rows[&keys[0]].clone();
    let second = rows.insert(keys[0].clone(), rows[&keys[1]].clone()).map(|_| first).unwrap();
    rows.insert(keys[1].clone(), second);
    set(&stage.sandbox, Family::Pages, &rows);
    let before = stage.blocks();
    let _ran = stage.run(&["gc"]).ended(13);
    assert_eq!(stage.blocks(), before);
    stage.is_repaired(&["kept"]);
}
