//! Polly's HTTP API against an emulator of its endpoint on loopback.

use std::sync::{Arc, Mutex};

use aws_sdk_polly::config::{Credentials, Region, SharedHttpClient};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::*;

/// Requests as they came.
type Seen = Arc<Mutex<Vec<(Uri, HeaderMap, serde_json::Value)>>>;

async fn synthesize(State(seen): State<Seen>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = json["Text"].as_str().unwrap().to_owned();
    seen.lock().unwrap().push((uri, headers, json));
    if text == "refuse" {
        let error = [("x-amzn-errortype", "InvalidSampleRateException")];
        return (StatusCode::BAD_REQUEST, error, r#"{"message":"that rate is not for this voice"}"#).into_response();
    }
    // One sample for each character, so that the order of parts can be heard.
    let sound: Vec<u8> = text.bytes().flat_map(|octet| [octet, 0]).collect();
    ([("content-type", "audio/pcm")], sound).into_response()
}

async fn polly() -> (Polly, Seen) {
    let seen = Seen::default();
    let app = Router::new().route("/v1/speech", post(synthesize)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (_, timeout) = patience();
    let config = aws_sdk_polly::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "fixed"))
        .endpoint_url(endpoint)
        .http_client(SharedHttpClient::new(Builder::new().build_http()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeout)
        .build();
    (Polly { client: Client::from_conf(config) }, seen)
}

fn utterance(text: &str, voice: Option<&str>, language: &str) -> Utterance {
    Utterance { text: text.into(), voice: voice.map(Into::into), language: language.into() }
}

/// The request that the service documents, signed by Signature Version 4.
#[tokio::test]
async fn a_sentence_is_asked_for() {
    let (polly, seen) = polly().await;
    let spoken = polly.speak(&utterance("Grüße", None, "de-DE")).await.unwrap();
    assert_eq!(spoken, "Grüße".bytes().map(i16::from).collect::<Vec<_>>());
    let (uri, headers, json) = seen.lock().unwrap()[0].clone();
    assert_eq!(uri.path(), "/v1/speech");
    let expected = serde_json::json!({
        "Engine": "standard", "LanguageCode": "de-DE", "OutputFormat": "pcm", "SampleRate": "8000", "Text": "Grüße",
        "TextType": "text", "VoiceId": "Vicki",
    });
    assert_eq!(json, expected);
    let signature = headers["authorization"].to_str().unwrap();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signature}");
    assert!(signature.contains("/eu-central-1/polly/aws4_request") && signature.contains("Signature="), "{signature}");
    assert!(headers.contains_key("x-amz-date"));
}

#[tokio::test]
async fn a_long_text_is_asked_for_in_parts() {
    let (polly, seen) = polly().await;
    let text = "This is one of many sentences. ".repeat(130);
    let spoken = polly.speak(&utterance(&text, Some("Polly.Joanna-Neural"), "en")).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|(_, _, json)| json["Text"].as_str().unwrap().len() <= 3000));
    assert_eq!((seen[0].2["VoiceId"].as_str(), seen[0].2["Engine"].as_str()), (Some("Joanna"), Some("neural")));
    assert!(seen[0].2.get("LanguageCode").is_none(), "en is no code of the service");
    assert!(spoken.len() > text.trim().len() - 4);
}

#[tokio::test]
async fn a_refusal_is_told() {
    let (polly, _) = polly().await;
    let error = polly.speak(&utterance("refuse", None, "en-US")).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.fetch), ("Polly: that rate is not for this voice", false));
}

#[test]
fn voices() {
    let name = |voice_as: Option<&str>, language: &str| voice(&utterance("", voice_as, language)).0.to_string();
    assert_eq!(name(None, "en"), "Joanna");
    assert_eq!(name(Some("man"), "en"), "Matthew");
    assert_eq!(name(None, "en-GB"), "Amy");
    assert_eq!(name(Some("woman"), "fr_FR"), "Celine");
    assert_eq!(name(Some("Polly.Brian"), "en"), "Brian");
    assert_eq!(name(Some("joanna"), "de"), "Joanna");
    assert_eq!(name(Some("nobody"), "de"), "Vicki");
    assert!(MEN.iter().all(|name| known(name) == Some(*name)));
    // Restcomm's codes: Belgian French, Brazilian Portuguese, Canadian French, Danish.
    for (language, voice) in [("bf", "Celine"), ("bp", "Vitoria"), ("cf", "Chantal"), ("dan", "Naja")] {
        assert_eq!(name(None, language), voice, "{language}");
    }
    assert_eq!(voice(&utterance("", None, "fi-FI")), (VoiceId::Suvi, Engine::Neural), "it has no other voice");
}

#[test]
fn parts_hold_all_of_the_text() {
    let words = "wörd ".repeat(2000);
    for text in [words.as_str(), &"x".repeat(9000), "", "short"] {
        let parts = parts(text);
        assert!(parts.iter().all(|part| part.chars().count() <= PART && !part.is_empty()));
        assert_eq!(parts.concat().replace(' ', ""), text.replace(' ', ""));
    }
}
