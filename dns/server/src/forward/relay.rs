//! A client's question on its way through the relay.

use super::{
    answer::Answer,
    failures::Failure,
    flights::{Boarding, Landing, Passenger},
    fly::Mission,
    forwarder::Forwarder,
    key::Key,
    reply::Age,
    routes::Route,
    special,
};
use crate::{
    encode::{Ede, Reply, encode, truncated},
    query::Query,
    responder::{Step, Transport, failure},
};
use hickory_proto::op::ResponseCode;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

/// One question that waits for upstreams. Holds its place among those that wait until it is dropped.
pub(crate) struct Relay {
    forwarder: Arc<Forwarder>,
    _permit: OwnedSemaphorePermit,
    query: Query,
    mission: Mission,
    limit: u16,
    /// Given if they do not answer in time.
    stale: Option<Answer>,
    /// How long they have.
    patience: Duration,
}

impl Forwarder {
    /// Answers at once what is known, and otherwise says what to wait for. The client is one that is served.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant, query: Query, transport: Transport, limit: u16) -> Step {
        let dnssec_ok = query.edns.is_some_and(|e| e.dnssec_ok);
        let Some(key) = Key::new(&query.question_bytes, dnssec_ok, query.checking_disabled()) else {
            return Step::Done(say(&query, failure(ResponseCode::FormErr, None), limit));
        };
        let fresh = self
            .cache()
            .with_fresh(now, &key, |answer, age| Some(answer.to_vec(&query, limit.into(), Age::Fresh(age))));
        if fresh.is_some() {
            return Step::Done(fresh);
        }
        if self.is_own_probe(&key) {
            return Step::Done(fail(&query, limit, &Failure::Looping));
        }
        let group = match self.route(&key) {
            Route::Group(group) => *group,
            Route::Special(zone, special) => {
                self.counters().special.add();
                return Step::Done(say(&query, special::reply(zone, *special, &query.question), limit));
            }
        };
        if !query.recursion_desired() {
            let why = "not in the cache, and recursion is not desired";
            return Step::Done(say(&query, failure(ResponseCode::Refused, Some((Ede::NotAuthoritative, why))), limit));
        }
        self.begin_miss(now, query, Mission { key, group, whole: transport != Transport::Udp }, limit)
    }

    fn begin_miss(self: &Arc<Self>, now: Instant, query: Query, mission: Mission, limit: u16) -> Step {
        let stale = self.cache().stale(now, &mission.key);
        let failed = self.failures().find(now, &mission.key);
        if let Some(failed) = failed.as_ref().filter(|f| f.resting) {
            self.counters().failures_remembered.add();
            return Step::Done(match stale {
                Some(answer) => self.give_stale(&answer, &query, limit),
                None => fail(&query, limit, &failed.failure),
            });
        }
        let Some(permit) = self.admit() else { return Step::Done(self.shed(stale, &query, limit)) };
        self.counters().misses.add();
        // What failed before is asked for behind the client's back; it has waited once.
        let in_vain = failed.is_some() || self.pool(mission.group).is_all_failing();
        let patience = match (&stale, in_vain) {
            (Some(_), true) => Duration::ZERO,
            (Some(_), false) => self.config().cache.stale_patience,
            // A flight ends within its budget.
            (None, _) => self.config().budget + Duration::from_secs(1),
        };
        let forwarder = self.clone();
        Step::Relay(Box::new(Relay { forwarder, _permit: permit, query, mission, limit, stale, patience }))
    }

    fn shed(&self, stale: Option<Answer>, query: &Query, limit: u16) -> Option<Vec<u8>> {
        self.counters().shed.add();
        match stale {
            Some(answer) => self.give_stale(&answer, query, limit),
            None => {
                let why = "too many relayed questions are in flight";
                say(query, failure(ResponseCode::ServFail, Some((Ede::Other, why))), limit)
            }
        }
    }

    fn give_stale(&self, answer: &Answer, query: &Query, limit: u16) -> Option<Vec<u8>> {
        self.counters().stale.add();
        Some(answer.to_vec(query, limit.into(), Age::Stale))
    }
}

impl Relay {
    pub(crate) async fn run(mut self) -> Option<Vec<u8>> {
        let stale = self.stale.take();
        let Some(flight) = self.board() else { return self.forwarder.shed(stale, &self.query, self.limit) };
        match (timeout(self.patience, flight.arrive()).await, stale) {
            (Ok(Landing::Answered(answer)), _) => Some(answer.to_vec(&self.query, self.limit.into(), Age::Fresh(0))),
            (Ok(Landing::CutShort), _) => truncated(&self.query, &relayed(failure(ResponseCode::NoError, None))),
            (_, Some(answer)) => self.forwarder.give_stale(&answer, &self.query, self.limit),
            (Ok(Landing::Failed(why)), None) => fail(&self.query, self.limit, &why),
            (Err(_), None) => fail(&self.query, self.limit, &Failure::Silent),
        }
    }

    /// Joins the flight of an equal question, or begins one, which goes on even if this client goes away.
    fn board(&self) -> Option<Passenger> {
        match self.forwarder.flights().board(&self.mission.key, self.mission.whole) {
            Boarding::Joined(passenger) => {
                self.forwarder.counters().shared.add();
                Some(passenger)
            }
            Boarding::New(passenger, flight) => {
                tokio::spawn(self.forwarder.clone().fly(self.mission, flight));
                Some(passenger)
            }
            Boarding::Full => None,
        }
    }
}

fn fail(query: &Query, limit: u16, why: &Failure) -> Option<Vec<u8>> {
    let error = match why {
        // Better than an error of our own, as it may say why.
        Failure::Refused(answer) => return Some(answer.to_vec(query, limit.into(), Age::Fresh(0))),
        Failure::NoUpstream => (Ede::NoReachableAuthority, "this machine has no upstream resolver"),
        Failure::Looping => (Ede::NoReachableAuthority, "every upstream resolver asks this server in turn"),
        Failure::Silent => (Ede::NoReachableAuthority, "no upstream resolver answered in time"),
        Failure::Unreachable => (Ede::NetworkError, "no upstream resolver could be reached"),
    };
    say(query, failure(ResponseCode::ServFail, Some(error)), limit)
}

fn say(query: &Query, reply: Reply, limit: u16) -> Option<Vec<u8>> {
    encode(query, &relayed(reply), limit)
}

fn relayed(reply: Reply) -> Reply {
    Reply { recursion_available: true, ..reply }
}
