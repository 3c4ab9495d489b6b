//! What transactions cost: nanoseconds for a REGISTER as server and as client, with what parsing and building take
//! beside, and bytes for a server transaction that lingers. `cargo run --release -p ringfork-sip --example
//! transactions_bench [COUNT]`; Linux only for the bytes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfork_sip::flow::Flow;
use ringfork_sip::transaction::{TransactionConfig, TransactionEvent, Transactions};
use ringfork_sip::{HeaderName, Message, ResponseBuilder};

fn register(number: usize) -> Bytes {
    Bytes::from(format!(
        "REGISTER sip:ringfork.local SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK-{number:032x};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{number}@ringfork.local>;tag={number:08x}\r\nTo: <sip:user{number}@ringfork.local>\r\n\
         Call-ID: {number:032x}\r\nCSeq: 2 REGISTER\r\nContact: <sip:user{number}@198.51.100.7:5070>;+sip.instance=\"<urn:uuid:{number:032x}>\"\r\n\
         Expires: 600\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn ok(message: &Message, source: SocketAddr) -> Bytes {
    ResponseBuilder::new(message, 200, source, Some("0123456789abcdef"))
        .copy(message, HeaderName::Contact)
        .header(HeaderName::Expires, "600")
        .header(HeaderName::Server, "ringfork")
        .build()
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Nanoseconds that this thread was on a processor, so that a busy machine does not spoil the numbers; by the clock
/// where the system does not say.
#[allow(clippy::disallowed_methods)] // It is a stopwatch.
fn spent(start: Instant) -> u128 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or_else(|| start.elapsed().as_nanos())
}

/// What `run` took for each of `count`.
fn per(start: Instant, count: usize, run: impl FnOnce()) -> u128 {
    let before = spent(start);
    run();
    spent(start).saturating_sub(before) / count.max(1) as u128
}

#[allow(clippy::disallowed_methods)] // Where virtual time starts.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(160_000), |count| count.parse())?;
    let source: SocketAddr = "198.51.100.7:5070".parse()?;
    let flow = Flow::Udp { local: "192.0.2.1:5060".parse()?, remote: source };
    let config = TransactionConfig { max_servers: 2 * count, max_clients: 2 * count, ..TransactionConfig::default() };
    let start = Instant::now();

    let parse = per(start, count, || {
        for number in 0..count {
            let _ = std::hint::black_box(Message::parse(register(number)));
        }
    });
    let build = per(start, count, || {
        for number in 0..count {
            if let Ok(message) = Message::parse(register(number)) {
                std::hint::black_box(ok(&message, source));
            }
        }
    });
    println!("making and parsing a REGISTER: {parse} ns; building its 200: {} ns", build.saturating_sub(parse));

    // 32 s of requests at a steady rate, several times over: the tables are at their size from the second round on.
    let gap = Duration::from_secs(32) / u32::try_from(count)?;
    let mut now = start;
    let mut layer = Transactions::new(config, [7; 32], now);
    let before = resident();
    for round in 0..3 {
        let whole = per(start, count, || {
            for number in 0..count {
                now += gap;
                layer.handle_timeout(now);
                let Ok(message) = Message::parse(register(round * count + number)) else { return };
                layer.handle_message(now, flow, message);
                while let Some(event) = layer.poll_event() {
                    if let TransactionEvent::Request { key, message, .. } = event {
                        let _ = layer.respond(now, key, ok(&message, source));
                    }
                }
                while layer.poll_transmit().is_some() {}
                layer.poll_timeout();
            }
        });
        println!("server transaction of a REGISTER, round {round}: {} ns", whole.saturating_sub(build));
    }
    let held = layer.servers();
    println!(
        "lingering server transactions: {held}, {} bytes each resident (response of {} bytes), {} timers",
        (resident().saturating_sub(before)) / held.max(1),
        ok(&Message::parse(register(1)).map_err(|fault| fault.to_string())?, source).len(),
        layer.timers()
    );
    layer.handle_timeout(now + Duration::from_secs(60));
    now += Duration::from_secs(60);

    let text = String::from_utf8_lossy(&register(1)).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with("Via"));
    let without_via: Vec<u8> = lines.flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
    let answer = |payload: Bytes| {
        let message = Message::parse(payload)?;
        Message::parse(ok(&message, source))
    };
    let answering = per(start, count, || {
        for _ in 0..count {
            let _ = std::hint::black_box(answer(register(1)));
        }
    });
    for round in 0..2 {
        let whole = per(start, count, || {
            for _ in 0..count {
                now += gap;
                layer.handle_timeout(now);
                let _ = layer.request(now, flow, "192.0.2.1", &without_via);
                while let Some(transmit) = layer.poll_transmit() {
                    let Ok(answer) = answer(transmit.payload) else { return };
                    layer.handle_message(now, flow, answer);
                }
                while layer.poll_event().is_some() {}
                layer.poll_timeout();
            }
        });
        let held = layer.clients();
        println!("client transaction, round {round}: {} ns; {held} linger", whole.saturating_sub(answering));
    }
    Ok(())
}
