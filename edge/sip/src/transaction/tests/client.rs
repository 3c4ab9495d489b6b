//! Client transactions: figures 5 and 6 of RFC 3261, RFC 6026 §7.2, with exact instants.

use super::*;

/// RFC 3261 §17.1.1.2: timer A doubles without limit, timer B ends it after 64*T1.
#[test]
fn an_unanswered_invite_over_udp_is_sent_seven_times_and_times_out_at_32_s() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    lab.until(60_000);
    assert_eq!(
        lab.log(),
        [
            "0 > INVITE",
            "500 > INVITE",
            "1500 > INVITE",
            "3500 > INVITE",
            "7500 > INVITE",
            "15500 > INVITE",
            "31500 > INVITE",
            "32000 Timeout"
        ]
    );
    lab.assert_empty();
}

/// RFC 3261 §17.1.1.2: timer A only over an unreliable transport.
#[test]
fn an_unanswered_invite_over_tcp_is_sent_once_and_times_out_at_32_s() {
    let mut lab = Lab::new(tcp());
    lab.request("INVITE");
    lab.until(60_000);
    assert_eq!(lab.log(), ["0 > INVITE", "32000 Timeout"]);
    lab.assert_empty();
}

/// RFC 3261 §17.1.2.2: timer E doubles up to T2, timer F ends it after 64*T1.
#[test]
fn an_unanswered_bye_over_udp_is_sent_eleven_times_and_times_out_at_32_s() {
    let mut lab = Lab::new(udp());
    lab.request("BYE");
    lab.until(60_000);
    let mut expected: Vec<String> =
        [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].map(|at| format!("{at} > BYE")).to_vec();
    expected.push("32000 Timeout".to_owned());
    assert_eq!(lab.log(), expected);
    lab.assert_empty();
}

#[test]
fn an_unanswered_bye_over_tcp_is_sent_once() {
    let mut lab = Lab::new(tcp());
    lab.request("BYE");
    lab.until(60_000);
    assert_eq!(lab.log(), ["0 > BYE", "32000 Timeout"]);
    lab.assert_empty();
}

/// RFC 3261 §17.1.1.2: provisional responses stop timers A and B; the final one is acknowledged by the transaction,
/// again for each repetition, until timer D.
#[test]
fn a_busy_invite_over_udp() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    lab.until(100);
    lab.answered("INVITE", 100, "b");
    lab.until(90_000);
    lab.answered("INVITE", 180, "b");
    lab.answered("INVITE", 486, "b");
    lab.answered("INVITE", 486, "b");
    lab.answered("INVITE", 200, "b");
    lab.answered("INVITE", 180, "b");
    lab.until(121_999);
    lab.answered("INVITE", 486, "b");
    lab.until(122_000);
    lab.answered("INVITE", 486, "b");
    assert_eq!(
        lab.log(),
        [
            "0 > INVITE",
            "100 Response 100",
            "90000 Response 180",
            "90000 > ACK",
            "90000 Response 486",
            "90000 > ACK",
            "121999 > ACK"
        ]
    );
    // The 200 and the 180 after the 486, and the 486 after timer D.
    assert_eq!(lab.layer.counters().stray_responses, 3);
    lab.assert_empty();
}

/// RFC 3261 §17.1.1.3: what the ACK of a non-2xx response holds.
#[test]
fn the_ack_of_a_failure_is_made_of_the_invite_and_the_response() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    lab.answered("INVITE", 603, "b");
    let invite = Message::parse(lab.last_sent("INVITE")).unwrap();
    let ack = Message::parse_valid(lab.last_sent("ACK")).unwrap();
    assert_eq!(ack.request_uri(), invite.request_uri());
    assert_eq!(ack.via_values().collect::<Vec<_>>(), [invite.via_values().next().unwrap()]);
    assert_eq!((ack.from_tag(), ack.to_tag(), ack.call_id()), (Some("us"), Some("b"), invite.call_id()));
    assert_eq!(ack.cseq().map(|cseq| cseq.number), Some(42));
    let routes = |message: &Message| -> Vec<String> {
        message.addresses(crate::header::HeaderName::Route).map(|route| route.uri_text.to_owned()).collect()
    };
    assert_eq!(routes(&ack), routes(&invite));
    assert_eq!(routes(&ack).len(), 2);
}

