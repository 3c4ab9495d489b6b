//! The relay over real loopback sockets.

use super::*;
use std::net::UdpSocket;
use std::time::Duration;

use ringfork_call::action::{PlayError, PlayId, Ports, RecordingEnd, RecordingLimits, RecordingSid};
use ringfork_media::events::Event;
use ringfork_media::formats::Format;
use ringfork_media::g711::Law;
use ringfork_media::payload::PayloadMap;
use ringfork_media::rtp::{Header, Packet};
use ringfork_media::sdp::{Description, Session, Terms};
use ringfork_media::tone::Ringing;

/// Longer than anything here takes on any machine.
const BOUND: Duration = Duration::from_secs(60);

struct Party {
    socket: UdpSocket,
    media: MediaId,
    port: u16,
}

struct Bench {
    media: Media,
    pool: PortPool,
    inputs: mpsc::Receiver<Input>,
    address: IpAddr,
    folder: tempfile::TempDir,
}

/// Sounds by name: what stands for a URL that was fetched.
struct Shelf(Vec<(&'static str, Vec<i16>)>);

impl Sounds for Shelf {
    fn open(&self, sound: &Sound) -> source::SampleStream {
        let Sound::File { url } = sound else { return source::NoSounds.open(sound) };
        match self.0.iter().find(|(name, _)| **name == **url) {
            Some((_, samples)) => {
                // In pieces that fit no frame.
                let (sender, stream) = mpsc::channel(samples.len() / 77 + 1);
                samples.chunks(77).for_each(|chunk| sender.try_send(Ok(chunk.into())).unwrap());
                stream
            }
            None => source::failed(PlayError { reason: "404".into(), url: None, fetch: true }),
        }
    }

    fn prepare(&self, _: &Sound) {}
}

fn bench(host: u8, silence: Duration) -> Bench {
    bench_with(host, silence, Shelf(Vec::new()))
}

fn bench_with(host: u8, silence: Duration, shelf: Shelf) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let address = pool::address(host);
    let pool = PortPool::new(vec![address], "22000-22099".parse().unwrap(), 50, 0);
    let (sender, inputs) = mpsc::channel(16);
    let settings = RelaySettings {
        silence,
        trusted: Arc::new(|_| false),
        counters: Arc::new(MediaCounters::default()),
        sounds: Arc::new(shelf),
        ringing: Ringing::Europe,
        recordings: folder.path().join("recordings"),
    };
    let media = Media::start(pool.clone(), settings, sender).unwrap();
    Bench { media, pool, inputs, address, folder }
}

impl Bench {
    fn party(&mut self, id: u64) -> Party {
        let socket = UdpSocket::bind((self.address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let port = self.pool.lease().unwrap();
        let media = MediaId(id);
        self.media.handle(MediaAction::Open { media, port });
        let rtp = Some(socket.local_addr().unwrap());
        self.media.handle(MediaAction::Peer {
            media,
            rtp,
            signalling: self.address,
            send: true,
            receive: true,
            formats: formats(Law::Mu),
        });
        Party { socket, media, port }
    }

    /// What the core is told next.
    fn input(&mut self) -> Input {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let input = runtime.block_on(async { tokio::time::timeout(BOUND, self.inputs.recv()).await });
        input.expect("nothing is reported").expect("the relay has ended")
    }

    fn send(&self, from: &Party, to: u16, payload: &[u8]) {
        from.socket.send_to(payload, (self.address, to)).unwrap();
    }
}

/// One law under its static number, keys under 101 and 96.
fn formats(law: Law) -> Formats {
    let mut formats = Formats { keys: Some(101), ..Formats::plain(law) };
    formats.received.extend([(101, Format::Keys), (96, Format::Keys)]);
    formats
}

fn bridge(a: &Party, b: &Party) -> MediaAction {
    MediaAction::Bridge { a: a.media, b: b.media, a_to_b: PayloadMap::default(), b_to_a: PayloadMap::default() }
}

fn receive(party: &Party) -> Vec<u8> {
    let mut buffer = [0u8; 2048];
    let (length, _) = party.socket.recv_from(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// DESIGN "Media": one relay between the two accepted parties, and nothing before they are joined.
#[test]
fn bridged_parties_hear_each_other() {
    let mut bench = bench(11, Duration::from_secs(300));
    let (a, b) = (bench.party(1), bench.party(2));
    bench.send(&a, a.port, b"\x80before the bridge");
    bench.media.handle(bridge(&a, &b));
    // Whether the bridge stands is seen by what comes through it: send until the first packet does.
    let mut probe = [0u8; 64];
    b.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let first = (0..200).find_map(|_| {
        bench.send(&a, a.port, b"\x80after");
        b.socket.recv_from(&mut probe).ok().map(|(length, _)| probe[..length].to_vec())
    });
    assert_eq!(first.as_deref(), Some(&b"\x80after"[..]));
    bench.send(&b, b.port, b"\x80answer");
    assert_eq!(receive(&a), b"\x80answer");
    // Neither RTP nor RTCP: not relayed, the next one is.
    bench.send(&b, b.port, b"hello");
    bench.send(&b, b.port, b"\x80second");
    assert_eq!(receive(&a), b"\x80second");
    let pool = &mut bench.pool;
    for party in [a, b] {
        bench.media.handle(MediaAction::Close { media: party.media, port: party.port });
        pool.release(party.port);
    }
    assert_eq!(bench.pool.sizes().leased, 0);
}

/// RCML.md part 2: a caller that was already answered hears a ringing tone.
#[test]
fn an_answered_caller_hears_ringing() {
    let mut bench = bench(12, Duration::from_secs(300));
    let a = bench.party(1);
    bench.media.handle(MediaAction::RingingTone { media: a.media, on: true });
    let (first, second) = (receive(&a), receive(&a));
    assert_eq!((first.len(), second.len()), (172, 172));
    assert_eq!(first[8..12], second[8..12], "one stream");
}

/// The issue: neither RTP nor RTCP from one side of a bridged call is reported, once.
#[test]
fn silence_of_a_bridged_party_is_reported() {
    let mut bench = bench(13, Duration::ZERO);
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(bridge(&a, &b));
    let mut silent: Vec<MediaId> = Vec::new();
    while silent.len() < 2 {
        match bench.input() {
            Input::MediaSilent { media } => silent.push(media),
            other => panic!("{other:?}"),
        }
    }
    silent.sort();
    assert_eq!(silent, [a.media, b.media]);
}

/// Header and payload of the next packet.
fn next(party: &Party) -> (Header, Vec<u8>) {
    let octets = receive(party);
    let packet = Packet::parse(&octets).unwrap();
    (packet.header, packet.data.to_vec())
}

/// The next packet goes on where the last one was.
fn follows(last: &Header, header: &Header) {
    assert_eq!((header.ssrc, header.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
    assert!(header.timestamp.wrapping_sub(last.timestamp).cast_signed() >= 160);
}

fn file(name: &str) -> Sound {
    Sound::File { url: name.into() }
}

fn voice(sequence: u16, timestamp: u32, codes: &[u8]) -> Vec<u8> {
    let mut packet = Header { sequence, timestamp, ssrc: 99, ..Header::default() }.to_bytes().to_vec();
    packet.extend(codes);
    packet
}

fn wave(samples: usize) -> Vec<i16> {
    (0..samples).map(|at| ((at as f64 * 0.4).sin() * 9000.0) as i16).collect()
}

/// Issue 4: an attended party hears one continuous stream from the start, a prompt bit for bit in it, once reported.
#[test]
fn an_attended_party_hears_silence_then_the_prompt() {
    let tone = wave(1000);
    let mut bench = bench_with(14, Duration::from_secs(300), Shelf(vec![("tone", tone.clone())]));
    let a = bench.party(1);
    bench.media.handle(MediaAction::Attend { media: a.media });
    let (mut last, silence) = next(&a);
    assert!(last.marker && silence == [0xff; 160]);
    bench.media.handle(MediaAction::Play { media: a.media, play: PlayId(7), sound: file("tone"), loops: 2 });
    let twice: Vec<u8> = [tone.clone(), tone].concat().iter().map(|sample| Law::Mu.encode(*sample)).collect();
    let mut heard = Vec::new();
    while heard.len() < 2080 {
        let (header, data) = next(&a);
        follows(&last, &header);
        last = header;
        if !heard.is_empty() || data != [0xff; 160] {
            heard.extend(data);
        }
    }
    assert_eq!(heard[..2000], twice);
    assert_eq!(heard[2000..], [0xff; 80]);
    let Input::Played { media: MediaId(1), play: PlayId(7), result: Ok(()) } = bench.input() else {
        panic!("not reported")
    };
    let (header, data) = next(&a);
    follows(&last, &header);
    assert_eq!(data, [0xff; 160]);
    bench.media.handle(MediaAction::Play { media: a.media, play: PlayId(8), sound: file("gone"), loops: 1 });
    let Input::Played { play: PlayId(8), result: Err(error), .. } = bench.input() else { panic!("not reported") };
    assert!(error.fetch);
}

/// `Stop`: silence in place of what plays, and nothing is reported of it.
#[test]
fn what_is_stopped_is_not_reported() {
    let mut bench = bench_with(15, Duration::from_secs(300), Shelf(vec![("tone", wave(500))]));
    let a = bench.party(1);
    bench.media.handle(MediaAction::Attend { media: a.media });
    bench.media.handle(MediaAction::Play { media: a.media, play: PlayId(1), sound: file("tone"), loops: 0 });
    while next(&a).1 == [0xff; 160] {}
    bench.media.handle(MediaAction::Stop { media: a.media });
    while next(&a).1 != [0xff; 160] {}
    bench.media.handle(MediaAction::Play { media: a.media, play: PlayId(2), sound: Sound::Beep, loops: 1 });
    let Input::Played { play: PlayId(2), result: Ok(()), .. } = bench.input() else {
        panic!("the first one was reported")
    };
}

/// Issue 4: SSRC, sequence and timestamps are continuous over prompt, bridge and what comes after it; a party that was
/// never attended gets what the other sent, untouched.
#[test]
fn a_bridge_goes_on_in_the_stream_of_the_prompt() {
    let mut bench = bench(16, Duration::from_secs(300));
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(MediaAction::Attend { media: a.media });
    let (mut last, _) = next(&a);
    bench.media.handle(bridge(&a, &b));
    // Which one of b's packets it is.
    let number = |data: &[u8]| data.starts_with(&[9; 158]).then(|| u16::from_be_bytes([data[158], data[159]]));
    let mut sequence = 500;
    let mut buffer = [0; 2048];
    a.socket.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    let mut heard = loop {
        sequence += 1;
        assert!(sequence < 5000, "the bridge never stands");
        let numbered = [&[9; 158][..], &u16::to_be_bytes(sequence)].concat();
        bench.send(&b, b.port, &voice(sequence, u32::from(sequence) * 160, &numbered));
        // What comes before the bridge stands is not relayed.
        let Ok((length, _)) = a.socket.recv_from(&mut buffer) else { continue };
        let packet = Packet::parse(&buffer[..length]).unwrap();
        follows(&last, &packet.header);
        last = packet.header;
        if let Some(number) = number(packet.data) {
            break number;
        }
    };
    assert!(last.marker);
    a.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // From here on each packet is relayed, gaps as they were.
    while heard != sequence {
        let (header, data) = next(&a);
        heard = number(&data).expect("a packet of the other party");
        last = header;
    }
    bench.send(&b, b.port, &voice(sequence + 3, u32::from(sequence + 3) * 160, &[8; 160]));
    let (header, data) = next(&a);
    assert_eq!((header.ssrc, header.sequence), (last.ssrc, last.sequence.wrapping_add(3)));
    assert_eq!((header.timestamp, header.marker), (last.timestamp.wrapping_add(480), false));
    assert_eq!(data, [8; 160]);
    let untouched = voice(7, 7, &[1; 160]);
    bench.send(&a, a.port, &untouched);
    assert_eq!(receive(&b), untouched);
    bench.media.handle(MediaAction::Unbridge { media: b.media });
    let (after, data) = next(&a);
    follows(&header, &after);
    assert!(after.marker && data == [0xff; 160]);
}

/// What is agreed with a party that offers these formats and nothing else.
fn agreed(formats: &str) -> Session {
    let mut session = Session::new(1, "127.0.0.1".parse().unwrap(), 20_000);
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n\
         a=rtpmap:101 telephone-event/8000\r\n"
    );
    let offer = Description::parse(offer.as_bytes()).unwrap();
    session.make_answer(&offer, &Terms::of(&offer)).unwrap();
    session
}

/// Issue 4: parties whose G.711 law differs hear each other.
#[test]
fn laws_are_transcoded_in_a_bridge() {
    let (mu, alaw) = (agreed("0"), agreed("8"));
    let mut bench = bench(17, Duration::from_secs(300));
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(MediaAction::Bridge {
        a: a.media,
        b: b.media,
        a_to_b: PayloadMap::between(&mu, &alaw),
        b_to_a: PayloadMap::between(&alaw, &mu),
    });
    let codes: Vec<u8> = (0..160).collect();
    b.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 2048];
    let length = (0..200)
        .find_map(|_| {
            bench.send(&a, a.port, &voice(1, 1, &codes));
            b.socket.recv_from(&mut buffer).ok().map(|(length, _)| length)
        })
        .unwrap();
    let packet = Packet::parse(&buffer[..length]).unwrap();
    assert_eq!((packet.header.payload, packet.header.sequence), (8, 1));
    assert!(packet.data.iter().zip(&codes).all(|(to, from)| *to == Law::Mu.transcode(*from)));
}

/// Issue 4: keys of an attended party are reported once per press, whichever number they come under, in order.
#[test]
fn keys_are_reported_once() {
    let mut bench = bench(18, Duration::from_secs(300));
    let a = bench.party(1);
    bench.media.handle(MediaAction::Attend { media: a.media });
    next(&a);
    let mut sequence = 0;
    let mut typed = String::new();
    for (press, key) in "11223344556677889900".chars().enumerate() {
        let code = Event::code_of(key).unwrap();
        for (duration, end) in [(160, false), (320, true), (320, true), (320, true)] {
            sequence += 1;
            let payload = if press % 2 == 0 { 101 } else { 96 };
            let timestamp = 5000 + 640 * press as u32;
            let header = Header { marker: false, payload, sequence, timestamp, ssrc: 4 };
            let mut packet = header.to_bytes().to_vec();
            packet.extend(Event { code, end, volume: 10, duration }.to_bytes());
            bench.send(&a, a.port, &packet);
        }
        match bench.input() {
            Input::Digit { media: MediaId(1), key } => typed.push(key),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(typed, "11223344556677889900");
}

/// RFC 3264 §6.1: telephone events are not relayed to a party that did not agree to them; the core is told of the key.
#[test]
fn keys_for_a_party_without_telephone_events() {
    let (events, plain) = (agreed("0 101"), agreed("0"));
    let mut bench = bench(22, Duration::from_secs(300));
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(MediaAction::Bridge {
        a: a.media,
        b: b.media,
        a_to_b: PayloadMap::between(&events, &plain),
        b_to_a: PayloadMap::between(&plain, &events),
    });
    b.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 2048];
    let bridged = (0..200).any(|_| {
        bench.send(&a, a.port, &voice(1, 1, &[0xff; 160]));
        b.socket.recv_from(&mut buffer).is_ok()
    });
    assert!(bridged);
    for sequence in 2..5 {
        let header = Header { marker: sequence == 2, payload: 101, sequence, timestamp: 640, ssrc: 99 };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(Event { code: 5, end: true, volume: 10, duration: 320 }.to_bytes());
        bench.send(&a, a.port, &packet);
    }
    bench.send(&a, a.port, &voice(5, 5, &[0xff; 160]));
    b.socket.set_read_timeout(Some(BOUND)).unwrap();
    // Those sent before the bridge was seen may still come.
    let next = std::iter::repeat_with(|| receive(&b))
        .map(|packet| Packet::parse(&packet).unwrap().header)
        .find(|header| header.sequence != 1)
        .unwrap();
    assert_eq!((next.payload, next.sequence), (0, 5));
    match bench.input() {
        Input::Digit { media: MediaId(1), key } => assert_eq!(key, '5'),
        other => panic!("{other:?}"),
    }
}

/// RFC 4733: a key that came by INFO goes to a bridged party in the stream that it hears, and sound goes on after it.
#[test]
fn a_key_is_sent_in_the_stream_of_the_bridge() {
    let mut bench = bench(19, Duration::from_secs(300));
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(bridge(&a, &b));
    a.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 2048];
    // One packet of b's again and again, numbered where its sound is, until one comes through; then up to the last.
    let mut sent = 0;
    let mut heard = (1..=200u8).find_map(|number| {
        sent = number;
        bench.send(&b, b.port, &voice(10, 1600, &[number; 160]));
        let (length, _) = a.socket.recv_from(&mut buffer).ok()?;
        buffer[..length].last().copied()
    });
    a.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while heard.expect("the bridge never stands") != sent {
        heard = next(&a).1.last().copied();
    }
    bench.media.handle(MediaAction::Key { media: a.media, key: '#' });
    let events: Vec<(Header, Event)> = (0..7)
        .map(|_| {
            let (header, data) = next(&a);
            (header, Event::parse(&data).unwrap())
        })
        .collect();
    let first = events[0].0;
    assert_eq!((first.ssrc, first.sequence, first.payload, first.marker), (99, 11, 101, true));
    for (at, (header, event)) in events.iter().enumerate() {
        assert_eq!((header.sequence, header.timestamp), (11 + at as u16, first.timestamp));
        assert_eq!((event.key(), event.end), (Some('#'), at >= 4));
    }
    bench.send(&b, b.port, &voice(40, 6400, &[7; 160]));
    let (header, data) = next(&a);
    assert_eq!((header.ssrc, header.sequence, data), (99, 18, vec![7; 160]));
}

fn samples_of(path: &std::path::Path) -> Vec<i16> {
    let octets = std::fs::read(path).unwrap();
    assert_eq!(octets[..44], ringfork_media::wav::header((octets.len() as u64 - 44) / 2));
    octets[44..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Issue 4: a full disk ends the recording and not the call; closing the session ends it whole.
#[test]
fn a_recording_that_cannot_be_written_fails_alone() {
    let mut bench = bench(21, Duration::from_secs(300));
    let a = bench.party(1);
    bench.media.handle(MediaAction::Attend { media: a.media });
    let limits = RecordingLimits { max_seconds: 60, silence_seconds: None };
    let call = ringfork_call::control::CallSid([1; 16]);
    let record = |recording| MediaAction::Record { recording, call, media: MediaId(1), other: None, limits };
    let (good, bad) = (RecordingSid([1; 16]), RecordingSid([2; 16]));
    // A folder where a file should be.
    let recordings = bench.folder.path().join("recordings");
    std::fs::create_dir_all(recordings.join(format!("{bad}.wav"))).unwrap();
    bench.media.handle(record(bad));
    let Input::Recorded { recording, seconds: 0, end: RecordingEnd::Failed } = bench.input() else {
        panic!("not reported")
    };
    assert_eq!(recording, bad);
    next(&a);
    bench.media.handle(record(good));
    bench.media.handle(MediaAction::Close { media: a.media, port: a.port });
    let Input::Recorded { recording, seconds: 0, end: RecordingEnd::Stopped } = bench.input() else {
        panic!("not reported")
    };
    assert_eq!(recording, good);
    samples_of(&recordings.join(format!("{good}.wav")));
}
