//! Where sounds come from: the border between the media shell and what speaks, fetches and decodes.

use std::sync::Arc;

use ringfork_call::action::{PlayError, Sound};
use tokio::sync::mpsc;

/// Decoded sound: 8 kHz, mono, 16 bits a sample. Shared, so that a cached sound is played without a copy; any length,
/// a whole cached sound may be one chunk.
pub type Samples = Arc<[i16]>;

/// Decoded chunks in their order. The end of the channel is the end of the sound; an error ends it too. The sender of
/// a stream that is no longer wanted finds the channel closed ([`mpsc::Sender::closed`]).
pub type SampleStream = mpsc::Receiver<Result<Samples, PlayError>>;

/// Chunks that should wait in a stream at most. The media thread takes a chunk only when the former is used up, so that
/// a source which decodes while it fetches is held back by the pace of the line.
pub const CHUNKS: usize = 16;

/// Where sounds come from.
pub trait Sounds: Send + Sync {
    /// Starts to load or to speak; the chunks come as they are decoded. Never blocks: it is called on the core's thread
    /// when a sound is to be played, and on the media thread for each further loop (`loops` of
    /// [`MediaAction::Play`](ringfork_call::action::MediaAction::Play)), ahead of the loop before being heard to its
    /// end. [`Sound::Beep`] is never asked for: the media shell makes it.
    fn open(&self, sound: &Sound) -> SampleStream;

    /// A sound that is likely to be played soon: warm the cache. Never blocks.
    fn prepare(&self, sound: &Sound);
}

/// A stream that is only an error.
pub fn failed(error: PlayError) -> SampleStream {
    let (sender, stream) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Err(error));
    stream
}

/// A stream of sound that is there already.
pub fn ready(samples: Samples) -> SampleStream {
    let (sender, stream) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Ok(samples));
    stream
}

/// Nothing can be played.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSounds;

impl Sounds for NoSounds {
    fn open(&self, _: &Sound) -> SampleStream {
        failed(PlayError { reason: "this edge has no source of sounds".into(), url: None, fetch: false })
    }

    fn prepare(&self, _: &Sound) {}
}
