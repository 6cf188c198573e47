//! Strings as JSON has them, for whoever can have UTF-8.

/// A string in quotes: only quotes, backslashes and control characters below U+0020 are escaped, those that have a short form so.
pub(super) fn quoted(text: &str, out: &mut dyn FnMut(&str)) {
    out("\"");
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            8 => "\\b",
            9 => "\\t",
            10 => "\\n",
            12 => "\\f",
            13 => "\\r",
            0..0x20 => &format!("\\u{byte:04x}"),
            _ => continue,
        };
        out(&text[plain..at]);
        out(escaped);
        plain = at + 1;
    }
    out(&text[plain..]);
    out("\"");
}
