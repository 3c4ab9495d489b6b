//! The rules, each by its source.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::flow::Flow;
use crate::message::Message;

const NOW: u64 = 1_790_000_000;

fn udp(port: u16) -> Flow {
    Flow::Udp { local: "192.0.2.1:5060".parse().unwrap(), remote: ([198, 51, 100, 9], port).into() }
}

/// A REGISTER of alice with these header lines.
fn message(call_id: &str, cseq: u32, lines: &[&str]) -> Message {
    let mut text = format!(
        "REGISTER sip:ringfork.local SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK{cseq};rport\r\n\
         From: <sip:alice@ringfork.local>;tag=1\r\nTo: <sip:alice@ringfork.local>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\nUser-Agent: phone/1\r\nMax-Forwards: 70\r\n"
    );
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    Message::parse(Bytes::from(text)).unwrap()
}

struct Registrar {
    table: Bindings,
    limits: Limits,
}

impl Registrar {
    fn new() -> Registrar {
        Registrar { table: Bindings::new(1000, [7; 16]), limits: Limits::default() }
    }

    fn decide(&self, message: &Message, flow: Flow, now: u64) -> Result<Outcome, Refusal> {
        register(&self.table, message, "alice", flow, now, &self.limits)
    }

    /// Decides and applies; the writes that it took and the contacts of the 200.
    fn accept(&mut self, message: &Message, flow: Flow, now: u64) -> (Vec<BindingWrite>, Vec<String>) {
        let outcome = self.decide(message, flow, now).unwrap();
        let writes = outcome.changes.iter().filter_map(Change::write).collect();
        for change in outcome.changes {
            self.table.apply(change);
        }
        let held = self.table.of("alice", now).count();
        assert_eq!(held, outcome.reply.contacts.len(), "the 200 names every binding");
        (writes, outcome.reply.contacts)
    }

    fn keys(&self, now: u64) -> Vec<&str> {
        self.table.of("alice", now).map(|binding| binding.key()).collect()
    }
}

const A: &str = "Contact: <sip:alice@10.0.0.1:5062>";

/// DESIGN "SIP choices": contacts are echoed as sent, with `expires`; 600 s where none is asked; 3600 at most; the
/// contact's own before Expires (RFC 3261 §10.3 step 6).
#[test]
fn expiry_is_granted() {
    for (lines, granted) in [
        (vec![A], 600),
        (vec![A, "Expires: 300"], 300),
        (vec![A, "Expires: 7200"], 3600),
        (vec!["Contact: <sip:alice@10.0.0.1:5062>;expires=120", "Expires: 300"], 120),
        (vec!["Contact: <sip:alice@10.0.0.1:5062>;expires=60"], 60),
        (vec!["Contact: \"Alice\" <sip:alice@10.0.0.1:5062> ; Expires = 4294967295"], 3600),
    ] {
        let (_, contacts) = Registrar::new().accept(&message("c", 1, &lines), udp(1), NOW);
        assert_eq!(contacts, [format!("<sip:alice@10.0.0.1:5062>;expires={granted}")], "{lines:?}");
    }
    let odd =
        "Contact: <sip:Alice%40x@Host;Foo=Bar;lr>;q=0.50;EXPIRES=90;+sip.instance=\"<urn:uuid:A>\";x;+u.y=\"a;b\"";
    let (_, contacts) = Registrar::new().accept(&message("c", 1, &[odd]), udp(1), NOW);
    assert_eq!(
        contacts,
        ["<sip:Alice%40x@Host;Foo=Bar;lr>;q=0.50;+sip.instance=\"<urn:uuid:A>\";x;+u.y=\"a;b\";expires=90"]
    );
}

