//! Reads the file `.env` by the rules of `make run` (`scripts/dotenv.sh`). A test compares the two programs.
//!
//! `.env` configures the functions on a developer's machine. Outside development the tool ignores the file. Otherwise it could connect to
//! a developer's store instead of the store of that environment.

use std::collections::BTreeMap;
use std::{fs, io};

/// The variables of a `.env`, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dotenv(BTreeMap<String, String>);

impl Dotenv {
    /// Reads `.env` in the current folder. A missing file counts as an empty file.
    pub(crate) fn read() -> Result<Self, String> {
        match fs::read_to_string(".env") {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!(".env cannot be read: {error}")),
        }
    }

    /// The value of a variable.
    pub(crate) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    /// Parses the file. An error contains the number of the line but not its text, because the line may contain a
    /// secret.
    fn parse(text: &str) -> Result<Self, String> {
        let mut variables = BTreeMap::new();
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = trimmed(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = assignment(line)
                .ok_or_else(|| format!(".env, line {number}: expected NAME=value"))?;
            let value = unquoted(value).ok_or_else(|| {
                format!(".env, line {number}: the value of {name} has an unclosed quote, or text after the closing quote")
            })?;
            variables
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        Ok(Self(variables))
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let exported = line
        .strip_prefix("export")
        .map(|rest| (rest, trimmed(rest)));
    let line = match exported {
        Some((rest, bare)) if rest.starts_with(is_blank) => bare,
        _ => line,
    };
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end_matches(is_blank);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, value))
}

/// The value without the quotes and the comment; `None`: a quote is not closed, or text follows the closing quote.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(quoted) = trimmed(value).strip_prefix(quote) {
            let (quoted, behind) = quoted.split_once(quote)?;
            let behind = trimmed(behind);
            return (behind.is_empty() || behind.starts_with('#')).then_some(quoted);
        }
    }
    // A `#` begins a comment only after a blank.
    let mut pairs = value.char_indices().zip(value.chars().skip(1));
    let comment = pairs.find(|((_, before), character)| is_blank(*before) && *character == '#');
    let end = comment.map_or(value.len(), |((at, _), _)| at);
    Some(trimmed(&value[..end]))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const LINES: [&str; 30] = [
        "A=1",
        "A =2",
        " export A = two # comment",
        "export\tA=2",
        "export A=1",
        "exportA=1",
        "A=\"a # b\" # c",
        "A='a \" b'",
        "A=\"a\"#c",
        "A=\"a\"b",
        "A=\"open",
        "A= 'open",
        "A=x\"y",
        "A= # c",
        "A=#c",
        "A=a#b #c",
        "A=a\t#b",
        "A=",
        "A=\"\"",
        "A=x  \r",
        "A=\" sp \"",
        "A=$HOME`id`",
        "A=a=b",
        "A=größe 北京",
        "# A=1",
        "",
        "A",
        "1A=1",
        "A-B=1",
        "=1",
    ];

    /// The variable that `make run` reads from a line, or `None` if it rejects the line.
    fn read_by_make_run(folder: &std::path::Path, line: &str) -> Option<String> {
        let script = "source scripts/tools.sh; source scripts/dotenv.sh; load_dotenv \"$1\"; printf %s \"${A-not set}${exportA-}\"";
        let file = folder.join(".env");
        fs::write(&file, line).expect("written");
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let output = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(&file)
            .current_dir(root)
            .env_remove("A")
            .output()
            .expect("bash runs");
        let variable = String::from_utf8(output.stdout).expect("UTF-8");
        output.status.success().then_some(variable)
    }

    #[test]
    fn a_line_is_read_as_make_run_reads_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for line in LINES {
            let read = Dotenv::parse(line).ok().map(|file| {
                let [a, of_export] = ["A", "exportA"].map(|name| file.get(name));
                let a = a.unwrap_or("not set").to_owned();
                a + of_export.unwrap_or_default()
            });
            assert_eq!(read, read_by_make_run(folder.path(), line), "{line}");
        }
    }

    #[test]
    fn the_first_assignment_wins_and_no_error_quotes_a_value() {
        let file = Dotenv::parse("A=1\nA=2\n").expect("read");
        assert_eq!(file.get("A"), Some("1"));
        let errors = ["X=1\nsecret", "X=1\nA=\"secret", "X=1\nA='s' secret"];
        for text in errors {
            let error = Dotenv::parse(text).expect_err(text);
            assert!(error.starts_with(".env, line 2: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
