//! The provider rejects requests of an attempt because of its rate limit, while another attempt acts on the same payment.

use std::fs::{DirEntry, read_dir};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;

use super::{ClientAnswer, NEVER, World, engine, request};
use crate::ledger::{Change, FileLedger, Ledger};
use crate::provider::{Intent, Provider, ProviderError, Sandbox};
use crate::{Order, Payment, Payments, payment};

/// What another attempt does during a call.
type Meanwhile = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A provider that answers all calls of one kind, and every inspection, with "too many requests".
struct Busy {
    inner: Sandbox,
    limited: Call,
    during_create: Meanwhile,
    during_confirm: Meanwhile,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Create,
    Confirm,
}

const TOO_MANY: ProviderError = ProviderError::NotProcessed("too_many_requests");

#[async_trait]
impl Provider for Busy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let created = self.inner.create(payment, key, deadline).await;
        (self.during_create)().await;
        match self.limited {
            Call::Create => Err(TOO_MANY),
            Call::Confirm => created,
        }
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        (self.during_confirm)().await;
        match self.limited {
            Call::Confirm => Err(TOO_MANY),
            Call::Create => self.inner.confirm(intent, order, deadline).await,
        }
    }

    async fn inspect(&self, _: &str, _: Deadline) -> Result<Intent, ProviderError> {
        Err(TOO_MANY)
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        self.inner.cancel(intent, deadline).await
    }
}

/// An attempt that froze after it created its intent.
struct Frozen {
    ledger: FileLedger,
    provider: Sandbox,
    payment: Payment,
    intent: Intent,
}

/// What the frozen attempt does when it continues.
#[derive(Clone, Copy)]
enum Act {
    Attach,
    Confirm,
}

impl Frozen {
    async fn in_world(world: &World) -> Arc<Self> {
        // The number of the crash point after the creation. Opening the row and creating the intent each have one point before and one
        // point after.
        const CREATED: usize = 3;
        let (victim, request) = (world.process(CREATED), request("pm_card_visa"));
        let created = async {
            let is_intent = |file: DirEntry| file.path().extension() == Some("json".as_ref());
            let folder = world.folder.path().join("sandbox");
            while !read_dir(&folder)
                .is_ok_and(|mut files| files.any(|file| file.is_ok_and(is_intent)))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = victim.answer(&request) => panic!("it did not freeze: {}", answer.status),
            () = created => {}
        }

        let key = world.key();
        let (ledger, provider) = (
            FileLedger::new(world.folder.path()),
            Sandbox::new(world.folder.path()),
        );
        let id = payment::id_of(&key);
        let found = ledger.read(&id, Deadline::UNKNOWN).await;
        let payment = found.expect("readable").expect("a payment");
        let key = key.step("create intent");
        let created = provider.create(&payment, key.as_str(), Deadline::UNKNOWN);
        Arc::new(Self {
            intent: created.await.expect("the same intent"),
            ledger,
            provider,
            payment,
        })
    }

    fn thaws(self: &Arc<Self>, acts: &'static [Act]) -> Meanwhile {
        let frozen = Arc::clone(self);
        Box::new(move || {
            let frozen = Arc::clone(&frozen);
            async move { frozen.acts(acts).await }.boxed()
        })
    }

    async fn acts(&self, acts: &[Act]) {
        for act in acts {
            match act {
                Act::Attach => {
                    let attach = Change::Attach {
                        intent: self.intent.id.clone(),
                        livemode: false,
                    };
                    let changing = self
                        .ledger
                        .change(&self.payment, &attach, Deadline::UNKNOWN);
                    changing.await.expect("a ledger");
                }
                Act::Confirm => {
                    let (id, order) = (&self.intent.id, &self.payment.order);
                    let confirming = self.provider.confirm(id, order, Deadline::UNKNOWN);
                    assert!(confirming.await.is_ok(), "it charges");
                }
            }
        }
    }
}

impl World {
    /// A process whose provider rejects this call because of its rate limit, while another attempt acts.
    fn rate_limited(
        &self,
        limited: Call,
        during_create: Meanwhile,
        during_confirm: Meanwhile,
    ) -> Payments {
        let busy = Busy {
            inner: Sandbox::new(self.folder.path()),
            limited,
            during_create,
            during_confirm,
        };
        self.process_with(busy)
    }
}

