//! Looking into a snapshot: listing a folder, giving out a file.

use std::io::Write;

use crate::codec::zeros;
use crate::model::{Body, Entry, Failure, Kind, Progress};
use crate::store::StoreError;
use crate::tree::{Flow, Node, Pages, Part, Step, Stretch, Visit, Walk, in_order};

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no file.
    #[error("{0} is not a file")]
    NotAFile(String),
    /// The store.
    #[error("{path}: {source}")]
    Store {
        /// Which entry.
        path: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// It could not be written where it should go.
    #[error("cannot write: {0}")]
    Write(#[source] std::io::Error),
    /// The user stopped it.
    #[error("stopped; nothing was changed")]
    Interrupted,
}

impl Failure for ReadError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAFile(_) => Kind::Usage,
            Self::Store { source, .. } => source.kind(),
            Self::Write(_) => Kind::Failed,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Store { source, .. } = self { source.hint() } else { None }
    }
}

/// A stream of the entries of a folder, or of all below it. Memory: a few pages a level.
#[derive(Debug)]
pub struct Lister {
    walk: Walk,
    path: Vec<u8>,
    /// Where each folder's path ends in `path`.
    ends: Vec<usize>,
    recursive: bool,
}

/// Lists a folder; with `recursive`, all below it, in preorder.
///
/// # Errors
/// If it is no folder or its list cannot be read.
pub fn list(pages: &Pages, folder: &Entry, recursive: bool) -> Result<Lister, StoreError> {
    let tree = folder.folder().ok_or_else(|| StoreError::Refused("only a folder can be listed".to_owned()))?;
    Ok(Lister { walk: pages.walk(tree, 0)?, path: Vec::new(), ends: Vec::new(), recursive })
}

impl Lister {
    /// The next entry and its path from the folder.
    ///
    /// # Errors
    /// If a page cannot be loaded. One may go on behind it: the folder that could not be loaded is left.
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Entry)>, StoreError> {
        loop {
            match self.walk.next() {
                Ok(Some(Step::Enter(found))) => {
                    let mut path = self.path.clone();
                    path.extend_from_slice(found.entry.name.as_bytes());
                    if found.entry.folder().is_some() {
                        if self.recursive {
                            self.ends.push(self.path.len());
                            self.path.clone_from(&path);
                            self.path.push(b'/');
                        } else {
                            self.walk.skip();
                        }
                    }
                    return Ok(Some((path, found.entry)));
                }
                Ok(Some(Step::Leave)) => self.leave(),
                Ok(None) => return Ok(None),
                Err(e) => {
                    self.leave();
                    return Err(e);
                }
            }
        }
    }

    fn leave(&mut self) {
        let end = self.ends.pop().unwrap_or(0);
        self.path.truncate(end);
    }
}

/// Some of a file, decoded.
enum Own {
    Data(Vec<u8>),
    Hole(u64),
}

/// Writes a file's content to `out`, holes as zeros. Every chunk is checked before it is written.
///
/// # Errors
/// If it is no file, is damaged, or cannot be written.
pub fn cat(
    pages: &Pages,
    entry: &Entry,
    path: &str,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), ReadError> {
    if !matches!(entry.body, Body::File(_)) {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    let fail = |source| ReadError::Store { path: path.to_owned(), source };
    let mut flow = Flow::new(pages, vec![(path.as_bytes().into(), entry.clone())]);
    in_order(
        || flow.next(),
        |visit| match visit {
            Visit::Enter { part: Some(part), .. } | Visit::Part(_, part) => load(pages, part),
            Visit::Odd(_, e) => Err(e),
            _ => Ok(Vec::new()),
        },
        |stretches: Result<Vec<Own>, StoreError>| {
            for stretch in stretches.map_err(fail)? {
                match stretch {
                    Own::Data(bytes) => out.write_all(&bytes).map_err(ReadError::Write)?,
                    Own::Hole(len) => {
                        zeros(len).try_for_each(|piece| out.write_all(piece)).map_err(ReadError::Write)?;
                    }
                }
            }
            if progress.cancelled() { Err(ReadError::Interrupted) } else { Ok(()) }
        },
    )?;
    out.flush().map_err(ReadError::Write)
}

/// Reads all that stands below an entry, attributes too, and gives nothing of it out: what is damaged is found.
///
/// # Errors
/// The first thing that cannot be read.
pub fn check(pages: &Pages, entry: &Entry, progress: &dyn Progress) -> Result<(), ReadError> {
    let mut flow = Flow::new(pages, vec![(Box::default(), entry.clone())]);
    in_order(
        || Some(flow.batch()).filter(|batch| !batch.is_empty()),
        |batch| batch.into_iter().try_for_each(|visit| check_one(pages, visit, progress)),
        |checked: Result<(), ReadError>| if progress.cancelled() { Err(ReadError::Interrupted) } else { checked },
    )
}

fn check_one(pages: &Pages, visit: Visit, progress: &dyn Progress) -> Result<(), ReadError> {
    let fail = |node: &Node, source| ReadError::Store { path: node.display(), source };
    let read = |node: &Node, mut part: Part| {
        progress.advance(u64::from(part.last), part.bytes());
        pages.read_part::<StoreError>(&mut part, |_| Ok(())).map_err(|e| fail(node, e))
    };
    match visit {
        Visit::Enter { node, part, .. } => {
            pages.xattrs(&node.entry).map_err(|e| fail(&node, e))?;
            part.map_or(Ok(()), |part| read(&node, part))
        }
        Visit::Part(node, part) => read(&node, part),
        Visit::Leave(_) => Ok(()),
        Visit::Odd(node, e) | Visit::Lost(node, e) => Err(fail(&node, e)),
    }
}

fn load(pages: &Pages, mut part: Part) -> Result<Vec<Own>, StoreError> {
    let mut stretches = Vec::new();
    pages.read_part::<StoreError>(&mut part, |stretch| {
        stretches.push(match stretch {
            Stretch::Data(bytes) => Own::Data(bytes.to_vec()),
            Stretch::Hole(len) => Own::Hole(len),
        });
        Ok(())
    })?;
    Ok(stretches)
}
