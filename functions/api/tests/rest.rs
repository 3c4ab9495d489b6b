//! RCML.md 3.4 over the in-memory store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use http::{Request, Response};
use ringfork_api::{Api, Change, Changes, Environment, MAX_BODY, RecordingFiles, SoundBody, handle, token_hash};
use ringfork_state::memory::MemoryStore;
use ringfork_state::{
    Account, CallDescription, CallSid, CallStatus, CallWrite, Calls, Direction, DirectoryAdmin, Level, Notification,
    Notifications, Owner, Recording, Recordings,
};
use serde_json::{Value, json};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ROOT: &str = "/restcomm/2012-04-24/Accounts/AC00000000000000000000000000000001";
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 +0000";
const START_MS: u64 = 1_700_000_000_000;

/// A clock that each look moves by a millisecond, and countable randomness.
#[derive(Default)]
struct Counted(AtomicU64, AtomicU64);

impl Environment for Counted {
    fn unix_ms(&self) -> u64 {
        START_MS + self.0.fetch_add(1, Ordering::SeqCst)
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.1.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Change>>>);

impl Changes for Seen {
    fn changed(&self, change: Change) {
        self.0.lock().unwrap().push(change);
    }
}

/// Lengths of files by SID.
#[derive(Default)]
struct Files(Mutex<std::collections::BTreeMap<String, u64>>);

#[async_trait::async_trait]
impl RecordingFiles for Files {
    async fn length(&self, sid: &str) -> std::io::Result<Option<u64>> {
        Ok(self.0.lock().unwrap().get(sid).copied())
    }

    async fn delete(&self, sid: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().remove(sid);
        Ok(())
    }
}

struct Rest {
    api: Api,
    store: MemoryStore,
    changes: Seen,
    files: Arc<Files>,
}

impl Rest {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let account = Account {
            sid: ACCOUNT.to_owned(),
            friendly_name: "Main".to_owned(),
            auth_token_sha256: token_hash(TOKEN),
            domain: "ringfork.local".to_owned(),
            created_unix_ms: START_MS,
            updated_unix_ms: START_MS,
            version: 0,
        };
        store.create_account(&account).await.unwrap();
        let changes = Seen::default();
        let files = Arc::new(Files::default());
        let shared = Arc::new(store.clone());
        let api = Api {
            directory: shared.clone(),
            calls: shared.clone(),
            notifications: shared.clone(),
            recordings: shared,
            files: files.clone(),
            changes: Arc::new(changes.clone()),
            environment: Arc::new(Counted::default()),
        };
        Self { api, store, changes, files }
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        handle(&self.api, request).await
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Response<Bytes> {
        let path = if path.starts_with("/restcomm") || path.starts_with("/2010") {
            path.to_owned()
        } else {
            format!("{ROOT}{path}")
        };
        let mut request = Request::builder().method(method).uri(path).header("authorization", basic(ACCOUNT, TOKEN));
        if !body.is_empty() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        self.send(request.body(Bytes::from(body.to_owned())).unwrap()).await
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let response = self.ask(method, path, body).await;
        let value =
            if response.body().is_empty() { Value::Null } else { serde_json::from_slice(response.body()).unwrap() };
        (response.status().as_u16(), value)
    }

    async fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, value) = self.json(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }

    /// The status and code of a refusal.
    async fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, value) = self.json(method, path, body).await;
        assert_eq!(value["status"], status, "{value}");
        assert!(value["code"].is_u64() && value["more_info"].is_string(), "{value}");
        (status, value["message"].as_str().unwrap().to_owned())
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// RCML.md 3.4: 401 with `WWW-Authenticate: Basic` for no or wrong credentials or another account's SID.
#[tokio::test]
async fn credentials() {
    let rest = Rest::new().await;
    let path = format!("{ROOT}.json");
    let other = path.replace(ACCOUNT, "AC00000000000000000000000000000002");
    for (path, header) in [
        (&path, None),
        (&path, Some(basic(ACCOUNT, "wrong"))),
        (&path, Some(basic(ACCOUNT, &TOKEN.to_uppercase()))),
        (&path, Some(basic("AC00000000000000000000000000000002", TOKEN))),
        (&path, Some(basic(ACCOUNT, &token_hash(TOKEN)))),
        (&path, Some(format!("Bearer {TOKEN}"))),
        (&path, Some("Basic !".to_owned())),
        (&other, Some(basic(ACCOUNT, TOKEN))),
        (&other, Some(basic("AC00000000000000000000000000000002", TOKEN))),
    ] {
        let mut request = Request::get(path.as_str());
        if let Some(header) = &header {
            request = request.header("authorization", header);
        }
        let response = rest.send(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(response.status(), 401, "{path} {header:?}");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap()["code"], 20003);
    }
    assert_eq!(rest.ask("GET", ".json", "").await.status(), 200);
}

