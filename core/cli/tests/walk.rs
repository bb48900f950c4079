//! The walk: a real app on three machines of real processes, resolved by name, and machines killed.

mod beside;
mod leftovers;
mod support;

use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use support::{alone, binary, nft_drop};
use taffeta_harness::{Cluster, ask, cores_used, eventually, get, resident_mib, within};

/// Percent of a core that a node may use in its first seconds, in which it looks around: only what never rests takes more. What
/// wakes an idle node is counted in `voters.rs`, and what that costs is the machine's doing.
const SHARE_MAX: f64 = 30.0;
/// From the start of the machines to all names on all of them.
const START_MAX: Duration = Duration::from_secs(5);
/// How often that is measured, at most: a machine may stand still meanwhile.
const STARTS_MAX: usize = 3;

const SHOP: [(&str, usize); 3] = [("web", 3), ("orders", 2), ("inventory", 2)];

/// Three machines with the shop, all names resolving; and how long that took from the start of the machines.
fn shop() -> (Cluster, Duration) {
    let mut cluster = Cluster::new(binary());
    let start = Instant::now();
    cluster.start(3);
    let file = cluster.root().join("shop.toml");
    std::fs::write(&file, taffeta_example_shop::SHOP_TOML).expect("a file");
    let path = file.to_string_lossy().into_owned();
    // Deployed once all machines are there: nothing moves to a machine that comes later.
    within(Duration::from_secs(15), "three machines", || {
        let status = cluster.machines[0].try_json(&["status"])?;
        if status["nodes"]["alive"] == 3 { Ok(()) } else { Err(status.to_string()) }
    });
    within(Duration::from_secs(15), "the deploy", || {
        let output = cluster.machines[0].run(&["deploy", &path]);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    });
    resolves_everywhere(&cluster, &[0, 1, 2], Duration::from_secs(30));
    let took = start.elapsed();
    cluster.wait_voters(3);
    (cluster, took)
}

fn name(service: &str) -> String {
    format!("{service}.shop.fabric.internal")
}

/// Addresses that a machine's DNS gives for a service.
fn endpoints(cluster: &Cluster, machine: usize, service: &str) -> Result<Vec<SocketAddr>, String> {
    Ok(ask(cluster.machines[machine].dns(), &name(service), "SRV")?.services)
}

fn resolves_everywhere(cluster: &Cluster, machines: &[usize], limit: Duration) -> Duration {
    within(limit, "all names resolve on all machines", || {
        for machine in machines {
            for (service, count) in SHOP {
                let found = endpoints(cluster, *machine, service)?;
                if found.len() != count {
                    return Err(format!(
                        "{} gives {} of {count} {service}",
                        cluster.machines[*machine].name,
                        found.len()
                    ));
                }
            }
        }
        Ok(())
    })
    .1
}

fn tasks(cluster: &Cluster, machine: usize) -> Result<Vec<Value>, String> {
    let json = cluster.machines[machine].try_json(&["ps", "shop"])?;
    Ok(json.as_array().cloned().unwrap_or_default())
}

fn leader(cluster: &Cluster, machine: usize) -> Result<String, String> {
    let json = cluster.machines[machine].try_json(&["leader"])?;
    json["name"].as_str().map(Into::into).ok_or_else(|| "no leader".into())
}

/// A request through `web`, found by name, tried once more if it fails.
fn request(cluster: &Cluster, machine: usize) -> Result<(), String> {
    let once = || {
        let found = endpoints(cluster, machine, "web")?;
        let pick = found.first().ok_or("no web")?;
        match get(*pick, "/api")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{pick}: HTTP {status} {body}")),
        }
    };
    once().or_else(|_| once())
}

