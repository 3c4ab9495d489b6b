//! Recordings (RCML.md 3.4).

use ringfork_state::{CallSid, Cursor, Page, PageRequest, Recording, RecordingFilter};

use super::Store;
use super::samples::{ACCOUNT, call_sid, now};

fn recording(call: CallSid, seconds_ago: u64, place: u8) -> Recording {
    let created = now() - seconds_ago;
    Recording {
        sid: ringfork_state::sid::new(*b"RE", created, [place; 12]),
        account_sid: ACCOUNT.to_owned(),
        call,
        created_unix_ms: created * 1000,
        updated_unix_ms: created * 1000,
        seconds: None,
    }
}

/// RCML.md 3.4: newest first, page by page, by CallSid.
pub async fn recordings_are_listed_newest_first(store: impl Store) {
    let calls = [call_sid(now() - 5000), call_sid(now() - 5000)];
    let everything = RecordingFilter::default();
    assert_eq!(store.recordings(&everything, &PageRequest::default()).await, Ok(Page::empty()));
    let mut all = Vec::new();
    for place in 0..9_u8 {
        let made = recording(calls[usize::from(place % 2)], 3000 - u64::from(place) * 10, place);
        store.put_recording(&made).await.unwrap();
        all.insert(0, made);
    }
    let page = store.recordings(&everything, &PageRequest { size: 5, cursor: Cursor::Newest }).await.unwrap();
    assert_eq!(page.items, all[..5]);
    let rest = store.recordings(&everything, &PageRequest { size: 5, cursor: page.next.unwrap() }).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&all[5..], None));
    let own = RecordingFilter { call: Some(calls[1]), ..RecordingFilter::default() };
    let own = store.recordings(&own, &PageRequest::default()).await.unwrap();
    assert_eq!(own.items.iter().map(|one| one.call).collect::<Vec<_>>(), [calls[1]; 4]);
    assert_eq!(store.recording(&all[3].sid).await, Ok(Some(all[3].clone())));
    assert_eq!(store.recording("RE1").await, Ok(None));
}

/// The duration is written at the end, once; a repeated beginning changes nothing.
pub async fn a_recording_ends_once(store: impl Store) {
    let made = recording(call_sid(now()), 60, 1);
    store.put_recording(&made).await.unwrap();
    store.end_recording(&made.sid, 7, made.created_unix_ms + 7900).await.unwrap();
    store.end_recording(&made.sid, 9, made.created_unix_ms + 9000).await.unwrap();
    store.put_recording(&made).await.unwrap();
    let ended = Recording { seconds: Some(7), updated_unix_ms: made.created_unix_ms + 7900, ..made };
    assert_eq!(store.recording(&ended.sid).await, Ok(Some(ended.clone())));
}

pub async fn a_deleted_recording_stays_away(store: impl Store) {
    let made = recording(call_sid(now()), 60, 1);
    store.put_recording(&made).await.unwrap();
    assert_eq!(store.delete_recording(&made.sid).await, Ok(true));
    assert_eq!(store.delete_recording(&made.sid).await, Ok(false));
    assert_eq!(store.delete_recording("RE1").await, Ok(false));
    store.end_recording(&made.sid, 7, made.created_unix_ms).await.unwrap();
    assert_eq!(store.recording(&made.sid).await, Ok(None));
    assert_eq!(store.recordings(&RecordingFilter::default(), &PageRequest::default()).await, Ok(Page::empty()));
}
