//! The rules of runs: by schedule, after others, and by hand.

use super::{Log, NOW, app_name, job_name, ring, task};
use crate::{
    ARGS_BYTES_MAX, ARGS_MAX, Cause, Command, Decision, Exit, Firing, Missed, NodeId, Past, Place, QUEUE_MAX, Refusal,
    Removal, Run, RunEnd, Runs, Trigger, UnixMillis,
};

const CRON: &str =
    "app = \"shop\"\n[cron.report]\nrun = [\"./report\"]\nschedule = \"* * * * *\"\ncount = 2\ndeadline = \"1h\"\n";
const CHAIN: &str = "[batch.mail]\nrun = [\"./mail\"]\nafter = [\"report\"]\n";

impl Log {
    fn runs(&self, job: &str) -> &Runs {
        &self.state.apps[&app_name("shop")].runs[&job_name(job)]
    }

    fn firing(&self, job: &str, now: u64, decision: Decision) -> Firing {
        let seen = self.runs(job).changed;
        Firing { app: app_name("shop"), job: job_name(job), seen, now: UnixMillis(now), decision }
    }

    /// Carries out a decision; tells whether it changed anything.
    fn fire(&mut self, job: &str, now: u64, decision: Decision) -> bool {
        let (firing, before) = (self.firing(job, now, decision), self.state.clone());
        self.apply(Command::Fire(vec![firing]));
        let same = self.state == crate::State { applied: self.state.applied, ..before };
        assert_eq!(!same, self.runs(job).changed == self.state.applied, "a change is told by its position");
        !same
    }

    fn slot(&mut self, slot: u64) -> bool {
        self.fire("report", slot, Decision::Start(Trigger::Slot(UnixMillis(slot))))
    }

    /// All tasks of the job are placed, and end so.
    fn work(&mut self, job: &str, exit: i32) {
        for index in self.indexes(job) {
            let id = format!("shop/{job}.{index}");
            let fence = self.place(&id, 1);
            self.apply(Command::Finish { task: task(&id), fence, exit: Exit::Code(exit) });
        }
    }

    fn run(&self, args: &[&str]) -> Command {
        let args = args.iter().map(ToString::to_string).collect();
        Command::Run { app: app_name("shop"), job: job_name("report"), args, now: NOW }
    }

    fn history(&self, job: &str) -> Vec<String> {
        self.runs(job).history.iter().map(ToString::to_string).collect()
    }
}

/// The ring with a cron job of two instances.
fn cron(more: &str) -> Log {
    let mut log = ring();
    log.deploy(&format!("{CRON}{more}"));
    log
}

#[test]
fn a_slot_starts_once_whoever_decides_it() {
    let mut log = cron("");
    let slot = NOW.0 + 60_000;
    let twice = log.firing("report", slot, Decision::Start(Trigger::Slot(UnixMillis(slot))));
    log.apply(Command::Fire(vec![twice.clone(), twice]));
    assert_eq!(log.runs("report").handled, UnixMillis(slot));
    assert!(log.runs("report").current.is_some());
    let next = log.runs("report").next(&log.state.apps[&app_name("shop")].app.jobs[&job_name("report")]);
    assert_eq!(next, Ok(Some(UnixMillis(1_080_000))), "the next whole minute");
    log.work("report", 0);
    assert!(log.fire("report", slot + 5, Decision::Over));
    assert!(!log.slot(slot), "a later leader has the same slot in mind");
    assert_eq!((log.runs("report").finished, log.runs("report").history.len()), (1, 1));
}

#[test]
fn a_decision_about_what_has_changed_is_void() {
    let mut log = cron("");
    let slot = UnixMillis(NOW.0 + 60_000);
    let late = log.firing("report", slot.0, Decision::Start(Trigger::Slot(slot)));
    log.apply(log.run(&[]));
    let before = log.runs("report").clone();
    log.apply(Command::Fire(vec![late]));
    assert_eq!(*log.runs("report"), before);
    for void in [
        Decision::Start(Trigger::Deploy),
        Decision::Start(Trigger::After),
        Decision::Start(Trigger::Slot(slot)),
        Decision::Queue(slot),
        Decision::Over,
        Decision::Miss { first: NOW, last: UnixMillis(NOW.0 - 1), count: 1, why: Missed::NoLeader },
    ] {
        assert!(!log.fire("report", slot.0, void.clone()), "{void:?}");
    }
}

