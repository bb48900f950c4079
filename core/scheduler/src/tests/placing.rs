//! Where tasks go: Marathon's operators by its documentation, preferences, strategies, company, priorities, quotas.

use super::fixture::{Cluster, GIB, With, app, batch, service, task_id};
use crate::Plan;
use std::collections::BTreeMap;
use taffeta_model::{
    Cause, Command, Constraint, Cpus, Job, JobKind, Liveness, NodeId, Operator, Place, PlacementStrategy, Preference,
    Quota, TeamName, UpdatePolicy,
};

/// Six machines: `n1` and `n2` in rack a, `n3` to `n5` in rack b, `n6` in none; disks of other sizes.
fn racks() -> Cluster {
    let mut c = Cluster::of(6);
    for (i, rack, disk) in [(1, "a", "0.8"), (2, "a", "0.8001"), (3, "b", "1"), (4, "b", "ssd"), (5, "b", "1.0004")] {
        c.member(i).attributes = [("rack".into(), rack.into()), ("disk".into(), disk.into())].into();
    }
    c
}

pub(super) fn rule(text: &str) -> Constraint {
    let words: Vec<&str> = text.split(' ').collect();
    let value = words.get(2).map(|value| (*value).to_owned());
    let number = || value.as_ref().map(|value| value.parse().unwrap());
    let operator = match words[1] {
        "UNIQUE" => Operator::Unique,
        "CLUSTER" => Operator::Cluster(value),
        "GROUP_BY" => Operator::GroupBy(number()),
        "MAX_PER" => Operator::MaxPer(number().unwrap()),
        "IS" => Operator::Is(value.unwrap()),
        "LIKE" => Operator::Like(value.unwrap()),
        "UNLIKE" => Operator::Unlike(value.unwrap()),
        other => panic!("{other}"),
    };
    Constraint { field: words[0].into(), operator }
}

/// Tasks per machine, and how many wait, with `count` instances under these rules.
fn placed(count: u32, rules: &[&str]) -> ([usize; 6], usize) {
    let mut c = racks();
    let job = Job { constraints: rules.iter().map(|text| rule(text)).collect(), ..service(count) };
    c.deploy(&app("shop", &[("web", job)]));
    let waiting = c.settle().waiting().count();
    let load = c.load();
    ([1, 2, 3, 4, 5, 6].map(|i| load.get(&i).copied().unwrap_or_default()), waiting)
}

fn per_rack(placed: [usize; 6]) -> [usize; 3] {
    [placed[0] + placed[1], placed[2] + placed[3] + placed[4], placed[5]]
}

#[test]
fn operators_mean_what_marathon_documents() {
    // The rules, instances, those in racks a, b and none, those that wait.
    for (rules, count, racks, waiting) in [
        (&["hostname UNIQUE"][..], 8, [2, 3, 1], 2),
        (&["@hostname UNIQUE"], 8, [2, 3, 1], 2),
        (&["rack UNIQUE"], 3, [1, 1, 0], 1),
        (&["rack CLUSTER a"], 4, [4, 0, 0], 0),
        (&["rack CLUSTER c"], 4, [0, 0, 0], 4),
        (&["rack MAX_PER 2"], 6, [2, 2, 0], 2),
        (&["hostname MAX_PER 1", "rack MAX_PER 2"], 6, [2, 2, 0], 2),
        (&["rack IS b"], 3, [0, 3, 0], 0),
        (&["rack LIKE a"], 3, [3, 0, 0], 0),
        (&["rack LIKE [ab]"], 4, [2, 2, 0], 0),
        (&["rack LIKE .*x"], 1, [0, 0, 0], 1),
        // The whole value has to match, as in Java's `String.matches`.
        (&["hostname LIKE n"], 1, [0, 0, 0], 1),
        // A machine without the field is refused by all operators but UNLIKE.
        (&["rack UNLIKE a"], 4, [0, 3, 1], 0),
        (&["rack UNLIKE a|b"], 2, [0, 0, 2], 0),
        (&["hostname UNLIKE n[1-5]"], 2, [0, 0, 2], 0),
        // Numbers are compared to a thousandth, by IS alone.
        (&["disk IS 0.8"], 2, [2, 0, 0], 0),
        (&["disk IS 1", "hostname UNIQUE"], 3, [0, 2, 0], 1),
        (&["disk IS ssd"], 1, [0, 1, 0], 0),
        (&["disk CLUSTER 0.8", "hostname UNIQUE"], 2, [1, 0, 0], 1),
        (&["nothing UNLIKE x"], 6, [2, 3, 1], 0),
        (&["nothing IS x"], 1, [0, 0, 0], 1),
    ] {
        let (placed, waits) = placed(count, rules);
        let spread = if rules == ["rack UNLIKE a"] { [per_rack(placed)[0], 3, 1] } else { per_rack(placed) };
        assert_eq!((spread, waits), (racks, waiting), "{rules:?} of {count}: {placed:?}");
    }
}

