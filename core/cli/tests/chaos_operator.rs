//! Experiments on real nodes, as an operator runs them: planned, refused, performed, reported, and undone whatever happens.

mod hurt;
mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use support::{alone, binary, in_company};
use taffeta_harness::{Cluster, Output as Printed, get, within};

/// For what is set up, not for what is promised.
const SOON: Duration = Duration::from_secs(40);

const WEB: &str = r#"
app = "shop"
[service.web]
count = 3
run = ["taffeta", "example", "inventory"]
ports = ["http"]
health = { http = "/health", port = "http", every = "500ms", timeout = "500ms" }
"#;

/// Three machines that run three instances of a service.
struct Bed {
    cluster: Cluster,
}

impl Drop for Bed {
    fn drop(&mut self) {
        for machine in &self.cluster.machines {
            taffeta_node::heal(&machine.data);
        }
    }
}

impl Bed {
    fn start(flags: &[&[&str]]) -> Self {
        let mut cluster = Cluster::new(binary());
        cluster.start_each(flags);
        cluster.wait_ready();
        cluster.wait_voters(3);
        let bed = Self { cluster };
        let file = bed.file("shop.toml", WEB);
        bed.cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait", "--timeout", "60s"]).success();
        bed.whole();
        bed
    }

    fn three() -> Self {
        Self::start(&[&["--chaos"], &["--chaos"], &["--chaos"]])
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.cluster.root().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// `taffeta chaos ...` against the first machine, with its token.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("chaos").args(args).stdin(Stdio::null());
        command.arg("--api").arg(format!("http://{}", self.cluster.machines[0].http()));
        command.arg("--data").arg(&self.cluster.machines[0].data);
        command.env_remove("TAFFETA_API").env_remove("TAFFETA_CHAOS_TOKEN");
        command
    }

