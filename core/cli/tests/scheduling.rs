//! Where tasks go, seen from outside: rules, quotas, priorities, daemons and drained machines, with real processes.

#[path = "scheduling/runs.rs"]
mod runs;
mod support;
#[path = "scheduling/unsteady.rs"]
mod unsteady;

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use support::{binary, in_company};
use taffeta_harness::{Cluster, Output, ask, get, within};

/// How long a decision may take until it is seen: placing, starting, and the way of a record to the machine that is asked.
const SOON: Duration = Duration::from_secs(20);

fn of(flags: &[&[&str]]) -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start_each(flags);
    cluster.wait_ready();
    within(SOON, "all machines are there", || {
        let status = cluster.machines[0].try_json(&["status"])?;
        if status["nodes"]["alive"] == flags.len() { Ok(()) } else { Err(status.to_string()) }
    });
    cluster
}

/// The file of an app: its jobs are given, each of them sleeps.
fn file(cluster: &Cluster, app: &str, jobs: &str) -> String {
    let path = cluster.root().join(format!("{app}.toml"));
    let jobs = jobs.replace("SLEEP", "run = [\"sleep\", \"600\"]");
    std::fs::write(&path, format!("app = \"{app}\"\n{jobs}")).expect("a file");
    path.to_string_lossy().into_owned()
}

/// Deploys it through the last machine, which need not lead.
fn deploy(cluster: &Cluster, app: &str, jobs: &str) {
    let last = &cluster.machines[cluster.machines.len() - 1];
    last.run(&["deploy", &file(cluster, app, jobs)]).success();
}

fn tasks(cluster: &Cluster, app: &str) -> Result<Vec<Value>, String> {
    Ok(cluster.machines[0].try_json(&["ps", app])?.as_array().cloned().unwrap_or_default())
}

/// How many tasks of the app run on each machine; the reasons of those that do not run.
fn spread(cluster: &Cluster, app: &str) -> Result<(BTreeMap<String, usize>, Vec<String>), String> {
    let (mut on, mut waits) = (BTreeMap::new(), vec![]);
    for task in tasks(cluster, app)? {
        match (task["state"].as_str(), task["node"].as_str()) {
            (Some("running" | "healthy"), Some(node)) => *on.entry(node.to_owned()).or_default() += 1,
            (state, _) => waits.push(format!("{}: {state:?} {}", task["task"], task["reason"])),
        }
    }
    Ok((on, waits))
}

/// Waits until so many of the app's tasks run on each machine, and so many wait; gives why they do.
fn wait_spread(cluster: &Cluster, app: &str, on: &[(&str, usize)], waiting: usize) -> Vec<String> {
    let on: BTreeMap<String, usize> = on.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
    within(SOON, &format!("{app} is on {on:?}"), || {
        let (found, waits) = spread(cluster, app)?;
        let same = found == on && waits.len() == waiting;
        if same { Ok(waits) } else { Err(format!("{found:?}, waiting {waits:?}")) }
    })
    .0
}

fn node(cluster: &Cluster, name: &str) -> Result<Value, String> {
    let nodes = cluster.machines[cluster.machines.len() - 1].try_json(&["nodes"])?;
    let found = nodes.as_array().into_iter().flatten().find(|node| node["name"] == name).cloned();
    found.ok_or_else(|| format!("no {name} in {nodes}"))
}

fn says(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "expected `{word}` in {output:?}");
    }
}

/// Number of addresses that a machine's DNS gives for a name. One that stands still for a moment is asked again: it has
/// not said that there are none.
fn addresses(cluster: &Cluster, machine: usize, name: &str) -> usize {
    let name = format!("{name}.fabric.internal");
    within(SOON, "DNS answers", || ask(cluster.machines[machine].dns(), &name, "A")).0.addresses.len()
}

/// Position of the machine that leads; for a moment there may be none.
fn wait_leader(cluster: &Cluster) -> usize {
    within(SOON, "somebody leads", || {
        let leader = cluster.machines[0].try_json(&["leader"])?;
        leader["name"].as_str().map(|name| cluster.index(name)).ok_or_else(|| leader.to_string())
    })
    .0
}

