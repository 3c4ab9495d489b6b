//! The non-INVITE client transaction: RFC 3261 §17.1.2 (figure 6).

use super::machine::{Arm, Class, ClientInput, ClientSend, ClientStep, ClientTell, Setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// One non-INVITE client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonInviteClient {
    pub state: State,
    /// How often timer E fired.
    repeats: u8,
}

impl NonInviteClient {
    /// RFC 3261 §17.1.2.2, paragraph 1: sends the request; timer F, and over an unreliable transport timer E.
    pub fn start(setting: Setting<'_>) -> (Self, ClientStep) {
        let step = ClientStep {
            send: ClientSend::Request,
            tell: ClientTell::Nothing,
            repeat: setting.unreliable(setting.timers.doubling_to_t2(0)),
            expire: Arm::In(setting.timers.timeout()),
        };
        (Self { state: State::Trying, repeats: 0 }, step)
    }

    pub fn on(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match self.state {
            State::Trying => self.trying(input, setting),
            State::Proceeding => self.proceeding(input, setting),
            State::Completed => self.completed(input),
            State::Terminated => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 2-4: timer E doubles up to T2.
    fn trying(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Repeat => {
                self.repeats = self.repeats.saturating_add(1);
                ClientStep {
                    send: ClientSend::Request,
                    repeat: setting.unreliable(setting.timers.doubling_to_t2(self.repeats)),
                    ..ClientStep::ABSORB
                }
            }
            // Timer E runs on as it was set; only its next interval is T2.
            ClientInput::Response(Class::Provisional) => {
                self.state = State::Proceeding;
                ClientStep::tell(ClientTell::Response)
            }
            other => self.final_or_failed(other, setting),
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 5-6: the request goes on being repeated, every T2.
    fn proceeding(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Repeat => ClientStep {
                send: ClientSend::Request,
                repeat: setting.unreliable(setting.timers.t2),
                ..ClientStep::ABSORB
            },
            ClientInput::Response(Class::Provisional) => ClientStep::tell(ClientTell::Response),
            other => self.final_or_failed(other, setting),
        }
    }

    /// RFC 3261 §17.1.2.2, paragraph 7: absorbs what still comes, until timer K.
    fn completed(&mut self, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Expire | ClientInput::TransportError => self.end(ClientTell::Nothing),
            _ => ClientStep::ABSORB,
        }
    }

    /// RFC 3261 §17.1.2.2, paragraphs 4 and 6. Timer K is zero over a reliable transport: the end comes at once.
    fn final_or_failed(&mut self, input: ClientInput, setting: Setting<'_>) -> ClientStep {
        match input {
            ClientInput::Response(Class::Success | Class::Failure) => {
                self.state = if setting.reliable { State::Terminated } else { State::Completed };
                ClientStep {
                    send: ClientSend::Nothing,
                    tell: ClientTell::Response,
                    repeat: Arm::Stop,
                    expire: setting.unreliable(setting.timers.t4),
                }
            }
            ClientInput::Expire => self.end(ClientTell::Timeout),
            ClientInput::TransportError => self.end(ClientTell::TransportError),
            ClientInput::Response(Class::Provisional) | ClientInput::Repeat | ClientInput::CancelSent => {
                ClientStep::ABSORB
            }
        }
    }

    fn end(&mut self, tell: ClientTell) -> ClientStep {
        self.state = State::Terminated;
        ClientStep { send: ClientSend::Nothing, tell, repeat: Arm::Stop, expire: Arm::Stop }
    }
}
