use super::*;
use crate::chaos::{
    agent_file::FILE,
    journal::{VERSION, boot_id},
};
use std::process::Command;
use taffeta_chaos_plan::Fault;

/// A process that has never lived.
const NOBODY: Process = Process { pid: u32::MAX, start: 1 };

/// A stop of this agent, which began at 0.
fn stop_of(agent: Process) -> Record {
    Record {
        version: VERSION,
        id: "00000001".into(),
        run: "r".into(),
        node: "n1".into(),
        fault: Fault::Stop,
        backend: "signal".into(),
        commands: vec![],
        peers: vec![],
        ends: vec![],
        task: None,
        boot: boot_id(),
        begins: 0,
        until: 1_000,
        begun_at: 0,
        ends_at: 1_000,
        agent,
        deed: Deed::Stop,
    }
}

/// A data folder whose agent, when it is started, is this script.
fn folder(script: &str) -> (tempfile::TempDir, Journal) {
    let data = tempfile::tempdir().unwrap();
    let journal = Journal::new(data.path().join("chaos"));
    journal.make().unwrap();
    let agent = serde_json::json!({
        "process": NOBODY, "program": "/bin/sh", "name": "sh", "args": ["-c", script], "env": [], "folder": "/"
    });
    journal.write(FILE, &agent).unwrap();
    (data, journal)
}

/// Looks again and again at the same moment until there is an error.
fn error_at(now: u64, doing: &mut Doing, record: &Record, journal: &Journal, data: &Path) -> String {
    loop {
        match doing.bring_back(now, record, journal, data) {
            Ok(Step::Later(_)) => std::thread::yield_now(), // the script ends in a moment
            Ok(Step::Done) => panic!("nobody is back"),
            Err(why) => return why,
        }
    }
}

#[test]
fn an_agent_that_does_not_come_up_is_started_ever_again_but_not_all_the_time() {
    let (data, journal) = folder("exit 3");
    let (mut doing, record) = (Doing::default(), stop_of(NOBODY));
    let mut at = |now| error_at(now, &mut doing, &record, &journal, data.path());
    for start in 0..u64::from(STARTS_MAX) {
        let why = at(5_000 + start);
        assert!(why.contains("has ended") && why.contains('3'), "{why}");
    }
    let last = 5_000 + u64::from(STARTS_MAX) - 1;
    for now in [last, last + REST_MS - 1] {
        let why = at(now);
        assert!(why.contains("10 times in vain"), "{why}");
    }
    // What was in its way may be mended.
    for round in 1..=2 {
        let why = at(last + round * REST_MS);
        assert!(why.contains("has ended"), "{why}");
        let why = at(last + round * REST_MS + 1);
        assert!(why.contains("in vain"), "{why}");
    }
}

#[test]
fn an_agent_that_stands_still_is_let_go_to_end_and_waited_for() {
    let (data, journal) = folder("exit 0");
    let mut agent = Command::new("sleep").arg("600").spawn().unwrap();
    let record = stop_of(Process::look_up(agent.id()).unwrap());
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", record.agent.pid)).unwrap();
    signal(&record.agent, Signal::STOP);
    while !state().contains(") T ") {
        std::thread::yield_now();
    }
    let mut doing = Doing { done: true, ..Doing::default() };
    let mut at = |now| doing.bring_back(now, &record, &journal, data.path());
    assert_eq!(at(2_000), Ok(Step::Later(2_000 + LOOK_MS)));
    let late = 2_000 + END_MS;
    assert_eq!(at(late - 1), Ok(Step::Later(late - 1 + LOOK_MS)));
    assert!(state().contains(") T "), "another fault has an end of its own");
    assert_eq!(at(late), Ok(Step::Later(late + LOOK_MS)));
    while state().contains(") T ") {
        std::thread::yield_now();
    }
    // It lives on: the keeper stays, and says so.
    for now in [late + LET_GO_MS, late + 2 * LET_GO_MS] {
        assert_eq!(at(now), Err("the agent was told to end and has not".into()));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    let later = late + 3 * LET_GO_MS;
    assert_eq!(at(later), Ok(Step::Later(later + LOOK_MS)));
    let mut started = doing.returning.take().expect("it is started again");
    assert!(started.wait().unwrap().success());
}

#[test]
fn an_agent_that_was_spared_is_not_waited_for() {
    let (data, journal) = folder("exit 0");
    let mut agent = Command::new("sleep").arg("600").spawn().unwrap();
    let record = stop_of(Process::look_up(agent.id()).unwrap());
    // Ended before anybody was told to end.
    let mut doing = Doing::default();
    assert_eq!(doing.bring_back(WORD_OF_MOUTH_MS - 1, &record, &journal, data.path()), Ok(Step::Done));
    agent.kill().unwrap();
    agent.wait().unwrap();
}
