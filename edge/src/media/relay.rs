//! The media thread: one epoll over the sockets of the sessions that are heard, one clock for all
//! streams of our own.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ringfork_call::action::{Input, MediaId, RecordingLimits, RecordingSid};
use ringfork_call::control::CallSid;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::mpsc;

use ringfork_media::dtmf;
use ringfork_media::formats::{Format, Formats};
use ringfork_media::payload::PayloadMap;
use ringfork_media::relay::{Silence, Source};
use ringfork_media::rtp::{self, Packet};
use ringfork_media::tone::Ringing;

use super::Description;
use super::outgoing::Outgoing;
use super::pace::Wheel;
use super::play::Player;
use super::pool::PortPair;
use super::recording::{self, Recordings};
use super::source::Sounds;

/// A packet of our own that leaves so long after it was due is counted as late.
const LATE: Duration = Duration::from_millis(10);
/// Inputs that may wait for the core before keys are dropped.
const KEYS: usize = 4096;
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
    /// Packets of our own: prompts, tones, keys, silence.
    pub sent: Counter,
    /// Those of them that left more than 10 ms after they were due.
    pub late: Counter,
    /// Keys that parties pressed, in bridges too (RFC 4733).
    pub keys: Counter,
    /// Those of them that were dropped: the core took nothing for so long that [`KEYS`] inputs waited.
    pub keys_dropped: Counter,
    /// Samples of recordings dropped because the disk was too slow.
    pub recording_dropped: Counter,
    /// Recordings that ended because their file could not be written.
    pub recordings_failed: Counter,
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
    Attend { media: MediaId },
    Play { media: MediaId, player: Box<Player> },
    StopPlaying { media: MediaId },
    Key { media: MediaId, key: char },
    Record { recording: RecordingSid, call: CallSid, media: MediaId, other: Option<MediaId>, limits: RecordingLimits },
    StopRecording { recording: RecordingSid },
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
    /// What it takes and sends that we know ourselves.
    formats: Formats,
    /// The stream towards it, once there was sound of our own; until then packets are relayed untouched.
    out: Option<Box<Outgoing>>,
    /// The slot of the wheel that it is in.
    slot: Option<usize>,
    /// The header of the last packet relayed to it, while there is no stream of our own.
    last: Option<[u8; rtp::HEADER]>,
    /// Its keys.
    keys: dtmf::Receiver,
    /// It hears us, or its keys are told; it may be in a bridge since.
    attended: bool,
    /// A recording of it has begun; it may be over.
    recorded: bool,
    /// Since the last sign of life, since it was bridged, or since its hold ended.
    silence: Silence,
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
    wheel: Wheel,
    recordings: Recordings,
    next_recording: Instant,
    next_check: Instant,
    /// Answers that the core's queue had no room for.
    /// What the core's queue had no room for: keys, at most [`KEYS`], and the ends of plays, of which each session has one
    /// at most; those are never dropped.
    outbox: VecDeque<Input>,
}

