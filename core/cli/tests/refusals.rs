//! What a node and a cluster refuse: each with a clear error, the right exit code, and nothing changed.

mod support;

use serde_json::Value;
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::{alone, binary};
use taffeta_harness::{Client, Cluster, Output, eventually, within};

/// Runs `taffeta up` with these flags until it ends; it is expected to refuse.
fn up(data: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["up", "--best-effort", "--data"]).arg(data).args(flags).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("TAFFETA_API");
    let mut child = command.spawn().expect("the binary starts");
    let ended = within(Duration::from_secs(20), "`up` refuses", || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("it runs".into()),
        Err(e) => Err(e.to_string()),
    });
    let output = child.wait_with_output().expect("its output");
    Output {
        code: ended.0.code().unwrap_or(128),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `code` and a message that holds all the words, with advice.
fn refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "expected `{word}` in {output:?}");
    }
    assert!(output.stderr.contains("error: ") && output.stderr.contains("help: "), "{output:?}");
}

fn one() -> (Cluster, String) {
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    let token = cluster.machines[0].run(&["token", "create"]).success().stdout.trim().to_owned();
    (cluster, token)
}

fn beside(cluster: &Cluster, host: u8) -> String {
    let first = cluster.machines[0].fabric();
    let std::net::IpAddr::V4(ip) = first.ip() else { panic!("an IPv4 address") };
    let [a, b, c, _] = ip.octets();
    SocketAddr::from(([a, b, c, host], first.port())).to_string()
}

fn count_nodes(cluster: &Cluster) -> usize {
    cluster.machines[0].try_json(&["nodes"]).expect("nodes").as_array().map_or(0, Vec::len)
}

#[test]
fn an_unreachable_or_wrong_join_is_refused() {
    let _alone = alone();
    let (cluster, token) = one();
    let data = cluster.root().join("x");
    // A socket that never answers, so that nobody else is asked.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let nobody = silent.local_addr().expect("its address").to_string();
    let here = beside(&cluster, 9);
    let patient = ["--name", "x", "--address", &here, "--join", &nobody, "--join-timeout", "6", "--token", &token];
    let output = up(&data, &patient);
    refused(&output, 4, &["no node could be joined", &nobody]);
    let output = up(&data, &["--name", "x", "--address", &here, "--join", "not an address", "--token", &token]);
    assert!(output.code == 2 && output.stderr.contains("not an address"), "{output:?}");
    let output = up(&data, &["--name", "x", "--address", &here, "--join", &nobody, "--token", "rubbish"]);
    assert_eq!(output.code, 2, "{output:?}");
    let output = up(&data, &["--name", "x", "--address", &here, "--join", &nobody]);
    refused(&output, 2, &["--token"]);
    assert_eq!(count_nodes(&cluster), 1);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let _alone = alone();
    let (cluster, token) = one();
    let first = cluster.machines[0].fabric().to_string();
    let here = beside(&cluster, 9);
    let flags = ["--name", "n1", "--address", &here, "--join", &first, "--token", &token];
    refused(&up(&cluster.root().join("x"), &flags), 3, &["n1", "taken"]);
    assert_eq!(count_nodes(&cluster), 1);
}

#[test]
fn a_wrong_expired_or_foreign_token_is_refused() {
    let _alone = alone();
    let (cluster, token) = one();
    let (_other, foreign) = one();
    let expired = cluster.machines[0].run(&["token", "create", "--ttl", "1s"]).success().stdout.trim().to_owned();
    let minted = Instant::now();
    let first = cluster.machines[0].fabric().to_string();
    let here = beside(&cluster, 9);
    let join = |token: &str| {
        let flags = ["--name", "x", "--address", &here, "--join", &first, "--token", token];
        up(&cluster.root().join("x"), &flags)
    };
    refused(&join(&foreign), 3, &["another cluster"]);
    eventually("the token's second is over", || minted.elapsed() > Duration::from_millis(1_100));
    refused(&join(&expired), 3, &["expired"]);
    let mut damaged = token;
    damaged.pop();
    assert_eq!(join(&damaged).code, 2);
    assert_eq!(count_nodes(&cluster), 1);
}

