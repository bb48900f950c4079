//! The upstreams for one part of the names: who answers, how fast, and who asks us in turn.

use super::{key::Key, rtts::Rtts};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// As many as the C library takes from resolv.conf (MAXNS).
pub(crate) const UPSTREAMS_MAX: usize = 3;
/// How long one that failed is spared; each failure in a row doubles it.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Another one is asked first if its round trip is less than half, and by this less.
const FASTER_BY: Duration = Duration::from_millis(10);
/// One question in so many goes by the list's order, so that the first one's round trip stays known.
const BY_LIST: u64 = 32;
/// From so many failures in a row on, it may be that it asks us in turn.
const SUSPICIOUS: u32 = 3;
/// A probe for loops is not repeated earlier.
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// What is known of a few upstreams, and whom to ask next. Takes the time as an argument and does nothing itself.
#[derive(Default)]
pub(crate) struct Pool {
    upstreams: Vec<Upstream>,
}

struct Upstream {
    address: SocketAddr,
    rtts: Rtts,
    failing: Option<Failing>,
    /// It does not understand EDNS.
    plain: bool,
    looping: bool,
    probe: Option<Probe>,
}

struct Failing {
    in_a_row: u32,
    /// Then a question goes to it as well, though another is asked first.
    retry_at: Instant,
}

/// A question of ours with a name that nobody else knows.
struct Probe {
    question: Box<[u8]>,
    sent_at: Instant,
    /// It came to us.
    arrived: bool,
}

/// Whom to ask one question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In this order.
    pub(crate) order: Vec<Candidate>,
    /// It failed of late and is asked as well, to see whether it is back.
    pub(crate) trial: Option<Candidate>,
    /// There would be somebody, but they ask us in turn.
    pub(crate) looping: bool,
}

/// One to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    /// Whether to ask without EDNS.
    pub(crate) plain: bool,
    /// How long to wait before another is asked as well.
    pub(crate) patience: Duration,
}

impl Pool {
    /// Takes another list; what is known of those that stay is kept. The first 3 count.
    pub(crate) fn renew(&mut self, addresses: &[SocketAddr]) {
        let mut before = std::mem::take(&mut self.upstreams);
        for address in addresses {
            if self.upstreams.len() < UPSTREAMS_MAX && !self.upstreams.iter().any(|u| u.address == *address) {
                let known = before.iter().position(|u| u.address == *address);
                let new = || Upstream::new(*address);
                self.upstreams.push(known.map_or_else(new, |at| before.swap_remove(at)));
            }
        }
    }

    /// Whom to ask now. Of those that failed at most one is tried at a time, each rarely.
    pub(crate) fn plan(&mut self, now: Instant, seed: u64) -> Plan {
        let none = self.upstreams.is_empty();
        let (mut well, mut failing): (Vec<_>, Vec<_>) =
            self.upstreams.iter_mut().filter(|u| !u.looping).partition(|u| u.failing.is_none());
        if !seed.is_multiple_of(BY_LIST) {
            prefer_fast(&mut well);
        }
        let due = |u: &&mut Upstream| u.failing.as_ref().is_some_and(|f| f.retry_at <= now);
        let trial = if well.is_empty() { None } else { failing.iter().position(due) };
        let trial = trial.map(|at| {
            let upstream = failing.remove(at);
            upstream.note_failure(now);
            upstream.candidate()
        });
        failing.sort_by_key(|u| u.failing.as_ref().map(|f| f.in_a_row));
        Plan {
            looping: well.is_empty() && failing.is_empty() && !none,
            order: well.iter().chain(&failing).map(|u| u.candidate()).collect(),
            trial,
        }
    }

    /// Whether nobody answered of late.
    pub(crate) fn is_all_failing(&self) -> bool {
        !self.upstreams.is_empty() && self.upstreams.iter().all(|u| u.looping || u.failing.is_some())
    }

    pub(crate) fn note_answer(&mut self, address: SocketAddr, rtt: Duration) {
        if let Some(upstream) = self.find(address) {
            upstream.rtts.add(rtt);
            upstream.failing = None;
        }
    }

    /// It was silent or unreachable, or refused what another answered. Failures of questions that were asked together
    /// count once.
    pub(crate) fn note_failure(&mut self, now: Instant, address: SocketAddr) {
        if let Some(upstream) = self.find(address)
            && upstream.failing.as_ref().is_none_or(|f| f.retry_at <= now)
        {
            upstream.note_failure(now);
        }
    }

    pub(crate) fn note_plain(&mut self, address: SocketAddr) {
        if let Some(upstream) = self.find(address) {
            upstream.plain = true;
        }
    }

    /// Those that should be probed for loops now: new ones, those that looped when last probed, and those that fail.
    pub(crate) fn due_probes(&self, now: Instant) -> Vec<SocketAddr> {
        let due = |u: &&Upstream| match &u.probe {
            None => true,
            Some(probe) => {
                let suspicious = u.looping || u.failing.as_ref().is_some_and(|f| f.in_a_row >= SUSPICIOUS);
                suspicious && probe.sent_at + PROBE_PAUSE <= now
            }
        };
        self.upstreams.iter().filter(due).map(|u| u.address).collect()
    }

    pub(crate) fn begin_probe(&mut self, now: Instant, address: SocketAddr, key: &Key) {
        if let Some(upstream) = self.find(address) {
            upstream.probe = Some(Probe { question: key.question().into(), sent_at: now, arrived: false });
        }
    }

    /// If this is one of our probes, whoever we sent it to asks us. Says who, and whether that is new.
    pub(crate) fn note_arrival(&mut self, question: &[u8]) -> Option<(SocketAddr, bool)> {
        self.upstreams.iter_mut().find_map(|upstream| {
            let probe = upstream.probe.as_mut().filter(|p| *p.question == *question)?;
            probe.arrived = true;
            Some((upstream.address, !std::mem::replace(&mut upstream.looping, true)))
        })
    }

    /// The probe was answered. If it did not come to us, the upstream does not ask us, or no more.
    pub(crate) fn end_probe(&mut self, address: SocketAddr) {
        if let Some(upstream) = self.find(address) {
            upstream.looping = upstream.probe.as_ref().is_some_and(|p| p.arrived);
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Upstream> {
        self.upstreams.iter_mut().find(|u| u.address == address)
    }
}

impl Upstream {
    fn new(address: SocketAddr) -> Self {
        Self { address, rtts: Rtts::default(), failing: None, plain: false, looping: false, probe: None }
    }

    fn candidate(&self) -> Candidate {
        Candidate { address: self.address, plain: self.plain, patience: self.rtts.patience() }
    }

    fn note_failure(&mut self, now: Instant) {
        let in_a_row = self.failing.as_ref().map_or(0, |f| f.in_a_row).saturating_add(1);
        let pause = PAUSE.saturating_mul(1 << (in_a_row - 1).min(8)).min(PAUSE_MAX);
        self.failing = Some(Failing { in_a_row, retry_at: now + pause });
    }
}

/// Puts first one that is much faster than the first; the list's order counts otherwise, as the first may know more.
fn prefer_fast(well: &mut [&mut Upstream]) {
    let mut first = 0;
    for (at, upstream) in well.iter().enumerate() {
        if let (Some(this), Some(best)) = (upstream.rtts.median(), well[first].rtts.median())
            && this * 2 + FASTER_BY < best
        {
            first = at;
        }
    }
    if first > 0 {
        well[..=first].rotate_right(1);
    }
}
