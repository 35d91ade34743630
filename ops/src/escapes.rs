//! Escapes for invisible characters: reading them in arguments, and writing them in JSON.
//!
//! A name that a client chose may contain control characters for the terminal. [`visible`](shared::text::visible) prints
//! each of these characters as `\u{…}`, and an operator types this escape.

use shared::text::is_invisible;

/// The inverse of [`visible`](shared::text::visible). Malformed escapes stay as they are.
pub(crate) fn unescape(shown: &str) -> String {
    let mut text = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some((before, behind)) = rest.split_once(r"\u{") {
        text.push_str(before);
        let numbered = behind.split_once('}').and_then(|(digits, behind)| {
            let number = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(number)?, behind))
        });
        match numbered {
            Some((character, behind)) => {
                text.push(character);
                rest = behind;
            }
            None => {
                text.push_str(r"\u{");
                rest = behind;
            }
        }
    }
    text + rest
}

/// Replaces the invisible characters in JSON by JSON escapes. The result parses to the same document.
pub(crate) fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_invisible(character) {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            shown.extend(units.iter().map(|unit| format!(r"\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::text::visible;

    use super::*;

    const CASES: [(&str, &str); 9] = [
        ("jwt:alice", "jwt:alice"),
        ("größe 北京", "größe 北京"),
        ("\u{1b}[2J", r"\u{1b}[2J"),
        ("a\nb\t\u{7f}", r"a\u{a}b\u{9}\u{7f}"),
        ("\u{9b}31m", r"\u{9b}31m"),
        ("a\u{202e}b\u{2066}", r"a\u{202e}b\u{2066}"),
        ("\u{e0041}", r"\u{e0041}"),
        (r"C:\users\n", r"C:\users\n"),
        (r"\u{1b}", r"\u{5c}u{1b}"),
    ];

    #[test]
    fn escaped_text_is_visible_and_can_be_typed() {
        for (text, shown) in CASES {
            assert_eq!(visible(text), shown);
            assert_eq!(unescape(shown), text);
        }
        for unfinished in [r"\u{", r"\u{110000}", r"\u{x}", r"a\u{1b"] {
            assert_eq!(unescape(unfinished), unfinished);
        }
    }

    #[test]
    fn escaped_json_parses_to_the_same_document() {
        for (text, _) in CASES {
            let document = json!({ text: [text] });
            let shown = visible_json(&document.to_string());
            assert!(!shared::text::has_invisible(&shown), "{shown}");
            let read: Value = serde_json::from_str(&shown).expect("JSON");
            assert_eq!(read, document);
        }
    }
}
