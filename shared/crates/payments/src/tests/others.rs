//! An attempt that the provider turns away, and what others do meanwhile.

use std::fs::{DirEntry, read_dir};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;

use super::{ClientAnswer, NEVER, World, asked, engine};
use crate::ledger::{Change, FileLedger, Ledger};
use crate::provider::{Intent, Provider, ProviderError, Sandbox};
use crate::{Order, Payment, Payments, payment};

/// What others do while a call is on its way.
type Meanwhile = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A provider that turns one kind of call away, and every look, since there were too many requests.
struct Busy {
    inner: Sandbox,
    refused: Call,
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
        match self.refused {
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
        match self.refused {
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

/// An attempt that has created its intent, and froze before it did anything with it.
struct Frozen {
    ledger: FileLedger,
    provider: Sandbox,
    payment: Payment,
    intent: Intent,
}

/// What it does as it thaws.
#[derive(Clone, Copy)]
enum Act {
    Attach,
    Confirm,
}

impl Frozen {
    async fn in_world(world: &World) -> Arc<Self> {
        // Open and create, each with a moment before and one after.
        const CREATED: usize = 3;
        let (victim, request) = (world.process(CREATED), asked("pm_card_visa"));
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
            answer = victim.told(&request) => panic!("it went on: {}", answer.status),
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
    /// A process whose provider turns this call away, while others do something.
    fn turned_away(
        &self,
        refused: Call,
        during_create: Meanwhile,
        during_confirm: Meanwhile,
    ) -> Payments {
        let busy = Busy {
            inner: Sandbox::new(self.folder.path()),
            refused,
            during_create,
            during_confirm,
        };
        Payments {
            provider: Some(Arc::new(busy)),
            ..self.process(NEVER)
        }
    }
}

fn nothing() -> Meanwhile {
    Box::new(|| async {}.boxed())
}

/// Longer than a claim of this world.
async fn until_the_lease_is_over() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

fn assert_not_known(answer: &ClientAnswer, case: &str) {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{case}: {body}");
    assert_eq!(body["status"], "unknown", "{case}");
}

/// Every attempt creates the same intent, so whoever found it attached took it for its own, and said that nothing had been
/// done when its own confirmation was turned away: the one that it had taken over had charged.
#[tokio::test]
async fn what_another_attempt_may_have_charged_is_not_called_nothing() {
    use Act::{Attach, Confirm};
    let cases: [(&str, Call, &[Act], &[Act]); 3] = [
        ("attached before", Call::Confirm, &[Attach], &[Confirm]),
        ("attached after", Call::Confirm, &[], &[Attach, Confirm]),
        ("nothing created", Call::Create, &[Attach, Confirm], &[]),
    ];
    for (case, refused, during_create, during_confirm) in cases {
        let world = World::new(false);
        let frozen = Frozen::in_world(&world).await;
        until_the_lease_is_over().await;
        let heir = world.turned_away(
            refused,
            frozen.thaws(during_create),
            frozen.thaws(during_confirm),
        );

        let told = heir.told(&asked("pm_card_visa")).await;

        assert_eq!(world.charges(), 1, "{case}");
        assert_not_known(&told, case);
        let again = world.process(NEVER);
        let again = again.told(&asked("pm_card_visa")).await;
        assert_eq!(again.status, StatusCode::CREATED, "{case}");
        assert_eq!(world.charges(), 1, "{case}");
    }
}

/// With its claim lost, or forgotten after a retention, nothing but the ledger tells that there is another attempt.
#[tokio::test]
async fn an_attempt_whose_claim_is_lost_may_charge_what_it_has_opened_or_attached() {
    use Act::{Attach, Confirm};
    let cases: [(&str, Call, &[Act], &[Act]); 2] = [
        ("opened", Call::Create, &[Attach, Confirm], &[]),
        ("attached", Call::Confirm, &[Attach], &[Confirm]),
    ];
    for (case, refused, during_create, during_confirm) in cases {
        let mut world = World::new(false);
        let frozen = Frozen::in_world(&world).await;
        world.idempotency = engine();
        let unaware = world.turned_away(
            refused,
            frozen.thaws(during_create),
            frozen.thaws(during_confirm),
        );

        let told = unaware.told(&asked("pm_card_visa")).await;

        assert_eq!(world.charges(), 1, "{case}");
        assert_not_known(&told, case);
    }
}

#[tokio::test]
async fn whoever_was_taken_over_does_not_call_it_nothing() {
    for refused in [Call::Create, Call::Confirm] {
        let world = World::new(false);
        let heir = Arc::new(world.process(NEVER));
        let taken_over = || -> Meanwhile {
            let heir = Arc::clone(&heir);
            Box::new(move || {
                let heir = Arc::clone(&heir);
                async move {
                    until_the_lease_is_over().await;
                    let paid = heir.told(&asked("pm_card_visa")).await;
                    assert_eq!(paid.status, StatusCode::CREATED);
                }
                .boxed()
            })
        };
        let slow = match refused {
            Call::Create => world.turned_away(refused, taken_over(), nothing()),
            Call::Confirm => world.turned_away(refused, nothing(), taken_over()),
        };

        let told = slow.told(&asked("pm_card_visa")).await;

        assert_eq!(world.charges(), 1);
        assert_not_known(&told, "taken over");
    }
}

#[tokio::test]
async fn whoever_is_alone_and_turned_away_has_done_nothing() {
    for refused in [Call::Create, Call::Confirm] {
        let world = World::new(false);
        let alone = world.turned_away(refused, nothing(), nothing());

        let told = alone.told(&asked("pm_card_visa")).await;

        assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(world.charges(), 0);
        let paid = world.process(NEVER);
        let paid = paid.told(&asked("pm_card_visa")).await;
        assert_eq!(paid.status, StatusCode::CREATED);
        assert_eq!(world.charges(), 1);
    }
}
