//! Recordings in memory.

use async_trait::async_trait;

use super::{KEPT, MemoryStore, page};
use crate::Result;
use crate::page::{Page, PageRequest};
use crate::recording::{Recording, RecordingFilter, Recordings};

#[async_trait]
impl Recordings for MemoryStore {
    async fn put_recording(&self, recording: &Recording) -> Result<()> {
        let mut state = self.state();
        state.recordings.entry(recording.sid.clone()).or_insert_with(|| recording.clone());
        while state.recordings.len() > KEPT {
            state.recordings.pop_first();
        }
        Ok(())
    }

    async fn end_recording(&self, sid: &str, seconds: u32, now_unix_ms: u64) -> Result<()> {
        if let Some(recording) = self.state().recordings.get_mut(sid)
            && recording.seconds.is_none()
        {
            recording.seconds = Some(seconds);
            recording.updated_unix_ms = now_unix_ms;
        }
        Ok(())
    }

    async fn recording(&self, sid: &str) -> Result<Option<Recording>> {
        Ok(self.state().recordings.get(sid).cloned())
    }

    async fn recordings(&self, filter: &RecordingFilter, request: &PageRequest) -> Result<Page<Recording>> {
        let state = self.state();
        let own = |sid: &str| Some(sid.to_owned());
        let pick = |_: &String, found: &Recording| filter.matches(found).then(|| found.clone());
        Ok(page(&state.recordings, request, own, pick, |found| found.sid.clone()))
    }

    async fn delete_recording(&self, sid: &str) -> Result<bool> {
        Ok(self.state().recordings.remove(sid).is_some())
    }
}
