//! The index against a computation from scratch, over random histories of all that it is made of.

use super::{
    index::Index,
    known::{Bugs, Known, LEFT_KEPT, UNMET_WAIT},
};
use crate::ring::RingState;
use proptest::prelude::*;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use taffeta_catalogue::{Held, OwnerSet};
use taffeta_dns_answer::{Change, Instance, Node, ServiceDns, ServiceState, Snapshot, SnapshotInput};
use taffeta_model::{
    AppName, DirectoryJob, DirectoryMember, DnsPolicy, Fence, JobKind, JobName, Liveness, Millis, NodeId, NodeInfo,
    Phase, Resources, TaskId, TaskRecord,
};
use taffeta_swim::{Identity, MemberState};

const ME: NodeId = NodeId(1);

type Services = BTreeMap<(String, String), ServiceState>;

/// All services, all machines and whether the answers are stale, by a walk of everything that is known.
fn from_scratch(known: &Known) -> (Services, Vec<Node>, bool) {
    let (ring, directory, bugs) = (&known.ring, &known.directory, known.bugs);
    let settled = known.now.since(Millis(0)) >= UNMET_WAIT;
    let met = |id: NodeId| if id == ME { Some(Liveness::Alive) } else { ring.liveness(id) };
    let there = directory.members.keys().filter(|id| matches!(met(**id), Some(Liveness::Alive | Liveness::Suspect)));
    let stay = directory.members.keys().filter(|id| met(**id) != Some(Liveness::Left));
    let sees_most = there.count() * 2 > stay.count();
    let left_long = |owner| ring.members.get(&owner).is_none_or(|m| known.now.since(m.since) >= LEFT_KEPT);
    let is_gone = |owner| {
        !bugs.keep_dead
            && ring.majority
            && match met(owner) {
                Some(Liveness::Down) => true,
                Some(Liveness::Left) => left_long(owner),
                Some(Liveness::Alive | Liveness::Suspect) => false,
                None => sees_most && settled,
            }
    };
    let name_of = |id: NodeId| match (id == ME, directory.members.get(&id), known.sets.get(&id)) {
        (true, ..) => known.name.to_string(),
        (_, Some(member), _) => member.name.to_string(),
        (_, None, Some(set)) => set.info.name.to_string(),
        (_, None, None) => id.to_string(),
    };
    let rank = |owner: NodeId, record: &TaskRecord| {
        let serves = record.serving && !is_gone(owner);
        if bugs.prefer_old {
            return (false, false, Fence { index: u64::MAX - record.fence.index, ..record.fence });
        }
        (serves, serves && met(owner) == Some(Liveness::Alive), record.fence)
    };
    let mut services = Services::new();
    for (app, jobs) in &directory.apps {
        for (job, entry) in jobs.iter().filter(|(_, entry)| entry.kind == JobKind::Service) {
            let service = services.entry((app.to_string(), job.to_string())).or_default();
            service.ports = entry.ports.iter().map(Into::into).collect();
            service.dns = ServiceDns { answers: entry.dns.answers, ..ServiceDns::default() };
        }
    }
    let mut best: BTreeMap<(&TaskId, &str), (NodeId, &TaskRecord)> = BTreeMap::new();
    let records = known.sets.iter().flat_map(|(owner, set)| set.records.iter().map(|r| (*owner, &**r)));
    for (owner, record) in records.filter(|(_, r)| r.kind == JobKind::Service) {
        let key = (&record.task, record.instance.as_str());
        if best.get(&key).is_none_or(|(holder, known)| rank(*holder, known) < rank(owner, record)) {
            best.insert(key, (owner, record));
        }
    }
    for (owner, record) in best.into_values().filter(|(owner, _)| *owner == ME || !bugs.hide_healthy) {
        let key = (record.task.app.to_string(), record.task.job.to_string());
        services.entry(key).or_default().instances.push(Instance {
            app: record.task.app.as_str().into(),
            service: record.task.job.as_str().into(),
            label: record.instance.as_str().into(),
            node: name_of(owner).into(),
            address: record.address,
            ports: record.ports.clone(),
            tags: record.tags.clone(),
            serving: record.serving && !is_gone(owner),
            version: record.version,
            weight: record.weight,
            suspected: met(owner) != Some(Liveness::Alive) && !bugs.keep_dead,
        });
    }
    let nodes = directory.members.iter().map(|(id, member)| {
        let address = ring.members.get(id).map_or(member.address, |m| m.identity.address).ip();
        Node {
            name: member.name.as_str().into(),
            address: if *id == ME { known.address } else { address },
            up: met(*id) == Some(Liveness::Alive),
            is_leader: known.leader == Some(*id),
            is_voter: known.voters.contains(id),
            zone: known.sets.get(id).map(|set| set.info.zone.as_str().into()).unwrap_or_default(),
            distance: if *id == ME { Some(0) } else { known.distances.get(id).copied() },
        }
    });
    (services, nodes.collect(), !ring.majority || (settled && !sees_most))
}

