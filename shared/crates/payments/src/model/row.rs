//! The members of the payment's row on which the steps depend, and the writes to these members.
//!
//! The ledger's [`Change::apply`] decides whether a write is applied, and returns the row after the write. This module
//! translates between the row of the model and the real row.

use std::sync::LazyLock;

use serde_json::json;

use crate::ledger::Change;
use crate::{Payment, State, Timestamp};

/// The number of an intent at the provider.
pub(super) type IntentNumber = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) intent: Option<IntentNumber>,
    pub(super) state: State,
    /// The final response, set once the state is final.
    pub(super) answer: Option<Answer>,
}

/// Stands in for the bytes of a final response. Each actor renders different bytes, because the bytes contain the time.
/// So the author and the state identify the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Answer {
    pub(super) author: usize,
    pub(super) state: State,
}

/// A write that an attempt requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Attach(IntentNumber),
    Move(State),
    Look,
    End(State),
    EndWithoutIntent(State),
}

static TEMPLATE: LazyLock<Payment> = LazyLock::new(|| {
    let order = json!({
        "amount": 1000, "currency": "EUR", "payment_method": "pm_1", "description": null, "metadata": [], "return_url": null,
    });
    Payment {
        id: "pay_1".to_owned(),
        tenant: "local".to_owned(),
        fingerprint: "f".to_owned(),
        state: State::Created,
        order: serde_json::from_value(order).expect("an order"),
        provider: "stripe".to_owned(),
        intent: None,
        livemode: false,
        decline_code: None,
        created_at: Timestamp::EPOCH,
        status_since: Timestamp::EPOCH,
        looked_at: None,
        answer: None,
    }
});

impl Row {
    /// A new payment.
    pub(super) const OPENED: Self = Self {
        intent: None,
        state: State::Created,
        answer: None,
    };

    /// Returns whether the write of this author is applied, and the row afterwards.
    pub(super) fn written(self, write: Write, author: usize) -> (bool, Self) {
        match write
            .change(author)
            .apply(&self.payment(), Timestamp::EPOCH)
        {
            Some(payment) => (true, Self::of(&payment)),
            None => (false, self),
        }
    }

    pub(super) fn payment(self) -> Payment {
        Payment {
            intent: self.intent.map(name_of),
            state: self.state,
            answer: self.answer.map(|answer| answer.author.to_string()),
            ..TEMPLATE.clone()
        }
    }

    pub(super) fn of(payment: &Payment) -> Self {
        let state = payment.state;
        let answer = payment.answer.as_ref().map(|bytes| Answer {
            author: bytes.parse().expect("an author's number"),
            state,
        });
        Self {
            intent: payment.intent.as_deref().map(number_of),
            state,
            answer,
        }
    }

    /// Whether the payment ended as not charged.
    pub(super) fn says_not_charged(self) -> bool {
        matches!(self.state, State::Declined | State::Failed)
    }
}

impl Write {
    pub(super) fn of(change: &Change) -> Self {
        match change {
            Change::Attach { intent, .. } => Self::Attach(number_of(intent)),
            Change::Move(state) => Self::Move(*state),
            Change::Look => Self::Look,
            Change::End(ended) => Self::End(final_state(ended)),
            Change::EndWithoutIntent(ended) => Self::EndWithoutIntent(final_state(ended)),
        }
    }

    fn change(self, author: usize) -> Change {
        let ended = |state| {
            Box::new(Payment {
                state,
                answer: Some(author.to_string()),
                ..TEMPLATE.clone()
            })
        };
        match self {
            Self::Attach(intent) => Change::Attach {
                intent: name_of(intent),
                livemode: false,
            },
            Self::Move(state) => Change::Move(state),
            Self::Look => Change::Look,
            Self::End(state) => Change::End(ended(state)),
            Self::EndWithoutIntent(state) => Change::EndWithoutIntent(ended(state)),
        }
    }
}

/// The state of an ended payment, which has to have a final response.
fn final_state(ended: &Payment) -> State {
    assert!(
        ended.final_response().is_some(),
        "an end has a final response"
    );
    ended.state
}

pub(super) fn name_of(intent: IntentNumber) -> String {
    format!("pi_{intent}")
}

pub(super) fn number_of(name: &str) -> IntentNumber {
    let digits = name.strip_prefix("pi_").expect("an intent's name");
    digits.parse().expect("an intent's number")
}
