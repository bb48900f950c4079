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
use taffeta_harness::{ask, get, within};

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
        let mut command = Command::new(binary());
        command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped());
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

fn groups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for group in fs::read_dir(root.path().join("taffeta")).into_iter().flatten().flatten() {
            if group.path().is_dir() {
                found.insert(group.path().display().to_string());
            }
        }
    }
    found
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
    let before = groups();
    let demo = Demo::start();
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
        within(Duration::from_secs(10), "the shop is healed", || {
            let found = services(DNS[0], "web.shop.fabric.internal")?;
            let gone = found.iter().all(|e| e.ip().to_string() != "127.0.0.3");
            if found.len() == 3 && gone { Ok(()) } else { Err(format!("{found:?}")) }
        });
        let mut back = Command::new(binary());
        back.args(["up", "--data", &pattern]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut back = back.spawn().expect("the binary starts");
        within(Duration::from_secs(15), "the machine is back", || {
            let reply = ask(DNS[2].parse().expect("an address"), "nodes.fabric.internal", "A")?;
            if reply.answers == 3 { Ok(()) } else { Err(format!("{reply:?}")) }
        });
        let folder = demo.end();
        let _ = back.wait();
        nothing_is_left(&folder, &before);
    } else {
        eprintln!("SKIPPED in part: there is no pkill here");
        nothing_is_left(&demo.end(), &before);
    }
}

fn nothing_is_left(folder: &str, groups_before: &BTreeSet<String>) {
    assert_eq!(processes_of(folder), BTreeSet::new(), "processes");
    assert!(!std::path::Path::new(folder).exists(), "{folder} is still there");
    let left: Vec<String> = groups().difference(groups_before).cloned().collect();
    assert!(left.is_empty(), "cgroups {left:?}");
}

#[test]
fn the_demo_ends_by_itself_when_all_is_healthy_if_told_to() {
    let _alone = alone();
    if ports_in_use() {
        return;
    }
    let before = groups();
    let mut command = Command::new(binary());
    command.args(["demo", "--exit-when-ready"]).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let left: Vec<String> = groups().difference(&before).cloned().collect();
    assert!(left.is_empty(), "cgroups {left:?}");
}
