//! How services grow and shrink with their load.

use super::fixture::{Cluster, MIB, app, service, task_id};
use crate::{Autoscaler, Load};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{App, Autoscale, Command, Job, JobName, Metric, Outcome, PortSpec};

/// A service of 2 to 10 instances that should use 70 % of the half processor each asks for, and its leader.
struct Watch {
    cluster: Cluster,
    scaler: Autoscaler,
}

fn by_cpu() -> Autoscale {
    Autoscale { min: 2, max: 10, cpu: Some(700), ..Autoscale::default() }
}

impl Watch {
    fn of(scale: Autoscale, count: u32) -> Self {
        let mut cluster = Cluster::of(3);
        let mut web = service(count);
        web.resources.cpus.0 = 500;
        web.resources.memory = 100 * MIB;
        web.ports = vec![PortSpec { name: "http".into(), fixed: None }];
        web.resources.ports = 1;
        web.autoscale = Some(scale);
        cluster.deploy(&app("shop", &[("web", web)]));
        Self { cluster, scaler: Autoscaler::default() }
    }

    fn count(&self) -> u32 {
        let deployed = self.cluster.state.apps.values().next().unwrap();
        deployed.app.jobs[&JobName::new("web").unwrap()].count
    }

    /// Looks every 5 s for so long while the instances are loaded so; tells what was decided, by the second.
    fn look(&mut self, seconds: u64, load: impl Fn(u32) -> Option<Load>) -> Vec<(u64, u32)> {
        let mut decided = vec![];
        for second in (0..seconds).step_by(5) {
            let loads: BTreeMap<_, _> =
                (1..=self.count()).filter_map(|i| Some((task_id(&format!("shop/web.{i}")), load(i)?))).collect();
            for command in &self.scaler.decide(self.cluster.now, &self.cluster.state, &loads) {
                let Command::Autoscale { count, reason, .. } = command else { panic!("{command:?}") };
                assert!(!reason.is_empty());
                decided.push((second, *count));
                self.cluster.apply(command);
            }
            self.cluster.pass(5_000);
        }
        decided
    }
}

fn cpu(cpu: f64) -> impl Fn(u32) -> Option<Load> {
    move |_| Some(Load { cpu: Some(cpu), ..Load::default() })
}

#[test]
fn it_grows_once_it_has_been_watched_and_again_after_a_pause() {
    let mut watch = Watch::of(by_cpu(), 2);
    // 0.5 of 0.5 processors: 1.0 where 0.7 should be, so 2 / 0.7 are needed.
    assert_eq!(watch.look(60, cpu(0.5)), [(30, 3)]);
    assert_eq!(watch.count(), 3);
    // That did not help: twice as many at most, or four more. The pause counts from the look that sees the new count.
    assert_eq!(watch.look(65, cpu(5.0)), [(5, 7), (40, 10)], "the bound ends it");
    assert_eq!(watch.look(600, cpu(5.0)), []);
}

#[test]
fn noise_changes_nothing() {
    let mut watch = Watch::of(by_cpu(), 4);
    assert_eq!(watch.look(900, cpu(0.35 * 1.09)), []);
    assert_eq!(watch.look(900, cpu(0.35 * 0.91)), []);
}

#[test]
fn it_shrinks_to_the_most_that_was_needed_for_a_while() {
    let mut watch = Watch::of(by_cpu(), 10);
    watch.look(300, cpu(0.35));
    // A third of what should be; the last look at which all ten were needed is 5 s before.
    assert_eq!(watch.look(290, cpu(0.35 / 3.0)), []);
    assert_eq!(watch.look(30, cpu(0.35 / 3.0)), [(10, 4)]);
    // One look in five minutes at which more is needed keeps them.
    assert_eq!(watch.look(100, cpu(0.35)), []);
    assert_eq!(watch.look(290, cpu(0.0)), []);
    assert_eq!(watch.look(60, cpu(0.0)), [(10, 2)], "the lower bound");
}

#[test]
fn a_new_leader_watches_before_it_shrinks_or_grows() {
    let mut watch = Watch::of(by_cpu(), 6);
    watch.look(295, cpu(0.0));
    watch.scaler = Autoscaler::default();
    assert_eq!(watch.look(300, cpu(0.0)), []);
    assert_eq!(watch.look(5, cpu(0.0)), [(0, 2)]);
}

