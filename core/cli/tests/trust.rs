//! What is trusted, seen from outside: tokens that are taken back, machines that are removed, a CA that is replaced.

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};
use support::{binary, in_company, nft_cut};
use taffeta_harness::{Cluster, Machine, Output, ask, within};

const SOON: Duration = Duration::from_secs(30);

fn cluster(count: usize) -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start(count);
    cluster.wait_ready();
    cluster
}

/// Runs `taffeta up` as a new machine at the address of `at`, until it ends.
fn joins(cluster: &Cluster, at: &Machine, folder: &str, token: &str) -> Output {
    let data = cluster.root().join(folder);
    let first = cluster.machines[0].fabric().to_string();
    let mut command = Command::new(binary());
    command.args(["up", "--best-effort", "--api-open", "--name", folder, "--join", &first, "--join-timeout", "20"]);
    command.arg("--data").arg(&data).args(["--address", &at.fabric().to_string(), "--token", token]);
    command.args(["--http", &at.http().to_string(), "--dns", &at.dns().to_string()]);
    let output = command.stdin(Stdio::null()).env_remove("TAFFETA_API").output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code().unwrap_or(128), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn signal(machine: &Machine, name: &str) {
    let pid = machine.pid().expect("it runs").to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs").success());
}

#[test]
fn a_revoked_token_is_refused() {
    let _turn = in_company();
    let mut cluster = cluster(2);
    cluster.machines[1].terminate();
    let first = &cluster.machines[0];
    let token = first.run(&["token", "create", "--uses", "3", "--ttl", "2h"]).success().stdout.trim().to_owned();
    let listed = first.try_json(&["token", "list"]).expect("tokens");
    let entry = listed.as_array().and_then(|all| all.iter().find(|t| t["uses_left"] == 3)).expect("it is listed");
    assert_eq!(entry["role"], "node");
    let id = entry["id"].as_str().expect("an id");
    first.run(&["token", "revoke", id]).success();
    assert_eq!(first.run(&["token", "revoke", id]).code, 1, "it is there no more");
    assert_eq!(first.run(&["token", "revoke", "xyz"]).code, 2);
    let refused = joins(&cluster, &cluster.machines[1], "x", &token);
    assert!(refused.code != 0 && refused.stderr.contains("the token is unknown"), "{refused:?}");
    assert!(refused.stderr.contains("taffeta token create"), "it says what to do: {refused:?}");
    assert!(!cluster.root().join("x/membership").exists());
}

#[test]
fn a_removed_machine_stops_its_tasks_and_ends_and_its_names_vanish() {
    let _turn = in_company();
    let mut cluster = cluster(4);
    let app = cluster.root().join("app.toml");
    let text = "app = \"shop\"\n[service.web]\nrun = [\"sleep\", \"600\"]\ncount = 4\nconstraints = [\"hostname UNIQUE\"]\n\
                ports = [\"http\"]\n";
    fs::write(&app, text).expect("an app file");
    cluster.machines[0].run(&["deploy", app.to_str().expect("plain"), "--wait"]).success();
    cluster.wait_voters(3);
    let (listed, _) = within(SOON, "the machines are listed", || cluster.machines[0].listed());
    let name = listed.iter().find(|m| !m.votes()).map(|m| m.name.clone()).expect("one of the four does not vote");
    let at = cluster.index(&name);
    assert_ne!(at, 0, "who founded the cluster votes on");
    let name = name.as_str();
    let refused = cluster.machines[0].run(&["remove", name]);
    assert!(refused.code == 3 && refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(cluster.machines[0].run(&["remove", "n9"]).code, 1);
    let tasks = cluster.machines[0].try_json(&["ps"]).expect("tasks");
    let there = tasks.as_array().and_then(|all| all.iter().find(|t| t["node"] == name)).expect("one on each");
    let pid = there["pid"].as_u64().expect("it runs");
    let told = cluster.machines[0].run(&["remove", name, "--force"]).success().stderr;
    assert!(told.contains(&format!("{name} is removed")) && !told.contains("ca rotate"), "it did not vote: {told}");
    within(SOON, "it ends", || if cluster.machines[at].is_running() { Err("it runs".into()) } else { Ok(()) });
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "its tasks were stopped before it ended");
    let log = fs::read_to_string(cluster.machines[at].log()).expect("a log");
    assert!(log.contains("was removed from the cluster"), "{log}");
    let gone = cluster.machines[at].address;
    for machine in cluster.machines.iter().filter(|m| m.name != name) {
        within(SOON, "its names are gone, and three machines are left", || {
            let reply = ask(machine.dns(), "web.shop.fabric.internal", "A")?;
            let own = ask(machine.dns(), &format!("{name}.node.fabric.internal"), "A")?;
            let nodes = machine.try_json(&["nodes"])?;
            let named = reply.addresses.contains(&gone) || !own.addresses.is_empty();
            let is_gone = !named && nodes.as_array().map(Vec::len) == Some(3);
            if is_gone { Ok(()) } else { Err(format!("{reply:?}, {own:?}, {nodes}")) }
        });
    }
    // Its folder is refused, and another machine may have its name and address.
    cluster.machines[at].up(&[]);
    within(SOON, "it is told again", || if cluster.machines[at].is_running() { Err("it runs".into()) } else { Ok(()) });
    let token = cluster.machines[0].run(&["token", "create"]).success().stdout.trim().to_owned();
    fs::rename(&cluster.machines[at].data, cluster.root().join("former")).expect("the folder is moved away");
    let first = cluster.machines[0].fabric().to_string();
    cluster.machines[at].up(&["--join", &first, "--token", &token]);
    cluster.wait_ready();
}

#[test]
fn the_ca_is_replaced_while_a_machine_stands_still() {
    let _turn = in_company();
    let cluster = cluster(4);
    cluster.wait_voters(3); // one that is about to vote would not take a new key yet
    let before = cluster.machines[0].try_json(&["ca", "status"]).expect("CAs");
    assert_eq!((before["rotating"].as_bool(), before["authorities"].as_array().map(Vec::len)), (Some(false), Some(1)));
    signal(&cluster.machines[3], "STOP");
    cluster.machines[1].run(&["ca", "rotate"]).success();
    within(SOON, "all others have a certificate of the new CA", || {
        match cluster.machines[0].try_json(&["ca", "status"])? {
            view if view["waiting"] == serde_json::json!(["n4"]) && view["rotating"] == true => Ok(()),
            view => Err(view.to_string()),
        }
    });
    let refused = cluster.machines[2].run(&["ca", "finish"]);
    assert!(refused.code == 3 && refused.stderr.contains("n4"), "{refused:?}");
    assert_eq!(cluster.machines[2].run(&["ca", "rotate"]).code, 3, "one at a time");
    // All its connections are gone when it wakes, so that everything is handshaken anew.
    std::thread::sleep(Duration::from_secs(35));
    signal(&cluster.machines[3], "CONT");
    within(SOON, "it is served, and the rotation is complete everywhere", || {
        for machine in &cluster.machines {
            let view = machine.try_json(&["ca", "status"])?;
            let former = view["authorities"][0]["hash"] == before["authorities"][0]["hash"];
            if view["rotating"] == true || former || view["waiting"] != serde_json::json!([]) {
                return Err(format!("{}: {view}", machine.name));
            }
        }
        let output = cluster.machines[3].run(&["token", "create"]);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    });
    assert_eq!(cluster.machines[0].run(&["ca", "finish"]).code, 3, "there is nothing to finish");
}

#[test]
fn the_ca_is_replaced_across_a_partition_and_who_was_cut_off_follows() {
    let _turn = in_company();
    let cluster = cluster(4);
    cluster.wait_voters(3);
    let (name, _) = within(SOON, "a voter that does not lead", || {
        let listed = cluster.machines[0].listed()?;
        let found = listed.iter().find(|m| m.role == "voter" && m.name != "n1").map(|m| m.name.clone());
        found.ok_or_else(|| format!("{listed:?}"))
    });
    let name = name.as_str();
    let cut_off = &cluster.machines[cluster.index(name)];
    let others: Vec<&Machine> = cluster.machines.iter().filter(|m| m.name != name).collect();
    let before = cut_off.try_json(&["ca", "status"]).expect("CAs");
    let state = |by: &Machine, of: &str| -> Result<String, String> {
        let nodes = by.try_json(&["nodes"])?;
        let node = nodes.as_array().into_iter().flatten().find(|node| node["name"] == of);
        Ok(node.and_then(|node| node["state"].as_str()).unwrap_or("unknown").to_owned())
    };
    let Some(partition) = nft_cut(cut_off.fabric()) else { return };
    // Whoever takes another for dead closes its connections to it: everything is handshaken anew later.
    within(SOON * 2, "the others take it for dead, and it reaches none of them", || {
        for other in &others {
            let seen = (state(other, name)?, state(cut_off, &other.name)?);
            if seen.0 != "down" || seen.1 == "alive" {
                return Err(format!("{} says {}, it says {}", other.name, seen.0, seen.1));
            }
        }
        Ok(())
    });
    assert_eq!(cut_off.run(&["leader"]).code, 3);
    let refused = cut_off.run(&["ca", "rotate"]);
    assert_eq!(refused.code, 3, "no quorum, no rotation: {refused:?}");
    others[0].run(&["ca", "rotate"]).success();
    within(SOON, "all on this side have a certificate of the new CA", || {
        match others[0].try_json(&["ca", "status"])? {
            view if view["waiting"] == serde_json::json!([name]) && view["rotating"] == true => Ok(()),
            view => Err(view.to_string()),
        }
    });
    let refused = others[1].run(&["ca", "finish"]);
    assert!(refused.code == 3 && refused.stderr.contains(name), "{refused:?}");
    let there = cut_off.try_json(&["ca", "status"]).expect("CAs");
    assert_eq!(there["authorities"], before["authorities"], "it believes the former CA alone");
    drop(partition);
    within(SOON * 2, "it is believed again, and the rotation is complete everywhere", || {
        for machine in &cluster.machines {
            let view = machine.try_json(&["ca", "status"])?;
            let former = view["authorities"][0]["hash"] == before["authorities"][0]["hash"];
            if view["rotating"] == true || former || view["waiting"] != serde_json::json!([]) {
                return Err(format!("{}: {view}", machine.name));
            }
        }
        let output = cut_off.run(&["token", "create"]);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    });
    cluster.wait_voters(3);
}

#[test]
fn a_machine_that_two_rotations_did_not_wait_for_is_told_so_and_stops_its_tasks() {
    let _turn = in_company();
    let mut cluster = cluster(4);
    cluster.wait_voters(3);
    let (listed, _) = within(SOON, "the machines are listed", || cluster.machines[0].listed());
    let name = listed.iter().find(|m| !m.votes()).map(|m| m.name.clone()).expect("one of the four does not vote");
    let at = cluster.index(&name);
    let app = cluster.root().join("app.toml");
    let text = format!(
        "app = \"shop\"\n[service.web]\nrun = [\"sleep\", \"600\"]\nconstraints = [\"hostname LIKE {name}\"]\n"
    );
    fs::write(&app, text).expect("an app file");
    cluster.machines[0].run(&["deploy", app.to_str().expect("plain"), "--wait"]).success();
    let tasks = cluster.machines[0].try_json(&["ps"]).expect("tasks");
    let pid = tasks[0]["pid"].as_u64().expect("it runs");
    cluster.machines[at].terminate();
    let there = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(there(), "a task outlives its agent");
    for _ in 0..2 {
        cluster.machines[0].run(&["ca", "rotate"]).success();
        within(SOON, "all others have a certificate of the new CA", || {
            match cluster.machines[0].try_json(&["ca", "status"])? {
                view if view["waiting"] == serde_json::json!([name]) && view["rotating"] == true => Ok(()),
                view => Err(view.to_string()),
            }
        });
        cluster.machines[0].run(&["ca", "finish", "--force"]).success();
    }
    cluster.machines[at].up(&[]);
    within(SOON, "it ends", || if cluster.machines[at].is_running() { Err("it runs".into()) } else { Ok(()) });
    let log = fs::read_to_string(cluster.machines[at].log()).expect("a log");
    assert!(log.contains("no certificate of the cluster's present CA"), "{log}");
    assert!(log.contains("join with a new token"), "it says what to do: {log}");
    assert!(!there(), "its tasks were stopped before it ended");
    assert_eq!(cluster.machines[0].try_json(&["nodes"]).expect("nodes").as_array().map(Vec::len), Some(4));
    within(SOON, "it is removed, as the ring takes it for dead", || {
        let removed = cluster.machines[0].run(&["remove", &name]);
        if removed.code == 0 { Ok(()) } else { Err(removed.stderr) }
    });
}
