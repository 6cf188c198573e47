//! The members of an archive, one after the other, whoever made it.

use std::io;

use super::content::{Content, Part};
use super::error::{ArchiveError, printable};
use super::form::{Ending, ZipRecords};
use super::limits::Limits;
use super::member::{Member, MemberKind, Members};
use super::names::Names;
use super::open::Opened;
use super::remarks::Remarks;
use super::{tar, zip};

/// Bytes of a hole that are given at once: who hashes them can be stopped in between.
pub const HOLE_MAX: u64 = 256 << 20;

/// What was met in an archive that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Members.
    pub members: u64,
    /// Bytes of their contents, holes counted.
    pub bytes: u64,
    /// What is strange and does not stop the reading: no end mark, something behind the end, what is passed over.
    pub remarks: Remarks,
    /// Names that differ from an earlier one in letter case alone, or in how accents are written.
    pub alike: u64,
    /// The first few of them.
    pub alike_examples: Vec<Box<[u8]>>,
    /// What a tar or zip ends with.
    pub ending: Option<Ending>,
}

/// Who is shown the members of an archive, and what is wrong with single ones.
pub trait Receiver<E: From<ArchiveError>> {
    /// A member and its content. Whoever is given the fault of a member as an error of its content, and no error gives back, has the reading go on behind it.
    ///
    /// # Errors
    /// Ends the reading.
    fn member(&mut self, member: Member, content: &mut dyn Content) -> Result<(), E>;

    /// The records of a zip's member, which was shown before and in which nothing is wrong.
    ///
    /// # Errors
    /// Ends the reading.
    fn records(&mut self, _: &ZipRecords) -> Result<(), E> {
        Ok(())
    }

    /// A fault of a member that was not shown, or not read to its end.
    ///
    /// # Errors
    /// Ends the reading. That is what happens unless someone wants to know more.
    fn fault(&mut self, error: ArchiveError) -> Result<(), E> {
        Err(error.into())
    }
}

/// Who takes members, and ends with the first fault.
struct Taker<'a, E>(&'a mut dyn FnMut(Member, &mut dyn Content) -> Result<(), E>);

impl<E: From<ArchiveError>> Receiver<E> for Taker<'_, E> {
    fn member(&mut self, member: Member, content: &mut dyn Content) -> Result<(), E> {
        (self.0)(member, content)
    }
}

/// Gives each member to `visit`, in the order in which they stand, with its content; what of a content `visit` leaves is read all the same, so
/// that the archive's own checksums are compared. Members of a folder may come before it, and it need not come at all.
///
/// A path is given once, but folders can come again; what is above it is a folder or does not come; a further name is given behind the first.
///
/// # Errors
/// At the first thing that is damaged, refused or beyond a limit, and the first that `visit` gives. What was visited before is then part of an archive that is not whole.
pub fn read<E: From<ArchiveError>>(
    opened: Opened,
    limits: &Limits,
    visit: &mut dyn FnMut(Member, &mut dyn Content) -> Result<(), E>,
) -> Result<Tally, E> {
    read_on(opened, limits, &mut Taker(visit))
}

/// The same for whoever wants to know of each member that something is wrong with.
///
/// # Errors
/// At the first thing behind which nothing can be read, and the first that `receiver` gives.
pub fn read_on<E: From<ArchiveError>>(
    opened: Opened,
    limits: &Limits,
    receiver: &mut dyn Receiver<E>,
) -> Result<Tally, E> {
    match opened {
        Opened::Tar(from) => each(&mut tar::Members::new(from, limits), limits, receiver),
        Opened::Zip(from) if limits.searches => each(&mut zip::Searching::new(from, limits)?, limits, receiver),
        Opened::Zip(from) => each(&mut zip::Members::new(from, limits)?, limits, receiver),
        Opened::Members(mut members) => each(&mut *members, limits, receiver),
    }
}

impl<R: io::Read> Members for tar::Members<R> {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.next_member()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }

    fn ending(&mut self) -> Result<Option<Ending>, ArchiveError> {
        Ok(self.ending.take())
    }
}

impl Members for zip::Members {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.next_member()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }

    fn records(&mut self) -> Result<Option<ZipRecords>, ArchiveError> {
        self.take_records()
    }

    fn ending(&mut self) -> Result<Option<Ending>, ArchiveError> {
        self.read_ending().map(Some)
    }
}

