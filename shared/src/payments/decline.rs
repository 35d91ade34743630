//! Why a payment was declined, as far as its payer is told.
//!
//! Somebody who tries stolen cards wants to hear `stolen_card` or `fraudulent`: it sorts his cards for him. Stripe's advice is to
//! present those as generic (<https://docs.stripe.com/declines/codes>). So a payer is told the codes that a payer can do something
//! about, and `generic_decline` in the place of any other, also of codes that Stripe adds. The ledger keeps the real one, and
//! `truebond-ops payments show` prints it.
//!
//! A payment that an older version ended has the provider's word in its answer. That answer stays: its payer has heard it, and final
//! answers are the same bytes for good. A `GET` of it is told by this rule.

const GENERIC: &str = "generic_decline";

/// What a payer can do something about: correct what was typed, take another card, ask the bank, or try again later.
const TOLD: [&str; 21] = [
    "authentication_required",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "duplicate_transaction",
    "expired_card",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "issuer_not_available",
    "payment_intent_authentication_failure",
    "processing_error",
    "reenter_transaction",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
];

/// What a payer is told in the place of the provider's code.
pub(super) fn told(code: &str) -> &'static str {
    let told = TOLD.into_iter().find(|told| *told == code);
    told.unwrap_or(GENERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_is_told_what_a_payer_can_do_something_about() {
        for code in TOLD {
            assert_eq!(told(code), code);
        }
        let kept = [
            "stolen_card",
            "lost_card",
            "fraudulent",
            "pickup_card",
            "merchant_blacklist",
            "restricted_card",
            "security_violation",
            "highest_risk_level",
            "do_not_honor",
            "call_issuer",
            "card_declined",
            "generic_decline",
            "a_code_of_next_year",
            "EXPIRED_CARD",
            "",
        ];
        for code in kept {
            assert_eq!(told(code), "generic_decline", "{code}");
        }
    }

    #[test]
    fn the_documentation_lists_them() {
        let document = include_str!("../../../openapi.json");
        let list = TOLD.map(|code| format!("`{code}`")).join(", ");
        assert!(document.contains(&list), "{list}");
    }
}
