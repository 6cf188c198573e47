//! A snapshot's folder in a pack of Larder's: manifest, README, content and checksums, in this order, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use crate::archives::{ArchiveError, Content, Cursor, Limits, Member, MemberKind, Spill, printable};
use crate::codec::digest;
use crate::model::Timestamp;
use crate::packs::form::Form;
use crate::packs::manifest::{Head, Item, ItemKind, ManifestError, Piece, Tail, Text, Totals, read_manifest};
use crate::packs::tar::headers;
use crate::packs::zip::kept_time;

use super::claims::{Carried, of_head, of_tail};
use super::content::{AsReader, Checked, Nothing, Summed};
use super::drift::Drifts;
use super::error::AuditError;
use super::items::{Understood, difference, drifts, understand, zip_drift};
use super::order::{Firsts, Order};
use super::path::comes_before;
use super::sums::{UNREAD, compare_sums};
use super::{Stop, Visitor, report};

/// What a member takes beside its content, at the most where it has no long name and no attributes.
const MEMBER_BYTES: u64 = 4 << 10;
/// Bytes of an inventory, and of SHA-256s, that stay in memory.
const MEMORY: usize = 4 << 20;
/// Names of members with faults that are kept.
const TOLD_MAX: usize = 1000;

/// How far the snapshot's folder was read, and what is to come.
pub(super) struct Own {
    /// The folder's name.
    pack: Box<[u8]>,
    carried: Carried,
    form: Form,
    head: Head,
    tail: Tail,
    inventory: Spill,
    /// Where in the inventory the walk is.
    cursor: Cursor,
    /// The next item of the inventory, once it was looked at.
    next: Option<Understood>,
    order: Order,
    firsts: Firsts,
    /// Lines that `checksums.sha256` must have.
    sums: Spill,
    /// What came beside the content.
    has_readme: bool,
    has_content: bool,
    totals: Totals,
    /// Pipes, devices and sockets that are not in the archive.
    special: u64,
    /// What of an extracted pack's metadata is not as it was.
    pub(super) drifts: Drifts,
    /// Members that the archive itself found wrong, made printable: the first few.
    told: HashSet<String>,
}

impl Own {
    /// Reads the manifest of the folder `pack`.
    pub(super) fn begin(
        pack: &[u8],
        carried: Carried,
        manifest: &mut dyn Content,
        limits: &Limits,
        dir: &Path,
    ) -> Result<Self, AuditError> {
        let mut inventory = Spill::new(dir, MEMORY);
        let (mut head, mut tail, mut failed) = (None, None, None);
        let mut summed = Summed::new(manifest);
        let read = read_manifest::<ManifestError>(AsReader::new(&mut summed), &mut |piece| {
            match piece {
                Piece::Head(found) => head = Some(*found),
                Piece::Tail(found) => tail = Some(found),
                Piece::Item(item) => {
                    // What is told beforehand is no bomb.
                    limits.declared.add(item.size.unwrap_or(0).saturating_add(MEMBER_BYTES));
                    let bytes = serde_json::to_vec(&item).map_err(|e| ManifestError::Malformed(e.to_string()))?;
                    if let Err(e) = inventory.push(&bytes) {
                        failed = Some(e);
                        return Err(ManifestError::Malformed("stopped".to_owned()));
                    }
                }
            }
            Ok(())
        });
        let malformed = |source| AuditError::Manifest { name: printable(pack), source };
        let (head, tail) = match (read, failed) {
            (_, Some(e)) => return Err(AuditError::Temporary(e)),
            (Err(ManifestError::Read(e)), None) => return Err(ArchiveError::from(e).into()),
            (Err(source), None) => return Err(malformed(source)),
            (Ok(()), None) => match (head, tail) {
                (Some(head), Some(tail)) => (head, tail),
                _ => return Err(AuditError::mismatch(pack, "its manifest.json has no head or no end")),
            },
        };
        summed.drain().map_err(ArchiveError::from)?;
        let form = Form::named(&head.form).ok_or_else(|| malformed(ManifestError::Form(head.form.clone())))?;
        if head.name.as_bytes() != pack {
            return Err(AuditError::mismatch(
                pack,
                format!("its manifest is that of {}", printable(head.name.as_bytes())),
            ));
        }
        let starts = head.paths.as_ref().map(|paths| paths.iter().map(|path: &Text| path.bytes().into()).collect());
        let mut own = Self {
            pack: pack.into(),
            carried,
            form,
            order: Order::new(starts),
            head,
            tail,
            inventory,
            cursor: Cursor::default(),
            next: None,
            firsts: Firsts::default(),
            sums: Spill::new(dir, MEMORY),
            has_readme: false,
            has_content: false,
            totals: Totals::default(),
            special: 0,
            drifts: Drifts::default(),
            told: HashSet::new(),
        };
        own.add_sum(&summed.sum(), b"manifest.json")?;
        Ok(own)
    }