#[test]
fn cluster_without_a_value_stays_where_the_first_went() {
    let (placed, waiting) = placed(5, &["rack CLUSTER"]);
    let racks = per_rack(placed);
    assert!(waiting == 0 && (racks == [5, 0, 0] || racks == [0, 5, 0]), "{placed:?}");
}

#[test]
fn group_by_keeps_the_groups_even_to_within_one() {
    for (rules, count, racks, waiting) in [
        (&["rack GROUP_BY"][..], 5, [3, 2], 0),
        (&["rack GROUP_BY 2"], 6, [3, 3], 0),
        // More groups are asked for than there are: one each, and the rest waits.
        (&["rack GROUP_BY 3"], 5, [1, 1], 3),
        // A full group holds up the others.
        (&["rack GROUP_BY", "hostname UNIQUE"], 6, [2, 3], 1),
    ] {
        let (placed, waits) = placed(count, rules);
        let [a, b, none] = per_rack(placed);
        let mut even = [a, b];
        let mut wanted = racks;
        if waiting == 0 {
            even.sort_unstable();
            wanted.sort_unstable();
        }
        assert_eq!((even, none, waits), (wanted, 0, waiting), "{rules:?} of {count}: {placed:?}");
    }
}

#[test]
fn a_heavier_preference_wins_and_one_against_comes_last() {
    let mut c = racks();
    let wish = |text: &str, weight| Preference { rule: rule(text), weight };
    let prefer = vec![wish("rack IS b", 10), wish("disk IS ssd", 5), wish("hostname IS n1", -100)];
    c.deploy(&app("shop", &[("web", Job { prefer, ..service(1).cpus(4000) })]));
    c.settle();
    assert_eq!(c.on("shop/web.1"), 4, "rack b with an ssd");
    c.apply(&Command::Scale { app: "shop".parse().unwrap(), job: "web".parse().unwrap(), count: 6 });
    c.settle();
    let order: Vec<u64> = (1..=6).map(|i| c.on(&format!("shop/web.{i}"))).collect();
    assert!([3, 5].contains(&order[1]) && [3, 5].contains(&order[2]), "{order:?}");
    assert_eq!(order[5], 1, "{order:?}");
}

#[test]
fn packing_fills_a_machine_before_the_next() {
    let mut c = Cluster::of(3);
    let job = Job { strategy: PlacementStrategy::Pack, ..batch(6).cpus(1000) };
    c.deploy(&app("night", &[("work", job)]));
    c.turn();
    let mut load: Vec<usize> = c.load().into_values().collect();
    load.sort_unstable();
    assert_eq!(load, [2, 4]);
}

#[test]
fn a_batch_job_packs_and_a_service_spreads_unless_told_otherwise() {
    let load = |kind| {
        let mut c = Cluster::of(3);
        let known = service(6).cpus(1000);
        let job = Job { count: 6, run: known.run, resources: known.resources, ..Job::new(kind) };
        c.deploy(&app("night", &[("work", job)]));
        c.turn();
        let mut load: Vec<usize> = c.load().into_values().collect();
        load.sort_unstable();
        load
    };
    assert_eq!(load(JobKind::Batch { retries: 0 }), [2, 4]);
    assert_eq!(load(JobKind::Service), [2, 2, 2]);
}

