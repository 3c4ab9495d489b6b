//! The head of a WAV, mended before it is decoded: what tools write and the decoder is too strict for.
//!
//! - A file that is written as a stream says any length, or none: its sound goes on to the end of what comes.
//! - Titles and the like before the sound are left out: they may be large, and are not heard.
//! - G.711 without the count of further octets of its format (`fmt ` of 16 octets): many tools leave it out.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// Octets of a format that are read; a longer one is for the decoder to refuse.
const MOST: u32 = 1024;
/// Lengths from here on are no lengths: streams are told as 0x7ffff000, 0x7fffffff or 0xffffffff octets long.
const ENDLESS: u32 = 0x7fff_0000;
/// Formats with A-law and µ-law.
const G711: [[u8; 2]; 2] = [[6, 0], [7, 0]];

/// A file whose head was mended; any other file goes through as it is.
pub struct Mended {
    head: Cursor<Vec<u8>>,
    rest: Box<dyn MediaSource>,
    length: Option<u64>,
}

impl Mended {
    /// Reads the head.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(mut rest: Box<dyn MediaSource>) -> io::Result<Self> {
        let mut head = Head { octets: Vec::with_capacity(64), taken: 0, rest: &mut *rest };
        head.mend()?;
        let Head { octets, taken, .. } = head;
        let length = rest.byte_len().map(|length| length.saturating_sub(taken) + octets.len() as u64);
        Ok(Mended { head: Cursor::new(octets), rest, length })
    }
}

struct Head<'a> {
    octets: Vec<u8>,
    /// Octets of the file as it came.
    taken: u64,
    rest: &'a mut dyn MediaSource,
}

impl Head<'_> {
    /// Reads up to the sound. What ends before is for the decoder to refuse.
    fn mend(&mut self) -> io::Result<()> {
        if !self.take(12)? || !self.octets.starts_with(b"RIFF") {
            return Ok(());
        }
        let outer = self.number(4);
        // What the outer length says is not needed to read the file.
        self.fill(4);
        if self.octets.get(8..12) != Some(b"WAVE") {
            return Ok(());
        }
        loop {
            let start = self.octets.len();
            if !self.take(8)? {
                return Ok(());
            }
            let length = self.number(start + 4);
            match self.octets.get(start..start + 4) {
                Some(b"data") => {
                    // An empty sound with more behind it is empty.
                    let more = outer < ENDLESS && u64::from(outer) + 8 > self.taken;
                    if length == 0 && !more {
                        self.fill(start + 4);
                    }
                    return Ok(());
                }
                Some(b"fmt ") => {
                    // A second one is for the decoder to refuse, too.
                    if start > 12 || length > MOST || !self.take(padded(length) as usize)? {
                        return Ok(());
                    }
                    self.mend_format(start + 8, length as usize);
                }
                // Titles and the like: nothing that is heard.
                Some(_) => {
                    self.octets.truncate(start);
                    if !self.skip(padded(length))? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    /// G.711 has one form in the decoder: a count of further octets, which is 0.
    fn mend_format(&mut self, body: usize, length: usize) {
        let law = self.octets.get(body..body + 2).is_some_and(|code| G711.iter().any(|law| law == code));
        if law && length >= 16 && length != 18 {
            self.octets.truncate(body + 16);
            self.octets.extend([0, 0]);
            if let Some(said) = self.octets.get_mut(body - 4..body) {
                said.copy_from_slice(&18u32.to_le_bytes());
            }
        }
    }

    /// Takes so many octets more; false where the file ends before.
    fn take(&mut self, count: usize) -> io::Result<bool> {
        let read = (&mut *self.rest).take(count as u64).read_to_end(&mut self.octets)?;
        self.taken += read as u64;
        Ok(read == count)
    }

    /// Leaves out so many octets; false where the file ends before.
    fn skip(&mut self, count: u64) -> io::Result<bool> {
        let skipped = io::copy(&mut (&mut *self.rest).take(count), &mut io::sink())?;
        self.taken += skipped;
        Ok(skipped == count)
    }

    fn number(&self, at: usize) -> u32 {
        let octets = self.octets.get(at..at + 4).and_then(|octets| octets.try_into().ok());
        octets.map_or(0, u32::from_le_bytes)
    }

    /// The length of a stream.
    fn fill(&mut self, at: usize) {
        if let Some(length) = self.octets.get_mut(at..at + 4) {
            length.fill(0xff);
        }
    }
}

/// Chunks begin at even places.
fn padded(length: u32) -> u64 {
    u64::from(length) + u64::from(length & 1)
}

impl Read for Mended {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.head.read(into)? {
            0 => self.rest.read(into),
            count => Ok(count),
        }
    }
}

impl Seek for Mended {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl MediaSource for Mended {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        self.length
    }
}
