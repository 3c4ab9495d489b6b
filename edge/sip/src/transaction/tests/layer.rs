//! Matching, limits, failed flows and other things of the layer as a whole.

use super::*;

/// RFC 3261 §17.2.3: branch, sent-by and method tell transactions apart.
#[test]
fn requests_are_told_apart_by_branch_sent_by_and_method() {
    let mut lab = Lab::new(udp());
    let options = incoming("OPTIONS", "z9hG4bKa");
    let text = String::from_utf8(options.to_vec()).unwrap();
    lab.receive(options.clone());
    lab.receive(options);
    lab.receive(Bytes::from(
        text.replace("Via: SIP/2.0/UDP phone.example:5070", "Via: SIP/2.0/UDP PHONE.Example:5070"),
    ));
    assert_eq!(lab.log().len(), 1, "one transaction");
    lab.receive(Bytes::from(text.replace("phone.example:5070", "phone.example:5071")));
    lab.receive(Bytes::from(text.replace("phone.example:5070", "phone2.example:5070")));
    lab.receive(Bytes::from(text.replace("z9hG4bKa", "z9hG4bKA")));
    lab.receive(incoming("INFO", "z9hG4bKa"));
    assert_eq!(lab.log().len(), 4, "four others");
    // The port of sent-by is 5060 where none stands.
    lab.receive(Bytes::from(text.replace("phone.example:5070", "phone.example:5060")));
    lab.receive(Bytes::from(text.replace("phone.example:5070", "phone.example")));
    assert_eq!(lab.log().len(), 1);
}

/// RFC 3261 §17.2.3, last paragraphs; RFC 4475 §3.1.1.8 has the bare cookie: without a branch that is unique to the
/// transaction, the Request-URI, From tag, Call-ID, CSeq and top Via are compared.
#[test]
fn requests_without_a_cookie_are_matched_as_in_rfc_2543() {
    for branch in ["1", "z9hG4bK", "Z9HG4BK"] {
        let mut lab = Lab::new(udp());
        let invite = incoming("INVITE", branch);
        lab.receive(invite.clone());
        lab.receive(invite.clone());
        assert_eq!(lab.log(), ["0 Request INVITE"], "{branch}");
        // Another call of the same sender, under the same branch.
        let other = with_headers("INVITE", branch, "", "them2", 7);
        lab.receive(other.clone());
        assert_eq!(lab.log(), ["0 Request INVITE"], "{branch}");
        lab.respond(&other, 486).unwrap();
        lab.receive(with_headers("ACK", branch, ";tag=us", "them2", 7));
        lab.until(150);
        assert_eq!(lab.log(), ["0 > 486"], "the ACK is matched: {branch}");
        lab.receive(incoming("CANCEL", branch));
        assert_eq!(lab.log(), ["150 > 200", "150 Cancelled"], "{branch}");
        lab.receive(with_headers("INVITE", branch, ";tag=us", "them", 8));
        assert_eq!(lab.log(), ["150 Request INVITE"], "another CSeq is another request: {branch}");
    }
}

/// RFC 3261 §8.2.2.2: the same request by another path gets 482.
#[test]
fn a_merged_invite_gets_482() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.receive(incoming("INVITE", "z9hG4bKb"));
    assert_eq!(lab.log(), ["0 Request INVITE", "0 > 482"]);
    assert!(Message::parse(lab.last_sent("482")).unwrap().to_tag().is_some());
    // Within a dialog it is none, nor with another CSeq or From tag, nor a request other than INVITE.
    lab.receive(with_headers("INVITE", "z9hG4bKc", ";tag=us", "them", 7));
    lab.receive(with_headers("INVITE", "z9hG4bKd", "", "them", 8));
    lab.receive(with_headers("INVITE", "z9hG4bKe", "", "other", 7));
    lab.receive(incoming("OPTIONS", "z9hG4bKf"));
    lab.receive(incoming("OPTIONS", "z9hG4bKg"));
    assert_eq!(lab.log().len(), 5);
    assert_eq!(lab.layer.counters().merged, 1);
    // The challenged first attempt is over when the second comes.
    let key = lab.requests[0];
    lab.layer.respond_stateless(key, respond(&invite, 407, "us")).unwrap();
    lab.drain();
    lab.log();
    lab.receive(incoming("INVITE", "z9hG4bKh"));
    assert_eq!(lab.log(), ["0 Request INVITE"]);

    let mut lab = Lab::with(udp(), TransactionConfig { detect_merged: false, ..TransactionConfig::default() });
    lab.receive(incoming("INVITE", "z9hG4bKa"));
    lab.receive(incoming("INVITE", "z9hG4bKb"));
    assert_eq!(lab.log(), ["0 Request INVITE", "0 Request INVITE"]);
}

/// The bound on server transactions: 503 with Retry-After and no state; what is known is still served.
#[test]
fn a_full_layer_answers_503() {
    let mut lab = Lab::with(udp(), TransactionConfig { max_servers: 2, ..TransactionConfig::default() });
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.respond(&invite, 180).unwrap();
    lab.receive(incoming("OPTIONS", "z9hG4bKb"));
    lab.log();
    lab.receive(incoming("REGISTER", "z9hG4bKc"));
    assert_eq!(lab.log(), ["0 > 503"]);
    let refused = Message::parse(lab.last_sent("503")).unwrap();
    assert_eq!(refused.retry_after().map(|after| after.seconds), Some(5));
    assert_eq!((lab.layer.servers(), lab.layer.counters().refused), (2, 1));
    lab.receive(invite);
    lab.receive(incoming("CANCEL", "z9hG4bKa"));
    lab.receive(incoming("CANCEL", "z9hG4bKa"));
    assert_eq!(lab.log(), ["0 > 180", "0 > 200", "0 Cancelled", "0 > 200"]);
    assert_eq!(lab.layer.servers(), 2);
}

