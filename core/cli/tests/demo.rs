//! `taffeta demo`, as a person runs it, and the program that has the fabric inside.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use support::{alone, binary};
use taffeta_chaos_plan::{Fault, PartitionShape};
use taffeta_harness::{Cluster, ask, get, within};
use taffeta_node::{
    api::FaultRequest,
    client::{ApiClient, ApiTarget},
};

const DNS: [&str; 3] = ["127.0.0.1:7453", "127.0.0.2:7453", "127.0.0.3:7453"];

/// Whether somebody, a person's own demo perhaps, has the ports that a demo uses.
fn ports_in_use() -> bool {
    let taken = std::net::UdpSocket::bind("127.0.0.1:7400").is_err();
    if taken {
        eprintln!("SKIPPED: another node uses 127.0.0.1:7400");
    }
    taken
}

struct Demo {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    folder: String,
}

impl Demo {
    /// Starts it and reads what it prints until it names its folder.
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("demo").args(flags).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let folder = loop {
            let line = lines.next().expect("the demo says what to try").expect("text");
            let found = line.split([' ', '\'', '"']).find(|word| word.contains("taffeta-demo-"));
            if let Some(word) = found {
                let at = word.find("taffeta-demo-").expect("found");
                let end = word[at..].find('/').map_or(word.len(), |i| at + i);
                break word[..end].to_owned();
            }
        };
        Self { process, lines, folder }
    }

    fn end(mut self) -> String {
        let folder = self.folder.clone();
        kill_process(Pid::from_raw(self.process.id() as i32).expect("a pid"), Signal::INT).expect("signalled");
        let _ = within(Duration::from_secs(30), "the demo cleans up", || match self.process.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it runs".to_owned()),
            Err(e) => Err(e.to_string()),
        });
        drop(self.lines);
        folder
    }
}

/// Processes whose command line or environment names the folder.
fn processes_of(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let holds = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(folder)
        };
        if name.parse::<u32>().is_ok() && (holds("cmdline") || holds("environ")) {
            found.insert(name);
        }
    }
    found
}

/// Cgroups of the demo's nodes, which are named like the nodes.
fn groups_of(nodes: &[String]) -> Vec<String> {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|root| root.path().join("taffeta"));
    let groups = roots.flat_map(|root| nodes.iter().map(move |id| root.join(id)));
    groups.filter(|group| group.exists()).map(|group| group.display().to_string()).collect()
}

fn node_ids(folder: &str) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}/node.id")).expect("a node's id");
    ["n1", "n2", "n3"].iter().map(|name| read(name).trim().to_owned()).collect()
}

fn services(server: &str, name: &str) -> Result<Vec<SocketAddr>, String> {
    Ok(ask(server.parse().expect("an address"), name, "SRV")?.services)
}

