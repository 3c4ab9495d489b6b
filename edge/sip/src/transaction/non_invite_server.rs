//! The non-INVITE server transaction: RFC 3261 §17.2.2 (figure 8).

use super::machine::{Arm, Class, ServerInput, ServerSend, ServerStep, ServerTell, Setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// One non-INVITE server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonInviteServer {
    pub state: State,
}

impl NonInviteServer {
    /// RFC 3261 §17.2.2, paragraph 1. The RFC sets no timer here; ours ends a transaction that its user never answered
    /// when the client has given up (its timer F, 64*T1), so that none stays for ever.
    pub fn start(setting: Setting<'_>) -> (Self, ServerStep) {
        let step = ServerStep { expire: Arm::In(setting.timers.timeout()), ..ServerStep::ABSORB };
        (Self { state: State::Trying }, step)
    }

    pub fn on(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match self.state {
            State::Trying => self.trying(input, setting),
            State::Proceeding => self.proceeding(input, setting),
            State::Completed => self.completed(input),
            State::Terminated => ServerStep::REFUSE,
        }
    }

    /// RFC 3261 §17.2.2, paragraph 2: repeated requests are discarded.
    fn trying(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match input {
            ServerInput::Respond(class) => self.respond(class, setting),
            ServerInput::Expire => self.end(),
            ServerInput::Request | ServerInput::Ack | ServerInput::Repeat => ServerStep::ABSORB,
        }
    }

    /// RFC 3261 §17.2.2, paragraph 3.
    fn proceeding(&mut self, input: ServerInput, setting: Setting<'_>) -> ServerStep {
        match input {
            ServerInput::Request => ServerStep::send(ServerSend::Last),
            ServerInput::Respond(class) => self.respond(class, setting),
            ServerInput::Expire => self.end(),
            ServerInput::Ack | ServerInput::Repeat => ServerStep::ABSORB,
        }
    }

    /// RFC 3261 §17.2.2, paragraphs 4-5: repeats the final response, discards any other, until timer J.
    fn completed(&mut self, input: ServerInput) -> ServerStep {
        match input {
            ServerInput::Request => ServerStep::send(ServerSend::Last),
            ServerInput::Respond(_) => ServerStep::REFUSE,
            ServerInput::Expire => self.end(),
            ServerInput::Ack | ServerInput::Repeat => ServerStep::ABSORB,
        }
    }

    /// RFC 3261 §17.2.2, paragraphs 2-4. Timer J is zero over a reliable transport: the end comes at once.
    fn respond(&mut self, class: Class, setting: Setting<'_>) -> ServerStep {
        if class == Class::Provisional {
            self.state = State::Proceeding;
            return ServerStep::send(ServerSend::New);
        }
        self.state = if setting.reliable { State::Terminated } else { State::Completed };
        ServerStep {
            send: ServerSend::New,
            tell: ServerTell::Nothing,
            repeat: Arm::Stop,
            expire: setting.unreliable(setting.timers.timeout()),
        }
    }

    fn end(&mut self) -> ServerStep {
        self.state = State::Terminated;
        ServerStep { send: ServerSend::Nothing, tell: ServerTell::Nothing, repeat: Arm::Stop, expire: Arm::Stop }
    }
}
