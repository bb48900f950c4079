//! The network: datagrams in flight, what is wrong with each link, and the socket that nodes have.

use crate::{
    time::{ProcessTime, Run},
    trace::{Event, hash_words},
};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rand::{RngExt, rngs::SmallRng};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Datagrams that a socket holds for a process that does not read: about what a megabyte of kernel buffer holds.
const INBOX_MAX: usize = 800;

/// Datagrams in flight at once: a run that has more is a storm, and the rest is lost as in a switch.
const FLYING_MAX: usize = 100_000;

/// How much later a datagram comes that was overtaken.
const OVERTAKEN: Duration = Duration::from_millis(40);

/// What is wrong with the way from one machine to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Link {
    pub(crate) cut: bool,
    pub(crate) loss: f64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
}

impl Link {
    /// Whether it is as it should be.
    pub(crate) fn is_sound(&self) -> bool {
        *self == Self::default()
    }
}

/// All links and what travels on them.
#[derive(Debug)]
pub(crate) struct Wire {
    run: Arc<Run>,
    /// Time that a datagram takes at least and at most, on every sound link.
    latency: (Duration, Duration),
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rng: SmallRng,
    sockets: BTreeMap<SocketAddr, Arc<Inbox>>,
    /// By arrival, then in the order of sending.
    flying: BTreeMap<(Duration, u64), Datagram>,
    sent: u64,
    lost: u64,
    links: BTreeMap<(SocketAddr, SocketAddr), Link>,
}

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Datagrams with their senders, and who waits for them.
type Queue = (VecDeque<(SocketAddr, Vec<u8>)>, Option<Waker>);

#[derive(Debug, Default)]
struct Inbox {
    closed: AtomicBool,
    queue: Mutex<Queue>,
}

fn place(address: SocketAddr) -> u64 {
    match address.ip() {
        std::net::IpAddr::V4(ip) => u64::from(u32::from(ip)),
        std::net::IpAddr::V6(ip) => u128::from(ip) as u64, // every machine here has an IPv4 address
    }
}

impl Wire {
    pub(crate) fn new(run: Arc<Run>, rng: SmallRng, latency: (Duration, Duration)) -> Arc<Self> {
        let inner =
            Inner { rng, sockets: BTreeMap::new(), flying: BTreeMap::new(), sent: 0, lost: 0, links: BTreeMap::new() };
        Arc::new(Self { run, latency, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all that is wrong; links that are not named are sound.
    pub(crate) fn set_links(&self, links: BTreeMap<(SocketAddr, SocketAddr), Link>) {
        self.lock().links = links;
    }

    /// A socket for one life of a process. An earlier one at the same address is closed.
    pub(crate) fn bind(self: &Arc<Self>, address: SocketAddr, time: Arc<ProcessTime>) -> Arc<Socket> {
        let inbox = Arc::<Inbox>::default();
        let before = self.lock().sockets.insert(address, Arc::clone(&inbox));
        if let Some(before) = before {
            before.closed.store(true, Ordering::Relaxed);
        }
        Arc::new(Socket { address, inbox, time, wire: Arc::clone(self) })
    }

    /// Hands out what has arrived by now.
    pub(crate) fn deliver(&self) {
        let now = self.run.now();
        let mut wakers = vec![];
        {
            let inner = &mut *self.lock();
            while let Some(entry) = inner.flying.first_entry().filter(|entry| entry.key().0 <= now) {
                let Datagram { from, to, bytes } = entry.remove();
                let Some(inbox) = inner.sockets.get(&to) else { continue };
                let mut queue = inbox.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.0.len() >= INBOX_MAX {
                    self.run.note(now, Event::Drop, place(to), bytes.len() as u64, place(from));
                    continue;
                }
                self.run.note(now, Event::Deliver, place(to), bytes.len() as u64, place(from));
                queue.0.push_back((from, bytes));
                wakers.extend(queue.1.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn send(&self, at: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let inner = &mut *self.lock();
        let link = inner.links.get(&(from, to)).copied().unwrap_or_default();
        inner.sent += 1;
        let lost = link.cut || (link.loss > 0.0 && inner.rng.random_bool(link.loss));
        if lost || inner.flying.len() >= FLYING_MAX {
            inner.lost += 1;
            return self.run.note(at, Event::Drop, place(from), bytes.len() as u64, place(to));
        }
        self.run.note(at, Event::Send, place(from), bytes.len() as u64, place(to) ^ hash_words(bytes));
        let twice = link.duplicate > 0.0 && inner.rng.random_bool(link.duplicate);
        for _ in 0..=u8::from(twice) {
            let (least, most) = self.latency;
            let mut travel = between(&mut inner.rng, least, most) + link.delay;
            travel += between(&mut inner.rng, Duration::ZERO, link.jitter);
            if link.reorder > 0.0 && inner.rng.random_bool(link.reorder) {
                travel += between(&mut inner.rng, Duration::ZERO, OVERTAKEN);
            }
            let number = inner.sent * 2 + u64::from(inner.flying.contains_key(&(at + travel, inner.sent * 2)));
            inner.flying.insert((at + travel, number), Datagram { from, to, bytes: bytes.to_vec() });
        }
    }
}

fn between(rng: &mut SmallRng, least: Duration, most: Duration) -> Duration {
    if most <= least {
        return least;
    }
    let span = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
    least + Duration::from_micros(rng.random_range(0..=span))
}

/// A process's UDP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    time: Arc<ProcessTime>,
    wire: Arc<Wire>,
}

impl Socket {
    /// The process is no more: nothing comes from it and nothing reaches it.
    pub(crate) fn close(&self) {
        self.inbox.closed.store(true, Ordering::Relaxed);
        let sockets = &mut self.wire.lock().sockets;
        if sockets.get(&self.address).is_some_and(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
            sockets.remove(&self.address);
        }
    }
}

/// The wire takes whatever is sent.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // A process that is no more still runs its destructors here; on a machine it would not.
        if !self.inbox.closed.load(Ordering::Relaxed) {
            self.wire.send(self.time.now(), self.address, transmit.destination, transmit.contents);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.inbox.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = 0;
        while filled < buffers.len().min(metas.len()) {
            let Some((from, bytes)) = queue.0.pop_front() else { break };
            let length = bytes.len().min(buffers[filled].len());
            buffers[filled][..length].copy_from_slice(&bytes[..length]);
            metas[filled] = RecvMeta { addr: from, len: length, stride: length, ecn: None, dst_ip: None };
            filled += 1;
        }
        if filled > 0 {
            return Poll::Ready(Ok(filled));
        }
        queue.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
