//! What may happen to a cluster, drawn at random: machines, apps and events.
//!
//! Left out: what is said of it then, which is `checks`'.

use crate::tests::fixture::{Cluster, MIB, With, app, batch, service};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};
use taffeta_model::{
    App, AppName, AppState, Command, Constraint, Cpus, Exit, Job, JobKind, JobName, JobRef, Liveness, Maintenance,
    NodeId, Operator, Phase, PlacementStrategy, Preference, Quota, Schedule, TeamName, UnixMillis, UpdatePolicy,
    Volume, VolumeId,
};

/// Most machines of a history: the oracle looks at each for each question.
const MACHINES_MAX: usize = 8;

/// What a machine offers: thousandths of processors, MiB of memory, ports and countable ones, its zone, its rack.
type Machine = (u64, u64, (u32, u64), &'static str, Option<&'static str>);

/// What may happen to a cluster.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Deploy(App),
    Restart(usize),
    Scale(usize, usize, u32),
    See(u64, Liveness, bool),
    Unseen(u64, bool),
    Pass(u64),
    Report(usize, Phase),
    AllWell,
    NewLeader,
    Resize(u64, u64),
    Drain(u64, bool),
    Quota(&'static str, Option<u64>),
    Stop(usize),
    Promote(usize),
    Pause(usize, bool),
    Rollback(usize),
    LeasesEnd,
    Reset(usize),
    RemoveVolume(usize),
    Maintain(u64, Option<u64>),
    Avoid(u64, bool),
    Join(Machine),
    RemoveMachine(u64),
}

pub(super) fn happen(c: &mut Cluster, event: Event) {
    match event {
        Event::Deploy(app) => c.deploy(&app),
        Event::Restart(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Restart { app, job: None });
            }
        }
        Event::Scale(i, j, count) => {
            let app = pick(c.state.apps.values(), i).map(|deployed| deployed.app);
            let scalable = |(name, job): (&JobName, &Arc<Job>)| (job.kind != JobKind::Daemon).then(|| name.clone());
            let jobs = |app: &App| app.jobs.iter().filter_map(scalable).collect::<Vec<_>>();
            if let Some((app, job)) = app.and_then(|app| Some((app.name.clone(), pick(jobs(&app).iter(), j)?))) {
                c.apply(&Command::Scale { app, job, count });
            }
        }
        Event::See(i, liveness, confirmed) => c.see(machine(c, i), liveness, confirmed),
        Event::Unseen(i, dead) => c.unsee(machine(c, i), dead),
        Event::Pass(millis) => c.pass(millis),
        Event::Report(i, phase) => {
            if let Some(id) = pick(c.state.tasks.keys(), i) {
                let exit = (phase == Phase::Failed).then_some(Exit::Signal(9));
                c.report(&id.to_string(), phase, exit);
            }
        }
        Event::AllWell => c.all_well(),
        Event::NewLeader => {
            c.new_leader();
        }
        Event::Drain(i, on) => c.apply(&Command::Drain { node: NodeId(machine(c, i)), on }),
        Event::Quota(team, cpus) => {
            let team: TeamName = team.parse().unwrap();
            match cpus {
                Some(cpus) => {
                    let mut quota = Quota::unlimited();
                    quota.limit.cpus = Cpus(cpus);
                    c.apply(&Command::SetQuota { team, quota });
                }
                None if c.state.quotas.contains_key(&team) => c.apply(&Command::RemoveQuota { team }),
                None => {}
            }
        }
        Event::Promote(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Promote { app, job: None, seen_version: None });
            }
        }
        Event::Pause(i, on) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Pause { app, on });
            }
        }
        Event::Rollback(i) => {
            let kept = |app: &&AppState| app.kept.iter().any(|kept| kept.failed.is_none());
            let apps: Vec<AppName> = c.state.apps.values().filter(kept).map(|app| app.app.name.clone()).collect();
            if let Some(app) = pick(apps.iter(), i) {
                let now = UnixMillis(0);
                c.apply(&Command::Rollback { app, seen_version: None, to: None, reason: None, now });
            }
        }
        Event::Stop(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Stop { app });
            }
        }
        Event::LeasesEnd => c.leases_end(),
        Event::Reset(i) => {
            if let Some(id) = pick(c.state.volumes.keys(), i) {
                c.try_apply(&Command::ResetVolume { task: id.task });
            }
        }
        Event::RemoveVolume(i) => {
            if let Some(VolumeId { task, name }) = pick(c.state.volumes.keys(), i) {
                c.try_apply(&Command::RemoveVolume { task, name: Some(name) });
            }
        }
        Event::Maintain(i, minutes) => {
            let window = minutes.map(|minutes| Maintenance {
                schedule: Schedule::new("*/3 * * * *", None).unwrap(),
                since: UnixMillis(0),
                length: std::time::Duration::from_secs(60 * minutes),
            });
            c.apply(&Command::Maintain { node: NodeId(machine(c, i)), window });
        }
        Event::Avoid(i, avoided) => c.avoid(machine(c, i), avoided),
        Event::Resize(i, memory) => c.member(machine(c, i)).capacity.memory = memory * MIB,
        Event::Join(machine) => {
            if c.state.members.len() < MACHINES_MAX {
                let known = c.state.members.keys().chain(c.state.removed.keys()).max();
                let id = known.map_or(1, |last| last.0 + 1);
                c.add(id);
                equip(c, id, machine);
            }
        }
        Event::RemoveMachine(i) => c.remove(machine(c, i)),
    }
}

