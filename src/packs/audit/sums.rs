//! `checksums.sha256`, held against the files that went by.

use std::io::{BufRead, BufReader, Read};

use crate::archives::{ArchiveError, Content, Member, MemberKind, Spill, printable};
use crate::packs::checksums::{hex, parse_line};

use super::content::AsReader;
use super::error::AuditError;

/// Bytes that a line may have.
const LINE: usize = 1 << 20;
/// Lines with another sum that are told.
const TOLD: usize = 1000;
/// In place of the SHA-256 of what could not be read, as was told: no line is held against it.
pub(super) const UNREAD: [u8; 32] = [0; 32];

/// Compares it, line by line: `sums` has the SHA-256 of each file and its name, in order. Gives what is wrong; behind a line that does not belong there, nothing is compared.
///
/// # Errors
/// If it cannot be read.
pub(super) fn compare_sums(
    member: &Member,
    content: &mut dyn Content,
    sums: &Spill,
) -> Result<Vec<String>, AuditError> {
    if !matches!(member.kind, MemberKind::File { .. }) {
        return Ok(vec!["it is no file".to_owned()]);
    }
    let mut lines = BufReader::new(AsReader::new(content));
    let mut sums = sums.read();
    let (mut line, mut wrong) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = Read::take(&mut lines, LINE as u64).read_until(b'\n', &mut line);
        read.map_err(ArchiveError::from)?;
        let expected = sums.next().map_err(AuditError::Temporary)?.and_then(|sum| sum.split_at_checked(32));
        if line.is_empty() {
            if let Some((_, name)) = expected {
                wrong.push(format!("it has no line for {}", printable(name)));
            }
            return Ok(wrong);
        }
        let Some((digits, name)) = line.strip_suffix(b"\n").and_then(parse_line) else {
            wrong.push(format!("a line makes no sense: {}", printable(&line[..line.len().min(200)])));
            return Ok(wrong);
        };
        let found = printable(&name);
        match expected {
            None => {
                wrong.push(format!("it has a line for {found}, which is not there"));
                return Ok(wrong);
            }
            Some((_, there)) if there != name => {
                wrong.push(format!("it has a line for {found} where {} belongs", printable(there)));
                return Ok(wrong);
            }
            Some((sum, _)) if sum != UNREAD && hex(sum) != digits && wrong.len() < TOLD => {
                wrong.push(format!("the SHA-256 of {found} is not what it says"));
            }
            Some(_) => {}
        }
    }
}
