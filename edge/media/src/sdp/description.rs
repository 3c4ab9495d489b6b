//! What a party's SDP says, as far as we use it: its media lines, and the first audio line that we can use.

use std::net::{IpAddr, SocketAddr};

use super::{Codec, Direction, SdpError};

/// Largest body read, octets. A browser's offer with all its candidates has about a third of it.
pub const MAX_BODY: usize = 32 * 1024;
/// Most media lines in a body; a body with more is refused.
pub const MAX_MEDIA: usize = 32;
/// Most codecs taken from an audio line; further ones are ignored.
pub const MAX_CODECS: usize = 32;

/// Where a party wants its media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address; IPv4-mapped IPv6 is IPv4 here. Unspecified (0.0.0.0, ::) is the hold of RFC 2543.
    Ip(IpAddr),
    /// A host name (RFC 8866 §5.7 allows it): to be resolved, or to be learned from the first packet.
    Name(String),
}

/// One media line, as much of it as an answer repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaLine {
    /// `audio`, `video`, ...
    pub media: String,
    /// `RTP/AVP`, ...
    pub proto: String,
    /// Its first format: a refused line needs one (RFC 3264 §6).
    pub format: String,
}

/// The audio line in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Where it wants RTP.
    pub host: Host,
    /// RTP port, never 0. RTCP is the next one: `a=rtcp` is not heeded.
    pub port: u16,
    /// Codecs in its order; at least one of them is speech.
    pub codecs: Vec<Codec>,
    /// Milliseconds per packet that it would like.
    pub ptime: Option<u32>,
    /// Milliseconds per packet at most.
    pub maxptime: Option<u32>,
    /// Seen from the party. `c=0.0.0.0` (RFC 2543 hold) takes the receiving half away.
    pub direction: Direction,
    /// Which of the body's media lines it is, from 0.
    pub(crate) line: usize,
}

impl Audio {
    /// Its RTP address; `None` for a host name or the hold of RFC 2543.
    pub fn rtp(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) if !ip.is_unspecified() => Some(SocketAddr::new(ip, self.port)),
            _ => None,
        }
    }

    /// Whether both want the same sound at the same place, wherever the line stands.
    pub(crate) fn same_media(&self, other: &Audio) -> bool {
        let Audio { host, port, codecs, ptime, maxptime, direction, line: _ } = self;
        *port == other.port
            && *direction == other.direction
            && *ptime == other.ptime
            && *maxptime == other.maxptime
            && *host == other.host
            && *codecs == other.codecs
    }

    /// The telephone-event format at 8000 Hz, else at any rate.
    pub fn telephone_event(&self) -> Option<&Codec> {
        let mut events = self.codecs.iter().filter(|codec| codec.is_telephone_event());
        events.clone().find(|codec| codec.rate == 8000).or_else(|| events.next())
    }
}

/// A party's session description with a usable audio line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub(crate) lines: Vec<MediaLine>,
    audio: Audio,
}

impl Description {
    /// Reads a body and finds its first usable audio line: RTP/AVP or RTP/AVPF, port not 0, an address, and a codec
    /// that we know by its rtpmap or by RFC 3551. Lines that RFC 8866 does not want but phones send are passed over.
    ///
    /// # Errors
    /// The reason of the audio line that came nearest to being usable; all mean 488 for an offer.
    pub fn parse(body: &[u8]) -> Result<Description, SdpError> {
        if body.len() > MAX_BODY {
            return Err(SdpError::TooLarge);
        }
        let parsed = match sdp_types::Session::parse(body) {
            Ok(parsed) => parsed,
            Err(_) => sdp_types::Session::parse(mend(body).as_bytes()).map_err(|_| SdpError::Malformed)?,
        };
        if parsed.medias.len() > MAX_MEDIA {
            return Err(SdpError::TooLarge);
        }
        let mut lines = Vec::with_capacity(parsed.medias.len());
        let mut audio = Err(SdpError::NoAudio);
        for (index, media) in parsed.medias.iter().enumerate() {
            lines.push(MediaLine {
                media: media.media.clone(),
                proto: media.proto.clone(),
                format: media.fmt.split_ascii_whitespace().next().unwrap_or("0").to_owned(),
            });
            if audio.is_ok() || !media.media.eq_ignore_ascii_case("audio") || media.port == 0 {
                continue;
            }
            match read_audio(&parsed, media, index) {
                Ok(found) => audio = Ok(found),
                Err(reason) if audio == Err(SdpError::NoAudio) => audio = Err(reason),
                Err(_) => {}
            }
        }
        Ok(Description { lines, audio: audio? })
    }

    /// The audio line in use.
    pub fn audio(&self) -> &Audio {
        &self.audio
    }

    /// Whether the party holds the call: it does not want to receive (RFC 3264 §8.4).
    pub fn is_hold(&self) -> bool {
        !self.audio.direction.receives()
    }
}

