//! Starts two processes, ends the first, says the ids of both, and holds the second until its own input ends. For a test that ends
//! it before that.

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