#[test]
fn a_daemon_is_on_each_machine_that_matches_also_on_one_that_joins_later() {
    let _turn = in_company();
    let mut cluster = of(&[&["--attr", "disk=ssd"], &["--attr", "disk=hdd"], &["--attr", "disk=ssd"]]);
    let jobs = "[daemon.log]\nSLEEP\nports = [\"p\"]\ncpus = 0.01\n\
                [daemon.trim]\nSLEEP\ncpus = 0.01\nconstraints = [\"disk IS ssd\"]\n";
    deploy(&cluster, "mon", jobs);
    wait_spread(&cluster, "mon", &[("n1", 2), ("n2", 1), ("n3", 2)], 0);
    assert!(tasks(&cluster, "mon").expect("tasks").iter().all(|task| task["kind"] == "daemon"));
    for machine in 0..3 {
        within(SOON, "the daemon's name resolves to all machines", || match addresses(&cluster, machine, "log.mon") {
            3 => Ok(()),
            other => Err(format!("{other} addresses")),
        });
    }
    cluster.join(&["--attr", "disk=ssd"]);
    cluster.wait_ready();
    wait_spread(&cluster, "mon", &[("n1", 2), ("n2", 1), ("n3", 2), ("n4", 2)], 0);
    within(SOON, "its name resolves to the new one, too", || match addresses(&cluster, 3, "log.mon") {
        4 => Ok(()),
        other => Err(format!("{other} addresses")),
    });
    for index in 1..=4 {
        let name = format!("{index}.log.mon");
        within(SOON, &format!("{name} resolves to one machine"), || match addresses(&cluster, 0, &name) {
            1 => Ok(()),
            other => Err(format!("{other} addresses")),
        });
    }
    within(SOON, "another machine lists four instances of the service", || {
        let services = cluster.machines[1].try_json(&["services"])?;
        let log = services.as_array().into_iter().flatten().find(|service| service["service"] == "log");
        let count = log.and_then(|log| log["instances"].as_array()).map(Vec::len);
        if count == Some(4) { Ok(()) } else { Err(services.to_string()) }
    });
    within(SOON, "it lists the daemon, and four that are ready", || {
        let apps = cluster.machines[1].try_json(&["apps"])?;
        let log = apps[0]["jobs"].as_array().into_iter().flatten().find(|job| job["name"] == "log");
        let log = log.ok_or_else(|| format!("no log in {apps}"))?;
        let ready = (&log["kind"], &log["count"], &log["ready"]) == (&json!("daemon"), &json!(4), &json!(4));
        if ready { Ok(()) } else { Err(apps.to_string()) }
    });
}

#[test]
fn a_drain_moves_services_one_by_one_and_their_name_never_goes_empty() {
    let _turn = in_company();
    let cluster = of(&[&[], &[], &[]]);
    let jobs = "[service.web]\ncount = 3\nSLEEP\nports = [\"p\"]\ncpus = 0.01\n[daemon.log]\nSLEEP\ncpus = 0.01\n";
    deploy(&cluster, "shop", jobs);
    wait_spread(&cluster, "shop", &[("n1", 2), ("n2", 2), ("n3", 2)], 0);
    deploy(&cluster, "pin", "[service.pin]\nSLEEP\ncpus = 0.01\nconstraints = [\"hostname IS n2\"]\n");
    wait_spread(&cluster, "pin", &[("n2", 1)], 0);
    within(SOON, "the name resolves", || match addresses(&cluster, 0, "web.shop") {
        3 => Ok(()),
        other => Err(format!("{other} addresses")),
    });

    let over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                let found = addresses(&cluster, 0, "web.shop");
                assert!(found > 0, "no address after {asked} answers");
                asked += 1;
                thread::sleep(Duration::from_millis(10));
            }
            asked
        });
        let late = cluster.machines[2].run(&["drain", "n2", "--wait", "--timeout", "8s"]);
        over.store(true, Ordering::Relaxed);
        says(
            &late,
            4,
            &["1 of 2 tasks moved; waits: pin/pin.1: ", "still on a machine that is drained", "n1: its hostname"],
        );
        watch.join().expect("the name is never empty")
    });
    assert!(asked > 50, "{asked}");
    within(SOON, "it is drained, and only the daemon has stayed", || {
        let (node, (on, _)) = (node(&cluster, "n2")?, spread(&cluster, "shop")?);
        let stays = node["state"] == "draining" && on.get("n2") == Some(&1);
        if stays { Ok(()) } else { Err(format!("{on:?}, {node}")) }
    });

    // Whoever waits is told when another one ends it.
    let mut waiter = Command::new(binary());
    waiter.args(["drain", "n2", "--wait"]).env("TAFFETA_API", format!("http://{}", cluster.machines[0].http()));
    let mut waiter = waiter.stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(waiter.stderr.take().expect("its stderr")).lines();
    let first = lines.next().expect("progress").expect("text");
    assert!(first.starts_with("0 of 1 tasks moved; waits: pin/pin.1: "), "{first}");
    cluster.machines[1].run(&["drain", "n2", "--off"]).success();
    assert_eq!(waiter.wait().expect("it ends").code(), Some(3));
    assert!(lines.map_while(Result::ok).any(|line| line == "error: the drain of n2 was ended meanwhile"));

    cluster.machines[0].run(&["stop", "pin"]).success();
    let done = cluster.machines[0].run(&["drain", "n2", "--wait", "--timeout", "20s"]);
    says(&done, 0, &["n2 is empty"]);
    deploy(&cluster, "late", "[service.late]\ncount = 4\nSLEEP\ncpus = 0.01\n");
    wait_spread(&cluster, "late", &[("n1", 2), ("n3", 2)], 0);
    says(&cluster.machines[0].run(&["drain", "n2", "--off"]), 0, &["n2 takes tasks again"]);
    within(SOON, "n2 is alive", || match node(&cluster, "n2")? {
        node if node["state"] == "alive" && node["draining"] == false => Ok(()),
        node => Err(node.to_string()),
    });
    cluster.machines[0].run(&["scale", "late/late", "6"]).success();
    wait_spread(&cluster, "late", &[("n1", 2), ("n2", 2), ("n3", 2)], 0);
    for verb in ["drain", "remove"] {
        says(&cluster.machines[0].run(&[verb, "m2"]), 1, &["there is no machine `m2`; did you mean `n2`?"]);
    }
}

