//! Random clusters and histories against an oracle that looks at everything anew for every question.

mod checks;
mod facts;
mod histories;

pub(super) use checks::gives_room;

use super::fixture::{Cluster, With, app, service, task_id};
use crate::{Change, preview};
use checks::{checked_turn, invariant_each_machine_has_one_of_each_daemon};
use facts::fits;
use histories::{a_cluster, an_app, an_event, happen};
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeSet, sync::Arc};
use taffeta_model::{Command, Cpus, Liveness, NodeId, Operator, Place};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Safety in any history; then all goes well and there must be an end, with nothing left undone.
    #[test]
    fn plans_are_safe_in_any_history_and_come_to_rest(mut c in a_cluster(), events in vec(an_event(), 1..25)) {
        for event in events {
            happen(&mut c, event);
            checked_turn(&mut c)?;
        }
        for node in c.state.members.keys().copied().collect::<Vec<_>>() {
            c.see(node.0, Liveness::Alive, false);
            c.apply(&Command::Maintain { node, window: None });
        }
        c.pass(60_000);
        let mut last = None;
        for _ in 0..200 {
            c.all_well();
            c.leases_end();
            c.pass(1000);
            let plan = checked_turn(&mut c)?;
            if plan.commands.is_empty() {
                last = Some(plan);
                break;
            }
        }
        let last = last.expect("the commands come to an end");
        let again = c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring);
        prop_assert_eq!(again.commands, vec![], "nothing has changed since the plan before");
        prop_assert_eq!(c.plan().commands, vec![], "nor is there more to do for another leader");
        // Where a task waits for room, it is looked again from time to time.
        prop_assert!(last.wake_at.is_none() || last.waiting().next().is_some());
        prop_assert!(last.probe.is_empty());
        invariant_each_machine_has_one_of_each_daemon(&c)?;
        for (id, task) in c.state.tasks.iter().filter(|(_, task)| task.node().is_some()) {
            let wanted = c.state.apps[&id.app].revisions[&id.job];
            let told = last.why(id).is_some();
            let blocked = last.waiting().map(|(id, _)| id).any(|other| other.app == id.app && other.job == id.job);
            prop_assert!(task.revision == wanted || told || blocked, "{id} is outdated for no reason");
        }
    }

    /// The same state gives the same plan: to two that know nothing, and to one that met the machines in the opposite order;
    /// also where the plan gives room in its course.
    #[test]
    fn the_same_state_gives_the_same_plan(mut c in a_cluster(), events in vec(an_event(), 1..25)) {
        for event in events {
            happen(&mut c, event);
            let plan = c.plan();
            prop_assert_eq!(&c.plan(), &plan);
            prop_assert_eq!(&c.plan_met_backwards(), &plan);
            plan.commands.iter().for_each(|command| c.apply(command));
        }
    }

    /// For an app that is new, the preview tells the very machines.
    #[test]
    fn a_preview_of_a_new_app_comes_true(mut c in a_cluster(), mut first in an_app(), mut second in an_app()) {
        second.name = "second".parse().unwrap();
        for job in first.jobs.values_mut().chain(second.jobs.values_mut()).map(Arc::make_mut) {
            (job.priority, job.revocable) = (50, false); // when others make way depends on how they fare
        }
        c.deploy(&first);
        c.settle();
        let preview = preview(c.now, &c.state, &c.ring, &second).unwrap();
        c.deploy(&second);
        let last = c.settle();
        for (id, task) in c.state.tasks.iter().filter(|(id, _)| id.app == second.name) {
            let came = match &task.place {
                Place::Waiting { .. } => Change::Wait { reason: last.why(id).unwrap().clone() },
                Place::On { node, .. } | Place::Ended { node, .. } => Change::Create { node: *node },
            };
            let expected = match (&preview.tasks[id], &came) {
                (Change::Wait { .. }, Change::Wait { .. }) => continue, // what is free elsewhere may be told later
                (expected, _) => expected,
            };
            prop_assert_eq!(expected, &came);
        }
    }
}

/// The oracle itself can tell: it refuses what does not fit, or it would prove nothing.
#[test]
fn the_oracle_refuses_what_does_not_fit() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2).fixed_port(80).constraint("hostname", Operator::Unique))]));
    c.settle();
    let id = task_id("shop/web.1");
    let here = NodeId(c.on("shop/web.1"));
    let there = NodeId(c.on("shop/web.2"));
    let none = BTreeSet::new();
    assert!(fits(&c, &c.state, &id, here, &none) && !fits(&c, &c.state, &id, there, &none));
    c.member(here.0).capacity.cpus = Cpus(99);
    assert!(!fits(&c, &c.state, &id, here, &none));
}
