//! What nodes say to each other about their catalogues, byte for byte: `wire-2.txt` beside this file. Every field is set. A set is
//! signed as it is encoded, and whoever holds it encodes it again: another shape would make all signatures wrong.

use super::*;
use crate::{Head, Message, SetDelta, ShortHash, encode, set::encode_set};
use std::{collections::BTreeMap, path::Path};
use taffeta_model::{Cpus, Exit, UnixMillis, Versions};
use taffeta_shapes::{assert_every_variant, assert_recorded};

const OWNER: NodeId = NodeId(0x1234_5678_9abc_def0);

fn node() -> NodeInfo {
    NodeInfo {
        http: Some("10.0.0.1:7480".parse().unwrap()),
        dns: Some("[2001:db8::1]:7453".parse().unwrap()),
        zone: "z1".into(),
        capacity: Resources { cpus: Cpus(4_000), memory: 300 << 20, disk: 70 << 30, ports: 12_000 },
        custom: [("gpu".to_string(), 2)].into(),
        not_isolated: vec!["no landlock".into()],
        authority: 0xfeed,
        speaks: Versions { min: 1, max: 2 },
        ..info(NodeId(1))
    }
}

fn full(index: u32, kind: JobKind, phase: Phase, exit: Option<Exit>) -> TaskRecord {
    TaskRecord {
        kind,
        fence: Fence { generation: 1, term: 300, index: 400 },
        version: 5,
        phase,
        address: "10.0.0.1".parse().unwrap(),
        ports: vec![("http".into(), 20_000), ("admin".into(), 20_001)],
        tags: vec!["canary".into()],
        weight: 20,
        restarts: 3,
        started_at: Some(UnixMillis(1_800_000_000_000)),
        exit,
        reason: "because".into(),
        ..record(index)
    }
}

/// One in each phase, of each kind, and ended in each way.
fn records() -> Vec<Arc<TaskRecord>> {
    let phases = [
        Phase::Starting,
        Phase::Running,
        Phase::Healthy,
        Phase::Unhealthy,
        Phase::Stopping,
        Phase::Finished,
        Phase::Failed,
    ];
    let kinds = [JobKind::Service, JobKind::Batch { retries: 2 }, JobKind::Daemon, JobKind::Cron { retries: 3 }];
    let exits = [
        Exit::Code(1),
        Exit::Signal(9),
        Exit::NotStarted("no".into()),
        Exit::OutOfMemory,
        Exit::Lost,
        Exit::Deadline,
        Exit::LeaseEnded,
    ];
    let exits = exits.into_iter().map(Some);
    let each = phases.into_iter().zip(kinds.into_iter().cycle()).zip(exits).zip(1..);
    each.map(|(((phase, kind), exit), index)| Arc::new(full(index, kind, phase, exit))).collect()
}

fn signed_set() -> Arc<SignedSet> {
    let set = OwnerSet { owner: OWNER, epoch: 300, seq: 7, info: node(), records: records() };
    Arc::new(SignedSet { bytes: encode_set(&set), public_key: [5; 32], signature: [6; 64] })
}

fn delta() -> Arc<SetDelta> {
    Arc::new(SetDelta {
        owner: OWNER,
        epoch: 300,
        seq: 8,
        base: (7, 0xbeef),
        info: Some(node()),
        changed: records().into_iter().take(1).collect(),
        removed: vec![record(9).task],
        signature: [7; 64],
    })
}

fn messages() -> Vec<(&'static str, Message)> {
    let head = |seq| Head { owner: OWNER, epoch: 300, seq, content: 0xabcd };
    let hashes = [ShortHash(1), ShortHash(300)];
    vec![
        ("push of a set", Message::Push(vec![Update::Whole(signed_set())])),
        ("push of a change", Message::Push(vec![Update::Delta(delta())])),
        ("have", Message::Have(vec![head(7)])),
        ("want", Message::Want(vec![OWNER])),
        ("prune", Message::Prune),
        ("summary", Message::Summary { hash: 0xdead_beef, owners: 1_000 }),
        ("buckets", Message::Buckets { first: 3, hashes: hashes.to_vec() }),
        ("check", Message::Check(vec![(3, hashes[0])])),
        ("heads", Message::Heads { buckets: vec![3, 300], held: vec![head(7)], dropped: vec![head(6)] }),
    ]
}

#[test]
fn what_nodes_say_about_their_catalogues_changes_only_with_a_new_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/wire-2.txt");
    // Plain, as the compression's own choices are its own.
    let plain = |message: &Message| postcard::to_stdvec(message).unwrap();
    let named = |(name, message): &(&str, Message)| (format!("message {name}"), plain(message));
    let mut now: BTreeMap<String, Vec<u8>> = messages().iter().map(named).collect();
    now.insert("message as it travels".into(), encode(&Message::Prune));
    now.insert("chunk of a snapshot".into(), postcard::to_stdvec(&vec![signed_set()]).unwrap());
    assert_recorded(&path, &now, taffeta_shapes::WIRE);
}

#[test]
fn every_message_is_recorded() {
    let encoded: Vec<Vec<u8>> = messages().iter().map(|(_, message)| postcard::to_stdvec(message).unwrap()).collect();
    assert_every_variant::<Message>(&encoded);
    let updates = [Update::Whole(signed_set()), Update::Delta(delta())].map(|u| postcard::to_stdvec(&u).unwrap());
    assert_every_variant::<Update>(&updates);
    let field = |of: &dyn Fn(&TaskRecord) -> Vec<u8>| records().iter().map(|r| of(r)).collect::<Vec<_>>();
    assert_every_variant::<Phase>(&field(&|r| postcard::to_stdvec(&r.phase).unwrap()));
    assert_every_variant::<Exit>(&field(&|r| postcard::to_stdvec(&r.exit.clone().unwrap()).unwrap()));
    assert_every_variant::<JobKind>(&field(&|r| postcard::to_stdvec(&r.kind).unwrap()));
}
