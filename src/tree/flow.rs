//! A tree in preorder, ready to be worked on by several threads: paths, hard links, content in parts of bounded size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Bits, Entry, LinkGroup};
use crate::store::StoreError;

use super::content::{ContentPiece, ContentPieces, content_pieces};
use super::folder::{Step, Walk, join};
use super::links::{Holding, Links, odd_name};
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
    /// An entry that is damaged: it says that it is a further name of something, and holds something else.
    Odd(Arc<Node>, StoreError),
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
            Self::Odd(node, _) => ENTRY_WEIGHT + node.path.len() as u64,
            Self::Leave(node) | Self::Lost(node, _) => FOLDER_WEIGHT + node.path.len() as u64,
        }
    }
}

/// Where the first names of hard-link groups are known from.
#[derive(Debug)]
enum Firsts {
    /// They were met, and are held.
    Met(HashMap<LinkGroup, Arc<Node>>),
    /// The snapshot's map has them. Held are the paths of those that are met first because the first of all is in none of the starts.
    Mapped { links: Links, starts: Vec<(Box<[u8]>, Entry)>, met: HashMap<LinkGroup, (Box<[u8]>, Holding)> },
}

impl Firsts {
    /// The first name of what has a further one here.
    ///
    /// # Errors
    /// If that is no name of the same.
    fn of(&mut self, pages: &Pages, group: LinkGroup, node: &Arc<Node>) -> Result<Option<Arc<Node>>, StoreError> {
        let (links, starts, met) = match self {
            Self::Met(met) => {
                let first = met.entry(group).or_insert_with(|| node.clone());
                if Arc::ptr_eq(first, node) {
                    return Ok(None);
                }
                let is_same = Holding::of(&first.entry) == Holding::of(&node.entry);
                return is_same.then(|| Some(first.clone())).ok_or_else(|| odd_name(group));
            }
            Self::Mapped { links, starts, met } => (links, starts, met),
        };
        let own = Holding::of(&node.entry);
        let named = |path: &[u8], holding: Holding| {
            if holding != own {
                return Err(odd_name(group));
            }
            Ok((*path != *node.path).then(|| Arc::new(Node { path: path.into(), entry: node.entry.clone() })))
        };
        // A map that cannot be read is somebody else's to tell.
        let first = links.group(group).ok().map(|(_, first)| first);
        let start = first.as_ref().and_then(|first| starts.iter().find(|(start, _)| covers(start, first)));
        match (first, start) {
            (Some(first), _) if *first == *node.path => Ok(None),
            (Some(first), Some((path, start))) => {
                let found = pages.resolve(start, &first[path.len()..])?.map(|found| found.entry);
                let found = found.filter(|found| found.link == Some(group) && comes_before(&first, &node.path));
                named(&first, Holding::of(&found.ok_or_else(|| odd_name(group))?))
            }
            _ => {
                let (path, holding) = met.entry(group).or_insert_with(|| (node.path.clone(), own));
                named(path, *holding)
            }
        }
    }
}

/// True if a path comes before another in preorder.
#[must_use]
pub fn comes_before(a: &[u8], b: &[u8]) -> bool {
    a.split(|byte| *byte == b'/').lt(b.split(|byte| *byte == b'/'))
}

