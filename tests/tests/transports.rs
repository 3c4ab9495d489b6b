//! UDP and TCP on IPv4 and IPv6, registrations and refusals as they look on the wire, and the life of the process:
//! drain, a second start, a port in use. DESIGN "SIP choices" and "Running it"; RCML.md part 2, "What the caller's phone
//! gets".
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::process::Stdio;

use ringfork_tests::edge::{Edge, PEER, binary};
use ringfork_tests::eventually;
use ringfork_tests::script::{Draft, Endpoint, Sip, authorize, credentials, register};
use ringfork_tests::sipp::free_port;
use ringfork_tests::web::Web;

/// The number that is called; its document dials alice and bob.
const NUMBER: &str = "+15551230000";

/// An edge that listens on IPv6 too, and where it does.
async fn start() -> (Edge, std::net::SocketAddr, Web) {
    let six = format!("[::1]:{}", free_port("::1"));
    let edge = Edge::start(&["--sip", &six, "--peer", "::1/128", "--digest", "both"]).await;
    let web = Web::start().await;
    web.document(
        "/voice",
        r#"<Response><Dial action="/action"><Client statusCallback="/events">alice</Client><Client statusCallback="/events">bob</Client></Dial></Response>"#,
    );
    edge.create_number(NUMBER, &web.url("/voice")).await;
    (edge, six.parse().unwrap(), web)
}

/// A whole call: the caller dials [`NUMBER`], the callee rings and answers, the caller hangs up.
async fn call(caller: &mut Endpoint, callee: &mut Endpoint) -> (Sip, Sip) {
    let draft = caller.invite("+15550001111", NUMBER);
    caller.send(&draft).await;
    let invite = callee.request("INVITE").await;
    callee.ring(&invite, "callee").await;
    caller.ringing_of(&draft).await.expect(180);
    callee.accept(&invite, "callee").await;
    let answer = caller.final_of(&draft).await.expect(200);
    let mut dialog = caller.ack(&answer).await;
    callee.request("ACK").await;
    let bye = dialog.draft("BYE");
    caller.send(&bye).await;
    let theirs = callee.request("BYE").await;
    callee.ok(&theirs).await;
    caller.final_of(&bye).await.expect(200);
    (invite, answer)
}

/// Issue 3, point 5: UDP and TCP on IPv4 and IPv6; flows are kept and used for all sending.
#[tokio::test(flavor = "multi_thread")]
async fn calls_over_every_transport() {
    let (edge, six, web) = start().await;
    let password = edge.create_client("alice").await;
    for (name, calling, called) in [
        ("tcp", "4t", "4t"),
        ("mixed", "4t", "6u"),
        ("ipv6 udp", "6u", "6u"),
        ("ipv6 tcp", "6t", "6t"),
        ("back", "6u", "4t"),
    ] {
        println!("{name}: caller {calling}, callee {called}");
        let mut ends = Vec::new();
        for (kind, four) in [(calling, PEER), (called, "127.0.0.1")] {
            ends.push(match kind {
                "4t" => Endpoint::tcp(edge.sip, four).await,
                "6u" => Endpoint::udp(six, "::1").await,
                _ => Endpoint::tcp(six, "::1").await,
            });
        }
        let (mut callee, mut caller) = (ends.pop().unwrap(), ends.pop().unwrap());
        let contact = callee.contact("alice");
        let registered = callee.register("alice", &password, &contact, &[]).await.expect(200);
        assert!(registered.header("Contact").starts_with(&contact), "{registered:#?}");
        let (invite, answer) = call(&mut caller, &mut callee).await;
        let transport = if called.ends_with('t') { "SIP/2.0/TCP " } else { "SIP/2.0/UDP " };
        assert!(invite.header("Via").starts_with(transport), "{invite:#?}");
        // Each side is told an address of its own family, in Contact and SDP.
        for (message, kind) in [(&invite, called), (&answer, calling)] {
            let (host, line) =
                if kind.starts_with('6') { ("@[::1]:", "c=IN IP6 ::1") } else { ("@127.0.0.1:", "c=IN IP4 127.0.0.1") };
            let contact = message.contact_uri();
            assert!(contact.contains(host) || contact.contains(&host.replace('@', "sip:")), "{contact}");
            assert_eq!(contact.contains("transport=tcp"), kind.ends_with('t'), "{contact}");
            assert!(message.body.contains(line), "{}", message.body);
        }
        let gone = callee.register("alice", &password, "*", &["Expires: 0"]).await.expect(200);
        assert_eq!(gone.get("Contact"), None);
    }
    let legs = web.completed("/events", 5).await;
    assert_eq!(legs.len(), 5);
    edge.settled().await;
}

