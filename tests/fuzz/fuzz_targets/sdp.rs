//! Session descriptions: as an offer that is answered, and as the answer to an offer of ours.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfork_media::sdp::{Description, Direction, Session, Terms};

fuzz_target!(|bytes: &[u8]| {
    let address = [192, 0, 2, 1].into();
    let mut offering = Session::new(1, address, 20_000);
    offering.make_offer(&Terms::standard());
    let taken = offering.accept_answer(bytes);
    assert_eq!(taken.is_ok(), offering.is_agreed());

    let Ok(offer) = Description::parse(bytes) else { return };
    let mut answering = Session::new(2, address, 20_002);
    let Ok(answer) = answering.make_answer(&offer, &Terms::standard()) else { return };
    let read = Description::parse(&answer).expect("an answer of ours is readable");
    assert_eq!(read.audio().rtp(), Some((address, 20_002).into()));
    assert!(answering.changes_nothing(&offer));
    // What was agreed can be offered on, and a refresh be answered.
    if let Some(terms) = answering.remote_terms() {
        let mut other = Session::new(3, address, 20_004);
        Description::parse(&other.make_offer(&terms)).expect("an offer of ours is readable");
    }
    let _ = answering.answer_ourselves(&offer, Direction::SendRecv);
    let _ = (answering.codecs().count(), answering.g711(), answering.remote_rtp(), answering.on_hold());
});
