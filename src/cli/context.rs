//! From settings to an opened store: which folder, which keys, whom to ask.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::codec::{Identity, Passphrase, Prompt, WrapError, parse_identities, parse_recipient};
use crate::model::{Kind, Role, Timestamp};
use crate::store::{self, CacheSize, ClientDirs, ClosedStore, Mending, Store, StoreError, Unlock};
use crate::tree::Pages;

use super::error::CliError;
use super::output::Output;
use super::{Global, files, folders, secrecy, settings};

/// Bytes that a passphrase command may print.
const PASSPHRASE_MAX: u64 = 64 << 10;

/// Bytes that decoded blocks may take where a snapshot is read once.
const STREAM_BUDGET: u64 = 48 << 20;

/// Bytes that decoded pages may take.
const PAGE_BUDGET: u64 = 32 << 20;

/// The present.
pub(super) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The folder of the store that the user named.
pub(super) fn store_path(global: &Global) -> Result<PathBuf, CliError> {
    let named = global.store.as_ref().filter(|p| !p.as_os_str().is_empty()).ok_or_else(|| {
        CliError::new(Kind::Usage, "no store was named")
            .hint("name one with --store, LARDER_STORE, or `store` in larder.toml")
    })?;
    Ok(global.settings.config.store_path(named))
}

/// Opens a store.
pub(super) fn open(path: &Path, global: &Global) -> Result<Store, CliError> {
    open_with(path, global, CacheSize::default())
}

/// Opens a copy of a store, which may be older than what was seen of the store itself.
pub(super) fn open_copy(path: &Path, global: &Global) -> Result<Store, CliError> {
    let dirs = ClientDirs { state: PathBuf::new(), ..folders::client_dirs() };
    secrecy::guard_memory();
    let opened = store::open(path, &keys(path, global), &dirs, CacheSize::default());
    opened.map_err(|e| refused(e, path, global))
}

/// Opens a store, with so much memory for decoded blocks.
pub(super) fn open_with(path: &Path, global: &Global, cache: CacheSize) -> Result<Store, CliError> {
    try_open(path, global, cache)?.map_err(|e| refused(e, path, global))
}

/// The same; what stands in the way of the keys or in the store is told apart from the rest.
fn try_open(path: &Path, global: &Global, cache: CacheSize) -> Result<Result<Store, StoreError>, CliError> {
    if path.to_str().is_some_and(|p| p.starts_with("s3://")) {
        return Err(CliError::new(Kind::Usage, "stores on object storage are not supported by this version"));
    }
    log::info!("opening the store {}", path.display());
    secrecy::guard_memory();
    let store = match store::open(path, &keys(path, global), &folders::client_dirs(), cache) {
        Ok(store) => store,
        Err(e) => return Ok(Err(e)),
    };
    if let Some(damage) = store.lost_end().or_else(|| store.trouble()) {
        global.output().tell(&format!(
            "larder: {damage}; what is left can be read, not added to; `larder repair` tells what can be done"
        ));
    }
    if let Some(why) = store.unpinned() {
        let out = global.output();
        out.remark(&format!(
            "larder: what was seen of the store cannot be remembered: {why}; should it be set back, nothing will tell"
        ));
    }
    Ok(Ok(store))
}

fn keys(path: &Path, global: &Global) -> Keys {
    let files = settings::identities(global, Some(path)).value;
    Keys { files, prompt: Arc::new(Terminal::new(global, Some(path))) }
}

/// The identities that may open a pack: those that were named, and the default one.
pub(super) fn pack_identities(global: &Global) -> impl Unlock {
    let files = settings::identities(global, global.store.as_deref()).value;
    Keys { files, prompt: Arc::new(Terminal::new(global, global.store.as_deref())) }
}

/// What to do where key files are not as the database has them, and no key opens the store that should.
const KEY_FILES: &str = "key files of the store are missing, or older than the database says: `larder repair` tells which, and `larder repair --apply` puts them in place; \
    try again then, before anything else is done";

/// Why a store cannot be opened, for its user.
fn refused(e: StoreError, path: &Path, global: &Global) -> CliError {
    let missing = matches!(&e, StoreError::Missing(_));
    let error = CliError::from(e);
    if error.kind == Kind::WrongKey && store::lacks_key_files(path) {
        return error.hint(KEY_FILES);
    }
    match global.settings.config.stores.keys().next() {
        Some(_) if missing && path.components().count() == 1 => {
            error.hint("no store of that name is in larder.toml either; `larder config show` tells what is")
        }
        _ => error,
    }
}

