//! What became of the keys, told; and whom keys are wrapped to when they are wrapped anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::codec::{Passphrase, Prompt, Recipient, parse_recipient};
use crate::model::{KeyInfo, KeyName, Kind, Role};
use crate::ops::gc::Collected;
use crate::store::{Changed, KeyAdmin, Sealed, Store, StoreError, Waiting};

use super::super::context::Terminal;
use super::super::error::CliError;
use super::super::output::{Output, counted, human_bytes};
use super::super::{Global, Outcome};
use super::reseal::{self, ResealJson};
use super::{KeyJson, KeyReportJson, described};

/// What became of the keys.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct KeyChangeJson {
    /// The store's id: 32 hexadecimal digits.
    store: String,
    /// The entry of the arrival log that tells of it.
    sequence: u64,
    added: Vec<KeyJson>,
    removed: Vec<KeyJson>,
    /// What the holders of removed keys may still know, a sentence for each role among them.
    still_known: Vec<String>,
    /// Nothing if the store kept its identities.
    rotated: Option<RotatedJson>,
    /// What was sealed anew, with `--reseal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resealed: Option<ResealJson>,
}

/// New identities of the store.
#[derive(Debug, Serialize, JsonSchema)]
struct RotatedJson {
    /// Key objects that were wrapped anew.
    keys: usize,
    /// What was sealed under older identities then: writing runs …
    epochs: u64,
    /// … their blocks …
    blocks: u64,
    /// … and bytes of them.
    bytes: u64,
}

/// Tells what became of the keys. `sealed` is what was in the store before it got new identities, if it did; `resealing`, that it is
/// to be sealed anew then, and whether that may wait for others.
pub(super) fn tell(
    store: &Store,
    changed: &Changed,
    sealed: Option<Sealed>,
    resealing: Option<Waiting>,
    out: &Output,
) -> Result<Outcome, CliError> {
    let rotated = changed.rotated.zip(sealed);
    if out.json() {
        // What happened is told, however the rest ends.
        let resealed = resealing.map(|waiting| reseal::reseal(store, waiting, out));
        let done = resealed.as_ref().and_then(|resealed| resealed.as_ref().ok());
        let still_known = still_known(changed, done.filter(|done| reseal::is_all(store, done)));
        out.print_json(&KeyReportJson::Change(KeyChangeJson {
            store: store.id().to_string(),
            sequence: changed.sequence,
            added: changed.added.iter().map(KeyJson::new).collect(),
            removed: changed.removed.iter().map(KeyJson::new).collect(),
            still_known,
            rotated: rotated.map(|(keys, s)| RotatedJson { keys, epochs: s.epochs, blocks: s.blocks, bytes: s.bytes }),
            resealed: done.map(|done| ResealJson::new(store, done)),
        }))?;
        return resealed.transpose()?.map_or(Ok(Outcome::Done), |done| reseal::remark(store, &done, out));
    }
    for key in &changed.added {
        out.line(&key.name.to_string())?;
        out.remark(&format!("added {}", described(key)));
    }
    changed.removed.iter().for_each(|key| out.remark(&format!("removed {}", described(key))));
    if let Some((keys, sealed)) = rotated {
        out.remark(&format!(
            "what comes is sealed to new identities; {} them",
            counted(keys as u64, "key has", "keys have")
        ));
        if sealed.epochs > 0 && resealing.is_none() {
            out.remark(&format!(
                "what is there stays under the old ones: {} in {}, {}",
                counted(sealed.blocks, "block", "blocks"),
                counted(sealed.epochs, "run", "runs"),
                human_bytes(sealed.bytes)
            ));
            out.remark("`larder key reseal` seals it anew");
        }
    }
    let resealed = resealing.map(|waiting| reseal::reseal(store, waiting, out));
    let done = resealed.as_ref().and_then(|resealed| resealed.as_ref().ok());
    let all = done.filter(|done| reseal::is_all(store, done));
    still_known(changed, all).iter().for_each(|text| out.remark(text));
    resealed.transpose()?.map_or(Ok(Outcome::Done), |done| reseal::remark(store, &done, out))
}

