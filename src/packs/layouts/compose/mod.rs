//! A folder laid out like an archive of another system becomes one: what is missing is computed, what is there is not changed.

mod bundle;
mod investigation;

use crate::model::{Failure, Kind, Timestamp};
use crate::records::json::JsonError;

use super::fault::Fault;
use super::{Layout, LayoutError};

/// What a snapshot says, of which the metadata are made where the folder has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Id of the investigation or workspace.
    pub id: String,
    /// Its status; nothing if nobody said.
    pub status: Option<String>,
    /// Where it comes from.
    pub source: Option<String>,
    /// When it was captured. Nothing is made with the time of an export.
    pub time: Timestamp,
    /// Bytes that the archive may have.
    pub max_size: u64,
    /// What it speaks of and does not hold.
    pub references: Vec<crate::model::Reference>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laid {
    /// Where it lies, from the folder that the archive is.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// What stands in the captured file of this path, byte for byte.
    Captured(String),
    /// What was computed.
    Made(Vec<u8>),
}

/// What an archive is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The folder around all.
    pub root: String,
    /// The folders in it.
    pub folders: Vec<String>,
    /// The files, in the order of the archive.
    pub files: Vec<Laid>,
    /// True if all of it was there, metadata too.
    pub as_it_was: bool,
}

/// Why a folder cannot be laid out so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// There is nothing to make one of.
    #[error("this folder is not laid out like {}: it has no {lacks}", layout.described())]
    Nothing {
        /// What was asked for.
        layout: Layout,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A file that the layout has no place for.
    #[error("{path} has no place in {}", layout.described())]
    NoPlace {
        /// Which.
        path: String,
        /// What was asked for.
        layout: Layout,
    },
    /// A file that cannot be used as what its place says.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The id cannot be the name of a folder.
    #[error("{id:?} cannot be the id of what is exported: it would not be one plain name of a folder")]
    Id {
        /// The id.
        id: String,
    },
    /// What the folder says of itself cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What the folder says of itself does not hold.
    #[error("the folder is not what {} should be: {}{}", layout.described(), faults.first().map_or_else(String::new, ToString::to_string),
        more(faults.len()))]
    Faults {
        /// What was asked for.
        layout: Layout,
        /// All that is wrong; at least one.
        faults: Vec<Fault>,
    },
}

fn more(faults: usize) -> String {
    if faults > 1 { format!(" (and {} more)", faults - 1) } else { String::new() }
}

impl ComposeError {
    fn file(path: &str, why: impl Into<String>) -> Self {
        Self::File { path: super::shown::short(path), why: why.into() }
    }

    fn json(path: &str) -> impl FnOnce(JsonError) -> Self {
        move |e| Self::file(path, e.to_string())
    }
}

impl Failure for ComposeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Layout(e) => e.kind(),
            Self::Faults { .. } => Kind::Damage,
            _ => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPlace { layout: Layout::Investigation, .. } => {
                "it holds evidence/*.json with their results, lineage.json, code_changes.json, prompts/hypothesis.txt, query.txt and synthesis.txt; \
                 export a folder with just these as SNAP:PATH"
            }
            Self::NoPlace { layout: Layout::Bundle, .. } => {
                "it holds scenario_plans/*.json, manifest.json and checksums.sha256"
            }
            Self::Faults { layout: Layout::Investigation, .. } => {
                "what is written is not changed; a folder without metadata.json gets one that is computed"
            }
            Self::Faults { layout: Layout::Bundle, .. } => {
                "what is written is not changed; a folder without manifest.json and checksums.sha256 gets what is computed"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Reads a captured file.
pub type Read<'a, E> = &'a mut dyn FnMut(&str) -> Result<Vec<u8>, E>;

/// Plans the archive of a folder. `files` are the paths in it, ascending.
///
/// The plan is not checked as a whole: give what it makes to an [`Observer`](super::Observer).
///
/// # Errors
/// If the folder is not laid out so, or something in it contradicts itself.
pub fn plan<E: From<ComposeError>>(layout: Layout, files: &[String], told: &Told, read: Read<E>) -> Result<Plan, E> {
    match layout {
        Layout::Investigation => investigation::plan(files, told, read),
        Layout::Bundle => bundle::plan(files, told, read),
    }
}

/// An id that can be the name of a folder, whoever extracts it.
fn folder_name(id: &str) -> Result<&str, ComposeError> {
    let plain = !id.is_empty() && id.len() <= 200 && id != "." && !id.contains("..");
    let plain = plain && !id.contains(|c: char| c == '/' || c == '\\' || c.is_control());
    if plain { Ok(id) } else { Err(ComposeError::Id { id: super::shown::short(id) }) }
}

/// A moment as the older systems write it: microseconds only where there are some.
fn iso(time: Timestamp, zone: &str) -> String {
    let nanos = i32::try_from(time.nanos / 1000 * 1000).unwrap_or(0);
    let moment = jiff::Timestamp::new(time.seconds, nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let fraction = if nanos == 0 { String::new() } else { format!(".{:06}", nanos / 1000) };
    format!("{}{fraction}{zone}", moment.strftime("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let at = |seconds, nanos| iso(Timestamp { seconds, nanos }, "Z");
        assert_eq!(at(1_763_683_820, 171_937_999), "2025-11-21T00:10:20.171937Z");
        assert_eq!(at(0, 999), "1970-01-01T00:00:00Z");
        assert_eq!(at(-1, 500_000_000), "1969-12-31T23:59:59.500000Z");
        assert_eq!(at(i64::MAX, 0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn ids() {
        assert!(["inv-1", "Zoë", "a.b", "x y"].into_iter().all(|id| folder_name(id).is_ok()));
        assert!(
            ["", ".", "..", "a..b", "a/b", "a\\b", "a\n", &"x".repeat(201)]
                .into_iter()
                .all(|id| folder_name(id).is_err())
        );
    }
}