/// DESIGN "SIP choices": TCP flows end at close, with their bindings; RFC 5626 §3.5.1: a ping gets its pong.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stream_ends_its_bindings() {
    let (edge, _, web) = start().await;
    let password = edge.create_client("alice").await;
    let mut phone = Endpoint::tcp(edge.sip, "127.0.0.1").await;
    phone.send_bytes(b"\r\n\r\n").await;
    assert_eq!(phone.pong().await, 1);
    let contact = phone.contact("alice");
    phone.register("alice", &password, &contact, &[]).await.expect(200);
    phone.send_bytes(b"\r\n\r\n").await;
    assert_eq!(phone.pong().await, 2);
    let mut caller = Endpoint::udp(edge.sip, PEER).await;
    call(&mut caller, &mut phone).await;
    web.completed("/events", 1).await;

    drop(phone);
    eventually("no binding", async || (edge.metric("ringfork_bindings").await == 0.0).then_some(())).await;
    caller.ask(&caller.invite("+15550001111", NUMBER)).await.expect(480);
    let actions = web.wait("/action", 2).await;
    assert_eq!(actions[1].parameter("DialCallStatus"), "failed");
    assert_eq!(actions[1].get("DialCallSid"), None);
    assert_eq!(web.legs("/events").len(), 1, "a client without binding yields no leg (RCML.md 1.2)");
}

/// Issue 3, point 3, and RCML.md part 2: what comes before a challenge, with the headers that say what would work.
#[tokio::test(flavor = "multi_thread")]
async fn refused_before_a_challenge() {
    let (edge, _, _) = start().await;
    let allow = "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, REGISTER";
    for tcp in [false, true] {
        let mut phone =
            if tcp { Endpoint::tcp(edge.sip, "127.0.0.1").await } else { Endpoint::udp(edge.sip, "127.0.0.1").await };
        let draft = |method: &str| Draft::new(method, "sip:1001@ringfork.local", "sip:alice@ringfork.local");

        let options = phone.ask(&draft("OPTIONS")).await.expect(200);
        assert_eq!(options.header("Allow"), allow);
        assert_eq!(options.header("Supported"), "100rel, timer, path, outbound");
        for method in ["REFER", "SUBSCRIBE", "PUBLISH", "MESSAGE"] {
            let refused = phone.ask(&draft(method)).await.expect(405);
            assert_eq!(refused.header("Allow"), allow);
        }
        phone.ask(&draft("FROB")).await.expect(501);
        let refused = phone.ask(&draft("INVITE").with("Require: foo, 100rel, bar")).await.expect(420);
        assert_eq!(refused.header("Unsupported"), "foo, bar");
        let mut last = draft("INVITE");
        last.max_forwards = 0;
        phone.ask(&last).await.expect(483);
        let mut tel = draft("INVITE");
        tel.uri = "mailto:alice@ringfork.local".to_owned();
        phone.ask(&tel).await.expect(416);
        let mut body = draft("INVITE").with("Content-Type: text/plain");
        body.body = "hello".to_owned();
        let refused = phone.ask(&body).await.expect(415);
        assert_eq!(refused.header("Accept"), "application/sdp");
        let short = draft("INVITE").with("Session-Expires: 30").with("Supported: timer");
        assert_eq!(phone.ask(&short).await.expect(422).header("Min-SE"), "90");
        // Nothing wrong with this one: who is it?
        phone.ask(&phone.invite("alice", "1001")).await.expect(407);
        // Within no dialog of ours.
        let mut bye = draft("BYE");
        bye.to.push_str(";tag=0123456789abcdef");
        phone.ask(&bye).await.expect(481);
    }
    edge.settled().await;
}