#[test]
fn a_run_is_over_when_all_its_tasks_have_ended() {
    let mut log = cron("");
    log.slot(NOW.0 + 60_000);
    let first = log.place("shop/report.1", 1);
    assert!(log.fire("report", NOW.0 + 60_001, Decision::Placed));
    assert!(!log.fire("report", NOW.0 + 60_002, Decision::Placed), "it has started already");
    log.finish("shop/report.1", first);
    assert!(!log.fire("report", NOW.0 + 61_000, Decision::Over));
    let second = log.place("shop/report.2", 2);
    log.apply(Command::Finish { task: task("shop/report.2"), fence: second, exit: Exit::Code(3) });
    assert!(log.fire("report", NOW.0 + 62_000, Decision::Over));
    let told = "due 1970-01-01T00:17:40Z, started 1970-01-01T00:17:40.001Z, ended 1970-01-01T00:17:42Z: \
                failed: 2 exited with 3";
    assert_eq!(log.history("report"), [told]);
    assert_eq!((log.runs("report").finished, &log.runs("report").current), (0, &None));
}

#[test]
fn slots_wait_in_a_queue_that_has_a_bound() {
    let mut log = cron("overlap = \"queue\"\n");
    log.slot(NOW.0 + 1);
    for i in 0..QUEUE_MAX as u64 {
        assert!(log.fire("report", NOW.0 + 2 + i, Decision::Queue(UnixMillis(NOW.0 + 2 + i))));
    }
    assert!(!log.fire("report", NOW.0 + 50, Decision::Queue(UnixMillis(NOW.0 + 50))));
    log.work("report", 0);
    log.fire("report", NOW.0 + 51, Decision::Over);
    assert!(!log.slot(NOW.0 + 60), "those that wait come first");
    assert!(log.slot(NOW.0 + 2));
    assert_eq!(log.runs("report").queue.len(), QUEUE_MAX - 1);
}

#[test]
fn a_slot_takes_the_place_of_a_run_only_if_it_may() {
    let mut log = cron("overlap = \"replace\"\n");
    log.slot(NOW.0 + 1);
    let placed = log.place("shop/report.1", 1);
    assert!(log.slot(NOW.0 + 2));
    assert_eq!(*log.place_of("shop/report.1"), Place::Waiting { last: None });
    assert_eq!(log.assigned_fence(1), log.state.applied, "its machine is told");
    let stale = Command::Finish { task: task("shop/report.1"), fence: placed, exit: Exit::Code(0) };
    assert_eq!(log.refuse(stale), Refusal::Outdated);
    assert!(matches!(log.runs("report").history[..], [Past::Ran { end: RunEnd::Replaced, .. }]));
}

#[test]
fn missed_slots_in_a_row_are_told_together() {
    let mut log = cron("");
    let miss = |at: u64, why| Decision::Miss { first: UnixMillis(at), last: UnixMillis(at), count: 1, why };
    log.fire("report", 0, miss(NOW.0 + 1, Missed::Overlap));
    log.fire("report", 0, miss(NOW.0 + 2, Missed::Overlap));
    log.fire("report", 0, miss(NOW.0 + 3, Missed::NoLeader));
    let told = log.history("report");
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("missed 2 from ") && told[0].ends_with(": a run was under way"), "{told:?}");
    for i in 0..100 {
        log.fire("report", 0, miss(NOW.0 + 10 + i, if i % 2 == 0 { Missed::Overlap } else { Missed::NoLeader }));
    }
    assert_eq!(log.runs("report").history.len(), 20);
}

#[test]
fn a_run_past_its_deadline_is_ended() {
    let mut log = cron("");
    log.slot(NOW.0 + 1);
    log.place("shop/report.1", 2);
    log.fire("report", NOW.0 + 2, Decision::Placed);
    assert!(log.fire("report", NOW.0 + 3_600_002, Decision::Expired));
    assert!(matches!(log.place_of("shop/report.1"), Place::Ended { exit: Exit::Deadline, .. }));
    let set = log.state.assigned_to(NodeId(2)).unwrap();
    assert_eq!(set.tasks[&task("shop/report.1")].ended, Some(Exit::Deadline), "its machine is told");
    assert!(matches!(log.place_of("shop/report.2"), Place::Waiting { .. }));
    let [Past::Ran { end: RunEnd::Failed { instances, more: 0 }, .. }] = &log.runs("report").history[..] else {
        panic!("{:?}", log.history("report"));
    };
    assert_eq!(*instances, [(1, Exit::Deadline), (2, Exit::Deadline)]);
}

