//! A sound that is being loaded: it grows, and whoever wants it reads along.
//!
//! As long as it may be kept it is loaded as fast as it comes; one that may not is loaded as fast as its fastest
//! reader hears it, and what all have read is forgotten. One that was prepared is held until its first reader comes, be it
//! that it may be kept or not.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfork_call::action::PlayError;
use tokio::sync::{mpsc, watch};

use super::{RATE, unreadable};
use crate::media::source::Samples;

/// Longest sound, samples: an hour.
pub const LONGEST: usize = 3600 * RATE as usize;
/// Longest sound that is kept whole, samples: five minutes.
pub const KEPT: usize = 300 * RATE as usize;
/// How long a prepared sound waits for the Play that was announced.
pub const HOLD: Duration = Duration::from_secs(30);
/// Bytes that all tracks hold together before further ones are only streamed: a track that comes then is heard by its
/// first reader alone, and holds [`LEAD`].
pub const BUDGET: usize = 64 * 1024 * 1024;
/// Samples that are loaded ahead of the fastest reader of a sound that is not kept: five seconds.
pub const LEAD: usize = 5 * RATE as usize;
/// Samples that a reader may lie behind the fastest one: beyond what could be joined nobody waits for it.
const BEHIND: usize = KEPT + 60 * RATE as usize;

/// See the module.
#[derive(Debug)]
pub struct Track {
    state: Mutex<State>,
    /// Something was added.
    grown: watch::Sender<()>,
    /// A reader went on.
    read: Condvar,
    /// What all tracks hold.
    budget: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    /// Chunks with the place of their first sample.
    chunks: VecDeque<(usize, Samples)>,
    length: usize,
    end: Option<Result<(), PlayError>>,
    /// It was decided not to keep it.
    passing: bool,
    /// It may not be kept, and passes with its first reader.
    unkept: bool,
    /// It was prepared: until then it waits for its first reader.
    held: Option<Instant>,
    /// Places of the readers.
    readers: HashMap<u64, usize>,
    next_reader: u64,
    /// Of the budget.
    bytes: usize,
}

/// What a reader finds.
enum Next {
    Chunk(Samples),
    End(Result<(), PlayError>),
    Wait,
}