#[test]
fn company_is_kept_and_avoided_from_both_sides() {
    let mut c = Cluster::of(3);
    let with = |job: Job, names: &[&str]| Job { with: names.iter().map(|n| n.parse().unwrap()).collect(), ..job };
    let apart = |job: Job, names: &[&str]| Job { apart: names.iter().map(|n| n.parse().unwrap()).collect(), ..job };
    c.deploy(&app("shop", &[("db", service(1)), ("web", with(service(2), &["db"]))]));
    c.settle();
    assert_eq!([c.on("shop/web.1"), c.on("shop/web.2")], [c.on("shop/db.1"); 2]);
    c.deploy(&app("mail", &[("spool", apart(service(2), &["shop/web"]))]));
    c.settle();
    assert!([1, 2].iter().all(|i| c.on(&format!("mail/spool.{i}")) != c.on("shop/db.1")));
    // Nor may what it avoids come to it.
    c.apply(&Command::Stop { app: "shop".parse().unwrap() });
    c.deploy(&app("shop", &[("web", service(3).constraint("hostname", Operator::Unique))]));
    c.settle();
    let waits = (1..=3).map(|i| format!("shop/web.{i}")).find(|task| c.on(task) == 0).unwrap();
    assert!(c.why(&waits).contains("has an instance of mail/spool, from which it is apart"), "{}", c.why(&waits));
    c.deploy(&app("blog", &[("web", with(service(1), &["mail/absent"]))]));
    c.settle();
    assert!(c.why("blog/web.1").contains("has no instance of mail/absent"));
}

#[test]
fn one_that_is_apart_no_more_lets_others_come_at_once() {
    let mut c = Cluster::of(1);
    c.deploy(&app("blog", &[("web", Job { apart: vec!["mail/spool".parse().unwrap()], ..service(1) })]));
    c.settle();
    c.deploy(&app("mail", &[("spool", service(1))]));
    c.settle();
    assert_eq!((c.on("blog/web.1"), c.on("mail/spool.1")), (1, 0));
    c.deploy(&app("blog", &[("web", service(1))]));
    c.turn();
    assert_eq!((c.on("blog/web.1"), c.on("mail/spool.1")), (1, 1));
}

#[test]
fn what_comes_later_is_enough_for_those_that_must_be_with_it() {
    let mut c = Cluster::of(2);
    let job = Job { with: vec!["mail/spool".parse().unwrap()], ..service(1) };
    c.deploy(&app("blog", &[("web", job)]));
    c.settle();
    assert_eq!(c.on("blog/web.1"), 0);
    c.deploy(&app("mail", &[("spool", service(1))]));
    c.settle();
    assert_eq!(c.on("blog/web.1"), c.on("mail/spool.1"));
}

fn gpus(count: u64, job: Job) -> Job {
    Job { custom: [("gpu".to_owned(), count)].into(), ..job }
}

#[test]
fn countable_resources_are_counted() {
    let mut c = Cluster::of(2);
    c.member(1).custom = [("gpu".into(), 3)].into();
    c.deploy(&app("lab", &[("train", gpus(2, service(2)))]));
    c.settle();
    let mut on = [c.on("lab/train.1"), c.on("lab/train.2")];
    on.sort_unstable();
    assert_eq!(on, [0, 1]);
    assert_eq!(c.why("lab/train.2"), "n1: needs 2 gpu, 1 free; n2: needs 2 gpu, 0 free");
}

#[test]
fn a_higher_priority_takes_the_place_of_the_least_that_makes_room() {
    let mut c = Cluster::of(2);
    let at = |priority, job| Job { priority, ..job };
    c.deploy(&app("low", &[("a", at(10, service(1).cpus(3000))), ("b", at(20, service(1).cpus(3000)))]));
    c.deploy(&app("small", &[("c", at(10, service(2).cpus(1000)))]));
    c.settle();
    assert_eq!(c.load(), [(1, 2), (2, 2)].into());
    let b = c.on("low/b.1");
    c.deploy(&app("high", &[("web", at(80, service(1).cpus(3000)))]));
    c.settle();
    // One of priority 10 goes, not that of 20 and not two small ones.
    assert_eq!((c.on("low/a.1"), c.on("low/b.1")), (0, b));
    assert!(c.on("high/web.1") > 0 && c.on("small/c.1") > 0 && c.on("small/c.2") > 0);
    let cause = &c.state.tasks[&task_id("low/a.1")].cause;
    assert_eq!(*cause, Cause::Preempted { by: task_id("high/web.1") });
    assert!(c.why("low/a.1").contains("needs 3 cpus"), "{}", c.why("low/a.1"));
}

#[test]
fn nobody_makes_way_whom_a_daemon_has_just_come_to_be_with() {
    let mut c = Cluster::of(1);
    let beside = vec!["web".parse().unwrap()];
    let daemon = Job { kind: JobKind::Daemon, with: beside, priority: 50, ..service(1) };
    c.deploy(&app("shop", &[("log", daemon), ("web", Job { priority: 20, ..service(1).cpus(1000) })]));
    c.turn();
    assert_eq!((c.on("shop/web.1"), c.state.tasks.len()), (1, 1), "a daemon comes when there is somebody to be with");
    c.deploy(&app("high", &[("api", Job { priority: 50, ..service(1).cpus(3500) })]));
    c.turn();
    assert_eq!((c.on("shop/web.1"), c.on("shop/log.1"), c.on("high/api.1")), (1, 1, 0));
}

