//! Percent-encoding (RFC 3986, section 2.1) of what is put into a URL, and of secrets that are looked for in one.

use std::fmt::Write;

/// The text with every byte outside `A–Z a–z 0–9 - . _ ~` written as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into())
            }
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}

/// The bytes that a query's `key` or `value` stands for: `%XX` undone, `+` is a space.
pub fn query_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let value = str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                decoded.push(value.unwrap_or_else(|| {
                    panic!("`{text}` holds a % without two hexadecimal digits")
                }));
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{percent_encoded, query_decoded};

    #[test]
    fn what_is_encoded_is_decoded_to_itself() {
        assert_eq!(percent_encoded("p@ss/wörd"), "p%40ss%2Fw%C3%B6rd");
        assert_eq!(
            query_decoded(&percent_encoded("p@ss/wörd +%")),
            "p@ss/wörd +%"
        );
    }
}
