//! `checksums.sha256` of an export bundle: of every other file 64 small hexadecimal digits, two blanks, its path, a line feed.
//!
//! Read strictly: what the older system let pass (no lines, ends of lines of other systems, paths that lead out) is a fault.

use std::collections::BTreeMap;

/// Hashes by path.
pub(super) type Sums = BTreeMap<Box<[u8]>, String>;

/// Reads a list. Of each line that is none, what is wrong with it is said.
pub(super) fn read(bytes: &[u8]) -> (Sums, Vec<String>) {
    let (mut sums, mut faults) = (Sums::new(), Vec::new());
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        faults.push("the last line does not end".to_owned());
    }
    for (at, line) in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n').enumerate() {
        if bytes.is_empty() {
            break;
        }
        match entry(line) {
            Ok((hash, path)) => {
                if sums.insert(path.into(), hash.to_owned()).is_some() {
                    faults.push(format!("line {}: the path is listed twice", at + 1));
                }
            }
            Err(what) => faults.push(format!("line {}: {what}", at + 1)),
        }
        if faults.len() > 20 {
            faults.push("and more".to_owned());
            break;
        }
    }
    (sums, faults)
}

fn entry(line: &[u8]) -> Result<(&str, &[u8]), &'static str> {
    let (hash, rest) = line.split_at_checked(64).ok_or("it is no hash and path")?;
    let small = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let hash = std::str::from_utf8(hash).ok().filter(|hash| hash.bytes().all(|b| small(&b)));
    let hash = hash.ok_or("the hash is not 64 digits in small letters")?;
    let path = rest.strip_prefix(b"  ").ok_or("two blanks must stand between hash and path")?;
    if path.ends_with(b"\r") {
        return Err("it ends with a carriage return");
    }
    let leads_out = path.starts_with(b"/") || path.split(|b| *b == b'/').any(|name| matches!(name, b"" | b"." | b".."));
    if leads_out { Err("the path leads out of the bundle, or is no plain path") } else { Ok((hash, path)) }
}

/// Writes a list.
pub(super) fn write(sums: &Sums) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, hash) in sums {
        out.extend_from_slice(hash.as_bytes());
        out.extend_from_slice(b"  ");
        out.extend_from_slice(path);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let sums: Sums =
            [("b/c", "0".repeat(64)), ("a b", "f".repeat(64))].map(|(p, h)| (p.as_bytes().into(), h)).into();
        let text = write(&sums);
        assert!(text.starts_with(&b"f".repeat(64)) && text.ends_with(b"  b/c\n"));
        assert_eq!(read(&text), (sums, Vec::new()));
        assert_eq!(read(b""), (Sums::new(), Vec::new()));
    }

    #[test]
    fn what_is_a_fault() {
        let hash = "0".repeat(64);
        for (text, what) in [
            (format!("{hash}  a"), "end"),
            (format!("{hash}  a\r\n"), "carriage"),
            (format!("{hash}  a\n\n"), "line 2"),
            (format!("{hash} *a\n"), "blanks"),
            (format!("{hash} a\n"), "blanks"),
            (format!("{}  a\n", "A".repeat(64)), "small"),
            (format!("{}  a\n", "0".repeat(63)), "small"),
            (format!("{hash}  ../a\n"), "out"),
            (format!("{hash}  /a\n"), "out"),
            (format!("{hash}  a//b\n"), "out"),
            (format!("{hash}  \n"), "out"),
            (format!("{hash}  a\n{hash}  a\n"), "twice"),
            ("\n".to_owned(), "line 1"),
        ] {
            let (_, faults) = read(text.as_bytes());
            assert!(faults.len() == 1 && faults[0].contains(what), "{text:?}: {faults:?}");
        }
        assert_eq!(read(&b"x\n".repeat(1000)).1.len(), 22);
    }
}
