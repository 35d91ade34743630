//! The function `idempotency`, as a payment function in another language uses it: JSON requests and JSON replies.

use std::time::Duration;

/// Runs every scenario with each store as the authoritative store.
macro_rules! on_every_store {
    ($($scenario:ident)*) => {
        on_every_store!(@memory $($scenario)*);
        on_every_store!(@redis $($scenario)*);
        on_every_store!(@tiered $($scenario)*);
    };
    (@$store:ident $($scenario:ident)*) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario($crate::invoke::caller::Caller::$store().await).await;
                }
            )*
        }
    };
}

/// The longest time that a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(10);

mod caller;
mod examples;
mod outcomes;
mod refusals;
mod resolve;
mod stores;
