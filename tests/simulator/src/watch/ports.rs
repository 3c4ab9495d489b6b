//! Media sessions: opened and closed once, and joined to one other at most (RCML.md 1.2).

use ringfork_call::action::{MediaAction, Sound};

use super::{Fault, Watch};
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
                self.reached.insert(if caller { "the caller hears something" } else { "a leg hears something" });
            }
            MediaAction::Stop { media } => {
                if self.attended.insert(*media, None).flatten().is_none() {
                    return Err(format!("{media:?} stopped, and nothing plays"));
                }
                self.reached.insert("a sound is cut");
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
                if !self.open.remove(media) {
                    return Err(format!("{media:?} closed and not open"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
