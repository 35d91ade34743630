//! The provider's state: payment intents with Stripe's state machine, and the charges of each order.
//!
//! The bank counts charges by the order number in the metadata. The hunt writes this number, so the payment functions cannot hide
//! a charge.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use fastrand::Rng;
use serde_json::{Value, json};

use super::retention::Retention;
use super::run::Run;

/// All payment intents and charges of a provider.
pub(super) struct Bank {
    intents: HashMap<String, Intent>,
    /// The executions of each order: its charges, and its declines by direct calls.
    runs: BTreeMap<usize, Vec<Run>>,
    /// The number of charges whose metadata contains no order number.
    strays: usize,
    /// The number of calls of `charge`. The id of an execution contains this number.
    calls: u64,
    /// The requests about each order, with their results, for the report.
    history: HashMap<usize, Vec<(Instant, String)>>,
    /// The first response to each idempotency key. The provider replays this response if the key is used again. The map is
    /// empty if the provider does not remember keys.
    answers: HashMap<String, Answer>,
    /// Whether the provider replays the first response to a repeated key.
    remembers_keys: bool,
    rng: Rng,
}

/// The status and the body of a response.
pub(super) type Answer = (u16, Value);

/// A change of an intent, which the provider reports as an event.
pub(super) struct Change {
    pub(super) kind: &'static str,
    pub(super) intent: Value,
    /// The next action of the intent's customer or bank; `None`: no further action.
    pub(super) next: Option<Next>,
}

/// An action of a customer or a bank at a later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Succeed,
    Fail,
}

struct Intent {
    id: String,
    status: &'static str,
    form: BTreeMap<String, String>,
    confirmations: u32,
    error: Value,
}

pub(super) const SUCCEEDED: &str = "succeeded";
const UNCONFIRMED: &str = "requires_confirmation";
const ACTION: &str = "requires_action";
const PROCESSING: &str = "processing";
const NO_METHOD: &str = "requires_payment_method";
const CANCELED: &str = "canceled";

impl Bank {
    pub(super) fn new(seed: u64, remembers_keys: bool) -> Self {
        Self {
            intents: HashMap::new(),
            runs: BTreeMap::new(),
            strays: 0,
            calls: 0,
            history: HashMap::new(),
            answers: HashMap::new(),
            remembers_keys,
            rng: Rng::with_seed(seed),
        }
    }

    /// The executions of an order: its charges, and its declines by direct calls.
    pub(super) fn runs(&self, order: usize) -> &[Run] {
        self.runs.get(&order).map_or(&[], Vec::as_slice)
    }

    /// The requests about an order, with their results.
    pub(super) fn history(&self, order: usize) -> &[(Instant, String)] {
        self.history.get(&order).map_or(&[], Vec::as_slice)
    }

    /// Records the result of a request about an order.
    pub(super) fn note(&mut self, order: Option<usize>, line: String) {
        if let Some(order) = order {
            let lines = self.history.entry(order).or_default();
            lines.push((Instant::now(), line));
        }
    }

    /// The number of the order that an intent pays for.
    pub(super) fn order_of(&self, intent: &str) -> Option<usize> {
        order_in(&self.intents.get(intent)?.form)
    }

    /// The number of intents, and the number of charges.
    pub(super) fn counts(&self) -> (usize, usize) {
        (
            self.intents.len(),
            self.runs.values().map(|runs| charges(runs).count()).sum(),
        )
    }

    /// The number of charges whose metadata contains no order number.
    pub(super) fn strays(&self) -> usize {
        self.strays
    }

    /// Whether any order was charged twice within the retention.
    pub(super) fn has_charged_twice(&self, retention: Retention) -> bool {
        self.runs
            .values()
            .any(|runs| is_charged_twice(runs, retention))
    }

    /// The stored response to an earlier request with this idempotency key.
    pub(super) fn remembered(&self, key: Option<&str>) -> Option<Answer> {
        self.answers.get(key?).cloned()
    }

    /// Stores the response for later requests with this key, if the provider remembers keys.
    pub(super) fn remember(&mut self, key: Option<&str>, answer: &Answer) {
        if let (Some(key), true) = (key, self.remembers_keys) {
            self.answers.insert(key.to_owned(), answer.clone());
        }
    }

    /// Charges directly, without an intent. The provider does not prevent a second charge of an order. The response contains the
    /// id of the execution and the amount, so every execution has a different response.
    pub(super) fn charge(
        &mut self,
        form: &BTreeMap<String, String>,
        sent: Option<Instant>,
        arrived: Instant,
    ) -> Answer {
        let method = form.get("payment_method").map(String::as_str);
        let is_declined = method == Some("pm_card_chargeDeclined") && self.rng.bool();
        self.calls += 1;
        let id = format!("ch_{:020}", self.calls);
        let amount = form.get("amount").and_then(|text| text.parse::<u32>().ok());
        let run = Run {
            result: id.clone(),
            is_charge: !is_declined,
            sent,
            arrived,
            done: Instant::now(),
        };
        self.book(order_in(form), run);
        match is_declined {
            true => (
                402,
                json!({"id": id, "amount": amount, "error": {"type": "card_error", "code": "card_declined"}}),
            ),
            false => (200, json!({"id": id, "amount": amount, "paid": true})),
        }
    }

    fn book(&mut self, order: Option<usize>, run: Run) {
        match order {
            Some(order) => self.runs.entry(order).or_default().push(run),
            None => self.strays += usize::from(run.is_charge),
        }
    }

