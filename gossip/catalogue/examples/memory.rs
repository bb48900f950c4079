//! How much memory a catalogue takes: ten thousand owners with ten records each, as they would be received.
//!
//! `cargo run --release --example memory -p taffeta-catalogue`

use std::{net::IpAddr, sync::Arc};
use taffeta_catalogue::{Catalogue, Sign, SignedSet, Update, Verify, decode_chunk};
use taffeta_model::{
    AppName, Cpus, Fence, JobKind, JobName, NodeId, NodeInfo, NodeName, Phase, Resources, TaskId, TaskRecord,
    UnixMillis,
};

const OWNERS: u64 = 10_000;
const RECORDS: u32 = 10;

/// Signs nothing: what is measured does not depend on it.
struct Anyone;

impl Sign for Anyone {
    fn public_key(&self) -> [u8; 32] {
        [1; 32]
    }
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [2; 64]
    }
}

impl Verify for Anyone {
    fn verify(&self, _: NodeId, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

fn info(owner: u64) -> NodeInfo {
    let address = |port| format!("10.0.{}.{}:{port}", owner / 256, owner % 256).parse().expect("an address");
    NodeInfo {
        name: NodeName::new(format!("node-{owner}")).expect("a label"),
        address: address(7400),
        http: Some(address(7401)),
        dns: None,
        zone: "zone-1".into(),
        attributes: [("disk".to_string(), "ssd".to_string())].into(),
        custom: Default::default(),
        capacity: Resources { cpus: Cpus(8_000), memory: 32 << 30, disk: 500 << 30, ports: 12_000 },
        version: "0.1.0".into(),
        not_isolated: Vec::new(),
        authority: 0,
        speaks: taffeta_model::Versions::ALL,
    }
}

fn record(owner: u64, index: u32) -> TaskRecord {
    let number = owner as u32 * RECORDS + index;
    let job = if index.is_multiple_of(2) { "web" } else { "worker" };
    TaskRecord {
        task: TaskId {
            app: AppName::new(format!("shop-{}", number % 500)).expect("a label"),
            job: JobName::new(job).expect("a label"),
            index: number,
        },
        instance: number.to_string().into(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 3, index: 70_000 },
        version: 7,
        phase: Phase::Healthy,
        serving: true,
        address: IpAddr::from([10, 0, (owner / 256) as u8, owner as u8]),
        ports: vec![("http".into(), 20_000), ("metrics".into(), 20_001)],
        tags: vec!["public".into(), "blue".into()],
        weight: 10,
        pid: Some(12_345),
        restarts: 1,
        started_at: Some(UnixMillis(1_790_000_000_000)),
        exit: None,
        reason: String::new(),
    }
}

fn set(owner: u64) -> SignedSet {
    let mut catalogue = Catalogue::new(NodeId(owner), 1);
    let records = (0..RECORDS).map(|index| record(owner, index)).collect();
    catalogue.publish(info(owner), records, &Anyone).expect("valid").expect("new");
    catalogue.get(NodeId(owner)).expect("just published").signed()
}

/// Resident memory in KiB.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: i64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number");
    pages * 4
}

fn main() {
    // The first one is thrown away: the allocator then has what the work itself needs.
    let mut kept: Vec<Catalogue> = Vec::new();
    for round in 0..4 {
        let before = resident();
        let mut catalogue = Catalogue::new(NodeId(u64::MAX), 1);
        for owner in 0..OWNERS {
            // Ids are hashes of keys.
            let update = Update::Whole(Arc::new(set(owner)));
            catalogue.merge(&update, &Anyone, &|_| true).expect("valid");
        }
        let grown = resident() - before;
        let encoded = catalogue.bytes() >> 10;
        println!("catalogue {round}: {grown} KiB resident for {encoded} KiB encoded");
        kept.push(catalogue);
    }
    let chunks: Vec<Vec<u8>> = kept[0].snapshot_chunks().collect();
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let sets: usize = chunks.iter().map(|chunk| decode_chunk(chunk).expect("a chunk").len()).sum();
    println!("a snapshot of {sets} sets: {} chunks, {} KiB", chunks.len(), bytes >> 10);
    println!("a record in memory: {} bytes and its texts", size_of::<TaskRecord>());
}
