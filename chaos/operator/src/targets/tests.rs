use crate::{
    fleet::{Fleet, Machine, Task},
    format::{Experiment, Given},
    targets::Struck,
};
use std::collections::BTreeSet;

/// Five machines, three of which vote; n5 is dead. web/shop runs on n1, n4 and n5.
pub(crate) fn fleet() -> Fleet {
    let machine = |name: &str| Machine {
        zone: if name < "n3" { "a".into() } else { "b".into() },
        alive: name != "n5",
        chaos: true,
        backends: ["kill-machine", "partition", "stop", "disk-full", "loss"]
            .map(|fault| taffeta_node::api::ChaosBackendView {
                fault: fault.into(),
                backend: "signal".into(),
                refused: None,
            })
            .into(),
        ..Machine::default()
    };
    let task = |index: usize, node: &str| Task {
        id: format!("shop/web.{index}"),
        service: "web/shop".into(),
        node: node.into(),
        serves: true,
        at: None,
    };
    Fleet {
        machines: ["n1", "n2", "n3", "n4", "n5"].map(|name| (name.to_owned(), machine(name))).into(),
        leader: Some("n2".into()),
        voters: ["n1", "n2", "n3"].map(String::from).into(),
        quorum: true,
        tasks: vec![task(1, "n1"), task(2, "n4"), task(3, "n5")],
        wanted: [("web/shop".to_owned(), 3)].into(),
        ..Fleet::default()
    }
}

fn aim(arguments: &str, seed: u64) -> Result<Struck, String> {
    let text = format!(
        "title: t\nmethod: [{{type: action, name: a, provider: {{type: taffeta, func: partition, arguments: {{lasts: 1, {arguments}}}}}}}]"
    );
    let experiment = Experiment::read(&text, "x.yaml", &Given::default()).unwrap();
    let (activity, strike) = experiment.strikes().next().unwrap();
    strike.aim(&fleet(), seed, &activity.name, None)
}

fn nodes(arguments: &str, seed: u64) -> Vec<String> {
    aim(arguments, seed).unwrap().nodes
}

#[test]
fn parts_and_names_are_looked_up_among_the_living() {
    assert_eq!(nodes("target: leader", 1), ["n2"]);
    assert_eq!(nodes("target: voters", 1), ["n1", "n2", "n3"]);
    assert_eq!(nodes("target: voters, except: leader", 1), ["n1", "n3"]);
    assert_eq!(nodes("target: zone=a", 1), ["n1", "n2"]);
    assert_eq!(nodes("target: service=web/shop", 1), ["n1", "n4"]);
    assert_eq!(aim("target: n3", 1).unwrap().peers, ["n1", "n2", "n4", "n5"]);
}

#[test]
fn draws_follow_the_seed_and_spare_who_is_excepted() {
    assert_eq!(nodes("target: one", 7), nodes("target: one", 7));
    let drawn: BTreeSet<Vec<String>> = (0..64).map(|seed| nodes("target: one, except: leader", seed)).collect();
    assert_eq!(drawn, ["n1", "n4"].map(|name| vec![name.to_owned()]).into(), "those that run something");
    assert!(
        (0..64).all(|seed| nodes("target: minority", seed).len() == 1 && nodes("target: majority", seed).len() == 3)
    );
    assert_eq!(nodes("target: one, except: voters", 3), ["n4"]);
}

#[test]
fn nobody_to_strike_is_told_and_why() {
    assert_eq!(aim("target: n5", 1).unwrap_err(), "n5 is not alive");
    assert_eq!(aim("target: n9", 1).unwrap_err(), "there is no machine n9; known are n1, n2, n3, n4, n5");
    assert_eq!(aim("target: zone=x", 1).unwrap_err(), "zone=x: no machine of that zone is alive");
    assert_eq!(aim("target: leader, except: n2", 1).unwrap_err(), "leader: no leader is known");
    assert!(aim("target: majority, except: voters", 1).unwrap_err().contains("only 1 may be drawn"));
}

#[test]
fn who_was_drawn_before_is_struck_again_with_everybody_else_at_the_other_end() {
    let text = "title: t\nmethod: [{type: action, name: a, provider: {type: taffeta, func: partition, arguments: {lasts: 1, target: one}}}]";
    let experiment = Experiment::read(text, "x.yaml", &Given::default()).unwrap();
    let (_, strike) = experiment.strikes().next().unwrap();
    for seed in 0..8 {
        let again = strike.aim(&fleet(), seed, "a", Some(&["n3".to_owned()])).unwrap();
        assert_eq!(
            (again.nodes, again.peers),
            (vec!["n3".to_owned()], ["n1", "n2", "n4", "n5"].map(String::from).into())
        );
    }
    assert_eq!(strike.aim(&fleet(), 1, "a", Some(&["n5".to_owned()])).unwrap_err(), "n5 is not alive");
}
