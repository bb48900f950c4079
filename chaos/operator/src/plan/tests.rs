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
    fleet.machines.get_mut("n2").unwrap().backends.clear();
    let silent = plan(&[("a", "kill", "target: n2, lasts: 5")], &fleet);
    assert_eq!(silent.refusals, ["a: n2: it does not answer, and what can be done to it is not known"]);
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

#[test]
fn who_is_dead_by_then_is_struck_no_more_and_another_one_leads() {
    let twice = [("a", "kill", "target: leader, lasts: 30"), ("b", "kill", "target: leader, lasts: 30")];
    let twice = plan(&twice, &fleet());
    let struck: Vec<&str> = twice.strikes.iter().map(|strike| strike.hits[0].node.as_str()).collect();
    assert_eq!(struck, ["n2", "n1"]);
    assert_eq!(twice.strikes[0].supposed, None);
    assert_eq!(twice.strikes[1].supposed.as_deref(), Some("whoever leads then, as if that were n1"));
    assert!(twice.refusals[0].starts_with("b: the quorum would break: 1 of 3 voters"), "{:?}", twice.refusals);
    let same = plan(&[("a", "kill", "target: n4, lasts: 5"), ("b", "kill", "target: n4, lasts: 5")], &fleet());
    assert_eq!(same.refusals, ["b: n4 is not alive"]);
}

#[test]
fn what_goes_on_in_the_background_keeps_nobody_waiting_and_counts_when_it_begins() {
    let strike = |name: &str, more: &str, lasts: u32| {
        format!(
            "- {{type: action, name: {name}, provider: {{type: taffeta, func: kill, arguments: {{target: {name}, lasts: {lasts}}}}}{more}}}\n"
        )
    };
    let planned = |first: String, second: String| {
        let text = format!("title: t\nmethod:\n{first}{second}");
        Plan::new(&Experiment::read(&text, "x.yaml", &Given::default()).unwrap(), &fleet(), 1, Limits::default())
    };
    let later = || strike("n1", ", background: true, pauses: {before: 10, after: 10}", 5);
    let plan = planned(later(), strike("n2", "", 5));
    assert_eq!((plan.strikes[0].at_s, plan.strikes[1].at_s), (10.0, 0.0));
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    let plan = planned(later(), strike("n2", "", 12));
    assert!(plan.refusals[0].starts_with("n2: the quorum would break"), "{:?}", plan.refusals);
}

#[test]
fn rollbacks_begin_when_the_method_s_faults_are_over() {
    let action = |name: &str, lasts: u32| {
        format!(
            "[{{type: action, name: {name}, provider: {{type: taffeta, func: kill, arguments: {{target: n1, lasts: {lasts}}}}}}}]"
        )
    };
    let text = format!("title: t\nmethod: {}\nrollbacks: {}\n", action("a", 20), action("b", 1));
    let experiment = Experiment::read(&text, "x.yaml", &Given::default()).unwrap();
    let plan = Plan::new(&experiment, &fleet(), 1, Limits::default());
    assert_eq!((plan.strikes[1].at_s, plan.refusals.len()), (20.0, 0), "{:?}", plan.refusals);
}

#[test]
fn two_strikes_of_one_name_draw_each_for_itself() {
    let plan = plan(
        &[("a", "kill", "target: one, except: voters, lasts: 1"), ("a", "kill", "target: majority, lasts: 1")],
        &fleet(),
    );
    let struck: Vec<usize> = plan.strikes.iter().map(|strike| strike.hits.len()).collect();
    assert_eq!(struck, [1, 3]);
}
