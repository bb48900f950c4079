//! What a deploy would do is told before it does it.

use super::fixture::{Cluster, GIB, With, app, batch, service, task_id};
use crate::{Change, Preview, preview};
use taffeta_model::{App, Liveness, NodeId, Refusal};

fn look(c: &Cluster, app: &App) -> Preview {
    preview(c.now, &c.state, &c.ring, app).unwrap()
}

#[test]
fn a_new_app_is_shown_with_all_its_places_also_behind_batch_jobs() {
    let mut c = Cluster::of(3);
    let shop = app("shop", &[("migrate", batch(1)), ("web", service(3).after(&["migrate"]))]);
    let preview = look(&c, &shop);
    c.deploy(&shop);
    c.settle();
    for i in 1..=3 {
        let task = format!("shop/web.{i}");
        assert_eq!(preview.tasks[&task_id(&task)], Change::Create { node: NodeId(c.on(&task)) });
    }
    assert!(matches!(preview.tasks[&task_id("shop/migrate.1")], Change::Create { .. }));
}

#[test]
fn each_kind_of_change_is_told() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("a", service(2)), ("b", service(2)), ("old", service(1)), ("m", batch(1))]));
    c.settle();
    let new = app(
        "shop",
        &[("a", service(1)), ("b", service(2).version("2")), ("big", service(1).memory(9 * GIB)), ("m", batch(1))],
    );
    let preview = look(&c, &new);
    let change = |task: &str| &preview.tasks[&task_id(task)];
    let on = |task: &str| NodeId(c.on(task));
    assert_eq!(*change("shop/a.1"), Change::Keep { node: on("shop/a.1") });
    assert_eq!(*change("shop/a.2"), Change::Remove { node: Some(on("shop/a.2")) });
    assert_eq!(*change("shop/b.1"), Change::Update { node: on("shop/b.1") });
    assert_eq!(*change("shop/b.2"), Change::Update { node: on("shop/b.2") });
    assert_eq!(*change("shop/old.1"), Change::Remove { node: Some(on("shop/old.1")) });
    assert!(matches!(change("shop/m.1"), Change::Keep { .. }));
    let Change::Wait { reason } = change("shop/big.1") else { panic!("{preview:?}") };
    assert!(reason.to_string().starts_with("n1: needs 9 GiB of memory, "), "{reason}");
    assert_eq!(preview.tasks.len(), 7);
}

#[test]
fn what_has_to_wait_for_its_machine_is_told_as_an_update() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    c.see(1, Liveness::Suspect, false);
    let web = task_id("shop/web.1");
    assert_eq!(look(&c, &app("shop", &[("web", service(1))])).tasks[&web], Change::Keep { node: NodeId(1) });
    let newer = app("shop", &[("web", service(1).version("2"))]);
    assert_eq!(look(&c, &newer).tasks[&web], Change::Update { node: NodeId(1) });
}

#[test]
fn an_app_that_would_be_refused_has_no_preview() {
    let c = Cluster::of(1);
    let cycle = app("shop", &[("a", service(1).after(&["b"])), ("b", service(1).after(&["a"]))]);
    assert!(matches!(preview(c.now, &c.state, &c.ring, &cycle), Err(Refusal::Invalid { .. })));
}
