//! `larder key list`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Role;
use crate::store::KeyRow;

use super::super::context;
use super::super::error::CliError;
use super::super::output::{Output, counted, escaped, short_time};
use super::super::{Global, Outcome};
use super::{KeyJson, KeyReportJson};

/// Show the keys of the store, the one in use marked
#[derive(Debug, Args)]
pub(super) struct ListArgs {}

/// The keys of a store.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct KeyListJson {
    keys: Vec<ListedKeyJson>,
    /// True if an owner's key was in use: only an owner can tell that owners wrote this list.
    proved: bool,
    /// Entries of the arrival log that claim a change of keys which no owner made.
    forged_entries: Vec<u64>,
    /// Entries of the arrival log that are lost, and one of which may be a newer list of keys than this.
    lost_entries: Vec<u64>,
    /// True if entries of the arrival log behind this list were given up, one of which may have been a newer list of keys.
    outdated: bool,
    /// Writing runs that are in the store.
    epochs: u64,
    /// How many of them are sealed under identities from before the newest rotation.
    epochs_under_older_identities: u64,
}

/// A key in the list.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedKeyJson {
    #[serde(flatten)]
    key: KeyJson,
    /// It opened the store this time.
    in_use: bool,
    /// The file of its object is in the store.
    there: bool,
    /// Its object, in its file or in the database, is not the one that an owner wrote last, which only an owner can tell: somebody put it there, or it is damaged.
    swapped: bool,
}

pub(super) fn run(global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Catalog, "listing keys", global)?;
    let list = store.keys()?;
    let old = store.under_old()?;
    // It has been shown as it is known; a log that is damaged may have a newer one.
    let lost = list.lost.first().map(|lost| CliError::from(lost.to_error()));
    if out.json() {
        out.print_json(&KeyReportJson::List(KeyListJson {
            keys: list.keys.iter().map(as_json).collect(),
            proved: list.proved,
            forged_entries: list.forged,
            lost_entries: list.lost.iter().map(|lost| lost.sequence).collect(),
            outdated: list.outdated,
            epochs: old.of,
            epochs_under_older_identities: old.epochs,
        }))?;
        return lost.map_or(Ok(Outcome::Done), Err);
    }
    out.line(&format!("  {:16}  {:7}  {:11}  {:19}  LABEL AND RECIPIENT", "NAME", "ROLE", "KIND", "ADDED (UTC)"))?;
    let known = !list.outdated && list.lost.is_empty();
    list.keys.iter().try_for_each(|row| out.line(&as_text(row, known)))?;
    for sequence in &list.forged {
        out.tell(&format!(
            "larder: entry {sequence} of the arrival log claims a change of keys that no owner made; it is passed over"
        ));
    }
    if list.outdated {
        out.tell(
            "larder: entries of the arrival log that are newer than this list are lost or were given up: it may lack keys that were added, and have some that were \
             removed; compare its recipients with those of the holders: `larder key rotate --keep NAME…` takes those that you name for all there are",
        );
    }
    if old.epochs > 0 {
        let of = counted(old.of, "run is", "runs are");
        out.remark(&format!("{} of {of} under identities from before the newest rotation", old.epochs));
    }
    lost.map_or(Ok(Outcome::Done), Err)
}

fn as_json(row: &KeyRow) -> ListedKeyJson {
    let unknown =
        KeyJson { name: row.name.to_string(), role: None, kind: None, recipient: None, label: None, added: None };
    let key = row.info.as_ref().map_or(unknown, KeyJson::new);
    ListedKeyJson { key, in_use: row.in_use, there: row.there, swapped: row.swapped }
}

/// A line of the list; `known`: no newer list of keys was lost.
fn as_text(row: &KeyRow, known: bool) -> String {
    let mark = if row.in_use { '*' } else { ' ' };
    let Some(info) = &row.info else {
        let why = if known {
            "no owner added it: left of a removal that was cut, or put there by hand"
        } else {
            "what an owner said of it is lost, if one added it"
        };
        return format!("{mark} {}  {why}", row.name);
    };
    let whom = if info.kind() == info.recipient { "" } else { &info.recipient };
    let gone = match row {
        KeyRow { there: false, .. } => "its file is missing",
        KeyRow { swapped: true, .. } => "its object is not the one that an owner wrote",
        _ => "",
    };
    let notes: Vec<&str> = [gone, &info.label, whom].into_iter().filter(|note| !note.is_empty()).collect();
    let (name, role, kind, added) = (info.name, info.role.as_str(), info.kind(), short_time(info.added));
    escaped(&format!("{mark} {name}  {role:7}  {kind:11}  {added}  {}", notes.join("  "))).trim_end().to_owned()
}
