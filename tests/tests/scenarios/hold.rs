//! Hold and resume in a bridged call (issue 3, `edge/call`): an offer is carried to the other party and its answer back.

use crate::common::*;
use ringfork_tests::sipp::{Scenario, call};

/// From and To of a dialog, as either side writes them.
struct Sides {
    from: &'static str,
    to: &'static str,
}

/// The caller: it keeps the To of its 200 in `$9`.
const CALLER: Sides =
    Sides { from: r#""Test Caller" <sip:+15550001111@[local_ip]:[local_port]>;tag=f[pid]-[call_number]"#, to: "[$9]" };

/// The callee: it keeps both of the INVITE, its own tag added, in `$6` and `$5`.
const CALLEE: Sides = Sides { from: "[$6]", to: "[$5]" };

/// A request within the dialog.
fn request(sides: &Sides, method: &str, cseq: u32, body: &str) -> String {
    let Sides { from, to } = sides;
    let retransmit = if method == "ACK" { "" } else { r#" retrans="500""# };
    format!(
        r#"<send{retransmit}><![CDATA[
      {method} [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      [routes]
      From: {from}
      To: {to}
      Call-ID: [call_id]
      CSeq: {cseq} {method}
      Contact: <sip:phone@[local_ip]:[local_port]>
      Max-Forwards: 70
      {body}
  ]]></send>"#
    )
}

/// A description with this direction, and its headers.
fn description(direction: &str) -> String {
    // Each description that differs has a version of its own (RFC 3264 §8).
    let version = if direction == "sendrecv" { 3 } else { 2 };
    format!(
        r"Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=sipp 1 {version} IN IP4 [local_ip]
      s=-
      c=IN IP4 [media_ip]
      t=0 0
      m=audio [media_port] RTP/AVP 0
      a={direction}"
    )
}

/// Sends a re-INVITE with this direction; its 200 must say `expected`.
fn reoffers(sides: &Sides, cseq: u32, direction: &str, expected: &str) -> String {
    format!(
        r#"{}
  <recv response="100" optional="true"/>
  <recv response="200"><action>
    <ereg regexp="a={expected}" search_in="body" check_it="true" assign_to="8"/>
  </action></recv><Reference variables="8"/>
  {}"#,
        request(sides, "INVITE", cseq, &description(direction)),
        request(sides, "ACK", cseq, "Content-Length: 0\n"),
    )
}

/// Gets a re-INVITE that says `direction` and answers it.
fn reoffered(direction: &str, answer: &str) -> String {
    format!(
        r#"<recv request="INVITE"><action>
    <ereg regexp="a={direction}" search_in="body" check_it="true" assign_to="8"/>
  </action></recv><Reference variables="8"/>
  <send retrans="500"><![CDATA[
      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Contact: <sip:[local_ip]:[local_port]>
      {}
  ]]></send>
  <recv request="ACK"/>"#,
        description(answer)
    )
}

/// A caller that is answered.
fn caller() -> Scenario {
    let answered = r#"<recv response="200" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="9"/>
  </action></recv><Reference variables="9"/>"#;
    Scenario::new().call().maybe("100").maybe("180").xml(answered).ack()
}

/// A callee that rings and answers.
fn callee() -> Scenario {
    let invited = r#"<recv request="INVITE" rrs="true"><action>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="5"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="7"/>
    <assignstr assign_to="6" value="[$7];tag=t[pid]-[call_number]"/>
  </action></recv><Reference variables="5,6,7"/>"#;
    Scenario::new().xml(invited).answer("180 Ringing").accept().recv("ACK")
}

/// A call between these two, the caller ending it with this CSeq; the leg's callbacks are those of any other call.
async fn play(caller: Scenario, cseq: u32, callee: Scenario) {
    let (edge, web) = start(&dial(&client("alice"))).await;
    web.document("/action", "<Response><Hangup/></Response>");
    let alice = phone(&edge, "alice").await;
    let callee = alice.serve(&callee.hung_up(), 1);
    let bye = format!("{}\n  <recv response=\"200\"/>", request(&CALLER, "BYE", cseq, "Content-Length: 0\n"));
    call(&edge, NUMBER, &caller.pause(200).xml(&bye)).succeed().await;
    callee.succeed().await;
    let legs = web.completed("/events", 1).await;
    check_legs(&legs, web.requests("/voice")[0].parameter("CallSid"));
    assert_eq!(statuses(legs.values().next().unwrap()), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(web.wait("/action", 1).await[0].parameter("DialCallStatus"), "completed");
    edge.settled().await;
}

/// Hold and resume by the caller: the re-INVITE's offer is carried to the callee and its answer back.
#[tokio::test(flavor = "multi_thread")]
async fn hold_and_resume_by_the_caller() {
    let caller = caller()
        .pause(200)
        .xml(&reoffers(&CALLER, 2, "sendonly", "recvonly"))
        .pause(100)
        .xml(&reoffers(&CALLER, 3, "sendrecv", "sendrecv"));
    let callee = callee().xml(&reoffered("sendonly", "recvonly")).xml(&reoffered("sendrecv", "sendrecv"));
    play(caller, 4, callee).await;
}

/// Hold and resume by the callee: the caller gets both offers, and the callee its answers.
#[tokio::test(flavor = "multi_thread")]
async fn hold_and_resume_by_the_callee() {
    let caller = caller().xml(&reoffered("sendonly", "recvonly")).xml(&reoffered("sendrecv", "sendrecv"));
    // Until the caller's ACK of our 200 it would get 491: it waits a moment.
    let callee = callee()
        .pause(300)
        .xml(&reoffers(&CALLEE, 1, "sendonly", "recvonly"))
        .pause(100)
        .xml(&reoffers(&CALLEE, 2, "sendrecv", "sendrecv"));
    play(caller, 2, callee).await;
}
