//! One connection through the gate.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Login, PASSWORD, State};

/// An accepted connection.
pub(super) struct Connection {
    pub(super) state: Arc<State>,
    pub(super) acceptor: TlsAcceptor,
    pub(super) accepted: Timestamp,
}

impl Connection {
    /// Forwards bytes in both directions until one side closes the connection.
    pub(super) async fn serve(self, client: TcpStream) {
        let Ok(client) = self.acceptor.accept(client).await else {
            return;
        };
        let server = TcpStream::connect(self.state.server).await;
        let mut server = server.expect("the server behind the gate runs");
        let (mut from_client, mut to_client) = io::split(client);
        let (mut from_server, mut to_server) = server.split();
        let requests = async {
            let mut read = Vec::new();
            loop {
                let mut piece = [0; 4096];
                match from_client.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => read.extend_from_slice(&piece[..length]),
                }
                while let Some((words, length)) = command(&read) {
                    let bytes = match self.admitted(words) {
                        Some(words) => packed(&words),
                        None => read[..length].to_vec(),
                    };
                    read.drain(..length);
                    if to_server.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        };
        let replies = io::copy(&mut from_server, &mut to_client);
        tokio::select! {
            () = requests => {}
            _ = replies => {}
        }
    }

    /// If the command is a login with a valid token, returns the login with the server's password in place of the token.
    /// Otherwise returns `None`, and the gate forwards the command unchanged.
    fn admitted(&self, mut words: Vec<String>) -> Option<Vec<String>> {
        let name = words.first()?.to_uppercase();
        let auth = match name.as_str() {
            "AUTH" => 0,
            "HELLO" => words
                .iter()
                .position(|word| word.eq_ignore_ascii_case("AUTH"))?,
            _ => return None,
        };
        let user = words.get(auth + 1)?.clone();
        let token = words.get_mut(auth + 2)?;
        let verdict = self
            .state
            .user
            .judge(&user, token, self.accepted, Timestamp::now());
        self.state.logins.lock().push(Login {
            command: name,
            user,
            token: token.clone(),
            verdict: verdict.clone(),
            accepted: self.accepted,
        });
        verdict.ok()?;
        *token = PASSWORD.to_owned();
        Some(words)
    }
}

/// The words and the length of the command at the start of `bytes`; `None` if the command is incomplete.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut place = 0;
    let count = number(bytes, &mut place, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(bytes, &mut place, b'$')?;
        let word = bytes.get(place..place + length)?;
        bytes.get(place + length + 1)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        place += length + 2;
    }
    Some((words, place))
}

/// The number in the line at `place`. The line must begin with `kind`. Moves `place` to the end of the line.
fn number(bytes: &[u8], place: &mut usize, kind: u8) -> Option<usize> {
    let rest = &bytes[*place..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = str::from_utf8(&rest[..end]).expect("a client of Redis sends arrays");
    let digits = line.strip_prefix(char::from(kind));
    let digits = digits.expect("a client of Redis sends arrays of bulk strings");
    *place += end + 1;
    Some(digits.trim_end().parse().expect("a number"))
}

fn packed(words: &[String]) -> Vec<u8> {
    let mut packed = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        packed.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    packed
}
