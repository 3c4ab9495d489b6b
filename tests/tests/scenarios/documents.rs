//! How documents are fetched (RCML.md part 2, 3.2, 3.3).

use crate::common::*;
use ringfork_tests::sipp::call;
use ringfork_tests::web::Answer;

/// The first document of a call fails and there is no fallback: SIP 500 (RCML.md 3.2).
async fn first_document_fails(answer: Answer) {
    let (edge, web) = start("").await;
    web.answer("/voice", answer);
    call(&edge, NUMBER, &is_refused("500")).succeed().await;
    edge.settled().await;
    let parent = web.requests("/voice")[0].parameter("CallSid").to_owned();
    ringfork_tests::eventually("the error that the failure leaves", async || {
        let notices = edge.rest("GET", &format!("/Notifications.json?CallSid={parent}"), &[]).await;
        (!notices["notifications"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
}

/// A missing document.
#[tokio::test(flavor = "multi_thread")]
async fn missing() {
    first_document_fails(Answer::Status(404, "not here".into())).await;
}

/// A document that does not parse, and a root other than Response.
#[tokio::test(flavor = "multi_thread")]
async fn malformed() {
    first_document_fails(Answer::Xml("<Response><Dial>".into())).await;
    first_document_fails(Answer::Xml("<Answer/>".into())).await;
    first_document_fails(Answer::Xml(String::new())).await;
}

/// Documents are at most 64 KB.
#[tokio::test(flavor = "multi_thread")]
async fn too_large() {
    let padding = " ".repeat(65 * 1024);
    first_document_fails(Answer::Xml(format!("<Response>{padding}</Response>"))).await;
}

/// A redirect that never ends: five are followed.
#[tokio::test(flavor = "multi_thread")]
async fn redirecting_for_ever() {
    let (edge, web) = start("").await;
    web.answer("/voice", Answer::Redirect("/voice".into()));
    call(&edge, NUMBER, &is_refused("500")).succeed().await;
    assert_eq!(web.requests("/voice").len(), 6);
}

/// Redirects keep method and parameters.
#[tokio::test(flavor = "multi_thread")]
async fn redirected_once() {
    let (edge, web) = start("").await;
    web.answer("/voice", Answer::Redirect("/moved".into()));
    web.document("/moved", r#"<Response><Reject reason="busy"/></Response>"#);
    call(&edge, NUMBER, &is_refused("486")).succeed().await;
    let moved = &web.requests("/moved")[0];
    assert_eq!(moved.method, "POST");
    assert_eq!(moved.parameters, web.requests("/voice")[0].parameters);
}

/// The fallback URL is used on a failure of the first document, with `ErrorCode` and `ErrorUrl` (RCML.md 3.2).
#[tokio::test(flavor = "multi_thread")]
async fn fallback() {
    let (edge, web) = start("").await;
    web.answer("/voice", Answer::Status(500, String::new()));
    web.document("/fallback", r#"<Response><Reject reason="busy"/></Response>"#);
    let number = "+15559990000";
    let (voice, fallback) = (web.url("/voice"), web.url("/fallback"));
    edge.rest(
        "POST",
        "/IncomingPhoneNumbers.json",
        &[("PhoneNumber", number), ("VoiceUrl", &voice), ("VoiceFallbackUrl", &fallback)],
    )
    .await;
    call(&edge, number, &is_refused("486")).succeed().await;
    let fallback = &web.requests("/fallback")[0];
    assert_eq!(fallback.parameter("ErrorUrl"), voice);
    assert!(fallback.get("ErrorCode").is_some());
}

/// Redirect goes on with another document, relative to the running one; cookies are kept for the length of the call;
/// the 21st document in a row in which nothing waited ends the call (RCML.md part 2).
#[tokio::test(flavor = "multi_thread")]
async fn redirect_chain() {
    let (edge, web) = start("<Response><Redirect>sub/two</Redirect></Response>").await;
    web.document("/sub/two", r#"<Response><Redirect method="GET">three</Redirect></Response>"#);
    web.document("/sub/three", r#"<Response><Reject reason="busy"/></Response>"#);
    call(&edge, NUMBER, &is_refused("486")).succeed().await;
    assert_eq!(web.requests("/sub/three")[0].method, "GET");

    web.document("/voice", "<Response><Redirect/></Response>");
    web.document("/loop", "<Response><Redirect>/loop</Redirect></Response>");
    edge.create_number("+15559990001", &web.url("/loop")).await;
    call(&edge, "+15559990001", &is_refused("500")).succeed().await;
    assert_eq!(web.requests("/loop").len(), 21);
}
