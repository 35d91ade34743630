//! Runs the conformance suite on the example store of the documentation. This shows that the documentation is
//! sufficient to write a store.

#[path = "../../../shared/crates/idempotency/examples/own_store.rs"]
#[expect(dead_code, reason = "an example has a main function")]
mod example;

use idempotency::conformance::{Subject, check};
use idempotency::{Idempotency, Setup, Stores};

use self::example::OwnStore;

/// A subject of the conformance suite. Each of its engines uses a store that `open` returns.
fn engines_over(open: impl Fn() -> OwnStore + Send + Sync + 'static) -> Subject {
    Subject::new(move |config| {
        Idempotency::new(Setup {
            config: config.clone(),
            ..Setup::of(Stores::own(open()))
        })
    })
}

fn subject() -> Subject {
    let store = OwnStore::new();
    engines_over(move || store.clone())
}

idempotency::conformance_tests!(subject());

#[tokio::test]
#[should_panic(expected = "a_retry_in_another_process")]
async fn a_store_that_other_processes_do_not_see_breaks_a_law() {
    check(|| engines_over(OwnStore::new)).await;
}
