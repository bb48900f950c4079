//! Tasks that have data, as a story and rule by rule.

use super::fixture::{Cluster, GIB, With, app, batch, service, task_id};
use crate::{Hopeless, Lack, impossible};
use taffeta_model::{
    Cause, Command, Cpus, Job, Liveness, NodeId, Operator, Phase, Place, Placement, Resources, VolumeId,
};

fn db(count: u32) -> Job {
    service(count).checked().volume("data", 10)
}

/// A machine dies, and the leader finds out.
fn die(c: &mut Cluster, machine: u64) {
    c.see(machine, Liveness::Down, true);
    c.pass(10_000);
}

#[test]
fn a_task_with_data_waits_for_its_machine_and_comes_back_with_it() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("db", db(2))]));
    c.settle();
    let (first, second) = (c.on("shop/db.1"), c.on("shop/db.2"));
    assert_ne!(first, second, "they spread as ever");
    die(&mut c, first);
    c.settle();
    assert_eq!((c.on("shop/db.1"), c.on("shop/db.2")), (0, second));
    assert_eq!(
        c.why("shop/db.1"),
        format!(
            "its volume `data` is on n{first}, which is down; it waits for it, or `taffeta volume reset shop/db.1 --yes` \
             starts it empty elsewhere"
        )
    );
    c.see(first, Liveness::Alive, false);
    c.settle();
    assert_eq!(c.on("shop/db.1"), first);
}

#[test]
fn once_reset_it_begins_anew_on_any_machine() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("db", db(1))]));
    c.settle();
    let first = c.on("shop/db.1");
    die(&mut c, first);
    c.settle();
    c.apply(&Command::ResetVolume { task: task_id("shop/db.1") });
    c.settle();
    let second = c.on("shop/db.1");
    assert!(second != 0 && second != first);
    c.see(first, Liveness::Alive, false);
    c.settle();
    assert_eq!(c.on("shop/db.1"), second, "what is on the machine that came back counts for nothing");
    assert_eq!(c.state.assigned_to(NodeId(first)).unwrap().volumes, Some([].into()));
}

#[test]
fn what_comes_back_smaller_gives_its_room_to_others_in_the_next_turn() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("db", service(1).volume("data", 60))]));
    c.settle();
    die(&mut c, 1);
    c.turn();
    c.deploy(&app("shop", &[("db", service(1).volume("data", 10))]));
    c.deploy(&app("mail", &[("db", Job { priority: 80, ..service(1).volume("data", 60) })]));
    c.see(1, Liveness::Alive, false);
    c.turn();
    assert_eq!((c.on("shop/db.1"), c.on("mail/db.1")), (1, 0), "the other one is asked first, and has no room yet");
    c.turn();
    assert_eq!(c.on("mail/db.1"), 1);
}

#[test]
fn a_machine_that_was_removed_is_told_as_such() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("db", db(1))]));
    c.settle();
    let node = NodeId(c.on("shop/db.1"));
    c.apply(&Command::RemoveMember { node, now: c.ring.date() });
    c.settle();
    assert_eq!(
        c.why("shop/db.1"),
        "its volume `data` was on a machine that was removed from the cluster; `taffeta volume reset shop/db.1 --yes` \
         starts it empty elsewhere"
    );
}

#[test]
fn its_room_is_kept_while_nobody_uses_it() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("db", db(1).volume("data", 70))]));
    c.settle();
    c.apply(&Command::Stop { app: "shop".parse().unwrap() });
    let mut big = service(1);
    big.resources.disk = 40 * GIB;
    c.deploy(&app("blog", &[("big", big)]));
    c.settle();
    assert_eq!(c.why("blog/big.1"), "n1: needs 40 GiB of disk, 30 GiB free");
    c.apply(&Command::RemoveVolume { task: task_id("shop/db.1"), name: None });
    c.settle();
    assert_eq!(c.on("blog/big.1"), 1);
    c.deploy(&app("shop", &[("db", db(1).volume("data", 70))]));
    c.settle();
    assert_eq!(c.why("shop/db.1"), "n1: needs 70 GiB of disk, 60 GiB free", "a new one needs room like anything else");
}

#[test]
fn an_update_happens_in_its_place_also_when_the_machine_is_full() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("db", db(2).volume("data", 60).version("1"))]));
    c.settle();
    let places = (c.on("shop/db.1"), c.on("shop/db.2"));
    c.deploy(&app("shop", &[("db", db(2).volume("data", 60).version("2"))]));
    c.settle();
    assert_eq!((c.on("shop/db.1"), c.on("shop/db.2")), places);
    assert!(c.state.tasks.values().all(|task| task.attempt == 2));
    // Larger, as far as there is room.
    c.deploy(&app("shop", &[("db", db(2).volume("data", 100).version("2"))]));
    c.settle();
    assert_eq!((c.on("shop/db.1"), c.on("shop/db.2")), places);
    assert!(c.state.volumes.values().all(|volume| volume.size == 100 * GIB));
    c.deploy(&app("shop", &[("db", db(2).volume("data", 101).version("2"))]));
    c.settle();
    let why = c.why("shop/db.1");
    assert_eq!(
        why,
        format!(
            "still the older version, as the newer one finds no room beside its volume `data`: n{}: needs 101 GiB of \
             disk, 100 GiB free",
            places.0
        )
    );
    assert_eq!(c.serving("shop"), 2);
}

