//! A network that is slow: bytes from the server arrive later, by a time that is kept to a tenth of a millisecond.
//!
//! The fault proxy delays too, with tokio's timer, which knows whole milliseconds. Here each connection has threads of its own that
//! sleep by the system's clock. Replies overlap as they do on a wire: ten of a pipeline take one delay.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A way to a server. Its threads end with their connections, and the one that accepts them with the process.
pub(crate) struct SlowLink {
    address: SocketAddr,
    delay_micros: Arc<AtomicU64>,
}

impl SlowLink {
    /// Listens on a free port and leads to `server`, without delay at first.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let delay_micros = Arc::<AtomicU64>::default();
        let delay = Arc::clone(&delay_micros);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                connect(client, server, &delay);
            }
        });
        Self {
            address,
            delay_micros,
        }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delivers what the server sends from now on so much later.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_micros.store(micros, Ordering::SeqCst);
    }
}

fn connect(client: TcpStream, server: TcpStream, delay: &Arc<AtomicU64>) {
    // Only latency is lost without it.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (parcels, arrived) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || pass_on(client, to_server));
    thread::spawn(move || {
        for (due, bytes) in arrived {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if (&to_client).write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let delay = Arc::clone(delay);
    thread::spawn(move || {
        read(server, |bytes| {
            let delay = Duration::from_micros(delay.load(Ordering::SeqCst));
            parcels
                .send((Instant::now() + delay, bytes.to_vec()))
                .is_ok()
        });
    });
}

fn pass_on(from: TcpStream, to: TcpStream) {
    read(from, |bytes| (&to).write_all(bytes).is_ok());
    // Fails when it has ended already.
    let _ = to.shutdown(Shutdown::Both);
}

/// Reads until the end, or until nobody takes it any more.
fn read(mut from: TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || !take(&buffer[..read]) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_takes_the_delay_and_no_less() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = SlowLink::to(server.local_addr().unwrap());
        let mut client = TcpStream::connect(link.address()).unwrap();
        let (mut server, _) = server.accept().unwrap();
        let mut byte = [0];
        for delay in [Duration::ZERO, Duration::from_millis(30)] {
            link.set_delay(delay);
            client.write_all(b"?").unwrap();
            server.read_exact(&mut byte).unwrap();
            let sent = Instant::now();
            server.write_all(b"!").unwrap();
            client.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"!");
            assert!(sent.elapsed() >= delay);
        }
        drop(server);
        assert_eq!(client.read(&mut byte).unwrap(), 0);
    }
}
