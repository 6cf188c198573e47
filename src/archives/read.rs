//! The members of an archive, one after the other, whoever made it.

use std::io;

use super::content::{Content, Part};
use super::error::{ArchiveError, printable};
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
    match opened {
        Opened::Tar(from) => each(&mut tar::Members::new(from, limits), limits, visit),
        Opened::Zip(from) => each(&mut zip::Members::new(from, limits)?, limits, visit),
        Opened::Members(mut members) => each(&mut *members, limits, visit),
    }
}

impl<R: io::Read> Members for tar::Members<R> {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.next_member()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}

impl Members for zip::Members {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.next_member()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}

fn each<E: From<ArchiveError>>(
    from: &mut dyn Members,
    limits: &Limits,
    visit: &mut dyn FnMut(Member, &mut dyn Content) -> Result<(), E>,
) -> Result<Tally, E> {
    let (mut names, mut tally) = (Names::new(limits.clone()), Tally::default());
    while let Some(mut member) = from.member()? {
        member.is_alike = names.admit(&member)?;
        tally.members += 1;
        if tally.members > limits.members {
            let text = format!("the archive has more than {} members (--max-members)", limits.members);
            return Err(ArchiveError::Limit(text).into());
        }
        let size = if let MemberKind::File { size } = member.kind { size } else { 0 };
        tally.bytes = tally.bytes.saturating_add(size);
        if let Some(most) = limits.bytes.filter(|most| tally.bytes > *most) {
            let text =
                format!("{}: with it the contents are more than {most} bytes (--max-total)", printable(&member.path));
            return Err(ArchiveError::Limit(text).into());
        }
        let has_content = matches!(member.kind, MemberKind::File { .. });
        let mut body =
            Body { from, path: member.path.clone(), left: size, hole: 0, failed: false, ended: !has_content };
        visit(member, &mut body)?;
        body.drain()?;
    }
    tally.remarks = from.remarks();
    (tally.alike, tally.alike_examples) = (names.alike, std::mem::take(&mut names.alike_examples));
    Ok(tally)
}

/// A content that has just as many bytes as its member says.
struct Body<'a> {
    from: &'a mut dyn Members,
    path: Box<[u8]>,
    left: u64,
    /// What is still to be given of a hole.
    hole: u64,
    failed: bool,
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
        if self.failed {
            return Err(ArchiveError::damaged(format!("{} could not be read to its end", printable(&self.path))));
        }
        if self.hole > 0 {
            return Ok(self.step());
        }
        let before = buffer.len();
        let part = self.from.next(buffer)?;
        let hole = if let Part::Hole(len) = part { len } else { 0 };
        let got = (buffer.len() - before) as u64;
        let left = self.left.checked_sub(got).and_then(|left| left.checked_sub(hole));
        self.left = left.ok_or_else(|| ArchiveError::refused(&self.path, "it has more bytes than it says"))?;
        if part == Part::End && self.left > 0 {
            return Err(ArchiveError::refused(&self.path, "it has fewer bytes than it says"));
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
        self.failed = part.is_err();
        self.ended = matches!(part, Ok(Part::End));
        part.map_err(Into::into)
    }
}
