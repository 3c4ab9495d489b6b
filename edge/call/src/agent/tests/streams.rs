//! Parties over TCP whose connection ends (RFC 5626 §4.3; docs/operations.md "Phones over TCP").

use std::time::Duration;

use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::net::{Net, Phone, sdp};
use crate::action::Input;

/// A registered client of this name on a connection.
fn client(net: &mut Net, name: &str, address: &str, connection: u64) -> Phone {
    let mut phone = Phone::new(name, address);
    phone.connection = Some(connection);
    net.register(&phone);
    phone
}

/// Alice calls over TCP with her credentials; returns a response with our tag: nothing but 100 so far.
fn call(net: &mut Net, alice: &Phone) {
    net.send(alice, alice.invite("100", "c1", 1, "", &sdp(alice, "sendrecv")));
    let challenge = net.take_code(alice, 407);
    net.send(alice, alice.cancel("100", "c1", 1).replace("CANCEL", "ACK"));
    let uri = "sip:100@ringfork.local";
    let header = alice.credentials(&challenge, HeaderName::ProxyAuthenticate, "Proxy-Authorization", "INVITE", uri);
    net.send(alice, alice.invite("100", "c1", 2, &header, &sdp(alice, "sendrecv")));
}

/// Alice (TCP, connection 1) and bob (TCP, connection 2) talk.
fn bridged() -> (Net, Phone, Phone, Message, Message) {
    let mut net = Net::new();
    let alice = client(&mut net, "alice", "203.0.113.9:4001", 1);
    let bob = client(&mut net, "bob", "203.0.113.1:4002", 2);
    net.dial_clients(&["bob"]);
    call(&mut net, &alice);
    let invite = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&invite, 180, "p1", ""));
    net.send(&bob, bob.respond(&invite, 200, "p1", &sdp(&bob, "sendrecv")));
    net.take_method(&bob, Method::Ack);
    let ok = net.take_code(&alice, 200);
    net.send(&alice, alice.request("ACK", 2, &ok, "", ""));
    net.sent.clear();
    (net, alice, bob, ok, invite)
}

/// A caller whose connection ends before the answer can be told nothing: its call ends at once.
#[test]
fn a_ringing_caller_whose_connection_ends() {
    let mut net = Net::new();
    let alice = client(&mut net, "alice", "203.0.113.9:4001", 1);
    let bob = client(&mut net, "bob", "203.0.113.1:4002", 2);
    net.dial_clients(&["bob"]);
    call(&mut net, &alice);
    let invite = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&invite, 180, "p1", ""));
    net.handle(Input::FlowClosed { connection: 1 });
    let cancel = net.take_method(&bob, Method::Cancel);
    net.send(&bob, bob.respond(&cancel, 200, "p1", ""));
    net.send(&bob, bob.respond(&invite, 487, "p1", ""));
    assert_eq!(net.agent.gauges().calls, 0);
    net.assert_clean();
}

/// A leg whose connection ends while it rings is undeliverable (RCML.md 1.4): at once.
#[test]
fn a_ringing_leg_whose_connection_ends() {
    let mut net = Net::new();
    let bob = client(&mut net, "bob", "203.0.113.1:4002", 2);
    net.dial_clients(&["bob"]);
    let caller = Phone::new("+15557", "198.51.100.7:5060");
    net.send(&caller, caller.invite("100", "c1", 1, "", &sdp(&caller, "sendrecv")));
    let invite = net.take_method(&bob, Method::Invite);
    net.send(&bob, bob.respond(&invite, 180, "p1", ""));
    net.handle(Input::FlowClosed { connection: 2 });
    net.take_code(&caller, 480);
    net.assert_clean();
}

/// An answered party that does not come back in 32 s is lost: the other one gets its BYE.
#[test]
fn an_answered_party_that_stays_away() {
    for (closed, other) in [(1, 1), (2, 0)] {
        let (mut net, alice, bob, ..) = bridged();
        net.handle(Input::FlowClosed { connection: closed });
        net.advance(Duration::from_secs(31));
        assert_eq!(net.agent.gauges().calls, 1);
        net.advance(Duration::from_secs(2));
        let other = [&alice, &bob][other];
        let bye = net.take_method(other, Method::Bye);
        net.send(other, other.respond(&bye, 200, "p1", ""));
        assert_eq!(net.agent.gauges().calls, 0);
        assert!(net.agent.core.on_streams.is_empty());
        net.assert_clean();
    }
}

