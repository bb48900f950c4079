use super::{Rounds, Table};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use taffeta_model::{Fence, Leased, Millis, NodeId, TaskId};
use tokio::{sync::Notify, task::yield_now};

#[test]
fn a_lease_has_passed_a_tenth_later_than_its_holder_counts_from_the_last_grant_or_the_beginning() {
    let task: TaskId = "shop/one.1".parse().unwrap();
    let leased = Leased { node: NodeId(1), fence: Fence::default(), lasts: Duration::from_secs(10) };
    let mut table = Table { since: Millis(5_000), ..Table::default() };
    assert!(!table.has_passed(Millis(15_999), &task, &leased));
    assert!(table.has_passed(Millis(16_000), &task, &leased));
    table.granted.insert(task.clone(), Millis(9_000));
    assert!(!table.has_passed(Millis(19_999), &task, &leased));
    assert!(table.has_passed(Millis(20_000), &task, &leased));
}

#[tokio::test]
async fn a_round_serves_those_alone_who_came_before_it_began() {
    let (rounds, begun, go) = (Arc::new(Rounds::default()), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let come = |confirmed: bool| {
        let (rounds, begun, go) = (Arc::clone(&rounds), Arc::clone(&begun), Arc::clone(&go));
        tokio::spawn(async move {
            let confirm = async {
                begun.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                confirmed
            };
            rounds.pass(confirm).await
        })
    };
    let first = come(true);
    while begun.load(Ordering::SeqCst) == 0 {
        yield_now().await;
    }
    let late = [come(false), come(true), come(true)]; // while the first is under way
    for _ in 0..10 {
        yield_now().await;
    }
    go.notify_one();
    assert!(first.await.unwrap());
    while begun.load(Ordering::SeqCst) == 1 {
        yield_now().await;
    }
    go.notify_one();
    for task in late {
        assert!(!task.await.unwrap(), "they share one round, which did not confirm");
    }
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}
