//! The sample application: a small web server on loopback that answers with RCML, serves the prompt and hears the
//! callbacks, as a customer's would. Whoever answers presses 1 to accept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Happening, tones};

/// What an answered leg runs before it is connected: without a key it ends in Hangup, which declines.
const SCREEN: &str = "<Response><Gather numDigits=\"1\" timeout=\"5\" action=\"/key\"><Play>/prompt.wav</Play></Gather><Hangup/></Response>";
/// A document that runs to its end accepts.
const ACCEPT: &str = "<Response/>";
const HANGUP: &str = "<Response><Hangup/></Response>";

/// What the application was told, with the parameters as they came.
#[derive(Debug, Clone)]
pub enum Told {
    /// A call wants its document.
    Call(BTreeMap<String, String>),
    /// A leg has answered and wants its screening document.
    Screen(BTreeMap<String, String>),
    /// The sound of the prompt was fetched.
    Prompt,
    /// The key that was pressed.
    Key(BTreeMap<String, String>),
    /// A leg's status callback.
    Event(BTreeMap<String, String>),
    /// The Dial is over.
    After(BTreeMap<String, String>),
}

#[derive(Clone)]
struct Shop {
    clients: Arc<[String]>,
    told: mpsc::Sender<Happening>,
}

/// Starts it on any free loopback port. It rings these clients, all but the caller.
///
/// # Errors
/// When no port can be had.
pub async fn start(clients: Vec<String>, told: mpsc::Sender<Happening>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/voice", post(voice))
        .route("/screen", post(screen))
        .route("/prompt.wav", get(prompt))
        .route("/key", post(key))
        .route("/events", post(event))
        .route("/after", post(after))
        .with_state(Shop { clients: clients.into(), told });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// The document of a call to the number.
async fn voice(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let document = document(&shop.clients, form.get("From").map_or("", String::as_str));
    let _ = shop.told.try_send(Happening::App(Told::Call(form)));
    ([(header::CONTENT_TYPE, "text/xml")], document)
}

async fn screen(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let _ = shop.told.try_send(Happening::App(Told::Screen(form)));
    ([(header::CONTENT_TYPE, "text/xml")], SCREEN)
}

async fn prompt(State(shop): State<Shop>) -> impl IntoResponse {
    let _ = shop.told.try_send(Happening::App(Told::Prompt));
    ([(header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, "max-age=3600")], tones::prompt())
}

async fn key(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let document = answer_to_key(&form);
    let _ = shop.told.try_send(Happening::App(Told::Key(form)));
    ([(header::CONTENT_TYPE, "text/xml")], document)
}

/// 1 accepts, every other key declines.
pub(super) fn answer_to_key(form: &BTreeMap<String, String>) -> &'static str {
    if form.get("Digits").is_some_and(|digits| digits == "1") { ACCEPT } else { HANGUP }
}

async fn event(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) {
    let _ = shop.told.try_send(Happening::App(Told::Event(form)));
}

async fn after(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let _ = shop.told.try_send(Happening::App(Told::After(form)));
    ([(header::CONTENT_TYPE, "text/xml")], HANGUP)
}

/// Rings everybody but the caller, each device of each; each is screened.
fn document(clients: &[String], from: &str) -> String {
    let mut document = String::from("<Response><Dial timeout=\"20\" action=\"/after\">");
    for login in clients.iter().filter(|login| from.strip_prefix("client:") != Some(login.as_str())) {
        // Logins of the demonstration are plain words: nothing to escape.
        document.push_str(&format!("<Client url=\"/screen\" statusCallback=\"/events\">{login}</Client>"));
    }
    document.push_str("</Dial></Response>");
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_not_rung() {
        let clients = ["alice", "bob"].map(str::to_owned);
        let text = document(&clients, "client:alice");
        assert!(text.contains(">bob<") && !text.contains(">alice<"));
        assert_eq!(document(&clients, "15550100").matches("<Client").count(), 2);
    }
}
