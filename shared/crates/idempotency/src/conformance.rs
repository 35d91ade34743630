//! Conformance tests for stores. They check the laws that hold for every store. You can run them on your own store.
//!
//! Each law is a function, named after the behaviour. The function takes a [`Subject`], which opens the store several
//! times, like several processes. The function panics if the law does not hold.
//! [`conformance_tests!`](crate::conformance_tests) makes one test of each law. [`check`] runs all laws.
//!
//! ```
//! # mod tests {
//! use idempotency::conformance::Subject;
//! use idempotency::{Idempotency, Setup, Stores};
//! # #[derive(Clone)]
//! # struct OwnStore;
//! # impl OwnStore { fn open(_: &str) -> Stores { Stores::memory() } }
//!
//! /// Each engine acts as another process, with its own connection to the same database.
//! fn subject() -> Subject {
//!     Subject::new(|config| {
//!         Idempotency::new(Setup {
//!             config: config.clone(),
//!             ..Setup::of(OwnStore::open("database-of-this-test"))
//!         })
//!     })
//! }
//!
//! idempotency::conformance_tests!(subject());
//! # }
//! ```
//!
//! A law that needs time to pass waits about one second. Each law uses fresh keys, so the laws can run in parallel and
//! in one database.
//!
//! Two laws are not included, because testing them needs faults. The first law: an acknowledged write survives a server
//! crash. The second law: if a reply is lost and the call is repeated, the store recognises the repeated call. Test
//! these two laws with the server of your store.

mod abandoned;
mod claims;
mod owners;
pub mod payment;
mod resolutions;
mod results;
mod takeovers;
mod time;
mod waiting;
mod work;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;

use crate::{Idempotency, IdempotencyConfig};

/// The store that a law tests.
pub struct Subject {
    open: Box<dyn Fn(&IdempotencyConfig) -> Idempotency + Send + Sync>,
    config: IdempotencyConfig,
}

/// A law and its name.
#[derive(Clone, Copy)]
pub struct Law {
    /// The name, which states the behaviour.
    pub name: &'static str,
    /// Tests the law.
    pub run: fn(Subject) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Subject {
    /// Returns a subject that makes its engines with `open`. All these engines must share the same records. Otherwise
    /// they must be independent, like separate processes.
    pub fn new(open: impl Fn(&IdempotencyConfig) -> Idempotency + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            config: IdempotencyConfig::default(),
        }
    }

    fn engine(&self) -> Idempotency {
        (self.open)(&self.config)
    }

    /// Returns this subject with a lease of this length for claims without a deadline.
    fn with_lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// Returns this subject with this retention.
    fn with_retention(mut self, retention: Duration) -> Self {
        self.config.retention = retention;
        self
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Tests all laws one by one, each on a new subject.
///
/// # Panics
///
/// Panics if a law does not hold. The message contains the name of the law.
pub async fn check(subject: impl Fn() -> Subject) {
    for law in LAWS {
        let tried = AssertUnwindSafe((law.run)(subject())).catch_unwind().await;
        if let Err(panic) = tried {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            panic!("{law:?} does not hold: {}", text.unwrap_or_default());
        }
    }
}

/// Exports each law as a function, and makes the list of all laws. Also defines the macro that makes one test of each
/// law.
macro_rules! laws {
    (($d:tt) $($room:ident: [$($law:ident)*])*) => {
        $( pub use self::$room::{$($law),*}; )*

        /// All laws.
        pub const LAWS: &[Law] = &[
            $($( Law { name: stringify!($law), run: |subject| Box::pin($law(subject)) } ),*),*
        ];

        /// Makes one test of each law. The argument is an expression that makes a new
        /// [`Subject`](crate::conformance::Subject). Each test evaluates the expression once. The expression may
        /// `await`. The tests need `tokio` with its feature `macros`.
        #[macro_export]
        macro_rules! conformance_tests {
            ($d subject:expr) => { $($(
                #[::tokio::test]
                async fn $law() {
                    $d crate::conformance::$law($d subject).await;
                }
            )*)* };
        }
    };
}

laws! { ($)
    results: [
        a_new_key_runs_and_its_result_is_stored
        a_retry_in_another_process_gets_the_same_response
        another_key_or_another_tenant_runs
        formatting_of_json_makes_no_difference
        an_empty_response_is_replayed
        a_final_refusal_is_replayed
        body_and_headers_are_replayed_unchanged
        a_large_response_is_stored_whole_and_a_larger_one_as_a_summary
        a_refusal_before_execution_is_not_stored
    ]
    claims: [
        another_request_under_the_key_is_refused_and_harms_nothing
        another_request_is_refused_while_the_first_one_runs
        of_two_callers_one_runs
        of_a_hundred_callers_one_runs
        a_waiter_gets_the_result
        a_waiter_gives_up_at_its_limit
        a_wait_returns_the_last_state_at_every_limit
        a_waiter_never_runs_anything
        one_operation_may_wait_for_another
        each_claim_has_the_lease_of_its_own_deadline
        without_time_nothing_is_claimed
    ]
    takeovers: [
        a_crashed_owner_is_taken_over_under_rerun
        a_crashed_owner_leaves_unknown_under_at_most_once
        the_stricter_policy_decides
        an_abandoned_attempt_is_taken_over_once
        two_crashes_in_a_row_block_no_later_attempt
        a_finished_owner_is_not_taken_over
        an_overdue_owner_may_complete_without_a_takeover
        an_attempt_that_was_taken_over_cannot_complete
        an_attempt_that_was_taken_over_cannot_release
        a_release_after_a_takeover_does_not_cover_the_first_attempt
        the_next_attempt_gets_the_checkpoint
        a_takeover_needs_a_provider_that_recognises_the_key
    ]
    work: [
        a_release_lets_the_next_one_run
        the_caller_receives_the_failure_of_its_work
        a_failure_with_possible_effect_leaves_unknown
        work_that_overruns_leaves_unknown
        work_that_renews_its_lease_continues
        a_renewed_lease_lasts
    ]
    resolutions: [
        a_resolved_result_is_replayed_to_every_caller
        a_resolution_supersedes_the_owner
        nothing_is_released_over_a_running_lease
        a_resolution_applies_only_to_the_seen_record
        a_completed_key_cannot_be_resolved
    ]
    owners: [
        the_derived_key_is_the_same_for_every_attempt
        an_attempt_continues_in_another_process
        a_repeated_claim_has_what_is_left_of_its_lease
        an_owner_that_is_used_for_two_requests_is_refused
    ]
    time: [
        after_the_retention_the_key_is_free
        a_run_after_the_retention_starts_clean
        an_attempt_frozen_past_the_retention_cannot_finish
        an_unknown_key_outlasts_its_lease
    ]
}
