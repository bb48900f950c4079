//! A flight: one question, asked of whom the race says until somebody settles it.

use super::{
    ask::Outcome,
    failures::Failure,
    flights::{Flight, Landing},
    forwarder::Forwarder,
    key::Key,
    pool::{Candidate, Plan},
    race::{Move, Race},
    received::Verdict,
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// What is to be found out.
#[derive(Clone, Copy)]
pub(crate) struct Mission {
    pub(crate) key: Key,
    pub(crate) group: usize,
    /// What is too long for UDP is fetched by TCP.
    pub(crate) whole: bool,
}

/// Those that were asked and have not ended.
type Attempts<'a> = FuturesUnordered<BoxFuture<'a, (Candidate, Outcome)>>;

impl Forwarder {
    /// Runs until the last upstream asked has answered or not: also those that lost the race are learned from.
    pub(crate) async fn fly(self: Arc<Self>, mission: Mission, flight: Flight) {
        let deadline = Instant::now() + self.config().budget;
        let mut attempts = Attempts::new();
        let landing = match timeout_at(deadline, self.refresh()).await {
            Ok(()) => self.race(&mission, deadline, &mut attempts).await,
            Err(_) => Landing::Failed(Failure::NoUpstream),
        };
        self.remember(&mission.key, &landing);
        flight.land(landing);
        while let Some((candidate, outcome)) = attempts.next().await {
            self.note(&mission, candidate, &outcome);
        }
    }

    async fn race<'a>(&'a self, mission: &'a Mission, deadline: Instant, attempts: &mut Attempts<'a>) -> Landing {
        let start = Instant::now();
        let plan = self.pool(mission.group).plan(start, self.draw());
        let mut race = Race::new(start, &plan, self.config().attempts);
        let mut failure = Failure::of_plan(&plan);
        loop {
            let now = Instant::now();
            let until = match race.next(now) {
                Move::Ask { candidate, hedge } if now < deadline => {
                    if hedge {
                        self.counters().hedges.add();
                    }
                    attempts.push(self.attempt(mission, candidate).boxed());
                    continue;
                }
                Move::Wait(until) if now < deadline => until.unwrap_or(deadline).min(deadline),
                Move::Over | Move::Ask { .. } | Move::Wait(_) => return Landing::Failed(failure),
            };
            let Ok(Some((candidate, outcome))) = timeout_at(until, attempts.next()).await else { continue };
            if let Some(landing) = self.judge(mission, &mut race, &mut failure, candidate, outcome) {
                return landing;
            }
        }
    }

    async fn attempt(&self, mission: &Mission, candidate: Candidate) -> (Candidate, Outcome) {
        (candidate, self.ask(mission.group, candidate, &mission.key, mission.whole).await)
    }

    /// What an attempt's end means for the question: it is settled, or the race goes on.
    fn judge(
        &self,
        mission: &Mission,
        race: &mut Race,
        failure: &mut Failure,
        candidate: Candidate,
        outcome: Outcome,
    ) -> Option<Landing> {
        self.note(mission, candidate, &outcome);
        let now = Instant::now();
        match outcome {
            Outcome::Said(Verdict::Settled(answer), _) => {
                race.refused().iter().for_each(|r| self.pool(mission.group).note_failure(now, *r));
                return Some(Landing::Answered(answer));
            }
            Outcome::Said(Verdict::CutShort, _) => return Some(Landing::CutShort),
            Outcome::Said(Verdict::Bogus(answer), _) => return Some(Landing::Failed(Failure::Refused(answer))),
            Outcome::Said(Verdict::Refused(answer) | Verdict::NotUnderstood(answer), _) => {
                race.handle_refusal(now, candidate.address);
                *failure = Failure::Refused(answer);
            }
            Outcome::Silent => {
                race.handle_failure(now);
                failure.weigh(Failure::Silent);
            }
            Outcome::Unreachable => {
                race.handle_failure(now);
                failure.weigh(Failure::Unreachable);
            }
        }
        None
    }

    /// What an attempt's end means for the upstream. A refusal may be the name's fault, so it says nothing.
    fn note(&self, mission: &Mission, candidate: Candidate, outcome: &Outcome) {
        match outcome {
            Outcome::Said(Verdict::Settled(_) | Verdict::CutShort | Verdict::Bogus(_), rtt) => {
                self.pool(mission.group).note_answer(candidate.address, *rtt);
            }
            Outcome::Said(Verdict::Refused(_) | Verdict::NotUnderstood(_), _) => {
                self.counters().upstream_failures.add();
            }
            Outcome::Silent | Outcome::Unreachable => {
                self.counters().upstream_failures.add();
                self.pool(mission.group).note_failure(Instant::now(), candidate.address);
            }
        }
    }
}

impl Failure {
    /// What is to be said if nobody is asked, or nobody answers before the end.
    fn of_plan(plan: &Plan) -> Self {
        match (plan.order.is_empty(), plan.looping) {
            (true, true) => Self::Looping,
            (true, false) => Self::NoUpstream,
            (false, _) => Self::Silent,
        }
    }

    /// What an upstream said is worth more than that another was silent, as it may say why.
    fn weigh(&mut self, other: Self) {
        if !matches!(self, Self::Refused(_)) {
            *self = other;
        }
    }
}
