//! What all tests here share: a stand-in for signatures, ordinary records, and nodes that publish them.

mod catalogue;
mod converge;
mod copies;
mod delta;
mod machine;
mod message;
mod network;
mod overlay;
mod recorded;
mod spread;

use crate::{Catalogue, MergeError, Merged, OwnerSet, Sign, SignedSet, Update, Verify};
use std::sync::Arc;
use taffeta_model::{
    AppName, Fence, JobKind, JobName, NodeId, NodeInfo, NodeName, Phase, Resources, TaskId, TaskRecord, fnv1a,
};

/// A stand-in for Ed25519: whoever knows the owner's id can sign as it, and nobody here cheats but on purpose.
struct Keys(NodeId);

struct Checker;

fn key(owner: NodeId) -> [u8; 32] {
    [owner.0 as u8; 32]
}

fn seal(owner: NodeId, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..8].copy_from_slice(&fnv1a(&[&key(owner)[..], message].concat()).to_le_bytes());
    signature
}

impl Sign for Keys {
    fn public_key(&self) -> [u8; 32] {
        key(self.0)
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        seal(self.0, message)
    }
}

impl Verify for Checker {
    fn verify(&self, owner: NodeId, public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        *public_key == key(owner) && *signature == seal(owner, message)
    }
}

fn everyone(_: NodeId) -> bool {
    true
}

fn info(id: NodeId) -> NodeInfo {
    NodeInfo {
        name: NodeName::new(format!("n{}", id.0)).expect("a label"),
        address: "127.0.0.1:7400".parse().expect("an address"),
        http: None,
        dns: None,
        zone: String::new(),
        attributes: [("disk".to_string(), "ssd".to_string())].into(),
        capacity: Resources::default(),
        custom: Default::default(),
        version: "0.1.0".into(),
        not_isolated: vec![],
        authority: 0,
        speaks: taffeta_model::Versions::ALL,
    }
}

fn record(index: u32) -> TaskRecord {
    TaskRecord {
        task: TaskId { app: AppName::new("shop").expect("a label"), job: JobName::new("web").expect("a label"), index },
        instance: index.to_string().into(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 1, index: 7 },
        version: 1,
        phase: Phase::Healthy,
        serving: true,
        address: "127.0.0.1".parse().expect("an address"),
        ports: vec![("http".into(), 20_000)],
        tags: vec![],
        weight: 10,
        pid: Some(100),
        restarts: 0,
        started_at: None,
        exit: None,
        reason: String::new(),
    }
}

/// Publishes tasks with these indexes; gives what is to be sent.
fn publish_update(catalogue: &mut Catalogue, me: u64, indexes: &[u32]) -> Option<Update> {
    let records = indexes.iter().map(|index| record(*index)).collect();
    catalogue.publish(info(NodeId(me)), records, &Keys(NodeId(me))).expect("valid records")
}

/// Publishes tasks with these indexes; gives the whole set.
fn publish(catalogue: &mut Catalogue, me: u64, indexes: &[u32]) -> Option<Arc<SignedSet>> {
    publish_update(catalogue, me, indexes)?;
    Some(Arc::new(catalogue.get(NodeId(me)).expect("just published").signed()))
}

/// The first set of node `me` in its life `epoch`.
fn first_set(me: u64, epoch: u64, indexes: &[u32]) -> Arc<SignedSet> {
    publish(&mut Catalogue::new(NodeId(me), epoch), me, indexes).expect("it is new")
}

fn merge(catalogue: &mut Catalogue, set: &Arc<SignedSet>) -> Result<Merged, MergeError> {
    merge_update(catalogue, &Update::from(Arc::clone(set)))
}

fn merge_update(catalogue: &mut Catalogue, update: &Update) -> Result<Merged, MergeError> {
    catalogue.merge(update, &Checker, &everyone)
}

/// The heads of all that is held.
fn heads(catalogue: &Catalogue) -> Vec<crate::Head> {
    catalogue.sets().values().map(|held| held.head).collect()
}

/// A set signed as `set.owner` would, valid or not.
fn signed(set: &OwnerSet) -> Arc<SignedSet> {
    Arc::new(SignedSet::sign(postcard::to_stdvec(set).expect("plain data"), &Keys(set.owner)))
}

fn owner_set(records: Vec<TaskRecord>) -> OwnerSet {
    OwnerSet {
        owner: NodeId(2),
        epoch: 1,
        seq: 1,
        info: info(NodeId(2)),
        records: records.into_iter().map(Arc::new).collect(),
    }
}
