//! What the user named, as records: lines, one JSON, a list, a folder, a pack; with whatever lies around it taken off.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use clap::Args;

use crate::archives::{self, Input, Keys, Opened, OpenedOrText};
use crate::model::{Failure, Kind, Progress};
use crate::ops::records::{Files, Indexed, LeftOut, SeenAgain, Source, Stream, is_text, pack_lines};
use crate::records::DatasetManifest;

use super::super::error::CliError;
use super::super::output::{Output, counted};
use super::super::pack_input;
use super::super::progress::Bar;

/// Bytes that are looked at to tell what a file is.
const LOOKED_AT: u64 = 256;

/// The texts, and the manifest that lies beside them.
pub(super) struct Given {
    pub(super) source: Box<dyn Source>,
    pub(super) manifest: Option<DatasetManifest>,
    /// Of a folder: what holds no records.
    pub(super) left_out: LeftOut,
}

/// How much what was given may make of itself.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RatioArgs {
    /// Bytes that may come out of each that is stored in what is compressed, once 64 MiB have come out [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_ratio: Option<u64>,
}

impl RatioArgs {
    /// Limits of archives, and of what lies around texts.
    fn limits(&self) -> archives::Limits {
        let usual = archives::Limits::default();
        limits_of_packs(archives::Limits { ratio: self.max_ratio.unwrap_or(usual.ratio), ..usual })
    }
}

/// Files left out that are told where nobody asked for JSON.
const TOLD: usize = 20;

impl Given {
    /// Tells what is left out.
    pub(super) fn remark(&self, out: &Output) {
        let LeftOut { count, told } = &self.left_out;
        for (file, why) in told.iter().take(TOLD) {
            out.remark(&format!("larder: {file} is left out: {why}"));
        }
        if *count > TOLD as u64 {
            let more = counted(count - TOLD as u64, "more file is", "more files are");
            out.remark(&format!("larder: … and {more} left out"));
        }
    }
}

/// Makes the keys when something is met that may be sealed.
pub(super) type MakeKeys<'a> = &'a dyn Fn() -> Result<Box<dyn Keys + 'a>, CliError>;

/// Opens what the user named.
pub(super) fn open(path: &Path, keys: MakeKeys<'_>, ratio: &RatioArgs, bar: &Bar) -> Result<Given, CliError> {
    let limits = ratio.limits();
    if path.is_dir() {
        return folder(path, &limits);
    }
    if path == Path::new("-") && io::stdin().is_terminal() {
        return Err(CliError::new(Kind::Usage, "standard input is a terminal; records come through a pipe"));
    }
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let unread = |e: io::Error| unreadable(&shown, &e);
    let text =
        |text| Given { source: Box::new(Stream::new(text, "", &shown)), manifest: None, left_out: LeftOut::default() };
    let (mut input, mut start) = (pack_input::input(path, bar)?, Vec::new());
    match &mut input {
        Input::Seekable(from) => {
            from.take(LOOKED_AT).read_to_end(&mut start).map_err(unread)?;
            from.rewind().map_err(unread)?;
        }
        Input::Stream(from) => _ = from.take(LOOKED_AT).read_to_end(&mut start).map_err(unread)?,
    }
    let is_plain = match path.extension().and_then(|end| end.to_str()) {
        Some("enc") => false,
        Some("ndjson" | "jsonl" | "json") => !archives::is_wrapped(&start),
        _ => is_text(&start),
    };
    let input = match input {
        Input::Stream(rest) => Input::Stream(Box::new(io::Cursor::new(start).chain(rest))),
        whole @ Input::Seekable(_) => whole,
    };
    if is_plain {
        return Ok(text(match input {
            Input::Seekable(from) => Box::new(from) as Box<dyn Read + Send>,
            Input::Stream(from) => from,
        }));
    }
    // A password seals archives alone, and may give any bytes.
    let is_text = |start: &[u8]| path.extension().is_none_or(|end| end != "enc") && is_text(start);
    let opened = archives::open_or_text(input, &*keys()?, &limits, bar, &is_text);
    match opened.map_err(|e| failed(path, e))? {
        OpenedOrText::Text(inner) => Ok(text(inner)),
        OpenedOrText::Archive(archive) => pack(path, archive.opened, &limits),
    }
}

/// What is wrong with an archive. Of the options that move its limits these commands have one.
fn failed<E: Failure>(path: &Path, error: E) -> CliError {
    let told = pack_input::failed(path, error);
    if ["(--max-members)", "(--max-depth)", "(--max-nesting)"].iter().any(|option| told.message.ends_with(option)) {
        return told.hint("that is an option of `larder import`, which takes packs of records too");
    }
    told
}

fn unreadable(what: &str, error: &io::Error) -> CliError {
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
    CliError::new(kind, format!("cannot read {what}: {error}"))
}

/// A folder of files, or a pack that lies there.
pub(super) fn folder(path: &Path, limits: &archives::Limits) -> Result<Given, CliError> {
    let beside = path.join("manifest.json");
    let manifest = match std::fs::read(&beside) {
        Ok(bytes) => {
            let parsed = DatasetManifest::parse(&bytes);
            Some(parsed.map_err(|e| CliError::new(Kind::Usage, format!("{}: {e}", beside.display())))?)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(unreadable(&beside.display().to_string(), &e)),
    };
    let mut files = Files::of(path, limits)?;
    let (seen_again, left_out) = (files.has_sightings(), files.take_left_out());
    Ok(Given { source: with_sightings(Indexed::new(files), seen_again), manifest, left_out })
}

/// The lines of a pack that was opened.
pub(super) fn pack(path: &Path, opened: Opened, limits: &archives::Limits) -> Result<Given, CliError> {
    let (lines, manifest) = pack_lines(opened, limits, &std::env::temp_dir()).map_err(|e| failed(path, e))?;
    let parsed = manifest.map(|bytes| DatasetManifest::parse(&bytes)).transpose();
    let manifest = parsed.map_err(|e| CliError::new(Kind::Usage, format!("{}: manifest.json: {e}", path.display())))?;
    let seen_again = lines.has_sightings();
    Ok(Given { source: with_sightings(Indexed::new(lines), seen_again), manifest, left_out: LeftOut::default() })
}

fn with_sightings(source: impl Source + 'static, has_some: bool) -> Box<dyn Source> {
    if has_some { Box::new(SeenAgain::new(source, &std::env::temp_dir())) } else { Box::new(source) }
}

/// That somebody stopped what was waiting for input: the reader had no other way to say so.
pub(super) fn or_interrupted(error: CliError, bar: &Bar, what: &str) -> CliError {
    if error.kind == Kind::Failed && bar.cancelled() { CliError::new(Kind::Interrupted, what) } else { error }
}

/// Names in the view of a pack may differ in letter case alone: nobody makes files of them.
pub(super) fn limits_of_packs(limits: archives::Limits) -> archives::Limits {
    archives::Limits { alike: archives::Alike::Tell, ..limits }
}
