//! What a test logged.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tracing::subscriber::DefaultGuard;

/// The lines that this thread has logged since [`capture`].
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Each line, with its fields.
    pub fn take(&self) -> Vec<Value> {
        let text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        serde_json::Deserializer::from_slice(&text).into_iter().map(Result::unwrap).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the lines of this thread, as `--log-format json` has them, until the guard is dropped.
pub fn capture() -> (DefaultGuard, Lines) {
    let lines = Lines::default();
    let writer = lines.clone();
    let builder = tracing_subscriber::fmt().with_writer(move || writer.clone()).json().flatten_event(true);
    (tracing::subscriber::set_default(builder.finish()), lines)
}
