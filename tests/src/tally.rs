//! A customer's web server for long runs: it answers one document and keeps of each leg only what it must be right in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::web::decode;

/// What is kept of one leg.
#[derive(Debug, Default, Clone)]
pub struct LegTally {
    /// One bit for each sequence number seen.
    pub sequences: u64,
    /// Final events seen, repetitions of the same `Idempotency-Key` taken out.
    pub finals: u32,
    /// Sequence number of the final event.
    pub last: u32,
    /// Final status.
    pub status: String,
}

impl LegTally {
    /// One final event, the last, and no gap before it.
    pub fn is_right(&self) -> bool {
        self.finals == 1 && self.sequences == (1u64 << (self.last + 1)) - 1
    }
}

/// Everything so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// By CallSid.
    pub legs: HashMap<String, LegTally>,
    /// Requests of the document.
    pub documents: u64,
    /// Callbacks, repetitions included.
    pub callbacks: u64,
    document: String,
}

impl Tally {
    /// Starts the server on a free port: every path but `/events` answers this document (`BASE` is its own URL).
    pub async fn start(document: &str) -> (String, Arc<Mutex<Tally>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let tally = Arc::new(Mutex::new(Tally { document: document.replace("BASE", &base), ..Tally::default() }));
        let app = axum::Router::new()
            .route("/events", axum::routing::post(event))
            .fallback(serve_document)
            .with_state(tally.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (base, tally)
    }

    /// Legs whose final event came, and legs that are not (yet) right.
    pub fn state(&self) -> (usize, usize) {
        let over = self.legs.values().filter(|leg| leg.finals > 0).count();
        (over, self.legs.values().filter(|leg| !leg.is_right()).count())
    }
}

async fn serve_document(State(tally): State<Arc<Mutex<Tally>>>) -> ([(&'static str, &'static str); 1], String) {
    let mut tally = tally.lock().unwrap();
    tally.documents += 1;
    ([("content-type", "text/xml")], tally.document.clone())
}

async fn event(State(tally): State<Arc<Mutex<Tally>>>, _headers: HeaderMap, body: Bytes) {
    let parameters = decode(&String::from_utf8_lossy(&body));
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let (Some(sid), Some(sequence)) = (get("CallSid"), get("SequenceNumber").and_then(|text| text.parse::<u32>().ok()))
    else {
        return;
    };
    let mut tally = tally.lock().unwrap();
    tally.callbacks += 1;
    let leg = tally.legs.entry(sid).or_default();
    let new = leg.sequences & (1 << sequence) == 0;
    leg.sequences |= 1 << sequence;
    if new && get("CallDuration").is_some() {
        leg.finals += 1;
        leg.last = sequence;
        leg.status = get("CallStatus").unwrap_or_default();
    }
}
