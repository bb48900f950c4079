//! Nodes that are hurt on purpose, as real processes: each fault is seen from outside and undone by its deadline.

mod hurt;
mod support;

use hurt::{Bed, SOON, counter, keepers, ours_in_nft, processes, signal, state_of};
use rustix::process::Signal;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use taffeta_chaos_plan::{DnsInstead, Fault, PartitionShape};
use taffeta_harness::{ask, get, groups_of, within};
use taffeta_node::api::{ErrorCode, FaultRequest, FaultState, TokenRequest};

#[test]
fn who_has_not_opted_in_or_shows_no_right_token_is_not_hurt() {
    let bed = Bed::start(&[&["--chaos"], &["--chaos"], &[]]);
    let loss = Fault::Loss { fraction: 0.1 };
    // Not opted in.
    let mut wanted = bed.request(2, loss, SOON);
    let refused = bed.runtime.block_on(bed.client(0).inject(&wanted, &bed.token(0))).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden, "{refused:?}");
    assert!(refused.message.contains("n3 has not opted in"), "{refused:?}");
    assert!(!bed.data(2).join("chaos").exists() && !bed.data(2).join("chaos.token").exists());
    // A wrong token, none, and the administrator's.
    wanted.node = "n2".into();
    let admin = fs::read_to_string(bed.data(0).join("admin.token")).expect("the first node has it");
    for token in ["0123456789abcdef0123456789abcdef", "", &admin] {
        let refused = bed.runtime.block_on(bed.client(1).inject(&wanted, token)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Forbidden, "{token}: {refused:?}");
    }
    assert!(bed.runtime.block_on(bed.client(0).chaos()).unwrap().faults.is_empty());
    // A plan needs no token and does nothing.
    wanted.dry_run = true;
    let planned = bed.runtime.block_on(bed.client(2).inject(&wanted, "")).unwrap();
    assert_eq!(planned.state, FaultState::Planned);
    assert!(!planned.commands.is_empty() && !planned.backend.is_empty(), "{planned:?}");
    assert!(bed.runtime.block_on(bed.client(0).chaos()).unwrap().faults.is_empty());
    assert!(keepers(bed.data(1)).is_empty());
    // The token of one that has opted in is good at the others that have.
    wanted.dry_run = false;
    let begun = within(SOON, "n2 takes n1's token", || {
        bed.runtime.block_on(bed.client(2).inject(&wanted, &bed.token(0))).map_err(|e| e.to_string())
    });
    assert_eq!(begun.0.state, FaultState::Active);
    // The same again is the same fault; another one of the same name is not begun.
    let again = bed.runtime.block_on(bed.client(1).inject(&wanted, &bed.token(0))).unwrap();
    assert_eq!((&again.begun_at, &again.ends_at), (&begun.0.begun_at, &begun.0.ends_at));
    for other in [
        FaultRequest { fault: Fault::Loss { fraction: 0.2 }, ..wanted.clone() },
        FaultRequest { lasts_ms: wanted.lasts_ms + 1, ..wanted.clone() },
        FaultRequest { peers: vec!["n1".into()], ..wanted.clone() },
        FaultRequest { dry_run: true, ..wanted },
    ] {
        let refused = bed.try_begin(1, &other).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict, "{refused:?}");
        assert!(refused.message.contains("is another one"), "{refused:?}");
    }
    for machine in 0..3 {
        within(SOON, "every node knows", || {
            let status = bed.cluster.machines[machine].try_json(&["status"])?;
            if status["chaos"] == 1 { Ok(()) } else { Err(status.to_string()) }
        });
    }
    // What no back end brings about, and what is no request, is refused with the reason.
    for (fault, code) in [
        (Fault::Rotate, ErrorCode::Conflict),
        (Fault::Partition { shape: PartitionShape::Bridge }, ErrorCode::Conflict),
        (Fault::Memory { bytes: 1 << 40 }, ErrorCode::Conflict),
        (Fault::Loss { fraction: 7.0 }, ErrorCode::Invalid),
    ] {
        let refused = bed.try_begin(1, &bed.request(1, fault, SOON)).unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
    }
    // The kill switch needs no chaos token, ends all of it and blocks what would follow.
    let stopped = bed.runtime.block_on(bed.client(2).chaos_stop("enough")).unwrap();
    assert_eq!((stopped.stored, stopped.stopped.as_slice()), (true, &["n1".into(), "n2".into(), "n3".into()][..]));
    bed.undone(0, &begun.0, SOON);
    within(SOON, "n1 has heard of it", || {
        let status = bed.cluster.machines[0].try_json(&["status"])?;
        let quiet = status["chaos"] == 0 && status["chaos_blocked"] == true;
        if quiet { Ok(()) } else { Err(status.to_string()) }
    });
    let refused = bed.try_begin(0, &bed.request(0, loss, SOON)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("enough"), "{refused:?}");
    bed.runtime.block_on(bed.client(1).chaos_allow()).unwrap();
    within(SOON, "it is allowed again", || {
        bed.try_begin(0, &bed.request(0, loss, SOON)).map_err(|e| e.to_string()).map(drop)
    });
    within(SOON, "the page warns", || {
        let (_, page) = get(bed.cluster.machines[2].http(), "/")?;
        if page.contains("1 fault is on on purpose") { Ok(()) } else { Err(page) }
    });
}