/// What the holders of removed keys may still know. `resealed`: with it, nothing in the store's folder opens with the identities that they
/// had.
fn still_known(changed: &Changed, resealed: Option<&Collected>) -> Vec<String> {
    let (who, until) = match (changed.rotated, resealed) {
        (Some(_), Some(_)) => (
            " may have read, and still reads in copies of the store made before it was sealed anew,",
            "what was captured until now",
        ),
        (Some(_), None) => (" and can copy the store's files may still read", "what was captured until now"),
        (None, _) => (
            " and can copy the store's files may still read",
            "what was captured until now and, since the store keeps its identities, what will be",
        ),
    };
    let mut texts = Vec::new();
    for role in [Role::Owner, Role::Catalog, Role::Writer] {
        if !changed.removed.iter().any(|key| key.role == role) {
            continue;
        }
        texts.push(match role {
            Role::Owner => format!("Who held an owner key{who} {until}."),
            Role::Catalog => format!("Who held a catalog key{who} names and structure of {until}."),
            Role::Writer => {
                "Who held a writer key could never read anything; whoever can still write to the store's files can \
                still add to them."
                    .to_owned()
            }
        });
    }
    let read = changed.removed.iter().any(|key| key.role != Role::Writer);
    if changed.rotated.is_none() && read {
        let text = "Until `larder key rotate`, whoever of them can write to the store's files can also give up snapshots, lift holds and set policies.";
        texts.push(text.to_owned());
    }
    if let Some(resealed) = resealed.filter(|_| read) {
        let but = match resealed.resealed.unwrap_or_default().epochs.rewrapped {
            0 => "",
            _ => ", but for reasons in old entries of the log, if keys of single runs were kept",
        };
        texts.push(format!("In the store as it is now nothing opens with these keys{but}."));
    }
    if !texts.is_empty() {
        let text = "They still know the id key, which never changes: they can confirm a guess of content. Only a new store ends that.";
        texts.push(text.to_owned());
    }
    texts
}

/// Whom each key that is not removed is wrapped to. A key that is opened by a passphrase needs that again.
pub(super) fn recipients(
    admin: &KeyAdmin,
    removed: &[KeyName],
    path: &Path,
    global: &Global,
) -> Result<BTreeMap<KeyName, Recipient>, CliError> {
    let terminal = Terminal::new(global, Some(path));
    let prompt: Arc<dyn Prompt> = Arc::new(terminal.clone());
    let mut found = BTreeMap::new();
    for key in admin.keys().iter().filter(|key| !removed.contains(&key.name)) {
        let recipient = match key.recipient.as_str() {
            "" => return Err(not_kept(key, admin)),
            KeyInfo::PASSPHRASE => Recipient::passphrase(passphrase_of(key, admin, &terminal)?, None),
            text => parse_recipient(text, prompt.clone()).map_err(StoreError::from)?,
        };
        found.insert(key.name, recipient);
    }
    Ok(found)
}

fn not_kept(key: &KeyInfo, admin: &KeyAdmin) -> CliError {
    let message = format!("whom {} is wrapped to is not known; nothing was changed", described(key));
    if admin.was_in_doubt() && !admin.is_in_use(key.name) {
        return CliError::new(Kind::Usage, message)
            .hint("leave it out, which removes it; then `larder key add` gives its holder another");
    }
    CliError::new(Kind::Usage, message).hint(format!(
        "add a key for its holder with `larder key add`, open the store with that one, and take the old one away: \
         `larder key remove {} --no-rotate`",
        key.name
    ))
}

fn passphrase_of(key: &KeyInfo, admin: &KeyAdmin, terminal: &Terminal) -> Result<Passphrase, CliError> {
    let instead = || {
        format!(
            "the key object must be wrapped anew: give its passphrase on a terminal or by LARDER_PASSPHRASE_COMMAND; without it, remove that key first: \
             `larder key remove {} --no-rotate`",
            key.name
        )
    };
    let what = if key.label.is_empty() { key.name.to_string() } else { format!("{} ({})", key.name, key.label) };
    let given = match terminal.commanded() {
        Some(passphrase) => Some(passphrase?),
        None => terminal.passphrase(&format!("Passphrase of the key {}", super::super::output::escaped(&what))),
    };
    let Some(given) = given else {
        let message = format!("the passphrase of {} is wanted; nothing was changed", described(key));
        return Err(CliError::new(Kind::Usage, message).hint(instead()));
    };
    if admin.opens(key.name, &given)? {
        return Ok(given);
    }
    let message = format!("the passphrase does not open {}; nothing was changed", described(key));
    Err(CliError::new(Kind::WrongKey, message).hint(instead()))
}
