//! The tree thread: takes items in preorder, waits for what groups owe, builds pages, writes the new cache.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crossbeam_channel::Receiver;

use crate::format::{CacheRecord, HostMark, MAX_INLINE_VALUE};
use crate::model::{
    Body, ChunkRef, Entry, FileBody, LinkGroup, LinkItem, LinksRef, LongValue, Notice, Statistics, Timestamp, TreeRef,
};
use crate::store::StoreError;
use crate::tree::{MapBuilder, PageWriter};

use super::cache::NewCache;
use super::group::{GONE, ReadFile, Unread};
use super::{CaptureError, Outcomes, Pipeline};

/// An inode of the host, as the key of a group of hard links.
pub(super) type Inode = ((u32, u32), u64);

/// A step of the walk, for the tree.
#[derive(Debug)]
pub(super) enum Event {
    /// A folder begins; its body is not known yet.
    Enter(Entry, Option<HostMark>),
    /// It ends.
    Leave,
    /// An item whose body is known. `keep`: later names of the same inode will ask for its body.
    Ready { entry: Entry, mark: Option<HostMark>, keep: Option<LinkGroup> },
    /// A file whose body the next outcome of the groups gives.
    Read { entry: Entry, path: Vec<u8>, mark: HostMark, keep: Option<LinkGroup> },
    /// A further name of a file. `last`: no more will come.
    Linked { entry: Entry, path: Vec<u8>, last: bool },
    /// The first path of a group of hard links.
    Group(LinkGroup, Vec<u8>),
    /// An item that could not be read.
    Lost,
    /// A folder that was entered could not be listed to its end.
    Changed,
}

/// What the tree thread made.
pub(super) struct TreeOutcome {
    pub(super) root: Entry,
    pub(super) links: Option<LinksRef>,
    pub(super) statistics: Statistics,
    pub(super) cache: Option<NewCache>,
}

type Kept = (FileBody, crate::model::Xattrs, crate::model::Bits, Option<HostMark>);

pub(super) struct TreeThread<'a> {
    pipeline: &'a Pipeline<'a>,
    events: Receiver<Event>,
    groups: Receiver<Outcomes>,
    outcomes: VecDeque<Result<ReadFile, Unread>>,
    pages: PageWriter<'a>,
    stack: Vec<(Entry, MapBuilder<Entry>)>,
    kept: HashMap<LinkGroup, Kept>,
    links: BTreeMap<LinkGroup, (u64, Vec<u8>)>,
    statistics: Statistics,
    cache: Option<NewCache>,
}

/// A mark that no item of a host has.
const NO_MARK: HostMark = HostMark { ctime: Timestamp::EPOCH, dev: (0, 0), ino: 0 };

/// True if something changed so shortly before it was looked at that a further change might not show.
fn too_young(changed: Timestamp, looked: Timestamp) -> bool {
    let slack_ns = if changed.nanos == 0 { 2_500_000_000 } else { 100_000_000 };
    let ns = |t: Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    ns(changed) + slack_ns > ns(looked)
}

/// The mark of an item, unless it changed so shortly before it was looked at that a further change might not show.
pub(super) fn settled(mark: HostMark, looked: Timestamp) -> Option<HostMark> {
    (!too_young(mark.ctime, looked)).then_some(mark)
}

