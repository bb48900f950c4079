//! Questions on their way to upstreams: equal ones share a way.

use super::{answer::Answer, failures::Failure, key::Key};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What came of a flight.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    Answered(Answer),
    /// Too long for UDP, by which it was asked for.
    CutShort,
    Failed(Failure),
}

/// Waits for a flight.
pub(crate) struct Passenger(Landings);

type Landings = watch::Receiver<Option<Landing>>;

/// Those under way, at most as many as there are permits.
pub(crate) struct Flights {
    under_way: Mutex<BTreeMap<Box<[u8]>, Landings>>,
    permits: Arc<Semaphore>,
}

/// How a question gets on its way.
pub(crate) enum Boarding {
    /// One is under way.
    Joined(Passenger),
    /// The caller must let this one fly.
    New(Passenger, Flight),
    /// Too many are.
    Full,
}

/// One under way, until it lands or is dropped. Its place among those at once is free when it is dropped.
pub(crate) struct Flight {
    flights: Arc<Flights>,
    name: Box<[u8]>,
    landing: watch::Sender<Option<Landing>>,
    _permit: OwnedSemaphorePermit,
}

impl Flights {
    pub(crate) fn new(max: usize) -> Self {
        Self { under_way: Mutex::default(), permits: Arc::new(Semaphore::new(max)) }
    }

    /// `whole`: what is too long for UDP is fetched by TCP.
    pub(crate) fn board(self: &Arc<Self>, key: &Key, whole: bool) -> Boarding {
        let name: Box<[u8]> = [key.as_bytes(), &[u8::from(whole)]].concat().into();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = under_way.get(&name) {
            return Boarding::Joined(Passenger(landing.clone()));
        }
        let Ok(permit) = self.permits.clone().try_acquire_owned() else { return Boarding::Full };
        let (sender, receiver) = watch::channel(None);
        under_way.insert(name.clone(), receiver.clone());
        let flight = Flight { flights: self.clone(), name, landing: sender, _permit: permit };
        Boarding::New(Passenger(receiver), flight)
    }
}

impl Passenger {
    pub(crate) async fn arrive(mut self) -> Landing {
        match self.0.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or(Landing::Failed(Failure::Silent)),
            // The runtime is being shut down.
            Err(_) => Landing::Failed(Failure::Silent),
        }
    }
}

impl Flight {
    /// Tells all passengers. Who asks from now on finds another way.
    pub(crate) fn land(&self, landing: Landing) {
        self.leave();
        self.landing.send_replace(Some(landing));
    }

    fn leave(&self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // A flight that landed stays for stragglers, while another may have taken its name.
        if under_way.get(&self.name).is_some_and(|r| r.same_channel(&self.landing.subscribe())) {
            under_way.remove(&self.name);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}
