//! Why a message was not taken, with all that is needed to answer it.

use super::{Message, Method};

/// A message that cannot be processed. If it is a request with a Via, [`Fault::answerable`] gives what the refusal is
/// built from; everything else is to be dropped in silence (RFC 3261 §18.3, §8.2, §18.1.2 for broken responses).
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Fault {
    /// What to answer with: 400, 414, 501, 505 or 513.
    pub status: u16,
    /// Reason phrase that names the fault (RFC 3261 §21.4.1). Constant text: nothing received is in it.
    pub reason: &'static str,
    /// As much of the message as could be read; `None` when not even a start line was.
    pub message: Option<Message>,
}

impl Fault {
    pub(crate) fn new(status: u16, reason: &'static str, message: Option<Message>) -> Fault {
        Fault { status, reason, message }
    }

    /// The request to answer, if this is one that can be: not a response, not an ACK, and a Via is there.
    pub fn answerable(&self) -> Option<&Message> {
        let message = self.message.as_ref()?;
        let method = message.method()?;
        (*method != Method::Ack && message.via_values().next().is_some()).then_some(message)
    }
}