/// DESIGN "SIP choices" on digest: unknown and known users get the same answers; a stale nonce gets a fresh one; an
/// AOR is its owner's; RCML.md part 2: 404 after authentication.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_judged() {
    let (edge, _, _) = start().await;
    let password = edge.create_client("alice").await;
    let others = edge.create_client("bob").await;
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = phone.contact("alice");

    // SHA-256 is offered first, then MD5 (RFC 8760 §2.4).
    let challenge = phone.ask(&register("alice", &contact)).await.expect(401);
    let algorithms: Vec<_> = challenge
        .all("WWW-Authenticate")
        .into_iter()
        .map(|value| Sip::parameter_of(value, "algorithm").unwrap_or("MD5").to_owned())
        .collect();
    assert_eq!(algorithms, ["SHA-256", "MD5"]);

    // A wrong password and an unknown user cannot be told apart.
    let shape = |answer: &Sip| {
        let names: Vec<_> = answer
            .all("WWW-Authenticate")
            .iter()
            .map(|value| value.split("nonce=").next().unwrap().to_owned())
            .collect();
        (answer.start.clone(), names, answer.get("Supported").map(str::to_owned))
    };
    let wrong = phone.register("alice", "not it at all", &contact, &[]).await.expect(401);
    let nobody = phone.register("nobody", "not it at all", &phone.contact("nobody"), &[]).await.expect(401);
    assert_eq!(shape(&wrong), shape(&nobody));
    assert!(!wrong.header("WWW-Authenticate").contains("stale=true"));

    // A nonce that is not of ours, or too old, is stale; one that was used with this count, too.
    let mut draft = register("alice", &contact);
    let challenge = phone.ask(&draft).await.expect(401);
    authorize(&mut draft, &challenge, "alice", &password);
    phone.ask(&draft).await.expect(200);
    draft.cseq += 1;
    let replayed = phone.ask(&draft).await.expect(401);
    assert!(replayed.all("WWW-Authenticate").iter().all(|value| value.contains("stale=true")), "{replayed:#?}");
    authorize(&mut draft, &replayed, "alice", &password);
    phone.ask(&draft).await.expect(200);
    // The same nonce again, with the next count.
    let value = draft.headers.iter().find(|line| line.starts_with("Authorization")).unwrap();
    let nonce = Sip::parameter_of(value, "nonce").unwrap().to_owned();
    draft.headers.retain(|line| !line.starts_with("Authorization"));
    let again = credentials("ringfork.local", &nonce, "alice", &password, "REGISTER", &draft.uri, 2);
    draft.headers.push(format!("Authorization: {again}"));
    draft.cseq += 1;
    phone.ask(&draft).await.expect(200);

    // Somebody else's credentials: for an AOR, and for a From.
    let mut draft = register("alice", &contact);
    let challenge = phone.ask(&draft).await.expect(401);
    authorize(&mut draft, &challenge, "bob", &others);
    phone.ask(&draft).await.expect(403);
    let mut draft = phone.invite("alice", NUMBER);
    phone.ask_as("bob", &others, &mut draft).await.expect(403);
    // An AOR of another host.
    let mut draft = register("alice", &contact);
    draft.to = "<sip:alice@elsewhere.example>".to_owned();
    phone.ask_as("alice", &password, &mut draft).await.expect(404);

    // With the right ones a number that nobody has is not found, and so is a foreign host.
    let mut draft = phone.invite("alice", "9999");
    phone.ask_as("alice", &password, &mut draft).await.expect(404);
    let mut draft = phone.invite("alice", "9999");
    draft.uri = "sip:9999@elsewhere.example".to_owned();
    draft.to = "<sip:9999@elsewhere.example>".to_owned();
    phone.ask_as("alice", &password, &mut draft).await.expect(404);
    edge.settled().await;
}