#[test]
fn rules_and_countable_resources_hold_on_real_machines() {
    let _turn = in_company();
    let cluster = of(&[
        &["--zone", "a", "--attr", "disk=ssd-1", "--cpus", "2", "--memory", "2GiB"],
        &["--zone", "b", "--attr", "disk=ssd-2", "--cpus", "2", "--memory", "1GiB", "--resource", "gpu=1"],
        &["--zone", "b", "--attr", "disk=hdd", "--cpus", "1.5"],
    ]);
    let job = |name: &str, count: u32, rest: &str| {
        format!("[service.{name}]\ncount = {count}\nSLEEP\ncpus = 0.01\nmemory = \"4MiB\"\n{rest}\n")
    };
    let rule = |text: &str| format!("constraints = [\"{text}\"]");
    deploy(&cluster, "even", &job("even", 4, &rule("zone GROUP_BY 2")));
    let (on, _) = within(SOON, "two in each zone", || {
        let (on, waits) = spread(&cluster, "even")?;
        let in_b = on.get("n2").unwrap_or(&0) + on.get("n3").unwrap_or(&0);
        if (on.get("n1"), in_b) == (Some(&2), 2) { Ok(on) } else { Err(format!("{on:?} {waits:?}")) }
    });
    assert_eq!(on.values().sum::<usize>(), 4, "{on:?}");
    deploy(&cluster, "one", &job("one", 4, &rule("hostname UNIQUE")));
    let waits = wait_spread(&cluster, "one", &[("n1", 1), ("n2", 1), ("n3", 1)], 1);
    assert!(waits[0].contains("n1: has one already (hostname UNIQUE)"), "{waits:?}");
    deploy(&cluster, "like", &job("like", 4, &rule("disk LIKE ssd-.")));
    wait_spread(&cluster, "like", &[("n1", 2), ("n2", 2)], 0);
    deploy(&cluster, "render", &job("render", 2, "resources = { gpu = 1 }"));
    let waits = wait_spread(&cluster, "render", &[("n2", 1)], 1);
    assert!(waits[0].contains("n2: needs 1 gpu, 0 free"), "{waits:?}");

    within(SOON, "n2 shows what it offers, and that its gpu is in use", || {
        let machine = node(&cluster, "n2")?;
        let disk = &machine["resources"]["disk"];
        let offered = json!({"cpus": 2.0, "memory": 1 << 30, "disk": disk, "custom": {"gpu": 1}});
        let shown = (&machine["resources"], &machine["used"]["custom"]) == (&offered, &json!({"gpu": 1}));
        if shown { Ok(()) } else { Err(machine.to_string()) }
    });
    assert_eq!(node(&cluster, "n3").expect("n3")["resources"]["cpus"], 1.5);

    let hopeless = [job("far", 1, &rule("zone IS z9")), job("big", 1, "resources = { gpu = 2 }")].concat();
    let path = file(&cluster, "hopeless", &hopeless);
    let plan = cluster.machines[1].run(&["plan", &path, "-o", "json"]).success();
    assert_eq!(plan.json()["warnings"].as_array().map(Vec::len), Some(2), "{plan:?}");
    let told = |line: u32, why: &str| format!("hopeless.toml: line {line}: no machine could ever run {why}");
    let far = told(7, "service.far, it would wait: none passes `zone IS z9`, there is a, b");
    let big = told(13, "service.big, it would wait: needs 2 gpu, 1 free on the largest machine");
    says(&plan, 0, &["warning: ", &far, &big]);
    deploy(&cluster, "hopeless", &hopeless);
    wait_spread(&cluster, "hopeless", &[], 2);
}

