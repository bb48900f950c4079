//! The state of the relay, and where a question enters it.

use super::{
    ForwardConfig, ForwardCounts,
    cache::Cache,
    counts::Counters,
    failures::Failures,
    flights::{Flights, Landing},
    key::Key,
    pool::Pool,
    reply::Asker,
    routes::{MACHINE, Route, Routes, counted},
};
use crate::{Exchange, Upstreams};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Resolves names that are not ours, for clients of this machine.
pub(crate) struct Forwarder {
    config: ForwardConfig,
    exchange: Arc<dyn Exchange>,
    cache: Cache,
    failures: Mutex<Failures>,
    /// The machine's upstreams, then those of each suffix.
    pools: Box<[Mutex<Pool>]>,
    routes: Routes,
    flights: Arc<Flights>,
    waiting: Arc<Semaphore>,
    /// Where our own servers listen. One entry for each server.
    listening: Mutex<Vec<SocketAddr>>,
    /// When the lists of upstreams were read.
    read_at: tokio::sync::Mutex<Option<Instant>>,
    /// A server began to listen since.
    outdated: AtomicBool,
    counters: Counters,
    seed: u64,
    drawn: AtomicU64,
}

impl Forwarder {
    pub(crate) fn new(config: ForwardConfig, exchange: Arc<dyn Exchange>, seed: u64) -> Self {
        let suffixes = counted(&config.suffixes);
        Self {
            exchange,
            cache: Cache::new(config.cache, seed),
            failures: Mutex::default(),
            pools: (0..=suffixes.len()).map(|_| Mutex::default()).collect(),
            routes: Routes::new(suffixes, config.forward_private_reverse),
            flights: Arc::new(Flights::new(config.in_flight_max)),
            waiting: Arc::new(Semaphore::new(config.waiting_max)),
            listening: Mutex::default(),
            read_at: tokio::sync::Mutex::default(),
            outdated: AtomicBool::new(false),
            counters: Counters::default(),
            seed,
            drawn: AtomicU64::new(0),
            config,
        }
    }

    /// Whether names that are not ours are resolved for this client.
    pub(crate) fn serves(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let local = client.is_loopback() || self.config.own_addresses.iter().any(|a| a.to_canonical() == client);
        local && !(matches!(self.config.upstreams, Upstreams::Nobody) && self.config.suffixes.is_empty())
    }

    /// Writes a fresh answer; `None` if there is none or `out` is too short for it. Neither waits nor allocates.
    pub(crate) fn write_fresh(&self, now: Instant, key: &Key, asker: &Asker<'_>, out: &mut [u8]) -> Option<usize> {
        self.cache.with_fresh(now, key, |answer, age| answer.write(asker, age, out))
    }

    pub(crate) fn counts(&self) -> ForwardCounts {
        self.counters.read(self.cache.hits(), self.cache.size())
    }

    /// Tells that a server listens here.
    pub(crate) fn listens_on(self: &Arc<Self>, address: SocketAddr) {
        lock(&self.listening).push(address);
        self.outdated.store(true, Ordering::Release);
        self.spawn_warm_up();
    }

    /// Reads the lists of upstreams if it is time to, and leaves out ourselves.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let mut read_at = self.read_at.lock().await;
        let now = Instant::now();
        let outdated = self.outdated.swap(false, Ordering::AcqRel);
        let due = read_at.is_none_or(|at| self.config.upstreams.may_change() && at + self.config.reread_after <= now);
        if outdated || due {
            let machine = self.config.upstreams.read(|u| self.is_own(u)).await;
            self.pool(MACHINE).renew(&machine);
            for (group, (_, upstreams)) in counted(&self.config.suffixes).iter().enumerate() {
                let others: Vec<_> = upstreams.iter().copied().filter(|u| !self.is_own(*u)).collect();
                self.pool(group + 1).renew(&others);
            }
            *read_at = Some(now);
        }
        drop(read_at);
        self.spawn_probes(now);
    }

    /// Whether an upstream is one of our own servers: asking it would go round for ever.
    fn is_own(&self, upstream: SocketAddr) -> bool {
        let ip = upstream.ip().to_canonical();
        let here = || ip.is_loopback() || ip.is_unspecified() || self.config.own_addresses.contains(&ip);
        let same = |l: &SocketAddr| l.ip().to_canonical() == ip || l.ip().is_unspecified() && here();
        lock(&self.listening).iter().any(|l| l.port() == upstream.port() && same(l))
    }

    /// Keeps what came of a question.
    pub(crate) fn remember(&self, key: &Key, landing: &Landing) {
        let now = Instant::now();
        match landing {
            Landing::Answered(answer) => {
                lock(&self.failures).clear(key);
                self.cache.insert(now, key, answer.clone());
            }
            Landing::CutShort => {}
            Landing::Failed(failure) => {
                self.counters.failures.add();
                lock(&self.failures).note(now, key, failure.clone());
            }
        }
    }

    pub(crate) fn config(&self) -> &ForwardConfig {
        &self.config
    }

    pub(crate) fn exchange_seam(&self) -> &dyn Exchange {
        &*self.exchange
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        lock(&self.failures)
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn pool(&self, group: usize) -> MutexGuard<'_, Pool> {
        lock(&self.pools[group])
    }

    /// All groups of upstreams, by their places.
    pub(crate) fn groups(&self) -> std::ops::Range<usize> {
        0..self.pools.len()
    }

    pub(crate) fn route(&self, key: &Key) -> &Route {
        self.routes.find(key.name())
    }

    /// A place among the clients that wait.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_owned().ok()
    }

    /// A number that whoever cannot see our queries cannot guess: a hash of the secret seed and a counter.
    pub(crate) fn draw(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.drawn.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        hasher.finish()
    }

    /// The id of a query to an upstream.
    pub(crate) fn next_id(&self) -> u16 {
        (self.draw() >> 48) as u16
    }
}

/// What is behind our locks is whole after every call, also one that panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
