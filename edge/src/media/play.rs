//! A sound on its way to one party: chunks in, frames of 20 ms out, loops without a gap.

use std::collections::VecDeque;
use std::sync::Arc;

use ringfork_call::action::{PlayError, PlayId, Sound};
use ringfork_media::tone::{SAMPLES, beep};
use tokio::sync::mpsc::error::TryRecvError;

use super::source::{SampleStream, Samples, Sounds, ready};

/// With so many samples left the next chunk is asked for, or the next loop: 200 ms.
const AHEAD: usize = 1600;
/// Samples of a sound before it is opened again, one second: a shorter one is repeated as it came meanwhile, so that
/// `loop="0"` of a click does not ask its server fifty times a second.
const REOPEN: usize = 8000;

/// What one step gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing is there yet: silence.
    Waiting,
    /// The frame is filled.
    Sound,
    /// The frame is filled, and was the last.
    Last,
    /// There was nothing more.
    Over(Result<(), PlayError>),
}

/// Opens a sound, the beep included.
pub fn open(sounds: &dyn Sounds, sound: &Sound) -> SampleStream {
    match sound {
        Sound::Beep => ready(beep()),
        sound => sounds.open(sound),
    }
}

/// One `Play`.
pub struct Player {
    pub play: PlayId,
    sound: Sound,
    sounds: Arc<dyn Sounds>,
    stream: SampleStream,
    /// Loops after this one; none: without end.
    more: Option<u32>,
    /// What the stream has brought, as long as that is less than [`REOPEN`].
    brought: Vec<Samples>,
    /// Samples since it was opened: what it brought, and repetitions of that.
    since: usize,
    chunks: VecDeque<Samples>,
    /// Samples of the first chunk that are used up, and all that are left.
    used: usize,
    left: usize,
    /// Nothing more comes, and why.
    end: Option<Result<(), PlayError>>,
}

impl Player {
    /// `loops` as in the action: 0 is without end.
    pub fn new(play: PlayId, sound: Sound, stream: SampleStream, loops: u32, sounds: Arc<dyn Sounds>) -> Player {
        let more = loops.checked_sub(1);
        Player {
            play,
            sound,
            sounds,
            stream,
            more,
            brought: Vec::new(),
            since: 0,
            chunks: VecDeque::new(),
            used: 0,
            left: 0,
            end: None,
        }
    }

    /// Fills the next 20 ms.
    pub fn next_frame(&mut self, frame: &mut [i16; SAMPLES]) -> Frame {
        self.fetch();
        if self.left < SAMPLES {
            match &self.end {
                None => return Frame::Waiting,
                Some(end) if self.left == 0 => return Frame::Over(end.clone()),
                Some(_) => frame.fill(0),
            }
        }
        let mut at = 0;
        while at < SAMPLES
            && let Some(chunk) = self.chunks.front()
        {
            let rest = chunk.get(self.used..).unwrap_or_default();
            let count = rest.len().min(SAMPLES - at);
            for (place, sample) in frame.iter_mut().skip(at).zip(rest.iter().take(count)) {
                *place = *sample;
            }
            at += count;
            self.used += count;
            self.left -= count;
            if self.used >= chunk.len() {
                self.chunks.pop_front();
                self.used = 0;
            }
        }
        if self.left == 0 && matches!(self.end, Some(Ok(()))) { Frame::Last } else { Frame::Sound }
    }

    /// Takes chunks until enough is there; opens at most one further loop, so that a sound of no length costs little.
    fn fetch(&mut self) {
        let mut reopened = false;
        while self.left < AHEAD && self.end.is_none() {
            match self.stream.try_recv() {
                Ok(Ok(chunk)) if chunk.is_empty() => {}
                Ok(Ok(chunk)) => {
                    if self.since + chunk.len() < REOPEN {
                        self.brought.push(chunk.clone());
                    }
                    self.add(chunk);
                }
                Ok(Err(error)) => self.end = Some(Err(error)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) if self.more == Some(0) || self.since == 0 => self.end = Some(Ok(())),
                Err(TryRecvError::Disconnected) if self.since < REOPEN => {
                    self.more = self.more.map(|more| more - 1);
                    for chunk in self.brought.clone() {
                        self.add(chunk);
                    }
                }
                Err(TryRecvError::Disconnected) if reopened => return,
                Err(TryRecvError::Disconnected) => {
                    reopened = true;
                    self.more = self.more.map(|more| more - 1);
                    (self.since, self.brought) = (0, Vec::new());
                    self.stream = open(&*self.sounds, &self.sound);
                }
            }
        }
    }

