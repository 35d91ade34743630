//! Accepts connections and serves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection;
use super::switchboard::Switchboard;

impl Switchboard {
    /// Starts to accept connections, if the proxy does not accept connections already.
    pub(super) async fn listen(self: Arc<Self>) {
        if self.settings.lock().listener.is_some() {
            return;
        }
        let listener = bind(self.address()).await;
        let accepting = tokio::spawn(Arc::clone(&self).accept(listener));
        self.settings.lock().listener = Some(accepting);
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // An error concerns the connection that was being accepted. The listener still works.
            let Ok((client, _)) = listener.accept().await else {
                continue;
            };
            let (number, mut flow) = self.admit();
            let board = Arc::clone(&self);
            tokio::spawn(async move {
                connection::serve(client, number, &board, &mut flow).await;
                board.settings.lock().connections.remove(&number);
                // `end_connections` waits until the last receiver is dropped, which must happen after the sockets close.
                drop(flow);
            });
        }
    }
}

/// Listens on the proxy's port, which is reserved for the proxy.
///
/// The port can still be in use for a moment after the proxy has closed it. If another test starts a process at that time,
/// the new process has a copy of the listener until it runs its program.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut bound = TcpListener::bind(address).await;
    for _ in 0..200 {
        if bound.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        bound = TcpListener::bind(address).await;
    }
    bound.expect("the proxy's port is reserved for it")
}