/// RFC 3261 §18.2.2, RFC 3581 §4: over UDP to the source where `rport` was asked for or the Via names another address,
/// else to the Via's port.
#[test]
fn responses_go_where_the_via_says() {
    let text = String::from_utf8(incoming("OPTIONS", "z9hG4bKa").to_vec()).unwrap();
    let from = |via: &str| Bytes::from(text.replace("phone.example:5070", via).replace(";rport", ""));
    for (request, port) in [
        (Bytes::from(text.replace("phone.example:5070", "198.51.100.7:5999")), 5070),
        (from("198.51.100.7:5999"), 5999),
        (from("198.51.100.7"), 5060),
        (from("10.0.0.1:5999"), 5070),
        (from("phone.example"), 5070),
    ] {
        let mut lab = Lab::new(udp());
        lab.layer.handle_message(lab.now, udp(), Message::parse_valid(request.clone()).unwrap());
        let Some(TransactionEvent::Request { key, flow, source, .. }) = lab.layer.poll_event() else { panic!() };
        assert_eq!((flow.remote().port(), flow.local(), source), (port, udp().local(), udp()));
        lab.layer.respond(lab.now, key, respond(&request, 200, "us")).unwrap();
        assert_eq!(lab.layer.poll_transmit().unwrap().flow, flow);
    }
    let mut lab = Lab::new(tcp());
    lab.receive(from("198.51.100.7:5999"));
    lab.respond(&from("198.51.100.7:5999"), 200).unwrap();
    assert_eq!(lab.sent.last().unwrap().flow, tcp());
}

/// A failed stream forgets its server transactions; datagrams' stay.
#[test]
fn a_failed_stream_forgets_its_server_transactions() {
    for (flow, left) in [(tcp(), 0), (udp(), 1)] {
        let mut lab = Lab::new(flow);
        let invite = incoming("INVITE", "z9hG4bKa");
        lab.receive(invite.clone());
        lab.layer.handle_flow_failed(lab.now, flow);
        lab.drain();
        assert_eq!(lab.log(), ["0 Request INVITE"]);
        assert_eq!(lab.layer.servers(), left);
        if left == 0 {
            assert_eq!(lab.respond(&invite, 200), Err(RespondError::Gone));
            lab.assert_empty();
        }
    }
}

/// RFC 3261 §13.2.2.4: the ACK of a 2xx has a Via of its own and makes no transaction.
#[test]
fn an_ack_of_a_2xx_is_sent_without_a_transaction() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    let ack = lab.layer.send_ack(udp(), "203.0.113.1", &outgoing("ACK"));
    lab.drain();
    assert_eq!(lab.last_sent("ACK"), ack);
    let branch = |bytes: Bytes| Message::parse_valid(bytes).unwrap().top_via().unwrap().branch().unwrap().to_owned();
    assert_ne!(branch(ack.clone()), branch(lab.last_sent("INVITE")));
    lab.layer.send_stateless(udp(), ack);
    lab.drain();
    assert_eq!(lab.log(), ["0 > INVITE", "0 > ACK", "0 > ACK"]);
    assert_eq!(lab.layer.clients(), 1);
}

/// A transaction's timers do not pile up however often it is repeated, and stopped ones are forgotten.
#[test]
fn the_timer_queue_is_bounded() {
    let mut lab = Lab::new(tcp());
    for _ in 0..10_000 {
        lab.request("BYE");
        lab.answered("BYE", 200, "b");
        lab.layer.poll_timeout();
        lab.sent.clear();
        lab.log();
    }
    assert!(lab.layer.timers() <= 1024, "{}", lab.layer.timers());
    lab.assert_empty();
}

/// A late wake-up does each thing once and goes on from there.
#[test]
fn a_late_timeout_repeats_once() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    lab.now += Duration::from_secs(10);
    lab.layer.handle_timeout(lab.now);
    lab.drain();
    assert_eq!(lab.log(), ["0 > INVITE", "10000 > INVITE"]);
    lab.until(60_000);
    assert_eq!(lab.log(), ["11000 > INVITE", "13000 > INVITE", "17000 > INVITE", "25000 > INVITE", "32000 Timeout"]);
    lab.assert_empty();
}

/// The drain rule is asserted in debug builds.
#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "take all events")]
fn an_input_before_the_output_is_taken_is_a_fault() {
    let mut lab = Lab::new(udp());
    lab.layer.handle_message(lab.now, udp(), Message::parse(incoming("INVITE", "z9hG4bKa")).unwrap());
    lab.layer.handle_timeout(lab.now);
}

/// Time and entropy are arguments: the same seed and inputs give the same bytes, another seed gives others.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let now = crate::transaction::some_instant();
        let mut layer = Transactions::new(TransactionConfig::default(), [seed; 32], now);
        layer.request(now, udp(), "h", &outgoing("INVITE")).unwrap();
        layer.poll_transmit().unwrap().payload
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
