//! Updates as transcripts: what is decided, turn by turn, as a person would tell it.

use super::fixture::{Cluster, With, app, service, task_id};
use crate::Plan;
use std::fmt::Write;
use taffeta_model::{
    App, Cause, Command, Exit, Fetch, Job, Liveness, NodeId, Phase, Place, Sha256, Task, TaskId, UnixMillis,
    UpdatePolicy,
};

fn shop(version: &str, count: u32, update: &UpdatePolicy) -> App {
    app("shop", &[("web", Job { update: update.clone(), ..service(count).checked().version(version) })])
}

/// One turn in words; nothing for a turn that decides nothing.
fn told(c: &mut Cluster) -> String {
    words(&c.turn())
}

/// What a plan decides, a line each.
pub(super) fn words(plan: &Plan) -> String {
    let mut text = String::new();
    for command in &plan.commands {
        match command {
            Command::Place(placed) => {
                for p in placed {
                    let older = if p.older { " in its older version" } else { "" };
                    let _ = writeln!(text, "{} to n{}{older} ({:?})", p.task.short(), p.node.0, p.cause);
                }
            }
            Command::Remove(removed) => {
                for r in removed {
                    let _ = writeln!(text, "{} goes ({:?})", r.task.short(), r.cause);
                }
            }
            Command::Promote { .. } => text.push_str("promoted\n"),
            Command::Settle { .. } => text.push_str("settled\n"),
            Command::Rollback { reason, .. } => {
                let _ = writeln!(text, "back: {}", reason.as_deref().unwrap_or_default());
            }
            other => {
                let _ = writeln!(text, "{other:?}");
            }
        }
    }
    text
}

/// Turns until nothing is decided; after each all instances of a machine that is alive work. Fewer never serve.
fn transcript(c: &mut Cluster, least: usize) -> String {
    let mut text = String::new();
    for _ in 0..100 {
        let turn = told(c);
        if turn.is_empty() {
            return text;
        }
        text += &turn;
        let serving = c.serving("shop");
        assert!(serving >= least, "{serving} serve after\n{text}");
        c.all_well();
    }
    panic!("no end:\n{text}");
}

fn deployed(machines: u64, count: u32, update: &UpdatePolicy) -> Cluster {
    let mut c = Cluster::of(machines);
    c.deploy(&shop("1", count, update));
    c.settle();
    c
}

