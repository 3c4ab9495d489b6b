//! The media thread: one epoll over the sockets of the sessions that are heard, one clock for all ringing tones.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ringfork_call::action::{Input, MediaId};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::mpsc;

use ringfork_media::payload::PayloadMap;
use ringfork_media::relay::{Silence, Source};
use ringfork_media::rtp;
use ringfork_media::tone::{Ringing, STEP_MS, Tone};

use super::Description;
use super::pool::PortPair;
use super::source::Sounds;

/// Time between two packets of a tone.
const TONE_STEP: Duration = Duration::from_millis(STEP_MS as u64);
/// How often silence is looked for.
const SILENCE_CHECK: Duration = Duration::from_secs(1);
/// Packets read from one socket before the others have their turn.
const BURST: usize = 32;
/// Largest packet relayed: more than any G.711 or Opus frame; a longer one is cut off by the kernel and dropped.
const PACKET: usize = 2048;
/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// The eventfd's place among the tokens of sockets.
const WAKE: u64 = u64::MAX;

/// A counter that the metrics read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Moves it.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the media shell counts.
#[derive(Debug, Default)]
pub struct MediaCounters {
    /// RTP and RTCP packets sent on to the other party.
    pub relayed: Counter,
    /// Packets from a source that is not the party.
    pub strangers: Counter,
    /// Packets that had no allowed or known target, or that the kernel did not take.
    pub unsent: Counter,
    /// Commands dropped because the thread's queue was full.
    pub commands_dropped: Counter,
    /// Sessions that the thread holds: a gauge.
    pub sessions: Counter,
}

/// What the thread is told at its start.
#[derive(Clone)]
pub struct RelaySettings {
    /// Silence of a bridged party, not on hold, after which it is reported.
    pub silence: Duration,
    /// Addresses other than the signalling's that may be sent to before they spoke: `--local-net`, trunk, peers, and
    /// what the address guard allows.
    pub trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Counters.
    pub counters: Arc<MediaCounters>,
    /// Where sounds come from.
    pub sounds: Arc<dyn Sounds>,
    /// `--ringing`.
    pub ringing: Ringing,
    /// Where recordings are written, as `RE….wav` (8 kHz, mono, 16 bits); made when there is none.
    pub recordings: PathBuf,
}

/// What the core's side says.
pub enum Command {
    Open { media: MediaId, pair: Arc<PortPair> },
    Peer { media: MediaId, description: Description },
    Bridge { a: MediaId, b: MediaId, a_to_b: PayloadMap, b_to_a: PayloadMap },
    Unbridge { media: MediaId },
    Tone { media: MediaId, on: bool },
    Close { media: MediaId },
    Stop,
}

