//! CANCEL from both sides (RFC 3261 §9).

use super::*;

/// RFC 3261 §9.1: no CANCEL before a provisional response.
#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut lab = Lab::new(udp());
    let key = lab.request("INVITE");
    assert_eq!(
        lab.layer.cancel(lab.now, key, &["SIP;cause=200;text=\"Call completed elsewhere\""]),
        CancelOutcome::HeldBack
    );
    lab.until(600);
    assert_eq!(lab.log(), ["0 > INVITE", "500 > INVITE"]);
    lab.answered("INVITE", 180, "b");
    assert_eq!(lab.log(), ["600 > CANCEL", "600 Response 180"]);
    let cancel = String::from_utf8(lab.last_sent("CANCEL").to_vec()).unwrap();
    assert!(cancel.contains("\r\nReason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"), "{cancel}");
    lab.answered("CANCEL", 200, "b");
    lab.answered("INVITE", 487, "b");
    assert_eq!(lab.log(), ["600 > ACK", "600 Response 487"]);
    lab.until(60_000);
    assert!(lab.log().is_empty());
    lab.assert_empty();
}
