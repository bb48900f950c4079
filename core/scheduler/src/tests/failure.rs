//! A drain and the death of a machine, told line by line.

use super::{
    fixture::{Cluster, With, app, service},
    rollouts::words,
};
use std::fmt::Write;
use taffeta_model::{Command, Liveness, NodeId, Operator, Phase};

struct Story {
    c: Cluster,
    lines: String,
}

impl Story {
    /// On three machines.
    fn begin() -> Self {
        Self { c: Cluster::of(3), lines: String::new() }
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.lines, "-- {what}").unwrap();
    }

    /// One turn: what is decided, and who is probed.
    fn turn(&mut self) {
        let plan = self.c.turn();
        let mut told = words(&plan);
        plan.probe.iter().for_each(|node| writeln!(told, "n{} is probed", node.0).unwrap());
        self.lines += if told.is_empty() { "nothing\n" } else { told.as_str() };
    }

    /// Why the task waits.
    fn why(&mut self, task: &str) {
        let why = self.c.why(task);
        writeln!(self.lines, "{task}: {why}").unwrap();
    }
}

#[test]
fn a_machine_is_drained_and_used_again() {
    let mut story = Story::begin();
    story.c.deploy(&app("shop", &[("web", service(6).checked())]));
    story.c.settle();
    let pinned = service(1).constraint("hostname", Operator::Is("n1".into()));
    story.c.deploy(&app("pin", &[("pin", pinned)]));
    story.c.settle();
    story.tell("n1 is drained; one of six may be missing");
    story.c.apply(&Command::Drain { node: NodeId(1), on: true });
    story.turn();
    story.turn();
    story.tell("it works there");
    story.c.all_well();
    story.turn();
    story.turn();
    story.tell("so does the other");
    story.c.all_well();
    story.turn();
    story.why("pin/pin.1");
    story.tell("n1 takes tasks again, and none comes back by itself");
    story.c.apply(&Command::Drain { node: NodeId(1), on: false });
    story.turn();
    story.tell("one more is asked for");
    story.c.apply(&Command::Scale { app: "shop".parse().unwrap(), job: "web".parse().unwrap(), count: 7 });
    story.turn();
    assert_eq!(story.lines.trim_end(), DRAIN.trim());
}

const DRAIN: &str = "
-- n1 is drained; one of six may be missing
web.2 to n3 (Drained)
nothing
-- it works there
web.5 to n2 (Drained)
nothing
-- so does the other
nothing
pin/pin.1: still on a machine that is drained, as no other one takes it: n1: is being drained; n2: its hostname is n2 (hostname IS n1); n3: its hostname is n3 (hostname IS n1)
-- n1 takes tasks again, and none comes back by itself
nothing
-- one more is asked for
web.7 to n1 (Waited)
";

#[test]
fn a_machine_dies_and_comes_back() {
    let mut story = Story::begin();
    story.c.deploy(&app("shop", &[("web", service(3).checked())]));
    story.c.settle();
    // No machine has room for two of these.
    story.c.deploy(&app("data", &[("db", service(3).cpus(3000))]));
    story.c.settle();
    story.tell("n1 does not answer");
    story.c.see(1, Liveness::Suspect, false);
    story.turn();
    story.tell("two seconds later the ring holds it for dead");
    story.c.pass(2000);
    story.c.turns(1, Liveness::Down);
    story.turn();
    story.tell("five seconds after the first suspicion, which is hearsay still");
    story.c.pass(3000);
    story.turn();
    story.tell("the leader's own probes have failed");
    story.c.confirm_dead(1);
    story.turn();
    story.c.all_well();
    story.turn();
    story.why("data/db.2");
    story.tell("a process fails: its machine starts it again");
    story.c.report("shop/web.1", Phase::Unhealthy, None);
    story.turn();
    story.tell("another one leads");
    story.c.new_leader();
    story.turn();
    story.tell("n1 is back");
    story.c.see(1, Liveness::Alive, false);
    story.turn();
    story.c.all_well();
    story.turn();
    assert_eq!(story.lines.trim_end(), FAILURE.trim());
}

const FAILURE: &str = "
-- n1 does not answer
n1 is probed
-- two seconds later the ring holds it for dead
n1 is probed
-- five seconds after the first suspicion, which is hearsay still
n1 is probed
-- the leader's own probes have failed
db.2 goes (MachineLost)
web.2 to n3 (MachineLost)
nothing
data/db.2: n2: needs 3 cpus, 0.9 free; n3: needs 3 cpus, 0.8 free; n1: is down
-- a process fails: its machine starts it again
nothing
-- another one leads
nothing
-- n1 is back
db.2 to n1 (Waited)
nothing
";
