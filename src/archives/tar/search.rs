//! Past damage: for whoever can tell by itself what bytes are worth, a tar is gone through from header to header.

use std::io::{self, Read};

use super::super::content::Part;
use super::super::error::{ArchiveError, Fault};
use super::super::member::Member;
use super::sparse::Stretches;
use super::{BLOCK, Block, Members, READ_BYTES, is_header};

impl<R: Read> Members<R> {
    /// What ends the reading of others is the fault of a member, as long as something stands behind it.
    pub(super) fn or_search(
        &mut self,
        next: Result<Option<Member>, ArchiveError>,
    ) -> Result<Option<Member>, ArchiveError> {
        if next.is_err() && std::mem::take(&mut self.is_endless) {
            (self.left, self.padding) = (0, 0);
        }
        match next {
            Err(ArchiveError::Damaged(why)) if !self.from.ended => {
                (self.left, self.padding) = (0, 0);
                Err(self.fault(why))
            }
            next => next,
        }
    }

    fn fault(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Member { member: self.last(), why: why.into(), fault: Fault::Damaged }
    }

    /// Reads over blocks, from one that is no header on, up to one that is. If all are empty, that is the end.
    ///
    /// # Errors
    /// What is wrong, unless it is the end.
    pub(super) fn search(&mut self, block: &Block) -> Result<(), ArchiveError> {
        let mut is_end = *block == [0; BLOCK];
        loop {
            let block = match self.block() {
                // Of what is no tar so far the length tells nothing.
                Err(ArchiveError::Damaged(_)) if self.first && self.from.ended => {
                    is_end = false;
                    break;
                }
                block => block?,
            };
            let Some(block) = block else { break };
            if is_header(&block) {
                self.held = Some(block);
                let why = if std::mem::take(&mut self.first) {
                    "the header there is damaged, and what it is of is passed over"
                } else {
                    "the header behind it is damaged, and what it is of is passed over"
                };
                return Err(self.fault(why));
            }
            is_end &= block == [0; BLOCK];
        }
        if is_end {
            return Ok(());
        }
        if self.first {
            return Err(ArchiveError::Unknown("nothing in it is a header of a tar".to_owned()));
        }
        Err(self.fault("the header behind it is damaged, and no other one follows"))
    }

    /// True if more is said to follow than does, as far as that is known.
    pub(super) fn is_too_long(&self, len: u64) -> bool {
        let left = self.limits.length.get().filter(|_| self.limits.searches);
        left.is_some_and(|length| len > length.saturating_sub(self.from.bytes))
    }

    /// The content of a member whose size makes no sense: all up to the next header.
    pub(super) fn next_endless(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let start = buffer.len();
        while ((buffer.len() - start) as u64) < READ_BYTES {
            match self.block()? {
                Some(block) if !is_header(&block) => buffer.extend_from_slice(&block),
                next => {
                    (self.held, self.is_endless) = (next, false);
                    (self.left, self.padding, self.stretches) = (0, 0, Stretches::whole(0));
                    break;
                }
            }
        }
        Ok(if buffer.len() > start { Part::Data } else { Part::End })
    }
}