fn read_audio(session: &sdp_types::Session, media: &sdp_types::Media, line: usize) -> Result<Audio, SdpError> {
    if !media.proto.eq_ignore_ascii_case("RTP/AVP") && !media.proto.eq_ignore_ascii_case("RTP/AVPF") {
        return Err(SdpError::Transport);
    }
    let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::Address)?;
    let host = read_host(&connection.connection_address)?;
    let codecs = read_codecs(media);
    if !codecs.iter().any(Codec::is_speech) {
        return Err(SdpError::NoCodec);
    }
    let stated = direction_of(&media.attributes).or_else(|| direction_of(&session.attributes)).unwrap_or_default();
    let held = matches!(host, Host::Ip(ip) if ip.is_unspecified());
    Ok(Audio {
        host,
        port: media.port,
        codecs,
        ptime: milliseconds(media, "ptime"),
        maxptime: milliseconds(media, "maxptime"),
        direction: Direction::new(stated.sends(), stated.receives() && !held),
        line,
    })
}

fn read_host(text: &str) -> Result<Host, SdpError> {
    // A suffix is the TTL or the count of a multicast group (RFC 8866 §5.7).
    let text = text.split('/').next().unwrap_or_default();
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return if ip.is_multicast() { Err(SdpError::Address) } else { Ok(Host::Ip(ip)) };
    }
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    if is_name { Ok(Host::Name(text.to_owned())) } else { Err(SdpError::Address) }
}

fn read_codecs(media: &sdp_types::Media) -> Vec<Codec> {
    let mut codecs: Vec<Codec> = Vec::new();
    for format in media.fmt.split_ascii_whitespace() {
        let Some(payload) = format.parse::<u8>().ok().filter(|payload| *payload < 128) else { continue };
        if codecs.len() == MAX_CODECS || codecs.iter().any(|codec| codec.payload == payload) {
            continue;
        }
        let mapped = values(media, "rtpmap").find_map(|value| {
            let (number, encoding) = split_number(value)?;
            (number == payload).then(|| read_rtpmap(payload, encoding))?
        });
        let Some(mut codec) = mapped.or_else(|| Codec::static_assignment(payload)) else { continue };
        if codec.refers_to_others() {
            continue;
        }
        codec.fmtp = values(media, "fmtp").find_map(|value| {
            let (number, parameters) = split_number(value)?;
            (number == payload && !parameters.is_empty()).then(|| parameters.to_owned())
        });
        codecs.push(codec);
    }
    codecs
}

fn values<'a>(media: &'a sdp_types::Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    media.attributes.iter().filter(move |a| a.attribute.eq_ignore_ascii_case(name)).filter_map(|a| a.value.as_deref())
}

/// `96 rest of it` as its number and its rest.
fn split_number(value: &str) -> Option<(u8, &str)> {
    let value = value.trim();
    let (number, rest) = value.split_once(|c: char| c.is_ascii_whitespace())?;
    Some((number.parse().ok()?, rest.trim()))
}

/// `opus/48000/2` (RFC 8866 §6.6).
fn read_rtpmap(payload: u8, encoding: &str) -> Option<Codec> {
    let mut parts = encoding.split('/').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))?;
    let rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
    let channels = match parts.next() {
        None | Some("") => 1,
        Some(channels) => channels.parse().ok().filter(|channels| *channels > 0)?,
    };
    Some(Codec { channels, ..Codec::new(payload, name, rate) })
}

fn direction_of(attributes: &[sdp_types::Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| Direction::from_attribute(attribute.attribute.trim()))
}

/// A whole number of milliseconds, 1-1000.
fn milliseconds(media: &sdp_types::Media, name: &str) -> Option<u32> {
    values(media, name).next()?.trim().parse().ok().filter(|ms| (1..=1000).contains(ms))
}

/// The lines that we read, in the form that sdp-types wants: it refuses a body for a line that we never look at (a
/// negative version in `o=`, a bad `b=`, text that is not UTF-8, a second `s=`).
fn mend(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut mended = String::with_capacity(text.len() + 8);
    mended.push_str("v=0\r\n");
    let (mut in_media, mut connected) = (false, false);
    for line in text.split(['\r', '\n']) {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        match key.trim() {
            "m" => {
                in_media = true;
                connected = false;
                mended.push_str("m=");
                for (index, part) in value.split_ascii_whitespace().enumerate() {
                    if index > 0 {
                        mended.push(' ');
                    }
                    mended.push_str(part);
                }
            }
            "c" if !connected => {
                connected = true;
                // Only the address is read, whatever stands before it.
                let address = value.split_ascii_whitespace().nth(2).unwrap_or("-");
                mended.push_str("c=IN IP4 ");
                mended.push_str(address);
            }
            "a" if !value.is_empty() && (in_media || Direction::from_attribute(value).is_some()) => {
                mended.push_str("a=");
                mended.extend(value.chars().filter(|c| *c != '\0'));
            }
            _ => continue,
        }
        mended.push_str("\r\n");
    }
    mended
}
