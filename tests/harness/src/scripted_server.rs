//! A TCP server with a fixed answer. It simulates servers and proxies that the tests cannot run.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::background_runtime::BackgroundRuntime;

/// A running server. Dropping it frees its port.
pub struct ScriptedServer {
    address: SocketAddr,
    _runtime: BackgroundRuntime,
}

impl ScriptedServer {
    /// Starts a server that answers the first bytes of each client with this text, and then closes
    /// the connection.
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
                // Errors do not matter here, because it is possible that the client is gone
                // already.
                let _ = client.read(&mut request).await;
                let _ = client.write_all(words.as_bytes()).await;
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// The address to which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