#[test]
fn nobody_makes_way_by_whom_others_of_its_job_have_just_come() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("a", Job { priority: 20, ..service(1).cpus(3000) })]));
    c.turn();
    let here = c.on("shop/a.1");
    let even = service(3).constraint("hostname", Operator::GroupBy(Some(2)));
    let large = service(1).cpus(3000).constraint("hostname", Operator::Is(format!("n{here}")));
    c.deploy(&app("shop", &[("a", even), ("b", Job { priority: 40, ..large })]));
    c.turn();
    assert_eq!((c.on("shop/a.1"), c.on("shop/b.1")), (here, 0));
    assert_eq!(
        [c.on("shop/a.2"), c.on("shop/a.3")],
        [3 - here; 2],
        "there is one on each, and this is the emptier one"
    );
    c.turn();
    assert_eq!(c.on("shop/b.1"), here, "the newer one on it is small");
}

#[test]
fn a_daemon_that_took_the_room_first_makes_way_soon() {
    let mut c = Cluster::of(1);
    c.see(1, Liveness::Suspect, false);
    c.deploy(&app("low", &[("log", Job { kind: JobKind::Daemon, ..service(1).cpus(3000) })]));
    c.deploy(&app("high", &[("web", Job { priority: 80, ..service(1).cpus(2000) })]));
    c.turn();
    c.see(1, Liveness::Alive, false);
    c.turn();
    assert_eq!((c.on("low/log.1"), c.on("high/web.1")), (1, 0), "daemons come first");
    c.pass(1000);
    c.turn();
    assert_eq!((c.on("high/web.1"), c.load()), (1, [(1, 1)].into()));
}

#[test]
fn who_makes_way_does_not_depend_on_who_plans() {
    let mut c = Cluster::of(4);
    (1..=4).for_each(|i| c.member(i).zone = if i % 2 == 0 { "a" } else { "b" }.into());
    c.deploy(&app("low", &[("a", Job { priority: 10, ..service(4).cpus(3000) })]));
    c.deploy(&app("mid", &[("a", Job { priority: 20, ..service(4).cpus(1000) })]));
    c.settle();
    c.deploy(&app("high", &[("a", Job { priority: 80, ..service(2).cpus(4000) })]));
    let plan = c.plan();
    assert!(plan.commands.iter().any(|command| matches!(command, Command::Remove(_))), "somebody makes way: {plan:?}");
    assert_eq!(c.plan(), plan);
    assert_eq!(c.plan_met_backwards(), plan);
}

#[test]
fn a_second_plan_on_an_unchanged_state_is_empty() {
    let mut c = Cluster::of(3);
    let daemon = Job { kind: JobKind::Daemon, ..service(1) };
    let jobs =
        [("web", service(4).checked()), ("work", batch(2)), ("log", daemon), ("api", service(2).after(&["web"]))];
    c.deploy(&app("shop", &jobs));
    c.settle_running();
    assert_eq!(c.load().values().sum::<usize>(), 11);
    for _ in 0..2 {
        let plan = c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring);
        assert_eq!(plan, Plan::default());
        assert_eq!(c.plan(), Plan::default());
    }
}

#[test]
fn equal_priority_takes_nobodys_place() {
    let mut c = Cluster::of(1);
    c.deploy(&app("first", &[("a", service(1).cpus(4000))]));
    c.settle();
    c.deploy(&app("second", &[("a", service(1).cpus(4000))]));
    c.settle();
    assert_eq!((c.on("first/a.1"), c.on("second/a.1")), (1, 0));
}

#[test]
fn who_may_not_make_way_since_its_service_would_be_missed_is_named() {
    let mut c = Cluster::of(1);
    let update = UpdatePolicy { max_surge: 1, max_unavailable: 0, ..UpdatePolicy::default() };
    c.deploy(&app("low", &[("web", Job { priority: 10, update, ..service(1).cpus(4000) })]));
    c.settle_running();
    c.deploy(&app("high", &[("web", Job { priority: 90, ..service(1).cpus(4000) })]));
    c.settle_running();
    assert_eq!((c.on("low/web.1"), c.on("high/web.1")), (1, 0));
    let why = "n1: needs 4 cpus, 0 free; low/web.1 is of a lower priority, but no more of its service may be missing";
    assert_eq!(c.why("high/web.1"), why);
}