/// RCML.md 3.4: the account; its token never comes out.
#[tokio::test]
async fn account() {
    let rest = Rest::new().await;
    let account = rest.ok("GET", ".json", "").await;
    assert_eq!(account["sid"], ACCOUNT);
    assert_eq!(account["date_created"], DATE);
    assert_eq!(account["uri"], format!("{ROOT}.json"));
    assert_eq!(account["subresource_uris"]["calls"], format!("{ROOT}/Calls.json"));
    assert_eq!(account["subresource_uris"]["recordings"], format!("{ROOT}/Recordings.json"));
    let all = account.to_string();
    assert!(!all.contains(TOKEN) && !all.contains(&token_hash(TOKEN)) && !all.contains("token"));
    let (status, _) = rest.refused("DELETE", ".json", "").await;
    assert_eq!(status, 405);
}

/// RCML.md 3.4: POST creates and updates and answers 200 with the resource, DELETE 204; a secret never comes out.
#[tokio::test]
async fn clients() {
    let rest = Rest::new().await;
    let made = rest.ok("POST", "/Clients.json", "Login=alice&Password=correct+horse").await;
    let sid = made["sid"].as_str().unwrap().to_owned();
    let path = format!("/Clients/{sid}.json");
    let expected = json!({
        "sid": sid, "date_created": DATE, "date_updated": DATE, "account_sid": ACCOUNT, "api_version": "2012-04-24",
        "friendly_name": "alice", "login": "alice", "status": "1", "voice_method": "POST",
        "voice_fallback_method": "POST", "voice_url": null, "voice_fallback_url": null, "voice_application_sid": null,
        "push_client_identity": null, "uri": format!("{ROOT}{path}"),
    });
    assert_eq!(made, expected);
    assert_eq!(rest.ok("GET", &path, "").await, expected);

    let stored = rest.store.client_by_login("alice").await.unwrap().unwrap();
    assert_eq!(stored.ha1_md5, md5("alice:ringfork.local:correct horse"));
    let changed = rest
        .ok("POST", &path, "Password=battery+staple&VoiceUrl=https%3A%2F%2Fa.example%2Fv&VoiceMethod=get&Status=0")
        .await;
    assert_eq!((&changed["voice_url"], &changed["voice_method"]), (&json!("https://a.example/v"), &json!("GET")));
    assert_eq!(changed["status"], "0");
    let stored = rest.store.client_by_login("alice").await.unwrap().unwrap();
    assert_eq!(stored.ha1_md5, md5("alice:ringfork.local:battery staple"));
    // What is not given stays; an empty URL goes.
    let changed = rest.ok("PUT", &path, "FriendlyName=Alice&VoiceUrl=").await;
    assert_eq!((&changed["friendly_name"], &changed["voice_url"]), (&json!("Alice"), &Value::Null));
    assert_eq!(rest.store.client_by_login("alice").await.unwrap().unwrap().ha1_md5, stored.ha1_md5);
    for secret in ["correct", "battery", &stored.ha1_md5, &stored.ha1_sha256] {
        assert!(!changed.to_string().contains(secret));
    }

    assert_eq!(rest.json("DELETE", &path, "").await, (204, Value::Null));
    for (method, body) in [("GET", ""), ("DELETE", ""), ("POST", "Status=1")] {
        assert_eq!(rest.refused(method, &path, body).await.0, 404, "{method}");
    }
    let login = "alice".to_owned();
    let change = |deleted| Change::Client { login: login.clone(), deleted };
    assert_eq!(*rest.changes.0.lock().unwrap(), [change(false), change(false), change(false), change(true)]);
}

/// MD5 by a second hand: what the digest of RFC 2617 is computed from.
fn md5(text: &str) -> String {
    use md5::{Digest, Md5};
    hex::encode(Md5::digest(text.as_bytes()))
}

