//! What is carried between dialogs: codecs, direction and packet time, without addresses.

use crate::g711::Law;

use super::{Codec, Description, Direction, SdpError, Session};

/// The content of an offer or answer apart from where the media goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// Seen from whoever offers or answers.
    pub direction: Direction,
    /// `a=ptime`, milliseconds.
    pub ptime: Option<u32>,
    /// `a=maxptime`, milliseconds.
    pub maxptime: Option<u32>,
}

/// What a leg's offer is made from (DESIGN "Media").
#[derive(Debug, Clone, Copy)]
pub enum CallerMedia<'a> {
    /// An INVITE without SDP.
    Nothing,
    /// The caller's offer, not answered yet.
    Offered(&'a Description),
    /// A caller that was answered already: the codecs agreed with it.
    Answered(&'a Session),
}

impl Terms {
    /// PCMU, PCMA and telephone-event, both ways: what we offer on our own.
    pub fn standard() -> Terms {
        Terms {
            codecs: vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event()],
            direction: Direction::SendRecv,
            ptime: None,
            maxptime: None,
        }
    }

    /// What a party's description says, to be carried to the other party: direction as it is (we stand for the party).
    pub fn of(description: &Description) -> Terms {
        let audio = description.audio();
        Terms { codecs: audio.codecs.clone(), direction: audio.direction, ptime: audio.ptime, maxptime: audio.maxptime }
    }

    /// The first offer of a leg (DESIGN "Media"): the caller's codecs in its order with its payload numbers, `sendrecv`
    /// even where the caller is on hold; `decodable_only` (a noun with `url`, a recorded Dial) keeps PCMU, PCMA and
    /// telephone-event alone. Where the caller has one law of G.711 the other is offered too, last: the relay makes one of
    /// the other, and the caller is not asked again.
    ///
    /// # Errors
    /// [`SdpError::NoCodec`] when no speech codec is left.
    pub fn for_leg(caller: CallerMedia<'_>, decodable_only: bool) -> Result<Terms, SdpError> {
        let mut terms = match caller {
            CallerMedia::Nothing => Terms::standard(),
            CallerMedia::Offered(offer) => Terms::of(offer),
            CallerMedia::Answered(session) => session.remote_terms().unwrap_or_else(Terms::standard),
        };
        terms.direction = Direction::SendRecv;
        if decodable_only {
            terms.codecs.retain(Codec::is_decodable);
        }
        terms.offer_both_laws();
        if terms.codecs.iter().any(Codec::is_speech) { Ok(terms) } else { Err(SdpError::NoCodec) }
    }

    fn offer_both_laws(&mut self) {
        let has = |law| self.codecs.iter().any(|codec| codec.law() == Some(law));
        let missing = match (has(Law::Mu), has(Law::A)) {
            (true, false) => Codec::pcma(),
            (false, true) => Codec::pcmu(),
            _ => return,
        };
        if !self.codecs.iter().any(|codec| codec.payload == missing.payload) {
            self.codecs.push(missing);
        }
    }

    /// The same codecs in another direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Terms {
        Terms { direction, ..self }
    }
}
