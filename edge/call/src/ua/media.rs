//! What the media shell is told of a party: where its session description wants the sound. A host name there (RFC 8866
//! §5.7) is resolved, once for each name in a dialog; until that is done, and where it
//! fails, the party gets its sound where its own comes from.

use std::net::SocketAddr;

use super::Call;
use super::session::{Phase, Session};
use crate::action::{Action, LogLevel, Ports, ResolvedTarget};
use crate::agent::core::{Core, Party, Pending};

impl Session {
    /// Tells the media shell what was agreed.
    pub fn show_media<P: Ports>(&self, core: &mut Core<P>) {
        let mut rtp = self.sdp.remote_rtp();
        if let Some((name, port)) = self.sdp.remote_name() {
            match self.named.as_ref().filter(|named| named.0 == name) {
                Some(named) => rtp = Some(SocketAddr::new(named.1, port)),
                None => {
                    let (host, name) = (name.to_owned(), name.to_owned());
                    let token = core.token(Pending::MediaHost { call: self.key, party: self.party, name });
                    let resolve = Action::Resolve { token, host, port: Some(port), tcp: false, guard: false };
                    core.actions.push_back(resolve);
                }
            }
        }
        core.peer_media(&self.media, &self.sdp, rtp, self.flow);
    }
}

impl Call {
    /// The addresses of the host that a party named for its sound. Of several the first one counts that is of the family
    /// of its signalling.
    pub fn media_host_found<P: Ports>(
        &mut self,
        core: &mut Core<P>,
        party: Party,
        name: String,
        targets: &[ResolvedTarget],
    ) {
        let Some(session) = self.session_mut(party).filter(|session| session.phase == Phase::Live) else { return };
        if session.sdp.remote_name().is_none_or(|(now, _)| now != name) {
            return;
        }
        let v4 = session.flow.remote().ip().to_canonical().is_ipv4();
        let mut found = targets.iter().map(|target| target.address.ip().to_canonical());
        let Some(ip) = found.clone().find(|ip| ip.is_ipv4() == v4).or_else(|| found.next()) else {
            let line =
                format!("{name}, where a party wants its sound, has no address: it gets it where its own comes from");
            return self.log(core, LogLevel::Warn, line);
        };
        session.named = Some(Box::new((name, ip)));
        session.show_media(core);
    }
}
