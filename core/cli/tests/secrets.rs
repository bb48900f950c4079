//! Secrets and backups on real machines: a value reaches the tasks that use it and is found nowhere else.

#[path = "secrets/keys.rs"]
mod keys;
mod leaks;
mod support;

use leaks::Needles;
use serde_json::Value;
use std::{
    fs,
    io::{ErrorKind, Write},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use support::{binary, in_company};
use taffeta_harness::{Cluster, Output, ask, get, within};

/// Shows the hash of what it has as a file and as a variable, and stays.
const SHOW: &str = "sha256sum < $TAFFETA_SECRETS/db-password; printf %s \"$DB_PASSWORD\" | sha256sum; exec sleep 1000";

/// A new value that can be told from everything else.
fn value() -> String {
    let random = || fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel gives one").trim().to_owned();
    format!("MARKED-{}-{}", random(), random())
}

fn hash_of(value: &str) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    child.stdin.take().expect("a pipe").write_all(value.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("text")[..64].to_owned()
}

/// A `taffeta` whose nodes log everything.
fn talkative(folder: &Path) -> PathBuf {
    let path = folder.join("taffeta-traced");
    let script = format!("#!/bin/sh\nTAFFETA_LOG=trace exec {} \"$@\"\n", binary().display());
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// `taffeta secret set NAME` with the value on stdin.
fn set(cluster: &Cluster, machine: usize, name: &str, value: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(["secret", "set", name]).env("TAFFETA_API", format!("http://{}", cluster.machines[machine].http()));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    match child.stdin.take().expect("a pipe").write_all(value.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => panic!("{e}"),
        Ok(()) | Err(_) => {} // one that refuses the name may have ended before it reads
    }
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code().unwrap_or(128), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn app(cluster: &Cluster, file: &str, secret: &str, more: &str) -> String {
    let path = cluster.root().join(file);
    let text = format!(
        "app = \"vault\"\n[service.web]\nrun = [\"sh\", \"-c\", '''{SHOW}''']\nports = [\"http\"]\ngrace = \"1s\"\n\
         secrets = [\"{secret}\"]\nsecret_env = {{ DB_PASSWORD = \"db-password\" }}\n{more}\n"
    );
    fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

fn task(cluster: &Cluster, machine: usize) -> Result<Value, String> {
    let tasks = cluster.machines[machine].try_json(&["ps", "vault"])?;
    tasks.as_array().and_then(|all| all.first().cloned()).ok_or_else(|| "no task".into())
}

fn pid(cluster: &Cluster, machine: usize) -> Result<i64, String> {
    let task = task(cluster, machine)?;
    task["pid"].as_i64().filter(|_| task["state"] == "running").ok_or_else(|| task.to_string())
}

/// Waits until the newest run of the task has shown that it has this value twice.
fn shows(cluster: &Cluster, machine: usize, value: &str, limit: Duration) {
    let hash = hash_of(value);
    within(limit, "the task shows the hash of its secret", || {
        pid(cluster, machine)?;
        let logs = cluster.machines[machine].run(&["logs", "vault/web.1"]);
        if logs.stdout.matches(&hash).count() == 2 { Ok(()) } else { Err(format!("{logs:?}")) }
    });
}

/// The same of a machine that has no quorum: what it runs is known by its own DNS and its own logs.
fn shows_alone(cluster: &Cluster, machine: usize, value: &str) {
    let (hash, machine) = (hash_of(value), &cluster.machines[machine]);
    within(Duration::from_secs(90), "the task has started again without a quorum", || {
        let given = ask(machine.dns(), "web.vault.fabric.internal", "SRV")?.services;
        if given.iter().all(|at| at.ip() != machine.address) {
            return Err(format!("DNS gives {given:?}"));
        }
        let logs = machine.run(&["logs", "vault/web.1"]);
        if logs.stdout.matches(&hash).count() == 2 { Ok(()) } else { Err(format!("{logs:?}")) }
    });
}

/// The version that `secret list` says the app gets.
fn version(cluster: &Cluster, machine: usize) -> (u64, u64) {
    let list = cluster.machines[machine].try_json(&["secret", "list"]).expect("a list");
    let secret = list.as_array().and_then(|all| all.iter().find(|s| s["name"] == "db-password").cloned());
    let secret = secret.unwrap_or_else(|| panic!("{list}"));
    let used = secret["used_by"][0]["version"].as_u64().unwrap_or_default();
    (secret["version"].as_u64().expect("a number"), used)
}

const LIMIT: Duration = Duration::from_secs(40);

#[test]
fn a_secret_reaches_its_tasks_and_is_found_nowhere_else() {
    let _turn = in_company();
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(talkative(folder.path()));
    let (first, second) = (value(), value());
    let needles = Needles::of(&[&first, &second]);
    let mut said = String::new();
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);

    // Nothing names it yet; the nearest name is told.
    set(&cluster, 0, "db-passwort", "other").success();
    let refused = cluster.machines[0].run(&["deploy", &app(&cluster, "wrong.toml", "db-passwort", "")]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("service.web.secret_env"), "{refused:?}");
    assert!(refused.stderr.contains("did you mean `db-passwort`?"), "{refused:?}");
    cluster.machines[0].run(&["secret", "remove", "db-passwort"]).success();

    let there = 1; // the API's node is the task's, so that one of three sees nothing of it
    let led = leader(&cluster);
    let set_first = set(&cluster, there, "db-password", &first).success();
    let led = [led, leader(&cluster)];
    said += &format!("{set_first:?}");
    let file = app(&cluster, "vault.toml", "db-password", "constraints = [\"hostname IS n2\"]");
    said += &format!("{:?}", cluster.machines[there].run(&["deploy", &file, "--wait"]).success());
    shows(&cluster, there, &first, LIMIT);
    // Who led when it was set has seen the value, too.
    let leads = leader(&cluster);
    let sees = |name: &String| *name == leads || led.contains(name);
    let bystander = (0..3).find(|i| *i != there && !sees(&cluster.machines[*i].name));
    assert!(cluster.machines[there].data.join("secrets.sealed").exists(), "for a start without a quorum");
    for machine in cluster.machines.iter().filter(|m| m.name != "n2") {
        assert!(!machine.data.join("secrets.sealed").exists(), "{} was given a secret of no task of its", machine.name);
    }
    match bystander {
        Some(bystander) => needles.not_in_memory_of(cluster.machines[bystander].pid().expect("a node")),
        None => {
            eprintln!("SKIPPED: another machine has come to lead meanwhile, so each of them has seen the value");
        }
    }

    // A crash of the task: another process, the same value.
    let before = pid(&cluster, there).expect("it runs");
    Command::new("kill").args(["-9", &before.to_string()]).status().expect("kill");
    within(LIMIT, "another process of the task", || match pid(&cluster, there)? {
        same if same == before => Err("still the same".into()),
        _ => Ok(()),
    });
    shows(&cluster, there, &first, LIMIT);

    // The agent starts anew: the same process goes on.
    let before = pid(&cluster, there).expect("it runs");
    cluster.machines[there].kill_agent();
    cluster.machines[there].up_again();
    within(LIMIT, "the task is taken up again", || match pid(&cluster, there)? {
        same if same == before => Ok(()),
        other => Err(format!("{other} instead of {before}")),
    });

    // A reboot of everything, and nobody else comes back: no voter can be asked.
    cluster.machines.iter_mut().for_each(|machine| machine.kill());
    cluster.machines[there].up_again();
    shows_alone(&cluster, there, &first);
    for other in [0, 2] {
        cluster.machines[other].up_again();
    }
    cluster.wait_ready();

    // Another version: what runs keeps what it has, and gets the new one when it is told to start anew.
    within(LIMIT, "the secret is set again", || {
        let output = set(&cluster, 0, "db-password", &second);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    });
    // The name that was removed had version 1, and no version comes twice.
    assert_eq!(version(&cluster, 0), (3, 2));
    shows(&cluster, there, &first, LIMIT);
    said += &format!("{:?}", cluster.machines[0].run(&["restart", "vault"]).success());
    shows(&cluster, there, &second, LIMIT);
    assert_eq!(version(&cluster, 0), (3, 3));

    let in_use = cluster.machines[0].run(&["secret", "remove", "db-password"]);
    assert_eq!(in_use.code, 3, "{in_use:?}");
    assert!(in_use.stderr.contains("used by vault/web") && in_use.stderr.contains("--force"), "{in_use:?}");

    wait_snapshots(&cluster);

    // Everything that was written, logged or answered.
    let backup = cluster.root().join("fabric.backup");
    cluster.machines[2].run(&["backup", &backup.to_string_lossy()]).success();
    assert_eq!(fs::metadata(&backup).expect("a file").permissions().mode() & 0o777, 0o600);
    for (index, machine) in cluster.machines.iter().enumerate() {
        for verb in [&["ps"][..], &["apps"], &["events"], &["secret", "list"], &["why", "vault/web.1"], &["status"]] {
            said += &format!("{index} {:?}", machine.run(verb));
            said += &machine.try_json(verb).map(|json| json.to_string()).unwrap_or_default();
        }
        let paths =
            ["/", "/metrics", "/v1/secrets", "/v1/apps", "/v1/ps", "/v1/services", "/v1/nodes", "/v1/openapi.json"];
        for path in paths.iter().chain(&["/v1/why/vault/web.1", "/v1/events?follow=false", "/v1/logs/vault/web.1"]) {
            said += &get(machine.http(), path).map(|(_, body)| body).unwrap_or_default();
        }
    }
    assert_eq!(needles.found_in(said.as_bytes()), None, "in what was said");
    assert_eq!(needles.found_below(cluster.root()), Vec::<String>::new());
    cluster.machines.iter_mut().for_each(|machine| machine.kill());
    assert_eq!(needles.found_below(cluster.root()), Vec::<String>::new(), "after the end");
    assert!(leaks::below_shm(&needles).is_empty());
}

/// Deploys large files until each machine has a snapshot in its folder that the secret is in.
fn wait_snapshots(cluster: &Cluster) {
    let folder = cluster.root().join("large");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("blob"), vec![b'x'; 1_000 << 10]).expect("a file"); // the log is cut at 16 MiB
    let file = folder.join("large.toml");
    let text = "app = \"large\"\n[batch.none]\nrun = [\"true\"]\ncount = 0\nfiles = [\"blob\"]\n";
    fs::write(&file, text).expect("a file");
    let is_in = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let named = name.starts_with("snapshot-");
        // Its name is there in the clear; its value must not be, which is looked for in all files.
        named && fs::read(path).is_ok_and(|bytes| bytes.windows(11).any(|part| part == b"db-password"))
    };
    let lacks = |data: &Path| {
        let mut files = fs::read_dir(data.join("raft")).into_iter().flatten().flatten();
        !files.any(|entry| is_in(&entry.path()))
    };
    within(Duration::from_secs(120), "each machine has a snapshot with the secret in it", || {
        let output = cluster.machines[0].run(&["deploy", &file.to_string_lossy()]);
        let without: Vec<&str> = cluster.machines.iter().filter(|m| lacks(&m.data)).map(|m| m.name.as_str()).collect();
        if without.is_empty() { Ok(()) } else { Err(format!("not {without:?}; {output:?}")) }
    });
}

fn leader(cluster: &Cluster) -> String {
    let (leader, _) = within(LIMIT, "a leader", || {
        let leader = cluster.machines[0].try_json(&["leader"])?;
        leader["name"].as_str().map(String::from).ok_or_else(|| "none".into())
    });
    leader
}

#[test]
fn what_is_wrong_with_a_value_or_a_name_is_said() {
    let _turn = in_company();
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    let empty = set(&cluster, 0, "db", "");
    assert_eq!((empty.code, empty.stderr.contains("empty")), (2, true), "{empty:?}");
    let large = set(&cluster, 0, "db", &"x".repeat((64 << 10) + 1));
    assert_eq!((large.code, large.stderr.contains("65536")), (2, true), "{large:?}");
    set(&cluster, 0, "db", &"x".repeat(64 << 10)).success();
    let name = set(&cluster, 0, "../db", "x");
    assert_eq!((name.code, name.stderr.contains("no name of a secret")), (2, true), "{name:?}");
    let unknown = cluster.machines[0].run(&["secret", "remove", "dx"]);
    assert_eq!((unknown.code, unknown.stderr.contains("did you mean `db`?")), (1, true), "{unknown:?}");
    cluster.machines[0].run(&["secret", "remove", "db"]).success();
    set(&cluster, 0, "db", "again").success();
    let list = cluster.machines[0].try_json(&["secret", "list"]).expect("a list");
    assert_eq!(list[0]["version"], 2, "a version is never used twice: {list}");
    assert!(cluster.machines[0].data.join("recovery.key").exists());
    let log = fs::read_to_string(cluster.machines[0].log()).expect("a log");
    assert!(log.contains("recovery=") && log.contains("safe place"), "{log}");
}

#[test]
fn a_fabric_is_restored_from_its_backup_and_the_recovery_key() {
    let _turn = in_company();
    let mut cluster = Cluster::new(binary());
    let secret = value();
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    set(&cluster, 0, "db-password", &secret).success();
    let file = app(&cluster, "vault.toml", "db-password", "count = 2");
    cluster.machines[0].run(&["deploy", &file, "--wait"]).success();
    let before = cluster.machines[0].try_json(&["status"]).expect("a status");
    let (backup, key) = (cluster.root().join("b"), cluster.root().join("recovery.key"));
    cluster.machines[2].run(&["backup", &backup.to_string_lossy()]).success();
    fs::copy(cluster.machines[0].data.join("recovery.key"), &key).expect("a copy");
    let header = cluster.machines[0].run(&["backup", "--inspect", &backup.to_string_lossy(), "-o", "json"]).success();
    assert_eq!(header.json()["cluster"], before["cluster"]);
    assert_eq!(header.json()["secrets"][0], "db-password");
    assert_eq!(header.json()["apps"][0], "vault");

    // A fire.
    cluster.machines.iter_mut().for_each(|machine| machine.kill());
    cluster.machines.iter().for_each(|machine| fs::remove_dir_all(&machine.data).expect("it was there"));

    let machine = &cluster.machines[0];
    let at = [machine.fabric(), machine.http(), machine.dns()].map(|address| address.to_string());
    let restore = |file: &Path, key: &Path, data: &Path| {
        let (file, key, data) = (file.to_string_lossy(), key.to_string_lossy(), data.to_string_lossy());
        machine.run(&[
            "restore",
            &file,
            "--recovery-key",
            &key,
            "--data",
            &data,
            "--name",
            "n1",
            "--address",
            &at[0],
            "--http",
            &at[1],
            "--dns",
            &at[2],
            "--api-open",
            "--best-effort",
            "-o",
            "json",
        ])
    };
    refusals(&cluster, &backup, &key, &restore);
    let restored = restore(&backup, &key, &machine.data).success().json();
    assert_eq!(restored["cluster"], before["cluster"]);
    assert_eq!(restored["generation"], 1);
    assert_eq!(restored["others"], serde_json::json!(["n2", "n3"]));
    let again = restore(&backup, &key, &machine.data);
    assert_eq!((again.code, again.stderr.contains("not empty")), (3, true), "{again:?}");
    assert_eq!(Needles::of(&[&secret]).found_below(&machine.data), Vec::<String>::new());

    cluster.machines[0].up_again();
    cluster.wait_ready();
    let status = cluster.machines[0].try_json(&["status"]).expect("a status");
    assert_eq!((&status["cluster"], &status["generation"]), (&before["cluster"], &1.into()));
    shows(&cluster, 0, &secret, LIMIT);
    within(LIMIT, "DNS gives both instances here", || {
        let reply = ask(cluster.machines[0].dns(), "web.vault.fabric.internal", "SRV")?;
        let here = reply.services.iter().filter(|at| at.ip() == cluster.machines[0].address).count();
        if here == 2 { Ok(()) } else { Err(format!("{reply:?}")) }
    });
    // It takes writes, secrets and newcomers as before.
    set(&cluster, 0, "another", "value").success();
    let token = cluster.machines[0].run(&["token", "create"]).success();
    let first = cluster.machines[0].fabric().to_string();
    // At another address: those of the old machines are still theirs.
    let IpAddr::V4(address) = cluster.machines[1].address else { panic!("an address of the loopback network") };
    let [a, b, c, _] = address.octets();
    cluster.machines[1].address = IpAddr::from([a, b, c, 9]);
    cluster.machines[1].name = "n4".into();
    cluster.machines[1].up(&["--join", &first, "--token", token.stdout.trim()]);
    within(LIMIT, "a newcomer is a member", || {
        let nodes = cluster.machines[0].try_json(&["nodes"])?;
        let there = nodes.as_array().is_some_and(|all| all.iter().any(|n| n["name"] == "n4" && n["state"] == "alive"));
        if there { Ok(()) } else { Err(nodes.to_string()) }
    });
}

/// What cannot be restored is refused in words, and the folder stays as it was: not there, or empty.
fn refusals(cluster: &Cluster, backup: &Path, key: &Path, restore: &dyn Fn(&Path, &Path, &Path) -> Output) {
    let (data, wrong) = (cluster.root().join("wrong"), cluster.root().join("wrong.backup"));
    let refused = |file: &Path, key: &Path, words: &str| {
        let output = restore(file, key, &data);
        assert_eq!((output.code, output.stderr.contains(words)), (2, true), "{words}: {output:?}");
        assert!(output.stderr.contains("help: "), "{output:?}");
        assert!(fs::read_dir(&data).map_or(0, |entries| entries.count()) == 0);
    };
    let whole = fs::read(backup).expect("a backup");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&wrong, &damaged).expect("a file");
    refused(&wrong, key, "checksum");
    fs::write(&wrong, &whole[..middle]).expect("a file");
    refused(&wrong, key, "damaged");
    for other in [1, 3] {
        let other_format = [format!("taffeta-backup {other}\n").as_bytes(), &whole[17..]].concat();
        fs::write(&wrong, other_format).expect("a file");
        refused(&wrong, key, &format!("format {other}"));
    }
    fs::write(&wrong, "something else\n").expect("a file");
    refused(&wrong, key, "no backup");
    let other = cluster.root().join("other.key");
    fs::write(&other, format!("taffeta-recovery-1-{}\n", "A".repeat(43))).expect("a file");
    refused(backup, &other, "another fabric");
    fs::write(&other, "hello\n").expect("a file");
    let output = restore(backup, &other, &data);
    assert_eq!((output.code, output.stderr.contains("no recovery key")), (2, true), "{output:?}");
}
