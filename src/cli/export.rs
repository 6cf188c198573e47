//! `larder export`

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Kind, Progress, Role};
use crate::packs::{Format, Loss, PackError, Packing, export};

use super::context;
use super::error::CliError;
use super::output::{Output, counted, human_bytes, stdout_unbuffered};
use super::pack_file::PackFile;
use super::place::{Found, Place};
use super::progress::Bar;
use super::{Global, Outcome};

/// Write a snapshot, or parts of it, as a tar or zip
///
/// A tar carries everything. A zip does not carry owners, attributes, holes, hard links, devices, pipes, nor times below a second;
/// names that are not UTF-8, or that could lead an extractor or a terminal astray, are written with U+FFFD and the hex digits of each
/// such byte. Names in one folder that differ in letter case alone, or in how accents are written, are one name to Windows and macOS.
/// What of this a snapshot has is told, and the exit status is 3 unless --accept-loss.
///
/// The same snapshot gives the same bytes: tar for ever, tar.zst and zip with the same version of Larder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder export --bare latest -o tree.tar.zst
  larder export --bare latest:docs -o docs.zip --accept-loss=owners,times
  larder export --bare home:docs home:mail -o - | tar -tf -")]
pub(super) struct ExportArgs {
    /// What: a snapshot, or several parts of one
    #[arg(value_name = "SNAP[:PATH]", required = true)]
    what: Vec<OsString>,
    /// Where to: a file, or - for standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
    /// Only the tree, without a manifest around it (the one form of this version)
    #[arg(long, required = true)]
    bare: bool,
    /// The sort of pack [default: by the name of FILE, else tar]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// How hard to compress: tar.zst 1 to 19 [default: 3], zip 1 to 9 [default: 5]
    #[arg(long, value_name = "N")]
    level: Option<i32>,
    /// Exit with 0 though the format cannot carry these things, or any
    #[arg(long, value_enum, value_name = "SORT", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "all")]
    accept_loss: Vec<LossArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Tar,
    #[value(name = "tar.zst", alias = "tzst")]
    TarZst,
    Zip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LossArg {
    All,
    Owners,
    Times,
    Attributes,
    Holes,
    HardLinks,
    Special,
    Names,
    Case,
}

impl LossArg {
    fn covers(self, loss: Loss) -> bool {
        match self {
            Self::All => true,
            Self::Owners => loss == Loss::Owners,
            Self::Times => loss == Loss::Times,
            Self::Attributes => loss == Loss::Attributes,
            Self::Holes => loss == Loss::Holes,
            Self::HardLinks => loss == Loss::HardLinks,
            Self::Special => loss == Loss::Special,
            Self::Names => loss == Loss::Names,
            Self::Case => loss == Loss::Case,
        }
    }
}

/// A pack that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExportJson {
    /// The snapshot's id.
    snapshot: String,
    /// The file, or `-`.
    output: String,
    /// `tar`, `tar.zst` or `zip`.
    format: &'static str,
    /// The rules that the bytes follow.
    canonical_form: &'static str,
    /// How hard it is compressed; nothing if it is not.
    level: Option<i32>,
    /// Files, folders and links in it.
    members: u64,
    /// Its size.
    bytes: u64,
    /// What the format cannot carry, by sort.
    losses: Vec<LossJson>,
}

/// Something that a format cannot carry.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LossJson {
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

/// What is written, and how.
struct Job<'a> {
    found: &'a [Found],
    format: Format,
    level: Option<i32>,
    bar: &'a Bar,
}

pub(super) fn run(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let places = args.what.iter().map(|w| Place::parse(w)).collect::<Result<Vec<_>, _>>()?;
    let (format, level) = settle(args)?;
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(CliError::new(Kind::Usage, format!("a {} does not belong on a terminal", format.as_str()))
            .hint("name a file with -o, or use a pipe"));
    }
    if to_stdout && out.json() {
        return Err(CliError::new(Kind::Usage, "--json and a pack cannot both go to standard output")
            .hint("name a file with -o"));
    }
    let store = context::open_for(Role::Owner, "exporting", global)?;
    let found = places.iter().map(|p| p.find(&store)).collect::<Result<Vec<_>, _>>()?;
    let [first, rest @ ..] = found.as_slice() else { return Ok(Outcome::Done) };
    if rest.iter().any(|f| f.id != first.id) {
        return Err(CliError::new(Kind::Usage, "a bare pack holds parts of one snapshot"));
    }
    if let Some(lacking) = first.lacking() {
        out.remark(&format!("larder: {lacking} when it was captured"));
    }
    let file = if to_stdout { None } else { Some(PackFile::new(&args.output, &store, global)?) };
    let bar = Bar::start(out, "export");
    bar.expect(found.iter().map(|f| f.extent().0).sum(), found.iter().map(|f| f.extent().1).sum());
    let job = Job { found: &found, format, level, bar: &bar };
    let packed = match &file {
        None => job.pack(&mut stdout_unbuffered()?),
        Some(file) => job.to_file(file),
    };
    bar.finish();
    let packed = packed?;
    store.note_reads(context::now());
    let losses = losses(args, &packed);
    if out.json() {
        out.print_json(&ExportJson {
            snapshot: first.id.to_string(),
            output: args.output.to_string_lossy().into_owned(),
            format: format.as_str(),
            canonical_form: format.canonical_form(),
            level: level.or(format.default_level()),
            members: packed.members,
            bytes: packed.bytes,
            losses,
        })?;
        return Ok(outcome(args, &packed));
    }
    for loss in losses {
        let names = if loss.examples.is_empty() { String::new() } else { format!(": {}", loss.examples.join(", ")) };
        let more = if loss.examples.len() < usize::try_from(loss.items).unwrap_or(usize::MAX) && !names.is_empty() {
            ", …"
        } else {
            ""
        };
        out.remark(&format!(
            "larder: {}: {} ({}){names}{more}",
            loss.sort,
            loss.what,
            counted(loss.items, "item", "items")
        ));
    }
    out.remark(&format!("wrote {}, {}", counted(packed.members, "member", "members"), human_bytes(packed.bytes)));
    Ok(outcome(args, &packed))
}

