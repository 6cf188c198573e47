//! Changing a tree of folders by paths, in order: folders without changes are not looked into.

use crate::model::{Body, Entry, Name, TreeRef};
use crate::store::StoreError;

use super::build::PageWriter;
use super::edit::MapEditor;
use super::pages::Pages;

/// Puts entries into a tree. Paths come in order of their names, component by component. Memory: two pages a level of each open folder.
#[derive(Debug)]
pub struct FolderEditor<'a> {
    pages: &'a Pages,
    open: Vec<Open>,
    /// Files that are new, folders that are new, and by how much the bytes of all files grew.
    grown: (u64, u64, i128),
}

#[derive(Debug)]
struct Open {
    entry: Entry,
    editor: MapEditor<Entry>,
}

impl Open {
    fn new(pages: &Pages, entry: Entry, is_old: bool) -> Result<Self, StoreError> {
        let old = entry.folder().filter(|_| is_old).map(|tree| (tree.page, tree.counts));
        Ok(Self { editor: MapEditor::new(pages, old)?, entry })
    }
}

impl<'a> FolderEditor<'a> {
    /// Begins with a root; `is_old` if its tree is in the store, else it is empty.
    ///
    /// # Errors
    /// If its first page cannot be loaded.
    pub fn new(pages: &'a Pages, root: Entry, is_old: bool) -> Result<Self, StoreError> {
        Ok(Self { pages, open: vec![Open::new(pages, root, is_old)?], grown: (0, 0, 0) })
    }

    /// Opens the folders on the way. `make` gives the entry of one that is missing, by its depth and name; it, and those that were there,
    /// get the body that they come to have.
    fn go(
        &mut self,
        out: &mut PageWriter,
        folders: &[Name],
        make: &dyn Fn(usize, &Name) -> Entry,
    ) -> Result<(), StoreError> {
        let same = self.open.iter().skip(1).zip(folders).take_while(|(open, name)| open.entry.name == **name).count();
        while self.open.len() > same + 1 {
            self.close(out)?;
        }
        for (depth, name) in folders.iter().enumerate().skip(same) {
            let Some(top) = self.open.last_mut() else { break };
            let old = top.editor.get(out, name)?.filter(|entry| entry.folder().is_some());
            let is_old = old.is_some();
            self.grown.1 += u64::from(!is_old);
            let mut entry = old.unwrap_or_else(|| make(depth, name));
            entry.mtime = make(depth, name).mtime;
            self.open.push(Open::new(self.pages, entry, is_old)?);
        }
        Ok(())
    }

    fn close(&mut self, out: &mut PageWriter) -> Result<Entry, StoreError> {
        let nothing = || StoreError::Refused("a tree without a root".to_owned());
        let Open { mut entry, editor } = self.open.pop().ok_or_else(nothing)?;
        let (page, counts) = editor.finish(out)?;
        entry.body = Body::Folder(TreeRef { page, counts });
        if let Some(parent) = self.open.last_mut() {
            parent.editor.put(out, entry.clone())?;
        }
        Ok(entry)
    }

    /// The entry of that name in the folder with these names.
    ///
    /// # Errors
    /// If the store fails.
    pub fn get(
        &mut self,
        out: &mut PageWriter,
        folders: &[Name],
        name: &Name,
        make: &dyn Fn(usize, &Name) -> Entry,
    ) -> Result<Option<Entry>, StoreError> {
        self.go(out, folders, make)?;
        self.open.last_mut().map_or(Ok(None), |top| top.editor.get(out, name))
    }

    /// Puts an entry that is no folder into the folder with these names.
    ///
    /// # Errors
    /// If the order is broken or the store fails.
    pub fn put(
        &mut self,
        out: &mut PageWriter,
        folders: &[Name],
        entry: Entry,
        make: &dyn Fn(usize, &Name) -> Entry,
    ) -> Result<(), StoreError> {
        let old = self.get(out, folders, &entry.name, make)?;
        self.grown.0 += u64::from(old.is_none());
        self.grown.2 += i128::from(entry.size()) - i128::from(old.map_or(0, |old| old.size()));
        let Some(top) = self.open.last_mut() else { return Ok(()) };
        top.editor.put(out, entry)
    }

    /// Ends: the root, and what has grown: files, folders, bytes of files.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(mut self, out: &mut PageWriter) -> Result<(Entry, (u64, u64, i128)), StoreError> {
        while self.open.len() > 1 {
            self.close(out)?;
        }
        let root = self.close(out)?;
        Ok((root, self.grown))
    }
}