/// One of the machines, by number.
fn machine(c: &Cluster, i: u64) -> u64 {
    let mut members = c.state.members.keys().cycle();
    members.nth(usize::try_from(i).unwrap()).expect("the last machine is never removed").0
}

fn equip(c: &mut Cluster, i: u64, (cpus, memory, (ports, gpus), zone, rack): Machine) {
    let member = c.member(i);
    (member.capacity.cpus, member.capacity.memory) = (Cpus(cpus), memory * MIB);
    (member.capacity.ports, member.zone) = (ports, zone.into());
    member.custom.insert("gpu".into(), gpus);
    member.attributes = BTreeMap::from_iter(rack.map(|rack| ("rack".into(), rack.into())));
}

fn pick<'a, T: Clone + 'a>(mut from: impl ExactSizeIterator<Item = &'a T>, i: usize) -> Option<T> {
    let len = from.len();
    if len == 0 { None } else { from.nth(i % len).cloned() }
}

fn a_job() -> impl Strategy<Value = Job> {
    let operator = prop_oneof![
        Just(Operator::Unique),
        select(vec!["a", "b", "n1"]).prop_map(|v| Operator::Is(v.into())),
        option::of(select(vec!["a", "n2"])).prop_map(|v| Operator::Cluster(v.map(Into::into))),
        option::of(1..4_u32).prop_map(Operator::GroupBy),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Like(v.into())),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Unlike(v.into())),
        (0..3_u32).prop_map(Operator::MaxPer),
    ];
    let constraint = option::weighted(0.4, (select(vec!["hostname", "zone", "rack"]), operator));
    let priority = select(vec![50, 50, 50, 20, 80]);
    let custom = (option::weighted(0.2, 1..3_u64), priority, 0..6_u32, prop::bool::weighted(0.6));
    let ports = (option::weighted(0.2, select(vec![80, 81])), 0..3_u32);
    let apart = (option::weighted(0.1, 0..4_usize), option::weighted(0.1, 0..4_usize));
    let size = (0..1500_u64, 0..600_u64);
    use JobKind::{Batch, Daemon, Service};
    let kind = select(vec![Service, Service, Service, Batch { retries: 0 }, Daemon]);
    let shape = (kind, 0..5_u32, any::<bool>(), 0..20_u64);
    let promote = prop_oneof![2 => Just(Some(0)), 1 => Just(None), 1 => Just(Some(5))];
    let update = (0..3_u32, 0..3_u32, prop_oneof![3 => Just(0), 1 => 1..3_u32], prop::bool::weighted(0.1), promote);
    let limits = (0..4_u32, option::weighted(0.3, 1..20_u64));
    let volume = option::weighted(0.3, (select(vec!["v", "w"]), 1..60_u64));
    let wish = prop_oneof![
        select(vec!["a", "b", "n1"]).prop_map(|v| Operator::Is(v.into())),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Like(v.into())),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Unlike(v.into())),
    ];
    let prefer = vec((select(vec!["hostname", "zone", "rack"]), wish, select(vec![100_i16, 30, -50])), 0..3);
    let rest = (any::<bool>(), update, limits, volume, prefer);
    (shape, size, ports, constraint, custom, apart, rest).prop_map(
        |(shape, (cpus, memory), (fixed, free), constraint, custom, (with, apart), rest)| {
            let (pack, update, limits, volume, prefer) = rest;
            let ((kind, count, checked, delay), (parallel, deadline)) = (shape, limits);
            let mut job = match kind {
                Service => service(count),
                Batch { .. } | JobKind::Cron { .. } => batch(count),
                Daemon => Job { kind, ..service(1) },
            };
            job = job.cpus(cpus).memory(memory * MIB).free_ports(free);
            job = fixed.into_iter().fold(job, With::fixed_port);
            job = constraint.into_iter().fold(job, |job, (field, operator)| job.constraint(field, operator));
            let (gpus, priority, revocable, exclusive) = custom;
            job.custom.extend(gpus.map(|gpus| ("gpu".to_owned(), gpus)));
            (job.priority, job.revocable) = (priority, revocable == 0);
            let names = ["a", "b", "mail/c", "d"];
            job.with.extend(with.map(|i| names[i].parse::<JobRef>().unwrap()));
            job.apart.extend(apart.map(|i| names[i].parse::<JobRef>().unwrap()));
            let (max_surge, max_unavailable, canary, blue_green, promote) = update;
            job.update = UpdatePolicy {
                max_surge,
                max_unavailable: if max_surge == 0 && !blue_green { 1 } else { max_unavailable },
                canary: if blue_green { 0 } else { canary },
                blue_green,
                promote: promote.map(std::time::Duration::from_secs),
                healthy_within: std::time::Duration::from_secs(30),
                rollback: true,
            };
            if kind == Daemon {
                let max_unavailable = job.update.max_unavailable.max(1);
                let update = UpdatePolicy { max_surge: 0, max_unavailable, canary: 0, blue_green: false, ..job.update };
                job.update = update;
            }
            job.prefer.extend(prefer.into_iter().map(|(field, operator, weight)| Preference {
                rule: Constraint { field: field.into(), operator },
                weight,
            }));
            job.exclusive = exclusive && kind != Daemon && max_surge == 0 && canary == 0 && !blue_green;
            if let Some((name, gib)) = volume.filter(|_| kind != Daemon) {
                job.volume = Some(Volume { name: name.parse().unwrap(), size: gib << 30, at: None });
                (job.update.max_surge, job.update.blue_green) = (0, false);
                job.update.max_unavailable = job.update.max_unavailable.max(1);
            }
            job.strategy = if pack { PlacementStrategy::Pack } else { PlacementStrategy::Spread };
            job.reschedule_after = std::time::Duration::from_secs(delay);
            if job.kind.is_batch() {
                let seconds = |deadline| std::time::Duration::from_secs(deadline);
                (job.parallel, job.deadline) = (NonZeroU32::new(parallel), deadline.map(seconds));
            }
            if checked && !job.kind.is_batch() { job.checked() } else { job }
        },
    )
}

