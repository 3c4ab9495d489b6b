//! What the log says when the store does not do what was asked.

use super::*;
use crate::telemetry::testing::capture;
use ringfork_call::action::Token;
use ringfork_call::control::{CallDescription, CallSid, CallStatus, Write};
use ringfork_rcml::evaluation::{Request, Response};
use ringfork_state::CallbackEvent;

/// No function can be had.
struct Nothing;

#[async_trait::async_trait]
impl Evaluate for Nothing {
    async fn evaluate(&self, _: Request) -> Result<Response, String> {
        Err("there is none".into())
    }
}

#[async_trait::async_trait]
impl HandOver for Nothing {
    async fn hand_over(&self, _: CallbackEvent) -> Result<(), HandOverError> {
        Err(HandOverError)
    }
}

/// Services of a new edge over these stores.
pub async fn services(stores: &Stores) -> Arc<Services> {
    let owner = stores.edges.start("one", &[], 1).await.unwrap().owner;
    let account_sid = String::from("AC0");
    Arc::new(Services {
        runtime: Handle::current(),
        inputs: mpsc::channel(1).0,
        calls: CallWriter::new(stores.calls.clone(), stores.queries.clone(), owner.clone(), account_sid.clone()),
        bindings: BindingWriter::new(stores.bindings.clone(), owner),
        resolver: Resolver::new(false),
        evaluate: Arc::new(Nothing),
        hand_over: Arc::new(Nothing),
        load: ServiceLoad::default(),
        account_sid,
        stores: stores.clone(),
    })
}

fn written(services: &Arc<Services>, write: &Write) -> Result<(), StoreError> {
    let mut ready = VecDeque::new();
    services.perform(Action::WriteCall { token: Token(1), write: write.clone() }, &mut ready);
    let Some(Input::Written { token: Token(1), result }) = ready.pop_front() else { panic!("not answered") };
    result
}

/// docs/operations.md "Logs": every line about a call carries its `call`, of the leg where it is about a leg.
#[tokio::test]
async fn a_failed_write_of_a_call_names_the_call() {
    let stores = Stores::memory();
    let (parent, leg) = (CallSid([7; 16]), CallSid([8; 16]));
    let describe = |sid, parent| CallDescription {
        sid,
        parent,
        from: "client:a".into(),
        to: "1".into(),
        caller_name: None,
        forwarded_from: None,
        direction: "inbound",
        created_unix_ms: 1,
        sip_headers: Vec::new(),
    };
    let of_leg = Write::Leg {
        leg,
        description: Some(Box::new(describe(leg, Some(parent)))),
        status: CallStatus::Failed,
        answered_unix_ms: None,
        ended_unix_ms: Some(2),
        event: None,
        handed_over: Vec::new(),
    };
    let former = services(&stores).await;
    written(&former, &Write::PutParent { call: describe(parent, None), status: CallStatus::Ringing }).unwrap();
    written(&former, &of_leg).unwrap();
    // Its calls are not the next one's.
    let services = services(&stores).await;
    let (_guard, lines) = capture();
    let of_parent =
        Write::Parent { parent, status: CallStatus::Completed, answered_unix_ms: None, ended_unix_ms: Some(2) };
    for (write, sid) in [(of_parent, parent), (of_leg, leg)] {
        assert_eq!(written(&services, &write), Err(StoreError::Stale));
        let [line] = &lines.take()[..] else { panic!("one line") };
        assert_eq!((&line["item"], &line["call"]), (&"call".into(), &sid.to_string().into()), "{line}");
    }
}

/// RCML.md 1.4: four tries a round and four rounds, then it ends as one error on the call.
#[tokio::test]
async fn a_callback_that_nobody_takes_is_one_error() {
    use axum::http::StatusCode;
    use ringfork_callback::{Deliverer, Schedule};
    use ringfork_state::{EventKind, NotificationFilter, PageRequest};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    let asked = Arc::new(AtomicU64::new(0));
    let seen = asked.clone();
    let answer = move || async move {
        seen.fetch_add(1, Ordering::Relaxed);
        StatusCode::SERVICE_UNAVAILABLE
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });

    let stores = Stores::memory();
    let client = ringfork_webhook::Client::new(ringfork_webhook::Config::allowing_private(true)).unwrap();
    let at_once = Schedule { tries: vec![Duration::ZERO; 3], rounds: vec![Duration::ZERO; 3], ..Schedule::default() };
    let deliverer = Deliverer::new(client, ringfork_webhook::AuthToken::new("secret")).with_schedule(at_once);
    let leg = ringfork_state::CallSid([7; 16]);
    let event = CallbackEvent {
        account_sid: "AC0".into(),
        leg,
        parent: ringfork_state::CallSid([1; 16]),
        sequence: 3,
        kind: EventKind::Completed,
        url,
        method: ringfork_state::Method::Post,
        fired_unix_ms: 0,
        parameters: Vec::new(),
    };
    LocalCallbacks::new(deliverer, stores.notifications.clone()).hand_over(event).await.unwrap();
    let filter = NotificationFilter { call: Some(leg), ..NotificationFilter::default() };
    let page = stores.notifications.notifications(&filter, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|kept| kept.code).collect::<Vec<_>>(), [15004]);
    assert_eq!(asked.load(Ordering::Relaxed), 16);
}
