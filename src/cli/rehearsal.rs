//! `larder snapshot --dry-run`: what a capture would find, and each item that it would leave out.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::model::{Notice, Progress};
use crate::ops::capture::{CaptureOptions, Estimate, estimate};
use crate::store::Store;

use super::error::CliError;
use super::output::{Output, ProgressMode, counted, human_bytes};
use super::progress::Bar;
use super::snapshot_json::{DryRunJson, LeftOutJson, RehearsalJson, SnapshotReportJson};
use super::{Outcome, context};

/// Tells what a capture of these paths would find.
pub(super) fn run(
    store: &Store,
    paths: &[PathBuf],
    options: &CaptureOptions,
    bar: &Bar,
    out: &Output,
) -> Result<Outcome, CliError> {
    let lister = Lister { bar, out, broken: Mutex::default() };
    let found = estimate(store, paths, options, &lister, &context::now);
    bar.finish();
    if let Some(error) = lister.broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let found = found?;
    tell(&found, options.dataset.to_string(), out)?;
    Ok(if found.unreadable > 0 { Outcome::Partial } else { Outcome::Done })
}

fn tell(found: &Estimate, dataset: String, out: &Output) -> Result<(), CliError> {
    let Estimate { files, folders, others, bytes, files_to_read, bytes_to_read, left_out, unreadable } = *found;
    if out.json() {
        return out.print_json(&SnapshotReportJson::DryRun(RehearsalJson::Summary(DryRunJson {
            dry_run: true,
            dataset,
            files,
            folders,
            others,
            bytes,
            files_to_read,
            bytes_to_read,
            left_out,
            unreadable,
        })));
    }
    out.line(&format!(
        "{dataset}: {}, {}, {} would be captured; {} of {} would be read; {} left out by rules{}",
        counted(files, "file", "files"),
        counted(folders, "folder", "folders"),
        human_bytes(bytes),
        counted(files_to_read, "file", "files"),
        human_bytes(bytes_to_read),
        counted(left_out, "item", "items"),
        if unreadable > 0 {
            format!("; {} cannot be read", counted(unreadable, "item", "items"))
        } else {
            String::new()
        },
    ))
}

/// Prints what is left out as it is met: all of it, however much that is.
struct Lister<'a> {
    bar: &'a Bar,
    out: &'a Output,
    /// Why nothing more can be printed.
    broken: Mutex<Option<CliError>>,
}

impl Lister<'_> {
    fn print(&self, path: String, why: String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.out.quiet() && broken.is_none() {
            *broken = Bar::aside(|| self.line(path, why)).err();
        }
    }

    fn line(&self, path: String, why: String) -> Result<(), CliError> {
        if self.out.json() {
            return self.out.print_json(&SnapshotReportJson::DryRun(RehearsalJson::LeftOut(LeftOutJson { path, why })));
        }
        let path = self.out.name(path.as_bytes());
        self.out.raw(&[b"left out ", &path[..], format!(": {why}\n").as_bytes()].concat())
    }
}

impl Progress for Lister<'_> {
    fn expect(&self, items: u64, bytes: u64) {
        self.bar.expect(items, bytes);
    }

    fn wants_totals(&self) -> bool {
        self.bar.wants_totals()
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.bar.advance(items, bytes);
    }

    fn notice(&self, notice: Notice) {
        if self.out.progress() == ProgressMode::Json {
            // Whoever reads events is told all as events.
            self.bar.notice(notice.clone());
        }
        match notice {
            Notice::Skipped { path, why } => self.print(path, why),
            _ if self.out.progress() == ProgressMode::Json => {}
            other => self.bar.notice(other),
        }
    }

    fn cancelled(&self) -> bool {
        self.bar.cancelled() || self.broken.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