/// Kills a machine and demands what is promised of the others.
fn killed_machine_heals(cluster: &mut Cluster, victim: usize) {
    let address: IpAddr = cluster.machines[victim].address;
    let others: Vec<usize> = (0..3).filter(|i| *i != victim).collect();
    let start = Instant::now();
    cluster.machines[victim].kill();
    let (_, hidden) = within(Duration::from_secs(3), "the others' DNS hides the dead machine", || {
        for machine in &others {
            for (service, _) in SHOP {
                let found = endpoints(cluster, *machine, service)?;
                if found.is_empty() || found.iter().any(|e| e.ip() == address) {
                    return Err(format!("{} gives {found:?} for {service}", cluster.machines[*machine].name));
                }
            }
        }
        Ok(())
    });
    let rest = Duration::from_secs(10).saturating_sub(start.elapsed());
    resolves_everywhere(cluster, &others, rest);
    println!("hidden after {hidden:?}, healed after {:?}", start.elapsed());
    for _ in 0..50 {
        request(cluster, others[0]).expect("a request with one retry after the healing");
    }
}

fn no_duplicates(cluster: &Cluster, machine: usize) {
    within(Duration::from_secs(20), "every task runs exactly once", || {
        let tasks = tasks(cluster, machine)?;
        let services: Vec<&Value> = tasks.iter().filter(|t| t["kind"] == "service").collect();
        let healthy = services.iter().filter(|t| t["state"] == "healthy").count();
        let pids: BTreeSet<u64> = services.iter().filter_map(|t| t["pid"].as_u64()).collect();
        let alive = cluster.processes().iter().filter(|pid| is_service(**pid)).count();
        if (healthy, pids.len(), alive) == (7, 7, 7) {
            Ok(())
        } else {
            Err(format!("{healthy} healthy, {} pids, {alive} processes of 7: {tasks:?}", pids.len()))
        }
    });
}

/// Whether the process is one of the shop's services (not a shim, not a node).
fn is_service(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args: Vec<&[u8]> = line.split(|b| *b == 0).collect();
    args.get(1).is_some_and(|a| *a == b"example")
}

#[test]
fn all_names_resolve_on_all_machines_within_five_seconds() {
    let _alone = alone();
    let mut times = vec![];
    let cluster = loop {
        let (cluster, took) = shop();
        println!("from the start of the machines to all names on all machines: {took:?}");
        times.push(took);
        if took <= START_MAX {
            break cluster;
        }
        assert!(times.len() < STARTS_MAX, "it took {times:?}");
    };

    let machine = &cluster.machines[2];
    let asked = |name: &str, record_type: &str| {
        within(Duration::from_secs(10), "DNS answers", || ask(machine.dns(), name, record_type)).0
    };
    let a = asked(&name("web"), "A");
    assert_eq!(a.addresses.len(), 3, "one web on each machine: {a:?}");
    let code = |name: &str, record_type: &str| {
        let reply = asked(name, record_type);
        (reply.code.to_str().to_owned(), reply.answers)
    };
    assert_eq!(code(&name("web"), "AAAA").1, 0, "NODATA for another type");
    assert_eq!(code(&name("web"), "AAAA").0, code(&name("web"), "A").0, "NODATA is NOERROR");
    assert_ne!(code("nothing.shop.fabric.internal", "A").0, code(&name("web"), "A").0, "an unknown name is NXDOMAIN");
    assert_eq!(code("fabric.internal", "SOA").1, 1);
    assert_eq!(code("fabric.internal", "NS").1, 1);
    assert_eq!(code("_http._tcp.web.shop.fabric.internal", "SRV").1, 3);
    assert_eq!(code("2.web.shop.fabric.internal", "A").1, 1);
    assert_eq!(code("n2.node.fabric.internal", "A").1, 1);
    assert_eq!(code("nodes.fabric.internal", "A").1, 3);
    assert_eq!(code("leader.fabric.internal", "A").1, 1);
    eventually("three voters in DNS", || code("voters.fabric.internal", "A").1 == 3);

    let web = endpoints(&cluster, 0, "web").expect("endpoints")[0];
    let (status, page) = get(web, "/").expect("the front page");
    assert_eq!(status, 200);
    assert!(page.contains("orders") && page.contains("inventory") && page.contains("n1"), "{page}");
    let (status, page) = get(machine.http(), "/").expect("the fabric's page");
    assert_eq!(status, 200);
    assert!(page.contains("n1") && page.contains("n3") && page.contains("shop"), "{page}");
    for verb in ["nodes", "apps", "services", "ps", "status", "leader"] {
        machine.try_json(&[verb]).unwrap_or_else(|e| panic!("{verb}: {e}"));
    }
    let logs = machine.run(&["logs", "shop/migrate.1"]).success();
    assert!(!logs.stdout.trim().is_empty(), "the migration's output is kept");
    no_duplicates(&cluster, 1);
}

