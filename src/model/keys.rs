//! Keys of a store's users: what each may do, and what the log says when they change.

use super::{Ext, KeyName, Timestamp};

/// What the holder of a key may do. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Capture; read nothing.
    Writer,
    /// List, compare, check, give up snapshots; read no content.
    Catalog,
    /// Everything.
    Owner,
}

impl Role {
    /// The word used in the CLI and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Catalog => "catalog",
            Self::Owner => "owner",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a writing run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To add something: a snapshot, an entry of the log.
    Add,
    /// To move what was there: it tells nothing about when that came.
    Move,
}

/// A key, as the owners keep it in mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: KeyName,
    /// What its holder may do.
    pub role: Role,
    /// Whom its object is wrapped to, as it was given; [`KeyInfo::PASSPHRASE`] for a passphrase, empty if that was not kept.
    pub recipient: String,
    /// What people call it; may be empty.
    pub label: String,
    /// When it was made.
    pub added: Timestamp,
    /// What later versions add.
    pub ext: Ext,
}

impl KeyInfo {
    /// The recipient of a key whose object is wrapped to a passphrase.
    pub const PASSPHRASE: &'static str = "passphrase";

    /// Longest label in bytes.
    pub const MAX_LABEL: usize = 255;

    /// The kind of its recipient, in a word; the name of the plugin if it is one.
    #[must_use]
    pub fn kind(&self) -> &str {
        let text = self.recipient.as_str();
        if text.is_empty() {
            return "unknown";
        }
        if text == Self::PASSPHRASE {
            return text;
        }
        if text.starts_with("ssh-") {
            return text.split_whitespace().next().unwrap_or("ssh");
        }
        // age1NAME1… is a plugin's, age1… an X25519 key; 1 is no digit of what follows.
        match text.strip_prefix("age1").and_then(|rest| rest.rsplit_once('1')) {
            Some((plugin, _)) => plugin,
            None => "x25519",
        }
    }
}

/// True if two recipients are one: of an SSH key the comment does not count. Of passphrases it cannot be told.
#[must_use]
pub fn same_recipient(a: &str, b: &str) -> bool {
    let words = if a.starts_with("ssh-") { 2 } else { 1 };
    let known = !a.is_empty() && a != KeyInfo::PASSPHRASE;
    known && a.split_whitespace().take(words).eq(b.split_whitespace().take(words))
}

/// What a log entry of this sort says: how the keys changed, and all of them as they are after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Keys that are new.
    pub added: Vec<KeyName>,
    /// Keys that are gone.
    pub removed: Vec<KeyName>,
    /// The store has new identities for what comes.
    pub rotated: bool,
    /// All keys.
    pub keys: Vec<KeyInfo>,
    /// What later versions add.
    pub ext: Ext,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_known_again() {
        assert!(same_recipient("age1abc", "age1abc ") && !same_recipient("age1abc", "age1abd"));
        assert!(
            same_recipient("ssh-rsa AAAA ann@a", "ssh-rsa AAAA") && !same_recipient("ssh-rsa AAAA", "ssh-rsa AAAB")
        );
        assert!(!same_recipient("passphrase", "passphrase") && !same_recipient("", ""));
    }

    #[test]
    fn kinds_of_recipients() {
        let kind = |recipient: &str| {
            let info = KeyInfo {
                name: KeyName::from_bytes([0; 8]),
                role: Role::Owner,
                recipient: recipient.to_owned(),
                label: String::new(),
                added: Timestamp::EPOCH,
                ext: Ext::new(),
            };
            info.kind().to_owned()
        };
        assert_eq!(kind("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"), "x25519");
        assert_eq!(kind("age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt"), "yubikey");
        assert_eq!(kind("ssh-ed25519 AAAA ann@host"), "ssh-ed25519");
        assert_eq!(kind("passphrase"), "passphrase");
        assert_eq!(kind(""), "unknown");
    }
}
