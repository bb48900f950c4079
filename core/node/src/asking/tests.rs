use super::*;
use crate::{
    Fabric, FabricConfig, Serve,
    api::LogRead,
    generation::{Generation, Marked},
    wire::LogChunkV1,
};
use async_trait::async_trait;
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use taffeta_model::{Command, TaskId, Versions};
use taffeta_net::{
    Bytes, Clock, FabricSocket, Identity, Lives, Net, NetConfig, NodeKey, Peer, Service, SystemClock, Unjoined,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A node of the version before runs, times and lines of outputs, and of all that came later. It counts what it is asked.
struct Older(Arc<AtomicUsize>);

#[async_trait]
impl Service for Older {
    async fn call(&self, _: Peer, _: Lane, request: Bytes) -> Result<Vec<u8>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let Marked::Same(ask) = Generation::default().unmark(&request) else { return Err("no mark".into()) };
        match decode(ask)? {
            Ask::Logs(_, read) => {
                let (bytes, run) = (b"hello\n".to_vec(), "web.1-1".into());
                Ok(encode(&Told::Logs(Ok(LogChunkV1 { bytes, next: 6 + read.offset.unwrap_or(0), run, ended: true }))))
            }
            _ => Err(NOT_KNOWN.into()),
        }
    }

    fn push(&self, _: NodeId, _: Lane, _: Bytes) {}

    fn datagram(&self, _: NodeId, _: Bytes) {}
}

/// A node alone, and beside it one of the same cluster that is of an older version.
struct Pair {
    one: Fabric,
    older: Net,
    /// The older one's id.
    id: NodeId,
    /// How many calls it has heard.
    asked: Arc<AtomicUsize>,
    _root: tempfile::TempDir,
}

async fn pair(versions: Versions) -> Pair {
    let root = tempfile::tempdir().unwrap();
    let mut config = FabricConfig::new(root.path().join("n1"));
    config.address = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
    config.serve = Serve { http: false, dns: false };
    config.best_effort = true;
    let one = Fabric::start(config).await.unwrap();
    one.ready(LIMIT).await.unwrap();
    let ca = one.core.signing_authority().unwrap();
    let key = Arc::new(NodeKey::from_seed([9; 32]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let net_config = NetConfig {
        socket: Arc::new(FabricSocket::new(socket).unwrap()),
        crypto: taffeta_net::crypto(),
        runtime: Arc::new(quinn::TokioRuntime),
        clock: Arc::new(SystemClock),
        lives: Lives::default(),
        seed: [7; 32],
        connections_max: 8,
        segmentation_offload: true,
        versions,
    };
    let identity = Identity {
        cluster: ca.cluster(),
        certificate: ca.certify(key.public(), SystemClock.date(), Lives::default().certificate).unwrap(),
        key: Arc::clone(&key),
        authorities: vec![ca.certificate().to_vec()],
        crosses: vec![],
    };
    let (asked, id) = (Arc::new(AtomicUsize::new(0)), identity.id());
    let older =
        Unjoined::new(net_config, &key).unwrap().start(identity, 1, Arc::new(Older(Arc::clone(&asked)))).unwrap();
    one.core.net().set_address(id, address);
    older.set_address(one.id(), one.address());
    Pair { one, older, id, asked, _root: root }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_asked_what_its_version_does_not_know() {
    let Pair { one, id, asked, older: _older, _root } = pair(Versions { min: 1, max: 2 }).await;
    // The first message of all opens the connection, by which the version is known.
    let ping = one.core.ask(id, &Ask::Ping, LIMIT).await;
    assert!(matches!(&ping, Err(CallError::Refused(why)) if is_not_known(why)), "{ping:?}");
    assert_eq!((one.core.net().version(id), asked.load(Ordering::Relaxed)), (Some(2), 1));
    let newer = one.core.ask(id, &Ask::Newer, LIMIT).await;
    assert!(matches!(&newer, Err(CallError::Refused(why)) if is_not_known(why)), "{newer:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was not sent");
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_does_not_know_is_refused_in_words_and_the_connection_lives() {
    let Pair { one, older, _root, .. } = pair(Versions::ALL).await;
    let unknown_number = [encode(&250_u32), vec![1, 2, 3]].concat();
    let drain = Command::Drain { node: one.id(), on: true };
    assert_eq!(Ask::Submit(drain).since(), 2, "what is submitted is of its command's version");
    for message in [encode(&Ask::Newer), unknown_number] {
        let message = Generation::default().mark(&message);
        let refused = older.call(one.id(), Lane::Control, &message, LIMIT).await;
        assert!(matches!(&refused, Err(CallError::Refused(why)) if is_not_known(why)), "{refused:?}");
    }
    assert_eq!(older.version(one.id()), Some(2), "the connection is there");
    let ping = Generation::default().mark(&encode(&Ask::Ping));
    let reply = older.call(one.id(), Lane::Control, &ping, LIMIT).await.unwrap();
    assert!(matches!(decode(&reply), Ok(Told::Yes)));
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_node_is_asked_for_an_output_as_it_knows_it() {
    let Pair { one, id, asked, older: _older, _root } = pair(Versions::ALL).await;
    let task: TaskId = "shop/web.1".parse().unwrap();
    let read = LogRead { tail: 100, limit: 100, ..LogRead::default() };
    let chunk = one.core.logs_of(id, task.clone(), read.clone()).await.unwrap();
    assert_eq!((chunk.bytes.as_slice(), chunk.next, chunk.from, chunk.ended), (&b"hello\n"[..], 6, 0, true));
    assert_eq!(asked.load(Ordering::Relaxed), 2, "first as newer ones know it");
    let refused = one.core.logs_of(id, task, LogRead { times: true, ..read }).await.unwrap_err();
    assert!(refused.message.contains("an older version"), "{refused:?}");
    one.shutdown().await;
}
