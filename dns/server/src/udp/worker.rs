//! One thread: receive, reply, send.

use super::{
    batch::{BATCH, Batch, Envelope, REPLY_MAX},
    config::UdpConfig,
    counts::{Counters, DnsCounts},
    slip::slip,
};
use crate::{
    Failing, Responder, Transport,
    limiter::{Fairness, Kind, RateLimit, Verdict},
    responder::Step,
    serve::ERROR_PAUSE,
};
use std::{
    io,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
};
use taffeta_dns_answer::{Asker, Fast, FastPath, Room, Snapshot};
use tokio::{runtime::Handle, task::JoinSet, time::Instant};

/// Full batches in a row from which on the full path gets no more than [`FULL_PATH_MAX`] of a batch: what is common is
/// not to wait for what is rare and dear.
const BEHIND: u32 = 16;
const FULL_PATH_MAX: u32 = 8;

/// What the threads of a server have in common.
pub(crate) struct Shared {
    pub(crate) responder: Arc<Responder>,
    pub(crate) config: UdpConfig,
    pub(crate) limit: RateLimit,
    pub(crate) runtime: Handle,
    pub(crate) stopped: Arc<AtomicBool>,
}

/// A thread's own.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    counters: Arc<Counters>,
    batch: Batch,
    path: FastPath,
    fairness: Fairness,
    /// Full batches in a row.
    full_batches: u32,
    /// Queries that wait for an upstream; bounded by the relay.
    relays: JoinSet<()>,
    begun: Instant,
    /// The order of records comes from here: one more for each query.
    seed: u64,
}