#[test]
fn a_port_in_use_is_refused() {
    let _alone = alone();
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("its address").to_string();
    let root = Cluster::new(binary());
    let output = up(&root.root().join("x"), &["--name", "x", "--address", &address]);
    refused(&output, 1, &[&address]);
    // The HTTP and DNS ports likewise, and none of them leaves a half-made cluster behind that cannot start later.
    let http = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let http = http.local_addr().map(|a| (a.to_string(), http)).expect("its address");
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port").to_string();
    let output = up(&root.root().join("y"), &["--name", "y", "--address", &free, "--http", &http.0]);
    refused(&output, 1, &[&http.0]);
}

#[test]
fn a_data_folder_of_another_cluster_or_version_or_in_use_is_refused() {
    let _alone = alone();
    let (cluster, _) = one();
    let (mut other, foreign) = one();
    other.machines[0].terminate();
    let data = other.machines[0].data.clone();
    let first = cluster.machines[0].fabric().to_string();
    let (_, token) = (foreign, cluster.machines[0].run(&["token", "create"]).success().stdout.trim().to_owned());
    refused(&up(&data, &["--join", &first, "--token", &token]), 2, &["belongs to the cluster"]);
    let format = data.join("format");
    let before = std::fs::read_to_string(&format).expect("a format");
    std::fs::write(&format, "99").expect("written");
    refused(&up(&data, &[]), 2, &["format 99"]);
    std::fs::write(&format, before).expect("written");
    refused(&up(&cluster.machines[0].data, &[]), 1, &["another process"]);
    other.machines[0].up_again();
    other.wait_ready(); // nothing was changed
}

#[test]
fn a_deploy_without_quorum_is_refused_and_changes_nothing() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    eventually("three voters", || {
        let status = cluster.machines[0].try_json(&["status"]).unwrap_or_default();
        status["voters"].as_array().is_some_and(|v| v.len() == 3)
    });
    let file = cluster.root().join("one.toml");
    std::fs::write(&file, "app = \"one\"\n[service.one]\nrun = [\"sleep\", \"600\"]\n").expect("a file");
    cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    std::fs::write(&file, "app = \"two\"\n[service.two]\nrun = [\"sleep\", \"600\"]\n").expect("a file");
    cluster.machines[1].kill();
    cluster.machines[2].kill();
    eventually("the survivor knows no leader", || cluster.machines[0].run(&["leader"]).code == 3);
    let output = cluster.machines[0].run(&["deploy", &file.to_string_lossy()]);
    refused(&output, 3, &["n2", "n3"]);
    assert_eq!(cluster.machines[0].run(&["status"]).code, 3);
    cluster.machines[1].up_again();
    cluster.wait_ready();
    let apps = cluster.machines[1].try_json(&["apps"]).expect("apps");
    let names: Vec<&str> = apps.as_array().into_iter().flatten().filter_map(|a| a["app"].as_str()).collect();
    assert_eq!(names, ["one"], "the refused deploy took no effect later");
}

/// What the cluster has: its apps with their versions, and its tasks with their processes.
fn all(cluster: &Cluster) -> [Value; 2] {
    ["apps", "ps"].map(|verb| cluster.machines[0].try_json(&[verb]).unwrap_or_else(|e| panic!("{verb}: {e}")))
}

