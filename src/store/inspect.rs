//! Looking at all blocks, for verify.

use rayon::prelude::*;

use crate::codec::{Class, digest, open_table};
use crate::format::{BlockHeader, BlockKind, Family, Place, from_bytes, number_key, sum_parts};

use super::Store;
use super::error::StoreError;
use super::read::Sort;

/// How closely blocks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCheck {
    /// Their digests only: needs no key.
    Digest,
    /// Every item is opened and its id recomputed and compared with the index.
    Items,
}

/// Something damaged.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which object.
    pub object: String,
    /// What is wrong.
    pub why: String,
    /// The block concerned, if it is one of chunks.
    pub data_block: Option<u64>,
    /// The block concerned, if it is one of pages.
    pub tree_block: Option<u64>,
}

impl Finding {
    /// From an error.
    #[must_use]
    pub fn from_error(error: &StoreError) -> Self {
        match error {
            StoreError::Damage { what, why } => {
                Self { object: what.clone(), why: why.clone(), data_block: None, tree_block: None }
            }
            other => {
                Self { object: "the store".to_owned(), why: other.to_string(), data_block: None, tree_block: None }
            }
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Blocks.
    pub blocks: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

impl Store {
    /// Checks every block: present, unchanged, and with [`BlockCheck::Items`] holding what the index says it holds.
    ///
    /// `done` is called with the sealed bytes of each block as it is finished, from several threads.
    ///
    /// # Errors
    /// If the database cannot be read; what is damaged is a finding, not an error.
    pub fn check_blocks(
        &self,
        check: BlockCheck,
        done: &(dyn Fn(u64) + Sync),
    ) -> Result<(Inspected, Vec<Finding>), StoreError> {
        let db = self.db();
        let mut sums = Vec::new();
        let mut findings = Vec::new();
        db.scan(Family::Sums, &[], |key, value| {
            match (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                (Ok(number), Ok((kind, sum))) => sums.push((number, kind, sum)),
                _ => findings.push(Finding::from_error(&StoreError::damage("a row of sums", "it is malformed"))),
            }
            Ok(true)
        })?;
        let results: Vec<_> = sums
            .par_iter()
            .map(|(number, kind, sum)| {
                let sort = if *kind == BlockKind::Data { Sort::Chunk } else { Sort::Page };
                let looked = db.with(sort.blocks(), &number_key(*number), |value| {
                    done(value.len() as u64);
                    if digest(value) != *sum {
                        return (value.len() as u64, Err("its bytes have changed".to_owned()));
                    }
                    (value.len() as u64, Ok(()))
                });
                let outcome = match looked {
                    Ok(None) => (0, Err("it is missing".to_owned())),
                    Ok(Some((len, Ok(())))) if check == BlockCheck::Items => (len, self.check_items(sort, *number)),
                    Ok(Some(outcome)) => outcome,
                    Err(e) => (0, Err(e.to_string())),
                };
                (*number, sort, outcome)
            })
            .collect();
        let mut inspected = Inspected::default();
        for (number, sort, (len, outcome)) in results {
            inspected.blocks += 1;
            inspected.bytes += len;
            if let Err(why) = outcome {
                let is_data = sort == Sort::Chunk;
                findings.push(Finding {
                    object: format!("block {number} ({})", if is_data { "content" } else { "structure" }),
                    why,
                    data_block: is_data.then_some(number),
                    tree_block: (!is_data).then_some(number),
                });
            }
        }
        Ok((inspected, findings))
    }

    /// Opens a block and checks that the index finds each of its items here.
    fn check_items(&self, sort: Sort, number: u64) -> Result<(), String> {
        let db = self.db();
        let opened = match self.open_block(&db, sort, number) {
            Ok(opened) => opened,
            // A catalog holder checks the table and leaves the content to an owner.
            Err(StoreError::Closed(_)) => return self.check_table(sort, number),
            Err(e) => return Err(e.to_string()),
        };
        let ids = self.inner.keyring.ids();
        for ordinal in 0..opened.len() {
            let place = Place { block: number, ordinal: u32::try_from(ordinal).unwrap_or(u32::MAX) };
            let item = opened.item(place.ordinal).unwrap_or_default();
            let id = match sort {
                Sort::Chunk => *ids.chunk(item).as_bytes(),
                Sort::Page => *ids.page(item).as_bytes(),
            };
            let places = super::read::places(&db, sort, &id).map_err(|e| e.to_string())?;
            if !places.contains(&place) {
                return Err(format!("the index does not know its item {ordinal} under the id of its bytes"));
            }
        }
        Ok(())
    }

    fn check_table(&self, sort: Sort, number: u64) -> Result<(), String> {
        let db = self.db();
        let looked = db.with(sort.blocks(), &number_key(number), |value| {
            let (header, ..) = BlockHeader::parse(value).map_err(|e| e.to_string())?;
            let page = self.inner.keyring.data_key(&db, header.epoch, Class::Page).map_err(|e| e.to_string())?;
            match page {
                Some(page) => open_table(value, &page).map(drop).map_err(|e| e.to_string()),
                None => Ok(()),
            }
        });
        looked.map_err(|e| e.to_string())?.unwrap_or_else(|| Err("it is missing".to_owned()))
    }

    /// Checks that every index entry names a block that is there, and has a digest.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_index(&self) -> Result<(u64, Vec<Finding>), StoreError> {
        let db = self.db();
        let mut blocks = std::collections::HashMap::new();
        db.scan(Family::Sums, &[], |key, value| {
            if let (Ok(number), Ok((kind, _))) = (key.try_into().map(u64::from_be_bytes), sum_parts(value)) {
                blocks.insert(number, kind);
            }
            Ok(true)
        })?;
        let (mut entries, mut findings) = (0, Vec::new());
        for (family, kind) in [(Family::Chunks, BlockKind::Data), (Family::Pages, BlockKind::Tree)] {
            db.scan(family, &[], |key, value| {
                entries += 1;
                let what = || format!("an entry of the index of {}", family.name());
                let bad = match from_bytes::<Vec<Place>>(value, "index entry") {
                    Err(e) => Some(e.to_string()),
                    Ok(places) if places.is_empty() || key.len() != crate::format::ID_PREFIX_LEN => {
                        Some("it is malformed".to_owned())
                    }
                    Ok(places) => places
                        .iter()
                        .find(|p| blocks.get(&p.block) != Some(&kind))
                        .map(|p| format!("it names block {}, which has no digest", p.block)),
                };
                if let Some(why) = bad {
                    findings.push(Finding::from_error(&StoreError::damage(what(), why)));
                }
                Ok(findings.len() < 1000)
            })?;
        }
        // Reading a row checks its file's checksums; blocks are looked at one by one elsewhere.
        for family in Family::ALL.into_iter().filter(|f| !matches!(f, Family::Data | Family::Tree)) {
            let mut keys = Vec::new();
            let scanned = db.scan(family, &[], |key, _| {
                if family == Family::Datasets {
                    keys.push(key.to_vec());
                }
                Ok(true)
            });
            let records = keys.iter().filter_map(|key| crate::model::DatasetKey::from_slice(key));
            let bad = scanned.err().into_iter().chain(records.filter_map(|key| self.dataset_record(key).err()));
            findings.extend(bad.map(|e| Finding::from_error(&e)));
        }
        Ok((entries, findings))
    }

    /// Checks that the plain copies of header and key objects agree with those in the database.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_copies(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        if let Ok(None) = super::tip::read(&self.inner.dir, self.inner.keyring.ids()) {
            let path = super::tip::path(&self.inner.dir).display().to_string();
            let why = "it is missing; the next snapshot makes it anew";
            findings.push(Finding::from_error(&StoreError::damage(path, why)));
        }
        let mut compare = |path: std::path::PathBuf, copy: &[u8]| match std::fs::read(&path) {
            Ok(bytes) if bytes == copy => {}
            Ok(_) => findings.push(Finding::from_error(&StoreError::damage(
                path.display().to_string(),
                "it differs from the copy in the database",
            ))),
            Err(e) => findings.push(Finding::from_error(&StoreError::damage(path.display().to_string(), e))),
        };
        self.db().scan(Family::Default, &[], |key, value| {
            if key == b"header" {
                compare(self.inner.dir.join("header"), value);
            } else if let Some(name) = key.strip_prefix(b"key/") {
                compare(self.inner.dir.join("keys").join(format!("{}.age", String::from_utf8_lossy(name))), value);
            }
            Ok(true)
        })?;
        Ok(findings)
    }
}
