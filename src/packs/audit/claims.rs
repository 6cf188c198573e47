//! What a manifest claims beside its inventory, held against the archive that it comes in, the folder's name, what was counted, and itself.

use std::str::FromStr;

use crate::archives::Opened;
use crate::model::{DatasetName, PageId, SnapshotId, SnapshotKind};
use crate::packs::Loss;
use crate::packs::form::Form;
use crate::packs::manifest::{Head, SnapshotInfo, Tail, Totals};
use crate::packs::name::pack_name;
use crate::tree::covers;

use super::path::{comes_before, is_path};

/// What a pack comes as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    Tar,
    Zip,
    /// A folder on a file system: a pack of the form `dir-v1`, or one that was extracted.
    Folder,
}

impl Carried {
    pub(super) fn of(opened: &Opened) -> Self {
        match opened {
            Opened::Tar(_) => Self::Tar,
            Opened::Zip(_) => Self::Zip,
            Opened::Members(_) => Self::Folder,
        }
    }

    /// True if an archive with these rules can come so.
    fn fits(self, form: Form) -> bool {
        match self {
            Self::Folder => true,
            Self::Tar => form == Form::Tar,
            Self::Zip => form == Form::Zip,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Tar => "a tar",
            Self::Zip => "a zip",
            Self::Folder => "a folder",
        }
    }
}

/// What in front of the inventory is not so, in words.
pub(super) fn of_head(head: &Head, form: Form, carried: Carried) -> Vec<String> {
    let snapshot = &head.snapshot;
    let mut wrong = Vec::new();
    let mut claim = |is_so: bool, what: &dyn Fn() -> String| {
        if !is_so {
            wrong.push(what());
        }
    };
    claim(carried.fits(form), &|| format!("its form is {}, and it stands in {}", head.form, carried.word()));
    let name = pack_name(&snapshot.id, &snapshot.dataset, snapshot.arrival.0);
    claim(name == head.name, &|| {
        format!("its name is {}, and that of its snapshot would be {}", head.name, name.escape_debug())
    });
    claim(SnapshotId::from_str(&snapshot.id).is_ok(), &|| "the id of its snapshot is none".to_owned());
    claim(PageId::from_str(&snapshot.tree).is_ok(), &|| "the tree of its snapshot is no id".to_owned());
    let parent = snapshot.parent.as_ref();
    claim(parent.is_none_or(|id| SnapshotId::from_str(id).is_ok()), &|| {
        "the parent of its snapshot is no id".to_owned()
    });
    claim(snapshot.dataset.parse::<DatasetName>().is_ok(), &|| {
        "the dataset of its snapshot cannot be called so".to_owned()
    });
    claim(snapshot.kind.parse::<SnapshotKind>().is_ok(), &|| {
        "there is no such kind as that of its snapshot".to_owned()
    });
    claim(snapshot.labels.keys().all(|key| !key.is_empty()), &|| "a label of its snapshot has no key".to_owned());
    for (what, text) in [("metrics", &snapshot.metrics), ("payload", &snapshot.payload), ("origin", &snapshot.origin)] {
        let is_json = |text: &String| serde_json::from_str::<serde_json::Value>(text).is_ok();
        claim(text.as_ref().is_none_or(is_json), &|| format!("the {what} of its snapshot are no JSON"));
    }
    if let Some(paths) = &head.paths {
        let paths: Vec<&[u8]> = paths.iter().map(crate::packs::manifest::Text::bytes).collect();
        let apart = |pair: &[&[u8]]| comes_before(pair[0], pair[1]) && !covers(pair[0], pair[1]);
        let are_some = !paths.is_empty() && paths.iter().all(|path| !path.is_empty() && is_path(path));
        claim(are_some && paths.windows(2).all(apart), &|| {
            "its paths are none, or out of order, or one of them is in another".to_owned()
        });
    }
    wrong
}

/// What behind the inventory, and of the snapshot's own counts, is not so. `special`: pipes, devices and sockets that are not in the archive.
pub(super) fn of_tail(head: &Head, tail: &Tail, counted: &Totals, special: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    if tail.totals != *counted {
        wrong.push("its totals are not those of its inventory".to_owned());
    }
    let SnapshotInfo { files, folders, others, bytes, .. } = head.snapshot;
    let is_whole = head.paths.is_none();
    let own = [files, folders, others, bytes];
    // A snapshot does not count its root.
    let here =
        [counted.files, counted.folders - u64::from(is_whole && counted.folders > 0), counted.others, counted.bytes];
    for ((what, own), here) in ["files", "folders", "others", "bytes"].into_iter().zip(own).zip(here) {
        if own < here || (is_whole && own != here) {
            wrong.push(format!("its snapshot has {own} {what}, and its inventory {here}"));
        }
    }
    let told =
        |loss: Loss| tail.losses.iter().filter(|info| info.sort == loss.as_str()).map(|info| info.items).sum::<u64>();
    if told(Loss::Special) != special {
        let told = told(Loss::Special);
        wrong.push(format!("its losses count {told} pipes, devices and sockets, and {special} are left out"));
    }
    wrong
}