/// RCML.md 3.4: 400 names the parameter; a password has at least eight characters and is not the login; 409 for a Login
/// that is taken.
#[tokio::test]
async fn bad_clients() {
    let rest = Rest::new().await;
    for (body, message) in [
        ("", "Login is missing"),
        ("Login=alice", "Password is missing"),
        ("Password=12345678", "Login is missing"),
        ("Login=a%40b&Password=12345678", "Login: may hold"),
        ("Login=a%3Db&Password=12345678", "Login: may hold"),
        ("Login=a%3Fb&Password=12345678", "Login: may hold"),
        ("Login=alice&Password=1234567", "Password: has less than eight"),
        ("Login=alicealice&Password=alicealice", "Password: is the login"),
        ("Login=alice&Password=12345678&Status=2", "Status: "),
        ("Login=alice&Password=12345678&VoiceUrl=relative", "VoiceUrl: "),
        ("Login=alice&Password=12345678&VoiceUrl=ftp://a/b", "VoiceUrl: "),
        ("Login=alice&Password=12345678&VoiceMethod=PUT", "VoiceMethod: "),
        (
            "Login=alice&Password=12345678&VoiceApplicationSid=AP00000000000000000000000000000001",
            "VoiceApplicationSid: ",
        ),
        ("Login=alice&Password=1234%00678", "Password: holds a control"),
    ] {
        let (status, said) = rest.refused("POST", "/Clients.json", body).await;
        assert!(status == 400 && said.starts_with(message), "{body}: {status} {said}");
    }
    assert!(rest.changes.0.lock().unwrap().is_empty());
    let made = rest.ok("POST", "/Clients.json", "Login=alice&Password=12345678").await;
    assert_eq!(rest.refused("POST", "/Clients.json", "Login=alice&Password=87654321").await.0, 409);
    let path = format!("/Clients/{}.json", made["sid"].as_str().unwrap());
    assert_eq!(rest.refused("POST", &path, "Login=bob").await.0, 400, "a Login cannot be changed");
    assert_eq!(rest.refused("POST", &path, "Password=short").await.0, 400);
    let before = rest.store.client_by_login("alice").await.unwrap().unwrap();
    assert_eq!(rest.refused("POST", &path, "Password=longenough&VoiceMethod=x").await.0, 400);
    assert_eq!(rest.store.client_by_login("alice").await.unwrap().unwrap().ha1_md5, before.ha1_md5, "all or nothing");
}

/// RCML.md 3.4: Applications, and clients and numbers that name them.
#[tokio::test]
async fn applications() {
    let rest = Rest::new().await;
    assert_eq!(
        rest.refused("POST", "/Applications.json", "Kind=voice").await,
        (400, "FriendlyName is missing".to_owned())
    );
    assert_eq!(rest.refused("POST", "/Applications.json", "FriendlyName=a&Kind=fax").await.0, 400);
    let made = rest
        .ok("POST", "/Applications.json", "FriendlyName=Menu&RcmlUrl=https://a.example/m&HasVoiceCallerIdLookup=true")
        .await;
    let sid = made["sid"].as_str().unwrap();
    let path = format!("/Applications/{sid}.json");
    assert_eq!(
        made,
        json!({
            "sid": sid, "date_created": DATE, "date_updated": DATE, "friendly_name": "Menu", "account_sid": ACCOUNT,
            "api_version": "2012-04-24", "voice_caller_id_lookup": true, "uri": format!("{ROOT}{path}"),
            "rcml_url": "https://a.example/m", "kind": "voice",
        })
    );
    let number =
        rest.ok("POST", "/IncomingPhoneNumbers.json", &format!("PhoneNumber=100&VoiceApplicationSid={sid}")).await;
    assert_eq!(number["voice_application_sid"], sid);
    assert_eq!(rest.ok("POST", &path, "RcmlUrl=https://a.example/n").await["rcml_url"], "https://a.example/n");
    assert_eq!(rest.ok("GET", "/Applications.json", "").await["applications"].as_array().unwrap().len(), 1);
    assert_eq!(rest.json("DELETE", &path, "").await.0, 204);
    assert_eq!(rest.refused("GET", &path, "").await.0, 404);
    let changes = rest.changes.0.lock().unwrap();
    assert_eq!(changes.iter().filter(|change| **change == Change::Application { sid: sid.to_owned() }).count(), 2);
}

