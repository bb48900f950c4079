//! Fair shares of a socket that loses queries.
//!
//! A thread that is behind finds a full batch each time; when its socket's queue overflows, the kernel drops queries of
//! whoever sends, so that a flood from one address silences all. Then this counts by address, and of addresses that
//! send more than their share the thread drops queries unread, most of whose cost is the reply, until it is no longer
//! behind. A lone client is never dropped, nor is anybody while the thread keeps up.

use super::mix_address;
use std::net::IpAddr;

/// Places of addresses. Two that share one are counted together, for one window.
const PLACES: usize = 256;
/// Queries of one window, after which shares are set anew.
const WINDOW: u32 = 1024;
/// An address that has less than this part of the socket is not what overloads it, however many others there are.
const LIGHT: u32 = WINDOW / 8;
/// How often the share of the heavy is halved at most.
const PRESSURE_MAX: u32 = 6;
/// Batches in a row that left the queue empty after which all is forgotten.
const CALM: u32 = 64;

/// Of one thread and its socket.
#[derive(Debug)]
pub(crate) struct Fairness {
    secret: u64,
    /// Losses that the socket has told, at last.
    lost: u32,
    /// 0: nobody is counted. Above it, the share of the heavy is halved so often, less once.
    pressure: u32,
    /// Batches in a row that were not full.
    calm: u32,
    /// Whether the batch in hand was full: only then is anybody dropped.
    is_behind: bool,
    /// Queries in this window.
    seen: u32,
    /// Of this window.
    counts: [u32; PLACES],
    /// Of the window before.
    before: [u32; PLACES],
    /// What each address has of a window if all have the same; the window before decides.
    share: u32,
}

impl Fairness {
    pub(crate) fn new(secret: u64) -> Self {
        Self {
            secret,
            lost: 0,
            pressure: 0,
            calm: 0,
            is_behind: false,
            seen: 0,
            counts: [0; PLACES],
            before: [0; PLACES],
            share: WINDOW,
        }
    }

    /// A batch has come; a full one leaves more in the queue. `lost` counts all queries that the socket has lost, if it
    /// is known.
    pub(crate) fn begin_batch(&mut self, is_full: bool, lost: Option<u32>) {
        self.is_behind = is_full;
        if is_full {
            self.calm = 0;
        } else if self.pressure > 0 {
            self.calm += 1;
            if self.calm >= CALM {
                self.forget();
            }
        }
        if let Some(lost) = lost.filter(|lost| *lost != self.lost) {
            self.lost = lost;
            self.pressure = (self.pressure + 1).min(PRESSURE_MAX);
        }
    }

    /// Whether a query of this client is answered.
    #[inline]
    pub(crate) fn admits(&mut self, client: IpAddr) -> bool {
        self.pressure == 0 || self.count(client)
    }

    fn count(&mut self, client: IpAddr) -> bool {
        let place = mix_address(self.secret, address(client)) as usize % PLACES;
        self.counts[place] += 1;
        let count = self.counts[place];
        let is_heavy = self.before[place] > self.share.max(LIGHT);
        let admitted = !(self.is_behind && is_heavy && count > self.share >> (self.pressure - 1));
        self.seen += 1;
        if self.seen >= WINDOW {
            self.next_window();
        }
        admitted
    }

    fn next_window(&mut self) {
        let clients = self.counts.iter().filter(|count| **count > 0).count();
        self.share = WINDOW / u32::try_from(clients.max(1)).expect("at most as many as places");
        self.before = std::mem::replace(&mut self.counts, [0; PLACES]);
        self.seen = 0;
    }

    fn forget(&mut self) {
        *self = Self { lost: self.lost, ..Self::new(self.secret) };
    }
}

fn address(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.to_bits().into(),
        // Whoever has one address of IPv6 has as a rule 2^64 of them.
        IpAddr::V6(v6) => v6.to_bits() >> 64 | 1 << 127,
    }
}
