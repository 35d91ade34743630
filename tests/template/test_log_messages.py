"""docs/log-messages.md has a row for each log message of level WARN and above, and no other row."""

import re
import unittest

from cloudformation import ROOT
from rust_logs import Unreadable, all_messages, messages

PAGE = (ROOT / "docs/log-messages.md").read_text(encoding="utf-8")
# A message is between single backticks, or between double backticks if it contains a backtick.
ROW = re.compile(r"^\| (?:`` ?(?P<quoting>.+?) ?``|`(?P<plain>[^`]+)`) \| (?P<level>\w+) \| (?P<rest>.+) \|$", re.MULTILINE)


def rows(page):
    """The rows of a page, each as (level, message) and its other cells."""
    for row in ROW.finditer(page):
        yield (row["level"], row["quoting"] or row["plain"]), row["rest"].split(" | ")


def faults(page, logged):
    """The differences between the page and the messages that the programs log."""
    listed = [message for message, _ in rows(page)]
    return (
        [f"logged, and without a row in docs/log-messages.md: {each}" for each in sorted(logged - set(listed))]
        + [f"a row in docs/log-messages.md, and not logged: {each}" for each in sorted(set(listed) - logged)]
        + [f"two rows in docs/log-messages.md: {each}" for each in sorted(set(listed)) if listed.count(each) > 1]
    )


class LogMessages(unittest.TestCase):
    def test_each_message_has_a_row_and_each_row_a_message(self):
        self.assertEqual(faults(PAGE, all_messages()), [])

    def test_each_row_says_what_happened_what_it_means_for_money_and_what_to_do(self):
        table_lines = [line for line in PAGE.splitlines() if line.startswith("|") and not re.match(r"\| message \||\|---", line)]
        self.assertEqual(len(table_lines), len(list(rows(PAGE))), "a row has another form")
        for message, rest in rows(PAGE):
            self.assertEqual((len(rest), all(cell.strip() for cell in rest)), (3, True), message)

    def test_a_missing_row_and_a_row_too_many_are_found(self):
        page = "| `down: …` | WARN | a | b | c |\n| ``set `x` `` | ERROR | a | b | c |\n"
        logged = {("WARN", "down: …"), ("ERROR", "set `x`")}
        self.assertEqual(faults(page, logged), [])
        (missing,) = faults(page, logged | {("WARN", "new")})
        self.assertIn("without a row", missing)
        (stale,) = faults(page, logged - {("WARN", "down: …")})
        self.assertIn("not logged", stale)
        self.assertEqual(len(faults(page.replace("WARN", "ERROR"), logged)), 2, "another level")
        self.assertIn("two rows", *faults(page + page.splitlines()[0], logged))


class Sources(unittest.TestCase):
    """Tests how messages are read from Rust sources."""

    def test_messages_are_read_in_every_form(self):
        source = r'''
            // warn!("in a comment");
            fn f<'a>(quote: char) {
                warn!("plain");
                tracing::error!(payment.id = id, ledger.error = %error, "after fields: {error}");
                warn!(
                    text = "a field", at = f("x", 'y'), list = [1, 2],
                    "over \
                     lines; {} and {:?}", one(), two
                );
                if quote == '"' || quote != '\'' { error!(r#"raw "text""#) }
                info!("below"); debug!("below"); println!("warn!(\"in a text\")");
                error!(kind = x.name(), "{}", x.message());
            }
            fn name(self) -> &'static str { "a name" }
            fn message(self) -> &'static str { match self { A => "first", B => { "second" } } }
        '''
        expected = [
            ("WARN", "plain"),
            ("ERROR", "after fields: …"),
            ("WARN", "over lines; … and …"),
            ("ERROR", 'raw "text"'),
            ("ERROR", "first"),
            ("ERROR", "second"),
        ]
        self.assertEqual(list(messages(source)), expected)

    def test_code_of_tests_is_skipped(self):
        source = """
            #[cfg(test)] use tracing::warn;
            #[cfg(test)] #[path = "x.rs"] mod x;
            #[cfg(test)] mod tests { fn f() { warn!("in a test"); } }
            fn g() { warn!("after it"); }
        """
        self.assertEqual(list(messages(source)), [("WARN", "after it")])

    def test_a_message_that_cannot_be_read_is_an_error(self):
        for source in ["warn!(error = %error);", 'error!("{a}: {b}");', 'event!(Level::WARN, "text");', 'error!("{}", x.text());']:
            with self.subTest(source=source), self.assertRaises(Unreadable):
                list(messages(source))


if __name__ == "__main__":
    unittest.main()
