use super::{cluster::Disks, *};

/// Heartbeats go on, and what they tell rides on the next entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_while_nothing_happens() {
    let all = [1, 2, 3];
    let cluster = Cluster::of_three(Disks::room()).await;
    cluster.write(&all, token(0)).await;
    cluster.hold(&all, 0..1).await;
    let worked = || all.map(|id| cluster.memory_files(id).worked());
    let led = async || (cluster.leads(&all).await, all.map(|id| cluster.store(id).leadership().term));
    // An election writes, and on a machine that stands still for a moment there may be one.
    for _ in 0..5 {
        let leader = led().await;
        let mut before = worked();
        let began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = worked();
            if std::mem::replace(&mut before, now) == now {
                break;
            }
            assert!(began.elapsed() < cluster::LIMIT, "the last writes are not done");
        }
        // It is the absence that is looked for, so time has to pass: some ten heartbeats.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = worked();
        if led().await == leader {
            return assert_eq!(after, before);
        }
    }
    panic!("another leader or term in each window");
}
