//! Random walks: whatever the parties and the shell do, in whatever order, nothing is left when it is over. And, on
//! demand, what a forked call costs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfork_rcml::program::Endpoint;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::net::{Net, Phone, config, sdp, sdp_of};
use crate::action::{Input, MediaId, ResolvedTarget};
use crate::agent::Trunk;
use crate::control::EventKind;

/// What a walk knows of the dialogs that the edge has with it.
#[derive(Default)]
struct Known {
    /// INVITEs that reached phones, with the tag under which each was answered last.
    invites: Vec<(usize, Message, String)>,
    /// Requests that a phone has not answered.
    open: Vec<(usize, Message)>,
    /// The last response with a tag to the caller's INVITE.
    answer: Option<Message>,
    cseq: u32,
}

const CHALLENGE: &str = "Digest realm=\"trunk\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

fn description(random: &mut ChaCha12Rng, phone: &Phone) -> String {
    let direction = DIRECTIONS[random.random_range(0..4)];
    match random.random_range(0..8) {
        0 => String::new(),
        1 => sdp_of(phone, "8 101", direction),
        2 => sdp_of(phone, "0", direction),
        3 => sdp(phone, direction).replace("RTP/AVP", "RTP/SAVP"),
        _ => sdp(phone, direction),
    }
}

/// Takes everything that the edge has sent into what is known; ACKs what must be ACKed, most of the time.
fn look(net: &mut Net, random: &mut ChaCha12Rng, phones: &[Phone], known: &mut Known) {
    while let Some((to, message)) = net.sent.pop_front() {
        let Some(index) = phones.iter().position(|phone| phone.address == to) else { continue };
        if let Some(code) = message.status() {
            let is_invite = message.cseq().is_some_and(|cseq| cseq.method == Method::Invite);
            if index == 0 && is_invite && message.to_tag().is_some() && code < 300 {
                known.answer = Some(message.clone());
            }
            if is_invite && (200..300).contains(&code) && random.random_range(0..10) > 0 {
                let cseq = message.cseq().unwrap().number;
                let body = description(random, &phones[index]);
                let ack = phones[index].request("ACK", cseq, &message, "", &body);
                net.send(&phones[index], ack);
            }
            continue;
        }
        if message.is_method(&Method::Ack) {
            continue;
        }
        if message.is_method(&Method::Invite) && message.to_tag().is_none() {
            known.invites.push((index, message.clone(), "p1".into()));
        }
        known.open.push((index, message));
    }
}

fn step(net: &mut Net, random: &mut ChaCha12Rng, phones: &[Phone], known: &mut Known) {
    known.cseq += 1;
    match random.random_range(0..14) {
        // A phone answers something.
        0..=6 if !known.open.is_empty() => {
            let at = random.random_range(0..known.open.len());
            let (index, request) = known.open[at].clone();
            let invite = request.is_method(&Method::Invite);
            let codes: &[u16] = if invite {
                &[100, 180, 183, 200, 200, 200, 200, 486, 491, 488, 408, 481, 503, 302, 401, 422, 500, 603]
            } else {
                &[200, 200, 200, 200, 481, 491, 500, 407]
            };
            let code = codes[random.random_range(0..codes.len())];
            let tag = if random.random_range(0..12) == 0 { "p2" } else { "p1" };
            let phone = &phones[index];
            let body = if invite && code < 300 { description(random, phone) } else { String::new() };
            let rseq = known.cseq.to_string();
            let headers: &[(HeaderName, &str)] = match code {
                183 => &[(HeaderName::Require, "100rel"), (HeaderName::RSeq, &rseq)],
                200 if random.random() => &[(HeaderName::SessionExpires, "90;refresher=uac")],
                422 => &[(HeaderName::MinSe, "2000")],
                401 => &[(HeaderName::WwwAuthenticate, CHALLENGE)],
                407 => &[(HeaderName::ProxyAuthenticate, CHALLENGE)],
                _ => &[],
            };
            let response = phone.respond_with(&request, code, tag, headers, &body);
            if code >= 200 {
                known.open.swap_remove(at);
            }
            net.send(phone, response.clone());
            if random.random_range(0..6) == 0 {
                net.send(phone, response);
            }
        }
        7 => {
            let phone = &phones[0];
            let cancel = phone.cancel("100", "w", 1);
            if random.random_range(0..4) == 0 {
                net.send(phone, cancel);
            }
        }
        8 | 9 => {
            // The caller asks something within its dialog.
            let Some(answer) = known.answer.clone() else { return };
            let (method, extra) = [
                ("INVITE", ""),
                ("INVITE", "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n"),
                ("UPDATE", ""),
                ("BYE", ""),
                ("INFO", "Content-Type: application/dtmf\r\n"),
                ("PRACK", "RAck: 1 1 INVITE\r\n"),
            ][random.random_range(0..6)];
            let body = match method {
                "INVITE" | "UPDATE" | "PRACK" => description(random, &phones[0]),
                "INFO" => "5".into(),
                _ => String::new(),
            };
            net.send(&phones[0], phones[0].request(method, known.cseq + 1, &answer, extra, &body));
        }
        10 | 11 => {
            // A phone asks something within its dialog.
            if known.invites.is_empty() {
                return;
            }
            let (index, invite, tag) = known.invites[random.random_range(0..known.invites.len())].clone();
            let method = ["INVITE", "UPDATE", "BYE", "INFO"][random.random_range(0..4)];
            let body = if method == "BYE" { String::new() } else { description(random, &phones[index]) };
            net.send(&phones[index], phones[index].request_back(method, known.cseq, &invite, &tag, "", &body));
        }
        12 if random.random_range(0..6) == 0 => {
            net.handle(Input::MediaSilent { media: MediaId(random.random_range(1..6)) });
        }
        12 => net.advance(Duration::from_millis(random.random_range(1..5_000))),
        13 if random.random_range(0..8) == 0 => net.advance(Duration::from_secs(random.random_range(20..40))),
        _ => {}
    }
}

