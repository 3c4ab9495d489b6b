//! What the TwiML ecosystem's own tools make of us: the helper library's documents are understood, and its request
//! validator accepts our signature (RCML.md 1.1, 3.3).
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use std::path::Path;
use std::process::Command;

use ringfork_tests::edge::Edge;
use ringfork_tests::sipp::{Phone, Scenario, call};
use ringfork_tests::web::Web;

/// Runs Python with the helper library that tests/tools.sh installs.
fn python(script: &str, arguments: &[&str]) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python");
    let output = Command::new(&python)
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/tools.sh or `make test`", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const DOCUMENT: &str = r#"
import sys
from twilio.twiml.voice_response import VoiceResponse, Dial
response = VoiceResponse()
dial = Dial(action='/action', timeout=20, caller_id='+15550009999', answer_on_bridge=True)
client = dial.client(status_callback=sys.argv[1] + '/events?kind=client',
                     status_callback_event='initiated ringing answered completed', status_callback_method='POST')
client.identity('alice')
client.parameter(name='Ticket', value='4711')
dial.client('bob', status_callback=sys.argv[1] + '/events?kind=client', status_callback_event='completed')
response.append(dial)
response.redirect('/next', method='POST')
print(str(response))
"#;

const VALIDATE: &str = r#"
import json, sys
from twilio.request_validator import RequestValidator
requests = json.load(open(sys.argv[2]))
validator = RequestValidator(sys.argv[1])
for request in requests:
    parameters = {} if request['method'] == 'GET' else dict(request['parameters'])
    assert validator.validate(request['url'], parameters, request['signature']), request
    parameters['CallSid'] = 'CAforged'
    assert request['method'] == 'GET' or not validator.validate(request['url'], parameters, request['signature'])
print(len(requests))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn helper_documents_and_signatures() {
    let edge = Edge::start(&[]).await;
    let web = Web::start().await;
    let document = python(DOCUMENT, &[&web.base]);
    web.document("/voice", document.trim());
    web.document("/action", r#"<Response><Redirect method="GET">/goodbye?from=action</Redirect></Response>"#);
    edge.create_number("1000", &web.url("/voice")).await;
    let password = edge.create_client("alice").await;
    let alice = Phone::register(&edge, "alice", &password).await;
    let callee = alice.serve(
        &Scenario::new().invited_with("X-Ticket", "4711").answer("180 Ringing").answer("486 Busy Here").recv("ACK"),
        1,
    );
    call(&edge, "1000", &Scenario::new().call().finally("486")).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    let events = legs.values().next().unwrap();
    assert_eq!(events.len(), 3, "{events:#?}");
    assert!(events.iter().all(|event| event.parameter("From") == "+15550009999"));
    assert_eq!(web.requests("/action")[0].parameter("DialCallStatus"), "busy");
    assert_eq!(web.wait("/goodbye", 1).await[0].method, "GET");

    let requests: Vec<_> = web
        .all()
        .iter()
        .map(|request| {
            serde_json::json!({
                "url": request.url, "method": request.method, "parameters": request.parameters,
                "signature": request.headers["x-twilio-signature"],
            })
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &requests).unwrap();
    let checked = python(VALIDATE, &[&edge.auth_token, file.path().to_str().unwrap()]);
    assert_eq!(checked.trim(), requests.len().to_string());
    assert!(requests.len() >= 6);
}
