//! SDP offers and answers (RFC 3264, RFC 8866) of a back-to-back user agent that anchors the media.
//!
//! [`Description`] is what a party's body says, read over `sdp-types` and tolerant of what real phones send.
//! [`Terms`] are codecs, direction and packet time apart from any address: what is carried from one dialog to the
//! other. [`Session`] is one dialog: it writes our offers and answers with our own address, keeps the `o=` version
//! (RFC 3264 §8), and remembers what was agreed.
//!
//! A call goes: `Description::parse(caller's body)`; per leg `Terms::for_leg(..)`, `Session::make_offer`; on the leg's
//! answer `Session::accept_answer`; then `caller.make_answer(&offer, &leg.remote_terms())`. A re-INVITE with an offer:
//! `Session::changes_nothing` decides whether we answer it ourselves (`Session::answer_ourselves`), else
//! `other.make_offer(&Terms::of(&offer))`, `other.accept_answer`, `this.make_answer(&offer, &other.remote_terms())`;
//! where that fails `Session::withdraw_offer` leaves both sides as they were.

mod codec;
mod description;
mod session;
mod terms;
#[cfg(test)]
mod tests;

pub use codec::Codec;
pub use description::{Audio, Description, Host, MAX_BODY, MAX_CODECS, MAX_MEDIA};
pub use session::{AgreedCodec, Session};
pub use terms::{CallerMedia, Terms};

/// Which way sound may go, from the point of view of whoever says it (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// It only sends: it has put the other side on hold.
    SendOnly,
    /// It only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From the two halves.
    pub fn new(send: bool, receive: bool) -> Direction {
        match (send, receive) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether whoever says it sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether whoever says it receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }

    /// Only what both allow.
    #[must_use]
    pub fn and(self, other: Direction) -> Direction {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Reads an attribute's name.
    pub fn from_attribute(name: &str) -> Option<Direction> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// Why an offer or answer cannot be used. An offer with any of these gets 488 with [`SdpError::warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is no SDP, even after mending.
    #[error("Session description not understood")]
    Malformed,
    /// More than [`MAX_BODY`] octets or [`MAX_MEDIA`] media lines.
    #[error("Session description too large")]
    TooLarge,
    /// No audio line at all, none with a port, or only T.38 and the like.
    #[error("No usable audio stream")]
    NoAudio,
    /// Audio only under SRTP or another profile that we do not speak.
    #[error("Audio needs RTP/AVP")]
    Transport,
    /// The audio line has no address, or one that is neither an IP address nor a host name, or a multicast group.
    #[error("No usable network address")]
    Address,
    /// No audio codec in common (telephone-event and comfort noise do not count).
    #[error("No audio codec in common")]
    NoCodec,
    /// An answer came where no offer of ours was open.
    #[error("No offer is open")]
    NoOffer,
}

impl SdpError {
    /// The warn-code of RFC 3261 §20.43.
    pub fn warn_code(&self) -> u16 {
        match self {
            SdpError::Malformed => 307,
            SdpError::Address => 301,
            SdpError::Transport => 302,
            SdpError::NoAudio => 304,
            SdpError::NoCodec => 305,
            SdpError::TooLarge | SdpError::NoOffer => 399,
        }
    }

    /// The value of a Warning header (RFC 3261 §20.43); `agent` is our host name or domain.
    pub fn warning(&self, agent: &str) -> String {
        format!("{} {agent} \"{self}\"", self.warn_code())
    }
}
