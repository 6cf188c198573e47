//! Intake: what comes from outside, member by member and in any order, becomes a snapshot, or several.
//!
//! This thread reads contents: short ones are gathered into groups, long ones cut, and rayon tasks do the rest, as in a capture of
//! folders. The *collector* takes the members as they come, keeps what is known of them sorted by path (in memory, and
//! what is more in sealed temporary files), and builds the tree once all have come. Nothing is a snapshot before the one commit at the end.

mod arrived;
mod assemble;
mod collect;
mod links;

use crossbeam_channel::{Sender, bounded};

use crate::archives::{Content, Member, MemberKind, Part};
use crate::format::{MAX_XATTRS, encode_xattrs};
use crate::model::{Body, DatasetName, Evidence, Extent, Progress, Reference, SnapshotKind};
use crate::ops::member_entry::Importer;
use crate::ops::source::XattrList;
use crate::store::{NewSnapshot, Store};

use super::exclude::Exclude;
use super::group::{Job, Leftover, Reading, SMALL_FILE};
use super::{CaptureError, CaptureOptions, Captured, Clock, Pipeline, Setting, refuse_records, unchanged, writer};
use arrived::{Arrived, refused};
use collect::{Built, Collector, Event};

/// What a snapshot that is taken in says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Its series.
    pub dataset: DatasetName,
    /// Why it is made.
    pub kind: SnapshotKind,
    /// Free text.
    pub reason: Option<String>,
    /// Labels, ascending by key.
    pub labels: Vec<(String, String)>,
    /// References.
    pub references: Vec<Reference>,
    /// Evidence fields.
    pub evidence: Evidence,
    /// Paths as they were captured, where what comes in was.
    pub sources: Vec<Vec<u8>>,
    /// Commit of the source.
    pub git_revision: Option<String>,
    /// Where it comes from: a JSON object.
    pub origin: Option<String>,
}

/// Takes members in. All that it says of a snapshot is forgotten if the intake ends with an error.
pub struct Intake<'t, 's> {
    reading: Reading<'t, 's>,
    events: Sender<Event>,
    importer: Importer,
}

impl std::fmt::Debug for Intake<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}

/// Makes snapshots of what `feed` gives: all of them in one commit, or none. `options` tells how, [`About`] what each says of itself.
///
/// # Errors
/// If `feed` fails, a member is none that a snapshot can hold, the store fails, or the user stops it; then there is no snapshot.
pub fn intake<E: From<CaptureError>>(
    store: &Store,
    options: &CaptureOptions,
    progress: &dyn Progress,
    clock: Clock,
    feed: impl FnOnce(&mut Intake) -> Result<(), E>,
) -> Result<Vec<Captured>, E> {
    let client_time = clock();
    let mut writer = writer(store, options, progress)?;
    writer.set_check(options.check_blocks);
    let exclude = Exclude::new(&[])?;
    let setting = Setting { store, progress, clock, options, exclude: &exclude };
    let pipeline = Pipeline { setting, writer: &writer, newest: None };
    let built = match pipeline.take_in(feed) {
        Ok(built) => built,
        // A failing disk shows first as "writing has failed before", wherever that is met: the reason is told instead.
        Err(failed) => {
            return Err(match (writer.failure(), failed) {
                (Some(e), _) => CaptureError::Store(e).into(),
                (None, Failed::Feed(e)) => e,
                (None, Failed::Capture(e)) => e.into(),
            });
        }
    };
    if progress.cancelled() {
        return Err(CaptureError::Interrupted.into());
    }
    let mut captured: Vec<Option<Captured>> = Vec::new();
    let (mut new, mut before) = (Vec::new(), (0, 0));
    for Built { about, tree, bytes } in built {
        let newest = writer.newest(&about.dataset).ok().flatten();
        refuse_records(newest.as_ref(), &about.dataset)?;
        let newest =
            if options.skip_if_unchanged { writer.store().newest_own(&about.dataset).ok().flatten() } else { None };
        let newest = newest.map(|newest| unchanged::Newest::new(&writer, newest));
        if let Some(newest) = newest.filter(|n| n.equals(&tree.root, tree.links.as_ref(), &tree.statistics)) {
            captured.push(Some(Captured { id: newest.id, manifest: newest.manifest, unchanged: true, left_out: 0 }));
            continue;
        }
        let mut statistics = tree.statistics;
        (statistics.new_bytes, statistics.stored_bytes) = (bytes.0 - before.0, bytes.1 - before.1);
        before = bytes;
        new.push(NewSnapshot {
            kind: about.kind,
            dataset: about.dataset,
            root: tree.root,
            links: tree.links,
            statistics,
            client_time,
            host: options.who.0.clone(),
            user: options.who.1.clone(),
            program: options.who.2.clone(),
            sources: about.sources,
            git_revision: about.git_revision,
            reason: about.reason,
            labels: about.labels,
            references: about.references,
            evidence: about.evidence,
            origin: about.origin,
            records: None,
        });
        captured.push(None);
    }
    let mut committed = if new.is_empty() {
        Vec::new().into_iter()
    } else {
        writer.commit_all(new, clock()).map_err(CaptureError::from)?.into_iter()
    };
    let fill = |one: Option<Captured>| {
        one.or_else(|| {
            let info = committed.next()?;
            Some(Captured { id: info.id, manifest: info.manifest, unchanged: false, left_out: 0 })
        })
    };
    Ok(captured.into_iter().filter_map(fill).collect())
}

/// What went wrong: the feed, or what is done with it.
enum Failed<E> {
    Feed(E),
    Capture(CaptureError),
}

