//! One attempt with one upstream.

use super::{
    forwarder::Forwarder,
    key::Key,
    pool::Candidate,
    query::upstream_query,
    received::{Verdict, read},
};
use crate::exchange::is_reply;
use std::{io, time::Duration};
use tokio::time::{Instant, timeout};

/// What came of it.
pub(crate) enum Outcome {
    /// It said something that can be read, after so long.
    Said(Verdict, Duration),
    /// It said nothing in time, or nothing that makes sense.
    Silent,
    /// The network says that it cannot be reached.
    Unreachable,
}

/// How the question travels.
#[derive(Clone, Copy)]
enum Way {
    Udp,
    Tcp,
}

impl Forwarder {
    /// By UDP; and by TCP if the reply is cut short and the whole is wanted; and without EDNS if it is not understood.
    pub(crate) async fn ask(&self, group: usize, candidate: Candidate, key: &Key, whole: bool) -> Outcome {
        let outcome = self.ask_once(candidate, key, whole).await;
        let Outcome::Said(Verdict::NotUnderstood(refusal), rtt) = outcome else { return outcome };
        if candidate.plain {
            return Outcome::Said(Verdict::Refused(refusal), rtt);
        }
        let again = self.ask_once(Candidate { plain: true, ..candidate }, key, whole).await;
        match again {
            Outcome::Said(Verdict::Settled(_) | Verdict::CutShort | Verdict::Bogus(_), _) => {
                self.pool(group).note_plain(candidate.address);
            }
            Outcome::Said(Verdict::NotUnderstood(refusal), rtt) => {
                return Outcome::Said(Verdict::Refused(refusal), rtt);
            }
            Outcome::Said(Verdict::Refused(_), _) | Outcome::Silent | Outcome::Unreachable => {}
        }
        again
    }

    async fn ask_once(&self, candidate: Candidate, key: &Key, whole: bool) -> Outcome {
        match self.exchange(Way::Udp, candidate, key).await {
            Outcome::Said(Verdict::CutShort, _) if whole => self.exchange(Way::Tcp, candidate, key).await,
            outcome => outcome,
        }
    }

    async fn exchange(&self, way: Way, candidate: Candidate, key: &Key) -> Outcome {
        let query = upstream_query(self.next_id(), key, candidate.plain);
        let start = Instant::now();
        let (exchange, address) = (self.exchange_seam(), candidate.address);
        let reply = match way {
            Way::Udp => timeout(self.config().attempt_timeout, exchange.udp(address, &query)).await,
            Way::Tcp => timeout(self.config().attempt_timeout, exchange.tcp(address, &query)).await,
        };
        let reply = match reply {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => return Outcome::Silent,
            Ok(Err(_)) => return Outcome::Unreachable,
            Err(_) => return Outcome::Silent,
        };
        let verdict =
            Some(&reply).filter(|r| is_reply(&query, r)).and_then(|r| read(r, key.question(), self.cache().bounds()));
        match verdict {
            // What came by TCP and is cut short all the same is no answer.
            Some(Verdict::CutShort) if matches!(way, Way::Tcp) => Outcome::Silent,
            Some(verdict) => Outcome::Said(verdict, start.elapsed()),
            None => Outcome::Silent,
        }
    }
}