#[test]
fn a_bad_app_file_is_refused_with_its_line_and_changes_nothing() {
    let _alone = alone();
    let (cluster, _) = one();
    let machine = &cluster.machines[0];
    let file = cluster.root().join("shop.toml");
    let path = file.to_string_lossy().into_owned();
    let write = |more: &str| {
        let web = "[service.web]\nrun = [\"sleep\", \"600\"]\ncpus = 0.01\n";
        let text = format!("app = \"shop\"\n{web}{more}");
        std::fs::write(&file, &text).expect("a file");
        text
    };
    for count in ["count = 1\n", "count = 2\n"] {
        write(count);
        machine.run(&["deploy", &path, "--wait"]).success();
    }
    let before = all(&cluster);
    assert_eq!(before[0][0]["version"], 2, "{before:?}");
    assert_eq!(before[1].as_array().map(Vec::len), Some(2), "{before:?}");
    // What is written after line 4, and what is said of it.
    for (more, said) in [
        (
            "constraints = [\"hostname UNIQ\"]\n",
            "line 5: service.web.constraints: unknown operator `UNIQ`; did you mean `UNIQUE`?",
        ),
        ("[cron.late]\nrun = [\"true\"]\nschedule = \"R1/2020-01-01T00:00:00Z/P1D\"\n", "line 7: cron.late.schedule: "),
        ("[cron.odd]\nrun = [\"true\"]\nschedule = \"0 0 30 2 *\"\n", "line 7: cron.odd.schedule: "),
        (
            "[cron.far]\nrun = [\"true\"]\nschedule = \"@daily\"\ntimezone = \"Mars/Olympus\"\n",
            "line 8: cron.far.timezone: ",
        ),
        (
            "after = [\"db\"]\n[service.db]\nrun = [\"true\"]\nafter = [\"web\"]\n",
            "line 8: service.db.after: a cycle: db after web after db",
        ),
        ("[service.Web_Two]\nrun = [\"true\"]\n", "line 5: service.Web_Two: `Web_Two` is not a DNS label"),
        ("count = 10001\n", "line 5: service.web.count: expected a number of instances from 0 to 10000, found 10001"),
        ("priority = 300\n", "line 5: service.web.priority: "),
        ("ports = { http = 70000 }\n", "line 5: service.web.ports.http: "),
        ("pids = 1\n", "line 5: service.web.pids: "),
    ] {
        let text = write(more);
        for (verb, route) in [("deploy", "/v1/apps"), ("plan", "/v1/plan")] {
            let output = machine.run(&[verb, &path]);
            assert_eq!(output.code, 2, "{more}: {output:?}");
            let message = format!("error: {path}: {said}");
            assert!(output.stderr.contains(&message), "{verb} of {more}: expected `{message}` in {output:?}");
            // A node does not rely on its own command line.
            let mut client = Client::new(machine.http(), Duration::from_secs(10));
            let body = Some(("application/toml", text.as_str()));
            let (status, body) = client.request("POST", route, body).expect("the node answers");
            assert!(status == 400 && body.contains(said), "{route}: expected `{said}` in {status} {body}");
        }
        assert_eq!(all(&cluster), before, "after {more}");
    }
    // This one may come true: it is told, and would be accepted.
    write("constraints = [\"zone IS z9\"]\n");
    let output = machine.run(&["plan", &path]);
    let warning = format!("warning: {path}: line 5: no machine could ever run service.web, it would wait: ");
    assert!(output.code == 0 && output.stderr.contains(&warning), "expected `{warning}` in {output:?}");
    assert_eq!(all(&cluster), before, "a plan changes nothing");
}

#[test]
fn the_api_wants_its_token() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    let data = cluster.root().join("locked");
    let http = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port");
    let mut command = Command::new(binary());
    command.args(["up", "--name", "locked", "--best-effort", "--address", &free.to_string(), "--dns", "127.0.0.1:0"]);
    command.args(["--http", &http.to_string(), "--data"]).arg(&data).stdin(Stdio::null()).stdout(Stdio::null());
    let mut node = command.stderr(Stdio::null()).spawn().expect("the binary starts");
    let run = |token: Option<&str>, api: &str| {
        let mut command = Command::new(binary());
        command.args(["--api", api, "nodes", "-o", "json"]).env_remove("TAFFETA_TOKEN").env("HOME", "/nonexistent");
        command.env("TAFFETA_CONFIG", "/dev/null");
        token.map(|token| command.env("TAFFETA_TOKEN", token));
        command.output().expect("the binary runs").status.code().unwrap_or(128)
    };
    let url = format!("http://{http}");
    let (token, _) = within(Duration::from_secs(30), "the admin token lets in", || {
        let token = std::fs::read_to_string(data.join("admin.token")).map_err(|e| e.to_string())?;
        if run(Some(token.trim()), &url) == 0 { Ok(token) } else { Err("refused".into()) }
    });
    assert!(!token.trim().is_empty());
    assert_eq!(run(Some("wrong"), &url), 3, "a wrong token");
    let socket = format!("unix:{}", data.join("api.sock").display());
    assert_eq!(run(Some("wrong"), &socket), 0, "the folder's owner needs none on the socket");
    let _ = node.kill();
    let _ = node.wait();
    cluster.machines.clear();
}
