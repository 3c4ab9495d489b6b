//! What a dialog agreed on that we make and understand ourselves: G.711 and keys.

use crate::g711::Law;
use crate::sdp::Session;

/// What a received payload number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// G.711 at 8 kHz.
    Sound(Law),
    /// Telephone events (RFC 4733), at any clock rate.
    Keys,
}

/// What one party sends and takes of what we know ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats {
    /// How sound of our own goes to the party: its first G.711 and the payload number. `None`: it takes none.
    pub sound: Option<(Law, u8)>,
    /// Under which payload number it takes telephone events of 8 kHz.
    pub keys: Option<u8>,
    /// What it may send to us, by payload number; several numbers may mean the same.
    pub received: Vec<(u8, Format)>,
}

impl Formats {
    /// Sound by one law under its static number, and no keys.
    pub fn plain(law: Law) -> Formats {
        let payload = law.payload();
        Formats { sound: Some((law, payload)), keys: None, received: vec![(payload, Format::Sound(law))] }
    }

    /// What a packet under this number carries; `None`: nothing that we understand.
    pub fn of(&self, payload: u8) -> Option<Format> {
        self.received.iter().find(|(number, _)| *number == payload).map(|(_, format)| *format)
    }
}

impl Session {
    /// What was agreed that we make and understand; nothing before an exchange was completed.
    pub fn formats(&self) -> Formats {
        let known = |agreed: &super::sdp::AgreedCodec| match agreed.codec.law() {
            Some(law) => Some(Format::Sound(law)),
            None => agreed.codec.is_telephone_event().then_some(Format::Keys),
        };
        let mut received: Vec<(u8, Format)> = Vec::new();
        // A party that sends by its own numbers instead of ours is understood where that cannot be mistaken.
        let ours = self.codecs().map(|agreed| (agreed.receive, known(agreed)));
        let theirs = self.codecs().map(|agreed| (agreed.send, known(agreed)));
        let taken: Vec<u8> = self.codecs().map(|agreed| agreed.receive).collect();
        for (number, format) in ours.chain(theirs.filter(|(number, _)| !taken.contains(number))) {
            if let Some(format) = format
                && !received.iter().any(|(known, _)| *known == number)
            {
                received.push((number, format));
            }
        }
        Formats { sound: self.g711(), keys: self.telephone_event().map(|(_, send)| send), received }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::sdp::{Description, Terms};

    fn answering(offer: &str) -> Formats {
        let mut session = Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000);
        let offer = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{offer}");
        session
            .answer_ourselves(&Description::parse(offer.as_bytes()).unwrap(), crate::sdp::Direction::SendRecv)
            .unwrap();
        session.formats()
    }

    /// Issue 4: several payload types.
    #[test]
    fn numbers_are_known_by_what_was_agreed() {
        let formats = answering(
            "m=audio 4000 RTP/AVP 8 0 96 97\r\na=rtpmap:96 telephone-event/8000\r\na=rtpmap:97 G729/8000\r\n",
        );
        assert_eq!((formats.sound, formats.keys), (Some((Law::A, 8)), Some(96)));
        assert_eq!(formats.of(0), Some(Format::Sound(Law::Mu)));
        assert_eq!((formats.of(96), formats.of(97), formats.of(101)), (Some(Format::Keys), None, None));
        assert_eq!(Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000).formats(), Formats::default());
    }

    /// RFC 3264 §5.1: the numbers of our offer are those that we receive; an answer's own are understood too.
    #[test]
    fn an_answer_with_numbers_of_its_own() {
        let mut session = Session::new(1, Ipv4Addr::LOCALHOST.into(), 20_000);
        session.make_offer(&Terms::standard());
        let answer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                      m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
        session.accept_answer(answer.as_bytes()).unwrap();
        let formats = session.formats();
        assert_eq!(formats.keys, Some(96));
        assert_eq!((formats.of(101), formats.of(96)), (Some(Format::Keys), Some(Format::Keys)));
    }
}
