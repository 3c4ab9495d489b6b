//! What control of a call commands, carried out; and what it is told, handed in.

use std::time::Instant;

use super::Agent;
use super::core::{Core, Party, Pending, Timer};
use super::slab::Key;
use super::timers::TimerId;
use crate::action::{Action, LogLevel, MediaAction, Ports, RecordingEnd};
use crate::control::CallSid;
use crate::control::signals::{CallInput, CallOutput, Target};
use crate::ua::Call;

impl<P: Ports> Agent<P> {
    /// Lets control of a call work until it has nothing more to do, then forgets the call if it is over.
    pub(super) fn pump(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return self.pump_finishing(key) };
        loop {
            while let Some(output) = call.control.poll() {
                call.carry_out(&mut self.core, output);
            }
            match call.inbox.pop_front() {
                Some(input) if !call.finished => call.control.handle(self.core.now, input),
                Some(_) => {}
                None => break,
            }
        }
        let due = if call.finished { None } else { call.control.next_timeout() };
        self.core.wake(&mut call.wake, due, key);
        if call.is_over() {
            self.calls.remove(key);
        } else if call.only_owes() {
            self.calls.finish(key);
        }
    }

    /// The same of a call that is over: what is left are records and events.
    fn pump_finishing(&mut self, key: Key) {
        let Some(call) = self.calls.finishing_mut(key) else { return };
        while let Some(output) = call.control.poll() {
            // Nothing else is commanded of a call that is over.
            if let Some(CallOutput::Finished) = self.core.note(key, call.sid, output) {
                self.core.timers.clear(&mut call.wake);
                self.core.finished(key, call.sid);
                return self.calls.remove(key);
            }
        }
        let due = call.control.next_timeout();
        self.core.wake(&mut call.wake, due, key);
    }

    /// Tells control of a call something.
    pub(super) fn tell(&mut self, key: Key, input: CallInput) {
        if let Some(call) = self.calls.get_mut(key) {
            call.tell(input);
        } else if let Some(call) = self.calls.finishing_mut(key) {
            call.control.handle(self.core.now, input);
        }
        self.pump(key);
    }
}

impl<P: Ports> Core<P> {
    /// Sets the timer by which control of a call is woken.
    fn wake(&mut self, wake: &mut Option<TimerId>, due: Option<Instant>, key: Key) {
        if due != wake.map(|wake| wake.at()) {
            self.timers.clear(wake);
            if let Some(at) = due {
                self.set_at(wake, at, Timer::Control(key));
            }
        }
    }

    /// Nothing more comes of a call.
    fn finished(&mut self, key: Key, call: CallSid) {
        // Those that were never answered; there are few recordings and mostly none.
        self.recordings.retain(|_, waiting| *waiting != key);
        self.actions.push_back(Action::Finished { call });
    }

    /// Carries out what concerns no party: documents, records, events, notices, lines and counters. Returns the rest.
    fn note(&mut self, key: Key, sid: CallSid, output: CallOutput) -> Option<CallOutput> {
        let mut token = |ticket| self.token(Pending::Control { call: key, ticket });
        let action = match output {
            CallOutput::Evaluate { ticket, request } => Action::Evaluate { token: token(ticket), request: *request },
            CallOutput::Write { ticket, write } => Action::WriteCall { token: token(ticket), write },
            CallOutput::Deliver { ticket, event } => Action::Deliver { token: token(ticket), event },
            CallOutput::Notify(notice) => Action::Notify { notice },
            CallOutput::Log { level, message } => Action::Log { level, call: Some(sid), message },
            CallOutput::Prepare { sound } => Action::Media(MediaAction::Prepare { sound }),
            CallOutput::StopRecording { recording } => Action::Media(MediaAction::StopRecording { recording }),
            CallOutput::Count { metric, label, by } => Action::Count { metric, label, by },
            rest => return Some(rest),
        };
        self.actions.push_back(action);
        None
    }
}

impl Call {
    fn carry_out<P: Ports>(&mut self, core: &mut Core<P>, output: CallOutput) {
        let Some(output) = core.note(self.key, self.sid, output) else { return };
        match output {
            CallOutput::Ring => self.ring(core),
            CallOutput::Refuse { code } => self.refuse_caller(core, code, None),
            CallOutput::AnswerWith { leg } => self.answer_with(core, leg),
            CallOutput::AnswerAlone => self.answer_alone(core),
            CallOutput::HangUp => {
                self.unbridge(core);
                self.hang_up_caller(core);
            }
            CallOutput::FindBindings { ticket, identities } => {
                let now = core.now.unix_ms / 1000;
                let found = identities
                    .into_iter()
                    .map(|identity| {
                        core.bindings
                            .of(&identity, now)
                            .map(|binding| Target::Binding { aor: identity.clone(), key: binding.key().to_owned() })
                            .collect()
                    })
                    .collect();
                self.tell(CallInput::Bindings { ticket, found });
            }
            CallOutput::Invite(invite) => self.invite_leg(core, invite),
            CallOutput::Cancel { leg, elsewhere } => self.cancel_leg(core, leg, elsewhere),
            CallOutput::Bye { leg } => self.bye_leg(core, leg),
            CallOutput::Bridge { leg } => self.bridge(core, leg),
            CallOutput::EarlyMedia => self.early_media(core),
            CallOutput::Attend { party } => {
                if let Some(media) = self.media_of(party) {
                    core.heard.insert(media, (self.key, party));
                    core.actions.push_back(Action::Media(MediaAction::Attend { media }));
                }
            }
            CallOutput::Play { party, play, sound, loops } => {
                if let Some(media) = self.media_of(party) {
                    core.actions.push_back(Action::Media(MediaAction::Play { media, play, sound, loops }));
                }
            }
            CallOutput::Stop { party } => {
                if let Some(media) = self.media_of(party) {
                    core.actions.push_back(Action::Media(MediaAction::Stop { media }));
                }
            }
            CallOutput::Record { party, recording, call, other, limits } => {
                let other = other.and_then(|leg| self.media_of(Party::Leg(leg)));
                if let Some(media) = self.media_of(party) {
                    core.recordings.insert(recording, self.key);
                    let record = MediaAction::Record { recording, call, media, other, limits };
                    core.actions.push_back(Action::Media(record));
                } else {
                    // Its session is gone, and what is told of that is on its way.
                    self.tell(CallInput::Recorded { recording, seconds: 0, end: RecordingEnd::Stopped });
                }
            }
            CallOutput::RingingTone { on } => {
                if let Some(media) = &self.caller.session.media {
                    core.actions.push_back(Action::Media(MediaAction::RingingTone { media: media.id, on }));
                }
            }
            CallOutput::Finished => {
                self.finished = true;
                core.finished(self.key, self.sid);
                if self.caller.ringing.is_some() {
                    core.log(LogLevel::Error, Some(self.sid), "The call ended without an answer to its caller");
                    self.refuse_caller(core, 500, None);
                }
            }
            // Done by `note`.
            CallOutput::Evaluate { .. }
            | CallOutput::Write { .. }
            | CallOutput::Deliver { .. }
            | CallOutput::Notify(_)
            | CallOutput::Log { .. }
            | CallOutput::Prepare { .. }
            | CallOutput::StopRecording { .. }
            | CallOutput::Count { .. } => {}
        }
    }
}
