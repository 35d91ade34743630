//! The unit of amounts at Stripe. For some currencies, this unit is not the minor unit of ISO 4217.
//!
//! Our amounts are in minor units of ISO 4217, from the request to the ledger. Only requests to Stripe and replies from Stripe use
//! Stripe's unit. Sending an amount in the wrong unit would charge a hundred times too much or too little. So each amount is
//! converted exactly or rejected.
//!
//! | currencies | ISO 4217 counts | Stripe counts |
//! |---|---|---|
//! | most | hundredths | hundredths |
//! | JPY and others ([`WHOLE`]) | whole units | whole units |
//! | BHD, JOD, KWD, OMR, TND | thousandths | thousandths, and the last digit is 0 |
//! | MGA | hundredths | whole units |
//! | ISK, UGX | whole units | hundredths, always `00` |
//! | IQD, LYD; funds (CLF, UYW) and metals (XAU) | | no documented unit |
//!
//! Stripe's page also lists UGX among the whole units. But the same page has a special case for charges in UGX. So
//! this module follows the special case. The page has special rules for HUF and TWD, but only for payouts, which this backend does not
//! make. Stripe rejects currencies that an account cannot charge.
//!
//! Source: <https://docs.stripe.com/currencies>. The current page does not mention thousandths; the rule for them is from the page in
//! the year 2022.

use iso_currency::{Currency, Flag};

/// Stripe's unit of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StripeUnit {
    /// The minor unit of ISO 4217.
    Minor,
    /// The minor unit of ISO 4217, in multiples of 10.
    MinorInTens,
    /// A hundred minor units of ISO 4217.
    Hundred,
    /// A hundredth of the minor unit of ISO 4217.
    Hundredth,
}

/// Currencies that ISO 4217 and Stripe count in whole units.
const WHOLE: [&str; 14] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// The largest amount in Stripe's unit. Stripe's API reference allows eight digits; the page on currencies allows more for most cards.
const LARGEST: i64 = 99_999_999;

impl StripeUnit {
    /// Returns Stripe's unit for the currency with this ISO 4217 code, in upper or lower case. Returns `None` if Stripe
    /// documents no unit for the currency.
    pub(crate) fn of(code: &str) -> Option<Self> {
        let code = code.to_ascii_uppercase();
        let currency = Currency::from_code(&code)?;
        let is_money = |flag: &Flag| !matches!(flag, Flag::Fund | Flag::Special);
        if !currency.flags().iter().all(is_money) {
            return None;
        }
        match (currency.exponent()?, code.as_str()) {
            (2, "MGA") => Some(Self::Hundred),
            (2, _) => Some(Self::Minor),
            (0, "ISK" | "UGX") => Some(Self::Hundredth),
            (0, code) if WHOLE.contains(&code) => Some(Self::Minor),
            (3, code) if THOUSANDTHS.contains(&code) => Some(Self::MinorInTens),
            _ => None,
        }
    }