impl Relay {
    pub fn new(
        settings: RelaySettings,
        commands: Receiver<Command>,
        inputs: mpsc::Sender<Input>,
    ) -> std::io::Result<(Self, Waker, std::thread::JoinHandle<()>)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &*wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let now = Instant::now();
        let (folder, counters) = (settings.recordings.clone(), settings.counters.clone());
        let (recordings, writer) = Recordings::start(folder, inputs.clone(), counters)?;
        let relay = Relay {
            settings,
            commands,
            inputs,
            epoll,
            wake: wake.clone(),
            slots: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::new(),
            wheel: Wheel::new(now),
            recordings,
            next_recording: now,
            outbox: VecDeque::new(),
            next_check: now + SILENCE_CHECK,
        };
        Ok((relay, Waker(wake), writer))
    }

    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = [0u8; PACKET];
        let mut members = Vec::new();
        loop {
            let now = Instant::now();
            let mut due = self.next_check.min(self.wheel.due().unwrap_or(self.next_check));
            if !self.recordings.is_empty() {
                due = due.min(self.next_recording);
            }
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
            let mut now = Instant::now();
            self.pace(&mut members, now);
            for event in events.drain(..) {
                // What is due does not wait for all that came.
                now = Instant::now();
                if self.wheel.due().is_some_and(|due| due <= now) {
                    self.pace(&mut members, now);
                }
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
            self.pace(&mut members, now);
            if !self.recordings.is_empty() && now >= self.next_recording {
                self.next_recording = now + recording::STEP;
                self.recordings.step(now);
            }
            while let Some(input) = self.outbox.pop_front() {
                if let Err(mpsc::error::TrySendError::Full(input)) = self.inputs.try_send(input) {
                    self.outbox.push_front(input);
                    break;
                }
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
                session.formats = formats;
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
                        // A bridge takes the place of what was heard before it.
                        if let Some(out) = &mut session.out {
                            out.player = None;
                            out.tone = None;
                        }
                    }
                }
            }
            Command::Unbridge { media } => self.unbridge(media, now),
            Command::Tone { media, on } => {
                let ringing = on.then_some(self.settings.ringing);
                if on || self.has_stream(media) {
                    self.out(media, now, |out| out.ring(ringing));
                }
            }
            Command::Attend { media } => {
                if let Some(session) = self.by_id(media)
                    && !session.attended
                {
                    session.attended = true;
                    session.silence.heard(now);
                }
                self.out(media, now, |out| out.attended = true);
            }
            Command::Play { media, player } => self.out(media, now, |out| out.player = Some(*player)),
            Command::StopPlaying { media } => {
                if self.has_stream(media) {
                    self.out(media, now, |out| out.player = None);
                }
            }
            Command::Key { media, key } => {
                if self.by_id(media).is_some_and(|session| session.formats.keys.is_some()) {
                    self.out(media, now, |out| {
                        out.keys.push(key);
                    });
                }
            }
            Command::Record { recording, call, media, other, limits } => {
                if self.recordings.is_empty() {
                    self.next_recording = now;
                }
                for party in [Some(media), other].into_iter().flatten() {
                    if let Some(session) = self.by_id(party) {
                        session.recorded = true;
                    }
                }
                self.recordings.begin(recording, call, media, other, limits, now);
            }
            Command::StopRecording { recording } => self.recordings.stop(|sid, _| sid == recording, now),
            Command::Close { media } => {
                self.unbridge(media, now);
                self.recordings.stop(|_, recorded| recorded == media, now);
                let Some(slot) = self.by_id.remove(&media) else { return };
                let Some(session) = self.slots.get_mut(slot).and_then(Option::take) else { return };
                if let Some(place) = session.slot {
                    self.wheel.remove(place, slot);
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
            formats: Formats::default(),
            out: None,
            slot: None,
            last: None,
            keys: dtmf::Receiver::default(),
            attended: false,
            recorded: false,
            silence: Silence::new(self.settings.silence, now),
        };
        if slot == self.slots.len() {
            self.slots.push(Some(session));
        } else if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(session);
        }
        self.by_id.insert(media, slot);
        self.settings.counters.sessions.add(1);
    }

    fn unbridge(&mut self, media: MediaId, now: Instant) {
        let Some(slot) = self.by_id.get(&media).copied() else { return };
        let Some((other, _)) = self.slot(slot).and_then(|session| session.bridge.take()) else { return };
        if let Some(other) = self.slot(other) {
            other.bridge = None;
        }
        self.arm(slot, now);
        self.arm(other, now);
    }

    /// Does something with the stream towards a party, which begins here if there was none.
    fn out(&mut self, media: MediaId, now: Instant, change: impl FnOnce(&mut Outgoing)) {
        let Some(slot) = self.by_id.get(&media).copied() else { return };
        let Some(session) = self.slot(slot) else { return };
        let last = session.last.take();
        change(session.out.get_or_insert_with(|| Box::new(Outgoing::new(last, now))));
        self.arm(slot, now);
    }

    fn has_stream(&mut self, media: MediaId) -> bool {
        self.by_id(media).is_some_and(|session| session.out.is_some())
    }

    /// Puts a session into the wheel if it has something to send in each step.
    fn arm(&mut self, slot: usize, now: Instant) {
        let Some(session) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        if session.slot.is_none() && session.is_paced() {
            session.slot = Some(self.wheel.add(slot, now));
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
            // On hold towards us: a packet is a sign of life, but not for the other party's ear.
            if !(session.receive || rtcp) {
                continue;
            }
            let Some(packet) = buffer.get_mut(..length) else { continue };
            if !rtcp && let Some(heard) = Packet::parse(packet) {
                if session.recorded {
                    self.recordings.packet(session.media, &session.formats, &heard, now);
                }
                if let Some(input) = session.key(&heard) {
                    counters.keys.add(1);
                    if self.outbox.len() < KEYS {
                        self.outbox.push_back(input);
                    } else {
                        counters.keys_dropped.add(1);
                    }
                }
            }
            let Some((other, map)) = &session.bridge else { continue };
            if !rtcp && !map.rewrite(packet) {
                continue;
            }
            let (other, ours) = (*other, session.out.is_some());
            let Some(other) = self.slots.get_mut(other).and_then(Option::as_mut) else { continue };
            if !other.send && !rtcp {
                continue;
            }
            match &mut other.out {
                // Reports about a stream that has other numbers than its party sent would mislead.
                Some(_) if rtcp => continue,
                None if rtcp && ours => continue,
                Some(out) => {
                    let header = Packet::parse(packet).and_then(|packet| out.relayed(&packet.header, now));
                    match header {
                        Some(header) => rtp::set_header(packet, &header),
                        None => continue,
                    };
                }
                None if !rtcp => other.last = packet.first_chunk().copied(),
                None => {}
            }
            if other.transmit(rtcp, packet) {
                counters.relayed.add(1);
            } else {
                counters.unsent.add(1);
            }
        }
    }

    /// Sends what is due by now.
    fn pace(&mut self, members: &mut Vec<usize>, mut now: Instant) {
        while let Some(due) = self.wheel.pop(now, members) {
            now = Instant::now();
            let late = now.saturating_duration_since(due) > LATE;
            for place in members.iter().copied() {
                let Some(session) = self.slots.get_mut(place).and_then(Option::as_mut) else { continue };
                let bridged = session.bridge.is_some();
                if !session.is_paced() {
                    if let Some(slot) = session.slot.take() {
                        self.wheel.remove(slot, place);
                    }
                    continue;
                }
                let Some(out) = &mut session.out else { continue };
                let (sending, input) = out.step(session.media, &session.formats, session.send, bridged, due);
                self.outbox.extend(input);
                let Some(sending) = sending else { continue };
                if sending.octets.get(..sending.length).is_some_and(|packet| session.transmit(false, packet)) {
                    self.settings.counters.sent.add(1);
                    self.settings.counters.late.add(u64::from(late));
                } else {
                    self.settings.counters.unsent.add(1);
                }
            }
        }
    }

    /// Issue text: a bridged call with neither RTP nor RTCP from one side, not on hold, is ended; the core does that.
    fn look_for_silence(&mut self, now: Instant) {
        for session in self.slots.iter_mut().flatten() {
            // A full queue: the next check tries again.
            if session.is_listening()
                && session.silence.is_silent(now)
                && self.inputs.try_send(Input::MediaSilent { media: session.media }).is_ok()
            {
                session.silence.report();
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

impl Session {
    fn is_paced(&self) -> bool {
        self.out.as_ref().is_some_and(|out| out.is_paced(self.bridge.is_some()))
    }

    /// Whether somebody should be there: in a bridge, or attended by us. A phone whose power failed in a prompt without
    /// end is found as one in a bridge is.
    fn is_listening(&self) -> bool {
        self.bridge.is_some() || self.attended
    }

    /// What a packet tells of a key. In a bridge too: the core passes on what the other party does not take in this form.
    fn key(&mut self, packet: &Packet<'_>) -> Option<Input> {
        if self.formats.of(packet.header.payload) != Some(Format::Keys) {
            return None;
        }
        let key = self.keys.packet(&packet.header, packet.data)?;
        Some(Input::Digit { media: self.media, key })
    }

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

#[cfg(test)]
mod tests;
