//! A client of the driver, and the state of its connection.

use std::sync::Arc;

use mongodb::Client;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use parking_lot::Mutex;

use super::Error;
use super::address::Deployment;

/// A client of the driver, and the state of its connection.
#[derive(Clone)]
pub(super) struct LiveClient {
    pub(super) client: Client,
    pub(super) deployment: Arc<Deployment>,
    pub(super) monitor: Arc<Monitor>,
    /// Whether the server has replied on this client.
    pub(super) has_replied: bool,
}

/// The last result of the driver's server monitoring. If no server is available, the monitoring has the reason early. A
/// call that waits for a server times out much later.
#[derive(Default)]
pub(super) struct Monitor(Mutex<Option<Result<(), Error>>>);

impl LiveClient {
    pub(super) fn is_at(&self, deployment: &Arc<Deployment>) -> bool {
        Arc::ptr_eq(&self.deployment, deployment)
    }

    /// Whether `self` and `other` are clones of one client.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.monitor, &other.monitor)
    }

    pub(super) fn open(deployment: &Arc<Deployment>) -> Result<Self, Error> {
        let monitor = Arc::<Monitor>::default();
        let mut options = deployment.options.clone();
        let recording = Arc::clone(&monitor);
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            recording.record(&event)
        }));
        #[expect(
            clippy::disallowed_methods,
            reason = "this module opens the connections to MongoDB"
        )]
        let client = Client::with_options(options).map_err(|error| Error::of_driver(&error))?;
        Ok(Self {
            client,
            deployment: Arc::clone(deployment),
            monitor,
            has_replied: false,
        })
    }
}

impl Monitor {
    fn record(&self, event: &SdamEvent) {
        let found = match event {
            SdamEvent::ServerHeartbeatSucceeded(_) => Ok(()),
            SdamEvent::ServerHeartbeatFailed(event) => Err(Error::of_driver(&event.failure)),
            _ => return,
        };
        *self.0.lock() = Some(found);
    }

    pub(super) fn last(&self) -> Option<Result<(), Error>> {
        *self.0.lock()
    }
}
