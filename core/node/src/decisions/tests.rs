//! What is told of decisions, word for word.

use super::{Decided, DecidedRuns};
use std::{collections::BTreeMap, sync::Arc};
use taffeta_model::{
    App, Cause, Command, Cpus, Exit, Fence, Job, JobKind, Member, NodeId, NodeName, Outcome, Past, Place, Placement,
    Quota, Removal, Resources, Run, RunEnd, Runs, State, TaskId, Trigger, UnixMillis,
};

/// A replicated state, and what was told of it.
struct Story {
    state: State,
    known: Decided,
}

impl Story {
    /// Three machines and an app of two instances, which were told of.
    fn begin() -> Self {
        let mut story = Self { state: State::default(), known: Decided::default() };
        story.state.level = 2;
        for i in 1..=3 {
            let member = Member {
                id: NodeId(i),
                name: NodeName::new(format!("n{i}")).unwrap(),
                address: format!("127.0.0.1:{i}").parse().unwrap(),
                public_key: [0; 32],
                zone: String::new(),
                attributes: BTreeMap::new(),
                capacity: Resources { cpus: Cpus(4000), memory: 8 << 30, disk: 0, ports: 100 },
                custom: BTreeMap::new(),
                draining: false,
                maintenance: vec![],
                joined: Fence::default(),
                assigned_fence: Fence::default(),
            };
            story.state.members.insert(member.id, member);
        }
        story.after(&deploy("1"));
        story
    }

    /// What is told when this was decided.
    fn after(&mut self, command: &Command) -> Vec<String> {
        let at = Fence { index: self.state.applied.index + 1, ..self.state.applied };
        let outcome = self.state.apply(at, command);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        let name = |id: NodeId| format!("n{}", id.0);
        let news = self.known.compare(&self.state, &name);
        news.into_iter().map(|(kind, subject, message)| format!("{kind} {subject}: {message}")).collect()
    }

    fn place(&mut self, task: &str, node: u64, cause: Cause) -> Vec<String> {
        let task: TaskId = task.parse().unwrap();
        let seen_attempt = self.state.tasks[&task].attempt;
        self.after(&Command::Place(vec![Placement { task, seen_attempt, node: NodeId(node), cause, older: false }]))
    }

    fn remove(&mut self, task: &str, cause: Cause) -> Vec<String> {
        let task: TaskId = task.parse().unwrap();
        let seen_attempt = self.state.tasks[&task].attempt;
        self.after(&Command::Remove(vec![Removal { task, seen_attempt, cause }]))
    }
}

/// A version of the app.
fn deploy(version: &str) -> Command {
    deployed("shop", "web", Job { count: 2, ..Job::new(JobKind::Service) }, version)
}

fn deployed(app: &str, job: &str, mut definition: Job, version: &str) -> Command {
    definition.run = vec!["./run".into()];
    definition.env.insert("VERSION".into(), version.into());
    let jobs = BTreeMap::from([(job.parse().unwrap(), Arc::new(definition))]);
    let app = App { name: app.parse().unwrap(), team: None, jobs, files: BTreeMap::new() };
    Command::Deploy { app: Arc::new(app), now: UnixMillis(0) }
}

#[test]
fn drains_and_quotas_are_told_when_they_begin_and_end() {
    let mut story = Story::begin();
    let drain = |on| Command::Drain { node: NodeId(2), on };
    assert_eq!(story.after(&drain(true)), ["node.drained n2: n2 is drained: its tasks move"]);
    assert_eq!(story.after(&drain(true)), [""; 0], "it was so before");
    assert_eq!(story.after(&drain(false)), ["node.undrained n2: n2 takes tasks again"]);
    let quota =
        |share| Command::SetQuota { team: "red".parse().unwrap(), quota: Quota { share, ..Quota::unlimited() } };
    assert_eq!(story.after(&quota(1)), ["quota.set red: the team red has another quota"]);
    assert_eq!(story.after(&quota(1)), [""; 0], "it had that before");
    assert_eq!(story.after(&quota(2)), ["quota.set red: the team red has another quota"]);
    let removed = story.after(&Command::RemoveQuota { team: "red".parse().unwrap() });
    assert_eq!(removed, ["quota.removed red: the team red has no quota any more"]);
}

#[test]
fn each_step_of_a_version_is_told() {
    let mut story = Story::begin();
    let app = || "shop".parse().unwrap();
    let settle = |seen_version| Command::Settle { app: app(), job: "web".parse().unwrap(), seen_version };
    let pause = |on| Command::Pause { app: app(), on };
    assert_eq!(story.after(&settle(1)), ["service.updated shop/web: shop/web works in version 1"]);
    assert_eq!(story.after(&deploy("2")), ["app.version shop: shop is at version 2"]);
    assert_eq!(story.after(&pause(true)), ["app.paused shop: shop is paused: older instances stay"]);
    assert_eq!(story.after(&pause(true)), [""; 0], "it was so before");
    assert_eq!(story.after(&pause(false)), ["app.resumed shop: shop is not paused any more"]);
    let promote = Command::Promote { app: app(), job: Some("web".parse().unwrap()), seen_version: None };
    assert_eq!(story.after(&promote), ["service.promoted shop/web: shop/web goes on to version 2 everywhere"]);
    assert_eq!(story.after(&settle(2)), ["service.updated shop/web: shop/web works in version 2"]);
    let back = Command::Rollback { app: app(), seen_version: None, to: Some(1), reason: None, now: UnixMillis(0) };
    let told = ["app.version shop: shop is at version 3", "app.returned shop: shop: version 1 is back, by hand"];
    assert_eq!(story.after(&back), told);
}

