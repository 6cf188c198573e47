//! What can go wrong with a store.

use std::path::PathBuf;

use crate::codec::{BlockError, SealError, WrapError};
use crate::format::DecodeError;
use crate::model::{EpochId, Failure, KeyName, Kind, Role, StoreId};

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing.
    #[error("there is no store at {}", .0.display())]
    Missing(PathBuf),
    /// There is something else.
    #[error("{} is not a Larder store", .0.display())]
    NotAStore(PathBuf),
    /// Init would write over something.
    #[error("{} {why}; nothing was changed", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// What is there.
        why: &'static str,
    },
    /// Made by a newer version.
    #[error("the store at {} was {why}", path.display())]
    Newer {
        /// Where.
        path: PathBuf,
        /// By which.
        why: String,
    },
    /// Another process writes.
    #[error("another process is writing to the store at {}", .0.display())]
    Locked(PathBuf),
    /// No identity fits.
    #[error("none of the identities at hand opens the store at {}", .0.display())]
    WrongKey(PathBuf),
    /// The passphrase that was given fits none of the key objects.
    #[error("{}the passphrase does not open {}", front(*tried, path), subject(*tried, path))]
    WrongPassphrase {
        /// Where.
        path: PathBuf,
        /// Whether there were identities, of which none fits either.
        tried: bool,
    },
    /// No identity fits, a passphrase would, and there is none to be had.
    #[error(
        "{}{} wants a passphrase, and there is no terminal to ask for it on",
        front(*tried, path),
        subject(*tried, path)
    )]
    NoPassphrase {
        /// Where.
        path: PathBuf,
        /// Whether there were identities, of which none fits.
        tried: bool,
    },
    /// Another store stands where this client knows one.
    #[error("the store at {} is not the one that this client knows there: it is {found}, and {known} stood there", path.display())]
    OtherStore {
        /// Where.
        path: PathBuf,
        /// The id of the store that stood there.
        known: String,
        /// Which one stands there now.
        found: StoreId,
        /// The file that says what stood there.
        place: PathBuf,
    },
    /// The keys are not those this client knows.
    #[error("the keys of the store at {} are not those this client has seen before: {what} changed", path.display())]
    KeysChanged {
        /// Where.
        path: PathBuf,
        /// Which part.
        what: &'static str,
        /// The key in use, if this client has nothing by which to know it: an owner may well have made the change.
        unknown: Option<KeyName>,
        /// The pin file.
        pin: PathBuf,
    },
    /// The store is older than what this client has seen.
    #[error("the store at {} is not what this client has seen before: {what}", path.display())]
    SetBack {
        /// Where.
        path: PathBuf,
        /// How it differs.
        what: String,
        /// The pin file.
        pin: PathBuf,
        /// The log entry that says that an owner accepted the loss, which the key in use cannot check.
        claimed: Option<u64>,
        /// There is a tip, which fits the store as it is.
        has_tip: bool,
    },
    /// The pin file cannot be understood.
    #[error("the pin file {}, by which this client knows the store, is damaged: {why}", path.display())]
    BadPin {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something stored is damaged or gone.
    #[error("damaged: {what}: {why}")]
    Damage {
        /// Which object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The user stopped it before it changed anything.
    #[error("stopped; nothing was changed")]
    Interrupted,
    /// The role does not reach so far.
    #[error("{act} takes {}; this one is a {role} key, which {}", key_of(*needs), reach(*role))]
    Closed {
        /// The role of the key in use.
        role: Role,
        /// What was wanted, as in "reading content".
        act: &'static str,
        /// The least role that may do it.
        needs: Role,
    },
    /// Sealed to identities of the store that the key in use has not.
    #[error("epoch {0} is sealed to identities that the key in use has not: the store was given newer ones")]
    OtherIdentities(EpochId),
    /// Entries of the log that may have removed keys, or added some, were given up.
    #[error("entries of the log were given up that may have removed some of the keys, or added others; nothing was changed in {}", .0.display())]
    KeysInDoubt(PathBuf),
    /// An entry of the log may be a change of keys by an owner who has newer identities than the key in use.
    #[error("entry {entry} of the log may be a change of keys that the key in use cannot check, for identities of the store that it has not, and the object of the key {name} \
        is not the one that it knows: that may have them; nothing was changed in {}", path.display())]
    KeysNewer {
        /// Where.
        path: PathBuf,
        /// The entry.
        entry: u64,
        /// A key whose object may have them.
        name: KeyName,
    },
    /// The keys were changed while somebody waited for the writer lock.
    #[error("the keys of the store at {} were changed meanwhile; nothing was written", .0.display())]
    KeysRenewed(PathBuf),
    /// The key in use was taken away from the store.
    #[error("the key {name} is none of the store at {} any more; nothing was written", path.display())]
    KeyRemoved {
        /// Where.
        path: PathBuf,
        /// The key.
        name: KeyName,
    },
    /// Input or output failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// RocksDB failed otherwise.
    #[error("the store's database: {0}")]
    Database(String),
    /// Keys could not be handled.
    #[error(transparent)]
    Keys(#[from] WrapError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] SealError),
    /// A block could not be built.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A file of the user's is not what it should be.
    #[error("{0}")]
    Refused(String),
}

/// A key that may do what this role may.
const fn key_of(role: Role) -> &'static str {
    match role {
        Role::Writer => "a key of the store",
        Role::Catalog => "a catalog or owner key",
        Role::Owner => "an owner key",
    }
}

/// What the holder of a key may do.
const fn reach(role: Role) -> &'static str {
    match role {
        Role::Writer => "may capture and read nothing",
        Role::Catalog => "may read names and structure, no content",
        Role::Owner => "may do everything",
    }
}