    fn chaos(&self, args: &[&str]) -> Printed {
        printed(self.command(args).output().expect("the binary runs"))
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    fn status(&self) -> Value {
        let told = within(SOON, "the faults are told", || {
            let told = self.chaos(&["status", "-o", "json"]);
            if told.code == 0 { Ok(told) } else { Err(told.stderr) }
        });
        told.0.json()
    }

    /// Plans of an experiment, so many in a row, while the same machine leads before and after them; and its name.
    fn plans(&self, count: usize, args: &[&str]) -> (Vec<Value>, Value) {
        let leader = || self.cluster.machines[0].try_json(&["leader"]).map(|leader| leader["name"].clone());
        let plan = || {
            let told = self.chaos(&[&["plan"], args, &["-o", "json"]].concat());
            if told.code == 0 { Ok(told.json()) } else { Err(told.stderr) }
        };
        let found = within(SOON, "one machine leads all the time", || {
            let before = leader()?;
            let plans = (0..count).map(|_| plan()).collect::<Result<Vec<Value>, String>>()?;
            let after = leader()?;
            if before == after { Ok((plans, after)) } else { Err(format!("{before}, and then {after}")) }
        });
        found.0
    }

    /// Faults that are on, in words.
    fn on(&self) -> Vec<String> {
        let status = self.status();
        let faults = status["faults"].as_array().cloned().unwrap_or_default();
        let on = faults.iter().filter(|fault| fault["state"] == "active" || fault["state"] == "not-undone");
        on.map(|fault| format!("{} at {}", fault["fault"], fault["node"])).collect()
    }

    /// Waits until all machines are there and all names right: what one test leaves is not the next one's.
    fn whole(&self) {
        within(SOON, "the cluster is whole", || {
            for probe in [["quorum", "true"], ["alive", "3"], ["strength", "1"], ["names", "1"]] {
                let told = self.chaos(&["probe", probe[0], "--tolerance", probe[1]]);
                if told.code != 0 {
                    return Err(format!("{probe:?}: {}", told.stderr));
                }
            }
            Ok(())
        });
    }

    fn wait_for_faults(&self, count: usize) {
        within(SOON, "the faults are on", || {
            let on = self.on();
            if on.len() >= count { Ok(()) } else { Err(format!("{on:?}")) }
        });
    }
}

fn printed(output: Output) -> Printed {
    Printed {
        code: output.status.code().unwrap_or(128),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

/// An experiment of these actions of ours: name, fault, arguments, pause after it.
fn experiment(actions: &[(&str, &str, &str, f64)]) -> String {
    let action = |(name, func, arguments, after): &(&str, &str, &str, f64)| {
        format!(
            "- type: action\n  name: {name}\n  provider: {{type: taffeta, func: {func}, arguments: {{{arguments}}}}}\n  pauses: {{after: {after}}}\n"
        )
    };
    let probe = |name: &str, func: &str, tolerance: &str| {
        format!(
            "  - {{type: probe, name: {name}, tolerance: {tolerance}, provider: {{type: taffeta, func: {func}}}}}\n"
        )
    };
    format!(
        "title: test\ndescription: a test\nsteady-state-hypothesis:\n  title: whole\n  probes:\n{}{}{}method:\n{}",
        probe("quorum", "quorum", "true"),
        probe("names", "names", "1"),
        probe("strength", "strength", "1"),
        actions.iter().map(action).collect::<String>(),
    )
}

#[test]
fn a_plan_shows_who_is_struck_by_what_and_what_that_takes_away_and_injects_nothing() {
    let _company = in_company();
    let bed = Bed::three();
    let (plans, leader) = bed.plans(1, &["kill-leader"]);
    let plan = &plans[0];
    let strike = &plan["strikes"][0];
    assert_eq!(strike["hits"][0]["node"], leader, "{plan}");
    assert_eq!(strike["hits"][0]["backend"], "signal");
    assert!(!strike["hits"][0]["commands"].as_array().expect("a list").is_empty(), "{plan}");
    assert_eq!((&strike["blast"]["votes"]["left"], &strike["blast"]["votes"]["needed"]), (&2.into(), &2.into()));
    assert_eq!(strike["blast"]["services"]["web/shop"]["of"], 3);
    let text = bed.chaos(&["plan", "kill-leader"]).success().stdout;
    assert!(text.contains("takes away: web/shop") && text.contains("2 of 3 votes are left"), "{text}");
    let all = bed.chaos(&["plan", "power-cut"]);
    assert_eq!(all.code, 2);
    assert!(all.stderr.contains("the quorum would break") && all.stdout.contains("refused: "), "{all:?}");
    bed.chaos(&["plan", "power-cut", "--allow-quorum-loss"]).success();
    assert_eq!(bed.status()["faults"], Value::Array(vec![]), "nothing was injected");
    // The same seed strikes the same.
    let (plans, _) = bed.plans(2, &["kill-worker", "--seed", "7"]);
    assert_eq!(plans[0]["strikes"][0]["hits"], plans[1]["strikes"][0]["hits"]);
}

#[test]
fn what_may_not_be_run_is_refused_and_says_why() {
    let _company = in_company();
    let bed = Bed::start(&[&["--chaos"], &["--chaos"], &[]]);
    let refused = |text: &str, more: &[&str], why: &str| {
        let file = bed.file("refused.yaml", text);
        let told = bed.chaos(&[&["run", &file.to_string_lossy()], more].concat());
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.stderr.contains(why), "expected {why}: {told:?}");
    };
    refused(&experiment(&[("a", "pause", "target: n3, lasts: 2", 0.0)]), &[], "a: n3: it has not opted in");
    let both = experiment(&[("a", "pause", "target: n1, lasts: 2", 0.0), ("b", "pause", "target: n2, lasts: 2", 0.0)]);
    refused(&both, &[], "b: the quorum would break: 1 of 3 voters would be left");
    let broken = experiment(&[("a", "pause", "target: n2, lasts: 2", 0.0)]).replace("tolerance: 1", "tolerance: 0.5");
    refused(&broken, &[], "the steady state is broken before the experiment: `names` found 1");
    let unknown = experiment(&[("a", "pause", "target: n2, last: 2", 0.0)]);
    refused(&unknown, &[], "refused.yaml:12: method[0].provider.arguments: unknown key `last`");
    refused("title: x\n", &[], "refused.yaml:1: `method` is missing");
    let cut = experiment(&[("a", "kill", "target: n2, what: power, lasts: 2", 0.0)]);
    refused(&cut, &[], "a: n2: no node can cut its own power");
    let mistyped = experiment(&[("a", "pause", "target: n2, lasts: 2", 0.0)])
        .replace("func: strength", "func: strength, arguments: {service: wbe/shop}");
    refused(&mistyped, &[], "`strength` found nothing: no instance of wbe/shop is wanted; services are web/shop");
    for probe in ["strength", "names", "serves"] {
        let told = bed.chaos(&["probe", probe, "--service", "wbe/shop", "--tolerance", "1"]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.stderr.contains("no instance of wbe/shop is wanted"), "{told:?}");
    }
    assert_eq!(bed.status()["faults"], Value::Array(vec![]), "nothing was injected");
    // Without the token nothing begins, whatever the plan says.
    let mut command = Command::new(binary());
    command.args(["chaos", "inject", "pause", "--target", "n2", "--lasts", "1"]);
    command
        .arg("--api")
        .arg(format!("http://{}", bed.cluster.machines[0].http()))
        .arg("--data")
        .arg(bed.cluster.root());
    let told = printed(command.env_remove("TAFFETA_CHAOS_TOKEN").output().expect("the binary runs"));
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains("chaos token"), "{told:?}");
}

#[test]
fn a_token_of_a_machine_that_has_just_opted_in_is_taken_by_the_others() {
    let _company = in_company();
    let mut cluster = Cluster::new(binary());
    cluster.start_each(&[&["--chaos"], &["--chaos"], &["--chaos"]]);
    cluster.wait_ready();
    let bed = Bed { cluster };
    let struck = bed.chaos(&["inject", "clock", "--target", "n2", "--by", "1", "--lasts", "1"]);
    assert_eq!(struck.code, 0, "{struck:?}");
}

#[test]
fn a_machine_that_is_killed_is_healed_and_the_run_is_reported_three_ways() {
    let _alone = alone();
    let bed = Bed::three();
    let text = experiment(&[("kill it", "kill", "target: one, except: leader, lasts: 12", 0.0)])
        + "extensions:\n- {name: taffeta, within: {quorum: 5, names: 5, strength: 15}, heal: 30}\n";
    let file = bed.file("kill.yaml", &text);
    let [journal, junit, page] = ["j.json", "j.xml", "j.html"].map(|name| bed.cluster.root().join(name));
    let paths = [&journal, &junit, &page].map(|path| path.to_string_lossy().into_owned());
    let told = bed.chaos(&[
        "run",
        &file.to_string_lossy(),
        "--writes",
        "--journal",
        &paths[0],
        "--junit",
        &paths[1],
        "--html",
        &paths[2],
    ]);
    assert_eq!(told.code, 0, "{told:?}");
    let journal: Value = serde_json::from_str(&fs::read_to_string(journal).expect("a journal")).expect("JSON");
    assert_eq!((&journal["status"], &journal["deviated"]), (&"completed".into(), &false.into()));
    assert_eq!(journal["steady_states"]["after"]["steady_state_met"], true);
    let ours = &journal["taffeta"];
    assert!(ours["faults"][0]["undone_s"].as_f64().is_some_and(|s| s >= 12.0), "{}", ours["faults"]);
    assert!(ours["full_strength_s"].as_f64().is_some(), "its tasks were away: {told:?}");
    assert!(ours["writes"]["acknowledged"].as_u64().is_some_and(|n| n > 20), "{}", ours["writes"]);
    assert_eq!(ours["writes"]["violations"], Value::Array(vec![]));
    assert!(ours["requests"]["page"]["right"].as_u64().is_some_and(|n| n > 50), "{}", ours["requests"]);
    assert!(fs::read_to_string(junit).expect("JUnit").contains("failures=\"0\""));
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.contains("<svg") && page.contains("kill-machine at n"), "{page}");
    assert_eq!(bed.on(), Vec::<String>::new());
    bed.whole();
    let apps = get(bed.cluster.machines[0].http(), "/v1/apps").expect("an answer").1;
    assert!(!apps.contains("chaos-writes"), "what clients wrote to is removed: {apps}");
}

