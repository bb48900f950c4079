//! The quorum is lost for good: a survivor is recovered, and the old side is fenced off when it returns. And data folders
//! that were set back or moved.

mod support;

use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};
use support::{binary, in_company};
use taffeta_harness::{Cluster, Output, ask, within};

/// Everything here takes seconds; the rest is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn three() -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    within(PATIENCE, "all voters hold the CA key", || {
        let lacks = |m: &&taffeta_harness::Machine| !m.data.join("ca.sealed").is_file();
        let lacking: Vec<&str> = cluster.machines.iter().filter(lacks).map(|m| m.name.as_str()).collect();
        if lacking.is_empty() { Ok(()) } else { Err(lacking.join(", ")) }
    });
    cluster
}

fn deploy(cluster: &Cluster, on: usize, app: &str, count: usize) -> Output {
    let path = cluster.root().join(format!("{app}.toml"));
    let file = format!("app = \"{app}\"\n[service.web]\ncount = {count}\nrun = [\"sleep\", \"100000\"]\n");
    fs::write(&path, file).expect("a file");
    cluster.machines[on].run(&["deploy", &path.to_string_lossy()])
}

/// Deploys, again while a leader is being found.
fn deployed(cluster: &Cluster, on: usize, app: &str, count: usize) {
    within(PATIENCE, "the deploy", || {
        let output = deploy(cluster, on, app, count);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    });
}

fn recover(cluster: &Cluster, on: usize, flags: &[&str]) -> Output {
    let data = cluster.machines[on].data.to_string_lossy().into_owned();
    cluster.machines[on].run(&[&["recover", "--data", &data, "-o", "json"], flags].concat())
}

fn folder(cluster: &Cluster, of: usize) -> String {
    cluster.machines[of].data.to_string_lossy().into_owned()
}

fn leader(cluster: &Cluster, by: usize) -> usize {
    let (name, _) = within(PATIENCE, "a leader", || {
        let json = cluster.machines[by].try_json(&["leader"])?;
        json["name"].as_str().map(String::from).ok_or_else(|| "none".into())
    });
    cluster.index(&name)
}

/// Waits until the machine counts these apps, and is in this generation.
fn knows(cluster: &Cluster, by: usize, generation: u64, apps: &[&str]) {
    let machine = &cluster.machines[by];
    within(PATIENCE, &format!("{} is in generation {generation} with {apps:?}", machine.name), || {
        let status = machine.try_json(&["status"])?;
        let listed = machine.try_json(&["apps"])?;
        let mut names: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(|a| a["app"].as_str()).collect();
        names.sort_unstable();
        if status["generation"] == generation && names == apps { Ok(()) } else { Err(format!("{status} {names:?}")) }
    });
}

/// Waits until exactly these many instances of the app run, each once, and every one of these machines' DNS gives them.
fn runs(cluster: &Cluster, on: &[usize], app: &str, count: usize) {
    within(PATIENCE, &format!("{count} of {app} run"), || {
        for by in on {
            let listed = cluster.machines[*by].try_json(&["ps", app])?;
            let tasks: Vec<&Value> = listed.as_array().into_iter().flatten().collect();
            let running = tasks.iter().filter(|t| t["state"] == "running").count();
            if (tasks.len(), running) != (count, count) {
                return Err(listed.to_string());
            }
            let reply = ask(cluster.machines[*by].dns(), &format!("web.{app}.fabric.internal"), "A")?;
            if reply.addresses.is_empty() {
                return Err(format!("{}: no address of {app}", cluster.machines[*by].name));
            }
        }
        Ok(())
    });
    let marks = format!("{app}.web.");
    within(PATIENCE, &format!("{app} runs {count} times in all"), || {
        let folders = (0..3).map(|i| runs_alive(&cluster.machines[i].data, &marks)).sum::<usize>();
        if folders == count { Ok(()) } else { Err(format!("{folders} processes")) }
    });
}

