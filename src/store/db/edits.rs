//! What the MANIFEST and the names of files say of the numbers that RocksDB counts on from: those of files, and of what was written.
//!
//! They have no key, and where one is near the end of all numbers, RocksDB goes round: files are written over others, and what is written is older than what was there.
//! (The form of a record is RocksDB's `VersionEdit` in `db/version_edit.cc`, as of 11.8.)

use std::path::Path;

use super::logs::{current_manifest, records};

/// Files that no store comes to by counting.
const FILES_MAX: u64 = 1 << 48;
/// The same of rows written; RocksDB has room for 2^56.
const ROWS_MAX: u64 = 1 << 55;

/// Bit of the tags of fields that whoever does not know them may pass over.
const SAFE_TO_IGNORE: u64 = 1 << 13;

/// Why nobody should write into a database: it says a number that no store comes to.
pub(super) fn out_of_reach(dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|item| item.file_name());
    let mut far = names.filter(|name| number_in(&name.to_string_lossy()).is_some_and(|number| number > FILES_MAX));
    if let Some(name) = far.next() {
        return Some(format!("nobody can have come to the number of the file {} by counting", name.to_string_lossy()));
    }
    // That it cannot be read is told by whoever opens the database.
    let bytes = std::fs::read(current_manifest(dir).ok()?).ok()?;
    let (mut file, mut row) = (0, 0);
    for record in records(&bytes) {
        look(&mut Fields(&record), &mut file, &mut row);
    }
    let what = match (file > FILES_MAX, row > ROWS_MAX) {
        (true, _) => format!("the file {file}"),
        (_, true) => format!("the row {row}"),
        _ => return None,
    };
    Some(format!("its MANIFEST names {what}, to whose number nobody can have come by counting"))
}

/// The number of a file, as those have that RocksDB counts; one with too many digits is beyond all.
fn number_in(name: &str) -> Option<u64> {
    let digits = match name.split_once('-') {
        Some(("MANIFEST" | "OPTIONS", digits)) => digits,
        _ => name.strip_suffix(".sst").or_else(|| name.strip_suffix(".log"))?,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// True of the name of a table file that RocksDB can have come to by counting, written as it does.
pub(super) fn is_counted(name: &str) -> bool {
    number_in(name).is_some_and(|number| (1..=FILES_MAX).contains(&number) && name == format!("{number:06}.sst"))
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// A number: seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn numbers(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Option<()> {
        let len = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.get(len..)?;
        Some(())
    }
}

/// Takes the highest numbers of a record, as far as it is known.
fn look(fields: &mut Fields, file: &mut u64, row: &mut u64) -> Option<()> {
    loop {
        match fields.number()? {
            // The number of a log, the next of a file, the oldest of a log, twice.
            2 | 3 | 9 | 10 => *file = fields.number()?.max(*file),
            // The last row.
            4 => *row = fields.number()?.max(*row),
            // Comparator, name of a family.
            1 | 201 => fields.bytes()?,
            // Where merging stands.
            5 => {
                fields.number()?;
                fields.bytes()?;
            }
            // A file that is gone.
            6 => fields.numbers(2)?,
            // A family, the highest of them, how many records belong together.
            200 | 203 | 300 => fields.numbers(1)?,
            // A family is gone.
            202 => {}
            // A new file: level, number, size, first and last key, rows from and to, and what else is known of it, up to a field 1.
            103 => {
                fields.numbers(3)?;
                fields.bytes()?;
                fields.bytes()?;
                fields.numbers(2)?;
                while fields.number()? != 1 {
                    fields.bytes()?;
                }
            }
            other if other & SAFE_TO_IGNORE != 0 => fields.bytes()?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Family;
    use crate::store::db::{Db, Rows};

    #[test]
    fn numbers_of_files() {
        for (name, number) in [("000012.sst", 12), ("7.log", 7), ("MANIFEST-000005", 5), ("OPTIONS-000007", 7)] {
            assert_eq!(number_in(name), Some(number));
        }
        assert_eq!(number_in("99999999999999999999999.sst"), Some(u64::MAX));
        for name in ["LOCK", "x.sst", "OPTIONS-000007.dbtmp", ".log"] {
            assert_eq!(number_in(name), None);
        }
    }

    /// All fields of records that RocksDB writes are known: the last of each is come to.
    #[test]
    fn records_are_read_to_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Db::create(&path).unwrap();
        for n in 0..3_u8 {
            let mut rows = Rows::default();
            rows.put(Family::Log, &[n], b"row");
            rows.put(Family::Chunks, &[n], b"row");
            db.write(&rows, false).unwrap();
            db.flush().unwrap();
        }
        db.merge().unwrap();
        drop(db);
        drop(Db::open_write(&path, dir.path()).unwrap());
        let bytes = std::fs::read(current_manifest(&path).unwrap()).unwrap();
        let (mut file, mut row, mut count) = (0, 0, 0);
        for record in records(&bytes) {
            let mut fields = Fields(&record);
            look(&mut fields, &mut file, &mut row);
            assert!(fields.0.is_empty(), "{record:?}");
            count += 1;
        }
        assert!(count > 5 && file > 5 && row >= 6, "{count} records, {file}, {row}");
        assert_eq!(out_of_reach(&path), None);
    }
}
