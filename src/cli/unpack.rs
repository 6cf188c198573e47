//! `larder unpack`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::archives::Limits;
use crate::model::Kind;
use crate::ops::restore::Allowed;
use crate::packs::{UnpackOptions, Unpacked, unpack};

use super::error::CliError;
use super::layout_arg::LayoutArg;
use super::limit_args::LimitArgs;
use super::output::{Output, counted, human_bytes};
use super::pack_input::{failed, open, tell_met};
use super::pack_keys::PasswordArgs;
use super::progress::Bar;
use super::{Global, Outcome};

/// Unpack a pack, or somebody else's archive, into a folder; no store is needed
///
/// A pack of Larder's (`larder export`), whatever its format, gives what a restore of its snapshot would: contents and all metadata, what a zip cannot
/// carry too. It is proved against its manifest and its checksums on the way. Several snapshots in one pack get a folder each. Of any
/// other tar or zip (compressed with gzip, zstd, xz or bzip2, sealed with age or as a zip.enc; told by content, not by name) the tree that it holds comes out.
///
/// All is made ready in a hidden folder beside DEST, which gets its name when everything is there and proved. Nothing is written outside, no symlink
/// is followed. Devices, symlinks that lead out of DEST, absolute names, and members that are there twice, are refused unless --allow says otherwise; a name in somebody else's archive that differs from an
/// earlier one in letter case or accents alone is refused unless --alike does. What a member has that makes no sense (an ACL, say) is told and left out: exit status 3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder unpack home-2026-11-20T08-00-00Z-1a2b3c4d.tar.zst /tmp/home
  larder unpack photos.zip photos
  larder unpack home-2026-11-20T08-00-00Z-1a2b3c4d.tar.zst /tmp/mail mail notes/todo.txt
  larder unpack etc.tar.zst.age /tmp/etc --allow links -i key.txt")]
pub(super) struct UnpackArgs {
    /// Which file; `-` is standard input
    #[arg(value_name = "PACK", value_hint = ValueHint::FilePath)]
    pack: PathBuf,
    /// Where to: an empty folder, or what does not exist yet
    #[arg(value_name = "DEST", value_hint = ValueHint::DirPath)]
    dest: PathBuf,
    /// Unpack these paths alone, with what is in them and the folders above [default: all]
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Let in what is refused by itself (can be repeated)
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    allow: Vec<AllowArg>,
    /// Which layouts of other systems are looked for and checked, in an archive that is not Larder's
    #[arg(long, value_enum, value_name = "LAYOUT", default_value = "auto")]
    layout: LayoutArg,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AllowArg {
    /// Symlinks that lead out of DEST
    Links,
    /// Devices, which only root may make
    Devices,
    /// Names with a slash in front, which is taken off, as tar does
    Absolute,
    /// Members that are there twice: the last one counts, as in a tar that was appended to
    Duplicates,
}

/// What was unpacked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnpackJson {
    /// The folder.
    dest: String,
    /// The snapshots of a pack of Larder's; none of archives of others.
    snapshots: Vec<UnpackedJson>,
    /// Files written, further names of hard links counted too.
    files: u64,
    /// Folders made, `dest` not counted.
    folders: u64,
    /// Symlinks, devices and pipes made.
    others: u64,
    /// Bytes of the files written, holes counted.
    bytes: u64,
    /// Members left out on purpose: sockets.
    skipped: u64,
    /// Members that could not be made.
    failed: u64,
    /// Members that came back without some property.
    partly: u64,
    /// Owners were not given back, for want of permission.
    owners_lost: bool,
    /// What members have that makes no sense, or is in a form that Larder does not know: it was left out.
    lost: u64,
    /// Names that are like another but for letter case or accents.
    alike: u64,
}

/// A snapshot of a pack.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct UnpackedJson {
    /// The name of its folder in the pack; of several snapshots also that of its folder in `dest`.
    name: String,
    /// Its id.
    id: String,
    /// Its dataset.
    dataset: String,
}

pub(super) fn run(args: &UnpackArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let bar = Bar::start(out, "unpack");
    let allows = |what| args.allow.contains(&what);
    let (absolute, duplicates) = (allows(AllowArg::Absolute), allows(AllowArg::Duplicates));
    let limits = Limits { absolute, duplicates, ..args.limits.taking() };
    let paths = args.paths.iter().map(|path| wanted(path)).collect::<Result<_, _>>()?;
    let archive = open(&args.pack, &args.password.keys(global), &limits, &bar)?;
    let allowed = Allowed { devices: allows(AllowArg::Devices), links: allows(AllowArg::Links) };
    let layout = args.layout.wanted();
    let options = UnpackOptions { allowed, limits, layout, temporary: std::env::temp_dir(), paths };
    let unpacked = unpack(archive.opened, &args.dest, &options, &bar);
    bar.finish();
    let unpacked = unpacked.map_err(|e| failed(&args.pack, e))?;
    tell(&unpacked, &args.dest, out)?;
    let met = tell_met(&args.pack, &unpacked.audited, out);
    Ok(if unpacked.done.kind() == Some(Kind::Partial) { Outcome::Partial } else { met })
}

/// A path in the archive, as the user typed it.
fn wanted(path: &OsStr) -> Result<Vec<u8>, CliError> {
    let parts = path.as_bytes().split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<_> = parts.collect();
    if parts.contains(&&b".."[..]) || path.is_empty() {
        let text = format!("{} is no path in an archive", path.to_string_lossy());
        return Err(CliError::new(Kind::Usage, text));
    }
    Ok(parts.join(&b'/'))
}

fn tell(unpacked: &Unpacked, dest: &Path, out: &Output) -> Result<(), CliError> {
    let done = &unpacked.done;
    if out.json() {
        let json = |(name, info): &(String, crate::packs::SnapshotInfo)| UnpackedJson {
            name: name.clone(),
            id: info.id.clone(),
            dataset: info.dataset.clone(),
        };
        return out.print_json(&UnpackJson {
            dest: dest.to_string_lossy().into_owned(),
            snapshots: unpacked.snapshots.iter().map(json).collect(),
            files: done.files,
            folders: done.folders,
            others: done.others,
            bytes: done.bytes,
            skipped: done.skipped,
            failed: done.failed,
            partly: done.partly,
            owners_lost: done.owners_lost,
            lost: unpacked.audited.remarks.losses,
            alike: unpacked.audited.alike,
        });
    }
    let mut text = format!(
        "unpacked {}, {}, {} into {}",
        counted(done.files, "file", "files"),
        counted(done.folders, "folder", "folders"),
        human_bytes(done.bytes),
        dest.display()
    );
    let extra = [
        (done.others, "symlink, device or pipe", "symlinks, devices and pipes"),
        (done.skipped, "was left out", "were left out"),
        (done.partly, "came back without some property", "came back without some property"),
        (done.failed, "failed", "failed"),
    ];
    for (count, one, many) in extra.iter().filter(|(count, ..)| *count > 0) {
        text.push_str(&format!("; {}", counted(*count, one, many)));
    }
    for (name, info) in &unpacked.snapshots {
        text.push_str(&format!("; {name} is whole: a snapshot of {}", info.dataset));
    }
    out.remark(&text);
    Ok(())
}