#[test]
fn a_service_loses_no_more_at_a_time_than_an_update_would_take() {
    let mut c = Cluster::of(2);
    c.deploy(&app("low", &[("web", Job { priority: 10, ..service(2).cpus(4000).checked() })]));
    c.settle();
    c.deploy(&app("high", &[("web", Job { priority: 90, ..service(2).cpus(4000) })]));
    c.turn();
    let gone = |c: &Cluster| ["low/web.1", "low/web.2"].iter().filter(|task| c.on(task) == 0).count();
    assert_eq!(gone(&c), 1);
    c.pass(5000);
    c.turn();
    assert_eq!(gone(&c), 1, "the other one serves alone, for as long as the first has no room");
}

#[test]
fn revocable_tasks_run_beside_what_is_asked_for_and_make_way() {
    let mut c = Cluster::of(1);
    let revocable = |job| Job { revocable: true, ..job };
    c.deploy(&app("firm", &[("web", service(1).cpus(4000))]));
    c.deploy(&app("idle", &[("work", revocable(batch(2).cpus(2000).memory(3 * GIB)))]));
    c.settle_running();
    assert_eq!(c.load(), [(1, 3)].into(), "processors are given twice, to one that may be told to go");
    c.deploy(&app("more", &[("work", revocable(batch(1).cpus(100)))]));
    c.settle_running();
    assert_eq!(c.on("more/work.1"), 0, "but not three times");
    c.deploy(&app("firm", &[("web", service(1).cpus(4000)), ("db", service(1).cpus(0).memory(4 * GIB))]));
    c.settle_running();
    assert_eq!((c.on("firm/db.1"), c.on("idle/work.1")), (1, 0), "memory is not given twice");
    assert_eq!(c.on("more/work.1"), 1, "its processors are another's then");
}

fn quota(cpus: u64, share: u32) -> Quota {
    let mut quota = Quota { share, ..Quota::unlimited() };
    quota.limit.cpus = Cpus(cpus);
    quota
}

fn of_team(team: &str, name: &str, job: Job) -> taffeta_model::App {
    let mut app = app(name, &[("web", job)]);
    app.team = Some(team.parse().unwrap());
    app
}

#[test]
fn a_team_uses_no_more_than_its_quota() {
    let mut c = Cluster::of(2);
    let red: TeamName = "red".parse().unwrap();
    c.apply(&Command::SetQuota { team: red.clone(), quota: quota(2500, 1) });
    c.deploy(&of_team("red", "one", service(2).cpus(1000)));
    c.deploy(&of_team("red", "two", service(2).cpus(1000)));
    c.settle();
    assert_eq!(c.state.tasks.values().filter(|task| task.node().is_some()).count(), 2);
    assert_eq!(c.why("two/web.2"), "the quota of team red: needs 1 cpus, 0.5 free");
    c.apply(&Command::SetQuota { team: red.clone(), quota: quota(3000, 1) });
    c.settle();
    assert_eq!(c.state.tasks.values().filter(|task| task.node().is_some()).count(), 3);
    c.apply(&Command::RemoveQuota { team: red });
    c.settle();
    assert_eq!(c.state.tasks.values().filter(|task| task.node().is_some()).count(), 4);
}

#[test]
fn what_is_short_is_shared_by_the_shares_of_the_teams() {
    let mut c = Cluster::of(3); // 12 processors
    c.apply(&Command::SetQuota { team: "blue".parse().unwrap(), quota: quota(u64::MAX, 2) });
    (1..=3).for_each(|i| c.see(i, Liveness::Down, false));
    c.deploy(&of_team("red", "a-red", service(60).cpus(200)));
    c.deploy(&of_team("blue", "b-blue", service(60).cpus(200)));
    c.turn();
    (1..=3).for_each(|i| c.see(i, Liveness::Alive, false));
    c.turn();
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for (id, _) in c.state.tasks.iter().filter(|(_, task)| task.node().is_some()) {
        *of.entry(id.app.to_string()).or_default() += 1;
    }
    assert_eq!(of.values().sum::<usize>(), 60);
    // Two parts of three, to within the tasks that are placed at once.
    assert!((32..=48).contains(&of["b-blue"]), "{of:?}");
}

