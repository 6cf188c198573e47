//! Writing a manifest: its start, an item a line, its end. So it is never held whole.

use std::io;

use serde::Serialize;

use super::{Item, LossInfo, SCHEMA_VERSION, SnapshotInfo, Text, Totals};

/// `"key":value`, a line.
fn member(out: &mut Vec<u8>, key: &str, value: &impl Serialize, more: bool) -> io::Result<()> {
    out.extend_from_slice(format!("\"{key}\":").as_bytes());
    serde_json::to_writer(&mut *out, value)?;
    out.extend_from_slice(if more { b",\n" } else { b"\n" });
    Ok(())
}

/// All in front of the inventory.
pub(in crate::packs) fn write_start(
    form: &str,
    name: &str,
    snapshot: &SnapshotInfo,
    paths: Option<&[Text]>,
) -> io::Result<Vec<u8>> {
    let mut out = b"{\n".to_vec();
    member(&mut out, "schema_version", &SCHEMA_VERSION, true)?;
    member(&mut out, "form", &form, true)?;
    member(&mut out, "name", &name, true)?;
    member(&mut out, "snapshot", snapshot, true)?;
    if let Some(paths) = paths {
        member(&mut out, "paths", &paths, true)?;
    }
    out.extend_from_slice(b"\"inventory\":[");
    Ok(out)
}

/// An item; in front of it what divides it from the one before.
pub(in crate::packs) fn write_item(out: &mut Vec<u8>, item: &Item, is_first: bool) -> io::Result<()> {
    out.extend_from_slice(if is_first { b"\n" } else { b",\n" });
    Ok(serde_json::to_writer(out, item)?)
}

/// All behind the inventory.
pub(in crate::packs) fn write_end(totals: &Totals, losses: &[LossInfo]) -> io::Result<Vec<u8>> {
    let mut out = b"\n],\n".to_vec();
    member(&mut out, "totals", totals, true)?;
    member(&mut out, "losses", &losses, false)?;
    out.extend_from_slice(b"}\n");
    Ok(out)
}
