//! `larder mount` and `larder unmount`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint, value_parser};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Kind, Notice, Progress, Role, Timestamp, shell_word};
use crate::mount::{DEFAULT_DEADLINE, MountOptions, Stats, mount, share_of_blocks, stats, unmount};
use crate::snapshots::{SnapshotName, resolve};
use crate::store::{CacheSize, Store, lies_in, snapshot_label};

use super::error::CliError;
use super::output::{self, Output};
use super::pack_file::PackFile;
use super::{Global, Outcome};
use super::{background, context, size};

/// Mount a snapshot, or the whole store, as a read-only folder
///
/// The whole store shows `snapshots/<id>`, `datasets/<name>/<time>`, `datasets/<name>/latest`, and `at/<time>/<name>` for any time that
/// SNAP@TIME takes, though `at` lists none. What arrives while it is mounted appears. Ends on Ctrl-C or with `larder unmount`.
///
/// Where Larder has mounted something already nothing is mounted over it. What else is at the mount point is hidden as long as the mount
/// lasts. Damage is an input/output error for what it touches alone, told on standard error or in the log.
///
/// In /etc/fstab: `STORE#SNAP MOUNTPOINT fuse.larder identity=FILE,allow_other,_netdev,nofail 0 0` (without #SNAP the whole store; also
/// `snapshot=`, `config=`, `cache_size=`, `deadline=`, `log=`), with mount.fuse.larder, another name of this program, in /sbin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder mount /mnt                                    the whole store
  larder mount --snapshot latest --background /mnt     one snapshot; the command returns when it can be used
  larder mount /srv/store#home~1 /mnt -o allow_other
  larder mount --stats /mnt                            what the kernel has asked for so far")]
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
    /// Mount options: uid=N and gid=N (own everything), suid, dev, noexec, noxattr, allow_other (can be repeated)
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Return as soon as the mount can be used, and serve it in the background
    #[arg(long, short = 'b')]
    background: bool,
    /// Where the mount in the background logs [default: a file in larder/mounts in the state folder]
    #[arg(long, value_name = "FILE", requires = "background", value_hint = ValueHint::FilePath)]
    log: Option<PathBuf>,
    /// Memory for what is decoded
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    cache_size: u64,
    /// Seconds after which a request that the store does not answer ends with an input/output error
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_DEADLINE.as_secs(), value_parser = value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    /// Tell what the mount at MOUNTPOINT has done since it began: the kernel's requests, memory in use
    #[arg(long, conflicts_with_all = ["snapshot", "background", "options", "allow_other"])]
    stats: bool,
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

/// What `mount` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum MountReportJson {
    Mounted(MountJson),
    Stats(MountStatsJson),
}

/// A mount that can be used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct MountJson {
    /// The mount point; bytes that are not UTF-8 are replaced.
    mounted: String,
    /// The id of the snapshot that is its root; nothing if the whole store is shown.
    snapshot: Option<String>,
    /// The process that serves it.
    pid: u32,
    /// Where a mount in the background logs.
    log: Option<String>,
}

/// What a mount has done (`--stats`).
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MountStatsJson {
    /// The process that serves it.
    pid: u32,
    /// For how many seconds.
    seconds: u64,
    /// Requests of the kernel, by sort as FUSE calls them. What the kernel keeps in mind it does not ask again.
    requests: BTreeMap<String, u64>,
    /// All of them.
    total: u64,
    /// Small files whose contents were pushed to the kernel before it asked for them.
    pushed: u64,
    /// Requests that were not answered in time: who made them got an error.
    expired: u64,
    /// Bytes of decoded blocks, pages and nodes in memory.
    cached: u64,
    /// How many there may be.
    cache_size: u64,
    /// Snapshots that the kernel holds something of.
    held: u64,
    /// The kernel's read-ahead in KiB, where it is known.
    read_ahead: Option<u64>,
}

/// A mount that was taken away.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnmountJson {
    /// The mount point; bytes that are not UTF-8 are replaced.
    unmounted: String,
}

/// Tells damage that readers meet.
#[derive(Debug)]
struct Log {
    out: Output,
    /// A log that is read later says when.
    with_time: bool,
}

impl Log {
    fn text(&self, text: &str) -> String {
        if !self.with_time {
            return format!("larder: {text}");
        }
        format!("{} larder: {text}", output::rfc3339(Timestamp { nanos: 0, ..context::now() }))
    }
}

impl Progress for Log {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Unreadable { path, why } => self.out.tell(&self.text(&format!("{path}: {why}"))),
            Notice::Skipped { path, why } => self.out.remark(&self.text(&format!("left out {path}: {why}"))),
            Notice::NotCarried { path, what } => self.out.remark(&self.text(&format!("{path}: {what}"))),
            Notice::Changed { path } => self.out.remark(&self.text(&format!("{path} changed"))),
            Notice::Remark(text) => self.out.remark(&self.text(&text)),
        }
    }
}

