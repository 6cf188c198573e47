//! Past damage: for whoever can tell by itself what bytes are worth, a zip whose directory is damaged is gone through from one member to the next by what stands in front of their
//! contents.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom};
use std::rc::Rc;

use super::super::content::{Content, Part};
use super::super::error::{ArchiveError, Fault};
use super::super::limits::Limits;
use super::super::member::{self, Member, MemberKind};
use super::super::open::ReadSeek;
use super::super::path::clean;
use super::super::remarks::Remarks;
use super::Members;
use super::content::Decoder;
use super::name;
use super::record::{LOCAL, Local, local_lengths};
use super::window::{Shared, Window, u16_at};

/// Bytes that are searched at a time.
const STEP: u64 = 64 << 10;
/// What stands in front of each member.
const MARK: &[u8] = b"PK\x03\x04";
/// Versions of zips that there are.
const VERSION_MAX: u16 = 63;

/// The members of a zip that may be damaged: those of its directory, and behind them, if that is not whole, those that were not in it.
pub(in super::super) struct Searching {
    listed: Option<Members>,
    /// Why the directory cannot be read on; it is told once.
    damage: Option<String>,
    /// One of its members could not be read.
    has_faults: bool,
    scan: Scan,
}

impl Searching {
    pub(in super::super) fn new(mut from: Box<dyn ReadSeek>, limits: &Limits) -> Result<Self, ArchiveError> {
        let len = from.seek(SeekFrom::End(0))?;
        let from: Shared = Rc::new(RefCell::new(from));
        let (listed, damage) = match Members::of(&from, limits) {
            Ok(members) => (Some(members), None),
            Err(ArchiveError::Damaged(why)) => (None, Some(why)),
            Err(error) => return Err(error),
        };
        let scan = Scan { from, len, most: limits.most(len), at: 0, known: HashMap::new(), current: None };
        Ok(Self { listed, damage, has_faults: false, scan })
    }

    fn next_listed(&mut self, listed: &mut Members) -> Result<Option<Member>, ArchiveError> {
        let next = listed.next_member();
        if let Some((records, end, _)) = listed.records.as_ref().filter(|_| next.is_ok()) {
            self.scan.known.insert(records.offset.saturating_add(listed.place.front), *end);
        }
        self.has_faults |= next.as_ref().is_err_and(ArchiveError::is_of_member);
        next
    }
}

impl member::Members for Searching {
    fn member(&mut self) -> Result<Option<Member>, ArchiveError> {
        if let Some(mut listed) = self.listed.take() {
            match self.next_listed(&mut listed) {
                Ok(None) if self.has_faults => {}
                Err(ArchiveError::Damaged(why)) => self.damage = Some(why),
                next => {
                    self.listed = Some(listed);
                    return next;
                }
            }
        }
        if let Some(why) = self.damage.take() {
            let (member, why) = ("its directory".to_owned(), format!("{why}; its members are searched for"));
            return Err(ArchiveError::Member { member, why, fault: Fault::Damaged });
        }
        if self.listed.is_none() { self.scan.next_member() } else { Ok(None) }
    }

    fn remarks(&mut self) -> Remarks {
        self.listed.as_mut().map(|listed| std::mem::take(&mut listed.remarks)).unwrap_or_default()
    }
}

impl Content for Searching {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        match &mut self.listed {
            Some(listed) => listed.next(buffer),
            None => self.scan.next(buffer),
        }
    }
}

/// Goes through a file from mark to mark.
struct Scan {
    from: Shared,
    len: u64,
    /// Bytes that a content may have.
    most: u64,
    at: u64,
    /// Members that came before: where they begin, and where their contents end.
    known: HashMap<u64, u64>,
    current: Option<Current>,
}

/// The member whose content is being read.
struct Current {
    raw: Vec<u8>,
    decoder: Decoder,
    given: u64,
    size: u64,
    /// Its sum, the bytes that are stored, and where they end; nothing if they were not known when it was written.
    told: Option<(u32, u64, u64)>,
}

