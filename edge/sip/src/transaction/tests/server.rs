//! Server transactions: figures 7 and 8 of RFC 3261, RFC 6026 §7.1, with exact instants.

use super::*;

/// RFC 3261 §17.2.2: a repeated request is discarded before the response, and gets the response again until timer J.
#[test]
fn a_repeated_register_gets_the_same_response_until_32_s_after_it() {
    let mut lab = Lab::new(udp());
    let register = incoming("REGISTER", "z9hG4bKa");
    lab.receive(register.clone());
    lab.until(100);
    lab.receive(register.clone());
    assert_eq!(lab.log(), ["0 Request REGISTER"]);
    lab.respond(&register, 200).unwrap();
    assert_eq!(lab.log(), ["100 > 200"]);
    for at in [200, 20_000, 32_099] {
        lab.until(at);
        lab.receive(register.clone());
        assert_eq!(lab.log(), [format!("{at} > 200")]);
    }
    assert_eq!(lab.respond(&register, 200), Err(RespondError::Final));
    lab.until(32_100);
    assert_eq!(lab.respond(&register, 200), Err(RespondError::Gone));
    lab.assert_empty();
    lab.receive(register);
    assert_eq!(lab.log(), ["32100 Request REGISTER"]);
}

/// RFC 3261 §17.2.1: 100 after 200 ms; repeated INVITEs get the last provisional response.
#[test]
fn an_invite_that_its_user_leaves_alone_gets_100_after_200_ms() {
    let mut lab = Lab::new(udp());
    let invite = incoming("INVITE", "z9hG4bKa");
    lab.receive(invite.clone());
    lab.until(1000);
    lab.receive(invite.clone());
    lab.respond(&invite, 180).unwrap();
    lab.receive(invite.clone());
    assert_eq!(lab.log(), ["0 Request INVITE", "200 > 100", "1000 > 100", "1000 > 180", "1000 > 180"]);
}