fn losses(args: &ExportArgs, packed: &Packing) -> Vec<LossJson> {
    let json = |(loss, items, examples): (Loss, u64, &[String])| LossJson {
        sort: loss.as_str(),
        what: loss.explained(),
        items,
        examples: examples.to_vec(),
        accepted: args.accept_loss.iter().any(|a| a.covers(loss)),
    };
    packed.losses.iter().map(json).collect()
}

fn outcome(args: &ExportArgs, packed: &Packing) -> Outcome {
    let accepted = |loss| args.accept_loss.iter().any(|a| a.covers(loss));
    if packed.losses.iter().all(|(loss, ..)| accepted(loss)) { Outcome::Done } else { Outcome::Partial }
}

/// Format and level, as asked for or as the file's name says.
fn settle(args: &ExportArgs) -> Result<(Format, Option<i32>), CliError> {
    let format = match args.format {
        Some(FormatArg::Tar) => Format::Tar,
        Some(FormatArg::TarZst) => Format::TarZst,
        Some(FormatArg::Zip) => Format::Zip,
        None => by_name(&args.output)?,
    };
    match (args.level, format.levels()) {
        (Some(level), Some(levels)) if !levels.contains(&level) => {
            let (least, most) = levels.into_inner();
            Err(CliError::new(Kind::Usage, format!("{} has the levels {least} to {most}", format.as_str())))
        }
        (Some(_), None) => Err(CliError::new(Kind::Usage, "a tar is not compressed and has no level")
            .hint("--format tar.zst is compressed")),
        (level, _) => Ok((format, level)),
    }
}

fn by_name(path: &Path) -> Result<Format, CliError> {
    let name = path.file_name().unwrap_or_default().as_bytes().to_ascii_lowercase();
    let ends = |list: &[&str]| list.iter().any(|end| name.ends_with(end.as_bytes()));
    if ends(&[".tar.zst", ".tzst"]) {
        Ok(Format::TarZst)
    } else if ends(&[".zip"]) {
        Ok(Format::Zip)
    } else if ends(&[".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".lz4", ".zst", ".7z", ".rar"]) {
        Err(CliError::new(Kind::Usage, format!("{} names a format that there is not", path.display()))
            .hint("name it .tar, .tar.zst or .zip, or choose with --format"))
    } else {
        Ok(Format::Tar)
    }
}

impl Job<'_> {
    fn pack(&self, out: &mut dyn Write) -> Result<Packing, CliError> {
        let [first, ..] = self.found else { return Ok(Packing::default()) };
        let starts = self.found.iter().map(|f| (f.path.clone().into(), f.entry.clone())).collect();
        match export(&first.pages, starts, self.format, self.level, out, self.bar) {
            Err(PackError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(CliError::output(&e)),
            other => Ok(other?),
        }
    }

    fn to_file(&self, file: &PackFile) -> Result<Packing, CliError> {
        match file.stream(|| self.bar.cancelled())? {
            Some(mut stream) => self.pack(&mut stream),
            None => file.replace(|out| self.pack(out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        let format = |name: &str| by_name(Path::new(name)).map_err(|e| e.kind);
        for (name, wanted) in [
            ("-", Ok(Format::Tar)),
            ("a/b.tar", Ok(Format::Tar)),
            ("no.extension", Ok(Format::Tar)),
            ("x.tar.zst", Ok(Format::TarZst)),
            ("X.TZST", Ok(Format::TarZst)),
            ("x.zip", Ok(Format::Zip)),
            ("x.tar.gz", Err(Kind::Usage)),
            ("x.7z", Err(Kind::Usage)),
        ] {
            assert_eq!(format(name), wanted, "{name}");
        }
    }
}
