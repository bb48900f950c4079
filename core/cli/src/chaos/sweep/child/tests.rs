use super::{Ended, simulate};
use std::{process::Stdio, time::Duration};
use taffeta_sim::Verdict;
use tokio::process::Command;

/// What is made of a child that does this.
fn ended(script: &str, patience: Duration) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(simulate(command, 7, patience)).unwrap()
}

#[test]
fn a_child_is_what_it_says_only_if_its_exit_code_agrees() {
    let report = |seed: u64, verdict: &str, code: u8| {
        let json = format!(
            r#"{{"seed":{seed},"verdict":"{verdict}","why":"because","virtual_s":1.5,"faults":{{}},"sometimes":{{}}}}"#
        );
        ended(&format!("echo '{json}'; exit {code}"), Duration::from_secs(20))
    };
    assert_eq!(report(7, "pass", 0).verdict, Verdict::Pass);
    let wrong = report(7, "wrong", 129);
    assert_eq!((wrong.verdict, wrong.why.as_str()), (Verdict::Wrong, "because"));
    for lie in [report(7, "pass", 1), report(7, "fine", 0), report(8, "pass", 0)] {
        assert_eq!(lie.verdict, Verdict::Crash, "{lie:?}");
    }
}

#[test]
fn a_child_without_a_report_has_crashed_and_its_signal_is_told() {
    let patience = Duration::from_secs(20);
    let killed = ended("echo seed 7 >&2; echo 'it   hurts' >&2; kill -SEGV $$", patience);
    assert_eq!((killed.verdict, killed.why.as_str()), (Verdict::Crash, "killed by signal 11: it   hurts"));
    let silent = ended("exit 3", patience);
    assert_eq!((silent.verdict, silent.why.as_str()), (Verdict::Crash, "exit status 3 without a report"));
    let talks = ended("head -c 3000000 /dev/zero; exit 0", patience);
    assert_eq!(talks.verdict, Verdict::Crash, "and what it says has a bound");
}

#[test]
fn a_child_that_does_not_end_is_killed_and_stuck() {
    let hangs = ended("echo $$ >&2; exec sleep 1000", Duration::from_millis(200));
    assert_eq!(hangs.verdict, Verdict::Stuck);
    assert!(hangs.why.starts_with("hangs"), "{hangs:?}");
}
