//! Machines that come and go: how often each was suspected lately, and for how long new tasks rather go elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use taffeta_model::{Liveness, Millis, NodeId};

/// So many suspicions within [`WITHIN`] are no accident.
const MANY: usize = 3;
/// The time within which they count together.
const WITHIN: Duration = Duration::from_secs(600);
/// How long a machine is avoided at first; each further suspicion doubles it.
const AT_FIRST: Duration = Duration::from_secs(300);
/// The longest that it is avoided after a suspicion.
const AT_MOST: Duration = Duration::from_secs(3_600);
/// A machine that was steady for so long since it was last avoided is as any other.
const FORGIVEN: Duration = Duration::from_secs(3_600);

/// What this node has seen of each member. Every node keeps it for itself, so that one that begins to lead has it.
#[derive(Debug, Default)]
pub(crate) struct Flaps {
    of: BTreeMap<NodeId, Flap>,
}

/// One member.
#[derive(Debug, Default)]
struct Flap {
    /// The last few suspicions, at most [`MANY`].
    recent: VecDeque<Millis>,
    /// How often the time was doubled.
    doublings: u32,
    until: Option<Millis>,
}

impl Flaps {
    /// The ring thinks otherwise of a member than before.
    pub(crate) fn note(&mut self, now: Millis, id: NodeId, before: Option<Liveness>, after: Option<Liveness>) {
        match (before, after) {
            (_, None) => drop(self.of.remove(&id)),
            // Down without a suspicion: another has suspected it for us.
            (Some(Liveness::Alive), Some(Liveness::Suspect | Liveness::Down)) => {
                self.of.entry(id).or_default().note(now);
            }
            (_, Some(Liveness::Alive | Liveness::Suspect | Liveness::Down | Liveness::Left)) => {}
        }
    }

    /// Until when each member is avoided that is or was lately.
    pub(crate) fn avoided(&self) -> BTreeMap<NodeId, Millis> {
        self.of.iter().filter_map(|(id, flap)| Some((*id, flap.until?))).collect()
    }
}

impl Flap {
    fn note(&mut self, now: Millis) {
        if self.until.is_some_and(|until| now > until + FORGIVEN) {
            *self = Self::default();
        }
        self.recent.retain(|at| now.since(*at) < WITHIN);
        self.recent.push_back(now);
        // While it is avoided, any further one counts.
        if self.recent.len() < MANY && self.until.is_none_or(|until| now >= until) {
            return;
        }
        self.recent.truncate(MANY);
        let time = AT_FIRST.saturating_mul(1 << self.doublings.min(16)).min(AT_MOST);
        self.doublings += 1;
        self.until = Some(now + time);
    }
}

#[cfg(test)]
mod tests {
    use super::{Flaps, Liveness, Millis, NodeId};

    const N: NodeId = NodeId(7);

    #[derive(Default)]
    struct Seen(Flaps);

    impl Seen {
        /// It is suspected at that second, and refutes it.
        fn suspect(&mut self, at: u64) -> Option<u64> {
            let (alive, suspect) = (Some(Liveness::Alive), Some(Liveness::Suspect));
            self.0.note(Millis(at * 1000), N, alive, suspect);
            self.0.note(Millis(at * 1000 + 500), N, suspect, alive);
            self.until()
        }

        fn until(&self) -> Option<u64> {
            self.0.avoided().get(&N).map(|until| until.0 / 1000)
        }
    }

    #[test]
    fn it_is_avoided_from_the_third_time_within_ten_minutes_and_each_further_one_doubles_that() {
        let mut seen = Seen::default();
        assert_eq!((seen.suspect(100), seen.suspect(400)), (None, None));
        assert_eq!(seen.suspect(600), Some(600 + 300));
        assert_eq!(seen.suspect(700), Some(700 + 600));
        assert_eq!(seen.suspect(1200), Some(1200 + 1200));
        assert_eq!(seen.suspect(2300), Some(2300 + 2400), "once is enough while it is avoided");
        for at in [2400, 2500, 2600] {
            assert_eq!(seen.suspect(at), Some(at + 3600), "never for longer than an hour");
        }
    }

    #[test]
    fn suspicions_far_apart_are_accidents_and_an_hour_of_rest_is_forgiven() {
        let mut seen = Seen::default();
        for at in [0, 301, 602, 903, 1204] {
            assert_eq!(seen.suspect(at), None, "two within ten minutes");
        }
        let mut seen = Seen::default();
        for at in [0, 1, 2, 3] {
            seen.suspect(at);
        }
        assert_eq!(seen.until(), Some(603));
        for (at, until) in [(5000, None), (5001, None), (5002, Some(5302))] {
            assert_eq!(seen.suspect(at), until, "as if nothing had been");
        }
    }

    #[test]
    fn a_farewell_is_no_flap_and_one_that_is_forgotten_is_forgotten() {
        let mut seen = Seen::default();
        for at in 0..5 {
            seen.0.note(Millis(at), N, Some(Liveness::Alive), Some(Liveness::Left));
            seen.0.note(Millis(at), N, Some(Liveness::Left), Some(Liveness::Alive));
        }
        assert_eq!(seen.until(), None);
        for at in [10, 11, 12] {
            seen.0.note(Millis(at), N, Some(Liveness::Alive), Some(Liveness::Down));
            seen.0.note(Millis(at), N, Some(Liveness::Down), Some(Liveness::Alive));
        }
        assert!(seen.until().is_some());
        seen.0.note(Millis(13), N, Some(Liveness::Left), None);
        assert_eq!(seen.until(), None);
    }
}