#[test]
fn no_secret_is_in_a_report_or_on_the_terminal() {
    let _company = in_company();
    let bed = Bed::three();
    let text = "
title: test of ${token}
secrets: {api: {token: hush-literal, other: {type: env, key: CHAOS_TEST_SECRET}, spare: {type: env, key: NONE, default: hush-default}}}
method:
- type: probe
  name: echo ${other}
  tolerance: {type: regex, target: stdout, pattern: nothing}
  provider: {type: process, path: echo, arguments: ['${token}', '${other}', '${spare}']}
- type: probe
  name: ask
  tolerance: 200
  provider: {type: http, url: 'http://user:${token}@127.0.0.1:1/${other}', arguments: {token: '${token}'}}
";
    let file = bed.file("secret.yaml", text);
    let paths = ["s.json", "s.xml", "s.html"].map(|name| bed.cluster.root().join(name).to_string_lossy().into_owned());
    let mut command = bed.command(&["run", &file.to_string_lossy(), "--no-load"]);
    command.args(["--journal", &paths[0], "--junit", &paths[1], "--html", &paths[2]]);
    let told = printed(command.env("CHAOS_TEST_SECRET", "hush from outside").output().expect("the binary runs"));
    assert_eq!(told.code, 1, "{told:?}");
    let reports = paths.map(|path| fs::read_to_string(path).expect("a report"));
    for text in reports.iter().chain([&told.stdout, &told.stderr]) {
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(reports.iter().all(|report| report.contains("echo ***")), "{reports:?}");
    let journal: Value = serde_json::from_str(&reports[0]).expect("JSON");
    assert_eq!(journal["run"][0]["output"]["stdout"], "*** *** ***\n", "{journal}");
    assert_eq!(journal["experiment"]["secrets"]["api"]["other"]["key"], "CHAOS_TEST_SECRET", "{journal}");
}

/// What stays for a few seconds at a machine that goes on. Together these are on at once.
const BESIDE: [(&str, &str, &str, f64); 11] = [
    ("a", "loss", "target: n3, fraction: 0.1, lasts: 20", 0.0),
    ("b", "delay", "target: n3, by: 20ms, jitter: 5ms, lasts: 20", 0.0),
    ("c", "duplicate", "target: n3, fraction: 0.2, lasts: 20", 0.0),
    ("k", "reorder", "target: n3, fraction: 0.1, peers: n1, lasts: 20", 0.0),
    ("d", "bandwidth", "target: n3, kbit-per-s: 8000, peers: n1, lasts: 20", 0.0),
    ("e", "clock", "target: n3, by: 90, lasts: 20", 0.0),
    ("f", "cpu", "target: n3, workers: 1, percent: 20, lasts: 20", 0.0),
    ("g", "memory", "target: n3, bytes: 1048576, lasts: 20", 0.0),
    ("h", "dns", "target: n3, fraction: 0.2, lasts: 20", 0.0),
    ("i", "drain", "target: n3, lasts: 20", 0.0),
    ("j", "disk-full", "target: n3, lasts: 20", 30.0),
];

#[test]
fn a_tool_that_is_killed_in_the_middle_of_any_fault_leaves_none_after_its_end() {
    let _company = in_company();
    let bed = Bed::three();
    let silent = ["kill", "stop", "pause", "partition"].map(|func| vec![("a", func, "target: n3, lasts: 5", 30.0)]);
    for actions in silent.into_iter().chain([BESIDE.to_vec()]) {
        bed.whole();
        let file = bed.file("killed.yaml", &experiment(&actions));
        let run = || bed.spawn(&["run", &file.to_string_lossy(), "--no-load"]);
        let mut tool = run();
        within(SOON, "all faults are on, or the machine is gone or cut off", || {
            if tool.try_wait().expect("a child").is_some() {
                // What refuses it, as a machine that has just come back and not caught up, passes.
                let refused = std::mem::replace(&mut tool, run()).wait_with_output().expect("it has ended");
                return Err(String::from_utf8_lossy(&refused.stderr).into_owned());
            }
            let status = bed.status();
            let gone = status["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(|n| n["answers"] == false));
            let faults = status["faults"].as_array().cloned().unwrap_or_default();
            let on = faults.iter().filter(|fault| fault["state"] == "active").count();
            let begun = if actions.len() > 1 { on >= actions.len() } else { gone || on > 0 };
            if begun { Ok(()) } else { Err(status.to_string()) }
        });
        signal(&tool, Signal::KILL);
        let _ = tool.wait();
        bed.chaos(&["status", "--wait"]).success();
        assert_eq!(bed.on(), Vec::<String>::new(), "{actions:?}");
    }
    bed.whole();
}

#[test]
fn ctrl_c_undoes_everything_at_once_and_ends_with_3() {
    let _company = in_company();
    let bed = Bed::three();
    let text = experiment(&[
        // Not a pause: whoever stands still hears of no end before its time.
        ("load it", "cpu", "target: one, except: leader, workers: 1, percent: 10, lasts: 600", 0.0),
        ("a", "dns", "target: n1, fraction: 0.1, lasts: 600", 600.0),
    ]);
    let with_rollback =
        text + "rollbacks:\n- {type: action, name: mark, provider: {type: process, path: touch, arguments: [MARK]}}\n";
    let mark = bed.cluster.root().join("rolled-back");
    let file = bed.file("long.yaml", &with_rollback.replace("MARK", &mark.to_string_lossy()));
    let tool = bed.spawn(&["run", &file.to_string_lossy(), "--no-load"]);
    bed.wait_for_faults(1);
    signal(&tool, Signal::INT);
    let told = printed(tool.wait_with_output().expect("it ends"));
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains("aborted") && told.stderr.contains("ended by a person"), "{told:?}");
    assert_eq!(bed.on(), Vec::<String>::new(), "undone long before its end");
    assert!(mark.exists(), "rollbacks run always");
    bed.whole();
}

#[test]
fn a_run_whose_method_is_over_is_aborted_as_well_while_its_faults_are_on() {
    let _company = in_company();
    let bed = Bed::three();
    let file = bed.file("over.yaml", &experiment(&[("slow", "dns", "target: n2, fraction: 0.1, lasts: 600", 0.0)]));
    let [log, journal] = ["over.log", "over.json"].map(|name| bed.cluster.root().join(name));
    for by_hand in [true, false] {
        let mut command = bed.command(&["run", &file.to_string_lossy(), "--no-load"]);
        command.arg("--journal").arg(&journal).stdout(Stdio::null());
        command.stderr(fs::File::create(&log).expect("a file"));
        let mut tool = command.spawn().expect("the binary starts");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        within(SOON, "the method has ended", || if said().contains("slow: at n2") { Ok(()) } else { Err(said()) });
        if by_hand {
            signal(&tool, Signal::INT);
        } else {
            bed.chaos(&["stop", "--all", "--reason", "a sale"]).success();
        }
        let ended = tool.wait().expect("it ends");
        assert_eq!(ended.code(), Some(3), "{}", said());
        let why = if by_hand { "ended by a person" } else { "a sale" };
        assert!(said().contains("aborted") && said().contains(why), "{}", said());
        assert_eq!(bed.on(), Vec::<String>::new(), "undone long before its end");
        let told: Value = serde_json::from_str(&fs::read_to_string(&journal).expect("a journal")).expect("JSON");
        assert_eq!((&told["status"], &told["run"][0]["status"]), (&"aborted".into(), &"succeeded".into()), "{told}");
        bed.chaos(&["allow"]).success();
    }
    bed.whole();
}

#[test]
fn what_a_run_was_at_when_it_was_aborted_is_in_its_journal_and_rollbacks_go_on_after_one_that_is_refused() {
    let _company = in_company();
    let bed = Bed::three();
    let text = experiment(&[("a", "dns", "target: n2, fraction: 0.1, lasts: 600", 0.0)])
        + "- {type: probe, name: wait, provider: {type: process, path: sleep, arguments: [600], timeout: 900}}\n"
        + "rollbacks:\n- {type: action, name: strike, provider: {type: taffeta, func: dns, arguments: {target: n3, fraction: 0.1, lasts: 1}}}\n"
        + "- {type: action, name: mark, provider: {type: process, path: touch, arguments: [MARK]}}\n";
    let [mark, journal, log] = ["marked", "cut.json", "cut.log"].map(|name| bed.cluster.root().join(name));
    let file = bed.file("cut.yaml", &text.replace("MARK", &mark.to_string_lossy()));
    let mut command = bed.command(&["run", &file.to_string_lossy(), "--no-load"]);
    command.arg("--journal").arg(&journal).stdout(Stdio::null());
    command.stderr(fs::File::create(&log).expect("a file"));
    let mut tool = command.spawn().expect("the binary starts");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    within(SOON, "the first action has ended", || if said().contains("a: at n2") { Ok(()) } else { Err(said()) });
    bed.chaos(&["stop", "--all", "--reason", "a sale"]).success();
    let ended = tool.wait().expect("it ends");
    assert_eq!(ended.code(), Some(3), "{}", said());
    let told: Value = serde_json::from_str(&fs::read_to_string(&journal).expect("a journal")).expect("JSON");
    let said = |list: &str, index: usize| told[list][index]["status"].clone();
    assert_eq!((said("run", 0), said("run", 1)), ("succeeded".into(), "aborted".into()), "{told}");
    assert_eq!((said("rollbacks", 0), said("rollbacks", 1)), ("failed".into(), "succeeded".into()), "{told}");
    assert!(mark.exists(), "it comes after the one that was refused");
    bed.chaos(&["allow"]).success();
    bed.whole();
}

#[test]
fn stop_all_ends_a_run_and_blocks_the_next_until_it_is_allowed() {
    let _company = in_company();
    let bed = Bed::three();
    let text = experiment(&[("a", "dns", "target: n2, fraction: 0.1, lasts: 600", 600.0)]);
    let file = bed.file("long.yaml", &text);
    let tool = bed.spawn(&["run", &file.to_string_lossy(), "--no-load"]);
    bed.wait_for_faults(1);
    bed.chaos(&["stop", "--all", "--reason", "a sale"]).success();
    assert_eq!(bed.on(), Vec::<String>::new());
    let told = printed(tool.wait_with_output().expect("it ends"));
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains("a sale"), "{told:?}");
    let next = bed.chaos(&["run", &file.to_string_lossy()]);
    assert_eq!(next.code, 2, "{next:?}");
    assert!(next.stderr.contains("faults are blocked") && next.stderr.contains("a sale"), "{next:?}");
    bed.chaos(&["allow"]).success();
    within(SOON, "all have heard that it is allowed", || {
        let plan = bed.chaos(&["plan", &file.to_string_lossy()]);
        if plan.code == 0 { Ok(()) } else { Err(plan.stderr) }
    });
    // And one by its id.
    let begun = bed
        .chaos(&["inject", "dns", "--target", "n2", "--fraction", "0.1", "--lasts", "5m", "-o", "json"])
        .success()
        .json();
    bed.chaos(&["stop", begun[0]["id"].as_str().expect("an id")]).success();
    assert_eq!(bed.on(), Vec::<String>::new());
}

