//! Computes the next request of a run from the replies so far, with the real [`Attempt`].
//!
//! The ledger and the provider of a run give the replies of a script. After the last reply of the script, the run stops at the request that
//! has no reply. That request is the run's next request. In this way, the model uses the real steps. The next request depends only on the
//! start and the replies. So the request is computed once for each combination of start and replies.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use futures_util::FutureExt;
use idempotency::{DerivedKey, Idempotency, IdempotencyKey, RecordKey, Scope};
use parking_lot::{Mutex, RwLock};
use telemetry::metrics::Metrics;

use super::row::{IntentNumber, Row, Write, name_of, number_of};
use crate::anomaly::Anomalies;
use crate::ledger::{Change, ChangeResult, Ledger, LedgerError, OpenPayments, Queue};
use crate::provider::{Intent, IntentStatus, PaymentError, Provider, ProviderError};
use crate::service::PaymentService;
use crate::steps::{Attempt, AttemptOutcome, ConcurrentAttempt, Purpose};
use crate::{Order, Payment, Timestamp};

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Start {
    pub(super) role: Role,
    pub(super) purpose: Purpose,
    /// The row as the run has read it.
    pub(super) row: Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// A client's attempt.
    Client(ConcurrentAttempt),
    /// A run of the reconciler, or of a webhook event.
    Reconciler,
}

/// A request that a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Create,
    Confirm(IntentNumber),
    Cancel(IntentNumber),
    Inspect(IntentNumber),
    Write(Write),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    Intent(SeenIntent),
    Failed(ErrorKind),
    /// The ledger's reply to a write.
    Row {
        /// Whether the write was applied.
        fits: bool,
        /// The row after the write.
        row: Row,
    },
    /// The ledger did not answer.
    Unavailable,
}

/// An intent in a reply of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeenIntent {
    pub(super) number: IntentNumber,
    pub(super) status: IntentStatus,
    /// Whether the intent has the order's amount.
    pub(super) fits_order: bool,
    /// Whether the provider has declined the intent at least once.
    pub(super) is_declined: bool,
}

/// A [`ProviderError`] without the code of its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ErrorKind {
    NotProcessed,
    Rejected,
    OutcomeUnknown,
}

/// What a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Request(Request),
    Ended(Row),
    Pending(Row),
    Nothing,
}

/// The index of a point in `Runs::points`: a run that stopped at a request or at its end.
pub(super) type Node = usize;

/// All runs so far.
#[derive(Default)]
struct Runs {
    starts: HashMap<Start, Node>,
    points: Vec<Point>,
}

struct Point {
    start: Start,
    replies: Vec<Reply>,
    next: Next,
    after: HashMap<Reply, Node>,
}

static RUNS: LazyLock<RwLock<Runs>> = LazyLock::new(RwLock::default);

static KEY: LazyLock<DerivedKey> = LazyLock::new(|| {
    let scope = Scope::http("payments.create", "local").expect("a scope");
    let key = IdempotencyKey::parse("k-1").expect("a key");
    Idempotency::in_memory().derived_key(&RecordKey::new(&scope, &key))
});

/// Returns the run with this start.
pub(super) fn begin(start: Start) -> Node {
    if let Some(node) = RUNS.read().starts.get(&start) {
        return *node;
    }
    let next = run(start, &[]);
    let mut runs = RUNS.write();
    let fresh = runs.points.len();
    let node = *runs.starts.entry(start).or_insert(fresh);
    if node == fresh {
        runs.points.push(Point::new(start, Vec::new(), next));
    }
    node
}

/// Returns the run of `node`, continued by this reply.
pub(super) fn receive(node: Node, reply: Reply) -> Node {
    let (start, replies) = {
        let runs = RUNS.read();
        let point = &runs.points[node];
        if let Some(after) = point.after.get(&reply) {
            return *after;
        }
        let replies = point.replies.iter().copied().chain([reply]);
        (point.start, replies.collect::<Vec<_>>())
    };
    let next = run(start, &replies);
    let mut runs = RUNS.write();
    let fresh = runs.points.len();
    let after = *runs.points[node].after.entry(reply).or_insert(fresh);
    if after == fresh {
        runs.points.push(Point::new(start, replies, next));
    }
    after
}

pub(super) fn next(node: Node) -> Next {
    RUNS.read().points[node].next
}

fn run(start: Start, replies: &[Reply]) -> Next {
    let script = Arc::new(Script {
        replies: Mutex::new(Vec::from(replies).into_iter()),
        pending: Mutex::new(None),
    });
    let service = PaymentService {
        ledger: Arc::clone(&script) as Arc<dyn Ledger>,
        provider: Arc::clone(&script) as Arc<dyn Provider>,
        anomalies: Anomalies::new(Metrics::off()),
        // The purpose comes from `start`, not from the payment's age.
        cancel_after: Duration::MAX,
    };
    let attempt = |concurrent| Attempt::new(&service, start.purpose, concurrent, Deadline::UNKNOWN);
    let payment = start.row.payment();
    let reached = match start.role {
        Role::Client(concurrent) => attempt(concurrent)
            .pay(payment, &KEY)
            .map(|outcome| match outcome {
                AttemptOutcome::Ended(payment) => Next::Ended(Row::of(&payment)),
                AttemptOutcome::Pending(payment, _) => Next::Pending(Row::of(&payment)),
                AttemptOutcome::NothingDone(_) => Next::Nothing,
            })
            .now_or_never(),
        Role::Reconciler => attempt(ConcurrentAttempt::Possible)
            .reconcile(payment)
            .map(|reconciled| {
                let row = Row::of(&reconciled.payment);
                match row.state.is_open() {
                    true => Next::Pending(row),
                    false => Next::Ended(row),
                }
            })
            .now_or_never(),
    };
    assert!(
        script.replies.lock().next().is_none(),
        "a reply was left over"
    );
    reached.unwrap_or_else(|| {
        let pending = script.pending.lock().take();
        Next::Request(pending.expect("a run waits for a reply"))
    })
}