/// DESIGN "SIP choices" on registrations: what is granted, echoed, refused and taken away.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_on_the_wire() {
    let (edge, _, _) = start().await;
    let password = edge.create_client("alice").await;
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = |port: u16| format!("<sip:alice@127.0.0.1:{port};line=x%41>;q=0.5");
    let expires = |answer: &Sip| -> Vec<u32> {
        let contacts = answer.all("Contact");
        contacts.iter().map(|value| value.rsplit_once("expires=").unwrap().1.parse().unwrap()).collect()
    };

    let brief = phone.register("alice", &password, &contact(1001), &["Expires: 30"]).await.expect(423);
    assert_eq!(brief.header("Min-Expires"), "60");
    let granted = phone.register("alice", &password, &contact(1001), &[]).await.expect(200);
    assert_eq!(expires(&granted), [600]);
    // The contact comes back as it was sent; a second REGISTER replaces, and echoes, the same.
    assert!(granted.header("Contact").starts_with("<sip:alice@127.0.0.1:1001;line=x%41>"), "{granted:#?}");
    let granted = phone.register("alice", &password, &contact(1001), &["Expires: 9999"]).await.expect(200);
    assert_eq!(expires(&granted), [3600]);
    for port in 1002..=1010 {
        phone.register("alice", &password, &contact(port), &["Expires: 60"]).await.expect(200);
    }
    // An eleventh is refused and changes nothing; a refresh of one of the ten never meets the limit.
    phone.register("alice", &password, &contact(1011), &[]).await.expect(403);
    let all = phone.register("alice", &password, &contact(1003), &[]).await.expect(200);
    assert_eq!(all.all("Contact").len(), 10);
    assert!(!all.all("Contact").iter().any(|value| value.contains(":1011")));
    // Asking without Contact lists them; one goes by itself; all go by `*`, which needs Expires 0.
    let mut query = register("alice", "");
    query.headers.clear();
    assert_eq!(phone.ask_as("alice", &password, &mut query).await.expect(200).all("Contact").len(), 10);
    let left = phone.register("alice", &password, &format!("{};expires=0", contact(1004)), &[]).await.expect(200);
    assert_eq!(left.all("Contact").len(), 9);
    phone.register("alice", &password, "*", &["Expires: 60"]).await.expect(400);
    let none = phone.register("alice", &password, "*", &["Expires: 0"]).await.expect(200);
    assert_eq!(none.all("Contact").len(), 0);

    // The same instance from another contact replaces its former one (RFC 5626 §6).
    let instance = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
    phone.register("alice", &password, &format!("{}{instance}", contact(2001)), &[]).await.expect(200);
    let moved = phone.register("alice", &password, &format!("{}{instance}", contact(2002)), &[]).await.expect(200);
    assert_eq!(moved.all("Contact").len(), 1);
    assert!(moved.header("Contact").contains(":2002") && moved.header("Contact").contains(instance), "{moved:#?}");
}

