//! Finding upstreams that ask us in turn.
//!
//! Each upstream is asked about a name that nobody else knows. If that question comes to us, whoever passed it on would
//! go round with every other one, too. Such an upstream is left out until a later probe does not come back.

use super::{
    forwarder::Forwarder,
    key::Key,
    query::upstream_query,
    routes::{MACHINE, counted, wire},
};
use crate::exchange::is_reply;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

/// Nobody asks about it, so that other questions are not looked through for probes.
const HINFO: u16 = 13;
const CLASS_IN: u16 = 1;

impl Forwarder {
    /// Reads the lists and probes right away; outside of a runtime with the first question.
    pub(crate) fn spawn_warm_up(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current() {
            let forwarder = self.clone();
            runtime.spawn(async move { forwarder.refresh().await });
        }
    }

    /// Probes those that are due, each in a task that ends with its time-out; at most one for each upstream.
    pub(crate) fn spawn_probes(self: &Arc<Self>, now: Instant) {
        for group in self.groups() {
            let due = self.pool(group).due_probes(now);
            for upstream in due {
                if let Some(key) = self.probe_name(group) {
                    self.pool(group).begin_probe(now, upstream, &key);
                    tokio::spawn(self.clone().probe(group, upstream, key));
                }
            }
        }
    }

    async fn probe(self: Arc<Self>, group: usize, upstream: SocketAddr, key: Key) {
        let query = upstream_query(self.next_id(), &key, false);
        let reply = timeout(self.config().attempt_timeout, self.exchange_seam().udp(upstream, &query)).await;
        if let Ok(Ok(reply)) = reply
            && is_reply(&query, &reply)
        {
            self.pool(group).end_probe(upstream);
        }
    }

    /// Whether this question is one of our own probes, come round.
    pub(crate) fn is_own_probe(&self, key: &Key) -> bool {
        key.record_type() == HINFO && self.groups().any(|group| self.arrived(group, key))
    }

    fn arrived(&self, group: usize, key: &Key) -> bool {
        let arrived = self.pool(group).note_arrival(key.question());
        if let Some((upstream, true)) = arrived {
            self.counters().loops.add();
            tracing::warn!(%upstream, "this upstream resolver asks us in turn; it is left out. Give it other resolvers");
        }
        arrived.is_some()
    }

    /// Two random labels in front of the suffix, if they fit.
    fn probe_name(&self, group: usize) -> Option<Key> {
        let suffix = match group.checked_sub(MACHINE + 1) {
            Some(at) => wire(&counted(&self.config().suffixes)[at].0),
            None => Box::new([0]),
        };
        let mut question = Vec::new();
        for _ in 0..2 {
            question.push(16);
            question.extend_from_slice(format!("{:016x}", self.draw()).as_bytes());
        }
        question.extend_from_slice(&suffix);
        question.extend_from_slice(&[HINFO.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
        Key::new(&question, false, false).filter(|k| k.name().len() <= 255)
    }
}
