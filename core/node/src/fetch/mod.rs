//! Files for tasks from the network: each is downloaded once, whoever wants it, and kept under its digest.
//!
//! [`store`] keeps them, [`http`] asks for them; here is who waits for whom. Left out: what a file is good for (the executor
//! copies or unpacks it), and when to try again (the agent).

mod http;
mod store;

use bytes::Bytes;
use http::Asked;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use store::{Incoming, Rejected, Store};
use taffeta_model::{Fetch, Sha256};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout},
};

/// Files that are downloaded at once: more would share the same line.
const AT_ONCE: usize = 4;
/// Pieces between the line and the disk: the faster one waits.
const PIECES_MAX: usize = 8;

/// How long it is remembered that a server gave something else than was asked for: somebody has to mend that, and each try
/// would download all of it again.
const WRONG_FOR: Duration = Duration::from_secs(300);
/// Most of such that are remembered; the oldest are forgotten first.
const WRONG_MAX: usize = 1_000;

/// What may be fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchLimits {
    /// Most bytes of one file.
    pub(crate) file: u64,
    /// Most bytes of all that are kept.
    pub(crate) all: u64,
    /// How long one file may take.
    pub(crate) time: Duration,
}

/// Why a file could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchFailure {
    /// It may be had later, as from a server that does not answer.
    Passing(String),
    /// It will not be what was asked for, unless somebody changes it.
    Lasting(String),
}

/// Fetches, and keeps what was fetched. Clones do it together.
#[derive(Clone)]
pub(crate) struct Fetcher {
    /// `None` in a world without disks.
    inner: Option<Arc<Inner>>,
}

struct Inner {
    store: Store,
    limits: FetchLimits,
    lanes: Semaphore,
    /// Downloads under way, by what they are for.
    flights: Mutex<BTreeMap<Sha256, Weak<Flight>>>,
    /// How many starts need a file at this moment: it is not thrown away.
    held: Mutex<BTreeMap<Sha256, usize>>,
    /// What was asked for, by address and digest, and was something else; with the digest of that, and since when.
    wrong: Mutex<BTreeMap<(String, Sha256), (Sha256, Instant)>>,
}

/// A download. It ends when nobody waits for it any more.
struct Flight {
    url: String,
    state: watch::Receiver<Flying>,
    task: AbortHandle,
}

/// How far a download is.
#[derive(Clone, Debug)]
enum Flying {
    /// Others come first.
    Queued,
    /// So many bytes have come, of so many if that was said.
    Coming(u64, Option<u64>),
    /// It is over.
    Over(Result<(), FetchFailure>),
}

/// A file that is there, and stays until this is dropped.
pub(crate) struct Held {
    inner: Arc<Inner>,
    digest: Sha256,
    path: PathBuf,
}

impl Fetcher {
    /// Keeps files below `root`. What an earlier process did not finish is removed, and what is more than may be kept by now.
    pub(crate) fn new(root: Option<PathBuf>, limits: FetchLimits) -> Self {
        let inner = |root| {
            let (store, (flights, held, wrong)) = (Store::new(root), Default::default());
            let _ = store.evict(limits.all, |_| false); // most have no such folder; else it is tried again after a download
            Arc::new(Inner { store, limits, lanes: Semaphore::new(AT_ONCE), flights, held, wrong })
        };
        Self { inner: root.map(inner) }
    }

