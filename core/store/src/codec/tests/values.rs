//! A value of each stored type in which every field is set. Nothing is left to a default: a new field does not compile
//! until it stands here, and then changes what `format-*.txt` has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    num::{NonZeroU8, NonZeroU32},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use taffeta_model::{
    App, AppState, Autoscale, Cause, CertificateAuthority, Chaos, ChaosBlock, ClusterId, Constraint, Cpus, DnsEmpty,
    DnsOrder, DnsPolicy, Envelope, Exit, Fence, Fetch, Health, HealthProbe, HostMount, Isolation, Job, JobKind, JobRef,
    Kept, Leased, Life, LogBounds, Maintenance, Measure, Member, Metric, Missed, MissedPolicy, NodeId, Operator,
    Overlap, Past, Place, PlacementStrategy, PortSpec, Preference, Profile, Quota, Recovery, Recurrence, Resources,
    Rlimit, RlimitBounds, Rollout, Run, RunEnd, Runs, Schedule, SecretState, SecretVersion, Sha256, ShippedFile, State,
    Task, TaskId, Tmpfs, Token, TokenId, TokenRole, Trigger, UnixMillis, UpdatePolicy, Volume, VolumeId, VolumeState,
    Volumes,
};

pub(super) fn read<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn fence(index: u64) -> Fence {
    Fence { generation: 1, term: 300, index }
}

fn date(n: u64) -> UnixMillis {
    UnixMillis(1_800_000_000_000 + n)
}

pub(super) fn task(index: u32) -> TaskId {
    TaskId { app: read("shop"), job: read("job-0"), index }
}

pub(super) fn resources() -> Resources {
    Resources { cpus: Cpus(1_500), memory: 3 << 30, disk: 40 << 30, ports: 12_000 }
}

pub(super) fn schedule() -> Schedule {
    Schedule::new("0 3 * * 1-5", Some("Europe/Vienna")).unwrap()
}

pub(super) fn maintenance() -> Maintenance {
    Maintenance { schedule: schedule(), since: date(1), length: Duration::new(7_200, 5) }
}

pub(super) fn member() -> Member {
    Member {
        id: NodeId(0x1234_5678_9abc_def0),
        name: read("n1"),
        address: read("[2001:db8::1]:7400"),
        public_key: [3; 32],
        zone: "z1".into(),
        attributes: BTreeMap::from([("disk".into(), "ssd".into())]),
        capacity: resources(),
        custom: BTreeMap::from([("gpu".into(), 2)]),
        draining: true,
        maintenance: vec![maintenance()],
        joined: fence(2),
        assigned_fence: fence(3),
    }
}

pub(super) fn token() -> Token {
    Token { secret_hash: [4; 32], expires: date(2), uses: Some(5), used: 1, role: TokenRole::Node, created: date(3) }
}

pub(super) fn authority(n: u8) -> CertificateAuthority {
    CertificateAuthority { hash: [n; 32], certificate: vec![n; 3], cross: vec![n; 2], since: date(4) }
}

pub(super) fn envelope() -> Envelope {
    Envelope { wrapped: vec![5; 4], sealed: vec![6; 5] }
}

pub(super) fn quota() -> Quota {
    Quota { limit: resources(), custom: BTreeMap::from([("gpu".into(), 4)]), share: 7 }
}

/// Every way to end.
pub(super) fn exits() -> Vec<Exit> {
    vec![
        Exit::Code(-1),
        Exit::Signal(9),
        Exit::NotStarted("no such file".into()),
        Exit::OutOfMemory,
        Exit::Lost,
        Exit::Deadline,
        Exit::LeaseEnded,
    ]
}

/// Every cause.
pub(super) fn causes() -> Vec<Cause> {
    vec![
        Cause::Waited,
        Cause::MachineLost,
        Cause::Outdated,
        Cause::Drained,
        Cause::Preempted { by: task(9) },
        Cause::MachineRemoved,
        Cause::Surplus,
    ]
}

/// Every trigger.
pub(super) fn triggers() -> Vec<Trigger> {
    vec![Trigger::Deploy, Trigger::Slot(date(5)), Trigger::After, Trigger::ByHand { at: date(6) }]
}

/// Every reason why a slot did not run.
pub(super) fn misses() -> Vec<Missed> {
    vec![Missed::NoLeader, Missed::Overlap, Missed::QueueFull, Missed::Newer, Missed::Changed, Missed::NoInstance]
}

fn constraints() -> Vec<Constraint> {
    let operators = [
        Operator::Unique,
        Operator::Is("a".into()),
        Operator::MaxPer(3),
        Operator::Cluster(Some("b".into())),
        Operator::GroupBy(Some(2)),
        Operator::Like("c.*".into()),
        Operator::Unlike("d".into()),
    ];
    operators.into_iter().map(|operator| Constraint { field: "zone".into(), operator }).collect()
}

