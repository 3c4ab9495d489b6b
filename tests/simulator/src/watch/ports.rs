//! Media sessions: opened and closed once, joined to one other at most (RCML.md 1.2), and what each hears until then.

use ringfork_call::action::{MediaAction, Sound};

use super::{Fault, Leg, Said, Watch};
use crate::plan::PRIVATE;

impl Watch {
    pub(super) fn media(&mut self, action: &MediaAction) -> Result<(), Fault> {
        match action {
            MediaAction::Open { media, .. } if !self.open.insert(*media) => {
                return Err(format!("{media:?} opened twice"));
            }
            MediaAction::Peer { media, rtp: Some(rtp), .. } => drop(self.parties.insert(*media, rtp.ip())),
            MediaAction::Attend { media } => {
                if !self.open.contains(media) || self.partner.contains_key(media) {
                    return Err(format!("{media:?} attended and not open, or bridged"));
                }
                if self.attended.insert(*media, None).is_some() {
                    return Err(format!("{media:?} attended twice"));
                }
            }
            MediaAction::Play { media, play, sound, .. } => {
                if self.partner.contains_key(media) || !self.open.contains(media) {
                    return Err(format!("{play:?} to {media:?}, which is bridged or closed"));
                }
                match self.attended.insert(*media, Some(*play)) {
                    None => return Err(format!("{play:?} to {media:?}, which is not attended")),
                    Some(Some(before)) => return Err(format!("{play:?} to {media:?} while {before:?} plays")),
                    Some(None) => {}
                }
                let party = self.parties.get(media);
                let caller = self.calls.iter().any(|call| call.address.map(|address| address.ip()) == party.copied());
                let private = match sound {
                    Sound::Speech { text, .. } => Some(&**text == PRIVATE),
                    Sound::File { url } => Some(url.contains(PRIVATE)),
                    Sound::Beep => None,
                };
                if private.is_some_and(|private| private == caller) && party.is_some() {
                    return Err(format!("{sound:?} to {party:?} (RCML 1.3: a screening document is private)"));
                }
                if self.ringing.contains(media) {
                    return Err(format!("{play:?} to {media:?}, which hears ringing"));
                }
                self.reached.insert(if caller { "the caller hears something" } else { "a leg hears something" });
            }
            MediaAction::Stop { media } => {
                if self.attended.insert(*media, None).flatten().is_none() {
                    return Err(format!("{media:?} stopped, and nothing plays"));
                }
                self.reached.insert("a sound is cut");
            }
            MediaAction::RingingTone { media, on } => {
                if !self.open.contains(media) || self.partner.contains_key(media) {
                    return Err(format!("ringing to {media:?}, which is bridged or closed"));
                }
                let to = self.parties.get(media);
                if to.is_some_and(|to| !self.calls.iter().any(|call| call.address.is_some_and(|own| own.ip() == *to))) {
                    return Err(format!("ringing to {to:?}, which is no caller (RCML part 2)"));
                }
                if self.attended.get(media).copied().flatten().is_some() {
                    return Err(format!("ringing to {media:?}, which hears a sound"));
                }
                let changes = if *on { self.ringing.insert(*media) } else { self.ringing.remove(media) };
                if !changes {
                    return Err(format!("ringing to {media:?} begins or ends twice"));
                }
                self.reached.insert("an answered caller hears ringing");
            }
            MediaAction::Record { recording, media, other, .. } => {
                let joined = other.is_some_and(|other| self.partner.get(media) == Some(&other));
                let alone = other.is_none() && self.attended.contains_key(media) && !self.partner.contains_key(media);
                if !joined && !alone || !self.open.contains(media) {
                    return Err(format!("{recording} of {media:?} and {other:?}, which are not there"));
                }
                self.recordings.insert(*recording);
                self.reached.insert(if joined { "a bridge is recorded" } else { "a party is recorded" });
            }
            MediaAction::Bridge { a, b, .. } => {
                self.reached.insert("bridged");
                if let Some(play) = [a, b].into_iter().find_map(|media| self.attended.get(media).copied().flatten()) {
                    return Err(format!("{play:?} plays into the bridge of {a:?} and {b:?}"));
                }
                if self.ringing.contains(a) || self.ringing.contains(b) {
                    return Err(format!("ringing goes on into the bridge of {a:?} and {b:?} (RCML part 2)"));
                }
                for (one, other) in [(a, b), (b, a)] {
                    if !self.open.contains(one) {
                        return Err(format!("{one:?} bridged and not open"));
                    }
                    if self.partner.insert(*one, *other).is_some_and(|before| before != *other) {
                        return Err(format!("{one:?} bridged to two (RCML 1.2)"));
                    }
                }
            }
            MediaAction::Unbridge { media } => {
                if let Some(other) = self.partner.remove(media) {
                    self.partner.remove(&other);
                }
            }
            MediaAction::Close { media, .. } => {
                if let Some(other) = self.partner.remove(media) {
                    self.partner.remove(&other);
                }
                self.attended.remove(media);
                self.ringing.remove(media);
                if !self.open.remove(media) {
                    return Err(format!("{media:?} closed and not open"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A caller that was answered hears a ringing tone, or `dialMusic`, while a leg rings or screens: until one is accepted
    /// (RCML.md 1.3, part 2).
    pub(super) fn answered_callers_hear_ringing(&self) -> Result<(), Fault> {
        if self.setup.slow_store {
            return Ok(());
        }
        for (index, call) in self.calls.iter().enumerate() {
            let answered = call.last.is_some_and(|status| status < 300) && call.gone.is_none();
            if !answered || call.accepted.contains(&call.dials) {
                continue;
            }
            let legs = || self.legs.values().filter(|leg| (leg.call, leg.dial) == (index, call.dials));
            let ip = call.address.map(|address| address.ip());
            let own = self.parties.iter().find(|(media, party)| Some(**party) == ip && self.open.contains(media));
            let Some((media, _)) = own else { continue };
            let hears = self.ringing.contains(media) || self.attended.get(media).is_some_and(Option::is_some);
            if !hears && legs().any(|leg| self.is_waited_for(leg)) {
                return Err(format!("caller {index} hears nothing while a leg rings or screens (RCML 1.3)"));
            }
            if self.ringing.contains(media) && legs().all(|leg| leg.ended.is_some()) {
                return Err(format!("caller {index} hears ringing, and its legs are over (RCML part 2)"));
            }
        }
        Ok(())
    }

    /// A leg that rings or screens, as the wire shows it.
    fn is_waited_for(&self, leg: &Leg) -> bool {
        let Some(wire) = leg.wire.as_ref().and_then(|call_id| self.wire.get(call_id)) else { return false };
        let up = match wire.final_heard {
            None => leg.rang,
            Some(status) => status == 200 && leg.said.last().is_some_and(|(_, said)| *said == Said::Success(true)),
        };
        up && leg.ended.is_none() && !leg.unsure && !wire.cancelled && !wire.bye && !wire.reinvited
    }
}
