//! 20 % packet loss both ways: every call is connected, each leg has exactly one `completed`, nothing is left afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a failure is a failed test.

use ringfork_tests::baresip::in_namespace;
use ringfork_tests::edge::Edge;
use ringfork_tests::losses::Losses;
use ringfork_tests::sipp::{Phone, Scenario, load};
use ringfork_tests::tally::Tally;

const CALLS: u32 = 200;
const DEVICES: u32 = 3;

#[test]
#[ignore = "takes minutes: `make loss`"]
fn calls_survive_packet_loss() {
    in_namespace("calls_survive_packet_loss_inside");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the namespace that calls_survive_packet_loss makes"]
async fn calls_survive_packet_loss_inside() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start_over(&folder.path().join("data"), "127.0.0.1:5060", &[]).await;
    let (base, tally) = Tally::start(
        r#"<Response><Dial timeout="60"><Client statusCallback="BASE/events">alice</Client></Dial></Response>"#,
    )
    .await;
    edge.create_number("1000", &format!("{base}/voice")).await;
    let password = edge.create_client("alice").await;
    let mut phones = Vec::new();
    for device in 0..DEVICES {
        let phone = Phone::register(&edge, "alice", &password).await;
        let scenario = Scenario::new().invited().answer("180 Ringing");
        phones.push(if device == 0 {
            phone.serve_forever(&scenario.pause(200).accept().recv("ACK").hung_up())
        } else {
            phone.serve_forever(&scenario.cancelled(true))
        });
    }

    // One datagram in five is lost on its way to the edge, and one in five on its way from it.
    let losses = Losses::new();
    losses.lose("udp dport 5060", "random mod 100 < 20");
    losses.lose("udp sport 5060", "random mod 100 < 20");
    let caller =
        load(&edge, "1000", &Scenario::new().call().finally("200").ack().pause(500).hang_up(), CALLS, 10, true);
    let legs = (CALLS * DEVICES) as usize;
    // Losing five in a row delays a call by half a minute: two patiences are little more than what may happen.
    let over = async || (tally.lock().unwrap().state().0 >= legs).then_some(());
    // Of a caller whose call never came through: each message that it sent and saw.
    let unheard = |messages: &str| {
        let messages: Vec<_> = messages.split("-----------------------------------------------").collect();
        let call_id =
            |message: &str| message.lines().find_map(|line| Some(line.strip_prefix("Call-ID:")?.trim().to_owned()));
        let answered: std::collections::HashSet<_> = messages
            .iter()
            .filter(|message| message.contains("SIP/2.0 200") && message.contains("received"))
            .filter_map(|message| call_id(message))
            .collect();
        let unheard = messages.iter().filter(|message| call_id(message).is_some_and(|id| !answered.contains(&id)));
        unheard.copied().collect::<String>()
    };
    let give_up = std::time::Instant::now() + ringfork_tests::PATIENCE * 3;
    while over().await.is_none() {
        let state = tally.lock().unwrap().state();
        assert!(
            std::time::Instant::now() < give_up,
            "{} of {legs} legs over, {} open or wrong, {} calls, {} legs up; of callers without an answer: {}",
            state.0,
            state.1,
            edge.metric("ringfork_calls").await,
            edge.metric("ringfork_legs").await,
            unheard(&caller.messages()),
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let messages = caller.messages();
    let (code, errors) = caller.finish().await;
    let connected = {
        let tally = tally.lock().unwrap();
        assert_eq!(tally.state(), (legs, 0), "{:#?}", tally.legs.values().find(|leg| !leg.is_right()));
        tally.legs.values().filter(|leg| leg.status == "completed").count()
    };
    println!(
        "{legs} legs, each with one completed, last; {connected} of {CALLS} calls connected; sipp ended with {code:?}"
    );
    losses.assert_each_lost();
    edge.settled().await;
    edge.delete_clients().await;
    ringfork_tests::eventually("an empty transaction table", async || {
        (edge.metric("ringfork_transactions").await == 0.0).then_some(())
    })
    .await;
    drop(phones);
    assert_eq!(
        (connected, code),
        (CALLS as usize, Some(0)),
        "a caller was not connected: {errors}{}",
        unheard(&messages)
    );
}
