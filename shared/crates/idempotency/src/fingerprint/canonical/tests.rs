use proptest::prelude::*;

use super::*;
use foundation::json::Members;

/// The earlier implementation. For every array and object, it read the text again once for each enclosing level.
mod by_levels {
    use super::*;

    pub(super) fn form(payload: &[u8]) -> Result<Canonical, AmbiguousPayload> {
        let Ok(value) = serde_json::from_slice::<&RawValue>(without_mark(payload)) else {
            return Ok(Canonical::NotJson);
        };
        let mut form = Vec::new();
        match write(value, DEEPEST, &mut form) {
            Ok(()) => Ok(Canonical::Json(form)),
            Err(Problem::NotJson) => Ok(Canonical::NotJson),
            Err(Problem::Ambiguous(payload)) => Err(payload),
        }
    }

    fn write(value: &RawValue, depth_left: usize, form: &mut Vec<u8>) -> Result<(), Problem> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'n') => form.push(b'z'),
            Some(b't') => form.push(b't'),
            Some(b'f') => form.push(b'f'),
            Some(b'"') => write_string(&read::<Text<'_>>(text)?.0, form),
            Some(b'[') => {
                let depth_left = deeper(depth_left)?;
                form.push(b'[');
                for value in read::<Vec<&RawValue>>(text)? {
                    write(value, depth_left, form)?;
                }
                form.push(b']');
            }
            Some(b'{') => {
                let depth_left = deeper(depth_left)?;
                form.push(b'{');
                let mut sorted = BTreeMap::new();
                for (name, value) in read::<Members<'_>>(text)?.0 {
                    if sorted.insert(name.0.into_owned(), value).is_some() {
                        return Err(Problem::Ambiguous(AmbiguousPayload::DuplicateMember));
                    }
                }
                for (name, value) in sorted {
                    write_string(&name, form);
                    write(value, depth_left, form)?;
                }
                form.push(b'}');
            }
            _ => write_number(text, form),
        }
        Ok(())
    }
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t ")]
}

/// JSON texts in any formatting, including duplicate members.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "12.50e-3",
        "1E400",
        "9007199254740993",
        r#""""#,
        r#""é北""#,
        r#""\\""#,
        r#""\"""#,
        r#""[{:,}]\\\"]}""#,
        r#""\ud83d\u0041""#,
        "[]",
        "{}",
        "[ ]",
        "{ }",
    ]);
    let name = prop::sample::select(vec![
        "a", "b", "c", "d", "e", "é", r"\u0061", r"\\", r#"\""#, "", ":", "}", "[", "\\ud83d",
    ]);
    leaf.prop_map(str::to_owned)
        .prop_recursive(6, 64, 6, move |inner| {
            let element = (blank(), inner.clone(), blank());
            let element =
                element.prop_map(|(before, value, behind)| format!("{before}{value}{behind}"));
            let member = (blank(), name.clone(), blank(), blank(), inner, blank());
            let member = member
                .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"));
            prop_oneof![
                prop::collection::vec(element, 0..6)
                    .prop_map(|elements| format!("[{}]", elements.join(","))),
                prop::collection::vec(member, 0..4)
                    .prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_form_never_changes(text in json_text(), depth in 0_usize..70) {
        let before = r#"[{"x":"#.repeat(depth / 2);
        let behind = "}]".repeat(depth / 2);
        for text in [text.clone(), format!(" {before}{text}{behind}")] {
            prop_assert_eq!(form(text.as_bytes()), by_levels::form(text.as_bytes()), "{}", text);
        }
    }

    #[test]
    fn almost_valid_json_is_treated_as_before(
        text in json_text(),
        at in any::<prop::sample::Index>(),
        put in prop::sample::select(vec!["", "[", "]", "{", "}", "\"", ":", ",", "\\", "1", " "]),
    ) {
        let mut characters: Vec<_> = text.chars().map(String::from).collect();
        let at = at.index(characters.len());
        characters[at] = put.to_owned();
        let text = characters.concat();
        prop_assert_eq!(form(text.as_bytes()), by_levels::form(text.as_bytes()), "{}", text);
    }
}

/// Regression: the parser read the text of each level again for every level above it. So 5 MB inside 64 nested arrays
/// took seconds.
#[test]
fn depth_does_not_multiply_the_tokens_read() {
    const ELEMENTS: usize = 1_000;
    let elements = vec!["[]"; ELEMENTS].join(",");
    let (before, behind) = (r#"{"b":0,"a":"#.repeat(62), "}".repeat(62));
    let (arrays, array_ends) = ("[".repeat(63), "]".repeat(63));
    for text in [
        format!("{arrays}{elements}{array_ends}"),
        format!("{before}[{elements}]{behind}"),
    ] {
        let value: &RawValue = serde_json::from_str(&text).expect("JSON");
        let mut outline = Outline::of(value);
        let written = write(&mut outline, DEEPEST, &mut Vec::new());
        assert!(written.is_ok(), "{text}");
        // Each member takes at most four tokens. Among them are the name, a skipped literal, and the value that is
        // read.
        let most = ELEMENTS + 4 * 2 * DEEPEST;
        assert!(outline.tokens <= most, "{} of {most}", outline.tokens);
    }
}
