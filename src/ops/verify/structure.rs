//! The structure: log, manifests, pages and what they sum up, chunks' index entries.

use std::collections::HashSet;

use crate::codec::digest;
use crate::format::{Child, MAX_CHUNK, PageItem, PageItems, PageKind, records_of, sums_fit, to_bytes};
use crate::model::{ChunkId, ChunkRef, RecordItem, TreeRef};
use crate::model::{Chunks, Entry, Extent, FileBody, Holes, LinkItem, LogKind, Manifest, PageId, Progress, SnapshotId};
use crate::store::{Arrived, FalseEntry, Finding, LostEntry, Store, StoreError, snapshot_label};
use crate::tree::Pages;

use super::content::body_digest;
use super::links::{self, OddGroups};

/// Findings of one look at most: a store in ruins need not be told page by page.
const FINDINGS_MAX: usize = 10_000;

/// What is wrong with a manifest whose tree can be read all the same.
const UNFIT_SUMS: &str = "its sums are not those of its tree";

/// What is damaged, for tracing it to paths.
#[derive(Debug, Default)]
pub(super) struct Bad {
    pub(super) pages: HashSet<PageId>,
    pub(super) chunks: HashSet<ChunkId>,
    pub(super) blocks: HashSet<u64>,
    /// Blocks that are whole, and of which the index names items that are others'.
    pub(super) misnamed: HashSet<u64>,
    /// Contents of which the digest does not hold, or the size.
    pub(super) contents: HashSet<crate::model::Digest>,
    /// Groups of hard links whose names do not hold the same.
    pub(super) names: OddGroups,
}

impl Bad {
    pub(super) fn is_empty(&self) -> bool {
        let Self { pages, chunks, blocks, misnamed, contents, names } = self;
        names.is_empty()
            && pages.is_empty()
            && chunks.is_empty()
            && blocks.is_empty()
            && misnamed.is_empty()
            && contents.is_empty()
    }
}

/// A page of a map, and what it has to be like.
struct Below<T: PageItem> {
    id: PageId,
    counts: T::Counts,
    /// The level of the page above, and what that says.
    above: Option<(u8, Child<T>)>,
    /// The last key of the map before it.
    after: Option<T::Key>,
}

/// What a look at the structure gives.
pub(super) struct Structure<'a> {
    store: &'a Store,
    tree: &'a Pages,
    progress: &'a dyn Progress,
    /// Hashes of the ids and sums of pages that were looked at, cut to what is enough to tell them apart.
    seen: HashSet<[u8; 16]>,
    pub(super) manifests: Vec<(SnapshotId, Manifest)>,
    /// Snapshots without a manifest that can be read.
    pub(super) lost: Vec<SnapshotId>,
    pub(super) pages: u64,
    pub(super) entries: u64,
    pub(super) files: u64,
    pub(super) findings: Vec<Finding>,
    /// Something has several names.
    has_links: bool,
    pub(super) bad: Bad,
    /// Snapshots that the log does not tell of, because it cannot be read.
    pub(super) unlisted: Vec<SnapshotId>,
    /// Entries of the log that are lost, which an owner has accepted.
    pub(super) void: Vec<u64>,
    /// Entries of the log that name another's snapshot, or one that is not as they say.
    pub(super) false_entries: Vec<FalseEntry>,
    /// Entries of the log that are lost, or what they say.
    pub(super) lost_entries: Vec<LostEntry>,
    /// Something that is no damage, and left things unseen.
    pub(super) failed: Option<StoreError>,
}

impl<'a> Structure<'a> {
    /// Reads the log and the manifests.
    pub(super) fn begin(store: &'a Store, tree: &'a Pages, progress: &'a dyn Progress) -> Result<Self, StoreError> {
        let mut here = Self {
            store,
            tree,
            progress,
            seen: HashSet::new(),
            manifests: Vec::new(),
            lost: Vec::new(),
            pages: 0,
            entries: 0,
            files: 0,
            findings: Vec::new(),
            has_links: false,
            bad: Bad::default(),
            unlisted: Vec::new(),
            void: Vec::new(),
            false_entries: Vec::new(),
            lost_entries: Vec::new(),
            failed: None,
        };
        match store.lost_entries() {
            Ok((lost, void)) => {
                // Of the end the store itself knows why.
                let end = store.lost_end().map(|e| Finding::from_error(&e));
                let is_told = |lost: &LostEntry| end.as_ref().is_some_and(|end| end.object == lost.object());
                lost.iter().filter(|lost| !is_told(lost)).for_each(|lost| here.found(&lost.to_error()));
                here.findings.extend(end);
                (here.lost_entries, here.void) = (lost, void);
            }
            // The rest can be looked at all the same.
            Err(e) if e.is_damage() => here.found(&e),
            Err(e) => return Err(e),
        }
        let arrived = match store.arrived() {
            Ok(arrived) => arrived,
            Err(e) if e.is_damage() => {
                here.without_log()?;
                Arrived::default()
            }
            Err(e) => return Err(e),
        };
        if !here.lost_entries.is_empty() {
            here.without_entries()?;
        }
        here.false_entries = arrived.false_entries;
        for row in arrived.rows {
            match store.manifest(&row.id) {
                // It is the entry that is wrong: the manifest's id is a hash of what it says.
                Ok(manifest) => {
                    here.false_entries.extend(store.belied_by(&row, &manifest));
                    here.manifests.push((row.id, manifest));
                }
                Err(e) => {
                    here.found(&e);
                    here.lost.push(row.id);
                }
            }
        }
        here.false_entries.sort_by_key(|entry| entry.sequence);
        Ok(here)
    }

