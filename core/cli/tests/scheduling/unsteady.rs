//! A machine that comes and goes is given less.

use super::{SOON, deploy, of, wait_spread};
use crate::support::in_company;
use serde_json::Value;
use taffeta_harness::{Cluster, within};

/// What one machine has to say of another.
fn seen(cluster: &Cluster, by: usize, name: &str) -> Result<Value, String> {
    let nodes = cluster.machines[by].try_json(&["nodes"])?;
    let found = nodes.as_array().into_iter().flatten().find(|node| node["name"] == name).cloned();
    found.ok_or_else(|| format!("no {name} in {nodes}"))
}

fn leader(cluster: &Cluster) -> Result<String, String> {
    let leader = cluster.machines[0].try_json(&["leader"])?;
    leader["name"].as_str().map(str::to_owned).ok_or_else(|| leader.to_string())
}

#[test]
fn a_machine_that_dies_three_times_is_chosen_last_and_taken_where_nothing_else_will_do() {
    let _turn = in_company();
    let mut cluster = of(&[&[], &[], &[]]);
    let web = |count: usize| format!("[service.web]\ncount = {count}\nSLEEP\ncpus = 0.01\n");
    deploy(&cluster, "before", &web(3));
    wait_spread(&cluster, "before", &[("n1", 1), ("n2", 1), ("n3", 1)], 0);
    cluster.machines[0].run(&["stop", "before"]).success();

    let (leads, _) = within(SOON, "somebody leads", || leader(&cluster));
    let lead = cluster.index(&leads);
    let victim = (1..3).rev().find(|i| *i != lead).expect("one that does not lead");
    let name = cluster.machines[victim].name.clone();
    let is = |cluster: &Cluster, alive: bool| {
        within(SOON, &format!("{name} is alive: {alive}"), || {
            let seen = seen(cluster, lead, &name)?;
            if (seen["state"] == "alive") == alive { Ok(()) } else { Err(seen.to_string()) }
        });
    };
    for _ in 0..3 {
        cluster.machines[victim].kill_agent();
        is(&cluster, false);
        cluster.machines[victim].up_again();
        cluster.wait_ready();
        is(&cluster, true);
    }
    // Another may have come to lead, who goes by what it has seen itself.
    within(SOON, "whoever leads takes it for unsteady", || {
        let seen = seen(&cluster, cluster.index(&leader(&cluster)?), &name)?;
        if seen["unsteady_until"].is_string() { Ok(()) } else { Err(seen.to_string()) }
    });

    // By spreading alone it would get one of them: see above.
    deploy(&cluster, "after", &web(4));
    let others: Vec<String> = cluster.machines.iter().map(|m| m.name.clone()).filter(|other| *other != name).collect();
    wait_spread(&cluster, "after", &[(others[0].as_str(), 2), (others[1].as_str(), 2)], 0);
    deploy(&cluster, "there", &format!("[service.web]\nSLEEP\ncpus = 0.01\nconstraints = [\"hostname IS {name}\"]\n"));
    wait_spread(&cluster, "there", &[(name.as_str(), 1)], 0);
    within(SOON, "the task says so of its machine", || {
        let why = cluster.machines[cluster.index(&leader(&cluster)?)].run(&["why", "there/web.1"]);
        let told = why.code == 0 && why.stdout.contains("went and came back several times lately");
        if told { Ok(()) } else { Err(format!("{why:?}")) }
    });
}
