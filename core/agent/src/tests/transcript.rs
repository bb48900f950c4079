//! The life of a task, to be read.

use super::{Node, batch, checked, run, set};
use std::fmt::Write;
use taffeta_model::{Exit, Job};

/// Writes down what is told to the agent, what it asks for, and its record whenever that changed.
struct Scribe {
    node: Node,
    text: String,
    last: String,
}

impl Scribe {
    fn new(node: Node) -> Self {
        Self { node, text: String::new(), last: String::new() }
    }

    fn tell(&mut self, event: &str, f: impl FnOnce(&mut Node)) {
        writeln!(self.text, "{:>6} < {event}", self.node.now.0).unwrap();
        f(&mut self.node);
        self.look();
    }

    fn look(&mut self) {
        for action in self.node.step() {
            writeln!(self.text, "{:>6} > {action}", self.node.now.0).unwrap();
        }
        let records = self.node.agent.records();
        let all: Vec<String> = records
            .iter()
            .map(|r| {
                let serving = if r.serving { ", serving" } else { "" };
                format!("{} {}{serving} restarts={} {}", r.task, r.phase, r.restarts, r.reason).trim_end().into()
            })
            .collect();
        let now = if all.is_empty() { "no record".into() } else { all.join("\n         ") };
        if now != self.last {
            writeln!(self.text, "         {now}").unwrap();
            self.last = now;
        }
    }

    /// Goes to the next wake.
    fn wait(&mut self) {
        self.node.now = self.node.agent.next_wake().expect("something to wait for");
        self.look();
    }
}

const R0: &str = "shop.web.1-0.1.3-0";
const R1: &str = "shop.web.1-0.1.3-1";

fn one(at: u64, job: Job) -> taffeta_model::AssignedSet {
    set(at, &[("shop/web.1", 3, job)])
}

#[test]
fn the_life_of_a_service() {
    let mut s = Scribe::new(Node::recovered(vec![], None));
    s.tell("set 3: shop/web.1, confirmed", |n| n.accept(one(3, checked())));
    s.tell("started 0", |n| n.started(R0));
    s.tell("check: connection refused", |n| n.check(R0, Err("connection refused")));
    s.wait();
    s.tell("check: ok", |n| n.check(R0, Ok(())));
    s.wait();
    s.tell("exit 0: code 1", |n| n.exits(R0, Exit::Code(1)));
    s.wait();
    s.tell("started 1", |n| n.started(R1));
    s.tell("check: ok", |n| n.check(R1, Ok(())));
    s.tell("set 4: nothing, confirmed", |n| n.accept(set(4, &[])));
    s.wait();
    s.wait();
    s.tell("exit 1: signal 9", |n| n.exits(R1, Exit::Signal(9)));
    s.tell("forgotten 0 and 1", |n| [R0, R1].iter().for_each(|r| n.agent.handle_forgotten(&run(r))));
    assert_eq!(s.node.agent.next_wake(), None);
    insta::assert_snapshot!(s.text, @r"
         0 < set 3: shop/web.1, confirmed
         0 > start shop.web.1-0.1.3-0
             shop/web.1 starting restarts=0
         0 < started 0
         0 > check shop.web.1-0.1.3-0
             shop/web.1 running restarts=0 not checked yet
         0 < check: connection refused
             shop/web.1 running restarts=0 no health check has passed yet: connection refused
       100 > check shop.web.1-0.1.3-0
       100 < check: ok
             shop/web.1 healthy, serving restarts=0
      1100 > check shop.web.1-0.1.3-0
      1100 < exit 0: code 1
             shop/web.1 starting restarts=0 exited with 1; restart 1 in 250 ms
      1350 > start shop.web.1-0.1.3-1
             shop/web.1 starting restarts=1
      1350 < started 1
      1350 > check shop.web.1-0.1.3-1
             shop/web.1 running restarts=1 not checked yet
      1350 < check: ok
             shop/web.1 healthy, serving restarts=1
      1350 < set 4: nothing, confirmed
      1350 > forget shop.web.1-0.1.3-0
             shop/web.1 stopping restarts=1 no longer assigned to this machine
      2850 > terminate shop.web.1-0.1.3-1
     12850 > kill shop.web.1-0.1.3-1
     12850 < exit 1: signal 9
     12850 > forget shop.web.1-0.1.3-1
             no record
     12850 < forgotten 0 and 1
    ");
}

#[test]
fn the_life_of_a_batch_task() {
    let mut s = Scribe::new(Node::recovered(vec![], Some(one(3, batch(1)))));
    s.look();
    s.tell("set 3: confirmed", |n| n.accept(one(3, batch(1))));
    s.tell("started 0", |n| n.started(R0));
    s.tell("exit 0: out of memory", |n| n.exits(R0, Exit::OutOfMemory));
    s.wait();
    s.tell("started 1", |n| n.started(R1));
    s.tell("exit 1: code 0", |n| n.exits(R1, Exit::Code(0)));
    s.tell("forgotten 0", |n| n.agent.handle_forgotten(&run(R0)));
    s.tell("set 4: nothing, confirmed", |n| n.accept(set(4, &[])));
    assert_eq!(s.node.agent.next_wake(), None);
    insta::assert_snapshot!(s.text, @r"
             shop/web.1 starting restarts=0 waits for a leader to confirm that it still belongs here
         0 < set 3: confirmed
         0 > start shop.web.1-0.1.3-0
             shop/web.1 starting restarts=0
         0 < started 0
             shop/web.1 running, serving restarts=0
         0 < exit 0: out of memory
             shop/web.1 starting restarts=0 killed: out of memory; restart 1 in 250 ms
       250 > start shop.web.1-0.1.3-1
             shop/web.1 starting restarts=1
       250 < started 1
             shop/web.1 running, serving restarts=1
       250 < exit 1: code 0
       250 > forget shop.web.1-0.1.3-0
             shop/web.1 finished restarts=1 exited with 0
       250 < forgotten 0
       250 < set 4: nothing, confirmed
       250 > forget shop.web.1-0.1.3-1
             no record
    ");
}
