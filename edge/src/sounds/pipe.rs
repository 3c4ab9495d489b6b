//! A bounded pipe from the network to a decoder, which blocks: chunks in on the one side, `Read` on the other.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Mutex;

use bytes::{Buf, Bytes};
use symphonia::core::io::MediaSource;
use tokio::sync::mpsc;

/// Chunks that may wait: the network is held back when the decoder is.
const CHUNKS: usize = 32;

/// The network's end. Dropped, it is the end of the file.
pub type Feed = mpsc::Sender<Result<Bytes, io::Error>>;

/// The decoder's end.
pub struct Pipe {
    // A decoder wants its source to be Sync; nobody else ever takes this lock.
    chunks: Mutex<mpsc::Receiver<Result<Bytes, io::Error>>>,
    chunk: Bytes,
    length: Option<u64>,
}

/// A pipe for a file of `length` bytes, where that is known.
pub fn pipe(length: Option<u64>) -> (Feed, Pipe) {
    let (feed, chunks) = mpsc::channel(CHUNKS);
    (feed, Pipe { chunks: Mutex::new(chunks), chunk: Bytes::new(), length })
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let chunks = self.chunks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            match chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.chunk.len());
        if let Some(into) = into.get_mut(..count) {
            self.chunk.copy_to_slice(into);
        }
        Ok(count)
    }
}

impl Seek for Pipe {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl MediaSource for Pipe {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        self.length
    }
}