    /// Looks at all that these manifests hold.
    pub(super) fn look(&mut self, manifests: &[(SnapshotId, Manifest)]) {
        for (id, manifest) in manifests {
            if !sums_fit(manifest) {
                let what = format!("the manifest of {}", snapshot_label(*id));
                self.found(&StoreError::damage(what, UNFIT_SUMS));
            }
            self.entry(&manifest.root);
            if let Some(tree) = manifest.root.folder() {
                self.folders(*tree);
            }
            if let Some(links) = manifest.links {
                self.has_links = true;
                self.map::<LinkItem>(links.page, links.counts, &mut |_, _| {});
            }
            match records_of(manifest) {
                Ok(Some(records)) => self.map::<RecordItem>(records.page, records.counts, &mut |_, _| {}),
                Ok(None) => {}
                Err(e) => self.found(&StoreError::damage("a manifest", e)),
            }
        }
    }

    /// Looks whether the names of each file hold the same, and with `mapped` whether the maps of hard links tell them as they are. To be called after [`Self::look`].
    pub(super) fn look_at_names(&mut self, manifests: &[(SnapshotId, Manifest)], mapped: bool) {
        if !self.has_links {
            return;
        }
        let odd = links::odd_groups(self.tree, manifests, mapped, self.progress);
        odd.tell(|id, group, why| {
            let snapshot = snapshot_label(id);
            let what = match group {
                Some(group) => format!("the hard-link group {group} of {snapshot}"),
                None => format!("hard-link groups of {snapshot}"),
            };
            self.found(&StoreError::damage(what, why));
            self.findings.len() < FINDINGS_MAX
        });
        self.bad.names = odd;
    }

    /// Takes all manifests that there are.
    fn without_log(&mut self) -> Result<(), StoreError> {
        self.unlisted_but(&HashSet::new())
    }

    /// Takes the manifests that no entry of the log names as far as it can be read.
    fn without_entries(&mut self) -> Result<(), StoreError> {
        let entries = self.store.log()?.into_iter().filter_map(|row| row.entry.ok());
        let named = entries.filter(|entry| entry.kind == LogKind::Snapshot).map(|entry| entry.manifest).collect();
        self.unlisted_but(&named)
    }

    fn unlisted_but(&mut self, named: &HashSet<SnapshotId>) -> Result<(), StoreError> {
        let (ids, damage) = self.store.manifest_ids()?;
        damage.iter().for_each(|e| self.found(e));
        for id in ids.into_iter().filter(|id| !named.contains(id)) {
            match self.store.manifest(&id) {
                Ok(manifest) => {
                    self.manifests.push((id, manifest));
                    self.unlisted.push(id);
                }
                Err(e) => {
                    self.found(&e);
                    self.lost.push(id);
                }
            }
        }
        Ok(())
    }