    pub(super) fn create(&mut self, form: BTreeMap<String, String>) -> (Answer, Option<Change>) {
        let id = format!("pi_{:020}", self.intents.len());
        let confirms = form.get("confirm").is_some_and(|confirm| confirm == "true");
        let intent = Intent {
            id: id.clone(),
            status: UNCONFIRMED,
            form,
            confirmations: 0,
            error: Value::Null,
        };
        let answer = (200, intent.document());
        self.intents.insert(id.clone(), intent);
        if confirms {
            return self.confirm(&id);
        }
        (answer, None)
    }

    pub(super) fn confirm(&mut self, id: &str) -> (Answer, Option<Change>) {
        let luck = self.rng.bool();
        let Some(intent) = self.intents.get_mut(id) else {
            return (no_such_intent(), None);
        };
        if ![UNCONFIRMED, NO_METHOD].contains(&intent.status) {
            return (intent.unexpected(), None);
        }
        intent.confirmations += 1;
        intent.error = Value::Null;
        let method = intent.form.get("payment_method").map(String::as_str);
        let (status, next) = match method {
            Some("pm_hunt_action") => (
                ACTION,
                self.rng.choice([
                    None,
                    Some(Next::Fail),
                    Some(Next::Succeed),
                    Some(Next::Succeed),
                ]),
            ),
            Some("pm_hunt_processing") => (
                PROCESSING,
                self.rng.choice([Some(Next::Fail), Some(Next::Succeed)]),
            ),
            // The first confirmation is declined. A later confirmation can succeed, because the card can have funds again.
            Some("pm_card_chargeDeclined") if intent.confirmations == 1 || luck => {
                (NO_METHOD, None)
            }
            _ => (SUCCEEDED, None),
        };
        let change = self.turn(id, status, next.flatten());
        let answer = match &self.intents[id] {
            intent if status == NO_METHOD => (
                402,
                json!({"error": {
                    "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                    "payment_intent": intent.document(),
                }}),
            ),
            intent => (200, intent.document()),
        };
        (answer, Some(change))
    }

    pub(super) fn cancel(&mut self, id: &str) -> (Answer, Option<Change>) {
        let Some(intent) = self.intents.get(id) else {
            return (no_such_intent(), None);
        };
        if [SUCCEEDED, CANCELED, PROCESSING].contains(&intent.status) {
            return (intent.unexpected(), None);
        }
        let change = self.turn(id, CANCELED, None);
        ((200, self.intents[id].document()), Some(change))
    }

    pub(super) fn inspect(&self, id: &str) -> Answer {
        match self.intents.get(id) {
            Some(intent) => (200, intent.document()),
            None => no_such_intent(),
        }
    }

    /// Applies the action of a customer or a bank, if the intent still waits for this action.
    pub(super) fn advance(&mut self, id: &str, next: Next) -> Option<Change> {
        let waits = self.intents.get(id)?.status;
        [ACTION, PROCESSING].contains(&waits).then(|| match next {
            Next::Succeed => self.turn(id, SUCCEEDED, None),
            Next::Fail => self.turn(id, NO_METHOD, None),
        })
    }

    fn turn(&mut self, id: &str, status: &'static str, next: Option<Next>) -> Change {
        let intent = self
            .intents
            .get_mut(id)
            .expect("the caller has found the intent");
        intent.status = status;
        if status == NO_METHOD {
            intent.error = json!({"code": "card_declined", "decline_code": "generic_decline"});
        }
        let (document, order) = (intent.document(), order_in(&intent.form));
        if status == SUCCEEDED {
            let now = Instant::now();
            let run = Run {
                result: id.to_owned(),
                is_charge: true,
                sent: None,
                arrived: now,
                done: now,
            };
            self.book(order, run);
        }
        Change {
            kind: match status {
                SUCCEEDED => "payment_intent.succeeded",
                NO_METHOD => "payment_intent.payment_failed",
                CANCELED => "payment_intent.canceled",
                PROCESSING => "payment_intent.processing",
                _ => "payment_intent.requires_action",
            },
            intent: document,
            next,
        }
    }
}

impl Intent {
    fn document(&self) -> Value {
        let metadata: BTreeMap<_, _> = self
            .form
            .iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
                Some((name, value))
            })
            .collect();
        let amount: i64 = self
            .form
            .get("amount")
            .and_then(|amount| amount.parse().ok())
            .unwrap_or_default();
        json!({
            "id": self.id, "object": "payment_intent", "status": self.status, "livemode": false,
            "amount": amount, "currency": self.form.get("currency"), "metadata": metadata,
            "client_secret": format!("{}_secret", self.id), "next_action": null,
            "last_payment_error": self.error,
        })
    }

    fn unexpected(&self) -> Answer {
        (
            400,
            json!({"error": {
                "type": "invalid_request_error", "code": "payment_intent_unexpected_state",
                "payment_intent": self.document(),
            }}),
        )
    }
}

/// The executions that are charges, not declines.
pub(super) fn charges(runs: &[Run]) -> impl Iterator<Item = &Run> {
    runs.iter().filter(|run| run.is_charge)
}

/// Whether an order has a second charge within the retention of its first charge.
pub(super) fn is_charged_twice(runs: &[Run], retention: Retention) -> bool {
    let charges: Vec<_> = charges(runs).collect();
    let mut pairs = charges.iter().enumerate().flat_map(|(number, first)| {
        let later = charges[number + 1..].iter();
        later.map(move |second| (first, second))
    });
    pairs.any(|(first, second)| !retention.separates(first, second))
}

/// The order number that the hunt wrote into the metadata of a request.
pub(super) fn order_in(form: &BTreeMap<String, String>) -> Option<usize> {
    form.get("metadata[order]")?.parse().ok()
}

fn no_such_intent() -> Answer {
    (
        404,
        json!({"error": {"type": "invalid_request_error", "code": "resource_missing"}}),
    )
}
