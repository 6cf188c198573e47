//! POSIX ACLs: from the text of `SCHILY.acl.*` records to the kernel's form.
//!
//! Entries are divided by commas or line ends. GNU tar and star write names of users and groups where they know them, star
//! the number behind as well; Larder writes numbers alone.

/// Version of the kernel's form.
const VERSION: u32 = 2;
/// The number of an entry that has none.
const NOBODY: u32 = u32::MAX;

/// Finds the number of a user (true) or group (false) by its name.
pub(super) type Look<'a> = &'a dyn Fn(bool, &str) -> Option<u32>;

/// The kernel's form of an ACL. Nothing, if it says no more than the permission bits.
///
/// # Errors
/// What is wrong with it, or who is not known here.
pub(super) fn from_text(text: &[u8], look: Look) -> Result<Option<Vec<u8>>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            entries.push(parse(entry, look)?);
        }
    }
    if entries.iter().all(|(tag, ..)| matches!(tag, 0x01 | 0x04 | 0x20)) {
        return Ok(None);
    }
    // The kernel wants the sorts in this order, and keeps the order within them.
    entries.sort_by_key(|(tag, ..)| *tag);
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Ok(Some(value))
}

/// The mode of a file with an ACL in the kernel's form: its group's bits are the mask's. libarchive writes those of the owning group instead.
pub(super) fn mode(value: &[u8], mode: u16) -> u16 {
    let entries = || value.get(4..).unwrap_or_default().chunks_exact(8);
    let bits = |wanted: u16| {
        let entry = entries().find(|entry| u16::from_le_bytes([entry[0], entry[1]]) == wanted)?;
        Some(u16::from_le_bytes([entry[2], entry[3]]))
    };
    let place =
        |mode: u16, shift: u32, bits: Option<u16>| bits.map_or(mode, |bits| mode & !(7 << shift) | bits << shift);
    place(place(place(mode, 6, bits(0x01)), 3, bits(0x10).or(bits(0x04))), 0, bits(0x20))
}

fn parse(entry: &str, look: Look) -> Result<(u16, u16, u32), String> {
    let strange = || format!("`{}` is no entry of an ACL", entry.escape_default());
    let entry_text = entry.strip_prefix("default:").unwrap_or(entry);
    let parts: Vec<&str> = entry_text.split(':').map(str::trim).collect();
    let (sort, who, permissions, told) = match parts[..] {
        [sort, who, permissions] => (sort, who, permissions, None),
        [sort, who, permissions, number] => (sort, who, permissions, Some(number)),
        // Of masks and others some leave out the empty name.
        [sort @ ("mask" | "m" | "other" | "o"), permissions] => (sort, "", permissions, None),
        _ => return Err(strange()),
    };
    let tag = match (sort, who) {
        ("user" | "u", "") => 0x01,
        ("user" | "u", _) => 0x02,
        ("group" | "g", "") => 0x04,
        ("group" | "g", _) => 0x08,
        ("mask" | "m", "") => 0x10,
        ("other" | "o", "") => 0x20,
        _ => return Err(strange()),
    };
    let bits = permissions.chars().try_fold(0, |bits, c| match c {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    });
    let bits = bits.ok_or_else(strange)?;
    if who.is_empty() {
        return Ok((tag, bits, NOBODY));
    }
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n != NOBODY);
    let id = number(who).or_else(|| told.and_then(number)).or_else(|| look(tag == 0x02, who));
    let whose = if tag == 0x02 { "user" } else { "group" };
    let id = id.ok_or_else(|| format!("no {whose} here has the name {}", who.escape_default()))?;
    Ok((tag, bits, id))
}

/// An ACL in the kernel's form and as text, for tests of this and of what writes it.
#[cfg(test)]
pub(crate) fn sample() -> (Vec<u8>, &'static str) {
    let entry =
        |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries =
        [entry(1, 6, NOBODY), entry(2, 5, 1000), entry(4, 4, NOBODY), entry(0x10, 5, NOBODY), entry(0x20, 0, NOBODY)];
    let value = [&VERSION.to_le_bytes()[..], &entries.concat()].concat();
    (value, "user::rw-,user:1000:r-x,group::r--,mask::r-x,other::---")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: bool, _: &str) -> Option<u32> {
        None
    }

    #[test]
    fn forms_of_several_programs() {
        let (value, text) = sample();
        let lisa = |is_user: bool, name: &str| (is_user && name == "lisa").then_some(1000);
        for text in [
            text,
            "user::rw-\nuser:lisa:r-x\t#effective:r-x\ngroup::r--\nmask::r-x\nother::---\n",
            "user::rw-,user:unknown:r-x:1000,group::r--,mask::r-x,other::---",
            "u::rw,u:1000:rx,g::r,m:rx,o:",
            "other::---,mask::r-x,group::r--,user:1000:r-x,user::rw-",
        ] {
            assert_eq!(from_text(text.as_bytes(), &lisa).as_ref(), Ok(&Some(value.clone())), "{text}");
        }
        assert_eq!(mode(&value, 0o4777), 0o4650);
        assert_eq!(from_text(b"user::rw-,group::r--,other::---", &nobody), Ok(None));
        assert_eq!(from_text(b"", &nobody), Ok(None));
    }

    #[test]
    fn what_makes_no_sense() {
        for (text, why) in [
            ("user:lisa:rwx", "no user here has the name lisa"),
            ("group:staff:rwx:x", "no group here"),
            ("user:4294967295:rwx", "no user here"),
            ("user::rwz", "no entry"),
            ("mask:1:rwx", "no entry"),
            ("user:rwx", "no entry"),
            ("nobody::rwx", "no entry"),
        ] {
            assert!(from_text(text.as_bytes(), &nobody).unwrap_err().contains(why), "{text}");
        }
        assert!(from_text(b"\xff", &nobody).is_err());
    }
}
