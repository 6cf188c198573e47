//! A header, and what stands in front of it, made a member.

use std::io::Read;

use super::super::error::{ArchiveError, Fault, Wrong, printable};
use super::super::member::{Member, MemberKind};
use super::super::path::clean;
use super::acl;
use super::block::{
    BLOCK, Dialect, GID, Header, IS_EXTENDED, MAJOR, MINOR, MODE, MTIME, REAL_SIZE, SIZE, STRETCHES, UID, is_header,
    number,
};
use super::pax::{self, BAD_MAP, put_xattr};
use super::sparse::{Map, STRETCHES_MAX, Stretches, from_list};
use super::{FILLED, Front, Members, padding};
use crate::model::Timestamp;

/// Bytes of a member: so that sums of sizes and offsets stay numbers.
const LONGEST: u64 = i64::MAX.unsigned_abs();
/// Bytes of a symlink's target, as Linux has it.
const TARGET_MAX: usize = 4095;

impl<R: Read> Members<R> {
    /// Begins a member: what it is, and where its content stands.
    pub(super) fn start(&mut self, header: Header, front: &Front) -> Result<Member, ArchiveError> {
        let global = std::mem::take(&mut self.global);
        let member = self.start_with(header, &Said { header, front, global: &global });
        self.global = global;
        member
    }

