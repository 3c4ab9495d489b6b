//! Logs on stderr, as text or JSON, written by a thread of their own: a terminal or pipe that does not take them never
//! holds up a call. When [`LINES`] wait, further ones are dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, Options};

/// Lines waiting to be written.
const LINES: usize = 8192;
/// For the last lines at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

#[derive(Clone)]
struct Queue {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// Writes what is queued when it is dropped.
pub struct LogGuard {
    queue: Queue,
}

impl LogGuard {
    /// Lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything queued so far is written, a moment at most: who does not read its log does not hold up
    /// the end.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.lines.try_send(Entry::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging by `--log` and `--log-format`; without `--log` by `RUST_LOG`, else `info`.
/// In a process that logs already (tests) nothing changes.
pub fn init(options: &Options) -> LogGuard {
    let (lines, receiver) = sync_channel(LINES);
    let queue = Queue { lines, dropped: Arc::default() };
    // The writer ends with the process: the subscriber keeps a sender for ever.
    let _ = std::thread::Builder::new().name("log".into()).spawn(move || {
        let mut stderr = io::stderr();
        while let Ok(entry) = receiver.recv() {
            match entry {
                Entry::Line(line) => {
                    let _ = stderr.write_all(&line);
                }
                Entry::Flush(done) => {
                    let _ = stderr.flush();
                    let _ = done.send(());
                }
            }
        }
    });
    let filter = match &options.log {
        Some(filter) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(queue.clone()).with_ansi(false);
    let _ = match options.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    LogGuard { queue }
}

/// One line in the making.
struct Line<'a> {
    queue: &'a Queue,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.queue.lines.try_send(Entry::Line(text)).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, text: Vec::with_capacity(160) }
    }
}