/// What the log says of a request that could not leave names the leg that it was for.
#[test]
fn a_request_without_a_flow_is_logged_with_its_leg() {
    let (mut net, alice, _bob, ok, _) = bridged();
    let sid = |(name, value): &(_, String)| (*name == "CallSid").then(|| value.clone());
    let leg = net.events[0].parameters.iter().find_map(sid).unwrap();
    net.handle(Input::FlowClosed { connection: 2 });
    net.send(&alice, alice.request("INVITE", 3, &ok, "", &sdp(&alice, "sendonly")));
    net.take_code(&alice, 503);
    let line = format!("{leg}: A request within a dialog has nowhere to go");
    assert!(net.logs.contains(&line), "{:?}", net.logs);
    net.send(&alice, alice.request("BYE", 4, &ok, "", ""));
    net.assert_clean();
}

/// A dialog goes on over the flow of a new registration of the same client.
#[test]
fn a_party_that_registers_again_is_kept() {
    let (mut net, alice, mut bob, ok, _) = bridged();
    net.handle(Input::FlowClosed { connection: 2 });
    bob.connection = Some(5);
    net.register(&bob);
    net.advance(Duration::from_secs(40));
    assert_eq!(net.agent.gauges().calls, 1);
    net.sent.clear();
    net.send(&alice, alice.request("BYE", 3, &ok, "", ""));
    let bye = net.take_method(&bob, Method::Bye);
    net.send(&bob, bob.respond(&bye, 200, "p1", ""));
    assert!(net.agent.core.on_streams.is_empty());
    net.assert_clean();
}

/// A dialog follows its party to the flow of a re-INVITE.
#[test]
fn a_party_that_offers_again_is_kept() {
    let (mut net, alice, mut bob, ok, invite) = bridged();
    net.handle(Input::FlowClosed { connection: 2 });
    bob.connection = Some(6);
    net.send(&bob, bob.request_back("INVITE", 1, &invite, "p1", "", &sdp(&bob, "sendrecv")));
    let refreshed = net.take_code(&bob, 200);
    net.send(&bob, bob.request_back("ACK", 1, &invite, "p1", "", ""));
    assert!(refreshed.is_response());
    net.advance(Duration::from_secs(40));
    assert_eq!(net.agent.gauges().calls, 1);
    net.send(&alice, alice.request("BYE", 3, &ok, "", ""));
    net.take_method(&bob, Method::Bye);
    net.assert_clean();
}

/// A party without a connection gets no BYE: its leg is released at once when the other one hangs up.
#[test]
fn nothing_is_owed_to_a_party_without_a_flow() {
    let (mut net, alice, _bob, ok, _) = bridged();
    net.handle(Input::FlowClosed { connection: 2 });
    net.send(&alice, alice.request("BYE", 3, &ok, "", ""));
    let gauges = net.agent.gauges();
    assert_eq!((gauges.calls, gauges.legs, gauges.leased_ports, gauges.dialogs), (0, 0, 0, 0));
    net.assert_clean();
}

/// docs/operations.md "Limits": a silent connection stays while a client is registered or talks over it.
#[test]
fn a_connection_is_needed_by_its_bindings_and_dialogs() {
    let (mut net, alice, bob, _, invite) = bridged();
    let mut stranger = Phone::new("eve", "203.0.113.7:4007");
    stranger.connection = Some(7);
    net.send(&stranger, stranger.invite("100", "c7", 1, "", ""));
    net.take_code(&stranger, 407);
    for (phone, needed) in [(&alice, true), (&bob, true), (&stranger, false)] {
        assert_eq!(net.agent.needs(&phone.flow()), needed);
    }
    // Registered over another connection: the first one has the dialog alone.
    let mut again = Phone::new("alice", "203.0.113.9:4001");
    again.connection = Some(3);
    net.register_from(&again, 3);
    assert!(net.agent.needs(&alice.flow()) && net.agent.needs(&again.flow()));
    net.send(&bob, bob.request_back("BYE", 1, &invite, "p1", "", ""));
    let bye = net.take_method(&alice, Method::Bye);
    net.send(&alice, alice.respond(&bye, 200, "p1", ""));
    assert!(!net.agent.needs(&alice.flow()) && net.agent.needs(&again.flow()));
    net.assert_clean();
}