    fn found(&mut self, error: &StoreError) {
        if !error.is_damage() {
            self.failed.get_or_insert_with(|| match error {
                StoreError::OtherIdentities(epoch) => StoreError::OtherIdentities(*epoch),
                error => StoreError::Database(error.to_string()),
            });
            return;
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding::from_error(error));
        }
    }

    /// A folder and all below it, without recursion: trees may be deep.
    fn folders(&mut self, root: TreeRef) {
        let mut todo = vec![root];
        while let Some(tree) = todo.pop() {
            if self.progress.cancelled() {
                return;
            }
            self.map::<Entry>(tree.page, tree.counts, &mut |here, entry| {
                here.entries += 1;
                here.files += u64::from(entry.file().is_some());
                here.entry(entry);
                todo.extend(entry.folder());
            });
        }
    }

    /// The pages of a map that were not looked at before; `item` gets their items. Sums are checked by the loader. A page that was looked at behind another key is
    /// looked at again, for where it begins.
    fn map<T: PageItem>(&mut self, root: PageId, counts: T::Counts, item: &mut dyn FnMut(&mut Self, &T)) {
        let mut todo = vec![Below::<T> { id: root, counts, above: None, after: None }];
        while let Some(Below { id, counts, above, after }) = todo.pop() {
            let last = above.as_ref().map(|(_, child)| &child.last);
            let is_new = self.is_new::<T>(&id, &counts, last, None);
            let is_new_place = T::KIND != PageKind::ChunkList
                && after.is_some()
                && self.is_new::<T>(&id, &counts, last, after.as_ref());
            if !is_new && !is_new_place {
                continue;
            }
            self.pages += u64::from(is_new);
            let loaded = match &above {
                Some((level, child)) => self.tree.load_below(*level, child, after.as_ref()),
                None => self.tree.load::<T>(&id, &counts),
            };
            let page = match loaded {
                Ok(page) => page,
                Err(e) => {
                    if self.bad.pages.insert(id) || is_new {
                        self.found(&e);
                    }
                    continue;
                }
            };
            match &page.items {
                PageItems::Leaf(items) if is_new => items.iter().for_each(|i| item(self, i)),
                PageItems::Leaf(_) => {}
                PageItems::Inner(children) => {
                    // What is behind its first child is behind the same key wherever the page stands.
                    let children = &children[..if is_new { children.len() } else { 1 }];
                    let before = std::iter::once(after).chain(children.iter().map(|child| Some(child.last.clone())));
                    todo.extend(children.iter().zip(before).map(|(child, after)| Below {
                        id: child.page,
                        counts: child.counts,
                        above: Some((page.level, child.clone())),
                        after,
                    }));
                }
            }
        }
    }

    /// True if a page was not looked at yet, or only with other sums, under another last key or behind another: the loader compares them with the page's own.
    fn is_new<T: PageItem>(
        &mut self,
        id: &PageId,
        counts: &T::Counts,
        last: Option<&T::Key>,
        after: Option<&T::Key>,
    ) -> bool {
        let mut key = id.as_bytes().to_vec();
        key.extend_from_slice(&to_bytes(counts));
        for limit in [last, after] {
            key.extend(limit.map(to_bytes).unwrap_or_default());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&digest(&key).as_bytes()[..16]);
        self.seen.insert(half)
    }

    /// What an entry references, and that its lists sum up to its size.
    fn entry(&mut self, entry: &Entry) {
        if let crate::model::Xattrs::Chunks(list) = &entry.xattrs {
            self.listed(list);
        }
        self.has_links |= entry.link.is_some();
        let Some(file) = entry.file() else { return };
        let data = self.chunks(file);
        let holes = match &file.holes {
            Holes::None => 0,
            Holes::List(list) => list.iter().map(|h| h.len).sum(),
            Holes::Paged(page, counts) => {
                self.map::<Extent>(*page, *counts, &mut |_, _| {});
                counts.bytes
            }
        };
        let is_too_long = file.chunks == Chunks::Whole && file.size > MAX_CHUNK as u64;
        if is_too_long || data.checked_add(holes) != Some(file.size) {
            self.bad.contents.insert(body_digest(file));
            let what = format!("the entry {:?}", entry.name);
            self.found(&StoreError::damage(what, "its chunks and holes do not make its size"));
        }
    }

    /// Bytes that a file's chunks hold.
    fn chunks(&mut self, file: &FileBody) -> u64 {
        match &file.chunks {
            Chunks::None => 0,
            Chunks::Whole => {
                if let Some(content) = &file.content {
                    let id = self.store.keyring().ids().chunk_of(content);
                    self.chunk(&id);
                }
                file.size
            }
            Chunks::List(list) => {
                self.listed(list);
                list.iter().map(|chunk| u64::from(chunk.len)).sum()
            }
            Chunks::Part(chunk, _) => {
                self.chunk(&chunk.id);
                file.size
            }
            Chunks::Paged(page, counts) => {
                self.map::<ChunkRef>(*page, *counts, &mut |here, chunk| here.chunk(&chunk.id));
                counts.bytes
            }
        }
    }

    fn listed(&mut self, list: &[ChunkRef]) {
        for chunk in list {
            self.chunk(&chunk.id);
        }
    }

    fn chunk(&mut self, id: &ChunkId) {
        let error = match self.store.has_chunk(id) {
            Ok(true) => return,
            Ok(false) => StoreError::damage(format!("chunk {id}"), "it is not in the index"),
            Err(e) => e,
        };
        if self.bad.chunks.insert(*id) {
            self.found(&error);
        }
    }
}
