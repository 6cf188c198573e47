//! A tree in preorder, ready to be worked on by several threads: paths, hard links, content in parts of bounded size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Bits, Entry, LinkGroup};
use crate::store::StoreError;

use super::content::{ContentPiece, ContentPieces, content_pieces};
use super::folder::{Step, Walk, join};
use super::pages::Pages;

/// Bytes of content that a part holds at most, and that a batch holds before it ends.
const PART_BYTES: u64 = 4 << 20;
/// Pieces of a part at most: a file can have many tiny holes.
const PART_PIECES: usize = 4096;
/// What an entry counts for in a batch beside its content.
const ENTRY_WEIGHT: u64 = 1 << 10;
/// The same for a folder, so that a batch holds few of them: whoever restores keeps each one open.
const FOLDER_WEIGHT: u64 = 64 << 10;

/// An entry and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Names from the start, joined by `/`; empty for a start that is a root.
    pub path: Box<[u8]>,
    /// The entry.
    pub entry: Entry,
}

impl Node {
    /// Its path as messages show it.
    #[must_use]
    pub fn display(&self) -> String {
        if self.path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(&self.path).into_owned() }
    }
}

/// A part of a file's content. Parts come in order and cover it.
#[derive(Debug)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// Its pieces.
    pub pieces: Vec<ContentPiece>,
    /// True if it is the file's last.
    pub last: bool,
    /// Why the content cannot be told further; then this is the last part.
    pub broken: Option<StoreError>,
}

