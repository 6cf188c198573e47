//! Folders: looking up, listing from anywhere, numbering, walking.

use crate::model::{Entry, Name, TreeRef};
use crate::store::StoreError;

use super::pages::{Items, Pages, let_go};

/// An entry with its preorder number in the snapshot.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The entry.
    pub entry: Entry,
    /// Its number (section 12.3).
    pub number: u64,
    /// Its position among its siblings, from 0.
    pub position: u64,
}

/// A stream of the entries of a folder, numbered.
#[derive(Debug)]
pub struct Listing {
    items: Items<Entry>,
    number: u64,
    position: u64,
}

impl Listing {
    /// The next entry.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn next(&mut self) -> Result<Option<Numbered>, StoreError> {
        let Some(entry) = self.items.next()? else { return Ok(None) };
        let (number, position) = (self.number, self.position);
        self.number += entry.span();
        self.position += 1;
        Ok(Some(Numbered { entry, number, position }))
    }
}

impl Pages {
    /// Lists a folder whose number is `number`, from the entry at `position` on.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn list(&self, folder: &TreeRef, number: u64, position: u64) -> Result<Listing, StoreError> {
        let mut items = self.items::<Entry>(&folder.page, &folder.counts)?;
        let (mut at, mut passed) = (number + 1, 0);
        items.seek(|_, counts| {
            let before = passed + counts.entries <= position;
            if before {
                at += counts.total;
                passed += counts.entries;
            }
            before
        })?;
        Ok(Listing { items, number: at, position: passed })
    }

    /// Looks a name up in a folder whose number is `number`.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn lookup(&self, folder: &TreeRef, number: u64, name: &[u8]) -> Result<Option<Numbered>, StoreError> {
        let mut items = self.items::<Entry>(&folder.page, &folder.counts)?;
        let (mut at, mut passed) = (number + 1, 0);
        items.seek(|last: &Name, counts| {
            let before = last.as_bytes() < name;
            if before {
                at += counts.total;
                passed += counts.entries;
            }
            before
        })?;
        let found = items.next()?.filter(|entry| entry.name.as_bytes() == name);
        Ok(found.map(|entry| Numbered { entry, number: at, position: passed }))
    }

    /// The entry with a preorder number below a folder, and the number of the folder it is in.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn by_number(&self, root: &TreeRef, wanted: u64) -> Result<Option<(Numbered, u64)>, StoreError> {
        let (mut folder, mut number) = (*root, 0);
        loop {
            if wanted <= number || wanted - number > folder.counts.total {
                return Ok(None);
            }
            let mut items = self.items::<Entry>(&folder.page, &folder.counts)?;
            let (mut at, mut passed) = (number + 1, 0);
            items.seek(|_, counts| {
                let before = at + counts.total <= wanted;
                if before {
                    at += counts.total;
                    passed += counts.entries;
                }
                before
            })?;
            let Some(entry) = items.next()? else { return Ok(None) };
            if at == wanted {
                return Ok(Some((Numbered { entry, number: at, position: passed }, number)));
            }
            match entry.folder() {
                Some(below) => (folder, number) = (*below, at),
                None => return Ok(None),
            }
        }
    }

    /// Follows a path of names from a root. Symlinks are not followed.
    ///
    /// # Errors
    /// If a page cannot be loaded.
    pub fn resolve(&self, root: &Entry, path: &[u8]) -> Result<Option<Numbered>, StoreError> {
        let mut here = Numbered { entry: root.clone(), number: 0, position: 0 };
        for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".") {
            let Some(folder) = here.entry.folder() else { return Ok(None) };
            match self.lookup(folder, here.number, name)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Walks a folder in preorder. The folder itself is not a step.
    ///
    /// # Errors
    /// If its root page cannot be loaded.
    pub fn walk(&self, folder: &TreeRef, number: u64) -> Result<Walk, StoreError> {
        Ok(Walk { pages: self.clone(), stack: vec![self.list(folder, number, 0)?], descend: None })
    }
}

/// A step of a walk.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one step lives at a time, on the stack")]
pub enum Step {
    /// An entry; if it is a folder, its entries follow and then [`Step::Leave`].
    Enter(Numbered),
    /// The folder entered last is done.
    Leave,
}

/// Walks a tree in preorder. Memory: a few pages a level of depth.
#[derive(Debug)]
pub struct Walk {
    pages: Pages,
    stack: Vec<Listing>,
    descend: Option<(TreeRef, u64)>,
}

impl Walk {
    /// The next step.
    ///
    /// # Errors
    /// If a page cannot be loaded. The walk may go on behind it: the folder that could not be loaded is left.
    pub fn next(&mut self) -> Result<Option<Step>, StoreError> {
        if let Some((folder, number)) = self.descend.take() {
            match self.pages.list(&folder, number, 0) {
                Ok(listing) => {
                    let_go(&mut self.stack, |above| above.items.sleep());
                    self.stack.push(listing);
                }
                Err(e) => {
                    return Err(e);
                }
            }
        }
        let Some(top) = self.stack.last_mut() else { return Ok(None) };
        match top.next() {
            Ok(Some(found)) => {
                self.descend = found.entry.folder().map(|tree| (*tree, found.number));
                Ok(Some(Step::Enter(found)))
            }
            Ok(None) => {
                self.stack.pop();
                Ok(if self.stack.is_empty() { None } else { Some(Step::Leave) })
            }
            Err(e) => {
                self.stack.pop();
                Err(e)
            }
        }
    }

    /// Leaves out what is below the folder that was entered last; its [`Step::Leave`] is left out too.
    pub fn skip(&mut self) {
        self.descend = None;
    }
}

#[cfg(test)]
impl Walk {
    /// How many folders have pages in memory.
    pub(super) fn awake(&self) -> usize {
        self.stack.iter().filter(|listing| listing.items.is_awake()).count()
    }
}

/// Makes a path one name longer.
pub fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// A path one name longer.
#[must_use]
pub fn join(path: &[u8], name: &[u8]) -> Box<[u8]> {
    if path.is_empty() { name.into() } else { [path, b"/", name].concat().into() }
}