impl Scan {
    fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.current = None;
        while let Some(at) = self.mark()? {
            self.at = at + MARK.len() as u64;
            if let Some(end) = self.known.get(&at) {
                self.at = self.at.max(*end);
            } else if let Some(member) = self.local(at)? {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    /// Where the next mark is.
    fn mark(&mut self) -> Result<Option<u64>, ArchiveError> {
        while self.at + LOCAL as u64 <= self.len {
            let len = STEP.min(self.len - self.at);
            let bytes = Window::exact(&self.from, self.at, usize::try_from(len).unwrap_or(0))?;
            if let Some(found) = bytes.windows(MARK.len()).position(|bytes| bytes == MARK) {
                return Ok(Some(self.at + found as u64));
            }
            // The rest is too short for a mark, or is the beginning of one.
            self.at += len - (MARK.len() as u64 - 1);
        }
        Ok(None)
    }

    /// The member that begins at a place, if one does.
    fn local(&mut self, at: u64) -> Result<Option<Member>, ArchiveError> {
        let fixed = Window::exact(&self.from, at, LOCAL)?;
        let Some([name, extra]) = local_lengths(&fixed) else { return Ok(None) };
        let names = at + LOCAL as u64;
        let start = names + (name + extra) as u64;
        if start > self.len || name == 0 || u16_at(&fixed, 4) > VERSION_MAX {
            return Ok(None);
        }
        let fields = Window::exact(&self.from, names, name + extra)?;
        let Ok(local) = Local::parse(&fixed, &fields[..name], &fields[name..]) else { return Ok(None) };
        if local.is_sealed() {
            return Ok(None);
        }
        let raw = name::decode(&local.name, 3, local.is_utf8());
        let Ok((path, slash)) = clean(&raw, true) else { return Ok(None) };
        if slash {
            return Ok(Some(Member { path, ..Member::new(MemberKind::Folder) }));
        }
        let [size, stored] = local.sizes;
        let end = start.saturating_add(stored);
        let told = (!local.is_streamed()).then_some((local.crc, stored, end));
        if told.is_some() && (end > self.len || size > self.most || local.method == 0 && size != stored) {
            return Ok(None);
        }
        let window = || Window::new(&self.from, start, if told.is_some() { end } else { self.len });
        let (Ok(decoder), Ok(first)) = (Decoder::new(local.method, window()), Decoder::new(local.method, window()))
        else {
            return Ok(None);
        };
        let size = match told {
            Some(_) => size,
            // Nobody knows where it ends.
            None if local.method == 0 => return Ok(None),
            None => self.count(first),
        };
        // Whoever finds it whole goes on behind it.
        self.at = start;
        self.current = Some(Current { raw, decoder, given: 0, size, told });
        Ok(Some(Member { path, ..Member::new(MemberKind::File { size }) }))
    }

    /// How many bytes can be decoded.
    fn count(&self, mut decoder: Decoder) -> u64 {
        let (mut buffer, mut count) = (Vec::new(), 0);
        loop {
            buffer.clear();
            let read = decoder.read(&mut buffer);
            count += buffer.len() as u64;
            if !matches!(read, Ok(len) if len > 0) || count > self.most {
                return count;
            }
        }
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let Some(current) = &mut self.current else { return Ok(Part::End) };
        let before = buffer.len();
        let read =
            if current.told.is_none() && current.given >= current.size { Ok(0) } else { current.decoder.read(buffer) };
        current.given += (buffer.len() - before) as u64;
        match read {
            // Behind the end of a content stands something else.
            Err(_) if current.told.is_none() && current.given == current.size => Ok(Part::Data),
            Err(error) => Err(match ArchiveError::from(error) {
                ArchiveError::Damaged(why) => ArchiveError::spoiled(&current.raw, why).into(),
                error => error.into(),
            }),
            Ok(0) => {
                let Some(Current { raw, decoder, size, told, .. }) = self.current.take() else { return Ok(Part::End) };
                if let Some((crc, stored, end)) = told {
                    let whole = decoder.finish(crc, size, stored);
                    whole.map_err(|why| ArchiveError::spoiled(&raw, why))?;
                    self.at = end;
                }
                Ok(Part::End)
            }
            Ok(_) => Ok(Part::Data),
        }
    }
}