fn each<E: From<ArchiveError>>(
    from: &mut dyn Members,
    limits: &Limits,
    receiver: &mut dyn Receiver<E>,
) -> Result<Tally, E> {
    let (mut names, mut tally, mut faults) = (Names::new(limits.clone()), Tally::default(), 0);
    loop {
        let next = next(from, &mut names);
        let is_one = match &next {
            Ok(found) => found.is_some(),
            Err(error) => error.is_of_member(),
        };
        if is_one && tally.members + faults >= limits.members {
            let text = format!("the archive has more than {} members (--max-members)", limits.members);
            return Err(ArchiveError::Limit(text).into());
        }
        let member = match next {
            Ok(None) => break,
            Ok(Some(member)) => member,
            Err(error) if error.is_of_member() => {
                faults += 1;
                receiver.fault(error)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        tally.members += 1;
        let size = if let MemberKind::File { size } = member.kind { size } else { 0 };
        tally.bytes = tally.bytes.saturating_add(size);
        if let Some(most) = limits.bytes.filter(|most| tally.bytes > *most) {
            let text =
                format!("{}: with it the contents are more than {most} bytes (--max-total)", printable(&member.path));
            return Err(ArchiveError::Limit(text).into());
        }
        let has_content = matches!(member.kind, MemberKind::File { .. });
        let mut body = Body { from, path: member.path.clone(), left: size, hole: 0, failed: None, ended: !has_content };
        receiver.member(member, &mut body)?;
        let is_told = body.failed.is_some();
        match body.drain() {
            Ok(()) => {
                if let Some(records) = from.records()? {
                    receiver.records(&records)?;
                }
            }
            Err(error) if !error.is_of_member() => return Err(error.into()),
            Err(_) if is_told => {}
            Err(error) => receiver.fault(error)?,
        }
    }
    (tally.remarks, tally.ending) = (from.remarks(), from.ending()?);
    (tally.alike, tally.alike_examples) = (names.alike, std::mem::take(&mut names.alike_examples));
    Ok(tally)
}

/// The next member, if its name lets it in.
fn next(from: &mut dyn Members, names: &mut Names) -> Result<Option<Member>, ArchiveError> {
    let Some(mut member) = from.member()? else { return Ok(None) };
    names.admit(&mut member)?;
    Ok(Some(member))
}

/// A content that has just as many bytes as its member says.
struct Body<'a> {
    from: &'a mut dyn Members,
    path: Box<[u8]>,
    left: u64,
    /// What is still to be given of a hole.
    hole: u64,
    /// What was wrong with it.
    failed: Option<ArchiveError>,
    ended: bool,
}

impl Body<'_> {
    fn drain(&mut self) -> Result<(), ArchiveError> {
        let mut rest = Vec::new();
        while !self.ended {
            rest.clear();
            self.next(&mut rest)?;
        }
        Ok(())
    }

    fn part(&mut self, buffer: &mut Vec<u8>) -> Result<Part, ArchiveError> {
        if let Some(error) = &self.failed {
            return Err(error.again());
        }
        if self.hole > 0 {
            return Ok(self.step());
        }
        let before = buffer.len();
        let part = self.from.next(buffer)?;
        let hole = if let Part::Hole(len) = part { len } else { 0 };
        let got = (buffer.len() - before) as u64;
        let left = self.left.checked_sub(got).and_then(|left| left.checked_sub(hole));
        self.left = left.ok_or_else(|| ArchiveError::spoiled(&self.path, "it has more bytes than it says"))?;
        if part == Part::End && self.left > 0 {
            return Err(ArchiveError::spoiled(&self.path, "it has fewer bytes than it says"));
        }
        self.hole = hole;
        Ok(if hole > 0 { self.step() } else { part })
    }

    /// The next piece of a hole.
    fn step(&mut self) -> Part {
        let len = self.hole.min(HOLE_MAX);
        self.hole -= len;
        Part::Hole(len)
    }
}

impl Content for Body<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        if self.ended {
            return Ok(Part::End);
        }
        let part = self.part(buffer);
        self.failed = part.as_ref().err().map(ArchiveError::again);
        self.ended = matches!(part, Ok(Part::End));
        part.map_err(Into::into)
    }
}
