//! `larder export --check`: is a file on the shelf one that was written, and still what it was?

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::codec::Sha256;
use crate::model::{Kind, Progress, Role};
use crate::store::KnownPack;

use super::super::error::CliError;
use super::super::output::{Output, human_bytes, rfc3339, short_id};
use super::super::progress::Bar;
use super::super::stream::StandardInput;
use super::super::{Global, Outcome, context};
use super::{ExportJson, hex};

/// What is known of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct CheckedJson {
    /// The file.
    checked: String,
    /// Its SHA-256.
    sha256: String,
    bytes: u64,
    /// Its bytes are those of a pack that was written.
    intact: bool,
    /// A pack that was written to a file of that name; of several with these bytes, or that name, the newest.
    written: Option<String>,
    /// The snapshots in that pack.
    snapshots: Vec<String>,
    /// The store has it still. One for each snapshot.
    present: Vec<bool>,
}

pub(super) fn run(path: &Path, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let store = context::open_for(Role::Owner, "checking a pack", global)?;
    let (sum, bytes) = sum_of(path, out)?;
    let name = path.file_name().filter(|_| path != Path::new("-"));
    let known = store.known_packs(&sum, name.map(OsStrExt::as_bytes))?;
    let newest = |wanted: fn(&KnownPack) -> bool| known.iter().rfind(|pack| wanted(pack));
    let same = newest(|pack| pack.same_bytes);
    let named = same.or(newest(|pack| pack.same_name));
    let shown = path.display();
    let Some(pack) = named else {
        let message =
            format!("the store knows no pack with the bytes of {shown} (SHA-256 {}), nor one of that name", hex(&sum));
        return Err(CliError::new(Kind::NotFound, message)
            .hint("it was written from another store, or by an export that could not remember it; `larder verify` checks it against itself"));
    };
    let present: Vec<bool> = pack.snapshots.iter().map(|id| store.manifest(id).is_ok()).collect();
    if out.json() {
        out.print_json(&ExportJson::Checked(CheckedJson {
            checked: path.to_string_lossy().into_owned(),
            sha256: hex(&sum),
            bytes,
            intact: pack.same_bytes,
            written: Some(rfc3339(pack.written)),
            snapshots: pack.snapshots.iter().map(ToString::to_string).collect(),
            present: present.clone(),
        }))?;
    }
    let of = pack.snapshots.iter().zip(&present).map(|(id, present)| {
        format!("{}{}", short_id(*id), if *present { "" } else { " (which the store has no more)" })
    });
    let of: Vec<_> = of.collect();
    let what = format!("a pack of {} written {}", of.join(", "), rfc3339(pack.written));
    if !pack.same_bytes {
        let message = format!(
            "{shown} is not what was written: its name is that of {what}, its bytes are others (SHA-256 {})",
            hex(&sum)
        );
        return Err(CliError::new(Kind::Damage, message)
            .hint("`larder verify` tells what is damaged; export it again while the store has the snapshot")
            .told(out.json()));
    }
    if !out.json() {
        out.line(&format!("{shown} is as it was written: {what}, {}", human_bytes(bytes)))?;
    }
    Ok(Outcome::Done)
}

/// The SHA-256 of a file, and its size.
fn sum_of(path: &Path, out: &Output) -> Result<([u8; 32], u64), CliError> {
    let failed = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        CliError::new(kind, format!("cannot read {}: {e}", path.display()))
    };
    let bar = Bar::start(out, "check");
    let mut file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(StandardInput::new(bar.stop()).map_err(failed)?)
    } else {
        let meta = path.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(CliError::new(Kind::Usage, format!("{} is a folder", path.display()))
                .hint("`larder verify FOLDER` holds it against its own checksums"));
        }
        bar.expect(1, meta.len());
        Box::new(File::open(path).map_err(failed)?)
    };
    let (mut hash, mut bytes, mut buffer) = (Sha256::default(), 0, vec![0; 1 << 20]);
    let read = loop {
        if bar.cancelled() {
            break Err(CliError::new(Kind::Interrupted, "stopped; nothing is known of the file"));
        }
        match file.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(len) => {
                hash.update(&buffer[..len]);
                bytes += len as u64;
                bar.advance(0, len as u64);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted || bar.cancelled() => {}
            Err(e) => break Err(failed(e)),
        }
    };
    bar.finish();
    read.map(|()| (hash.bytes(), bytes))
}
