//! Recordings under way and what waits for their end (RCML.md part 2, Record; 1.5, `record`).
//!
//! Each that was started is answered once. One that was ended and is not answered in time counts as empty, so that no
//! call waits for it for ever.

use std::time::{Duration, Instant};

use ringfork_rcml::evaluation::Purpose;
use ringfork_rcml::program::DocumentRef;

use super::desk::{Desk, Errand};
use super::params::{self, Form};
use super::signals::{CallOutput, LegId, Party};
use super::{CallSid, notices};
use crate::action::{LogLevel, Now, RecordingEnd, RecordingLimits, RecordingSid};

/// How long a recording that was ended may go unanswered.
const END_WAIT: Duration = Duration::from_secs(10);

/// Those of one call.
#[derive(Default)]
pub(super) struct Recordings(Vec<Open>);

struct Open {
    recording: RecordingSid,
    /// The call that it lies on.
    sid: CallSid,
    /// It was ended: answered until then.
    until: Option<Instant>,
    after: Option<After>,
}

/// Record's `action` after a hangup: its answer is unused.
pub(super) struct After {
    pub(super) action: DocumentRef,
    /// All but those that the recording adds.
    pub(super) parameters: Form,
    pub(super) cookies: Vec<String>,
}

impl Recordings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|open| open.until).min()
    }

    /// One whose answer did not come in time.
    pub(super) fn late(&self, now: Now) -> Option<RecordingSid> {
        let due = |open: &&Open| open.until.is_some_and(|until| until <= now.instant);
        self.0.iter().find(due).map(|open| open.recording)
    }

    pub(super) fn discard(&mut self) {
        self.0.clear();
    }

    fn of(&mut self, recording: RecordingSid) -> Option<&mut Open> {
        self.0.iter_mut().find(|open| open.recording == recording)
    }
}

impl Desk {
    /// Records this party from now on, and with it `other`. The recording lies on the call `sid`.
    pub(super) fn start_recording(
        &mut self,
        now: Now,
        sid: CallSid,
        party: Party,
        other: Option<LegId>,
        limits: RecordingLimits,
    ) -> RecordingSid {
        let recording = RecordingSid(self.sids.next(now.unix_ms).0);
        self.recordings.0.push(Open { recording, sid, until: None, after: None });
        self.out.push(CallOutput::Record { party, recording, call: sid, other, limits });
        recording
    }

    /// We end it.
    pub(super) fn stop_recording(&mut self, now: Now, recording: RecordingSid) {
        if let Some(open) = self.recordings.of(recording) {
            open.until = Some(now.instant + END_WAIT);
            self.out.push(CallOutput::StopRecording { recording });
        }
    }

    /// Its party is gone or is being ended, and the recording with it.
    pub(super) fn leave_recording(&mut self, now: Now, recording: RecordingSid, after: Option<After>) {
        if let Some(open) = self.recordings.of(recording) {
            open.until = Some(now.instant + END_WAIT);
            open.after = after;
        }
    }

    /// It is over. True: it was one of ours, and not answered before.
    pub(super) fn recorded(&mut self, now: Now, recording: RecordingSid, length: u32, end: RecordingEnd) -> bool {
        let Some(index) = self.recordings.0.iter().position(|open| open.recording == recording) else { return false };
        let Open { sid, after, .. } = self.recordings.0.swap_remove(index);
        if end == RecordingEnd::Failed {
            self.out.notify(sid, now, notices::recording_failed(recording));
        }
        if let Some(After { action, mut parameters, cookies }) = after.filter(|_| length > 0) {
            parameters.extend(params::recording(&self.config.recording_url(recording), length));
            let errand = Errand { sid, purpose: Purpose::Unused, fallback: None, parameters };
            self.evaluate_with(cookies, action, errand);
        }
        true
    }

    /// The shell owes an answer.
    pub(super) fn recording_is_late(&mut self, recording: RecordingSid) {
        self.out.log(LogLevel::Error, format!("{recording} was ended and not closed within 10 s: it counts as empty"));
        self.out.count("recordings_late_total", "");
    }
}
