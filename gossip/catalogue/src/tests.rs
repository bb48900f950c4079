mod converge;

use crate::{
    Catalogue, DOWN_KEPT, Digest, EXCHANGE_BYTES_MAX, FLOOD_PEERS_MAX, FORWARD_PEERS, Head, MergeError, Merged,
    OwnerSet, PublishError, RECORDS_MAX, SET_BYTES_MAX, Sign, SignedSet, TEXT_BYTES_MAX, Verify, digest::fnv1a,
    forward,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use taffeta_model::{
    AppName, Exit, Fence, JobKind, JobName, Liveness, Millis, NodeId, NodeInfo, NodeName, Phase, Resources, TaskId,
    TaskRecord,
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
        version: "0.1.0".into(),
        not_isolated: vec![],
    }
}

fn record(index: u32) -> TaskRecord {
    TaskRecord {
        task: TaskId { app: AppName::new("shop").expect("a label"), job: JobName::new("web").expect("a label"), index },
        instance: index.to_string(),
        kind: JobKind::Service,
        fence: Fence { generation: 0, term: 1, index: 7 },
        version: 1,
        phase: Phase::Healthy,
        serving: true,
        address: "127.0.0.1".parse().expect("an address"),
        ports: vec![("http".into(), 20_000)],
        tags: vec![],
        pid: Some(100),
        restarts: 0,
        started_at: None,
        exit: None,
        reason: String::new(),
    }
}

/// Publishes tasks with these indexes.
fn publish(catalogue: &mut Catalogue, me: u64, indexes: &[u32]) -> Option<Arc<SignedSet>> {
    let records = indexes.iter().map(|index| record(*index)).collect();
    catalogue.publish(info(NodeId(me)), records, &Keys(NodeId(me))).expect("valid records")
}

/// The first set of node `me` in its life `epoch`.
fn first_set(me: u64, epoch: u64, indexes: &[u32]) -> Arc<SignedSet> {
    publish(&mut Catalogue::new(NodeId(me), epoch), me, indexes).expect("it is new")
}

fn merge(catalogue: &mut Catalogue, set: &Arc<SignedSet>) -> Result<Merged, MergeError> {
    catalogue.merge(set.clone(), &Checker, &everyone)
}

/// A set signed as `set.owner` would, valid or not.
fn signed(set: &OwnerSet) -> Arc<SignedSet> {
    Arc::new(SignedSet::sign(postcard::to_stdvec(set).expect("plain data"), &Keys(set.owner)))
}

fn owner_set(records: Vec<TaskRecord>) -> OwnerSet {
    OwnerSet { owner: NodeId(2), epoch: 1, seq: 1, info: info(NodeId(2)), records }
}

#[test]
fn a_set_is_published_only_when_it_changes() {
    let mut catalogue = Catalogue::new(NodeId(1), 5);
    let first = publish(&mut catalogue, 1, &[2, 1]).expect("the first one");
    assert_eq!(first.head().map(|h| (h.owner, h.epoch, h.seq)), Some((NodeId(1), 5, 1)));
    assert_eq!(publish(&mut catalogue, 1, &[1, 2]), None, "the order does not matter");
    let revision = catalogue.revision();
    let second = publish(&mut catalogue, 1, &[1]).expect("another one");
    assert_eq!(second.head().map(|h| h.seq), Some(2));
    assert!(catalogue.revision() > revision);
}