/// A store, or what can be had of it without a key.
#[derive(Debug)]
pub(super) enum Opened {
    /// With a key.
    Store(Store),
    /// Without, and why, unless none was wanted.
    Closed(Box<ClosedStore>, Option<StoreError>),
}

/// Opens the store that the user named; if no key at hand opens it, or damage is in the way, as far as it can be had without one,
/// unless that is `not_enough`. An identity that was named and does not fit is a mistake to be told.
pub(super) fn open_or_closed(global: &Global, not_enough: bool) -> Result<Opened, CliError> {
    let path = store_path(global)?;
    let e = match try_open(&path, global, CacheSize::default())? {
        Ok(store) => return Ok(Opened::Store(store)),
        Err(e) => e,
    };
    let keyless =
        matches!(e, StoreError::WrongKey(_) | StoreError::WrongPassphrase { .. } | StoreError::NoPassphrase { .. });
    if e.is_damage() || keyless && !not_enough && global.identity.is_empty() {
        // What hinders that too has been told by the error before.
        if let Ok(closed) = store::open_closed(&path, &folders::client_dirs(), Mending::Yes) {
            let closed = if e.is_of_the_tip() { closed.without_tip() } else { closed };
            return Ok(Opened::Closed(Box::new(closed), Some(e)));
        }
    }
    Err(refused(e, &path, global))
}

/// Opens the store that the user named, though its tip may be damaged.
pub(super) fn open_for_repair(mending: Mending, global: &Global) -> Result<Store, CliError> {
    let path = store_path(global)?;
    let (keys, dirs) = (keys(&path, global), folders::client_dirs());
    let opened = store::open_for_repair(&path, &keys, &dirs, CacheSize::default(), mending);
    opened.map_err(|e| refused(e, &path, global))
}

/// Opens the store that the user named without a key, for a repair that is to be made or planned.
pub(super) fn open_closed_for_repair(mending: Mending, global: &Global) -> Result<ClosedStore, CliError> {
    let path = store_path(global)?;
    if mending == Mending::No {
        return open_closed(mending, global);
    }
    store::open_closed_for_repair(&path, &folders::client_dirs()).map_err(|e| refused(e, &path, global))
}

/// Opens the store that the user named without a key.
pub(super) fn open_closed(mending: Mending, global: &Global) -> Result<ClosedStore, CliError> {
    let path = store_path(global)?;
    store::open_closed(&path, &folders::client_dirs(), mending).map_err(|e| refused(e, &path, global))
}

/// Opens the store that the user named.
pub(super) fn open_named(global: &Global) -> Result<Store, CliError> {
    open(&store_path(global)?, global)
}

/// Opens the store that the user named, with a key that may do what is wanted: `act` says what that is, as in "listing snapshots".
pub(super) fn open_for(needs: Role, act: &'static str, global: &Global) -> Result<Store, CliError> {
    let store = open_named(global)?;
    store.require(needs, act)?;
    Ok(store)
}

/// The same for who reads from start to end: what was decoded is seldom asked for again, and the memory is wanted elsewhere.
pub(super) fn open_for_stream(needs: Role, act: &'static str, global: &Global) -> Result<Store, CliError> {
    let store = open_with(&store_path(global)?, global, CacheSize(STREAM_BUDGET))?;
    store.require(needs, act)?;
    Ok(store)
}

/// The pages of a store, with the memory that a command may take for them.
pub(super) fn pages(store: &Store) -> Pages {
    Pages::new(store, PAGE_BUDGET)
}

/// Asks on the terminal, or the user's command.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    command: Option<OsString>,
    out: Output,
}

impl Terminal {
    /// For the keys of the store at `path`, or for any.
    pub(super) fn new(global: &Global, path: Option<&Path>) -> Self {
        Self { command: settings::passphrase_command(global, path).map(|c| c.value), out: global.output() }
    }

    /// What the user's command prints, if there is one.
    pub(super) fn commanded(&self) -> Option<Result<Passphrase, StoreError>> {
        self.command.as_ref().map(|command| passphrase_from(command))
    }

    /// True if somebody is asked, and no command.
    fn asks(&self) -> bool {
        self.command.is_none() && self.is_there()
    }

