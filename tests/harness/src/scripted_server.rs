//! A TCP server that says the same to every client: what a server or a proxy says that cannot be run here.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::background_runtime::BackgroundRuntime;

/// A running server; dropping it frees its port.
pub struct ScriptedServer {
    address: SocketAddr,
    _runtime: BackgroundRuntime,
}

impl ScriptedServer {
    /// Answers what a client says first with these bytes, whatever it is, and closes the connection.
    pub fn answering(words: &'static str) -> Self {
        let runtime = BackgroundRuntime::start("scripted-server");
        let listener = runtime.run(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            listener.expect("the loopback interface has free ports")
        });
        let address = listener.local_addr().expect("a listener has an address");
        runtime.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut request = [0; 1024];
                // Neither can fail in a way that matters: the client may be gone already.
                let _ = client.read(&mut request).await;
                let _ = client.write_all(words.as_bytes()).await;
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