#[test]
fn the_end_of_one_run_is_not_that_of_the_next() {
    let mut log = cron("overlap = \"replace\"\n");
    log.slot(NOW.0 + 1);
    log.place("shop/report.1", 1);
    log.fire("report", NOW.0 + 2, Decision::Placed);
    let expired = log.firing("report", NOW.0 + 3_600_002, Decision::Expired);
    log.slot(NOW.0 + 3_600_001);
    let before = log.runs("report").clone();
    log.apply(Command::Fire(vec![expired]));
    assert_eq!(*log.runs("report"), before);
}

#[test]
fn arguments_are_given_to_the_tasks_of_one_run() {
    let mut log = cron("");
    log.apply(log.run(&["--day", "5"]));
    assert_eq!(log.refuse(log.run(&[])), Refusal::RunUnderWay(app_name("shop"), job_name("report")));
    let fence = log.place("shop/report.1", 1);
    let args = |log: &Log| log.state.assigned_to(NodeId(1)).unwrap().tasks[&task("shop/report.1")].args.clone();
    assert_eq!(args(&log), ["--day", "5"]);
    log.finish("shop/report.1", fence);
    assert!(args(&log).is_empty());
    let fence = log.place("shop/report.2", 1);
    log.finish("shop/report.2", fence);
    log.fire("report", NOW.0 + 9, Decision::Over);
    log.slot(NOW.0 + 60_000);
    log.place("shop/report.1", 1);
    assert!(args(&log).is_empty(), "the next run has none");
}

#[test]
fn a_run_by_hand_is_refused_in_words() {
    let mut log = ring();
    log.deploy(&format!("{CRON}[service.web]\nrun = [\"./web\"]\n"));
    let run = |job: &str, args: Vec<String>| Command::Run { app: app_name("shop"), job: job_name(job), args, now: NOW };
    let words = log.refuse(run("web", vec![])).to_string();
    assert_eq!(words, "job: `web` is a service: only batch and cron jobs are run");
    let words = log.refuse(run("report", vec![String::new(); ARGS_MAX + 1])).to_string();
    assert_eq!(words, "args: 65 arguments; at most 64 are given");
    assert!(log.refuse(run("report", vec!["x".repeat(ARGS_BYTES_MAX + 1)])).to_string().contains("bytes of arguments"));
    assert!(log.refuse(run("report", vec!["a\0".into()])).to_string().contains("zero byte"));
    assert!(matches!(log.refuse(run("none", vec![])), Refusal::UnknownJob(..)));
    log.apply(Command::Scale { app: app_name("shop"), job: job_name("report"), count: 0 });
    assert_eq!(
        log.refuse(run("report", vec![])).to_string(),
        "count: `report` has no instance: scale it to at least 1"
    );
    let restart = Command::Restart { app: app_name("shop"), job: Some(job_name("report")) };
    assert!(log.refuse(restart).to_string().contains("`taffeta run shop/report` runs it now"));
}

#[test]
fn a_batch_job_runs_again_after_each_run_of_all_before_it() {
    let other = "[cron.clean]\nrun = [\"./clean\"]\nschedule = \"@daily\"\n";
    let chain = "[batch.mail]\nrun = [\"./mail\"]\nafter = [\"report\", \"clean\"]\n";
    let mut log = ring();
    log.deploy(&format!("{CRON}{other}{chain}"));
    let after = || Decision::Start(Trigger::After);
    assert!(log.runs("mail").current.is_none() && !log.fire("mail", 0, after()));
    let mut at = NOW.0;
    let mut once = |log: &mut Log, job: &str, exit: i32| {
        at += 60_000;
        assert!(log.fire(job, at, Decision::Start(Trigger::Slot(UnixMillis(at)))));
        log.work(job, exit);
        assert!(log.fire(job, at + 1, Decision::Over));
    };
    once(&mut log, "report", 0);
    once(&mut log, "report", 0);
    assert!(!log.fire("mail", 0, after()), "clean has not finished yet");
    once(&mut log, "clean", 1);
    assert!(!log.fire("mail", 0, after()), "clean has failed");
    once(&mut log, "clean", 0);
    assert!(log.fire("mail", 0, after()));
    log.work("mail", 0);
    log.fire("mail", 0, Decision::Over);
    assert!(!log.fire("mail", 0, after()), "report is one ahead, clean is not");
    once(&mut log, "clean", 0);
    assert!(log.fire("mail", 0, after()));
}

