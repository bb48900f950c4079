//! Data that stays on a machine, and machines that are drained by the clock, seen from outside, with real processes.

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{alone, binary};
use taffeta_harness::{Cluster, within};

/// How long a decision may take until it is seen; of a death it has to be told first.
const SOON: Duration = Duration::from_secs(40);

fn three() -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster
}

/// Deploys a task that notes each of its runs in its volume; it may be on any machine but `n1`, which is asked.
fn deploy(cluster: &Cluster, version: u32) {
    let path = cluster.root().join("shop.toml");
    let text = format!(
        "app = \"shop\"\n[service.db]\n\
         run = [\"sh\", \"-c\", \"echo $$TAFFETA_VOLUME_DATA $$VERSION >> data/runs; exec sleep 600\"]\n\
         env = {{ VERSION = \"{version}\" }}\ncpus = 0.01\nmemory = \"16MiB\"\nreschedule_after = \"10s\"\n\
         constraints = [\"hostname UNLIKE n1\"]\nvolume = {{ name = \"data\", size = \"1MiB\" }}\n"
    );
    fs::write(&path, text).expect("a file");
    cluster.machines[0].run(&["deploy", &path.to_string_lossy()]).success();
}

/// Folders of the task's volume on a machine.
fn folders(cluster: &Cluster, machine: usize) -> Vec<PathBuf> {
    let all = cluster.machines[machine].data.join("volumes/shop/db.1");
    fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Versions of the runs that were noted in the only volume that is on the machine; each must name its folder.
fn runs(cluster: &Cluster, machine: usize) -> Result<Vec<String>, String> {
    let all = folders(cluster, machine);
    let [folder] = all.as_slice() else { return Err(format!("{all:?}")) };
    let text = fs::read_to_string(folder.join("runs")).map_err(|e| e.to_string())?;
    let version = |line: &str| {
        let (named, version) = line.split_once(' ')?;
        (Path::new(named) == fs::canonicalize(folder).ok()?).then(|| version.to_owned())
    };
    text.lines().map(|line| version(line).ok_or_else(|| line.to_owned())).collect()
}

fn wait_runs(cluster: &Cluster, machine: usize, wanted: &[&str]) {
    within(SOON, &format!("{wanted:?} have run there"), || match runs(cluster, machine)? {
        runs if runs == wanted => Ok(()),
        runs => Err(format!("{runs:?}; {}", cluster.machines[0].run(&["why", "shop/db.1"]).stdout)),
    });
}

/// Position of the machine that the task runs on.
fn wait_running(cluster: &Cluster) -> usize {
    within(SOON, "the task runs", || {
        let task = cluster.machines[0].try_json(&["ps", "shop"])?[0].clone();
        match (task["state"].as_str(), task["node"].as_str()) {
            (Some("running"), Some(node)) => Ok(cluster.index(node)),
            _ => Err(task.to_string()),
        }
    })
    .0
}

fn volumes(cluster: &Cluster) -> Result<Value, String> {
    cluster.machines[0].try_json(&["volume", "list"])
}

#[test]
fn data_outlives_the_death_of_its_machine_a_stop_and_an_update() {
    let _alone = alone();
    let mut cluster = three();
    deploy(&cluster, 1);
    let machine = wait_running(&cluster);
    wait_runs(&cluster, machine, &["1"]);
    let name = cluster.machines[machine].name.clone();

    cluster.machines[machine].kill_agent();
    cluster.machines[machine].up_again();
    cluster.wait_ready();
    wait_runs(&cluster, machine, &["1"]); // only the node has died: the task has gone on

    cluster.machines[machine].kill();
    cluster.machines[machine].up_again();
    wait_runs(&cluster, machine, &["1", "1"]);

    cluster.machines[0].run(&["stop", "shop"]).success();
    within(SOON, "nobody uses it", || match volumes(&cluster)?[0].clone() {
        volume if volume["state"] == "kept" && volume["node"] == name => Ok(()),
        volume => Err(volume.to_string()),
    });
    deploy(&cluster, 2);
    wait_runs(&cluster, machine, &["1", "1", "2"]);
    deploy(&cluster, 3);
    wait_runs(&cluster, machine, &["1", "1", "2", "3"]);
    assert_eq!(wait_running(&cluster), machine);

    let in_use = cluster.machines[0].run(&["volume", "remove", "shop/db.1", "--yes"]);
    assert!(in_use.code == 3 && in_use.stderr.contains("`shop/db.1` is there and uses it"), "{in_use:?}");
    let drained = cluster.machines[0].run(&["drain", &name, "--wait", "--timeout", "20s"]);
    assert!(drained.stderr.contains(&format!("their data keeps these on {name}: shop/db.1")), "{drained:?}");
    within(SOON, "it says why it stays", || {
        let why = cluster.machines[0].run(&["why", "shop/db.1"]).stdout;
        let stays = "stays on a machine that is drained, as its volume `data` is there";
        if why.contains(stays) { Ok(()) } else { Err(why) }
    });
    cluster.machines[0].run(&["stop", "shop"]).success();
    let told = cluster.machines[0].run(&["volume", "remove", "shop/db.1"]);
    assert!(told.code == 3 && told.stderr.contains("this would lose the volume `data` of shop/db.1"), "{told:?}");
    assert_eq!(folders(&cluster, machine).len(), 1);
    cluster.machines[0].run(&["volume", "remove", "shop/db.1", "--yes"]).success();
    within(SOON, "the data is gone", || match folders(&cluster, machine) {
        none if none.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(volumes(&cluster), Ok(json!([])));
}

#[test]
fn after_a_loss_the_operator_lets_it_begin_anew_and_the_old_copy_goes_when_its_machine_is_back() {
    let _alone = alone();
    let mut cluster = three();
    deploy(&cluster, 1);
    let lost = wait_running(&cluster);
    wait_runs(&cluster, lost, &["1"]);
    let (name, other) = (cluster.machines[lost].name.clone(), 3 - lost);
    cluster.machines[lost].kill();
    let wanted = format!(
        "its volume `data` is on {name}, which is down; it waits for it, or `taffeta volume reset shop/db.1 --yes` starts \
         it empty elsewhere"
    );
    within(SOON, "it waits for its machine", || {
        let why = cluster.machines[0].run(&["why", "shop/db.1"]).stdout;
        if why.contains(&wanted) { Ok(()) } else { Err(why) }
    });
    let told = cluster.machines[0].run(&["volume", "reset", "shop/db.1"]);
    assert!(told.code == 3 && told.stderr.contains(&format!("1MiB on {name}, awaited by its task")), "{told:?}");
    cluster.machines[0].run(&["volume", "reset", "shop/db.1", "--yes"]).success();
    assert_eq!(wait_running(&cluster), other);
    wait_runs(&cluster, other, &["1"]);
    assert_eq!(folders(&cluster, lost).len(), 1, "nobody could tell the dead machine");

    cluster.machines[lost].up_again();
    within(SOON, "the old copy goes", || match folders(&cluster, lost) {
        none if none.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(wait_running(&cluster), other);
    assert_eq!(runs(&cluster, other), Ok(vec!["1".to_owned()]), "the new one has stayed");
}

#[test]
fn a_window_that_is_open_drains_a_machine_and_its_end_gives_it_back() {
    let _alone = alone();
    let cluster = three();
    let path = cluster.root().join("web.toml");
    let text = "app = \"web\"\n[service.web]\ncount = 3\nrun = [\"sleep\", \"600\"]\ncpus = 0.01\nmemory = \"8MiB\"\n";
    fs::write(&path, text).expect("a file");
    cluster.machines[0].run(&["deploy", &path.to_string_lossy()]).success();
    let on = |wanted: usize| {
        within(SOON, &format!("n2 has {wanted}"), || {
            let nodes = cluster.machines[0].try_json(&["nodes"])?;
            let n2 = nodes.as_array().into_iter().flatten().find(|node| node["name"] == "n2").cloned();
            match n2 {
                Some(node) if node["tasks"] == wanted => Ok(node),
                node => Err(format!("{node:?}")),
            }
        })
        .0
    };
    assert_eq!(on(1)["maintained_until"], Value::Null);
    // Each minute for a minute: it is always open.
    cluster.machines[2].run(&["maintenance", "n2", "--schedule", "* * * * *", "--for", "1m"]).success();
    let drained = on(0);
    assert!(drained["state"] == "draining" && drained["maintained_until"].is_string(), "{drained}");
    let listed = cluster.machines[2].try_json(&["maintenance"]).expect("windows");
    assert_eq!((&listed[0]["node"], &listed[0]["seconds"]), (&json!("n2"), &json!(60)), "{listed}");
    cluster.machines[2].run(&["maintenance", "n2", "--off"]).success();
    cluster.machines[0].run(&["scale", "web/web", "4"]).success();
    assert_eq!(on(1)["state"], "alive");
    for (schedule, zone, word) in [
        ("0 25 * * *", "UTC", "25"),
        ("0 2 * * 0", "Europe/Atlantis", "Europe/Atlantis"),
        ("0 2 30 2 *", "UTC", "it never fires"),
    ] {
        let wrong =
            cluster.machines[0].run(&["maintenance", "n2", "--schedule", schedule, "--zone", zone, "--for", "2h"]);
        assert!(wrong.code == 2 && wrong.stderr.contains(word), "{wrong:?}");
    }
    let long = cluster.machines[0].run(&["maintenance", "n2", "--schedule", "0 2 * * 0", "--for", "169h"]);
    assert!(long.code == 2 && long.stderr.contains("at most a week"), "{long:?}");
}
