use super::{Log, app, job_name, ring, task};
use crate::{
    Cause, Command, Fence, NodeId, Outcome, Place, Placement, Refusal, Removal, State, VolumeId, VolumeName,
    VolumeState,
};

const DB: &str =
    "app = \"shop\"\n[service.db]\nrun = [\"./db\"]\ncount = 2\nvolume = { name = \"data\", size = \"1GiB\" }\n";

fn db() -> Log {
    let mut log = ring();
    log.deploy(DB);
    log
}

fn name(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

fn id(of: &str, volume: &str) -> VolumeId {
    VolumeId { task: task(of), name: name(volume) }
}

impl Log {
    fn volume(&self, of: &str, volume: &str) -> Option<VolumeState> {
        self.state.volumes.get(&id(of, volume)).copied()
    }

    fn try_place(&mut self, of: &str, node: u64) {
        let (task, cause) = (task(of), Cause::Waited);
        let seen_attempt = self.state.tasks[&task].attempt;
        self.apply(Command::Place(vec![Placement { task, seen_attempt, node: NodeId(node), cause, older: false }]));
    }

    fn lose(&mut self, of: &str) {
        let (task, cause) = (task(of), Cause::MachineLost);
        let seen_attempt = self.state.tasks[&task].attempt;
        self.apply(Command::Remove(vec![Removal { task, seen_attempt, cause }]));
    }
}

fn reset(of: &str) -> Command {
    Command::ResetVolume { task: task(of) }
}

fn remove(of: &str, name: Option<VolumeName>) -> Command {
    Command::RemoveVolume { task: task(of), name }
}

#[test]
fn the_first_placement_makes_the_volume_and_no_other_machine_gets_the_task() {
    let mut log = db();
    assert!(log.state.volumes.is_empty(), "nothing is made before it has a place");
    let born = log.place("shop/db.1", 2);
    assert_eq!(log.volume("shop/db.1", "data"), Some(VolumeState { node: NodeId(2), size: 1 << 30, born }));
    let set = log.state.assigned_to(NodeId(2)).unwrap();
    assert_eq!(set.volumes, Some([(id("shop/db.1", "data"), born)].into()));
    assert_eq!(set.tasks[&task("shop/db.1")].volume, Some(born));
    log.lose("shop/db.1");
    log.try_place("shop/db.1", 3);
    assert!(matches!(log.place_of("shop/db.1"), Place::Waiting { .. }), "its data is elsewhere");
    log.place("shop/db.1", 2);
    assert_eq!(log.volume("shop/db.1", "data").unwrap().born, born, "it is the same one");
    log.place("shop/db.2", 3);
}

#[test]
fn it_outlives_a_scale_down_and_the_app() {
    let mut log = db();
    let born = log.place("shop/db.2", 3);
    let (app, job) = (super::app_name("shop"), job_name("db"));
    log.apply(Command::Scale { app: app.clone(), job, count: 1 });
    log.apply(Command::Stop { app });
    assert_eq!(log.state.assigned_to(NodeId(3)).unwrap().volumes, Some([(id("shop/db.2", "data"), born)].into()));
    log.deploy(DB);
    log.try_place("shop/db.2", 1);
    assert!(matches!(log.place_of("shop/db.2"), Place::Waiting { .. }));
    log.place("shop/db.2", 3);
}

#[test]
fn another_size_is_the_same_volume_and_another_name_is_another_one() {
    let mut log = db();
    let born = log.place("shop/db.1", 2);
    log.deploy(&DB.replace("1GiB", "3GiB"));
    assert_eq!(log.volume("shop/db.1", "data").unwrap().size, 1 << 30, "until it is placed");
    log.place("shop/db.1", 2);
    assert_eq!(log.volume("shop/db.1", "data"), Some(VolumeState { node: NodeId(2), size: 3 << 30, born }));
    log.deploy(&DB.replace("\"data\"", "\"new\""));
    let at = log.place("shop/db.1", 3);
    assert_eq!(log.volume("shop/db.1", "new").map(|v| (v.node, v.born)), Some((NodeId(3), at)));
    assert_eq!(
        log.volume("shop/db.1", "data").map(|v| v.node),
        Some(NodeId(2)),
        "the one before stays until it is removed"
    );
    log.apply(remove("shop/db.1", Some(name("data"))));
    assert!(log.volume("shop/db.1", "data").is_none() && log.volume("shop/db.1", "new").is_some());
}

#[test]
fn a_reset_is_for_one_that_waits_and_a_removal_for_one_that_has_gone() {
    let mut log = db();
    assert_eq!(log.refuse(reset("shop/db.1")), Refusal::UnknownVolume { task: task("shop/db.1"), name: None });
    log.place("shop/db.1", 2);
    let placed = log.refuse(reset("shop/db.1")).to_string();
    assert!(placed.contains("`shop/db.1` is placed where its volume is"), "{placed}");
    assert!(matches!(log.refuse(remove("shop/db.1", None)), Refusal::VolumeInUse { .. }));
    log.lose("shop/db.1");
    assert!(matches!(log.refuse(remove("shop/db.1", None)), Refusal::VolumeInUse { .. }), "it waits for it");
    let at = log.apply(reset("shop/db.1"));
    assert_eq!(log.assigned_fence(2), at, "the machine learns that it is not wanted any more");
    assert_eq!(log.state.assigned_to(NodeId(2)).unwrap().volumes, Some([].into()));
    let born = log.place("shop/db.1", 3);
    assert_eq!(log.volume("shop/db.1", "data"), Some(VolumeState { node: NodeId(3), size: 1 << 30, born }));
    log.apply(Command::Stop { app: super::app_name("shop") });
    assert!(matches!(log.refuse(reset("shop/db.1")), Refusal::VolumeInUse { .. }), "nobody is there to begin anew");
    let other = log.refuse(remove("shop/db.1", Some(name("other"))));
    assert_eq!(other.to_string(), "`shop/db.1` has no volume `other`");
    log.apply(remove("shop/db.1", None));
    assert!(log.state.volumes.is_empty());
}

#[test]
fn a_machine_that_is_removed_takes_the_data_with_it_and_nothing_begins_empty_by_itself() {
    let mut log = db();
    log.place("shop/db.1", 2);
    log.apply(Command::RemoveMember { node: NodeId(2), now: super::NOW });
    log.try_place("shop/db.1", 3);
    assert!(matches!(log.place_of("shop/db.1"), Place::Waiting { .. }), "the operator says when it begins anew");
    log.apply(reset("shop/db.1"));
    log.place("shop/db.1", 3);
}

#[test]
fn a_snapshot_keeps_which_machine_has_which() {
    let mut log = db();
    log.place("shop/db.1", 2);
    let bytes = postcard::to_stdvec(&log.state).unwrap();
    let read: State = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, log.state);
    assert_eq!(read.assigned_to(NodeId(2)), log.state.assigned_to(NodeId(2)));
}

#[test]
fn there_is_a_bound_and_it_is_told_at_the_deploy() {
    let mut log = ring();
    for i in 0..super::super::VOLUMES_MAX {
        let id = VolumeId { task: format!("old/db.{}", i + 1).parse().unwrap(), name: name("data") };
        log.state.volumes.place(Fence::default(), id, NodeId(1), 1);
    }
    let outcome = log.try_apply(Command::Deploy { app: app(DB).into(), now: super::NOW });
    assert!(matches!(outcome, Outcome::Refused(Refusal::Full(_, ref what)) if what == "volumes"), "{outcome:?}");
}
