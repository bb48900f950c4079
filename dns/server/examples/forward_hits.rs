//! What a hit in the cache of others' names costs: `cargo run --release -p taffeta-dns-server --example forward_hits`.
//!
//! Prints nanoseconds of CPU time per reply written, for one thread and for two that ask for the same names; no socket is
//! involved. Linux only, as it reads what the scheduler says of a thread.

use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RData, Record, RecordType},
};
use std::{
    hint::black_box,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use taffeta_dns_answer::{Snapshot, SnapshotInput};
use taffeta_dns_server::{Exchange, ForwardConfig, Responder, Transport, Upstreams};
use tokio::time::Instant;

const NAMES: usize = 1000;
const REPLIES: usize = 2_000_000;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers everything with two addresses.
struct Answers;

#[async_trait]
impl Exchange for Answers {
    async fn udp(&self, _: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = Message::from_vec(query).map_err(io::Error::other)?.into_response();
        let name = reply.queries[0].name().clone();
        for last in 1..=2 {
            let address = RData::A(Ipv4Addr::new(203, 0, 113, last).into());
            reply.add_answer(Record::from_rdata(name.clone(), 86_400, address));
        }
        reply.to_vec().map_err(io::Error::other)
    }
    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp(upstream, query).await
    }
}

fn query(i: usize) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("host{i}.example.com.")).expect("a plain name");
    message.add_query(Query::query(name, RecordType::A));
    message.edns = Some(Edns::new());
    message.to_vec().expect("a query can be encoded")
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number of nanoseconds comes first")
}

fn run(responder: &Responder, snapshot: &Snapshot, queries: &[Vec<u8>]) -> f64 {
    let mut out = [0; 1232];
    let start = cpu_ns();
    for _ in 0..REPLIES / queries.len() {
        for packet in queries {
            let len = responder.try_cached(snapshot, Instant::now(), black_box(packet), LOCAL, &mut out);
            assert!(len.is_some(), "a hit");
            black_box(&out);
        }
    }
    (cpu_ns() - start) as f64 / REPLIES as f64
}

#[expect(clippy::disallowed_methods, reason = "threads of the real server are what is measured")]
fn main() {
    let snapshot = SnapshotInput::new("fabric.internal".parse().expect("a constant that is a name"), "n1");
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(snapshot)));
    let upstreams = Upstreams::Listed(vec![SocketAddr::new(LOCAL, 53)]);
    let responder = Responder::new(snapshot.clone(), ForwardConfig::new(upstreams, Vec::new()), Arc::new(Answers), 1);
    let queries: Vec<_> = (0..NAMES).map(query).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for packet in &queries {
            responder.respond(packet, LOCAL, Transport::Udp).await;
        }
    });
    println!("one thread: {:.0} ns per hit", run(&responder, &snapshot.load(), &queries));
    let both = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| run(&responder, &snapshot.load(), &queries)));
        threads.map(|t| t.join().expect("no panic"))
    });
    println!("two threads, the same names: {:.0} and {:.0} ns per hit", both[0], both[1]);
    let same = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| run(&responder, &snapshot.load(), &queries[..1])));
        threads.map(|t| t.join().expect("no panic"))
    });
    println!("two threads, one name: {:.0} and {:.0} ns per hit", same[0], same[1]);
}