#[test]
fn rolling_with_a_surge_never_has_fewer_than_the_count() {
    let update = UpdatePolicy { max_surge: 1, max_unavailable: 0, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    let [one, two, three] = [1, 2, 3].map(|i| c.on(&format!("shop/web.{i}")));
    let text = transcript(&mut c, 3);
    let expected = format!(
        "web.4 to n{} (Waited)\nweb.1 to n{one} (Outdated)\nweb.2 to n{two} (Outdated)\nweb.3 to n{three} (Outdated)\n\
         web.4 goes (Surplus)\nsettled\n",
        text[10..11].parse::<u64>().unwrap()
    );
    assert_eq!(text, expected);
    assert_eq!(c.state.tasks.len(), 3);
}

#[test]
fn two_at_a_time_where_two_may_be_missing() {
    let update = UpdatePolicy { max_unavailable: 2, ..UpdatePolicy::default() };
    let mut c = deployed(4, 4, &update);
    c.deploy(&shop("2", 4, &update));
    let text = transcript(&mut c, 2);
    assert_eq!(text.matches("Outdated").count(), 4);
    assert!(text.ends_with("settled\n"), "{text}");
}

#[test]
fn a_machine_that_dies_in_the_middle_takes_from_what_may_be_missing() {
    let update = UpdatePolicy { max_surge: 1, max_unavailable: 1, ..UpdatePolicy::default() };
    let mut c = deployed(4, 4, &update);
    c.deploy(&shop("2", 4, &update));
    c.turn();
    c.all_well();
    let dead = c.on("shop/web.4");
    c.see(dead, Liveness::Down, false);
    let before = c.serving("shop");
    let turn = told(&mut c);
    assert!(c.serving("shop") >= 3.min(before), "{turn}");
}

#[test]
fn a_canary_waits_to_be_promoted_by_hand_and_lost_ones_stay_what_they_are() {
    let update = UpdatePolicy { canary: 1, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    let text = transcript(&mut c, 2);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("web.1 to"), "{text}");
    assert_eq!(
        c.why("shop/web.2"),
        "still the older version: 1 of the newer version come first: \
         `taffeta promote APP` lets it take over"
    );
    let old = c.state.tasks[&task_id("shop/web.3")].revision;
    let dead = c.on("shop/web.3");
    c.see(dead, Liveness::Down, true);
    c.pass(5000);
    let text = transcript(&mut c, 1);
    assert!(text.contains("web.3 to") && text.contains("in its older version"), "{text}");
    assert_eq!(c.state.tasks[&task_id("shop/web.3")].revision, old);
    let set = c.state.assigned_to(NodeId(c.on("shop/web.3"))).unwrap();
    assert_eq!(set.tasks[&task_id("shop/web.3")].job.env["VERSION"], "1");
    c.apply(&Command::Promote { app: "shop".parse().unwrap(), job: None, seen_version: None });
    let text = transcript(&mut c, 2);
    assert!(text.contains("web.2 to") && text.contains("web.3 to") && text.ends_with("settled\n"), "{text}");
}

#[test]
fn a_canary_that_works_for_long_enough_is_promoted() {
    let promote = Some(std::time::Duration::from_secs(30));
    let update = UpdatePolicy { canary: 1, promote, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    assert_eq!(transcript(&mut c, 2).lines().count(), 1);
    c.pass(29_000);
    assert_eq!(told(&mut c), "");
    c.pass(1_000);
    assert_eq!(told(&mut c), "promoted\n");
    assert!(transcript(&mut c, 2).ends_with("settled\n"));
}

#[test]
fn those_that_do_not_work_stand_in_for_a_canary_that_cannot_begin() {
    let promote = Some(std::time::Duration::from_secs(30));
    let update = UpdatePolicy { canary: 1, promote, ..UpdatePolicy::default() };
    let mut c = deployed(5, 5, &update);
    let [ill, other] = ["shop/web.3", "shop/web.5"].map(|task| {
        c.report(task, Phase::Unhealthy, None);
        c.on(task)
    });
    c.deploy(&shop("2", 5, &update));
    // One may be missing, and two are.
    assert_eq!(told(&mut c), format!("web.3 to n{ill} (Outdated)\n"));
    assert_eq!(told(&mut c), "", "the next one once it works");
    c.report("shop/web.3", Phase::Healthy, None);
    assert_eq!(told(&mut c), format!("web.5 to n{other} (Outdated)\n"));
    c.report("shop/web.5", Phase::Healthy, None);
    assert!(told(&mut c).starts_with("web.1 to"), "the canary itself");
    c.all_well();
    assert_eq!(told(&mut c), "", "the others wait for the promotion");
    assert!(c.why("shop/web.2").starts_with("still the older version: 1 of the newer version come first"));
    c.pass(30_000);
    assert!(transcript(&mut c, 4).starts_with("promoted\n"));
    let revision = c.state.apps[&"shop".parse().unwrap()].revisions[&"web".parse().unwrap()];
    assert!(c.state.tasks.iter().all(|(_, task)| task.revision == revision));
}

#[test]
fn one_that_does_not_work_waits_for_a_canary_that_can_begin() {
    let update = UpdatePolicy { canary: 1, max_unavailable: 2, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.report("shop/web.3", Phase::Unhealthy, None);
    c.deploy(&shop("2", 3, &update));
    let turn = told(&mut c);
    assert!(turn.starts_with("web.1 to") && turn.lines().count() == 1, "{turn}");
}

#[test]
fn what_was_never_seen_waits_for_no_canary_of_a_larger_version() {
    let update = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let mut c = deployed(4, 2, &update);
    c.deploy(&shop("2", 2, &update));
    transcript(&mut c, 2); // two are beside, unseen
    c.deploy(&shop("3", 4, &UpdatePolicy { canary: 1, ..UpdatePolicy::default() }));
    let turn = told(&mut c);
    assert!(turn.contains("web.3 to") && turn.contains("web.4 to") && turn.lines().count() == 2, "{turn}");
    c.all_well();
    assert!(told(&mut c).starts_with("web.1 to"), "the canary");
    c.all_well();
    assert_eq!(told(&mut c), "");
    c.apply(&Command::Promote { app: "shop".parse().unwrap(), job: None, seen_version: None });
    assert!(transcript(&mut c, 3).ends_with("settled\n"));
}

#[test]
fn blue_green_comes_whole_unseen_and_takes_over_when_promoted() {
    let update = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    let text = transcript(&mut c, 3);
    assert_eq!(text.matches("(Waited)").count(), 3, "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    let hidden = |c: &Cluster, i: u32| {
        let id = task_id(&format!("shop/web.{i}"));
        c.state.assigned_to(c.state.tasks[&id].node().unwrap()).unwrap().tasks[&id].hidden
    };
    assert!((4..=6).all(|i| hidden(&c, i)) && (1..=3).all(|i| !hidden(&c, i)));
    c.apply(&Command::Promote { app: "shop".parse().unwrap(), job: None, seen_version: Some(2) });
    assert!((4..=6).all(|i| !hidden(&c, i)));
    let unheard = told(&mut c);
    assert_eq!(
        unheard.lines().count(),
        1,
        "no machine lets DNS give those beside yet, and one may be missing: {unheard}"
    );
    assert_eq!(told(&mut c), "");
    c.all_well();
    let text = transcript(&mut c, 3);
    assert!(text.contains("web.4 goes") && text.ends_with("settled\n"), "{text}");
    assert_eq!(c.state.tasks.len(), 3);
}

#[test]
fn what_was_never_promoted_stays_unseen_when_another_version_comes() {
    let update = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    transcript(&mut c, 3);
    let seen = |c: &Cluster| {
        let hidden = |id: &TaskId, task: &Task| c.state.assigned_to(task.node().unwrap()).unwrap().tasks[id].hidden;
        let seen = c.state.tasks.iter().filter(|(id, task)| !hidden(id, task));
        seen.map(|(id, _)| id.index).collect::<Vec<_>>()
    };
    assert_eq!(seen(&c), [1, 2, 3]);
    c.apply(&Command::Restart { app: "shop".parse().unwrap(), job: Some("web".parse().unwrap()) });
    assert_eq!(seen(&c), [1, 2, 3], "a restart promotes nothing");
    c.deploy(&shop("3", 3, &update));
    assert_eq!(seen(&c), [1, 2, 3], "the third version comes before the second was promoted");
    let text = transcript(&mut c, 3);
    assert_eq!(seen(&c), [1, 2, 3], "{text}");
    let third = |c: &Cluster| {
        let version = |id: &TaskId, task: &Task| {
            c.state.assigned_to(task.node().unwrap()).unwrap().tasks[id].job.env["VERSION"].clone()
        };
        c.state.tasks.iter().filter(|(id, task)| version(id, task) == "3").count()
    };
    assert_eq!(third(&c), 3, "{text}");
    c.apply(&Command::Promote { app: "shop".parse().unwrap(), job: None, seen_version: None });
    assert_eq!(seen(&c), [1, 2, 3, 4, 5, 6]);
    let text = transcript(&mut c, 3);
    assert!(text.ends_with("settled\n") && third(&c) == 3, "{text}");
}

#[test]
fn what_was_never_promoted_stays_unseen_when_a_larger_version_comes() {
    let update = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    c.deploy(&shop("2", 3, &update));
    transcript(&mut c, 3);
    let seen = |c: &Cluster| {
        let seen = c.state.tasks.iter().filter_map(|(id, task)| {
            let assigned = &c.state.assigned_to(task.node().unwrap()).unwrap().tasks[id];
            (!assigned.hidden).then(|| (id.index, assigned.job.env["VERSION"].clone()))
        });
        seen.map(|(index, version)| format!("{index} of {version}")).collect::<Vec<_>>()
    };
    c.deploy(&shop("3", 5, &update));
    assert_eq!(seen(&c), ["1 of 1", "2 of 1", "3 of 1"], "4 and 5 are counted now, and of a version nobody wanted");
    let text = transcript(&mut c, 3);
    // As after a scale up: what never served comes in the newer version.
    assert_eq!(seen(&c), ["1 of 1", "2 of 1", "3 of 1", "4 of 3", "5 of 3"], "{text}");
    assert_eq!(c.state.tasks.len(), 10, "five came beside: {text}");
    c.apply(&Command::Promote { app: "shop".parse().unwrap(), job: None, seen_version: None });
    let text = transcript(&mut c, 4);
    assert!(text.ends_with("settled\n"), "{text}");
    assert_eq!(seen(&c), ["1 of 3", "2 of 3", "3 of 3", "4 of 3", "5 of 3"], "{text}");
}

#[test]
fn a_paused_update_stands_still_until_it_is_resumed() {
    let mut c = deployed(3, 3, &UpdatePolicy::default());
    c.deploy(&shop("2", 3, &UpdatePolicy::default()));
    c.turn();
    c.all_well();
    let pause = |on| Command::Pause { app: "shop".parse().unwrap(), on };
    c.apply(&pause(true));
    assert_eq!(told(&mut c), "");
    assert!(c.why("shop/web.2").contains("the update is paused: `taffeta resume APP` goes on"));
    c.apply(&pause(false));
    assert!(transcript(&mut c, 2).ends_with("settled\n"));
}

#[test]
fn a_version_that_does_not_work_in_time_is_given_up_and_the_rest_was_never_touched() {
    let mut c = deployed(3, 3, &UpdatePolicy::default());
    let before = c.state.tasks[&task_id("shop/web.3")].clone();
    c.deploy(&shop("2", 3, &UpdatePolicy::default()));
    assert!(told(&mut c).starts_with("web.1 to"));
    c.report("shop/web.1", Phase::Unhealthy, None);
    assert_eq!(told(&mut c), "");
    c.pass(299_000);
    assert_eq!(told(&mut c), "");
    c.pass(1_000);
    assert_eq!(told(&mut c), "back: web.1 of version 2 did not work within 300s\n");
    assert!(told(&mut c).starts_with("web.1 to"), "what is of no use is replaced at once");
    c.all_well();
    assert_eq!(told(&mut c), "settled\n");
    assert_eq!(c.state.tasks[&task_id("shop/web.3")], before);
    let shop = &c.state.apps[&"shop".parse().unwrap()];
    assert_eq!((shop.version, shop.app.jobs.values().next().unwrap().env["VERSION"].as_str()), (3, "1"));
    assert_eq!(
        shop.rollout.returned.as_deref(),
        Some("version 1 is back: web.1 of version 2 did not work within 300s")
    );
    // It does not come back by itself, and not by `rollback` without a number either.
    let back = |to| Command::Rollback {
        app: "shop".parse().unwrap(),
        seen_version: None,
        to,
        reason: None,
        now: UnixMillis(0),
    };
    let at = c.state.applied;
    let refused = c.state.clone().apply(at, &back(None));
    assert!(matches!(refused, taffeta_model::Outcome::Refused(_)), "{refused:?}");
    c.apply(&back(Some(2)));
    assert_eq!(c.state.apps[&"shop".parse().unwrap()].app.jobs.values().next().unwrap().env["VERSION"], "2");
}

#[test]
fn those_that_come_with_the_version_before_are_placed_in_the_next_turn() {
    let mut c = deployed(2, 2, &UpdatePolicy::default());
    c.deploy(&shop("2", 1, &UpdatePolicy::default()));
    assert!(told(&mut c).starts_with("web.1 to"));
    assert_eq!(told(&mut c), "");
    c.pass(300_000);
    assert_eq!(told(&mut c), "back: web.1 of version 2 did not work within 300s\n");
    assert!(told(&mut c).contains("web.2 to"));
}

#[test]
fn a_version_of_which_two_jobs_do_not_work_is_given_up_once() {
    let both = |version: &str| {
        let job = || service(1).checked().version(version);
        app("shop", &[("api", job()), ("web", job())])
    };
    let mut c = Cluster::of(2);
    c.deploy(&both("1"));
    c.settle();
    c.deploy(&both("2"));
    assert!(told(&mut c).starts_with("api.1 to"));
    assert_eq!(told(&mut c), "");
    c.pass(300_000);
    assert_eq!(told(&mut c), "back: api.1 of version 2 did not work within 300s\n");
    c.settle();
    assert_eq!(c.state.apps[&"shop".parse().unwrap()].version, 3);
}

#[test]
fn a_version_whose_files_are_on_their_way_has_longer_but_not_for_ever() {
    let fetch = vec![Fetch::new("http://127.0.0.1/x", Sha256([0; 32]))];
    let begun = || {
        let mut c = deployed(3, 3, &UpdatePolicy::default());
        c.deploy(&app("shop", &[("web", Job { fetch: fetch.clone(), ..service(3).checked().version("2") })]));
        assert!(told(&mut c).starts_with("web.1 to"));
        c.report("shop/web.1", Phase::Starting, None);
        assert_eq!(told(&mut c), "");
        c
    };
    let late = "back: web.1 of version 2 did not work within 300s\n";
    // They come, and it does not work: it has as long as any other from then on, however often it ends meanwhile.
    let mut c = begun();
    c.pass(500_000);
    c.report("shop/web.1", Phase::Unhealthy, None);
    assert_eq!(told(&mut c), "");
    c.pass(200_000);
    c.report("shop/web.1", Phase::Starting, Some(Exit::Code(1)));
    assert_eq!(told(&mut c), "");
    c.pass(99_000);
    assert_eq!(told(&mut c), "");
    c.pass(1_000);
    assert_eq!(told(&mut c), late);
    // They never come.
    let mut c = begun();
    c.pass(899_000);
    assert_eq!(told(&mut c), "");
    c.pass(1_000);
    assert_eq!(told(&mut c), late);
}

#[test]
fn an_instance_that_fails_long_after_its_update_brings_no_version_back() {
    let mut c = deployed(3, 3, &UpdatePolicy::default());
    c.deploy(&shop("2", 3, &UpdatePolicy::default()));
    assert!(transcript(&mut c, 2).ends_with("settled\n"));
    c.report("shop/web.1", Phase::Unhealthy, None);
    c.new_leader();
    c.pass(10_000_000);
    c.report("shop/web.1", Phase::Unhealthy, None);
    assert_eq!(told(&mut c), "");
}

#[test]
fn a_new_leader_goes_on_in_the_middle_of_any_step() {
    let update = UpdatePolicy { max_surge: 1, max_unavailable: 0, ..UpdatePolicy::default() };
    for killed_after in 0..8 {
        let mut c = deployed(4, 3, &update);
        c.deploy(&shop("2", 3, &update));
        for turn in 0..40 {
            if turn == killed_after {
                c.new_leader();
                c.pass(1000);
            }
            c.turn();
            assert!(c.serving("shop") >= 3 || turn == killed_after, "after {killed_after}, turn {turn}");
            c.all_well();
        }
        assert_eq!(c.state.tasks.len(), 3);
        assert!(c.state.tasks.values().all(|task| matches!(task.place, Place::On { .. })));
        assert!(c.state.tasks.values().all(|task| task.cause == Cause::Outdated));
    }
}

#[test]
fn a_drain_of_a_blue_green_service_needs_no_second_crowd() {
    let update = UpdatePolicy { blue_green: true, max_unavailable: 0, ..UpdatePolicy::default() };
    let mut c = Cluster::of(4);
    c.deploy(&shop("1", 3, &update));
    c.settle();
    let drained = c.on("shop/web.1");
    c.apply(&Command::Drain { node: NodeId(drained), on: true });
    let text = transcript(&mut c, 3);
    assert!(c.on("shop/web.1") != drained && text.contains("(Drained)"), "{text}");
    assert_eq!(text.matches("(Waited)").count(), 1, "one more comes first: {text}");
    assert_eq!(c.state.tasks.len(), 3, "{text}");
}

#[test]
fn what_came_beside_goes_when_its_version_is_given_up() {
    let update = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let mut c = deployed(3, 3, &update);
    let before = c.state.tasks.clone();
    c.deploy(&shop("2", 3, &update));
    transcript(&mut c, 3);
    let back = Command::Rollback {
        app: "shop".parse().unwrap(),
        seen_version: None,
        to: None,
        reason: None,
        now: UnixMillis(0),
    };
    c.apply(&back);
    let text = transcript(&mut c, 3);
    assert!(!text.contains(" to n"), "none starts again: {text}");
    assert_eq!(c.state.tasks, before);
}

#[test]
fn a_version_takes_over_although_only_one_that_was_never_promoted_works() {
    let by_hand = UpdatePolicy { blue_green: true, ..UpdatePolicy::default() };
    let promote = Some(std::time::Duration::from_secs(2));
    let by_itself = UpdatePolicy { blue_green: true, promote, ..UpdatePolicy::default() };
    let mut c = deployed(4, 3, &by_hand);
    let first = c.state.tasks.clone();
    let well_but_the_first = |c: &mut Cluster| {
        c.all_well();
        let same: Vec<_> = first.keys().filter(|id| c.state.tasks[*id] == first[*id]).cloned().collect();
        same.iter().for_each(|id| c.report(&id.to_string(), Phase::Unhealthy, None));
    };
    c.deploy(&shop("2", 3, &by_hand));
    for _ in 0..3 {
        c.turn();
        well_but_the_first(&mut c);
    }
    assert_eq!(c.state.tasks.len(), 6);
    c.deploy(&shop("3", 3, &by_itself));
    for _ in 0..30 {
        c.turn();
        well_but_the_first(&mut c);
        c.pass(1_000);
    }
    let revision = c.state.apps[&"shop".parse().unwrap()].revisions.values().next().copied();
    assert!(c.state.tasks.values().all(|task| Some(task.revision) == revision), "{:?}", c.state.tasks);
    assert_eq!(c.state.tasks.len(), 3, "those beside have gone");
}
