//! The library: which sounds are there, which are under way, and who loads what.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ringfork_call::action::{PlayError, Sound};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::fetch::{Fetcher, Stale};
use super::shelf::{BYTES, Freshness, Kept, Shelf};
use super::speech::{Speaker, Utterance};
use super::track::Track;
use super::{RATE, unreadable};
use crate::media::source::{CHUNKS, SampleStream, Samples, Sounds, failed, ready};

/// Sounds that are loaded at a time.
pub const LOADS: usize = 512;

/// Where sounds come from. Clones share everything.
#[derive(Clone)]
pub struct Library {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    fetcher: Fetcher,
    speaker: Speaker,
    places: Arc<Semaphore>,
    budget: Arc<AtomicUsize>,
    inner: Mutex<Inner>,
}

struct Inner {
    shelf: Shelf,
    under_way: HashMap<Sound, Arc<Track>>,
}

/// What the library has of a sound.
enum Found {
    There(Samples),
    UnderWay(Arc<Track>),
    Refused,
}

impl Library {
    /// Over this client and this speaker; the work is done on `runtime`.
    pub fn new(runtime: Handle, fetcher: Fetcher, speaker: Speaker) -> Self {
        let inner = Inner { shelf: Shelf::new(BYTES), under_way: HashMap::new() };
        let shared = Shared {
            runtime,
            fetcher,
            speaker,
            places: Arc::new(Semaphore::new(LOADS)),
            budget: Arc::default(),
            inner: Mutex::new(inner),
        };
        Library { shared: Arc::new(shared) }
    }

    /// What is there of it; loading begins where nothing is. A found track is listened to before the lock is given
    /// back, by `listen`.
    fn find<T>(&self, sound: &Sound, listen: impl FnOnce(Found) -> T) -> T {
        let mut inner = self.shared.inner();
        if let Some(track) = inner.under_way.get(sound).filter(|track| track.whole()) {
            let track = track.clone();
            count(sound, "joined");
            return listen(Found::UnderWay(track));
        }
        let stale = match inner.shelf.get(sound, SystemTime::now()) {
            Some(Kept::Good(samples)) => {
                count(sound, "kept");
                return listen(Found::There(samples));
            }
            Some(Kept::Ask(samples, validity, conditions)) => Some(Stale { samples, validity, conditions }),
            None => None,
        };
        let Ok(place) = self.shared.places.clone().try_acquire_owned() else {
            count(sound, "refused");
            return listen(Found::Refused);
        };
        count(sound, "loaded");
        let track = Track::new(self.shared.budget.clone());
        inner.under_way.insert(sound.clone(), track.clone());
        let heard = listen(Found::UnderWay(track.clone()));
        let (this, sound) = (self.shared.clone(), sound.clone());
        self.shared.runtime.spawn(async move {
            this.load(sound, track, stale).await;
            drop(place);
        });
        heard
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self, sound: Sound, track: Arc<Track>, stale: Option<Stale>) {
        let outcome = match &sound {
            Sound::File { url } => self.fetcher.fetch(url, stale, &track).await,
            Sound::Speech { text, voice, language } => {
                let utterance = Utterance { text: text.clone(), voice: voice.clone(), language: language.clone() };
                let spoken = self.speaker.speak(utterance).await;
                spoken.and_then(|samples| track.put(samples)).map(|()| Some(Freshness::Lasting))
            }
            Sound::Beep => track.put(beep()).map(|()| Some(Freshness::Lasting)),
        };
        if let Err(error) = &outcome {
            count(&sound, "failed");
            tracing::debug!(reason = error.reason, "a sound could not be had");
        }
        let (freshness, ended) = match outcome {
            Ok(freshness) => (freshness, Ok(())),
            Err(mut error) => {
                if let Sound::File { url } = &sound {
                    error.url.get_or_insert_with(|| url.clone());
                }
                (None, Err(error))
            }
        };
        let whole = track.end(ended);
        let mut inner = self.inner();
        // A track that was not to be kept may have been followed by another one.
        if inner.under_way.get(&sound).is_some_and(|known| Arc::ptr_eq(known, &track)) {
            inner.under_way.remove(&sound);
        }
        match (whole, freshness) {
            (Some(whole), Some(freshness)) => inner.shelf.put(sound, whole, freshness),
            // What its server no longer stands by is not asked about again.
            _ => inner.shelf.remove(&sound),
        }
    }
}

impl Sounds for Library {
    fn open(&self, sound: &Sound) -> SampleStream {
        self.find(sound, |found| match found {
            Found::There(samples) => ready(samples),
            Found::UnderWay(track) => {
                let (sender, stream) = mpsc::channel(CHUNKS);
                self.shared.runtime.spawn(track.reader().run(sender));
                stream
            }
            Found::Refused => failed(busy()),
        })
    }

    fn prepare(&self, sound: &Sound) {
        self.find(sound, |_| ());
    }
}

fn busy() -> PlayError {
    unreadable(format!("{LOADS} sounds are being loaded, which is the limit of this edge"))
}

fn count(sound: &Sound, outcome: &'static str) {
    let kind = match sound {
        Sound::File { .. } => "file",
        Sound::Speech { .. } => "speech",
        Sound::Beep => "beep",
    };
    metrics::counter!("ringfork_sounds_total", "kind" => kind, "outcome" => outcome).increment(1);
}

/// 1000 Hz for half a second.
fn beep() -> Samples {
    let count = RATE / 2;
    let step = 2.0 * std::f64::consts::PI * 1000.0 / f64::from(RATE);
    (0..count).map(|n| ((step * f64::from(n)).sin() * 8000.0).round() as i16).collect()
}

#[cfg(test)]
mod tests;