fn measures() -> BTreeSet<Measure> {
    BTreeSet::from([
        Measure::PidNamespace,
        Measure::MountNamespace,
        Measure::IpcNamespace,
        Measure::UtsNamespace,
        Measure::UserNamespace,
        Measure::ReadOnlyRoot,
        Measure::PrivateTmp,
        Measure::MaskedProc,
        Measure::PrivateDevices,
        Measure::NoNewPrivs,
        Measure::Capabilities,
        Measure::Seccomp,
        Measure::Landlock,
        Measure::CoreDumps,
        Measure::HiddenFolders,
    ])
}

fn probe(n: usize) -> HealthProbe {
    match n % 3 {
        0 => HealthProbe::Http { path: "/health".into(), port: "http".into() },
        1 => HealthProbe::Tcp { port: "http".into() },
        _ => HealthProbe::Run { run: vec!["./check".into()] },
    }
}

/// Four of them have every variant of what a job names.
fn job(n: usize) -> Job {
    let soon = Duration::new(3, 250_000_000);
    Job {
        kind: [JobKind::Service, JobKind::Batch { retries: 2 }, JobKind::Daemon, JobKind::Cron { retries: 3 }][n],
        count: 3,
        run: vec!["./web".into(), "$PORT_HTTP".into()],
        env: BTreeMap::from([("GREETING".into(), "hello".into())]),
        ports: vec![PortSpec { name: "http".into(), fixed: Some(8_080) }],
        resources: resources(),
        cpu_quota: true,
        cpuset: Some(read("0,2-3")),
        io_weight: Some(200),
        pids_max: 64,
        health: Some(Health { probe: probe(n), every: soon, timeout: soon, failures: 4 }),
        custom: BTreeMap::from([("gpu".into(), 1)]),
        constraints: constraints(),
        prefer: vec![Preference {
            rule: Constraint { field: "disk".into(), operator: Operator::Is("ssd".into()) },
            weight: -20,
        }],
        strategy: [PlacementStrategy::Spread, PlacementStrategy::Pack][n % 2],
        with: vec![JobRef { app: Some(read("db")), job: read("cache") }],
        apart: vec![JobRef { app: None, job: read("web") }],
        priority: 60,
        update: UpdatePolicy {
            max_surge: 1,
            max_unavailable: 2,
            canary: 3,
            blue_green: true,
            promote: Some(soon),
            healthy_within: soon,
            rollback: true,
        },
        autoscale: Some(Autoscale {
            min: 1,
            max: 9,
            cpu: Some(700),
            memory: Some(800),
            metric: Some(Metric {
                name: "requests".into(),
                path: "/metrics".into(),
                port: "http".into(),
                target: 5_000,
            }),
            up_after: soon,
            down_after: soon,
        }),
        revocable: true,
        after: vec![read("migrate")],
        files: vec!["server.py".into()],
        tags: vec!["public".into()],
        dns: DnsPolicy {
            order: [DnsOrder::Random, DnsOrder::Weighted, DnsOrder::Near][n % 3],
            answers: NonZeroU8::new(8),
            empty: [DnsEmpty::NoData, DnsEmpty::NxDomain][n % 2],
            weight: 500,
        },
        grace: soon,
        reschedule_after: soon,
        secrets: BTreeSet::from([read("tls-key")]),
        secret_env: BTreeMap::from([("DB_PASSWORD".into(), read("db-password"))]),
        cron: Some(Recurrence {
            schedule: schedule(),
            epsilon: soon,
            overlap: [Overlap::Skip, Overlap::Queue, Overlap::Replace][n % 3],
            missed: [MissedPolicy::Skip, MissedPolicy::Run][n % 2],
        }),
        deadline: Some(soon),
        parallel: NonZeroU32::new(2),
        history: 10,
        exclusive: true,
        volume: Some(Volume { name: read("data"), size: 1 << 30, at: Some(read("/data")) }),
        mounts: vec![HostMount { host: read("/srv"), at: read("/mnt"), read_only: true }],
        tmpfs: vec![Tmpfs { at: read("/scratch"), bytes: 1 << 20 }],
        fetch: vec![Fetch {
            url: "https://example.org/a.tar".into(),
            digest: Sha256([7; 32]),
            name: Some("a".into()),
            unpack: true,
            executable: true,
        }],
        isolation: Isolation {
            profile: Some([Profile::None, Profile::Standard, Profile::Strict][n % 3]),
            without: measures(),
        },
        user: Some(read("www-data:1000")),
        rlimits: Rlimit::ALL.map(|limit| (limit, RlimitBounds { soft: Some(9), hard: Some(10) })).into(),
        logs: LogBounds { size: 1 << 20, files: 3 },
    }
}

pub(super) fn app() -> Arc<App> {
    Arc::new(App {
        name: read("shop"),
        team: Some(read("sales")),
        jobs: (0..4).map(|n| (read(&format!("job-{n}")), Arc::new(job(n)))).collect(),
        files: BTreeMap::from([("server.py".into(), ShippedFile { body: vec![8; 9], executable: true })]),
    })
}

