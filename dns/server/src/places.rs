//! Who is connected, and who has to go when there are too many.

use crate::ServeLimits;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// The connections of one listener: at most as many as its limits say.
pub(crate) struct Places {
    limits: ServeLimits,
    /// By number; bounded by `connections_max`, so looking through all of it is cheap beside accepting a connection.
    taken: Mutex<BTreeMap<u64, Held>>,
    /// Counts events, to tell which was earlier.
    clock: AtomicU64,
}

struct Held {
    client: IpAddr,
    presence: Arc<Presence>,
}

/// What a connection does at the moment.
#[derive(Default)]
struct Presence {
    /// Since when it waits for its client, by the clock of [`Places`]; [`BUSY`] while it works for it.
    waits_since: AtomicU64,
    leave: Notify,
}

const BUSY: u64 = u64::MAX;

/// One connection's place, given back when dropped.
pub(crate) struct Place {
    number: u64,
    presence: Arc<Presence>,
    places: Arc<Places>,
}

impl Places {
    pub(crate) fn new(limits: ServeLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default(), clock: AtomicU64::new(1) })
    }

    /// A place for a client that has just come and is waited for. The place of the longest idle one, if there is none
    /// left; of the client's own, if it has its share. `None` if all of those are busy.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = network(client);
        let mut taken = self.lock();
        let own = taken.values().filter(|h| h.client == client).count();
        if own >= self.limits.connections_per_client_max {
            evict(&mut taken, |h| h.client == client)?;
        } else if taken.len() >= self.limits.connections_max {
            evict(&mut taken, |_| true)?;
        }
        let number = self.tick();
        let presence = Arc::new(Presence { waits_since: AtomicU64::new(number), leave: Notify::new() });
        taken.insert(number, Held { client, presence: presence.clone() });
        Some(Place { number, presence, places: self.clone() })
    }

    /// Whether it is time to be careful with newcomers.
    pub(crate) fn is_half_taken(&self) -> bool {
        self.lock().len() * 2 >= self.limits.connections_max
    }

    /// How long a connection may idle now.
    fn idle(&self) -> Duration {
        let nearly_full = self.lock().len() * 4 > self.limits.connections_max * 3;
        if nearly_full { self.limits.idle / 5 } else { self.limits.idle }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Held>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().len()
    }
}

impl Place {
    /// The connection works for its client: it is not taken away.
    pub(crate) fn is_busy(&self) {
        self.presence.waits_since.store(BUSY, Ordering::Relaxed);
    }

    /// The connection has done all that it was asked, and waits.
    pub(crate) fn waits(&self) {
        self.presence.waits_since.store(self.places.tick(), Ordering::Relaxed);
    }

    /// How long it may idle from now.
    pub(crate) fn idle(&self) -> Duration {
        self.places.idle()
    }

    /// Returns when somebody else got this place: the connection has to close.
    pub(crate) async fn is_taken_away(&self) {
        self.presence.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.number);
    }
}

/// Takes the place of the longest idle connection of those.
fn evict(taken: &mut BTreeMap<u64, Held>, of: impl Fn(&Held) -> bool) -> Option<()> {
    let since = |held: &Held| held.presence.waits_since.load(Ordering::Relaxed);
    let candidates = taken.iter().filter(|(_, h)| of(h)).map(|(number, h)| (since(h), *number));
    let (_, number) = candidates.filter(|(since, _)| *since != BUSY).min()?;
    taken.remove(&number)?.presence.leave.notify_one();
    Some(())
}

/// Whoever has one address of IPv6 has as a rule 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
