//! `larder ls`

use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Bits, Body, Entry, Role};
use crate::ops::read;
use crate::tree::Links;

use super::context;
use super::entry::{PathJson, content_digest, kind, mode_text, owner};
use super::error::CliError;
use super::output::{Output, rfc3339, short_time};
use super::place::{Found, Place};
use super::{Global, Outcome};

/// List what a snapshot holds
///
/// With --json each entry is an object on a line of its own. Times are UTC.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  larder ls                                            the newest snapshot of all
  larder ls -lR home:src
  larder ls --json -R latest | jq -r 'select(.size > 1e9).path'")]
pub(super) struct LsArgs {
    /// What: a folder, or a single entry
    #[arg(value_name = "SNAP[:PATH]", default_value = "latest")]
    what: OsString,
    /// With mode, owner, size and time
    #[arg(long, short = 'l')]
    long: bool,
    /// With all folders below
    #[arg(long, short = 'R')]
    recursive: bool,
}

/// An entry; its path is from the folder that is listed. There is one for each line; a listing has as many lines as entries, and may have none.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EntryJson {
    #[serde(flatten)]
    path: PathJson,
    kind: &'static str,
    /// Permissions in octal.
    mode: String,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    /// Bytes of a file's content or of a symlink's target; else 0.
    size: u64,
    mtime: String,
    btime: Option<String>,
    /// Names of the file, or subfolders and two.
    links: u64,
    /// Of a symlink.
    target: Option<String>,
    /// Major and minor number of a device.
    device: Option<(u32, u32)>,
    /// BLAKE3 of the content, where it was kept.
    blake3: Option<String>,
    /// CRC-32 of the content, where it was kept.
    crc32: Option<String>,
    /// True if there are extended attributes.
    xattrs: bool,
}

pub(super) fn run(args: &LsArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let place = Place::parse(&args.what)?;
    let store = context::open_for(Role::Catalog, "listing files", global)?;
    let found = place.find(&store)?;
    let links = Links::new(&found.pages, found.manifest.links);
    Lister { out, long: args.long, links }.run(&found, args.recursive)?;
    Ok(Outcome::Done)
}

struct Lister<'a> {
    out: &'a Output,
    long: bool,
    links: Links,
}

impl Lister<'_> {
    fn run(&mut self, found: &Found, recursive: bool) -> Result<(), CliError> {
        if found.entry.folder().is_none() {
            return self.entry(&found.path, &found.entry);
        }
        let mut list = read::list(&found.pages, &found.entry, recursive)?;
        while let Some((path, entry)) = list.next()? {
            self.entry(&path, &entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], entry: &Entry) -> Result<(), CliError> {
        let links = match entry.link {
            Some(group) => self.links.names(group)?,
            None => entry.folder().map_or(1, |t| 2 + t.counts.subdirs),
        };
        if self.out.json() {
            return self.out.print_json(&as_json(path, entry, links));
        }
        let mut line = Vec::new();
        if self.long {
            let _ = write!(
                line,
                "{} {links:>3} {:8} {:8} {:>12} {} ",
                mode_text(entry),
                owner(&entry.user, entry.uid),
                owner(&entry.group, entry.gid),
                size_text(entry),
                short_time(entry.mtime)
            );
        }
        line.extend_from_slice(&self.out.name(path));
        if let (true, Body::Symlink(target)) = (self.long, &entry.body) {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(&self.out.name(target));
        }
        line.push(b'\n');
        self.out.raw(&line)
    }
}

fn size_text(entry: &Entry) -> String {
    match entry.body {
        Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => format!("{major}, {minor}"),
        _ => entry.size().to_string(),
    }
}

fn as_json(path: &[u8], entry: &Entry, links: u64) -> EntryJson {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    EntryJson {
        path: path.into(),
        kind: kind(entry).1,
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        user: text(&entry.user),
        group: text(&entry.group),
        size: entry.size(),
        mtime: rfc3339(entry.mtime),
        btime: entry.btime.map(rfc3339),
        links,
        target: if let Body::Symlink(target) = &entry.body { Some(text(target)) } else { None },
        device: match entry.body {
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => Some((major, minor)),
            _ => None,
        },
        blake3: content_digest(entry),
        crc32: entry.file().and_then(|f| f.crc32).map(|c| format!("{c:08x}")),
        xattrs: entry.bits.has(Bits::XATTRS),
    }
}
