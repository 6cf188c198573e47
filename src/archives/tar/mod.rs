//! Tars of all dialects: v7, ustar, star's, GNU's with its long names, binary numbers and sparse files, PAX.
//!
//! A parser of its own: what is read here may be made by an enemy, and of two ways to understand a tar the one that others do not take must
//! be refused, not taken. The `tar` crate passes over what it does not know, merges nothing, and knows no sparse format of PAX.

mod acl;
mod block;
mod libarchive;
mod member;
mod pax;
mod search;
mod sparse;

use std::io::{self, Read};

use crate::codec::ContentDigest;
use crate::model::Digest;

use super::content::{Content, Part};
use super::error::{ArchiveError, printable};
use super::form::Ending;
use super::limits::Limits;
use super::member::Member;
use super::remarks::Remarks;
use block::{BLOCK, Block, Header, SIZE};
use pax::Pax;
use sparse::{Stretch, Stretches};

#[cfg(test)]
pub(crate) use acl::sample as acl_sample;
pub(super) use block::is_header;

/// Bytes of an extended header or a long name.
const FRONT_MAX: u64 = 64 << 20;
/// What has no meaning, and is not as all write it.
const FILLED: &str = "something else than zeros fills the last block of a member";
/// What GNU tar warns of too.
const NO_END: &str = "the tar has no end mark: if it was cut off between two members, nothing in it tells";
const LONE_END: &str = "the tar ends with one empty block, and two mark the end: it may have been cut";
/// Bytes read at a time.
const READ_BYTES: u64 = 1 << 20;

/// What stands in front of a member and belongs to it.
#[derive(Debug, Default)]
struct Front {
    pax: Pax,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    any: bool,
}

/// The members of a tar.
pub(super) struct Members<R> {
    from: Counted<R>,
    /// A block that was read ahead.
    held: Option<Block>,
    global: Pax,
    /// There was a PAX header: what is said of links with data is meant so.
    is_pax: bool,
    first: bool,
    /// The member that is being read, for messages.
    name: Vec<u8>,
    stretches: Stretches,
    /// Bytes of the stretch of data that is being read.
    data: u64,
    /// Bytes that are stored of the member and not read yet, and what fills their last block.
    left: u64,
    padding: u64,
    /// The size of the member makes no sense: its content goes up to the next header.
    is_endless: bool,
    /// What stands in front of the next content.
    seen: Seen,
    limits: Limits,
    /// Bytes of contents so far, with their holes and without.
    given: u64,
    stored: u64,
    pub(super) remarks: Remarks,
    /// Of a tar that was read to its end.
    pub(super) ending: Option<Ending>,
}

/// Counts what was read.
struct Counted<R> {
    from: R,
    bytes: u64,
    ended: bool,
}

/// Headers as they stand there.
#[derive(Default)]
struct Seen {
    digest: ContentDigest,
    any: bool,
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.any = true;
    }

    fn take(&mut self) -> Digest {
        std::mem::take(self).digest.finish()
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        self.bytes += len as u64;
        self.ended |= len == 0 && !buffer.is_empty();
        Ok(len)
    }
}

impl<R: Read> Members<R> {
    pub(super) fn new(from: R, limits: &Limits) -> Self {
        Self {
            from: Counted { from, bytes: 0, ended: false },
            held: None,
            global: Pax::default(),
            is_pax: false,
            first: true,
            name: Vec::new(),
            stretches: Stretches::whole(0),
            data: 0,
            left: 0,
            padding: 0,
            is_endless: false,
            seen: Seen::default(),
            limits: limits.clone(),
            given: 0,
            stored: 0,
            remarks: Remarks::default(),
            ending: None,
        }
    }

