//! Somebody hangs up while a verb with media is at work: the caller in each verb of its own document, and either side in
//! each verb of a screening document (RCML.md 1.3, 1.4, 1.5, part 2). A row is a call of its own; the rows of a table
//! share one edge and run side by side.

use std::time::Duration;

use serde_json::Value;

use crate::common::*;
use ringfork_tests::baresip::tone_file;
use ringfork_tests::edge::Edge;
use ringfork_tests::sipp::{Run, Scenario, call};
use ringfork_tests::web::{Answer, Request, Web};

/// How long whoever hangs up stays, milliseconds on its own clock.
const STAY: u32 = 2500;
/// The durations that this may come to, whole seconds: some more on a machine that stood still for a moment.
const STAYED: [&str; 4] = ["2", "3", "4", "5"];

/// Verbs, and the fetch of a document, that go on until somebody leaves, by name. `ROW` in them stands for the row's name.
const VERBS: [(&str, &str); 7] = [
    ("say", r#"<Say loop="0">Please hold the line.</Say>"#),
    ("play", r#"<Play loop="0">/tone/ROW</Play>"#),
    ("prompt", r#"<Gather timeout="60" action="/ran-on/ROW"><Play loop="0">/tone/ROW</Play></Gather>"#),
    ("entry", r#"<Gather timeout="60" action="/ran-on/ROW" actionOnEmptyResult="true"/>"#),
    ("record", r#"<Record timeout="60" action="/recorded/ROW"/>"#),
    ("pause", r#"<Pause length="60"/>"#),
    ("fetch", "<Redirect>/slow/ROW</Redirect>"),
];

/// Answers the caller before a verb that does not.
const LIFT: &str = "<Play>/lift</Play>";

/// A document with this verb. What comes after it must never run.
fn document(before: &str, verb: &str) -> String {
    format!("<Response>{before}{verb}<Redirect>/ran-on/ROW</Redirect></Response>")
}

/// An edge, and a web server with the sounds of these rows.
async fn stage(rows: &[String]) -> (Edge, Web) {
    let (edge, web) = start("").await;
    web.answer("/lift", Answer::File("audio/wav", tone_file(600, 1)));
    for row in rows {
        web.answer(&format!("/tone/{row}"), Answer::File("audio/wav", tone_file(500, 1)));
        web.answer(&format!("/slow/{row}"), Answer::Hang(Duration::from_secs(10)));
    }
    (edge, web)
}

/// A number of this row's own, answered by this document.
async fn number(edge: &Edge, web: &Web, row: &str, index: usize, xml: &str) -> String {
    let (path, number) = (format!("/voice/{row}"), format!("+15557770{index:03}"));
    web.document(&path, &xml.replace("ROW", row));
    edge.create_number(&number, &web.url(&path)).await;
    number
}

/// The call as REST shows it once it is over.
async fn over(edge: &Edge, sid: &str) -> Value {
    ringfork_tests::eventually("the end of a call in REST", async || {
        let call = edge.rest("GET", &format!("/Calls/{sid}.json"), &[]).await;
        (!call["end_time"].is_null()).then_some(call)
    })
    .await
}

/// Checks how a call ended, as REST shows it.
async fn check_call(edge: &Edge, row: &str, sid: &str, status: &str, durations: &[&str]) {
    let call = over(edge, sid).await;
    assert_eq!(call["status"], status, "{row}: {call}");
    let duration = call["duration"].as_str().unwrap();
    assert!(durations.contains(&duration), "{row}: {call}");
}

/// The `CallSid` of a row's caller.
fn parent(web: &Web, row: &str) -> String {
    web.requests(&format!("/voice/{row}"))[0].parameter("CallSid").to_owned()
}

/// What shows that the verb was at work when somebody left: its sound was fetched, and nothing after it ran.
fn check_phase(web: &Web, row: &str, xml: &str) {
    assert!(web.requests(&format!("/ran-on/{row}")).is_empty(), "{row}: the verb was over before the hangup");
    if xml.contains("/tone/ROW") {
        assert_eq!(web.requests(&format!("/tone/{row}")).len(), 1, "{row}: its sound was not fetched once");
    }
    if xml.contains("/slow/ROW") {
        assert_eq!(web.requests(&format!("/slow/{row}")).len(), 1, "{row}: its document was not fetched once");
    }
}

/// RCML.md part 2, Record: what was recorded is told with `hangup`, and kept on the call that it was recorded on.
async fn check_recording(edge: &Edge, web: &Web, row: &str, sid: &str) -> Request {
    let action = web.wait(&format!("/recorded/{row}"), 1).await.remove(0);
    assert_eq!((action.parameter("CallSid"), action.parameter("Digits")), (sid, "hangup"), "{row}");
    assert!(
        ["1", "2", "3", "4", "5"].contains(&action.parameter("RecordingDuration")),
        "{row}: {:?}",
        action.parameters
    );
    let kept = kept(edge, sid).await;
    assert!(action.parameter("RecordingUrl").ends_with(&format!("/{}.wav", kept["sid"].as_str().unwrap())), "{row}");
    action
}

/// The one recording of a call.
async fn kept(edge: &Edge, sid: &str) -> Value {
    ringfork_tests::eventually("a recording with its duration", async || {
        let list = edge.rest("GET", &format!("/Recordings.json?CallSid={sid}"), &[]).await;
        let list = list["recordings"].as_array().unwrap().clone();
        (list.len() == 1 && !list[0]["duration"].is_null()).then(|| list[0].clone())
    })
    .await
}

/// A caller of the caller's table.
struct Row {
    name: &'static str,
    xml: String,
    answered: bool,
    caller: Scenario,
}

/// A caller that is answered, stays, and hangs up.
fn hangs_up() -> Scenario {
    Scenario::new().call().finally("200").ack().pause(STAY).hang_up()
}

/// A caller that hears of its call by this provisional response, stays, and gives up.
fn gives_up(provisional: &str) -> Scenario {
    Scenario::new().call().maybe("100").received(provisional).pause(STAY).cancel()
}

/// RCML.md part 2, 1.5, 3.1: a caller who hangs up in the middle of a verb ends its call there: nothing after the verb
/// runs, what it recorded is told, a Dial's leg is cancelled and its action says canceled; the call is completed with
/// its duration, or canceled where it was not answered.
#[tokio::test(flavor = "multi_thread")]
async fn the_caller_leaves_in_each_verb() {
    let dial = format!(
        r#"<Dial dialMusic="/tone/ROW" action="/action/ROW">{}</Dial>"#,
        r#"<Client statusCallback="/events/ROW">alice</Client>"#
    );
    let answered = |name, xml: String| Row { name, xml, answered: true, caller: hangs_up() };
    let unanswered = |name, xml, hears: &str| Row { name, xml, answered: false, caller: gives_up(hears) };
    let mut rows: Vec<Row> = VERBS
        .iter()
        .map(|(name, verb)| answered(name, document(if ["pause", "fetch"].contains(name) { LIFT } else { "" }, verb)))
        .collect();
    rows.push(unanswered("ringing-pause", document("", VERBS[5].1), "180"));
    rows.push(answered("music", document(LIFT, &dial)));
    rows.push(unanswered("early-music", document("", &dial), "183"));
    rows.push(unanswered("ringing-fetch", document(r#"<Pause length="1"/>"#, VERBS[6].1), "180"));

    let names: Vec<String> = rows.iter().map(|row| row.name.to_owned()).collect();
    let (edge, web) = stage(&names).await;
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&rings_until_cancelled(false), 2);
    let mut runs: Vec<Run> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let number = number(&edge, &web, row.name, index, &row.xml).await;
        runs.push(call(&edge, &number, &row.caller));
    }
    for run in runs {
        run.succeed().await;
    }
    callee.succeed().await;
    edge.settled().await;

    for Row { name, xml, answered, .. } in &rows {
        let sid = parent(&web, name);
        let (status, durations) = if *answered { ("completed", &STAYED[..]) } else { ("canceled", &["0"][..]) };
        check_call(&edge, name, &sid, status, durations).await;
        check_phase(&web, name, xml);
        if xml.contains("<Record") {
            let action = check_recording(&edge, &web, name, &sid).await;
            assert_eq!(action.parameter("CallStatus"), "completed", "the call is over (RCML.md 3.1)");
        }
        if xml.contains("<Dial") {
            let action = &web.wait(&format!("/action/{name}"), 1).await[0];
            assert_eq!(action.parameter("DialCallStatus"), "canceled");
            assert_eq!(action.parameter("CallStatus"), status);
            let legs = web.completed(&format!("/events/{name}"), 1).await;
            check_legs(&legs, &sid);
            let (leg, events) = legs.iter().next().unwrap();
            assert_eq!(statuses(events), ["initiated", "ringing", "no-answer"], "{name}");
            check_call(&edge, name, leg, "no-answer", &["0"]).await;
        }
    }
}

/// Who leaves while a leg screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaver {
    /// A caller that is not answered.
    RingingCaller,
    /// A caller that was answered before the Dial.
    AnsweredCaller,
    Callee,
}

/// In each verb of a screening document somebody leaves: the leg gets or sends its BYE, its events are those of a leg
/// that answered (RCML.md 1.4), and the caller's call is as 1.5 and part 2 say.
async fn leaves_in_screening(leavers: &[Leaver]) {
    let rows: Vec<_> = leavers
        .iter()
        .flat_map(|leaver| VERBS.iter().map(move |(name, verb)| (format!("{name}-{leaver:?}"), *leaver, *verb)))
        .collect();
    let names: Vec<String> = rows.iter().map(|(row, ..)| row.clone()).collect();
    let (edge, web) = stage(&names).await;
    let alice = phone(&edge, "alice").await;
    let callee = if leavers.contains(&Leaver::Callee) {
        let called = Scenario::new().invited_to_leave().answer("180 Ringing").accept().recv("ACK");
        called.pause(STAY).hang_up_called()
    } else {
        Scenario::new().invited().answer("180 Ringing").accept().recv("ACK").hung_up()
    };
    let callee = alice.serve(&callee, u32::try_from(rows.len()).unwrap());
    let noun = r#"<Client url="/screen/ROW" statusCallback="/events/ROW">alice</Client>"#;
    let mut runs: Vec<Run> = Vec::new();
    for (index, (row, leaver, verb)) in rows.iter().enumerate() {
        web.document(&format!("/screen/{row}"), &document("", verb).replace("ROW", row));
        let before = if *leaver == Leaver::AnsweredCaller { LIFT } else { "" };
        let dial = format!(r#"<Response>{before}<Dial action="/action/ROW">{noun}</Dial></Response>"#);
        let number = number(&edge, &web, row, index, &dial).await;
        let caller = match leaver {
            Leaver::RingingCaller => gives_up("180"),
            // The sound before the Dial is heard for a second.
            Leaver::AnsweredCaller => Scenario::new().call().finally("200").ack().pause(STAY + 1000).hang_up(),
            Leaver::Callee => is_refused("480"),
        };
        runs.push(call(&edge, &number, &caller));
    }
    for run in runs {
        run.succeed().await;
    }
    callee.succeed().await;
    edge.settled().await;

    for (row, leaver, verb) in &rows {
        let sid = parent(&web, row);
        let (status, durations, dialed) = match leaver {
            Leaver::RingingCaller => ("canceled", &["0"][..], "canceled"),
            Leaver::AnsweredCaller => ("completed", &["3", "4", "5", "6"][..], "canceled"),
            Leaver::Callee => ("no-answer", &["0"][..], "no-answer"),
        };
        check_call(&edge, row, &sid, status, durations).await;
        check_phase(&web, row, verb);
        let action = &web.wait(&format!("/action/{row}"), 1).await[0];
        assert_eq!(action.parameter("DialCallStatus"), dialed, "{row}");
        assert_eq!(action.parameter("DialCallDuration"), "0", "{row}: it was never connected");

        let legs = web.completed(&format!("/events/{row}"), 1).await;
        assert_eq!(legs.len(), 1, "{row}");
        check_legs(&legs, &sid);
        let (leg, events) = legs.iter().next().unwrap();
        assert_eq!(statuses(events), ["initiated", "ringing", "in-progress", "completed"], "{row}");
        let duration = events[3].parameter("CallDuration");
        // A caller's time begins with the 180, a moment before the leg's answer.
        assert!(["1", "2", "3", "4", "5"].contains(&duration), "{row}: {duration}");
        check_call(&edge, row, leg, "completed", &[duration]).await;

        if verb.contains("<Record") && *leaver == Leaver::Callee {
            let action = check_recording(&edge, &web, row, leg).await;
            assert_eq!(action.parameter("ParentCallSid"), sid, "{row}");
        } else if verb.contains("<Record") {
            // The leg did not hang up, we ended it: what it said is kept and nobody is asked.
            kept(&edge, leg).await;
            assert!(web.requests(&format!("/recorded/{row}")).is_empty(), "{row}");
        }
    }
}

/// RCML.md 1.3, 1.5: the caller gives up while the callee hears, keys in or says something in its screening.
#[tokio::test(flavor = "multi_thread")]
async fn the_caller_leaves_in_each_verb_of_screening() {
    leaves_in_screening(&[Leaver::RingingCaller]).await;
}

/// The same of a caller that hears our ringing tone, since it was answered before.
#[tokio::test(flavor = "multi_thread")]
async fn an_answered_caller_leaves_in_each_verb_of_screening() {
    leaves_in_screening(&[Leaver::AnsweredCaller]).await;
}

/// RCML.md 1.3: a callee who hangs up in its screening ends that leg; the caller's call goes on after the Dial.
#[tokio::test(flavor = "multi_thread")]
async fn the_callee_leaves_in_each_verb_of_screening() {
    leaves_in_screening(&[Leaver::Callee]).await;
}

/// RCML.md part 2, Say: flite speaks English, whatever the language: its document says so once in Notifications.
#[tokio::test(flavor = "multi_thread")]
async fn a_language_that_the_voice_does_not_speak() {
    let document = r#"<Response><Say language="fr-FR">Bonjour.</Say><Say language="fr-FR">Au revoir.</Say></Response>"#;
    let (edge, web) = start(document).await;
    call(&edge, NUMBER, &Scenario::new().call().finally("200").ack().hung_up()).succeed().await;
    edge.settled().await;
    let sid = web.requests("/voice")[0].parameter("CallSid").to_owned();
    let notices = ringfork_tests::eventually("the warning", async || {
        let list = edge.rest("GET", &format!("/Notifications.json?CallSid={sid}"), &[]).await;
        let list = list["notifications"].as_array().unwrap().clone();
        (!list.is_empty()).then_some(list)
    })
    .await;
    let shown: Vec<_> =
        notices.iter().map(|notice| (notice["error_code"].to_string(), notice["log"].to_string())).collect();
    assert_eq!(shown.len(), 1, "{notices:?}");
    assert!(shown[0].0.contains("13512") && shown[0].1.contains('1'), "{notices:?}");
}
