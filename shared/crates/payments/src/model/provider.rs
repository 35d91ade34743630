//! The provider: Stripe's PaymentIntents, as <https://docs.stripe.com/payments/paymentintents/lifecycle> describes them.

use super::behaviour::SeenIntent;
use super::row::IntentNumber;
use crate::provider::IntentStatus;

/// The behaviour of the customer's card. If a request fails with this card, a second request succeeds. That is the worst case, because a
/// late copy of a request can then charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Card {
    Charges,
    /// The first confirmation is declined: the intent requires another payment method, and can be confirmed again.
    DeclinesFirst,
    /// The first confirmation is refused, and leaves the intent as it was.
    RefusesFirst,
    /// The first creation is refused.
    RefusesCreationFirst,
    /// The customer has to authenticate (3-D Secure).
    RequiresAction,
    /// The charge is processed asynchronously.
    Processes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Provider {
    pub(super) card: Card,
    pub(super) intents: Vec<Intent>,
    /// The intent that the idempotency key of the creation made; `None` after the provider has pruned the key.
    created: Option<IntentNumber>,
    /// Whether the provider has refused a creation of the intent.
    has_refused_creation: bool,
    /// The number of charges.
    pub(super) charges: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Intent {
    pub(super) status: IntentStatus,
    /// Whether the intent has the order's amount.
    pub(super) fits_order: bool,
    /// Whether the provider has declined the intent at least once.
    is_declined: bool,
    /// Whether a confirmation has reached the intent.
    was_confirmed: bool,
}

/// The status of an HTTP response that has no intent.
pub(super) type HttpStatus = u16;

const REFUSED: HttpStatus = 400;
const DECLINED: HttpStatus = 402;
const MOST_INTENTS: usize = 3;

impl Card {
    pub(super) const ALL: [Self; 6] = [
        Self::Charges,
        Self::DeclinesFirst,
        Self::RefusesFirst,
        Self::RefusesCreationFirst,
        Self::RequiresAction,
        Self::Processes,
    ];
}

impl Provider {
    pub(super) fn new(card: Card) -> Self {
        Self {
            card,
            intents: Vec::new(),
            created: None,
            has_refused_creation: false,
            charges: 0,
        }
    }

    pub(super) fn intent(&self, number: IntentNumber) -> Option<&Intent> {
        self.intents.get(usize::from(number))
    }

    fn intent_mut(&mut self, number: IntentNumber) -> &mut Intent {
        &mut self.intents[usize::from(number)]
    }

    /// A repeated creation gets the response of the first creation, even if the intent has changed since.
    pub(super) fn create(&mut self) -> Result<SeenIntent, HttpStatus> {
        if self.card == Card::RefusesCreationFirst && !self.has_refused_creation {
            self.has_refused_creation = true;
            return Err(REFUSED);
        }
        let number = self
            .created
            .unwrap_or(u8::try_from(self.intents.len()).expect("few"));
        if self.created.is_none() {
            self.created = Some(number);
            self.intents.push(Intent {
                status: IntentStatus::RequiresConfirmation,
                fits_order: true,
                is_declined: false,
                was_confirmed: false,
            });
        }
        Ok(SeenIntent {
            number,
            status: IntentStatus::RequiresConfirmation,
            fits_order: true,
            is_declined: false,
        })
    }

    pub(super) fn confirm(&mut self, number: IntentNumber) -> Result<SeenIntent, HttpStatus> {
        let card = self.card;
        let intent = self.intent_mut(number);
        if !intent.can_be_confirmed() {
            return Err(REFUSED);
        }
        let is_first = !std::mem::replace(&mut intent.was_confirmed, true);
        match card {
            Card::DeclinesFirst if is_first => {
                intent.decline();
                return Err(DECLINED);
            }
            Card::RefusesFirst if is_first => return Err(REFUSED),
            Card::RequiresAction if is_first => intent.status = IntentStatus::RequiresAction,
            Card::Processes if is_first => intent.status = IntentStatus::Processing,
            _ => self.charge(number),
        }
        Ok(self.seen(number))
    }

    pub(super) fn inspect(&self, number: IntentNumber) -> Result<SeenIntent, HttpStatus> {
        Ok(self.seen(number))
    }

    /// Stripe does not cancel an intent whose charge is being processed.
    pub(super) fn cancel(&mut self, number: IntentNumber) -> Result<SeenIntent, HttpStatus> {
        let intent = self.intent_mut(number);
        if !(intent.can_be_confirmed() || intent.status == IntentStatus::RequiresAction) {
            return Err(REFUSED);
        }
        intent.status = IntentStatus::Canceled;
        Ok(self.seen(number))
    }

    /// The customer has authenticated, or the provider has processed the charge.
    pub(super) fn charge(&mut self, number: IntentNumber) {
        self.charges += 1;
        self.intent_mut(number).status = IntentStatus::Succeeded;
    }

    /// The customer has not authenticated, or the charge has failed.
    pub(super) fn decline(&mut self, number: IntentNumber) {
        self.intent_mut(number).decline();
    }

    /// Whether the customer can confirm the intent with another card. The customer's browser has the intent's secret.
    pub(super) fn customer_can_retry(&self, number: IntentNumber) -> bool {
        let status = self.intent(number).map(|intent| intent.status);
        self.card == Card::RequiresAction && status == Some(IntentStatus::RequiresPaymentMethod)
    }

    pub(super) fn can_prune(&self) -> bool {
        self.created.is_some() && self.intents.len() < MOST_INTENTS
    }

    /// The provider forgets the idempotency key of the creation.
    pub(super) fn prune(&mut self) {
        self.created = None;
    }

    /// An operator changes the amount of an intent.
    pub(super) fn misprice(&mut self, number: IntentNumber) {
        self.intent_mut(number).fits_order = false;
    }

    fn seen(&self, number: IntentNumber) -> SeenIntent {
        let intent = &self.intents[usize::from(number)];
        SeenIntent {
            number,
            status: intent.status,
            fits_order: intent.fits_order,
            is_declined: intent.is_declined,
        }
    }
}

impl Intent {
    pub(super) fn can_be_confirmed(&self) -> bool {
        use IntentStatus::{RequiresConfirmation, RequiresPaymentMethod};
        matches!(self.status, RequiresConfirmation | RequiresPaymentMethod)
    }

    /// Whether the intent's amount can change.
    pub(super) fn can_be_mispriced(&self) -> bool {
        let is_open = self.can_be_confirmed() || self.status == IntentStatus::RequiresAction;
        is_open && self.fits_order
    }

    /// Whether the customer or the provider can end the intent without a request of ours.
    pub(super) fn is_under_way(&self) -> bool {
        use IntentStatus::{Processing, RequiresAction};
        matches!(self.status, RequiresAction | Processing)
    }

    fn decline(&mut self) {
        self.status = IntentStatus::RequiresPaymentMethod;
        self.is_declined = true;
    }
}
