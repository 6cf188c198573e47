//! What lies around an archive, taken off: seals and compressions, told by content and never by name.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use crate::codec::{
    AgeForm, Bzip2Reader, FrameReader, Frames, FramesReader, GzipReader, Identity, PasswordError, PasswordReader,
    SealReader, Sealed, WrapError, XzReader, unarmoured_stream,
};
use crate::model::Progress;

use super::ahead::Ahead;
use super::meter::{Decoded, Meter};
use super::sort::{START, Sort, looks_sealed, may_be_sealed, nearly, sort};
use super::{ArchiveError, Keys, Limits, Members, Spool};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// The end record of a zip, without its comment.
const ZIP_END: usize = 22;

/// Where an archive comes from.
pub enum Input {
    /// What can be read at any place.
    Seekable(Box<dyn ReadSeek>),
    /// What comes once.
    Stream(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Seekable(_) => "Seekable",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Input {
    /// An opened file, whatever it is: a regular one can be read at any place, a pipe comes once. What was read of it before is no part of it.
    ///
    /// # Errors
    /// If it cannot be asked, or is a folder.
    pub fn from_file(mut file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if meta.is_file() && file.stream_position()? == 0 {
            return Ok(Self::Seekable(Box::new(file)));
        }
        Ok(Self::Stream(Box::new(file)))
    }

    /// A file by its name.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn file(path: &Path) -> io::Result<Self> {
        Self::from_file(File::open(path)?)
    }
}

/// An archive with nothing around it, and what lay there.
#[derive(Debug)]
pub struct Archive {
    /// The archive itself.
    pub opened: Opened,
    /// What lay around it, the outermost first.
    pub around: Vec<Layer>,
}

/// An archive with nothing around it.
pub enum Opened {
    /// A tar, from its first byte. Read to its end, it tells whether what lay around it was whole.
    Tar(Box<dyn Read + Send>),
    /// A zip.
    Zip(Box<dyn ReadSeek>),
    /// What gives members in some other way.
    Members(Box<dyn Members + Send>),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tar(_) => "Tar",
            Self::Zip(_) => "Zip",
            Self::Members(_) => "Members",
        })
    }
}

/// What can be read at any place.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Something around an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// An age file.
    Age,
    /// The seal of older archives (`.zip.enc`).
    Password,
    /// zstd.
    Zstd,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Layer {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Password => "zip.enc",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// What it is called in messages.
    fn described(self) -> &'static str {
        match self {
            Self::Age => "age file",
            Self::Password => "sealed archive",
            Self::Zstd => "zstd stream",
            Self::Gzip => "gzip stream",
            Self::Xz => "xz stream",
            Self::Bzip2 => "bzip2 stream",
        }
    }
}

/// Takes off what lies around an archive. `progress` is asked whether to go on, where it takes long: of what comes as a stream and must be read at any
/// place a sealed copy is made in a temporary file, and what a password seals is read once before anything of it is believed.
///
/// # Errors
/// [`ArchiveError::Unknown`] if it is no archive, [`ArchiveError::Key`] if nothing opens it.
pub fn open(input: Input, keys: &dyn Keys, limits: &Limits, progress: &dyn Progress) -> Result<Archive, ArchiveError> {
    match open_or_text(input, keys, limits, progress, &|_| false)? {
        OpenedOrText::Archive(archive) => Ok(archive),
        OpenedOrText::Text(_) => Err(ArchiveError::Unknown("it is a text".to_owned())),
    }
}

/// An archive, or a text in its place.
pub enum OpenedOrText {
    /// An archive.
    Archive(Archive),
    /// A text with nothing around it, from its first byte.
    Text(Box<dyn Read + Send>),
}

impl std::fmt::Debug for OpenedOrText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Archive(archive) => archive.fmt(f),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

/// True of what begins as a compression, an age file or a zip does.
#[must_use]
pub fn is_wrapped(start: &[u8]) -> bool {
    matches!(sort(start), Sort::Age(_) | Sort::Zstd | Sort::Gzip | Sort::Xz | Sort::Bzip2 | Sort::Zip)
}