    fn start_with(&mut self, header: Header, said: &Said) -> Result<Member, ArchiveError> {
        let raw = said.name();
        self.name.clone_from(&raw);
        let refused = |why: &str| ArchiveError::refused(&raw, why);
        let spoiled = |why: &str| ArchiveError::spoiled(&raw, why);
        // First: then whatever else is wrong with it, the next member is found.
        let is_file = matches!(header.kind(), 0 | b'0' | b'7');
        let stored = match said.size() {
            Err(_) if self.limits.searches => u64::MAX,
            size => size.map_err(ArchiveError::last)?,
        };
        self.is_endless = self.limits.searches && (stored > LONGEST || self.is_too_long(stored));
        if self.is_endless && (!is_file || said.is_sparse()) {
            self.is_endless = false;
            return Err(ArchiveError::damaged("its size makes no sense"));
        }
        let stored = stored.min(LONGEST);
        (self.left, self.padding) = (stored, padding(stored));
        if header.kind() == b'1' && stored > 0 && !self.is_pax {
            self.look_behind_link(stored)?;
        }
        let (path, slash) = clean(&raw, self.limits.absolute).map_err(|why| match header.kind() {
            // More blocks of its map stand in front of its data.
            b'S' if header.0[IS_EXTENDED] != 0 => refused(why).last(),
            _ => refused(why),
        })?;
        match said.text("hdrcharset") {
            None | Some(b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {}
            Some(_) => {
                let why = "its name is in a set of characters that Larder does not know";
                return Err(ArchiveError::unsupported(&raw, why));
            }
        }
        let kind = match header.kind() {
            // The seventh edition's tar had no other way to say it.
            _ if is_file && slash && !said.is_sparse() => self.empty(MemberKind::Folder, &raw)?,
            _ if is_file => self.file(said, stored).map_err(|why| why.named(&raw))?,
            _ if slash && !matches!(header.kind(), b'5' | b'D') => {
                return Err(spoiled("a slash stands behind its name, and it is no folder"));
            }
            b'S' => self.old_sparse(header, stored).map_err(|why| why.named(&raw))?,
            b'1' => {
                let (first, _) = clean(&said.link(), self.limits.absolute)
                    .map_err(|why| refused(&format!("it is a link, and of its target {why}")))?;
                MemberKind::HardLink(first)
            }
            b'2' => {
                let target = said.link();
                if target.is_empty() || target.contains(&0) || target.len() > TARGET_MAX {
                    return Err(spoiled(
                        "it is a symlink whose target is empty, holds a zero byte or is longer than 4095 bytes",
                    ));
                }
                self.empty(MemberKind::Symlink(target.into()), &raw)?
            }
            b'3' => self.empty(said.device(MemberKind::CharDevice)?, &raw)?,
            b'4' => self.empty(said.device(MemberKind::BlockDevice)?, &raw)?,
            b'5' => self.empty(MemberKind::Folder, &raw)?,
            b'6' => self.empty(MemberKind::Fifo, &raw)?,
            // A folder of an incremental backup; behind it stands a list of what was in it.
            b'D' => MemberKind::Folder,
            other => {
                let sort = char::from(other).escape_default();
                let why = match other {
                    b'M' => "it is the second part of a file that begins in another volume".to_owned(),
                    b'N' => "it is a list of names in a form that GNU tar has given up".to_owned(),
                    _ => format!("it is of a sort that Larder does not know: `{sort}`"),
                };
                return Err(ArchiveError::unsupported(&raw, why));
            }
        };
        if let MemberKind::File { size } = kind {
            self.weigh(size, self.left)?;
        }
        Ok(Member { path, ..self.details(kind, said)? })
    }

    /// What has no content: of one, programs make different things.
    fn empty(&self, kind: MemberKind, raw: &[u8]) -> Result<MemberKind, ArchiveError> {
        if self.left == 0 {
            return Ok(kind);
        }
        let why =
            format!("it is no file and says that {} bytes follow, of which programs make different things", self.left);
        Err(ArchiveError::refused(raw, why))
    }

    /// Finds out whether the size of a link is that of data behind it, or of the file that it links to.
    fn look_behind_link(&mut self, stored: u64) -> Result<(), ArchiveError> {
        let next = self.block()?;
        if next.is_none_or(|block| block == [0; BLOCK] || is_header(&block)) {
            (self.held, self.left, self.padding) = (next, 0, 0);
        } else {
            // The first block of the data was read with this.
            self.left = stored.saturating_sub(BLOCK as u64);
            self.padding = padding(self.left);
        }
        Ok(())
    }

    fn file(&mut self, said: &Said, stored: u64) -> Result<MemberKind, Wrong> {
        let number = |key: &str| said.text(key).map(|text| pax::number(text).ok_or(BAD_MAP)).transpose();
        let version = (number("GNU.sparse.major")?, number("GNU.sparse.minor")?);
        let size = match number("GNU.sparse.realsize")? {
            None => number("GNU.sparse.size")?,
            size => size,
        };
        let (data, size) = match (version, said.text("GNU.sparse.map"), size) {
            ((Some(1), Some(0)), _, Some(size)) => (self.read_map()?, size),
            ((Some(0), _) | (None, None), Some(map), Some(size)) => (from_list(map)?, size),
            ((Some(0), _) | (None, None), None, Some(size)) if !said.front.pax.stretches.is_empty() || stored == 0 => {
                (said.front.pax.stretches.clone(), size)
            }
            ((None, None), None, None) if said.front.pax.stretches.is_empty() => {
                self.stretches = Stretches::whole(stored);
                return Ok(MemberKind::File { size: stored });
            }
            _ => return Err(Wrong::Member(Fault::Unsupported, "it has holes in a form that Larder does not know")),
        };
        self.stretches = Stretches::new(data, size, self.left)?;
        Ok(MemberKind::File { size })
    }

    /// Reads the map that stands in front of the data.
    fn read_map(&mut self) -> Result<Vec<(u64, u64)>, Wrong> {
        let mut map = Map::default();
        loop {
            self.left = self.left.checked_sub(BLOCK as u64).ok_or(BAD_MAP)?;
            let Some(block) = self.block()? else {
                return Err(ArchiveError::damaged(format!("it ends within {}", printable(&self.name))).into());
            };
            self.seen.add(&block);
            if let Some(data) = map.block(&block)? {
                if map.is_strange {
                    self.remarks.add(FILLED);
                }
                return Ok(data);
            }
        }
    }

    /// GNU's old form: four stretches in the header, more in blocks behind it.
    fn old_sparse(&mut self, header: Header, stored: u64) -> Result<MemberKind, Wrong> {
        if header.dialect() != Dialect::Gnu {
            // What stands between its header and its data is not known either.
            let why = "it has holes in the form of star, which Larder does not know";
            return Err(ArchiveError::unsupported(&header.name(), why).last().into());
        }
        let mut data = Vec::new();
        let mut more = header.0[IS_EXTENDED] != 0;
        let mut taken = take_stretches(&header.0[STRETCHES], &mut data);
        while more {
            let Some(block) = self.block()? else {
                return Err(ArchiveError::damaged(format!("it ends within {}", printable(&self.name))).into());
            };
            taken = taken.and_then(|()| take_stretches(&block[..504], &mut data));
            more = block[504] != 0;
        }
        taken?;
        let size = header.count(REAL_SIZE, "size")?;
        self.stretches = Stretches::new(data, size, stored)?;
        Ok(MemberKind::File { size })
    }

    fn details(&mut self, kind: MemberKind, said: &Said) -> Result<Member, ArchiveError> {
        let header = said.header;
        let mut member = Member::new(kind);
        // No header is without a mode, but some have it empty.
        if let Some(mode) = header.number(MODE, "mode")? {
            member.mode = u16::try_from(mode & 0o7777).unwrap_or(0);
        }
        member.uid = said.owner("uid", UID)?;
        member.gid = said.owner("gid", GID)?;
        member.user = said.text("uname").unwrap_or(header.user()).into();
        member.group = said.text("gname").unwrap_or(header.group()).into();
        member.mtime = match said.text("mtime") {
            Some(b"") => None,
            Some(text) => Some(pax::time(text).ok_or_else(|| said.spoiled("its time is no number"))?),
            None => header.number(MTIME, "time")?.map(|seconds| Timestamp { seconds, nanos: 0 }),
        };
        member.btime = said.text("LIBARCHIVE.creationtime").and_then(pax::time);
        member.xattrs = said.front.pax.xattrs(said.global);
        for (key, name) in [
            ("SCHILY.acl.access", &b"system.posix_acl_access"[..]),
            ("SCHILY.acl.default", b"system.posix_acl_default"),
        ] {
            let Some(text) = said.text(key) else { continue };
            match acl::from_text(text, &look) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    if key == "SCHILY.acl.access" {
                        member.mode = acl::mode(&value, member.mode);
                    }
                    put_xattr(&mut member.xattrs, name, value);
                }
                Err(why) => self.remarks.lose(format!("{}: its ACL is left out: {why}", printable(&self.name))),
            }
        }
        if said.text("SCHILY.acl.ace").is_some() {
            self.remarks.lose("ACLs in the form of NFSv4 are passed over");
        }
        if member.xattrs.iter().any(|(name, _)| name.is_empty() || name.len() > 255 || name.contains(&0)) {
            return Err(said.spoiled("the name of an attribute is empty, too long or holds a zero byte"));
        }
        Ok(member)
    }
}