#[test]
fn a_quota_holds_what_would_exceed_it_and_lets_it_go_when_it_is_raised() {
    let _turn = in_company();
    let cluster = of(&[&[]]);
    let machine = &cluster.machines[0];
    machine.run(&["quota", "set", "red", "--cpus", "0.5", "--resource", "gpu=2", "--share", "3"]).success();
    deploy(&cluster, "shop", "team = \"red\"\n[service.web]\ncount = 3\nSLEEP\ncpus = 0.25\nmemory = \"8MiB\"\n");
    let waits = wait_spread(&cluster, "shop", &[("n1", 2)], 1);
    assert!(waits[0].contains("the quota of team red: needs 0.25 cpus, 0 free"), "{waits:?}");
    let expected = json!([{
        "team": "red", "limits": {"cpus": 0.5, "memory": null, "disk": null, "custom": {"gpu": 2}},
        "used": {"cpus": 0.5, "memory": 16 << 20, "disk": 0, "custom": {}}, "share": 3, "tasks": 2,
    }]);
    assert_eq!(machine.try_json(&["quota", "list"]), Ok(expected));
    let set = machine.run(&["quota", "set", "red", "--cpus", "1"]);
    says(&set, 0, &["the tasks of team red may use 1 cpus together; its share is 1"]);
    wait_spread(&cluster, "shop", &[("n1", 3)], 0);
    machine.run(&["quota", "remove", "red"]).success();
    assert_eq!(machine.try_json(&["quota", "list"]), Ok(json!([])));
    let again = machine.run(&["quota", "remove", "red"]);
    assert!(again.code == 1 && again.stderr.contains("red"), "{again:?}");
}

#[test]
fn a_higher_priority_takes_the_place_of_a_lower_one_which_comes_back() {
    let _turn = in_company();
    let cluster = of(&[&["--cpus", "1"], &["--cpus", "1"], &["--cpus", "1"]]);
    deploy(&cluster, "low", "[service.low]\ncount = 3\nSLEEP\ncpus = 1\npriority = 10\n");
    wait_spread(&cluster, "low", &[("n1", 1), ("n2", 1), ("n3", 1)], 0);
    let events_of_leader = || {
        let leader = cluster.machines[0].try_json(&["leader"])?["name"].as_str().ok_or("nobody leads")?.to_owned();
        cluster.machines[cluster.index(&leader)].try_json(&["events"])
    };
    // Events are what has changed from one look to the next: what came and went in between is none.
    within(SOON, "the leader has seen them run", || {
        let events = events_of_leader()?;
        let of_low = |event: &&Value| event["kind"] == "task.running" && event["subject"].to_string().contains("low/");
        let count = events.as_array().into_iter().flatten().filter(of_low).count();
        if count >= 3 { Ok(()) } else { Err(events.to_string()) }
    });
    deploy(&cluster, "high", "[service.high]\nSLEEP\ncpus = 1\npriority = 90\n");
    let (place, _) = within(SOON, "the higher one runs", || {
        let task = tasks(&cluster, "high")?.pop().ok_or("none")?;
        let place = task["node"].as_str().filter(|_| task["state"] == "running").map(String::from);
        place.ok_or_else(|| task.to_string())
    });
    let left: Vec<(&str, usize)> = ["n1", "n2", "n3"].into_iter().filter(|n| *n != place).map(|n| (n, 1)).collect();
    wait_spread(&cluster, "low", &left, 1);
    let lost = tasks(&cluster, "low").expect("tasks").into_iter().find(|task| task["state"] == "waiting");
    let task = format!("low/{}", lost.expect("one waits")["task"].as_str().expect("a name"));
    let why = cluster.machines[0].run(&["why", &task]).success().stdout;
    assert!(why.contains("made way for high/high.1"), "{why}");
    let moved = format!("{task} leaves {place}: it made way for high/high.1, which is of a higher priority");
    within(SOON, "the leader's events tell of it, too", || {
        let events = events_of_leader()?;
        let is_told = |event: &Value| event["kind"] == "task.moved" && event["message"] == moved.as_str();
        let told = events.as_array().into_iter().flatten().any(is_told);
        if told { Ok(()) } else { Err(events.to_string()) }
    });
    cluster.machines[0].run(&["stop", "high"]).success();
    wait_spread(&cluster, "low", &[("n1", 1), ("n2", 1), ("n3", 1)], 0);
}

#[test]
fn what_comes_waits_for_what_is_still_stopping_and_an_offer_outlasts_a_restart() {
    let _turn = in_company();
    let mut cluster = of(&[&["--cpus", "1", "--resource", "gpu=1"]]);
    let stubborn = "[service.old]\nrun = [\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 1; done\"]\ncpus = 1\n\
                    grace = \"15s\"\n";
    deploy(&cluster, "old", stubborn);
    wait_spread(&cluster, "old", &[("n1", 1)], 0);
    let pid = tasks(&cluster, "old").expect("tasks")[0]["pid"].as_u64().expect("a pid");
    let lives = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    cluster.machines[0].run(&["stop", "old"]).success();
    deploy(&cluster, "new", "[service.new]\nSLEEP\ncpus = 1\n");
    within(SOON, "the new one says what it waits for", || {
        let task = tasks(&cluster, "new")?.pop().ok_or("none")?;
        if task["reason"] == "waits for old/old.1 to end" { Ok(()) } else { Err(task.to_string()) }
    });
    assert!(lives(), "the old one is still there");
    within(SOON * 2, "the new one runs", || {
        let task = tasks(&cluster, "new")?.pop().ok_or("none")?;
        if task["state"] == "running" { Ok(()) } else { Err(task.to_string()) }
    });
    assert!(!lives(), "not both at once");

    assert_eq!(cluster.machines[0].terminate(), 0);
    cluster.machines[0].up_again();
    cluster.wait_ready();
    let resources = node(&cluster, "n1").expect("n1")["resources"].clone();
    assert_eq!((&resources["cpus"], &resources["custom"]), (&json!(1.0), &json!({"gpu": 1})), "{resources}");
}

