//! The rules that an archive's bytes follow.

use std::borrow::Cow;

use super::manifest::ItemKind;
use super::zip;

/// A canonical form: once named, its bytes stay the same in all later versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `tar-v1`.
    Tar,
    /// `zip-v1`.
    Zip,
    /// `dir-v1`.
    Dir,
}

impl Form {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar-v1",
            Self::Zip => "zip-v1",
            Self::Dir => "dir-v1",
        }
    }

    /// The form of this name, if there is one.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Tar, Self::Zip, Self::Dir].into_iter().find(|form| form.as_str() == name)
    }

    /// What something of this sort and path is called in the archive, from the root; nothing if it is not in the archive.
    pub(super) fn name(self, kind: ItemKind, path: &[u8]) -> Option<Cow<'_, [u8]>> {
        match (self, kind) {
            (_, ItemKind::Socket) => None,
            (Self::Tar | Self::Dir, _) => Some(Cow::Borrowed(path)),
            (Self::Zip, _) => zip::name_of(kind, path).map(|name| Cow::Owned(name.into_bytes())),
        }
    }
}
