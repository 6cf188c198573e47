//! What is strange about an archive and does not stop its reading.

/// Remarks that are kept.
const MAX: usize = 100;

/// Remarks in the order in which they came up, each once, the first hundred.
#[derive(Debug, Clone, Default)]
pub(super) struct Remarks(pub(super) Vec<String>);

impl Remarks {
    pub(super) fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.0.len() < MAX && !self.0.contains(&text) {
            self.0.push(text);
        }
    }
}
