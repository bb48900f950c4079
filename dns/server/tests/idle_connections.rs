//! Ten thousand clients that say nothing. A program of its own, as it measures the memory of the whole process.

use arc_swap::ArcSwap;
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use taffeta_dns_answer::{Snapshot, SnapshotInput};
use taffeta_dns_server::{DnsServer, ForwardConfig, Responder, Sockets, Upstreams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// The SOA of `fabric.internal`, with its length before it.
const QUERY: &[u8] = b"\0\x21\0\x07\x01\0\0\x01\0\0\0\0\0\0\x06fabric\x08internal\0\0\x06\0\x01";
/// Descriptors of clients that are held; the server has long closed those that came before.
const HELD: usize = 1500;
const GROWTH_MAX: usize = 16 << 20;

/// Each of these addresses of loopback is a client of its own.
async fn connect_from(last: u8, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from([127, 0, 0, last]), 0).into()).unwrap();
    socket.connect(server).await.unwrap()
}

async fn is_served(stream: &mut TcpStream) -> bool {
    stream.write_all(QUERY).await.unwrap();
    let reply = async {
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = timeout(Duration::from_secs(10), reply).await.expect("a reply in time").unwrap();
    reply[..2] == [0, 7] && reply[3] & 0xf == 0 && reply[7] == 1
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn ten_thousand_idle_connections_leave_others_served_and_cost_little() {
    let zone = SnapshotInput { ready: true, ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1") };
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone)));
    let forward = ForwardConfig::new(Upstreams::Nobody, Vec::new());
    let responder = Arc::new(Responder::new(snapshot, forward, Arc::new(Sockets), 1));
    let server = DnsServer::bind((Ipv4Addr::LOCALHOST, 0).into(), responder).unwrap();
    let mut faithful = connect_from(2, server.local_addr()).await;
    let before = resident();
    let mut idle = VecDeque::new();
    for i in 0..10_000_u16 {
        let mut stream = connect_from(3 + (i % 50) as u8, server.local_addr()).await;
        // One byte of a query that never comes, from every other one.
        if i % 2 == 0 {
            stream.write_all(&[0]).await.unwrap();
        }
        idle.push_back(stream);
        if idle.len() > HELD {
            idle.pop_front();
        }
        if i % 100 == 0 {
            assert!(is_served(&mut faithful).await, "{i}");
        }
    }
    assert!(is_served(&mut connect_from(99, server.local_addr()).await).await);
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
}
