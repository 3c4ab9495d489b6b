//! The relay over real loopback sockets.

use super::*;
use std::net::UdpSocket;
use std::time::Duration;

use ringfork_call::action::Ports;
use ringfork_media::g711::Law;
use ringfork_media::payload::PayloadMap;
use ringfork_media::tone::Ringing;

struct Party {
    socket: UdpSocket,
    media: MediaId,
    port: u16,
}

struct Bench {
    media: Media,
    pool: PortPool,
    inputs: mpsc::Receiver<Input>,
    address: &'static str,
}

fn bench(address: &'static str, silence: Duration) -> Bench {
    let pool = PortPool::new(vec![address.parse().unwrap()], "22000-22099".parse().unwrap(), 50, 0);
    let (sender, inputs) = mpsc::channel(16);
    let settings = RelaySettings {
        silence,
        trusted: Arc::new(|_| false),
        counters: Arc::new(MediaCounters::default()),
        sounds: Arc::new(source::NoSounds),
        ringing: Ringing::Europe,
        recordings: std::env::temp_dir(),
    };
    let media = Media::start(pool.clone(), settings, sender).unwrap();
    Bench { media, pool, inputs, address }
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
            signalling: self.address.parse().unwrap(),
            send: true,
            receive: true,
            formats: Formats::plain(Law::Mu),
        });
        Party { socket, media, port }
    }

    fn send(&self, from: &Party, to: u16, payload: &[u8]) {
        from.socket.send_to(payload, (self.address, to)).unwrap();
    }
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
    let mut bench = bench("127.77.2.1", Duration::from_secs(300));
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
    let mut bench = bench("127.77.2.2", Duration::from_secs(300));
    let a = bench.party(1);
    bench.media.handle(MediaAction::RingingTone { media: a.media, on: true });
    let (first, second) = (receive(&a), receive(&a));
    assert_eq!((first.len(), second.len()), (172, 172));
    assert_eq!(first[8..12], second[8..12], "one stream");
}

/// The issue: neither RTP nor RTCP from one side of a bridged call is reported, once.
#[test]
fn silence_of_a_bridged_party_is_reported() {
    let mut bench = bench("127.77.2.3", Duration::ZERO);
    let (a, b) = (bench.party(1), bench.party(2));
    bench.media.handle(bridge(&a, &b));
    let mut silent: Vec<MediaId> = Vec::new();
    while silent.len() < 2 {
        match bench.inputs.blocking_recv() {
            Some(Input::MediaSilent { media }) => silent.push(media),
            other => panic!("{other:?}"),
        }
    }
    silent.sort();
    assert_eq!(silent, [a.media, b.media]);
}