#[test]
fn the_demo_walks_heals_and_leaves_nothing_behind() {
    let _alone = alone();
    if ports_in_use() {
        return;
    }
    let demo = Demo::start();
    let ids = node_ids(&demo.folder);
    for server in DNS {
        assert_eq!(services(server, "web.shop.fabric.internal").expect("a reply").len(), 3, "{server}");
    }
    let front = services(DNS[0], "web.shop.fabric.internal").expect("a reply")[0];
    assert_eq!(get(front, "/").expect("the shop").0, 200);
    assert_eq!(get("127.0.0.3:7480".parse().expect("an address"), "/").expect("the page").0, 200);

    // What the demo prints to kill a machine: everything that carries its folder.
    let pattern = format!("{}/n3/", demo.folder);
    let killed = Command::new("pkill").args(["-9", "-f", &pattern]).status();
    if killed.is_ok_and(|status| status.success()) {
        within(Duration::from_secs(40), "the shop is healed", || {
            let found = services(DNS[0], "web.shop.fabric.internal")?;
            let gone = found.iter().all(|e| e.ip().to_string() != "127.0.0.3");
            if found.len() == 3 && gone { Ok(()) } else { Err(format!("{found:?}")) }
        });
        let mut back = Command::new(binary());
        back.args(["up", "--data", &pattern]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut back = back.spawn().expect("the binary starts");
        within(Duration::from_secs(40), "the machine is back", || {
            let reply = ask(DNS[2].parse().expect("an address"), "nodes.fabric.internal", "A")?;
            if reply.answers == 3 { Ok(()) } else { Err(format!("{reply:?}")) }
        });
        let folder = demo.end();
        let _ = back.wait();
        nothing_is_left(&folder, &ids);
    } else {
        eprintln!("SKIPPED in part: there is no pkill here");
        nothing_is_left(&demo.end(), &ids);
    }
}

#[test]
fn a_demo_node_that_a_fault_has_killed_comes_back_by_itself() {
    let _alone = alone();
    if ports_in_use() {
        return;
    }
    let demo = Demo::start_with(&["--chaos", "--no-shop"]);
    let ids = node_ids(&demo.folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = ApiClient::new(ApiTarget::Http("http://127.0.0.1:7480".into()), None).expect("a client");
    let token = fs::read_to_string(format!("{}/n2/chaos.token", demo.folder)).expect("n2 has opted in");
    let request = |id: &str, fault, lasts_ms| FaultRequest {
        id: id.into(),
        run: "demo".into(),
        node: "n2".into(),
        fault,
        lasts_ms,
        peers: vec![],
        task: None,
        dry_run: false,
    };
    let state = |wanted: &str| {
        let nodes = runtime.block_on(client.nodes()).map_err(|e| e.to_string())?;
        let n2 = nodes.into_iter().find(|node| node.name == "n2").map(|node| node.state);
        if n2.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{n2:?}")) }
    };
    let kill = request("00000001", Fault::KillMachine, 10_000);
    within(Duration::from_secs(10), "the fault begins", || {
        runtime.block_on(client.inject(&kill, &token)).map_err(|e| e.to_string())
    });
    within(Duration::from_secs(10), "n2 is dead", || state("down"));
    within(Duration::from_secs(40), "n2 is back", || state("alive"));
    // The demo ends in the middle of faults, of which one is in the kernel and one holds a node still.
    let cut = Fault::Partition { shape: PartitionShape::Split };
    let third = ApiClient::new(ApiTarget::Http("http://127.0.0.3:7480".into()), None).expect("a client");
    for fault in [request("00000002", cut, 60_000), request("00000003", Fault::Pause, 60_000)] {
        within(Duration::from_secs(10), "the fault begins", || {
            runtime
                .block_on(third.inject(&FaultRequest { node: "n3".into(), ..fault.clone() }, &token))
                .map_err(|e| e.to_string())
        });
    }
    nothing_is_left(&demo.end(), &ids);
    if let Ok(output) = Command::new("nft").args(["list", "tables"]).output() {
        let tables = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!tables.contains("taffeta_chaos_00000002"), "{tables}");
    }
}

fn nothing_is_left(folder: &str, nodes: &[String]) {
    assert_eq!(processes_of(folder), BTreeSet::new(), "processes");
    assert!(!std::path::Path::new(folder).exists(), "{folder} is still there");
    assert_eq!(groups_of(nodes), Vec::<String>::new(), "cgroups");
}

#[test]
fn the_demo_ends_by_itself_when_all_is_healthy_if_told_to() {
    let _alone = alone();
    if ports_in_use() {
        return;
    }
    let room = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary());
    command.args(["demo", "--exit-when-ready"]).env("TMPDIR", room.path()).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_dir(room.path()).expect("the folder").count(), 0, "files");
    assert_eq!(processes_of(&room.path().to_string_lossy()), BTreeSet::new(), "processes");
}

#[test]
fn a_program_with_the_fabric_inside_joins_publishes_and_resolves() {
    let _alone = alone();
    let program = binary().with_file_name("taffeta-example-embedded");
    if !program.exists() {
        eprintln!("SKIPPED: {} was not built; `cargo test --workspace` builds it", program.display());
        return;
    }
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let file = cluster.root().join("web.toml");
    let text = "app = \"shop\"\n[service.web]\nrun = [\"taffeta\", \"example\", \"inventory\"]\nports = [\"http\"]\n";
    fs::write(&file, text).expect("a file");
    machine.run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    let token = machine.run(&["token", "create"]).success().stdout.trim().to_owned();
    let mut command = Command::new(program);
    command.arg("--data").arg(cluster.root().join("greeter")).args(["--fabric", "127.0.0.1:0"]);
    command.args(["--join", &machine.fabric().to_string(), "--token", &token]).stdin(Stdio::null());
    let mut program = command.stdout(Stdio::null()).spawn().expect("the program starts");
    let (found, _) = within(Duration::from_secs(15), "the greeter has a name", || {
        let reply = ask(machine.dns(), "greeter.embedded.fabric.internal", "SRV")?;
        reply.services.first().copied().ok_or_else(|| format!("{reply:?}"))
    });
    within(Duration::from_secs(15), "it greets", || match get(found, "/")? {
        (200, hello) if hello.contains("1.web.shop on n1") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    kill_process(Pid::from_raw(program.id() as i32).expect("a pid"), Signal::TERM).expect("signalled");
    within(Duration::from_secs(20), "its name is gone when it has left", || {
        let reply = ask(machine.dns(), "greeter.embedded.fabric.internal", "SRV")?;
        if reply.answers == 0 { Ok(()) } else { Err(format!("{reply:?}")) }
    });
    let _ = program.wait();
}