/// What all queries of a batch share.
struct Round<'a> {
    snapshot: &'a Snapshot,
    now: Instant,
    counts: DnsCounts,
    full_path_left: u32,
    failing: Option<Failing>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, socket: Arc<UdpSocket>, counters: Arc<Counters>) -> Self {
        let bound = socket.local_addr().expect("it is bound");
        Self {
            batch: Batch::new(bound),
            path: FastPath::default(),
            fairness: Fairness::new(shared.responder.draw()),
            full_batches: 0,
            relays: JoinSet::new(),
            begun: Instant::now(),
            seed: shared.responder.draw(),
            shared,
            socket,
            counters,
        }
    }

    /// Serves until the server stops.
    pub(crate) fn run(mut self) {
        while !self.shared.stopped.load(Ordering::Acquire) {
            match self.batch.receive(&self.socket, &self.shared.stopped) {
                Ok(received) => {
                    let is_full = received.count == BATCH;
                    self.fairness.begin_batch(is_full, received.lost);
                    self.full_batches = if is_full { self.full_batches.saturating_add(1) } else { 0 };
                    self.serve(received.count);
                }
                // Nobody came for a while, or a signal did.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::debug!(%error, "DNS socket");
                    sleep(ERROR_PAUSE);
                }
            }
        }
    }

    /// Replies to a batch from one snapshot.
    fn serve(&mut self, count: usize) {
        while self.relays.try_join_next().is_some() {}
        let shared = self.shared.clone();
        let snapshot = shared.responder.snapshot();
        let full_path_left = if self.full_batches >= BEHIND { FULL_PATH_MAX } else { BATCH as u32 };
        let counts = DnsCounts { queries: count as u64, ..DnsCounts::default() };
        let failing = shared.responder.failing();
        let mut round = Round { snapshot: &snapshot, now: Instant::now(), counts, full_path_left, failing };
        self.path.look_ahead(&snapshot, self.batch.queries(count));
        for position in 0..count {
            let client = self.batch.envelopes[position].client.ip();
            if self.fairness.admits(client) {
                self.reply(&mut round, position, client);
            } else {
                round.counts.unfair += 1;
            }
        }
        round.counts.unsent = self.batch.send(&self.socket, count) as u64;
        self.counters.add(round.counts);
    }

    #[inline]
    fn reply(&mut self, round: &mut Round<'_>, position: usize, client: IpAddr) {
        self.seed = self.seed.wrapping_add(1);
        let recursion_available = self.shared.responder.resolves_for(client);
        let asker = Asker { address: client, recursion_available, room: Room::Datagram };
        let (query, _, out) = self.batch.exchange(position);
        if let Some(failing) = round.failing.filter(|failing| failing.strikes(self.seed)) {
            let reply = self.shared.responder.fail_one(&failing, query).filter(|reply| reply.len() <= REPLY_MAX);
            let reply = reply.unwrap_or_default();
            out[..reply.len()].copy_from_slice(&reply);
            self.batch.envelopes[position].reply_len = reply.len();
            return self.limit(round, position, client);
        }
        let reply_len = match self.path.respond(round.snapshot, query, &asker, self.seed, out) {
            Fast::Reply(len) => {
                round.counts.fast += 1;
                len
            }
            Fast::Unusual => {
                let cached = self.shared.responder.try_cached(round.snapshot, round.now, query, client, out);
                round.counts.cached += u64::from(cached.is_some());
                cached.unwrap_or_else(|| self.reply_fully(round, position, client))
            }
        };
        self.batch.envelopes[position].reply_len = reply_len;
        self.limit(round, position, client);
    }

    /// What the fast path does not know; gives the length of the reply, or 0 if there is none, or not yet.
    fn reply_fully(&mut self, round: &mut Round<'_>, position: usize, client: IpAddr) -> usize {
        if round.full_path_left == 0 {
            round.counts.shed += 1;
            return 0;
        }
        round.full_path_left -= 1;
        let (query, envelope, out) = self.batch.exchange(position);
        match self.shared.responder.begin_at(round.snapshot, query, client, Transport::Udp) {
            // It fits, as a datagram is no longer than the room.
            Step::Done(Some(reply)) if reply.len() <= REPLY_MAX => {
                out[..reply.len()].copy_from_slice(&reply);
                round.counts.full += 1;
                reply.len()
            }
            Step::Done(_) => {
                round.counts.silent += 1;
                0
            }
            Step::Relay(relay) => {
                round.counts.relayed += 1;
                let (socket, envelope) = (Arc::downgrade(&self.socket), *envelope);
                let task = async move {
                    let Some(reply) = relay.run().await else { return };
                    // The socket is gone when the server has stopped.
                    let Some(socket) = socket.upgrade() else { return };
                    if let Err(error) = send_later(&socket, &reply, &envelope) {
                        tracing::debug!(%error, client = %envelope.client, "DNS reply not sent");
                    }
                };
                self.relays.spawn_on(task, &self.shared.runtime);
                0
            }
        }
    }

    /// Keeps a reply back that its network has no more of.
    #[inline]
    fn limit(&mut self, round: &mut Round<'_>, position: usize, client: IpAddr) {
        let shared = &self.shared;
        let (query, envelope, out) = self.batch.exchange(position);
        if envelope.reply_len == 0 {
            return;
        }
        round.counts.count_rcode(&out[..envelope.reply_len]);
        if !shared.limit.is_on() || shared.config.is_here(client) {
            return;
        }
        let now_ms = round.now.duration_since(self.begun).as_millis() as u64;
        let verdict = shared.limit.check(now_ms, client, Kind::of(&out[..envelope.reply_len]));
        if verdict == Verdict::Send || shared.responder.is_proven(query, client) {
            return;
        }
        let short = match verdict {
            Verdict::Slip => slip(&shared.responder, query, client, envelope.reply_len, out),
            Verdict::Send | Verdict::Drop => None,
        };
        match short {
            Some(_) => round.counts.slipped += 1,
            None => round.counts.limited += 1,
        }
        envelope.reply_len = short.unwrap_or(0);
    }
}

#[cfg(target_os = "linux")]
fn send_later(socket: &UdpSocket, reply: &[u8], envelope: &Envelope) -> io::Result<()> {
    super::many::send_later(socket, reply, envelope)
}

#[cfg(not(target_os = "linux"))]
fn send_later(socket: &UdpSocket, reply: &[u8], envelope: &Envelope) -> io::Result<()> {
    socket.send_to(reply, envelope.client).map(drop)
}
