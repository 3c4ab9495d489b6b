//! Client transactions: figures 5 and 6 of RFC 3261, RFC 6026 §7.2, with exact instants.

use super::*;

/// RFC 3261 §17.1.1.2: timer A doubles without limit, timer B ends it after 64*T1.
#[test]
fn an_unanswered_invite_over_udp_is_sent_seven_times_and_times_out_at_32_s() {
    let mut lab = Lab::new(udp());
    lab.request("INVITE");
    lab.until(60_000);
    assert_eq!(
        lab.log(),
        [
            "0 > INVITE",
            "500 > INVITE",
            "1500 > INVITE",
            "3500 > INVITE",
            "7500 > INVITE",
            "15500 > INVITE",
            "31500 > INVITE",
            "32000 Timeout"
        ]
    );
    lab.assert_empty();
}

/// RFC 3261 §17.1.1.2: timer A only over an unreliable transport.
#[test]
fn an_unanswered_invite_over_tcp_is_sent_once_and_times_out_at_32_s() {
    let mut lab = Lab::new(tcp());
    lab.request("INVITE");
    lab.until(60_000);
    assert_eq!(lab.log(), ["0 > INVITE", "32000 Timeout"]);
    lab.assert_empty();
}

/// RFC 3261 §17.1.2.2: timer E doubles up to T2, timer F ends it after 64*T1.
#[test]
fn an_unanswered_bye_over_udp_is_sent_eleven_times_and_times_out_at_32_s() {
    let mut lab = Lab::new(udp());
    lab.request("BYE");
    lab.until(60_000);
    let mut expected: Vec<String> =
        [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].map(|at| format!("{at} > BYE")).to_vec();
    expected.push("32000 Timeout".to_owned());
    assert_eq!(lab.log(), expected);
    lab.assert_empty();
}

#[test]
fn an_unanswered_bye_over_tcp_is_sent_once() {
    let mut lab = Lab::new(tcp());
    lab.request("BYE");
    lab.until(60_000);
    assert_eq!(lab.log(), ["0 > BYE", "32000 Timeout"]);
    lab.assert_empty();
}