fn walk(seed: u64) {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let mut config = config();
    config.trunk = Some(Trunk {
        uri: "sip:trunk.example".into(),
        user: Some("user".into()),
        password: Some("pass".into()),
        caller_id: None,
    });
    let mut net = Net::with(config, Vec::new());
    let caller = Phone::new("+15557", "198.51.100.7:5060");
    let mut phones = vec![caller.clone()];
    for address in ["203.0.113.90:5060", "203.0.113.91:5060"] {
        let target = ResolvedTarget { address: address.parse().unwrap(), tcp: random.random_range(0..4) == 0 };
        net.hosts.entry("trunk.example".into()).or_default().push(target);
        let mut trunk = Phone::new("trunk", address);
        // The number that the edge gives the stream to it is not known here; the address is enough for the walk.
        trunk.connection = target.tcp.then_some(1 << 63 | 1);
        phones.push(trunk);
    }
    for (index, name) in ["bob", "carol", "dave"].iter().enumerate() {
        let phone = Phone::new(name, &format!("203.0.113.{}:5062", index + 1));
        net.register(&phone);
        phones.push(phone);
    }
    let mut nouns: Vec<_> =
        ["bob", "carol", "dave", "nobody"].iter().map(|name| Endpoint::Client { identity: (*name).into() }).collect();
    if random.random_range(0..3) == 0 {
        nouns.push(Endpoint::Number { digits: "+1555".into() });
        nouns.drain(..random.random_range(0..4));
    }
    net.dial(&nouns);
    if random.random_range(0..4) == 0 {
        // Then another Dial, after the first.
        let again = net.program.steps.clone();
        net.program.steps.extend(again);
    }
    net.sent.clear();
    let extra = ["", "Require: 100rel\r\n", "Supported: timer\r\n", "Expires: 20\r\n"][random.random_range(0..4)];
    let body = if random.random_range(0..4) == 0 { String::new() } else { sdp(&caller, "sendrecv") };
    net.send(&caller, caller.invite("100", "w", 1, extra, &body));
    let mut known = Known { cseq: 1, ..Known::default() };
    for _ in 0..random.random_range(5..120) {
        look(&mut net, &mut random, &phones, &mut known);
        step(&mut net, &mut random, &phones, &mut known);
    }
    look(&mut net, &mut random, &phones, &mut known);
    // The caller hangs up for good, in whatever state it is.
    net.send(&caller, caller.cancel("100", "w", 1));
    if let Some(answer) = &known.answer {
        net.send(&caller, caller.request("ACK", 1, answer, "", ""));
        net.send(&caller, caller.request("BYE", 10_000, answer, "", ""));
    }
    net.advance(Duration::from_secs(200));
    net.assert_clean();
    let count = |kind| net.events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(count(EventKind::Initiated), count(EventKind::Completed), "seed {seed}");
}

/// Ports are released on every path, no table keeps anything, each leg has one `completed`.
#[test]
fn nothing_is_left_of_any_walk() {
    (0..150).for_each(named_walk);
}

