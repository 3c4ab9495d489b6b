//! The caller's side of the call: unanswered, ringing, answered, gone, and what its `CallStatus` is in each (RCML.md 3.1).

use super::CallStatus;
use super::outbox::Outbox;
use super::signals::CallOutput;
use crate::action::Now;

/// Where the caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Its INVITE has no final response from us. `ringing`: it got a 180, which signalling repeats.
    /// `early`: it got a 183 with media of ours in its place.
    Unanswered { ringing: bool, early: bool },
    /// It got our 200.
    Answered { unix_ms: u64 },
    /// It left, or was refused or hung up by us.
    Gone { answered_unix_ms: Option<u64> },
}

impl Default for Caller {
    fn default() -> Caller {
        Caller::Unanswered { ringing: false, early: false }
    }
}

impl Caller {
    pub(super) fn is_answered(self) -> bool {
        matches!(self, Caller::Answered { .. })
    }

    /// Its phone plays what we send, not a ringing tone of its own.
    pub(super) fn hears_us(self) -> bool {
        matches!(self, Caller::Answered { .. } | Caller::Unanswered { early: true, .. })
    }

    pub(super) fn is_gone(self) -> bool {
        matches!(self, Caller::Gone { .. })
    }

    /// When it was answered, if it was.
    pub(super) fn answered_unix_ms(self) -> Option<u64> {
        match self {
            Caller::Unanswered { .. } => None,
            Caller::Answered { unix_ms } => Some(unix_ms),
            Caller::Gone { answered_unix_ms } => answered_unix_ms,
        }
    }

    /// `CallStatus` of requests while it is there.
    pub(super) fn status(self) -> CallStatus {
        match self.answered_unix_ms() {
            None => CallStatus::Ringing,
            Some(_) => CallStatus::InProgress,
        }
    }

    /// The first 180; nothing for a caller that got one or was answered.
    pub(super) fn ring(&mut self, out: &mut Outbox) {
        if let Caller::Unanswered { ringing: ringing @ false, .. } = self {
            *ringing = true;
            out.push(CallOutput::Ring);
        }
    }

    /// The 183 with media of ours. False: it was answered, or is gone.
    pub(super) fn early_media(&mut self, out: &mut Outbox) -> bool {
        let Caller::Unanswered { ringing, early } = self else { return false };
        *ringing = true;
        if !std::mem::replace(early, true) {
            out.push(CallOutput::EarlyMedia);
        }
        true
    }

    /// Its 200 has left.
    pub(super) fn answer(&mut self, now: Now) {
        if matches!(self, Caller::Unanswered { .. }) {
            *self = Caller::Answered { unix_ms: now.unix_ms };
        }
    }

    /// We end it: refused with this code where unanswered, else BYE. Returns its final status, unless it was gone.
    pub(super) fn dismiss(&mut self, code: u16, out: &mut Outbox) -> Option<CallStatus> {
        let status = match self {
            Caller::Gone { .. } => return None,
            Caller::Answered { .. } => {
                out.push(CallOutput::HangUp);
                CallStatus::Completed
            }
            Caller::Unanswered { .. } => {
                out.push(CallOutput::Refuse { code });
                match code {
                    486 => CallStatus::Busy,
                    480 | 603 => CallStatus::NoAnswer,
                    _ => CallStatus::Failed,
                }
            }
        };
        *self = Caller::Gone { answered_unix_ms: self.answered_unix_ms() };
        Some(status)
    }

    /// It left: an unanswered one gets its 487. Returns its final status, unless it was gone.
    pub(super) fn leave(&mut self, out: &mut Outbox) -> Option<CallStatus> {
        let status = match self {
            Caller::Gone { .. } => return None,
            Caller::Answered { .. } => CallStatus::Completed,
            Caller::Unanswered { .. } => {
                out.push(CallOutput::Refuse { code: 487 });
                CallStatus::Canceled
            }
        };
        *self = Caller::Gone { answered_unix_ms: self.answered_unix_ms() };
        Some(status)
    }
}
