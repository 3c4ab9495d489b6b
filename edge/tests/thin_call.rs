//! One whole call over real sockets: REGISTER, INVITE, fork, sound, callbacks, and nothing left afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::routing::post;
use ringfork::config::{Mode, Options, parse};
use ringfork::demo::{Account, Phone};
use ringfork::serve::Server;
use ringfork_state::{Client, Number, VoiceSettings};
use tokio::sync::mpsc;

type Callback = BTreeMap<String, String>;

fn options(words: &[&str]) -> Options {
    let fixed = ["ringfork", "serve", "--sip", "127.0.0.1:0", "--http", "127.0.0.1:0", "--allow-private-urls"];
    match parse(fixed.iter().chain(words).map(OsString::from), &|_| None).unwrap() {
        Mode::Serve(options) | Mode::Demo(options) => options,
    }
}

async fn provision(server: &Server, logins: &[&str], number: &str, url: &str) {
    let account_sid = server.ready.account_sid.clone();
    for login in logins {
        let client = Client {
            sid: ringfork_state::sid::resource(*b"CL", 1, rand::random()),
            account_sid: account_sid.clone(),
            login: (*login).into(),
            friendly_name: (*login).into(),
            ha1_md5: ringfork_sip::digest::ha1(ringfork_sip::digest::Hash::Md5, login, "ringfork.local", "secret"),
            ha1_sha256: ringfork_sip::digest::ha1(
                ringfork_sip::digest::Hash::Sha256,
                login,
                "ringfork.local",
                "secret",
            ),
            enabled: true,
            voice: VoiceSettings::default(),
            created_unix_ms: 1,
            updated_unix_ms: 1,
            version: 0,
        };
        server.services.stores.admin.create_client(&client).await.unwrap();
    }
    let number = Number {
        sid: ringfork_state::sid::resource(*b"PN", 1, rand::random()),
        account_sid,
        phone_number: number.into(),
        friendly_name: number.into(),
        voice: VoiceSettings { url: Some(url.into()), ..VoiceSettings::default() },
        voice_caller_id_lookup: false,
        status_callback: None,
        status_callback_method: ringfork_state::Method::Post,
        created_unix_ms: 1,
        updated_unix_ms: 1,
        version: 0,
    };
    server.services.stores.admin.create_number(&number).await.unwrap();
}

async fn phone(server: &Server, label: &str, login: &str) -> Phone {
    let account = Account { login: login.into(), password: "secret".into(), domain: "ringfork.local".into() };
    let mut phone = Phone::new(label, "127.0.0.1".parse().unwrap(), server.ready.sip[0], account).await.unwrap();
    phone.register().await.unwrap();
    phone
}

/// The thin call: REGISTER and INVITE over UDP, one number, `<Dial><Client>` to two devices, four callbacks a
/// leg, sound both ways; and RCML.md 1.2: the loser gets CANCEL with a Reason.
#[tokio::test(flavor = "multi_thread")]
async fn one_call_rings_two_devices_and_reports_each_leg() {
    for data in [None, Some(tempfile::tempdir().unwrap())] {
        let place =
            data.as_ref().map_or("memory".to_owned(), |folder| folder.path().join("data").display().to_string());
        let options = options(&["--data", &place, "--log", "debug,hyper=info,reqwest=info"]);
        let _log = ringfork::telemetry::init_log(&options);
        let server = Server::start(options).await.unwrap();
        let document = "<Response><Dial><Client statusCallback=\"/events\">bob</Client></Dial></Response>";
        let (web, mut events) = application(document).await;
        provision(&server, &["alice", "bob"], "15551230000", &format!("http://{web}/voice")).await;

        let mut alice = phone(&server, "alice", "alice").await;
        let mut desk = phone(&server, "desk", "bob").await;
        let mut mobile = phone(&server, "mobile", "bob").await;

        let caller = tokio::spawn(async move {
            let answered = alice.call("15551230000").await.unwrap();
            let heard = alice.talk(&answered.dialog, 440.0, 620.0, 75).await.unwrap();
            alice.hang_up(&answered.dialog).await.unwrap();
            (answered.provisional, heard)
        });
        let (rung, has_rung) = tokio::sync::oneshot::channel();
        let loser = tokio::spawn(async move {
            let invite = mobile.called().await.unwrap();
            mobile.ring(&invite).await.unwrap();
            rung.send(()).unwrap();
            mobile.cancelled(&invite).await.unwrap()
        });
        let invite = desk.called().await.unwrap();
        desk.ring(&invite).await.unwrap();
        has_rung.await.unwrap();
        let dialog = desk.answer(&invite).await.unwrap();
        let heard = desk.talk(&dialog, 620.0, 440.0, 75).await.unwrap();
        desk.hung_up().await.unwrap();
        assert!(heard.packets > 30 && heard.tone > 0.8, "the callee {heard:?}");
        let (provisional, heard) = caller.await.unwrap();
        assert!(provisional.contains(&180), "{provisional:?}");
        assert!(heard.packets > 30 && heard.tone > 0.8, "the caller {heard:?}");
        let reason = loser.await.unwrap();
        assert_eq!(reason.as_deref(), Some("SIP;cause=200;text=\"Call completed elsewhere\""));

        let mut legs: BTreeMap<String, Vec<(u32, String, String)>> = BTreeMap::new();
        for _ in 0..7 {
            let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap();
            assert_eq!(event["CallbackSource"], "call-progress-events");
            legs.entry(event["CallSid"].clone()).or_default().push((
                event["SequenceNumber"].parse().unwrap(),
                event["CallStatus"].clone(),
                event["To"].clone(),
            ));
        }
        let mut outcomes: Vec<Vec<String>> = legs
            .into_values()
            .map(|mut leg| {
                leg.sort();
                assert!(
                    leg.iter().enumerate().all(|(index, event)| event.0 as usize == index && event.2 == "client:bob")
                );
                leg.into_iter().map(|event| event.1).collect()
            })
            .collect();
        outcomes.sort();
        assert_eq!(
            outcomes,
            [vec!["initiated", "ringing", "in-progress", "completed"], vec!["initiated", "ringing", "no-answer"]]
        );

        let load = server.load.clone();
        let services = server.services.clone();
        assert!(load.renewed(Duration::from_secs(10)).await, "the core does not say what is left");
        let clean = || {
            [&load.calls, &load.legs, &load.ports_leased, &load.waiting]
                .iter()
                .all(|place| place.load(Ordering::Relaxed) == 0)
                && services.calls.is_empty()
        };
        for _ in 0..200 {
            if clean() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(clean(), "something is left: {load:?} {}", services.calls.len());
        assert_eq!(server.drain(std::future::pending()).await, ringfork::serve::Drained::Whole);
    }
}

/// A web server that answers `/voice` with this document and reports what comes to `/events`.
async fn application(document: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<Callback>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new()
        .route("/voice", post(move || async move { document }))
        .route(
            "/events",
            post(|State(events): State<mpsc::UnboundedSender<Callback>>, Form(form): Form<Callback>| async move {
                events.send(form).unwrap();
            }),
        )
        .with_state(sender);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, receiver)
}