fn named_walk(seed: u64) {
    if let Err(panic) = std::panic::catch_unwind(|| walk(seed)) {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

/// More of the same: `cargo nextest run -p ringfork-call --run-ignored only more_walks`.
#[test]
#[ignore = "long"]
fn more_walks() {
    (1_000..20_000).for_each(named_walk);
}

/// Any bytes at any time: nothing panics. The shell's answers to tokens that were never given are ignored.
#[test]
fn bent_messages() {
    let mut random = ChaCha12Rng::seed_from_u64(5);
    let (mut net, caller, phones) = super::calls::setup(&["bob"]);
    let invites = super::calls::ring(&mut net, &caller, &phones);
    let ok = super::calls::answer(&mut net, &caller, &phones[0], &invites[0]);
    let samples: Vec<Bytes> = vec![
        caller.invite("100", "b", 1, "Require: 100rel\r\n", &sdp(&caller, "sendrecv")).into(),
        caller.request("INVITE", 2, &ok, "Session-Expires: 90\r\n", &sdp(&caller, "sendonly")).into(),
        caller.request("PRACK", 3, &ok, "RAck: 1 1 INVITE\r\n", "").into(),
        phones[0].register(9, "Authorization: Digest username=\"bob\", realm=\"ringfork.local\"\r\n").into(),
        phones[0].respond(&invites[0], 200, "p1", &sdp(&phones[0], "sendrecv")),
    ];
    for _ in 0..4_000 {
        let mut bytes = samples[random.random_range(0..samples.len())].to_vec();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, b"\r\n;,<>\"@:"[random.random_range(0..9)]),
            }
        }
        net.send(&caller, bytes);
        net.sent.clear();
    }
    net.handle(Input::Written { token: crate::action::Token(1 << 40), result: Ok(()) });
}

/// What a call forked to ten devices costs, printed: `cargo test --release -p ringfork-call cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_fork() {
    for devices in [1usize, 3, 10] {
        let mut net = Net::new();
        let caller = Phone::new("+15557", "198.51.100.7:5060");
        let mut phones = Vec::new();
        for index in 0..devices {
            let name = format!("c{index}");
            net.add_client(&name);
            let phone = Phone::new(&name, &format!("203.0.113.{}:5062", index + 1));
            net.register(&phone);
            phones.push(phone);
        }
        let nouns: Vec<_> = phones.iter().map(|phone| Endpoint::Client { identity: phone.name.clone() }).collect();
        net.dial(&nouns);
        let calls = 2_000u32;
        let mut spent = Duration::ZERO;
        let mut inputs = 0u32;
        for call in 0..calls {
            let id = format!("k{call}");
            let mut send = |net: &mut Net, phone: &Phone, payload: Bytes| {
                let begin = Instant::now();
                net.send(phone, payload);
                spent += begin.elapsed();
                inputs += 1;
            };
            send(&mut net, &caller, caller.invite("100", &id, 1, "", &sdp(&caller, "sendrecv")).into());
            let invites: Vec<_> = phones.iter().map(|phone| net.take_method(phone, Method::Invite)).collect();
            for (phone, invite) in phones.iter().zip(&invites) {
                send(&mut net, phone, phone.respond(invite, 180, "p", ""));
            }
            send(&mut net, &phones[0], phones[0].respond(&invites[0], 200, "p", &sdp(&phones[0], "sendrecv")));
            net.sent.retain(|(_, message)| message.status() == Some(200) || message.is_method(&Method::Cancel));
            let ok = net.take_code(&caller, 200);
            send(&mut net, &caller, caller.request("ACK", 1, &ok, "", "").into());
            for (phone, invite) in phones.iter().zip(&invites).skip(1) {
                let cancel = net.take_method(phone, Method::Cancel);
                send(&mut net, phone, phone.respond(&cancel, 200, "p", ""));
                send(&mut net, phone, phone.respond(invite, 487, "p", ""));
            }
            send(&mut net, &caller, caller.request("BYE", 2, &ok, "", "").into());
            let bye = net.take_method(&phones[0], Method::Bye);
            send(&mut net, &phones[0], phones[0].respond(&bye, 200, "p", ""));
            net.sent.clear();
            net.events.clear();
            net.writes.clear();
            net.media.clear();
            net.logs.clear();
            if call % 50 == 0 {
                net.advance(Duration::from_secs(1));
            }
        }
        println!("{devices:2} devices: {:?} a call, {} inputs", spent / calls, inputs / calls);
    }
}
