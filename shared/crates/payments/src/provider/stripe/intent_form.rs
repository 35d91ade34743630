//! The form that creates an intent, and a digest of that form. The digest is part of the idempotency key that Stripe gets.

use std::collections::BTreeMap;

use foundation::Environment;
use sha2::{Digest, Sha256};

use crate::order::OUR_METADATA;
use crate::stripe_unit::StripeUnit;
use crate::{Order, Payment};

/// The order's amount in Stripe's unit; `None`: Stripe cannot represent the amount.
pub(super) fn amount_of(order: &Order) -> Option<i64> {
    let unit = StripeUnit::of(&order.currency)?;
    unit.to_stripe(order.amount).ok()
}

/// The form of a new intent. Every attempt sends the same form, because Stripe rejects a used idempotency key with another form.
pub(super) fn intent_form(
    payment: &Payment,
    environment: &Environment,
    amount: i64,
) -> Vec<(String, String)> {
    let order = &payment.order;
    let mut form = vec![
        ("amount".to_owned(), amount.to_string()),
        ("currency".to_owned(), order.currency.to_ascii_lowercase()),
        ("payment_method".to_owned(), order.payment_method.clone()),
        ("payment_method_types[0]".to_owned(), "card".to_owned()),
    ];
    let mut metadata: BTreeMap<_, _> = order
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    // The webhook finds the payment by the id, and ignores events of other environments on the same account. An order that an older version
    // accepted may have metadata with these names. Our values overwrite the order's values.
    let [id, of_environment, of_description] = OUR_METADATA;
    let description = order.description.as_deref();
    metadata.extend(description.map(|text| (of_description, text)));
    metadata.insert(id, &payment.id);
    metadata.insert(of_environment, environment.name());
    let metadata = metadata.into_iter();
    form.extend(metadata.map(|(key, value)| (format!("metadata[{key}]"), value.to_owned())));
    form
}

/// A digest of the form, as part of the idempotency key.
///
/// A later version of this code may send another form for the same payment. With the same key, Stripe would reject the other form. So the
/// digest is part of the key: the other form has another key, and creates a second intent. The ledger has only one of the two intents,
/// and only that intent is confirmed.
pub(super) fn digest(form: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (name, value) in form {
        for text in [name, value] {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
    }
    hex::encode(&hash.finalize()[..8])
}
