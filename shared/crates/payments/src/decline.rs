//! The decline code that a payer sees.
//!
//! A code such as `stolen_card` or `fraudulent` would help a thief to sort stolen cards. Stripe advises merchants to present such codes as
//! generic (<https://docs.stripe.com/declines/codes>). So a payer sees only the codes on which a payer can act. Every other code is shown
//! as `generic_decline`, even a code that Stripe adds later. The ledger keeps the real code, and `truebond-ops payments show` prints it.
//!
//! Older versions of the backend put the provider's code into the final response. Such a response keeps the provider's code, because final
//! responses never change. A `GET` of such a payment shows the code by the rule above.

const GENERIC: &str = "generic_decline";

/// Codes on which a payer can act: correct the input, use another card, ask the bank, or try again later.
const SHOWN: [&str; 21] = [
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

/// Returns the code to show to a payer in place of the provider's code.
pub(super) fn shown(code: &str) -> &'static str {
    let shown = SHOWN.into_iter().find(|shown| *shown == code);
    shown.unwrap_or(GENERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_sees_only_codes_on_which_a_payer_can_act() {
        for code in SHOWN {
            assert_eq!(shown(code), code);
        }
        let hidden = [
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
        for code in hidden {
            assert_eq!(shown(code), "generic_decline", "{code}");
        }
    }

    #[test]
    fn openapi_lists_the_codes_that_a_payer_sees() {
        let document = include_str!("../../../../openapi.json");
        let list = SHOWN.map(|code| format!("`{code}`")).join(", ");
        assert!(document.contains(&list), "{list}");
    }
}
