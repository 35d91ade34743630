//! A process that answers every event at once. The duration of its calls is the time that the Runtime API and the kernel need.
//! No contestant can be faster.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;

const ROOT: &str = "/2018-06-01/runtime/invocation/";

#[expect(
    clippy::disallowed_methods,
    reason = "Lambda sets the address of the Runtime API as an environment variable"
)]
fn main() -> Result<()> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let stream = TcpStream::connect(&address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(&stream);
    loop {
        let next = format!("GET {ROOT}next HTTP/1.1\r\nhost: {address}\r\n\r\n");
        (&stream).write_all(next.as_bytes())?;
        let id = read(&mut answers)?;
        let answer = format!(
            "POST {ROOT}{id}/response HTTP/1.1\r\nhost: {address}\r\ncontent-length: 18\r\n\r\n{{\"statusCode\":201}}"
        );
        (&stream).write_all(answer.as_bytes())?;
        read(&mut answers)?;
    }
}

/// Reads an answer of the Runtime API and returns the id of its invocation.
fn read(answers: &mut impl BufRead) -> Result<String> {
    let (mut id, mut length) = (String::new(), 0);
    for line in answers.by_ref().lines() {
        let line = line?;
        match line.split_once(": ") {
            Some(("lambda-runtime-aws-request-id", value)) => value.clone_into(&mut id),
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            Some(_) => {}
            // The end of the head or of the stream.
            None if line.is_empty() => break,
            None => {}
        }
    }
    answers.read_exact(&mut vec![0; length])?;
    Ok(id)
}
