//! Any bytes as a DNS query to the fast path: a reply within its bound that a decoder takes, or none.
#![no_main]

mod dns_zone;

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use std::{net::IpAddr, sync::LazyLock};
use taffeta_dns_answer::{Asker, DATAGRAM_MAX, Fast, FastPath, Room, Snapshot};

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(dns_zone::snapshot);

fuzz_target!(|bytes: &[u8]| {
    let packet = dns_zone::packet(bytes);
    let seed = bytes.len() as u64;
    for (room, len) in [(Room::Datagram, DATAGRAM_MAX.into()), (Room::Stream, 65_535), (Room::Datagram, bytes.len())] {
        let asker = Asker { address: IpAddr::from([127, 0, 0, 1]), recursion_available: true, room };
        let mut out = vec![0; len];
        if let Fast::Reply(len) = FastPath::default().respond(&SNAPSHOT, &packet, &asker, seed, &mut out) {
            let reply = Message::from_vec(&out[..len]).expect("a reply decodes");
            assert!(out[..2] == packet[..2] && out[2] & 0x80 != 0 && reply.queries.len() == 1);
            assert!(room == Room::Stream || reply.edns.is_some() || len <= 512);
        }
    }
});
