//! Server transactions: figures 7 and 8 of RFC 3261, RFC 6026 §7.1, with exact instants.

use super::*;

/// RFC 3261 §17.2.2: a repeated request is discarded before the response, and gets the response again until timer J.
#[test]
fn a_repeated_register_gets_the_same_response_until_32_s_after_it() {
    let mut lab = Lab::new(udp());
    let register = incoming("REGISTER", "z9hG4bKa");
    lab.receive(register.clone());
    lab.until(100);
    lab.receive(register.clone());
    assert_eq!(lab.log(), ["0 Request REGISTER"]);
    lab.respond(&register, 200).unwrap();
    assert_eq!(lab.log(), ["100 > 200"]);
    for at in [200, 20_000, 32_099] {
        lab.until(at);
        lab.receive(register.clone());
        assert_eq!(lab.log(), [format!("{at} > 200")]);
    }
    assert_eq!(lab.respond(&register, 200), Err(RespondError::Final));
    lab.until(32_100);
    assert_eq!(lab.respond(&register, 200), Err(RespondError::Gone));
    lab.assert_empty();
    lab.receive(register);
    assert_eq!(lab.log(), ["32100 Request REGISTER"]);
}

/// RFC 3261 §17.2.1: 100 after 200 ms; repeated INVITEs get the last provisional response.
#[test]
fn an_invite_that_its_user_leaves_alone_gets_100_after_200_ms() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.until(1000);
    lab.receive(invite.clone());
    lab.respond(&invite, 180).unwrap();
    lab.receive(invite.clone());
    assert_eq!(lab.log(), ["0 Request INVITE", "200 > 100", "1000 > 100", "1000 > 180", "1000 > 180"]);
}

/// RFC 3261 §17.2.1: a non-2xx final response is repeated from T1 to T2 until the ACK, which ends in timer I.
#[test]
fn a_rejected_invite_over_udp_is_acknowledged() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.respond(&invite, 486).unwrap();
    lab.until(1600);
    lab.receive(invite.clone());
    lab.receive(incoming("ACK", "z9hG4bKa"));
    lab.receive(incoming("ACK", "z9hG4bKa"));
    lab.receive(invite.clone());
    assert_eq!(lab.log(), ["0 Request INVITE", "0 > 486", "500 > 486", "1500 > 486", "1600 > 486"]);
    assert_eq!(lab.respond(&invite, 486), Err(RespondError::Final));
    lab.until(6_599);
    assert_eq!(lab.layer.servers(), 1);
    lab.until(60_000);
    assert!(lab.log().is_empty());
    lab.assert_empty();
}

/// RFC 3261 §17.2.1: timers G and H.
#[test]
fn a_rejected_invite_over_udp_whose_ack_is_lost() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.respond(&invite, 404).unwrap();
    lab.until(60_000);
    let mut expected = vec!["0 Request INVITE".to_owned()];
    expected
        .extend([0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].map(|at| format!("{at} > 404")));
    expected.push("32000 Unacknowledged".to_owned());
    assert_eq!(lab.log(), expected);
    lab.assert_empty();
}

/// RFC 3261 §17.2.1: no timer G over a reliable transport; timer I is zero.
#[test]
fn a_rejected_invite_over_tcp() {
    let mut lab = Lab::new(tcp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.respond(&invite, 404).unwrap();
    lab.until(20_000);
    lab.receive(incoming("ACK", "z9hG4bKa"));
    assert_eq!(lab.log(), ["0 Request INVITE", "0 > 404"]);
    assert_eq!(lab.layer.servers(), 0);

    let invite = incoming("INVITE", "z9hG4bKb");
    lab.receive(invite.clone());
    lab.respond(&invite, 404).unwrap();
    lab.until(60_000);
    assert_eq!(lab.log(), ["20000 Request INVITE", "20000 > 404", "52000 Unacknowledged"]);
    lab.assert_empty();
}

/// RFC 6026 §7.1: after a 2xx repeated INVITEs are absorbed in silence, 2xx go out as the user says, until timer L.
#[test]
fn an_accepted_invite_absorbs_repetitions_for_32_s() {
    for flow in [udp(), tcp()] {
        let mut lab = Lab::new(flow);
        let invite = incoming("INVITE", "z9hG4bKa");
        lab.receive(invite.clone());
        lab.respond(&invite, 200).unwrap();
        lab.until(500);
        lab.receive(invite.clone());
        lab.respond(&invite, 200).unwrap();
        assert_eq!(lab.respond(&invite, 180), Err(RespondError::Final));
        assert_eq!(lab.respond(&invite, 500), Err(RespondError::Final));
        lab.until(31_999);
        lab.receive(invite.clone());
        assert_eq!(lab.log(), ["0 Request INVITE", "0 > 200", "500 > 200"]);
        lab.until(32_000);
        assert_eq!(lab.respond(&invite, 200), Err(RespondError::Gone));
        lab.assert_empty();
    }
}

/// RFC 3261 §13.3.1.4: the ACK of a 2xx has a branch of its own and goes to the user; so does one under the INVITE's
/// branch, as some devices send it (RFC 6026 §7.1).
#[test]
fn the_ack_of_a_2xx_goes_to_the_user() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.respond(&invite, 200).unwrap();
    lab.log();
    lab.receive(incoming("ACK", "z9hG4bKother"));
    lab.receive(incoming("ACK", "z9hG4bKa"));
    assert_eq!(lab.log(), ["0 Ack", "0 Ack"]);
}