fn runs() -> Runs {
    let failed = exits().into_iter().zip(1..).map(|(exit, index)| (index, exit)).collect();
    let ends = [
        RunEnd::Succeeded,
        RunEnd::Failed { instances: failed, more: 2 },
        RunEnd::Replaced,
        RunEnd::Outdated,
        RunEnd::Empty,
    ];
    let ran = ends.into_iter().zip(triggers().into_iter().cycle());
    let ran = ran.map(|(end, trigger)| Past::Ran { trigger, started: Some(date(7)), ended: date(8), end });
    let missed = misses().into_iter().map(|why| Past::Missed { first: date(9), last: date(10), count: 2, why });
    Runs {
        changed: fence(4),
        since: date(11),
        handled: date(12),
        queue: vec![date(13)],
        current: Some(Run { trigger: Trigger::Slot(date(14)), started: Some(date(15)), args: vec!["--all".into()] }),
        finished: 6,
        taken: BTreeMap::from([(read("job-3"), 5)]),
        history: ran.chain(missed).collect(),
    }
}

fn app_state() -> AppState {
    let (revisions, jobs) = (BTreeMap::from([(read("job-0"), 70)]), BTreeSet::from([read("job-0")]));
    let secrets = BTreeMap::from([(read("job-0"), BTreeMap::from([(read("db-password"), 2)]))]);
    let kept = Kept {
        app: app(),
        version: 3,
        deployed_at: date(16),
        revisions: revisions.clone(),
        secrets: secrets.clone(),
        failed: Some("it did not work in time".into()),
        promoted: jobs.clone(),
    };
    AppState {
        app: app(),
        version: 4,
        deployed_at: date(17),
        revisions,
        secrets,
        rollout: Rollout {
            paused: true,
            promoted: jobs.clone(),
            settled: jobs,
            returned: Some("version 2 is back".into()),
        },
        kept: vec![kept],
        runs: BTreeMap::from([(read("job-1"), runs())]),
        touched: fence(5),
    }
}

/// One task for each cause, in each place.
fn tasks() -> impl Iterator<Item = (TaskId, Task)> {
    let node = NodeId(1);
    let places = [
        Place::Waiting { last: Some(node) },
        Place::On { node, fence: fence(6) },
        Place::Ended { node, fence: fence(7), exit: Exit::Code(2) },
    ];
    causes().into_iter().zip(places.into_iter().cycle()).zip(1..).map(|((cause, place), index)| {
        (task(index), Task { attempt: 8, revision: 70, place, moved_from: Some(NodeId(2)), cause })
    })
}

/// Volumes are made by commands alone; this is how they are stored.
fn volumes() -> Volumes {
    let id = VolumeId { task: task(1), name: read("data") };
    let all = BTreeMap::from([(id, VolumeState { node: NodeId(1), size: 1 << 30, born: fence(8) })]);
    postcard::from_bytes(&postcard::to_stdvec(&(all, fence(9))).unwrap()).unwrap()
}

pub(super) fn chaos_block() -> ChaosBlock {
    ChaosBlock { by: read("n1"), at: date(20), reason: "enough".into() }
}

pub(super) fn state() -> State {
    let version = SecretVersion { envelope: envelope(), bytes: 12, changed: date(18) };
    State {
        cluster: ClusterId(0xc1),
        generation: 1,
        recovery: Some(Recovery {
            cluster: ClusterId(0xc1),
            generation: 1,
            node: NodeId(1),
            date: date(19),
            signature: vec![9; 64],
        }),
        level: 2,
        lives: BTreeMap::from([(NodeId(1), Life { start: 3, nonce: 77 })]),
        ca_hash: [10; 32],
        authorities: vec![authority(11), authority(12)],
        removed: BTreeMap::from([(NodeId(5), date(20))]),
        admin_token_hash: [13; 32],
        members: BTreeMap::from([(member().id, member())]),
        tokens: BTreeMap::from([(TokenId(6), token())]),
        apps: BTreeMap::from([(read("shop"), app_state())]),
        tasks: tasks().collect(),
        leased: BTreeMap::from([(task(1), Leased { node: NodeId(1), fence: fence(10), lasts: Duration::new(20, 1) })]),
        quotas: BTreeMap::from([(read("sales"), quota())]),
        secrets: BTreeMap::from([(
            read("db-password"),
            SecretState { newest: 2, versions: BTreeMap::from([(2, version)]) },
        )]),
        secrets_removed: 1,
        kek_hash: [14; 32],
        recovery_key: [15; 32],
        applied: fence(400),
        directory_fence: fence(11),
        pool_fence: fence(12),
        volumes: volumes(),
        chaos: Chaos { blocked: Some(chaos_block()), tokens: BTreeMap::from([(NodeId(1), [4; 32])]) },
    }
}
