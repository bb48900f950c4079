//! When to ask whom, for one question.
//!
//! The first upstream gets the question; the next gets it too once the one before took longer than it nearly always
//! does (a hedge), or failed. Later rounds are for lost packets.

use super::pool::{Candidate, Plan};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// Between a round and the next: packets are lost rarely, and a resolver may itself be asking far away.
const ROUND_PAUSE: Duration = Duration::from_millis(600);

/// Decides; whoever owns it asks, waits, and tells what came of it.
pub(crate) struct Race {
    /// Asked at once, beside the first.
    trial: Option<Candidate>,
    /// Those still to be asked; after each, how long to wait before the next.
    steps: VecDeque<(Candidate, Duration)>,
    /// Then the next is asked even though those before it may still answer.
    next_at: Instant,
    outstanding: usize,
    /// They answered, though not usefully: once is enough.
    refused: Vec<SocketAddr>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Ask {
        candidate: Candidate,
        /// Another's answer is still awaited.
        hedge: bool,
    },
    /// Until an attempt ends, or until then.
    Wait(Option<Instant>),
    /// Everybody was asked and nobody is to be waited for.
    Over,
}

impl Race {
    pub(crate) fn new(now: Instant, plan: &Plan, rounds: u32) -> Self {
        let round = || {
            let last = plan.order.len().saturating_sub(1);
            let pause = move |at, c: &Candidate| if at == last { ROUND_PAUSE.max(c.patience) } else { c.patience };
            plan.order.iter().enumerate().map(move |(at, c)| (*c, pause(at, c)))
        };
        let steps = (0..rounds).flat_map(|_| round()).collect();
        Self { trial: plan.trial, steps, next_at: now, outstanding: 0, refused: Vec::new() }
    }

    pub(crate) fn next(&mut self, now: Instant) -> Move {
        while self.steps.front().is_some_and(|(c, _)| self.refused.contains(&c.address)) {
            self.steps.pop_front();
        }
        if self.next_at <= now
            && let Some((candidate, pause)) = self.steps.pop_front()
        {
            self.next_at = now + pause;
            self.outstanding += 1;
            return Move::Ask { candidate, hedge: self.outstanding > 1 };
        }
        if let Some(candidate) = self.trial.take() {
            self.outstanding += 1;
            return Move::Ask { candidate, hedge: false };
        }
        match (self.outstanding, self.steps.is_empty()) {
            (0, true) => Move::Over,
            (_, true) => Move::Wait(None),
            (_, false) => Move::Wait(Some(self.next_at)),
        }
    }

    /// An attempt ended without an answer: the next one's turn is now.
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.outstanding -= 1;
        self.next_at = now;
    }

    /// The same, and there is no use in asking this one again.
    pub(crate) fn handle_refusal(&mut self, now: Instant, address: SocketAddr) {
        self.refused.push(address);
        self.handle_failure(now);
    }

    /// Those that refused.
    pub(crate) fn refused(&self) -> &[SocketAddr] {
        &self.refused
    }
}
