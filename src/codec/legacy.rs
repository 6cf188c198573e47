//! The one door to xz and bzip2, which others have compressed with.

use std::io::{self, BufRead, Read};

/// Memory that a stream of xz may ask for, in KiB: `xz -9` wants 65 MiB.
const XZ_MEMORY: u32 = 160 << 10;

/// The content of an xz stream: one or several, with what pads them. Its checksums are compared.
pub struct XzReader<R: BufRead>(lzma_rust2::XzReader<R>);

impl<R: BufRead> std::fmt::Debug for XzReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("XzReader")
    }
}

impl<R: BufRead> XzReader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self(lzma_rust2::XzReader::new_mem_limit(from, true, XZ_MEMORY))
    }
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// The content of a bzip2 stream: one or several. Its checksums are compared.
pub struct Bzip2Reader<R: BufRead>(bzip2::bufread::MultiBzDecoder<R>);

impl<R: BufRead> std::fmt::Debug for Bzip2Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bzip2Reader")
    }
}

impl<R: BufRead> Bzip2Reader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self(bzip2::bufread::MultiBzDecoder::new(from))
    }
}

impl<R: BufRead> Read for Bzip2Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
