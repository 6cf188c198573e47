//! Names of members, which zips have in whatever characters the machine used that made them.

/// Sorts of machines, by the number in their records, that have no bytes as names and a backslash between them: DOS and Windows.
const WINDOWS: [u8; 4] = [0, 10, 11, 14];

/// A name as bytes of UTF-8, or as they are where a system has bytes as names.
///
/// Windows' names are in code page 437 by the book. Many programs write UTF-8 all the same, and text that is UTF-8 by chance hardly occurs: what can be that is taken
/// for it. Backslashes divide names there, and are part of them elsewhere.
pub(super) fn decode(raw: &[u8], host: u8, is_utf8: bool) -> Vec<u8> {
    if !WINDOWS.contains(&host) {
        return raw.to_vec();
    }
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        Err(_) if is_utf8 => return raw.to_vec(),
        Err(_) => raw.iter().map(|b| cp437(*b)).collect(),
    };
    text.replace('\\', "/").into_bytes()
}

/// The upper half of code page 437.
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

fn cp437(byte: u8) -> char {
    match byte.checked_sub(128) {
        None => char::from(byte),
        Some(at) => UPPER.chars().nth(at.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(UPPER.chars().count(), 128);
        let text = |raw: &[u8], host, is_utf8| String::from_utf8_lossy(&decode(raw, host, is_utf8)).into_owned();
        assert_eq!(text(b"a\\b\x82\xe1", 0, false), "a/béß");
        assert_eq!(text("a\\é".as_bytes(), 11, true), "a/é");
        assert_eq!(text("é".as_bytes(), 0, false), "é");
        assert_eq!(decode(b"a\\b\x82", 3, false), b"a\\b\x82");
        assert_eq!(decode(b"\xff", 0, true), b"\xff");
    }
}