impl StoreError {
    /// Input or output failed.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Something stored is damaged.
    pub fn damage(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Damage { what: what.into(), why: why.to_string() }
    }

    /// True if damage is what is wrong.
    #[must_use]
    pub fn is_of_the_tip(&self) -> bool {
        matches!(self, Self::Damage { what, .. } if what == THE_TIP)
    }

    /// True if something stored is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damage { .. })
    }
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self::damage("a stored structure", error)
    }
}

/// What messages call an entry of the log.
const OF_THE_LOG: &str = "of the arrival log";

pub(super) fn entry_label(sequence: u64) -> String {
    format!("entry {sequence} {OF_THE_LOG}")
}

/// True if something that is damaged is an entry of the log, by what messages call it.
pub(super) fn is_entry_label(what: &str) -> bool {
    what.ends_with(OF_THE_LOG)
}

/// What messages call the header of a store.
pub const THE_HEADER: &str = "the header";

/// What to do about a header that is damaged.
const BAD_HEADER: &str = "`larder repair --apply` writes it anew from its copy in the database; where that is lost too, put the file `header` of any copy of \
    the store in its place: it is the same in all of them and never changes";

/// What messages call the database.
const THE_DATABASE: &str = "the database";

/// What to do about a database that does not open, or not whole.
pub const DATABASE: &str = "`larder repair` tells what can be made anew, and `larder repair --apply` does it; `larder heal` then takes what is lost from a folder, a pack, \
    a mount or a copy of the store";

/// What messages call the tip.
pub(super) const THE_TIP: &str = "the tip";

/// What to do about a tip that is damaged.
const BAD_TIP: &str = "`larder repair --apply` makes it anew";

/// What to do about damage.
pub const DAMAGED: &str = "larder verify --read-data tells everything that is affected; `larder repair` tells what can be made anew, \
    and `larder heal` takes what is lost from a folder, a pack, a mount or a copy of the store";

/// What to do about entries of the log that are lost.
pub const LOST_ENTRIES: &str = "`larder repair --apply` makes anew what follows from manifests, and `larder heal COPY` takes the entries from a copy of \
    the store; what neither has, an owner gives up with `larder repair --apply --accept-lost-entries`, but for a hold that cannot be read, which `larder release` lifts";

/// That no identity fits, for who has any: it is said before a passphrase is spoken of that he may never have heard of.
fn front(tried: bool, path: &std::path::Path) -> String {
    if tried {
        format!("none of the identities at hand opens the store at {}; ", path.display())
    } else {
        String::new()
    }
}

/// The store, behind that.
fn subject(tried: bool, path: &std::path::Path) -> String {
    if tried { "it".to_owned() } else { format!("the store at {}", path.display()) }
}

