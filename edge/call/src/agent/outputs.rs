//! What control of a call commands, carried out; and what it is told, handed in.

use super::Agent;
use super::core::{Core, Pending, Timer};
use super::slab::Key;
use crate::action::{Action, LogLevel, MediaAction, Ports};
use crate::control::signals::{CallInput, CallOutput, Target};
use crate::ua::Call;

impl<P: Ports> Agent<P> {
    /// Lets control of a call work until it has nothing more to do, then forgets the call if it is over.
    pub(super) fn pump(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
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
        if due != call.wake.map(|wake| wake.at()) {
            self.core.timers.clear(&mut call.wake);
            if let Some(at) = due {
                self.core.set_at(&mut call.wake, at, Timer::Control(key));
            }
        }
        if call.is_over() {
            self.calls.remove(key);
        }
    }

    /// Tells control of a call something.
    pub(super) fn tell(&mut self, key: Key, input: CallInput) {
        if let Some(call) = self.calls.get_mut(key) {
            call.tell(input);
        }
        self.pump(key);
    }
}

impl Call {
    fn carry_out<P: Ports>(&mut self, core: &mut Core<P>, output: CallOutput) {
        let call = self.key;
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
            CallOutput::RingingTone { on } => {
                if let Some(media) = &self.caller.session.media {
                    core.actions.push_back(Action::Media(MediaAction::RingingTone { media: media.id, on }));
                }
            }
            CallOutput::Evaluate { ticket, request } => {
                let token = core.token(Pending::Control { call, ticket });
                core.actions.push_back(Action::Evaluate { token, request: *request });
            }
            CallOutput::Write { ticket, write } => {
                let token = core.token(Pending::Control { call, ticket });
                core.actions.push_back(Action::WriteCall { token, write });
            }
            CallOutput::Deliver { ticket, event } => {
                let token = core.token(Pending::Control { call, ticket });
                core.actions.push_back(Action::Deliver { token, event });
            }
            CallOutput::Notify(notice) => core.actions.push_back(Action::Notify { notice }),
            CallOutput::Log { level, message } => core.log(level, Some(self.sid), message),
            CallOutput::Count { metric, label, by } => core.actions.push_back(Action::Count { metric, label, by }),
            CallOutput::Finished => {
                self.finished = true;
                core.actions.push_back(Action::Finished { call: self.sid });
                if self.caller.ringing.is_some() {
                    core.log(LogLevel::Error, Some(self.sid), "The call ended without an answer to its caller");
                    self.refuse_caller(core, 500, None);
                }
            }
        }
    }
}