/// RFC 3261 §10.3 step 6, §21.4.17: 423 with Min-Expires; 0 is not too brief.
#[test]
fn too_brief() {
    let registrar = Registrar::new();
    for lines in
        [vec![A, "Expires: 59"], vec!["Contact: <sip:a@h>;expires=1"], vec![A, "Contact: <sip:b@h>;expires=30"]]
    {
        let refusal = registrar.decide(&message("c", 1, &lines), udp(1), NOW).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::TooBrief { min_expires: 60 }, 423));
    }
    assert!(registrar.decide(&message("c", 1, &[A, "Expires: 0"]), udp(1), NOW).unwrap().changes.is_empty());
}

/// RFC 3261 §10.2.2, §10.3: removal of one, removal of all, fetch.
#[test]
fn removal_and_fetch() {
    let mut registrar = Registrar::new();
    registrar.accept(&message("c", 1, &[A, "Contact: <sip:b@h>, <sip:c@h>"]), udp(1), NOW);
    let (writes, contacts) = registrar.accept(&message("d", 1, &[]), udp(9), NOW + 10);
    assert!(writes.is_empty());
    assert_eq!(contacts, ["<sip:alice@10.0.0.1:5062>;expires=590", "<sip:b@h>;expires=590", "<sip:c@h>;expires=590"]);
    let (writes, contacts) = registrar.accept(&message("c", 2, &["Contact: <sip:b@H>;expires=0"]), udp(1), NOW + 10);
    assert_eq!(writes, [BindingWrite::Delete { aor: "alice".into(), key: "sip:b@h".into() }]);
    assert_eq!(contacts.len(), 2);
    for lines in [
        vec!["Contact: *"],
        vec!["Contact: *", "Expires: 1"],
        vec!["Contact: *", "Expires: 3600"],
        vec!["Contact: *, <sip:b@h>", "Expires: 0"],
        vec!["Contact: *", A, "Expires: 0"],
    ] {
        let refusal = registrar.decide(&message("c", 3, &lines), udp(1), NOW + 10).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Star, 400), "{lines:?}");
    }
    let star = ["Contact: *", "Expires: 0"];
    assert_eq!(registrar.decide(&message("c", 1, &star), udp(1), NOW + 10), Err(Refusal::OutOfOrder));
    let (writes, contacts) = registrar.accept(&message("e", 1, &star), udp(1), NOW + 10);
    assert_eq!((writes.len(), contacts.len(), registrar.table.len()), (2, 0, 0));
}

/// RFC 3261 §10.3 step 7: the same Call-ID needs a higher CSeq; another Call-ID replaces in any order; a failure of one
/// contact changes none.
#[test]
fn order_of_requests() {
    let mut registrar = Registrar::new();
    registrar.accept(&message("c", 5, &[A]), udp(1), NOW);
    for cseq in [4, 5] {
        let both = message("c", cseq, &["Contact: <sip:new@h>", A]);
        let refusal = registrar.decide(&both, udp(1), NOW + 1).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::OutOfOrder, 500));
        let removal = message("c", cseq, &[A, "Expires: 0"]);
        assert_eq!(registrar.decide(&removal, udp(1), NOW + 1), Err(Refusal::OutOfOrder));
    }
    registrar.accept(&message("c", 6, &[A]), udp(1), NOW + 1);
    registrar.accept(&message("other", 1, &[A]), udp(1), NOW + 2);
    assert_eq!(registrar.table.get("alice", "sip:alice@10.0.0.1:5062").unwrap().cseq(), 1);
    assert_eq!(registrar.table.len(), 1);
}

/// RFC 3261 §19.1.4 decides which contacts are the same; a parameter that only one has may differ (RFC 4475 §3.3.13).
#[test]
fn contacts_are_compared_as_uris() {
    let mut registrar = Registrar::new();
    registrar.accept(&message("c", 1, &["Contact: <sip:%61lice@Host.example;x=1>"]), udp(1), NOW);
    for (cseq, contact, bindings) in [
        (2, "Contact: <sip:alice@host.EXAMPLE;x=1>", 1),
        (3, "Contact: <sip:alice@host.example;y=2;x=1>", 1),
        (4, "Contact: <sip:Alice@host.example;x=1>", 2),
        (5, "Contact: <sip:alice@host.example;transport=tcp;x=1>", 3),
        (6, "Contact: <sip:alice@host.example:5060;x=1>", 4),
        (7, "Contact: <sip:alice@host.example;x=2>", 5),
    ] {
        registrar.accept(&message("c", cseq, &[contact]), udp(1), NOW);
        assert_eq!(registrar.table.len(), bindings, "{contact}");
    }
}

