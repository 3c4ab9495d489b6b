//! Media sessions: opened and closed once, and joined to one other at most (RCML.md 1.2).

use ringfork_call::action::MediaAction;

use super::{Fault, Watch};

impl Watch {
    pub(super) fn media(&mut self, action: &MediaAction) -> Result<(), Fault> {
        match action {
            MediaAction::Open { media, .. } if !self.open.insert(*media) => {
                return Err(format!("{media:?} opened twice"));
            }
            MediaAction::Bridge { a, b, .. } => {
                self.reached.insert("bridged");
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
                if !self.open.remove(media) {
                    return Err(format!("{media:?} closed and not open"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
