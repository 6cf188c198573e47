//! POSIX ACLs: from the kernel's form to the text that `SCHILY.acl.*` records hold.

/// Version of the kernel's form.
const VERSION: u32 = 2;

/// The text of an ACL, ids as numbers, entries divided by commas. Nothing if the form is unknown.
pub(crate) fn acl_text(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 || entries.is_empty() {
        return None;
    }
    let mut text = Vec::new();
    for entry in entries.chunks_exact(8) {
        let [t0, t1, p0, p1, id @ ..] = entry else { return None };
        let permissions = u16::from_le_bytes([*p0, *p1]);
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let who = match u16::from_le_bytes([*t0, *t1]) {
            0x01 => "user::".to_owned(),
            0x02 => format!("user:{id}:"),
            0x04 => "group::".to_owned(),
            0x08 => format!("group:{id}:"),
            0x10 => "mask::".to_owned(),
            0x20 => "other::".to_owned(),
            _ => return None,
        };
        if permissions > 7 {
            return None;
        }
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(who.as_bytes());
        text.extend(
            [(4, b'r'), (2, b'w'), (1, b'x')].map(|(bit, letter)| if permissions & bit != 0 { letter } else { b'-' }),
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let (value, wanted) = crate::archives::acl_sample();
        assert_eq!(acl_text(&value).as_deref(), Some(wanted.as_bytes()));
        assert_eq!(acl_text(&value[..value.len() - 1]), None);
        assert_eq!(acl_text(b""), None);
    }
}
