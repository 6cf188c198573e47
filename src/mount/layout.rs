//! What a whole-store mount shows above the trees.
//!
//! ```text
//! snapshots/<first 16 digits of the id>/     the trees
//! datasets/<name>/<time of arrival>          -> ../../snapshots/<id>
//! datasets/<name>/latest                     -> ../../snapshots/<id>
//! at/<any time>/<name>                       -> ../../snapshots/<id>, the newest that had arrived by then
//! ```
//!
//! Trees stand in one place each: a folder under two paths confuses the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType};

use crate::model::{DatasetName, Timestamp};
use crate::snapshots::When;
use crate::view::{Catalog, CatalogRow, NodeId};

use super::attr::synthetic;
use super::number::{Ino, SECONDS_END};

/// The newest snapshot's name in its dataset's folder.
const LATEST: &str = "latest";

/// The layout for one state of the catalog.
#[derive(Debug)]
pub(super) struct Layout {
    catalog: Arc<Catalog>,
}

impl Layout {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }

    /// The names in a folder.
    pub(super) fn list(&self, folder: Ino) -> Option<Vec<(String, Ino)>> {
        Some(match folder {
            Ino::Top => vec![
                ("at".to_owned(), Ino::At),
                ("datasets".to_owned(), Ino::Datasets),
                ("snapshots".to_owned(), Ino::Snapshots),
            ],
            // There is no end of times.
            Ino::At => Vec::new(),
            Ino::AsOf(seconds) => {
                let named = |(name, row): (&DatasetName, &CatalogRow)| (name.to_string(), Ino::Time(row.sequence));
                self.as_of(seconds).into_iter().map(named).collect()
            }
            Ino::Snapshots => self.catalog.rows().iter().filter_map(|row| Some((row.short_id(), root(row)?))).collect(),
            Ino::Datasets => {
                let named =
                    |row: &CatalogRow| Some((row.dataset.as_ref()?.as_str().to_owned(), Ino::Dataset(row.sequence)));
                self.catalog.datasets().into_iter().filter_map(named).collect()
            }
            Ino::Dataset(_) => {
                let rows = self.rows_of(folder)?;
                let latest = rows.last().map(|row| (LATEST.to_owned(), Ino::Latest(row.sequence)));
                rows.iter().map(|row| (row.time_name.clone(), Ino::Time(row.sequence))).chain(latest).collect()
            }
            Ino::Time(_) | Ino::Latest(_) | Ino::Node(_) => return None,
        })
    }

    /// What a name in a folder stands for. Ages count from `now`.
    pub(super) fn lookup(&self, folder: Ino, name: &[u8], now: Timestamp) -> Option<Ino> {
        match folder {
            Ino::Snapshots => self.catalog.by_short_id(name).and_then(root),
            Ino::At => as_of(name, now),
            _ => self.list(folder)?.into_iter().find(|(known, _)| known.as_bytes() == name).map(|(_, ino)| ino),
        }
    }

    fn as_of(&self, seconds: u64) -> BTreeMap<&DatasetName, &CatalogRow> {
        self.catalog.as_of(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// The folder that something is in.
    pub(super) fn parent(&self, ino: Ino) -> Option<Ino> {
        Some(match ino {
            Ino::Top | Ino::Snapshots | Ino::Datasets | Ino::At => Ino::Top,
            Ino::AsOf(_) => Ino::At,
            Ino::Dataset(_) => Ino::Datasets,
            Ino::Node(_) => Ino::Snapshots,
            Ino::Time(sequence) | Ino::Latest(sequence) => {
                let name = self.catalog.by_sequence(sequence)?.dataset.as_ref()?;
                Ino::Dataset(self.catalog.of_dataset(name).next()?.sequence)
            }
        })
    }

    /// Where a link leads.
    pub(super) fn readlink(&self, ino: Ino) -> Option<String> {
        let (Ino::Time(sequence) | Ino::Latest(sequence)) = ino else { return None };
        self.catalog.by_sequence(sequence).map(|row| format!("../../snapshots/{}", row.short_id()))
    }

    /// Attributes. A folder's time is that of the newest arrival in it, so that its listing is known to have changed.
    pub(super) fn attr(&self, ino: Ino) -> Option<FileAttr> {
        let raw = ino.raw(None);
        let arrival = |row: Option<&CatalogRow>| row.map_or(UNIX_EPOCH, |row| row.arrival.to_system());
        let folder = |size: usize, subdirs: usize, time: SystemTime| {
            synthetic(raw, FileType::Directory, size as u64, 2 + subdirs as u64, time)
        };
        let rows = self.catalog.rows();
        Some(match ino {
            Ino::Top => folder(3, 3, arrival(rows.last())),
            Ino::At => folder(0, 0, arrival(rows.last())),
            Ino::AsOf(seconds) => {
                let found = self.as_of(seconds);
                folder(found.len(), 0, arrival(found.into_values().max_by_key(|row| row.sequence)))
            }
            Ino::Snapshots => folder(rows.len(), rows.len(), arrival(rows.last())),
            Ino::Datasets => {
                let datasets = self.catalog.datasets();
                folder(datasets.len(), datasets.len(), arrival(rows.last()))
            }
            Ino::Dataset(_) => {
                let rows = self.rows_of(ino)?;
                folder(rows.len() + 1, 0, arrival(rows.last().copied()))
            }
            Ino::Time(sequence) | Ino::Latest(sequence) => {
                let target = self.readlink(ino)?;
                synthetic(raw, FileType::Symlink, target.len() as u64, 1, arrival(self.catalog.by_sequence(sequence)))
            }
            Ino::Node(_) => return None,
        })
    }

    /// The snapshots of a dataset's folder, oldest first.
    fn rows_of(&self, folder: Ino) -> Option<Vec<&CatalogRow>> {
        let Ino::Dataset(first) = folder else { return None };
        let name = self.catalog.by_sequence(first)?.dataset.as_ref()?;
        Some(self.catalog.of_dataset(name).collect())
    }
}

/// The folder for a time: whatever a snapshot may be named by behind `@`, or as `datasets/<name>` writes times.
fn as_of(name: &[u8], now: Timestamp) -> Option<Ino> {
    let text = std::str::from_utf8(name).ok()?;
    let when = When::parse_or_age(text, now).or_else(|_| When::parse(&with_colons(text))).ok()?;
    // Nothing arrives before 1970, nor after the last second that fits.
    Some(Ino::AsOf(u64::try_from(when.last.seconds).unwrap_or(0).min(SECONDS_END - 1)))
}

/// `2024-01-15T10-30-05Z` with the colons that no file name has there.
fn with_colons(text: &str) -> String {
    match text.split_once('T') {
        Some((day, clock)) => format!("{day}T{}", clock.replacen('-', ":", 2)),
        None => text.to_owned(),
    }
}

fn root(row: &CatalogRow) -> Option<Ino> {
    NodeId::new(row.sequence, 0).map(Ino::Node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        let now = Timestamp { seconds: 1_705_400_000, nanos: 0 };
        let cases = [
            ("2024-01-15T10:30:05Z", Some(1_705_314_605)),
            ("2024-01-15T10-30-05Z", Some(1_705_314_605)),
            ("2024-01-15T10-30", Some(1_705_314_659)),
            ("2024-01-15", Some(1_705_363_199)),
            ("36h", Some(1_705_400_000 - 129_600)),
            ("1960-01-15", Some(0)),
            ("9999-01-01", Some(SECONDS_END - 1)),
            ("yesterday", None),
            (".git", None),
        ];
        for (name, seconds) in cases {
            assert_eq!(as_of(name.as_bytes(), now), seconds.map(Ino::AsOf), "{name}");
        }
        assert_eq!(as_of(b"\xff", now), None);
    }
}
