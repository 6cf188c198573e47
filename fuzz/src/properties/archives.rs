//! Archives of others, which may be made by an enemy.

use std::collections::BTreeSet;
use std::io::Cursor;

use crate::archives::{
    ArchiveError, Content, Input, Limits, Member, MemberKind, NoKeys, Opened, Part, Receiver, Tally, open, read,
    read_on,
};
use crate::model::Quiet;

/// Less than an honest archive may have: what is tried a thousand times a second must be quick.
fn limits() -> Limits {
    Limits { bytes: Some(4 << 20), members: 10_000, ratio: 100, ..Limits::default() }
}

/// Tars of all dialects.
pub(super) fn tar(bytes: &[u8]) -> bool {
    holds(|| Ok(Opened::Tar(Box::new(Cursor::new(bytes.to_vec())))))
}

/// Zips.
pub(super) fn zip(bytes: &[u8]) -> bool {
    holds(|| Ok(Opened::Zip(Box::new(Cursor::new(bytes.to_vec())))))
}

/// Archives in whatever lies around them, from a file and from a pipe.
pub(super) fn archive(bytes: &[u8]) -> bool {
    let file = holds(|| {
        let input = Input::Seekable(Box::new(Cursor::new(bytes.to_vec())));
        open(input, &NoKeys, &limits(), &Quiet).map(|archive| archive.opened)
    });
    let pipe = holds(|| {
        let input = Input::Stream(Box::new(Cursor::new(bytes.to_vec())));
        open(input, &NoKeys, &limits(), &Quiet).map(|archive| archive.opened)
    });
    assert!(file || !pipe, "what a pipe gives a file gives too");
    searched(bytes);
    file
}

/// Whoever goes on behind damage comes to an end.
fn searched(bytes: &[u8]) {
    struct All;
    impl Receiver<ArchiveError> for All {
        fn member(&mut self, _: Member, _: &mut dyn Content) -> Result<(), ArchiveError> {
            Ok(())
        }

        fn fault(&mut self, error: ArchiveError) -> Result<(), ArchiveError> {
            if error.is_of_member() { Ok(()) } else { Err(error) }
        }
    }
    let limits = Limits { searches: true, duplicates: true, absolute: true, ..limits() };
    let input = Input::Seekable(Box::new(Cursor::new(bytes.to_vec())));
    let Ok(archive) = open(input, &NoKeys, &limits, &Quiet) else { return };
    let _whole = read_on(archive.opened, &limits, &mut All).is_ok();
}

/// Whether it is an archive; if so, what all that read members may rely on.
fn holds(opened: impl Fn() -> Result<Opened, ArchiveError>) -> bool {
    let all = || opened().and_then(members);
    let Ok((found, tally)) = all() else { return false };
    let mut paths: BTreeSet<&[u8]> = BTreeSet::new();
    let (mut count, mut bytes) = (0, 0);
    for (member, given) in &found {
        let path = &member.path[..];
        assert!(path.is_empty() || path.split(|b| *b == b'/').all(is_name), "{member:?}");
        assert!(member.mode <= 0o7777 && member.mtime.is_none_or(|t| t.nanos < 1_000_000_000), "{member:?}");
        assert!(member.xattrs.is_sorted_by(|a, b| a.0 < b.0), "{member:?}");
        match &member.kind {
            MemberKind::HardLink(first) => assert!(paths.contains(&first[..]) && first[..] != *path, "{member:?}"),
            MemberKind::Symlink(target) => assert!(!target.is_empty() && !target.contains(&0), "{member:?}"),
            _ => {}
        }
        let size = if let MemberKind::File { size } = member.kind { size } else { 0 };
        assert_eq!(size, *given, "{member:?}");
        let is_new = paths.insert(path);
        assert!(is_new || member.kind == MemberKind::Folder, "{member:?} is there twice");
        (count, bytes) = (count + 1, bytes + size);
    }
    for (member, _) in &found {
        let is_above = |other: &Member| {
            other.kind != MemberKind::Folder
                && member.path.strip_prefix(&*other.path).is_some_and(|rest| rest.starts_with(b"/"))
        };
        assert!(
            found.len() > 200 || !found.iter().any(|(other, _)| is_above(other)),
            "{member:?} is below what is no folder"
        );
    }
    assert_eq!((tally.members, tally.bytes), (count, bytes));
    assert!(all().is_ok_and(|again| again == (found, tally)), "it is not read the same twice");
    true
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.contains(&0)
}

/// The members, each with the bytes that its content had.
fn members(opened: Opened) -> Result<(Vec<(Member, u64)>, Tally), ArchiveError> {
    let mut found = Vec::new();
    let tally = read(opened, &limits(), &mut |member, content| {
        let (mut given, mut buffer) = (0, Vec::new());
        loop {
            buffer.clear();
            let part = content.next(&mut buffer)?;
            given += buffer.len() as u64 + if let Part::Hole(len) = part { len } else { 0 };
            if part == Part::End {
                break;
            }
        }
        found.push((member, given));
        Ok::<(), ArchiveError>(())
    })?;
    Ok((found, tally))
}
