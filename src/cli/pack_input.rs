//! The archive that a command reads: a file that the user names, or standard input.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;

use crate::archives::{self, Archive, Input, Keys, Limits};
use crate::model::{DatasetName, Failure, Kind};
use crate::ops::laid_out;
use crate::packs::Audited;

use super::Outcome;
use super::error::CliError;
use super::output::{Output, counted, escaped};
use super::progress::Bar;
use super::stream::StandardInput;

/// Ends of names of archives, from the outside in.
const ENDS: [&str; 17] = [
    ".age", ".enc", ".zst", ".gz", ".xz", ".bz2", ".tzst", ".tgz", ".txz", ".tbz2", ".tbz", ".tar", ".zip", ".pax",
    ".ustar", ".gtar", ".jar",
];

/// Opens an archive, and takes off what lies around it; `-` is standard input. A folder is one that lies there unpacked.
pub(super) fn open(path: &Path, keys: &dyn Keys, limits: &Limits, bar: &Bar) -> Result<Archive, CliError> {
    if path != Path::new("-") && path.is_dir() {
        let opened = laid_out(path).map_err(|e| unreadable(path, &e))?;
        return Ok(Archive { opened, around: Vec::new() });
    }
    archives::open(input(path, bar)?, keys, limits, bar).map_err(|e| failed(path, e))
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
    CliError::new(kind, format!("cannot read {}: {error}", path.display()))
}

/// What the user named, not looked at yet; `-` is standard input.
pub(super) fn input(path: &Path, bar: &Bar) -> Result<Input, CliError> {
    if path != Path::new("-") {
        return Input::file(path).map_err(|e| unreadable(path, &e));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::new(Kind::Usage, "standard input is a terminal; an archive comes through a pipe"));
    }
    let none = |e: io::Error| CliError::new(Kind::Failed, format!("standard input cannot be read: {e}"));
    let file = File::from(stdin.as_fd().try_clone_to_owned().map_err(none)?);
    // What is redirected from a file can be read at any place.
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Input::from_file(file).map_err(none);
    }
    Ok(Input::Stream(Box::new(StandardInput::new(bar.stop()).map_err(none)?)))
}

/// What is wrong with an archive, with its name in front.
pub(super) fn failed<E: Failure>(path: &Path, error: E) -> CliError {
    let told = CliError::from(error);
    if matches!(told.kind, Kind::Interrupted) {
        return told;
    }
    let name = if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    CliError { message: format!("{name}: {}", told.message), ..told }
}

/// Tells what was strange about an archive. What its members had and nobody took is a loss: then not all was done.
pub(super) fn tell_met(path: &Path, met: &Audited, out: &Output) -> Outcome {
    let name = if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    let texts = met.remarks.strange.iter().chain(&met.remarks.lost);
    texts.for_each(|text| out.remark(&format!("larder: {name}: {}", escaped(text))));
    if met.alike > 0 {
        let examples: Vec<_> =
            met.alike_examples.iter().take(3).map(|name| escaped(&String::from_utf8_lossy(name))).collect();
        let names = counted(met.alike, "name is", "names are");
        out.remark(&format!(
            "larder: {name}: {names} like another but for letter case or accents, and cannot stand beside it on every system: {}",
            examples.join(", ")
        ));
    }
    if met.remarks.losses > 0 { Outcome::Partial } else { Outcome::Done }
}

/// The series that an archive goes to if nothing else says one: its file's name without what tells the format.
pub(super) fn default_dataset(path: &Path) -> DatasetName {
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    while let Some(end) = ENDS.iter().find(|end| name.to_ascii_lowercase().ends_with(**end) && name.len() > end.len()) {
        name.truncate(name.len() - end.len());
    }
    DatasetName::coerce(if name == "-" { "" } else { &name }, "default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_by_name() {
        for (name, dataset) in [
            ("a/linux-6.1.tar.xz", "linux-6.1"),
            ("x.TGZ", "x"),
            ("photos.zip.enc", "photos"),
            ("b.tar.zst.age", "b"),
            (".tar", ".tar"),
            ("-", "default"),
        ] {
            let expected = DatasetName::coerce(dataset, "default");
            assert_eq!(default_dataset(Path::new(name)), expected, "{name}");
        }
    }
}