#[test]
fn a_newer_set_replaces_the_whole_older_one() {
    let mut owner = Catalogue::new(NodeId(2), 1);
    let first = publish(&mut owner, 2, &[1, 2]).expect("new");
    let second = publish(&mut owner, 2, &[2, 3]).expect("new");
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::New));
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::Same));
    assert_eq!(merge(&mut catalogue, &second), Ok(Merged::New));
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::Old));
    let held = catalogue.get(NodeId(2)).expect("held");
    assert_eq!(held.records.iter().map(|r| r.task.index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(catalogue.owners().len(), 1);
}

#[test]
fn the_set_of_an_earlier_life_stays_until_that_of_the_new_one_comes() {
    let old = first_set(2, 1, &[1, 2]);
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    merge(&mut catalogue, &old).expect("valid");
    let mut restarted = Catalogue::new(NodeId(2), 2);
    assert_eq!(merge(&mut restarted, &old), Ok(Merged::Old), "its own past is nothing new to the owner");
    assert_eq!(catalogue.get(NodeId(2)).map(|s| s.records.len()), Some(2));
    let new = publish(&mut restarted, 2, &[]).expect("an empty first set is a set");
    assert_eq!(merge(&mut catalogue, &new), Ok(Merged::New));
    assert_eq!(catalogue.get(NodeId(2)).map(|s| s.records.len()), Some(0));
}

#[test]
fn a_forged_or_altered_set_is_refused() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let good = first_set(2, 1, &[1]);
    let mut altered = (*good).clone();
    *altered.bytes.last_mut().expect("not empty") ^= 1;
    let by_another = SignedSet::sign(good.bytes.clone(), &Keys(NodeId(3)));
    let wrong = SignedSet { signature: [7; 64], ..(*good).clone() };
    for bad in [altered, by_another, wrong] {
        assert_eq!(merge(&mut catalogue, &Arc::new(bad)), Err(MergeError::BadSignature(NodeId(2))));
    }
    assert_eq!((catalogue.owners().len(), catalogue.revision()), (0, 0));
}

#[test]
fn the_set_of_an_unknown_owner_is_refused() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let refused = catalogue.merge(first_set(2, 1, &[1]), &Checker, &|owner| owner != NodeId(2));
    assert_eq!(refused, Err(MergeError::UnknownOwner(NodeId(2))));
    assert_eq!(catalogue.owners().len(), 0);
}

#[test]
fn a_newer_set_of_our_own_is_reported_and_not_taken() {
    let theirs = first_set(1, 9, &[4]);
    let mut catalogue = Catalogue::new(NodeId(1), 3);
    let head = theirs.head().expect("a head");
    assert_eq!(merge(&mut catalogue, &theirs), Err(MergeError::OwnIsNewer(head)));
    publish(&mut catalogue, 1, &[1]);
    assert_eq!(merge(&mut catalogue, &theirs), Err(MergeError::OwnIsNewer(head)));
    let digest = Digest { hash: 1, heads: vec![head] };
    assert_eq!(catalogue.outranked(&digest), Some(head));
    assert!(catalogue.wants(&digest).is_empty());
    assert_eq!(catalogue.get(NodeId(1)).map(|s| s.epoch), Some(3));
}

#[test]
fn records_that_are_not_valid_are_refused_on_both_sides() {
    let port = |name: &str, port| TaskRecord { ports: vec![(name.into(), port)], ..record(1) };
    let bad = [
        vec![record(1), record(1)],
        vec![TaskRecord { instance: "No Label".into(), ..record(1) }],
        vec![TaskRecord { address: "0.0.0.0".parse().expect("an address"), ..record(1) }],
        vec![TaskRecord { tags: vec!["x".repeat(TEXT_BYTES_MAX + 1)], ..record(1) }],
        vec![TaskRecord { tags: vec!["x".into(); 101], ..record(1) }],
        vec![port("http", 0)],
        vec![port("-", 80)],
        (0..=RECORDS_MAX as u32).map(record).collect(),
    ];
    for records in bad {
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let merged = merge(&mut catalogue, &signed(&owner_set(records.clone())));
        assert!(matches!(merged, Err(MergeError::Invalid { owner: NodeId(2), .. })), "{merged:?}");
        let published = catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1)));
        assert!(matches!(published, Err(PublishError::Invalid(_))), "{published:?}");
        assert_eq!((catalogue.owners().len(), catalogue.revision()), (0, 0));
    }
    let zero = OwnerSet { seq: 0, ..owner_set(vec![]) };
    assert!(merge(&mut Catalogue::new(NodeId(1), 1), &signed(&zero)).is_err());
}

