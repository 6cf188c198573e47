//! Records of epochs that somebody has changed: everybody with a key can make the MAC of one. The true one stands before the blocks too, or opens them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::codec::{IdKeys, MacLabel, parse_identities, unwrap, wrap_to_store};
use larder::format::{
    BlockHeader, BlockKind, EpochRecord, Family, KeyRecord, Place, epoch_ext, epoch_purpose, from_bytes, join_mac,
    split_mac, to_bytes,
};
use larder::model::{EpochId, Progress, Purpose, Role};
use larder::ops::gc::{GcOptions, collect};
use larder::store::Waiting;
use larder::tree::Pages;

use crate::behind::{database, put, rows};
use crate::clocked::{now, opened};
use crate::keys::{Nobody, listed, named_member, one_snapshot, record_of, restores};
use crate::sandbox::{Client, Sandbox, noise};

/// A store with a snapshot of an owner, and what the holder of a writer key knows.
struct Scene {
    sandbox: Sandbox,
    tree: PathBuf,
    writer: Client,
    known: KeyRecord,
}

/// A row of `data` or `tree`.
struct Row {
    family: Family,
    key: Box<[u8]>,
    header: BlockHeader,
    value: Box<[u8]>,
}

impl Scene {
    fn new() -> Self {
        let (sandbox, tree) = one_snapshot();
        let writer = named_member(&sandbox, "writer", "bad");
        let (known, _) = record_of(&writer, &sandbox.store());
        Self { sandbox, tree, writer, known }
    }

    fn store(&self) -> PathBuf {
        self.sandbox.store()
    }

    fn db(&self) -> rocksdb::DB {
        database(&self.store())
    }

    /// Notes and blocks.
    fn file_rows(&self) -> Vec<Row> {
        let db = self.db();
        let of = |family: Family| {
            rows(&db, family).into_iter().map(move |(key, value)| {
                let (header, ..) = BlockHeader::parse(&value).unwrap();
                Row { family, key, header, value }
            })
        };
        of(Family::Data).chain(of(Family::Tree)).collect()
    }

    fn notes(&self) -> Vec<Row> {
        self.file_rows().into_iter().filter(|row| row.header.kind == BlockKind::EpochNote).collect()
    }

    /// The runs of which there are blocks.
    fn sealers(&self) -> HashSet<EpochId> {
        let blocks = self.file_rows().into_iter().filter(|row| row.header.kind != BlockKind::EpochNote);
        blocks.map(|row| row.header.epoch).collect()
    }

    fn record(&self, epoch: EpochId) -> EpochRecord {
        let all = rows(&self.db(), Family::Epochs);
        let (_, value) = all.into_iter().find(|(key, _)| **key == epoch.as_bytes()[..]).unwrap();
        EpochRecord::from_bytes(split_mac(&value, "epoch record").unwrap().0).unwrap()
    }

    /// A record as it is stored, with its MAC.
    fn stored(&self, record: &EpochRecord) -> Vec<u8> {
        let bytes = record.to_bytes();
        let mac = IdKeys::new(&self.known.id_key).mac(MacLabel::Epoch, &[&bytes]);
        join_mac(bytes, &mac)
    }

    fn put_record(&self, record: &EpochRecord) {
        put(&self.db(), Family::Epochs, record.epoch.as_bytes(), &self.stored(record));
    }

    /// Puts a record in the place of those that notes have of its epoch.
    fn put_notes(&self, record: &EpochRecord) {
        let stored = self.stored(record);
        for note in self.notes().iter().filter(|note| note.header.epoch == record.epoch) {
            let length = u32::try_from(stored.len()).unwrap();
            let header = BlockHeader { content_len: length, ..note.header };
            put(&self.db(), note.family, &note.key, &[&header.to_bytes()[..], &stored].concat());
        }
    }

    /// A key of a class that nobody else has, wrapped to the store's recipient.
    fn other_key(&self, class: u8, epoch: EpochId) -> Vec<u8> {
        let to = if class == 1 { &self.known.page_recipient } else { &self.known.chunk_recipient };
        wrap_to_store(&[&[class], &epoch.as_bytes()[..], &[9; 32]].concat(), to).unwrap()
    }

