//! The inventory of a pack: each entry as a line of its manifest. The tree is walked for it twice, once to learn how long it will be,
//! once to write it: it is never held.

use std::io::Write;

use crate::codec::{ContentDigest, Sha256};
use crate::model::{Body, Digest, Entry, Extent, FileBody, Holes, Progress};
use crate::store::StoreError;
use crate::tree::{Flow, Node, Pages, Stretch, Visit, in_order};

use super::PackError;
use super::checksums;
use super::form::Form;
use super::loss::Losses;
use super::loss_counter::LossCounter;
use super::manifest::{Item, ItemKind, LossInfo, Text, Time, Totals, write_end, write_item, write_start};
use super::subject::Subject;
use super::sums::Sums;

/// What a walk over a subject told, before any of its content is read.
#[derive(Debug)]
pub(super) struct Survey {
    /// Bytes of its manifest.
    pub(super) manifest_len: u64,
    /// SHA-256 of its manifest, as digits.
    pub(super) manifest_sha256: String,
    /// Bytes that the lines of its files take in `checksums.sha256`.
    pub(super) lines_len: u64,
}

/// Walks a subject and learns how long its manifest is.
pub(super) fn survey(subject: &Subject, form: Form, progress: &dyn Progress) -> Result<Survey, PackError> {
    let (mut len, mut hash) = (0, Sha256::default());
    let lines_len = manifest(subject, form, progress, &mut |bytes| {
        len += bytes.len() as u64;
        hash.update(bytes);
        Ok(())
    })?;
    Ok(Survey { manifest_len: len, manifest_sha256: hash.hex(), lines_len })
}

/// Writes the manifest of a subject.
pub(super) fn write_manifest(
    subject: &Subject,
    form: Form,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), PackError> {
    manifest(subject, form, progress, &mut |bytes| out.write_all(bytes).map_err(PackError::Write)).map(drop)
}

/// Gives a manifest piece by piece; tells how long the lines of the files' checksums will be.
fn manifest(
    subject: &Subject,
    form: Form,
    progress: &dyn Progress,
    give: &mut dyn FnMut(&[u8]) -> Result<(), PackError>,
) -> Result<u64, PackError> {
    let paths = subject.paths();
    give(&write_start(form.as_str(), &subject.name(), &subject.info(), paths.as_deref()).map_err(PackError::Write)?)?;
    let name_len = subject.name().len() + "/content/".len();
    let mut flow = subject.flow().without_content();
    let mut counter = LossCounter::new(form);
    let (mut totals, mut lines_len, mut is_first) = (Totals::default(), 0, true);
    in_order(
        || {
            let visits = flow.batch();
            visits.iter().for_each(|visit| counter.visit(visit));
            // Only the batch with the first entry knows that nothing stands in front of it.
            (!visits.is_empty()).then(|| (std::mem::replace(&mut is_first, false), visits))
        },
        |(is_first, visits)| Lines::of(&subject.pages, (form, name_len), is_first, visits),
        |lines| {
            let lines = lines?;
            totals.append(&lines.totals);
            lines_len += lines.checksums_len;
            if progress.cancelled() { Err(PackError::Interrupted) } else { give(&lines.bytes) }
        },
    )?;
    let losses = counter.finish(progress);
    give(&write_end(&totals, &loss_infos(&losses)).map_err(PackError::Write)?)?;
    Ok(lines_len)
}

/// Writes the lines of a subject's files in `checksums.sha256`. `sums`: of each file that is in the archive, in its order.
pub(super) fn write_lines(
    subject: &Subject,
    form: Form,
    sums: &Sums,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), PackError> {
    let mut flow = subject.flow().without_content();
    let (mut sums, mut lines) = (sums.read(), Vec::new());
    while let Some(visit) = flow.next() {
        match visit {
            Visit::Enter { node, .. } => {
                let Some(name) = node.entry.file().and_then(|_| form.name(ItemKind::of(&node.entry.body), &node.path))
                else {
                    continue;
                };
                let sum = sums.next().map_err(PackError::Write)?.map(checksums::hex).unwrap_or_default();
                checksums::put_line(&mut lines, &sum, &[b"content/", &name[..]].concat());
            }
            Visit::Odd(node, error) | Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
            Visit::Part(..) | Visit::Leave(_) => {}
        }
        if lines.len() > 1 << 20 {
            out.write_all(&lines).map_err(PackError::Write)?;
            lines.clear();
            if progress.cancelled() {
                return Err(PackError::Interrupted);
            }
        }
    }
    out.write_all(&lines).map_err(PackError::Write)
}

