//! Recordings: mixed on the media thread, written by a thread of their own, so that no disk delays a packet.
//!
//! A file is readable at any time up to its last second: its header is written again each half. What the writer
//! cannot take in time is left out (silence) and counted; what the disk does not take ends the recording, not the call.

use std::collections::{HashMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ringfork_call::action::{Input, MediaId, RecordingEnd, RecordingLimits, RecordingSid};
use ringfork_call::control::CallSid;
use ringfork_media::formats::{Format, Formats};
use ringfork_media::recorder::{Ended, Limits, RATE, Recorder};
use ringfork_media::rtp::Packet;
use ringfork_media::wav;
use tokio::sync::mpsc;

use super::relay::MediaCounters;

/// How often what was said goes to the writer.
pub const STEP: Duration = Duration::from_millis(100);
/// Pieces that may wait for the writer: some seconds of a thousand recordings. Beyond it they are dropped and counted.
const PIECES: usize = 32_768;
/// The header is written again after so many samples: half a second, so that with what is not final yet
/// ([`ringfork_media::recorder::TOLERANCE`]) and the [`STEP`] it is never behind by a whole one.
const HEADER_EVERY: u64 = RATE / 2;
/// The longest recording, 74 hours: a WAV header counts octets in 32 bits.
const MOST_SECONDS: u32 = (u32::MAX - 64) / (2 * RATE as u32);

/// A core whose queue stays full for ten seconds is not waited for: it may be what waits for us to end.
const ATTEMPTS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(10);

/// The path of a recording's file.
pub fn file(folder: &Path, recording: RecordingSid) -> PathBuf {
    folder.join(format!("{recording}.wav"))
}

/// What the writer is told.
enum Piece {
    Begin { recording: RecordingSid, call: CallSid, dead: Arc<AtomicBool> },
    Samples { recording: RecordingSid, at: u64, samples: Vec<i16> },
    End { recording: RecordingSid, length: u64, end: RecordingEnd },
}

/// A recording under way.
struct Recording {
    sid: RecordingSid,
    media: MediaId,
    other: Option<MediaId>,
    recorder: Recorder,
    /// The writer has given it up.
    dead: Arc<AtomicBool>,
}

/// The recordings of the media thread.
pub struct Recordings {
    live: Vec<Recording>,
    writer: SyncSender<Piece>,
    /// Begins and ends that the writer had no room for: they are not dropped.
    waiting: VecDeque<Piece>,
    counters: Arc<MediaCounters>,
}

impl Recordings {
    /// Starts the writer. It ends, with every file complete, when this is dropped; the handle is to be joined.
    pub fn start(
        folder: PathBuf,
        inputs: mpsc::Sender<Input>,
        counters: Arc<MediaCounters>,
    ) -> std::io::Result<(Recordings, std::thread::JoinHandle<()>)> {
        let (writer, pieces) = sync_channel(PIECES);
        let state = Writer { folder, inputs, counters: counters.clone(), files: HashMap::new() };
        let thread = std::thread::Builder::new().name("recordings".into()).spawn(move || state.run(&pieces))?;
        Ok((Recordings { live: Vec::new(), writer, waiting: VecDeque::new(), counters }, thread))
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.waiting.is_empty()
    }

    pub fn begin(
        &mut self,
        sid: RecordingSid,
        call: CallSid,
        media: MediaId,
        other: Option<MediaId>,
        limits: RecordingLimits,
        now: Instant,
    ) {
        if self.live.iter().any(|recording| recording.sid == sid) {
            return;
        }
        let max_seconds = limits.max_seconds.min(MOST_SECONDS);
        let limits = Limits { max_seconds, silence_seconds: limits.silence_seconds };
        let dead = Arc::new(AtomicBool::new(false));
        self.must(Piece::Begin { recording: sid, call, dead: dead.clone() });
        self.live.push(Recording { sid, media, other, recorder: Recorder::new(limits, now), dead });
    }

    /// A packet of a party that may be recorded.
    pub fn packet(&mut self, media: MediaId, formats: &Formats, packet: &Packet<'_>, now: Instant) {
        if self.live.is_empty() {
            return;
        }
        let Some(Format::Sound(law)) = formats.of(packet.header.payload) else { return };
        for recording in &mut self.live {
            let other = recording.other == Some(media);
            if recording.media == media || other {
                let samples = packet.data.iter().map(|code| law.decode(*code));
                recording.recorder.packet(other, &packet.header, samples, now);
            }
        }
    }

    /// Hands on what has become final, each [`STEP`].
    pub fn step(&mut self, now: Instant) {
        while let Some(piece) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(piece)) = self.writer.try_send(piece) {
                self.waiting.push_front(piece);
                break;
            }
        }
        let mut at = 0;
        while let Some(recording) = self.live.get_mut(at) {
            if recording.dead.load(Ordering::Relaxed) {
                self.live.swap_remove(at);
                continue;
            }
            let start = recording.recorder.length();
            let mut samples = Vec::with_capacity(1000);
            let ended = recording.recorder.take(now, &mut samples);
            let (sid, length) = (recording.sid, recording.recorder.length());
            if ended.is_some() {
                self.live.swap_remove(at);
            } else {
                at += 1;
            }
            self.hand_on(sid, start, length, samples, ended.map(end_of));
        }
    }

    /// Ends one, or all of a session (`media` alone: the other's close leaves it).
    pub fn stop(&mut self, which: impl Fn(RecordingSid, MediaId) -> bool, now: Instant) {
        while let Some(at) = self.live.iter().position(|recording| which(recording.sid, recording.media)) {
            let mut recording = self.live.swap_remove(at);
            let start = recording.recorder.length();
            let mut samples = Vec::new();
            let ended = recording.recorder.finish(now, &mut samples);
            let end = ended.map_or(RecordingEnd::Stopped, end_of);
            self.hand_on(recording.sid, start, recording.recorder.length(), samples, Some(end));
        }
    }

    fn hand_on(&mut self, recording: RecordingSid, at: u64, length: u64, samples: Vec<i16>, end: Option<RecordingEnd>) {
        if !samples.is_empty() {
            let count = samples.len() as u64;
            if self.writer.try_send(Piece::Samples { recording, at, samples }).is_err() {
                self.counters.recording_dropped.add(count);
            }
        }
        if let Some(end) = end {
            self.must(Piece::End { recording, length, end });
        }
    }

    fn must(&mut self, piece: Piece) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(piece);
        } else if let Err(TrySendError::Full(piece)) = self.writer.try_send(piece) {
            self.waiting.push_back(piece);
        }
    }
}

