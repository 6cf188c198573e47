//! From sorted items to a tree.

use crate::archives::{Merge, Sorted};
use crate::codec::IdKeys;
use crate::model::{Entry, LinkGroup, Timestamp};
use crate::ops::capture::CaptureError;
use crate::ops::capture::tree::{Event, TreeOutcome, TreeThread};
use crate::ops::member_entry::{Importer, path_of};

use super::arrived::{Kept, refused};

/// An item in its place.
struct Item {
    key: Box<[u8]>,
    entry: Entry,
}

/// Items, and the further names among them, as one sequence.
struct Items<'a> {
    items: Merge<'a>,
    names: Option<Merge<'a>>,
    ids: &'a IdKeys,
}

impl Items<'_> {
    fn next(&mut self) -> Result<Option<Item>, CaptureError> {
        let item = self.items.peek()?.map(|(key, _)| key.clone());
        let name = match &mut self.names {
            Some(names) => names.peek()?.cloned(),
            None => None,
        };
        if let Some((key, kept)) = name.filter(|(key, _)| item.as_ref().is_none_or(|item| key <= item)) {
            if let Some(names) = &mut self.names {
                names.next()?;
            }
            return match Kept::from_bytes(&kept) {
                Some(Kept::Entry(..)) if item.as_ref() == Some(&key) => Err(twice(&key)),
                Some(Kept::Entry(entry, _)) => Ok(Some(Item { key, entry: *entry })),
                Some(Kept::Group(group)) => self.item(Some(group)),
                None => Err(cut_short()),
            };
        }
        self.item(None)
    }

    fn item(&mut self, group: Option<LinkGroup>) -> Result<Option<Item>, CaptureError> {
        loop {
            let Some((key, kept)) = self.items.next()? else { return Ok(None) };
            let Some(Kept::Entry(mut entry, marks)) = Kept::from_bytes(&kept) else { return Err(cut_short()) };
            if self.items.peek()?.is_some_and(|(next, _)| *next == key) {
                // Of a folder that is told of twice the last word counts, and of anything else if it says so.
                let next = self.items.peek()?.and_then(|(_, kept)| Kept::from_bytes(kept));
                let last_counts = match &next {
                    Some(Kept::Entry(next, marks)) => {
                        marks.replaces || (entry.folder().is_some() && next.folder().is_some())
                    }
                    _ => false,
                };
                if last_counts {
                    continue;
                }
                return Err(twice(&key));
            }
            entry.link = group.or_else(|| marks.linked.then(|| self.ids.link_group(&path_of(&key))));
            return Ok(Some(Item { key, entry: *entry }));
        }
    }
}

fn twice(key: &[u8]) -> CaptureError {
    refused(&path_of(key), "it stands in the archive twice")
}

fn cut_short() -> CaptureError {
    std::io::Error::other("a temporary file is cut short").into()
}

/// A folder that items are put into.
struct Open {
    key: Box<[u8]>,
    /// The newest time in it, if the archive does not tell its own.
    newest: Option<Timestamp>,
}

/// Builds the tree.
pub(super) fn assemble(
    items: &Sorted,
    names: Option<&Sorted>,
    mut tree: TreeThread,
    ids: &IdKeys,
    importer: &mut Importer,
) -> Result<TreeOutcome, CaptureError> {
    let names = names.map(Sorted::read).transpose()?;
    let mut items = Items { items: items.read()?, names, ids };
    let mut open: Vec<Open> = Vec::new();
    // The last item that is no folder: nothing can be in it.
    let mut leaf: Box<[u8]> = Box::default();
    let mut root = None;
    while let Some(Item { key, entry }) = items.next()? {
        let above = key.iter().rposition(|b| *b == 0).map(|end| &key[..end]);
        // The root has nothing above it.
        let above = if key.is_empty() { None } else { Some(above.unwrap_or_default()) };
        while open.last().is_some_and(|folder| above.is_none_or(|above| !holds(&folder.key, above))) {
            leave(&mut open, &mut tree, &mut root)?;
        }
        if let Some(above) = above {
            let from = open.last().map(|folder| folder.key.len());
            for missing in missing(above, from) {
                if !leaf.is_empty() && *leaf == *missing {
                    return Err(refused(&path_of(&key), "it is in something that is no folder"));
                }
                let path = path_of(missing);
                let folder = importer.folder(&path).map_err(|why| refused(&path, why))?;
                tree.take(Event::Enter(folder, None))?;
                open.push(Open { key: missing.into(), newest: Some(Timestamp::EPOCH) });
            }
        }
        if let Some(newest) = open.last_mut().and_then(|folder| folder.newest.as_mut()) {
            *newest = (*newest).max(entry.mtime);
        }
        if entry.folder().is_some() {
            tree.take(Event::Enter(entry, None))?;
            open.push(Open { key, newest: None });
            continue;
        }
        if let Some(group) = entry.link {
            tree.first_name(group, || path_of(&key));
        }
        tree.take(Event::Ready { entry, mark: None, keep: None })?;
        leaf = key;
    }
    if root.is_none() && open.is_empty() {
        tree.take(Event::Enter(importer.folder(&[]).map_err(|why| refused(&[], why))?, None))?;
        open.push(Open { key: Box::default(), newest: None });
    }
    while !open.is_empty() {
        leave(&mut open, &mut tree, &mut root)?;
    }
    tree.finish(root.ok_or(CaptureError::Died("the intake"))?)
}

/// True if a folder is `path` or above it.
fn holds(folder: &[u8], path: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(0)))
}

/// The folders from below the open one, whose key is so long, down to `above`.
fn missing(above: &[u8], open: Option<usize>) -> impl Iterator<Item = &[u8]> {
    let root = open.is_none().then_some(&above[..0]);
    let from = open.unwrap_or(0);
    let ends = (from..=above.len()).filter(move |end| *end > from && (*end == above.len() || above[*end] == 0));
    root.into_iter().chain(ends.map(move |end| &above[..end]))
}

fn leave(open: &mut Vec<Open>, tree: &mut TreeThread, root: &mut Option<Entry>) -> Result<(), CaptureError> {
    let Some(left) = open.pop() else { return Ok(()) };
    if let Some(newest) = left.newest {
        tree.date_folder(newest);
        if let Some(above) = open.last_mut().and_then(|folder| folder.newest.as_mut()) {
            *above = (*above).max(newest);
        }
    }
    if let Some(entry) = tree.take(Event::Leave)? {
        *root = Some(entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_missing_are_found() {
        let found = |above: &str, open: Option<&str>| {
            let list = missing(above.as_bytes(), open.map(str::len));
            list.map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("", None), [""]);
        assert_eq!(found("a\0b", None), ["", "a", "a\0b"]);
        assert_eq!(found("a\0b", Some("")), ["a", "a\0b"]);
        assert_eq!(found("a\0b", Some("a")), ["a\0b"]);
        assert_eq!(found("a\0b", Some("a\0b")), [""; 0]);
        assert!(
            holds(b"", b"a")
                && holds(b"a", b"a")
                && holds(b"a", b"a\0b")
                && !holds(b"a", b"ab")
                && !holds(b"a\0b", b"a")
        );
    }
}