/// DESIGN "SIP choices": replaced by instance id, whatever the contact, flow and Call-ID; RFC 5626 §6: by reg-id too.
#[test]
fn instances_replace() {
    let mut registrar = Registrar::new();
    let contact = |port: u16, rest: &str| {
        format!(
            "Contact: <sip:alice@10.0.0.1:{port}>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"{rest}"
        )
    };
    registrar.accept(&message("c", 1, &[&contact(1, "")]), udp(1), NOW);
    let other_case = contact(2, "").replace("AABB", "aabb");
    let (writes, contacts) = registrar.accept(&message("d", 1, &[&other_case]), udp(2), NOW + 1);
    assert_eq!((writes.len(), contacts.len()), (1, 1));
    assert_eq!(registrar.keys(NOW), ["<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>"]);
    assert_eq!(registrar.table.of_flow(&udp(1)).count(), 0);
    assert_eq!(registrar.table.of_flow(&udp(2)).count(), 1);

    let outcome =
        registrar.decide(&message("e", 1, &[&contact(3, ";reg-id=1"), "Supported: path, outbound"]), udp(3), NOW);
    assert!(outcome.unwrap().reply.require_outbound);
    let outcome = registrar.decide(&message("e", 1, &[&contact(3, ";reg-id=1")]), udp(3), NOW);
    assert!(!outcome.unwrap().reply.require_outbound, "RFC 5626 §6: only for those that support it");
    registrar.accept(&message("e", 1, &[&contact(3, ";reg-id=1")]), udp(3), NOW);
    registrar.accept(&message("f", 1, &[&contact(4, ";reg-id=2")]), udp(4), NOW);
    registrar.accept(&message("g", 1, &[&contact(5, ";reg-id=1")]), udp(5), NOW);
    assert_eq!(registrar.table.len(), 3, "without reg-id, 1, 2");
    // reg-id without instance means nothing (RFC 5626 §6).
    registrar.accept(&message("h", 1, &["Contact: <sip:x@h>;reg-id=1"]), udp(6), NOW);
    registrar.accept(&message("i", 1, &["Contact: <sip:x@h>;reg-id=2"]), udp(6), NOW);
    assert_eq!(registrar.table.len(), 4);
}

/// RFC 5626 §6: one flow per registration; 439 where a proxy on the way lacks `ob`.
#[test]
fn outbound_rules() {
    let registrar = Registrar::new();
    let flow_contact = "Contact: <sip:alice@10.0.0.1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let two = message("c", 1, &[flow_contact, "Contact: <sip:x@h>"]);
    assert_eq!(registrar.decide(&two, udp(1), NOW).unwrap_err().status(), 400);
    let removing = message("c", 1, &[flow_contact, "Contact: <sip:x@h>;expires=0"]);
    assert!(registrar.decide(&removing, udp(1), NOW).is_ok());
    let hop = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx";
    let supported = "Supported: outbound";
    let refusal = registrar.decide(&message("c", 1, &[hop, flow_contact, supported]), udp(1), NOW).unwrap_err();
    assert_eq!((refusal, refusal.status()), (Refusal::FirstHop, 439));
    let ignored = registrar.decide(&message("c", 1, &[hop, flow_contact]), udp(1), NOW).unwrap();
    assert!(matches!(&ignored.changes[..], [Change::Put { record, .. }] if record.key == "<urn:uuid:1>"));
    let path = "Path: <sip:edge.example;lr;ob>";
    let outcome = registrar.decide(&message("c", 1, &[hop, path, flow_contact, supported]), udp(1), NOW).unwrap();
    assert!(outcome.reply.require_outbound);
    assert_eq!(outcome.reply.path, ["<sip:edge.example;lr;ob>"]);
}

