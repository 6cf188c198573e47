//! `larder export`

mod check;
mod layout;
mod report;
mod target;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Progress, Role, SnapshotId};
use crate::ops::records::Dataset;
use crate::packs::{Compression, Format, Loss, Options, Packing, Seal, Subject};
use crate::records::EncryptionPolicy;
use crate::store::Store;

use super::context;
use super::error::CliError;
use super::output::Output;
use super::pack_file::PackFile;
use super::pack_keys::SealArgs;
use super::place::{Found, Place};
use super::progress::Bar;
use super::{Global, Outcome, size};

use report::{Report, references};
use target::Written;

/// Write snapshots, or parts of them, as an archive that stock tools open
///
/// A pack is a folder DATASET-TIME-ID8 for each snapshot: manifest.json, README.txt, the files under content/, checksums.sha256. An import makes the
/// same tree of it again, whatever the format. --bare writes the files alone.
///
/// Stock tools get everything out of a tar. A zip does not carry owners, attributes, holes, hard links, devices, pipes, nor times below a second;
/// names that are not UTF-8, or that could lead an extractor or a terminal astray, are written with U+FFFD and the hex digits of each
/// such byte. Names in one folder that differ in letter case alone, or in how accents are written, are one name to Windows and macOS.
/// What of this a snapshot has is told, here and in the manifest, and the exit status is 3 unless --accept-loss.
///
/// The same snapshot gives the same bytes: tar, a stored zip and dir for ever, what is compressed with the same version of Larder. What went to
/// a file is read back before it gets its name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder export latest -o web.tar.zst
  larder export work@2026-01-01 work@2026-02-01 -o /mnt/tape/work.tar
  larder export latest -R vault.txt -o web.tar.zst.age  # opened by `age -d -i KEY | zstd -d | tar -x`
  larder export latest:docs latest:mail -o docs.zip --accept-loss=owners,times
  larder export case-7:evidence-42 --layout investigation -o snapshot-42.tar.gz
  larder export --bare home:docs -o - | tar -tf -
  larder export --check /mnt/tape/work.tar             # is it as it was written?")]
pub(super) struct ExportArgs {
    /// What: snapshots, or parts of them
    #[arg(value_name = "SNAP[:PATH]", required_unless_present = "check")]
    what: Vec<OsString>,
    /// Where to: a file, - for standard output, or with --format dir a folder
    #[arg(long, short = 'o', value_name = "FILE", required_unless_present = "check", value_hint = ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// Only the tree, at the archive's root, without a manifest around it
    #[arg(long)]
    bare: bool,
    /// Write views too: folders whose content stands elsewhere in the snapshot, as by-key does in a dataset of records
    #[arg(long, requires = "bare")]
    with_views: bool,
    /// Write the folder as another system's archive, so that its tools take it; what such a folder lacks is computed
    #[arg(long, value_enum, value_name = "LAYOUT", conflicts_with = "bare")]
    layout: Option<layout::LayoutName>,
    /// The sort of pack [default: by the name of FILE, else tar]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// How the contents of a zip are compressed; zstd is for 7-Zip and its like: unzip does not know it [default: deflate]
    #[arg(long, value_enum, value_name = "METHOD")]
    compression: Option<CompressionArg>,
    /// How hard to compress: zstd 1 to 19 [default: 3], gzip 1 to 9 [default: 5], zips 1 to 9 [default: 3]
    #[arg(long, value_name = "N")]
    level: Option<i32>,
    #[command(flatten)]
    seal: SealArgs,
    /// Write no more than this; of what would be longer nothing is left (64K, 100M, 4G)
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    max_size: Option<u64>,
    /// Do not read back what was written
    #[arg(long)]
    no_validate: bool,
    /// Exit with 0 though stock tools do not get these things out of the pack, or any
    #[arg(long, value_parser = accepted(), value_name = "SORT", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "all")]
    accept_loss: Vec<Accepted>,
    /// Write nothing: tell which snapshots this pack (- for standard input) is of, and whether its bytes are those that were written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "output", "bare", "with_views", "layout", "format", "compression", "level", "max_size", "no_validate", "accept_loss"], value_hint = ValueHint::FilePath)]
    check: Option<PathBuf>,
}

/// A pack that was written, or with --check, what is known of one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ExportJson {
    Written(Box<report::WrittenJson>),
    Checked(check::CheckedJson),
}

/// A sum as digits.
fn hex(sum: &[u8; 32]) -> String {
    sum.iter().map(|b| format!("{b:02x}")).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Tar,
    #[value(name = "tar.zst", alias = "tzst")]
    TarZst,
    #[value(name = "tar.gz", alias = "tgz")]
    TarGz,
    Zip,
    /// As older archives are sealed: with the password in `SNAPSHOT_ENCRYPTION_KEY`, of --key-file, or asked for
    #[value(name = "zip.enc")]
    ZipEnc,
    Dir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    Stored,
    Deflate,
    Zstd,
}