fn nothing() -> Meanwhile {
    Box::new(|| async {}.boxed())
}

/// Waits longer than a lease in these tests.
async fn until_the_lease_is_over() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

fn assert_unknown(answer: &ClientAnswer, case: &str) {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{case}: {body}");
    assert_eq!(body["status"], "unknown", "{case}");
}

/// Regression: the provider rejected a request of an attempt because of its rate limit, and the attempt answered that nothing was done. But
/// this attempt had taken over the key of an earlier attempt, and that earlier attempt had charged. Every attempt creates the same intent.
/// So the later attempt assumed that it had attached the intent itself.
#[tokio::test]
async fn a_takeover_answers_unknown_if_the_other_attempt_may_have_charged() {
    use Act::{Attach, Confirm};
    let cases: [(&str, Call, &[Act], &[Act]); 3] = [
        ("attached before", Call::Confirm, &[Attach], &[Confirm]),
        ("attached after", Call::Confirm, &[], &[Attach, Confirm]),
        ("nothing created", Call::Create, &[Attach, Confirm], &[]),
    ];
    for (case, limited, during_create, during_confirm) in cases {
        let world = World::new(false);
        let frozen = Frozen::in_world(&world).await;
        until_the_lease_is_over().await;
        let successor = world.rate_limited(
            limited,
            frozen.thaws(during_create),
            frozen.thaws(during_confirm),
        );

        let answer = successor.answer(&request("pm_card_visa")).await;

        assert_eq!(world.charges(), 1, "{case}");
        assert_unknown(&answer, case);
        let again = world.process(NEVER);
        let again = again.answer(&request("pm_card_visa")).await;
        assert_eq!(again.status, StatusCode::CREATED, "{case}");
        assert_eq!(world.charges(), 1, "{case}");
    }
}

/// If the record of a claim is lost, or expired after the retention, only the ledger shows that another attempt exists.
#[tokio::test]
async fn an_attempt_answers_unknown_if_an_attempt_with_a_lost_claim_may_charge() {
    use Act::{Attach, Confirm};
    let cases: [(&str, Call, &[Act], &[Act]); 2] = [
        ("opened", Call::Create, &[Attach, Confirm], &[]),
        ("attached", Call::Confirm, &[Attach], &[Confirm]),
    ];
    for (case, limited, during_create, during_confirm) in cases {
        let mut world = World::new(false);
        let frozen = Frozen::in_world(&world).await;
        world.idempotency = engine();
        let unaware = world.rate_limited(
            limited,
            frozen.thaws(during_create),
            frozen.thaws(during_confirm),
        );

        let answer = unaware.answer(&request("pm_card_visa")).await;

        assert_eq!(world.charges(), 1, "{case}");
        assert_unknown(&answer, case);
    }
}

#[tokio::test]
async fn an_attempt_that_was_taken_over_answers_unknown() {
    for limited in [Call::Create, Call::Confirm] {
        let world = World::new(false);
        let successor = Arc::new(world.process(NEVER));
        let taken_over = || -> Meanwhile {
            let successor = Arc::clone(&successor);
            Box::new(move || {
                let successor = Arc::clone(&successor);
                async move {
                    until_the_lease_is_over().await;
                    let paid = successor.answer(&request("pm_card_visa")).await;
                    assert_eq!(paid.status, StatusCode::CREATED);
                }
                .boxed()
            })
        };
        let slow = match limited {
            Call::Create => world.rate_limited(limited, taken_over(), nothing()),
            Call::Confirm => world.rate_limited(limited, nothing(), taken_over()),
        };

        let answer = slow.answer(&request("pm_card_visa")).await;

        assert_eq!(world.charges(), 1);
        assert_unknown(&answer, "taken over");
    }
}

#[tokio::test]
async fn a_sole_attempt_that_is_rate_limited_answers_that_nothing_was_done() {
    for limited in [Call::Create, Call::Confirm] {
        let world = World::new(false);
        let alone = world.rate_limited(limited, nothing(), nothing());

        let answer = alone.answer(&request("pm_card_visa")).await;

        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(world.charges(), 0);
        let paid = world.process(NEVER);
        let paid = paid.answer(&request("pm_card_visa")).await;
        assert_eq!(paid.status, StatusCode::CREATED);
        assert_eq!(world.charges(), 1);
    }
}
