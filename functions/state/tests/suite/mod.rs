//! The store's suite: what every implementation must do. Each test gets a store of its own, empty.
//!
//! [`store_suite!`] makes a test of each for one implementation.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod bindings;
pub mod calls;
pub mod directory;
pub mod edges;
pub mod lists;
pub mod race;
pub mod recordings;
pub mod samples;

use ringfork_state::{
    Bindings, CallQueries, Calls, Directory, DirectoryAdmin, Edges, Notifications, Reaping, Recordings,
};

/// A whole store.
pub trait Store:
    Directory
    + DirectoryAdmin
    + Bindings
    + Calls
    + CallQueries
    + Notifications
    + Recordings
    + Edges
    + Reaping
    + Clone
    + 'static
{
}

impl<T> Store for T where
    T: Directory
        + DirectoryAdmin
        + Bindings
        + Calls
        + CallQueries
        + Notifications
        + Recordings
        + Edges
        + Reaping
        + Clone
        + 'static
{
}

/// Makes a module of tests over the stores that `$fresh` gives, each with what must outlive it; `None` skips (where a
/// gate is closed).
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $fresh:expr) => {
        $crate::store_suite!(@ $name, $fresh,
            directory::the_account_is_made_once,
            directory::clients_live_by_login_and_sid,
            directory::a_login_is_taken_until_its_client_is_deleted,
            directory::a_change_of_something_changed_meanwhile_is_refused,
            directory::numbers_match_exactly_then_with_or_without_plus,
            directory::an_application_wins_over_the_own_url,
            directory::lists_go_newest_first_page_by_page,
            bindings::a_binding_is_written_under_its_version,
            bindings::a_repeated_write_is_no_conflict,
            bindings::a_former_epoch_writes_nothing,
            bindings::another_edge_takes_a_binding_over,
            bindings::several_bindings_change_together_or_not_at_all,
            bindings::an_edge_loads_its_own,
            bindings::a_very_long_device_key_is_kept,
            calls::a_call_is_written_step_by_step,
            calls::acceptance_answers_the_call,
            calls::each_write_may_be_repeated,
            calls::another_epoch_is_stale,
            calls::a_write_out_of_turn_is_refused,
            calls::events_come_back_as_they_were,
            calls::odd_events_come_back_as_they_were,
            calls::the_dial_before_is_still_known,
            calls::open_calls_are_found_until_settled,
            calls::a_reaper_replaces_under_the_version,
            lists::calls_are_listed_newest_first,
            lists::calls_are_filtered,
            lists::legs_are_listed_by_their_parent,
            lists::notifications_are_listed,
            lists::a_notification_is_kept_once,
            recordings::recordings_are_listed_newest_first,
            recordings::a_recording_ends_once,
            recordings::a_deleted_recording_stays_away,
            edges::each_start_raises_the_epoch,
            edges::a_lease_is_renewed_and_lost,
            edges::only_who_stood_still_is_claimed,
            edges::what_was_left_is_known_until_reaped,
            race::no_conditional_write_is_lost,
            race::one_of_many_gets_the_login,
            race::one_of_many_claims_the_edge,
            race::edge_and_reaper_do_not_overwrite_each_other,
        );
    };
    (@ $name:ident, $fresh:expr, $($module:ident :: $test:ident),* $(,)?) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some((store, _keep)) = $fresh.await {
                        $crate::suite::$module::$test(store).await;
                    }
                }
            )*
        }
    };
}