#[test]
fn cut_off_and_slowed_down_by_the_network_and_back_in_time() {
    let bed = Bed::three();
    let cut = Fault::Partition { shape: PartitionShape::Split };
    let fault = bed.begin(1, cut, 20_000);
    if ours_in_nft().is_some() {
        assert_eq!(fault.backend, "nftables");
        assert!(ours_in_nft().unwrap().contains(&format!("taffeta_chaos_{}", fault.id)));
    }
    within(Duration::from_secs(10), "n1 does not see n2", || bed.counts(0, 2));
    within(Duration::from_secs(10), "n2 sees nobody", || bed.counts(1, 1));
    let chaos = bed.runtime.block_on(bed.client(0).chaos()).unwrap();
    assert!(chaos.nodes.iter().any(|node| node.node == "n2" && !node.answers), "{chaos:?}");
    assert_eq!(bed.look(0, &fault.id).unwrap().state, FaultState::Active, "n1 knows why");
    within(Duration::from_secs(5), "the others see each other", || bed.counts(2, 2));
    bed.undone(1, &fault, SOON);
    bed.all_alive();
    if let Some(tables) = ours_in_nft() {
        assert!(!tables.contains(&fault.id), "{tables}");
    }

    // Late by 60 ms each way, by the node's own socket.
    let late = Fault::Delay { by: Duration::from_millis(60), jitter: Duration::ZERO };
    let fault = bed.begin(1, late, 20_000);
    assert_eq!(fault.backend, "socket");
    let rtt = |bed: &Bed| {
        let nodes = bed.cluster.machines[0].try_json(&["nodes"])?;
        let n2 = nodes.as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == "n2")).cloned();
        n2.and_then(|n2| n2["rtt_ms"].as_f64()).ok_or_else(|| nodes.to_string())
    };
    within(Duration::from_secs(10), "the way is long", || {
        let rtt = rtt(&bed)?;
        if rtt >= 60.0 { Ok(()) } else { Err(format!("{rtt} ms")) }
    });
    bed.undone(0, &fault, SOON);
    within(SOON, "the way is short again", || {
        let rtt = rtt(&bed)?;
        if rtt < 60.0 { Ok(()) } else { Err(format!("{rtt} ms")) }
    });
    bed.all_alive();
}

