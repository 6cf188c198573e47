//! What `larder export` tells of a pack that it wrote.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Progress;
use crate::ops::reference::look_at;
use crate::packs::laid_out::LaidOut;
use crate::packs::{Loss, Options, Seal, Subject};

use super::super::error::CliError;
use super::super::output::{Output, counted, human_bytes};
use super::layout::LaidJson;
use super::target::Written;
use super::{ExportArgs, ExportJson, hex};

/// A pack that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct WrittenJson {
    /// The first snapshot's id.
    snapshot: String,
    /// All snapshots in it, in their order.
    snapshots: Vec<PackedJson>,
    /// The file, or `-`.
    output: String,
    /// `tar`, `tar.zst`, `tar.gz`, `zip` or `dir`.
    format: &'static str,
    /// `age` or `zip.enc`, if it is sealed: then its bytes are others each time.
    sealed: Option<&'static str>,
    /// The rules that the bytes follow, below a seal.
    canonical_form: &'static str,
    /// How hard it is compressed; nothing if it is not.
    level: Option<i32>,
    /// It holds the tree alone, without a manifest.
    bare: bool,
    /// What was written in the layout of another system; null of a pack of Larder's own.
    layout: Option<LaidJson>,
    /// Files, folders and links in it.
    members: u64,
    /// Its size.
    bytes: u64,
    /// The SHA-256 of the file; null of a folder, and of what went to /dev/null.
    sha256: Option<String>,
    /// It was read back, and is what was written.
    validated: bool,
    /// How that is known: `contents`, each of which was read and compared with manifest and checksums; `bytes`, the SHA-256 of the whole file, of a pack that is sealed to others. Null if it
    /// was not read back.
    proof: Option<&'static str>,
    /// The store remembers its SHA-256, so that --check knows the file.
    recorded: bool,
    /// What stock tools do not get out of it, by sort.
    losses: Vec<LossJson>,
    /// Things outside the store that the snapshots speak of, looked at now. None of them is in the pack.
    references: Vec<ReferenceJson>,
}

/// A snapshot in a pack.
#[derive(Debug, Serialize, JsonSchema)]
struct PackedJson {
    /// Its id.
    id: String,
    /// The folder that it has in the pack; null with --bare.
    name: Option<String>,
    /// All of it is there.
    whole: bool,
}

/// Something that a format cannot carry.
#[derive(Debug, Serialize, JsonSchema)]
struct LossJson {
    /// `owners`, `times`, `attributes`, `holes`, `hard-links`, `special`, `names` or `case`.
    sort: &'static str,
    /// What becomes of it.
    what: &'static str,
    /// How many items have it.
    items: u64,
    /// The first few of them; none of what nearly every item has.
    examples: Vec<String>,
    /// It was accepted: the exit status does not tell of it.
    accepted: bool,
}

/// Something outside the store that a snapshot speaks of.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ReferenceJson {
    /// The snapshot's id.
    snapshot: String,
    /// Its name within the snapshot.
    key: String,
    uri: String,
    hash: Option<String>,
    /// Of what is on this machine: whether it is there now and has the hash, if one is known. Null of anything else.
    verified: Option<bool>,
    /// What is wrong with it.
    why: Option<String>,
}

/// What there is to tell.
pub(super) struct Report<'a> {
    pub(super) laid: Option<&'a LaidOut<'a>>,
    pub(super) args: &'a ExportArgs,
    pub(super) output: &'a Path,
    pub(super) options: Options<'a>,
    pub(super) seal: Option<&'a Seal>,
    pub(super) subjects: &'a [Subject],
    pub(super) written: &'a Written,
    pub(super) recorded: bool,
}

/// Looks at what the snapshots refer to.
pub(super) fn references(subjects: &[Subject], progress: &dyn Progress) -> Result<Vec<ReferenceJson>, CliError> {
    let mut found = Vec::new();
    for subject in subjects {
        for reference in subject.references() {
            let (verified, why) = look_at(reference, progress)?;
            found.push(ReferenceJson {
                snapshot: subject.id().to_string(),
                key: reference.key.clone(),
                uri: reference.uri.clone(),
                hash: reference.hash.clone(),
                verified,
                why,
            });
        }
    }
    Ok(found)
}

impl Report<'_> {
    /// Prints it.
    pub(super) fn tell(&self, references: &[ReferenceJson], out: &Output) -> Result<(), CliError> {
        if out.json() {
            return out.print_json(&self.json(references));
        }
        self.tell_losses(out);
        for one in references.iter().filter(|one| one.verified == Some(false)) {
            let why = one.why.as_deref().unwrap_or_default();
            out.remark(&format!("larder: the reference {} leads nowhere now: {why}", one.key));
        }
        let Written { packing, bytes, sum, proof, .. } = self.written;
        let read_back = if proof.is_some() { ", read back" } else { "" };
        out.remark(&format!(
            "wrote {}, {}{read_back}",
            counted(packing.members, "member", "members"),
            human_bytes(*bytes)
        ));
        if let Some(sum) = sum {
            out.remark(&format!("SHA-256 {}", hex(sum)));
        }
        Ok(())
    }

    fn losses(&self) -> Vec<LossJson> {
        let json = |(loss, items, examples): (Loss, u64, &[String])| LossJson {
            sort: loss.as_str(),
            what: loss.explained(),
            items,
            examples: examples.to_vec(),
            accepted: self.args.accepts(loss),
        };
        self.written.packing.losses.iter().map(json).collect()
    }

    fn tell_losses(&self, out: &Output) {
        for loss in self.losses() {
            let names =
                if loss.examples.is_empty() { String::new() } else { format!(": {}", loss.examples.join(", ")) };
            let all_named = loss.examples.len() >= usize::try_from(loss.items).unwrap_or(usize::MAX);
            let more = if all_named || names.is_empty() { "" } else { ", …" };
            let items = counted(loss.items, "item", "items");
            let accepted = if loss.accepted { ", accepted" } else { "" };
            let text = format!("larder: {}{accepted}: {} ({items}){names}{more}", loss.sort, loss.what);
            // What makes the exit status another than 0 is told to the quiet too.
            if loss.accepted { out.remark(&text) } else { out.tell(&text) }
        }
    }

    fn json(&self, references: &[ReferenceJson]) -> ExportJson {
        let Written { packing, bytes, sum, proof, .. } = self.written;
        let bare = self.options.bare;
        let packed = |subject: &Subject| PackedJson {
            id: subject.id().to_string(),
            name: (!bare).then(|| subject.name()),
            whole: subject.is_whole(),
        };
        ExportJson::Written(Box::new(WrittenJson {
            snapshot: self.subjects.first().map(|first| first.id().to_string()).unwrap_or_default(),
            snapshots: self.subjects.iter().map(packed).collect(),
            output: self.output.to_string_lossy().into_owned(),
            format: self.options.format.as_str(),
            sealed: self.seal.map(|seal| match seal {
                Seal::Age(_) | Seal::Passphrase(_) => "age",
                Seal::Password(_) => "zip.enc",
            }),
            canonical_form: self.options.format.form().as_str(),
            level: self.options.level.or(self.options.format.default_level()),
            bare,
            layout: self.laid.map(LaidJson::of),
            members: packing.members,
            bytes: *bytes,
            sha256: sum.as_ref().map(hex),
            validated: proof.is_some(),
            proof: *proof,
            recorded: self.recorded,
            losses: self.losses(),
            references: references.to_vec(),
        }))
    }
}