    #[track_caller]
    fn is_whole(&self) {
        self.sandbox.larder(["verify", "--read-data"]).done();
        restores(self.sandbox.client(), &self.store(), "d", &self.tree, &self.sandbox.path("dest"));
    }

    /// The index names other places than those of what the first run of captures has stored.
    fn hide_chunks(&self) {
        let db = self.db();
        let blocks = self.file_rows_of(&db);
        let last = *blocks.iter().max().unwrap();
        for (at, (key, _)) in (5000..).zip(rows(&db, Family::Chunks)) {
            put(&db, Family::Chunks, &key, &to_bytes(&vec![Place { block: last, ordinal: at }]));
        }
    }

    fn file_rows_of(&self, db: &rocksdb::DB) -> Vec<u64> {
        let places = rows(db, Family::Chunks).into_iter();
        places.flat_map(|(_, value)| from_bytes::<Vec<Place>>(&value, "places").unwrap()).map(|p| p.block).collect()
    }
}

#[test]
fn gc_removes_no_block_whose_record_somebody_changed() {
    for with_notes in [false, true] {
        let scene = Scene::new();
        // Something that is named elsewhere, so that what is hidden has a place to be named in.
        let other = scene.sandbox.path("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), noise(8, 300_000)).unwrap();
        let first = scene.notes().iter().find(|note| note.family == Family::Data).unwrap().header.epoch;
        scene.sandbox.snapshot(&other, "other").done();
        let forged = EpochRecord { chunk_key: scene.other_key(2, first), ..scene.record(first) };
        let before = scene.sealers();
        scene.put_record(&forged);
        if with_notes {
            scene.put_notes(&forged);
        }
        scene.hide_chunks();
        scene.sandbox.larder(["gc"]).refused(13, "repair");
        assert_eq!(scene.sealers(), before, "with notes: {with_notes}");
        if with_notes {
            continue;
        }
        // What of it was not touched gives all of it back.
        scene.sandbox.larder(["repair", "--apply"]).done();
        scene.is_whole();
        restores(scene.sandbox.client(), &scene.store(), "other", &other, &scene.sandbox.path("dest"));
        scene.sandbox.larder(["gc"]).done();
        scene.is_whole();
    }
}

/// What nothing needs and cannot be opened is in the way until a repair sets it aside.
#[test]
fn a_dead_block_that_does_not_open_is_set_aside_by_a_repair() {
    let scene = Scene::new();
    let gone = scene.sandbox.path("gone");
    fs::create_dir(&gone).unwrap();
    fs::write(gone.join("file"), noise(2, 400_000)).unwrap();
    scene.sandbox.snapshot(&gone, "gone").done();
    scene.sandbox.larder(["forget", "gone"]).done();
    let blocks = scene.file_rows();
    let mut big = blocks.into_iter().find(|row| row.family == Family::Data && row.value.len() > 400_000).unwrap();
    let at = big.value.len() - 100;
    big.value[at] ^= 1;
    put(&scene.db(), Family::Data, &big.key, &big.value);
    scene.sandbox.larder(["gc"]).refused(13, "repair");
    let _mended = scene.sandbox.larder(["repair", "--apply"]);
    scene.sandbox.larder(["gc"]).done();
    scene.is_whole();
    scene.sandbox.larder(["repair"]).done();
}

#[test]
fn a_repair_takes_the_record_that_opens_the_blocks() {
    for (classes, in_notes) in [(&[1, 2][..], false), (&[2], false), (&[1], false), (&[1, 2], true)] {
        let scene = Scene::new();
        let case = format!("{classes:?}, in notes: {in_notes}");
        for epoch in scene.sealers() {
            let mut forged = scene.record(epoch);
            for class in classes {
                let key = scene.other_key(*class, epoch);
                if *class == 1 { forged.page_key = key } else { forged.chunk_key = key }
            }
            if in_notes { scene.put_notes(&forged) } else { scene.put_record(&forged) }
        }
        for words in [&["verify", "--json"][..], &["verify", "--no-key", "--json"]] {
            let told = String::from_utf8(scene.sandbox.larder(words).ended(13).stdout).unwrap();
            assert!(told.contains("the one that stands before its blocks"), "{case}: {told}");
        }
        let told = String::from_utf8(scene.sandbox.larder(["repair", "--json"]).ended(13).stdout).unwrap();
        let json: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (json["lost"].to_string(), json["damaged_blocks"].to_string()),
            ("[]".into(), "[]".into()),
            "{case}"
        );
        scene.sandbox.larder(["repair", "--apply"]).done();
        scene.is_whole();
        scene.sandbox.larder(["repair"]).done();
        scene.sandbox.larder(["gc"]).done();
        scene.is_whole();
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Sealing anew.

/// A store whose owner has removed another, and what that one knows.
struct Former {
    scene: Scene,
    old: KeyRecord,
    /// Runs from before.
    runs: HashSet<EpochId>,
}

/// Where a record is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Row,
    Note,
    Both,
}

impl Former {
    fn new() -> Self {
        Self::of(Scene::new())
    }

    fn of(mut scene: Scene) -> Self {
        let former = named_member(&scene.sandbox, "owner", "former");
        let (old, _) = record_of(&former, &scene.store());
        scene.sandbox.larder(["key", "remove", "former"]).done();
        scene.known = record_of(&scene.writer, &scene.store()).0;
        let runs = scene.sealers();
        assert!(!runs.is_empty());
        Self { scene, old, runs }
    }

    /// Wraps the keys of all old runs to the recipients of now.
    fn rewrap(&self, classes: &[u8], place: Where) {
        let identities =
            |texts: &[String]| parse_identities(texts.join("\n").as_bytes(), "identities", Arc::new(Nobody)).unwrap();
        for epoch in &self.runs {
            let mut record = self.scene.record(*epoch);
            for class in classes {
                let known = &self.scene.known;
                let (wrapped, of, to) = if *class == 1 {
                    (&mut record.page_key, &self.old.page_identities, &known.page_recipient)
                } else {
                    (&mut record.chunk_key, &self.old.chunk_identities, &known.chunk_recipient)
                };
                *wrapped = wrap_to_store(&unwrap(wrapped, &identities(of)).unwrap(), to).unwrap();
            }
            if place != Where::Row {
                self.scene.put_notes(&record);
            }
            if place != Where::Note {
                self.scene.put_record(&record);
            }
        }
    }
}

#[test]
fn runs_whose_keys_somebody_wrapped_anew_are_sealed_anew_all_the_same() {
    for (classes, place) in [
        (&[1, 2][..], Where::Row),
        (&[1], Where::Row),
        (&[2], Where::Row),
        (&[1, 2], Where::Note),
        (&[1], Where::Both),
        (&[1, 2], Where::Both),
    ] {
        let former = Former::new();
        let (scene, case) = (&former.scene, format!("{classes:?} in {place:?}"));
        former.rewrap(classes, place);
        if place != Where::Both {
            let told = String::from_utf8(scene.sandbox.larder(["verify", "--json"]).ended(13).stdout).unwrap();
            assert!(told.contains("the one that stands before its blocks"), "{case}: {told}");
        }
        let under_old = || listed(scene.sandbox.client(), &scene.store())["epochs_under_older_identities"].as_u64();
        assert!(under_old() >= Some(former.runs.len() as u64), "{case}: {:?}", under_old());
        scene.sandbox.larder(["key", "reseal"]).done();
        assert_eq!(under_old(), Some(0), "{case}");
        assert!(scene.sealers().is_disjoint(&former.runs), "{case}");
        scene.is_whole();
        let again = scene.sandbox.larder(["key", "reseal"]).ended(0);
        assert!(again.stderr.contains("nothing is under older identities"), "{case}: {}", again.stderr);
    }
}

/// Makes a snapshot of which most is given up.
fn make_sparse(scene: &Scene) {
    let tree = scene.sandbox.path("sparse");
    fs::create_dir(&tree).unwrap();
    (0..60).for_each(|n| fs::write(tree.join(format!("f{n}")), noise(n, 20_000)).unwrap());
    let words = ["snapshot", tree.to_str().unwrap(), "-d", "sparse", "-q"];
    let all = scene.sandbox.larder(words).ended(0).stdout;
    (10..60).for_each(|n| fs::remove_file(tree.join(format!("f{n}"))).unwrap());
    scene.sandbox.larder(words).done();
    scene.sandbox.larder(["forget", String::from_utf8(all).unwrap().trim()]).done();
}

/// The same, and moves the rest: the run that does so seals no manifest.
fn moved(scene: &Scene) {
    make_sparse(scene);
    scene.sandbox.larder(["gc"]).done();
}

/// Nothing in the log tells of what time such a run is.
#[test]
fn runs_that_sealed_no_manifest_are_sealed_anew_whomever_their_keys_are_wrapped_to() {
    for role in [Role::Owner, Role::Writer] {
        let scene = Scene::new();
        let before = scene.sealers();
        moved(&scene);
        let moving = scene
            .sealers()
            .into_iter()
            .find(|run| !before.contains(run) && epoch_purpose(&scene.record(*run).ext) == Purpose::Move);
        let former = Former::of(scene);
        let scene = &former.scene;
        assert!(former.runs.contains(&moving.unwrap()));
        former.rewrap(&[1, 2], Where::Both);
        for run in former.runs.iter().filter(|_| role == Role::Writer) {
            // As if the holder of the writer key had made it.
            let mut record = scene.record(*run);
            (record.writer, record.ext) = (scene.known.name, epoch_ext(role, Purpose::Add, None));
            scene.put_record(&record);
            scene.put_notes(&record);
        }
        let under_old = || listed(scene.sandbox.client(), &scene.store())["epochs_under_older_identities"].as_u64();
        assert!(role != Role::Owner || under_old() >= Some(former.runs.len() as u64), "{:?}", under_old());
        scene.sandbox.larder(["key", "reseal"]).done();
        assert!(scene.sealers().is_disjoint(&former.runs), "{role:?}");
        scene.is_whole();
    }
}

/// What an owner's runs seal proves itself; what a writer's do is sealed anew once more, and then proves itself too.
#[test]
fn sealing_anew_comes_to_an_end() {
    let former = Former::new();
    let scene = &former.scene;
    let reseals = |nothing: bool| {
        let told = scene.sandbox.larder(["key", "reseal"]).ended(0).stderr;
        assert_eq!(told.contains("nothing is under older identities"), nothing, "{told}");
        assert_eq!(listed(scene.sandbox.client(), &scene.store())["epochs_under_older_identities"], 0);
    };
    reseals(false);
    moved(scene);
    reseals(true);
    fs::write(scene.tree.join("later"), noise(3, 200_000)).unwrap();
    scene.writer.run(&scene.store(), ["snapshot", scene.tree.to_str().unwrap(), "-d", "w"]).done();
    assert_eq!(listed(scene.sandbox.client(), &scene.store())["epochs_under_older_identities"], 0);
    reseals(false);
    reseals(true);
    scene.sandbox.larder(["verify", "--read-data"]).done();
}

/// Of two records with the same keys a repair keeps the one that tells who opens them.
#[test]
fn a_repair_does_not_believe_that_old_runs_were_wrapped_anew() {
    for place in [Where::Row, Where::Note] {
        let former = Former::new();
        let scene = &former.scene;
        former.rewrap(&[1, 2], place);
        scene.sandbox.larder(["repair", "--apply"]).done();
        scene.is_whole();
        let opens = |record: &EpochRecord| {
            let texts = former.old.page_identities.join("\n");
            unwrap(&record.page_key, &parse_identities(texts.as_bytes(), "old", Arc::new(Nobody)).unwrap()).is_ok()
        };
        assert!(former.runs.iter().all(|epoch| opens(&scene.record(*epoch))), "{place:?}");
        scene.sandbox.larder(["key", "reseal"]).done();
        assert!(scene.sealers().is_disjoint(&former.runs), "{place:?}");
        scene.is_whole();
    }
}

/// It takes no key: what the notes say of the blocks behind them is not believed.
#[test]
fn runs_whose_notes_were_swapped_for_anothers_are_not_lost() {
    let former = Former::new();
    let scene = &former.scene;
    fs::write(scene.tree.join("later"), noise(3, 200_000)).unwrap();
    scene.sandbox.snapshot(&scene.tree, "d").done();
    let notes = scene.notes();
    for old in notes.iter().filter(|note| former.runs.contains(&note.header.epoch)) {
        let new = notes.iter().find(|note| note.family == old.family && !former.runs.contains(&note.header.epoch));
        put(&scene.db(), old.family, &old.key, &new.unwrap().value);
    }
    scene.sandbox.larder(["key", "reseal"]).done();
    assert!(scene.sealers().is_disjoint(&former.runs));
    scene.is_whole();
}

/// Has another owner change the keys when blocks are about to be moved.
struct Meanwhile<'a> {
    store: &'a Path,
    other: &'a Client,
    done: AtomicBool,
}

