//! An observer of layouts beside whoever takes members.

use std::io;

use crate::archives::{Content, Member, MemberKind, Part};

use super::layouts::Observer;

/// Shows a member to an observer. Gives its content, which the observer sees as it is read.
pub fn watched<'a>(observer: &'a mut Observer, member: &Member, content: &'a mut dyn Content) -> Watched<'a> {
    let path = &member.path;
    match &member.kind {
        MemberKind::Folder => observer.folder(path),
        MemberKind::File { size } => observer.file(path, *size),
        MemberKind::Symlink(_) => observer.other(path, "a symlink"),
        MemberKind::HardLink(_) => observer.other(path, "a hard link"),
        MemberKind::Fifo => observer.other(path, "a pipe"),
        MemberKind::Socket => observer.other(path, "a socket"),
        MemberKind::CharDevice(..) | MemberKind::BlockDevice(..) => observer.other(path, "a device"),
    }
    Watched { observer, content, is_file: matches!(member.kind, MemberKind::File { .. }) }
}

/// A content that an observer sees as it is read.
pub struct Watched<'a> {
    observer: &'a mut Observer,
    content: &'a mut dyn Content,
    is_file: bool,
}

impl std::fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Content for Watched<'_> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Part> {
        let start = buffer.len();
        let part = self.content.next(buffer)?;
        self.observer.data(&buffer[start..]);
        match part {
            Part::Data => {}
            Part::Hole(len) => self.observer.zeros(len),
            Part::End if self.is_file => {
                self.is_file = false;
                self.observer.end_file();
            }
            Part::End => {}
        }
        Ok(part)
    }
}
