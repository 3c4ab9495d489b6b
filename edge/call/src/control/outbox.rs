//! What a call has yet to say to its surroundings, in order, and the tickets that pair requests with answers.

use std::collections::VecDeque;

use ringfork_rcml::evaluation;

use super::signals::{CallOutput, Ticket};
use super::{CallSid, Notice};
use crate::action::{LogLevel, Now};

/// The queue of outputs.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<CallOutput>,
    tickets: u32,
}

impl Outbox {
    pub(super) fn push(&mut self, output: CallOutput) {
        self.queue.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<CallOutput> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A ticket never given before in this call.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets = self.tickets.wrapping_add(1);
        Ticket(self.tickets)
    }

    pub(super) fn log(&mut self, level: LogLevel, message: impl Into<String>) {
        self.push(CallOutput::Log { level, message: message.into() });
    }

    pub(super) fn count(&mut self, metric: &'static str, label: &'static str) {
        self.push(CallOutput::Count { metric, label, by: 1 });
    }

    pub(super) fn notify(&mut self, call: CallSid, now: Now, notice: evaluation::Notice) {
        self.push(CallOutput::Notify(Notice { call, unix_ms: now.unix_ms, notice }));
    }
}