impl Progress for Meanwhile<'_> {
    fn advance(&self, _: u64, _: u64) {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.other.run(self.store, ["key", "rotate"]).done();
        }
    }
}

#[test]
fn who_is_overtaken_by_another_rotation_is_told_so() {
    let scene = Scene::new();
    let (store, other) = (scene.store(), named_member(&scene.sandbox, "owner", "other"));
    other.run(&store, ["list"]).done();
    scene.sandbox.larder(["key", "rotate"]).done();
    let session = opened(&scene.sandbox, scene.sandbox.client());
    let meanwhile = Meanwhile { store: &store, other: &other, done: AtomicBool::new(false) };
    let options = GcOptions { dry_run: false, reseal: true, waiting: Waiting::Wait, now: now() };
    let done = collect(&session, &Pages::new(&session, 1 << 20), options, &meanwhile).unwrap();
    let epochs = done.resealed.unwrap().epochs;
    assert!(meanwhile.done.into_inner() && epochs.left == 0 && epochs.overtaken > 0, "{epochs:?}");
    drop(session);
    scene.sandbox.larder(["key", "reseal"]).done();
    assert_eq!(listed(scene.sandbox.client(), &store)["epochs_under_older_identities"], 0);
    scene.is_whole();
}

/// When the run has looked at all, another collects, and is killed when it has moved out of blocks what is needed of them, before they go.
struct MovesMeanwhile<'a> {
    scene: &'a Scene,
    moved: AtomicBool,
}

