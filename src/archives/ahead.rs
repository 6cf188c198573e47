//! A stream that is read ahead on a thread of its own: one decodes while another uses what was decoded.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes read at a time.
const PIECE: usize = 512 << 10;
/// Pieces that wait.
const PIECES: usize = 4;

/// Reads ahead. The thread ends with the stream, or when nobody wants what it read.
pub(super) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    used: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Ahead {
    pub(super) fn new(mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let (send, pieces) = sync_channel(PIECES);
        let (used, spare) = sync_channel::<Vec<u8>>(PIECES + 2);
        thread::Builder::new().name("decode".to_owned()).spawn(move || {
            loop {
                let mut piece = spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
                piece.clear();
                let read = from.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                let ended = !matches!(read, Ok(len) if len > 0);
                // What was read before an error is given before it.
                if !piece.is_empty() && send.send(Ok(piece)).is_err() {
                    return;
                }
                if ended {
                    let _ = send.send(read.map(|_| Vec::new()));
                    return;
                }
            }
        })?;
        Ok(Self { pieces, used, piece: Vec::new(), at: 0, ended: false })
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at == self.piece.len() {
            if self.ended {
                return Ok(0);
            }
            let lost = || io::Error::other("the thread that decodes has failed");
            let next = self.pieces.recv().map_err(|_| lost())??;
            self.ended = next.is_empty();
            self.at = 0;
            let _ = self.used.try_send(std::mem::replace(&mut self.piece, next));
        }
        let len = buffer.len().min(self.piece.len() - self.at);
        buffer[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    #[test]
    fn the_same_bytes_and_then_the_same_end() {
        let content: Vec<u8> = (0..=250).cycle().take(5 * PIECE + 3).collect();
        let mut found = Vec::new();
        let mut ahead = Ahead::new(io::Cursor::new(content.clone())).unwrap();
        ahead.read_to_end(&mut found).unwrap();
        assert!(found == content);
        assert_eq!(ahead.read(&mut [0; 4]).unwrap(), 0, "it stays at its end");

        let mut found = Vec::new();
        let failing = io::Cursor::new(content.clone()).chain(Failing);
        assert_eq!(
            Ahead::new(failing).unwrap().read_to_end(&mut found).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(found == content, "all in front of an error is given");
        drop(Ahead::new(io::repeat(1)).unwrap());
    }
}
