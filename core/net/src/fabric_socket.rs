//! The machine's UDP socket, of which only what comes in is told.
//!
//! A socket that also tells when it may be written to wakes the process after each packet that has left, which is all of the
//! time: a UDP socket hardly ever cannot be written to. Here whoever meets that tries again after a moment.

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use std::{
    future::Future,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Sleep, sleep},
};

/// The kernel's buffer has room again after this: a packet leaves it in microseconds.
const TRY_AGAIN: Duration = Duration::from_millis(1);

/// A bound UDP socket of this machine, as QUIC uses it.
#[derive(Debug)]
pub struct FabricSocket {
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// Whether the last packet found no room.
    blocked: AtomicBool,
}

impl FabricSocket {
    /// Takes a bound socket in use. Must be called inside of a tokio runtime. It is an error if the system refuses what
    /// QUIC needs of the socket.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?; // sets it not to block, too
        #[expect(deprecated, reason = "what takes its place is unsafe; a socket of std has one descriptor for life")]
        let io = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { io, state, blocked: AtomicBool::new(false) })
    }
}

impl AsyncUdpSocket for FabricSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, pause: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.io.get_ref().into(), transmit);
        if sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            self.blocked.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.io.poll_read_ready(cx))?;
            if let Ok(received) = ready.try_io(|socket| self.state.recv(socket.get_ref().into(), buffers, metas)) {
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room in the kernel's buffer, for one connection.
#[derive(Debug)]
struct Room {
    socket: Arc<FabricSocket>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pause.is_none() && !self.socket.blocked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(TRY_AGAIN)));
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        self.socket.blocked.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Arc<FabricSocket> {
        Arc::new(FabricSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap())
    }

    async fn receive(socket: &FabricSocket) -> Vec<u8> {
        let mut bytes = [0; 2_048];
        let mut metas = [RecvMeta::default()];
        let received = std::future::poll_fn(|cx| {
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            socket.poll_recv(cx, &mut buffers, &mut metas)
        });
        assert_eq!(received.await.unwrap(), 1);
        bytes[..metas[0].len].to_vec()
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_each_packet() {
        let (from, to) = (socket(), socket());
        let destination = to.local_addr().unwrap();
        for number in 0..3 {
            let contents = [number; 100];
            let transmit = Transmit { destination, ecn: None, contents: &contents, segment_size: None, src_ip: None };
            let (received, ()) = tokio::join!(receive(&to), async {
                tokio::task::yield_now().await; // the other one waits by now
                from.try_send(&transmit).unwrap();
            });
            assert_eq!(received, contents);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_found_no_room_tries_again_after_a_moment() {
        let socket = socket();
        let mut room = Arc::clone(&socket).create_io_poller();
        let mut writable = async || std::future::poll_fn(|cx| room.as_mut().poll_writable(cx)).await.unwrap();
        let begin = tokio::time::Instant::now();
        writable().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        socket.blocked.store(true, Ordering::Relaxed);
        writable().await;
        assert_eq!(begin.elapsed(), TRY_AGAIN);
        writable().await;
        assert_eq!(begin.elapsed(), TRY_AGAIN, "there is room");
    }
}
