//! The one walk over a pack, for whoever checks, imports or unpacks it: inventory and archive side by side, in one pass.
//!
//! A pack of Larder's tells what is in it before it comes, so each member is compared with its item as it goes by: name, sort, size,
//! BLAKE3, metadata where the form carries it. SHA-256s are kept until `checksums.sha256` comes, which must name all and no more.
//! Archives of others go by as they are.

mod claims;
mod content;
mod drift;
mod error;
mod items;
mod order;
mod own;
mod path;
mod sums;

use std::path::Path;

use crate::archives::{
    Alike, ArchiveError, Content, Ending, Limits, Member, MemberKind, Opened, Part, Receiver, Remarks, Tally,
    ZipRecords, read_on,
};
use crate::packs::tar::end::{MARK, zeros};
use crate::packs::zip::{Canon, ends_so};

use super::manifest::{Head, Tail};
use claims::Carried;
use content::Replayed;
pub use drift::Drift;
use drift::Drifts;
pub use error::AuditError;
use own::Own;

/// Bytes of a `manifest.json` that tell whose it is.
const PEEK: usize = 4096;

/// Who is told what goes by.
pub trait Visitor<E: From<AuditError>> {
    /// A snapshot of a pack of Larder's begins.
    ///
    /// # Errors
    /// Ends the audit.
    fn begin(&mut self, head: &Head) -> Result<(), E>;

    /// A member. Of a pack of Larder's: an item of the inventory, its path from the snapshot's root, whatever the archive could not carry
    /// restored; `linked` if it has or had further names, even if none of them is in the pack. Its content need not be read; if it is
    /// read to its end, it was proved.
    ///
    /// # Errors
    /// Ends the audit.
    fn member(&mut self, member: &Member, linked: bool, content: &mut dyn Content) -> Result<(), E>;

    /// All of the snapshot has gone by, and is as its manifest and its checksums say.
    ///
    /// # Errors
    /// Ends the audit.
    fn end(&mut self, tail: &Tail) -> Result<(), E>;

    /// Something is not as the manifest or the checksums say, or a member cannot be read or is not let in; and the walk can go on. Whoever is given the fault of a
    /// member as an error of its content is not told of it again.
    ///
    /// # Errors
    /// Ends the audit. That is what happens unless someone wants to know more.
    fn mismatch(&mut self, error: AuditError) -> Result<(), E> {
        Err(error.into())
    }

    /// A pack's bytes are not those of its form, where nothing depends on them that anybody takes: headers without meaning, the zeros at the end of a tar.
    ///
    /// # Errors
    /// Ends the audit. Who takes what is in it need not care.
    fn deviation(&mut self, _: AuditError) -> Result<(), E> {
        Ok(())
    }
}

/// What went by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audited {
    /// Snapshots in it; none if it is not Larder's.
    pub snapshots: u64,
    /// Members of the archive, further names too.
    pub members: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// What is strange about the archive and did not stop its reading.
    pub remarks: Remarks,
    /// Names that differ from an earlier one in letter case alone, or in how accents are written.
    pub alike: u64,
    /// The first few of them.
    pub alike_examples: Vec<Box<[u8]>>,
    /// Of a pack of Larder's that lies there extracted: metadata that is not as its manifest says. Whoever imports or unpacks it gets what the manifest says.
    pub drifts: Vec<Drift>,
}

/// An error of the visitor's, or of what it is shown.
pub(super) enum Stop<E> {
    Visitor(E),
    Audit(AuditError),
}

impl<E> From<ArchiveError> for Stop<E> {
    fn from(error: ArchiveError) -> Self {
        Self::Audit(error.into())
    }
}

impl<E> From<AuditError> for Stop<E> {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}

