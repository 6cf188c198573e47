//! From arguments and environment to an opened store. The one place that reads the environment and prompts.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::codec::{Identity, Passphrase, Prompt, parse_identities};
use crate::model::{Kind, Timestamp};
use crate::store::{self, CacheSize, ClientDirs, Store, StoreError, Unlock};

use super::Global;
use super::error::CliError;
use super::output::Output;

/// The present.
pub(super) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

fn xdg(variable: &str, below_home: &str) -> PathBuf {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    set.unwrap_or_else(|| std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(below_home)).join("larder")
}

/// Where this client keeps pins and caches.
pub(super) fn client_dirs() -> ClientDirs {
    ClientDirs { state: xdg("XDG_STATE_HOME", ".local/state"), cache: xdg("XDG_CACHE_HOME", ".cache") }
}

/// The default identity.
pub(super) fn default_identity() -> PathBuf {
    xdg("XDG_CONFIG_HOME", ".config").join("identity.txt")
}

/// The store that the user named.
pub(super) fn store_path(global: &Global) -> Result<PathBuf, CliError> {
    global.store.clone().filter(|p| !p.as_os_str().is_empty()).ok_or_else(|| {
        CliError::new(Kind::Usage, "no store was named").hint("name one with --store PATH or LARDER_STORE")
    })
}

/// Opens a store.
pub(super) fn open(path: &Path, global: &Global) -> Result<Store, CliError> {
    if path.to_str().is_some_and(|p| p.starts_with("s3://")) {
        return Err(CliError::new(Kind::Usage, "stores on object storage are not supported by this version"));
    }
    let keys = Keys { global, prompt: Arc::new(Terminal) };
    let store = store::open(path, &keys, &client_dirs(), CacheSize::default())?;
    if let Some(lost) = store.lost_end() {
        Output::new(global.json, global.quiet).tell(&format!("larder: {lost}; what is left can be read, not added to"));
    }
    Ok(store)
}

/// Opens the store that the user named.
pub(super) fn open_named(global: &Global) -> Result<Store, CliError> {
    open(&store_path(global)?, global)
}

/// Asks on the terminal.
#[derive(Debug)]
pub(super) struct Terminal;

impl Prompt for Terminal {
    fn message(&self, text: &str) {
        Output::new(false, false).tell(text);
    }

    fn passphrase(&self, what: &str) -> Option<Passphrase> {
        if let Some(command) = passphrase_command() {
            return passphrase_from(&command).ok();
        }
        if !std::io::stderr().is_terminal() {
            return None;
        }
        rpassword::prompt_password(format!("{what}: ")).ok().map(Passphrase::from)
    }
}

struct Keys<'a> {
    global: &'a Global,
    prompt: Arc<dyn Prompt>,
}

fn read_identities(path: &Path, prompt: &Arc<dyn Prompt>) -> Result<Vec<Identity>, StoreError> {
    let bytes = std::fs::read(path)
        .map_err(|e| StoreError::Refused(format!("cannot read the identity {}: {e}", path.display())))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    Ok(parse_identities(&bytes, &path.display().to_string(), prompt.clone())?)
}

impl Unlock for Keys<'_> {
    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        let mut files = self.global.identity.clone();
        if files.is_empty()
            && let Some(list) = std::env::var_os("LARDER_IDENTITY")
        {
            files.extend(std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()));
        }
        let mut found = Vec::new();
        for file in files {
            found.extend(read_identities(&file, &self.prompt)?);
        }
        let default = default_identity();
        if default.exists() {
            match read_identities(&default, &self.prompt) {
                Ok(identities) => found.extend(identities),
                // The one that nobody named hinders none that was.
                Err(_) if !found.is_empty() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError> {
        if let Some(command) = passphrase_command() {
            return passphrase_from(&command).map(Some);
        }
        Ok(self.prompt.passphrase("Passphrase of the store"))
    }
}

/// The command that prints passphrases, if there is one.
pub(super) fn passphrase_command() -> Option<std::ffi::OsString> {
    std::env::var_os("LARDER_PASSPHRASE_COMMAND").filter(|c| !c.is_empty())
}

/// Runs the user's command and takes the first line that it prints.
pub(super) fn passphrase_from(command: &std::ffi::OsStr) -> Result<Passphrase, StoreError> {
    let refuse = |why: String| StoreError::Refused(format!("LARDER_PASSPHRASE_COMMAND {why}"));
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(std::process::Stdio::inherit())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| refuse(format!("could not be run: {e}")))?;
    let bytes = zeroize::Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(refuse(format!("failed: {}", output.status)));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse("printed something that is not UTF-8".to_owned()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refuse("printed nothing".to_owned()));
    }
    Ok(Passphrase::from(line.to_owned()))
}