/// The same where a text may stand in place of an archive, inside of whatever lies around it: `is_text` tells by what it begins with.
///
/// # Errors
/// As [`open`].
pub fn open_or_text(
    input: Input,
    keys: &dyn Keys,
    limits: &Limits,
    progress: &dyn Progress,
    is_text: &dyn Fn(&[u8]) -> bool,
) -> Result<OpenedOrText, ArchiveError> {
    let mut opening = Opening { keys, limits, progress, is_text, meter: Meter::default(), around: Vec::new() };
    let mut source = match input {
        Input::Seekable(from) => Source::Seekable(from),
        Input::Stream(from) => Source::Stream(Box::new(opening.meter.count(from))),
    };
    loop {
        match opening.step(source)? {
            Step::Further(next) => source = next,
            Step::Done(opened) => return Ok(OpenedOrText::Archive(Archive { opened, around: opening.around })),
            Step::Text(text) => return Ok(OpenedOrText::Text(text)),
        }
    }
}

/// What is being looked at.
enum Source {
    Seekable(Box<dyn ReadSeek>),
    Stream(Box<dyn Read + Send>),
}

enum Step {
    Further(Source),
    Done(Opened),
    Text(Box<dyn Read + Send>),
}

struct Opening<'a> {
    keys: &'a dyn Keys,
    limits: &'a Limits,
    progress: &'a dyn Progress,
    is_text: &'a dyn Fn(&[u8]) -> bool,
    meter: Meter,
    around: Vec<Layer>,
}

