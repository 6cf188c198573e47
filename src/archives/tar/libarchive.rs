//! How libarchive writes what need not be text: names with `%xx`, values in base64, without signs at its end.

/// Text with `%xx` for some bytes.
pub(super) fn from_url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        let digit = |b: u8| char::from(b).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = behind;
    }
    Some(bytes)
}

/// Base64, with or without the signs that fill it up.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let value = group.iter().try_fold(0_u32, |value, b| Some(value << 6 | six(*b)?))?;
        let value = value << (6 * (4 - group.len()));
        let len = match group.len() {
            1 => return None,
            n => n - 1,
        };
        bytes.extend_from_slice(&value.to_be_bytes()[1..=len]);
    }
    Some(bytes)
}

fn six(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded() {
        assert_eq!(from_url(b"user.a%3Db%25%e9").as_deref(), Some(&b"user.a=b%\xe9"[..]));
        assert_eq!([from_url(b"%"), from_url(b"%4"), from_url(b"%g0")], [None, None, None]);
        for (text, bytes) in [
            (&b""[..], Some(&b""[..])),
            (b"Zg", Some(b"f")),
            (b"Zg==", Some(b"f")),
            (b"Zm8=", Some(b"fo")),
            (b"Zm9v", Some(b"foo")),
            (b"Zm9vYg", Some(b"foob")),
            (b"+/+/", Some(b"\xfb\xff\xbf")),
            (b"Z", None),
            (b"Zm9vY", None),
            (b"Z===", None),
            (b"Zm 9", None),
        ] {
            assert_eq!(from_base64(text).as_deref(), bytes, "{}", String::from_utf8_lossy(text));
        }
    }
}