/// Wakes the thread.
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Makes the thread look at its commands.
    pub fn wake(&self) {
        // It fails only when 2^64 wakes are pending, and then the thread wakes anyway.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

struct Session {
    media: MediaId,
    pair: Arc<PortPair>,
    rtp: Source,
    rtcp: Source,
    /// We may send to it.
    send: bool,
    /// It may send to us.
    receive: bool,
    /// The other party's slot, and how this one's payload numbers become that one's.
    bridge: Option<(usize, PayloadMap)>,
    /// Law and payload number for sound of our own.
    law: Option<(ringfork_media::g711::Law, u8)>,
    tone: Option<Tone>,
    /// Since the last sign of life, since it was bridged, or since its hold ended.
    silence: Silence,
    reported: bool,
}

pub struct Relay {
    settings: RelaySettings,
    commands: Receiver<Command>,
    inputs: mpsc::Sender<Input>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    slots: Vec<Option<Session>>,
    vacant: Vec<usize>,
    by_id: HashMap<MediaId, usize>,
    tones: usize,
    next_tone: Instant,
    next_check: Instant,
}

impl Relay {
    pub fn new(
        settings: RelaySettings,
        commands: Receiver<Command>,
        inputs: mpsc::Sender<Input>,
    ) -> std::io::Result<(Self, Waker)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &*wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let now = Instant::now();
        let relay = Relay {
            settings,
            commands,
            inputs,
            epoll,
            wake: wake.clone(),
            slots: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::new(),
            tones: 0,
            next_tone: now,
            next_check: now + SILENCE_CHECK,
        };
        Ok((relay, Waker(wake)))
    }

    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = [0u8; PACKET];
        loop {
            let now = Instant::now();
            let due = if self.tones > 0 { self.next_tone.min(self.next_check) } else { self.next_check };
            let wait = due.saturating_duration_since(now);
            let wait =
                Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(1), tv_nsec: wait.subsec_nanos().into() };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the media thread cannot wait for packets and ends");
                    return;
                }
            }
            let now = Instant::now();
            for event in events.drain(..) {
                let token = event.data.u64();
                if token == WAKE {
                    let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
                } else {
                    self.read(token, &mut buffer, now);
                }
            }
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                    Ok(command) => self.obey(command, now),
                    Err(TryRecvError::Empty) => break,
                }
            }
            if self.tones > 0 && now >= self.next_tone {
                self.play(now);
            }
            if now >= self.next_check {
                self.next_check = now + SILENCE_CHECK;
                self.look_for_silence(now);
            }
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Open { media, pair } => self.open(media, pair, now),
            Command::Peer { media, description: Description { rtp, signalling, send, receive, formats } } => {
                let trusted = rtp.is_some_and(|address| (self.settings.trusted)(address.ip()));
                let Some(session) = self.by_id(media) else { return };
                session.rtp.signal(rtp, signalling, trusted, now);
                let rtcp = rtp.and_then(|rtp| Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)));
                session.rtcp.signal(rtcp, signalling, trusted, now);
                // A phone that holds the call may send nothing although it says sendonly.
                session.silence.hold(!(send && receive), now);
                session.send = send;
                session.receive = receive;
                session.law = formats.sound;
            }
            Command::Bridge { a, b, a_to_b, b_to_a } => {
                let (Some(first), Some(second)) = (self.by_id.get(&a).copied(), self.by_id.get(&b).copied()) else {
                    return;
                };
                for (slot, other, map) in [(first, second, a_to_b), (second, first, b_to_a)] {
                    if let Some(session) = self.slot(slot) {
                        if session.bridge.is_none() {
                            session.silence.heard(now);
                        }
                        session.bridge = Some((other, map));
                    }
                }
            }
            Command::Unbridge { media } => self.unbridge(media),
            Command::Tone { media, on } => {
                let ringing = self.settings.ringing;
                let Some(session) = self.by_id(media) else { return };
                let was = session.tone.is_some();
                session.tone = on.then(|| new_tone(ringing));
                match (was, on) {
                    (false, true) => {
                        if self.tones == 0 {
                            self.next_tone = now;
                        }
                        self.tones += 1;
                    }
                    (true, false) => self.tones -= 1,
                    _ => {}
                }
            }
            Command::Close { media } => {
                self.unbridge(media);
                let Some(slot) = self.by_id.remove(&media) else { return };
                let Some(session) = self.slots.get_mut(slot).and_then(Option::take) else { return };
                if session.tone.is_some() {
                    self.tones -= 1;
                }
                for sockets in &session.pair.sockets {
                    let _ = epoll::delete(&self.epoll, &sockets.rtp);
                    let _ = epoll::delete(&self.epoll, &sockets.rtcp);
                }
                self.vacant.push(slot);
                self.settings.counters.sessions.0.fetch_sub(1, Ordering::Relaxed);
            }
            Command::Stop => {}
        }
    }

    fn open(&mut self, media: MediaId, pair: Arc<PortPair>, now: Instant) {
        let slot = self.vacant.pop().unwrap_or(self.slots.len());
        for (index, sockets) in pair.sockets.iter().enumerate() {
            for (rtcp, socket) in [(0u64, &sockets.rtp), (1, &sockets.rtcp)] {
                // What came before this session, or before anybody listened, is nobody's.
                while socket.recv_from(&mut [0u8; 1]).is_ok() {}
                let token = (slot as u64) << 2 | (index as u64) << 1 | rtcp;
                let data = epoll::EventData::new_u64(token);
                if let Err(error) = epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN) {
                    tracing::warn!(%error, port = pair.port, "a media port cannot be watched");
                }
            }
        }
        let session = Session {
            media,
            pair,
            rtp: Source::default(),
            rtcp: Source::default(),
            send: false,
            receive: false,
            bridge: None,
            law: None,
            tone: None,
            silence: Silence::new(self.settings.silence, now),
            reported: false,
        };
        if slot == self.slots.len() {
            self.slots.push(Some(session));
        } else if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(session);
        }
        self.by_id.insert(media, slot);
        self.settings.counters.sessions.add(1);
    }

    fn unbridge(&mut self, media: MediaId) {
        let Some(session) = self.by_id(media) else { return };
        let Some((other, _)) = session.bridge.take() else { return };
        if let Some(other) = self.slot(other) {
            other.bridge = None;
        }
    }

    /// Reads what came and sends it on.
    fn read(&mut self, token: u64, buffer: &mut [u8; PACKET], now: Instant) {
        let slot = (token >> 2) as usize;
        let index = (token >> 1 & 1) as usize;
        let rtcp = token & 1 == 1;
        let counters = self.settings.counters.clone();
        for _ in 0..BURST {
            let Some(session) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
            let Some(sockets) = session.pair.sockets.get(index) else { return };
            let socket = if rtcp { &sockets.rtcp } else { &sockets.rtp };
            let (length, source) = match socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error about something sent earlier: the next read has the packets.
                Err(_) => continue,
            };
            let stream = if rtcp { &mut session.rtcp } else { &mut session.rtp };
            // RFC 3550 §5.1 and RFC 7983: version 2 in the first two bits; anything else is neither RTP nor RTCP.
            let sound = length < PACKET && buffer.first().is_some_and(|byte| byte >> 6 == 2);
            if !sound || !stream.accept(source, now) {
                counters.strangers.add(1);
                continue;
            }
            session.silence.heard(now);
            session.reported = false;
            // On hold towards us: a packet is a sign of life, but not for the other party's ear.
            let passes = session.receive || rtcp;
            let Some((other, map)) = &session.bridge else { continue };
            if !rtcp && !map.is_identity() {
                let payload = buffer[1] & 0x7f;
                rtp::set_payload(buffer, map.apply(payload));
            }
            let (other, Some(packet)) = (*other, buffer.get(..length)) else { continue };
            match self.slots.get(other).and_then(Option::as_ref) {
                Some(other) if passes && (other.send || rtcp) => {
                    if other.transmit(rtcp, packet) {
                        counters.relayed.add(1);
                    } else {
                        counters.unsent.add(1);
                    }
                }
                _ => {}
            }
        }
    }

    /// One 20 ms step of every ringing tone.
    fn play(&mut self, now: Instant) {
        self.next_tone += TONE_STEP;
        if now.duration_since(self.next_tone) > Duration::from_millis(500) && now > self.next_tone {
            // The machine stood still: go on from here rather than catch up in a burst.
            self.next_tone = now + TONE_STEP;
        }
        for session in self.slots.iter_mut().flatten() {
            let Some(tone) = session.tone.as_mut() else { continue };
            let Some((law, payload)) = session.law else { continue };
            let packet = tone.next_packet(law, payload);
            if session.send && !session.transmit(false, &packet) {
                self.settings.counters.unsent.add(1);
            }
        }
    }

    /// Issue text: a bridged call with neither RTP nor RTCP from one side, not on hold, is ended; the core does that.
    fn look_for_silence(&mut self, now: Instant) {
        for session in self.slots.iter_mut().flatten() {
            if session.bridge.is_some() && !session.reported && session.silence.is_silent(now) {
                // A full queue: the next check tries again.
                session.reported = self.inputs.try_send(Input::MediaSilent { media: session.media }).is_ok();
            }
        }
    }

    fn by_id(&mut self, media: MediaId) -> Option<&mut Session> {
        let slot = *self.by_id.get(&media)?;
        self.slot(slot)
    }

    fn slot(&mut self, slot: usize) -> Option<&mut Session> {
        self.slots.get_mut(slot)?.as_mut()
    }
}

/// RFC 3550 §5.1: SSRC, first sequence number and first timestamp are random.
fn new_tone(ringing: Ringing) -> Tone {
    let mut seed = [0u8; 10];
    let _ = getrandom::fill(&mut seed);
    let [a, b, c, d, e, f, g, h, i, j] = seed;
    let number = |octets| u32::from_be_bytes(octets);
    Tone::new(ringing, number([a, b, c, d]), u16::from_be_bytes([i, j]), number([e, f, g, h]))
}

impl Session {
    fn transmit(&self, rtcp: bool, packet: &[u8]) -> bool {
        let stream = if rtcp { &self.rtcp } else { &self.rtp };
        let Some(target) = stream.target() else { return false };
        let Some(socket) = self.socket(rtcp, target) else { return false };
        socket.send_to(packet, target).is_ok()
    }

    fn socket(&self, rtcp: bool, target: SocketAddr) -> Option<&UdpSocket> {
        let sockets = self.pair.sockets.iter().find(|sockets| sockets.ipv4 == target.is_ipv4())?;
        Some(if rtcp { &sockets.rtcp } else { &sockets.rtp })
    }
}