impl<E> From<CaptureError> for Failed<E> {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl Pipeline<'_> {
    fn take_in<E: From<CaptureError>>(
        &self,
        feed: impl FnOnce(&mut Intake) -> Result<(), E>,
    ) -> Result<Vec<Built>, Failed<E>> {
        let (events, arriving) = bounded(4 * super::group::GROUP_FILES);
        let (group_results, groups) = bounded(1024);
        let leftover = Leftover::default();
        let dir = self.setting.store.dir().join("tmp");
        let built = std::thread::scope(|threads| {
            let collector = Collector::new(self, arriving, groups, dir);
            let collector = threads.spawn(move || collector.run());
            let fed = rayon::in_place_scope(|tasks| {
                let reading = Reading::new(self, tasks, &leftover, group_results);
                let mut intake = Intake { reading, events, importer: Importer::new() };
                let fed = feed(&mut intake);
                // A collector that waits for what a group owes must get it, whatever became of the feed.
                fed.and_then(|()| intake.reading.dispatch().map_err(E::from))
            });
            let built = collector.join().map_err(|_| CaptureError::Died("the intake"))?;
            match (fed, built) {
                // That the other side is gone is what each finds when the other has failed.
                (Ok(()), Ok(built)) => Ok(built),
                (Ok(()), Err(e)) => Err(Failed::Capture(e)),
                (Err(e), Ok(_) | Err(CaptureError::Died(_))) => Err(Failed::Feed(e)),
                (Err(_), Err(e)) => Err(Failed::Capture(e)),
            }
        })?;
        leftover.flush(self.writer).map_err(CaptureError::from)?;
        Ok(built)
    }
}

impl Intake<'_, '_> {
    /// Takes a member of the snapshot at hand. `linked`: it has or had further names, though none may be among the members. Of
    /// what is a file `content` is read to its end, of anything else not at all.
    ///
    /// # Errors
    /// If no snapshot can hold it, its content breaks off or has another length, or the store fails.
    pub fn member(&mut self, member: &Member, linked: bool, content: &mut dyn Content) -> Result<(), CaptureError> {
        if self.reading.pipeline.setting.progress.cancelled() {
            return Err(CaptureError::Interrupted);
        }
        let entry = self.importer.entry(member).map_err(|why| refused(&member.path, why))?;
        let target = if let MemberKind::HardLink(target) = &member.kind { Some(target.clone()) } else { None };
        let mut arrived =
            Box::new(Arrived { path: member.path.clone(), entry, target, linked, replaces: member.replaces });
        if arrived.target.is_none() && !member.xattrs.is_empty() {
            let list: XattrList = member.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            check_xattrs(&member.path, &list)?;
            (arrived.entry.xattrs, arrived.entry.bits) = self.reading.store_xattrs(&list)?;
        }
        let MemberKind::File { size } = member.kind else { return self.send(Event::Ready(arrived)) };
        let wrong = |got: u64| refused(&member.path, format!("it has {got} bytes where {size} were announced"));
        if size > SMALL_FILE {
            let body = self.reading.stream(content)?;
            if body.size != size {
                return Err(wrong(body.size));
            }
            arrived.entry.body = Body::File(body);
            return self.send(Event::Ready(arrived));
        }
        let (bytes, holes) = read_whole(content, size, wrong)?;
        self.send(Event::Read(arrived))?;
        self.reading.add(Job::Bytes { bytes, holes })
    }

    /// All of a snapshot has come. The next member is of another one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(&mut self, about: About) -> Result<(), CaptureError> {
        self.reading.dispatch()?;
        self.send(Event::Finish(Box::new(about)))
    }

    fn send(&mut self, event: Event) -> Result<(), CaptureError> {
        // The collector may wait for a group that is not yet full: never block on it with files in hand.
        if self.events.is_full() && self.reading.holds() {
            self.reading.dispatch()?;
        }
        self.events.send(event).map_err(|_| CaptureError::Died("the intake"))
    }
}

fn check_xattrs(path: &[u8], list: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CaptureError> {
    let bad = |name: &[u8]| name.is_empty() || name.len() > 255 || name.contains(&0);
    if list.iter().any(|(name, _)| bad(name)) || !list.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(refused(path, "it has an attribute without a proper name, or one twice"));
    }
    if encode_xattrs(list).len() > MAX_XATTRS {
        return Err(refused(path, "its attributes are longer than a snapshot can hold"));
    }
    Ok(())
}

/// Reads a short content: its bytes, holes as zeros, and where those are.
fn read_whole(
    content: &mut dyn Content,
    size: u64,
    wrong: impl Fn(u64) -> CaptureError,
) -> Result<(Vec<u8>, Vec<Extent>), CaptureError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut holes: Vec<Extent> = Vec::new();
    loop {
        let part = content.next(&mut bytes)?;
        let offset = bytes.len() as u64;
        match part {
            Part::Data => {}
            Part::Hole(0) => continue,
            Part::Hole(len) if offset.saturating_add(len) > size => return Err(wrong(offset.saturating_add(len))),
            Part::Hole(len) => {
                match holes.last_mut() {
                    Some(last) if last.offset + last.len == offset => last.len += len,
                    _ => holes.push(Extent { offset, len }),
                }
                bytes.resize(bytes.len() + usize::try_from(len).unwrap_or(0), 0);
            }
            Part::End => break,
        }
        if bytes.len() as u64 > size {
            return Err(wrong(bytes.len() as u64));
        }
    }
    if bytes.len() as u64 == size { Ok((bytes, holes)) } else { Err(wrong(bytes.len() as u64)) }
}