/// Shows an archive to a visitor. `dir`: where what is too much for memory goes, sealed.
///
/// # Errors
/// The visitor's first; or what is first found wrong: then what the visitor saw before is not to be believed either.
pub fn audit<E: From<AuditError>>(
    opened: Opened,
    limits: &Limits,
    dir: &Path,
    visitor: &mut dyn Visitor<E>,
) -> Result<Audited, E> {
    let mut walk = Walk {
        state: State::Begin(None),
        carried: Carried::of(&opened),
        refuses_alike: limits.alike == Alike::RefuseOthers,
        top: Box::default(),
        limits,
        dir,
        visitor,
        audited: Audited::default(),
        drifts: Drifts::default(),
        canon: Canon::new(),
        deviation: None,
    };
    let read = read_on(opened, limits, &mut walk);
    match read.and_then(|tally| walk.end().map(|()| tally)) {
        Ok(Tally { remarks, alike, alike_examples, ending, .. }) => {
            // What is strange about somebody else's archive is none of what Larder writes.
            for why in remarks.strange.iter().filter(|_| walk.audited.snapshots > 0) {
                walk.visitor.mismatch(AuditError::mismatch(&walk.top, why.as_str()))?;
            }
            if let Some(why) = ending.and_then(of_ending).filter(|_| walk.audited.snapshots > 0) {
                walk.visitor.deviation(AuditError::mismatch(&walk.top, why))?;
            }
            Ok(Audited { remarks, alike, alike_examples, drifts: walk.drifts.0, ..walk.audited })
        }
        Err(Stop::Visitor(e)) => Err(e),
        Err(Stop::Audit(e)) => Err(e.into()),
    }
}

/// What the archive is, as far as was told.
enum State {
    /// Nothing is known yet; a folder came, perhaps.
    Begin(Option<Member>),
    /// Another's.
    Foreign,
    /// In a snapshot's folder.
    Own(Box<Own>),
    /// Between the folders of two snapshots; a folder came, perhaps.
    Between(Option<Member>),
    /// Behind a manifest that cannot be read: members are read, and there is nothing to hold them against.
    Lost,
}

struct Walk<'a, E> {
    state: State,
    carried: Carried,
    /// Names that are alike are refused, but in packs of Larder's.
    refuses_alike: bool,
    /// The folder in which the first member stands.
    top: Box<[u8]>,
    limits: &'a Limits,
    dir: &'a Path,
    visitor: &'a mut dyn Visitor<E>,
    audited: Audited,
    drifts: Drifts,
    canon: Canon,
    /// What of the first member is not as Larder writes it: it is not known yet whether it did.
    deviation: Option<AuditError>,
}

impl<E: From<AuditError>> Receiver<Stop<E>> for Walk<'_, E> {
    fn member(&mut self, member: Member, content: &mut dyn Content) -> Result<(), Stop<E>> {
        self.take(&member, content)
    }

    fn records(&mut self, records: &ZipRecords) -> Result<(), Stop<E>> {
        if matches!(self.state, State::Foreign) {
            return Ok(());
        }
        let Some(why) = self.canon.member(records) else { return Ok(()) };
        let error = AuditError::mismatch(&records.path, why);
        if self.audited.snapshots > 0 {
            return self.visitor.deviation(error).map_err(Stop::Visitor);
        }
        self.deviation = Some(error);
        Ok(())
    }

    fn fault(&mut self, error: ArchiveError) -> Result<(), Stop<E>> {
        let error = match &mut self.state {
            State::Own(own) => {
                if let ArchiveError::Member { member, .. } = &error {
                    own.was_told(member);
                }
                AuditError::of_own(error)
            }
            State::Between(_) | State::Lost => AuditError::of_own(error),
            State::Begin(_) | State::Foreign => error.into(),
        };
        report(self.visitor, error)
    }
}