pub(super) fn run(args: MountArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let [.., mountpoint] = args.places.as_slice() else {
        return Err(CliError::new(Kind::Usage, "no mount point was named"));
    };
    let mountpoint = &std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.clone());
    if args.stats {
        return tell_stats(mountpoint, out);
    }
    if args.background && !background::is_child() {
        return start_in_background(out);
    }
    let place = Place::of(&args, global)?;
    let cache = CacheSize(share_of_blocks(args.cache_size));
    let store = context::open_with(&place.store, global, cache).map_err(|e| match args.places.as_slice() {
        [word, point] if e.kind == Kind::NotFound && names_a_snapshot(word) => {
            e.hint(format!("if {} is a snapshot: `larder mount --snapshot {0} {}`", word.display(), point.display()))
        }
        _ => e,
    })?;
    store.require(Role::Catalog, "mounting")?;
    if store.keyring().role() < Role::Owner {
        out.remark("larder: this key may read names and structure: to open a file fails (EACCES)");
    }
    let snapshot = place.snapshot.map(|n| resolve(&store, &n, context::now())).transpose()?;
    let mut options = MountOptions::new(snapshot, mountpoint.clone());
    options.allow_other = args.allow_other;
    options.extra = args.options;
    options.cache = args.cache_size;
    options.deadline = Duration::from_secs(args.deadline);
    options.source = place.named;
    if let Some(named) = &args.log {
        check_log(named, mountpoint, &store, global)?;
    }
    let log = args.background.then(|| background::Log::open(args.log, mountpoint)).transpose()?;
    let progress = Log { out: *out, with_time: log.is_some() };
    let what = snapshot.map_or_else(|| "all snapshots".to_owned(), snapshot_label);
    let what = format!("{what} of {}", store.dir().display());
    let mounted = mount(&store, &options, Arc::new(progress), || {
        tell_ready(mountpoint, snapshot.map(|s| s.to_string()), &what, log.as_ref(), out);
    });
    if let (Err(_), Some(log)) = (&mounted, &log) {
        log.remove_if_empty();
    }
    mounted?;
    Ok(Outcome::Done)
}

/// Tells that the mount can be used; then, in the background, nothing more but to the log.
fn tell_ready(mountpoint: &Path, snapshot: Option<String>, what: &str, log: Option<&background::Log>, out: &Output) {
    if let Some(log) = log {
        log.leave_terminal();
    }
    let point = mountpoint.display().to_string();
    if out.json() || log.is_some() {
        let log = log.and_then(background::Log::path);
        let mounted = MountJson { mounted: point.clone(), snapshot, pid: std::process::id(), log };
        let _ = out.print_json(&MountReportJson::Mounted(mounted));
    } else {
        out.remark(&format!("mounted at {point}; Ctrl-C or `larder unmount {}` ends it", shell_word(&point)));
    }
    if let Some(log) = log {
        log.detach();
        Log { out: *out, with_time: true }.notice(Notice::Remark(format!("{what} mounted at {point}")));
    }
}

/// Refuses a log where it would destroy something or never be seen.
fn check_log(named: &Path, mountpoint: &Path, store: &Store, global: &Global) -> Result<(), CliError> {
    let hint = |e: CliError| e.hint("name another file with --log");
    PackFile::for_what("the log", named, store, global).map_err(hint)?;
    if lies_in(named, mountpoint).unwrap_or(false)
        || named.parent().is_some_and(|p| lies_in(p, mountpoint).unwrap_or(false))
    {
        let message = format!("the log {} would be hidden by the mount", named.display());
        return Err(hint(CliError::new(Kind::Usage, message)));
    }
    Ok(())
}

/// Starts the same command in the background and waits until the mount can be used.
fn start_in_background(out: &Output) -> Result<Outcome, CliError> {
    let ready = background::start(out)?;
    let mounted: MountJson = serde_json::from_str(&ready)
        .map_err(|e| CliError::new(Kind::Failed, format!("the mount in the background says {ready:?}: {e}")))?;
    if out.json() {
        out.print_json(&mounted)?;
    } else {
        let log = mounted
            .log
            .map_or_else(|| ", no log: the state folder cannot be written".to_owned(), |log| format!(", log in {log}"));
        let MountJson { mounted, pid, .. } = mounted;
        let unmount = shell_word(&mounted);
        out.remark(&format!("mounted at {mounted} (process {pid}{log}); `larder unmount {unmount}` ends it"));
    }
    Ok(Outcome::Done)
}

fn tell_stats(mountpoint: &Path, out: &Output) -> Result<Outcome, CliError> {
    let stats = stats(mountpoint)?;
    if !out.json() {
        out.line(&format!("process {}: {stats}", stats.pid))?;
        return Ok(Outcome::Done);
    }
    let total = stats.total();
    let Stats { pid, seconds, requests, pushed, expired, cached, cache_size, held, read_ahead } = stats;
    let stats = MountStatsJson { pid, seconds, requests, total, pushed, expired, cached, cache_size, held, read_ahead };
    out.print_json(&MountReportJson::Stats(stats))?;
    Ok(Outcome::Done)
}

/// What is to be mounted.
struct Place {
    store: PathBuf,
    snapshot: Option<SnapshotName>,
    /// The store and the snapshot as /etc/fstab has them, so that mount(8) knows its own line again.
    named: Option<String>,
}

impl Place {
    fn of(args: &MountArgs, global: &Global) -> Result<Self, CliError> {
        let mut global = global.clone();
        let (mut wanted, mut named) = (args.snapshot.clone(), None);
        if let [store, _] = args.places.as_slice() {
            let (path, snapshot) = split_store(store);
            if snapshot.is_some() && wanted.is_some() {
                return Err(CliError::new(Kind::Usage, "a snapshot is named twice: with # and with --snapshot"));
            }
            wanted = snapshot.or(wanted);
            global.store = Some(path);
            named = store.is_absolute().then(|| store.to_string_lossy().into_owned());
        }
        let path = context::store_path(&global)?;
        // The folder is opened again while it is mounted, and in the background from another place.
        let store = std::path::absolute(&path).unwrap_or(path);
        let named = named.or_else(|| wanted.as_ref().map(|wanted| format!("larder:{}#{wanted}", store.display())));
        Ok(Self { store, snapshot: wanted.map(|w| w.parse()).transpose()?, named })
    }
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
