"""Reads the log messages of level WARN and above from the Rust sources."""

import re
from pathlib import PurePath

from cloudformation import ROOT

FOLDERS = ("functions", "ops", "shared")
TEST_CODE = {"tests", "tests.rs", "benches", "examples"}
# A placeholder, which a program replaces by a value. The docs write `…` for it.
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
# Comments and character literals are tokens too, so that a quote in them does not start a string literal.
TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*.*?\*/)
    | b?r(?P<hashes>\#*)"(?P<raw>.*?)"(?P=hashes)
    | b?"(?P<text>(?:\\.|[^"\\])*)"
    | (?P<character>b?'(?:\\[^']+|\\'|[^'\\])')
    | (?P<word>[A-Za-z_]\w*(?:!(?!=))?)
    | (?P<mark>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}
CFG_TEST = ["#", "[", "cfg", "(", "test", ")", "]"]


class Unreadable(Exception):
    """A log line whose message this module cannot read."""


class Text(str):
    """A string literal. Any other token is a plain `str`."""


def tokens(source):
    found = []
    for token in TOKEN.finditer(source):
        if token["raw"] is not None:
            found.append(Text(token["raw"]))
        elif token["text"] is not None:
            # A backslash at the end of a line continues the text without the indentation.
            joined = re.sub(r"\\\n\s*", "", token["text"])
            found.append(Text(re.sub(r"\\(.)", r"\1", joined)))
        elif token["word"] or token["mark"]:
            found.append(token.group())
    return found


def is_mark(token, marks):
    return not isinstance(token, Text) and token in marks


def end(code, start):
    """The index after the bracket that closes the bracket at `start`."""
    open_brackets = []
    for place in range(start, len(code)):
        if is_mark(code[place], CLOSING):
            open_brackets.append(CLOSING[code[place]])
        elif open_brackets and is_mark(code[place], open_brackets[-1]):
            open_brackets.pop()
            if not open_brackets:
                return place + 1
    raise Unreadable("a bracket is not closed")


def without_tests(code):
    """The tokens without the items under `#[cfg(test)]`."""
    kept, place = [], 0
    while place < len(code):
        if code[place : place + len(CFG_TEST)] != CFG_TEST:
            kept.append(code[place])
            place += 1
            continue
        place += len(CFG_TEST)
        while not is_mark(code[place], (";", "{")):
            place = end(code, place) if is_mark(code[place], "([") else place + 1
        place = end(code, place) if is_mark(code[place], "{") else place + 1
    return kept


def arguments(code, start):
    """The arguments of the macro whose opening bracket is at `start`. Each argument is a list of tokens."""
    found, place, last = [[]], start + 1, end(code, start) - 1
    while place < last:
        after = end(code, place) if is_mark(code[place], CLOSING) else place + 1
        if is_mark(code[place], ","):
            found.append([])
        else:
            found[-1] += code[place:after]
        place = after
    return found


def texts_of(code, function):
    """The string literals in the body of a function."""
    for place, token in enumerate(code):
        if token == "fn" and code[place + 1] == function:
            body = code.index("{", place)
            return [each for each in code[body : end(code, body)] if isinstance(each, Text)]
    raise Unreadable(f"no function `{function}` in the file")


def messages(source):
    """The messages that a file logs, as (level, message). A placeholder is `…`."""
    code = without_tests(tokens(source))
    for place, token in enumerate(code):
        if token == "event!":
            raise Unreadable("`event!` is not read; use `warn!` or `error!`")
        if token not in ("warn!", "error!"):
            continue
        level = "WARN" if token == "warn!" else "ERROR"
        given = arguments(code, place + 1)
        # The fields stand before the message. The values of its placeholders stand after the message.
        while given and not (len(given[0]) == 1 and isinstance(given[0][0], Text)):
            given.pop(0)
        if not given:
            raise Unreadable(f"a `{token}` without a message")
        message, *values = given
        message = PLACEHOLDER.sub("…", message[0])
        if re.search(r"\w", message):
            yield level, message
            continue
        # The message is the result of a method of this file, as in `"{}", anomaly.message()`.
        methods = [value[-3] for value in values if value[-2:] == ["(", ")"]]
        if len(methods) != 1:
            raise Unreadable(f"`{message}` has no text of its own")
        for text in texts_of(code, methods[0]):
            yield level, text


def all_messages():
    """The messages of all programs, except for tests and examples."""
    found = set()
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.rs")):
            if TEST_CODE & set(PurePath(file).relative_to(ROOT).parts):
                continue
            try:
                found |= set(messages(file.read_text(encoding="utf-8")))
            except Unreadable as problem:
                raise Unreadable(f"{file.relative_to(ROOT)}: {problem}") from None
    return found