    /// What stands in front of the inventory.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Tells what in front of the inventory is not so.
    pub(super) fn compare_head<E: From<AuditError>>(&self, visitor: &mut dyn Visitor<E>) -> Result<(), Stop<E>> {
        let wrong = of_head(&self.head, self.form, self.carried);
        wrong.into_iter().try_for_each(|why| report(visitor, self.in_manifest(why)))
    }

    /// Tells if something that is not in the snapshot has another mode, owner or time than Larder gives it.
    pub(super) fn compare_beside<E: From<AuditError>>(
        &self,
        member: &Member,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        let arrival = Timestamp { nanos: 0, ..self.head.snapshot.arrival.0 };
        let arrival = if self.carried == Carried::Zip { kept_time(arrival) } else { arrival };
        let is_folder = member.kind == MemberKind::Folder;
        let mode = if is_folder { 0o755 } else { 0o644 };
        let wrong = member.mode != mode
            || member.mtime.is_some_and(|mtime| mtime != arrival)
            || [member.uid, member.gid].into_iter().flatten().any(|owner| owner != 0)
            || [&member.user, &member.group].into_iter().any(|name| !name.is_empty());
        if self.carried == Carried::Folder {
            return Ok(());
        }
        if !wrong {
            let (path, kind, owner) = (member.path.clone(), member.kind.clone(), Some(0));
            let said = Member { path, mode, uid: owner, gid: owner, mtime: Some(arrival), ..Member::new(kind) };
            return self.compare_headers(member, b"", &said, &[], visitor);
        }
        let why = "its mode, owner or time is another than a pack has";
        visitor.deviation(AuditError::mismatch(&member.path, why)).map_err(Stop::Visitor)
    }

    /// Tells if in a tar another byte stands in front of a member's content than `tar-v1` has for what is said of it.
    fn compare_headers<E: From<AuditError>>(
        &self,
        member: &Member,
        prefix: &[u8],
        said: &Member,
        holes: &[(u64, u64)],
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        let is_tar = self.carried == Carried::Tar && self.form == Form::Tar;
        let Some(found) = member.headers.filter(|_| is_tar) else { return Ok(()) };
        if headers(prefix, said, holes).is_none_or(|headers| digest(&headers) == found) {
            return Ok(());
        }
        let why = "its headers in the tar are written otherwise than tar-v1 has them";
        visitor.deviation(AuditError::mismatch(&member.path, why)).map_err(Stop::Visitor)
    }

    fn in_manifest(&self, why: String) -> AuditError {
        AuditError::mismatch(&[&self.pack, &b"/manifest.json"[..]].concat(), why)
    }

    /// The archive ends, and the checksums have not come.
    pub(super) fn cut_short(&self) -> AuditError {
        AuditError::mismatch(&self.pack, "the archive ends before its checksums.sha256: it was cut short")
    }

    /// It was told what is wrong with a member that did not come.
    pub(super) fn was_told(&mut self, member: &str) {
        if self.told.len() < TOLD_MAX {
            self.told.insert(member.trim_end_matches('/').to_owned());
        }
    }

