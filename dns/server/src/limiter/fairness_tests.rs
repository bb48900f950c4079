use super::Fairness;
use std::{collections::VecDeque, net::IpAddr};

const BATCH: usize = 32;
/// Queries that a socket's queue holds.
const QUEUE: usize = 800;
/// What a query costs that is answered, and one that is dropped unread, in hundredths of a microsecond.
const ANSWERED: usize = 350;
const DROPPED: usize = 80;

const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

struct Socket {
    queue: VecDeque<IpAddr>,
    lost: u32,
    fairness: Fairness,
}

impl Socket {
    fn new() -> Self {
        Self { queue: VecDeque::new(), lost: 0, fairness: Fairness::new(3) }
    }

    fn arrive(&mut self, client: IpAddr) {
        if self.queue.len() < QUEUE {
            self.queue.push_back(client);
        } else {
            self.lost += 1;
        }
    }

    fn arrive_often(&mut self, times: usize) {
        (0..times).for_each(|_| self.arrive(FLOOD));
    }

    /// Serves a batch; gives what it cost and who was answered.
    fn serve(&mut self) -> (usize, Vec<IpAddr>) {
        let batch: Vec<IpAddr> = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        self.fairness.begin_batch(batch.len() == BATCH, Some(self.lost));
        let answered: Vec<IpAddr> = batch.iter().copied().filter(|c| self.fairness.admits(*c)).collect();
        (answered.len() * ANSWERED + (batch.len() - answered.len()) * DROPPED, answered)
    }
}

/// Runs a flood of so many queries a second beside a client of 20,000; gives what part of the client's was answered.
fn part_answered(flood_per_second: usize) -> f64 {
    let client = IpAddr::from([10, 0, 0, 2]);
    let (mut socket, mut asked, mut answered, mut flood, mut calm) = (Socket::new(), 0.0, 0.0, 0.0, 0.0);
    for _ in 0..40_000 {
        let (cost, replies) = socket.serve();
        answered += replies.iter().filter(|c| **c == client).count() as f64;
        let seconds = cost.max(500) as f64 / 1e8;
        flood += seconds * flood_per_second as f64;
        calm += seconds * 20_000.0;
        while flood >= 1.0 || calm >= 1.0 {
            if flood >= 1.0 {
                socket.arrive(FLOOD);
                flood -= 1.0;
            }
            if calm >= 1.0 {
                socket.arrive(client);
                asked += 1.0;
                calm -= 1.0;
            }
        }
    }
    answered / asked
}

#[test]
fn flood_from_one_address_does_not_silence_others() {
    for flood in [100_000, 400_000, 800_000, 1_100_000] {
        let part = part_answered(flood);
        assert!(part > 0.97, "{flood}: {part}");
    }
}

#[test]
fn lone_client_is_answered_however_much_it_asks() {
    let mut socket = Socket::new();
    for _ in 0..10_000 {
        socket.arrive_often(200);
        assert_eq!(socket.serve().1.len(), BATCH);
    }
}

#[test]
fn nobody_is_dropped_while_nothing_is_lost() {
    let mut socket = Socket::new();
    for round in 0..10_000u32 {
        // A heavy client with many questions under way beside a light one: full batches, but no losses.
        while socket.queue.len() < 4 * BATCH {
            socket.arrive(if round % 10 == 0 { [10, 0, 0, 2].into() } else { FLOOD });
        }
        assert_eq!(socket.serve().1.len(), BATCH);
    }
}

#[test]
fn flood_that_ends_is_forgotten() {
    let mut socket = Socket::new();
    for _ in 0..2_000 {
        socket.arrive_often(100);
        socket.arrive([10, 0, 0, 2].into());
        socket.serve();
    }
    while !socket.queue.is_empty() {
        socket.serve();
    }
    for _ in 0..100 {
        socket.arrive(FLOOD);
        assert_eq!(socket.serve().1.len(), 1);
    }
    // A burst that is lost to nobody is answered whole.
    socket.arrive_often(4 * BATCH);
    for _ in 0..4 {
        assert_eq!(socket.serve().1.len(), BATCH);
    }
}
