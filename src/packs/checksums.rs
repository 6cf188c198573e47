//! Lines of `checksums.sha256`, as GNU coreutils write and read them (pack-format.md, section 4).

/// Puts a line: 64 hexadecimal digits, two blanks, the name, a line feed. A name with a backslash, line feed or carriage return is
/// written with escapes for them, and a backslash in front of the line.
pub fn put_line(out: &mut Vec<u8>, hex: &str, name: &[u8]) {
    if name.iter().any(|b| escape(*b).is_some()) {
        out.push(b'\\');
    }
    out.extend_from_slice(hex.as_bytes());
    out.extend_from_slice(b"  ");
    for byte in name {
        match escape(*byte) {
            Some(escape) => out.extend_from_slice(escape),
            None => out.push(*byte),
        }
    }
    out.push(b'\n');
}

/// How long the line of a name is.
pub(super) fn line_len(name: &[u8]) -> u64 {
    let escapes = name.iter().filter(|b| escape(**b).is_some()).count() as u64;
    64 + 2 + name.len() as u64 + escapes + u64::from(escapes > 0) + 1
}

/// A sum as digits.
pub(super) fn hex(sum: &[u8]) -> String {
    sum.iter().map(|b| format!("{b:02x}")).collect()
}

fn escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'\\' => Some(b"\\\\"),
        b'\n' => Some(b"\\n"),
        b'\r' => Some(b"\\r"),
        _ => None,
    }
}

/// The digits, in small letters, and the name of a line without its line feed; nothing if it is none. `sha256sum --binary` writes an
/// asterisk for the second blank.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let (escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |rest| (true, rest));
    let (digits, rest) = line.split_at_checked(64)?;
    let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *")).filter(|name| !name.is_empty())?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let hex = String::from_utf8_lossy(digits).to_ascii_lowercase();
    if !escaped {
        return Some((hex, name.to_vec()));
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some((hex, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (name, line) in [
            (&b"content/a b"[..], format!("{hex}  content/a b\n")),
            (b"a\\b", format!("\\{hex}  a\\\\b\n")),
            (b"a\nb\rc", format!("\\{hex}  a\\nb\\rc\n")),
            (b" leading", format!("{hex}   leading\n")),
        ] {
            let mut out = Vec::new();
            put_line(&mut out, hex, name);
            assert_eq!(out, line.as_bytes());
            assert_eq!(out.len() as u64, line_len(name));
            assert_eq!(parse_line(&out[..out.len() - 1]), Some((hex.to_owned(), name.to_vec())));
        }
        assert_eq!(parse_line(format!("{} *x", hex.to_uppercase()).as_bytes()), Some((hex.to_owned(), b"x".to_vec())));
        for wrong in [
            "",
            hex,
            &hex[1..],
            &format!("{hex}  "),
            &format!("{hex} x"),
            &format!("\\{hex}  a\\x"),
            &format!("\\{hex}  a\\"),
        ] {
            assert_eq!(parse_line(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