    fn add_sum(&mut self, sha256: &[u8; 32], name: &[u8]) -> Result<(), AuditError> {
        self.sums.push(&[sha256, name].concat()).map_err(AuditError::Temporary)
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
            self.end(member, content, visitor)?;
            return Ok(true);
        }
        if inside != b"content" && !inside.starts_with(b"content/") {
            self.beside(inside, member, content, visitor)?;
            return Ok(false);
        }
        self.has_content = true;
        if inside == b"content"
            && self.head.paths.is_some()
            && self.peek()?.is_none_or(|item| !item.member.path.is_empty())
        {
            // What stands above parts is not of the snapshot.
            if member.kind != MemberKind::Folder {
                tell(visitor, &member.path, "it is no folder")?;
            }
            self.compare_beside(member, visitor)?;
            return Ok(false);
        }
        self.absent(Some(inside), visitor)?;
        if self.peek()?.is_none_or(|item| item.name.as_deref() != Some(inside)) {
            let why = "it is not in the inventory, or stands elsewhere in it";
            tell(visitor, &member.path, why)?;
            self.pass(inside, member, content, visitor)?;
            return Ok(false);
        }
        let Some(item) = self.take(visitor)? else { return Ok(false) };
        let is_told = match difference(&item, member, &self.pack) {
            Some(what) => differs(visitor, member, Some(what))?,
            None => self.compare_metadata(&item, member, visitor)?,
        };
        if !is_told {
            let prefix = [&self.pack, &b"/content/"[..]].concat();
            let holes = item.expected.as_ref().map_or(&[][..], |expected| &expected.holes[..]);
            self.compare_headers(member, &prefix, &item.member, holes, visitor)?;
        }
        self.show(&item, member, content, visitor)?;
        Ok(false)
    }

    /// An archive says of metadata what its manifest says. A folder was perhaps extracted by somebody who may not give all of it back, or did not ask for it. True if something was told.
    fn compare_metadata<E: From<AuditError>>(
        &mut self,
        item: &Understood,
        member: &Member,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<bool, Stop<E>> {
        if self.form == Form::Zip {
            // Whoever extracts a zip gets little of it.
            let wrong = if self.carried == Carried::Zip { zip_drift(item, member) } else { None };
            return differs(visitor, member, wrong);
        }
        let mut drifts = drifts(item, member);
        if self.carried == Carried::Folder {
            drifts.for_each(|what| self.drifts.note(what, &member.path));
            return Ok(false);
        }
        differs(visitor, member, drifts.next())
    }

    /// Something that is not of the snapshot: `README.txt`, or what does not belong there.
    fn beside<E: From<AuditError>>(
        &mut self,
        inside: &[u8],
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        let why = match (inside, &member.kind) {
            (b"README.txt", MemberKind::File { .. }) if !self.has_content => None,
            (b"README.txt", MemberKind::File { .. }) => {
                Some("it stands behind the content, and belongs in front of it")
            }
            (b"README.txt", _) => Some("it is no file"),
            _ => Some(
                "it does not belong there: the folder of a pack holds manifest.json, README.txt, content and checksums.sha256",
            ),
        };
        self.has_readme |= inside == b"README.txt";
        match why {
            Some(why) => tell(visitor, &member.path, why)?,
            None => self.compare_beside(member, visitor)?,
        }
        self.pass(inside, member, content, visitor)
    }

    /// Takes the sum of a file that is not shown.
    fn pass<E: From<AuditError>>(
        &mut self,
        inside: &[u8],
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        if matches!(member.kind, MemberKind::File { .. }) {
            let mut summed = Summed::new(content);
            let read = summed.drain().map(|()| summed.sum());
            let sum = sum_or_told(read, [], member, visitor)?;
            self.add_sum(&sum, inside)?;
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
            let Some(first) = item.further_of() else { return Ok(()) };
            // If the first name was not read, that was told.
            let sum = self.firsts.sha256(first).unwrap_or(UNREAD);
            self.add_sum(&sum, name)?;
            return visitor.member(&item.member, item.linked, &mut Nothing).map_err(Stop::Visitor);
        }
        let mut checked = Checked::new(content, expected);
        let shown = if item.further_of().is_some() {
            visitor.member(&item.member, item.linked, &mut Nothing)
        } else {
            visitor.member(&item.member, item.linked, &mut checked)
        };
        let read = if shown.is_ok() { checked.finish() } else { Ok([0; 32]) };
        let sum = if let Some(why) = checked.wrong() {
            sum_or_told(checked.drain(), [why], member, visitor)?
        } else {
            shown.map_err(Stop::Visitor)?;
            sum_or_told(read, [], member, visitor)?
        };
        self.add_sum(&sum, name)?;
        if item.linked {
            self.firsts.was_read(&item.member.path, sum);
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
            let Some(item) = self.take(visitor)? else { return Ok(()) };
            let is_device = matches!(item.kind, ItemKind::Char | ItemKind::Block);
            match name {
                // Only root makes devices.
                Some(name) if is_device && self.carried == Carried::Folder => {
                    self.drifts.note("that it is there", &[&self.pack, &b"/"[..], &name].concat());
                }
                Some(name) => {
                    let path = [&self.pack, &b"/"[..], &name].concat();
                    if !self.told.contains(&printable(&path)) {
                        tell(visitor, &path, "it is in the inventory and not in the archive")?;
                    }
                    if item.kind == ItemKind::File {
                        self.add_sum(&UNREAD, &name)?;
                    }
                    continue;
                }
                // A form may leave out what it cannot hold, but no content.
                None if item.expected.as_ref().is_some_and(|expected| expected.size > 0) => {
                    let why = "it is a file whose content is not in the archive";
                    return Err(AuditError::mismatch(&item.member.path, why).into());
                }
                None => {}
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
            self.next = Some(understand(&item, self.form)?);
        }
        Ok(self.next.as_ref())
    }

    /// Takes the next item, and tells if it does not belong where it stands.
    fn take<E: From<AuditError>>(&mut self, visitor: &mut dyn Visitor<E>) -> Result<Option<Understood>, Stop<E>> {
        self.peek()?;
        let Some(item) = self.next.take() else { return Ok(None) };
        let path = &item.member.path;
        if let Err(why) = self.order.take(path, item.kind == ItemKind::Folder) {
            return Err(AuditError::mismatch(path, why).into());
        }
        if let Err(why) = self.firsts.take(&item) {
            tell(visitor, path, why)?;
        }
        let is_special = !matches!(item.kind, ItemKind::File | ItemKind::Folder | ItemKind::Symlink);
        self.special += u64::from(is_special && item.name.is_none());
        Ok(Some(item))
    }

    /// The checksums have come: there is no more.
    fn end<E: From<AuditError>>(
        &mut self,
        member: &Member,
        content: &mut dyn Content,
        visitor: &mut dyn Visitor<E>,
    ) -> Result<(), Stop<E>> {
        self.absent(None, visitor)?;
        for (is_there, name) in [(self.has_readme, &b"/README.txt"[..]), (self.has_content, b"/content")] {
            let path = [&self.pack, name].concat();
            if !is_there && !self.told.contains(&printable(&path)) {
                tell(visitor, &path, "it is not there, and belongs into the folder of a pack")?;
            }
        }
        let wrong = match compare_sums(member, content, &self.sums) {
            // Reading on tells it again.
            Err(error) if error.is_of_member() => Vec::new(),
            compared => compared.map_err(Stop::Audit)?,
        };
        let mut rest = Summed::new(content);
        let read = rest.drain().map(|()| rest.sum());
        sum_or_told(read, wrong, member, visitor)?;
        self.compare_beside(member, visitor)?;
        if let Some(path) = self.order.lacks() {
            let why = format!("{} should be in its inventory, and is not", printable(&path));
            report(visitor, self.in_manifest(why))?;
        }
        let wrong = of_tail(&self.head, &self.tail, &self.totals, self.special);
        wrong.into_iter().try_for_each(|why| report(visitor, self.in_manifest(why)))?;
        visitor.end(&self.tail).map_err(Stop::Visitor)
    }
}

/// Tells of a member what is wrong with it.
fn tell<E: From<AuditError>>(visitor: &mut dyn Visitor<E>, path: &[u8], why: impl Into<String>) -> Result<(), Stop<E>> {
    report(visitor, AuditError::mismatch(path, why))
}

/// Tells what of a member is not as the manifest says; false if nothing is.
fn differs<E: From<AuditError>>(
    visitor: &mut dyn Visitor<E>,
    member: &Member,
    what: Option<&str>,
) -> Result<bool, Stop<E>> {
    let Some(what) = what else { return Ok(false) };
    tell(visitor, &member.path, format!("{what} differs from what the manifest says")).map(|()| true)
}

/// The SHA-256 of a content that was read, after what is wrong with it was told; or what kept it from being read to its end is told instead, from which the rest follows, if what stands behind it
/// can be read.
fn sum_or_told<E: From<AuditError>>(
    read: std::io::Result<[u8; 32]>,
    wrong: impl IntoIterator<Item = String>,
    member: &Member,
    visitor: &mut dyn Visitor<E>,
) -> Result<[u8; 32], Stop<E>> {
    match read.map_err(ArchiveError::from) {
        Ok(sum) => wrong.into_iter().try_for_each(|why| tell(visitor, &member.path, why)).map(|()| sum),
        Err(error) if error.is_of_member() => report(visitor, AuditError::of_own(error)).map(|()| UNREAD),
        Err(error) => Err(error.into()),
    }
}