#[test]
fn a_long_reason_is_shortened_at_a_character() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let long = "é".repeat(TEXT_BYTES_MAX);
    let exit = Some(Exit::NotStarted(long.clone()));
    let records = vec![TaskRecord { reason: format!("x{long}"), exit, ..record(1) }];
    catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1))).expect("shortened");
    let held = catalogue.get(NodeId(1)).expect("held");
    assert_eq!(held.records[0].reason.len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn a_set_that_is_too_large_is_refused_on_both_sides() {
    let tags = vec!["x".repeat(TEXT_BYTES_MAX); 10];
    let records: Vec<_> = (1..60).map(|i| TaskRecord { tags: tags.clone(), ..record(i) }).collect();
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let set = signed(&owner_set(records.clone()));
    assert!(set.bytes.len() > SET_BYTES_MAX);
    assert_eq!(merge(&mut catalogue, &set), Err(MergeError::TooLarge(set.bytes.len())));
    let published = catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1)));
    assert!(matches!(published, Err(PublishError::TooLarge(_))));
    assert_eq!(catalogue.revision(), 0);
}

#[test]
fn bytes_after_the_end_of_a_set_are_refused() {
    let mut bytes = first_set(2, 1, &[1]).bytes.clone();
    bytes.push(0);
    let longer = Arc::new(SignedSet::sign(bytes, &Keys(NodeId(2))));
    assert_eq!(merge(&mut Catalogue::new(NodeId(1), 1), &longer), Err(MergeError::Malformed));
}

#[test]
fn a_down_owner_is_kept_ten_minutes_and_not_brought_back_by_a_slower_peer() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    publish(&mut catalogue, 1, &[9]);
    let set = first_set(2, 1, &[1]);
    merge(&mut catalogue, &set).expect("valid");
    let slower = Catalogue::digest(&catalogue);
    let down = |_: NodeId| Some((Liveness::Down, Millis(1000)));
    let almost = Millis(1000) + (DOWN_KEPT - Duration::from_millis(1));
    assert!(catalogue.expire(almost, &down, &everyone).is_empty());
    assert_eq!(catalogue.expire(Millis(1000) + DOWN_KEPT, &down, &everyone), [NodeId(2)]);
    assert!(catalogue.get(NodeId(1)).is_some(), "our own set stays, whatever the ring thinks");
    assert_eq!(merge(&mut catalogue, &set), Ok(Merged::Same));
    assert!(catalogue.wants(&slower).is_empty() && catalogue.get(NodeId(2)).is_none());
    assert_eq!(merge(&mut catalogue, &first_set(2, 2, &[1])), Ok(Merged::New), "its next life is welcome");
}