/// RCML.md 3.4: IncomingPhoneNumbers; a StatusCallback is stored, with a warning until it works.
#[tokio::test]
async fn numbers() {
    let rest = Rest::new().await;
    let response = rest
        .ask(
            "POST",
            "/IncomingPhoneNumbers.json",
            "PhoneNumber=%2B1+(555)+010-0100&VoiceUrl=http://a.example/v&VoiceFallbackUrl=http://a.example/f&StatusCallback=http://a.example/s",
        )
        .await;
    assert!(response.headers()["warning"].to_str().unwrap().contains("not requested yet"));
    let made: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(made["phone_number"], "+15550100100");
    assert_eq!((&made["friendly_name"], &made["voice_method"]), (&json!("+15550100100"), &json!("POST")));
    assert_eq!(
        (&made["voice_url"], &made["status_callback"]),
        (&json!("http://a.example/v"), &json!("http://a.example/s"))
    );
    assert_eq!(made["voice_fallback_url"], "http://a.example/f");
    let path = format!("/IncomingPhoneNumbers/{}.json", made["sid"].as_str().unwrap());
    assert_eq!(rest.ok("GET", &path, "").await, made);
    assert_eq!(rest.refused("POST", "/IncomingPhoneNumbers.json", "PhoneNumber=%2B15550100100").await.0, 409);
    assert_eq!(rest.refused("POST", "/IncomingPhoneNumbers.json", "VoiceUrl=http://a.example/").await.0, 400);
    assert_eq!(rest.refused("POST", "/IncomingPhoneNumbers.json", "AreaCode=555").await.0, 400);
    assert_eq!(rest.refused("POST", "/IncomingPhoneNumbers.json", "PhoneNumber=a%40b").await.0, 400);
    assert_eq!(rest.refused("POST", &path, "PhoneNumber=200").await.0, 400);
    let response = rest.ask("POST", &path, "StatusCallback=&VoiceMethod=GET").await;
    assert!(response.headers().get("warning").is_none());
    let listed = |query: &'static str| {
        let rest = &rest;
        async move {
            rest.ok("GET", &format!("/IncomingPhoneNumbers.json{query}"), "").await["incoming_phone_numbers"]
                .as_array()
                .unwrap()
                .len()
        }
    };
    assert_eq!((listed("").await, listed("?PhoneNumber=%2B15550100100").await), (1, 1));
    assert_eq!((listed("?PhoneNumber=+15550100100").await, listed("?PhoneNumber=77").await), (1, 0));
    assert_eq!(rest.json("DELETE", &path, "").await.0, 204);
    let change = Change::Number { phone_number: "+15550100100".to_owned() };
    assert_eq!(*rest.changes.0.lock().unwrap(), [change.clone(), change.clone(), change]);
}

/// RCML.md 3.4: lists are newest first; the next page is named by a token; `uri`s keep the request's prefix.
#[tokio::test]
async fn paging() {
    let rest = Rest::new().await;
    for n in 0..5 {
        rest.ok("POST", "/Clients.json", &format!("Login=client{n}&Password=12345678")).await;
    }
    let logins = |page: &Value| -> Vec<String> {
        page["clients"].as_array().unwrap().iter().map(|client| client["login"].as_str().unwrap().to_owned()).collect()
    };
    let twilio = ROOT.replace("/restcomm/2012-04-24", "/2010-04-01");
    let first = rest.ok("GET", &format!("{twilio}/Clients.json?PageSize=2"), "").await;
    assert_eq!(logins(&first), ["client4", "client3"]);
    assert_eq!(
        (&first["page"], &first["page_size"], &first["previous_page_uri"]),
        (&json!(0), &json!(2), &Value::Null)
    );
    assert!(first["clients"][0]["uri"].as_str().unwrap().starts_with(&twilio));
    let next = |page: &Value| page["next_page_uri"].as_str().unwrap().to_owned();
    assert!(next(&first).starts_with(&twilio));
    let second = rest.ok("GET", &next(&first), "").await;
    assert_eq!((logins(&second), &second["page"]), (vec!["client2".to_owned(), "client1".to_owned()], &json!(1)));
    // A client made meanwhile moves nothing.
    rest.ok("POST", "/Clients.json", "Login=late&Password=12345678").await;
    let third = rest.ok("GET", &next(&second), "").await;
    assert_eq!((logins(&third), &third["next_page_uri"]), (vec!["client0".to_owned()], &Value::Null));
    let back = rest.ok("GET", third["previous_page_uri"].as_str().unwrap(), "").await;
    assert_eq!(logins(&back), logins(&second));
    assert_eq!(logins(&rest.ok("GET", first["first_page_uri"].as_str().unwrap(), "").await), ["late", "client4"]);
    let mut keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    keys.sort();
    let expected = ["clients", "first_page_uri", "next_page_uri", "page", "page_size", "previous_page_uri", "uri"];
    assert_eq!(keys, expected, "there is no total");

    for (query, status) in [
        ("?Page=1", 400),
        ("?Page=x", 400),
        ("?PageSize=0", 400),
        ("?PageSize=-1", 400),
        ("?PageToken=nonsense", 400),
        ("?Page=1&PageToken=OCA00000000000000000000000000000001", 400),
        ("?Page=0", 200),
        ("?PageSize=1001", 200),
    ] {
        assert_eq!(rest.ask("GET", &format!("/Clients.json{query}"), "").await.status(), status, "{query}");
    }
    assert_eq!(rest.ok("GET", "/Clients.json?PageSize=5000", "").await["page_size"], 1000);
    assert_eq!(rest.ok("GET", "/Clients.json", "").await["page_size"], 50);
    assert_eq!(logins(&rest.ok("GET", "/Clients.json?Login=client2", "").await), ["client2"]);
    assert!(logins(&rest.ok("GET", "/Clients.json?Login=nobody", "").await).is_empty());
}

