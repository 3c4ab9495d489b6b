//! The library: which sounds are there, which are under way, and who loads what.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ringfork_call::action::{PlayError, Sound};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::fetch::{Fetcher, Stale};
use super::shelf::{BYTES, Freshness, Kept, Shelf};
use super::speech::{Speaker, Utterance};
use super::track::{HOLD, Reader, Track};
use super::{RATE, unreadable};
use crate::media::source::{CHUNKS, SampleStream, Samples, Sounds, failed, ready};

/// Sounds that are loaded at a time.
pub const LOADS: usize = 512;
/// Sounds that are held for the Play that was announced; further ones are not prepared.
const HOLDS: usize = 4096;

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
    holds: Arc<Semaphore>,
    /// [`HOLD`], but in tests.
    patience: Duration,
    budget: Arc<AtomicUsize>,
    inner: Mutex<Inner>,
}

struct Inner {
    shelf: Shelf,
    /// What is being loaded, and what is held for a Play.
    under_way: HashMap<Sound, Arc<Track>>,
}

impl Library {
    /// Over this client and this speaker; the work is done on `runtime`.
    pub fn new(runtime: Handle, fetcher: Fetcher, speaker: Speaker) -> Self {
        Self::holding(HOLD, runtime, fetcher, speaker)
    }

    fn holding(patience: Duration, runtime: Handle, fetcher: Fetcher, speaker: Speaker) -> Self {
        let inner = Inner { shelf: Shelf::new(BYTES), under_way: HashMap::new() };
        let shared = Shared {
            runtime,
            fetcher,
            speaker,
            places: Arc::new(Semaphore::new(LOADS)),
            holds: Arc::new(Semaphore::new(HOLDS)),
            patience,
            budget: Arc::default(),
            inner: Mutex::new(inner),
        };
        Library { shared: Arc::new(shared) }
    }

    /// Loads it into the track. False: too many are being loaded.
    fn begin(&self, inner: &mut Inner, sound: &Sound, load: Load) -> bool {
        let Ok(place) = self.shared.places.clone().try_acquire_owned() else {
            count(sound, "refused");
            return false;
        };
        count(sound, "loaded");
        inner.under_way.insert(sound.clone(), load.track.clone());
        let (this, sound) = (self.shared.clone(), sound.clone());
        self.shared.runtime.spawn(async move {
            let Load { track, stale, hold } = load;
            let held = this.load(&sound, &track, stale).await;
            drop(place);
            if held {
                track.released().await;
                this.forget(&sound, &track);
            }
            drop(hold);
        });
        true
    }

    fn stream(&self, reader: Reader) -> SampleStream {
        let (sender, stream) = mpsc::channel(CHUNKS);
        self.shared.runtime.spawn(reader.run(sender));
        stream
    }

    /// Whether it lies ready.
    #[cfg(test)]
    fn is_loaded(&self, sound: &Sound) -> bool {
        self.shared.inner().under_way.get(sound).is_some_and(|track| track.is_over())
    }
}

/// How a sound is to be loaded.
struct Load {
    track: Arc<Track>,
    stale: Option<Stale>,
    /// The track is held for the Play that was announced.
    hold: Option<OwnedSemaphorePermit>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, sound: &Sound, track: &Arc<Track>) {
        self.inner().forget(sound, track);
    }

    /// Whether the track is there whole, but held for one Play alone.
    async fn load(&self, sound: &Sound, track: &Arc<Track>, stale: Option<Stale>) -> bool {
        let outcome = match sound {
            Sound::File { url } => self.fetcher.fetch(url, stale, track).await,
            Sound::Speech { text, voice, language } => {
                let utterance = Utterance { text: text.clone(), voice: voice.clone(), language: language.clone() };
                let spoken = self.speaker.speak(utterance).await;
                spoken.and_then(|samples| track.put(samples)).map(|()| Some(Freshness::Lasting))
            }
            Sound::Beep => track.put(beep()).map(|()| Some(Freshness::Lasting)),
        };
        if let Err(error) = &outcome {
            count(sound, "failed");
            tracing::debug!(reason = error.reason, "a sound could not be had");
        }
        let (freshness, ended) = match outcome {
            Ok(freshness) => (freshness, Ok(())),
            Err(mut error) => {
                if let Sound::File { url } = sound {
                    error.url.get_or_insert_with(|| url.clone());
                }
                (None, Err(error))
            }
        };
        let good = ended.is_ok();
        let whole = track.end(ended);
        let mut inner = self.inner();
        match (whole, freshness) {
            (Some(whole), Some(freshness)) => inner.shelf.put(sound.clone(), whole, freshness),
            // What its server no longer stands by is not asked about again.
            _ => inner.shelf.remove(sound),
        }
        let held = good && track.is_held() && !matches!(inner.shelf.get(sound, SystemTime::now()), Some(Kept::Good(_)));
        if !held {
            inner.forget(sound, track);
        }
        held
    }
}

impl Inner {
    /// A track that was not to be kept may have been followed by another one: that stays.
    fn forget(&mut self, sound: &Sound, track: &Arc<Track>) {
        if self.under_way.get(sound).is_some_and(|known| Arc::ptr_eq(known, track)) {
            self.under_way.remove(sound);
        }
    }
}

impl Sounds for Library {
    fn open(&self, sound: &Sound) -> SampleStream {
        let mut inner = self.shared.inner();
        if let Some(reader) = inner.under_way.get(sound).and_then(Track::join) {
            count(sound, "joined");
            return self.stream(reader);
        }
        let stale = match inner.shelf.get(sound, SystemTime::now()) {
            Some(Kept::Good(samples)) => {
                count(sound, "kept");
                return ready(samples);
            }
            Some(Kept::Ask(samples, validity, conditions)) => Some(Stale { samples, validity, conditions }),
            None => None,
        };
        let track = Track::new(self.shared.budget.clone());
        // It listens before loading begins.
        let reader = track.reader();
        if self.begin(&mut inner, sound, Load { track, stale, hold: None }) {
            self.stream(reader)
        } else {
            failed(busy())
        }
    }

    /// What HTTP does not let us keep is held for one `open` within [`HOLD`].
    fn prepare(&self, sound: &Sound) {
        let mut inner = self.shared.inner();
        if inner.under_way.get(sound).is_some_and(|track| track.is_whole()) {
            return count(sound, "joined");
        }
        let stale = match inner.shelf.get(sound, SystemTime::now()) {
            Some(Kept::Good(_)) => return count(sound, "kept"),
            Some(Kept::Ask(samples, validity, conditions)) => Some(Stale { samples, validity, conditions }),
            None => None,
        };
        let track = Track::new(self.shared.budget.clone());
        let hold = match sound {
            Sound::File { .. } => {
                let Ok(hold) = self.shared.holds.clone().try_acquire_owned() else { return count(sound, "refused") };
                track.hold(self.shared.patience);
                Some(hold)
            }
            Sound::Speech { .. } | Sound::Beep => None,
        };
        self.begin(&mut inner, sound, Load { track, stale, hold });
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