/// True if a path is another or in it.
#[must_use]
pub fn covers(above: &[u8], path: &[u8]) -> bool {
    above.is_empty() || path.strip_prefix(above).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// A folder that the walk is in.
#[derive(Debug)]
struct Open {
    entry: Entry,
    /// How long the path is of the one above.
    above: usize,
}

/// Visits trees in preorder, their starts included. Memory: a few pages a level, and the first name of each hard-link group, unless the snapshot's map tells it.
#[derive(Debug)]
pub struct Flow {
    pages: Pages,
    starts: std::vec::IntoIter<(Box<[u8]>, Entry)>,
    walk: Option<Walk>,
    open: Vec<Open>,
    /// The path of the innermost folder: those of the folders it is in begin it.
    path: Vec<u8>,
    firsts: Firsts,
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
            path: Vec::new(),
            firsts: Firsts::Met(HashMap::new()),
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

    /// Takes first names from the snapshot's map of hard links: of what [`Visit::Enter`] then gives as the first name the path alone is that one's. To be called before
    /// the first visit, of starts that are paths from the snapshot's root.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        let starts = self.starts.as_slice().to_vec();
        self.firsts = Firsts::Mapped { links, starts, met: HashMap::new() };
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
        self.leave();
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
                return self.leave().map(|node| Visit::Lost(node, error));
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
                    let path = join(&self.path, found.entry.name.as_bytes());
                    return Some(self.enter(Node { path, entry: found.entry }));
                }
                Ok(Some(Step::Leave)) => return self.leave().map(Visit::Leave),
                Ok(None) => {
                    self.walk = None;
                    if let Some(node) = self.leave() {
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

    /// Leaves the innermost folder.
    fn leave(&mut self) -> Option<Arc<Node>> {
        let Open { entry, above } = self.open.pop()?;
        let path = self.path.as_slice().into();
        self.path.truncate(above);
        Some(Arc::new(Node { path, entry }))
    }

    fn enter(&mut self, node: Node) -> Visit {
        let node = Arc::new(node);
        if node.entry.folder().is_some() {
            let above = if self.open.is_empty() { 0 } else { self.path.len() };
            self.open.push(Open { entry: node.entry.clone(), above });
            self.path.clear();
            self.path.extend_from_slice(&node.path);
            return Visit::Enter { node, part: None, first: None };
        }
        let first = node.entry.link.map_or(Ok(None), |group| self.firsts.of(&self.pages, group, &node));
        match first {
            Ok(None) => {}
            Ok(first) => return Visit::Enter { first, node, part: None },
            Err(e) => return Visit::Odd(node, e),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, FileBody, LinkItem, LinksRef, LongValue, Name, TreeRef};
    use crate::store::Waiting;
    use crate::tree::samples::{entry, new_store};
    use crate::tree::{MapBuilder, PageWriter};

    fn folder(pages: &mut PageWriter, name: &[u8], inside: Vec<Entry>) -> Entry {
        let mut map = MapBuilder::default();
        inside.into_iter().for_each(|item| map.push(pages, item).unwrap());
        let (page, counts) = map.finish(pages).unwrap();
        entry(name, Body::Folder(TreeRef { page, counts }))
    }

    /// The paths of a walk, each with that of its first name, if it is a further one.
    fn firsts(mut flow: Flow) -> (Vec<(String, Option<String>)>, Flow) {
        let (mut found, text) = (Vec::new(), |path: &[u8]| String::from_utf8_lossy(path).into_owned());
        while let Some(visit) = flow.next() {
            if let Visit::Enter { node, first, .. } = visit {
                found.push((text(&node.path), first.map(|first| text(&first.path))));
            }
        }
        (found, flow)
    }

    #[test]
    fn first_names_are_the_same_from_the_map_and_few_of_them_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let writer = store.writer(Waiting::Wait, &|| true).unwrap();
        let mut pages = PageWriter::new(&writer);
        let group = |n: u8| LinkGroup::from_bytes([n; 16]);
        let name =
            |name: &str, n: u8| Entry { link: Some(group(n)), ..entry(name.as_bytes(), Body::File(FileBody::empty())) };
        let inner = folder(&mut pages, b"c", vec![name("v", 2), name("z", 1)]);
        let b = folder(&mut pages, b"b", vec![inner, name("w", 3), name("x", 2), name("y", 1)]);
        let a = folder(&mut pages, b"a", vec![name("w", 3), name("x", 1)]);
        let root = folder(&mut pages, b"", vec![a, b.clone()]);
        let mut map = MapBuilder::default();
        for (n, names, first) in [(1, 3, "a/x"), (2, 2, "b/c/v"), (3, 2, "a/w")] {
            let first = LongValue::Inline(first.as_bytes().to_vec());
            map.push(&mut pages, LinkItem { group: group(n), names, first }).unwrap();
        }
        let (page, counts) = map.finish(&mut pages).unwrap();
        pages.flush().unwrap();
        drop(pages);
        drop(writer);
        store.refresh().unwrap();
        let pages = Pages::new(&store, 1 << 20);
        let b = Entry { name: Name::new(b"b").unwrap(), ..b };
        for (start, held) in [((Box::default(), root), 0), ((b"b".as_slice().into(), b), 2)] {
            let links = Links::new(&pages, Some(LinksRef { page, counts }));
            let met = firsts(Flow::new(&pages, vec![start.clone()])).0;
            let (mapped, flow) = firsts(Flow::new(&pages, vec![start.clone()]).with_links(links));
            assert_eq!(mapped, met);
            assert!(met.iter().filter(|(_, first)| first.is_some()).count() >= 2);
            let Firsts::Mapped { met, .. } = flow.firsts else { unreachable!() };
            assert_eq!(met.len(), held);
            // Without a map nothing is lost but memory.
            assert_eq!(firsts(Flow::new(&pages, vec![start]).with_links(Links::new(&pages, None))).0, mapped);
        }
    }
}