/// RFC 3261 §17.1.1.2: timer D is zero over a reliable transport.
#[test]
fn a_busy_invite_over_tcp_ends_at_once() {
    let mut lab = Lab::new(tcp());
    lab.request("INVITE");
    lab.answered("INVITE", 486, "b");
    assert_eq!(lab.log(), ["0 > INVITE", "0 > ACK", "0 Response 486"]);
    lab.assert_empty();
}

/// RFC 6026 §7.2: repeated 2xx and those of other branches go to the user until timer M, over every transport.
#[test]
fn every_2xx_of_an_invite_goes_to_the_user_for_32_s() {
    for flow in [udp(), tcp()] {
        let mut lab = Lab::new(flow);
        let key = lab.request("INVITE");
        lab.answered("INVITE", 200, "b");
        lab.until(500);
        lab.answered("INVITE", 200, "b");
        lab.answered("INVITE", 200, "other");
        lab.answered("INVITE", 180, "third");
        lab.answered("INVITE", 486, "third");
        lab.until(31_999);
        lab.answered("INVITE", 200, "b");
        assert_eq!(lab.layer.cancel(lab.now, key, &[]), CancelOutcome::Nothing);
        lab.until(32_000);
        lab.answered("INVITE", 200, "b");
        assert_eq!(
            lab.log(),
            [
                "0 > INVITE",
                "0 Response 200",
                "500 Response 200",
                "500 Response 200",
                "31999 Response 200",
                "32000 Terminated"
            ]
        );
        lab.assert_empty();
    }
}

/// RFC 3261 §17.1.2.2: in Proceeding the request is repeated every T2, from the next firing of timer E on.
#[test]
fn a_provisional_response_to_bye_slows_its_repetitions() {
    let mut lab = Lab::new(udp());
    lab.request("BYE");
    lab.until(600);
    lab.answered("BYE", 100, "b");
    lab.until(60_000);
    let mut expected =
        vec!["0 > BYE".to_owned(), "500 > BYE".to_owned(), "600 Response 100".to_owned(), "1500 > BYE".to_owned()];
    expected.extend([5500, 9500, 13500, 17500, 21500, 25500, 29500].map(|at| format!("{at} > BYE")));
    expected.push("32000 Timeout".to_owned());
    assert_eq!(lab.log(), expected);
    lab.assert_empty();
}

/// RFC 3261 §17.1.2.2: one final response, then what comes again is absorbed until timer K.
#[test]
fn a_final_response_to_bye_is_told_once() {
    let mut lab = Lab::new(udp());
    lab.request("BYE");
    lab.until(10);
    lab.answered("BYE", 200, "b");
    lab.answered("BYE", 200, "b");
    lab.answered("BYE", 481, "b");
    lab.until(5_009);
    assert_eq!(lab.layer.clients(), 1);
    lab.until(5_010);
    assert_eq!(lab.log(), ["0 > BYE", "10 Response 200"]);
    assert_eq!(lab.layer.clients(), 0);
    lab.until(32_000);
    lab.assert_empty();

    let mut lab = Lab::new(tcp());
    lab.request("BYE");
    lab.answered("BYE", 200, "b");
    assert_eq!(lab.log(), ["0 > BYE", "0 Response 200"]);
    lab.assert_empty();
}

/// RFC 3261 §17.1.3, §8.1.3.3, §18.1.2: a response must have our branch, the method, and no Via but ours.
#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    let good = String::from_utf8(respond(&lab.last_sent("INVITE"), 180, "b").to_vec()).unwrap();
    let branch = Message::parse(lab.last_sent("INVITE")).unwrap().top_via().unwrap().branch().unwrap().to_owned();
    let mut other = branch.clone();
    other.replace_range(branch.len() - 1.., if branch.ends_with('0') { "1" } else { "0" });
    for bad in [
        good.replace(&branch, &other),
        good.replace(&branch, "z9hG4bK"),
        good.replace(&branch, &branch[..branch.len() - 1]),
        good.replace(&branch, "z9hG4bKffffffff0000000000000000"),
        good.replace("42 INVITE", "42 BYE"),
        good.replace("42 INVITE", "42 CANCEL"),
        good.replace("From:", "Via: SIP/2.0/UDP more.example;branch=z9hG4bKx\r\nFrom:"),
    ] {
        lab.receive(Bytes::from(bad));
    }
    assert_eq!(lab.log(), ["0 > INVITE"]);
    assert_eq!(lab.layer.counters().stray_responses, 7);
    lab.receive(Bytes::from(good));
    assert_eq!(lab.log(), ["0 Response 180"]);
}