/// Losses as a manifest lists them.
fn loss_infos(losses: &Losses) -> Vec<LossInfo> {
    let info = |(loss, items, examples): (super::Loss, u64, &[String])| LossInfo {
        sort: loss.as_str().to_owned(),
        what: loss.explained().to_owned(),
        items,
        examples: examples.to_vec(),
    };
    losses.iter().map(info).collect()
}

/// The lines of a batch.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    totals: Totals,
    checksums_len: u64,
}

impl Lines {
    /// `name_len`: the bytes that stand in front of a path in the archive.
    fn of(
        pages: &Pages,
        (form, name_len): (Form, usize),
        mut is_first: bool,
        visits: Vec<Visit>,
    ) -> Result<Self, PackError> {
        let mut lines = Self::default();
        for visit in visits {
            match visit {
                Visit::Enter { node, first, .. } => {
                    if form == Form::Tar {
                        PackError::check_name(&node, name_len)?;
                    }
                    let item = item(pages, form, &node, first.as_deref()).map_err(PackError::of(&node))?;
                    write_item(&mut lines.bytes, &item, is_first).map_err(PackError::Write)?;
                    is_first = false;
                    lines.totals.add(item.kind, item.size.unwrap_or(0));
                    if let Some(name) =
                        node.entry.file().and_then(|_| form.name(ItemKind::of(&node.entry.body), &node.path))
                    {
                        lines.checksums_len += checksums::line_len(&[b"content/", &name[..]].concat());
                    }
                }
                Visit::Part(..) | Visit::Leave(_) => {}
                Visit::Odd(node, error) | Visit::Lost(node, error) => return Err(PackError::of(&node)(error)),
            }
        }
        Ok(lines)
    }
}

/// An entry as its line has it.
fn item(pages: &Pages, form: Form, node: &Node, first: Option<&Node>) -> Result<Item, StoreError> {
    let entry = &node.entry;
    let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| Text::new(bytes));
    let device = match &entry.body {
        Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => Some((*major, *minor)),
        _ => None,
    };
    let xattrs = pages.xattrs(entry)?.iter().map(|(name, value)| (Text::new(name), Text::new(value))).collect();
    let member = match form.name(ItemKind::of(&node.entry.body), &node.path) {
        None => Some(None),
        Some(name) if *name == *node.path => None,
        Some(name) => Some(Some(format!("content/{}", String::from_utf8_lossy(&name)))),
    };
    let file = entry.file();
    Ok(Item {
        path: Text::new(&node.path),
        kind: ItemKind::of(&entry.body),
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        user: text(&entry.user),
        group: text(&entry.group),
        mtime: Time(entry.mtime),
        btime: entry.btime.map(Time),
        xattrs,
        size: file.map(|file| file.size),
        blake3: file.map(|file| content_digest(pages, node, file)).transpose()?.map(|digest| digest.to_string()),
        holes: file.map(|file| holes(pages, file)).transpose()?.unwrap_or_default(),
        link: entry.link.map(|_| Text::new(first.map_or(&node.path, |first| &first.path))),
        target: match &entry.body {
            Body::Symlink(target) => Some(Text::new(target)),
            _ => None,
        },
        device,
        member,
    })
}

fn holes(pages: &Pages, file: &FileBody) -> Result<Vec<(u64, u64)>, StoreError> {
    let pair = |hole: &Extent| (hole.offset, hole.len);
    Ok(match &file.holes {
        Holes::None => Vec::new(),
        Holes::List(list) => list.iter().map(pair).collect(),
        Holes::Paged(page, counts) => {
            let (mut items, mut all) = (pages.items::<Extent>(page, counts)?, Vec::new());
            while let Some(hole) = items.next()? {
                all.push(pair(&hole));
            }
            all
        }
    })
}

/// The BLAKE3 of a file's content. A file that does not say it is read.
fn content_digest(pages: &Pages, node: &Node, file: &FileBody) -> Result<Digest, StoreError> {
    if let Some(known) = file.content {
        return Ok(known);
    }
    let alone = Entry { link: None, ..node.entry.clone() };
    let mut flow = Flow::new(pages, vec![(node.path.clone(), alone)]);
    let mut hash = ContentDigest::default();
    while let Some(visit) = flow.next() {
        if let Visit::Enter { part: Some(mut part), .. } | Visit::Part(_, mut part) = visit {
            pages.read_part::<StoreError>(&mut part, |stretch| {
                match stretch {
                    Stretch::Data(bytes) => hash.update(bytes),
                    Stretch::Hole(len) => hash.zeros(len),
                }
                Ok(())
            })?;
        }
    }
    Ok(hash.finish())
}