#[test]
fn a_new_dependency_counts_from_its_deployment() {
    let mut log = cron("");
    log.slot(NOW.0 + 60_000);
    log.work("report", 0);
    log.fire("report", NOW.0 + 60_001, Decision::Over);
    log.deploy(&format!("{CRON}{CHAIN}"));
    assert_eq!((log.runs("report").finished, log.runs("report").history.len()), (1, 1), "what is known stays");
    assert!(!log.fire("mail", 0, Decision::Start(Trigger::After)));
    assert_eq!(*log.place_of("shop/mail.1"), Place::Waiting { last: None });
}

#[test]
fn a_changed_job_that_recurs_ends_its_run_in_the_old_version() {
    let mut log = cron("");
    log.slot(NOW.0 + 60_000);
    let fence = log.place("shop/report.1", 1);
    log.deploy(&format!("{CRON}env = {{ A = \"b\" }}\n"));
    log.finish("shop/report.1", fence);
    assert!(matches!(log.place_of("shop/report.1"), Place::Ended { .. }));
    assert!(log.runs("report").current.is_some());
}

#[test]
fn another_schedule_counts_from_its_deployment() {
    let mut log = cron("overlap = \"queue\"\n");
    log.slot(NOW.0 + 60_000);
    log.fire("report", NOW.0 + 120_000, Decision::Queue(UnixMillis(NOW.0 + 120_000)));
    log.deploy(&format!("{CRON}overlap = \"queue\"\nhistory = 3\n"));
    assert_eq!(log.runs("report").queue.len(), 1, "the schedule is the same");
    let now = UnixMillis(NOW.0 + 200_000);
    let app = super::app(&CRON.replace("* * * * *", "@hourly"));
    log.apply(Command::Deploy { app: app.into(), now });
    let runs = log.runs("report");
    assert_eq!((runs.since, runs.handled, runs.queue.len()), (now, UnixMillis(now.0 - 1), 0));
    assert!(log.history("report")[0].ends_with("the schedule was changed while it waited"));
}

#[test]
fn a_service_that_becomes_a_cron_job_ends() {
    let mut log = ring();
    log.deploy("app = \"shop\"\n[service.report]\nrun = [\"./report\"]\ncount = 2\n");
    log.place("shop/report.1", 1);
    let at = log.deploy(CRON);
    assert_eq!(*log.place_of("shop/report.1"), Place::Waiting { last: None });
    assert_eq!(log.assigned_fence(1), at);
}

#[test]
fn a_plain_batch_job_has_runs_too() {
    let mut log = ring();
    let text = "app = \"shop\"\n[batch.report]\nrun = [\"./report\"]\n";
    log.deploy(text);
    let run = Some(Run { trigger: Trigger::Deploy, started: None, args: vec![] });
    assert_eq!(log.runs("report").current, run);
    log.work("report", 0);
    log.fire("report", NOW.0, Decision::Over);
    log.deploy(text);
    assert_eq!(log.runs("report").current, None, "nothing has changed");
    log.apply(Command::Restart { app: app_name("shop"), job: None });
    assert_eq!(log.runs("report").current, run);
    log.work("report", 0);
    log.fire("report", NOW.0, Decision::Over);
    log.apply(log.run(&["again"]));
    assert_eq!(*log.place_of("shop/report.1"), Place::Waiting { last: None });
    log.work("report", 0);
    log.fire("report", NOW.0, Decision::Over);
    assert_eq!(log.runs("report").finished, 3);
    log.deploy(&format!("{text}env = {{ A = \"b\" }}\n"));
    assert_eq!(log.runs("report").current, run);
}

#[test]
fn a_run_that_has_lost_all_its_instances_is_no_success() {
    let mut log = cron(CHAIN);
    log.slot(NOW.0 + 60_000);
    log.apply(Command::Scale { app: app_name("shop"), job: job_name("report"), count: 0 });
    assert!(log.fire("report", NOW.0 + 60_001, Decision::Over));
    assert!(log.history("report")[0].ends_with("never started, ended 1970-01-01T00:17:40.001Z: without an instance"));
    assert!(!log.fire("mail", 0, Decision::Start(Trigger::After)));
}

#[test]
fn a_task_that_lost_its_machine_stays_in_its_run() {
    let mut log = cron("");
    log.apply(log.run(&["x"]));
    log.place("shop/report.1", 1);
    let removal = Removal { task: task("shop/report.1"), seen_attempt: 1, cause: Cause::MachineLost };
    log.apply(Command::Remove(vec![removal]));
    assert!(!log.fire("report", NOW.0, Decision::Over));
    log.place("shop/report.1", 2);
    assert_eq!(log.state.assigned_to(NodeId(2)).unwrap().tasks[&task("shop/report.1")].args, ["x"]);
}