#[test]
fn instances_that_say_nothing_are_no_reason() {
    let mut watch = Watch::of(by_cpu(), 4);
    // One is overloaded, and of the others nothing is known: with all of them idle there would be room.
    let one = |i| (i == 1).then_some(Load { cpu: Some(0.6), ..Load::default() });
    assert_eq!(watch.look(900, one), []);
    // One is idle; the others may be as loaded as they should be, which leaves work for three and a half.
    let idle = |i| (i == 1).then_some(Load { cpu: Some(0.175), ..Load::default() });
    assert_eq!(watch.look(900, idle), []);
    assert_eq!(watch.look(900, |_| None), []);
}

#[test]
fn the_measure_that_asks_for_most_counts() {
    let metric = Metric { name: "queue".into(), path: "/metrics".into(), port: "http".into(), target: 10_000 };
    let scale = Autoscale { memory: Some(500), metric: Some(metric), ..by_cpu() };
    let mut watch = Watch::of(scale, 2);
    let load = Load { cpu: Some(0.0), memory: Some(75 * MIB), metric: Some(12.0) };
    assert_eq!(watch.look(35, |_| Some(load)), [(30, 3)], "memory: 0.75 where 0.5 should be");
    let load = Load { cpu: Some(0.0), memory: Some(0), metric: Some(20.0) };
    assert_eq!(watch.look(35, |_| Some(load)), [(30, 6)], "the metric: twice what it should be");
    let load = Load { cpu: Some(f64::NAN), memory: None, metric: Some(f64::INFINITY) };
    assert_eq!(watch.look(600, |_| Some(load)), [], "what is no number says nothing");
}

#[test]
fn a_deploy_keeps_the_count_that_the_load_has_made() {
    let mut watch = Watch::of(by_cpu(), 2);
    watch.look(60, cpu(5.0));
    assert_eq!(watch.count(), 6);
    let mut again = (*watch.cluster.state.apps.values().next().unwrap().app).clone();
    let job = |app: &mut App, change: fn(&mut Job)| change(Arc::make_mut(app.jobs.values_mut().next().unwrap()));
    job(&mut again, |job| job.count = 2);
    watch.cluster.deploy(&again);
    assert_eq!(watch.count(), 6);
    job(&mut again, |job| job.autoscale = Some(Autoscale { max: 4, ..by_cpu() }));
    watch.cluster.deploy(&again);
    assert_eq!(watch.count(), 4, "within the new bounds");
    job(&mut again, |job| job.autoscale = None);
    watch.cluster.deploy(&again);
    assert_eq!(watch.count(), 2, "nobody scales it any more");
}

#[test]
fn what_was_decided_about_another_count_changes_nothing() {
    let mut watch = Watch::of(by_cpu(), 2);
    let (app, job) = ("shop".parse().unwrap(), JobName::new("web").unwrap());
    let reason = String::new();
    let late = Command::Autoscale { app, job, seen_count: 3, count: 9, reason };
    let at = watch.cluster.state.applied;
    let outcome = watch.cluster.state.apply(taffeta_model::Fence { index: at.index + 1, ..at }, &late);
    assert!(matches!(outcome, Outcome::Refused(_)));
    assert_eq!(watch.count(), 2);
}

proptest! {
    /// Whatever is measured: within the bounds, never a step that says nothing, no growth within the pause, and no less
    /// than what was needed lately.
    #[test]
    fn it_stays_within_its_bounds_and_never_flutters(loads in prop::collection::vec(0u32..3_000, 1..400), count in 2u32..=10) {
        let mut watch = Watch::of(by_cpu(), count);
        let mut changes: Vec<(u64, u32, u32)> = vec![];
        for (look, load) in loads.iter().enumerate() {
            let before = watch.count();
            for (_, to) in watch.look(5, cpu(f64::from(*load) / 1000.0)) {
                prop_assert!((2..=10).contains(&to) && to != before);
                changes.push((look as u64 * 5, before, to));
            }
        }
        for pair in changes.windows(2) {
            let [(one, ..), (two, before, after)] = pair else { unreachable!() };
            let apart = Duration::from_secs(two - one);
            prop_assert!(after < before || apart >= Autoscale::default().up_after, "{changes:?}");
        }
        let downs = changes.iter().filter(|(at, before, after)| after < before && *at < 300);
        prop_assert_eq!(downs.count(), 0, "nothing shrinks before it was watched");
    }
}
