//! The reason of a decline, as the payer sees it.
//!
//! `stolen_card` or `fraudulent` helps a thief to sort stolen cards. Stripe advises to present such codes as generic
//! (<https://docs.stripe.com/declines/codes>). So a payer sees the codes on which a payer can act, and `generic_decline` in the place of
//! every other code, also of those that Stripe adds. The ledger keeps the real one, and `truebond-ops payments show` prints it.
//!
//! The final answer of a payment that an older version ended has the provider's code. It stays, because final answers never change. A
//! `GET` of that payment follows this rule.

const GENERIC: &str = "generic_decline";

/// Codes on which a payer can act: correct what was typed, take another card, ask the bank, or try again later.
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

/// The code that a payer sees in the place of the provider's.
pub(super) fn shown(code: &str) -> &'static str {
    let shown = SHOWN.into_iter().find(|shown| *shown == code);
    shown.unwrap_or(GENERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_sees_codes_on_which_a_payer_can_act() {
        for code in SHOWN {
            assert_eq!(shown(code), code);
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
            assert_eq!(shown(code), "generic_decline", "{code}");
        }
    }

    #[test]
    fn the_documentation_lists_them() {
        let document = include_str!("../../../../openapi.json");
        let list = SHOWN.map(|code| format!("`{code}`")).join(", ");
        assert!(document.contains(&list), "{list}");
    }
}
