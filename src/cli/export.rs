//! `larder export`

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::model::{Kind, Progress};
use crate::packs::PackError;
use crate::packs::tar::{self, Packing};

use super::context;
use super::error::CliError;
use super::output::{Output, human_bytes, stdout_unbuffered};
use super::place::{Found, Place};
use super::progress::Bar;
use super::{Global, Outcome};

/// Write a snapshot, or parts of it, as a tar
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  larder export --bare latest -o tree.tar\n  larder export --bare home:docs home:mail -o - | tar -tf -"
)]
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
}

pub(super) fn run(args: &ExportArgs, global: &Global, out: &Output) -> Result<Outcome, CliError> {
    let places = args.what.iter().map(|w| Place::parse(w)).collect::<Result<Vec<_>, _>>()?;
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(CliError::new(Kind::Usage, "a tar does not belong on a terminal")
            .hint("name a file with -o, or use a pipe"));
    }
    if to_stdout && out.json() {
        return Err(CliError::new(Kind::Usage, "--json and a tar cannot both go to standard output")
            .hint("name a file with -o"));
    }
    let store = context::open_named(global)?;
    let found = places.iter().map(|p| p.find(&store)).collect::<Result<Vec<_>, _>>()?;
    let [first, rest @ ..] = found.as_slice() else { return Ok(Outcome::Done) };
    if rest.iter().any(|f| f.id != first.id) {
        return Err(CliError::new(Kind::Usage, "a bare tar holds parts of one snapshot"));
    }
    let bar = Bar::start(out, "export");
    bar.expect(found.iter().map(|f| f.extent().0).sum(), found.iter().map(|f| f.extent().1).sum());
    let packed =
        if to_stdout { pack(&found, &mut stdout_unbuffered()?, &bar) } else { to_file(&found, &args.output, &bar) };
    bar.finish();
    let packed = packed?;
    if out.json() {
        out.print_json(&json!({
            "snapshot": first.id.to_string(), "output": args.output, "format": "tar", "canonical_form": "tar-v1",
            "members": packed.members, "bytes": packed.bytes, "not_carried": packed.not_carried,
        }))?;
    } else {
        out.remark(&format!("wrote {} members, {}", packed.members, human_bytes(packed.bytes)));
    }
    Ok(if packed.not_carried > 0 { Outcome::Partial } else { Outcome::Done })
}

fn pack(found: &[Found], out: &mut dyn Write, bar: &Bar) -> Result<Packing, CliError> {
    let [first, ..] = found else { return Ok(Packing::default()) };
    let starts = found.iter().map(|f| (f.path.clone().into(), f.entry.clone())).collect();
    match tar::export(&first.pages, starts, out, bar) {
        Err(PackError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(CliError::output(&e)),
        other => Ok(other?),
    }
}

/// Writes beside, syncs, renames: there is never a half file under the final name.
fn to_file(found: &[Found], path: &Path, bar: &Bar) -> Result<Packing, CliError> {
    let fail = |e: io::Error| CliError::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    // A device or a pipe takes the bytes as they come.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return pack(found, &mut File::options().write(true).open(path).map_err(fail)?, bar);
    }
    let name = path.file_name().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = dir.join(beside);
    let mut file = File::options().write(true).create_new(true).open(&beside).map_err(fail)?;
    let packed = pack(found, &mut file, bar).and_then(|packed| {
        let put =
            file.sync_all().and_then(|()| std::fs::rename(&beside, path)).and_then(|()| File::open(dir)?.sync_all());
        put.map(|()| packed).map_err(fail)
    });
    if packed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    packed
}
