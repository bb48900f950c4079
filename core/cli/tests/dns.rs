//! What users touch most: names, as app files and flags say them, from outside.

mod support;

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::{alone, binary};
use taffeta_harness::{Cluster, Machine, ask, within};

const SOON: Duration = Duration::from_secs(10);

/// `count` machines, each started again with these flags, and its number for `{}`.
fn cluster(count: usize, flags: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start(count);
    cluster.wait_ready();
    for number in 0..count {
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("{}", &number.to_string())).collect();
        assert_eq!(cluster.machines[number].terminate(), 0);
        cluster.machines[number].up(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    }
    cluster.wait_ready();
    cluster
}

fn deploy(cluster: &Cluster, text: &str) {
    let file = cluster.root().join("app.toml");
    fs::write(&file, text).expect("an app file");
    let file = file.to_str().expect("plain");
    cluster.machines[0].run(&["deploy", file, "--wait"]).success();
}

/// The addresses that a machine answers with, in order.
fn addresses(machine: &Machine, name: &str) -> Result<Vec<IpAddr>, String> {
    ask(machine.dns(), name, "A").map(|reply| reply.addresses)
}

/// Waits until a name has so many addresses.
fn until(machine: &Machine, name: &str, count: usize) -> Vec<IpAddr> {
    let found = within(SOON, &format!("{name} has {count} addresses"), || match addresses(machine, name)? {
        all if all.len() == count => Ok(all),
        all => Err(format!("{all:?}")),
    });
    found.0
}

fn pids(machine: &Machine) -> BTreeSet<u64> {
    let tasks = machine.try_json(&["ps"]).expect("tasks");
    tasks.as_array().expect("a list").iter().filter_map(|task| task["pid"].as_u64()).collect()
}

#[test]
fn a_service_is_answered_as_its_app_file_says() {
    let _alone = alone();
    let alias = ["--dns-alias", "mesos=mesos", "--dns-alias", "svc.cluster.local=kubernetes"];
    let cluster = cluster(3, &[&["--zone", "z{}"], &alias[..]].concat());
    let app = |dns: &str| {
        format!(
            "app = \"near\"\n[service.web]\ncount = 3\nrun = [\"sleep\", \"600\"]\nports = [\"http\"]\n\
             constraints = [\"hostname UNIQUE\"]\ntags = [\"canary\"]\ndns = {dns}\n"
        )
    };
    deploy(&cluster, &app("{ order = \"near\", answers = 1 }"));
    for machine in &cluster.machines {
        let own = |name: &str| {
            within(SOON, &format!("{name} is answered by {}'s own instance", machine.name), || {
                match addresses(machine, name)? {
                    all if all == [machine.address] => Ok(()),
                    all => Err(format!("{all:?}")),
                }
            });
        };
        own("web.near.fabric.internal");
        for _ in 0..20 {
            // A question or its answer may get lost; an answer may not be wrong.
            let (all, _) = within(SOON, "an answer comes", || addresses(machine, "web.near.fabric.internal"));
            assert_eq!(all, [machine.address], "{}'s own instance alone", machine.name);
        }
        for name in [
            "canary.web.near.fabric.internal",
            "v1.web.near.fabric.internal",
            "web-near.marathon.mesos",
            "web.near.svc.cluster.local",
        ] {
            own(name);
        }
    }
    // Another way to answer is no other way to run.
    let before = pids(&cluster.machines[0]);
    deploy(&cluster, &app("{ order = \"random\" }"));
    for machine in &cluster.machines {
        until(machine, "web.near.fabric.internal", 3);
    }
    assert_eq!((pids(&cluster.machines[0]), before.len()), (before, 3));
    let told = cluster.machines[1].try_json(&["resolve", "_http._tcp.web.near", "SRV"]).expect("an explanation");
    let behind = told["behind"].as_array().expect("a list");
    assert_eq!(behind.len(), 3);
    let heard = |of: &Value| of["given"] == true && of["source"]["age_s"].as_f64().is_some_and(|age| age < 600.0);
    assert!(behind.iter().all(heard), "{told}");
}

