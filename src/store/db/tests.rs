use super::*;
use crate::format::number_key;

const FILES: u64 = 40;

/// A database with many files of blocks, and many of rows.
fn many_files(dir: &Path) -> Db {
    let writer = Db::create(&dir.join("db")).unwrap();
    for number in 1..=FILES {
        let mut file = RowFile::create(dir.join("new.sst")).unwrap();
        file.put(&number_key(number), format!("block {number}").as_bytes()).unwrap();
        writer.ingest(Family::Data, &file.finish().unwrap()).unwrap();
        let mut rows = Rows::default();
        rows.put(Family::Log, &number_key(number), b"entry");
        rows.put(Family::Chunks, crate::codec::digest(&number_key(number)).as_bytes(), b"places");
        writer.write(&rows, true).unwrap();
        writer.flush().unwrap();
    }
    writer
}

fn tables(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir.join("db")).unwrap();
    files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "sst")).count()
}

fn numbers(db: &Db, family: Family) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    db.scan(family, &[], |key, _| {
        keys.push(key.to_vec());
        Ok(true)
    })
    .unwrap();
    keys
}

#[test]
fn merging_leaves_few_files_and_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let writer = many_files(dir.path());
    let families = [Family::Data, Family::Log, Family::Chunks];
    let before = families.map(|family| numbers(&writer, family));
    assert!(before.iter().all(|keys| keys.len() as u64 == FILES));
    assert!(tables(dir.path()) as u64 >= 3 * FILES);
    writer.merge().unwrap();
    assert!(tables(dir.path()) < 20, "{} files", tables(dir.path()));
    assert_eq!(families.map(|family| numbers(&writer, family)), before);
    let reader = Db::open_read(&dir.path().join("db")).unwrap();
    assert_eq!(families.map(|family| numbers(&reader, family)), before);
}

#[test]
fn a_reader_goes_on_when_its_files_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let writer = many_files(dir.path());
    let [forth, back, single] = [(); 3].map(|()| Db::open_read(&dir.path().join("db")).unwrap());
    let mut seen = Vec::new();
    forth
        .scan(Family::Data, &[], |key, value| {
            if seen.is_empty() {
                writer.merge().unwrap();
            }
            seen.push((key.to_vec(), value.to_vec()));
            Ok(true)
        })
        .unwrap();
    let all: Vec<_> = (1..=FILES).map(|n| (number_key(n).to_vec(), format!("block {n}").into_bytes())).collect();
    assert_eq!(seen, all);
    assert!(
        !Arc::ptr_eq(&forth.opened(), &single.opened()) && forth.opened().mark != forth.opened_at,
        "nothing vanished"
    );
    assert!(forth.is_outdated(), "who opened it must still be told that it has changed");

    let mut seen = Vec::new();
    back.scan_back(Family::Data, |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })
    .unwrap();
    seen.reverse();
    assert_eq!(seen, all);
    assert_ne!(back.opened().mark, back.opened_at, "nothing vanished");

    for (key, value) in &all {
        assert_eq!(single.get(Family::Data, key).unwrap().as_ref(), Some(value));
    }
    assert_eq!(single.last_number(Family::Log, 0).unwrap(), Some(FILES));
}

#[test]
fn a_file_that_is_gone_for_good_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(many_files(dir.path()));
    let reader = Db::open_read(&dir.path().join("db")).unwrap();
    for file in std::fs::read_dir(dir.path().join("db")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "sst") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let outcomes: Vec<_> = (1..=FILES).map(|n| reader.get(Family::Data, &number_key(n))).collect();
    assert!(outcomes.iter().any(|o| o.as_ref().is_err_and(StoreError::is_damage)));
    assert!(outcomes.iter().all(|o| o.is_err() || o.as_ref().is_ok_and(Option::is_some)));
}