#[test]
fn a_killed_machine_is_hidden_healed_and_comes_back() {
    let _alone = alone();
    let (mut cluster, _) = shop();
    let leads = leader(&cluster, 0).expect("a leader");
    let victim = (0..3).rev().find(|i| cluster.machines[*i].name != leads).expect("a machine that does not lead");
    let id = cluster.machines[victim].node_id();
    killed_machine_heals(&mut cluster, victim);

    cluster.machines[victim].up_again();
    cluster.wait_ready();
    assert_eq!(cluster.machines[victim].node_id(), id, "the same node");
    no_duplicates(&cluster, victim);
    let other = (victim + 1) % 3;
    cluster.machines[other].run(&["scale", "shop/web", "6"]).success();
    let name = cluster.machines[victim].name.clone();
    within(Duration::from_secs(20), "it is given work again", || {
        let tasks = tasks(&cluster, other)?;
        let there = tasks.iter().any(|t| t["node"] == name.as_str() && t["state"] == "healthy");
        if there { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
}

#[test]
fn a_machine_whose_packets_vanish_is_hidden_and_healed() {
    let _alone = alone();
    let (mut cluster, _) = shop();
    let leads = leader(&cluster, 0).expect("a leader");
    let victim = (0..3).rev().find(|i| cluster.machines[*i].name != leads).expect("a machine that does not lead");
    let Some(_dropped) = nft_drop(cluster.machines[victim].address) else { return };
    killed_machine_heals(&mut cluster, victim);
}

#[test]
fn the_leaders_machine_is_killed_and_another_leads() {
    let _alone = alone();
    let (mut cluster, _) = shop();
    let leads = leader(&cluster, 0).expect("a leader");
    let victim = cluster.index(&leads);
    let other = (victim + 1) % 3;
    killed_machine_heals(&mut cluster, victim);
    assert_ne!(leader(&cluster, other).expect("a leader"), leads);
    let file = cluster.root().join("shop.toml").to_string_lossy().into_owned();
    cluster.machines[other].run(&["deploy", &file]).success();
}

#[test]
fn another_leads_within_three_seconds_and_accepts_a_deploy() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let leads = leader(&cluster, 0).expect("a leader");
    let victim = cluster.index(&leads);
    let other = (victim + 1) % 3;
    cluster.machines[victim].kill();
    let (_, took) = within(Duration::from_secs(3), "another leads", || {
        let now = leader(&cluster, other)?;
        if now == leads { Err(format!("{now} still leads")) } else { Ok(()) }
    });
    println!("another leads after {took:?}");
    let file = cluster.root().join("one.toml");
    std::fs::write(&file, "app = \"one\"\n[service.one]\nrun = [\"sleep\", \"600\"]\n").expect("a file");
    cluster.machines[other].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
}

#[test]
fn all_machines_are_killed_at_once_and_the_app_is_as_it_was() {
    let _alone = alone();
    let (mut cluster, _) = shop();
    cluster.machines[0].run(&["scale", "shop/orders", "3"]).success();
    cluster.machines.iter_mut().for_each(|m| m.kill());
    cluster.machines.iter_mut().for_each(|m| m.up_again());
    let start = Instant::now();
    within(Duration::from_secs(30), "the app is as it was", || {
        for machine in 0..3 {
            for (service, count) in [("web", 3), ("orders", 3), ("inventory", 2)] {
                let found = endpoints(&cluster, machine, service)?;
                if found.len() != count {
                    return Err(format!("{} of {count} {service}", found.len()));
                }
            }
        }
        Ok(())
    });
    println!("all as it was after {:?}", start.elapsed());
    let apps = cluster.machines[1].try_json(&["apps"]).expect("apps");
    assert_eq!(apps[0]["version"], 1, "it was not deployed again: {apps}");
}

#[test]
fn a_killed_agent_takes_its_tasks_up_again_none_twice() {
    let _alone = alone();
    let (mut cluster, _) = shop();
    let pids = |cluster: &Cluster| -> BTreeSet<i32> {
        cluster.processes().into_iter().filter(|pid| is_service(*pid)).collect()
    };
    let before = pids(&cluster);
    for machine in &mut cluster.machines {
        machine.kill_agent();
    }
    assert_eq!(pids(&cluster), before, "tasks outlive their agents");
    cluster.machines.iter_mut().for_each(|m| m.up_again());
    cluster.wait_ready();
    resolves_everywhere(&cluster, &[0, 1, 2], Duration::from_secs(15));
    no_duplicates(&cluster, 0);
    assert_eq!(pids(&cluster), before, "the same processes, none started twice");
}

#[test]
fn a_crashed_task_is_started_again_and_a_task_that_does_not_fit_says_why() {
    let _alone = alone();
    let (cluster, _) = shop();
    let victim = tasks(&cluster, 0).expect("tasks").into_iter().find(|t| t["task"] == "orders.1").expect("orders.1");
    let pid = i32::try_from(victim["pid"].as_u64().expect("a pid")).expect("a pid");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
    within(Duration::from_secs(10), "orders.1 is restarted", || {
        let tasks = tasks(&cluster, 0)?;
        let task = tasks.into_iter().find(|t| t["task"] == "orders.1").ok_or("gone")?;
        let restarted = task["restarts"].as_u64() == Some(1) && task["state"] == "healthy" && task["pid"] != pid;
        if restarted { Ok(()) } else { Err(task.to_string()) }
    });
    let file = cluster.root().join("big.toml");
    std::fs::write(&file, "app = \"big\"\n[service.one]\nrun = [\"sleep\", \"60\"]\nmemory = \"4000GiB\"\n")
        .expect("a file");
    cluster.machines[1].run(&["deploy", &file.to_string_lossy()]).success();
    within(Duration::from_secs(20), "it waits and says why", || {
        let why = cluster.machines[2].run(&["why", "big/one.1"]);
        let said = why.stdout.contains("memory") && why.stdout.contains("n1") && why.stdout.contains("n3");
        if said { Ok(()) } else { Err(format!("{why:?}")) }
    });
    cluster.machines[0].run(&["stop", "big"]).success();
    cluster.machines[0].run(&["restart", "shop/orders"]).success();
    within(Duration::from_secs(30), "orders are restarted one after the other", || {
        let tasks = tasks(&cluster, 0)?;
        let new = tasks.iter().filter(|t| t["service"] == "orders" && t["state"] == "healthy" && t["restarts"] == 0);
        if new.count() == 2 { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
}

#[test]
fn an_idle_node_is_small() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let pids: Vec<u32> = cluster.machines.iter().filter_map(|m| m.pid()).collect();
    let cores = cores_used(&pids, Duration::from_secs(10));
    for (pid, cores) in pids.into_iter().zip(cores) {
        let (resident, share) = (resident_mib(pid), cores * 100.0);
        println!("idle node {pid}: {resident:.1} MiB resident, {share:.2} % of a core");
        assert!(resident <= 40.0, "{resident} MiB resident");
        assert!(share < SHARE_MAX, "{share} % of a core");
    }
    let bytes = std::fs::metadata(binary()).expect("the binary").len();
    println!("binary: {:.1} MB", bytes as f64 / 1e6);
    assert!(bytes <= 44_000_000 || cfg!(debug_assertions), "{bytes} bytes");
}