impl Track {
    /// An empty one that may be kept.
    pub fn new(budget: Arc<AtomicUsize>) -> Arc<Self> {
        let (grown, _) = watch::channel(());
        Arc::new(Track { state: Mutex::default(), grown, read: Condvar::new(), budget })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reader that comes now finds it from its start.
    pub fn is_whole(&self) -> bool {
        !self.state().passing
    }

    /// Whether nothing more comes.
    #[cfg(test)]
    pub fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    /// It is not to be kept.
    pub fn pass(&self) {
        let mut state = self.state();
        state.unkept = true;
        if !state.is_held() {
            self.pass_on(&mut state);
        }
    }

    /// It waits so long for its first reader.
    pub fn hold(&self, patience: Duration) {
        self.state().held = Some(Instant::now() + patience);
    }

    /// Whether it still does.
    pub fn is_held(&self) -> bool {
        self.state().is_held()
    }

    /// Until its first reader comes or it was held long enough.
    pub async fn released(&self) {
        let mut grown = self.grown.subscribe();
        loop {
            let Some(until) = self.state().held else { return };
            tokio::select! {
                _ = grown.changed() => {}
                () = tokio::time::sleep_until(until.into()) => return,
            }
        }
    }

    fn pass_on(&self, state: &mut State) {
        state.passing = true;
        if state.readers.is_empty() {
            self.drop_all(state);
        }
    }

    /// Nobody reads what is there.
    fn drop_all(&self, state: &mut State) {
        state.chunks.clear();
        self.give_back(state, state.bytes);
    }

    fn give_back(&self, state: &mut State, bytes: usize) {
        state.bytes -= bytes;
        self.budget.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds a chunk; waits where it would run too far ahead of who listens. False: nobody does any more.
    ///
    /// # Errors
    /// When the sound is too long.
    pub fn push(&self, samples: Vec<i16>) -> Result<bool, PlayError> {
        let mut state = self.add(samples.into())?;
        // Longer than what is kept: the rest comes when somebody listens.
        while state.length > KEPT
            && let Some(until) = state.held
        {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.held = None;
                self.pass_on(&mut state);
            } else {
                state = self.read.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        while state.passing {
            let Some(fastest) = state.readers.values().copied().max() else {
                self.drop_all(&mut state);
                return Ok(false);
            };
            let forgotten = state.forget(fastest);
            self.give_back(&mut state, forgotten);
            if state.length < fastest + LEAD {
                break;
            }
            state = self.read.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(true)
    }

    /// Adds what is there whole, without waiting.
    ///
    /// # Errors
    /// When the sound is too long.
    pub fn put(&self, samples: Samples) -> Result<(), PlayError> {
        self.add(samples).map(drop)
    }

    fn add(&self, samples: Samples) -> Result<MutexGuard<'_, State>, PlayError> {
        let mut state = self.state();
        // A chunk of nothing would be its reader's next one for ever.
        if samples.is_empty() {
            return Ok(state);
        }
        let (place, bytes) = (state.length, samples.len() * 2);
        state.length += samples.len();
        if state.length > LONGEST {
            return Err(unreadable("longer than an hour: the rest is not played"));
        }
        state.chunks.push_back((place, samples));
        state.bytes += bytes;
        let all = self.budget.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !state.passing && (all > BUDGET || (state.length > KEPT && !state.is_held())) {
            state.held = None;
            self.pass_on(&mut state);
        }
        self.grown.send_replace(());
        Ok(state)
    }

    /// It is over: the whole of it, where it came to its end and may be kept.
    pub fn end(&self, outcome: Result<(), PlayError>) -> Option<Samples> {
        let mut state = self.state();
        let good = outcome.is_ok();
        state.end.get_or_insert(outcome);
        self.grown.send_replace(());
        if state.passing || state.unkept || !good {
            return None;
        }
        if let (Some((_, only)), 1) = (state.chunks.front(), state.chunks.len()) {
            return Some(only.clone());
        }
        let mut whole = Vec::with_capacity(state.length);
        state.chunks.iter().for_each(|(_, chunk)| whole.extend_from_slice(chunk));
        Some(whole.into())
    }

    /// A reader from its start.
    pub fn reader(self: &Arc<Self>) -> Reader {
        self.read_along(&mut self.state())
    }

    /// One that comes later; `None`: the start is gone, or was held for another one.
    pub fn join(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        if state.passing {
            return None;
        }
        let reader = self.read_along(&mut state);
        if state.held.take().is_some() {
            if state.unkept || state.length > KEPT || state.end.is_some() {
                self.pass_on(&mut state);
            }
            self.read.notify_all();
            self.grown.send_replace(());
        }
        Some(reader)
    }

    fn read_along(self: &Arc<Self>, state: &mut State) -> Reader {
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, 0);
        Reader { track: self.clone(), id }
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.budget.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl State {
    fn is_held(&self) -> bool {
        self.held.is_some_and(|until| until > Instant::now())
    }

    /// Drops what all readers have read, and readers that are too far behind. How many bytes.
    fn forget(&mut self, fastest: usize) -> usize {
        let mut bytes = 0;
        self.readers.retain(|_, place| *place + BEHIND >= fastest);
        let slowest = self.readers.values().copied().min().unwrap_or(fastest);
        while self.chunks.front().is_some_and(|(place, chunk)| place + chunk.len() <= slowest)
            && let Some((_, chunk)) = self.chunks.pop_front()
        {
            bytes += chunk.len() * 2;
        }
        bytes
    }
}

/// One who listens.
#[derive(Debug)]
pub struct Reader {
    track: Arc<Track>,
    id: u64,
}

impl Reader {
    /// Gives everything on until the end, or until nobody takes it.
    pub async fn run(self, sender: mpsc::Sender<Result<Samples, PlayError>>) {
        let mut grown = self.track.grown.subscribe();
        loop {
            match self.next() {
                Next::Chunk(chunk) => {
                    if sender.send(Ok(chunk)).await.is_err() {
                        return;
                    }
                }
                Next::End(outcome) => {
                    if let Err(error) = outcome {
                        let _ = sender.send(Err(error)).await;
                    }
                    return;
                }
                Next::Wait => tokio::select! {
                    _ = grown.changed() => {}
                    () = sender.closed() => return,
                },
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.track.state();
        let Some(place) = state.readers.get(&self.id).copied() else {
            return Next::End(Err(unreadable("it was played too slowly to be kept")));
        };
        let at = state.chunks.partition_point(|(start, _)| *start < place);
        if let Some((_, chunk)) = state.chunks.get(at) {
            let chunk = chunk.clone();
            state.readers.insert(self.id, place + chunk.len());
            self.track.read.notify_all();
            return Next::Chunk(chunk);
        }
        state.end.clone().map_or(Next::Wait, Next::End)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.track.state().readers.remove(&self.id);
        self.track.read.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> Arc<Track> {
        Track::new(Arc::default())
    }

    fn listen(track: &Arc<Track>, room: usize) -> mpsc::Receiver<Result<Samples, PlayError>> {
        let (sender, receiver) = mpsc::channel(room);
        tokio::spawn(track.reader().run(sender));
        receiver
    }

    async fn all(mut stream: mpsc::Receiver<Result<Samples, PlayError>>) -> (Vec<i16>, Option<PlayError>) {
        let mut heard = Vec::new();
        while let Some(chunk) = stream.recv().await {
            match chunk {
                Ok(chunk) => heard.extend_from_slice(&chunk),
                Err(error) => return (heard, Some(error)),
            }
        }
        (heard, None)
    }

    #[tokio::test]
    async fn who_comes_late_hears_it_from_its_start() {
        let track = track();
        let early = listen(&track, 1);
        assert_eq!(track.push(vec![1, 2, 3]), Ok(true));
        let late = listen(&track, 1);
        assert_eq!(track.push(vec![4]), Ok(true));
        assert_eq!(track.end(Ok(())).as_deref(), Some([1, 2, 3, 4].as_slice()));
        assert_eq!(all(early).await, (vec![1, 2, 3, 4], None));
        assert_eq!(all(late).await, (vec![1, 2, 3, 4], None));
        assert_eq!(all(listen(&track, 1)).await, (vec![1, 2, 3, 4], None));
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_there() {
        let track = track();
        track.push(vec![7]).unwrap();
        assert_eq!(track.end(Err(unreadable("broken"))), None);
        assert_eq!(all(listen(&track, 1)).await, (vec![7], Some(unreadable("broken"))));
    }

    /// A sound that is not kept goes no further than its fastest reader, and ends when nobody hears it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_passing_sound_waits_for_its_listeners() {
        let track = track();
        track.pass();
        let mut stream = listen(&track, 1);
        let producer = std::thread::spawn({
            let track = track.clone();
            move || {
                let mut pushed = 0;
                while track.push(vec![0; 8000]) == Ok(true) {
                    pushed += 1;
                }
                pushed
            }
        });
        for _ in 0..20 {
            assert_eq!(stream.recv().await.unwrap().unwrap().len(), 8000);
        }
        drop(stream);
        let pushed = producer.join().unwrap();
        // The last one may be heard, and its listener gone, before its push is told that it was taken.
        assert!((19..=28).contains(&pushed), "{pushed} seconds for 20 that were heard");
        assert!(track.end(Ok(())).is_none());
    }

    #[test]
    fn the_budget_is_given_back() {
        let budget = Arc::new(AtomicUsize::new(BUDGET - 1000));
        let track = Track::new(budget.clone());
        assert_eq!(track.push(vec![0; 400]), Ok(true));
        assert!(track.is_whole());
        assert_eq!(track.push(vec![0; 400]), Ok(false), "no room, and nobody listens");
        assert!(!track.is_whole());
        assert_eq!(budget.load(Ordering::Relaxed), BUDGET - 1000);
        let other = Track::new(budget.clone());
        assert_eq!(other.push(vec![0; 400]), Ok(true));
        drop(other);
        assert_eq!(budget.load(Ordering::Relaxed), BUDGET - 1000);
    }

    /// What a slow reader makes a passing track hold counts: others are kept only while there is room beside it.
    #[test]
    fn a_slow_reader_is_in_the_budget() {
        let budget = Arc::new(AtomicUsize::new(0));
        let track = Track::new(budget.clone());
        let (fast, slow) = (track.reader(), track.reader());
        for _ in 0..10 {
            assert_eq!(track.push(vec![0; 8000]), Ok(true));
            assert!(matches!(fast.next(), Next::Chunk(_)));
        }
        track.pass();
        assert_eq!(track.push(vec![0; 8000]), Ok(true));
        assert_eq!(budget.load(Ordering::Relaxed), 11 * 16_000);
        drop(slow);
        assert_eq!(track.push(vec![0; 8000]), Ok(true));
        assert_eq!(budget.load(Ordering::Relaxed), 2 * 16_000, "what the fast one has not read");
        drop(fast);
        assert_eq!(track.push(vec![0; 8000]), Ok(false));
        assert_eq!(budget.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_hour_is_the_end() {
        let track = track();
        let _reader = track.reader();
        track.state().length = LONGEST;
        assert!(track.push(vec![0]).unwrap_err().reason.contains("longer than an hour"));
    }
}
