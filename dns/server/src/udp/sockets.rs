//! The threads of a server.

use super::{
    config::UdpConfig,
    counts::{Counters, DnsCounts},
    listen::stop,
    worker::{Shared, Worker},
};
use crate::{Responder, limiter::RateLimit};
use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};
use tokio::runtime::Handle;

/// Threads that serve sockets until this is dropped; then the port is free.
#[derive(Debug)]
pub(crate) struct UdpServer {
    sockets: Vec<Arc<UdpSocket>>,
    threads: Vec<JoinHandle<()>>,
    meter: DnsMeter,
    stopped: Arc<AtomicBool>,
}

/// Reads the counts of a server, also from elsewhere and after its end.
#[derive(Clone, Debug, Default)]
pub struct DnsMeter(Vec<Arc<Counters>>);

impl DnsMeter {
    /// What became of all datagrams until now.
    pub fn counts(&self) -> DnsCounts {
        let mut sum = DnsCounts::default();
        self.0.iter().for_each(|counters| counters.add_to(&mut sum));
        sum
    }
}

impl UdpServer {
    /// A thread for each socket. Must be called within a tokio runtime, which carries what waits for upstreams.
    pub(crate) fn start(sockets: Vec<UdpSocket>, responder: Arc<Responder>, config: UdpConfig) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let limit = RateLimit::new(config.replies_per_second, responder.draw());
        let shared =
            Arc::new(Shared { responder, config, limit, runtime: Handle::current(), stopped: stopped.clone() });
        let mut server = Self { sockets: Vec::new(), threads: Vec::new(), meter: DnsMeter::default(), stopped };
        for socket in sockets {
            let (socket, counters) = (Arc::new(socket), Arc::<Counters>::default());
            server.sockets.push(socket.clone());
            server.meter.0.push(counters.clone());
            let shared = shared.clone();
            server.threads.push(spawn(move || Worker::new(shared, socket, counters).run())?);
        }
        Ok(server)
    }

    pub(crate) fn meter(&self) -> &DnsMeter {
        &self.meter
    }
}

#[expect(clippy::disallowed_methods, reason = "threads block for datagrams of real sockets, which no simulator has")]
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("dns-udp".into()).spawn(work)
}

impl Drop for UdpServer {
    /// The threads end with the batch that they have in hand.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.sockets.drain(..).for_each(|socket| stop(&socket));
        for thread in self.threads.drain(..) {
            // A panic has been told already, by the thread itself.
            let _ = thread.join();
        }
    }
}
