//! A tokio runtime on a thread of its own, for the parts of the harness that must go on while a test's own thread
//! is busy: a proxy that stops because the test computes something would be an outage that nobody ordered.

use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Runs what is spawned on it until it is dropped; then every task is dropped too, and the thread is joined.
pub struct BackgroundRuntime {
    handle: Handle,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundRuntime {
    /// Starts the thread under a name that shows up in a debugger.
    pub fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs a few file descriptors");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // The error is the signal: the sender was dropped.
                let _ = runtime.block_on(stopped);
            })
            .expect("the system gives another thread");
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Lets a future run in the background.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Runs a future in the background and blocks until it is done: for steps of microseconds that must be
    /// in force when the caller's next line runs, and that wait for nothing on the caller's runtime.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Fails only when the caller has panicked meanwhile.
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
            // A panic over there has been printed; another one here would abort a failing test.
            let _ = thread.join();
        }
    }
}