fn call_sid(n: u8) -> CallSid {
    let mut bytes = [n; 16];
    bytes[..4].copy_from_slice(&(1_700_000_000 + u32::from(n) * 100).to_be_bytes());
    CallSid(bytes)
}

async fn put_call(store: &MemoryStore, n: u8, parent: Option<u8>, status: CallStatus) {
    let sid = call_sid(n);
    let created = START_MS + u64::from(n) * 100_000;
    let description = CallDescription {
        sid,
        parent: parent.map(call_sid),
        from: "+15550001".to_owned(),
        to: format!("client:user{n}"),
        caller_name: Some("<Bob & \u{1}Co>".to_owned()),
        forwarded_from: None,
        direction: if parent.is_some() { Direction::OutboundDial } else { Direction::Inbound },
        created_unix_ms: created,
        sip_headers: Vec::new(),
    };
    let answered = (status == CallStatus::Completed).then_some(created + 5_900);
    let ended = (status != CallStatus::Ringing).then_some(created + 65_000);
    let write = CallWrite::Leg {
        leg: sid,
        first: Some(Box::new((ACCOUNT.to_owned(), description))),
        status,
        answered_unix_ms: answered,
        ended_unix_ms: ended,
        event: None,
        handed_over: Vec::new(),
    };
    let owner = Owner { edge: "edge-1".into(), epoch: 1 };
    store.write(&owner, 1, &write).await.unwrap();
}

