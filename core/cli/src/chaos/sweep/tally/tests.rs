use super::Tally;
use crate::chaos::{args::Seeds, sweep::child::Ended};
use serde_json::json;
use taffeta_sim::{Moment, Verdict};

fn run(seed: u64, verdict: Verdict, met: &[Moment]) -> Ended {
    let sometimes: serde_json::Map<_, _> = met.iter().map(|moment| (moment.words().to_owned(), json!(2))).collect();
    let told =
        json!({"seed": seed, "verdict": verdict, "virtual_s": 10.0, "faults": {"loss": 3}, "sometimes": sometimes});
    Ended { seed, verdict, why: "because".into(), report: serde_json::from_value(told).ok() }
}

/// A sweep of `count` seeds that ended so, one after another.
fn tally(count: u64, allows_all: bool, runs: Vec<Ended>) -> Tally {
    let mut tally = Tally::new(Seeds { first: 0, last: count - 1 }, allows_all);
    for ended in runs {
        let failed = ended.verdict != Verdict::Pass;
        assert_eq!(tally.record(ended, |seed| format!("again {seed}")).is_some(), failed);
    }
    tally
}

fn code(tally: &Tally, interrupted: bool) -> u8 {
    tally.verdict(interrupted).err().map_or(0, |failure| failure.told().0)
}

#[test]
fn a_sweep_ends_with_the_worst_that_happened() {
    use Verdict::{Crash, Pass, Stuck, Wrong};
    for (verdicts, expected) in [
        (&[Pass, Pass][..], 0),
        (&[Pass, Stuck], 128),
        (&[Stuck, Wrong, Stuck], 129),
        (&[Stuck, Wrong, Crash, Pass], 127),
    ] {
        let runs = (0..).zip(verdicts).map(|(seed, verdict)| run(seed, *verdict, &[])).collect();
        let tally = tally(4, true, runs);
        assert_eq!(code(&tally, false), expected, "{verdicts:?}");
        assert_eq!(code(&tally, true), expected.max(1), "{verdicts:?}, interrupted");
    }
}

#[test]
fn what_the_runs_tell_is_added_up() {
    let met = [Moment::LeaderChanged];
    let tally =
        tally(4, true, vec![run(0, Verdict::Pass, &met), run(1, Verdict::Wrong, &met), run(2, Verdict::Pass, &[])]);
    let json = json!(tally);
    assert_eq!((&json["seeds"], &json["runs"], &json["passed"]), (&json!("0..4"), &json!(3), &json!(2)));
    assert_eq!(json["failed"], json!([{"seed": 1, "verdict": "wrong", "why": "because", "repeat": "again 1"}]));
    assert_eq!((&json["virtual_s"], &json["faults"]), (&json!(30.0), &json!({"loss": 9})));
    assert_eq!(json["sometimes"][Moment::LeaderChanged.words()], 4);
    assert_eq!(json["missed"].as_array().unwrap().len(), Moment::ALL.len() - 1);
    assert!(json["real_s"].is_f64());
    assert!(tally.as_text().contains("seed 1 wrong: because; repeat: again 1\n"), "{}", tally.as_text());
}

#[test]
fn a_large_sweep_under_all_faults_must_meet_every_moment() {
    let all = |count, allows_all, met: &[Moment]| {
        let runs = (0..count).map(|seed| run(seed, Verdict::Pass, met)).collect();
        tally(count, allows_all, runs)
    };
    let (last, rest) = Moment::ALL.split_last().unwrap();
    let missed = all(50, true, rest).verdict(false).unwrap_err();
    assert!(missed.told().0 == 1 && missed.told().1.contains(last.words()), "{missed:?}");
    assert_eq!(code(&all(50, true, Moment::ALL), false), 0);
    assert_eq!((code(&all(49, true, rest), false), code(&all(50, false, rest), false)), (0, 0));
}