#[test]
fn who_is_no_member_any_more_is_dropped_at_once_and_who_left_as_late_as_who_is_down() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    for id in 2..=5 {
        merge(&mut catalogue, &first_set(id, 1, &[1])).expect("valid");
    }
    let verdict = |id: NodeId| match id.0 {
        2 => Some((Liveness::Left, Millis(0))),
        3 => Some((Liveness::Suspect, Millis(0))),
        _ => None,
    };
    let gone = catalogue.expire(Millis(1), &verdict, &|id| id != NodeId(4));
    assert_eq!(gone, [NodeId(4)]);
    let later = Millis(0) + DOWN_KEPT;
    assert_eq!(catalogue.expire(later, &verdict, &|_| true), [NodeId(2)]);
    assert_eq!(catalogue.owners().map(|s| s.owner.0).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn an_exchange_is_bounded_and_the_next_ones_bring_the_rest() {
    let tags = vec!["x".repeat(1000); 10];
    let mut full = Catalogue::new(NodeId(1), 1);
    for id in 2..22 {
        let records = (1..45).map(|i| TaskRecord { tags: tags.clone(), ..record(i) }).collect();
        let set = OwnerSet { owner: NodeId(id), ..owner_set(records) };
        merge(&mut full, &signed(&set)).expect("valid");
    }
    let mut empty = Catalogue::new(NodeId(30), 1);
    let mut rounds = 0;
    while empty.digest_hash() != full.digest_hash() {
        let sets = full.missing_from(&empty.digest(), rounds);
        assert!(!sets.is_empty() && sets.iter().map(|s| s.bytes.len()).sum::<usize>() <= EXCHANGE_BYTES_MAX);
        sets.iter().for_each(|set| assert_eq!(merge(&mut empty, set), Ok(Merged::New)));
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    assert!(full.missing_from(&empty.digest(), 0).is_empty() && full.wants(&empty.digest()).is_empty());
}

#[test]
fn a_small_ring_is_flooded_and_a_large_one_gets_four() {
    let peers: Vec<NodeId> = (1..=FLOOD_PEERS_MAX as u64).map(NodeId).collect();
    let to = forward(NodeId(1), NodeId(2), &peers, 3);
    assert_eq!(to, peers[2..]);
    let peers: Vec<NodeId> = (1..=50).map(NodeId).collect();
    let to: BTreeSet<NodeId> = forward(NodeId(1), NodeId(2), &peers, 3).into_iter().collect();
    assert_eq!(to.len(), FORWARD_PEERS);
    assert!(!to.contains(&NodeId(1)) && !to.contains(&NodeId(2)));
    assert_eq!(forward(NodeId(1), NodeId(2), &peers, 9), forward(NodeId(1), NodeId(2), &peers, 9));
    assert_ne!(forward(NodeId(1), NodeId(2), &peers, 9), forward(NodeId(1), NodeId(2), &peers, 10));
    assert_eq!(forward(NodeId(1), NodeId(2), &peers[..9], 1).len(), FORWARD_PEERS);
}

#[test]
fn the_digest_hash_is_the_same_on_every_machine() {
    let head = Head { owner: NodeId(1), epoch: 2, seq: 3, content: 4 };
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "the published test vector");
    assert_eq!(Digest::of([head].into_iter()).hash, 9_912_279_967_458_543_905, "computed by another program");
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let forged = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] };
        prop_assert!(catalogue.merge(forged, &Checker, &everyone).is_err());
        // Also behind a good signature: the owner itself may be faulty.
        let owner = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] }.head().map(|h| h.owner);
        let by_owner = SignedSet::sign(bytes.clone(), &Keys(owner.unwrap_or_default()));
        prop_assert!(catalogue.merge(by_owner, &Checker, &everyone).is_err());
        prop_assert_eq!(catalogue.revision(), 0);
        drop(postcard::from_bytes::<SignedSet>(&bytes));
        drop(postcard::from_bytes::<Digest>(&bytes).map(|digest| catalogue.wants(&digest)));
    }

    #[test]
    fn a_damaged_set_behind_a_good_signature_never_panics(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = first_set(2, 1, &[1, 2, 3]).bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let head = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] }.head();
        let set = SignedSet::sign(bytes, &Keys(head.map(|h| h.owner).unwrap_or_default()));
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let merged = catalogue.merge(set, &Checker, &everyone);
        prop_assert_eq!(merged == Ok(Merged::New), catalogue.revision() == 1);
    }

    #[test]
    fn a_signed_set_survives_the_wire(signature in prop::array::uniform32(any::<u8>()), bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut whole = [9; 64];
        whole[32..].copy_from_slice(&signature);
        let set = SignedSet { bytes, public_key: signature, signature: whole };
        let encoded = postcard::to_stdvec(&set).expect("plain data");
        prop_assert_eq!(postcard::from_bytes(&encoded), Ok(set));
    }
}