/// RCML.md 3.4: Calls filter by Status, From, To, StartTime, EndTime, ParentCallSid; legs by ParentCallSid.
#[tokio::test]
async fn calls() {
    let rest = Rest::new().await;
    put_call(&rest.store, 1, None, CallStatus::Completed).await;
    put_call(&rest.store, 2, Some(1), CallStatus::Completed).await;
    put_call(&rest.store, 3, Some(1), CallStatus::NoAnswer).await;
    put_call(&rest.store, 4, None, CallStatus::Ringing).await;
    let sids = async |query: &str| -> Vec<String> {
        let list = rest.ok("GET", &format!("/Calls.json{query}"), "").await;
        list["calls"].as_array().unwrap().iter().map(|call| call["sid"].as_str().unwrap().to_owned()).collect()
    };
    let named = |list: &[u8]| -> Vec<String> { list.iter().map(|n| call_sid(*n).to_string()).collect() };
    assert_eq!(sids("").await, named(&[4, 3, 2, 1]));
    assert_eq!(sids("?Status=completed").await, named(&[2, 1]));
    assert_eq!(sids("?Status=no-answer&From=%2B15550001").await, named(&[3]));
    assert_eq!(sids("?From=+15550001&To=client:user4").await, named(&[4]));
    assert_eq!(sids(&format!("?ParentCallSid={}", call_sid(1))).await, named(&[3, 2]));
    assert_eq!(sids("?StartTime=2023-11-14&EndTime=2023-11-14").await, named(&[4, 3, 2, 1]));
    assert_eq!(sids("?StartTime=2023-11-15").await, [""; 0]);
    assert_eq!(sids("?StartTime=2023-11-14T22:16:40Z").await, named(&[4, 3, 2]));
    for bad in ["?Status=gone", "?StartTime=soon", "?ParentCallSid=CA1"] {
        assert_eq!(rest.refused("GET", &format!("/Calls.json{bad}"), "").await.0, 400, "{bad}");
    }

    let leg = rest.ok("GET", &format!("/Calls/{}.json", call_sid(2)), "").await;
    assert_eq!(leg["parent_call_sid"], call_sid(1).to_string());
    assert_eq!((&leg["status"], &leg["direction"]), (&json!("completed"), &json!("outbound-dial")));
    assert_eq!((&leg["duration"], &leg["ring_duration"]), (&json!("59"), &json!("5")), "whole seconds, rounded down");
    assert_eq!(leg["start_time"], "Tue, 14 Nov 2023 22:16:40 +0000");
    assert_eq!(leg["end_time"], "Tue, 14 Nov 2023 22:17:45 +0000");
    let never = rest.ok("GET", &format!("/Calls/{}.json", call_sid(3)), "").await;
    assert_eq!((&never["duration"], &never["status"]), (&json!("0"), &json!("no-answer")));
    let up = rest.ok("GET", &format!("/Calls/{}.json", call_sid(4)), "").await;
    assert_eq!((&up["duration"], &up["end_time"], &up["parent_call_sid"]), (&Value::Null, &Value::Null, &Value::Null));
    for unknown in ["CA00000000000000000000000000000000", "CA1", "PN00000000000000000000000000000000"] {
        assert_eq!(rest.refused("GET", &format!("/Calls/{unknown}.json"), "").await.0, 404);
    }
    assert_eq!(rest.refused("POST", "/Calls.json", "To=1").await.0, 405, "making calls comes later");
}

/// RCML.md 3.4: Notifications filter by CallSid; they are also below their call.
#[tokio::test]
async fn notifications() {
    let rest = Rest::new().await;
    for (n, level, line) in [(1, Level::Warning, Some(7)), (2, Level::Error, None)] {
        let notification = Notification {
            sid: Notification::new_sid(call_sid(n), START_MS, [n; 9]),
            account_sid: ACCOUNT.to_owned(),
            call: call_sid(n),
            unix_ms: START_MS,
            level,
            code: 13212,
            message: "<Dial timeout=\"x\">: use whole seconds".to_owned(),
            url: Some("http://a.example/v".to_owned()),
            line,
        };
        rest.store.notify(&notification).await.unwrap();
    }
    let sid = call_sid(1).to_string();
    for path in [format!("/Notifications.json?CallSid={sid}"), format!("/Calls/{sid}/Notifications.json")] {
        let list = rest.ok("GET", &path, "").await;
        assert_eq!(list["notifications"].as_array().unwrap().len(), 1, "{path}");
        let notification = &list["notifications"][0];
        assert_eq!((&notification["log"], &notification["error_code"]), (&json!(1), &json!(13212)));
        assert_eq!(notification["call_sid"], sid);
        assert_eq!(notification["message_text"], "line 7: <Dial timeout=\"x\">: use whole seconds");
        assert_eq!(
            (&notification["message_date"], &notification["request_url"]),
            (&json!(DATE), &json!("http://a.example/v"))
        );
        let one = rest.ok("GET", &format!("/Notifications/{}.json", notification["sid"].as_str().unwrap()), "").await;
        assert_eq!(one, *notification);
    }
    let all = rest.ok("GET", "/Notifications.json", "").await;
    assert_eq!(all["notifications"].as_array().unwrap().len(), 2);
    assert_eq!(rest.refused("GET", "/Notifications/NO1.json", "").await.0, 404);
    assert_eq!(rest.refused("GET", "/Notifications.json?CallSid=1", "").await.0, 400);
}

