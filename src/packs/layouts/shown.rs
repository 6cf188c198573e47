//! What others wrote, in a message.

/// Text of others in a message: not longer than one can read.
pub(super) fn short(text: &str) -> String {
    const MAX: usize = 120;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A path of others in a message.
pub(super) fn shown(path: &[u8]) -> String {
    short(&String::from_utf8_lossy(path))
}
