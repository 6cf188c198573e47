//! A member's name as an archive has it, made a path that cannot lead anywhere else.

/// Bytes of a single name, as Linux has it.
const NAME_MAX: usize = 255;
/// Bytes of a whole path: 16 times what one system call takes.
pub const PATH_MAX: usize = 16 * 4096;

/// Names from the root, joined by `/`, none empty, `.` or `..`; and whether a slash stood behind, which says that it is a folder.
///
/// Parts that are `.` or empty lead nowhere, to every program alike, and tars are full of them, since names stand there as somebody typed them: they are left out. `.`
/// is the root itself. `absolute`: slashes in front are left out too, instead of refused.
///
/// # Errors
/// Why it is refused.
pub(super) fn clean(raw: &[u8], absolute: bool) -> Result<(Box<[u8]>, bool), &'static str> {
    if raw.is_empty() {
        return Err("its name is empty");
    }
    if raw.contains(&0) {
        return Err("its name holds a zero byte");
    }
    if raw[0] == b'/' && !absolute {
        return Err("its name is absolute (--allow absolute takes the slash in front off, as tar does)");
    }
    if raw.len() > PATH_MAX {
        return Err("its path is longer than 65536 bytes");
    }
    let mut path = Vec::with_capacity(raw.len());
    let mut is_folder = true;
    for part in raw.split(|b| *b == b'/') {
        is_folder = matches!(part, b"" | b".");
        match part {
            b"" | b"." => {}
            b".." => return Err("its path leads upwards with `..`"),
            _ if part.len() > NAME_MAX => return Err("a name in its path is longer than 255 bytes"),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok((path.into(), is_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_in() {
        for (raw, path, slash) in [
            (&b"a"[..], &b"a"[..], false),
            (b"a/b", b"a/b", false),
            (b"./a/b/", b"a/b", true),
            (b"././a", b"a", false),
            (b".//a//", b"a", true),
            (b".", b"", true),
            (b"./", b"", true),
            (b"./.", b"", true),
            (b"a..b/...", b"a..b/...", false),
            (b"\xff\\", b"\xff\\", false),
            (b"a/./b", b"a/b", false),
            (b"a//b", b"a/b", false),
            (b"a/././/b/.", b"a/b", true),
            (b"a/.", b"a", true),
            (b".//.", b"", true),
        ] {
            assert_eq!(clean(raw, false), Ok((path.into(), slash)), "{}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn what_is_refused() {
        let long = [&[b'a'; 256][..], b"/b"].concat();
        let deep = b"a/".repeat(140_000);
        for (raw, why) in [
            (&b""[..], "empty"),
            (b"/", "absolute"),
            (b"/etc/passwd", "absolute"),
            (b"//a", "absolute"),
            (b"..", "`..`"),
            (b"../a", "`..`"),
            (b"./../a", "`..`"),
            (b"a/../b", "`..`"),
            (b"a/..", "`..`"),
            (b"a/./..", "`..`"),
            (b"a//../b", "`..`"),
            (b"a\0b", "zero byte"),
            (&long, "255"),
            (&deep, "65536"),
        ] {
            let refused = clean(raw, false).unwrap_err();
            assert!(refused.contains(why), "{}: {refused}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn slashes_in_front_are_taken_off_where_that_is_wanted() {
        for (raw, path, slash) in
            [(&b"/etc/passwd"[..], &b"etc/passwd"[..], false), (b"//a//b/", b"a/b", true), (b"/", b"", true)]
        {
            assert_eq!(clean(raw, true), Ok((path.into(), slash)));
        }
        assert!(clean(b"/../a", true).unwrap_err().contains("`..`"));
    }
}
