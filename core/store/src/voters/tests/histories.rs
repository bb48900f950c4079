//! Random histories of a ring, judged by rules that are written down without looking at the code.

use super::{
    ring::{Machine, Ring},
    *,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happens {
    Kill(prop::sample::Index),
    Revive(prop::sample::Index),
    Remove(prop::sample::Index),
    Join(u8),
    /// The leader reaches only these.
    Cut(u16),
    Heal,
    Lag(prop::sample::Index, bool),
    /// Another voter leads.
    Lead(prop::sample::Index),
    /// An earlier leader left half a change behind.
    Joint(prop::sample::Index),
    Stop(prop::sample::Index),
    Pass(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Kill),
        3 => any::<prop::sample::Index>().prop_map(Revive),
        1 => any::<prop::sample::Index>().prop_map(Remove),
        2 => (0..4_u8).prop_map(Join),
        1 => any::<u16>().prop_map(Cut),
        1 => Just(Heal),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, lags)| Lag(i, lags)),
        1 => any::<prop::sample::Index>().prop_map(Lead),
        1 => any::<prop::sample::Index>().prop_map(Joint),
        1 => any::<prop::sample::Index>().prop_map(Stop),
        8 => (1..90_u8).prop_map(Pass),
    ]
}

const ZONES: [&str; 4] = ["", "a", "b", "c"];

fn happen(ring: &mut Ring, what: &Happens) {
    let all = ring.machines.len();
    match what {
        Happens::Kill(i) => ring.machines[i.index(all)].alive = false,
        Happens::Revive(i) => ring.machines[i.index(all)].alive = true,
        Happens::Remove(i) => {
            let left = ring.members().count();
            let machine = &mut ring.machines[i.index(all)];
            machine.removed |= left > 1;
        }
        Happens::Join(zone) if all < 12 => ring.join(ZONES[usize::from(*zone)]),
        Happens::Join(_) => {}
        Happens::Cut(bits) => ring.reach = Some((1..=16).filter(|i| bits >> (i - 1) & 1 == 1).collect()),
        Happens::Heal => ring.reach = None,
        Happens::Lag(i, lags) => ring.machines[i.index(all)].complete = !lags,
        Happens::Lead(i) => {
            let voters: Vec<NodeId> = ring.voters().into_iter().collect();
            ring.lead(voters[i.index(voters.len())].0);
        }
        Happens::Joint(i) => {
            let [one] = ring.configs.as_slice() else { return };
            let mut next = one.clone();
            let mut new: Vec<NodeId> = ring.learners.iter().copied().collect();
            if one.len() == 1 && new.len() > 1 {
                new.truncate(2); // half-way from one to three
            } else if one.len() > 1 && !new.is_empty() {
                new = vec![new[i.index(new.len())]];
                let out = *next.iter().find(|id| id.0 != ring.leader).expect("another");
                next.remove(&out);
            } else {
                return;
            }
            ring.learners.retain(|id| !new.contains(id));
            next.extend(new);
            ring.configs = vec![one.clone(), next];
        }
        Happens::Stop(i) => {
            let id = NodeId(ring.machines[i.index(all)].id);
            let seen = ring.observation();
            ring.evidence.note_leaving(ring.now, id);
            if !leads_for_real(ring) {
                return;
            }
            if let Some(change) = plan_departure(ring.now, &seen, &ring.evidence, id) {
                judge(ring, &change);
                ring.make(&change);
            }
            if id.0 != ring.leader {
                ring.kill(id.0);
            }
        }
        Happens::Pass(_) => {}
    }
}

/// A dead or cut-off leader does nothing; only one that lives is asked what it would do.
fn leads_for_real(ring: &Ring) -> bool {
    ring.machines.iter().any(|m| m.id == ring.leader && m.alive) && ring.voters().contains(&NodeId(ring.leader))
}

/// What no change may ever do, whatever has happened.
fn judge(ring: &Ring, change: &Change) {
    let reached = |m: &&Machine| m.id == ring.leader || ring.reaches(m);
    assert!(ring.has_quorum(&ring.configs), "{change:?} without a quorum's acknowledgement");
    let seen = ring.members().filter(reached).count();
    let most = seen * 2 > ring.members().count();
    let joint = ring.configs.len() > 1;
    let before: BTreeSet<NodeId> = ring.configs[0].clone();
    match change {
        Change::Finish(voters) => assert!(joint && ring.configs.last() == Some(voters), "{change:?}"),
        Change::AddLearner(id) => {
            assert!(most && !joint);
            let new = ring.members().find(|m| m.id == id.0).expect("a member");
            assert!(ring.reaches(new) && !ring.learners.contains(id) && !before.contains(id), "{change:?}");
        }
        Change::RemoveLearner(id) => assert!(most && !joint && ring.learners.contains(id), "{change:?}"),
        Change::SetVoters { voters, stay, why } => {
            assert!(most, "{change:?} by a minority");
            assert!(!joint, "{change:?} while another change is half done");
            assert!(ring.has_quorum(std::slice::from_ref(voters)), "{change:?} leaves no quorum of the living");
            for new in voters.difference(&before) {
                let machine = ring.members().find(|m| m.id == new.0).expect("a member gets a vote");
                assert!(ring.reaches(machine) && machine.complete && ring.learners.contains(new), "{change:?}");
            }
            let removed = ring.machines.iter().filter(|m| m.removed && before.contains(&NodeId(m.id))).count();
            let members = ring.members().count();
            let swapped = voters.difference(&before).count() == 1 && before.difference(voters).count() == 1;
            match why {
                Why::Removal => {
                    let enough = if members < 3 {
                        1
                    } else if members < 5 {
                        3
                    } else {
                        5
                    };
                    assert!(removed > 0 || before.len() > enough, "{change:?}");
                    assert_eq!(*stay, removed == 0);
                }
                Why::Growth => assert!(voters.is_superset(&before) && [3, 5].contains(&voters.len()), "{change:?}"),
                Why::Replacement => {
                    assert!(swapped, "{change:?}");
                    let out = before.difference(voters).next().expect("one");
                    let out = ring.machines.iter().find(|m| m.id == out.0).expect("a machine");
                    let silent = out.silent_since.map_or(Duration::ZERO, |since| ring.now.since(since));
                    assert!(silent >= Duration::from_secs(29), "{change:?}: it was there {silent:?} ago");
                }
                Why::Spread => assert!(swapped, "{change:?}"),
                Why::Departure => {
                    assert!(swapped, "{change:?}");
                    let there = voters.iter().filter(|id| ring.answers(**id)).count();
                    assert!(there >= majority(voters.len()), "{change:?}: it can never be made");
                }
            }
            assert!(removed > 0 || voters.len() >= before.len() || *why == Why::Removal, "death shrinks nothing");
            match why {
                Why::Growth | Why::Replacement | Why::Spread => zones_are_kept_apart(ring, &before, voters),
                Why::Removal | Why::Departure => {}
            }
        }
    }
}

