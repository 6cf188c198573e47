//! What each set of rules loses, counted.

use crate::model::{Body, Notice, Progress};
use crate::tree::Visit;

use super::form::Form;
use super::loss::{Loss, Losses};
use super::zip::{self, Alike};

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
