//! Load: as much as a server takes, or at a steady rate.

use crate::dns::{
    lane::{Datagrams, Lane, Stream},
    places::IN_FLIGHT,
    queries::{Choice, Queries, Random},
    tally::Tally,
};
use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

/// Clients that load a server. With what each has in flight it is less than a server's receive buffer holds, so what is
/// lost is the server's doing, and more than it answers in a turn, so that it never idles.
const LANES: usize = 6;

/// Clients that ask one server, in one thread.
pub(crate) struct Blast {
    lanes: Vec<Box<dyn Lane>>,
    choice: Choice,
    /// Who floods the server beside the clients.
    flood: Option<Datagrams>,
}

impl Blast {
    /// Clients of one address, over datagrams.
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        Self::of(server, |_| Ok(Box::new(Datagrams::new(Ipv4Addr::LOCALHOST.into(), server)?)))
    }

    /// Clients over streams.
    pub(crate) fn streams(server: SocketAddr) -> Result<Self> {
        Self::of(server, |_| Ok(Box::new(Stream::new(server)?)))
    }

    /// Clients over datagrams, each of an address of its own, beside one of another address that floods somebody.
    pub(crate) fn beside_flood(server: SocketAddr, flooded: SocketAddr) -> Result<Self> {
        let address = |n: u8| IpAddr::from([127, 0, 7, n]);
        let calm = Self::of(server, |n| Ok(Box::new(Datagrams::new(address(n), server)?)))?;
        Ok(Self { flood: Some(Datagrams::new(address(u8::MAX), flooded)?), ..calm })
    }

    fn of(server: SocketAddr, lane: impl Fn(u8) -> Result<Box<dyn Lane>>) -> Result<Self> {
        let lanes = (1..=LANES).map(|n| lane(u8::try_from(n).expect("few"))).collect::<Result<_>>()?;
        Ok(Self { lanes, choice: Choice::Any(Random::new(u64::from(server.port()))), flood: None })
    }

    /// Keeps all places filled.
    pub(crate) fn saturate(&mut self, queries: &Queries, time: Duration) -> Result<Tally> {
        self.run(queries, |elapsed, _| (elapsed < time).then_some(IN_FLIGHT))
    }

    /// Asks each question once, so that what a server makes of it once is made.
    pub(crate) fn ask_each(&mut self, queries: &Queries) -> Result<Tally> {
        let choice = std::mem::replace(&mut self.choice, Choice::InOrder(0));
        let tally = self.run(queries, |_, sent| (sent < queries.packets.len() as u64).then_some(IN_FLIGHT));
        self.choice = choice;
        tally
    }

    /// Sends at a steady rate.
    pub(crate) fn steady(&mut self, queries: &Queries, time: Duration, rate: f64) -> Result<Tally> {
        self.run(queries, |elapsed, sent| {
            let due = (elapsed.as_secs_f64() * rate) as u64;
            let due = usize::try_from(due.saturating_sub(sent)).unwrap_or(IN_FLIGHT);
            (elapsed < time).then_some(due.min(IN_FLIGHT))
        })
    }

    /// Asks, and at last waits for what is in flight. `due` says how many questions are due at a time after so many
    /// were sent; `None` at the end.
    fn run(&mut self, queries: &Queries, due: impl Fn(Duration, u64) -> Option<usize>) -> Result<Tally> {
        let mut tally = Tally::default();
        let (start, mut sent) = (Instant::now(), 0);
        loop {
            let elapsed = start.elapsed();
            let mut moved = 0;
            // Each has its turn in being the first, whose question is due.
            self.lanes.rotate_left(1);
            for lane in &mut self.lanes {
                moved += lane.receive(queries, &mut tally)?;
                if let Some(most) = due(elapsed, sent).filter(|most| *most > 0) {
                    let now_sent = lane.send(queries, &mut self.choice, most)?;
                    sent += now_sent as u64;
                    moved += now_sent;
                }
            }
            let asks = due(elapsed, sent).is_some();
            if let Some(flood) = self.flood.as_mut().filter(|_| asks) {
                flood.flood(queries, &mut self.choice)?;
            } else if moved == 0 {
                self.wait()?;
            }
            if moved == 0 && self.is_idle(&mut tally) && !asks {
                return Ok(tally);
            }
        }
    }

    /// The number of the newest change that a reply has shown.
    pub(crate) fn newest(&mut self) -> u32 {
        self.lanes.iter_mut().map(|lane| lane.places().newest).max().unwrap_or_default()
    }

    /// Whether nothing is in flight, after giving up on what waits too long.
    fn is_idle(&mut self, tally: &mut Tally) -> bool {
        self.lanes.iter_mut().for_each(|lane| lane.places().forget_lost(tally));
        self.lanes.iter_mut().all(|lane| lane.places().taken() == 0)
    }

    /// Waits for a reply, but not long, as questions may fall due.
    fn wait(&self) -> Result<()> {
        let mut sockets: Vec<_> =
            self.lanes.iter().map(|lane| PollFd::from_borrowed_fd(lane.socket(), PollFlags::IN)).collect();
        let pause = Timespec { tv_sec: 0, tv_nsec: 100_000 };
        match poll(&mut sockets, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