/// RCML.md 3.4: JSON where the path ends in `.json` or Accept says so, else XML.
#[tokio::test]
async fn xml() {
    let rest = Rest::new().await;
    rest.ok("POST", "/Clients.json", "Login=alice&Password=12345678&FriendlyName=A%26B").await;
    let response = rest.ask("GET", "/Clients", "").await;
    assert_eq!(response.headers()["content-type"], "application/xml; charset=utf-8");
    let document = text(&response);
    let head = format!("<RestcommResponse><Clients page=\"0\" pagesize=\"50\" uri=\"{ROOT}/Clients\"");
    assert!(document.contains(&head), "{document}");
    for part in [
        "<Client><Sid>CL",
        "<FriendlyName>A&amp;B</FriendlyName>",
        "<VoiceUrl/>",
        "<ApiVersion>2012-04-24</ApiVersion>",
    ] {
        assert!(document.contains(part), "{part} in {document}");
    }
    assert!(document.contains("</Client></Clients></RestcommResponse>"));
    put_call(&rest.store, 1, None, CallStatus::Completed).await;
    let call = rest.ask("GET", &format!("/Calls/{}", call_sid(1)), "").await;
    assert!(text(&call).contains("<CallerName>&lt;Bob &amp; \u{fffd}Co&gt;</CallerName>"), "{}", text(&call));
    assert!(text(&call).contains("<SubresourceUris><Notifications>"));
    let missing = rest.ask("GET", "/Clients/CL1", "").await;
    assert!(text(&missing).contains("<RestException><Code>20404</Code>"), "{}", text(&missing));

    for (accept, json) in [
        ("application/json", true),
        ("text/html, application/json;q=0.9", true),
        ("application/xml, application/json", false),
        ("*/*", false),
    ] {
        let request = Request::get(format!("{ROOT}/Clients"))
            .header("authorization", basic(ACCOUNT, TOKEN))
            .header("accept", accept)
            .body(Bytes::new());
        let response = rest.send(request.unwrap()).await;
        assert_eq!(text(&response).starts_with('{'), json, "{accept}");
    }
}

/// RCML.md 3.4: 405, 413, 415 where they belong; HEAD is GET without a body.
#[tokio::test]
async fn protocol() {
    let rest = Rest::new().await;
    let response = rest.ask("DELETE", "/Clients.json", "").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &http::HeaderValue::from_static("GET, HEAD, POST"))
    );
    assert_eq!(rest.refused("PATCH", "/Clients/CL1.json", "").await.0, 405);
    let large = format!("Login={}", "a".repeat(MAX_BODY));
    assert_eq!(rest.refused("POST", "/Clients.json", &large).await.0, 413);
    let request = |media: &'static str| {
        Request::post(format!("{ROOT}/Clients.json"))
            .header("authorization", basic(ACCOUNT, TOKEN))
            .header("content-type", media)
            .body(Bytes::from_static(b"{}"))
            .unwrap()
    };
    for media in ["application/json", "multipart/form-data; boundary=x", "text/plain"] {
        assert_eq!(rest.send(request(media)).await.status(), 415, "{media}");
    }
    assert_eq!(rest.send(request("Application/X-WWW-Form-Urlencoded; charset=UTF-8")).await.status(), 400);
    let head = rest.ask("HEAD", "/Clients.json", "").await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    for path in ["/", "/restcomm/2012-04-24/", "/restcomm/2012-04-24/Accounts", "/health"] {
        assert_eq!(rest.send(Request::get(path).body(Bytes::new()).unwrap()).await.status(), 404, "{path}");
    }
    assert_eq!(rest.refused("GET", "/Widgets.json", "").await.0, 404);
}