    /// Most bytes that an archive may grow to: what is packed well takes a fourth.
    pub(crate) fn unpacked_max(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.limits.file.saturating_mul(4))
    }

    /// The file, from the disk or the network. `tell` is called with how far it is, in words.
    pub(crate) async fn get(&self, fetch: &Fetch, tell: &(dyn Fn(String) + Sync)) -> Result<Held, FetchFailure> {
        let Some(inner) = &self.inner else {
            return Err(FetchFailure::Lasting(format!("{}: this machine has no disk for it", fetch.title())));
        };
        let held = Held::new(inner, fetch.digest);
        loop {
            if inner.find(fetch).await? {
                return Ok(held);
            }
            if let Some(found) = inner.known_wrong(fetch) {
                return Err(other_than_asked(fetch, found));
            }
            let flight = inner.join(fetch);
            let outcome = flight.wait(fetch, tell).await;
            match outcome {
                Ok(()) => {}
                // Somebody else's server has failed; this one's has not been asked.
                Err(_) if flight.url != fetch.url => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl Inner {
    async fn find(self: &Arc<Self>, fetch: &Fetch) -> Result<bool, FetchFailure> {
        let (inner, digest) = (Arc::clone(self), fetch.digest);
        let found = blocking(move || inner.store.find(digest)).await;
        found.map_err(|e| FetchFailure::Passing(format!("{}: the store of fetched files: {e}", fetch.title())))
    }

    /// The download of this file, which is begun unless it is under way.
    fn join(self: &Arc<Self>, fetch: &Fetch) -> Arc<Flight> {
        let mut flights = lock(&self.flights);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let known = flights.get(&fetch.digest).and_then(Weak::upgrade);
        if let Some(flight) = known.filter(|flight| !matches!(*flight.state.borrow(), Flying::Over(_))) {
            return flight;
        }
        let (sender, state) = watch::channel(Flying::Queued);
        let (inner, wanted) = (Arc::clone(self), fetch.clone());
        let task = tokio::spawn(async move {
            let outcome = inner.download(&wanted, &sender).await;
            sender.send_replace(Flying::Over(outcome));
        });
        let flight = Arc::new(Flight { url: fetch.url.clone(), state, task: task.abort_handle() });
        flights.insert(fetch.digest, Arc::downgrade(&flight));
        flight
    }

    async fn download(self: &Arc<Self>, fetch: &Fetch, state: &watch::Sender<Flying>) -> Result<(), FetchFailure> {
        let _lane = self.lanes.acquire().await.map_err(|e| FetchFailure::Passing(e.to_string()))?;
        let limits = self.limits;
        match timeout(limits.time, self.transfer(fetch, state)).await {
            Ok(done) => done,
            Err(_) => {
                let far = far(fetch, &state.borrow());
                Err(FetchFailure::Passing(format!("{far} after {} s, which is too slow", limits.time.as_secs())))
            }
        }
    }

    /// From the line to the disk.
    async fn transfer(self: &Arc<Self>, fetch: &Fetch, state: &watch::Sender<Flying>) -> Result<(), FetchFailure> {
        let title = fetch.title();
        let failed = |why: String| FetchFailure::Passing(format!("{title} cannot be fetched: {why}"));
        let mut asked = Asked::get(&fetch.url).await.map_err(failed)?;
        let too_large = |bytes: u64| {
            let (bytes, most) = (in_words(bytes), in_words(self.limits.file));
            FetchFailure::Lasting(format!(
                "{title} has {bytes} or more; this machine fetches up to {most} (--fetch-max)"
            ))
        };
        if let Some(length) = asked.length().filter(|length| *length > self.limits.file) {
            return Err(too_large(length));
        }
        state.send_replace(Flying::Coming(0, asked.length()));
        let (sender, pieces) = mpsc::channel::<Option<Bytes>>(PIECES_MAX);
        let written = self.write(fetch.digest, pieces);
        let mut done = 0;
        loop {
            let piece = asked.piece().await.map_err(failed)?;
            let over = piece.is_none();
            done += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            if done > self.limits.file {
                return Err(too_large(done));
            }
            if sender.send(piece).await.is_err() || over {
                break; // the disk has the last word
            }
            state.send_replace(Flying::Coming(done, asked.length()));
        }
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Rejected::Other(found))) => {
                self.note_wrong(fetch, found);
                Err(other_than_asked(fetch, found))
            }
            Ok(Err(Rejected::Disk(e))) => Err(FetchFailure::Passing(format!("{title} cannot be stored: {e}"))),
            Err(e) => Err(FetchFailure::Passing(format!("{title} cannot be stored: {e}"))),
        }
    }

    /// The digest of what this server gave a while ago instead of what is asked for.
    fn known_wrong(&self, fetch: &Fetch) -> Option<Sha256> {
        let wrong = lock(&self.wrong);
        let (found, since) = wrong.get(&(fetch.url.clone(), fetch.digest))?;
        (since.elapsed() < WRONG_FOR).then_some(*found)
    }

    fn note_wrong(&self, fetch: &Fetch, found: Sha256) {
        let mut wrong = lock(&self.wrong);
        wrong.retain(|_, (_, since)| since.elapsed() < WRONG_FOR);
        if wrong.len() >= WRONG_MAX
            && let Some(oldest) = wrong.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| key.clone())
        {
            wrong.remove(&oldest);
        }
        wrong.insert((fetch.url.clone(), fetch.digest), (found, Instant::now()));
    }

    /// Writes what comes, on a thread of its own. Without a `None` at the end nothing is kept.
    #[expect(clippy::disallowed_methods, reason = "a simulated machine fetches nothing: it has no folder for it")]
    fn write(
        self: &Arc<Self>,
        digest: Sha256,
        mut pieces: mpsc::Receiver<Option<Bytes>>,
    ) -> JoinHandle<Result<(), Rejected>> {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut incoming = Incoming::begin(&inner.store)?;
            while let Some(piece) = pieces.blocking_recv() {
                let Some(piece) = piece else {
                    incoming.keep(digest)?;
                    let held = lock(&inner.held).clone();
                    return Ok(inner.store.evict(inner.limits.all, |digest| held.contains_key(digest))?);
                };
                incoming.write(&piece)?;
            }
            Ok(()) // given up; it goes as it is dropped
        })
    }
}

