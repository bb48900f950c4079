//! Several nodes in one process: birth, joining, leadership and the refusals on the way. No tasks run here.

use std::{net::SocketAddr, path::Path, time::Duration};
use taffeta_node::{
    Fabric, FabricConfig, Serve,
    api::{ErrorCode, Role, TokenRequest},
    model::NodeName,
};
use tokio::time::Instant;

/// A port that was free a moment ago, the same on all loopback addresses.
fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a free port");
    socket.local_addr().expect("a bound socket").port()
}

fn config(root: &Path, name: &str, host: u8, port: u16) -> FabricConfig {
    let mut config = FabricConfig::new(root.join(name));
    config.name = Some(NodeName::new(name).expect("a label"));
    config.address = Some(SocketAddr::from(([127, 0, 0, host], port)));
    config.serve = Serve { http: false, dns: false };
    config.best_effort = true;
    config
}

async fn start(config: FabricConfig) -> Fabric {
    Fabric::start(config).await.unwrap_or_else(|e| panic!("{e}: {:?}", e.help))
}

async fn token(node: &Fabric, request: TokenRequest) -> taffeta_node::JoinToken {
    let token = node.backend().create_token(request).await.expect("a token");
    token.token.parse().expect("a token that parses")
}

fn any_token() -> TokenRequest {
    TokenRequest { role: None, ttl_seconds: None, uses: None }
}

/// Waits until the condition holds; fails with what it last said.
async fn eventually<F: Future<Output = Result<(), String>>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match check().await {
            Ok(()) => return,
            Err(why) if Instant::now() > deadline => panic!("{what}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn three(root: &Path) -> Vec<Fabric> {
    let port = free_port();
    let first = start(config(root, "n1", 1, port)).await;
    first.ready(Duration::from_secs(30)).await.expect("the first is ready");
    let mut nodes = vec![first];
    for (name, host) in [("n2", 2), ("n3", 3)] {
        let mut config = config(root, name, host, port);
        config.join = vec![format!("127.0.0.1:{port}")];
        config.token = Some(token(&nodes[0], any_token()).await);
        nodes.push(start(config).await);
    }
    for node in &nodes {
        node.ready(Duration::from_secs(30)).await.expect("ready");
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_machines_become_three_voters_that_all_hold_the_ca() {
    let root = tempfile::tempdir().expect("a folder");
    let nodes = three(root.path()).await;
    for node in &nodes {
        eventually("three voters, seen from each", || async {
            let views = node.backend().nodes().await.map_err(|e| e.to_string())?;
            let voters = views.iter().filter(|v| matches!(v.role, Role::Leader | Role::Voter)).count();
            let alive = views.iter().filter(|v| v.state == "alive").count();
            if (voters, alive) == (3, 3) { Ok(()) } else { Err(format!("{views:?}")) }
        })
        .await;
    }
    for name in ["n1", "n2", "n3"] {
        let sealed = root.path().join(name).join("ca.sealed");
        eventually("a sealed CA", || async { if sealed.exists() { Ok(()) } else { Err(name.to_string()) } }).await;
    }
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_expired_used_up_or_foreign_token_is_refused_with_its_reason() {
    let root = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let first = start(config(root.path(), "n1", 1, port)).await;
    first.ready(Duration::from_secs(30)).await.expect("ready");
    let foreign_port = free_port();
    let foreign = start(config(root.path(), "f1", 1, foreign_port)).await;
    foreign.ready(Duration::from_secs(30)).await.expect("ready");

    let mut wrong = token(&first, any_token()).await;
    wrong.secret[0] ^= 1;
    let expired = token(&first, TokenRequest { ttl_seconds: Some(1), ..any_token() }).await;
    let minted = Instant::now();
    let foreign_token = token(&foreign, any_token()).await;
    let mut unknown = token(&first, any_token()).await;
    unknown.id.0 ^= 1;
    eventually("the token's second is over", || async {
        if minted.elapsed() > Duration::from_millis(1_100) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let once = token(&first, TokenRequest { uses: Some(1), ..any_token() }).await;
    let try_join = |name: &'static str, host: u8, token| {
        let mut config = config(root.path(), name, host, port);
        config.join = vec![format!("127.0.0.1:{port}")];
        config.token = Some(token);
        Fabric::start(config)
    };
    let used = try_join("n2", 2, once.clone()).await.expect("the first use");
    for (token, reason) in [
        (wrong, "secret is wrong"),
        (expired, "expired"),
        (foreign_token, "another cluster"),
        (unknown, "unknown"),
        (once, "as often as it was minted for"),
    ] {
        let Err(error) = try_join("n3", 3, token).await else { panic!("joined with a token that is {reason}") };
        assert_eq!(error.code, ErrorCode::Conflict, "{error}");
        assert!(error.to_string().contains(reason), "expected `{reason}` in: {error}");
        assert!(error.help.is_some(), "{error}");
    }
    let members = first.backend().nodes().await.expect("nodes");
    assert_eq!(members.len(), 2, "a refused machine is no member");
    for node in [first, used, foreign] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_shut_down_can_be_started_again_in_the_same_process() {
    let root = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let node = start(config(root.path(), "n1", 1, port)).await;
    node.ready(Duration::from_secs(30)).await.expect("ready");
    let id = node.id();
    node.shutdown().await;
    let again =
        start(FabricConfig { serve: Serve { http: false, dns: false }, ..FabricConfig::new(root.path().join("n1")) });
    let again = again.await;
    again.ready(Duration::from_secs(30)).await.expect("ready again");
    assert_eq!((again.id(), again.name().as_str(), again.address().port()), (id, "n1", port));
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_keeps_its_name() {
    let root = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let node = start(config(root.path(), "n1", 1, port)).await;
    node.ready(Duration::from_secs(30)).await.expect("ready");
    node.shutdown().await;
    let mut renamed = config(root.path(), "n1", 1, port);
    renamed.name = Some(NodeName::new("n9").expect("a label"));
    let Err(error) = Fabric::start(renamed).await else { panic!("a member was renamed") };
    assert_eq!(error.code, ErrorCode::Invalid);
    assert!(error.to_string().contains("`n1`"), "{error}");
}