/// RCML.md 3.4 and research 4.8: get, list by CallSid, the sound under `.wav`, delete.
#[tokio::test]
async fn recordings() {
    let rest = Rest::new().await;
    let call = |place: u8| CallSid(ringfork_state::sid::bytes(START_MS / 1000 - 100, [place; 12]));
    let mut sids = Vec::new();
    for place in 0..3_u8 {
        let created = START_MS / 1000 - 50 + u64::from(place);
        let recording = Recording {
            sid: ringfork_state::sid::new(*b"RE", created, [place; 12]),
            account_sid: ACCOUNT.to_owned(),
            call: call(place % 2),
            created_unix_ms: created * 1000,
            updated_unix_ms: created * 1000,
            seconds: None,
        };
        rest.store.put_recording(&recording).await.unwrap();
        sids.insert(0, recording.sid);
    }
    rest.store.end_recording(&sids[0], 12, START_MS).await.unwrap();
    let sid = &sids[0];
    let one = rest.ok("GET", &format!("/Recordings/{sid}.json"), "").await;
    let expected = json!({
        "sid": sid, "date_created": "Tue, 14 Nov 2023 22:12:32 +0000", "date_updated": DATE, "account_sid": ACCOUNT,
        "call_sid": call(0).to_string(), "duration": "12", "api_version": "2012-04-24",
        "uri": format!("{ROOT}/Recordings/{sid}.json"), "file_uri": format!("{ROOT}/Recordings/{sid}.wav"),
    });
    assert_eq!(one, expected);
    let listed = rest.ok("GET", "/Recordings.json", "").await;
    let found: Vec<_> = listed["recordings"].as_array().unwrap().iter().map(|one| one["sid"].clone()).collect();
    assert_eq!(found, sids);
    assert_eq!(listed["recordings"][1]["duration"], Value::Null, "it runs");
    let own = rest.ok("GET", &format!("/Recordings.json?CallSid={}", call(1)), "").await;
    assert_eq!((own["recordings"][0]["sid"].as_str(), own["recordings"][1].is_null()), (Some(sids[1].as_str()), true));
    let own = rest.ok("GET", &format!("/Calls/{}/Recordings.json", call(0)), "").await;
    assert_eq!(own["recordings"].as_array().unwrap().len(), 2);
    // From the second of the three on, and before it; the whole day; the day after.
    for (query, expected) in [
        ("StartTime=2023-11-14T22:12:31Z", &sids[..2]),
        ("EndTime=2023-11-14T22:12:31Z", &sids[2..]),
        ("StartTime=2023-11-14T22:12:31Z&EndTime=2023-11-14T22:12:32Z", &sids[1..2]),
        ("StartTime=2023-11-14&EndTime=2023-11-14", &sids[..]),
        ("StartTime=2023-11-15", &[]),
        ("EndTime=2023-11-13", &[]),
    ] {
        let listed = rest.ok("GET", &format!("/Recordings.json?{query}"), "").await;
        let found: Vec<_> = listed["recordings"].as_array().unwrap().iter().map(|one| one["sid"].clone()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let xml = rest.ask("GET", &format!("/Recordings/{sid}"), "").await;
    let xml = String::from_utf8(xml.into_body().to_vec()).unwrap();
    assert!(xml.contains("<RestcommResponse><Recording><Sid>RE") && xml.contains("<Duration>12</Duration>"), "{xml}");

    // The sound.
    let path = format!("/Recordings/{sid}.wav");
    assert_eq!(rest.ask("GET", &path, "").await.status(), 404, "there is no file");
    rest.files.0.lock().unwrap().insert(sid.clone(), 1044);
    let whole = rest.ask("GET", &path, "").await;
    assert_eq!((whole.status().as_u16(), &whole.headers()["content-type"]), (200, &"audio/wav".parse().unwrap()));
    assert_eq!(
        (&whole.headers()["content-length"], &whole.headers()["accept-ranges"]),
        (&"1044".parse().unwrap(), &"bytes".parse().unwrap())
    );
    let body = SoundBody { sid: sid.clone(), range: 0..1044, total: 1044 };
    assert_eq!(whole.extensions().get::<SoundBody>(), Some(&body));
    let head = rest.ask("HEAD", &path, "").await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"1044".parse().unwrap()));
    assert_eq!(head.extensions().get::<SoundBody>(), None);
    let part = |range: &'static str| {
        let request = Request::builder().uri(format!("{ROOT}{path}")).header("authorization", basic(ACCOUNT, TOKEN));
        rest.send(request.header("range", range).body(Bytes::new()).unwrap())
    };
    let some = part("bytes=44-").await;
    assert_eq!(
        (some.status().as_u16(), &some.headers()["content-range"]),
        (206, &"bytes 44-1043/1044".parse().unwrap())
    );
    let none = part("bytes=5000-").await;
    assert_eq!((none.status().as_u16(), &none.headers()["content-range"]), (416, &"bytes */1044".parse().unwrap()));
    let stranger = Request::builder().uri(format!("{ROOT}{path}")).body(Bytes::new()).unwrap();
    assert_eq!(rest.send(stranger).await.status(), 401, "no sound without credentials");

    // What cannot be done, and the end.
    assert_eq!(rest.refused("POST", "/Recordings.json", "").await.0, 405);
    assert_eq!(rest.refused("GET", "/Recordings/RE1.json", "").await.0, 404);
    assert_eq!(rest.ask("DELETE", &format!("/Recordings/{sid}.json"), "").await.status(), 204);
    assert!(rest.files.0.lock().unwrap().is_empty(), "the file goes with it");
    for path in [path.as_str(), &format!("/Recordings/{sid}.json")] {
        assert_eq!(rest.ask("DELETE", path, "").await.status(), 404);
    }
}