#[test]
fn a_stop_that_takes_the_quorum_is_refused_and_done_and_undone_when_that_is_allowed() {
    let _company = in_company();
    let bed = Bed::three();
    let stop = ["inject", "stop", "--target", "majority", "--except", "n1", "--lasts", "15", "-o", "json"];
    let refused = bed.chaos(&stop);
    assert_eq!(refused.code, 3, "{refused:?}");
    let why = "the quorum would break: 1 of 3 voters would be left, 2 are needed";
    assert!(refused.stderr.contains(why) && refused.stderr.contains("--allow-quorum-loss"), "{refused:?}");
    let file = bed.file("stop.yaml", &experiment(&[("a", "stop", "target: majority, lasts: 6", 0.0)]));
    let refused = bed.chaos(&["run", &file.to_string_lossy()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("the quorum would break: 1 of 3 voters would be left"), "{refused:?}");
    assert_eq!(bed.status()["faults"], Value::Array(vec![]), "nothing was injected");
    let begun = bed.chaos(&[&stop[..], &["--allow-quorum-loss"]].concat()).success().json();
    assert_eq!(begun.as_array().map(Vec::len), Some(2), "{begun}");
    within(SOON, "nothing can be written", || {
        let told = bed.chaos(&["probe", "quorum", "--tolerance", "false"]);
        if told.code == 0 { Ok(()) } else { Err(told.stderr) }
    });
    bed.chaos(&["status", "--wait"]).success();
    assert_eq!(bed.on(), Vec::<String>::new());
    bed.whole();
}

/// The agent that holds a machine's folder now.
fn agent(bed: &Bed, machine: usize) -> i32 {
    let text =
        fs::read_to_string(bed.cluster.machines[machine].data.join("chaos/agent.json")).expect("it has opted in");
    let agent: Value = serde_json::from_str(&text).expect("JSON");
    agent["process"]["pid"].as_i64().expect("a number") as i32
}

#[test]
fn a_power_cut_of_all_kills_all_in_the_same_moment_and_all_come_back() {
    let _alone = alone();
    let bed = Bed::three();
    let agents = [0, 1, 2].map(|machine| agent(&bed, machine));
    let watch = std::thread::spawn(move || {
        let mut deaths = [None; 3];
        let begun = Instant::now();
        while deaths.iter().any(Option::is_none) && begun.elapsed() < SOON {
            for (death, pid) in deaths.iter_mut().zip(agents) {
                if death.is_none() && hurt::state_of(pid as u32).is_none() {
                    *death = Some(begun.elapsed());
                }
            }
            std::thread::sleep(Duration::from_millis(2)); // a look at three files
        }
        deaths
    });
    let told = bed.chaos(&["inject", "kill", "--target", "all", "--lasts", "5", "--allow-quorum-loss", "-o", "json"]);
    let deaths = watch.join().expect("it looks").map(|death| death.expect("each agent is dead"));
    let (first, last) = (deaths.iter().min().expect("three"), deaths.iter().max().expect("three"));
    eprintln!("the last died {:?} after the first", *last - *first);
    assert!(*last - *first < Duration::from_millis(1_000), "{deaths:?}");
    assert_eq!(told.success().json().as_array().map(Vec::len), Some(3));
    within(SOON, "one of them answers again", || {
        let told = bed.chaos(&["status"]);
        if told.code == 0 { Ok(()) } else { Err(told.stderr) }
    });
    bed.chaos(&["status", "--wait"]).success();
    bed.whole();
}

/// Kills all keepers of a machine, until there is none.
fn kill_keepers(bed: &Bed, machine: usize) {
    within(SOON, "no keeper is left", || {
        let left = hurt::keepers(&bed.cluster.machines[machine].data);
        left.iter().for_each(|pid| hurt::signal(*pid, Signal::KILL));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn healing_that_nobody_confirms_ends_with_5_and_says_where() {
    let _company = in_company();
    let mut bed = Bed::three();
    let paused = agent(&bed, 1);
    let text = experiment(&[("freeze it", "pause", "target: n2, lasts: 10", 0.0)])
        + "extensions:\n- {name: taffeta, heal: 1, confirm: 4}\n";
    let file = bed.file("lost.yaml", &text);
    let [journal, junit] = ["lost.json", "lost.xml"].map(|name| bed.cluster.root().join(name));
    let paths = [&journal, &junit].map(|path| path.to_string_lossy().into_owned());
    let tool = bed.spawn(&["run", &file.to_string_lossy(), "--no-load", "--journal", &paths[0], "--junit", &paths[1]]);
    within(SOON, "n2 stands still", || match hurt::state_of(paused as u32) {
        Some('T') => Ok(()),
        state => Err(format!("{state:?}")),
    });
    // With them nobody is left who could let it go on.
    kill_keepers(&bed, 1);
    let told = printed(tool.wait_with_output().expect("it ends"));
    assert_eq!(told.code, 5, "{told:?}");
    for words in ["healing not confirmed", "pause at n2", "nobody confirms that it is undone", "chaos status"] {
        assert!(told.stderr.contains(words), "expected {words}: {told:?}");
    }
    let journal: Value = serde_json::from_str(&fs::read_to_string(journal).expect("a journal")).expect("JSON");
    assert_eq!(
        (&journal["status"], &journal["taffeta"]["verdict"]),
        (&"failed".into(), &"healing not confirmed".into())
    );
    assert_eq!(journal["taffeta"]["faults"][0]["undone_s"], Value::Null, "{}", journal["taffeta"]["faults"]);
    assert!(fs::read_to_string(junit).expect("JUnit").contains("nobody confirms that it is undone"));

    // Whoever asks is told so, however long after, and whoever stops it hears that it is not stopped.
    let waited = bed.chaos(&["status", "--wait", "--confirm", "1s"]);
    assert_eq!(waited.code, 5, "{waited:?}");
    assert!(waited.stderr.contains("n2 does not answer"), "{waited:?}");
    let status = bed.status();
    let id = status["faults"][0]["id"].as_str().unwrap_or_else(|| panic!("n1 has heard of it: {status}")).to_owned();
    let run = status["faults"][0]["run"].as_str().expect("a name").to_owned();
    for stop in [vec!["stop", id.as_str()], vec!["stop", "--run", &run], vec!["stop", "--all", "--reason", "lost"]] {
        let stopped = bed.chaos(&stop);
        assert_eq!(stopped.code, 5, "{stop:?}: {stopped:?}");
        assert!(stopped.stderr.contains("it is not confirmed that all is undone") && stopped.stderr.contains("n2"));
    }
    bed.chaos(&["allow"]).success();
    within(SOON, "nobody holds it for undone", || {
        let fault = bed.status()["faults"][0].clone();
        let lost = fault["state"] == "not-undone" && fault["error"].to_string().contains("has not said");
        if lost { Ok(()) } else { Err(fault.to_string()) }
    });

    // As soon as the node goes on, it takes it back by itself.
    hurt::signal(paused, Signal::CONT);
    bed.chaos(&["status", "--wait"]).success();
    assert_eq!(bed.on(), Vec::<String>::new());
    bed.whole();

    // A machine that is dead with its keepers: only when it was started by hand it is healed.
    bed.chaos(&["inject", "kill", "--target", "n2", "--lasts", "10"]).success();
    within(SOON, "n2 is dead", || {
        let left = hurt::state_of(paused as u32);
        if left.is_none() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    kill_keepers(&bed, 1);
    let waited = bed.chaos(&["status", "--wait", "--confirm", "1s"]);
    assert_eq!(waited.code, 5, "{waited:?}");
    assert!(waited.stderr.contains("kill-machine at n2 (its machine has not said"), "{waited:?}");
    bed.cluster.machines[1].kill_agent(); // it is dead, and its number may be another's
    bed.cluster.machines[1].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.chaos(&["status", "--wait"]).success();
    assert_eq!(bed.on(), Vec::<String>::new());
    bed.whole();
}

#[test]
fn a_plan_of_the_simulator_is_performed_by_it_and_by_real_nodes() {
    let _company = in_company();
    let bed = Bed::three();
    let plan = r#"{"faults": [
        {"at_ms": 200, "lasts_ms": 1500, "target": "one", "fault": {"delay": {"by_ms": 30}}},
        {"at_ms": 600, "lasts_ms": 1500, "target": "n2", "fault": "pause"}
    ]}"#;
    let file = bed.file("plan.json", plan);
    let path = file.to_string_lossy();
    let mut simulated = Command::new(binary());
    simulated.args(["chaos", "sim", "--seed", "1", "--minutes", "0.1", "--plan", &path]);
    assert_eq!(printed(simulated.output().expect("the binary runs")).code, 0);
    let told = bed.chaos(&["run", &path, "--no-load"]);
    assert_eq!(told.code, 0, "{told:?}");
    let other = bed.file("other.json", &plan.replace("\"pause\"", "\"wipe\""));
    let told = bed.chaos(&["run", &other.to_string_lossy()]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("other.json:3: faults[1]: the fault `wipe` is only simulated"), "{told:?}");
}

/// The stock Chaos Toolkit, in a folder of its own; `None`, said aloud, where it cannot be had.
fn chaos_toolkit(bed: &Bed) -> Option<PathBuf> {
    let folder = bed.cluster.root().join("venv");
    let quiet = |command: &mut Command| command.stdin(Stdio::null()).output();
    let made = quiet(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let pip = folder.join("bin/pip");
    let installed = match made {
        Ok(made) if made.status.success() => {
            quiet(Command::new(&pip).args(["install", "-q", "--timeout", "10", "chaostoolkit"]))
        }
        Ok(made) => Ok(made),
        Err(e) => Err(e),
    };
    match installed {
        Ok(output) if output.status.success() && pip.exists() => Some(folder.join("bin/chaos")),
        Ok(output) => {
            eprintln!("SKIPPED: the Chaos Toolkit cannot be installed: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(e) => {
            eprintln!("SKIPPED: the Chaos Toolkit cannot be installed: {e}");
            None
        }
    }
}

#[test]
fn the_stock_chaos_toolkit_runs_what_is_exported() {
    let _company = in_company();
    let bed = Bed::three();
    let Some(toolkit) = chaos_toolkit(&bed) else { return };
    let text = experiment(&[("pause it", "pause", "target: one, except: leader, lasts: 3", 8.0)]);
    let file = bed.file("pause.yaml", &text);
    let program = binary().to_string_lossy().into_owned();
    let exported = bed.chaos(&["export", &file.to_string_lossy(), "--program", &program]).success().stdout;
    assert!(!exported.contains("\"taffeta\","), "no provider of ours is left: {exported}");
    bed.file("exported.json", &exported);
    let toolkit = |args: &[&str]| {
        let mut command = Command::new(&toolkit);
        command.current_dir(bed.cluster.root()).args(["--no-version-check"]).args(args).stdin(Stdio::null());
        let output = printed(command.env_remove("TAFFETA_API").output().expect("it runs"));
        assert_eq!(output.code, 0, "{output:?}");
    };
    toolkit(&["validate", "exported.json"]);
    toolkit(&["run", "--journal-path", "journal.json", "exported.json"]);
    let journal = fs::read_to_string(bed.cluster.root().join("journal.json")).expect("a journal");
    let journal: Value = serde_json::from_str(&journal).expect("JSON");
    assert_eq!((&journal["status"], &journal["deviated"]), (&"completed".into(), &false.into()), "{journal}");
    assert!(journal["run"].as_array().is_some_and(|run| run.iter().all(|r| r["output"]["status"] == 0)), "{journal}");
    let struck = bed.status();
    let ours =
        struck["faults"].as_array().expect("a list").iter().any(|f| f["run"] == "test" && f["state"] == "undone");
    assert!(ours, "a node was really struck: {struck}");
    bed.whole();
}
