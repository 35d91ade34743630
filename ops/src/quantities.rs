//! Durations and amounts of money, formatted for a terminal.

use std::time::Duration;

use jiff::SignedDuration;

/// A duration in its two largest units, for example `2h 3m`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let coarse = match seconds {
        ..3_600 => seconds,
        3_600..86_400 => seconds - seconds % 60,
        _ => seconds - seconds % 3_600,
    };
    let text = format!("{:#}", SignedDuration::from_secs(coarse));
    match coarse {
        86_400.. => days(coarse),
        _ => text,
    }
}

fn days(seconds: i64) -> String {
    match seconds % 86_400 / 3_600 {
        0 => format!("{}d", seconds / 86_400),
        hours => format!("{}d {hours}h", seconds / 86_400),
    }
}

/// A time in the past, for example `2h 3m ago`.
pub(crate) fn ago(time: Duration) -> String {
    format!("{} ago", duration(time))
}

/// An amount in minor units, with as many decimal digits as its currency has.
pub(crate) fn money(amount: i64, currency: &str, digits: u32) -> String {
    let unit = 10_i64.pow(digits);
    match digits {
        0 => format!("{amount} {currency}"),
        _ => format!(
            "{}.{:0width$} {currency}",
            amount / unit,
            amount % unit,
            width = digits as usize
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_at_most_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3_600, "1h"),
            (7_384, "2h 3m"),
            (86_400, "1d"),
            (200_000, "2d 7h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn an_amount_has_the_decimal_digits_of_its_currency() {
        assert_eq!(money(1_999, "EUR", 2), "19.99 EUR");
        assert_eq!(money(5, "EUR", 2), "0.05 EUR");
        assert_eq!(money(500, "JPY", 0), "500 JPY");
        assert_eq!(money(1_234, "KWD", 3), "1.234 KWD");
    }
}
