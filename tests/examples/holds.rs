//! Starts processes A and B, ends A, prints the ids of both, and keeps B until standard input ends. A test kills this program
//! before its standard input ends.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use harness::OwnedProcess;

fn main() -> io::Result<()> {
    let start = || OwnedProcess::spawn(Command::new("sleep").arg("600"), Path::new("/dev/null"));
    let (mut ended, held) = (start()?, start()?);
    ended.kill();
    writeln!(io::stdout(), "{}\n{}", ended.id(), held.id())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
