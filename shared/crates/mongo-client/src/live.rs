//! A client of the driver's, and what it found out.

use std::sync::Arc;

use mongodb::Client;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use parking_lot::Mutex;

use super::Error;
use super::address::Place;

/// A client and what it found out.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) place: Arc<Place>,
    pub(super) monitor: Arc<Monitor>,
    /// Whether a ping went through: then a connection stands.
    pub(super) has_answered: bool,
}

/// What the driver's own monitoring of the server found last. It knows why there is no server long before a call that
/// waits for one gives up.
#[derive(Default)]
pub(super) struct Monitor(Mutex<Option<Result<(), Error>>>);

impl Live {
    pub(super) fn is_at(&self, place: &Arc<Place>) -> bool {
        Arc::ptr_eq(&self.place, place)
    }

    /// Whether both are the same client.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.monitor, &other.monitor)
    }

    pub(super) fn open(place: &Arc<Place>) -> Result<Self, Error> {
        let monitor = Arc::<Monitor>::default();
        let mut options = place.options.clone();
        let noting = Arc::clone(&monitor);
        options.sdam_event_handler = Some(EventHandler::callback(move |event| noting.note(&event)));
        #[expect(
            clippy::disallowed_methods,
            reason = "this module is where MongoDB is opened"
        )]
        let client = Client::with_options(options).map_err(|error| Error::of_driver(&error))?;
        Ok(Self {
            client,
            place: Arc::clone(place),
            monitor,
            has_answered: false,
        })
    }
}

impl Monitor {
    fn note(&self, event: &SdamEvent) {
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
