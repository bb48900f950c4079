//! Rings of nodes that speak different versions of the protocol, and their upgrade. No tasks run here.

use std::{net::SocketAddr, path::Path, time::Duration};
use taffeta_node::{
    Fabric, FabricConfig, JoinToken, Serve,
    api::{ApiError, ErrorCode, TokenRequest},
    model::{NodeName, Versions},
};
use tokio::time::Instant;

const OLD: Versions = Versions { min: 1, max: 1 };

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a free port");
    socket.local_addr().expect("a bound socket").port()
}

fn config(root: &Path, name: &str, host: u8, port: u16, speaks: Versions) -> FabricConfig {
    let mut config = FabricConfig::new(root.join(name));
    config.name = Some(NodeName::new(name).expect("a label"));
    config.address = Some(SocketAddr::from(([127, 0, 0, host], port)));
    config.serve = Serve { http: false, dns: false };
    config.best_effort = true;
    config.speaks = speaks;
    config
}

async fn start(config: FabricConfig) -> Fabric {
    let node = Fabric::start(config).await.unwrap_or_else(|e| panic!("{e}: {:?}", e.help));
    node.ready(Duration::from_secs(20)).await.expect("ready");
    node
}

async fn token(node: &Fabric) -> JoinToken {
    let request = TokenRequest { role: None, ttl_seconds: None, uses: None };
    let token = node.backend().create_token(request).await.expect("a token");
    token.token.parse().expect("a token that parses")
}

fn joining(mut config: FabricConfig, port: u16, token: JoinToken) -> FabricConfig {
    config.join = vec![format!("127.0.0.1:{port}")];
    config.token = Some(token);
    config
}

fn level(node: &Fabric) -> (u32, usize) {
    node.inspect().state(|state| (state.spoken_level(), state.lives.len()))
}

/// Waits until the condition holds; fails with what it last said.
async fn eventually(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match check() {
            Ok(()) => return,
            Err(why) if Instant::now() > deadline => panic!("{what}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn drain(by: &Fabric, node: &str, on: bool) -> Result<(), ApiError> {
    by.backend().drain_node(node.into(), !on).await
}

async fn is_at_level(node: &Fabric, wanted: u32) {
    eventually("the level", || match level(node) {
        // From version 2 on the lives of those who take part are in the state.
        (level, lives) if level == wanted && (lives > 0) == (wanted >= 2) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// What holds for an old and a new node in either order: they work together, and the level follows the older one.
async fn a_mixed_ring_works(first: Versions, second: Versions) {
    let root = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let one = start(config(root.path(), "n1", 1, port, first)).await;
    // As long as the old one is not a member the new one is alone, and may have gone on.
    let joined = config(root.path(), "n2", 2, port, second);
    let two = start(joining(joined, port, token(&one).await)).await;
    for node in [&one, &two] {
        token(node).await;
        eventually(
            "each sees the other",
            || {
                if node.inspect().ring().len() == 1 { Ok(()) } else { Err("alone".into()) }
            },
        )
        .await;
    }
    eventually("the second follows the log", || {
        let tokens = |node: &Fabric| node.inspect().state(|state| state.tokens.len());
        if tokens(&one) == 3 && tokens(&two) == 3 { Ok(()) } else { Err(format!("{} {}", tokens(&one), tokens(&two))) }
    })
    .await;
    for node in [&one, &two] {
        assert_eq!(level(node), (1, 0), "no command of version 2 was written");
        let refused = drain(node, "n1", true).await.expect_err("drains are of version 2");
        assert_eq!(refused.code, ErrorCode::Conflict, "{refused:?}");
        assert!(refused.message.contains("once all members speak version 2"), "{refused:?}");
        assert_eq!(level(node), (1, 0), "and none was written then");
    }
    // The old one is upgraded, and the ring goes on to version 2.
    let (old, kept) = if first == OLD { (one, two) } else { (two, one) };
    let (name, host) = if first == OLD { ("n1", 1) } else { ("n2", 2) };
    old.shutdown().await;
    let upgraded = start(config(root.path(), name, host, port, Versions::ALL)).await;
    is_at_level(&upgraded, 2).await;
    is_at_level(&kept, 2).await;
    for node in [&upgraded, &kept] {
        for on in [true, false] {
            drain(node, "n1", on).await.unwrap_or_else(|e| panic!("{e:?}"));
        }
    }
    kept.shutdown().await;
    upgraded.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_joins_an_old_ring_which_is_then_upgraded() {
    a_mixed_ring_works(OLD, Versions::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_the_new_version_is_at_its_level_and_refuses_what_speaks_only_the_old_one() {
    let root = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let one = start(config(root.path(), "n1", 1, port, Versions::ALL)).await;
    is_at_level(&one, 2).await;
    let old = joining(config(root.path(), "n2", 2, port, OLD), port, token(&one).await);
    let Err(refused) = Fabric::start(old).await else { panic!("it was let in") };
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.to_string().contains("version 2") && refused.to_string().contains("only version 1"), "{refused}");
    assert!(refused.help.is_some_and(|help| help.contains("newer")));
    assert_eq!(one.inspect().state(|state| state.members.len()), 1, "nothing was changed");
    // Nor does a member go back.
    one.shutdown().await;
    let Err(refused) = Fabric::start(config(root.path(), "n1", 1, port, OLD)).await else { panic!("it went back") };
    assert!(refused.to_string().contains("version 2"), "{refused}");
}
