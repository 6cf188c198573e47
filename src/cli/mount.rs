//! `larder mount` and `larder unmount`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Notice, Progress};
use crate::mount::{MountOptions, mount, unmount};
use crate::snapshots::{SnapshotName, resolve};

use super::context;
use super::error::CliError;
use super::output::Output;
use super::{Global, Outcome};

/// Mount a snapshot, or the whole store, as a read-only folder
///
/// The whole store shows `snapshots/<id>` and `datasets/<name>/latest`. Ends on Ctrl-C or with `larder unmount`.
///
/// Where Larder has mounted something already nothing is mounted over it. What else is at the mount point is hidden as long as
/// the mount lasts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder mount /mnt                                    the whole store
  larder mount --snapshot latest /mnt                  one snapshot
  larder mount /srv/store#home~1 /mnt -o allow_other")]
pub(super) struct MountArgs {
    /// [STORE[#SNAP]] MOUNTPOINT
    #[arg(value_name = "MOUNTPOINT", num_args = 1..=2, required = true, value_hint = ValueHint::DirPath)]
    places: Vec<PathBuf>,
    /// This snapshot alone becomes the root
    #[arg(long, value_name = "SNAP")]
    snapshot: Option<String>,
    /// Let other users in; the kernel checks permissions
    #[arg(long)]
    allow_other: bool,
    /// Mount options: suid, dev, noexec, noxattr, allow_other (can be repeated)
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Unmount what `larder mount` mounted, a busy one too
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder unmount /mnt")]
pub(super) struct UnmountArgs {
    /// Where
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    mountpoint: PathBuf,
}

/// A mount that can be used.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MountJson {
    /// The mount point; bytes that are not UTF-8 are replaced.
    mounted: String,
    /// The id of the snapshot that is its root; nothing if the whole store is shown.
    snapshot: Option<String>,
}

/// A mount that was taken away.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnmountJson {
    /// The mount point; bytes that are not UTF-8 are replaced.
    unmounted: String,
}

/// Tells damage that readers meet.
#[derive(Debug)]
struct Log(Output);

impl Progress for Log {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Unreadable { path, why } => self.0.tell(&format!("larder: {path}: {why}")),
            Notice::Skipped { path, why } => self.0.remark(&format!("larder: left out {path}: {why}")),
            Notice::NotCarried { path, what } => self.0.remark(&format!("larder: {path}: {what}")),
            Notice::Changed { path } => self.0.remark(&format!("larder: {path} changed")),
            Notice::Remark(text) => self.0.remark(&format!("larder: {text}")),
        }
    }
}

pub(super) fn run(args: MountArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let mut global = global.clone();
    let mut wanted = args.snapshot.clone();
    let mountpoint = match args.places.as_slice() {
        [store, mountpoint] => {
            let (path, snapshot) = split_store(store);
            if snapshot.is_some() && wanted.is_some() {
                return Err(CliError::new(Kind::Usage, "a snapshot is named twice: with # and with --snapshot"));
            }
            wanted = snapshot.or(wanted);
            global.store = Some(path);
            mountpoint.clone()
        }
        [mountpoint] => mountpoint.clone(),
        _ => return Err(CliError::new(Kind::Usage, "no mount point was named")),
    };
    let name = wanted.map(|w| w.parse::<SnapshotName>()).transpose()?;
    let store = context::open_named(&global).map_err(|e| match args.places.as_slice() {
        [word, point] if e.kind == Kind::NotFound && names_a_snapshot(word) => {
            e.hint(format!("if {} is a snapshot: `larder mount --snapshot {0} {}`", word.display(), point.display()))
        }
        _ => e,
    })?;
    let snapshot = name.map(|n| resolve(&store, &n, context::now())).transpose()?;
    let mut options = MountOptions::new(snapshot, mountpoint.clone());
    options.allow_other = args.allow_other;
    options.extra = args.options;
    mount(&store, &options, Arc::new(Log(*out)), || {
        if out.json() {
            let mounted = mountpoint.display().to_string();
            let _ = out.print_json(&MountJson { mounted, snapshot: snapshot.map(|s| s.to_string()) });
        } else {
            out.remark(&format!("mounted at {}; Ctrl-C or `larder unmount {0}` ends it", mountpoint.display()));
        }
    })?;
    Ok(Outcome::Done)
}

/// True if a word in the store's place has the form of a snapshot's name.
fn names_a_snapshot(word: &Path) -> bool {
    !word.exists() && word.to_str().is_some_and(|text| text.parse::<SnapshotName>().is_ok())
}

/// `STORE#SNAP`; a folder whose name has a # in it stays whole.
fn split_store(text: &Path) -> (PathBuf, Option<String>) {
    if text.exists() {
        return (text.to_owned(), None);
    }
    let whole = text.to_string_lossy().into_owned();
    match whole.rsplit_once('#') {
        Some((store, snapshot)) => (PathBuf::from(store), Some(snapshot.to_owned())),
        None => (text.to_owned(), None),
    }
}

pub(super) fn run_unmount(args: &UnmountArgs, out: &Output) -> Result<Outcome, CliError> {
    unmount(&args.mountpoint)?;
    if out.json() {
        out.print_json(&UnmountJson { unmounted: args.mountpoint.display().to_string() })?;
    }
    Ok(Outcome::Done)
}
