//! A data folder of the last release is taken over; one of a newer is refused.

mod support;

use std::{fs, path::Path, time::Duration};
use support::{alone, binary};
use taffeta_harness::{Cluster, within};

/// As the last release left it: one node, the app `old` with a service and a batch job that has ended.
const OLD_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-v1");

#[test]
fn a_folder_of_the_last_release_is_converted_and_its_apps_go_on() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.adopt(Path::new(OLD_FOLDER));
    cluster.machines[0].up(&[]);
    cluster.wait_ready();
    let machine = &cluster.machines[0];
    let apps = machine.try_json(&["apps"]).expect("apps");
    assert_eq!((&apps[0]["app"], &apps[0]["version"]), (&"old".into(), &1.into()), "{apps}");
    within(Duration::from_secs(40), "its service runs, and what has ended does not run again", || {
        let tasks = machine.try_json(&["ps", "old"])?;
        let state = |service: &str| {
            let all = tasks.as_array().into_iter().flatten();
            all.filter(|t| t["service"] == service).map(|t| t["state"].clone()).collect::<Vec<_>>()
        };
        if (state("web"), state("once")) == (vec!["running".into()], vec!["finished".into()]) {
            Ok(())
        } else {
            Err(tasks.to_string())
        }
    });
    assert_eq!(machine.run(&["scale", "old/web", "0"]).success().code, 0);
    let token = machine.run(&["token", "create"]).success().stdout;
    assert!(!token.trim().is_empty());
    assert_eq!(fs::read_to_string(machine.data.join("format")).expect("the mark").trim(), "2");
    cluster.machines[0].terminate();
    cluster.machines[0].up_again();
    cluster.wait_ready();
}

#[test]
fn a_folder_of_a_newer_release_is_refused() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.adopt(Path::new(OLD_FOLDER));
    fs::write(cluster.machines[0].data.join("format"), "3").expect("a file");
    let output = cluster.machines[0].run(&["up", "--data", &cluster.machines[0].data.to_string_lossy()]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("newer version of taffeta") && output.stderr.contains("help: "),
        "{}",
        output.stderr
    );
}
