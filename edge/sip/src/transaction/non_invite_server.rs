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

#[cfg(test)]
mod tests {
    use super::super::machine::table::{self, SERVER_INPUTS};
    use super::super::timers::Timers;
    use super::*;

    const STATES: [State; 4] = [State::Trying, State::Proceeding, State::Completed, State::Terminated];

    fn check(reliable: bool, rows: &[(State, ServerInput, &str)]) {
        let timers = Timers::default();
        let setting = Setting { timers: &timers, reliable };
        let on = |state, input| {
            let mut machine = NonInviteServer { state };
            let step = machine.on(input, setting);
            table::server(machine.state, step)
        };
        let otherwise = |state, input| match (state, input) {
            (State::Terminated, _) | (_, ServerInput::Respond(_)) => table::server(state, ServerStep::REFUSE),
            _ => table::server(state, ServerStep::ABSORB),
        };
        table::check(&STATES, &SERVER_INPUTS, rows, on, otherwise);
    }

    /// RFC 3261 figure 8 over UDP, and our own end of an unanswered one.
    #[test]
    fn figure_8_over_an_unreliable_transport() {
        use ServerInput::{Expire, Request, Respond};
        use State::{Completed, Proceeding, Trying};
        check(
            false,
            &[
                (Trying, Respond(Class::Provisional), "Proceeding: New Nothing keep keep"),
                (Trying, Respond(Class::Success), "Completed: New Nothing stop 32000ms"),
                (Trying, Respond(Class::Failure), "Completed: New Nothing stop 32000ms"),
                (Trying, Expire, "Terminated: Nothing Nothing stop stop"),
                (Proceeding, Request, "Proceeding: Last Nothing keep keep"),
                (Proceeding, Respond(Class::Provisional), "Proceeding: New Nothing keep keep"),
                (Proceeding, Respond(Class::Success), "Completed: New Nothing stop 32000ms"),
                (Proceeding, Respond(Class::Failure), "Completed: New Nothing stop 32000ms"),
                (Proceeding, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, Request, "Completed: Last Nothing keep keep"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }

    /// The same over TCP: timer J is zero.
    #[test]
    fn figure_8_over_a_reliable_transport() {
        use ServerInput::{Expire, Request, Respond};
        use State::{Completed, Proceeding, Trying};
        check(
            true,
            &[
                (Trying, Respond(Class::Provisional), "Proceeding: New Nothing keep keep"),
                (Trying, Respond(Class::Success), "Terminated: New Nothing stop stop"),
                (Trying, Respond(Class::Failure), "Terminated: New Nothing stop stop"),
                (Trying, Expire, "Terminated: Nothing Nothing stop stop"),
                (Proceeding, Request, "Proceeding: Last Nothing keep keep"),
                (Proceeding, Respond(Class::Provisional), "Proceeding: New Nothing keep keep"),
                (Proceeding, Respond(Class::Success), "Terminated: New Nothing stop stop"),
                (Proceeding, Respond(Class::Failure), "Terminated: New Nothing stop stop"),
                (Proceeding, Expire, "Terminated: Nothing Nothing stop stop"),
                (Completed, Request, "Completed: Last Nothing keep keep"),
                (Completed, Expire, "Terminated: Nothing Nothing stop stop"),
            ],
        );
    }
}