/// The job of an app as `apps` shows it.
fn job(cluster: &Cluster, app: &str, job: &str) -> Result<Value, String> {
    let apps = cluster.machines[0].try_json(&["apps"])?;
    let known = apps.as_array().into_iter().flatten().find(|known| known["app"] == app);
    let jobs = known.and_then(|known| known["jobs"].as_array()).into_iter().flatten();
    jobs.into_iter().find(|known| known["name"] == job).cloned().ok_or_else(|| format!("no {app}/{job} in {apps}"))
}

fn app(cluster: &Cluster, name: &str) -> Result<Value, String> {
    let apps = cluster.machines[0].try_json(&["apps"])?;
    let known = apps.as_array().into_iter().flatten().find(|known| known["app"] == name).cloned();
    known.ok_or_else(|| format!("no {name} in {apps}"))
}

#[test]
fn blue_and_green_change_over_unseen_and_a_version_that_fails_goes_back_by_itself() {
    let _turn = in_company();
    let cluster = of(&[&[], &[], &[]]);
    let web = |run: &str, update: &str| {
        let health = "health = { run = [\"test\", \"-e\", \"ok\"], every = \"200ms\" }";
        format!(
            "[service.web]\ncount = 2\nrun = [\"sh\", \"-c\", \"{run}; exec sleep 600\"]\nports = [\"p\"]\ncpus = 0.01\n\
             {health}\nupdate = {{ {update} }}\n"
        )
    };
    let green = |limit: &str| format!("strategy = \"blue-green\", healthy_within = \"{limit}\"");
    deploy(&cluster, "shop", &web("touch ok", &green("120s")));
    wait_addresses(&cluster, "web.shop", 2);
    deploy(&cluster, "shop", &web("touch ok green", &green("120s")));
    within(SOON * 3, "as many come beside the others", || {
        let healthy = tasks(&cluster, "shop")?.iter().filter(|task| task["state"] == "healthy").count();
        if healthy == 4 { Ok(()) } else { Err(format!("{healthy} are healthy")) }
    });
    assert_eq!(addresses(&cluster, 1, "web.shop"), 2, "those beside are unseen");
    let why = cluster.machines[2].run(&["why", "shop/web.1"]).success().stdout;
    assert!(why.contains("`taffeta promote APP` lets it take over"), "{why}");
    says(&cluster.machines[1].run(&["promote", "shop"]), 0, &["takes over"]);
    let least = AtomicBool::new(true);
    within(SOON * 3, "the newer version is everywhere, and those beside are gone", || {
        if addresses(&cluster, 1, "web.shop") < 2 {
            least.store(false, Ordering::Relaxed);
        }
        let tasks = tasks(&cluster, "shop")?;
        let current = app(&cluster, "shop")?["jobs"][0]["ready"] == 2;
        if tasks.len() == 2 && current { Ok(()) } else { Err(format!("{} tasks, ready: {current}", tasks.len())) }
    });
    assert!(least.load(Ordering::Relaxed), "the name had fewer than two addresses in between");
    // One that never passes its check: it is given up, and the instances before were never touched.
    let before: Vec<Value> = tasks(&cluster, "shop").expect("tasks").iter().map(|task| task["pid"].clone()).collect();
    deploy(&cluster, "shop", &web("true", &green("6s")));
    within(SOON * 2, "the version before comes back", || {
        let app = app(&cluster, "shop")?;
        let back = app["returned"].as_str().is_some_and(|why| why.contains("did not work within 6s"));
        if back && tasks(&cluster, "shop")?.len() == 2 { Ok(()) } else { Err(app.to_string()) }
    });
    let after: Vec<Value> = tasks(&cluster, "shop").expect("tasks").iter().map(|task| task["pid"].clone()).collect();
    assert_eq!(before, after);
    assert_eq!(addresses(&cluster, 2, "web.shop"), 2);
    says(
        &cluster.machines[0].run(&["rollback", "shop", "--to", "99"]),
        1,
        &["version 99 of `shop` is not kept; these are:"],
    );
}

fn wait_addresses(cluster: &Cluster, name: &str, count: usize) {
    within(SOON, &format!("{name} has {count} addresses"), || match addresses(cluster, 1, name) {
        found if found == count => Ok(()),
        found => Err(format!("{found}")),
    });
}