/// RFC 3261 §17.2.2 over TCP: timer J is zero.
#[test]
fn a_register_over_tcp_leaves_nothing() {
    let mut lab = Lab::new(tcp());
    let register = incoming("REGISTER", "z9hG4bKa");
    lab.receive(register.clone());
    lab.respond(&register, 100).unwrap();
    lab.receive(register.clone());
    lab.respond(&register, 200).unwrap();
    assert_eq!(lab.log(), ["0 Request REGISTER", "0 > 100", "0 > 100", "0 > 200"]);
    lab.assert_empty();
}

/// RFC 4320 §4.2 in spirit: what its user never answers is forgotten when its client has given up.
#[test]
fn an_unanswered_request_is_forgotten_after_32_s() {
    let mut lab = Lab::new(udp());
    let info = incoming("INFO", "z9hG4bKa");
    lab.receive(info.clone());
    lab.until(31_999);
    assert_eq!(lab.layer.servers(), 1);
    lab.until(32_000);
    lab.assert_empty();
    assert_eq!(lab.respond(&info, 200), Err(RespondError::Gone));
    assert_eq!(lab.log(), ["0 Request INFO"]);
}

/// RFC 3261 §26.3.2.4: a challenge may be stateless; then nothing is left, and a repetition is a new request.
#[test]
fn a_stateless_challenge_leaves_nothing() {
    let mut lab = Lab::new(udp());
    for (method, code) in [("REGISTER", 401), ("INVITE", 407)] {
        let request = incoming(method, "z9hG4bKa");
        for _ in 0..2 {
            lab.receive(request.clone());
            let key = *lab.requests.last().unwrap();
            let response = respond(&request, code, "us");
            assert_eq!(lab.layer.respond_stateless(key, request.clone()), Err(RespondError::NotAResponse));
            lab.layer.respond_stateless(key, response.clone()).unwrap();
            lab.drain();
            assert_eq!(lab.layer.respond_stateless(key, response), Err(RespondError::Gone));
            assert_eq!(lab.log(), [format!("0 Request {method}"), format!("0 > {code}")]);
            assert_eq!(lab.layer.servers(), 0);
        }
    }
    lab.receive(incoming("ACK", "z9hG4bKa"));
    assert_eq!(lab.log(), ["0 Ack"]);
    lab.assert_empty();
}

#[test]
fn only_responses_are_sent_as_responses() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    let key = lab.requests[0];
    for bytes in [&b""[..], b"SIP/2.0 99 X\r\n\r\n", b"SIP/2.0 700 X\r\n\r\n", b"SIP/2.0", b"SIP/2.0 2\xff0 "] {
        assert_eq!(lab.layer.respond(lab.now, key, Bytes::from_static(bytes)), Err(RespondError::NotAResponse));
    }
    assert_eq!(lab.layer.respond(lab.now, key, invite), Err(RespondError::NotAResponse));
}

/// RFC 3261 §17.2.3, read strictly: a sender that uses a branch twice does not retransmit where the Call-ID
/// differs; each request is handed up. A repetition still is one.
#[test]
fn a_branch_used_twice_is_two_transactions() {
    let mut lab = Lab::new(udp());
    let first = incoming("OPTIONS", "z9hG4bKa");
    let text = String::from_utf8(first.to_vec()).unwrap();
    let call_id = text.lines().find(|line| line.starts_with("Call-ID:")).unwrap();
    lab.receive(first.clone());
    lab.receive(text.replace(call_id, "Call-ID: another").into());
    lab.receive(first);
    assert_eq!(lab.log(), ["0 Request OPTIONS", "0 Request OPTIONS"]);
    assert_eq!(lab.layer.servers(), 2);
}
