//! Zips: by Info-ZIP, 7-Zip, Python, macOS, Windows, and whoever means harm.
//!
//! A parser of its own. The directory is what counts; what stands in front of each content must say the same, and no two members may share a byte. The `zip` crate
//! keeps the whole directory in memory, lets the later of two members of a name replace the earlier, and looks at neither.

mod content;
mod end;
mod extra;
mod name;
mod record;
mod search;
mod window;

use std::cell::RefCell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::content::{Content, Part};
use super::error::{ArchiveError, Fault, Wrong, printable};
use super::form::{Ending, ZipRecords};
use super::limits::Limits;
use super::member::{Member, MemberKind};
use super::open::ReadSeek;
use super::path::clean;
use super::remarks::Remarks;
use content::Decoder;
use record::{CENTRAL, Central, LOCAL, Local};
pub(super) use search::Searching;
use window::{Shared, Window};

/// Bytes of a symlink's target, as Linux has it.
const TARGET_MAX: u64 = 4095;
/// Bytes that are looked at of what stands behind a content.
const BEHIND: u64 = 32;
/// Bytes of the directory that are read at a time.
const DIRECTORY_BYTES: usize = 64 << 10;

/// The members of a zip, in the order of its directory.
pub(super) struct Members {
    from: Shared,
    place: end::Place,
    directory: BufReader<Window>,
    /// Bytes of the directory that are not read yet.
    left: u64,
    /// Where members begin, ascending: 8 bytes of memory for each.
    starts: Vec<u64>,
    limits: Limits,
    /// Bytes of all contents so far, and as they are stored.
    given: u64,
    stored: u64,
    current: Option<Current>,
    /// Members that were asked for.
    asked: u64,
    /// The records of the member that came last, and where its content ends and the next one begins.
    records: Option<(ZipRecords, u64, u64)>,
    pub(super) remarks: Remarks,
}

/// The member whose content is being read.
struct Current {
    central: Central,
    raw: Vec<u8>,
    decoder: Decoder,
    /// Where what is stored ends, and where the next member begins.
    end: u64,
    next: u64,
    /// Sum and sizes stand behind it; if true, they are told in front of it too.
    streamed: Option<bool>,
}

impl Members {
    pub(super) fn new(from: Box<dyn ReadSeek>, limits: &Limits) -> Result<Self, ArchiveError> {
        Self::of(&Rc::new(RefCell::new(from)), limits)
    }

    fn of(from: &Shared, limits: &Limits) -> Result<Self, ArchiveError> {
        let place = end::find(from)?;
        let mut members = Self {
            directory: directory(from, &place),
            from: Rc::clone(from),
            place,
            left: place.size,
            starts: Vec::new(),
            limits: limits.clone(),
            given: 0,
            stored: 0,
            current: None,
            asked: 0,
            records: None,
            remarks: Remarks::default(),
        };
        if place.front > 0 {
            members
                .remarks
                .add(format!("{} bytes stand in front of the zip, as in a program that extracts itself", place.front));
        }
        members.survey()?;
        Ok(members)
    }

    /// Reads the directory once, for where the members begin.
    fn survey(&mut self) -> Result<(), ArchiveError> {
        let mut count = 0_u64;
        while let Some((_, record)) = self.record()? {
            count += 1;
            if count > self.limits.members {
                let text = format!("the zip has more than {} members (--max-members)", self.limits.members);
                return Err(ArchiveError::Limit(text));
            }
            // What makes no sense is told when it is its turn.
            if let Ok(record) = record {
                self.starts.push(record.offset.saturating_add(self.place.front));
            }
        }
        if count != self.place.count && !(self.place.is_short && count & 0xffff == self.place.count) {
            let text = format!("the zip's directory has {count} members, its end says {}", self.place.count);
            return Err(ArchiveError::damaged(text));
        }
        self.starts.sort_unstable();
        self.place.count = count;
        (self.directory, self.left) = (directory(&self.from, &self.place), self.place.size);
        Ok(())
    }

