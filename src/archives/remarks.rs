//! What is strange about an archive and does not stop its reading.

/// Texts that are kept of each sort.
const MAX: usize = 100;

/// Remarks in the order in which they came up, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// What does no harm: the first hundred.
    pub strange: Vec<String>,
    /// What members have and nobody takes, since it makes no sense or is in a form that Larder does not know: the first hundred.
    pub lost: Vec<String>,
    /// How much that is.
    pub losses: u64,
}

impl Remarks {
    /// Something that does no harm.
    pub(super) fn add(&mut self, text: impl Into<String>) {
        keep(&mut self.strange, text.into());
    }

    /// Something that is not taken.
    pub(super) fn lose(&mut self, text: impl Into<String>) {
        self.losses += 1;
        keep(&mut self.lost, text.into());
    }
}

fn keep(texts: &mut Vec<String>, text: String) {
    if texts.len() < MAX && !texts.contains(&text) {
        texts.push(text);
    }
}
