//! A snapshot's folder in a pack of Larder's.

use std::collections::HashMap;
use std::path::Path;

use crate::archives::{ArchiveError, Content, Cursor, Member, MemberKind, Spill};
use crate::packs::checksums::parse_line;
use crate::packs::manifest::{Head, Item, ItemKind, ManifestError, Piece, Tail, Totals, read_manifest};

use super::content::{AsReader, Checked, Nothing, Summed};
use super::error::AuditError;
use super::items::{Understood, difference, understand};
use super::{Stop, Visitor};

/// Bytes of an inventory, and of SHA-256s, that stay in memory.
const MEMORY: usize = 4 << 20;
/// Bytes that a line of the checksums may have.
const LINE: usize = 1 << 20;

/// How far the snapshot's folder was read, and what is to come.
pub(super) struct Own {
    /// The folder's name.
    pack: Box<[u8]>,
    head: Head,
    tail: Tail,
    inventory: Spill,
    /// Where in the inventory the walk is.
    cursor: Cursor,
    /// The next item of the inventory, once it was looked at.
    next: Option<Understood>,
    /// Lines that `checksums.sha256` must have.
    sums: Spill,
    /// SHA-256s of files that may have further names, by path.
    firsts: HashMap<Box<[u8]>, String>,
    totals: Totals,
}

impl Own {
    /// Reads the manifest of the folder `pack`.
    pub(super) fn begin(pack: &[u8], manifest: &mut dyn Content, dir: &Path) -> Result<Self, AuditError> {
        let mut inventory = Spill::new(dir, MEMORY);
        let (mut head, mut tail, mut failed) = (None, None, None);
        let mut summed = Summed::new(manifest);
        let read = read_manifest::<ManifestError>(AsReader::new(&mut summed), &mut |piece| {
            match piece {
                Piece::Head(found) => head = Some(*found),
                Piece::Tail(found) => tail = Some(found),
                Piece::Item(item) => {
                    let bytes = serde_json::to_vec(&item).map_err(|e| ManifestError::Malformed(e.to_string()))?;
                    if let Err(e) = inventory.push(&bytes) {
                        failed = Some(e);
                        return Err(ManifestError::Malformed("stopped".to_owned()));
                    }
                }
            }
            Ok(())
        });
        let name = String::from_utf8_lossy(pack).into_owned();
        let (head, tail) = match (read, failed) {
            (_, Some(e)) => return Err(AuditError::Temporary(e)),
            (Err(ManifestError::Read(e)), None) => return Err(ArchiveError::from(e).into()),
            (Err(source), None) => return Err(AuditError::Manifest { name, source }),
            (Ok(()), None) => match (head, tail) {
                (Some(head), Some(tail)) => (head, tail),
                _ => return Err(AuditError::mismatch(pack, "its manifest.json has no head or no end")),
            },
        };
        summed.drain().map_err(ArchiveError::from)?;
        if head.name.as_bytes() != pack {
            return Err(AuditError::mismatch(pack, format!("its manifest is that of {}", head.name)));
        }
        let mut own = Self {
            pack: pack.into(),
            head,
            tail,
            inventory,
            cursor: Cursor::default(),
            next: None,
            sums: Spill::new(dir, MEMORY),
            firsts: HashMap::new(),
            totals: Totals::default(),
        };
        own.add_sum(&summed.hex(), b"manifest.json")?;
        Ok(own)
    }

    /// What stands in front of the inventory.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The archive ends, and the checksums have not come.
    pub(super) fn cut_short(&self) -> AuditError {
        AuditError::mismatch(&self.pack, "the archive ends before its checksums.sha256: it was cut short")
    }

    fn add_sum(&mut self, hex: &str, name: &[u8]) -> Result<(), AuditError> {
        self.sums.push(&[hex.as_bytes(), name].concat()).map_err(AuditError::Temporary)
    }

