//! Any bytes as a DNS query to the full path: a reply within its bound that a decoder takes, or none.
#![no_main]

mod dns_zone;

use arc_swap::ArcSwap;
use futures::FutureExt;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};
use taffeta_dns_server::{ForwardConfig, Responder, Sockets, Transport, Upstreams};

static RESPONDER: LazyLock<Responder> = LazyLock::new(|| {
    let snapshot = Arc::new(ArcSwap::from_pointee(dns_zone::snapshot()));
    Responder::new(snapshot, ForwardConfig::new(Upstreams::Nobody, Vec::new()), Arc::new(Sockets), 1)
});

fuzz_target!(|bytes: &[u8]| {
    let packet = dns_zone::packet(bytes);
    for (transport, bound) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
        let client = IpAddr::from([192, 0, 2, 7]);
        let reply = RESPONDER.respond(&packet, client, transport).now_or_never().expect("nothing to wait for");
        if let Some(reply) = reply {
            assert!(reply[..2] == packet[..2] && reply[2] & 0x80 != 0 && reply.len() <= bound);
            Message::from_vec(&reply).expect("a reply decodes");
        }
    }
});
