//! The one door to zstd.

use std::cell::RefCell;

/// Compressing or decompressing failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CompressError(String);

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// One zstd frame of `bytes`.
pub(super) fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>, CompressError> {
    let fail = |e: std::io::Error| CompressError(format!("zstd could not compress: {e}"));
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(l, _)| *l != level) {
            *slot = Some((level, zstd::bulk::Compressor::new(level).map_err(fail)?));
        }
        slot.as_mut()
            .map_or_else(|| Err(CompressError("no compressor".to_owned())), |(_, c)| c.compress(bytes).map_err(fail))
    })
}

/// The content of one zstd frame, which must be exactly `len` bytes.
pub(super) fn decompress(frame: &[u8], len: usize) -> Result<Vec<u8>, CompressError> {
    let fail = |e: std::io::Error| CompressError(format!("zstd could not decompress: {e}"));
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new().map_err(fail)?);
        }
        let decompressor = slot.as_mut().ok_or_else(|| CompressError("no decompressor".to_owned()))?;
        let mut out = Vec::with_capacity(len);
        let got = decompressor.decompress_to_buffer(frame, &mut out).map_err(fail)?;
        if got != len {
            return Err(CompressError(format!("{got} bytes where {len} were expected")));
        }
        Ok(out)
    })
}
