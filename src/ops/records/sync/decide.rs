//! What becomes of each record of a dataset and each row of its table. No input, no output: a dry run and a real one decide by the same.
//!
//! Both sides come in groups of what may be one record: the same source, entity and key but for Unicode's form, or without a key the same
//! content. Within a group contents are compared first, then keys as they are written.

use crate::records::RecordHash;

use super::super::stage::Instant;

/// Which way records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the dataset into the table.
    Import,
    /// From the table into the dataset.
    Export,
    /// Both.
    Both,
}

impl Direction {
    /// From its name, or the one that the other system has for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "import" | "json_to_sql" => Self::Import,
            "export" | "sql_to_json" => Self::Export,
            "both" | "bidirectional" => Self::Both,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
            Self::Both => "both",
        }
    }

    /// The name that stands in a manifest, which is the other system's.
    #[must_use]
    pub const fn written(self) -> &'static str {
        match self {
            Self::Import => "json_to_sql",
            Self::Export => "sql_to_json",
            Self::Both => "bidirectional",
        }
    }

    fn imports(self) -> bool {
        self != Self::Export
    }

    fn exports(self) -> bool {
        self != Self::Import
    }
}

/// Who wins where one key has two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// What was observed later; of equal times, and of two without one, the dataset's. A time wins over none.
    Newest,
    /// The dataset.
    Dataset,
    /// The table.
    Sql,
    /// Nobody: nothing is changed on either side.
    Fail,
}

impl Preference {
    /// From its name, or the one that the other system has for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "prefer_newest" => Self::Newest,
            "prefer_dataset" | "prefer_json" => Self::Dataset,
            "prefer_sql" => Self::Sql,
            "fail" => Self::Fail,
            _ => return None,
        })
    }
}

/// How a conflict ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The dataset's content is the current one.
    Dataset,
    /// The table's is.
    Sql,
    /// Neither: the preference is [`Preference::Fail`].
    Failed,
}

impl Resolution {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "json_wins",
            Self::Sql => "sql_wins",
            Self::Failed => "failed",
        }
    }
}

/// Source, entity and key as they are written, in short.
pub(super) type Form = [u8; 8];

/// A content that the dataset has.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) hash: RecordHash,
    pub(super) instant: Instant,
    pub(super) form: Form,
    /// Its number among the lines.
    pub(super) line: u64,
    /// It is the one that stands under its key, or has none.
    pub(super) current: bool,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// As its column says.
    pub(super) hash: RecordHash,
    /// The hash that it has in the dataset: another if the dataset redacts it.
    pub(super) means: RecordHash,
    pub(super) instant: Instant,
    pub(super) form: Form,
    /// The dataset has it, if not in this group: without a key a redacted content is in another.
    pub(super) known: bool,
}

/// What may be one record.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) keyed: bool,
    pub(super) versions: Vec<Version>,
    pub(super) rows: Vec<Standing>,
}

impl Group {
    fn has(&self, hash: &RecordHash) -> bool {
        self.versions.iter().any(|version| version.hash == *hash)
    }

    fn knows(&self, row: &Standing) -> bool {
        row.known || self.has(&row.means)
    }

    fn current(&self, form: &Form) -> Option<&Version> {
        self.versions.iter().find(|version| version.current && version.form == *form)
    }

    /// True if a row says what a current version says.
    fn agrees(&self, row: &Standing) -> bool {
        self.versions.iter().any(|version| version.current && version.hash == row.means)
    }

    fn is_settled(&self, version: &Version) -> bool {
        self.rows.iter().any(|row| row.means == version.hash)
    }

    /// True if a row says what an earlier version of its key says.
    fn is_earlier(&self, row: &Standing) -> bool {
        self.versions.iter().any(|version| version.hash == row.means && version.form == row.form && !version.current)
    }

    /// Rows whose content must be looked at before anything is decided: those that the dataset does not know, as far as they matter.
    pub(super) fn unknown(&self, direction: Direction) -> impl Iterator<Item = &Standing> {
        self.rows.iter().filter(move |row| {
            let rival = || self.keyed && self.current(&row.form).is_some_and(|current| !self.is_settled(current));
            !self.has(&row.hash) && (direction.exports() || rival())
        })
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A line with this hash becomes a further row.
    Insert(u64, RecordHash),
    /// A line with this hash takes the place of a row.
    Replace(u64, RecordHash, RecordHash),
    /// An earlier version, with this hash in the dataset, is the current one again.
    Again(RecordHash),
    /// A row goes into the dataset, and is the current version of its key if it is the last of it that is told.
    Take(RecordHash),
    /// A row goes into the dataset as an earlier version; the hash that it has there.
    Keep(RecordHash, RecordHash),
}

/// A key with two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dispute {
    pub(super) dataset: RecordHash,
    pub(super) sql: RecordHash,
    pub(super) resolution: Resolution,
}

