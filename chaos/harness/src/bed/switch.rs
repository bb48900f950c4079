//! The switch between the machines: a thread that hands on what their kernels send, or does not, as the links say.

use super::{
    links::{Links, Tally, Way},
    tun::PACKET_MAX,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// Packets on their way at most, which is 96 MiB: five machines that talk as fast as they can, through a delay of a second.
const FLYING_MAX: usize = 1 << 16;
/// Packets that are read of one machine before the others have their turn.
const BATCH: usize = 64;

/// Hands on packets until it is dropped. Machines are known by their index in the list that it was made with.
#[derive(Debug)]
pub(crate) struct Switch {
    links: Arc<Mutex<Links>>,
    /// The thread ends when this is closed.
    running: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// A machine's device and its address.
#[derive(Debug)]
pub(crate) struct Plug {
    pub(crate) address: Ipv4Addr,
    pub(crate) device: File,
}

impl Switch {
    /// Links these machines; what becomes of packets is drawn from the seed.
    pub(crate) fn new(seed: u64, plugs: Vec<Plug>) -> Result<Self, String> {
        let words = |e: std::io::Error| e.to_string();
        let links = Arc::new(Mutex::new(Links::new(seed, plugs.len())));
        let (running, stop) = UnixStream::pair().map_err(words)?;
        let of_thread = links.clone();
        let work = move || Relay::new(&plugs, &of_thread).run(&stop);
        let thread = Builder::new().name("switch".into()).spawn(work).map_err(words)?;
        Ok(Self { links, running: Some(running), thread: Some(thread) })
    }

    /// Changes the way from a machine to another one, at once; what is on its way arrives as it would have.
    pub(crate) fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Way)) {
        change(lock(&self.links).way_mut(from, to));
    }

    /// What has become of all packets so far.
    pub(crate) fn tally(&self) -> Tally {
        lock(&self.links).tally()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the switch has panicked");
        }
    }
}

fn lock(links: &Mutex<Links>) -> MutexGuard<'_, Links> {
    links.lock().unwrap_or_else(PoisonError::into_inner) // a test that panicked in a change; the links are whole
}

/// A packet on its way. The order is that of arrival, and then that of sending.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: Duration,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

struct Relay<'a> {
    plugs: &'a [Plug],
    links: &'a Mutex<Links>,
    start: Instant,
    flying: BinaryHeap<Reverse<Flight>>,
    number: u64,
}

impl<'a> Relay<'a> {
    fn new(plugs: &'a [Plug], links: &'a Mutex<Links>) -> Self {
        Self { plugs, links, start: Instant::now(), flying: BinaryHeap::new(), number: 0 }
    }

    fn run(&mut self, stop: &UnixStream) {
        loop {
            self.deliver();
            let mut waiting: Vec<PollFd<'_>> =
                self.plugs.iter().map(|plug| PollFd::new(&plug.device, PollFlags::IN)).collect();
            waiting.push(PollFd::new(stop, PollFlags::IN));
            match poll(&mut waiting, self.until_due().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => panic!("poll: {e}"),
            }
            let is_ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
            if is_ready[self.plugs.len()] {
                return;
            }
            (0..self.plugs.len()).filter(|from| is_ready[*from]).for_each(|from| self.take_from(from));
        }
    }

    /// How long until the next packet arrives.
    fn until_due(&self) -> Option<Timespec> {
        let Reverse(next) = self.flying.peek()?;
        let left = next.due.saturating_sub(self.start.elapsed());
        Some(left.try_into().expect("seconds"))
    }

    /// Takes what a machine has sent.
    fn take_from(&mut self, from: usize) {
        let mut buffer = [0; PACKET_MAX];
        for _ in 0..BATCH {
            // Nothing more is there, or the device is down for a moment: both are told again by the next look.
            let Ok(length) = (&self.plugs[from].device).read(&mut buffer) else { return };
            let packet = &buffer[..length];
            let to = destination(packet).and_then(|to| self.plugs.iter().position(|plug| plug.address == to));
            if let Some(to) = to {
                self.send(from, to, packet);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: &[u8]) {
        let arrivals = lock(self.links).send(self.start.elapsed(), from, to, packet.len());
        for due in arrivals.into_iter().flatten() {
            if self.flying.len() < FLYING_MAX {
                self.number += 1;
                self.flying.push(Reverse(Flight { due, number: self.number, to, packet: packet.to_vec() }));
            }
        }
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        let now = self.start.elapsed();
        while self.flying.peek().is_some_and(|Reverse(next)| next.due <= now) {
            let Some(Reverse(flight)) = self.flying.pop() else { return };
            // Whose queue is full, or who is not there, does not get it: as in any network.
            let _ = (&self.plugs[flight.to].device).write(&flight.packet);
        }
    }
}

/// Of a packet of IPv4; the machines have no other addresses.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    match packet {
        [first, ..] if first >> 4 == 4 => {
            let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(bytes.into())
        }
        _ => None,
    }
}