    fn add(&mut self, chunk: Samples) {
        self.since += chunk.len();
        self.left += chunk.len();
        self.chunks.push_back(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::source::{NoSounds, failed};
    use std::sync::atomic::{AtomicI16, Ordering};
    use tokio::sync::mpsc;

    /// Sounds of so many samples, each that is opened one louder.
    struct Rising(AtomicI16, usize);

    impl Sounds for Rising {
        fn open(&self, _: &Sound) -> SampleStream {
            ready(vec![self.0.fetch_add(1, Ordering::Relaxed); self.1].into())
        }

        fn prepare(&self, _: &Sound) {}
    }

    fn file() -> Sound {
        Sound::File { url: "http://example.org/a.wav".into() }
    }

    #[test]
    fn loops_follow_without_a_gap() {
        let sounds = Arc::new(Rising(AtomicI16::new(1), 8100));
        let mut player = Player::new(PlayId(1), file(), sounds.open(&file()), 3, sounds);
        let mut frame = [0; SAMPLES];
        let mut samples = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..154 {
            let result = player.next_frame(&mut frame);
            if matches!(result, Frame::Sound | Frame::Last) {
                samples.extend(frame);
            }
            ends.push(result);
        }
        let expected = [vec![1i16; 8100], vec![2; 8100], vec![3; 8100], vec![0; 20]].concat();
        assert_eq!(samples, expected);
        assert_eq!(ends[ends.iter().position(|end| *end == Frame::Last).unwrap() + 1], Frame::Over(Ok(())));
    }

    /// A clip of some ms is not fetched for each loop: once a second, and repeated as it came between.
    #[test]
    fn a_short_sound_is_opened_once_a_second() {
        let sounds = Arc::new(Rising(AtomicI16::new(1), 100));
        let mut player = Player::new(PlayId(1), file(), sounds.open(&file()), 0, sounds.clone());
        let mut frame = [0; SAMPLES];
        let mut samples = Vec::new();
        for _ in 0..500 {
            assert_eq!(player.next_frame(&mut frame), Frame::Sound);
            samples.extend(frame);
        }
        assert!((2..=11).contains(&samples[79_999]), "{} requests in 10 s", samples[79_999]);
        assert_eq!((samples[..8000] == [1; 8000], samples[8000]), (true, 2));
        // Loops are counted all the same.
        let mut player = Player::new(PlayId(1), file(), sounds.open(&file()), 3, sounds.clone());
        let ends: Vec<Frame> = (0..2).map(|_| player.next_frame(&mut frame)).collect();
        assert_eq!((ends, frame[139], frame[140]), (vec![Frame::Sound, Frame::Last], frame[0], 0));
    }

    #[test]
    fn an_underrun_is_silence_and_goes_on() {
        let (sender, stream) = mpsc::channel(4);
        let mut player = Player::new(PlayId(1), file(), stream, 1, Arc::new(NoSounds));
        let mut frame = [0; SAMPLES];
        assert_eq!(player.next_frame(&mut frame), Frame::Waiting);
        sender.try_send(Ok(vec![5; 170].into())).unwrap();
        assert_eq!((player.next_frame(&mut frame), frame), (Frame::Sound, [5; 160]));
        assert_eq!(player.next_frame(&mut frame), Frame::Waiting);
        sender.try_send(Ok(vec![6; 150].into())).unwrap();
        drop(sender);
        assert_eq!(player.next_frame(&mut frame), Frame::Last);
        assert_eq!((frame[..10] == [5; 10], frame[10..] == [6; 150]), (true, true));
    }

    #[test]
    fn an_error_comes_after_what_was_decoded() {
        let error = PlayError { reason: "cut off".into(), url: None, fetch: true };
        let (sender, stream) = mpsc::channel(4);
        sender.try_send(Ok(vec![5; 10].into())).unwrap();
        sender.try_send(Err(error.clone())).unwrap();
        let mut player = Player::new(PlayId(1), file(), stream, 0, Arc::new(NoSounds));
        let mut frame = [9; SAMPLES];
        assert_eq!(player.next_frame(&mut frame), Frame::Sound);
        assert_eq!((frame[9], frame[10]), (5, 0));
        assert_eq!(player.next_frame(&mut frame), Frame::Over(Err(error.clone())));
        let mut player = Player::new(PlayId(1), file(), failed(error.clone()), 5, Arc::new(NoSounds));
        assert_eq!(player.next_frame(&mut frame), Frame::Over(Err(error)));
    }

    /// `loops` 0 of a sound without a sample ends instead of being opened for ever.
    #[test]
    fn an_empty_sound_is_over() {
        let mut player = Player::new(PlayId(1), file(), mpsc::channel(1).1, 0, Arc::new(NoSounds));
        assert_eq!(player.next_frame(&mut [0; SAMPLES]), Frame::Over(Ok(())));
    }
}