pub(super) fn an_app() -> impl Strategy<Value = App> {
    let jobs = vec((a_job(), vec(0..4_usize, 0..2)), 1..4);
    let team = option::of(select(vec!["red", "blue"]));
    (select(vec!["blog", "mail", "shop"]), jobs, team).prop_map(|(name, jobs, team)| {
        let names = ["a", "b", "c", "d"];
        // Only earlier jobs are named, so that there is no cycle.
        let jobs = jobs.into_iter().enumerate().map(|(i, (job, after))| {
            let mut after: Vec<&str> = after.into_iter().filter(|j| *j < i).map(|j| names[j]).collect();
            after.dedup();
            // A job is neither with nor apart from itself.
            let other = |target: &JobRef| target.job.as_str() != names[i];
            let mut job = job.after(&after);
            job.with.retain(other);
            job.apart.retain(other);
            if job.with == job.apart {
                job.with.clear();
            }
            (names[i], job)
        });
        let mut app = app(name, &jobs.collect::<Vec<_>>());
        app.team = team.map(|team| team.parse().unwrap());
        app
    })
}

fn a_machine() -> impl Strategy<Value = Machine> {
    let rack = option::of(select(vec!["a", "b"]));
    (0..4000_u64, 0..2000_u64, (0..8_u32, 0..4_u64), select(vec!["", "a", "b"]), rack)
}