/// The number of a user (true) or group that the system knows.
fn look(is_user: bool, name: &str) -> Option<u32> {
    // What is tried a million times a minute must not ask the network.
    if cfg!(fuzzing) {
        return None;
    }
    if is_user {
        nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    } else {
        nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }
}

fn take_stretches(bytes: &[u8], data: &mut Vec<(u64, u64)>) -> Result<(), Wrong> {
    for pair in bytes.chunks_exact(24) {
        let value = |field: &[u8]| number(field).map_err(|()| BAD_MAP);
        let (offset, len) = (value(&pair[..12])?, value(&pair[12..])?);
        // An empty place; a stretch of no bytes has them as digits.
        let (Some(offset), Some(len)) = (offset, len) else { break };
        let pair = u64::try_from(offset).ok().zip(u64::try_from(len).ok()).ok_or(BAD_MAP)?;
        if data.len() == STRETCHES_MAX {
            return Err(Wrong::Member(Fault::Refused, "it has more than 4194304 stretches of data"));
        }
        data.push(pair);
    }
    Ok(())
}

/// All that is said of a member.
struct Said<'a> {
    header: Header<'a>,
    front: &'a Front,
    global: &'a pax::Pax,
}

impl Said<'_> {
    fn text(&self, key: &str) -> Option<&[u8]> {
        self.front.pax.get(self.global, key)
    }

    fn name(&self) -> Vec<u8> {
        let pax = self.text("GNU.sparse.name").or_else(|| self.text("path"));
        pax.or(self.front.name.as_deref()).map_or_else(|| self.header.name(), <[u8]>::to_vec)
    }

    fn link(&self) -> Vec<u8> {
        self.text("linkpath").or(self.front.link.as_deref()).unwrap_or(self.header.link()).to_vec()
    }

    fn is_sparse(&self) -> bool {
        self.text("GNU.sparse.major").is_some() || self.text("GNU.sparse.size").is_some()
    }

    fn spoiled(&self, why: &str) -> ArchiveError {
        ArchiveError::spoiled(&self.name(), why)
    }

    /// Bytes that are stored.
    fn size(&self) -> Result<u64, ArchiveError> {
        let size = match self.text("size") {
            None => self.header.count(SIZE, "size")?,
            Some(text) => pax::number(text).ok_or_else(|| self.spoiled("its size is no number"))?,
        };
        if size > LONGEST { Err(self.spoiled("its size is no number")) } else { Ok(size) }
    }

    /// The number of a user or group. Negative ones, which some write for numbers near the end of 32 bits, are taken as those.
    fn owner(&self, key: &str, field: std::ops::Range<usize>) -> Result<Option<u32>, ArchiveError> {
        let number = match self.text(key) {
            Some(b"") => None,
            Some(text) => {
                let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
                Some(parsed.ok_or_else(|| self.spoiled(&format!("its {key} is no number")))?)
            }
            None => self.header.number(field, key)?,
        };
        let Some(number) = number else { return Ok(None) };
        let short = u32::try_from(number).ok().or_else(|| i32::try_from(number).ok().map(i32::cast_unsigned));
        short.map(Some).ok_or_else(|| self.spoiled(&format!("its {key} has more than 32 bits")))
    }

    fn device(&self, kind: fn(u32, u32) -> MemberKind) -> Result<MemberKind, ArchiveError> {
        let number = |key: &str, field| {
            let number = match self.text(key) {
                Some(text) => pax::number(text),
                None => Some(self.header.count(field, "device number")?),
            };
            let number = number.and_then(|n| u32::try_from(n).ok());
            number.ok_or_else(|| self.spoiled("its device number makes no sense"))
        };
        Ok(kind(number("SCHILY.devmajor", MAJOR)?, number("SCHILY.devminor", MINOR)?))
    }
}
