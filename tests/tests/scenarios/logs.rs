//! The log of whole calls (docs/operations.md "Logs").

use crate::common::*;
use ringfork_tests::edge::Edge;
use ringfork_tests::eventually;
use ringfork_tests::sipp::call;
use ringfork_tests::web::{Answer, Web};
use serde_json::Value;

/// Every line about a call carries its `call`, the CallSid, of the leg where it is about a leg: a call that rings two
/// legs, one of which refuses, with a warning of its document and callbacks that the customer's server refuses.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_about_a_call_carries_it() {
    let edge = Edge::start(&["--log", "info,ringfork=debug", "--log-format", "json"]).await;
    let web = Web::start().await;
    let nouns = r#"<Client statusCallback="/gone">alice</Client><Client statusCallback="/events">bob</Client>"#;
    let document = format!(r#"<Response><Unknown/><Dial action="/action">{nouns}</Dial></Response>"#);
    web.document("/voice", &document);
    web.answer("/gone", Answer::Status(404, String::new()));
    edge.create_number(NUMBER, &web.url("/voice")).await;
    let refuses = phone(&edge, "alice").await.serve(&refuses("486 Busy Here"), 1);
    let password = edge.create_client("bob").await;
    let mut bob = scripted(&edge, "bob", &password).await;
    let caller = call(&edge, NUMBER, &talks());
    answers_upon(&mut bob, web.wait("/gone", 2)).await;
    caller.succeed().await;
    refuses.succeed().await;
    let legs = web.completed("/events", 1).await;
    let refused = web.requests("/gone")[0].parameter("CallSid").to_owned();
    edge.settled().await;
    let parent = web.requests("/voice")[0].parameter("CallSid").to_owned();
    let sids: Vec<String> = legs.into_keys().chain([parent, refused]).collect();
    let lines = eventually("lines of the call and of both legs", async || {
        // The last line may not be whole yet.
        let log = edge.log();
        let (log, _) = log.rsplit_once('\n')?;
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        sids.iter().all(|sid| lines.iter().any(|line| line["call"] == **sid)).then_some(lines)
    })
    .await;
    for line in lines {
        let text = line.to_string();
        let about_a_call = line["target"] == "ringfork::call" || sids.iter().any(|sid| text.contains(sid));
        let named = line["call"].as_str().is_some_and(|call| sids.iter().any(|sid| sid == call));
        assert!(named || !about_a_call, "{text}");
    }
}