impl<'a> TreeThread<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline<'a>,
        events: Receiver<Event>,
        groups: Receiver<Outcomes>,
        cache: Option<NewCache>,
    ) -> Self {
        Self {
            pipeline,
            events,
            groups,
            outcomes: VecDeque::new(),
            pages: PageWriter::new(pipeline.writer),
            stack: Vec::new(),
            kept: HashMap::new(),
            links: BTreeMap::new(),
            statistics: Statistics::default(),
            cache,
        }
    }

    /// Runs to the end of the walk. Gives nothing if the walk broke off: then its own error is the one to tell.
    pub(super) fn run(mut self) -> Result<Option<TreeOutcome>, CaptureError> {
        let mut root = None;
        while root.is_none() {
            let Ok(event) = self.events.recv() else { return Ok(None) };
            root = self.take(event)?;
        }
        let root = root.ok_or(CaptureError::Died("the tree thread"))?;
        self.finish(root).map(Some)
    }

    /// All was taken, the root last.
    pub(super) fn finish(mut self, root: Entry) -> Result<TreeOutcome, CaptureError> {
        let links = self.finish_links()?;
        self.pages.flush()?;
        Ok(TreeOutcome { root, links, statistics: self.statistics, cache: self.cache })
    }

    /// Makes the first path of a group of hard links known, unless it is.
    pub(super) fn first_name(&mut self, group: LinkGroup, path: impl FnOnce() -> Vec<u8>) {
        self.links.entry(group).or_insert_with(|| (0, path()));
    }

    /// Sets the time of change of the folder on top.
    pub(super) fn date_folder(&mut self, mtime: Timestamp) {
        if let Some((folder, _)) = self.stack.last_mut() {
            folder.mtime = mtime;
        }
    }

    /// Takes a step; gives the root when it was its last.
    pub(super) fn take(&mut self, event: Event) -> Result<Option<Entry>, CaptureError> {
        match event {
            Event::Enter(entry, mark) => {
                // A young folder's record stands all the same, under a mark that fits nothing: what is in it is found by it.
                self.remember(Some(mark.unwrap_or(NO_MARK)), &entry);
                self.stack.push((entry, MapBuilder::default()));
            }
            Event::Leave => return self.leave(),
            Event::Ready { entry, mark, keep } => {
                if let (Some(group), Body::File(body)) = (keep, &entry.body) {
                    self.kept.insert(group, (body.clone(), entry.xattrs.clone(), entry.bits, mark));
                }
                self.add(entry, mark)?;
            }
            Event::Read { entry, path, mark, keep } => self.read(entry, &path, mark, keep)?,
            Event::Linked { mut entry, path, last } => {
                let kept =
                    entry.link.and_then(|g| if last { self.kept.remove(&g) } else { self.kept.get(&g).cloned() });
                match kept {
                    Some((body, xattrs, bits, mark)) => {
                        (entry.body, entry.xattrs, entry.bits) = (Body::File(body), xattrs, bits);
                        self.add(entry, mark)?;
                    }
                    None => self.lost(&path, "its first name could not be read"),
                }
            }
            Event::Group(group, path) => {
                self.links.insert(group, (0, path));
            }
            Event::Lost => self.statistics.unreadable += 1,
            Event::Changed => self.statistics.changed += 1,
        }
        Ok(None)
    }

    fn lost(&mut self, path: &[u8], why: &str) {
        self.statistics.unreadable += 1;
        let path = String::from_utf8_lossy(path).into_owned();
        self.pipeline.setting.progress.notice(Notice::Unreadable { path, why: why.to_owned() });
    }

    /// Gives a file the body that its group owes.
    fn read(
        &mut self,
        mut entry: Entry,
        path: &[u8],
        mark: HostMark,
        keep: Option<LinkGroup>,
    ) -> Result<(), CaptureError> {
        while self.outcomes.is_empty() {
            let read = self.groups.recv().and_then(|group| group.recv()).map_err(|_| CaptureError::Died("the walk"))?;
            self.outcomes = read?.into();
        }
        match self.outcomes.pop_front() {
            None => Ok(()),
            Some(Err(Unread::Gone)) => {
                let path = String::from_utf8_lossy(path).into_owned();
                self.pipeline.setting.progress.notice(Notice::Skipped { path, why: GONE.to_owned() });
                Ok(())
            }
            Some(Err(Unread::Failed(why))) => {
                self.lost(path, &why);
                Ok(())
            }
            Some(Ok(file)) => {
                if file.changed {
                    self.statistics.changed += 1;
                    let path = String::from_utf8_lossy(path).into_owned();
                    self.pipeline.setting.progress.notice(Notice::Changed { path });
                }
                let young = too_young(file.ctime, file.looked);
                let mark = (!file.changed && !young).then_some(HostMark { ctime: file.ctime, ..mark });
                entry.mtime = file.mtime;
                (entry.body, entry.xattrs, entry.bits) =
                    (Body::File(file.body.clone()), file.xattrs.clone(), file.bits);
                if let Some(group) = keep {
                    self.kept.insert(group, (file.body, file.xattrs, file.bits, mark));
                }
                self.add(entry, mark)
            }
        }
    }

    fn remember(&mut self, mark: Option<HostMark>, entry: &Entry) {
        if let (Some(cache), Some(mark)) = (&mut self.cache, mark) {
            // The root's own record would have no name to be found by.
            if !entry.name.as_bytes().is_empty() {
                cache.push(CacheRecord { leave: false, item: Some((mark, entry.clone())) });
            }
        }
    }

    fn add(&mut self, entry: Entry, mark: Option<HostMark>) -> Result<(), CaptureError> {
        let s = &mut self.statistics;
        match &entry.body {
            Body::File(_) => s.files += 1,
            Body::Folder(_) => s.folders += 1,
            _ => s.others += 1,
        }
        s.bytes = s.bytes.saturating_add(entry.file().map_or(0, |f| f.size));
        if let Some(group) = entry.link
            && let Some((names, _)) = self.links.get_mut(&group)
        {
            *names += 1;
        }
        self.pipeline.setting.progress.advance(1, entry.file().map_or(0, |f| f.size));
        if entry.folder().is_none() {
            self.remember(mark, &entry);
        }
        let (_, builder) = self.stack.last_mut().ok_or(CaptureError::Died("the walk"))?;
        builder.push(&mut self.pages, entry)?;
        Ok(())
    }

    /// The folder on top is complete: into its parent with it. Gives the root when it was the last.
    fn leave(&mut self) -> Result<Option<Entry>, CaptureError> {
        let (mut entry, builder) = self.stack.pop().ok_or(CaptureError::Died("the walk"))?;
        let (page, counts) = builder.finish(&mut self.pages)?;
        entry.body = Body::Folder(TreeRef { page, counts });
        if self.stack.is_empty() {
            return Ok(Some(entry));
        }
        if let Some(cache) = &mut self.cache {
            cache.push(CacheRecord { leave: true, item: None });
        }
        self.add(entry, None)?;
        Ok(None)
    }

    /// The map of hard links.
    fn finish_links(&mut self) -> Result<Option<LinksRef>, StoreError> {
        let links: Vec<_> = std::mem::take(&mut self.links).into_iter().filter(|(_, (names, _))| *names > 0).collect();
        if links.is_empty() {
            return Ok(None);
        }
        let mut builder = MapBuilder::<LinkItem>::default();
        for (group, (names, path)) in links {
            let first = if path.len() <= MAX_INLINE_VALUE {
                LongValue::Inline(path)
            } else {
                LongValue::Chunks(self.long_value(&path)?)
            };
            builder.push(&mut self.pages, LinkItem { group, names, first })?;
        }
        let (page, counts) = builder.finish(&mut self.pages)?;
        Ok(Some(LinksRef { page, counts }))
    }

    fn long_value(&self, bytes: &[u8]) -> Result<Vec<ChunkRef>, StoreError> {
        super::group::store_long(self.pipeline.writer, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_before_it_was_looked_at_is_read_again() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        let looked = at(100, 500_000_000);
        let kept = |ctime| settled(HostMark { ctime, ..NO_MARK }, looked).is_some();
        assert!(!kept(at(100, 499_000_000)) && !kept(at(100, 400_000_001)) && kept(at(100, 399_999_999)));
        // A clock that ticks in seconds, and one that is ahead.
        assert!(!kept(at(99, 0)) && kept(at(97, 0)) && !kept(at(200, 1)));
    }
}
