//! What nodes publish: a machine with ten ordinary tasks; and a seal in place of Ed25519, since nothing that is measured
//! depends on it but the time that it takes, which is charged.

use crate::trace::Fnv;
use std::collections::BTreeMap;
use taffeta_catalogue::{Catalogue, Sign, Verify};
use taffeta_model::{
    AppName, Cpus, Fence, JobKind, JobName, NodeId, NodeInfo, NodeName, Phase, Resources, TaskId, TaskRecord,
    UnixMillis,
};

/// A hundred thousand tasks on ten thousand machines.
pub(crate) const TASKS: u32 = 10;

/// Tasks of one app, on as many machines.
const APP_TASKS: u32 = 20;

/// The start counter of everyone.
pub(crate) const EPOCH: u64 = 1;

/// Signs by a hash: it tells damage, not malice.
pub(crate) struct Seal(pub(crate) NodeId);

/// Checks what [`Seal`] made.
pub(crate) struct SealCheck;

fn seal(owner: NodeId, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    let hash = Fnv::new().add(&owner.0.to_le_bytes()).add(message).value();
    signature.as_chunks_mut::<8>().0.iter_mut().zip(1u64..).for_each(|(part, n)| {
        *part = hash.wrapping_mul(n | 1).to_le_bytes(); // as little compressible as a signature
    });
    signature
}

fn key(owner: NodeId) -> [u8; 32] {
    let mut key = [0; 32];
    key.as_chunks_mut::<8>().0.iter_mut().zip(1u64..).for_each(|(part, n)| {
        *part = owner.0.wrapping_mul(n | 1).to_le_bytes();
    });
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

/// A catalogue that holds the first set of all members.
pub(crate) fn common(ids: &[NodeId], without: Option<u32>) -> Catalogue {
    let mut common = Catalogue::new(NodeId(u64::MAX), EPOCH); // nobody's
    for (index, id) in (0..).zip(ids).filter(|(index, _)| Some(*index) != without) {
        let published = Catalogue::new(*id, EPOCH).publish(info(index), records(index, 0), &Seal(*id));
        let first = published.expect("valid records").expect("they are new");
        common.merge(&first, &SealCheck, &|_| true).expect("a good set");
    }
    common
}

/// The machine's description.
pub(crate) fn info(index: u32) -> NodeInfo {
    NodeInfo {
        name: NodeName::new(format!("node-{index}")).expect("a label"),
        address: crate::node::address(index),
        http: Some(crate::node::address(index)),
        dns: None,
        zone: format!("zone-{}", index % 3),
        attributes: BTreeMap::from([("disk".into(), "ssd".into())]),
        custom: BTreeMap::new(),
        capacity: Resources { cpus: Cpus(8_000), memory: 32 << 30, disk: 500 << 30, ports: 12_000 },
        version: "0.1.0".into(),
        not_isolated: Vec::new(),
        authority: 0,
        speaks: taffeta_model::Versions::ALL,
    }
}

/// The tasks of a machine after so many changes, each of which makes another task ill, or well again.
pub(crate) fn records(index: u32, changes: u32) -> Vec<TaskRecord> {
    let is_ill = |task: u32| (changes + TASKS - 1 - task) / TASKS % 2 == 1;
    (0..TASKS).map(|task| record(index * TASKS + task, !is_ill(task))).collect()
}

/// One of the whole ring's tasks.
fn record(number: u32, healthy: bool) -> TaskRecord {
    // Tasks of one app are on machines far from each other, and what is drawn at random in a cluster differs here.
    let (app, index) = (number % 9_973 * 7_919 % 9_973, number / 9_973 % APP_TASKS);
    let drawn = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    TaskRecord {
        task: TaskId {
            app: AppName::new(format!("shop-{app}")).expect("a label"),
            job: JobName::new("web").expect("a label"),
            index,
        },
        instance: index.to_string().into(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 3, index: 70_000 + drawn % 30_000 },
        version: 7,
        phase: if healthy { Phase::Healthy } else { Phase::Unhealthy },
        serving: healthy,
        address: crate::node::address(number / TASKS).ip(),
        ports: vec![("http".into(), 20_000 + (drawn % 9_000) as u16), ("metrics".into(), 29_001)],
        tags: vec!["public".into(), "blue".into()],
        weight: 10,
        pid: Some(1_000 + (drawn >> 13) as u32 % 60_000),
        restarts: (drawn % 3) as u32,
        started_at: Some(UnixMillis(1_790_000_000_000 + drawn % 1_000_000_000)),
        exit: None,
        reason: if healthy { String::new() } else { "the health check failed 3 times: connection refused".into() },
    }
}

#[cfg(test)]
mod tests;
