//! Streams that are watched: how much goes in, how much comes out, what the errors of a decoder mean.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ArchiveError, Limits};

/// How many bytes of an archive were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<AtomicU64>);

/// Counts what is read.
pub(super) struct Counted<R> {
    from: R,
    meter: Meter,
}

impl Meter {
    pub(super) fn count<R: Read>(&self, from: R) -> Counted<R> {
        Counted { from, meter: self.clone() }
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        self.meter.0.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// What comes out of a decoder. It may not be too much for what goes in, and what the decoder finds wrong is told as damage.
pub(super) struct Decoded<R> {
    from: R,
    /// What it was, for messages.
    what: &'static str,
    meter: Meter,
    limits: Limits,
    given: u64,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(from: R, what: &'static str, meter: &Meter, limits: &Limits) -> Self {
        Self { from, what, meter: meter.clone(), limits: limits.clone(), given: 0 }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer).map_err(|e| damaged(e, self.what))?;
        self.given += len as u64;
        if self.given > self.limits.most(self.meter.read()) {
            return Err(ArchiveError::Limit(format!(
                "the {} grows to more than {} times its size, as no honest archive does; if it is one, allow more with --max-ratio",
                self.what, self.limits.ratio
            ))
            .into());
        }
        Ok(len)
    }
}

/// zstd looks back further than is allowed.
pub(super) fn too_wide(what: &str) -> io::Error {
    let text = format!(
        "the {what} has a window of more than 128 MiB (zstd --long=28 or more), and as much memory is needed to read it: \
         let `zstd -d --long=31` decompress it, and give Larder what comes out"
    );
    ArchiveError::Limit(text).into()
}

/// What the system says stays as it is; what a decoder says is damage.
fn damaged(error: io::Error, what: &str) -> io::Error {
    let of_system = error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted;
    if of_system || matches!(error.get_ref(), Some(inner) if inner.is::<ArchiveError>()) {
        return error;
    }
    if error.kind() == io::ErrorKind::OutOfMemory {
        return too_wide(what);
    }
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the {what} ends too early"),
        _ => format!("the {what}: {error}"),
    };
    ArchiveError::Damaged(why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ratio: u64, given: u64) -> Result<u64, ArchiveError> {
        let (meter, limits) = (Meter::default(), Limits { ratio, ..Limits::default() });
        io::copy(&mut meter.count(io::repeat(0).take(1 << 20)), &mut io::sink())?;
        let mut decoded = Decoded::new(io::repeat(0).take(given), "stream", &meter, &limits);
        Ok(io::copy(&mut decoded, &mut io::sink())?)
    }

    #[test]
    fn what_grows_too_much_is_refused() {
        assert_eq!(read(100, 100 << 20).unwrap(), 100 << 20);
        assert!(matches!(read(100, (100 << 20) + 1), Err(ArchiveError::Limit(_))));
        assert_eq!(read(1, Limits::RATIO_FREE).unwrap(), Limits::RATIO_FREE, "what is small is no bomb");
    }

    #[test]
    fn what_a_decoder_says_is_damage_and_what_the_system_says_is_not() {
        let sort = |error| ArchiveError::from(damaged(error, "gzip stream"));
        assert!(
            matches!(sort(io::ErrorKind::UnexpectedEof.into()), ArchiveError::Damaged(text) if text == "the gzip stream ends too early")
        );
        assert!(matches!(sort(io::Error::other("bad block")), ArchiveError::Damaged(_)));
        assert!(matches!(sort(io::Error::from_raw_os_error(5)), ArchiveError::Read(_)));
        assert!(matches!(sort(ArchiveError::Limit(String::new()).into()), ArchiveError::Limit(_)));
    }
}
