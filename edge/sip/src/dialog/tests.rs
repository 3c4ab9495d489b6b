//! RFC 3261 §12 and §13.2.2.4, case by case.

use super::*;

fn message(text: &str) -> Message {
    Message::parse_valid(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

fn invite() -> Message {
    message(
        "INVITE sip:1@ringfork.local SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nMax-Forwards: 70\n\
         From: \"A, B\" <sip:a@h>;tag=fa\nTo: <sip:1@ringfork.local>\nCall-ID: c1\nCSeq: 7 INVITE\n\
         Contact: <sip:a@192.0.2.1:5070;ob>\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\nRecord-Route: <sip:p3;lr>\n\
         Content-Length: 0\n\n",
    )
}

fn response(code: u16, tag: &str, rest: &str) -> Message {
    message(&format!(
        "SIP/2.0 {code} X\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\nFrom: <sip:us@h>;tag=us\nTo: <sip:b@h>{tag}\nCall-ID: c2\n\
         CSeq: 42 INVITE\n{rest}Content-Length: 0\n\n"
    ))
}

fn ours() -> Initiated {
    Initiated {
        call_id: "c2".into(),
        local: b"<sip:us@h>;tag=us".to_vec(),
        local_tag: "us".into(),
        cseq: 42,
        target: "sip:b@h".into(),
    }
}

fn built(builder: RequestBuilder) -> Message {
    let text = String::from_utf8(builder.build().to_vec()).unwrap();
    let text = text.replacen("\r\n", "\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK2\r\n", 1);
    Message::parse_valid(Bytes::from(text)).unwrap()
}

fn routes(message: &Message) -> Vec<&str> {
    message.addresses(HeaderName::Route).map(|route| route.uri_text).collect()
}

/// §12.1.1: route set in order, target from Contact, our tag on To.
#[test]
fn a_dialog_of_a_uas() {
    let mut dialog = Dialog::of_uas(&invite(), "tt").unwrap();
    assert_eq!((dialog.target.as_str(), dialog.next_hop()), ("sip:a@192.0.2.1:5070;ob", "sip:p1;lr"));
    assert_eq!((dialog.remote_cseq, dialog.next_cseq(), dialog.next_cseq()), (Some(7), 1, 2));
    let bye = built(dialog.request(Method::Bye, 2));
    assert_eq!(bye.request_uri(), Some("sip:a@192.0.2.1:5070;ob"));
    assert_eq!((bye.from_tag(), bye.to_tag(), bye.call_id()), (Some("tt"), Some("fa"), Some("c1")));
    assert_eq!(bye.from().unwrap().uri_text, "sip:1@ringfork.local");
    assert_eq!(bye.to().unwrap().display_name(), "A, B");
    assert_eq!(routes(&bye), ["sip:p1;lr", "sip:p2;lr", "sip:p3;lr"]);
    assert_eq!(bye.max_forwards(), Some(70));
}

/// §12.1.2: the UAC's route set is the reverse of Record-Route.
#[test]
fn a_dialog_of_a_uac() {
    let ok = response(200, ";tag=bb", "Record-Route: <sip:p2;lr>, <sip:p1;lr>\nContact: <sip:b@192.0.2.9>\n");
    let mut dialog = Dialog::of_uac(&ok, &ours());
    let bye_cseq = dialog.next_cseq();
    let bye = built(dialog.request(Method::Bye, bye_cseq));
    assert_eq!(routes(&bye), ["sip:p1;lr", "sip:p2;lr"]);
    assert_eq!((bye.request_uri(), bye_cseq), (Some("sip:b@192.0.2.9"), 43));
    assert_eq!((bye.from_tag(), bye.to_tag()), (Some("us"), Some("bb")));
    let without = Dialog::of_uac(&response(180, ";tag=bb", ""), &ours());
    assert_eq!((without.target.as_str(), without.next_hop()), ("sip:b@h", "sip:b@h"));
}

/// §12.1.2: what is ours is as we sent it, whatever the response says.
#[test]
fn our_tag_is_ours() {
    for tag in ["", ";tag=them"] {
        let ok = format!(
            "SIP/2.0 200 X\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\nFrom: <sip:us@h>{tag}\nTo: <sip:b@h>;tag=bb\n\
             Call-ID: c2\nCSeq: 42 INVITE\nContent-Length: 0\n\n"
        );
        let dialog = Dialog::of_uac(&message(&ok), &ours());
        let bye = built(dialog.request(Method::Bye, 43));
        assert_eq!((dialog.local_tag.as_str(), bye.from_tag(), bye.to_tag()), ("us", Some("us"), Some("bb")));
    }
}

/// §12.2.1.1: a first route without `lr` becomes the Request-URI, the target the last route.
#[test]
fn a_strict_router() {
    let mut dialog = Dialog::of_uas(&invite(), "tt").unwrap();
    dialog.routes = vec![b"<sip:p1;method=INVITE?Subject=x>".to_vec(), b"<sip:p2;lr>".to_vec()];
    let bye = built(dialog.request(Method::Bye, 1));
    assert_eq!(bye.request_uri(), Some("sip:p1"));
    assert_eq!(routes(&bye), ["sip:p2;lr", "sip:a@192.0.2.1:5070;ob"]);
    // Without any route the target is everything.
    dialog.routes.clear();
    let bye = built(dialog.request(Method::Bye, 1));
    assert_eq!(
        (bye.request_uri(), routes(&bye).len(), dialog.next_hop()),
        (Some("sip:a@192.0.2.1:5070;ob"), 0, "sip:a@192.0.2.1:5070;ob")
    );
}

/// §12.2.2: a lower CSeq is out of order; gaps are none.
#[test]
fn cseq_must_not_fall() {
    let mut dialog = Dialog::of_uas(&invite(), "tt").unwrap();
    assert!(dialog.accept_cseq(8));
    assert!(dialog.accept_cseq(100));
    assert!(!dialog.accept_cseq(99));
    assert_eq!(dialog.remote_cseq, Some(100), "the one out of order changes nothing");
    let mut dialog = Dialog::of_uac(&response(200, ";tag=bb", ""), &ours());
    assert!(dialog.accept_cseq(0), "the first number is the peer's choice");
}

/// §12.2.2: Call-ID and both tags tell which dialog a request is of.
#[test]
fn requests_within_a_dialog_are_recognised() {
    let dialog = Dialog::of_uas(&invite(), "tt").unwrap();
    let text = "BYE sip:us@h SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK3\nMax-Forwards: 70\nFrom: <sip:a@h>;tag=fa\n\
                To: <sip:1@ringfork.local>;tag=tt\nCall-ID: c1\nCSeq: 8 BYE\nContent-Length: 0\n\n";
    let bye = message(text);
    assert!(dialog.is_of(&bye));
    assert_eq!(DialogId::of_request(&bye), Some(dialog.id()));
    for (from, to) in [("tag=fa", "tag=fb"), ("tag=tt", "tag=TT"), ("Call-ID: c1", "Call-ID: C1"), (";tag=tt", "")] {
        let other = message(&text.replace(from, to));
        assert!(!dialog.is_of(&other), "{to}");
        assert_ne!(DialogId::of_request(&other), Some(dialog.id()), "{to}");
    }
    let ok = response(200, ";tag=bb", "");
    assert_eq!(DialogId::of_response(&ok), Some(Dialog::of_uac(&ok, &ours()).id()));
    assert_eq!(DialogId::of_request(&invite()), None, "not within a dialog");
}

/// §12.2.1.2, §12.2.2: Contact refreshes the target, and nothing else does.
#[test]
fn the_target_is_refreshed() {
    let mut dialog = Dialog::of_uac(&response(200, ";tag=bb", "Contact: <sip:b@192.0.2.9>\n"), &ours());
    dialog.refresh_target(&response(200, ";tag=bb", "Contact: <sip:b@192.0.2.10>\nRecord-Route: <sip:p9;lr>\n"));
    assert_eq!((dialog.target.as_str(), dialog.routes.len()), ("sip:b@192.0.2.10", 0));
    dialog.refresh_target(&response(200, ";tag=bb", ""));
    dialog.refresh_target(&response(200, ";tag=bb", "Contact: <tel:+15550100>\n"));
    assert_eq!(dialog.target, "sip:b@192.0.2.10");
}

/// §13.2.2.4: the ACK has the INVITE's number and credentials, and the dialog's way.
#[test]
fn the_ack_of_a_2xx() {
    let invite = message(
        "INVITE sip:b@h SIP/2.0\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\nMax-Forwards: 70\nFrom: <sip:us@h>;tag=us\n\
         To: <sip:b@h>\nCall-ID: c2\nCSeq: 42 INVITE\nProxy-Authorization: Digest username=\"x\"\nContent-Length: 0\n\n",
    );
    let ok = response(200, ";tag=bb", "Contact: <sip:b@192.0.2.9>\nRecord-Route: <sip:p1;lr>\n");
    let mut dialog = Dialog::of_uac(&ok, &ours());
    dialog.next_cseq();
    let text =
        String::from_utf8(dialog.ack(&invite, Some(("application/sdp", Bytes::from_static(b"v=0\r\n")))).to_vec());
    let text = text.unwrap();
    assert!(text.starts_with("ACK sip:b@192.0.2.9 SIP/2.0\r\n") && text.ends_with("\r\n\r\nv=0\r\n"), "{text}");
    for line in
        ["CSeq: 42 ACK", "Proxy-Authorization: Digest username=\"x\"", "Route: <sip:p1;lr>", "To: <sip:b@h>;tag=bb"]
    {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
}
