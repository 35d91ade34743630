//! Percent-encoding (RFC 3986, section 2.1), for URLs and for finding secrets in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Every byte except the unreserved characters of RFC 3986, section 2.3. AWS's signatures use the same set.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The text with every byte outside `A–Z a–z 0–9 - . _ ~` written as `%XX`.
pub(crate) fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn only_unreserved_characters_are_not_encoded() {
        assert_eq!(percent_encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(
            percent_encoded("p@ss/wörd +%"),
            "p%40ss%2Fw%C3%B6rd%20%2B%25"
        );
    }
}