impl Drop for Recordings {
    /// The end of the server: whatever is live is complete, also what waits.
    fn drop(&mut self) {
        self.stop(|_, _| true, Instant::now());
        for piece in self.waiting.drain(..) {
            let _ = self.writer.send(piece);
        }
    }
}

fn end_of(ended: Ended) -> RecordingEnd {
    match ended {
        Ended::Silence => RecordingEnd::Silence,
        Ended::Full => RecordingEnd::Full,
    }
}

/// What a recording of so many samples is said to last: its whole seconds, and one where it is shorter but not empty
/// (RCML.md part 2, Record: what was said in less than a second, "yes", is a recording like any other).
pub fn whole_seconds(samples: u64) -> u32 {
    u32::try_from(samples / RATE).unwrap_or(u32::MAX).max(u32::from(samples > 0))
}

/// A file being written.
struct Open {
    file: File,
    call: CallSid,
    /// Samples in it, and how many of them its header tells of.
    length: u64,
    told: u64,
    dead: Arc<AtomicBool>,
}

struct Writer {
    folder: PathBuf,
    inputs: mpsc::Sender<Input>,
    counters: Arc<MediaCounters>,
    files: HashMap<RecordingSid, Open>,
}

impl Writer {
    fn run(mut self, pieces: &Receiver<Piece>) {
        while let Ok(piece) = pieces.recv() {
            match piece {
                Piece::Begin { recording, call, dead } => match self.create(recording) {
                    Ok(file) => {
                        self.files.insert(recording, Open { file, call, length: 0, told: 0, dead });
                    }
                    Err(error) => {
                        dead.store(true, Ordering::Relaxed);
                        self.failed(recording, call, 0, &error);
                    }
                },
                Piece::Samples { recording, at, samples } => {
                    let Some(open) = self.files.get_mut(&recording) else { continue };
                    if let Err(error) = open.write(at, &samples) {
                        let (length, call) = (open.length, open.call);
                        open.dead.store(true, Ordering::Relaxed);
                        // What was written before is kept and readable, as far as the disk lets us say so.
                        let _ = open.finish(length);
                        self.files.remove(&recording);
                        self.failed(recording, call, length, &error);
                    }
                }
                Piece::End { recording, length, end } => {
                    // Without a file it has failed, and that was said.
                    let Some(mut open) = self.files.remove(&recording) else { continue };
                    match open.finish(length) {
                        Ok(()) => self.tell(recording, length, end),
                        Err(error) => self.failed(recording, open.call, open.length.min(length), &error),
                    }
                }
            }
        }
    }