/// Losses that are accepted: all, or one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    All,
    Sort(Loss),
}

fn accepted() -> impl TypedValueParser<Value = Accepted> {
    let words = std::iter::once("all").chain(Loss::ALL.map(Loss::as_str));
    PossibleValuesParser::new(words)
        .map(|word| Loss::ALL.into_iter().find(|loss| loss.as_str() == word).map_or(Accepted::All, Accepted::Sort))
}

impl ExportArgs {
    fn accepts(&self, loss: Loss) -> bool {
        self.accept_loss.iter().any(|accepted| matches!(accepted, Accepted::All) || *accepted == Accepted::Sort(loss))
    }
}

pub(super) fn run(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    if let Some(file) = &args.check {
        return check::run(file, global, out);
    }
    let Some(output) = &args.output else { return Ok(Outcome::Done) };
    let places = args.what.iter().map(|w| Place::parse(w)).collect::<Result<Vec<_>, _>>()?;
    let scratch = std::env::temp_dir();
    let mut settled = settle(args, output, &scratch);
    if args.layout == Some(layout::LayoutName::Investigation) {
        settled = layout::settle(args, output, &scratch);
    }
    let Settled { options, is_enc, says_age } = settled?;
    let to_stdout = output == Path::new("-");
    refuse_stdout(to_stdout, options.format, out)?;
    let store = context::open_for_stream(Role::Owner, "exporting", global)?;
    let found = places.iter().map(|p| p.find(&store)).collect::<Result<Vec<_>, _>>()?;
    let policy = if args.bare { policy_of(&found)? } else { None };
    let seal = args.seal.seal(is_enc, policy.as_ref(), global)?;
    if policy.is_some_and(|policy| policy.enabled) && seal.is_none() && options.format != Format::Dir {
        let message =
            "the dataset's policy says that its packs are sealed, and this one would not be; nothing was written";
        return Err(CliError::new(Kind::Usage, message).hint("name it .zip.enc, or recipients with -r or -R"));
    }
    if seal.is_some() && options.format == Format::Dir {
        return Err(CliError::new(Kind::Usage, "a folder cannot be sealed").hint("choose another --format"));
    }
    if says_age && seal.is_none() {
        let message = format!("the name {} says that the pack is sealed, and for nobody", output.display());
        return Err(CliError::new(Kind::Usage, message).hint("name recipients with -r or -R, or ask for --passphrase"));
    }
    let subjects = subjects(&found, args.with_views);
    subjects.iter().try_for_each(Subject::check)?;
    if args.bare && subjects.len() > 1 {
        return Err(CliError::new(Kind::Usage, "a bare pack holds parts of one snapshot")
            .hint("without --bare each snapshot has a folder of its own"));
    }
    tell_lacking(&found, out);
    let max_size = layout::max_size(args);
    let file = if to_stdout { None } else { Some(PackFile::new(output, &store, global)?) };
    let bar = Bar::start(out, "export");
    let extent = subjects.iter().map(Subject::extent);
    let (items, bytes) = extent.fold((0, 0_u64), |(i, b), (items, bytes)| (i + items, b.saturating_add(bytes)));
    bar.expect(items, bytes);
    let laid = args.layout.map(|name| layout::prepare(name, &found, max_size, out, &bar)).transpose()?;
    let job = target::Job {
        subjects: &subjects,
        laid: laid.as_ref(),
        options,
        seal: seal.as_ref(),
        max_size,
        validate: !args.no_validate,
        bar: &bar,
    };
    let written = job.run(file.as_ref());
    bar.finish();
    let written = written?;
    store.note_reads(context::now());
    let recorded = record(&store, output, &subjects, &written, out);
    let seal = seal.as_ref();
    if let Some(remark) = misnamed(args, output, options.format, seal) {
        out.remark(&format!("larder: {}: {remark}", output.display()));
    }
    let report =
        Report { laid: laid.as_ref(), args, output, options, seal, subjects: &subjects, written: &written, recorded };
    report.tell(&references(&subjects, &bar)?, out)?;
    Ok(outcome(args, &written.packing))
}

/// How packs of a dataset of records are to be sealed, if that is what is packed.
fn policy_of(found: &[Found]) -> Result<Option<EncryptionPolicy>, CliError> {
    let Some(first) = found.first() else { return Ok(None) };
    let Some(dataset) = Dataset::of(&first.pages, &first.manifest)? else { return Ok(None) };
    Ok(Some(dataset.manifest()?.encryption_policy))
}

