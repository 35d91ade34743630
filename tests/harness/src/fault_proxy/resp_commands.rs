//! Recognises the command names of a Redis client: arrays of bulk strings, each of which can arrive in several reads
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! The reader skips arguments. If a byte does not fit the format (TLS, another protocol), the reader stops reading that
//! connection.

use std::mem;

/// Reads the bytes of one connection, in order.
#[derive(Default)]
pub(super) struct CommandReader {
    expected: Expected,
    /// An incomplete header line, without its end.
    line: Vec<u8>,
    /// An incomplete name of a command.
    name: Vec<u8>,
}

/// The part of a command that the next bytes should be.
#[derive(Default)]
enum Expected {
    /// `*<parts>\r\n`, which starts a command.
    #[default]
    Array,
    /// `$<length>\r\n`, the header of the next string. This string is the first of the `parts` remaining strings.
    Length { parts: usize, role: Role },
    /// The last `bytes` of a string, including its line end. `parts` strings follow.
    Text {
        bytes: usize,
        parts: usize,
        role: Role,
    },
    /// No further part, because the connection does not use Redis's protocol.
    Nothing,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Name,
    Argument,
}

/// The size of `\r\n`, which follows each string.
const LINE_END: usize = 2;

impl CommandReader {
    /// Reads the next bytes of the connection, and returns the names of commands that these bytes complete.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        while !bytes.is_empty() {
            bytes = match self.expected {
                Expected::Nothing => return names,
                Expected::Array | Expected::Length { .. } => self.read_header(bytes),
                Expected::Text { .. } => self.read_text(bytes, &mut names),
            };
        }
        names
    }

    /// Reads up to the end of a header line. Returns the bytes after the line.
    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let kind = if matches!(self.expected, Expected::Array) {
            b'*'
        } else {
            b'$'
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        self.line.extend(&bytes[..end.unwrap_or(bytes.len())]);
        if self.line.first().is_some_and(|first| *first != kind) {
            self.expected = Expected::Nothing;
            return &[];
        }
        let Some(end) = end else { return &[] };

        let line = mem::take(&mut self.line);
        let number = str::from_utf8(&line[1..])
            .ok()
            .and_then(|digits| digits.trim_end().parse::<usize>().ok());
        self.expected = match (&self.expected, number) {
            (_, None) => Expected::Nothing,
            (Expected::Array, Some(0)) => Expected::Array,
            (Expected::Length { parts, role }, Some(length)) => Expected::Text {
                bytes: length + LINE_END,
                parts: parts - 1,
                role: *role,
            },
            (_, Some(parts)) => Expected::Length {
                parts,
                role: Role::Name,
            },
        };
        &bytes[end + 1..]
    }

    /// Reads up to the end of a string. Returns the bytes after the string.
    fn read_text<'a>(&mut self, bytes: &'a [u8], names: &mut Vec<String>) -> &'a [u8] {
        let Expected::Text {
            bytes: left,
            parts,
            role,
        } = &mut self.expected
        else {
            return &[];
        };
        let (text, rest) = bytes.split_at(bytes.len().min(*left));
        *left -= text.len();
        if *role == Role::Name {
            self.name.extend(text);
        }
        if *left > 0 {
            return rest;
        }
        if *role == Role::Name {
            let name = mem::take(&mut self.name);
            names.push(String::from_utf8_lossy(&name).trim_end().to_uppercase());
        }
        self.expected = match *parts {
            0 => Expected::Array,
            parts => Expected::Length {
                parts,
                role: Role::Argument,
            },
        };
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::CommandReader;

    const PIPELINE: &[u8] =
        b"*2\r\n$5\r\nhello\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$4\r\n*1\r\n\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n";

    #[test]
    fn names_are_recognised_however_the_bytes_are_split() {
        for size in 1..=PIPELINE.len() {
            let mut reader = CommandReader::default();
            let names: Vec<String> = PIPELINE
                .chunks(size)
                .flat_map(|bytes| reader.read(bytes))
                .collect();
            assert_eq!(names, ["HELLO", "SET", "PING"], "in pieces of {size}");
        }
    }

    #[test]
    fn other_protocols_have_no_names() {
        let mut reader = CommandReader::default();
        assert!(reader.read(b"\x16\x03\x01 a TLS handshake \r\n").is_empty());
        assert!(reader.read(b"*1\r\n$4\r\nPING\r\n").is_empty());
    }
}