#[test]
fn a_drained_machine_empties_one_service_instance_at_a_time_and_keeps_its_batch_tasks() {
    let mut c = Cluster::of(3);
    c.deploy(&app(
        "shop",
        &[("web", service(6).checked()), ("work", batch(3).constraint("hostname", Operator::Unique))],
    ));
    c.settle_running();
    let on = |c: &Cluster, node: u64, job: &str| {
        c.state.tasks.of_machine(NodeId(node)).filter(|(id, _)| id.job.as_str() == job).count()
    };
    assert_eq!((on(&c, 1, "web"), on(&c, 1, "work")), (2, 1));
    c.apply(&Command::Drain { node: NodeId(1), on: true });
    for left in [1, 0] {
        c.turn();
        assert_eq!(on(&c, 1, "web"), left);
        c.turn();
        assert_eq!(on(&c, 1, "web"), left, "the one that moved has not been reported healthy yet");
        c.all_running();
    }
    assert_eq!(on(&c, 1, "work"), 1);
    c.apply(&Command::Drain { node: NodeId(1), on: false });
    c.deploy(&app("blog", &[("web", service(3).constraint("hostname", Operator::Unique))]));
    c.settle_running();
    assert_eq!(c.state.tasks.of_machine(NodeId(1)).filter(|(id, _)| id.app.as_str() == "blog").count(), 1);
}

#[test]
fn what_fits_nowhere_else_stays_on_a_drained_machine_and_says_so() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2).cpus(3000))]));
    c.settle();
    c.apply(&Command::Drain { node: NodeId(1), on: true });
    c.settle();
    let task = if c.on("shop/web.1") == 1 { "shop/web.1" } else { "shop/web.2" };
    assert_eq!(
        c.why(task),
        "still on a machine that is drained, as no other one takes it: n1: is being drained; n2: needs 3 cpus, 1 free"
    );
}

#[test]
fn a_daemon_is_on_each_machine_that_matches_also_on_a_later_one() {
    let mut c = Cluster::of(3);
    c.member(3).zone = "attic".into();
    let daemon = |version: &str| {
        let job = Job { kind: JobKind::Daemon, ..service(1) };
        job.constraint("zone", Operator::Unlike("attic".into())).version(version)
    };
    c.deploy(&app("watch", &[("agent", daemon("1"))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    c.add(4);
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1), (4, 1)].into());
    // A machine that is away keeps its own: nobody else could take it.
    c.see(2, Liveness::Down, true);
    c.pass(60_000);
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1), (4, 1)].into());
    c.see(2, Liveness::Alive, false);
    // Machine by machine.
    c.deploy(&app("watch", &[("agent", daemon("2"))]));
    c.all_well();
    let first = c.turn();
    assert!(matches!(&first.commands[..], [Command::Place(placed)] if placed.len() == 1), "{first:?}");
    c.settle();
    // Where it matches no more, it goes; its machine is another one's then.
    c.member(1).zone = "attic".into();
    c.deploy(&app("watch", &[("agent", daemon("3"))]));
    c.settle();
    assert_eq!(c.load(), [(2, 1), (4, 1)].into());
    let removed = Command::RemoveMember { node: NodeId(4), now: taffeta_model::UnixMillis(0) };
    c.apply(&removed);
    c.settle();
    assert_eq!(c.load(), [(2, 1)].into());
    assert!(c.state.tasks.values().all(|task| matches!(task.place, Place::On { .. })), "no slot is left behind");
}

#[test]
fn a_daemon_is_updated_one_machine_after_the_other_to_the_end() {
    let watch = |version: &str| {
        let job = Job { kind: JobKind::Daemon, ..service(1) };
        app("watch", &[("agent", job.checked().version(version))])
    };
    let mut c = Cluster::of(4);
    c.deploy(&watch("1"));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1), (3, 1), (4, 1)].into());
    c.deploy(&watch("2"));
    let mut updated = vec![];
    for _ in 0..4 {
        let plan = c.turn();
        let [Command::Place(placed)] = &plan.commands[..] else { panic!("{plan:?}") };
        let [one] = &placed[..] else { panic!("more than one at once: {placed:?}") };
        assert_eq!(one.cause, Cause::Outdated);
        updated.push(one.node.0);
        assert!(c.turn().commands.is_empty(), "not before the one on {} works", one.node);
        c.all_well();
    }
    updated.sort_unstable();
    assert_eq!(updated, [1, 2, 3, 4]);
    c.settle();
    let wanted = c.state.apps.values().next().unwrap().revisions.values().next().copied();
    assert!(c.state.tasks.values().all(|task| Some(task.revision) == wanted), "{:?}", c.state.tasks);
}