impl Failure for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) | Self::NotAStore(_) => Kind::NotFound,
            Self::Occupied { .. } | Self::Refused(_) | Self::KeysInDoubt(_) => Kind::Usage,
            Self::Newer { .. } => Kind::Newer,
            Self::Locked(_) => Kind::Locked,
            Self::Interrupted => Kind::Interrupted,
            Self::WrongKey(_)
            | Self::WrongPassphrase { .. }
            | Self::NoPassphrase { .. }
            | Self::KeysChanged { .. }
            | Self::OtherStore { .. }
            | Self::KeyRemoved { .. }
            | Self::OtherIdentities(_)
            | Self::KeysNewer { .. }
            | Self::Closed { .. } => Kind::WrongKey,
            Self::SetBack { .. } | Self::BadPin { .. } | Self::Damage { .. } => Kind::Damage,
            Self::Keys(
                WrapError::NotARecipient(_)
                | WrapError::NotAnIdentity { .. }
                | WrapError::PublicKey(_)
                | WrapError::NoPlugin(_),
            ) => Kind::Usage,
            Self::Keys(WrapError::NoMatch | WrapError::Locked { .. } | WrapError::Plugin(_)) => Kind::WrongKey,
            Self::KeysRenewed(_) => Kind::Failed,
            Self::Io { .. } | Self::Database(_) | Self::Keys(_) | Self::Random(_) | Self::Block(_) => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(path) => format!("larder init --store {} makes one", path.display()),
            Self::NotAStore(_) => "name the folder that `larder init` made, with --store or LARDER_STORE".to_owned(),
            Self::Newer { .. } => "use a newer larder; nothing was changed".to_owned(),
            Self::Locked(_) => "wait for it, or leave --no-wait out and larder waits for you".to_owned(),
            Self::WrongKey(_) => {
                "name the right identity with --identity FILE or LARDER_IDENTITY, or give the passphrase".to_owned()
            }
            Self::WrongPassphrase { .. } => {
                "try again; or name an identity that opens it with --identity FILE or LARDER_IDENTITY".to_owned()
            }
            Self::NoPassphrase { tried: true, .. } => {
                "name the right identity with --identity FILE or LARDER_IDENTITY, or a command that prints the passphrase in \
                 LARDER_PASSPHRASE_COMMAND"
                    .to_owned()
            }
            Self::NoPassphrase { .. } => {
                "name a command that prints it in LARDER_PASSPHRASE_COMMAND, or an identity with --identity FILE"
                    .to_owned()
            }
            Self::KeysChanged { unknown: Some(key), pin, .. } => format!(
                "the key {key} was not used here before, so nothing proves that an owner made the change: ask one whether `larder key \
                 list` shows {key}; if so, remove {} and try again; or open the store once with a key that was used here",
                pin.display()
            ),
            Self::OtherStore { place, .. } => format!(
                "somebody may have replaced the store; if that was you, remove {} and try again",
                place.display()
            ),
            Self::KeysChanged { pin, .. } => format!(
                "somebody may have replaced the store; if the change is yours, remove {} and try again",
                pin.display()
            ),
            Self::SetBack { pin, claimed: Some(entry), .. } => format!(
                "entry {entry} of the log says that an owner has accepted that this is lost, which takes a catalog or owner key to check: ask an owner \
                 whether `larder verify` tells so too; if it does, remove {} and try again",
                pin.display()
            ),
            Self::SetBack { pin, has_tip: false, .. } => format!(
                "its tip is lost too: `larder repair --apply` makes it anew by what this client has seen, and `larder heal COPY` then takes from a copy of the store \
                 what is gone; if you put an older copy in place yourself, remove {} instead",
                pin.display()
            ),
            Self::SetBack { pin, .. } => format!(
                "if you put an older copy of the store in place yourself, remove {} and try again; to look into an older copy beside the store, let \
                 XDG_STATE_HOME name an empty folder; else somebody took snapshots away",
                pin.display()
            ),
            Self::BadPin { path, .. } => format!(
                "remove {} and try again; this client then takes the store as it is now for the right one",
                path.display()
            ),
            Self::Keys(WrapError::NoPlugin(_)) => "install it, or name another recipient or identity".to_owned(),
            Self::Keys(WrapError::Locked { given: false, .. }) => {
                "name a command that prints it in LARDER_PASSPHRASE_COMMAND, or run it on a terminal".to_owned()
            }
            Self::Keys(WrapError::Locked { .. }) => "try again with the passphrase of that file".to_owned(),
            Self::Keys(WrapError::PublicKey(file)) => match file.strip_suffix(".pub") {
                Some(private) => format!("give the private key: perhaps {private}"),
                None => {
                    "give the file with the private key that belongs to it (AGE-SECRET-KEY-1…, or an SSH private key)"
                        .to_owned()
                }
            },
            Self::Closed { .. } => {
                "name the identity of such a key with --identity FILE or LARDER_IDENTITY; `larder key add` makes one"
                    .to_owned()
            }
            Self::KeysInDoubt(_) => {
                "`larder key list` shows the keys: compare their recipients with those of the holders; `larder key rotate --keep NAME…` takes those that you name for all that \
                are to stay, and removes the others"
                    .to_owned()
            }
            Self::KeysNewer { .. } => {
                "an owner whose key has the newer identities writes yours anew with `larder key rotate`; if there is none, since somebody forged that entry, `larder key rotate --keep \
                NAME…` takes the keys that you name for all that are to stay, removes the others, and sets such objects aside"
                    .to_owned()
            }
            Self::KeysRenewed(_) => "run the command again: it then works with the new keys".to_owned(),
            Self::KeyRemoved { .. } | Self::OtherIdentities(_) => {
                "an owner of the store can add one for you with `larder key add`".to_owned()
            }
            Self::Io { source, .. }
                if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
            {
                "make room (`df` and `df -i` tell of what): `larder forget` and `larder gc` do, on a full disk too, with what is kept free for them; where something else filled it, and they fail too, \
                 remove some 40 MB, or 200 files, of that first; what was captured before is whole"
                    .to_owned()
            }
            Self::Damage { what, .. } if is_entry_label(what) => LOST_ENTRIES.to_owned(),
            Self::Damage { what, .. } if what.starts_with(THE_HEADER) => BAD_HEADER.to_owned(),
            Self::Damage { what, .. } if what.starts_with(THE_DATABASE) => DATABASE.to_owned(),
            Self::Damage { what, .. } if what == THE_TIP => BAD_TIP.to_owned(),
            Self::Damage { .. } => DAMAGED.to_owned(),
            _ => return None,
        })
    }
}