/// Nobody new shares a zone with another voter while a zone without one has a machine that could vote as well.
fn zones_are_kept_apart(ring: &Ring, before: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>) {
    let zone = |id: &NodeId| ring.machines.iter().find(|m| m.id == id.0).expect("a machine").zone.clone();
    let taken: Vec<String> = voters.iter().map(zone).collect();
    let shared = |id: &&NodeId| taken.iter().filter(|z| **z == zone(id)).count() > 1;
    let seen = ring.observation();
    let look = Look::new(ring.now, &seen, &ring.evidence, before);
    for newcomer in voters.difference(before).filter(shared) {
        let better = ring.members().map(|m| NodeId(m.id)).find(|id| {
            !voters.contains(id)
                && !before.contains(id)
                && !taken.contains(&zone(id))
                && look.is_fit(*id, CAUGHT_UP_FOR)
        });
        assert_eq!(better, None, "{newcomer} got a vote although {better:?} has a zone of its own: {voters:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn no_history_leads_to_a_change_that_must_not_be(
        zones in prop::collection::vec(0..4_usize, 1..9),
        history in prop::collection::vec(happens(), 1..40),
    ) {
        let zones: Vec<&str> = zones.into_iter().map(|zone| ZONES[zone]).collect();
        let mut ring = Ring::of(&zones);
        let mut replaced: Option<Millis> = None;
        for what in &history {
            let led = ring.leader;
            happen(&mut ring, what);
            if ring.leader != led || matches!(what, Happens::Lead(_)) {
                replaced = None; // the one that leads now does not know of it, be it after a farewell
            }
            let seconds = if let Happens::Pass(seconds) = what { u64::from(*seconds) } else { 1 };
            for _ in 0..seconds {
                if !leads_for_real(&ring) {
                    ring.now = ring.now + Duration::from_secs(1);
                    continue;
                }
                let before = ring.clone();
                let leader = ring.leader;
                if let Some(change) = ring.step() {
                    let judged = Ring {
                        now: ring.now,
                        machines: ring.machines.clone(),
                        evidence: before.evidence.clone(),
                        ..before.clone()
                    };
                    judge(&judged, &change);
                    if let Change::SetVoters { why: Why::Replacement, .. } = change {
                        let since = replaced.filter(|_| leader == before.leader).map(|at| ring.now.since(at));
                        prop_assert!(since.is_none_or(|s| s >= BETWEEN_REPLACEMENTS), "{since:?}");
                        replaced = Some(ring.now);
                    }
                }
                if ring.leader != leader {
                    replaced = None;
                }
            }
        }
    }

    #[test]
    fn it_converges_and_then_is_quiet(
        zones in prop::collection::vec(0..4_usize, 1..9),
        history in prop::collection::vec(happens(), 1..30),
    ) {
        let zones: Vec<&str> = zones.into_iter().map(|zone| ZONES[zone]).collect();
        let mut ring = Ring::of(&zones);
        for what in &history {
            happen(&mut ring, what);
            let seconds = if let Happens::Pass(seconds) = what { u64::from(*seconds) } else { 1 };
            (0..seconds).for_each(|_| if leads_for_real(&ring) { drop(ring.step()) });
        }
        // All that were not removed are well from now on.
        ring.reach = None;
        ring.machines.iter_mut().for_each(|m| (m.alive, m.complete) = (true, true));
        let leader = ring.voters().into_iter().find(|id| ring.members().any(|m| m.id == id.0));
        let Some(leader) = leader else { return Ok(()) }; // every voter was removed: nobody is left to lead
        ring.lead(leader.0);
        ring.run(2_000);
        prop_assert_eq!(ring.run(1_000), vec![], "no end");
        let (members, voters) = (ring.members().count(), ring.voters());
        let in_zones = ring.members().map(|m| m.zone.clone()).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(voters.len(), wanted(members, in_zones, voters.len()));
        prop_assert_eq!(ring.learners.len(), STANDBYS.min(members - voters.len()));
        let zone = |id: &NodeId| ring.machines.iter().find(|m| m.id == id.0).expect("a machine").zone.clone();
        let apart = voters.iter().map(zone).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(apart, in_zones.min(voters.len()), "zones are kept apart: {:?}", voters);
        prop_assert!(ring.members().filter(|m| voters.contains(&NodeId(m.id))).count() == voters.len());
    }
}
