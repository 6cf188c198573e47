//! A mount from its beginning to its end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select, unbounded};
use fuser::{BackgroundSession, Config, SessionACL};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::model::{Notice, Progress};
use crate::store::Store;
use crate::view::{View, ViewError};

use super::answers::Answers;
use super::desk::Desk;
use super::fs::LarderFs;
use super::options::{Parsed, share_of_pages};
use super::{MountError, MountOptions, guard, kernel, readahead, unmount, watch};

/// How long a busy mount that was told to end is still served.
const GRACE: Duration = Duration::from_secs(3);

/// Mounts and serves until the mount is taken away, from outside or by SIGINT, SIGTERM or SIGHUP. `ready` is called once it can
/// be used. Damage that readers meet, and remarks, go to `progress`.
///
/// After a signal a busy mount is detached and served a little longer; then this returns, and what still has files open in it
/// gets errors when the process ends.
///
/// # Errors
/// [`MountError`]; then nothing is mounted.
pub fn mount(
    store: &Store,
    options: &MountOptions,
    progress: Arc<dyn Progress>,
    ready: impl FnOnce(),
) -> Result<(), MountError> {
    let parsed = options.parse()?;
    let one = guard::one_at_a_time(&options.mountpoint)?;
    let path = guard::checked(&options.mountpoint, store.dir())?;
    check_fuse()?;
    let hidden = guard::hidden_by(&path);
    let view = View::new(store, share_of_pages(options.cache), progress.clone())?;
    let root = options.snapshot.map(|id| view.open(&id)).transpose()?;
    let threads = options.threads.clamp(2, 64);
    let desk = Desk::new(threads);
    let answers = Arc::new(Answers::new(view, root, parsed, desk.clone(), options.cache, progress.clone()));
    if let Some(root) = root
        && !answers.held.look_up(root.sequence())
    {
        return Err(ViewError::Stale(root).into());
    }
    let (alive, gone) = bounded::<()>(0);
    // From here on a signal ends the mount in order.
    let signals = SignalGuard::new(answers.clone(), progress.clone())?;
    let fs = LarderFs::new(answers.clone(), alive);
    let origin = options.source.clone().unwrap_or_else(|| format!("larder:{}", store.dir().display()));
    let mut session = kernel::start(fs, &path, &origin, parsed, config(threads, parsed))
        .map_err(|source| MountError::Refused { path: options.mountpoint.clone(), source })?;
    drop(one);
    answers.pushes.begin(session.notifier());
    let device = readahead::device(&path);
    if let Some(device) = device {
        answers.device.get_or_init(|| device);
    }
    if let Some(hidden) = hidden {
        progress.notice(Notice::Remark(hidden));
    }
    if !device.is_some_and(readahead::raise) {
        log::info!("the kernel's read-ahead could not be raised; that takes root");
    }
    let (watching, end) = bounded::<()>(0);
    {
        let (progress, end, deadline) = (progress.clone(), end.clone(), options.deadline);
        aside("watchman", move || desk.watch(deadline, &*progress, &end))?;
    }
    if root.is_none() {
        let notifier = session.notifier();
        let progress = progress.clone();
        aside("snapshots", move || watch::watch(&answers.view, &notifier, &answers.asked, &*progress, &end))?;
    }
    ready();
    let is_gone = serve(&path, device, &gone, &signals.received, &*progress);
    drop(watching);
    let outcome = if is_gone { outcome(&mut session) } else { Ok(()) };
    if outcome.is_err() {
        // Nobody answers any more.
        let _ = unmount::unmount_device(&path, device);
    }
    if let (false, Some(device)) = (is_gone, device) {
        // A thread that waits for the kernel, which waits for us, would keep the process from ending.
        unmount::abort(device);
    }
    // Dropped, it would unmount what is mounted at the path, and by an inverted check (fuser #407) only if that is not ours any
    // more. Its threads end with the connection.
    std::mem::forget(session);
    outcome
}

/// Returns when the mount is gone (true) or has been told to go and is still in use (false).
fn serve(
    path: &Path,
    device: Option<u64>,
    gone: &Receiver<()>,
    signals: &Receiver<()>,
    progress: &dyn Progress,
) -> bool {
    select! {
        recv(gone) -> _ => return true,
        recv(signals) -> _ => {}
    }
    if let Err(e) = unmount::unmount_device(path, device) {
        // Something else is on top, or it may not be taken away: it ends with the process.
        progress.notice(Notice::Remark(e.to_string()));
        return false;
    }
    select! {
        recv(gone) -> _ => true,
        recv(signals) -> _ => false,
        default(GRACE) => {
            progress.notice(Notice::Remark("the mount was in use; it is detached".to_owned()));
            false
        }
    }
}

/// How a session ended whose file system has been let go.
fn outcome(session: &mut BackgroundSession) -> Result<(), MountError> {
    // The handle cannot be moved out without the rest being dropped.
    let guard = std::mem::replace(&mut session.guard, thread::spawn(|| Ok(())));
    let ended = guard.join().unwrap_or_else(|_| Err(io::Error::other("a thread died")));
    ended.map_err(|source| MountError::Io { what: "the mount ended".to_owned(), source })
}

/// Does something on a thread of its own.
fn aside(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), MountError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|source| MountError::Io { what: "cannot start a thread".to_owned(), source })
}

fn config(threads: usize, parsed: Parsed) -> Config {
    let mut config = Config::default();
    // The kernel checks permissions; fuser's own check would not see what the kernel answers from memory.
    config.acl = if parsed.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(threads);
    config.clone_fd = true;
    config
}

/// The device must be ours to open even where fusermount3 mounts: each thread has a descriptor of its own.
fn check_fuse() -> Result<(), MountError> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    opened.map(drop).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => MountError::NoFuse("there is no /dev/fuse".to_owned()),
        _ => MountError::NoFuse(format!("/dev/fuse cannot be opened: {e}")),
    })
}

/// Takes signals while it lives: those that end the mount, and SIGUSR1, which asks what it has done.
struct SignalGuard {
    handle: signal_hook::iterator::Handle,
    received: Receiver<()>,
}

impl SignalGuard {
    fn new(answers: Arc<Answers>, progress: Arc<dyn Progress>) -> Result<Self, MountError> {
        let fail = |source| MountError::Io { what: "cannot take signals".to_owned(), source };
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).map_err(fail)?;
        let handle = signals.handle();
        let (send, received) = unbounded();
        let take = move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 {
                    progress.notice(Notice::Remark(answers.stats().to_string()));
                } else if send.send(()).is_err() {
                    return;
                }
            }
        };
        aside("signals", take)?;
        Ok(Self { handle, received })
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.handle.close();
    }
}