#[test]
fn what_a_node_does_to_itself_is_seen_and_over_in_time() {
    let bed = Bed::three();
    let date = |machine: usize| {
        let wish = TokenRequest { role: None, ttl_seconds: Some(3_600), uses: Some(2) };
        let made = bed.runtime.block_on(bed.client(machine).create_token(wish)).expect("a token");
        made.expires_at.parse::<jiff::Timestamp>().expect("a date").as_millisecond()
    };
    // The clock: the life of a token is counted from the node's date.
    let before = date(1);
    let wrong = bed.begin(1, Fault::ClockOffset { by_ms: 7_200_000 }, 15_000);
    let ahead = date(1) - before;
    assert!((7_200_000..7_260_000).contains(&ahead), "{ahead}");
    let refused = bed.try_begin(1, &bed.request(1, Fault::ClockDrift { ppm: 10 }, SOON)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "one clock has one fault: {refused:?}");

    // DNS, while that lasts.
    let name = "nodes.fabric.internal";
    let asked = || ask(bed.cluster.machines[2].dns(), name, "A");
    let code = || asked().map_or_else(|why| why, |reply| reply.code.to_string());
    let (healthy, _) = within(SOON, "DNS knows the nodes", || match asked()? {
        reply if reply.addresses.is_empty() => Err(reply.code.to_string()),
        reply => Ok(reply.code.to_string()),
    });
    let fault = bed.begin(2, Fault::Dns { fraction: 1.0, instead: DnsInstead::Servfail }, 6_000);
    assert_ne!(code(), healthy);
    bed.undone(0, &fault, SOON);
    within(SOON, "DNS answers again", || if code() == healthy { Ok(()) } else { Err(code()) });
    bed.undone(0, &wrong, SOON);
    assert!(date(1) - before < 600_000);

    // The disk.
    let fault = bed.begin(2, Fault::DiskFull, 10_000);
    within(Duration::from_secs(10), "the node says that its disk is full", || {
        let status = bed.cluster.machines[2].try_json(&["status"])?;
        if status["notes"].to_string().contains("is full") { Ok(()) } else { Err(status.to_string()) }
    });
    bed.undone(0, &fault, SOON);
    within(SOON, "it has room again", || {
        let status = bed.cluster.machines[2].try_json(&["status"])?;
        if status["notes"].to_string().contains("is full") { Err(status.to_string()) } else { Ok(()) }
    });

    // A drain, and the leadership.
    let drained = |wanted: bool| {
        within(SOON, "the drain", || {
            let nodes = bed.cluster.machines[0].try_json(&["nodes"])?;
            let n2 = nodes.as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == "n2")).cloned();
            if n2.is_some_and(|n2| n2["draining"] == wanted) { Ok(()) } else { Err(nodes.to_string()) }
        })
    };
    let fault = bed.begin(1, Fault::Drain, 10_000);
    drained(true);
    bed.undone(0, &fault, SOON);
    drained(false);
    let leader = || bed.cluster.machines[0].try_json(&["status"]).map(|status| status["leader"].to_string());
    let (first, _) = within(SOON, "the one that leads hands over", || {
        let first = leader()?;
        if first == "null" {
            return Err("nobody leads".into());
        }
        let index = bed.cluster.index(first.trim_matches('"'));
        let request = bed.request(index, Fault::Leader, Duration::from_secs(1));
        let view = bed.try_begin(0, &request).map_err(|e| e.to_string())?;
        let done = view.state == FaultState::Undone && view.error.is_none();
        if done { Ok(first) } else { Err(format!("{view:?}")) }
    });
    within(SOON, "another one leads", || {
        let now = leader()?;
        if now != first && now != "null" { Ok(()) } else { Err(now) }
    });

    // Processors and memory.
    let data = bed.data(0).to_string_lossy().into_owned();
    let cpu = bed.begin(0, Fault::Cpu { workers: 2, percent: 20 }, 12_000);
    within(Duration::from_secs(10), "two compute", || {
        let found = processes(&["keeper", "burn", "20", &data]);
        if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let memory = bed.begin(0, Fault::Memory { bytes: 48 << 20 }, 12_000);
    within(Duration::from_secs(10), "48 MiB are held", || {
        let holder = processes(&["keeper", "hold", &data]);
        let held = holder.first().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
        let kib = held.and_then(|text| {
            text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        });
        if kib >= Some(48 << 10) { Ok(()) } else { Err(format!("{holder:?} {kib:?}")) }
    });
    bed.undone(1, &cpu, SOON);
    assert!(processes(&["keeper", "burn", &data]).is_empty());
    bed.undone(1, &memory, SOON);
    assert!(processes(&["keeper", "hold", &data]).is_empty());
    within(SOON, "no keeper is left when there is nothing to keep", || {
        let left: Vec<i32> = (0..3).flat_map(|machine| keepers(bed.data(machine))).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn a_task_stands_still_or_dies_alone() {
    let bed = Bed::start(&[&["--chaos"]]);
    let (machine, file) = counter(&bed);
    let count = || fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default();
    let backends = bed.runtime.block_on(bed.client(0).chaos()).unwrap().nodes[machine].backends.clone();
    let refused = |kind: &str| {
        let backend = backends.iter().find(|backend| backend.fault == kind);
        backend.unwrap_or_else(|| panic!("{kind} is not among {backends:?}")).refused.clone()
    };
    assert_eq!(refused("task-crash"), None);
    assert!(
        refused("power-cut").is_some_and(|why| why.contains("cut its own power")),
        "each kind is told, with a reason"
    );
    let mut freeze = bed.request(machine, Fault::Pause, Duration::from_secs(12));
    freeze.task = Some("count/up.1".into());
    let freeze_again = FaultRequest { id: "abcdef01".into(), ..freeze.clone() };
    match bed.try_begin(machine, &freeze) {
        Ok(fault) => {
            assert_eq!((fault.backend.as_str(), refused("task-hang")), ("freezer", None));
            let again = bed.try_begin(machine, &freeze_again).unwrap_err();
            assert!(again.message.contains("stands still already"), "{again:?}");
            let (still, _) = within(Duration::from_secs(10), "it stands still", || {
                let before = count();
                std::thread::sleep(Duration::from_millis(200)); // a running one counts four times in it
                if count() == before { Ok(before) } else { Err("it counts".into()) }
            });
            bed.undone(machine, &fault, SOON);
            within(SOON, "it counts again", || if count() > still { Ok(()) } else { Err(still.to_string()) });
        }
        Err(why) => {
            assert!(why.message.contains("frozen"), "{why:?}");
            assert!(refused("task-hang").is_some(), "and nobody was told otherwise");
            eprintln!("SKIPPED: {}", why.message);
        }
    }
    let mut kill = bed.request(machine, Fault::TaskCrash, Duration::from_secs(1));
    kill.task = Some("count/up.1".into());
    let killed = bed.try_begin(machine, &kill).unwrap();
    assert!(killed.error.is_none(), "{killed:?}");
    within(SOON, "it was killed and runs anew", || {
        let tasks = bed.cluster.machines[0].try_json(&["ps", "count"])?;
        let restarted = tasks[0]["restarts"].as_u64() >= Some(1) && tasks[0]["state"] != "failed";
        if restarted { Ok(()) } else { Err(tasks.to_string()) }
    });
}

#[test]
fn a_killed_or_stopped_agent_is_brought_back_by_its_keeper() {
    let bed = Bed::three();
    for (fault, what) in [(Fault::KillAgent, "killed"), (Fault::Stop, "stopped"), (Fault::KillMachine, "dead")] {
        let old = bed.agent(1);
        let begun = bed.begin(1, fault, 6_000);
        let (_, took) = within(Duration::from_secs(10), what, || match state_of(old) {
            None => Ok(()),
            Some(state) => Err(state.to_string()),
        });
        eprintln!("{what} after {took:?}");
        // It is told by the others while it cannot answer itself.
        assert_eq!(bed.look(0, &begun.id).expect("n1 knows").state, FaultState::Active);
        within(SOON, "a new agent is there", || {
            let new = bed.agent(1);
            if new != old && state_of(new).is_some() { Ok(()) } else { Err(format!("{new}, after {old}")) }
        });
        bed.undone(0, &begun, SOON);
        bed.all_alive();
        let line = fs::read(format!("/proc/{}/cmdline", bed.agent(1))).expect("it runs");
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(line.contains(" up --name n2 ") && line.contains("--chaos"), "with its own arguments: {line}");
        bed.cluster.wait_voters(3);
    }
}

#[test]
fn all_tasks_of_a_machine_die_with_it_and_come_back() {
    let bed = Bed::start(&[&["--chaos"]]);
    let (machine, file) = counter(&bed);
    let count = || fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default();
    let begun = bed.begin(machine, Fault::KillMachine, 10_000);
    let (still, _) = within(Duration::from_secs(9), "its task is dead", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(200)); // a running one counts four times in it
        if count() == before { Ok(before) } else { Err("it counts".into()) }
    });
    assert!(still > 0);
    bed.undone(machine, &begun, SOON);
    within(SOON, "it runs anew", || {
        let tasks = bed.cluster.machines[machine].try_json(&["ps", "count"])?;
        if tasks[0]["state"] == "running" || tasks[0]["state"] == "healthy" { Ok(()) } else { Err(tasks.to_string()) }
    });
}

#[test]
fn a_paused_agent_goes_on_in_time_also_if_its_keeper_is_killed() {
    let bed = Bed::three();
    let agent = bed.agent(1);
    let begun = Instant::now();
    let fault = bed.begin(1, Fault::Pause, 12_000);
    within(Duration::from_secs(10), "it stands still", || match state_of(agent) {
        Some('T') => Ok(()),
        state => Err(format!("{state:?}")),
    });
    within(Duration::from_secs(10), "n1 does not hear it", || bed.counts(0, 2));
    let watching = keepers(bed.data(1));
    assert_eq!(watching.len(), 2, "one acts, one waits");
    // The one that acts is the older one.
    signal(*watching.iter().min().unwrap(), Signal::KILL);
    within(Duration::from_secs(20), "it goes on", || match state_of(agent) {
        Some('T') => Err("it stands still".into()),
        Some(_) => Ok(()),
        None => panic!("the agent is dead"),
    });
    assert!(begun.elapsed() >= Duration::from_millis(11_500), "not before its time: {:?}", begun.elapsed());
    bed.undone(0, &fault, SOON);
    bed.all_alive();
}

#[test]
fn with_all_keepers_killed_the_agent_starts_another() {
    let bed = Bed::start(&[&["--chaos"]]);
    let data = bed.data(0).to_string_lossy().into_owned();
    let fault = bed.begin(0, Fault::Cpu { workers: 1, percent: 10 }, 20_000);
    within(Duration::from_secs(10), "both keepers are there", || {
        let found = keepers(bed.data(0));
        if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    keepers(bed.data(0)).into_iter().for_each(|pid| signal(pid, Signal::KILL));
    within(Duration::from_secs(10), "another keeper goes on with it", || {
        let (keepers, burning) = (keepers(bed.data(0)), processes(&["keeper", "burn", &data]));
        if keepers.len() == 2 && burning.len() == 1 { Ok(()) } else { Err(format!("{keepers:?} {burning:?}")) }
    });
    bed.undone(0, &fault, SOON);
    assert!(processes(&["keeper", "burn", &data]).is_empty());
}

#[test]
fn a_disk_of_the_nodes_own_is_really_full() {
    let Some(bed) = Bed::on_disk(&["--chaos"]) else { return };
    let fault = bed.begin(0, Fault::DiskFull, 10_000);
    assert_eq!(fault.backend, "filesystem");
    let is_full = || {
        let status = bed.cluster.machines[0].try_json(&["status"])?;
        if status["notes"].to_string().contains("is full") { Ok(()) } else { Err(status.to_string()) }
    };
    within(Duration::from_secs(10), "the node says so", is_full);
    let taken = fs::write(bed.data(0).join("more"), vec![7; 2 << 20])
        .and_then(|()| fs::File::open(bed.data(0).join("more"))?.sync_all());
    assert!(taken.is_err(), "nobody else has room either");
    bed.undone(0, &fault, SOON);
    within(SOON, "it has room again", || if is_full().is_err() { Ok(()) } else { Err("full".into()) });
}

#[test]
fn an_agent_that_is_killed_while_a_fault_is_on_leaves_nothing_of_it() {
    let mut bed = Bed::three();
    let burning = bed.data(1).to_string_lossy().into_owned();
    let faults = [
        bed.begin(1, Fault::Loss { fraction: 0.3 }, 4_000),
        bed.begin(1, Fault::Cpu { workers: 1, percent: 10 }, 4_000),
        bed.begin(1, Fault::Delay { by: Duration::from_millis(5), jitter: Duration::ZERO }, 4_000),
    ];
    bed.cluster.machines[1].kill_agent();
    within(SOON, "what was in the kernel and beside the node is gone though nobody asked", || {
        let tables = ours_in_nft().unwrap_or_default();
        let left = processes(&["keeper", "burn", &burning]).len() + keepers(bed.data(1)).len();
        let clean = left == 0 && !tables.contains(&format!("taffeta_chaos_{}", faults[0].id));
        if clean { Ok(()) } else { Err(format!("{left} processes; {tables}")) }
    });
    assert!(state_of(bed.agent(1)).is_none(), "nobody brings back what no fault has killed");
    bed.cluster.machines[1].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.all_alive();
    for fault in &faults {
        bed.undone(0, fault, SOON);
    }
}

#[test]
fn a_fault_inside_of_a_node_goes_on_when_the_agent_is_back_before_its_end() {
    let mut bed = Bed::start(&[&["--chaos"]]);
    let fault = bed.begin(0, Fault::Dns { fraction: 1.0, instead: DnsInstead::Servfail }, 60_000);
    let name = "nodes.fabric.internal";
    bed.cluster.machines[0].kill_agent();
    bed.cluster.machines[0].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    let answers = |bed: &Bed, what: &str, expected: &str| {
        within(SOON, what, || {
            let code = format!("{:?}", ask(bed.cluster.machines[0].dns(), name, "A")?.code);
            if code == expected { Ok(()) } else { Err(code) }
        })
    };
    answers(&bed, "the fault goes on", "ServFail");
    let ended = bed.runtime.block_on(bed.client(0).undo(&fault.id)).unwrap();
    assert_eq!((ended.state, ended.error), (FaultState::Undone, None));
    answers(&bed, "it is over", "NoError");
}

/// The groups of loads that a node has, in all hierarchies.
fn load_groups(bed: &Bed, machine: usize) -> Vec<PathBuf> {
    let node = bed.cluster.machines[machine].node_id().expect("it has been born");
    let inside = groups_of(&node).flat_map(|group| fs::read_dir(group).into_iter().flatten().flatten());
    inside.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/chaos+")).collect()
}

/// A number in a file of one of the groups, of whichever version.
fn bound(groups: &[PathBuf], files: [&str; 2]) -> Option<u64> {
    let mut texts =
        groups.iter().flat_map(|group| files.map(|file| fs::read_to_string(group.join(file)).ok())).flatten();
    texts.next()?.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_load_has_a_bounded_group_of_its_own_and_is_over_when_it_has_ended() {
    let mut bed = Bed::start(&[&["--chaos"]]);
    let data = bed.data(0).to_string_lossy().into_owned();
    let burn = bed.begin(0, Fault::Cpu { workers: 2, percent: 20 }, 60_000);
    let groups = load_groups(&bed, 0);
    if groups.is_empty() {
        assert!(burn.commands[0].contains("in no cgroup of its own"), "{burn:?}");
        return eprintln!("SKIPPED: {}", burn.commands[0]);
    }
    assert!(burn.commands[0].contains("bounded by the cgroup taffeta/"), "{burn:?}");
    let inside = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default().contains("/chaos+");
    let computing = || processes(&["keeper", "burn", "20", &data]);
    within(SOON, "both are in it", || {
        let found = computing();
        if found.len() == 2 && found.iter().all(|pid| inside(*pid)) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert_eq!(bound(&groups, ["cpu.cfs_quota_us", "cpu.max"]), Some(40_000), "of 100 ms");
    assert_eq!(bound(&groups, ["pids.max", "pids.max"]), Some(2));

    // Memory: what it may hold, and a little for itself.
    let hold = bed.begin(0, Fault::Memory { bytes: 48 << 20 }, 60_000);
    let group: Vec<PathBuf> =
        load_groups(&bed, 0).into_iter().filter(|path| path.to_string_lossy().contains(&hold.id)).collect();
    let most = bound(&group, ["memory.limit_in_bytes", "memory.max"]).expect("memory is bounded");
    assert!((48 << 20..=80 << 20).contains(&most), "{most}");
    let (holder, _) = within(SOON, "one holds memory in it", || {
        let found = processes(&["keeper", "hold", &data]);
        found.iter().copied().find(|pid| inside(*pid)).ok_or_else(|| format!("{found:?}"))
    });
    within(SOON, "it is the first that the kernel would kill", || {
        let score = fs::read_to_string(format!("/proc/{holder}/oom_score_adj")).map_err(|e| e.to_string())?;
        if score.trim() == "1000" { Ok(()) } else { Err(score) }
    });

    // Whoever starts anew and sweeps what is left of tasks spares it.
    let before = computing();
    bed.cluster.machines[0].kill_agent();
    bed.cluster.machines[0].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    assert_eq!(computing(), before, "the load goes on");

    // As when the kernel has killed it: then nobody may say that it is on.
    signal(holder, Signal::KILL);
    within(SOON, "it is told that it is over", || {
        let view = bed.look(0, &hold.id)?;
        let told = view.error.as_ref().is_some_and(|why| why.contains("over before its time"));
        if view.state == FaultState::Undone && told { Ok(()) } else { Err(format!("{view:?}")) }
    });
    let ended = bed.runtime.block_on(bed.client(0).undo(&burn.id)).expect("it is known");
    assert_eq!((ended.state, ended.error), (FaultState::Undone, None));
    assert_eq!(load_groups(&bed, 0), Vec::<PathBuf>::new(), "no group is left");
}

#[test]
fn a_node_that_comes_up_after_the_end_of_its_fault_undoes_it() {
    let mut bed = Bed::three();
    let drained = |bed: &Bed, wanted: bool| {
        let nodes = bed.cluster.machines[0].try_json(&["nodes"])?;
        let n2 = nodes.as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == "n2")).cloned();
        if n2.is_some_and(|n2| n2["draining"] == wanted) { Ok(()) } else { Err(nodes.to_string()) }
    };
    let fault = bed.begin(1, Fault::Drain, 10_000);
    let begun = Instant::now();
    within(SOON, "it is drained", || drained(&bed, true));
    bed.cluster.machines[1].kill_agent();
    within(SOON, "its end is over", || {
        if begun.elapsed() > Duration::from_secs(11) { Ok(()) } else { Err(format!("{:?}", begun.elapsed())) }
    });
    drained(&bed, true).expect("nobody but the node itself takes it back");
    bed.cluster.machines[1].up_with(&[("TAFFETA_CHAOS", "1")]);
    within(SOON, "it takes it back", || drained(&bed, false));
    bed.undone(0, &fault, SOON);
    within(SOON, "nobody warns of it any more", || {
        let status = bed.cluster.machines[0].try_json(&["status"])?;
        if status["chaos"] == 0 { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn after_a_reboot_nothing_is_left_though_the_end_is_far() {
    let mut bed = Bed::on_disk(&["--chaos"]).unwrap_or_else(|| Bed::start(&[&["--chaos"]]));
    let faults = [
        bed.begin(0, Fault::Drain, 600_000),
        bed.begin(0, Fault::Cpu { workers: 1, percent: 10 }, 600_000),
        bed.begin(0, Fault::Dns { fraction: 1.0, instead: DnsInstead::Servfail }, 600_000),
        bed.begin(0, Fault::DiskFull, 600_000),
    ];
    let filler = bed.data(0).join("chaos/filler");
    assert_eq!(filler.exists(), faults[3].backend == "filesystem");
    // A reboot, as a node sees it: no process of it is left, and the kernel names another boot.
    bed.cluster.machines[0].kill_agent();
    within(SOON, "no keeper is left", || {
        let left = keepers(bed.data(0));
        left.iter().for_each(|pid| signal(*pid, Signal::KILL));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    for fault in &faults {
        let path = bed.data(0).join(format!("chaos/{}.json", fault.id));
        let text = fs::read_to_string(&path).expect("a record");
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        record["boot"] = "of another time".into();
        fs::write(&path, record.to_string()).expect("there is room for it");
    }
    bed.cluster.machines[0].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    for fault in &faults {
        bed.undone(0, fault, SOON);
    }
    assert!(!filler.exists(), "the disk has room");
    let data = bed.data(0).to_string_lossy().into_owned();
    assert_eq!((load_groups(&bed, 0), processes(&["keeper", "burn", &data])), (vec![], vec![]));
    within(SOON, "DNS answers", || {
        let reply = ask(bed.cluster.machines[0].dns(), "nodes.fabric.internal", "A")?;
        if reply.answers == 1 { Ok(()) } else { Err(format!("{reply:?}")) }
    });
    within(SOON, "it is not drained", || {
        let nodes = bed.cluster.machines[0].try_json(&["nodes"])?;
        if nodes[0]["draining"] == false { Ok(()) } else { Err(nodes.to_string()) }
    });
}