#[test]
fn a_task_leaves_dns_long_before_it_is_told_to_end() {
    let _alone = alone();
    let cluster = cluster(2, &["--dns-ttl", "6"]);
    let told = cluster.root().join("told");
    let script = format!("trap 'touch {}; exit 0' TERM; while :; do sleep 0.02; done", told.display());
    let app = |count: u32| {
        format!(
            "app = \"last\"\n[service.web]\ncount = {count}\nrun = [\"sh\", \"-c\", {script:?}]\nports = [\"http\"]\n\
             isolation = \"none\"\n" // it tells by a file outside of its folder
        )
    };
    deploy(&cluster, &app(1));
    cluster.machines.iter().for_each(|machine| drop(until(machine, "web.last.fabric.internal", 1)));
    cluster.machines[0].run(&["scale", "last/web", "0"]).success();
    cluster.machines.iter().for_each(|machine| drop(until(machine, "web.last.fabric.internal", 0)));
    let (gone, begun) = (!told.exists(), Instant::now());
    assert!(gone, "it was told to end while DNS gave it");
    within(Duration::from_secs(30), "it is told to end", || if told.exists() { Ok(()) } else { Err("not yet".into()) });
    // A TTL of six seconds, less what was spent on seeing that it is gone.
    assert!(begun.elapsed() > Duration::from_millis(1_500), "after {:?}", begun.elapsed());
}

/// A port of this address that is free for UDP and TCP.
fn free(ip: IpAddr) -> SocketAddr {
    let bound = |_| {
        let tcp = TcpListener::bind((ip, 0)).ok()?;
        let at = tcp.local_addr().ok()?;
        UdpSocket::bind(at).ok().map(|_| at)
    };
    (0..100).find_map(bound).expect("a free port")
}

/// Runs a program that may be missing; `None`, said aloud, if it is.
fn program(name: &str, package: &str, args: &[&str]) -> Option<String> {
    match Command::new(name).args(args).stdin(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        Err(e) => {
            eprintln!("SKIPPED: {name} cannot be run ({e}); it is in the package {package}");
            None
        }
    }
}

#[test]
fn encrypted_dns_is_served_with_the_nodes_own_certificate() {
    let _alone = alone();
    let mut cluster = cluster(1, &[]);
    let machine = &mut cluster.machines[0];
    let (dot, doh) = (free(machine.address), free(machine.address));
    machine.terminate();
    machine.up(&["--dns-tls", &dot.to_string(), "--dns-https", &doh.to_string(), "--dns-quic", &dot.to_string()]);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let log = fs::read_to_string(machine.log()).expect("a log");
    let name = log.lines().rev().find_map(|line| line.split("name=\"").nth(1)?.split('"').next());
    let (name, ca) = (name.expect("the certificate's name is told").to_owned(), machine.data.join("ca.pem"));
    let (ip, ca) = (machine.address.to_string(), ca.display().to_string());
    let own = format!("{}.node.fabric.internal", machine.name);
    let kdig = |how: &[&str], port: u16, name: &str| {
        let port = port.to_string();
        let flags = [format!("+tls-ca={ca}"), format!("+tls-hostname={name}")];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let at = format!("@{ip}");
        program(
            "kdig",
            "knot-dnsutils",
            &[&[at.as_str(), "-p", &port, "+short", "+retry=0", &own, "A"], how, &flags].concat(),
        )
    };
    let Some(tls) = kdig(&["+tls"], dot.port(), &name) else { return };
    assert_eq!(tls.trim(), ip, "over TLS");
    let https = kdig(&["+https"], doh.port(), &name).unwrap_or_default();
    assert_eq!(https.trim(), ip, "over HTTPS");
    let stranger = kdig(&["+tls"], dot.port(), "another.node.taffeta.internal").unwrap_or_default();
    assert!(!stranger.lines().any(|line| line.trim() == ip), "the name is checked: {stranger}");

    // The listeners show the node's certificate as it is at each handshake: here it becomes one of another CA.
    let former = fs::read_to_string(&ca).expect("a CA certificate");
    machine.run(&["ca", "rotate"]).success();
    within(Duration::from_secs(30), "the rotation is complete, and ca.pem has the new CA alone", || {
        let view = machine.try_json(&["ca", "status"])?;
        let written = fs::read_to_string(&ca).map_err(|e| e.to_string())?;
        // Meanwhile it has both.
        let is_new = written != former && written.matches("BEGIN CERTIFICATE").count() == 1;
        if view["rotating"] == false && is_new { Ok(()) } else { Err(format!("{view}, and ca.pem is {written}")) }
    });
    let renewed = kdig(&["+tls"], dot.port(), &name).unwrap_or_default();
    assert_eq!(renewed.trim(), ip, "over TLS, with a certificate of the new CA");
    fs::write(&ca, former).expect("a file");
    let outdated = kdig(&["+tls"], dot.port(), &name).unwrap_or_default();
    assert_eq!(outdated.trim(), ip, "who knows the former CA alone is shown what that one has signed");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut about = rcgen::CertificateParams::new(vec![]).expect("about it");
    about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(&ca, about.self_signed(&key).expect("a CA").pem()).expect("a file");
    let foreign = kdig(&["+tls"], dot.port(), &name).unwrap_or_default();
    assert!(!foreign.lines().any(|line| line.trim() == ip), "the CA is checked: {foreign}");
}