impl Point {
    fn new(start: Start, replies: Vec<Reply>, next: Next) -> Self {
        Self {
            start,
            replies,
            next,
            after: HashMap::new(),
        }
    }
}

/// A ledger and a provider that give the replies of a script.
struct Script {
    /// The replies that the run has not received yet.
    replies: Mutex<std::vec::IntoIter<Reply>>,
    /// The request that the run makes after the last reply.
    pending: Mutex<Option<Request>>,
}

impl Script {
    async fn request(&self, request: Request) -> Reply {
        let reply = self.replies.lock().next();
        match reply {
            Some(reply) => reply,
            None => {
                *self.pending.lock() = Some(request);
                std::future::pending().await
            }
        }
    }

    async fn request_provider(
        &self,
        request: Request,
        order: &Order,
    ) -> Result<Intent, ProviderError> {
        match self.request(request).await {
            Reply::Intent(seen) => Ok(seen.intent(order)),
            Reply::Failed(ErrorKind::NotProcessed) => Err(ProviderError::NotProcessed("scripted")),
            Reply::Failed(ErrorKind::Rejected) => Err(ProviderError::Rejected("scripted")),
            Reply::Failed(ErrorKind::OutcomeUnknown) => {
                Err(ProviderError::OutcomeUnknown("scripted"))
            }
            reply => panic!("{reply:?} is no reply to {request:?}"),
        }
    }
}

impl SeenIntent {
    fn intent(self, order: &Order) -> Intent {
        let declined = || PaymentError {
            code: Some("card_declined".to_owned()),
            decline_code: Some("generic_decline".to_owned()),
        };
        Intent {
            id: name_of(self.number),
            status: self.status,
            amount: order.amount + i64::from(!self.fits_order),
            currency: order.currency.to_ascii_lowercase(),
            livemode: false,
            client_secret: None,
            next_action: None,
            last_payment_error: self.is_declined.then(declined),
        }
    }
}

impl From<ProviderError> for ErrorKind {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::NotProcessed(_) => Self::NotProcessed,
            ProviderError::Rejected(_) => Self::Rejected,
            ProviderError::OutcomeUnknown(_) => Self::OutcomeUnknown,
        }
    }
}

#[async_trait]
impl Provider for Script {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn create(
        &self,
        payment: &Payment,
        _: &str,
        _: Deadline,
    ) -> Result<Intent, ProviderError> {
        self.request_provider(Request::Create, &payment.order).await
    }

    async fn confirm(&self, id: &str, order: &Order, _: Deadline) -> Result<Intent, ProviderError> {
        self.request_provider(Request::Confirm(number_of(id)), order)
            .await
    }

    async fn inspect(&self, id: &str, _: Deadline) -> Result<Intent, ProviderError> {
        let order = Row::OPENED.payment().order;
        self.request_provider(Request::Inspect(number_of(id)), &order)
            .await
    }

    async fn cancel(&self, id: &str, _: Deadline) -> Result<Intent, ProviderError> {
        let order = Row::OPENED.payment().order;
        self.request_provider(Request::Cancel(number_of(id)), &order)
            .await
    }
}

#[async_trait]
impl Ledger for Script {
    async fn change(
        &self,
        _: &Payment,
        change: &Change,
        _: Deadline,
    ) -> Result<ChangeResult, LedgerError> {
        match self.request(Request::Write(Write::of(change))).await {
            Reply::Row { fits: true, row } => Ok(ChangeResult::Applied(row.payment())),
            Reply::Row { fits: false, row } => Ok(ChangeResult::Conflict(row.payment())),
            Reply::Unavailable => Err(LedgerError::Unavailable("scripted")),
            reply => panic!("{reply:?} is no reply to {change:?}"),
        }
    }

    async fn open(&self, _: &Payment, _: Deadline) -> Result<Payment, LedgerError> {
        unreachable!("a run begins with an open payment")
    }

    async fn read(&self, _: &str, _: Deadline) -> Result<Option<Payment>, LedgerError> {
        unreachable!("a run begins with a payment that was read")
    }

    async fn open_payments(&self, _: Queue, _: Deadline) -> Result<OpenPayments, LedgerError> {
        unreachable!("a run has one payment")
    }

    async fn count_open(&self, _: Timestamp, _: Deadline) -> Result<u64, LedgerError> {
        unreachable!("a run has one payment")
    }

    async fn prepare(&self, _: Deadline) -> Result<(), LedgerError> {
        unreachable!("a run needs no index")
    }
}
