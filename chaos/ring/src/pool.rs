//! Which nodes have a live connection: one a pair, in whichever direction it was dialled.

use std::{collections::BTreeMap, time::Duration};
use taffeta_model::Millis;

/// A connection without traffic ends silently after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A dial without an answer is given up after this.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections kept by one node; the one that was used longest ago makes room.
const CONNECTIONS_MAX: usize = 512;

#[derive(Clone, Copy)]
struct Connection {
    /// When its dial has ended.
    opens: Millis,
    used: Millis,
    /// The dial ends without success.
    fails: bool,
}

impl Connection {
    fn is_over(&self, now: Millis) -> bool {
        if self.fails { self.opens <= now } else { now.since(self.used) >= IDLE_TIMEOUT }
    }
}

/// The connections of all nodes, held at both ends.
pub(crate) struct Pool(Vec<BTreeMap<u32, Connection>>);

/// What a packet meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It can leave.
    Open,
    /// Somebody dials; it can leave then.
    Wait(Millis),
    /// A dial is under way that will have no answer.
    Failing,
    /// No connection.
    Dial,
}

impl Pool {
    pub(crate) fn new(nodes: usize) -> Self {
        Self((0..nodes).map(|_| BTreeMap::new()).collect())
    }

    /// What a packet from one to the other meets; it counts as traffic if there is a connection.
    pub(crate) fn way(&mut self, now: Millis, from: u32, to: u32) -> Way {
        let Some(connection) = self.touch(now, from, to) else { return Way::Dial };
        if connection.fails {
            return Way::Failing;
        }
        self.touch(now, to, from);
        if connection.opens > now { Way::Wait(connection.opens) } else { Way::Open }
    }

    pub(crate) fn note_dial(&mut self, now: Millis, opens: Millis, from: u32, to: u32) {
        let connection = Connection { opens, used: opens, fails: false };
        self.keep(now, from, to, connection);
        self.keep(now, to, from, connection);
    }

    pub(crate) fn note_failure(&mut self, now: Millis, from: u32, to: u32) {
        let opens = now + DIAL_TIMEOUT;
        self.keep(now, from, to, Connection { opens, used: now, fails: true });
    }

    pub(crate) fn live_ends(&self, now: Millis) -> usize {
        self.0.iter().flat_map(BTreeMap::values).filter(|c| !c.fails && !c.is_over(now)).count()
    }

    fn touch(&mut self, now: Millis, from: u32, to: u32) -> Option<Connection> {
        let connection = self.0[from as usize].get_mut(&to).filter(|c| !c.is_over(now))?;
        connection.used = now.max(connection.used);
        Some(*connection)
    }

    fn keep(&mut self, now: Millis, at: u32, peer: u32, connection: Connection) {
        if self.0[at as usize].len() >= CONNECTIONS_MAX {
            self.make_room(now, at);
        }
        self.0[at as usize].insert(peer, connection);
    }

    fn make_room(&mut self, now: Millis, at: u32) {
        let mine = &mut self.0[at as usize];
        mine.retain(|_, c| !c.is_over(now));
        if mine.len() < CONNECTIONS_MAX {
            return;
        }
        // Of equals the first, which has the lowest number.
        let oldest = mine.iter().min_by_key(|(_, c)| c.used).map(|(peer, _)| *peer);
        if let Some(peer) = oldest {
            mine.remove(&peer);
            self.0[peer as usize].remove(&at);
        }
    }
}

#[cfg(test)]
mod tests;
