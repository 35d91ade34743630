//! What holds over every store, whatever it is made of: the laws, and a way to run them on a store of one's own.
//!
//! Each law is a function whose name says what holds. It is handed a [`Subject`]: a way to open the store, again and again, as other
//! processes would. It panics where the law does not hold. [`conformance_tests!`](crate::conformance_tests) makes one test of each
//! law; [`check`] runs all of them.
//!
//! ```
//! # mod tests {
//! use idempotency::conformance::Subject;
//! use idempotency::{Idempotency, Setup, Stores};
//! # #[derive(Clone)]
//! # struct OwnStore;
//! # impl OwnStore { fn open(_: &str) -> Stores { Stores::memory() } }
//!
//! /// Each engine is another process: it has a connection of its own to the same database.
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
//! The laws take turns of a second where time has to pass, and no key is used twice: they may run side by side, and in one database.
//! Not among them is what needs a fault: that a write which was acknowledged survives a crash of the server, and that a lost reply is
//! recognised. Those are tests of the one store, with its server.

mod claims;
mod ownership;
pub mod payment;
mod results;
mod time;
mod waiting;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;

use crate::{Idempotency, IdempotencyConfig};

/// The store that a law is tried on.
pub struct Subject {
    open: Box<dyn Fn(&IdempotencyConfig) -> Idempotency + Send + Sync>,
    config: IdempotencyConfig,
}

/// A law, by its name.
#[derive(Clone, Copy)]
pub struct Law {
    /// What holds.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(Subject) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Subject {
    /// A store that `open` opens. Each engine that it returns is over the same records, and as independent of the others as one of
    /// another process.
    pub fn new(open: impl Fn(&IdempotencyConfig) -> Idempotency + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            config: IdempotencyConfig::default(),
        }
    }

    fn engine(&self) -> Idempotency {
        (self.open)(&self.config)
    }

    /// The same, where a claim without a deadline has a lease of this length.
    fn with_lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// The same, where what finished counts for so long.
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

/// Tries all laws, one after the other, each on a subject of its own.
///
/// # Panics
///
/// Where a law does not hold, with its name.
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

/// Publishes the laws: as functions, as a list, and as one test each.
macro_rules! laws {
    (($d:tt) $($room:ident: [$($law:ident)*])*) => {
        $( pub use self::$room::{$($law),*}; )*

        /// All laws.
        pub const LAWS: &[Law] = &[
            $($( Law { name: stringify!($law), run: |subject| Box::pin($law(subject)) } ),*),*
        ];

        /// Makes a test of each law. The argument is an expression that makes a [`Subject`](crate::conformance::Subject), anew for each
        /// law; it may `await`. The tests are `tokio`'s, with its feature `macros`.
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
        after_the_retention_the_key_runs_as_new
        a_new_run_starts_clean
        who_slept_through_the_retention_cannot_finish
        what_is_unknown_outlasts_its_lease
    ]
}
