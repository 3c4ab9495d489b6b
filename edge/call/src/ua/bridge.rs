//! The caller and one leg joined: the media relayed, and both dialogs brought to the same codecs and directions.

use ringfork_media::payload::PayloadMap;
use ringfork_media::sdp::{AgreedCodec, Session as Sdp};
use ringfork_sip::message::Method;

use super::Call;
use super::session::{Phase, Purpose, Session};
use crate::action::{Action, MediaAction, Ports};
use crate::agent::core::{Core, Party};
use crate::control::signals::LegId;

impl Call {
    /// Joins caller and leg.
    pub fn bridge<P: Ports>(&mut self, core: &mut Core<P>, leg: LegId) {
        self.bridge = Some(leg);
        self.relay(core);
        self.align(core);
    }

    /// Tells the media shell to relay, with the payload numbers as they are now.
    pub fn relay<P: Ports>(&self, core: &mut Core<P>) {
        let Some(leg) = self.bridge.and_then(|leg| self.session(Party::Leg(leg))) else { return };
        let caller = &self.caller.session;
        let (Some(a), Some(b)) = (&caller.media, &leg.media) else { return };
        for (session, media) in [(caller, a), (leg, b)] {
            core.heard.insert(media.id, (self.key, session.party));
        }
        core.actions.push_back(Action::Media(MediaAction::Bridge {
            a: a.id,
            b: b.id,
            a_to_b: PayloadMap::between(&caller.sdp, &leg.sdp),
            b_to_a: PayloadMap::between(&leg.sdp, &caller.sdp),
        }));
    }

    /// Takes caller and leg apart. What one waited for from the other is settled without it.
    pub fn unbridge<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(leg) = self.bridge.take() else { return };
        for party in [Party::Caller, Party::Leg(leg)] {
            self.refuse_incoming(core, party, 500);
            if let Some(session) = self.session_mut(party).filter(|session| session.phase == Phase::Live) {
                session.settle_ack(core);
                session.digits.drop_waiting();
                if let Some(media) = &session.media {
                    core.actions.push_back(Action::Media(MediaAction::Unbridge { media: media.id }));
                }
            }
        }
    }

    /// Where the two dialogs of a bridge do not say the same, an offer of ours brings one to what the other has: a hold
    /// from before the bridge, an answer in the caller's ACK that differs from the leg's. One at a time, and only while
    /// no exchange is under way in either.
    pub fn align<P: Ports>(&mut self, core: &mut Core<P>) {
        let Some(leg) = self.bridge else { return };
        let caller = &self.caller.session;
        let Some(callee) = self.session(Party::Leg(leg)) else { return };
        if !ready(caller) || !ready(callee) {
            return;
        }
        let party = if callee.aligning > 0 && differs(&callee.sdp, &caller.sdp) {
            Party::Leg(leg)
        } else if caller.aligning > 0 && differs(&caller.sdp, &callee.sdp) {
            Party::Caller
        } else {
            return;
        };
        let other = if party == Party::Caller { Party::Leg(leg) } else { Party::Caller };
        let Some(there) = self.session(other).map(|other| &other.sdp) else { return };
        let (Some(terms), Some(direction)) = (there.remote_terms(), there.remote_direction()) else { return };
        let terms = terms.with_direction(direction);
        let Some(session) = self.session_mut(party) else { return };
        session.aligning -= 1;
        let body = session.sdp.make_offer(&terms);
        session.send(core, Method::Invite, Purpose::Align, Some(body));
    }
}

fn ready(session: &Session) -> bool {
    session.is_idle() && session.glare.is_none() && session.sdp.is_agreed()
}

/// Whether `here` should be offered what the party of `there` wants: its direction goes further or less far than what
/// was agreed here, or a codec that may come from here is not understood there.
fn differs(here: &Sdp, there: &Sdp) -> bool {
    let (Some(wanted_here), Some(wanted_there)) = (here.remote_direction(), there.remote_direction()) else {
        return false;
    };
    if wanted_there.and(wanted_here.reversed()) != here.direction() {
        return true;
    }
    let same = |ours: &AgreedCodec| there.codecs().any(|theirs| theirs.codec.same_format(&ours.codec));
    let speech = || here.codecs().filter(|ours| ours.codec.is_speech());
    // The relay transcodes G.711: nobody is asked anew for a law that is not the one it uses, or where both have but one.
    let shared = speech().any(same);
    let transcoded = |place: usize, ours: &AgreedCodec| {
        (place > 0 || !shared)
            && ours.codec.law().is_some()
            && there.codecs().any(|theirs| theirs.codec.law().is_some())
    };
    speech().enumerate().any(|(place, ours)| !same(ours) && !transcoded(place, ours))
}