    /// Converts an amount in minor units of ISO 4217 to Stripe's unit.
    ///
    /// # Errors
    ///
    /// If Stripe cannot represent this amount: a text that describes the accepted amounts.
    pub(crate) fn to_stripe(self, amount: i64) -> Result<i64, &'static str> {
        let (amount, accepted) = match self {
            Self::Minor => (Some(amount), "a whole number from 1 to 99999999"),
            Self::MinorInTens => (
                (amount % 10 == 0).then_some(amount),
                "a multiple of 10 in this currency",
            ),
            Self::Hundred => (
                (amount % 100 == 0).then_some(amount / 100),
                "a multiple of 100 in this currency",
            ),
            Self::Hundredth => (amount.checked_mul(100), "at most 999999 in this currency"),
        };
        amount
            .filter(|amount| (1..=LARGEST).contains(amount))
            .ok_or(accepted)
    }

    /// Converts an amount in Stripe's unit to minor units of ISO 4217; `None`: the result is not a whole number.
    pub(crate) fn to_minor(self, amount: i64) -> Option<i64> {
        match self {
            Self::Minor | Self::MinorInTens => Some(amount),
            Self::Hundred => amount.checked_mul(100),
            Self::Hundredth => (amount % 100 == 0).then_some(amount / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every currency code of ISO 4217, and its currency.
    fn all() -> impl Iterator<Item = (String, Currency)> {
        let letters = || b'A'..=b'Z';
        let codes = letters()
            .flat_map(move |a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
        codes.filter_map(|code| {
            let code = String::from_utf8(code.to_vec()).expect("letters");
            let currency = Currency::from_code(&code)?;
            Some((code, currency))
        })
    }

    /// The number of decimal digits at Stripe. This list is independent of the code under test.
    fn stripe_digits(code: &str) -> u32 {
        match code {
            "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF"
            | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }

    #[test]
    fn a_currency_without_a_documented_unit_has_none() {
        let none: Vec<_> = all()
            .map(|(code, _)| code)
            .filter(|code| StripeUnit::of(code).is_none())
            .collect();
        let expected = [
            "BOV", "CHE", "CHW", "CLF", "COU", "IQD", "LYD", "MXV", "USN", "UYI", "UYW", "XAD",
            "XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA",
            "XXX",
        ];
        assert_eq!(none, expected.map(str::to_owned));
        assert_eq!(StripeUnit::of("ZZZ"), None);
        assert_eq!(StripeUnit::of(""), None);
    }

    #[test]
    fn an_amount_has_the_same_value_at_stripe_in_every_currency() {
        let amounts = [1, 5, 10, 99, 100, 1_005, 5_000, 10_000, 999_999, LARGEST];
        let mut units = 0;
        for (code, currency) in all() {
            let Some(unit) = StripeUnit::of(&code) else {
                continue;
            };
            units += 1;
            let ours = u32::from(currency.exponent().expect("digits"));
            for amount in amounts {
                let Ok(stripes) = unit.to_stripe(amount) else {
                    continue;
                };
                let (ours, theirs) = (10_i64.pow(ours), 10_i64.pow(stripe_digits(&code)));
                assert_eq!(amount * theirs, stripes * ours, "{amount} {code}");
                assert_eq!(unit.to_minor(stripes), Some(amount), "{amount} {code}");
            }
            assert!(unit.to_stripe(100).is_ok(), "{code}");
            assert_eq!(StripeUnit::of(&code.to_lowercase()), Some(unit));
        }
        assert!(units > 150, "{units}");
    }

    #[test]
    fn special_currencies_follow_stripes_documentation() {
        let cases = [
            ("EUR", 1_999, Some(1_999)),
            ("JPY", 500, Some(500)),
            ("HUF", 1_045, Some(1_045)),
            ("TWD", 80_045, Some(80_045)),
            ("IDR", 1_000, Some(1_000)),
            ("MGA", 10_000, Some(100)),
            ("MGA", 10_050, None),
            ("MGA", 50, None),
            ("ISK", 5, Some(500)),
            ("ISK", 5_000, Some(500_000)),
            ("UGX", 999_999, Some(99_999_900)),
            ("UGX", 1_000_000, None),
            ("UGX", i64::MAX, None),
            ("KWD", 5_120, Some(5_120)),
            ("KWD", 5_124, None),
            ("KWD", 1_005, None),
            ("BHD", LARGEST - 9, Some(LARGEST - 9)),
            ("EUR", LARGEST, Some(LARGEST)),
            ("EUR", LARGEST + 1, None),
            ("EUR", 0, None),
            ("EUR", -100, None),
        ];
        for (code, amount, expected) in cases {
            let unit = StripeUnit::of(code).expect("a unit");
            assert_eq!(unit.to_stripe(amount).ok(), expected, "{amount} {code}");
        }
    }

    #[test]
    fn an_amount_of_stripe_is_converted_exactly_or_rejected() {
        let cases = [
            ("eur", 1_999, Some(1_999)),
            ("mga", 100, Some(10_000)),
            ("mga", i64::MAX, None),
            ("isk", 500_000, Some(5_000)),
            ("ugx", 550, None),
            // No payment has this amount. The amount is converted anyway, so that the comparison with the payment fails.
            ("kwd", 1_005, Some(1_005)),
        ];
        for (code, amount, expected) in cases {
            let unit = StripeUnit::of(code).expect("a unit");
            assert_eq!(unit.to_minor(amount), expected, "{amount} {code}");
        }
    }

    proptest! {
        /// Each conversion is the inverse of the other.
        #[test]
        fn converting_there_and_back_gives_the_same_amount(amount in any::<i64>()) {
            let units = [
                StripeUnit::Minor, StripeUnit::MinorInTens, StripeUnit::Hundred, StripeUnit::Hundredth,
            ];
            for unit in units {
                if let Ok(stripes) = unit.to_stripe(amount) {
                    prop_assert_eq!(unit.to_minor(stripes), Some(amount));
                }
                if let Some(ours) = unit.to_minor(amount)
                    && let Ok(stripes) = unit.to_stripe(ours)
                {
                    prop_assert_eq!(stripes, amount);
                }
            }
        }
    }
}
