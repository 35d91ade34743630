//! Who connects, and is served.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::connection;
use super::switchboard::Switchboard;

impl Switchboard {
    /// Accepts connections from now on, if that is not so already.
    pub(super) async fn listen(self: Arc<Self>) {
        if self.settings.lock().listener.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address())
            .await
            .expect("the proxy's port is reserved for it");
        let accepting = tokio::spawn(Arc::clone(&self).accept(listener));
        self.settings.lock().listener = Some(accepting);
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // An error concerns the connection that was about to be accepted, not the listener.
            let Ok((client, _)) = listener.accept().await else {
                continue;
            };
            let (number, mut flow) = self.admit();
            let board = Arc::clone(&self);
            tokio::spawn(async move {
                connection::serve(client, number, &board, &mut flow).await;
                board.settings.lock().connections.remove(&number);
                // `end_connections` waits for this: the last receiver goes after the sockets.
                drop(flow);
            });
        }
    }
}