/// What all decisions come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that become further rows.
    pub inserted: u64,
    /// Records that take the place of a row.
    pub updated: u64,
    /// Records that the table has, or that lose.
    pub skipped: u64,
    /// Rows whose content comes into the dataset, or is the current one there again.
    pub taken: u64,
    /// Rows that are replaced in the table: their content comes into the dataset's history.
    pub kept: u64,
    /// Rows whose content the dataset has.
    pub known: u64,
    /// Keys with two contents.
    pub conflicts: u64,
    /// Current records of the dataset, in the end.
    pub records: u64,
    /// Rows, in the end.
    pub rows: u64,
    /// Rows that are not current records of the dataset.
    pub strangers: u64,
    /// Of the current records those whose key comes from the table.
    pub new_keys: u64,
}

/// Decides, group by group.
#[derive(Debug)]
pub(super) struct Decider {
    pub(super) direction: Direction,
    pub(super) preference: Preference,
    pub(super) tally: Tally,
    pub(super) steps: Vec<Step>,
    pub(super) disputes: Vec<Dispute>,
}

/// What stands under one key: in the dataset, and in the table without the rows that say what a current record says.
struct Key<'a> {
    current: Option<&'a Version>,
    /// The table has the current content too.
    settled: bool,
    /// By time, then by hash.
    rows: Vec<&'a Standing>,
    /// Those of them that the dataset does not know.
    fresh: Vec<&'a Standing>,
    /// The last of them says what the dataset had before.
    rival_is_earlier: bool,
}

impl Decider {
    pub(super) fn new(direction: Direction, preference: Preference) -> Self {
        Self { direction, preference, tally: Tally::default(), steps: Vec::new(), disputes: Vec::new() }
    }

    /// Decides about so many records, each of which is the only one of its key and has its row.
    pub(super) fn all_agree(&mut self, records: u64) {
        self.tally.records += records;
        self.tally.rows += records;
        self.tally.skipped += if self.direction.imports() { records } else { 0 };
        self.tally.known += if self.direction.exports() { records } else { 0 };
    }

    /// Decides about a group.
    pub(super) fn decide(&mut self, group: &Group) {
        let currents = || group.versions.iter().filter(|version| version.current);
        self.tally.rows += group.rows.len() as u64;
        self.tally.records += currents().count() as u64;
        let mut open: Vec<&Standing> = group.rows.iter().filter(|row| !group.agrees(row)).collect();
        open.sort_by_key(|row| (row.instant, row.hash));
        self.tally.strangers += open.len() as u64;
        self.known(group.rows.len() - open.len());
        // Without a key nothing is a rival of anything: each row is by itself.
        let mut forms: Vec<Form> = currents().map(|v| v.form).chain(open.iter().map(|row| row.form)).collect();
        forms.sort_unstable();
        forms.dedup();
        // Under several forms of a key a content is one all the same.
        let mut seen: Vec<RecordHash> = Vec::new();
        for form in forms {
            let current = group.current(&form);
            let rows: Vec<_> = open.iter().copied().filter(|row| row.form == form).collect();
            let mut fresh: Vec<&Standing> = Vec::new();
            for row in &rows {
                if !group.knows(row) && !seen.contains(&row.means) {
                    seen.push(row.means);
                    fresh.push(row);
                }
            }
            let settled = current.is_some_and(|current| group.is_settled(current));
            let rival_is_earlier = rows.last().is_some_and(|row| group.is_earlier(row));
            self.key(&Key { current, settled, rows, fresh, rival_is_earlier });
        }
    }