#[test]
fn cron_jobs_run_when_due_once_also_when_the_leader_dies_and_jobs_run_by_hand_with_arguments() {
    let _turn = in_company();
    let mut cluster = of(&[&[], &[], &[]]);
    cluster.wait_voters(3);
    let ran = cluster.root().join("ran");
    // Both tell by a file outside of their folders.
    let jobs = format!(
        "[cron.tick]\nschedule = \"R//PT2S\"\nrun = [\"sh\", \"-c\", \"echo tick >> {0}\"]\nisolation = \"none\"\ncpus = 0.01\n\
         [batch.echo]\ncount = 1\nrun = [\"sh\", \"-c\", 'echo \"$0 $1\" >> {0}']\nisolation = \"none\"\ncpus = 0.01\n\
         [batch.long]\ncount = 1\nrun = [\"sleep\", \"600\"]\ndeadline = \"2s\"\ncpus = 0.01\n",
        ran.display()
    );
    deploy(&cluster, "jobs", &jobs);
    let runs = |cluster: &Cluster, name: &str| -> Result<Vec<Value>, String> {
        Ok(job(cluster, "jobs", name)?["runs"].as_array().cloned().unwrap_or_default())
    };
    within(SOON, "three runs are over", || {
        let over = runs(&cluster, "tick")?.iter().filter(|run| run["result"] == "ok").count();
        if over >= 3 { Ok(()) } else { Err(format!("{over}")) }
    });
    within(SOON, "what takes too long is ended, and its process with it", || {
        let failed =
            runs(&cluster, "long")?.iter().any(|run| run["result"].as_str().is_some_and(|r| r.contains("failed")));
        let task = tasks(&cluster, "jobs")?.into_iter().find(|task| task["service"] == "long");
        let gone = task.is_some_and(|task| task["state"] == "failed" && task["pid"].is_null());
        if failed && gone { Ok(()) } else { Err(format!("failed: {failed}, gone: {gone}")) }
    });
    says(&cluster.machines[2].run(&["run", "jobs/echo", "--", "by", "hand"]), 0, &["jobs/echo runs"]);
    within(SOON, "it ran with the arguments", || {
        let text = std::fs::read_to_string(&ran).map_err(|e| e.to_string())?;
        if text.contains("by hand") { Ok(()) } else { Err(text) }
    });
    says(&cluster.machines[1].run(&["run", "jobs/absent"]), 1, &["has no"]);
    let never = "[cron.never]\nrun = [\"true\"]\nschedule = \"R1/2020-01-01T00:00:00Z/P1D\"\n";
    for verb in ["deploy", "plan"] {
        let said = cluster.machines[1].run(&[verb, &file(&cluster, "never", never)]);
        says(&said, 2, &["never.toml: line 4: cron.never.schedule: "]);
    }
    let index = wait_leader(&cluster);
    cluster.machines[index].kill();
    let other = (index + 1) % 3;
    let slots = || -> Result<Vec<String>, String> {
        let apps = cluster.machines[other].try_json(&["apps"])?;
        let tick = apps[0]["jobs"].as_array().into_iter().flatten().find(|job| job["name"] == "tick");
        let tick = tick.ok_or_else(|| format!("no tick in {apps}"))?;
        let runs = tick["runs"].as_array().into_iter().flatten();
        Ok(runs.filter_map(|run| run["what"].as_str()).map(str::to_owned).collect())
    };
    let (known, _) = within(SOON, "its runs are listed", slots);
    assert!(known.len() >= 3, "{known:?}");
    // Not their number: only the newest are remembered.
    within(SOON * 2, "whoever leads next goes on with two more slots", || {
        let all = slots()?;
        // Each slot since the deployment is there once: as a run, or as missed with a reason.
        let once: BTreeSet<&String> = all.iter().collect();
        assert_eq!(once.len(), all.len(), "a slot twice: {all:?}");
        let more = all.iter().filter(|slot| !known.contains(slot)).count();
        if more >= 2 { Ok(()) } else { Err(format!("{all:?}, {known:?} before")) }
    });
}

