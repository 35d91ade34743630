//! Recognises the commands of a MongoDB client: `OP_MSG` messages, each of which can arrive in several reads
//! (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>).
//!
//! The reader keeps only the command's name, its read and write concern and its read preference. The reader skips the older
//! `OP_QUERY` of a handshake. At the first bytes of another kind (TLS, compression, another protocol), it stops reading that
//! connection.

use mongodb::bson::{Document, RawDocument};

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct MongoCommand {
    /// The command's name on the wire, for example `findAndModify`.
    pub name: String,
    /// The command's `readConcern`, if it has one.
    pub read_concern: Option<Document>,
    /// The command's `writeConcern`, if it has one.
    pub write_concern: Option<Document>,
    /// The command's `$readPreference`, if it has one.
    pub read_preference: Option<Document>,
}

/// Reads the bytes of one connection, in order.
#[derive(Default)]
pub(super) struct MessageReader {
    /// The bytes of an incomplete message.
    message: Vec<u8>,
    /// Whether the reader has stopped, because the connection has bytes of another kind.
    gave_up: bool,
}

/// The size of a message's header: length, request id, response id and opcode, four bytes each.
const HEADER: usize = 16;
/// The size of the flags, which follow the header of an `OP_MSG`.
const FLAGS: usize = 4;
/// The largest message that a MongoDB server accepts.
const LONGEST: usize = 48_000_000;
const OP_MSG: i32 = 2013;
const OP_QUERY: i32 = 2004;
/// If this flag is set, the message ends with a checksum.
const HAS_CHECKSUM: i32 = 1;
/// The size of the checksum.
const CHECKSUM: usize = 4;

impl MessageReader {
    /// Reads the next bytes of the connection, and returns the commands that these bytes complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<MongoCommand> {
        let mut commands = Vec::new();
        if self.gave_up {
            return commands;
        }
        self.message.extend(bytes);
        while let (Some(length), Some(opcode)) =
            (number(&self.message, 0), number(&self.message, 12))
        {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if !(HEADER..=LONGEST).contains(&length) || ![OP_MSG, OP_QUERY].contains(&opcode) {
                self.gave_up = true;
                self.message = Vec::new();
                break;
            }
            if self.message.len() < length {
                break;
            }
            let message: Vec<u8> = self.message.drain(..length).collect();
            if opcode == OP_MSG {
                let command = command_of(&message);
                commands.push(
                    command.unwrap_or_else(|| panic!("OP_MSG without a command: {message:?}")),
                );
            }
        }
        commands
    }
}

/// The command in the body of an `OP_MSG`. Sequences of documents can come before the body or after it.
fn command_of(message: &[u8]) -> Option<MongoCommand> {
    let flags = number(message, HEADER)?;
    let end = match flags & HAS_CHECKSUM {
        0 => message.len(),
        _ => message.len().checked_sub(CHECKSUM)?,
    };
    let mut sections = message.get(HEADER + FLAGS..end)?;
    while let Some((kind, section)) = sections.split_first() {
        let length = usize::try_from(number(section, 0)?).ok()?;
        match kind {
            0 => return MongoCommand::parse(section.get(..length)?),
            1 => sections = section.get(length..)?,
            _ => return None,
        }
    }
    None
}

impl MongoCommand {
    fn parse(body: &[u8]) -> Option<Self> {
        let body = RawDocument::from_bytes(body).ok()?;
        let (name, _) = body.iter().next()?.ok()?;
        let part = |name| match body.get_document(name) {
            Ok(part) => part.try_into().ok(),
            Err(_) => None,
        };
        Some(Self {
            name: name.to_owned(),
            read_concern: part("readConcern"),
            write_concern: part("writeConcern"),
            read_preference: part("$readPreference"),
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::{MessageReader, OP_MSG, OP_QUERY};

    fn bytes_of(document: &Document) -> Vec<u8> {
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).expect("written");
        bytes
    }

    fn message(opcode: i32, content: &[u8]) -> Vec<u8> {
        let length = i32::try_from(16 + content.len()).expect("short");
        let header = [length, 1, 0, opcode].map(i32::to_le_bytes).concat();
        [&header, content].concat()
    }

    /// A message that has a sequence of documents, then the body, then a checksum.
    fn insert() -> Vec<u8> {
        let documents = [b"documents\0".as_slice(), &bytes_of(&doc! { "_id": 1 })].concat();
        let length = i32::try_from(4 + documents.len()).expect("short");
        let body = doc! {
            "insert": "notes",
            "writeConcern": { "w": "majority" },
            "$readPreference": { "mode": "primary" },
        };
        let content = [
            &1_i32.to_le_bytes(),
            [1].as_slice(),
            &length.to_le_bytes(),
            &documents,
            &[0],
            &bytes_of(&body),
            b"sum.",
        ];
        message(OP_MSG, &content.concat())
    }

    fn find() -> Vec<u8> {
        let body = doc! { "find": "notes", "readConcern": { "level": "majority" } };
        message(OP_MSG, &[&[0; 5], bytes_of(&body).as_slice()].concat())
    }

    #[test]
    fn commands_are_recognised_however_the_bytes_are_split() {
        let sent = [message(OP_QUERY, b"a handshake"), insert(), find()].concat();
        for size in 1..=sent.len() {
            let mut reader = MessageReader::default();
            let commands: Vec<_> = sent
                .chunks(size)
                .flat_map(|bytes| reader.read(bytes))
                .collect();
            let [insert, find] = commands.as_slice() else {
                panic!("{commands:?} in pieces of {size}");
            };
            assert_eq!((&*insert.name, &*find.name), ("insert", "find"));
            let majority = Some(doc! { "w": "majority" });
            assert_eq!(
                (&insert.write_concern, &find.write_concern),
                (&majority, &None)
            );
            let majority = Some(doc! { "level": "majority" });
            assert_eq!(
                (&insert.read_concern, &find.read_concern),
                (&None, &majority)
            );
            let primary = Some(doc! { "mode": "primary" });
            assert_eq!(
                (&insert.read_preference, &find.read_preference),
                (&primary, &None)
            );
        }
    }

    #[test]
    fn other_protocols_have_no_commands() {
        let others: [&[u8]; 2] = [
            b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
            b"\x16\x03\x01\x02\0 a TLS handshake",
        ];
        for other in others {
            let mut reader = MessageReader::default();
            assert!(reader.read(other).is_empty());
            assert!(reader.read(&find()).is_empty());
        }
    }
}
