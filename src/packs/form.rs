//! The rules that an archive's bytes follow, and what each set of rules loses.

use std::borrow::Cow;

use crate::model::{Body, Notice, Progress};
use crate::tree::{Node, Visit};

use super::loss::{Loss, Losses};
use super::manifest::ItemKind;
use super::zip::{self, Alike};

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

    /// What an entry is called in the archive, as its path from the root; nothing if it is not in the archive.
    pub(super) fn name_of(self, node: &Node) -> Option<Cow<'_, [u8]>> {
        self.name(ItemKind::of(&node.entry.body), &node.path)
    }

    /// The same of what has this sort and path.
    pub(super) fn name(self, kind: ItemKind, path: &[u8]) -> Option<Cow<'_, [u8]>> {
        match (self, kind) {
            (_, ItemKind::Socket) => None,
            (Self::Tar | Self::Dir, _) => Some(Cow::Borrowed(path)),
            (Self::Zip, _) => zip::name_of(kind, path).map(|name| Cow::Owned(name.into_bytes())),
        }
    }
}

/// Counts what a form loses, along a walk.
#[derive(Debug)]
pub(super) struct LossCounter {
    form: Form,
    alike: Alike,
    losses: Losses,
}

impl LossCounter {
    pub(super) fn new(form: Form) -> Self {
        Self { form, alike: Alike::default(), losses: Losses::default() }
    }

    /// Takes note of a visit.
    pub(super) fn visit(&mut self, visit: &Visit) {
        if self.form == Form::Zip {
            self.alike.visit(visit);
        }
        let Visit::Enter { node, first, .. } = visit else { return };
        match self.form {
            Form::Zip => zip::note_losses(node, first.is_some(), &mut self.losses),
            Form::Tar | Form::Dir if node.entry.body == Body::Socket => {
                self.losses.note(Loss::Special, || node.display());
            }
            Form::Tar | Form::Dir => {}
        }
    }

    /// What was counted.
    pub(super) fn finish(mut self, progress: &dyn Progress) -> Losses {
        if self.alike.passed_over > 0 {
            progress.notice(Notice::Remark(format!(
                "there were too many names to compare all: {} may be one name with another to Windows and macOS and were not counted as such",
                self.alike.passed_over
            )));
        }
        self.losses.append(self.alike.losses);
        self.losses
    }
}
