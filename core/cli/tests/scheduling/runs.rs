//! Many short tasks at once: what becomes of each.

use super::{SOON, deploy, of, tasks};
use crate::support::in_company;
use serde_json::{Value, json};
use taffeta_harness::within;

const TASKS: i64 = 42;

/// An instance exits with the rest of its index divided by seven.
const SCRIPT: &str = "task=$TAFFETA_TASK; exit $((${task##*.} % 7))";

#[test]
fn each_task_of_a_parallel_run_keeps_the_code_that_it_exited_with() {
    let _turn = in_company();
    let cluster = of(&[&[], &[], &[]]);
    let limits = "parallel = 15\nretries = 0\ncpus = 0.01\nmemory = \"16MiB\"\n";
    let run = format!("run = [\"sh\", \"-c\", \"{SCRIPT}\"]");
    deploy(&cluster, "many", &format!("[batch.sum]\ncount = {TASKS}\n{run}\n{limits}"));
    let has_ended = |task: &&Value| task["state"] == "finished" || task["state"] == "failed";
    within(SOON * 3, "all have ended", || {
        let tasks = tasks(&cluster, "many")?;
        let ended = tasks.iter().filter(has_ended).count();
        if ended == tasks.len() && !tasks.is_empty() { Ok(()) } else { Err(format!("{ended} of {}", tasks.len())) }
    });
    let expected = |index: i64| {
        let code = index % 7;
        json!({ "index": index, "exit_code": code, "state": if code == 0 { "finished" } else { "failed" } })
    };
    let expected: Vec<Value> = (1..=TASKS).map(expected).collect();
    for machine in &cluster.machines {
        within(SOON, &format!("{} has heard of all", machine.name), || {
            let told = machine.try_json(&["ps", "many"])?.as_array().cloned().unwrap_or_default();
            let kept = |task: &Value| {
                let [index, code, state] = ["index", "exit_code", "state"].map(|key| task[key].clone());
                json!({ "index": index, "exit_code": code, "state": state })
            };
            let mut kept: Vec<Value> = told.iter().map(kept).collect();
            kept.sort_by_key(|task| task["index"].as_i64());
            if kept == expected { Ok(()) } else { Err(format!("{kept:?}")) }
        });
    }
}
