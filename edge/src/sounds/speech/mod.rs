//! The speech port: a text becomes sound. [`flite`] speaks on this machine, [`polly`] at AWS; what was spoken is kept
//! on disk ([`disk`]), so that a restart does not speak it again.

mod disk;
pub mod flite;
pub mod polly;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ringfork_call::action::PlayError;
use ringfork_call::control::{Languages, Voices};

use super::unreadable;
use crate::media::source::Samples;

pub use disk::Disk;

/// Longest text, characters.
pub const LONGEST: usize = 4096;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Utterance {
    /// Plain text.
    pub text: Arc<str>,
    /// As written; `None`: the port's own for the language.
    pub voice: Option<Arc<str>>,
    /// As written.
    pub language: Arc<str>,
}

/// A voice engine.
#[async_trait]
pub trait Speech: Send + Sync {
    /// Its name, and whatever else makes the same text sound different: part of the key under which it is kept.
    fn name(&self) -> &str;

    /// What it speaks in.
    fn languages(&self) -> Languages {
        Languages::Any
    }

    /// Whose names it knows.
    fn voices(&self) -> Voices {
        Voices::Any
    }

    /// Speaks.
    ///
    /// # Errors
    /// In one line that names the fix.
    async fn speak(&self, utterance: &Utterance) -> Result<Vec<i16>, PlayError>;
}

/// `--speech off`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Off;

#[async_trait]
impl Speech for Off {
    fn name(&self) -> &str {
        "off"
    }

    async fn speak(&self, _: &Utterance) -> Result<Vec<i16>, PlayError> {
        Err(unreadable("<Say> is off on this server: start it with --speech flite or --speech polly"))
    }
}

/// An engine, and what it said before.
#[derive(Clone)]
pub struct Speaker {
    engine: Arc<dyn Speech>,
    disk: Arc<Disk>,
}

impl Speaker {
    /// Keeps what is spoken in `folder`, which is made with the first.
    pub fn new(engine: Arc<dyn Speech>, folder: PathBuf) -> Self {
        Self { engine, disk: Arc::new(Disk::new(folder, disk::BYTES)) }
    }

    /// What its engine speaks in.
    pub fn languages(&self) -> Languages {
        self.engine.languages()
    }

    /// Whose names its engine knows.
    pub fn voices(&self) -> Voices {
        self.engine.voices()
    }

    /// What is kept, or else spoken now.
    ///
    /// # Errors
    /// When it cannot be spoken.
    pub async fn speak(&self, utterance: Utterance) -> Result<Samples, PlayError> {
        let text = utterance.text.trim();
        if text.is_empty() {
            return Ok(Samples::default());
        }
        if text.chars().count() > LONGEST {
            return Err(unreadable(format!("the text is longer than {LONGEST} characters: say it in several verbs")));
        }
        let key = disk::key(self.engine.name(), &utterance);
        let (disk, name) = (self.disk.clone(), key.clone());
        if let Ok(Some(samples)) = tokio::task::spawn_blocking(move || disk.read(&name)).await {
            return Ok(samples.into());
        }
        let samples: Samples = self.engine.speak(&utterance).await?.into();
        let (disk, kept) = (self.disk.clone(), samples.clone());
        // Nobody waits for the disk.
        tokio::task::spawn_blocking(move || disk.write(&key, &kept));
        Ok(samples)
    }
}
