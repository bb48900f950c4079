//! Asks a node's DNS as a client would, packet in and packet out.

use crate::machine::Machine;
use futures::FutureExt;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
    serialize::binary::{BinDecodable, BinEncodable},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use taffeta_dns_server::Transport;

/// A reply, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    /// Length of the packet.
    pub(crate) bytes: usize,
    /// Addresses in the answer section, in order.
    pub(crate) addresses: Vec<IpAddr>,
    /// Of SRV: the label of the instance, and where it listens, in order.
    pub(crate) services: Vec<(String, SocketAddr)>,
    /// Whether it is said to be stale (EDE 3, RFC 8914).
    pub(crate) stale: bool,
}

/// Asks the node on this machine; `None` if there is none that is up.
pub(crate) fn ask(machine: &Machine, name: &str, record_type: RecordType) -> Option<Reply> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("a plain name"), record_type));
    message.edns = Some(hickory_proto::op::Edns::new());
    let packet = message.to_bytes().expect("a question can be encoded");
    let client = Ipv4Addr::LOCALHOST.into();
    let responder = machine.process()?.responder()?;
    // TCP, so that nothing is left out for want of room. Names of the fabric's own never wait.
    let reply = responder.respond(&packet, client, Transport::Tcp).now_or_never().flatten();
    read(&reply?)
}

fn read(packet: &[u8]) -> Option<Reply> {
    let message = Message::from_bytes(packet).ok()?;
    let mut targets: BTreeMap<String, IpAddr> = BTreeMap::new();
    for record in message.additionals.iter() {
        if let Some(address) = address(&record.data) {
            targets.insert(record.name.to_ascii().to_ascii_lowercase(), address);
        }
    }
    let mut reply = Reply {
        code: message.metadata.response_code,
        bytes: packet.len(),
        addresses: vec![],
        services: vec![],
        stale: is_stale(&message),
    };
    for record in message.answers.iter() {
        reply.addresses.extend(address(&record.data));
        if let RData::SRV(srv) = &record.data {
            let target = srv.target.to_ascii().to_ascii_lowercase();
            let label = target.split('.').next().unwrap_or_default().to_owned();
            if let Some(address) = targets.get(&target) {
                reply.services.push((label, SocketAddr::new(*address, srv.port)));
            }
        }
    }
    Some(reply)
}

/// Extended DNS error 3 in the OPT record (option 15, RFC 8914).
fn is_stale(message: &Message) -> bool {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    let options = message.edns.as_ref().map(|edns| edns.options());
    let error = options.and_then(|options| options.get(EdnsCode::Unknown(15)));
    matches!(error, Some(EdnsOption::Unknown(_, bytes)) if bytes.starts_with(&[0, 3]))
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(a) => Some(a.0.into()),
        _ => None, // a foreign enum: of the rest nothing has an address
    }
}
