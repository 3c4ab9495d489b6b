//! What every scenario starts from.

use std::collections::HashMap;

use ringfork_tests::edge::{Edge, PEER};
use ringfork_tests::script::Endpoint;
use ringfork_tests::sipp::{Phone, Scenario};
use ringfork_tests::web::{Request, Web};

/// The number that scenarios call.
pub const NUMBER: &str = "+15551230000";

/// An edge, a customer's web server, and [`NUMBER`] answered by its `/voice`.
pub async fn start(document: &str) -> (Edge, Web) {
    let edge = Edge::start(&[]).await;
    let web = Web::start().await;
    web.document("/voice", document);
    edge.create_number(NUMBER, &web.url("/voice")).await;
    (edge, web)
}

/// Creates a client and registers so many devices of it.
pub async fn devices(edge: &Edge, login: &str, count: usize) -> Vec<Phone> {
    let password = edge.create_client(login).await;
    let mut phones = Vec::new();
    for _ in 0..count {
        phones.push(Phone::register(edge, login, &password).await);
    }
    phones
}

/// Creates a client and registers one device of it.
pub async fn phone(edge: &Edge, login: &str) -> Phone {
    devices(edge, login, 1).await.remove(0)
}

/// Registers a device of a client whose steps wait on what the test sees.
pub async fn scripted(edge: &Edge, login: &str, password: &str) -> Endpoint {
    let mut device = Endpoint::udp(edge.sip, "127.0.0.1").await;
    let contact = device.contact(login);
    device.register(login, password, &contact, &[]).await.expect(200);
    device
}

/// Rings, answers upon what is waited for, and is hung up on.
pub async fn answers_upon<T>(device: &mut Endpoint, event: impl Future<Output = T>) {
    let invite = device.request("INVITE").await;
    device.ring(&invite, "scripted").await;
    event.await;
    device.accept(&invite, "scripted").await;
    device.request("ACK").await;
    let bye = device.request("BYE").await;
    device.ok(&bye).await;
}

/// Calls from the trunk, and gives up unanswered upon what is waited for.
pub async fn gives_up_upon<T>(edge: &Edge, event: impl Future<Output = T>) {
    let mut caller = Endpoint::udp(edge.sip, PEER).await;
    let invite = caller.invite("+15550001111", NUMBER);
    let branch = caller.send(&invite).await;
    event.await;
    caller.cancel(&invite, &branch).await;
}

/// Checks a parameter in whole seconds: at least this, and little more on a machine that stood still for a moment.
pub fn check_seconds(request: &Request, name: &str, least: u32) {
    let seconds: u32 = request.parameter(name).parse().unwrap();
    assert!((least..least + 4).contains(&seconds), "{name}: {seconds}");
}

/// Waits until so many legs have told this status on `/events`.
pub async fn told(web: &Web, status: &str, legs: usize) {
    ringfork_tests::eventually(&format!("{status} of {legs} legs"), async || {
        let seen = web.legs("/events");
        let telling = seen.values().filter(|events| statuses(events).contains(&status));
        (telling.count() >= legs).then_some(())
    })
    .await;
}

/// A callee that rings, answers, and is hung up on.
pub fn answers() -> Scenario {
    Scenario::new().invited().answer("180 Ringing").pause(200).accept().recv("ACK").hung_up()
}

/// A callee that rings until it is cancelled.
pub fn rings_until_cancelled(elsewhere: bool) -> Scenario {
    Scenario::new().invited().answer("180 Ringing").cancelled(elsewhere)
}

/// A callee that refuses at once.
pub fn refuses(status: &str) -> Scenario {
    Scenario::new().invited().answer(status).recv("ACK")
}

/// A caller that is answered, talks a moment and hangs up.
pub fn talks() -> Scenario {
    Scenario::new().call().finally("200").ack().pause(300).hang_up()
}

/// A caller that gets this final refusal.
pub fn is_refused(code: &str) -> Scenario {
    Scenario::new().call().finally(code)
}

/// A document that dials these nouns, with `/action` as its action.
pub fn dial(nouns: &str) -> String {
    format!(r#"<Response><Dial action="/action">{nouns}</Dial></Response>"#)
}

/// A `<Client>` that reports everything to `/events`.
pub fn client(login: &str) -> String {
    format!(r#"<Client statusCallback="/events">{login}</Client>"#)
}

/// The statuses of one leg's events, in order of their sequence numbers.
pub fn statuses(events: &[Request]) -> Vec<&str> {
    events.iter().map(|event| event.parameter("CallStatus")).collect()
}

/// The legs whose `To` is this, each with its events.
pub fn legs_to<'a>(legs: &'a HashMap<String, Vec<Request>>, to: &str) -> Vec<&'a Vec<Request>> {
    legs.values().filter(|events| events[0].parameter("To") == to).collect()
}

/// Checks what RCML.md 1.4 promises of every leg whatever happened to it: parameters that are the same on each
/// event, a sequence from 0 without a gap, and exactly one final event, the last.
pub fn check_legs(legs: &HashMap<String, Vec<Request>>, parent: &str) {
    for (sid, events) in legs {
        assert!(sid.starts_with("CA") && sid.len() == 34, "{sid}");
        let finals = ["completed", "busy", "no-answer", "failed"];
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.parameter("CallSid"), sid);
            assert_eq!(event.parameter("ParentCallSid"), parent);
            assert_eq!(event.parameter("SequenceNumber"), index.to_string());
            assert_eq!(event.parameter("CallbackSource"), "call-progress-events");
            assert_eq!(event.parameter("Direction"), "outbound-dial");
            assert_eq!(event.parameter("ApiVersion"), "2012-04-24");
            assert!(event.parameter("AccountSid").starts_with("AC"));
            assert!(event.parameter("Timestamp").ends_with(" +0000"), "{}", event.parameter("Timestamp"));
            let last = index + 1 == events.len();
            assert_eq!(event.get("CallDuration").is_some(), last, "CallDuration is on completed only: {events:#?}");
            assert_eq!(finals.contains(&event.parameter("CallStatus")), last, "one final event, the last: {events:#?}");
            assert_eq!(event.get("ForwardedFrom"), None);
        }
    }
}