fn refuse_stdout(to_stdout: bool, format: Format, out: &Output) -> Result<(), CliError> {
    if !to_stdout {
        return Ok(());
    }
    let word = format.as_str();
    if format == Format::Dir {
        return Err(CliError::new(Kind::Usage, "a folder cannot go to standard output").hint("name a folder with -o"));
    }
    if io::stdout().is_terminal() {
        return Err(CliError::new(Kind::Usage, format!("a {word} does not belong on a terminal"))
            .hint("name a file with -o, or use a pipe"));
    }
    if out.json() {
        return Err(CliError::new(Kind::Usage, "--json and a pack cannot both go to standard output")
            .hint("name a file with -o"));
    }
    Ok(())
}

/// Each snapshot once, in the order in which they were named, with all that is wanted of it.
fn subjects(found: &[Found], views: bool) -> Vec<Subject> {
    let mut ids: Vec<SnapshotId> = Vec::new();
    for one in found {
        if !ids.contains(&one.id) {
            ids.push(one.id);
        }
    }
    let subject = |id: &SnapshotId| {
        let own = || found.iter().filter(|f| f.id == *id);
        let starts = own().map(|f| (f.path.clone().into(), f.entry.clone())).collect();
        let subject = own().next().map(|first| Subject::new(&first.pages, *id, &first.manifest, starts));
        subject.map(|subject| if views { subject.with_views() } else { subject })
    };
    ids.iter().filter_map(subject).collect()
}

fn tell_lacking(found: &[Found], out: &Output) {
    let mut told: Vec<SnapshotId> = Vec::new();
    for one in found.iter().filter(|f| f.lacking().is_some()) {
        if !told.contains(&one.id) {
            told.push(one.id);
            let lacking = one.lacking().unwrap_or_default();
            out.remark(&format!("larder: {lacking} when it was captured"));
        }
    }
}

/// Remembers the pack, so that --check knows it. What stands in the way of that does not make the pack worse.
fn record(store: &Store, output: &Path, subjects: &[Subject], written: &Written, out: &Output) -> bool {
    let Some(sum) = &written.sum else { return false };
    let ids: Vec<_> = subjects.iter().map(Subject::id).collect();
    let name =
        Some(output).filter(|_| written.is_file).and_then(Path::file_name).map(std::os::unix::ffi::OsStrExt::as_bytes);
    let begun = std::time::Instant::now();
    let patience = || begun.elapsed() < std::time::Duration::from_secs(10);
    let kept = store.keep_pack(sum, name, &ids, context::now(), &patience);
    if let Err(e) = &kept {
        out.remark(&format!("larder: the store does not remember this pack, so --check will not know it: {e}"));
    }
    kept.is_ok()
}

fn outcome(args: &ExportArgs, packing: &Packing) -> Outcome {
    if packing.losses.iter().all(|(loss, ..)| args.accepts(loss)) { Outcome::Done } else { Outcome::Partial }
}

/// What is asked for, or what the file's name says.
struct Settled<'a> {
    options: Options<'a>,
    /// It is sealed as older archives are.
    is_enc: bool,
    /// The name says that it is an age file.
    says_age: bool,
}

/// Format and level, as asked for or as the file's name says.
fn settle<'a>(args: &ExportArgs, output: &Path, scratch: &'a Path) -> Result<Settled<'a>, CliError> {
    let named = Named::of(output);
    let is_enc = args.format == Some(FormatArg::ZipEnc) || (args.format.is_none() && named.is_enc);
    let format = match args.format {
        Some(FormatArg::ZipEnc) => Format::Zip(Compression::Deflate),
        Some(FormatArg::Tar) => Format::Tar,
        Some(FormatArg::TarZst) => Format::TarZst,
        Some(FormatArg::TarGz) => Format::TarGz,
        Some(FormatArg::Zip) => Format::Zip(Compression::Deflate),
        Some(FormatArg::Dir) => Format::Dir,
        None => named.format.ok_or_else(|| {
            CliError::new(Kind::Usage, format!("{} names a format that there is not", output.display()))
                .hint("name it .tar, .tar.zst, .tar.gz, .zip or .zip.enc, with .age behind if it is sealed, or choose with --format")
        })?,
    };
    let format = match (format, args.compression) {
        (other, None) => other,
        (Format::Zip(_), Some(CompressionArg::Stored)) => Format::Zip(Compression::Stored),
        (Format::Zip(_), Some(CompressionArg::Deflate)) => Format::Zip(Compression::Deflate),
        (Format::Zip(_), Some(CompressionArg::Zstd)) => Format::Zip(Compression::Zstd),
        (other, Some(_)) => {
            let message = format!("--compression is for zips; the pack would be a {}", other.as_str());
            return Err(CliError::new(Kind::Usage, message).hint("of tars the format says it: tar, tar.gz, tar.zst"));
        }
    };
    let options = Options { format, level: args.level, bare: args.bare, scratch };
    match (args.level, format.levels()) {
        (Some(level), Some(levels)) if !levels.contains(&level) => {
            let (least, most) = levels.into_inner();
            Err(CliError::new(Kind::Usage, format!("{} has the levels {least} to {most}", format.as_str())))
        }
        (Some(_), None) => {
            Err(CliError::new(Kind::Usage, format!("this {} is not compressed and has no level", format.as_str()))
                .hint("--format tar.zst is compressed"))
        }
        _ => Ok(Settled { options, is_enc, says_age: named.is_age }),
    }
}