fn taffeta(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null()).env_remove("TAFFETA_API").env_remove("TAFFETA_DNS");
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(128), text(output.stdout), text(output.stderr))
}

#[test]
fn wrong_dns_flags_are_refused_with_what_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let up = |flags: &[&str]| {
        let base = ["up", "--data", data.to_str().expect("plain"), "--address", "127.0.0.1:0", "--best-effort"];
        taffeta(&[&base[..], flags].concat())
    };
    for (flags, words) in [
        (&["--dns-alias", "consul=nomad"][..], "use one of fabric, mesos, consul, kubernetes"),
        (&["--dns-upstream", "ten"], "is not a resolver"),
        (&["--dns-transfer", "10.0.0.0/99"], "is no network"),
        (&["--dns-ttl", "9999"], "at most 3600"),
        (&["--dns-rate", "many"], "not a whole number"),
        (&["--dns-tls", "nowhere"], "is not an address"),
        (&["--dns-cert", "/nowhere.pem"], "--dns-key"),
        (&["--dns-tls", "127.0.0.1:0", "--dns-cert", "/nowhere.pem", "--dns-key", "/nowhere.key"], "/nowhere.pem"),
    ] {
        let (code, _, stderr) = up(flags);
        assert_eq!(code, 2, "{flags:?}: {stderr}");
        assert!(stderr.contains(words), "{flags:?}: {stderr}");
    }
    assert!(!data.join("membership").exists(), "nothing was created");
}

#[test]
fn a_machine_is_wired_and_unwired() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("plain");
    fs::create_dir_all(folder.path().join("etc/unbound")).expect("a folder");
    fs::write(folder.path().join("etc/unbound/unbound.conf"), "").expect("a file");
    let written = folder.path().join("etc/unbound/unbound.conf.d/taffeta.conf");
    let (code, dry, _) = taffeta(&["dns", "setup", "--root", root, "--dry-run"]);
    assert!(code == 0 && dry.contains("would write /etc/unbound/unbound.conf.d/taffeta.conf"), "{dry}");
    assert!(!written.exists());
    let (code, _, stderr) = taffeta(&["dns", "setup", "--root", root, "--dns", "127.0.0.1:7453"]);
    assert_eq!(code, 0, "{stderr}");
    if let Some(told) = program("unbound-checkconf", "unbound", &[written.to_str().expect("plain")]) {
        assert!(told.contains("no errors"), "{told}");
    }
    for system in ["systemd-resolved", "dnsmasq"] {
        let (code, _, stderr) = taffeta(&["dns", "setup", "--root", root, "--system", system]);
        assert_eq!(code, 0, "{system}: {stderr}");
    }
    let dnsmasq = format!("--conf-file={}", folder.path().join("etc/dnsmasq.d/taffeta.conf").display());
    if let Some(told) = program("dnsmasq", "dnsmasq-base", &["--test", &dnsmasq]) {
        assert!(told.contains("syntax check OK"), "{told}");
    }
    let (code, stdout, _) = taffeta(&["dns", "setup", "--root", root, "--undo", "-o", "json"]);
    let plan: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, plan["changes"].as_array().map(Vec::len)), (0, Some(4)), "{stdout}");
    assert_eq!(files(folder.path()), [folder.path().join("etc/unbound/unbound.conf")]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