    /// True if there is a terminal to ask on.
    pub(super) fn is_there(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// What is typed on the terminal, without echo; nothing if there is none. The user's command is not asked: it is for keys of stores.
    pub(super) fn ask(&self, what: &str) -> Option<zeroize::Zeroizing<String>> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        // A progress bar would write over the question.
        let typed = super::stderr::aside(|| rpassword::prompt_password(format!("{what}: ")));
        typed.ok().map(zeroize::Zeroizing::new)
    }
}

impl Prompt for Terminal {
    fn message(&self, text: &str) {
        self.out.tell(text);
    }

    fn passphrase(&self, what: &str) -> Option<Passphrase> {
        if let Some(passphrase) = self.commanded() {
            return passphrase.inspect_err(|e| self.out.tell(&format!("larder: {e}"))).ok();
        }
        self.ask(what).map(|text| Passphrase::from(text.as_str().to_owned()))
    }
}

struct Keys {
    files: Vec<PathBuf>,
    prompt: Arc<Terminal>,
}

impl Keys {
    fn read(&self, path: &Path) -> Result<Vec<Identity>, StoreError> {
        if is_identity_itself(path) {
            // Neither the log nor a message may show it.
            return Err(StoreError::Refused("an identity itself stands where a file's name belongs".to_owned()));
        }
        log::debug!("reading the identity {}", path.display());
        let bytes = files::read(path).map_err(|e| match path.to_str() {
            Some(text) if parse_recipient(text, self.prompt.clone()).is_ok() => {
                StoreError::from(WrapError::PublicKey(text.to_owned()))
            }
            _ => StoreError::Refused(format!("cannot read the identity {}: {e}", path.display())),
        })?;
        let bytes = zeroize::Zeroizing::new(bytes);
        Ok(parse_identities(&bytes, &path.display().to_string(), self.prompt.clone())?)
    }
}

impl Unlock for Keys {
    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        let mut found = Vec::new();
        for file in &self.files {
            found.extend(self.read(file)?);
        }
        Ok(found)
    }

    fn unnamed_identities(&self) -> Result<Vec<Identity>, StoreError> {
        let default = folders::default_identity();
        if !default.exists() {
            return Ok(Vec::new());
        }
        // It hinders none that was named.
        self.read(&default).or_else(|e| if self.files.is_empty() { Err(e) } else { Ok(Vec::new()) })
    }

    fn no_identity_fits(&self) {
        if self.prompt.asks() {
            self.prompt.message("larder: none of the identities at hand opens the store; it takes a passphrase too");
        }
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError> {
        match self.prompt.commanded() {
            Some(passphrase) => passphrase.map(Some),
            None => Ok(self.prompt.passphrase("Passphrase of the store")),
        }
    }
}

/// True if a path is no name of a file but the secret itself; one of the configuration has that file's folder in front.
pub(super) fn is_identity_itself(path: &Path) -> bool {
    let text = path.file_name().unwrap_or_default().to_string_lossy().trim_start().to_ascii_uppercase();
    ["AGE-SECRET-KEY-", "AGE-PLUGIN-"].iter().any(|front| text.starts_with(front)) && !path.is_file()
}

/// Runs the user's command and takes the first line that it prints.
pub(super) fn passphrase_from(command: &std::ffi::OsStr) -> Result<Passphrase, StoreError> {
    let refuse = |why: String| StoreError::Refused(format!("the passphrase command {why}"));
    log::debug!("running the passphrase command");
    let mut child = std::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| refuse(format!("could not be run: {e}")))?;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(4096));
    let read = child.stdout.take().map_or(Ok(0), |out| out.take(PASSPHRASE_MAX + 1).read_to_end(&mut bytes));
    let too_long = bytes.len() as u64 > PASSPHRASE_MAX;
    if too_long || read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| refuse(format!("cannot be waited for: {e}")))?;
    read.map_err(|e| refuse(format!("cannot be read from: {e}")))?;
    if too_long {
        return Err(refuse(format!("printed more than {} KiB", PASSPHRASE_MAX >> 10)));
    }
    if !status.success() {
        return Err(refuse(format!("failed: {status}")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse("printed something that is not UTF-8".to_owned()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refuse("printed nothing".to_owned()));
    }
    Ok(Passphrase::from(line.to_owned()))
}