/// RFC 3261 §8.1.1.7, RFC 3581 §3: our Via is on top, with transport, sent-by, a new branch and rport.
#[test]
fn requests_get_a_via() {
    for (flow, transport) in [(udp(), "UDP"), (tcp(), "TCP")] {
        let mut lab = Lab::new(flow);
        lab.request("OPTIONS");
        lab.request("OPTIONS");
        let branches: Vec<String> = lab
            .sent
            .iter()
            .map(|transmit| {
                assert_eq!(transmit.flow, flow);
                let message = Message::parse_valid(transmit.payload.clone()).unwrap();
                assert_eq!(message.via_values().count(), 1);
                let via = message.top_via().unwrap();
                assert_eq!(
                    (via.transport, via.host.to_string(), via.port),
                    (transport, "203.0.113.1".to_owned(), None)
                );
                assert!(via.has_rfc3261_branch() && via.rport().is_some());
                via.branch().unwrap().to_owned()
            })
            .collect();
        assert_ne!(branches[0], branches[1]);
    }
}

/// RFC 3261 §17.1.4, §8.1.3.1: a failed flow ends what waits for a final response there, and only there.
#[test]
fn a_failed_flow_ends_its_client_transactions() {
    let mut lab = Lab::new(tcp());
    let invite = lab.request("INVITE");
    lab.answered("INVITE", 180, "b");
    lab.layer.cancel(lab.now, invite, &[]);
    lab.drain();
    lab.request("BYE");
    lab.flow = udp();
    lab.request("OPTIONS");
    lab.request("INFO");
    lab.answered("INFO", 200, "b");
    lab.log();
    lab.layer.handle_flow_failed(lab.now, tcp());
    lab.drain();
    assert_eq!(lab.log(), ["0 TransportError", "0 TransportError"]);
    assert_eq!(lab.layer.clients(), 2);
    lab.layer.handle_flow_failed(lab.now, udp());
    lab.drain();
    assert_eq!(lab.log(), ["0 TransportError"]);
    lab.until(40_000);
    assert!(lab.log().is_empty());
    lab.assert_empty();
}

/// The bound on client transactions, and what makes none.
#[test]
fn a_full_or_wrong_request_is_refused() {
    let mut lab = Lab::with(udp(), TransactionConfig { max_clients: 1, ..TransactionConfig::default() });
    let now = lab.now;
    for bytes in [&b""[..], b"INVITE", b" sip:a SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n\r\n"] {
        assert_eq!(lab.layer.request(now, udp(), "h", bytes), Err(RequestError::NotARequest));
    }
    for method in ["ACK", "CANCEL"] {
        assert_eq!(lab.layer.request(now, udp(), "h", &outgoing(method)), Err(RequestError::NotARequest));
    }
    let key = lab.request("INVITE");
    assert_eq!(lab.layer.request(now, udp(), "h", &outgoing("BYE")), Err(RequestError::Full));
    lab.answered("INVITE", 180, "b");
    assert_eq!(lab.layer.cancel(now, key, &[]), CancelOutcome::Sent, "a CANCEL is never refused");
    lab.drain();
    assert_eq!(lab.layer.clients(), 2);
}

/// Other flows are not concerned, whatever their place in the table of flows.
#[test]
fn a_failed_flow_concerns_no_other() {
    let other = Flow::Udp { local: udp().local(), remote: address("198.51.100.7:5071") };
    for failed in [udp(), tcp(), other] {
        let mut lab = Lab::new(udp());
        for flow in [udp(), tcp(), other] {
            lab.flow = flow;
            lab.request("INVITE");
        }
        lab.log();
        lab.layer.handle_flow_failed(lab.now, failed);
        lab.drain();
        assert_eq!(lab.log(), ["0 TransportError"]);
        assert_eq!(lab.layer.clients(), 2);
    }
}
