use super::{Limits, Plan};
use crate::{
    fleet::Fleet,
    format::{Experiment, Given},
    targets::tests::fleet,
};
use taffeta_chaos_plan::Fault;
use taffeta_node::api::{ChaosBlockView, FaultState, FaultView};

fn experiment(actions: &[(&str, &str, &str)]) -> Experiment {
    let action = |(name, func, arguments): &(&str, &str, &str)| {
        format!(
            "- {{type: action, name: {name}, provider: {{type: taffeta, func: {func}, arguments: {{{arguments}}}}}, pauses: {{after: 2}}}}\n"
        )
    };
    let text = format!("title: t\nmethod:\n{}", actions.iter().map(action).collect::<String>());
    Experiment::read(&text, "x.yaml", &Given::default()).unwrap()
}

fn plan(actions: &[(&str, &str, &str)], fleet: &Fleet) -> Plan {
    Plan::new(&experiment(actions), fleet, 1, Limits::default())
}

#[test]
fn faults_that_are_on_together_are_counted_together() {
    let together = plan(&[("a", "kill", "target: n1, lasts: 5"), ("b", "kill", "target: n2, lasts: 5")], &fleet());
    assert!(together.breaks_quorum);
    assert!(together.refusals[0].starts_with("b: the quorum would break: 1 of 3 voters would be left, 2 are needed"));
    assert_eq!(together.strikes[1].at_s, 2.0);
    let apart = plan(&[("a", "kill", "target: n1, lasts: 1"), ("b", "kill", "target: n2, lasts: 5")], &fleet());
    assert_eq!((apart.breaks_quorum, apart.refusals.len()), (false, 0), "{:?}", apart.refusals);
    let by_turns = plan(&[("a", "stop", "target: voters, lasts: 1, one-by-one: true")], &fleet());
    assert!(by_turns.refusals.is_empty(), "{:?}", by_turns.refusals);
    assert_eq!(by_turns.strikes[0].hits.len(), 3);
}

#[test]
fn a_person_may_allow_the_quorum_to_break() {
    let all = experiment(&[("a", "kill", "target: voters, lasts: 5")]);
    assert!(Plan::new(&all, &fleet(), 1, Limits::default()).breaks_quorum);
    let allowed = Plan::new(&all, &fleet(), 1, Limits { allow_quorum_loss: true });
    assert_eq!(allowed.refusals, Vec::<String>::new());
    assert_eq!(allowed.strikes[0].blast.votes.left, 0);
}

#[test]
fn who_has_not_opted_in_or_cannot_is_refused_and_a_block_refuses_all() {
    let mut fleet = fleet();
    fleet.machines.get_mut("n4").unwrap().chaos = false;
    let refused = plan(&[("a", "kill", "target: n4, lasts: 5")], &fleet);
    assert!(refused.refusals[0].starts_with("a: n4: it has not opted in"), "{:?}", refused.refusals);
    let unknown = plan(&[("a", "clock", "target: n1, by: 5, lasts: 5")], &fleet);
    assert_eq!(unknown.refusals, ["a: n1: it does not know the fault `clock-offset`"]);
    fleet.blocked = Some(ChaosBlockView { by: "n1".into(), at: "now".into(), reason: "sale".into() });
    let blocked = plan(&[("a", "kill", "target: n1, lasts: 5")], &fleet);
    assert_eq!(blocked.refusals, ["faults are blocked since now (n1): sale; `taffeta chaos allow` lifts it"]);
}

#[test]
fn what_others_have_broken_counts_as_well() {
    let mut fleet = fleet();
    fleet.faults.push(FaultView {
        id: "a".into(),
        run: "other".into(),
        node: "n1".into(),
        fault: Fault::Pause,
        backend: "signal".into(),
        commands: vec![],
        peers: vec![],
        task: None,
        begun_at: String::new(),
        ends_at: String::new(),
        state: FaultState::Active,
        error: None,
    });
    assert!(plan(&[("a", "kill", "target: n2, lasts: 5")], &fleet).breaks_quorum);
    fleet.faults[0].state = FaultState::Undone;
    assert!(!plan(&[("a", "kill", "target: n2, lasts: 5")], &fleet).breaks_quorum);
}

#[test]
fn who_refers_to_a_draw_strikes_the_same() {
    let text = "title: t\nmethod:\n- {type: action, name: a, provider: {type: taffeta, func: kill, arguments: {target: one, except: voters, lasts: 1}}, pauses: {after: 5}}\n- ref: a\n";
    let experiment = Experiment::read(text, "x.yaml", &Given::default()).unwrap();
    let plan = Plan::new(&experiment, &fleet(), 1, Limits::default());
    let struck: Vec<&str> = plan.strikes.iter().map(|strike| strike.hits[0].node.as_str()).collect();
    assert_eq!(struck, ["n4", "n4"]);
}