#[test]
fn a_service_grows_with_its_load_within_its_bounds_and_shrinks_again() {
    let _turn = in_company();
    let cluster = of(&[&[], &[]]);
    let scale = "autoscale = { min = 1, max = 3, cpu = 0.5, up_after = \"1s\", down_after = \"5s\" }\ncpus = 0.1\n";
    let busy = format!("[service.web]\nrun = [\"sh\", \"-c\", \"while :; do :; done\"]\n{scale}");
    deploy(&cluster, "busy", &busy);
    within(SOON * 3, "three instances run", || {
        let running = tasks(&cluster, "busy")?.iter().filter(|task| task["state"] == "running").count();
        if running == 3 { Ok(()) } else { Err(format!("{running}")) }
    });
    let web = job(&cluster, "busy", "web").expect("it is listed");
    assert_eq!((&web["count"], &web["autoscale"]), (&json!(3), &json!({"min": 1, "max": 3})));
    says(&cluster.machines[1].run(&["scale", "busy/web", "4"]), 2, &["from 1 to 3"]);
    // The next version has nothing to do; a deploy keeps the count, the load brings it down.
    deploy(&cluster, "busy", &format!("[service.web]\nSLEEP\n{scale}"));
    assert_eq!(job(&cluster, "busy", "web").expect("it is listed")["count"], 3);
    within(SOON * 3, "one instance is left", || {
        let left = tasks(&cluster, "busy")?.len();
        if left == 1 { Ok(()) } else { Err(format!("{left}")) }
    });
    let events = cluster.machines[wait_leader(&cluster)].try_json(&["events"]).expect("events");
    let told = |kind: &str, from: &str, then: &str| {
        let of_kind = events.as_array().into_iter().flatten().filter(|event| event["kind"] == kind);
        let told = of_kind.filter_map(|event| event["message"].as_str());
        told.filter(|told| told.starts_with(from) && told.contains(then)).count()
    };
    assert_eq!(told("service.scaled", "busy/web goes from 1 to 3 instances: cpu is ", ""), 1, "{events}");
    // The load of what was just replaced is not known yet: it may go down by steps.
    assert_eq!(told("service.scaled", "busy/web goes from 3 to ", " instances: cpu is "), 1, "{events}");
    assert_eq!(told("service.scaled", "busy/web goes from ", " to 1 instances: cpu is "), 1, "{events}");
    assert_eq!(
        (told("app.version", "busy is at version 2", ""), told("service.updated", "busy/web works in version 2", "")),
        (1, 1)
    );
}

/// What the three instances of `shop/web` have said last.
fn last_words(cluster: &Cluster) -> Result<Vec<String>, String> {
    let said = |i: u32| {
        let output = cluster.machines[0].run(&["logs", &format!("shop/web.{i}")]);
        let last = output.stdout.lines().last().map(str::to_owned);
        last.ok_or_else(|| format!("web.{i} has said nothing: {}", output.stderr))
    };
    (1..=3).map(said).collect()
}

#[test]
fn a_canary_is_promoted_an_update_is_paused_and_goes_on_and_a_version_comes_back_by_its_number() {
    let _turn = in_company();
    let cluster = of(&[&[]]);
    let machine = &cluster.machines[0];
    let web = |version: u32| {
        format!(
            "[service.web]\ncount = 3\nrun = [\"sh\", \"-c\", \"echo version {version}; exec sleep 600\"]\ncpus = 0.01\n\
             update = {{ canary = 1, max_unavailable = 3 }}\n"
        )
    };
    let wait = |versions: [u32; 3]| {
        let expected = versions.map(|version| format!("version {version}"));
        within(SOON, &format!("the instances are of versions {versions:?}"), || {
            let running = tasks(&cluster, "shop")?.iter().filter(|task| task["state"] == "running").count();
            let said = last_words(&cluster)?;
            if running == 3 && said == expected { Ok(()) } else { Err(format!("{running} run: {said:?}")) }
        });
    };
    let waits = |words: &str| {
        within(SOON, &format!("web.2 waits: {words}"), || {
            let why = machine.run(&["why", "shop/web.2"]).stdout;
            if why.contains(words) { Ok(()) } else { Err(why) }
        });
    };
    deploy(&cluster, "shop", &web(1));
    wait([1, 1, 1]);
    deploy(&cluster, "shop", &web(2));
    wait([2, 1, 1]);
    waits("`taffeta promote APP` lets it take over");
    says(&machine.run(&["pause", "shop"]), 0, &["shop stays as it is until `taffeta resume shop`"]);
    says(&machine.run(&["promote", "shop/web"]), 0, &["the newer version of shop/web takes over"]);
    waits("the update is paused");
    assert_eq!(app(&cluster, "shop").expect("it is there")["paused"], true);
    wait([2, 1, 1]);
    says(&machine.run(&["resume", "shop"]), 0, &["shop goes on"]);
    wait([2, 2, 2]);
    // Back to the first, by its number: without a canary, from the middle of a third.
    deploy(&cluster, "shop", &web(3));
    wait([3, 2, 2]);
    assert_eq!(app(&cluster, "shop").expect("it is there")["versions"], json!([2, 1]));
    says(&machine.run(&["rollback", "shop", "--to", "1"]), 0, &["shop goes back"]);
    wait([1, 1, 1]);
    let back = app(&cluster, "shop").expect("it is there");
    assert_eq!((&back["version"], &back["returned"]), (&json!(4), &json!("version 1 is back, by hand")), "{back}");
    assert_eq!(back["versions"], json!([3, 2]), "{back}");
}

