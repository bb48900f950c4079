//! What nodes publish: a machine with ten ordinary tasks; and a seal in place of Ed25519, since nothing that is measured
//! depends on it.

use crate::trace::Fnv;
use std::collections::BTreeMap;
use taffeta_catalogue::{Sign, Verify};
use taffeta_model::{
    AppName, Cpus, Fence, JobKind, JobName, NodeId, NodeInfo, NodeName, Phase, Resources, TaskId, TaskRecord,
    UnixMillis,
};

/// A hundred thousand tasks on ten thousand machines.
const TASKS: u32 = 10;

/// Signs by a hash: it tells damage, not malice.
pub(crate) struct Seal(pub(crate) NodeId);

/// Checks what [`Seal`] made.
pub(crate) struct SealCheck;

fn seal(owner: NodeId, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    let hash = Fnv::new().add(&owner.0.to_le_bytes()).add(message).value();
    signature[..8].copy_from_slice(&hash.to_le_bytes());
    signature
}

fn key(owner: NodeId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&owner.0.to_le_bytes());
    key
}

impl Sign for Seal {
    fn public_key(&self) -> [u8; 32] {
        key(self.0)
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        seal(self.0, message)
    }
}

impl Verify for SealCheck {
    fn verify(&self, owner: NodeId, public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        *public_key == key(owner) && *signature == seal(owner, message)
    }
}

/// The machine's description.
pub(crate) fn info(index: u32) -> NodeInfo {
    NodeInfo {
        name: NodeName::new(format!("node-{index}")).expect("a label"),
        address: crate::node::address(index),
        http: Some(crate::node::address(index)),
        dns: None,
        zone: "zone-1".into(),
        attributes: BTreeMap::from([("disk".into(), "ssd".into())]),
        capacity: Resources { cpus: Cpus(8_000), memory: 32 << 30, disk: 500 << 30, ports: 12_000 },
        version: "0.1.0".into(),
        not_isolated: Vec::new(),
    }
}

/// Its tasks; the first one `healthy` or not, which is the news.
pub(crate) fn records(healthy: bool) -> Vec<TaskRecord> {
    (0..TASKS).map(|task| record(task, healthy || task > 0)).collect()
}

fn record(index: u32, healthy: bool) -> TaskRecord {
    TaskRecord {
        task: TaskId { app: AppName::new("shop").expect("a label"), job: JobName::new("web").expect("a label"), index },
        instance: index.to_string(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 3, index: 70_000 },
        version: 7,
        phase: if healthy { Phase::Healthy } else { Phase::Unhealthy },
        serving: healthy,
        address: "10.0.0.1".parse().expect("an address"),
        ports: vec![("http".into(), 20_000), ("metrics".into(), 20_001)],
        tags: vec!["public".into(), "blue".into()],
        pid: Some(12_345),
        restarts: 1,
        started_at: Some(UnixMillis(1_790_000_000_000)),
        exit: None,
        reason: if healthy { String::new() } else { "the health check failed 3 times: connection refused".into() },
    }
}
