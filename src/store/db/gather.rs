//! A database that has lost its own lists of its files, CURRENT or MANIFEST, put together from the table files alone.
//!
//! RocksDB's own repair does that, on links in a folder of their own: it moves and removes what it cannot read. Files of blocks that were
//! ingested do not say whose rows they have; it would take them for rows of the default family, so they are ingested again.

use std::path::Path;

use rocksdb::{DB, Options};

use crate::format::Family;

use super::super::error::StoreError;
use super::edits::is_counted;
use super::options::database_options;
use super::tables::family_of;
use super::{Db, fail};

/// Bytes at the beginning of a file of blocks among which the first block's header is, behind the epoch note.
const FRONT: usize = 64 << 10;

impl Db {
    /// Puts the table files of `from` together to a database in `to`, a new folder. Files that cannot be read are left out: `why` and
    /// they are its trouble. Rows that were removed since may be there again.
    pub(in crate::store) fn gather(from: &Path, to: &Path, why: &str) -> Result<Self, StoreError> {
        let unreadable = |e| StoreError::io(format!("cannot read {}", from.display()), e);
        let (mut blocks, mut trouble) = (Vec::new(), why.to_owned());
        for item in std::fs::read_dir(from).map_err(unreadable)? {
            let item = item.map_err(unreadable)?;
            let path = item.path();
            if path.extension().is_none_or(|e| e != "sst") || !path.is_file() {
                continue;
            }
            if !is_counted(&item.file_name().to_string_lossy()) {
                trouble = format!("{trouble}; {} has no name of a database's file", path.display());
                continue;
            }
            match family_of(&path) {
                Some(name) if !name.is_empty() => link(&path, &to.join(item.file_name()))?,
                Some(_) => blocks.extend(sort_of_blocks(&path).map(|family| (path, family))),
                None => trouble = format!("{trouble}; {} cannot be read", path.display()),
            }
        }
        DB::repair(&database_options(), to).map_err(|e| fail(&e))?;
        let mut names = DB::list_cf(&Options::default(), to).map_err(|e| fail(&e))?;
        names.extend(Family::ALL.iter().map(|f| f.name().to_owned()));
        names.sort_unstable();
        names.dedup();
        let mut options = database_options();
        options.create_missing_column_families(true);
        let mut db = Self::open(to, &options, names)?;
        blocks.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, family) in blocks {
            let again = to.join("again.sst");
            link(&path, &again)?;
            if let Err(e) = db.ingest(family, &again) {
                trouble = format!("{trouble}; {}: {e}", path.display());
                let _ = std::fs::remove_file(&again);
            }
        }
        db.trouble = Some(trouble);
        Ok(db)
    }

    /// The folder that it is in.
    pub(in crate::store) fn dir(&self) -> &Path {
        &self.dir
    }
}

fn link(file: &Path, name: &Path) -> Result<(), StoreError> {
    let fail = |e| StoreError::io(format!("cannot link {} to {}", file.display(), name.display()), e);
    std::fs::hard_link(file, name).map_err(fail)
}

/// Whose blocks are in a file that was ingested, by the kind of its first one.
fn sort_of_blocks(path: &Path) -> Option<Family> {
    use std::io::Read;
    let mut front = Vec::with_capacity(FRONT);
    std::fs::File::open(path).ok()?.take(FRONT as u64).read_to_end(&mut front).ok()?;
    front.windows(5).find_map(|w| match w {
        b"LBK1\x01" => Some(Family::Data),
        b"LBK1\x02" => Some(Family::Tree),
        _ => None,
    })
}
