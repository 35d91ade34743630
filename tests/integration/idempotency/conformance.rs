//! The suite, run on every store. A store is one line here, a scenario another one.

use super::stage::Stage;
use super::{claims, ownership, results, time};

/// Runs every scenario on every store.
macro_rules! suite {
    ([$($store:ident)*] $scenarios:tt) => { $( suite!(@store $store $scenarios); )* };
    (@store $store:ident { $($room:ident: [$($scenario:ident)*])* }) => {
        mod $store {
            use super::*;
            $($(
                #[tokio::test]
                async fn $scenario() {
                    $room::$scenario(Stage::$store().await).await;
                }
            )*)*
        }
    };
}

suite! {
    [memory own redis redis_behind_memory redis_cluster mongodb tiered] {
        results: [
            a_new_key_runs_and_its_result_is_kept
            a_repetition_elsewhere_gets_the_same_answer
            another_key_or_another_tenant_runs
            how_the_json_is_written_makes_no_difference
            an_empty_answer_is_an_answer
            a_final_refusal_is_replayed
            bytes_and_headers_come_back_as_they_were
            a_large_answer_is_kept_whole_and_a_larger_one_as_a_summary
            what_happened_before_execution_is_not_kept
        ]
        claims: [
            another_request_under_the_key_is_refused_and_harms_nothing
            another_request_is_refused_while_the_first_is_at_work
            of_two_callers_one_runs
            of_a_hundred_callers_one_runs
            a_waiter_gets_the_result
            a_waiter_gives_up_at_its_limit
            a_waiter_says_how_the_key_stood_whatever_its_limit
            a_waiter_never_runs_anything
            one_operation_may_wait_for_another
            each_claim_has_the_lease_of_its_own_deadline
            without_time_nothing_is_claimed
        ]
        ownership: [
            a_dead_owner_is_taken_over_under_rerun
            a_dead_owner_leaves_unknown_under_at_most_once
            the_stricter_policy_decides
            an_orphan_is_taken_over_once
            two_deaths_in_a_row_block_nobody
            a_finished_owner_is_not_taken_over
            an_overdue_owner_nobody_took_over_may_complete
            who_was_taken_over_cannot_complete
            who_was_taken_over_cannot_release
            a_release_lets_the_next_one_run
            a_release_after_a_takeover_is_not_the_first_ones_word
            a_failure_is_what_the_caller_hears
            what_may_have_happened_is_unknown
            work_that_overruns_is_unknown
            work_that_renews_its_lease_goes_on
            a_renewed_lease_lasts
            the_next_attempt_gets_the_checkpoint
            a_takeover_needs_a_provider_that_remembers
            a_settled_result_is_everybodys_answer
            a_settlement_supersedes_the_owner
            nothing_is_released_over_a_running_lease
            a_settlement_holds_for_what_was_seen
            a_completed_result_cannot_be_settled
            the_derived_key_is_the_same_for_every_attempt
            an_attempt_goes_on_elsewhere
            a_repeated_claim_has_what_is_left_of_its_lease
            an_owner_that_is_used_for_two_requests_is_refused
        ]
        time: [
            after_the_window_the_key_runs_as_new
            a_new_run_starts_clean
            who_slept_through_the_window_cannot_finish
            what_is_unknown_does_not_expire_with_the_window
        ]
    }
}