#[test]
fn one_service_follows_a_number_of_its_own_and_another_its_memory() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: python3 is not there, whose web server gives the number");
    }
    let _turn = in_company();
    let cluster = of(&[&[]]);
    let number = |number: u32| {
        std::fs::write(cluster.root().join("metrics"), format!("# TYPE length gauge\nlength {number}\n"))
            .expect("a file");
    };
    let jobs = "[service.queue]\nrun = [\"python3\", \"-m\", \"http.server\", \"$PORT_HTTP\"]\nports = [\"http\"]\n\
                files = [\"metrics\"]\ncpus = 0.05\nmemory = \"64MiB\"\n\
                autoscale = { min = 1, max = 3, metric = \"length\", target = 100, up_after = \"1s\", down_after = \"5s\" }\n\
                [service.hoard]\nrun = [\"python3\", \"-c\", \"import time; x = b'x' * (40 << 20); time.sleep(600)\"]\n\
                cpus = 0.05\nmemory = \"64MiB\"\nautoscale = { min = 1, max = 2, memory = 0.5, up_after = \"1s\" }\n";
    let wait = |queue: usize, hoard: usize| {
        within(Duration::from_secs(60), &format!("{queue} and {hoard} instances run"), || {
            let tasks = tasks(&cluster, "load")?;
            let of =
                |job: &str| tasks.iter().filter(|task| task["service"] == job && task["state"] == "running").count();
            let there = (of("queue"), of("hoard"));
            if there == (queue, hoard) { Ok(()) } else { Err(format!("{there:?}")) }
        });
    };
    number(250);
    deploy(&cluster, "load", jobs);
    wait(3, 2);
    number(10);
    deploy(&cluster, "load", jobs);
    wait(1, 2);
    let events = cluster.machines[0].try_json(&["events"]).expect("events");
    let told = |from: &str, then: &str| {
        let scaled = events.as_array().into_iter().flatten().filter(|event| event["kind"] == "service.scaled");
        scaled.filter_map(|event| event["message"].as_str()).any(|told| told.starts_with(from) && told.contains(then))
    };
    let grown = "load/queue goes from 1 to 3 instances: metric is 250.00 on the average, and should be 100.00";
    assert!(told(grown, "") && told("load/hoard goes from 1 to 2 instances: memory is 0.", ""), "{events}");
    // While some say 250 still, it may go down by steps.
    assert!(told("load/queue goes from ", " to 1 instances: metric is 10.00 on the average"), "{events}");
}

#[test]
fn it_is_told_which_limit_ended_a_task_and_what_one_uses() {
    let _turn = in_company();
    let cluster = of(&[&["--attr", "a=1"], &["--attr", "a=2"]]);
    let gaps = node(&cluster, "n2").expect("it is listed")["not_isolated"].clone();
    if gaps != json!([]) {
        return eprintln!("SKIPPED: no limits are in force here: {gaps}");
    }
    // On the machine that is not asked.
    let rule = "memory = \"32MiB\"\ncpus = 0.05\ncpu_quota = true\npids = 4\nconstraints = [\"hostname LIKE n2\"]\n";
    let hungry = "[batch.hungry]\nrun = [\"tail\", \"/dev/zero\"]\n";
    let forks =
        "[batch.forks]\nrun = [\"sh\", \"-c\", \"sleep 9 & sleep 9 & sleep 9 & sleep 9 & sleep 9 & sleep 9\"]\n";
    let spins = "[service.spins]\nrun = [\"sh\", \"-c\", \"while :; do :; done\"]\n";
    deploy(&cluster, "hard", &format!("{hungry}{rule}{forks}{rule}{spins}{rule}"));
    let why = |task: &str| cluster.machines[0].run(&["why", task]).stdout;
    let says = |task: &str, words: &[&str]| {
        within(SOON, &format!("{task} says {words:?}"), || {
            let said = why(task);
            if words.iter().all(|word| said.contains(word)) { Ok(()) } else { Err(said) }
        });
    };
    says("hard/hungry.1", &["killed: out of memory: its limit of 32 MiB was reached"]);
    says("hard/forks.1", &["exited with 2: ", "it could start no process, having the 4 that it may have"]);
    says("hard/spins.1", &["s of processor time", "of 32.0 MiB", "its quota of processor time held it up in"]);
    within(SOON, "what it uses is told", || {
        let usage = cluster.machines[0].try_json(&["why", "hard/spins.1"])?["usage"].clone();
        let told = usage["cpu_seconds"].as_f64() > Some(0.0) && usage["throttled"]["throttled"].as_u64() > Some(0);
        if told { Ok(()) } else { Err(usage.to_string()) }
    });
    let series = |machine: usize, name: &str| {
        let (_, text) = get(cluster.machines[machine].http(), "/metrics").expect("metrics");
        let begin = format!("taffeta_task_{name}{{task=\"hard/spins.1\"}} ");
        text.lines().find_map(|line| line.strip_prefix(begin.as_str())?.parse::<f64>().ok())
    };
    assert_eq!(series(1, "memory_max_bytes"), Some(33_554_432.0));
    assert!(series(1, "cpu_seconds_total") > Some(0.0) && series(1, "throttled_seconds_total") > Some(0.0));
    assert_eq!(series(0, "cpu_seconds_total"), None, "it is not this machine's");
}
