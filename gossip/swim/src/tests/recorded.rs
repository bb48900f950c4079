//! Packets of the ring, byte for byte: `wire-2.txt` beside this file. Each message, and each state of a member.

use crate::{
    Identity, Incarnation, MemberFact,
    codec::{self, WireMessage},
    digest::Digest,
    packet::{Kind, join},
};
use foca::{Header, Member, Message, State};
use std::{collections::BTreeMap, path::Path};
use taffeta_model::{Liveness, NodeId};
use taffeta_shapes::{assert_every_variant, assert_recorded};

fn identity(id: u64, address: &str) -> Identity {
    let incarnation = Incarnation { start: 300, renewal: 400 };
    Identity { id: NodeId(id), address: address.parse().unwrap(), incarnation }
}

fn one() -> Identity {
    identity(0x1234_5678_9abc_def0, "10.0.0.1:7400")
}

fn other() -> Identity {
    identity(2, "[2001:db8::1]:7400")
}

fn messages() -> Vec<(&'static str, Message<Identity>)> {
    let probe_number = 200;
    vec![
        ("ping", Message::Ping(probe_number)),
        ("ack", Message::Ack(probe_number)),
        ("request of a ping", Message::PingReq { target: other(), probe_number }),
        ("indirect ping", Message::IndirectPing { origin: other(), probe_number }),
        ("indirect ack", Message::IndirectAck { target: other(), probe_number }),
        ("forwarded ack", Message::ForwardedAck { origin: other(), probe_number }),
        ("announce", Message::Announce),
        ("feed", Message::Feed),
        ("gossip", Message::Gossip),
        ("broadcast", Message::Broadcast),
        ("turn undead", Message::TurnUndead),
    ]
}

/// The packet up to its news.
fn headed(message: Message<Identity>) -> Vec<u8> {
    let mut packet = vec![];
    codec::put_header(&Header { src: one(), src_incarnation: 500, dst: other(), message }, &mut packet).unwrap();
    packet
}

fn member(state: State) -> Vec<u8> {
    let mut bytes = vec![];
    codec::put_member(&Member::new(one(), 500, state), &mut bytes).unwrap();
    bytes
}

#[test]
fn packets_of_the_ring_change_only_with_a_new_version() {
    let mut now: BTreeMap<String, Vec<u8>> = messages()
        .into_iter()
        .map(|(name, message)| (format!("packet {name}"), join(Kind::Swim, &headed(message))))
        .collect();
    for (name, state) in [("alive", State::Alive), ("suspect", State::Suspect), ("down", State::Down)] {
        now.insert(format!("member {name}"), member(state));
    }
    let mut digest = Digest::new();
    digest.add(&one(), Liveness::Alive);
    digest.add(&other(), Liveness::Down);
    now.insert("packet digest".into(), join(Kind::Digest, &digest.hash().to_le_bytes()));
    now.insert("packet digest in parts".into(), join(Kind::Parts, &digest.to_bytes()));
    for (name, liveness) in
        [("alive", Liveness::Alive), ("suspect", Liveness::Suspect), ("down", Liveness::Down), ("left", Liveness::Left)]
    {
        let fact = MemberFact { identity: one(), refutations: 500, liveness };
        now.insert(format!("fact {name}"), postcard::to_stdvec(&fact).unwrap());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/wire-2.txt");
    assert_recorded(&path, &now, taffeta_shapes::WIRE);
}

#[test]
fn every_message_is_recorded() {
    // The message is the last of a header, behind the same fields each time.
    let common = headed(Message::Announce).len() - 1;
    let encoded: Vec<Vec<u8>> = messages().into_iter().map(|(_, message)| headed(message)[common..].to_vec()).collect();
    assert_every_variant::<WireMessage>(&encoded);
}