impl Part {
    /// How long it is, holes counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(ContentPiece::len).sum()
    }

    fn weight(&self) -> u64 {
        let data = self.pieces.iter().filter(|p| matches!(p, ContentPiece::Data { .. }));
        data.map(ContentPiece::len).sum()
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Visit {
    /// An entry. Of a folder, what is in it follows. Of a file, its first part comes along.
    Enter {
        /// Which one.
        node: Arc<Node>,
        /// The first part of a file, unless `first` says that the content came before.
        part: Option<Part>,
        /// Another name of the same file that was entered before.
        first: Option<Arc<Node>>,
    },
    /// The next part of the file entered last.
    Part(Arc<Node>, Part),
    /// The folder is done.
    Leave(Arc<Node>),
    /// The folder is done because what else is in it cannot be loaded.
    Lost(Arc<Node>, StoreError),
}

impl Visit {
    fn weight(&self) -> u64 {
        match self {
            Self::Enter { node, part, .. } => {
                let own = if node.entry.folder().is_some() { FOLDER_WEIGHT } else { ENTRY_WEIGHT };
                own + node.path.len() as u64 + part.as_ref().map_or(0, Part::weight)
            }
            Self::Part(_, part) => ENTRY_WEIGHT + part.weight(),
            Self::Leave(_) | Self::Lost(..) => FOLDER_WEIGHT,
        }
    }
}

/// Visits trees in preorder, their starts included. Memory: a few pages a level, and the first path of each hard-link group.
#[derive(Debug)]
pub struct Flow {
    pages: Pages,
    starts: std::vec::IntoIter<(Box<[u8]>, Entry)>,
    walk: Option<Walk>,
    open: Vec<Arc<Node>>,
    first: HashMap<LinkGroup, Arc<Node>>,
    file: Option<(Arc<Node>, ContentPieces, u64)>,
    lost: Option<StoreError>,
    views: bool,
    content: bool,
}

impl Flow {
    /// Visits what stands at each of these paths. Views are left out.
    #[must_use]
    pub fn new(pages: &Pages, starts: Vec<(Box<[u8]>, Entry)>) -> Self {
        Self {
            pages: pages.clone(),
            starts: starts.into_iter(),
            walk: None,
            open: Vec::new(),
            first: HashMap::new(),
            file: None,
            lost: None,
            views: false,
            content: true,
        }
    }

    /// Visits views too.
    #[must_use]
    pub fn with_views(mut self) -> Self {
        self.views = true;
        self
    }

    /// Tells of entries alone: no file has a part.
    #[must_use]
    pub fn without_content(mut self) -> Self {
        self.content = false;
        self
    }

    /// The next visits, as many as are worth giving to a thread; none at the end.
    pub fn batch(&mut self) -> Vec<Visit> {
        self.chosen(|_| true)
    }

    /// The same of those visits that are wanted. A folder whose [`Visit::Enter`] is not is left out with all below it,
    /// which costs no look at it, and has no [`Visit::Leave`].
    pub fn chosen(&mut self, mut wanted: impl FnMut(&Visit) -> bool) -> Vec<Visit> {
        let (mut batch, mut weight) = (Vec::new(), 0);
        while weight < PART_BYTES || batch.is_empty() {
            let Some(visit) = self.next() else { break };
            if wanted(&visit) {
                weight += visit.weight();
                batch.push(visit);
                continue;
            }
            weight += ENTRY_WEIGHT;
            if matches!(&visit, Visit::Enter { node, .. } if node.entry.folder().is_some()) {
                self.skip();
            }
        }
        batch
    }

    /// Leaves out what is below the folder entered last, its [`Visit::Leave`] too.
    pub fn skip(&mut self) {
        self.open.pop();
        match &mut self.walk {
            Some(walk) if !self.open.is_empty() => walk.skip(),
            _ => (self.walk, self.lost) = (None, None),
        }
    }

    /// The next visit.
    pub fn next(&mut self) -> Option<Visit> {
        if let Some((node, pieces, offset)) = self.file.take() {
            let part = self.cut(&node, pieces, offset);
            return Some(Visit::Part(node, part));
        }
        loop {
            if let Some(error) = self.lost.take() {
                return self.open.pop().map(|node| Visit::Lost(node, error));
            }
            let Some(walk) = &mut self.walk else {
                let (path, entry) = self.starts.next()?;
                if let Some(folder) = entry.folder() {
                    match self.pages.walk(folder, 0) {
                        Ok(walk) => self.walk = Some(walk),
                        Err(e) => self.lost = Some(e),
                    }
                }
                return Some(self.enter(Node { path, entry }));
            };
            match walk.next() {
                Ok(Some(Step::Enter(found))) => {
                    if !self.views && found.entry.bits.has(Bits::VIEW) && found.entry.folder().is_some() {
                        walk.skip();
                        continue;
                    }
                    let path = join(self.open.last().map_or(&[], |n| &n.path), found.entry.name.as_bytes());
                    return Some(self.enter(Node { path, entry: found.entry }));
                }
                Ok(Some(Step::Leave)) => return self.open.pop().map(Visit::Leave),
                Ok(None) => {
                    self.walk = None;
                    if let Some(node) = self.open.pop() {
                        return Some(Visit::Leave(node));
                    }
                }
                // The walk has left the innermost folder.
                Err(e) => {
                    self.lost = Some(e);
                    if self.open.len() == 1 {
                        self.walk = None;
                    }
                }
            }
        }
    }

    fn enter(&mut self, node: Node) -> Visit {
        let node = Arc::new(node);
        if node.entry.folder().is_some() {
            self.open.push(node.clone());
            return Visit::Enter { node, part: None, first: None };
        }
        if let Some(group) = node.entry.link {
            let first = self.first.entry(group).or_insert_with(|| node.clone());
            if !Arc::ptr_eq(first, &node) {
                return Visit::Enter { first: Some(first.clone()), node, part: None };
            }
        }
        let part = node.entry.file().filter(|_| self.content).map(|file| match content_pieces(&self.pages, file) {
            Ok(pieces) => self.cut(&node, pieces, 0),
            Err(e) => Part { offset: 0, pieces: Vec::new(), last: true, broken: Some(e) },
        });
        Visit::Enter { node, part, first: None }
    }

    fn cut(&mut self, node: &Arc<Node>, mut content: ContentPieces, offset: u64) -> Part {
        let mut part = Part { offset, pieces: Vec::new(), last: false, broken: None };
        let (mut data, mut len) = (0, 0);
        while data < PART_BYTES && part.pieces.len() < PART_PIECES {
            match content.next() {
                Ok(Some(piece)) => {
                    len += piece.len();
                    data += if matches!(piece, ContentPiece::Data { .. }) { piece.len() } else { 0 };
                    part.pieces.push(piece);
                }
                Ok(None) => {
                    part.last = true;
                    return part;
                }
                Err(e) => {
                    (part.last, part.broken) = (true, Some(e));
                    return part;
                }
            }
        }
        if offset + len >= node.entry.size() {
            part.last = true;
        } else {
            self.file = Some((node.clone(), content, offset + len));
        }
        part
    }
}
