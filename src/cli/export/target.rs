//! Writing a pack to where it goes, and proving that it is there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{Advice, FileType};

use crate::archives::Input;
use crate::codec::Sha256;
use crate::model::{Kind, Progress};
use crate::packs::laid_out::LaidOut;
use crate::packs::{
    Format, Options, PackError, Packing, Seal, Sink, Subject, export, export_into, export_laid_out,
    export_laid_out_into, prove,
};

use super::super::error::CliError;
use super::super::output::{human_bytes, stdout_unbuffered};
use super::super::pack_file::PackFile;
use super::super::progress::Bar;

/// What is written, and how.
pub(super) struct Job<'a> {
    pub(super) subjects: &'a [Subject],
    /// In place of the subjects: a folder of one of them, in the layout of another system.
    pub(super) laid: Option<&'a LaidOut<'a>>,
    pub(super) options: Options<'a>,
    pub(super) seal: Option<&'a Seal>,
    pub(super) max_size: Option<u64>,
    pub(super) validate: bool,
    pub(super) bar: &'a Bar,
}

/// A pack that was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) packing: Packing,
    /// Its size.
    pub(super) bytes: u64,
    /// Its SHA-256; a folder has none, nor what nobody keeps.
    pub(super) sum: Option<[u8; 32]>,
    /// It is a file that has a name.
    pub(super) is_file: bool,
    /// It was read back, and what that proved: its `contents`, or its `bytes` alone.
    pub(super) proof: Option<&'static str>,
}

impl Job<'_> {
    /// Writes the pack: to a file, or to standard output.
    pub(super) fn run(&self, file: Option<&PackFile>) -> Result<Written, CliError> {
        let Some(file) = file else { return self.stream(&mut stdout_unbuffered()?) };
        if self.options.format == Format::Dir {
            return self.folder(file);
        }
        if let Some(mut stream) = file.stream(|| self.bar.cancelled())? {
            return self.stream(&mut stream);
        }
        let mut proof = None;
        let written = file.replace(
            |out| self.write(out, true),
            |written, path| {
                proof = if self.validate { Some(self.prove(written, path)?) } else { None };
                Ok(())
            },
        )?;
        Ok(Written { is_file: true, proof, ..written })
    }

    /// To a pipe or device, which cannot be read back.
    fn stream(&self, out: &mut File) -> Result<Written, CliError> {
        // What nobody will ever have on a shelf needs no sum.
        let is_null = rustix::fs::fstat(&*out).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3)
        });
        self.write(out, !is_null)
    }

    fn write(&self, out: &mut File, sum: bool) -> Result<Written, CliError> {
        let mut sink = Sink::new(out, sum, self.max_size);
        let packing = match self.sealed(&mut sink) {
            Err(_) if sink.is_over() => return Err(self.too_large(sink.bytes())),
            Err(PackError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => return Err(CliError::output(&e)),
            other => other?,
        };
        let bytes = sink.bytes();
        Ok(Written { packing, bytes, sum: sink.sum(), is_file: false, proof: None })
    }

    /// Writes the pack with its seal around it.
    fn sealed(&self, out: &mut dyn Write) -> Result<Packing, PackError> {
        let Some(seal) = self.seal else { return self.export(out) };
        let mut sealing = seal.writer(Box::new(out)).map_err(PackError::Write)?;
        let packing = self.export(&mut sealing)?;
        sealing.finish().map_err(PackError::Write)?;
        Ok(packing)
    }

    fn export(&self, out: &mut dyn Write) -> Result<Packing, PackError> {
        match self.laid {
            Some(laid) => export_laid_out(laid, self.options, out, self.bar),
            None => export(self.subjects, self.options, out, self.bar),
        }
    }

    fn folder(&self, file: &PackFile) -> Result<Written, CliError> {
        let bytes: u64 = self.subjects.iter().fold(0, |sum, subject| sum.saturating_add(subject.extent().1));
        if self.max_size.is_some_and(|max| bytes > max) {
            return Err(self.too_large(bytes));
        }
        let written = file.fill(|base| {
            let packing = match self.laid {
                Some(laid) => export_laid_out_into(laid, self.options, base, self.bar)?,
                None => export_into(self.subjects, self.options, base, self.bar)?,
            };
            if self.max_size.is_some_and(|max| packing.bytes > max) {
                return Err(self.too_large(packing.bytes));
            }
            Ok(packing)
        })?;
        // Each file was read back for its sum.
        Ok(Written { bytes: written.bytes, packing: written, sum: None, is_file: false, proof: Some("contents") })
    }

    fn too_large(&self, bytes: u64) -> CliError {
        let max = self.max_size.unwrap_or_default();
        let message = format!(
            "the pack is larger than --max-size allows: {} ({max} bytes) are allowed, it has at least {} ({bytes} bytes); nothing is left of it",
            human_bytes(max),
            human_bytes(bytes)
        );
        CliError::new(Kind::Failed, message)
            .hint("allow more, pack less (SNAP:PATH), or compress harder (--format tar.zst --level 19)")
    }

    /// Reads back what was written, from the disk as far as the system allows.
    fn prove(&self, written: &Written, path: &Path) -> Result<&'static str, CliError> {
        let unproved = |why: String| {
            CliError::new(
                Kind::Failed,
                format!("what was written does not read back as it should: {why}; nothing was put in place"),
            )
            .hint("the disk or its connection may be failing; --no-validate does not read back")
        };
        let mut file = File::open(path).map_err(|e| unproved(e.to_string()))?;
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        let (mut hash, mut buffer) = (Sha256::default(), vec![0; 1 << 20]);
        loop {
            if self.bar.cancelled() {
                return Err(PackError::Interrupted.into());
            }
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => hash.update(&buffer[..len]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unproved(e.to_string())),
            }
        }
        if Some(hash.bytes()) != written.sum {
            return Err(unproved("its SHA-256 is another".to_owned()));
        }
        let input = Input::file(path).map_err(|e| unproved(e.to_string()))?;
        let proved = prove(input, self.seal, self.options.scratch, self.bar)?;
        Ok(if proved { "contents" } else { "bytes" })
    }
}
