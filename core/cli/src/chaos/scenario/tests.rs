use super::{Scenario, kinds, parse_plan};
use crate::{
    args::{Cli, Verb},
    chaos::{ChaosVerb, args::SimArgs},
};
use clap::Parser;
use taffeta_chaos_plan::FaultKind;

fn scenario(line: &str) -> Scenario {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let Verb::Chaos(ChaosVerb::Sim(SimArgs { flags, .. })) = cli.verb else { panic!("{line}") };
    Scenario::read(&flags).unwrap()
}

#[test]
fn the_command_that_repeats_a_run_asks_for_the_same() {
    for line in [
        "taffeta chaos sim --seed 9 --nodes 5 --minutes 5",
        "taffeta chaos sim --seed 9 --nodes 7 --minutes 0.1 --faults pause,loss --tick-ms 7",
        "taffeta chaos sim --seed 9 --nodes 3 --minutes 1440 --faults none",
    ] {
        let one = scenario(line);
        assert_eq!(one.repeat(9), line);
        assert_eq!(scenario(&one.repeat(10)).config(9), one.config(9));
    }
    assert!(scenario("taffeta chaos sim").allows_all());
    assert!(!scenario("taffeta chaos sim --faults pause").allows_all());
    let spaced = Scenario { plan: Some("it's a plan.json".into()), ..scenario("taffeta chaos sim") };
    assert!(spaced.repeat(1).ends_with(r"--plan 'it'\''s a plan.json'"), "{}", spaced.repeat(1));
}

#[test]
fn a_list_of_faults_names_known_kinds() {
    assert_eq!(kinds("all"), Ok(FaultKind::SIMULATED.into()));
    assert_eq!(kinds("none"), Ok([].into()));
    assert_eq!(kinds("pause, loss"), Ok([FaultKind::Pause, FaultKind::Loss].into()));
    let told = |list: &str| kinds(list).unwrap_err();
    let near = told("pause,kill");
    let help = "did you mean kill-agent, kill-machine?";
    assert_eq!(near.told(), (2, "--faults: unknown kind of fault `kill`", Some(help)));
    let far = told("boom");
    assert!(far.told().2.is_some_and(|help| help.contains("all, none") && help.contains("disk-full")), "{far:?}");
    assert!(told("pause,all").told().1.contains("stands alone"));
    assert!(told("pause,bandwidth").told().1.contains("does not know `bandwidth`"));
    assert_eq!((told("").told().0, told("pause,").told().0), (2, 2));
}

#[test]
fn what_is_wrong_with_a_plan_is_told_with_line_and_field() {
    let fault = |fields: &str| {
        format!("{{\"faults\": [\n{{\"at_ms\": 1, \"target\": \"n1\", \"fault\": \"pause\"}},\n{fields}]}}")
    };
    for (text, told) in [
        (String::new(), "line 1: EOF"),
        ("{\"faults\": []} x".into(), "line 1: trailing characters"),
        ("{}".into(), "line 1: missing field `faults`"),
        (fault("{\"at_ms\": \"soon\"}"), "line 3: faults[1].at_ms: invalid type: string \"soon\""),
        (fault("{\"at_ms\": 2, \"targets\": \"n1\"}"), "line 3: faults[1].targets: unknown field `targets`"),
        (fault("{\"at_ms\": 2, \"target\": \"n1\"}"), "line 3: faults[1]: missing field `fault`"),
        (fault("{\"at_ms\": 2, \"target\": \"N 1\", \"fault\": \"pause\"}"), "line 3: faults[1].target: `N 1` is not"),
        (
            fault("{\"at_ms\": 2, \"target\": \"n1\", \"fault\": {\"loss\": {\"fraction\": \"x\"}}}"),
            "line 3: faults[1].fault.loss.fraction: invalid type",
        ),
        (fault("{\"at_ms\": 2, \"target\": \"n1\", \"fault\": \"boom\"}"), "line 3: faults[1].fault"),
    ] {
        let e = parse_plan(&text).unwrap_err();
        assert!(e.starts_with(told), "{e}\nexpected {told}");
    }
    assert_eq!(parse_plan(&fault("{\"at_ms\":2,\"target\":\"n1\",\"fault\":\"stop\"}")).unwrap().faults.len(), 2);
}