impl Flight {
    /// Waits until it is over.
    async fn wait(&self, fetch: &Fetch, tell: &(dyn Fn(String) + Sync)) -> Result<(), FetchFailure> {
        let mut state = self.state.clone();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                Flying::Over(outcome) => return outcome,
                Flying::Queued | Flying::Coming(..) => tell(far(fetch, &now)),
            }
            if state.changed().await.is_err() {
                return match self.state.borrow().clone() {
                    Flying::Over(outcome) => outcome,
                    Flying::Queued | Flying::Coming(..) => {
                        Err(FetchFailure::Passing(format!("{} was given up", fetch.title())))
                    }
                };
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    fn new(inner: &Arc<Inner>, digest: Sha256) -> Self {
        *lock(&inner.held).entry(digest).or_default() += 1;
        Self { inner: Arc::clone(inner), digest, path: inner.store.path(digest) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock(&self.inner.held);
        if let Some(count) = held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.digest);
            }
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing(why) | Self::Lasting(why) => f.write_str(why),
        }
    }
}

fn other_than_asked(fetch: &Fetch, found: Sha256) -> FetchFailure {
    let (title, digest) = (fetch.title(), &fetch.digest);
    FetchFailure::Lasting(format!(
        "{title} is not what was asked for: its SHA-256 is {found}, and {digest} is expected"
    ))
}

/// As in `fetching x.tar.gz: 12 of 40 MiB`.
fn far(fetch: &Fetch, flying: &Flying) -> String {
    let title = fetch.title();
    match flying {
        Flying::Queued => format!("fetching {title}: others come first"),
        Flying::Coming(done, Some(all)) => format!("fetching {title}: {} of {} MiB", done >> 20, all.div_ceil(1 << 20)),
        Flying::Coming(done, None) => format!("fetching {title}: {} MiB", done >> 20),
        Flying::Over(_) => format!("fetching {title}"),
    }
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work with the disk, away from the runtime's threads.
#[expect(clippy::disallowed_methods, reason = "a simulated machine fetches nothing: it has no folder for it")]
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests;
