//! Finds characters that are invisible or change how text is displayed.
//!
//! Some characters are invisible (a zero-width space). Some change the order of other characters (direction marks).
//! Some control a terminal (ESC). Two different names with such characters can look the same. Printed text with such
//! characters can overwrite its own line. So names must not contain such characters. Text for people may contain only
//! those of them that belong to words and emoji. The operator's tool prints each such character as its number.
//!
//! These characters are the control characters, the characters that Unicode lets programs ignore
//! (`Default_Ignorable_Code_Point` in <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>), line
//! separators, and annotations.

/// Whether a character is invisible, changes how other characters are displayed, or controls a terminal.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a text has an invisible character. Names must not have one.
pub fn has_invisible(text: &str) -> bool {
    text.chars().any(is_invisible)
}

/// Whether a text has an invisible character that does not belong to words or emoji. Persian words and emoji
/// contain joiners and variation selectors, which do not move other characters.
pub fn has_unwritten(text: &str) -> bool {
    let is_written =
        |character| matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    text.chars()
        .any(|character| is_invisible(character) && !is_written(character))
}

/// Returns the text with each invisible character as its hexadecimal number, as in `\u{1b}`. A backslash before `u{` is
/// written in the same way. So two different texts never look the same.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if is_invisible(character) || text[at..].starts_with(r"\u{") {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters of each kind, with the first and the last of each range.
    const INVISIBLE: [(&str, &str); 13] = [
        ("NUL, ESC, DEL", "\u{0}\u{1b}\u{7f}"),
        ("line breaks and tabs", "\t\n\r\u{b}\u{c}"),
        ("C1 controls, CSI among them", "\u{80}\u{85}\u{9b}\u{9f}"),
        ("soft hyphen, grapheme joiner", "\u{ad}\u{34f}"),
        (
            "fillers",
            "\u{115f}\u{1160}\u{17b4}\u{17b5}\u{3164}\u{ffa0}",
        ),
        ("Mongolian selectors", "\u{180b}\u{180e}\u{180f}"),
        ("zero-width spaces", "\u{200b}\u{2060}\u{feff}"),
        (
            "marks of direction",
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}",
        ),
        ("separators", "\u{2028}\u{2029}"),
        ("formatting", "\u{2061}\u{2064}\u{206a}\u{206f}"),
        ("annotations", "\u{fff0}\u{fff9}\u{fffb}"),
        (
            "shorthand and music",
            "\u{1bca0}\u{1bca3}\u{1d173}\u{1d17a}",
        ),
        ("tags", "\u{e0000}\u{e0001}\u{e007f}\u{e0100}\u{e0fff}"),
    ];
    const WRITTEN: [&str; 8] = [
        "Alice Müller-Łukasz, 1",
        "北京 café naïve",
        "עברית",
        "العربية",
        "e\u{301}",
        "\u{fffd}",
        "a\u{a0}b",
        "⌘ ☃ 😀",
    ];

    #[test]
    fn control_and_format_characters_are_invisible() {
        for (kind, characters) in INVISIBLE {
            for character in characters.chars() {
                assert!(is_invisible(character), "{kind}: {character:?}");
                let text = format!("a{character}b");
                assert!(has_invisible(&text) && has_unwritten(&text), "{kind}");
            }
        }
        for text in WRITTEN {
            assert!(!has_invisible(text) && !has_unwritten(text), "{text}");
        }
    }

    #[test]
    fn emoji_and_persian_are_allowed_in_text_but_not_in_names() {
        for text in ["👩‍👩‍👧", "❤\u{fe0f}", "می\u{200c}خواهم"] {
            assert!(has_invisible(text) && !has_unwritten(text), "{text}");
        }
    }
}