    /// The next member. Nothing at the end; then all was read, what stands behind the end too.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let next = self.pass_rest().and_then(|()| self.next_in_order());
        if self.limits.searches { self.or_search(next) } else { next }
    }

    fn next_in_order(&mut self) -> Result<Option<Member>, ArchiveError> {
        if self.seen.any {
            self.seen = Seen::default();
        }
        let mut front = Front::default();
        loop {
            let Some(block) = self.block()? else {
                if front.any {
                    return Err(ArchiveError::damaged("it ends behind an extended header"));
                }
                self.remarks.add(NO_END);
                return Ok(None);
            };
            if self.limits.searches && !is_header(&block) {
                self.search(&block)?;
            }
            if block == [0; BLOCK] {
                if front.any {
                    return Err(ArchiveError::damaged("an extended header stands at its end"));
                }
                self.read_end()?;
                return Ok(None);
            }
            if !is_header(&block) {
                return Err(if self.first {
                    ArchiveError::Unknown("it does not begin as a tar does".to_owned())
                } else {
                    ArchiveError::damaged(format!("a header behind {} has a wrong checksum", self.last()))
                });
            }
            self.first = false;
            self.seen.add(&block);
            let header = Header(&block);
            match header.kind() {
                b'x' | b'X' | b'g' => self.read_pax(header, &mut front)?,
                b'L' => front.name = Some(self.read_long(header, &mut front.any)?),
                b'K' => front.link = Some(self.read_long(header, &mut front.any)?),
                // The name of a volume; Solaris' ACLs, of its own sort; star's numbers of inodes.
                kind @ (b'V' | b'A' | b'I') => {
                    if kind == b'A' {
                        self.remarks.lose("ACLs in the form of Solaris are passed over");
                    }
                    let len = self.length(header)?;
                    self.pass_body(len)?;
                }
                // A file of attributes, as Solaris has them; what stands in front is about it.
                b'E' => {
                    self.remarks.lose("extended attributes in the form of Solaris are passed over");
                    let len = self.length(header)?;
                    self.pass_body(len)?;
                    front = Front::default();
                }
                _ => {
                    let member = self.start(header, &front)?;
                    return Ok(Some(Member { headers: Some(self.seen.take()), ..member }));
                }
            }
        }
    }

    /// Counts a content of which so much is stored: what is nearly all holes must not grow beyond all bounds.
    fn weigh(&mut self, size: u64, stored: u64) -> Result<(), ArchiveError> {
        self.given = self.given.saturating_add(size);
        self.stored = self.stored.saturating_add(stored);
        let ratio = self.limits.ratio;
        if self.given <= self.stored.saturating_mul(ratio).max(Limits::HOLES_FREE) {
            return Ok(());
        }
        let name = printable(&self.name);
        Err(ArchiveError::Limit(format!(
            "{name}: with its holes the contents grow to more than {ratio} times what is stored of them, and more than 1 TiB (--max-ratio)"
        )))
    }

    fn read_pax(&mut self, header: Header, front: &mut Front) -> Result<(), ArchiveError> {
        let size = self.length(header)?;
        let body = self.body(size)?;
        self.is_pax = true;
        let added = if header.kind() == b'g' {
            self.global.add(&body, true)
        } else {
            front.any = true;
            front.pax.add(&body, false)
        };
        added.map_err(|why| ArchiveError::damaged(format!("behind {}: {why}", self.last())))
    }

    /// A name that is too long for its field.
    fn read_long(&mut self, header: Header, any: &mut bool) -> Result<Vec<u8>, ArchiveError> {
        *any = true;
        let len = self.length(header)?;
        let mut name = self.body(len)?;
        // It ends with a zero byte, as in memory; another one in it is for whoever looks at the name.
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// A block, or nothing at the end of the stream.
    fn block(&mut self) -> Result<Option<Block>, ArchiveError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let mut block = [0; BLOCK];
        let mut len = 0;
        while len < BLOCK {
            match self.from.read(&mut block[len..]) {
                Ok(0) if len == 0 => return Ok(None),
                Ok(0) => return Err(ArchiveError::damaged(format!("it ends within a header behind {}", self.last()))),
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Some(block))
    }

    /// The whole of a short body.
    fn body(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > FRONT_MAX {
            let text = format!("behind {}: an extended header of {size} bytes is longer than 64 MiB", self.last());
            return Err(ArchiveError::Limit(text));
        }
        let mut body = Vec::new();
        (&mut self.from).take(size).read_to_end(&mut body)?;
        if body.len() as u64 != size {
            return Err(ArchiveError::damaged(format!("it ends within an extended header behind {}", self.last())));
        }
        self.seen.add(&body);
        let filling = self.pass_padding(padding(size))?;
        self.seen.add(&filling);
        Ok(body)
    }

    fn pass_body(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.pass(size)?;
        self.pass_padding(padding(size)).map(|_| ())
    }

    /// Reads over what fills a last block, and gives it.
    fn pass_padding(&mut self, len: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut filling = Vec::new();
        if (&mut self.from).take(len).read_to_end(&mut filling)? as u64 != len {
            return Err(ArchiveError::damaged(format!("it ends within {}", self.last())));
        }
        if filling.iter().any(|b| *b != 0) {
            self.remarks.add(FILLED);
        }
        Ok(filling)
    }

    /// Reads over bytes that must be there.
    fn pass(&mut self, len: u64) -> Result<(), ArchiveError> {
        if io::copy(&mut (&mut self.from).take(len), &mut io::sink())? == len {
            return Ok(());
        }
        Err(ArchiveError::damaged(format!("it ends within {}", self.last())))
    }

    /// Reads over what is left of the member that came last.
    fn pass_rest(&mut self) -> Result<(), ArchiveError> {
        let left = std::mem::take(&mut self.left);
        self.pass(left)?;
        let padding = std::mem::take(&mut self.padding);
        self.pass_padding(padding)?;
        (self.stretches, self.data) = (Stretches::whole(0), 0);
        Ok(())
    }

    /// Reads what stands behind the first empty block: another one, and zeros up to the end.
    fn read_end(&mut self) -> Result<(), ArchiveError> {
        let start = self.from.bytes - BLOCK as u64;
        let (mut bytes, mut is_strange) = (vec![0; 1 << 16], false);
        loop {
            let len = match self.from.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            is_strange |= bytes[..len].iter().any(|b| *b != 0);
        }
        let zeros = self.from.bytes - start;
        if is_strange {
            self.remarks.add("something stands behind the end of the tar: it is not read");
        } else if zeros < 2 * BLOCK as u64 {
            self.remarks.add(LONE_END);
        }
        self.ending = Some(Ending::Tar { start, zeros, has_lone: self.seen.any }).filter(|_| !is_strange);
        Ok(())
    }

    /// Bytes that stand behind the header of what is no member. If that is no number, nobody knows where the next header is.
    fn length(&self, header: Header) -> Result<u64, ArchiveError> {
        let len = header.count(SIZE, "size").map_err(ArchiveError::last)?;
        if self.is_too_long(len) || self.limits.searches && len > FRONT_MAX {
            return Err(ArchiveError::damaged(format!(
                "behind {}: a header says that {len} bytes follow",
                self.last()
            )));
        }
        Ok(len)
    }

    /// The member that came last, for messages.
    fn last(&self) -> String {
        if self.name.is_empty() { "its beginning".to_owned() } else { printable(&self.name) }
    }
}

impl<R: Read> Content for Members<R> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        if self.is_endless {
            return self.next_endless(buffer);
        }
        while self.data == 0 {
            match self.stretches.next() {
                None => return Ok(Part::End),
                Some(Stretch::Hole(len)) => return Ok(Part::Hole(len)),
                Some(Stretch::Data(len)) => self.data = len,
            }
        }
        let want = self.data.min(READ_BYTES);
        let got = (&mut self.from).take(want).read_to_end(buffer)? as u64;
        if got == 0 {
            return Err(ArchiveError::damaged(format!("it ends within {}", self.last())).into());
        }
        self.data -= got;
        self.left -= got;
        Ok(Part::Data)
    }
}

/// What fills the last block of so many bytes.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

#[cfg(test)]
mod tests;
