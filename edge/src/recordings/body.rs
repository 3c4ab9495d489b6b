//! The sound of a recording as the body of a response: read while it is sent, its header right for what is there.

use std::io;

use axum::body::Body;
use ringfork_api::SoundBody;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

use super::files::{Files, HEADER};

/// Octets read at a time.
const CHUNK: usize = 64 * 1024;

/// The body.
///
/// # Errors
/// When the file cannot be opened or read.
pub async fn body(files: &Files, sound: &SoundBody) -> io::Result<Body> {
    let path = files.path(&sound.sid).ok_or(io::ErrorKind::NotFound)?;
    let mut file = File::open(path).await?;
    let mut header = [0; HEADER as usize];
    file.read_exact(&mut header).await?;
    mend(&mut header, sound.total);
    let (start, end) = (sound.range.start, sound.range.end);
    let part = |at: u64| usize::try_from(at.min(HEADER)).unwrap_or_default();
    let head = header.get(part(start)..part(end)).unwrap_or_default().to_vec();
    let from = start.max(HEADER);
    file.seek(SeekFrom::Start(from)).await?;
    let rest = file.take(end.saturating_sub(from));
    Ok(Body::from_stream(ReaderStream::with_capacity(io::Cursor::new(head).chain(rest), CHUNK)))
}

/// The sizes in the header of a file that is still written, or whose writer was killed, are those of an earlier moment.
pub(super) fn mend(header: &mut [u8; HEADER as usize], total: u64) {
    let size = |octets: u64| u32::try_from(octets).unwrap_or(u32::MAX).to_le_bytes();
    let canonical = header.starts_with(b"RIFF") && header.get(36..40) == Some(b"data".as_slice());
    if canonical {
        for (at, octets) in [(4, total.saturating_sub(8)), (40, total.saturating_sub(HEADER))] {
            if let Some(place) = header.get_mut(at..at + 4) {
                place.copy_from_slice(&size(octets));
            }
        }
    }
}
