//! `zip`, canonical form `zip-v1`: the same tree gives the same bytes in one version of Larder.
//!
//! Members in preorder, folders as members of their own, the root's left out; everything deflated; sizes in front of each content,
//! of long files behind it, zip64 where it is needed; modes and symlinks as Unix zips have them, times in DOS's form (UTC) and
//! to the second. What a zip cannot carry is counted ([`Losses`](super::Losses)), and names that not every system can tell apart.
//!
//! Short files are deflated by several threads, a batch at a time into a small zip in memory, and these are taken in whole, in
//! order; long files are deflated as they are read. The
//! directory of a zip is written last and held until then: a few hundred bytes and the name for each member.

mod alike;
mod headers;
mod member;
mod name;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;

use zip::write::StreamWriter;
use zip::{ZipWriter, result::ZipError};

use crate::model::{Entry, Notice, Progress};
use crate::tree::{Flow, LongCheck, Pages, Visit, in_order};

use super::{PackError, Packing};
use alike::Alike;
use member::{Own, Prepared, Step, prepare};

/// Levels of deflate.
pub(super) const LEVELS: RangeInclusive<i32> = 1..=9;
/// A sixth less work than the 6 that zip programs use, for half a percent more bytes (Linux sources).
pub(super) const DEFAULT_LEVEL: i32 = 5;

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Writes trees as a zip.
pub(super) fn export(
    pages: &Pages,
    starts: Vec<(Box<[u8]>, Entry)>,
    level: i32,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Packing, PackError> {
    let (bytes, broken) = (Cell::new(0), Cell::new(false));
    let gate = Gate { out, bytes: &bytes, broken: &broken };
    let mut writing = Writing {
        zip: ZipWriter::new_stream(BufWriter::with_capacity(BUFFER, gate)),
        pages,
        progress,
        long: LongCheck::default(),
        packing: Packing::default(),
    };
    let flow = Flow::new(pages, apart(starts));
    let mut jobs = Jobs { pages, flow, rest: VecDeque::new(), again: None, alike: Alike::default() };
    let written = in_order(|| jobs.next(), |batch| prepare(pages, batch, level), |prepared| writing.take(prepared?));
    if let Err(error) = written {
        // A writer that is dropped ends the zip. This one must not look as if it were whole.
        broken.set(true);
        return Err(error);
    }
    let Writing { zip, mut packing, .. } = writing;
    packing.losses.append(jobs.alike.losses);
    if jobs.alike.passed_over > 0 {
        progress.notice(Notice::Remark(format!(
            "there were too many names to compare all: {} may be one name with another to Windows and macOS and were not counted as such",
            jobs.alike.passed_over
        )));
    }
    let finished = zip.finish().map_err(failed).and_then(|out| {
        let mut out = out.into_inner();
        out.flush().map_err(PackError::Write)
    });
    broken.set(finished.is_err());
    finished?;
    Ok(Packing { bytes: bytes.get(), ..packing })
}

/// Starts that are in none of the others: a name can be in a zip once.
fn apart(mut starts: Vec<(Box<[u8]>, Entry)>) -> Vec<(Box<[u8]>, Entry)> {
    let paths: Vec<_> = starts.iter().map(|(path, _)| path.clone()).collect();
    let covers = |above: &[u8], path: &[u8]| {
        above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.first() == Some(&b'/'))
    };
    let mut at = 0;
    starts.retain(|(path, _)| {
        at += 1;
        let twice = paths[..at - 1].contains(path);
        !twice && !paths.iter().any(|other| other != path && covers(other, path))
    });
    starts
}

/// Batches of visits, in which further names of hard links have the content again.
struct Jobs<'a> {
    pages: &'a Pages,
    flow: Flow,
    /// Behind a further name.
    rest: VecDeque<Visit>,
    /// A further name that is being read.
    again: Option<Flow>,
    alike: Alike,
}

impl Jobs<'_> {
    fn next(&mut self) -> Option<Vec<Visit>> {
        if let Some(flow) = &mut self.again {
            let batch = flow.batch();
            if !batch.is_empty() {
                return Some(batch);
            }
            self.again = None;
        }
        if self.rest.is_empty() {
            self.rest.extend(self.flow.batch());
        }
        let mut batch = Vec::new();
        while let Some(visit) = self.rest.pop_front() {
            self.alike.visit(&visit);
            if let Visit::Enter { node, first: Some(_), .. } = &visit {
                self.again = Some(Flow::new(self.pages, vec![(node.path.clone(), node.entry.clone())]));
                // The name itself goes ahead, to be counted.
                batch.push(visit);
                break;
            }
            batch.push(visit);
        }
        Some(batch).filter(|batch| !batch.is_empty())
    }
}

/// A zip on its way out.
struct Writing<'a> {
    zip: ZipWriter<StreamWriter<BufWriter<Gate<'a>>>>,
    pages: &'a Pages,
    progress: &'a dyn Progress,
    long: LongCheck,
    packing: Packing,
}

impl Writing<'_> {
    fn take(&mut self, prepared: Prepared) -> Result<(), PackError> {
        self.packing.losses.append(prepared.losses);
        for step in prepared.steps {
            self.put(step)?;
        }
        if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
    }

    fn put(&mut self, step: Step) -> Result<(), PackError> {
        let (members, content) = match step {
            Step::Short(archive, members, content) => {
                self.zip.merge_archive(*archive).map_err(failed)?;
                (members, content)
            }
            Step::Begin(name, options) => {
                self.zip.start_file(name, *options).map_err(failed)?;
                (1, 0)
            }
            Step::Part(node, mut part, stretches) => {
                for stretch in &stretches {
                    self.stretch(stretch)?;
                }
                self.long.add(self.pages, &node, &mut part).map_err(PackError::of(&node))?;
                (0, 0)
            }
        };
        self.packing.members += members;
        self.progress.advance(members, content);
        Ok(())
    }

    fn stretch(&mut self, stretch: &Own) -> Result<(), PackError> {
        static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
        let mut write = |bytes: &[u8]| {
            self.zip.write_all(bytes).map_err(PackError::Write)?;
            self.progress.advance(0, bytes.len() as u64);
            if self.progress.cancelled() { Err(PackError::Interrupted) } else { Ok(()) }
        };
        match stretch {
            Own::Data(bytes) => write(bytes),
            Own::Hole(len) => {
                let mut rest = *len;
                while rest > 0 {
                    let step = usize::try_from(rest).unwrap_or(ZEROS.len()).min(ZEROS.len());
                    write(&ZEROS[..step])?;
                    rest -= step as u64;
                }
                Ok(())
            }
        }
    }
}

fn failed(error: ZipError) -> PackError {
    PackError::Write(match error {
        ZipError::Io(error) => error,
        other => std::io::Error::other(other),
    })
}

/// The way out. Once something failed it swallows what still comes.
struct Gate<'a> {
    out: &'a mut dyn Write,
    bytes: &'a Cell<u64>,
    broken: &'a Cell<bool>,
}

impl Write for Gate<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.broken.get() {
            return Ok(bytes.len());
        }
        let fails = |e: &std::io::Error| e.kind() != std::io::ErrorKind::Interrupted;
        let len = self.out.write(bytes).inspect_err(|e| self.broken.set(fails(e)))?;
        self.bytes.set(self.bytes.get() + len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.broken.get() { Ok(()) } else { self.out.flush() }
    }
}