impl Opening<'_> {
    fn step(&mut self, mut source: Source) -> Result<Step, ArchiveError> {
        let mut start = Vec::with_capacity(START);
        match &mut source {
            Source::Seekable(from) => {
                from.take(START as u64).read_to_end(&mut start)?;
                from.rewind()?;
            }
            Source::Stream(from) => {
                from.take(START as u64).read_to_end(&mut start)?;
            }
        }
        let found = sort(&start);
        log::debug!("the archive begins as {found:?}");
        match (found, source) {
            (Sort::Unknown | Sort::Empty, source) if (self.is_text)(&start) => {
                Ok(Step::Text(self.stream(source, start)))
            }
            (Sort::Zip, Source::Seekable(from)) => Ok(Step::Done(Opened::Zip(from))),
            (Sort::Zip | Sort::Program, Source::Stream(from)) => self.spool(&start, from),
            (Sort::Tar, source) => self.tar(source, start),
            (Sort::Age(form), source) => self.unseal(form, source, start),
            (Sort::Zstd, source) => self.decode(Layer::Zstd, source, start),
            (Sort::Gzip, source) => self.decode(Layer::Gzip, source, start),
            (Sort::Xz, source) => self.decode(Layer::Xz, source, start),
            (Sort::Bzip2, source) => self.decode(Layer::Bzip2, source, start),
            (Sort::Program | Sort::Unknown, Source::Seekable(mut from)) => {
                if has_zip_end(&mut from)? {
                    return Ok(Step::Done(Opened::Zip(from)));
                }
                if self.limits.searches && Frames::of(&mut from)?.is_some() {
                    return self.decode(Layer::Zstd, Source::Seekable(from), start);
                }
                if self.may_search(&start)? {
                    return match nearly(&start) {
                        Some("zip") => Ok(Step::Done(Opened::Zip(from))),
                        _ => self.tar(Source::Seekable(from), start),
                    };
                }
                self.try_password(from, &start)
            }
            (Sort::Unknown, source) if self.may_search(&start)? => self.tar(source, start),
            (Sort::Unknown, Source::Stream(mut from)) => {
                // Only of what somebody has a password for is it worth to keep a copy.
                if !may_be_sealed(&start) || self.keys.password()?.is_none() {
                    // What lies around it may tell that it is damaged, at its end at the latest.
                    if !self.around.is_empty() {
                        std::io::copy(&mut from, &mut std::io::sink())?;
                    }
                    return Err(self.none(&start));
                }
                self.spool(&start, from)
            }
            (Sort::Foreign(name), _) => Err(self.unknown(&format!("it is a {name}, which Larder does not read"))),
            (Sort::Empty, _) => Err(self.unknown("it is empty")),
        }
    }

    fn tar(&mut self, mut source: Source, start: Vec<u8>) -> Result<Step, ArchiveError> {
        if let (true, Source::Seekable(from)) = (self.limits.searches, &mut source) {
            self.limits.length.set(Some(from.seek(SeekFrom::End(0))?));
            from.rewind()?;
        }
        let stream = self.stream(source, start);
        Ok(Step::Done(Opened::Tar(if self.around.is_empty() {
            Box::new(BufReader::with_capacity(BUFFER, stream))
        } else {
            Box::new(Ahead::new(stream)?)
        })))
    }

    /// True if what begins like no archive may be a damaged one, and one searches in such.
    fn may_search(&self, start: &[u8]) -> Result<bool, ArchiveError> {
        let may_be_one = matches!(nearly(start), None | Some("tar" | "zip"));
        Ok(self.limits.searches && may_be_one && (!may_be_sealed(start) || self.keys.password()?.is_none()))
    }

    fn unknown(&self, why: &str) -> ArchiveError {
        ArchiveError::Unknown(format!("{}{why}", self.inside()))
    }

    fn inside(&self) -> String {
        self.around.last().map_or(String::new(), |layer| format!("inside of the {}: ", layer.described()))
    }

    /// What begins like no archive, and is not sealed with a password as far as anybody can tell.
    fn none(&self, start: &[u8]) -> ArchiveError {
        match nearly(start) {
            Some(what) => ArchiveError::Damaged(format!("{}it begins nearly as a {what} does", self.inside())),
            None if looks_sealed(start) => ArchiveError::Opaque(format!("{}it begins like none", self.inside())),
            None => self.unknown("it begins like none"),
        }
    }

    /// A layer is met.
    fn enter(&mut self, layer: Layer) -> Result<(), ArchiveError> {
        if self.around.len() as u64 >= u64::from(self.limits.nesting) {
            return Err(ArchiveError::Limit(format!(
                "more than {} seals and compressions lie one in the other around the archive (--max-nesting)",
                self.limits.nesting
            )));
        }
        self.around.push(layer);
        Ok(())
    }

    /// All of a source as a stream: of one that is a stream, `start` was read before.
    fn stream(&self, source: Source, start: Vec<u8>) -> Box<dyn Read + Send> {
        match source {
            // What can be read at any place was not counted so far, or is a copy of what was.
            Source::Seekable(from) => Box::new(self.meter.count(from)),
            Source::Stream(from) => Box::new(Cursor::new(start).chain(from)),
        }
    }

    fn decode(&mut self, layer: Layer, mut source: Source, start: Vec<u8>) -> Result<Step, ArchiveError> {
        self.enter(layer)?;
        self.limits.length.set(None);
        if let (Layer::Zstd, Source::Seekable(from)) = (layer, &mut source)
            && self.limits.searches
            && let Some(frames) = Frames::of(from)?
        {
            self.limits.length.set(Some(frames.plain()));
            let (stream, lost) = (self.stream(source, start), self.limits.lost.clone());
            let frames = FramesReader::new(stream, frames, move |bytes| lost.add(bytes));
            let decoded = Decoded::new(frames, layer.described(), &self.meter, self.limits);
            return Ok(Step::Further(Source::Stream(Box::new(decoded))));
        }
        let from = BufReader::with_capacity(BUFFER, self.stream(source, start));
        let (what, meter, limits) = (layer.described(), &self.meter, self.limits);
        let decoded: Box<dyn Read + Send> = match layer {
            Layer::Zstd => Box::new(Decoded::new(FrameReader::new(from)?, what, meter, limits)),
            Layer::Gzip => Box::new(Decoded::new(GzipReader::new(from), what, meter, limits)),
            Layer::Xz => Box::new(Decoded::new(XzReader::new(from), what, meter, limits)),
            Layer::Bzip2 => Box::new(Decoded::new(Bzip2Reader::new(from), what, meter, limits)),
            Layer::Age | Layer::Password => return Err(self.unknown("it is sealed")),
        };
        Ok(Step::Further(Source::Stream(decoded)))
    }

    fn unseal(&mut self, form: AgeForm, source: Source, start: Vec<u8>) -> Result<Step, ArchiveError> {
        self.enter(Layer::Age)?;
        let stream = self.stream(source, start);
        let stream: Box<dyn Read + Send> = match form {
            AgeForm::Binary => stream,
            AgeForm::Armoured => {
                let plain = unarmoured_stream(stream);
                Box::new(Decoded::new(plain, "armour of the age file", &self.meter, self.limits))
            }
        };
        let sealed =
            Sealed::new(BufReader::with_capacity(BUFFER, stream)).map_err(|e| ArchiveError::Damaged(e.to_string()))?;
        let plain = Decoded::new(self.open_sealed(sealed)?, Layer::Age.described(), &self.meter, self.limits);
        Ok(Step::Further(Source::Stream(Box::new(plain))))
    }

    fn open_sealed<R: Read>(&self, sealed: Sealed<R>) -> Result<SealReader<R>, ArchiveError> {
        let by_passphrase = sealed.is_for_passphrase();
        let identities = if by_passphrase {
            let nobody = || ArchiveError::Key {
                why: "it is sealed with a passphrase, and there is nobody to ask for it".to_owned(),
                hint: Some("LARDER_PASSPHRASE_COMMAND names a command that prints it; on a terminal it is asked for"),
            };
            vec![Identity::passphrase(self.keys.passphrase()?.ok_or_else(nobody)?)]
        } else {
            self.keys.identities()?
        };
        sealed.open(&identities).map_err(|e| match e {
            WrapError::NoMatch if by_passphrase => {
                ArchiveError::key("it is sealed with a passphrase, and with another one")
            }
            WrapError::NoMatch => ArchiveError::Key {
                why: if identities.is_empty() {
                    "it is sealed to recipients, and there is no identity to open it with".to_owned()
                } else {
                    "it is sealed to recipients, and no identity at hand is one of them".to_owned()
                },
                hint: Some("name a file with the identity of a recipient: -i FILE"),
            },
            WrapError::Locked { .. } | WrapError::Plugin(_) => ArchiveError::key(e.to_string()),
            other => ArchiveError::Damaged(other.to_string()),
        })
    }

    /// What nothing marks may be sealed with a password; whether it is, its tag tells.
    fn try_password(&mut self, from: Box<dyn ReadSeek>, start: &[u8]) -> Result<Step, ArchiveError> {
        let password = if may_be_sealed(start) { self.keys.password()? } else { None };
        let Some(password) = password else { return Err(self.none(start)) };
        let progress = self.progress;
        let mut watch = |_| if progress.cancelled() { Err(ArchiveError::Interrupted.into()) } else { Ok(()) };
        let from = BufReader::with_capacity(BUFFER, from);
        match PasswordReader::new(from, &password, &mut watch) {
            Ok(plain) => {
                self.enter(Layer::Password)?;
                Ok(Step::Further(Source::Seekable(Box::new(plain))))
            }
            Err(PasswordError::Read(error)) => Err(error.into()),
            // What is nearly something else is that, damaged.
            Err(PasswordError::Length(_) | PasswordError::DoesNotOpen) if nearly(start).is_some() => {
                Err(self.none(start))
            }
            Err(PasswordError::Length(_)) => {
                Err(self.unknown("it begins like none, and is too short to be sealed with a password"))
            }
            Err(PasswordError::DoesNotOpen) => Err(ArchiveError::Key {
                why: "it begins like no archive, and as one that is sealed (zip.enc) the password does not open it: it is another, or the file is damaged".to_owned(),
                hint: Some("--key-file FILE names a file with another password; without one, SNAPSHOT_ENCRYPTION_KEY counts, and then what is typed in"),
            }),
        }
    }

    /// Makes a copy that can be read at any place.
    fn spool(&self, start: &[u8], from: Box<dyn Read + Send>) -> Result<Step, ArchiveError> {
        let mut spool = Spool::new()?;
        let most = self.limits.bytes.or_else(|| spool.room()).unwrap_or(u64::MAX);
        let mut whole = Cursor::new(start).chain(from);
        let mut copied = 0u64;
        loop {
            let len = io::copy(&mut (&mut whole).take(BUFFER as u64), &mut spool)?;
            if len == 0 {
                return Ok(Step::Further(Source::Seekable(Box::new(spool.into_reader()?))));
            }
            copied += len;
            if copied > most {
                let text = "the archive comes as a stream and must be copied to be read; the copy is longer than the room there is for temporary files, or than --max-total allows";
                return Err(ArchiveError::Limit(format!("{text} ({most} bytes)")));
            }
            if self.progress.cancelled() {
                return Err(ArchiveError::Interrupted);
            }
        }
    }
}

/// True if a file ends as a zip does, whatever stands in front of it.
fn has_zip_end(from: &mut dyn ReadSeek) -> io::Result<bool> {
    let len = from.seek(SeekFrom::End(0))?;
    let tail = len.min((ZIP_END + usize::from(u16::MAX)) as u64);
    from.seek(SeekFrom::Start(len - tail))?;
    let mut bytes = Vec::new();
    from.take(tail).read_to_end(&mut bytes)?;
    from.rewind()?;
    let ends = |at: usize| {
        let end = bytes.get(at..at + ZIP_END)?;
        let number = |at: usize| end.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let comment = usize::from(u16::from_le_bytes([end[20], end[21]]));
        let directory = u64::from(number(12)?);
        // The directory stands in front of it.
        let fits = directory == u64::from(u32::MAX) || directory <= len - tail + at as u64;
        (end.starts_with(b"PK\x05\x06") && at + ZIP_END + comment <= bytes.len() && fits).then_some(())
    };
    Ok((0..bytes.len().saturating_sub(ZIP_END - 1)).rev().any(|at| ends(at).is_some()))
}