/// RFC 3327 §5.3: Path is kept with the binding, in order, and echoed.
#[test]
fn path_is_kept() {
    let mut registrar = Registrar::new();
    let lines = [A, "Path: <sip:p1;lr>,<sip:p2,x;lr>", "Path: <sip:p3;lr>;a=\"b,c\""];
    let outcome = registrar.decide(&message("c", 1, &lines), udp(1), NOW).unwrap();
    assert_eq!(outcome.reply.path, ["<sip:p1;lr>", "<sip:p2,x;lr>", "<sip:p3;lr>;a=\"b,c\""]);
    registrar.accept(&message("c", 1, &lines), udp(1), NOW);
    let binding = registrar.table.of("alice", NOW).next().unwrap();
    assert_eq!(binding.path().collect::<Vec<_>>(), outcome.reply.path);
}

/// DESIGN "SIP choices": an eleventh binding is refused with 403 and changes nothing; a refresh never meets the limit;
/// one that takes another's place is no eleventh.
#[test]
fn the_limit_of_ten() {
    let mut registrar = Registrar::new();
    let contact = |n: u32| format!("Contact: <sip:alice@10.0.0.{n}>");
    for n in 1..=10 {
        registrar.accept(&message("c", n, &[&contact(n)]), udp(1), NOW);
    }
    for lines in
        [vec![contact(11)], vec![contact(1), contact(11)], vec![contact(11), contact(12), contact(1) + ";expires=0"]]
    {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let refusal = registrar.decide(&message("c", 20, &lines), udp(1), NOW).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Limit, 403));
    }
    registrar.limits.per_aor = 5;
    registrar.accept(&message("c", 21, &[&contact(3)]), udp(2), NOW);
    registrar.limits.per_aor = 10;
    registrar.accept(&message("c", 22, &[&contact(11), &(contact(1) + ";expires=0")]), udp(1), NOW);
    assert_eq!(registrar.table.len(), 10);
    // Expired ones do not count.
    registrar.accept(&message("c", 23, &[&contact(12)]), udp(1), NOW + 600);
    let many: Vec<String> = (0..40).map(contact).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(registrar.decide(&message("d", 1, &many), udp(1), NOW), Err(Refusal::TooMany));
}

/// Bounded everything: beyond the table's capacity a new binding gets 503, a refresh does not.
#[test]
fn a_full_table() {
    let mut registrar = Registrar { table: Bindings::new(1, [7; 16]), limits: Limits::default() };
    registrar.accept(&message("c", 1, &[A]), udp(1), NOW);
    let refusal = registrar.decide(&message("c", 2, &["Contact: <sip:b@h>"]), udp(1), NOW).unwrap_err();
    assert_eq!((refusal, refusal.status()), (Refusal::Full, 503));
    registrar.accept(&message("c", 2, &[A]), udp(1), NOW);
}

/// DESIGN "State in DynamoDB": about 24 writes per device-day, for refreshes every 60 s and every 600 s.
#[test]
fn refreshes_are_nearly_free() {
    for (expires, every) in [(60, 30), (600, 300), (3600, 1800)] {
        let mut registrar = Registrar::new();
        let line = format!("Expires: {expires}");
        let (mut writes, mut now) = (0, NOW);
        for cseq in 1.. {
            if now > NOW + 86_400 {
                break;
            }
            let (written, _) = registrar.accept(&message("c", cseq, &[A, &line]), udp(1), now);
            writes += written.len();
            let binding = registrar.table.of("alice", now).next().unwrap();
            assert_eq!(binding.expires_at(), now + expires);
            assert!(binding.stored_until() >= binding.expires_at(), "the store outlives the binding");
            now += every;
        }
        assert!((16..=25).contains(&writes), "{expires}: {writes}");
    }
}

