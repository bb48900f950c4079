//! Scratch.
use std::{sync::Arc, time::Instant};
use taffeta_model::*;
use taffeta_scheduler::*;

fn main() {
    let machines = 10_000u64;
    let mut state = State::default();
    let mut ring = RingView::new(Millis(0));
    let mut at = Fence { generation: 0, term: 1, index: 0 };
    let now = Millis(60_000);
    for i in 1..=machines {
        let zone = if i == 1 { "z99".into() } else { format!("z{}", i / 20 % 20) };
        let cpus = if i == 1 { 100_000 } else { 11_000 };
        let member = Member {
            id: NodeId(mix(i)),
            name: NodeName::new(format!("n{i}")).unwrap(),
            address: std::net::SocketAddr::from(([10, (i >> 16) as u8, (i >> 8) as u8, i as u8], 7400)),
            public_key: [0; 32],
            zone,
            attributes: [
                ("rack".to_owned(), format!("r{}", i / 20)),
                ("disk".to_owned(), if i % 3 == 0 { "hdd" } else { "ssd" }.to_owned()),
            ]
            .into(),
            capacity: Resources { cpus: Cpus(cpus), memory: 128 << 30, disk: 1 << 40, ports: 12_000 },
            custom: Default::default(),
            draining: false,
            joined: at,
            assigned_fence: at,
        };
        ring.see(member.id, Some(MemberView { liveness: Liveness::Alive, since: Millis(0), confirmed_dead: false }));
        state.members.insert(member.id, member);
    }
    state.pool_fence = Fence { index: 1, ..at };
    at.index = 1;
    let rule = |field: &str, operator| Constraint { field: field.into(), operator };
    let app = |name: String, count| {
        let job = Job {
            count,
            run: vec!["sleep".into()],
            resources: Resources { cpus: Cpus(1000), memory: 64 << 20, disk: 0, ports: 1 },
            ports: vec![PortSpec { name: "http".into(), fixed: None }],
            constraints: vec![rule("hostname", Operator::Unique), rule("rack", Operator::MaxPer(4))],
            ..Job::new(JobKind::Service)
        };
        Arc::new(App {
            name: AppName::new(name).unwrap(),
            team: None,
            jobs: [(JobName::new("web").unwrap(), job)].into(),
            files: Default::default(),
        })
    };
    for i in 0..200 {
        at.index += 1;
        assert!(matches!(
            state.apply(at, &Command::Deploy { app: app(format!("a{i}"), 500), now: UnixMillis(0) }),
            Outcome::Done(_)
        ));
    }
    let mut scheduler = Scheduler::new();
    let begin = Instant::now();
    let mut plan_time = std::time::Duration::ZERO;
    let mut turns = 0;
    loop {
        let t = Instant::now();
        let plan = scheduler.plan(now, &state, &mut ring);
        plan_time += t.elapsed();
        if plan.commands.is_empty() {
            break;
        }
        turns += 1;
        for command in &plan.commands {
            at.index += 1;
            state.apply(at, command);
        }
    }
    let all = begin.elapsed();
    let placed = state.tasks.values().filter(|t| t.node().is_some()).count();
    println!(
        "placed {placed} in {turns} turns: plan {plan_time:?} all {all:?}: {:.0}/s",
        placed as f64 / all.as_secs_f64()
    );
    let n1 = NodeId(mix(1));
    println!("on n1: {}", state.tasks.of_machine(n1).count());
    for (id, task) in &state.tasks {
        if let Place::On { node, fence } = task.place {
            ring.report(id, Observed { node, fence, phase: Phase::Running, exit: None, since: now });
        }
    }
    let t = Instant::now();
    let plan = scheduler.plan(now, &state, &mut ring);
    println!("all reported: {:?} {}", t.elapsed(), plan.commands.len());
    for _ in 0..3 {
        let t = Instant::now();
        let plan = scheduler.plan(now, &state, &mut ring);
        println!("nothing: {:?} {}", t.elapsed(), plan.commands.len());
    }
    at.index += 1;
    state.apply(at, &Command::Deploy { app: app("new".into(), 10), now: UnixMillis(0) });
    let t = Instant::now();
    let plan = scheduler.plan(now, &state, &mut ring);
    println!("deploy of 10: {:?} {}", t.elapsed(), plan.commands.len());
    for command in &plan.commands {
        at.index += 1;
        state.apply(at, command);
    }
    scheduler.plan(now, &state, &mut ring);
    ring.see(n1, Some(MemberView { liveness: Liveness::Down, since: Millis(0), confirmed_dead: true }));
    let t = Instant::now();
    let plan = scheduler.plan(now, &state, &mut ring);
    println!(
        "death: {:?} {:?}",
        t.elapsed(),
        plan.commands
            .iter()
            .map(|c| match c {
                Command::Place(p) => p.len(),
                _ => 0,
            })
            .collect::<Vec<_>>()
    );
    let t = Instant::now();
    let mut n = 0;
    for id in state.members.keys() {
        n += state.assigned_to(*id).unwrap().tasks.len();
    }
    println!("sets: {:?} {n}", t.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|l| l.starts_with("VmRSS")).unwrap());
}
