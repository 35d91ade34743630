//! A tokio runtime on its own thread, for parts of the harness that must run while a test's thread is busy.
//!
//! If a proxy ran on the test's runtime, a computation in the test would stop the proxy. The test would then have an outage
//! that it did not start.

use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A runtime with its thread. Dropping this value drops all tasks and waits for the end of the thread.
pub struct BackgroundRuntime {
    handle: Handle,
    /// Dropping the sender ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundRuntime {
    /// Starts the thread with this name. A debugger shows the name.
    pub fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system has free file descriptors");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // This future ends with an error when `stop` is dropped. The error means that the thread must end.
                let _ = runtime.block_on(stopped);
            })
            .expect("the system can start a thread");
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Runs a future in the background.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Runs a future in the background and blocks until it ends. The future must be short and must not wait for the caller's
    /// runtime.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Sending fails only if the caller has panicked meanwhile.
            let _ = done.send(future.await);
        });
        result
            .recv()
            .expect("the background thread runs as long as its owner")
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If that thread panicked, its panic has been printed already. A second panic here would abort the test.
            let _ = thread.join();
        }
    }
}