    /// The directory's next record as it stands there, and what it says or what is wrong with it alone.
    fn record(&mut self) -> Result<Option<(Vec<u8>, Result<Central, ArchiveError>)>, ArchiveError> {
        if self.left == 0 {
            return Ok(None);
        }
        let damaged = || ArchiveError::damaged("the zip's directory is not what its end says");
        let mut fixed = [0; CENTRAL];
        self.take(&mut fixed)?;
        let lengths = record::lengths(&fixed).ok_or_else(damaged)?;
        let [mut name, mut extra, mut comment] = lengths.map(|len| vec![0; len]);
        for field in [&mut name, &mut extra, &mut comment] {
            self.take(field)?;
        }
        let central = Central::parse(&fixed, &name, &extra).map_err(|why| ArchiveError::spoiled(&name, why));
        Ok(Some(([&fixed, &name[..], &extra, &comment].concat(), central)))
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| ArchiveError::damaged("the zip's directory ends within a member"))?;
        self.directory.read_exact(bytes)?;
        Ok(())
    }

    /// The next member.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        (self.current, self.records) = (None, None);
        let Some((as_written, central)) = self.record()? else { return Ok(None) };
        self.asked += 1;
        let central = central?;
        let raw = self.decoded_name(&central);
        let refused = |why: &str| ArchiveError::refused(&raw, why);
        let (path, slash) = clean(&raw, self.limits.absolute).map_err(refused)?;
        if let Some(why) = central.refusal() {
            return Err(ArchiveError::unsupported(&raw, why));
        }
        let (local, window, in_front) = self.local(&central).map_err(|e| e.named(&raw))?;
        self.weigh(&central, &raw)?;
        let extra = central.extra.clone().or(local.extra.clone());
        let (start, end) = window;
        let decoder = Decoder::new(central.method, Window::new(&self.from, start, end)).map_err(|e| match e {
            ArchiveError::Unknown(why) => {
                ArchiveError::unsupported(&raw, format!("{why}, which Larder does not read: extract it with 7-Zip"))
            }
            e => e,
        })?;
        let next = self.starts.partition_point(|at| *at < start);
        let next = self.starts.get(next).copied().unwrap_or(self.place.start);
        let streamed = local.is_streamed().then(|| local.tells(&central));
        let (host, attributes, size) = (central.host, central.attributes, central.size);
        let mtime = extra.mtime.or(extra::dos_time(central.time.0, central.time.1));
        let records = ZipRecords {
            number: self.asked - 1,
            path: path.clone(),
            name: central.name.clone(),
            mode: attributes >> 16,
            mtime,
            method: central.method,
            crc: central.crc,
            size,
            stored: central.stored,
            is_streamed: streamed.is_some(),
            offset: central.offset,
            local: in_front,
            behind: Vec::new(),
            central: as_written,
        };
        self.current = Some(Current { central, raw: raw.clone(), decoder, end, next, streamed });
        let mode = unix_mode(host, attributes);
        let kind = self.kind(mode, slash, size, &raw)?;
        let mut member = Member { path, ..Member::new(kind) };
        match mode.filter(|mode| *mode != 0) {
            Some(mode) => member.mode = mode & 0o7777,
            // DOS's attribute of files that must not be changed.
            None if attributes & 1 != 0 && mode.is_none() => member.mode &= 0o555,
            None => {}
        }
        member.mtime = mtime;
        member.btime = extra.btime;
        (member.uid, member.gid) = extra.owner.map_or((None, None), |(uid, gid)| (Some(uid), Some(gid)));
        self.records = Some((records, end, next));
        Ok(Some(member))
    }

    /// The records of the member that came last.
    pub(super) fn take_records(&mut self) -> Result<Option<ZipRecords>, ArchiveError> {
        let Some((mut records, end, next)) = self.records.take() else { return Ok(None) };
        let len = usize::try_from(next.saturating_sub(end).min(BEHIND)).unwrap_or(0);
        records.behind = Window::exact(&self.from, end, len)?;
        Ok(Some(records))
    }

    /// What stands behind the directory.
    pub(super) fn read_ending(&self) -> Result<Ending, ArchiveError> {
        let end::Place { front, start, size, count, end, .. } = self.place;
        let at = start + size;
        let bytes = Window::exact(&self.from, at, usize::try_from(end.saturating_sub(at)).unwrap_or(0))?;
        Ok(Ending::Zip { members: count, directory: (start - front, size), bytes })
    }

    fn decoded_name(&self, central: &Central) -> Vec<u8> {
        let is_utf8 = central.flags & 1 << 11 != 0;
        match &central.extra.name {
            // A name in UTF-8 beside one in the characters of its machine, and of just this one.
            Some((crc, name)) if !is_utf8 && *crc == crc32fast::hash(&central.name) => {
                name::decode(name, central.host, true)
            }
            _ => name::decode(&central.name, central.host, is_utf8),
        }
    }

    /// What the member is. A symlink's target is its content.
    fn kind(&mut self, mode: Option<u16>, slash: bool, size: u64, raw: &[u8]) -> Result<MemberKind, ArchiveError> {
        let spoiled = |why: &str| Err(ArchiveError::spoiled(raw, why));
        let empty = |kind: MemberKind| match size {
            0 => Ok(kind),
            _ => spoiled("it is no file and has a content"),
        };
        let sort = mode.unwrap_or(0) & 0o170_000;
        match sort {
            0o040_000 => empty(MemberKind::Folder),
            _ if slash && matches!(sort, 0 | 0o100_000) => empty(MemberKind::Folder),
            _ if slash => spoiled("a slash stands behind its name, and it is no folder"),
            0 | 0o100_000 => Ok(MemberKind::File { size }),
            0o120_000 if size > TARGET_MAX => spoiled("it is a symlink whose target is longer than 4095 bytes"),
            0o120_000 => {
                let mut target = Vec::new();
                while self.next(&mut target)? != Part::End {}
                if target.is_empty() || target.contains(&0) {
                    return spoiled("it is a symlink whose target is empty or holds a zero byte");
                }
                Ok(MemberKind::Symlink(target.into()))
            }
            0o010_000 => empty(MemberKind::Fifo),
            0o140_000 => empty(MemberKind::Socket),
            0o020_000 | 0o060_000 => {
                Err(ArchiveError::unsupported(raw, "it is a device, of which zips do not have the number"))
            }
            _ => Err(ArchiveError::unsupported(raw, "it is of a sort that Larder does not know")),
        }
    }

    /// The record in front of the content, compared with the directory's, where the content stands, and the record as it stands there.
    fn local(&self, central: &Central) -> Result<(Local, (u64, u64), Vec<u8>), Wrong> {
        let at = central.offset.checked_add(self.place.front).filter(|at| *at < self.place.start);
        let at = at.ok_or("it is said to stand behind the end of what stands in front of the directory")?;
        // Of two members at one place the second one's record would be in the first.
        let next = self.starts.partition_point(|start| *start <= at);
        if next > 1 && self.starts[next - 2] == at {
            return Err(OVERLAP);
        }
        let limit = self.starts.get(next).copied().unwrap_or(self.place.start).min(self.place.start);
        let fits = |end: Option<u64>| end.filter(|end| *end <= limit).ok_or(OVERLAP);
        let names = fits(at.checked_add(LOCAL as u64))?;
        let fixed = Window::exact(&self.from, at, LOCAL)?;
        let [name, extra] = record::local_lengths(&fixed).ok_or("no member begins where the directory says")?;
        let start = fits(names.checked_add((name + extra) as u64))?;
        let fields = Window::exact(&self.from, names, name + extra)?;
        let local = Local::parse(&fixed, &fields[..name], &fields[name..])?;
        if let Some(why) = local.contradicts(central) {
            return Err(why.into());
        }
        let end = fits(start.checked_add(central.stored))?;
        Ok((local, (start, end), [fixed, fields].concat()))
    }

    /// Holds what is stored against what comes out of it.
    fn weigh(&mut self, central: &Central, raw: &[u8]) -> Result<(), ArchiveError> {
        if central.method == 0 && central.size != central.stored {
            return Err(ArchiveError::spoiled(raw, "it is not compressed, and has two sizes"));
        }
        self.given = self.given.saturating_add(central.size);
        self.stored = self.stored.saturating_add(central.stored);
        if self.given <= self.limits.most(self.stored) {
            return Ok(());
        }
        let ratio = self.limits.ratio;
        let text =
            format!("{}: with it the zip grows to more than {ratio} times its size (--max-ratio)", printable(raw));
        Err(ArchiveError::Limit(text))
    }

    /// Sees to it that a content that was read to its end was what the zip says.
    fn finish(&mut self) -> Result<(), ArchiveError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let Current { central, raw, decoder, end, next, streamed } = current;
        let spoiled = |why: &str| ArchiveError::spoiled(&raw, why);
        decoder.finish(central.crc, central.size, central.stored).map_err(spoiled)?;
        let Some(is_told) = streamed else { return Ok(()) };
        let room = next.saturating_sub(end).min(24);
        let behind = Window::exact(&self.from, end, usize::try_from(room).unwrap_or(0))?;
        let is_empty = central.size == 0 && central.stored == 0;
        if record::trailer(&behind, &central).is_none() && !is_told && !is_empty {
            return Err(spoiled("what stands behind its content says otherwise than the directory"));
        }
        Ok(())
    }
}

const OVERLAP: Wrong =
    Wrong::Member(Fault::Refused, "it shares bytes with another member or with the directory, as in bombs");

fn directory(from: &Shared, place: &end::Place) -> BufReader<Window> {
    let window = Window::new(from, place.start, place.start + place.size);
    BufReader::with_capacity(DIRECTORY_BYTES, window)
}

/// The mode, of machines that have one: Unix, macOS, and 7-Zip, which marks that it wrote one.
fn unix_mode(host: u8, attributes: u32) -> Option<u16> {
    let has_mode = matches!(host, 3 | 19) || attributes & 0x8000 != 0;
    has_mode.then(|| u16::try_from(attributes >> 16).unwrap_or(0))
}

impl Content for Members {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let Some(current) = &mut self.current else { return Ok(Part::End) };
        let read = current.decoder.read(buffer).map_err(|e| match ArchiveError::from(e) {
            ArchiveError::Damaged(why) => ArchiveError::spoiled(&current.raw, why),
            e => e,
        })?;
        if read > 0 {
            return Ok(Part::Data);
        }
        self.finish()?;
        Ok(Part::End)
    }
}

#[cfg(test)]
mod tests;
