//! Reasons as people read them.

use super::fixture::{Cluster, GIB, MIB, With, app, service};
use crate::{Lack, impossible};
use taffeta_model::{Cpus, Job, Liveness, Operator};

#[test]
fn a_reason_names_what_is_short_on_each_machine() {
    let mut c = Cluster::of(3);
    c.member(2).capacity.memory = GIB + 205 * MIB;
    c.member(3).capacity.cpus = Cpus(500);
    c.member(3).capacity.memory = 0;
    c.deploy(&app("shop", &[("web", service(1).cpus(4500).memory(2 * GIB))]));
    let words = "n1: needs 4.5 cpus, 4 free; \
        n2: needs 4.5 cpus, 4 free and needs 2 GiB of memory, 1.2 GiB free; \
        n3: needs 4.5 cpus, 0.5 free and needs 2 GiB of memory, 0 B free";
    assert_eq!(c.why("shop/web.1"), words);
}

#[test]
fn a_reason_lists_ten_machines_and_counts_the_rest() {
    let mut c = Cluster::of(100);
    c.deploy(&app("shop", &[("web", service(1).memory(9 * GIB))]));
    let words = c.why("shop/web.1");
    assert_eq!(words.matches("needs 9 GiB of memory, 8 GiB free").count(), 10);
    assert!(words.ends_with("; and 90 more"), "{words}");
}

#[test]
fn constraints_are_told_as_they_are_written() {
    let mut c = Cluster::of(1);
    let why = |c: &mut Cluster, field: &str, operator: Operator| {
        c.deploy(&app("shop", &[("web", service(2).constraint(field, operator))]));
        c.settle();
        c.plan().waiting().map(|(_, why)| why.to_string()).next().unwrap_or_default()
    };
    assert_eq!(why(&mut c, "hostname", Operator::Unique), "n1: has one already (hostname UNIQUE)");
    let held = "still the older version, as the newer one cannot start: ";
    assert_eq!(why(&mut c, "zone", Operator::Unique), format!("{held}n1: has no zone (zone UNIQUE)"));
    c.member(1).zone = "a".into();
    assert_eq!(why(&mut c, "zone", Operator::MaxPer(1)), "n1: zone a has 1 already (zone MAX_PER 1)");
    assert_eq!(why(&mut c, "zone", Operator::Is("b".into())), format!("{held}n1: its zone is a (zone IS b)"));
}

#[test]
fn what_no_machine_could_ever_run_is_told_with_what_there_is() {
    let mut c = Cluster::of(3);
    c.member(1).zone = "a".into();
    c.member(2).zone = "b".into();
    c.member(2).custom.insert("gpu".into(), 2);
    c.member(3).capacity.memory = 16 * GIB;
    let told = |c: &Cluster, job: Job| {
        let found = impossible(&c.state, &app("shop", &[("web", job)]));
        found.first().map(ToString::to_string)
    };
    let why = |c: &Cluster, job: Job| {
        let words = told(c, job).unwrap();
        words.strip_prefix("no machine could ever run service.web, it would wait: ").unwrap().to_owned()
    };
    let rule = |field: &str, operator: Operator| service(1).constraint(field, operator);
    assert_eq!(told(&c, service(1).memory(16 * GIB).cpus(4000)), None, "as large as the largest");
    assert_eq!(told(&c, service(0).memory(99 * GIB)), None, "nothing is asked for");
    assert_eq!(told(&c, rule("zone", Operator::Is("b".into()))), None);
    assert_eq!(told(&c, rule("rack", Operator::Unlike("x".into()))), None, "what is not there is unlike");
    assert_eq!(why(&c, service(1).cpus(4001)), "needs 4.001 cpus, 4 free on the largest machine");
    let gpus = |count| Job { custom: [("gpu".to_owned(), count)].into(), ..service(1) };
    assert_eq!(told(&c, gpus(2)), None);
    assert_eq!(why(&c, gpus(3)), "needs 3 gpu, 2 free on the largest machine");
    let is = |value: &str| Operator::Is(value.into());
    assert_eq!(why(&c, rule("zone", is("c"))), "none passes `zone IS c`, there is a, b");
    assert_eq!(why(&c, rule("rack", Operator::Unique)), "none has any rack (`rack UNIQUE`)");
    assert_eq!(why(&c, rule("zone", Operator::Like("[c-z]".into()))), "none passes `zone LIKE [c-z]`, there is a, b");
    assert_eq!(
        why(&c, rule("hostname", Operator::Unlike("n.".into()))),
        "none passes `hostname UNLIKE n.`, there is n1, n2, n3"
    );
    let both = Job { custom: [("gpu".to_owned(), 1)].into(), ..rule("zone", is("a")) };
    assert_eq!(why(&c, both.clone()), "none has all at once that it asks for");
    let field = |job: Job| impossible(&c.state, &app("shop", &[("web", job)]))[0].field();
    assert_eq!(field(rule("zone", is("c"))), "service.web.constraints");
    assert_eq!(field(gpus(3)), "service.web.resources");
    assert_eq!(field(service(1).cpus(4001)), "service.web.cpus");
    assert_eq!(field(service(1).memory(99 * GIB)), "service.web.memory");
    assert_eq!(field(both), "service.web");
    // A machine that is drained, or down, is one that could.
    c.member(2).draining = true;
    c.see(2, Liveness::Down, true);
    assert_eq!(told(&c, gpus(2)), None);
}

#[test]
fn without_a_machine_there_is_one_reason() {
    let mut c = Cluster::of(1);
    c.see(1, Liveness::Down, true);
    c.deploy(&app("shop", &[("web", service(1))]));
    assert_eq!(c.why("shop/web.1"), "no machine is alive");
}

#[test]
fn needs_and_rest_never_read_the_same() {
    let words = |needed, free| Lack::Memory { needed, free }.to_string();
    assert_eq!(words(2 * GIB, 2 * GIB - 1), "needs 2 GiB of memory, 1.9 GiB free");
    assert_eq!(words(GIB + 1, GIB), "needs 1.1 GiB of memory, 1 GiB free");
    assert_eq!(words(1536, 1023), "needs 1.5 KiB of memory, 1023 B free");
    assert_eq!(Lack::Disk { needed: u64::MAX, free: 0 }.to_string(), "needs 17179869184 GiB of disk, 0 B free");
}