/// DESIGN "State in DynamoDB": whatever else changes is written.
#[test]
fn changes_are_written() {
    let (a, q) = (A.to_owned(), format!("{A};q=0.5"));
    for (call_id, contact, path, flow, written) in [
        ("c", &a, None, udp(1), false),
        ("d", &a, None, udp(1), true),
        ("c", &q, None, udp(1), true),
        ("c", &a, Some("Path: <sip:p;lr>"), udp(1), true),
        ("c", &a, None, udp(2), true),
    ] {
        let mut registrar = Registrar::new();
        registrar.accept(&message("c", 1, &[&a]), udp(1), NOW);
        let mut lines = vec![contact.as_str()];
        lines.extend(path);
        let (writes, _) = registrar.accept(&message(call_id, 2, &lines), flow, NOW + 60);
        assert_eq!(!writes.is_empty(), written, "{call_id} {contact} {path:?} {flow:?}");
    }
}

/// RFC 3261 §10.3: one contact given twice is one binding; other schemes are not registered (RFC 4475 §3.3.4).
#[test]
fn odd_contacts() {
    let mut registrar = Registrar::new();
    let twice = ["Contact: <sip:b@h>;q=0.1, <sip:b@H>;q=0.2"];
    let (writes, contacts) = registrar.accept(&message("c", 1, &twice), udp(1), NOW);
    assert_eq!((writes.len(), &contacts[..]), (1, &["<sip:b@H>;q=0.2;expires=600".to_owned()][..]));
    let taken_back = ["Contact: <sip:b@h>, <sip:b@h>;expires=0, <sip:n@h>, <sip:n@h>;expires=0"];
    let (_, contacts) = registrar.accept(&message("c", 2, &taken_back), udp(1), NOW);
    assert!(contacts.is_empty());
    for contact in ["Contact: <mailto:a@b>", "Contact: <sip:>", "Contact: <sip:a@h", "Contact: <tel:+15551234>"] {
        let refusal = registrar.decide(&message("c", 9, &[contact]), udp(1), NOW).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Contact, 400), "{contact}");
    }
}

proptest! {
    /// Whatever arrives: a refusal or a set of changes that keeps the limit, and a 200 that names just what is held.
    #[test]
    fn any_sequence(steps in prop::collection::vec(
        (0u8..3, 1u32..6, prop::collection::vec((0u8..14, 0u8..4, prop::option::of(0u32..200)), 0..4), 0u16..3, 0u64..120),
        1..40,
    )) {
        let mut registrar = Registrar::new();
        registrar.limits.per_aor = 3;
        let mut now = NOW;
        for (call, cseq, contacts, port, seconds) in steps {
            now += seconds;
            while registrar.table.pop_due(now).is_some() {}
            let lines: Vec<String> = contacts
                .iter()
                .map(|(uri, instance, expires)| {
                    let mut line = if *uri == 13 { "Contact: *".to_owned() } else { format!("Contact: <sip:u{}@h>", uri % 5) };
                    if *uri != 13 && *instance > 1 {
                        line.push_str(&format!(";+sip.instance=\"<urn:x:{instance}>\";reg-id={}", uri % 2 + 1));
                    }
                    if let Some(expires) = expires.filter(|_| *uri != 13) {
                        line.push_str(&format!(";expires={expires}"));
                    }
                    line
                })
                .collect();
            let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            if port == 2 {
                lines.push("Expires: 0");
            }
            let request = message(&format!("call{call}"), cseq, &lines);
            let before: Vec<_> = registrar.table.iter().map(|b| b.to_record()).collect();
            if registrar.decide(&request, udp(port), now).is_ok() {
                registrar.accept(&request, udp(port), now);
            } else {
                let after: Vec<_> = registrar.table.iter().map(|b| b.to_record()).collect();
                prop_assert_eq!(before, after);
            }
            prop_assert!(registrar.table.of("alice", now).count() <= 3);
            for binding in registrar.table.iter() {
                prop_assert!(binding.stored_until() >= binding.expires_at());
            }
        }
    }
}
