//! The sample application: a small web server on loopback that answers with RCML and hears the callbacks, as a
//! customer's would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the application was told, with the parameters as they came.
#[derive(Debug, Clone)]
pub enum Told {
    /// A call wants its document.
    Call(BTreeMap<String, String>),
    /// A leg's status callback.
    Event(BTreeMap<String, String>),
    /// The Dial is over.
    After(BTreeMap<String, String>),
}

#[derive(Clone)]
struct Shop {
    clients: Arc<[String]>,
    told: mpsc::Sender<Told>,
}

/// Starts it on any free loopback port. It rings these clients, all but the caller.
///
/// # Errors
/// When no port can be had.
pub async fn start(clients: Vec<String>, told: mpsc::Sender<Told>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/voice", post(voice))
        .route("/events", post(event))
        .route("/after", post(after))
        .with_state(Shop { clients: clients.into(), told });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// The document of a call to the number.
async fn voice(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let document = document(&shop.clients, form.get("From").map_or("", String::as_str));
    let _ = shop.told.try_send(Told::Call(form));
    ([(header::CONTENT_TYPE, "text/xml")], document)
}

async fn event(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) {
    let _ = shop.told.try_send(Told::Event(form));
}

async fn after(State(shop): State<Shop>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let _ = shop.told.try_send(Told::After(form));
    ([(header::CONTENT_TYPE, "text/xml")], "<Response><Hangup/></Response>")
}

/// Rings everybody but the caller, each device of each.
fn document(clients: &[String], from: &str) -> String {
    let mut document = String::from("<Response><Dial timeout=\"20\" action=\"/after\">");
    for login in clients.iter().filter(|login| from.strip_prefix("client:") != Some(login.as_str())) {
        // Logins of the demonstration are plain words: nothing to escape.
        document.push_str(&format!("<Client statusCallback=\"/events\">{login}</Client>"));
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