pub(super) fn a_cluster() -> impl Strategy<Value = Cluster> {
    vec(a_machine(), 1..6).prop_map(|machines| {
        let mut c = Cluster::of(machines.len() as u64);
        (1..).zip(machines).for_each(|(i, machine)| equip(&mut c, i, machine));
        c
    })
}

pub(super) fn an_event() -> impl Strategy<Value = Event> {
    use Liveness::{Alive, Down, Left, Suspect};
    use Phase::{Failed, Finished, Healthy, Running, Starting, Stopping, Unhealthy};
    let phase = select(vec![Starting, Running, Healthy, Unhealthy, Stopping, Finished, Failed]);
    prop_oneof![
        3 => an_app().prop_map(Event::Deploy),
        1 => any::<usize>().prop_map(Event::Restart),
        1 => (any::<usize>(), any::<usize>(), 0..5_u32).prop_map(|(i, j, count)| Event::Scale(i, j, count)),
        3 => (0..8_u64, select(vec![Alive, Suspect, Down, Left]), any::<bool>())
            .prop_map(|(i, liveness, confirmed)| Event::See(i, liveness, confirmed)),
        1 => (0..8_u64, any::<bool>()).prop_map(|(i, dead)| Event::Unseen(i, dead)),
        2 => (0..12_000_u64).prop_map(Event::Pass),
        3 => (any::<usize>(), phase).prop_map(|(i, phase)| Event::Report(i, phase)),
        3 => Just(Event::AllWell),
        1 => Just(Event::NewLeader),
        1 => (0..8_u64, 0..2000_u64).prop_map(|(i, memory)| Event::Resize(i, memory)),
        1 => (0..8_u64, any::<bool>()).prop_map(|(i, on)| Event::Drain(i, on)),
        1 => (select(vec!["red", "blue"]), option::of(0..3000_u64)).prop_map(|(t, cpus)| Event::Quota(t, cpus)),
        1 => any::<usize>().prop_map(Event::Stop),
        1 => any::<usize>().prop_map(Event::Promote),
        1 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(i, on)| Event::Pause(i, on)),
        1 => any::<usize>().prop_map(Event::Rollback),
        2 => Just(Event::LeasesEnd),
        1 => any::<usize>().prop_map(Event::Reset),
        1 => any::<usize>().prop_map(Event::RemoveVolume),
        1 => (0..8_u64, option::of(1..3_u64)).prop_map(|(i, minutes)| Event::Maintain(i, minutes)),
        1 => (0..8_u64, any::<bool>()).prop_map(|(i, avoided)| Event::Avoid(i, avoided)),
        1 => a_machine().prop_map(Event::Join),
        1 => (0..8_u64).prop_map(Event::RemoveMachine),
    ]
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.state.members.values().map(|m| (&m.name, m.capacity, &m.custom, &m.zone, &m.attributes)))
            .finish()
    }
}
