//! Sorts of failure. Every layer's error names its sort; exit codes and HTTP statuses follow from it at the edge.

/// The sort of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything else went wrong: input or output, the operating system.
    Failed,
    /// The arguments make no sense or are refused.
    Usage,
    /// Done, but some items could not be read or carried.
    Partial,
    /// No such store, snapshot or path, or not a store.
    NotFound,
    /// Another process holds the lock.
    Locked,
    /// No identity opens the store, or its keys are not those this client knows.
    WrongKey,
    /// Damage was found.
    Damage,
    /// Made by a newer version.
    Newer,
    /// The user stopped it.
    Interrupted,
}

/// An error that knows its sort.
pub trait Failure: std::error::Error {
    /// Which sort it is.
    fn kind(&self) -> Kind;

    /// What the user may do next, where there is something to say.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A word of a command as a shell takes it, for hints.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | ',' | '@');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
