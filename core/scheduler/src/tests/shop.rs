//! The story of the shop: deployed on three machines, one is killed, and it comes back.

use super::fixture::{Cluster, With, app, batch, service};
use std::collections::BTreeMap;
use taffeta_model::{Exit, Liveness, NodeId, Place};

fn alive_load(c: &Cluster, job: &str) -> BTreeMap<u64, usize> {
    let mut load = BTreeMap::new();
    for (_, task) in c.state.tasks.iter().filter(|(id, _)| id.job.as_str() == job) {
        *load.entry(task.node().expect("placed").0).or_default() += 1;
    }
    load
}

#[test]
fn the_shop_survives_the_death_of_a_machine_and_its_return() {
    let mut c = Cluster::of(3);
    let after = |count| service(count).checked().free_ports(1).after(&["migrate"]);
    let jobs = [("migrate", batch(1)), ("web", after(3)), ("orders", after(2)), ("inventory", after(2))];
    c.deploy(&app("shop", &jobs));

    let first = c.turn();
    assert_eq!((first.waiting().count(), c.load().values().sum::<usize>()), (7, 1), "migrate comes first");
    assert!(c.settle().waiting().next().is_none());
    assert!(matches!(c.place("shop/migrate.1"), Place::Ended { exit: Exit::Code(0), .. }));
    assert_eq!(alive_load(&c, "web"), [(1, 1), (2, 1), (3, 1)].into());
    assert!(c.load().values().all(|tasks| (2..=3).contains(tasks)), "{:?}", c.load());

    // Killed: the tasks of others stay where they are, and those of the dead machine move once, all of them.
    let before = c.state.tasks.clone();
    c.see(2, Liveness::Suspect, false);
    c.pass(1000);
    assert!(c.turn().commands.is_empty());
    c.turns(2, Liveness::Down);
    c.pass(3999);
    assert!(c.turn().commands.is_empty());
    c.confirm_dead(2);
    c.pass(1);
    c.turn();
    let moved: Vec<_> = c.state.tasks.iter().filter(|(id, task)| before[*id] != **task).map(|(id, _)| id).collect();
    let hosted: Vec<_> = before.iter().filter(|(_, task)| task.node() == Some(NodeId(2))).map(|(id, _)| id).collect();
    assert!(moved == hosted && !moved.is_empty(), "{moved:?} {hosted:?}");
    assert!(!c.load().contains_key(&2));
    assert!(c.settle().waiting().next().is_none());

    // Back: what it ran was given away, so that nothing runs twice, and nothing moves for the sake of balance.
    let healed = c.state.tasks.clone();
    c.see(2, Liveness::Alive, false);
    c.settle();
    assert_eq!(c.state.tasks, healed);
    assert!(c.state.assigned_to(NodeId(2)).unwrap().tasks.is_empty());

    // It is given work again: the next instances go to the empty machine.
    c.apply(&taffeta_model::Command::Scale { app: "shop".parse().unwrap(), job: "web".parse().unwrap(), count: 5 });
    c.settle();
    assert_eq!(alive_load(&c, "web").values().copied().max(), Some(2));
    assert!(alive_load(&c, "web").contains_key(&2));
}
