//! `larder unpack`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

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
/// is followed. Devices, and symlinks that lead out of DEST, are refused unless --allow says otherwise; a name in somebody else's archive that differs from an
/// earlier one in letter case or accents alone is refused unless --alike does. What a member has that makes no sense (an ACL, say) is told and left out: exit status 3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder unpack home-2026-11-20T08-00-00Z-1a2b3c4d.tar.zst /tmp/home
  larder unpack photos.zip photos
  larder unpack etc.tar.zst.age /tmp/etc --allow links -i key.txt")]
pub(super) struct UnpackArgs {
    /// Which file; `-` is standard input
    #[arg(value_name = "PACK", value_hint = ValueHint::FilePath)]
    pack: PathBuf,
    /// Where to: an empty folder, or what does not exist yet
    #[arg(value_name = "DEST", value_hint = ValueHint::DirPath)]
    dest: PathBuf,
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
    let limits = args.limits.taking();
    let archive = open(&args.pack, &args.password.keys(global), &limits, &bar)?;
    let allowed =
        Allowed { devices: args.allow.contains(&AllowArg::Devices), links: args.allow.contains(&AllowArg::Links) };
    let layout = args.layout.wanted();
    let options = UnpackOptions { allowed, limits, layout, temporary: std::env::temp_dir() };
    let unpacked = unpack(archive.opened, &args.dest, &options, &bar);
    bar.finish();
    let unpacked = unpacked.map_err(|e| failed(&args.pack, e))?;
    tell(&unpacked, &args.dest, out)?;
    let met = tell_met(&args.pack, &unpacked.audited, out);
    Ok(if unpacked.done.kind() == Some(Kind::Partial) { Outcome::Partial } else { met })
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