/// Processes that live in folders of this app's runs.
fn runs_alive(data: &Path, marks: &str) -> usize {
    let Ok(data) = data.canonicalize() else { return 0 };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lives = |entry: fs::DirEntry| {
        let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        let of = cwd.strip_prefix(data.join("tasks")).ok()?.to_string_lossy().starts_with(marks);
        (of && comm.trim() == "sleep").then_some(())
    };
    processes.filter_map(lives).count()
}

#[test]
fn a_survivor_is_recovered_and_the_old_side_is_fenced_and_comes_back() {
    let _turn = in_company();
    let mut cluster = three();
    deployed(&cluster, 0, "one", 2);
    runs(&cluster, &[0, 1, 2], "one", 2);
    // A survivor that lags: it misses the second app.
    let best = leader(&cluster, 0);
    let (lagging, other) = ((best + 1) % 3, (best + 2) % 3);
    cluster.machines[lagging].kill();
    deployed(&cluster, best, "two", 1);
    cluster.machines[other].kill();
    let refused = within(PATIENCE, "writes are refused", || {
        // One that changes nothing: an attempt before may be in the log, and is then kept.
        let refused = cluster.machines[best].run(&["scale", "one/web", "2"]);
        let no_quorum = refused.code == 3 && refused.stderr.contains("recover");
        if no_quorum { Ok(refused) } else { Err(format!("{refused:?}")) }
    });
    assert!(refused.0.stderr.contains("help: "), "it says what to do: {}", refused.0.stderr);

    let in_use = recover(&cluster, best, &["--yes"]);
    assert_eq!(in_use.code, 1, "a running node is not recovered: {in_use:?}");
    cluster.machines[best].kill();

    let shown = recover(&cluster, best, &[]).success().json();
    assert_eq!((&shown["generation"], shown["voters"].as_array().map(Vec::len)), (&0.into(), Some(3)), "{shown}");
    assert_eq!(shown, recover(&cluster, best, &[]).success().json(), "looking changes nothing");
    let file = cluster.root().join("best.json");
    fs::write(&file, shown.to_string()).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let compared = recover(&cluster, lagging, &["--compare", &file, "--compare", &folder(&cluster, other)]);
    let compared = compared.success().json();
    assert_eq!(compared["compared"][0]["knows"], "more", "{compared}");
    let lost = &compared["compared"][0]["lost_if_this_is_taken"];
    assert!(lost["apps"].to_string().contains("two") && lost["committed"].as_u64() > Some(0), "{lost}");
    let refused = recover(&cluster, lagging, &["--yes", "--compare", &file]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("two") && refused.stderr.contains("--force"), "{}", refused.stderr);

    let done = recover(&cluster, best, &["--yes", "--compare", &folder(&cluster, lagging)]).success().json();
    assert_eq!(done["generation"], 1, "{done}");
    cluster.machines[best].up_again();
    knows(&cluster, best, 1, &["one", "two"]);
    deployed(&cluster, best, "three", 1);
    for (app, count) in [("one", 2), ("two", 1), ("three", 1)] {
        runs(&cluster, &[best], app, count);
    }

    cluster.machines[lagging].up_again();
    cluster.machines[other].up_again();
    let all = [best, lagging, other];
    for by in all {
        knows(&cluster, by, 1, &["one", "three", "two"]);
        assert!(cluster.machines[by].is_running(), "it came back by itself");
    }
    for by in [lagging, other] {
        assert!(cluster.machines[by].data.join("raft.old").is_file(), "its old log is kept");
    }
    cluster.wait_voters(3);
    for (app, count) in [("one", 2), ("two", 1), ("three", 1)] {
        runs(&cluster, &all, app, count);
    }
    // They vote in the new generation: without the one that was recovered the others go on.
    cluster.machines[best].kill();
    deployed(&cluster, other, "four", 1);
    knows(&cluster, lagging, 1, &["four", "one", "three", "two"]);
}