impl Progress for MovesMeanwhile<'_> {
    fn expect(&self, _: u64, _: u64) {
        if !self.moved.load(Ordering::SeqCst) {
            let session = opened(&self.scene.sandbox, self.scene.sandbox.client());
            let options = GcOptions { dry_run: false, reseal: false, waiting: Waiting::NoWait, now: now() };
            let stop = StopWhenMoved { begun: AtomicBool::new(false), moved: &self.moved };
            assert!(collect(&session, &Pages::new(&session, 1 << 20), options, &stop).is_err());
            assert!(self.moved.load(Ordering::SeqCst));
        }
    }
}

/// Stops a run once it has moved something.
struct StopWhenMoved<'a> {
    begun: AtomicBool,
    moved: &'a AtomicBool,
}

impl Progress for StopWhenMoved<'_> {
    fn expect(&self, _: u64, _: u64) {
        self.begun.store(true, Ordering::SeqCst);
    }

    fn advance(&self, blocks: u64, _: u64) {
        let has_moved = self.begun.load(Ordering::SeqCst) && blocks > 0;
        self.moved.fetch_or(has_moved, Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        self.moved.load(Ordering::SeqCst)
    }
}

#[test]
fn what_another_collection_has_moved_meanwhile_is_no_hindrance() {
    let scene = Scene::new();
    make_sparse(&scene);
    scene.sandbox.larder(["key", "rotate"]).done();
    let session = opened(&scene.sandbox, scene.sandbox.client());
    let progress = MovesMeanwhile { scene: &scene, moved: AtomicBool::new(false) };
    let options = GcOptions { dry_run: false, reseal: true, waiting: Waiting::Wait, now: now() };
    let done = collect(&session, &Pages::new(&session, 1 << 20), options, &progress).unwrap();
    assert!(progress.moved.into_inner() && done.resealed.unwrap().epochs.left == 0, "{done:?}");
    drop(session);
    assert_eq!(listed(scene.sandbox.client(), &scene.store())["epochs_under_older_identities"], 0);
    scene.is_whole();
}