    fn key(&mut self, key: &Key<'_>) {
        let Some(current) = key.current else {
            // Without a key each row is a record by itself.
            let is_new = self.direction.exports() && !key.fresh.is_empty();
            self.tally.new_keys += u64::from(is_new);
            self.tally.records += u64::from(is_new);
            self.export(key, None);
            return;
        };
        let dispute = if key.settled {
            self.tally.skipped += u64::from(self.direction.imports());
            self.beside_its_own(key, current)
        } else if let Some(rival) = key.rows.last() {
            self.rivals(key, current, rival)
        } else {
            self.insert(current);
            None
        };
        self.export(key, dispute);
    }

    fn insert(&mut self, current: &Version) {
        if self.direction.imports() {
            self.tally.inserted += 1;
            self.tally.rows += 1;
            self.steps.push(Step::Insert(current.line, current.hash));
        }
    }

    /// The table has several rows under the key, one of them with the dataset's content: the newest row is what the table says.
    fn beside_its_own(&mut self, key: &Key<'_>, current: &Version) -> Option<Dispute> {
        let rival = key.fresh.last().filter(|_| self.direction.exports())?;
        let newest_is_ours = self.preference == Preference::Sql && current.instant >= rival.instant;
        let resolution = if newest_is_ours { Resolution::Dataset } else { self.resolve(current, rival) };
        Some(self.dispute(current, rival, resolution))
    }

    /// The table has another content under the key.
    fn rivals(&mut self, key: &Key<'_>, current: &Version, rival: &Standing) -> Option<Dispute> {
        let (imports, exports) = (self.direction.imports(), self.direction.exports());
        let is_fresh = key.fresh.iter().any(|row| row.hash == rival.hash);
        let resolution = self.resolve(current, rival);
        // What the dataset has, it does not lack.
        if !(imports || is_fresh || (exports && key.rival_is_earlier && resolution != Resolution::Dataset)) {
            return None;
        }
        match resolution {
            Resolution::Dataset if imports => {
                self.tally.updated += 1;
                if is_fresh {
                    self.tally.kept += 1;
                    self.steps.push(Step::Keep(rival.hash, rival.means));
                }
                self.steps.push(Step::Replace(current.line, current.hash, rival.hash));
            }
            Resolution::Sql => self.tally.skipped += u64::from(imports),
            Resolution::Dataset | Resolution::Failed => {}
        }
        Some(self.dispute(current, rival, resolution))
    }

    fn resolve(&self, current: &Version, rival: &Standing) -> Resolution {
        match self.preference {
            Preference::Newest if current.instant >= rival.instant => Resolution::Dataset,
            Preference::Newest | Preference::Sql => Resolution::Sql,
            Preference::Dataset => Resolution::Dataset,
            Preference::Fail => Resolution::Failed,
        }
    }

    fn dispute(&mut self, current: &Version, rival: &Standing, resolution: Resolution) -> Dispute {
        let dispute = Dispute { dataset: current.hash, sql: rival.hash, resolution };
        self.tally.conflicts += 1;
        self.disputes.push(dispute);
        dispute
    }

    fn known(&mut self, rows: usize) {
        self.tally.known += if self.direction.exports() { rows as u64 } else { 0 };
    }

    /// What the table has and the dataset has not goes into the dataset, the oldest first. An earlier version that wins is the current one again.
    fn export(&mut self, key: &Key<'_>, dispute: Option<Dispute>) {
        if !self.direction.exports() {
            return;
        }
        let won = |row: &&&Standing| {
            dispute.is_some_and(|dispute| dispute.sql == row.hash && dispute.resolution == Resolution::Sql)
        };
        let again = key.rows.last().filter(|_| key.rival_is_earlier).filter(won);
        self.known(key.rows.len() - key.fresh.len() - usize::from(again.is_some()));
        for row in &key.fresh {
            let rival = dispute.filter(|dispute| dispute.sql == row.hash);
            let step = match (rival.or(dispute).map(|dispute| dispute.resolution), rival) {
                (Some(Resolution::Failed), _) => continue,
                // Its place is taken, so it was kept before.
                (Some(Resolution::Dataset), Some(_)) if self.direction.imports() && !key.settled => continue,
                (Some(Resolution::Sql), Some(_)) => Step::Take(row.hash),
                _ if key.current.is_none() => Step::Take(row.hash),
                _ => Step::Keep(row.hash, row.means),
            };
            self.tally.taken += 1;
            self.steps.push(step);
        }
        if let Some(row) = again {
            self.tally.taken += 1;
            self.steps.push(Step::Again(row.means));
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