#[test]
fn an_old_quorum_that_writes_steps_down_when_it_meets_the_new_generation() {
    let _turn = in_company();
    let mut cluster = three();
    deployed(&cluster, 0, "one", 1);
    for by in 0..3 {
        knows(&cluster, by, 0, &["one"]);
    }
    for index in 0..3 {
        cluster.machines[index].kill();
    }
    recover(&cluster, 2, &["--yes"]).success();
    // The two others are a quorum of the old generation, and know nothing of the new one.
    cluster.machines[0].up_again();
    cluster.machines[1].up_again();
    deployed(&cluster, 0, "lost", 2);
    runs(&cluster, &[0, 1], "lost", 2);
    cluster.machines[2].up_again();
    for by in 0..3 {
        knows(&cluster, by, 1, &["one"]);
    }
    runs(&cluster, &[0, 1, 2], "one", 1);
    within(PATIENCE, "nothing that the old side placed runs", || {
        let left: usize = (0..3).map(|i| runs_alive(&cluster.machines[i].data, "lost.")).sum();
        if left == 0 { Ok(()) } else { Err(format!("{left} processes")) }
    });
    cluster.wait_voters(3);
    let list = cluster.machines[0].try_json(&["nodes"]).expect("nodes");
    assert!(list.as_array().into_iter().flatten().all(|n| n["generation"] == 1), "{list}");
    for index in 0..3 {
        assert!(cluster.machines[index].is_running());
    }
    deployed(&cluster, 1, "more", 1);
    knows(&cluster, 2, 1, &["more", "one"]);
}

/// Copies a folder's contents over another's, in place.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(status.expect("cp runs").success());
}

fn ended(cluster: &mut Cluster, index: usize) -> String {
    within(PATIENCE, "it ends", || if cluster.machines[index].is_running() { Err("it runs".into()) } else { Ok(()) });
    fs::read_to_string(cluster.machines[index].log()).unwrap_or_default()
}

#[test]
fn a_voter_that_was_set_back_to_an_older_copy_is_refused_and_the_others_go_on() {
    let _turn = in_company();
    let mut cluster = three();
    let led = leader(&cluster, 0);
    let victim = (led + 1) % 3;
    cluster.machines[victim].terminate();
    let (data, backup) = (cluster.machines[victim].data.clone(), cluster.root().join("backup"));
    fs::create_dir_all(&backup).expect("a folder");
    copy(&data, &backup);
    cluster.machines[victim].up_again();
    deployed(&cluster, led, "one", 1);
    knows(&cluster, victim, 0, &["one"]);
    cluster.machines[victim].terminate();
    copy(&backup, &data);
    let pid = cluster.machines[led].pid();
    cluster.machines[victim].up_again();
    let said = ended(&mut cluster, victim);
    assert!(said.contains("older copy") && said.contains("join again"), "it says why and what to do: {said}");
    cluster.machines[victim].up_again();
    let said = ended(&mut cluster, victim);
    assert!(said.contains("older copy"), "{said}");
    assert!(cluster.machines[led].is_running() && cluster.machines[led].pid() == pid, "the leader is unharmed");
    deployed(&cluster, led, "two", 1);
    knows(&cluster, (led + 2) % 3, 0, &["one", "two"]);
}

#[test]
fn a_moved_folder_is_refused_until_it_is_said_to_be_moved() {
    let _turn = in_company();
    let mut cluster = three();
    cluster.machines[2].terminate();
    let (data, moved) = (cluster.machines[2].data.clone(), cluster.root().join("moved"));
    fs::create_dir_all(&moved).expect("a folder");
    copy(&data, &moved);
    fs::remove_dir_all(&data).expect("it was moved");
    cluster.machines[2].data = moved;
    cluster.machines[2].up_again();
    let said = ended(&mut cluster, 2);
    assert!(said.contains("copied or moved") && said.contains("--moved"), "{said}");
    cluster.machines[2].up(&["--moved"]);
    deployed(&cluster, 0, "one", 1);
    knows(&cluster, 2, 0, &["one"]);
    cluster.machines[2].terminate();
    cluster.machines[2].up_again();
    knows(&cluster, 2, 0, &["one"]);
}