/// Endings of archives that are not written, or that say how something is compressed and not what.
const OTHERS: &[&str] = &[
    ".gz",
    ".xz",
    ".txz",
    ".bz2",
    ".tbz",
    ".tbz2",
    ".lz",
    ".lz4",
    ".lzma",
    ".tlz",
    ".lzo",
    ".br",
    ".zst",
    ".zstd",
    ".tzstd",
    ".z",
    ".7z",
    ".rar",
    ".cpio",
    ".iso",
    ".sqfs",
    ".squashfs",
];

/// What a file's name says that its bytes do not.
fn misnamed(args: &ExportArgs, output: &Path, format: Format, sealed: Option<&Seal>) -> Option<&'static str> {
    let name = output.file_name()?.as_encoded_bytes().to_ascii_lowercase();
    // Devices and pipes are called as they are.
    let is_plain = output != Path::new("-") && output.metadata().map_or(true, |meta| meta.is_file());
    let ends = |end: &str| name.ends_with(end.as_bytes());
    match sealed {
        _ if !is_plain => None,
        Some(Seal::Age(_) | Seal::Passphrase(_)) if !ends(".age") => {
            Some("it is sealed by age, which its name does not say: call it .age")
        }
        Some(Seal::Password(_)) if !ends(".enc") => {
            Some("it is sealed as a zip.enc, which its name does not say: call it .zip.enc")
        }
        None if args.format.is_none() && format == Format::Tar && !ends(".tar") && name.contains(&b'.') => {
            Some("its name says no format that is known: a tar was written")
        }
        _ => None,
    }
}

/// What a file's name says of a pack.
struct Named {
    /// Nothing if it names a format that there is not.
    format: Option<Format>,
    is_enc: bool,
    is_age: bool,
}

impl Named {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
        let (name, is_age) = name.strip_suffix(b".age").map_or((&name[..], false), |inner| (inner, true));
        let (name, is_enc) = name.strip_suffix(b".enc").map_or((name, false), |inner| (inner, true));
        let ends = |list: &[&str]| list.iter().any(|end| name.ends_with(end.as_bytes()));
        let format = if ends(&[".tar.zst", ".tzst"]) {
            Some(Format::TarZst)
        } else if ends(&[".tar.gz", ".tgz"]) {
            Some(Format::TarGz)
        } else if ends(&[".zip"]) {
            Some(Format::Zip(Compression::Deflate))
        } else if ends(OTHERS) || (name.windows(5).any(|part| part == b".tar.") && !ends(&[".tar"])) {
            None
        } else {
            Some(Format::Tar)
        };
        // Nothing but a zip is sealed in that way, and nothing is sealed twice.
        let format = format.filter(|f| !is_enc || (matches!(f, Format::Zip(_)) && !is_age));
        Self { format, is_enc, is_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        let format = |name: &str| {
            let Named { format, is_enc, is_age } = Named::of(Path::new(name));
            (format, is_enc, is_age)
        };
        let zip = Some(Format::Zip(Compression::Deflate));
        for (name, wanted) in [
            ("-", (Some(Format::Tar), false, false)),
            ("a/b.tar", (Some(Format::Tar), false, false)),
            ("no.extension", (Some(Format::Tar), false, false)),
            ("x.tar.zst", (Some(Format::TarZst), false, false)),
            ("X.TZST.age", (Some(Format::TarZst), false, true)),
            ("x.zip", (zip, false, false)),
            ("x.zip.enc", (zip, true, false)),
            ("x.zip.age", (zip, false, true)),
            ("x.zip.enc.age", (None, true, true)),
            ("x.tar.enc", (None, true, false)),
            ("x.tar.gz", (Some(Format::TarGz), false, false)),
            ("x.tar.xz", (None, false, false)),
            ("x.tar.zstd", (None, false, false)),
            ("x.zstd", (None, false, false)),
            ("x.tar.foo", (None, false, false)),
            ("x.tar.2024.tar", (Some(Format::Tar), false, false)),
            ("x.7z", (None, false, false)),
        ] {
            assert_eq!(format(name), wanted, "{name}");
        }
    }
}