    fn create(&self, recording: RecordingSid) -> std::io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = file(&self.folder, recording);
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(&wav::header(0), 0) {
            // A file without a header is no sound.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    fn failed(&self, recording: RecordingSid, call: CallSid, length: u64, error: &std::io::Error) {
        self.counters.recordings_failed.add(1);
        let folder = self.folder.display();
        tracing::warn!(%call, %recording, %error, %folder, "a recording ends: its file cannot be written");
        self.tell(recording, length, RecordingEnd::Failed);
    }

    fn tell(&self, recording: RecordingSid, length: u64, end: RecordingEnd) {
        let seconds = whole_seconds(length);
        let mut input = Input::Recorded { recording, seconds, end };
        for _ in 0..ATTEMPTS {
            match self.inputs.try_send(input) {
                Err(mpsc::error::TrySendError::Full(again)) => input = again,
                // A closed queue: the server ends.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Open {
    /// Writes samples at their place: what was dropped before them stays zero, which is silence.
    fn write(&mut self, at: u64, samples: &[i16]) -> std::io::Result<()> {
        let octets: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.file.write_all_at(&octets, place(at))?;
        self.length = self.length.max(at + samples.len() as u64);
        if self.length >= self.told + HEADER_EVERY {
            self.file.write_all_at(&wav::header(self.length), 0)?;
            self.told = self.length;
        }
        Ok(())
    }

    /// Cuts or fills it to its length and says so in the header.
    fn finish(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(place(length))?;
        self.file.write_all_at(&wav::header(length), 0)
    }
}

fn place(sample: u64) -> u64 {
    wav::HEADER as u64 + sample * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::capture;

    fn open(file: File) -> Open {
        Open { file, call: CallSid([4; 16]), length: 0, told: 0, dead: Arc::default() }
    }

    /// Issue 4: a recording survives `kill -9` up to its last second; what was dropped is silence.
    #[test]
    fn a_file_that_was_never_finished_can_be_read() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut open = open(path.reopen().unwrap());
        for piece in (0..24).filter(|piece| *piece != 3) {
            open.write(piece * 800, &[7; 800]).unwrap();
        }
        let octets = std::fs::read(path.path()).unwrap();
        assert_eq!(octets[..44], wav::header(16_000));
        assert_eq!(octets.len(), 44 + 2 * 19_200);
        assert_eq!(
            (&octets[place(2399) as usize..][..4], &octets[place(3199) as usize..][..4]),
            (&[7, 0, 0, 0][..], &[0, 0, 7, 0][..])
        );
        open.finish(12_345).unwrap();
        let octets = std::fs::read(path.path()).unwrap();
        assert_eq!((octets.len(), &octets[..44]), (44 + 24_690, &wav::header(12_345)[..]));
    }

    /// RCML.md part 2, Record: what is shorter than a second is a recording, what is empty is none.
    #[test]
    fn a_short_recording_is_one() {
        let lengths = [0, 1, 6400, 7999, 8000, 15_999, 16_000].map(whole_seconds);
        assert_eq!(lengths, [0, 1, 1, 1, 1, 1, 2]);
    }

    /// Issue 4: a full disk ends the recording, once, and says how much was kept.
    #[test]
    fn a_full_disk_ends_the_recording() {
        let folder = tempfile::tempdir().unwrap();
        let (inputs, mut said) = mpsc::channel(8);
        let counters = Arc::new(MediaCounters::default());
        let recording = RecordingSid([3; 16]);
        let full = open(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let dead = full.dead.clone();
        let files = HashMap::from([(recording, full)]);
        let writer = Writer { folder: folder.path().into(), inputs, counters: counters.clone(), files };
        let (sender, pieces) = sync_channel(8);
        sender.send(Piece::Samples { recording, at: 0, samples: vec![1; 800] }).unwrap();
        sender.send(Piece::Samples { recording, at: 800, samples: vec![1; 800] }).unwrap();
        sender.send(Piece::End { recording, length: 1600, end: RecordingEnd::Stopped }).unwrap();
        drop(sender);
        let (_guard, lines) = capture();
        writer.run(&pieces);
        assert_eq!(lines.take()[0]["call"], CallSid([4; 16]).to_string());
        assert!(dead.load(Ordering::Relaxed));
        assert_eq!(counters.recordings_failed.get(), 1);
        let Some(Input::Recorded { seconds: 0, end: RecordingEnd::Failed, .. }) = said.blocking_recv() else {
            panic!("not reported")
        };
        assert!(said.blocking_recv().is_none());
    }
}
