//! A UDP socket that can be made to lose, delay, repeat and reorder packets on purpose.
//!
//! Without a rule it is the socket below it but for one look at a flag. Packets that are late wait here, in bounded
//! queues: those that go are sent by a task, those that come are given when they are due.

use crate::link_faults::{LinkFaults, Way};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use std::{
    collections::BTreeMap,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

/// Packets that wait in one direction: a second of a busy node. More are lost, as in any network.
const WAITING_MAX: usize = 8_192;

/// Looks at the socket below in a row that bring nothing, before others get the thread.
const ROUNDS_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct FaultySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    faults: Arc<LinkFaults>,
    late: Arc<Late>,
    incoming: Mutex<Incoming>,
    /// Whether something that came may wait to be given.
    holds: AtomicBool,
}

/// What waits to be sent. The task that sends it holds nothing else: the port is free when the socket is dropped.
#[derive(Debug)]
struct Late {
    outgoing: Mutex<Waiting<Outgoing>>,
    /// Something new waits, or the socket is gone.
    news: Notify,
    gone: AtomicBool,
}

/// Packets by the moment when they are due; of the same moment in the order in which they came.
#[derive(Debug)]
struct Waiting<T> {
    packets: BTreeMap<(Instant, u64), T>,
    count: u64,
}

#[derive(Debug)]
struct Outgoing {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    contents: Vec<u8>,
}

#[derive(Debug)]
struct Incoming {
    waiting: Waiting<(Vec<u8>, RecvMeta)>,
    /// Wakes QUIC when the first of them is due.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<T> Waiting<T> {
    fn new() -> Self {
        Self { packets: BTreeMap::new(), count: 0 }
    }

    /// A packet more, unless there are too many.
    fn add(&mut self, at: Instant, packet: T) {
        if self.packets.len() < WAITING_MAX {
            self.count += 1;
            self.packets.insert((at, self.count), packet);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<T> {
        let first = self.packets.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((at, _), _)| *at)
    }
}

impl FaultySocket {
    /// The socket, to which the rules are done that are set in `faults`. Must be called inside of a tokio runtime.
    pub fn new(inner: Arc<dyn AsyncUdpSocket>, faults: Arc<LinkFaults>) -> Arc<Self> {
        let incoming = Incoming { waiting: Waiting::new(), alarm: None };
        let late =
            Arc::new(Late { outgoing: Mutex::new(Waiting::new()), news: Notify::new(), gone: AtomicBool::new(false) });
        tokio::spawn(send_late(Arc::clone(&late), Arc::downgrade(&inner)));
        let (incoming, holds) = (Mutex::new(incoming), AtomicBool::new(false));
        Arc::new(Self { inner, faults, late, incoming, holds })
    }

    /// Sends one datagram, or lets it wait, or loses it.
    fn send_one(&self, transmit: &Transmit<'_>, contents: &[u8], now: Instant) -> io::Result<()> {
        let Transmit { destination, ecn, src_ip, .. } = *transmit;
        for late in self.faults.fate(destination, Way::Out, contents.len(), now).into_iter().flatten() {
            if late.is_zero() {
                self.inner.try_send(&Transmit { destination, ecn, contents, segment_size: None, src_ip })?;
            } else {
                self.late.add(now + late, Outgoing { destination, ecn, src_ip, contents: contents.into() });
            }
        }
        Ok(())
    }
}

impl Drop for FaultySocket {
    fn drop(&mut self) {
        self.late.gone.store(true, Ordering::Release);
        self.late.news.notify_one();
    }
}

impl Late {
    fn add(&self, at: Instant, packet: Outgoing) {
        self.outgoing().add(at, packet);
        self.news.notify_one();
    }

    /// Sends what is due; gives when the next is.
    fn send_due(&self, socket: &dyn AsyncUdpSocket) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut waiting = self.outgoing();
            let Some(packet) = waiting.take_due(now) else { return waiting.next() };
            drop(waiting);
            let Outgoing { destination, ecn, src_ip, contents } = packet;
            // A full buffer loses it: it is UDP.
            let _ = socket.try_send(&Transmit { destination, ecn, contents: &contents, segment_size: None, src_ip });
        }
    }

    fn outgoing(&self) -> MutexGuard<'_, Waiting<Outgoing>> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// Lets what has come wait for its moment, which may be now.
    fn take(&mut self, faults: &LinkFaults, buffer: &[u8], meta: &RecvMeta, now: Instant) {
        let stride = if meta.stride == 0 { buffer.len().max(1) } else { meta.stride };
        for datagram in buffer.chunks(stride) {
            for late in faults.fate(meta.addr, Way::In, datagram.len(), now).into_iter().flatten() {
                let meta = RecvMeta { len: datagram.len(), stride: datagram.len(), ..*meta };
                self.waiting.add(now + late, (datagram.into(), meta));
            }
        }
    }

    /// Gives what is due, as far as there is room.
    fn give(&mut self, now: Instant, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut given = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some((contents, about)) = self.waiting.take_due(now) else { break };
            let len = contents.len().min(buffer.len());
            buffer[..len].copy_from_slice(&contents[..len]);
            *meta = RecvMeta { len, stride: len, ..about };
            given += 1;
        }
        given
    }

    /// Whether the first of those that wait is due now; if not, `cx` is woken when it is.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.waiting.next() else { return false };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        alarm.as_mut().reset(at);
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl AsyncUdpSocket for FaultySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.faults.is_on() {
            return self.inner.try_send(transmit);
        }
        let now = Instant::now();
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for (index, datagram) in transmit.contents.chunks(size).enumerate() {
            match self.send_one(transmit, datagram, now) {
                Err(e) if index == 0 => return Err(e), // nothing has left: it is tried again as a whole
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.faults.is_on() && !self.holds.load(Ordering::Relaxed) {
            return self.inner.poll_recv(cx, buffers, metas);
        }
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ROUNDS_MAX {
            let now = Instant::now();
            let given = incoming.give(now, buffers, metas);
            if given > 0 {
                return Poll::Ready(Ok(given));
            }
            match self.inner.poll_recv(cx, buffers, metas) {
                Poll::Ready(Ok(filled)) => {
                    for (buffer, meta) in buffers.iter().zip(metas.iter()).take(filled) {
                        incoming.take(&self.faults, &buffer[..meta.len], meta, now);
                    }
                    self.holds.store(incoming.waiting.next().is_some(), Ordering::Relaxed);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending if incoming.is_due(cx) => {}
                Poll::Pending => {
                    self.holds.store(incoming.waiting.next().is_some(), Ordering::Relaxed);
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref(); // much comes and all is lost: others get the thread in between
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Sends what is late when it is due, until the socket is gone.
async fn send_late(late: Arc<Late>, socket: Weak<dyn AsyncUdpSocket>) {
    loop {
        let news = late.news.notified();
        let alive = socket.upgrade().filter(|_| !late.gone.load(Ordering::Acquire));
        let Some(alive) = alive else { return };
        let next = late.send_due(&*alive);
        drop(alive);
        match next {
            None => news.await,
            Some(at) => tokio::select! {
                () = news => {}
                () = sleep_until(at) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests;