/// Issue 3, point 5: `--abuse-limit 20`: beyond it the source's requests are dropped for ten seconds, with a metric;
/// those of registered flows are not, nor those of other sources; requests without credentials count nothing.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_ended() {
    let (edge, _, _) = start().await;
    let password = edge.create_client("alice").await;
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = phone.contact("alice");
    phone.register("alice", &password, &contact, &[]).await.expect(200);
    let mut guesser = Endpoint::udp(edge.sip, "127.0.0.1").await;
    for _ in 0..30 {
        guesser.ask(&register("alice", &contact)).await.expect(401);
    }
    let began = tokio::time::Instant::now();
    // The twenty-first wrong one still gets its answer; then there is silence.
    for _ in 0..21 {
        guesser.register("alice", "a guess", &contact, &[]).await.expect(401);
    }
    guesser.send(&register("alice", &contact)).await;
    assert!(guesser.is_silent().await);
    eventually("the dropped request", async || {
        (edge.metric("ringfork_dropped_requests_total").await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(edge.metric("ringfork_dropped_requests_total").await, 1.0);
    assert_eq!(edge.metric("ringfork_sources_blocked_total").await, 1.0);
    assert_eq!(edge.metric("ringfork_offences_total").await, 21.0);
    let options = || Draft::new("OPTIONS", "sip:ringfork.local", "sip:probe@ringfork.local");
    phone.ask(&options()).await.expect(200);
    Endpoint::udp(edge.sip, PEER).await.ask(&options()).await.expect(200);
    // After ten seconds it is heard again.
    let heard = eventually("an answer after ten seconds", async || {
        guesser.send(&options()).await;
        guesser.next_within(std::time::Duration::from_millis(500)).await
    });
    assert_eq!(heard.await.status(), 200);
    assert!(began.elapsed().as_secs() >= 10);
}

/// Issue 3, point 5: on SIGTERM calls finish, new ones are refused, then the process exits.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_calls_finish() {
    let (edge, _, web) = start().await;
    let password = edge.create_client("alice").await;
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = phone.contact("alice");
    phone.register("alice", &password, &contact, &[]).await.expect(200);
    let mut caller = Endpoint::udp(edge.sip, PEER).await;
    let draft = caller.invite("+15550001111", NUMBER);
    caller.send(&draft).await;
    let invite = phone.request("INVITE").await;
    phone.accept(&invite, "callee").await;
    let answer = caller.final_of(&draft).await.expect(200);
    let mut dialog = caller.ack(&answer).await;
    phone.request("ACK").await;

    let health = format!("{}/health", edge.http);
    let client = ringfork_tests::edge::http_client();
    assert_eq!(client.get(&health).send().await.unwrap().status(), 200);
    let ended = tokio::spawn(edge.terminate());
    eventually("the drain", async || {
        let response = client.get(&health).send().await.unwrap();
        (response.status() == 503).then_some(())
    })
    .await;
    let mut late = Endpoint::udp(caller.remote, PEER).await;
    let refused = late.ask(&late.invite("+15550001111", NUMBER)).await.expect(503);
    assert!(refused.header("Retry-After").parse::<u32>().unwrap() > 0);
    // The call that is up goes on: a refresh in it is answered.
    let mut again = dialog
        .draft("INVITE")
        .with(format!("Contact: {}", caller.contact("caller")))
        .with("Content-Type: application/sdp");
    again.body = ringfork_tests::script::sdp(caller.local.ip());
    let answer = caller.ask(&again).await.expect(200);
    caller.ack(&answer).await;
    assert!(!ended.is_finished());
    let bye = dialog.draft("BYE");
    caller.send(&bye).await;
    let theirs = phone.request("BYE").await;
    phone.ok(&theirs).await;
    caller.final_of(&bye).await.expect(200);
    assert_eq!(ended.await.unwrap(), Some(0));
    let legs = web.completed("/events", 1).await;
    assert_eq!(legs.len(), 1, "its callbacks were delivered before the end");
}

/// What a start that must fail says on stderr, and its exit code.
async fn failed_start(arguments: &[&str]) -> (String, i32) {
    let run = tokio::process::Command::new(binary())
        .arg("serve")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(ringfork_tests::PATIENCE, run).await.expect("it did not end").unwrap();
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

/// Issue 3, point 7: a port in use, a bad option, a folder in use: each one clear line.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why() {
    let (edge, _, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    let (data, other) = (edge.data.to_str().unwrap(), other.to_str().unwrap());
    let (sip, http) = (edge.sip.to_string(), edge.http.trim_start_matches("http://").to_owned());
    let any = "127.0.0.1:0";
    for (arguments, says) in [
        (["--data", data, "--sip", any, "--http", any], "--data"),
        (["--data", other, "--sip", &sip, "--http", any], "--sip"),
        (["--data", other, "--sip", any, "--http", &http], "--http"),
        (["--data", other, "--sip", "nonsense", "--http", any], "--sip"),
        (["--data", other, "--rtp-ports", "20000", "--http", any], "--rtp-ports"),
    ] {
        let (text, code) = failed_start(&arguments).await;
        let lines: Vec<&str> = text.lines().collect();
        println!("{code}: {text}");
        assert!(
            code != 0 && lines.len() == 1 && lines[0].starts_with("ringfork: ") && lines[0].contains(says),
            "{code}: {text}"
        );
    }
    // None of it harmed the one that runs.
    let mut phone = Endpoint::udp(edge.sip, "127.0.0.1").await;
    phone.ask(&Draft::new("OPTIONS", "sip:ringfork.local", "sip:a@ringfork.local")).await.expect(200);
}
