//! Looks at an archive or a folder as it goes by: keeps what the checks need, in bounded memory, and judges at the end.

use crate::codec::{Sha256, zeros};
use crate::records::json::{self, Json, MAX_BYTES};

use super::fault::{LayoutError, Misfit, Seen};
use super::item::{Item, is_item, numbered};
use super::members::{File, Held, Members};
use super::rows::Rows;
use super::{Layout, Wanted, bundle, investigation, parquet};

/// Members that are looked at; neither layout comes near it.
const MAX_MEMBERS: usize = 100_000;
/// Bytes that their paths take together.
const MAX_PATHS: usize = 16 << 20;
/// Bytes of a file whose hash is made; plans are small.
const MAX_HASHED: u64 = 1 << 30;

/// What is kept of a file while it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Whole,
    Item,
    JsonRows,
    ParquetRows,
    Object,
    /// A file of a bundle, or one that neither has.
    Plain,
}

/// The file that is going by.
#[derive(Debug)]
struct Current {
    path: Box<[u8]>,
    size: u64,
    role: Role,
    kept: Vec<u8>,
    /// It was longer than what is kept of one.
    too_long: bool,
    hash: Option<Sha256>,
}

/// Looks at members as they go by. Each path is given once, checked as [`crate::archives::Member::path`] is.
#[derive(Debug)]
pub struct Observer {
    wanted: Wanted,
    members: Members,
    /// The first name of the first path that has several: whatever folder stands around all.
    root: Option<Box<[u8]>>,
    current: Option<Current>,
    count: usize,
    paths: usize,
    /// It is none of these, whatever comes.
    given_up: bool,
}

impl Observer {
    /// An observer that has seen nothing yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            members: Members::default(),
            root: None,
            current: None,
            count: 0,
            paths: 0,
            given_up: wanted == Wanted::None,
        }
    }

    /// True if it has lost interest: what is given to it makes no difference.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.given_up
    }

    /// A folder.
    pub fn folder(&mut self, path: &[u8]) {
        if self.counts(path) {
            self.members.folders.push(path.into());
        }
    }

    /// What is neither folder nor file: `a symlink`, `a pipe` …
    pub fn other(&mut self, path: &[u8], what: &'static str) {
        if self.counts(path) {
            self.members.others.push((path.into(), what));
        }
    }

    /// A file begins; its content follows.
    pub fn file(&mut self, path: &[u8], size: u64) {
        if self.counts(path) {
            let role = self.role(path);
            let hash = (size <= MAX_HASHED && path.split(|b| *b == b'/').count() <= 4).then(Sha256::default);
            self.current = Some(Current { path: path.into(), size, role, kept: Vec::new(), too_long: false, hash });
        }
    }

    /// The next bytes of the file.
    pub fn data(&mut self, bytes: &[u8]) {
        let Some(current) = &mut self.current else { return };
        if let Some(hash) = &mut current.hash {
            hash.update(bytes);
        }
        if current.role != Role::Plain && !current.too_long {
            if current.kept.len() + bytes.len() > MAX_BYTES {
                (current.too_long, current.kept) = (true, Vec::new());
            } else {
                current.kept.extend_from_slice(bytes);
            }
        }
    }

    /// So many zeros of the file.
    pub fn zeros(&mut self, len: u64) {
        for piece in zeros(len) {
            let takes = |c: &Current| c.hash.is_some() || (c.role != Role::Plain && !c.too_long);
            if !self.current.as_ref().is_some_and(takes) {
                return;
            }
            self.data(piece);
        }
    }

    /// The file ends.
    pub fn end_file(&mut self) {
        let Some(current) = self.current.take() else { return };
        let held = current.hold();
        let sha256 = current.hash.map(Sha256::hex);
        self.members.files.insert(current.path, File { size: current.size, sha256, held });
    }

    /// Judges what went by. Nothing, if it is neither layout.
    ///
    /// # Errors
    /// If it is not the one that was asked for, or one that cannot be read.
    pub fn finish(self) -> Result<Option<Seen>, LayoutError> {
        let Self { wanted, members, root, given_up, .. } = self;
        let roots = [Box::default(), root.map(|name| [&name, &b"/"[..]].concat().into()).unwrap_or_default()];
        let find = |is_one: &dyn Fn(&[u8]) -> bool| roots.iter().find(|root| is_one(root));
        let layouts = match wanted {
            Wanted::None => return Ok(None),
            _ if given_up => &[][..],
            Wanted::Any => &[Layout::Investigation, Layout::Bundle],
            Wanted::Only(Layout::Investigation) => &[Layout::Investigation],
            Wanted::Only(Layout::Bundle) => &[Layout::Bundle],
        };
        let mut seen = None;
        for layout in layouts {
            if seen.is_some() {
                break;
            }
            seen = match layout {
                Layout::Investigation => {
                    let asked_for =
                        |root: &[u8]| wanted != Wanted::Any && members.file(root, investigation::METADATA).is_some();
                    let root = find(&|root| investigation::is_one(&members, root)).or_else(|| find(&asked_for));
                    root.map(|root| investigation::judge(&members, root)).transpose()?
                }
                Layout::Bundle => {
                    let root = find(&|root| bundle::is_one(&members, root));
                    root.map(|root| bundle::judge(&members, root)).transpose()?
                }
            };
        }
        match (seen, wanted) {
            (None, Wanted::Only(layout)) => {
                let why = match layout {
                    _ if given_up => "it has more members than one has",
                    Layout::Investigation => "it has no metadata.json",
                    Layout::Bundle => "it has no manifest.json with a bundle_format_version",
                };
                Err(LayoutError::Other { layout, why })
            }
            (seen, _) => Ok(seen),
        }
    }

    /// The same, for whoever takes nothing in which something is wrong.
    ///
    /// # Errors
    /// If anything is.
    pub fn judge(self) -> Result<Option<Seen>, Misfit> {
        match self.finish()? {
            Some(seen) if !seen.faults.is_empty() => Err(Misfit::Faults(seen.faults)),
            seen => Ok(seen),
        }
    }

    /// Notes a path. False if nothing is looked at any more.
    fn counts(&mut self, path: &[u8]) -> bool {
        self.current = None;
        if self.given_up || path.is_empty() {
            return false;
        }
        self.count += 1;
        self.paths += path.len();
        if self.count > MAX_MEMBERS || self.paths > MAX_PATHS {
            (self.given_up, self.members) = (true, Members::default());
            return false;
        }
        if let (None, Some(end)) = (&self.root, path.iter().position(|b| *b == b'/')) {
            self.root = Some(path[..end].into());
        }
        true
    }

    /// What is kept of a file, by where it stands: at the top, or in the one folder that stands around all.
    fn role(&self, path: &[u8]) -> Role {
        let inner = self.root.as_ref().and_then(|root| path.strip_prefix(&**root)?.strip_prefix(b"/"));
        [Some(path), inner].into_iter().flatten().map(role).find(|role| *role != Role::Plain).unwrap_or(Role::Plain)
    }
}

