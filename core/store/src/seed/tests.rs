use super::seed;
use crate::{
    Disk, Driver, SNAPSHOT_EVERY, SendError, Store, StoreConfig, Timers, Transport, WriteError,
    store::tests::MemoryDisk,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use taffeta_model::{Command, Fence, NodeId, Outcome, State, Token, TokenId, TokenRole, UnixMillis, VERSION};
use tokio::time::{Instant, sleep};

/// There is nobody else.
struct Nobody;

#[async_trait]
impl Transport for Nobody {
    async fn send(&self, _: NodeId, _: Vec<u8>, _: Duration) -> Result<Vec<u8>, SendError> {
        Err(SendError("nobody there".into()))
    }
}

fn token(id: u64) -> Command {
    Command::CreateToken {
        id: TokenId(id),
        token: Token {
            secret_hash: [0; 32],
            expires: UnixMillis(u64::MAX),
            uses: None,
            used: 0,
            role: TokenRole::Node,
            created: UnixMillis(0),
        },
    }
}

async fn open(disk: &MemoryDisk) -> Store {
    let disk = Box::new(disk.clone());
    let transport = Arc::new(Nobody);
    let (id, driver, seed, snapshot_every) = (NodeId(7), Driver::Thread, 1, SNAPSHOT_EVERY);
    let (timers, epoch, speaks) = (Timers::LAN, Instant::now(), VERSION);
    Store::open(StoreConfig { id, disk, driver, seed, transport, snapshot_every, timers, epoch, speaks }).await.unwrap()
}

/// Writes as soon as it leads.
async fn write(store: &Store, command: Command) -> Fence {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match store.write(command.clone(), Duration::from_secs(5)).await {
            Ok(Outcome::Done(at)) => return at,
            Err(WriteError::NotLeader(_)) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeded_log_is_led_alone_and_goes_on_where_the_state_was() {
    let at = Fence { generation: 3, term: 5, index: 70 };
    let mut state = State { generation: 3, applied: at, ..State::default() };
    assert!(matches!(state.apply(at, &token(1)), Outcome::Done(_)));
    let mut disk = MemoryDisk::default();
    let seeded = seed(NodeId(7), "127.0.0.1:1".parse().unwrap(), &state).unwrap();
    disk.commit(&seeded, None).unwrap();

    let store = open(&disk).await;
    assert!(store.is_initialised().await);
    assert_eq!(store.read(|state| state.tokens.len()), 1);
    let first = write(&store, token(2)).await;
    assert!(first.generation == 3 && first.term > 5 && first.index > 70, "{first}");
    assert_eq!(store.leadership().voters.into_iter().collect::<Vec<_>>(), [NodeId(7)]);
    store.shutdown().await;
    drop(store);

    let store = open(&disk).await;
    let second = write(&store, token(3)).await;
    assert!(second > first);
    assert_eq!(store.read(|state| state.tokens.len()), 3);
    store.shutdown().await;
}
