//! What each machine's own API says of all machines, and how long it takes until all say what they should.

use crate::{
    client::{Client, NoReply},
    machine::{Cluster, Machine},
    wait::eventually,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    iter,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

/// Pause between two looks at one machine.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a look may take: a machine that asks another one, which is dead, before it answers is better asked again.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Machines that are looked at side by side. Each is looked at until it shows what is waited for, then the next one is:
/// when the last of all knows is the same as if all had been looked at all the time, which would cost the measured
/// machine half a core for forty nodes.
const LOOKERS: usize = 4;

/// A machine as `/v1/nodes` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// `n1`, ...
    pub name: String,
    /// `alive`, `suspect`, `down`, `left` or `draining`.
    pub state: String,
    /// `leader`, `voter`, `learner` or `member`.
    pub role: String,
}

impl Listed {
    /// Whether it is a voter or leads them.
    pub fn votes(&self) -> bool {
        self.role == "leader" || self.role == "voter"
    }
}

impl Machine {
    /// The list that this machine's own API gives; an error in words if it gives none.
    pub fn listed(&self) -> Result<Vec<Listed>, String> {
        listed(self.http(), self.token()).map_err(|why| format!("{}: {why}", self.name))
    }

    fn until_shown(&self, since: Instant, limit: Duration, about: &[&str], state: &str) -> Result<Shown, String> {
        let mut before = String::new();
        loop {
            let shown = self.listed().and_then(|list| check(&list, about, state));
            let took = since.elapsed();
            match shown {
                Ok(()) => return Ok(Shown { took, last: self.name.clone(), before }),
                Err(why) if took >= limit => return Err(format!("{}: {why}", self.name)),
                Err(why) => before = why,
            }
            sleep(LOOK_EVERY);
        }
    }
}

/// The list that the node at this API gives to whoever shows this token.
pub(crate) fn listed(server: SocketAddr, token: Option<&str>) -> Result<Vec<Listed>, String> {
    match Client::new(server, LOOK_MAX).showing(token).request("GET", "/v1/nodes", None) {
        Ok((200, body)) => serde_json::from_str(&body).map_err(|e| e.to_string()),
        Ok((status, body)) => Err(format!("HTTP {status} {body}")),
        Err(NoReply::NotSent(why) | NoReply::Sent(why)) => Err(why),
    }
}

/// All machines that were asked have shown what was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How long that took the last of them.
    pub took: Duration,
    /// Its name.
    pub last: String,
    /// What it showed, or why it did not answer, when it was looked at before; empty if it was looked at once.
    pub before: String,
}

impl Cluster {
    /// Waits until each of the `asked` machines shows all of the machines `about` in this state, and tells how long that
    /// took from `since`. If it took longer than `limit`, says which did not, and what they showed instead.
    pub fn until_shown(
        &self,
        since: Instant,
        limit: Duration,
        asked: &[usize],
        about: &[usize],
        state: &str,
    ) -> Result<Shown, String> {
        let about: Vec<&str> = about.iter().map(|index| self.machines[*index].name.as_str()).collect();
        let next = AtomicUsize::new(0);
        let looker = || -> Vec<Result<Shown, String>> {
            let turns = iter::from_fn(|| asked.get(next.fetch_add(1, Ordering::Relaxed)));
            turns.map(|index| self.machines[*index].until_shown(since, limit, &about, state)).collect()
        };
        let all: Vec<Result<Shown, String>> = scope(|scope| {
            let lookers: Vec<_> = (0..LOOKERS).map(|_| scope.spawn(looker)).collect();
            lookers.into_iter().flat_map(|looker| looker.join().expect("a looker does not panic")).collect()
        });
        let late: Vec<&str> = all.iter().filter_map(|shown| shown.as_ref().err().map(String::as_str)).collect();
        match all.iter().flatten().max_by_key(|shown| shown.took) {
            Some(last) if late.is_empty() => Ok(last.clone()),
            Some(_) | None => Err(format!("{} of {} do not show it: {}", late.len(), all.len(), late.join("; "))),
        }
    }

    /// Waits until so many machines vote: before that, one that dies may take the quorum with it.
    pub fn wait_voters(&self, count: usize) {
        eventually(&format!("{count} voters"), || {
            self.machines[0].listed().is_ok_and(|list| list.iter().filter(|m| m.votes()).count() == count)
        });
    }
}

/// Says how many are in which other state.
fn check(list: &[Listed], about: &[&str], state: &str) -> Result<(), String> {
    let states: BTreeMap<&str, &str> = list.iter().map(|m| (m.name.as_str(), m.state.as_str())).collect();
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for found in about.iter().map(|name| states.get(name).copied().unwrap_or("unknown")).filter(|s| *s != state) {
        *others.entry(found).or_default() += 1;
    }
    let words: Vec<String> = others.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if words.is_empty() { Ok(()) } else { Err(words.join(", ")) }
}

#[cfg(test)]
mod tests;