fn role(path: &[u8]) -> Role {
    let Ok(path) = std::str::from_utf8(path) else { return Role::Plain };
    match path {
        "metadata.json" | "manifest.json" | "checksums.sha256" => Role::Whole,
        "lineage.json" | "code_changes.json" => Role::Object,
        _ => match path.strip_prefix("evidence/") {
            None => Role::Plain,
            Some(name) => match numbered(name) {
                Some((_, "results.json")) => Role::JsonRows,
                Some((_, "results.parquet")) => Role::ParquetRows,
                _ if is_item(name) => Role::Item,
                _ => Role::Plain,
            },
        },
    }
}

impl Current {
    fn hold(&self) -> Held {
        let parsed = || json::parse(&self.kept).map_err(|e| e.to_string());
        match self.role {
            Role::Plain => Held::Nothing,
            Role::Whole if self.too_long => Held::Nothing,
            Role::Whole => Held::Whole(self.kept.clone()),
            Role::Item if self.too_long => Held::Item(too_long()),
            Role::Item => Held::Item(Item::read(&self.kept).map(Box::new)),
            Role::JsonRows | Role::ParquetRows if self.too_long => Held::Rows(too_long()),
            Role::JsonRows => Held::Rows(
                parsed().and_then(|json| Rows::of(&json).map(Some).ok_or_else(|| "it is no list of rows".to_owned())),
            ),
            Role::ParquetRows => Held::Rows(parquet::rows(&self.kept)),
            Role::Object if self.too_long => Held::Object(too_long()),
            Role::Object => Held::Object(parsed().and_then(|json| match json {
                Json::Object(_) => Ok(()),
                _ => Err("it is no JSON object".to_owned()),
            })),
        }
    }
}

fn too_long<T>() -> Result<T, String> {
    Err("it is longer than the 32 MiB that are read".to_owned())
}
