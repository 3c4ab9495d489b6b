//! Parties whose stream has ended (RFC 5626 §4.3; docs/operations.md "Phones over TCP"). A client is reached over its flow
//! and nothing else. Where it has not been answered the call ends at once; an answered one gets [`GRACE`] to come back:
//! its dialog follows it to the flow of its new registration, or of a re-INVITE or UPDATE. Then it is lost.

use std::time::Duration;

use ringfork_sip::flow::Flow;

use super::Call;
use super::session::{Phase, Session};
use crate::action::{LogLevel, Ports};
use crate::agent::core::{Core, Party, Timer};
use crate::agent::hop::Route;

/// How long a party may be without a flow: as long as a transaction (64*T1).
pub const GRACE: Duration = Duration::from_secs(32);

/// Where a client is registered: the user of its AOR and the key of its binding.
pub type Home = Option<Box<(String, String)>>;

impl Call {
    /// The stream of a party has ended.
    pub fn flow_closed<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if party == Party::Caller && self.caller.ringing.is_some() {
            self.log(core, LogLevel::Info, "The caller's connection ended before the answer");
            return self.caller_gave_up();
        }
        if let Some(session) = self.session_mut(party).filter(|session| session.is_up())
            && !session.come_back(core)
        {
            session.set_adrift(core);
        }
    }

    /// A party had time enough to come back.
    pub fn still_adrift<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        let Some(session) = self.session_mut(party) else { return };
        if !session.is_up() || session.come_back(core) {
            return;
        }
        let was_live = session.phase == Phase::Live;
        session.gone(core);
        if was_live {
            self.log(core, LogLevel::Warn, "A party's connection ended and it did not come back: ended");
            self.lost(core, party);
        }
    }
}

impl Session {
    fn is_up(&self) -> bool {
        self.route == Route::Flow && self.phase != Phase::Gone
    }

    fn set_adrift<P: Ports>(&mut self, core: &mut Core<P>) {
        if self.adrift.is_none() {
            core.set(&mut self.adrift, GRACE, Timer::Adrift(self.key, self.party));
        }
    }

    /// Notes over which flow the party is reached now.
    pub fn watch_flow<P: Ports>(&self, core: &mut Core<P>) {
        if let (Route::Flow, Flow::Tcp { connection, .. }) = (self.route, self.flow) {
            core.on_streams.insert((connection, self.key, self.party));
        }
    }

    /// No longer: it is over, or goes elsewhere.
    pub fn unwatch_flow<P: Ports>(&mut self, core: &mut Core<P>) {
        if let Flow::Tcp { connection, .. } = self.flow {
            core.on_streams.remove(&(connection, self.key, self.party));
        }
        core.timers.clear(&mut self.adrift);
    }

    /// The party speaks over this flow now: its dialog goes on there.
    pub fn follow<P: Ports>(&mut self, core: &mut Core<P>, flow: Flow) {
        if self.route == Route::Flow && self.flow != flow {
            self.unwatch_flow(core);
            self.flow = flow;
            self.watch_flow(core);
        }
    }

    /// Whether the party can be reached again: it has registered anew over another flow.
    pub fn come_back<P: Ports>(&mut self, core: &mut Core<P>) -> bool {
        let Some(home) = &self.home else { return false };
        let Some(flow) = core.bindings.get(&home.0, &home.1).map(|binding| binding.flow()) else { return false };
        if !core.is_open(flow) {
            return false;
        }
        self.follow(core, flow);
        true
    }
}
