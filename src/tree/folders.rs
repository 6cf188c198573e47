//! Changing a tree of folders by paths, in order: folders without changes are not looked into.

use crate::model::{Bits, Body, Entry, Name, TreeRef};
use crate::store::StoreError;

use super::build::PageWriter;
use super::edit::MapEditor;
use super::pages::Pages;

/// Puts entries into a tree. Paths come in order of their names, component by component. Memory: two pages a level of each open folder.
#[derive(Debug)]
pub struct FolderEditor<'a> {
    pages: &'a Pages,
    open: Vec<Open>,
    /// Files that are new, folders that are new, and by how much the bytes of all files grew; views are not counted.
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
            let mut entry = old.unwrap_or_else(|| make(depth, name));
            entry.mtime = make(depth, name).mtime;
            let counts = !is_old && !entry.bits.has(Bits::VIEW) && !self.in_view();
            self.grown.1 += u64::from(counts);
            self.open.push(Open::new(self.pages, entry, is_old)?);
        }
        Ok(())
    }

    fn in_view(&self) -> bool {
        self.open.iter().any(|open| open.entry.bits.has(Bits::VIEW))
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
        if !self.in_view() {
            self.grown.0 += u64::from(old.is_none());
            self.grown.2 += i128::from(entry.size()) - i128::from(old.map_or(0, |old| old.size()));
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Counts, Extent, FileBody, Holes, PageId};
    use crate::store::Waiting;
    use crate::tree::samples::{entry, new_store};

    fn folder(name: &[u8]) -> Entry {
        entry(name, Body::Folder(TreeRef { page: PageId::from_bytes([0; 32]), counts: Counts::default() }))
    }

    fn file(name: &str, size: u64) -> Entry {
        let holes = Holes::List(vec![Extent { offset: 0, len: size }]);
        entry(name.as_bytes(), Body::File(FileBody { size, content: None, holes, ..FileBody::empty() }))
    }

    /// Puts files by their paths; those below `view` are in a view.
    fn put(editor: &mut FolderEditor, out: &mut PageWriter, files: &BTreeMap<Vec<&str>, u64>) {
        let make = |depth: usize, name: &Name| {
            let mut made = folder(name.as_bytes());
            if depth == 0 && name.as_bytes() == b"view" {
                made.bits = Bits::VIEW;
            }
            made
        };
        for (path, size) in files {
            let (name, folders) = path.split_last().unwrap();
            let folders: Vec<_> = folders.iter().map(|name| Name::new(name.as_bytes()).unwrap()).collect();
            editor.put(out, &folders, file(name, *size), &make).unwrap();
        }
    }

    #[test]
    fn files_go_into_folders_old_and_new() {
        let dir = tempfile::tempdir().unwrap();
        let store = new_store(dir.path());
        let mut all: BTreeMap<Vec<&str>, u64> = BTreeMap::new();
        let mut root = None;
        let steps: [&[(&[&str], u64)]; 4] = [
            &[(&["a", "b", "c"], 1), (&["a", "b!"], 2), (&["view", "x", "y"], 100), (&["z"], 3)],
            &[(&["a", "b", "d"], 10), (&["a", "n", "e"], 20), (&["view", "x", "w"], 100)],
            &[(&["z"], 30)],
            &[],
        ];
        let grown = [(3, 2, 6), (2, 1, 30), (0, 0, 27), (0, 0, 0)];
        for (step, wanted) in steps.into_iter().zip(grown) {
            let step: BTreeMap<Vec<&str>, u64> = step.iter().map(|(path, size)| (path.to_vec(), *size)).collect();
            all.extend(step.clone());
            let writer = store.writer(Waiting::Wait, &|| true).unwrap();
            let mut out = PageWriter::new(&writer);
            let pages = Pages::new(&store, 1 << 20);
            let start = root.clone().unwrap_or_else(|| folder(b""));
            let mut editor = FolderEditor::new(&pages, start, root.is_some()).unwrap();
            put(&mut editor, &mut out, &step);
            let (edited, grew) = editor.finish(&mut out).unwrap();
            assert_eq!(grew, wanted);
            let mut editor = FolderEditor::new(&pages, folder(b""), false).unwrap();
            put(&mut editor, &mut out, &all);
            assert_eq!(edited, editor.finish(&mut out).unwrap().0, "as if it were built at once");
            out.flush().unwrap();
            writer.keep().unwrap();
            root = Some(edited);
        }
        let pages = Pages::new(&store, 1 << 20);
        let root = root.unwrap();
        for (path, size) in &all {
            let found = pages.resolve(&root, path.join("/").as_bytes()).unwrap().unwrap();
            assert_eq!(found.entry.size(), *size, "{path:?}");
        }
        let view = pages.resolve(&root, b"view").unwrap().unwrap();
        assert!(view.entry.bits.has(Bits::VIEW));
    }
}