#[test]
fn another_name_is_another_volume_and_the_older_one_stays() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("db", db(1).volume("data", 60))]));
    c.settle();
    let first = c.on("shop/db.1");
    c.deploy(&app("shop", &[("db", db(1).volume("new", 60))]));
    c.settle();
    assert_ne!(c.on("shop/db.1"), first, "there is no room for both on one machine");
    c.deploy(&app("shop", &[("db", db(1).volume("data", 60))]));
    c.settle();
    assert_eq!(c.on("shop/db.1"), first, "back to the data that it had");
    let id = VolumeId { task: task_id("shop/db.1"), name: "new".parse().unwrap() };
    assert!(c.state.volumes.contains_key(&id));
}

#[test]
fn a_drain_leaves_it_and_says_why() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("db", db(1)), ("web", service(3).checked())]));
    c.settle();
    let machine = c.on("shop/db.1");
    c.apply(&Command::Drain { node: NodeId(machine), on: true });
    c.settle();
    assert_eq!(c.on("shop/db.1"), machine);
    assert_eq!(c.why("shop/db.1"), "stays on a machine that is drained, as its volume `data` is there");
    let there = c.state.tasks.values().filter(|task| task.node() == Some(NodeId(machine))).count();
    assert_eq!(there, 1, "all others have gone");
}

#[test]
fn it_never_makes_way_and_others_make_way_for_it_where_its_data_is() {
    let mut c = Cluster::of(2);
    c.deploy(&app("low", &[("db", Job { priority: 10, ..db(2).cpus(3000) })]));
    c.settle();
    c.deploy(&app("high", &[("web", Job { priority: 90, ..service(2).cpus(3000) })]));
    c.settle();
    assert!([c.on("low/db.1"), c.on("low/db.2")].iter().all(|on| *on != 0));
    assert_eq!([c.on("high/web.1"), c.on("high/web.2")], [0, 0], "whoever has data is not sent nowhere");
    let mut c = Cluster::of(2);
    c.deploy(&app("high", &[("db", Job { priority: 90, ..db(1).cpus(3000) })]));
    c.settle();
    let machine = c.on("high/db.1");
    die(&mut c, machine);
    c.settle();
    c.see(machine, Liveness::Alive, false);
    c.deploy(&app("low", &[("web", Job { priority: 10, ..service(2).cpus(3000) })]));
    let to_low = |index: u64| Placement {
        task: task_id(&format!("low/web.{index}")),
        seen_attempt: 0,
        node: NodeId(index),
        cause: Cause::Waited,
        older: false,
    };
    c.apply(&Command::Place(vec![to_low(1), to_low(2)]));
    c.settle();
    assert_eq!(c.on("high/db.1"), machine);
    assert_eq!(c.state.tasks.values().filter(|task| matches!(task.place, Place::Waiting { .. })).count(), 1);
}

#[test]
fn those_with_data_get_their_places_before_those_without() {
    let mut c = Cluster::of(2);
    let job = |count| db(count).constraint("hostname", Operator::Unique);
    c.deploy(&app("shop", &[("db", job(2))]));
    c.settle();
    let second = c.on("shop/db.2");
    c.apply(&Command::Stop { app: "shop".parse().unwrap() });
    c.apply(&Command::RemoveVolume { task: task_id("shop/db.1"), name: None });
    c.deploy(&app("shop", &[("db", job(2))]));
    c.settle();
    assert_eq!(c.on("shop/db.2"), second);
    assert_eq!(c.on("shop/db.1"), 3 - second);
}

#[test]
fn a_batch_task_runs_again_where_its_data_is() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("sum", batch(1).volume("data", 1))]));
    c.settle();
    let first = c.state.volumes.values().next().unwrap().node;
    for _ in 0..3 {
        c.apply(&Command::Restart { app: "shop".parse().unwrap(), job: None });
        c.turn();
        assert_eq!(c.on("shop/sum.1"), first.0);
        c.report("shop/sum.1", Phase::Finished, None);
        c.settle();
    }
}

#[test]
fn what_no_disk_could_hold_is_told_before() {
    let mut c = Cluster::of(2);
    c.member(1).capacity = Resources { cpus: Cpus(4000), memory: 8 * GIB, disk: 20 * GIB, ports: 100 };
    let found = impossible(&c.state, &app("shop", &[("db", db(1).volume("data", 101))]));
    let lack = Lack::Disk { needed: 101 * GIB, free: 100 * GIB };
    assert_eq!(found[0].hopes, [Hopeless::TooLarge(lack)]);
}