/// One thing that becomes different.
#[derive(Clone, Debug)]
enum Step {
    /// An owner's records: by index of the task, the new one or none.
    Records(u64, Vec<(u32, Option<TaskRecord>)>),
    Renamed(u64),
    Forgotten(u64),
    Met(u64, Option<(Liveness, u64)>),
    Majority(bool),
    Member(u64, bool),
    Job(&'static str, &'static str, Option<(JobKind, Vec<&'static str>)>),
    Answers(&'static str, &'static str, u8),
    Office(Option<u64>, Vec<u64>),
    Distance(u64, Option<u8>),
    Passed(u64),
    Planted([bool; 3]),
}

const APPS: [&str; 2] = ["blog", "shop"];
const JOBS: [&str; 2] = ["api", "web"];

prop_compose! {
    fn a_record()(
        app in prop::sample::select(&APPS[..]), job in prop::sample::select(&JOBS[..]), index in 0..3u32,
        own_label in any::<bool>(), batch in prop::bool::weighted(0.1), fence in 1..5u64,
        serving in prop::bool::weighted(0.7), host in 1..4u8, port in prop::option::of(1..3u16),
        weight in 9..11u16,
    ) -> TaskRecord {
        TaskRecord {
            task: TaskId { app: app.parse().unwrap(), job: job.parse().unwrap(), index },
            instance: if own_label { "own".into() } else { index.to_string().into() },
            kind: if batch { JobKind::Batch { retries: 0 } } else { JobKind::Service },
            fence: Fence { generation: 0, term: 1, index: fence },
            version: 1,
            phase: Phase::Running,
            serving,
            address: IpAddr::from([10, 0, 0, host]),
            ports: port.map(|n| ("http".into(), n)).into_iter().collect(),
            tags: Vec::new(),
            weight,
            pid: None,
            restarts: 0,
            started_at: None,
            exit: None,
            reason: String::new(),
        }
    }
}

fn a_liveness() -> impl Strategy<Value = Liveness> {
    prop::sample::select(vec![Liveness::Alive, Liveness::Suspect, Liveness::Down, Liveness::Left])
}

fn a_step() -> impl Strategy<Value = Step> {
    let (owner, app, job) = (1..5u64, prop::sample::select(&APPS[..]), prop::sample::select(&JOBS[..]));
    let kind = prop_oneof![3 => Just(JobKind::Service), 1 => Just(JobKind::Batch { retries: 0 })];
    let ports = prop::sample::subsequence(vec!["http", "grpc"], 0..=2);
    let records = prop::collection::vec((0..12u32, prop::option::weighted(0.7, a_record())), 1..5);
    prop_oneof![
        8 => (owner.clone(), records).prop_map(|(owner, records)| Step::Records(owner, records)),
        1 => owner.clone().prop_map(Step::Renamed),
        1 => owner.clone().prop_map(Step::Forgotten),
        6 => (owner.clone(), prop::option::weighted(0.9, (a_liveness(), 0..9_000u64)))
            .prop_map(|(owner, state)| Step::Met(owner, state)),
        1 => any::<bool>().prop_map(Step::Majority),
        3 => (owner.clone(), prop::bool::weighted(0.7)).prop_map(|(owner, there)| Step::Member(owner, there)),
        3 => (app.clone(), job.clone(), prop::option::weighted(0.7, (kind, ports))).prop_map(|(a, j, entry)| Step::Job(a, j, entry)),
        1 => (app.clone(), job.clone(), 0..3u8).prop_map(|(app, job, answers)| Step::Answers(app, job, answers)),
        1 => (owner.clone(), prop::option::of(1..4u8)).prop_map(|(owner, step)| Step::Distance(owner, step)),
        1 => (prop::option::of(owner.clone()), prop::collection::vec(owner, 0..3))
            .prop_map(|(leader, voters)| Step::Office(leader, voters)),
        3 => (1..6_000u64).prop_map(Step::Passed),
        1 => prop::sample::select(vec![[false; 3], [true, false, false], [false, true, false], [false, false, true]])
            .prop_map(Step::Planted),
    ]
}

fn info(name: &str) -> NodeInfo {
    NodeInfo {
        name: name.parse().unwrap(),
        address: ([10, 0, 0, 9], 7400).into(),
        http: None,
        dns: None,
        zone: if name.starts_with("again") { "b".into() } else { "a".into() },
        attributes: BTreeMap::new(),
        capacity: Resources::default(),
        custom: BTreeMap::new(),
        version: String::new(),
        not_isolated: Vec::new(),
        authority: 0,
        speaks: taffeta_model::Versions::ALL,
    }
}

fn set(owner: u64, info: NodeInfo, records: Vec<Arc<TaskRecord>>) -> OwnerSet {
    OwnerSet { owner: NodeId(owner), epoch: 1, seq: 1, info, records }
}

fn nothing() -> Known {
    Known {
        now: Millis(0),
        me: ME,
        name: "n1".into(),
        address: [10, 0, 0, 1].into(),
        ring: Arc::new(RingState { majority: true, ..RingState::default() }),
        sets: Arc::default(),
        directory: Arc::default(),
        leader: None,
        voters: Vec::new(),
        distances: Arc::default(),
        bugs: Bugs::default(),
    }
}

fn step(known: &mut Known, step: Step) {
    match step {
        Step::Records(owner, changes) => {
            let old = known.sets.get(&NodeId(owner));
            let mut records: BTreeMap<TaskId, Arc<TaskRecord>> =
                old.into_iter().flat_map(|set| &set.records).map(|r| (r.task.clone(), Arc::clone(r))).collect();
            for (which, new) in changes {
                match new {
                    Some(new) => drop(records.insert(new.task.clone(), Arc::new(new))),
                    None => {
                        let task = records.keys().nth(which as usize).cloned();
                        task.and_then(|task| records.remove(&task));
                    }
                }
            }
            let info = old.map_or_else(|| info(&format!("set{owner}")), |set| set.info.clone());
            let set = set(owner, info, records.into_values().collect());
            Arc::make_mut(&mut known.sets).insert(NodeId(owner), Arc::new(Held::of(set)));
        }
        Step::Renamed(owner) => {
            let Some(old) = known.sets.get(&NodeId(owner)) else { return };
            let set = set(owner, info(&format!("again{owner}")), old.records.clone());
            Arc::make_mut(&mut known.sets).insert(NodeId(owner), Arc::new(Held::of(set)));
        }
        Step::Forgotten(owner) => drop(Arc::make_mut(&mut known.sets).remove(&NodeId(owner))),
        Step::Met(owner, state) => {
            let members = &mut Arc::make_mut(&mut known.ring).members;
            let identity = Identity::seed(NodeId(owner), ([10, 0, 0, owner as u8], 7400).into());
            match state {
                Some((liveness, ago)) => {
                    let since = Millis(known.now.0.saturating_sub(ago));
                    let member = MemberState { identity, liveness, since, suspect_since: None };
                    members.insert(NodeId(owner), member);
                }
                None => drop(members.remove(&NodeId(owner))),
            }
        }
        Step::Majority(majority) => Arc::make_mut(&mut known.ring).majority = majority,
        Step::Member(owner, there) => {
            let members = &mut Arc::make_mut(&mut known.directory).members;
            let name = format!("n{owner}").parse().unwrap();
            let member = DirectoryMember { name, address: ([10, 0, 1, 1], 7400).into(), public_key: [0; 32] };
            members.retain(|id, _| id.0 != owner);
            members.extend(there.then_some((NodeId(owner), member)));
        }
        Step::Job(app, job, entry) => {
            let apps = &mut Arc::make_mut(&mut known.directory).apps;
            let jobs = apps.entry(app.parse().unwrap()).or_default();
            jobs.retain(|name, _| name.as_str() != job);
            let entry = entry.map(|(kind, ports)| {
                let ports = ports.into_iter().map(Into::into).collect();
                (job.parse().unwrap(), DirectoryJob { kind, ports, count: 1, dns: DnsPolicy::default() })
            });
            jobs.extend(entry);
            apps.retain(|_, jobs| !jobs.is_empty());
        }
        Step::Answers(app, job, answers) => {
            let apps = &mut Arc::make_mut(&mut known.directory).apps;
            let (app, job) = (app.parse().unwrap(), job.parse().unwrap());
            let entry = apps.get_mut::<AppName>(&app).and_then(|jobs| jobs.get_mut::<JobName>(&job));
            if let Some(entry) = entry {
                entry.dns.answers = std::num::NonZeroU8::new(answers);
            }
        }
        Step::Distance(owner, step) => {
            let distances = Arc::make_mut(&mut known.distances);
            distances.retain(|id, _| id.0 != owner);
            distances.extend(step.map(|step| (NodeId(owner), step)));
        }
        Step::Office(leader, voters) => {
            (known.leader, known.voters) = (leader.map(NodeId), voters.into_iter().map(NodeId).collect());
        }
        Step::Passed(millis) => known.now.0 += millis,
        Step::Planted([keep_dead, hide_healthy, prefer_old]) => {
            known.bugs = Bugs { keep_dead, hide_healthy, prefer_old };
        }
    }
}

fn apply(services: &mut Services, change: &Change) {
    for ((app, service), state) in &change.services {
        let key = (app.to_string(), service.to_string());
        match state {
            Some(state) => drop(services.insert(key, state.clone())),
            None => drop(services.remove(&key)),
        }
    }
}

fn empty() -> Snapshot {
    Snapshot::build(SnapshotInput::new("fabric.internal".parse().unwrap(), "n1"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changes_lead_to_what_a_computation_from_scratch_gives(
        history in prop::collection::vec(prop::collection::vec(a_step(), 0..4), 1..40)
    ) {
        let (mut index, mut known, mut snapshot, mut services) =
            (Index::default(), nothing(), empty(), Services::new());
        for steps in history {
            steps.into_iter().for_each(|s| step(&mut known, s));
            let change = index.update(known.clone(), &snapshot);
            apply(&mut services, &change);
            let stale = change.stale;
            snapshot = snapshot.changed(change);
            let (expected, nodes, expected_stale) = from_scratch(&known);
            prop_assert_eq!(&services, &expected);
            prop_assert_eq!(snapshot.nodes(), &nodes);
            prop_assert_eq!(stale, expected_stale);
            prop_assert!(index.next_turn().is_none_or(|at| at > known.now));
        }
    }
}

fn record(job: &str, index: u32) -> TaskRecord {
    TaskRecord {
        task: TaskId { app: "shop".parse().unwrap(), job: job.parse().unwrap(), index },
        instance: index.to_string().into(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 1, index: 1 },
        version: 1,
        phase: Phase::Running,
        serving: true,
        address: [10, 0, 0, 1].into(),
        ports: Vec::new(),
        tags: Vec::new(),
        weight: 10,
        pid: None,
        restarts: 0,
        started_at: None,
        exit: None,
        reason: String::new(),
    }
}

/// `count` machines that are all met, each with one instance of `web` and one of a service of its own.
fn cluster(count: u64) -> Known {
    let mut known = nothing();
    for owner in 1..=count {
        step(&mut known, Step::Member(owner, true));
        step(&mut known, Step::Met(owner, Some((Liveness::Alive, 0))));
        let own = record(&format!("own-{owner}"), 1);
        let web = record("web", u32::try_from(owner).unwrap());
        step(&mut known, Step::Records(owner, vec![(0, Some(own)), (0, Some(web))]));
    }
    known
}

fn services_of(change: &Change) -> Vec<&str> {
    change.services.keys().map(|(_, service)| service.as_str()).collect()
}

#[test]
fn change_is_about_the_services_of_changed_records_alone() {
    let (mut index, mut known, snapshot) = (Index::default(), cluster(50), empty());
    assert_eq!(index.update(known.clone(), &snapshot).services.len(), 51);
    let snapshot = snapshot.changed(Index::default().update(known.clone(), &snapshot));
    assert_eq!(index.update(known.clone(), &snapshot), snapshot.no_change());
    let sick = TaskRecord { serving: false, ..record("own-7", 1) };
    step(&mut known, Step::Records(7, vec![(0, Some(sick))]));
    assert_eq!(services_of(&index.update(known, &snapshot)), ["own-7"]);
}

#[test]
fn verdict_on_a_machine_is_about_the_services_it_has() {
    let (mut index, mut known, snapshot) = (Index::default(), cluster(50), empty());
    index.update(known.clone(), &snapshot);
    step(&mut known, Step::Met(7, Some((Liveness::Suspect, 0))));
    assert_eq!(services_of(&index.update(known.clone(), &snapshot)), ["own-7", "web"]);
    step(&mut known, Step::Met(7, Some((Liveness::Left, 0))));
    assert_eq!(services_of(&index.update(known.clone(), &snapshot)), ["own-7", "web"]);
    let turn = index.next_turn().expect("it is given for a while yet");
    assert_eq!(turn, known.now + LEFT_KEPT);
    known.now = turn;
    assert_eq!(services_of(&index.update(known, &snapshot)), ["own-7", "web"]);
    assert_eq!(index.next_turn(), None);
}