#[test]
fn a_task_that_goes_to_another_machine_or_has_to_leave_is_told_of_with_the_reason() {
    let mut story = Story::begin();
    let web = "shop/web.1";
    assert_eq!(story.place(web, 1, Cause::Waited), [""; 0], "it comes first: its machine tells of that");
    assert_eq!(story.place(web, 1, Cause::Outdated), [""; 0], "it is replaced where it is");
    let drained = "task.moved shop/web.1: shop/web.1 goes to n2: it was moved away from n1, which is drained";
    assert_eq!(story.place(web, 2, Cause::Drained), [drained]);
    let lost = "task.moved shop/web.1: shop/web.1 goes to n3: it was moved away from n2, which did not answer";
    assert_eq!(story.place(web, 3, Cause::MachineLost), [lost]);
    let by = "pay/api.3".parse().unwrap();
    let preempted = "task.moved shop/web.1: shop/web.1 leaves n3: it made way for pay/api.3, which is of a higher \
                     priority";
    assert_eq!(story.remove(web, Cause::Preempted { by }), [preempted]);
    let back = "task.moved shop/web.1: shop/web.1 goes to n1: it was on n3 before";
    assert_eq!(story.place(web, 1, Cause::Waited), [back]);
    let removed = Command::RemoveMember { node: NodeId(1), now: UnixMillis(0) };
    let gone = "task.moved shop/web.1: shop/web.1 leaves n1: its machine was removed from the cluster";
    assert_eq!(story.after(&removed), [gone]);
}

#[test]
fn a_batch_task_that_ends_is_told_of_by_its_run_alone() {
    let mut story = Story::begin();
    story.after(&deployed("night", "work", Job::new(JobKind::Batch { retries: 0 }), "1"));
    story.place("night/work.1", 1, Cause::Waited);
    let task: TaskId = "night/work.1".parse().unwrap();
    let Place::On { fence, .. } = story.state.tasks[&task].place else { panic!("it was placed") };
    let told = story.after(&Command::Finish { task, fence, exit: Exit::Code(0) });
    assert!(!told.iter().any(|news| news.starts_with("task.moved")), "{told:?}");
}

fn told(known: &DecidedRuns, runs: &Runs) -> Vec<String> {
    let mut all = vec![];
    known.compare(runs, &mut |kind, message| all.push(format!("{kind} {message}")));
    all
}

#[test]
fn each_run_is_told_once_when_it_starts_and_when_it_ends() {
    let slot = |seconds: u64| UnixMillis(1_795_305_600_000 + seconds * 1000);
    let run = |seconds, started| Run { trigger: Trigger::Slot(slot(seconds)), started, args: vec![] };
    let mut runs = Runs { current: Some(run(0, None)), ..Runs::default() };
    assert_eq!(told(&DecidedRuns::default(), &runs), [""; 0], "it has no machine yet");
    let mut known = DecidedRuns::of(&runs);
    runs.current = Some(run(0, Some(slot(1))));
    assert_eq!(told(&known, &runs), ["run.started runs: due 2026-11-22T00:00:00Z"]);
    known = DecidedRuns::of(&runs);
    let ran = |seconds| Past::Ran {
        trigger: Trigger::Slot(slot(seconds)),
        started: Some(slot(seconds + 1)),
        ended: slot(seconds + 9),
        end: RunEnd::Succeeded,
    };
    runs.history.push(ran(0));
    runs.current = Some(run(60, Some(slot(61))));
    let [ended, started] = &told(&known, &runs)[..] else { panic!() };
    assert!(ended.starts_with("run.ended due 2026-11-22T00:00:00Z") && ended.ends_with(": ok"), "{ended}");
    assert_eq!(started, "run.started runs: due 2026-11-22T00:01:00Z");
    known = DecidedRuns::of(&runs);
    assert_eq!(told(&known, &runs), [""; 0]);
    let why = taffeta_model::Missed::Overlap;
    runs.history.push(Past::Missed { first: slot(120), last: slot(120), count: 1, why });
    assert_eq!(told(&known, &runs), ["run.missed missed 2026-11-22T00:02:00Z: a run was under way"]);
    known = DecidedRuns::of(&runs);
    runs.history.pop();
    runs.history.push(Past::Missed { first: slot(120), last: slot(180), count: 2, why });
    let [grown] = &told(&known, &runs)[..] else { panic!("{:?}", told(&known, &runs)) };
    assert!(grown.starts_with("run.missed missed 2 from 2026-11-22T00:02:00Z to 2026-11-22T00:03:00Z"), "{grown}");
}