impl<E: From<AuditError>> Walk<'_, E> {
    fn take(&mut self, member: &Member, content: &mut dyn Content) -> Result<(), Stop<E>> {
        self.audited.members += 1;
        if let MemberKind::File { size } = member.kind {
            self.audited.bytes = self.audited.bytes.saturating_add(size);
        }
        if self.audited.members == 1 {
            self.top = member.path.split(|b| *b == b'/').next().unwrap_or_default().into();
        }
        if member.is_alike && self.refuses_alike && matches!(self.state, State::Begin(_) | State::Foreign) {
            return Err(ArchiveError::alike(&member.path).into());
        }
        match std::mem::replace(&mut self.state, State::Foreign) {
            State::Begin(None) if is_top_folder(member) => {
                self.state = State::Begin(Some(member.clone()));
                Ok(())
            }
            State::Begin(folder) => self.settle(folder, member, content),
            State::Foreign => self.foreign(member, content),
            State::Own(mut own) => {
                let done = own.member(member, content, self.visitor)?;
                if done {
                    self.drifts.append(own.drifts);
                    self.state = State::Between(None);
                } else {
                    self.state = State::Own(own);
                }
                Ok(())
            }
            State::Between(None) if is_top_folder(member) => {
                self.state = State::Between(Some(member.clone()));
                Ok(())
            }
            State::Between(Some(folder)) if is_manifest_of(&folder.path, member) => {
                self.begin(&folder, member, content)
            }
            State::Between(_) => {
                Err(AuditError::mismatch(&member.path, "it stands behind checksums.sha256, where nothing belongs")
                    .into())
            }
            State::Lost => {
                self.state = State::Lost;
                Ok(())
            }
        }
    }

    /// Finds out whose the archive is.
    fn settle(&mut self, folder: Option<Member>, member: &Member, content: &mut dyn Content) -> Result<(), Stop<E>> {
        let Some(folder) = folder else { return self.foreign(member, content) };
        if !is_manifest_of(&folder.path, member) {
            self.show(&folder, &mut content::Nothing)?;
            return self.foreign(member, content);
        }
        let Some(front) = self.front(content)? else { return self.show(&folder, &mut content::Nothing) };
        let ours = is_ours(&front);
        let mut whole = Replayed { front, rest: content };
        if ours {
            return self.begin(&folder, member, &mut whole);
        }
        self.show(&folder, &mut content::Nothing)?;
        self.show(member, &mut whole)
    }

    fn begin(&mut self, folder: &Member, member: &Member, manifest: &mut dyn Content) -> Result<(), Stop<E>> {
        let own = match Own::begin(&folder.path, self.carried, manifest, self.limits, self.dir) {
            Ok(own) => own,
            Err(error) if error.is_of_member() || error.is_malformed() => {
                self.state = State::Lost;
                // Where the archive itself finds it wrong, the rest follows from that.
                return match content::Summed::new(manifest).drain().map_err(ArchiveError::from) {
                    Ok(()) => report(self.visitor, error),
                    Err(e) if e.is_of_member() => report(self.visitor, AuditError::of_own(e)),
                    Err(e) => Err(e.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        self.audited.snapshots += 1;
        self.visitor.begin(own.head()).map_err(Stop::Visitor)?;
        self.deviation.take().map_or(Ok(()), |error| self.visitor.deviation(error)).map_err(Stop::Visitor)?;
        own.compare_beside(folder, self.visitor)?;
        own.compare_beside(member, self.visitor)?;
        own.compare_head(self.visitor)?;
        self.state = State::Own(Box::new(own));
        Ok(())
    }

    /// Shows a member of another's archive. A pack of Larder's that was packed again in another order is none: nothing would be proved.
    fn foreign(&mut self, member: &Member, content: &mut dyn Content) -> Result<(), Stop<E>> {
        if !is_manifest_of(&self.top, member) && *member.path != *b"manifest.json" {
            return self.show(member, content);
        }
        let Some(front) = self.front(content)? else { return Ok(()) };
        if is_ours(&front) {
            let why = "it is the manifest of a pack of Larder's, and does not come right behind its folder: \
                       unpack this archive with the program that made it, and name the folder that has the manifest";
            return Err(AuditError::mismatch(&member.path, why).into());
        }
        self.show(member, &mut Replayed { front, rest: content })
    }

    /// Reads as much of a content as tells whose manifest it is. Nothing if it cannot be read: that was told.
    fn front(&mut self, content: &mut dyn Content) -> Result<Option<Vec<u8>>, Stop<E>> {
        match front(content) {
            Ok(front) => Ok(Some(front)),
            Err(error) if error.is_of_member() => report(self.visitor, error.into()).map(|()| None),
            Err(error) => Err(error.into()),
        }
    }

    fn show(&mut self, member: &Member, content: &mut dyn Content) -> Result<(), Stop<E>> {
        self.state = State::Foreign;
        self.visitor.member(member, false, content).map_err(Stop::Visitor)
    }

    fn end(&mut self) -> Result<(), Stop<E>> {
        match std::mem::replace(&mut self.state, State::Foreign) {
            State::Begin(Some(folder)) => self.show(&folder, &mut content::Nothing),
            State::Own(own) => Err(own.cut_short().into()),
            State::Between(Some(folder)) => {
                Err(AuditError::mismatch(&folder.path, "it is a folder without a manifest.json").into())
            }
            State::Begin(None) | State::Foreign | State::Between(None) | State::Lost => Ok(()),
        }
    }
}

/// What at the end of an archive is not as Larder writes it. Tapes and pipes are filled up with zeros.
fn of_ending(ending: Ending) -> Option<&'static str> {
    match ending {
        Ending::Tar { has_lone: true, .. } => Some("headers of no member stand in front of the zeros at its end"),
        Ending::Tar { start, zeros: found, .. } if (MARK..zeros(start)).contains(&found) => {
            Some("the tar was cut short within the zeros at its end")
        }
        Ending::Zip { members, directory, bytes } if !ends_so(members, directory, &bytes) => {
            Some("the records at the end of the zip are written otherwise than zip-v1 has them")
        }
        Ending::Tar { .. } | Ending::Zip { .. } => None,
    }
}

/// Tells the visitor of something wrong.
fn report<E: From<AuditError>>(visitor: &mut dyn Visitor<E>, error: AuditError) -> Result<(), Stop<E>> {
    visitor.mismatch(error).map_err(Stop::Visitor)
}

fn is_top_folder(member: &Member) -> bool {
    member.kind == MemberKind::Folder && !member.path.is_empty() && !member.path.contains(&b'/')
}

/// Reads as much of a content as tells whose manifest it is.
fn front(content: &mut dyn Content) -> Result<Vec<u8>, ArchiveError> {
    let mut front = Vec::new();
    while front.len() < PEEK {
        match content.next(&mut front)? {
            Part::Data => {}
            Part::Hole(_) | Part::End => break,
        }
    }
    Ok(front)
}

fn is_manifest_of(folder: &[u8], member: &Member) -> bool {
    let inside = member.path.strip_prefix(folder);
    matches!(member.kind, MemberKind::File { .. }) && inside == Some(b"/manifest.json")
}

/// What stands in front of the inventory in every manifest of Larder's.
const MARKS: [&str; 7] = [
    "\"schema_version\":",
    "\"form\":\"",
    "\"name\":\"",
    "\"snapshot\":{\"id\":\"",
    "\"sequence\":",
    "\"arrival\":\"",
    "\"tree\":\"",
];

/// True if a manifest begins as Larder's do, whatever the version; or nearly so: one that is damaged makes nobody else's archive of a pack.
fn is_ours(front: &[u8]) -> bool {
    let text = String::from_utf8_lossy(front);
    if MARKS.iter().filter(|mark| text.contains(**mark)).count() >= MARKS.len() - 2 {
        return true;
    }
    let inside = text.trim_start().strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.starts_with("\"schema_version\"") && inside.contains("\"form\""))
}