    /// Takes the next member; true if it was the last.
    pub(super) fn member<E: From<AuditError>>(
        &mut self,
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<bool, Stop<E>> {
        let inside = member.path.strip_prefix(&*self.pack).and_then(|rest| rest.strip_prefix(b"/"));
        let Some(inside) = inside else {
            let why = "it stands in the archive before checksums.sha256 of the folder in front of it";
            return Err(AuditError::mismatch(&member.path, why).into());
        };
        if inside == b"checksums.sha256" {
            self.absent(None, visitor)?;
            self.compare_sums(member, content, visitor)?;
            if let Err(e) = self.compare_totals() {
                report(visitor, e)?;
            }
            visitor.end(&self.tail).map_err(Stop::Visitor)?;
            return Ok(true);
        }
        if inside == b"content"
            && self.head.paths.is_some()
            && self.peek()?.is_none_or(|item| !item.member.path.is_empty())
        {
            // What stands above parts is not of the snapshot.
            return Ok(false);
        }
        if inside != b"content" && !inside.starts_with(b"content/") {
            if !matches!(member.kind, MemberKind::File { .. } | MemberKind::Folder) {
                let why = "it is neither a file nor a folder, and no checksum speaks for it";
                report(visitor, AuditError::mismatch(&member.path, why))?;
            }
            return Ok(self.beside(inside, member, content).map(|()| false)?);
        }
        self.absent(Some(inside), visitor)?;
        if self.peek()?.is_none_or(|item| item.name.as_deref() != Some(inside)) {
            let why = "it is not in the inventory, or stands elsewhere in it";
            report(visitor, AuditError::mismatch(&member.path, why))?;
            return Ok(self.beside(inside, member, content).map(|()| false)?);
        }
        let Some(item) = self.take()? else { return Ok(false) };
        let whole = self.head.form == "tar-v1";
        if let Some(what) = difference(&item, member, &self.pack, whole) {
            let why = format!("{what} differs from what the manifest says");
            report(visitor, AuditError::mismatch(&member.path, why))?;
        }
        self.show(&item, member, content, visitor)?;
        Ok(false)
    }

    /// Something of the pack that is not of the snapshot: `README.txt`, and what later versions add.
    fn beside(&mut self, inside: &[u8], member: &Member, content: &mut dyn Content) -> Result<(), AuditError> {
        if matches!(member.kind, MemberKind::File { .. }) {
            let mut summed = Summed::new(content);
            summed.drain().map_err(ArchiveError::from)?;
            let hex = summed.hex();
            self.add_sum(&hex, inside)?;
        }
        Ok(())
    }

    /// Shows an item that is in the archive.
    fn show<E: From<AuditError>>(
        &mut self,
        item: &Understood,
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        let (Some(expected), Some(name)) = (&item.expected, &item.name) else {
            return visitor.member(&item.member, item.linked, &mut Nothing).map_err(Stop::Visitor);
        };
        if !matches!(member.kind, MemberKind::File { .. }) {
            let MemberKind::HardLink(first) = &item.member.kind else { return Ok(()) };
            let hex = self.firsts.get(first).cloned().ok_or_else(|| {
                AuditError::mismatch(&member.path, "what it is a further name of does not stand before it")
            })?;
            self.add_sum(&hex, name)?;
            return visitor.member(&item.member, item.linked, &mut Nothing).map_err(Stop::Visitor);
        }
        let mut checked = Checked::new(content, expected);
        let shown = if matches!(item.member.kind, MemberKind::HardLink(_)) {
            visitor.member(&item.member, item.linked, &mut Nothing)
        } else {
            visitor.member(&item.member, item.linked, &mut checked)
        };
        let read = if shown.is_ok() { checked.finish() } else { Ok(String::new()) };
        let hex = if let Some(why) = checked.wrong() {
            report(visitor, AuditError::mismatch(&member.path, why))?;
            checked.drain().map_err(ArchiveError::from)?
        } else {
            shown.map_err(Stop::Visitor)?;
            read.map_err(ArchiveError::from)?
        };
        self.add_sum(&hex, name)?;
        if item.linked {
            self.firsts.insert(item.member.path.clone(), hex);
        }
        Ok(())
    }

    /// Shows the items that come next and are not in the archive, up to that of a member, or to the end.
    fn absent<E: From<AuditError>>(
        &mut self,
        until: Option<&[u8]>,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        while let Some(next) = self.peek()? {
            let name = next.name.clone();
            if let (Some(name), Some(until)) = (&name, until)
                && !comes_before(name, until)
            {
                return Ok(());
            }
            let Some(item) = self.take()? else { return Ok(()) };
            if let Some(name) = name {
                let path = [&self.pack, &b"/"[..], &name].concat();
                report(visitor, AuditError::mismatch(&path, "it is in the inventory and not in the archive"))?;
                continue;
            }
            // A form may leave out what it cannot hold, but no content.
            if item.kind == ItemKind::File && item.expected.as_ref().is_some_and(|expected| expected.size > 0) {
                return Err(AuditError::mismatch(
                    &item.member.path,
                    "it is a file whose content is not in the archive",
                )
                .into());
            }
            visitor.member(&item.member, item.linked, &mut Nothing).map_err(Stop::Visitor)?;
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<&Understood>, AuditError> {
        if self.next.is_none() {
            let next = self.inventory.next(&mut self.cursor).map_err(AuditError::Temporary)?;
            let Some(bytes) = next else { return Ok(None) };
            let item: Item =
                serde_json::from_slice(bytes).map_err(|e| AuditError::Temporary(std::io::Error::other(e)))?;
            self.totals.add(item.kind, item.size.unwrap_or(0));
            self.next = Some(understand(&item)?);
        }
        Ok(self.next.as_ref())
    }

    fn take(&mut self) -> Result<Option<Understood>, AuditError> {
        self.peek()?;
        Ok(self.next.take())
    }

    /// Compares `checksums.sha256`, line by line, with what went by.
    fn compare_sums<E: From<AuditError>>(
        &mut self,
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        let wrong = |why: String| AuditError::mismatch(&member.path, why);
        if !matches!(member.kind, MemberKind::File { .. }) {
            return report(visitor, wrong("it is not a file".to_owned()));
        }
        let mut lines = std::io::BufReader::new(AsReader::new(content));
        let mut sums = self.sums.read();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                std::io::BufRead::read_until(&mut std::io::Read::take(&mut lines, LINE as u64), b'\n', &mut line);
            read.map_err(ArchiveError::from)?;
            let expected = sums.next().map_err(AuditError::Temporary)?.and_then(|sum| sum.split_at_checked(64));
            let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            if line.is_empty() {
                return match expected {
                    None => Ok(()),
                    Some((_, name)) => report(visitor, wrong(format!("it has no line for {}", shown(name)))),
                };
            }
            let found = line.strip_suffix(b"\n").and_then(parse_line);
            let Some((hex, name)) = found else {
                let line = shown(&line[..line.len().min(200)]);
                return report(visitor, wrong(format!("a line makes no sense: {line:?}")));
            };
            match expected {
                None => {
                    return report(visitor, wrong(format!("it has a line for {}, which is not there", shown(&name))));
                }
                Some((_, there)) if there != name => {
                    let why = format!("it has a line for {} where {} belongs", shown(&name), shown(there));
                    return report(visitor, wrong(why));
                }
                Some((sum, _)) if sum != hex.as_bytes() => {
                    report(visitor, wrong(format!("the SHA-256 of {} is not what it says", shown(&name))))?;
                }
                Some(_) => {}
            }
        }
    }

    /// Compares the manifest's sums with those of its inventory.
    fn compare_totals(&self) -> Result<(), AuditError> {
        if self.totals == self.tail.totals {
            return Ok(());
        }
        let manifest = [&self.pack, &b"/manifest.json"[..]].concat();
        Err(AuditError::mismatch(&manifest, "its totals are not those of its inventory"))
    }
}

/// Tells the visitor of something wrong.
fn report<E: From<AuditError>>(visitor: &mut dyn Visitor<E>, error: AuditError) -> Result<(), Stop<E>> {
    visitor.mismatch(error).map_err(Stop::Visitor)
}

/// True if a name comes before another in preorder.
fn comes_before(name: &[u8], other: &[u8]) -> bool {
    let names = |path| <[u8]>::split(path, |b: &u8| *b == b'/');
    names(name).lt(names(other))
}
