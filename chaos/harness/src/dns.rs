//! A DNS client that shows everything: one question, one reply, no cache and no retry.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
    serialize::binary::{BinDecodable, BinEncodable},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

/// A reply, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// NOERROR, NXDOMAIN, SERVFAIL, ...
    pub code: ResponseCode,
    /// Addresses in the answer section.
    pub addresses: Vec<IpAddr>,
    /// SRV records with the address that the additional section gives for their targets.
    pub services: Vec<SocketAddr>,
    /// Number of records in the answer section.
    pub answers: usize,
}

/// Asks a server over UDP; an error in words if there is no reply within a second.
pub fn ask(server: SocketAddr, name: &str, record_type: &str) -> Result<Reply, String> {
    let words = |e: &dyn std::fmt::Display| e.to_string();
    let record_type: RecordType = record_type.parse().map_err(|e| words(&e))?;
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).map_err(|e| words(&e))?;
    let mut message = Message::new(rand_id(), MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, record_type));
    let packet = message.to_bytes().map_err(|e| words(&e))?;
    let socket = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0)).map_err(|e| words(&e))?;
    socket.connect(server).map_err(|e| words(&e))?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).map_err(|e| words(&e))?;
    socket.send(&packet).map_err(|e| words(&e))?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).map_err(|e| format!("{server}: {e}"))?;
    read(&buffer[..length])
}

fn read(packet: &[u8]) -> Result<Reply, String> {
    let message = Message::from_bytes(packet).map_err(|e| e.to_string())?;
    let mut targets: BTreeMap<String, IpAddr> = BTreeMap::new();
    for record in message.additionals.iter() {
        if let Some(address) = address(&record.data) {
            targets.insert(record.name.to_ascii().to_ascii_lowercase(), address);
        }
    }
    let mut reply = Reply { code: message.metadata.response_code, addresses: vec![], services: vec![], answers: 0 };
    for record in message.answers.iter() {
        reply.answers += 1;
        if let Some(address) = address(&record.data) {
            reply.addresses.push(address);
        }
        if let RData::SRV(srv) = &record.data
            && let Some(address) = targets.get(&srv.target.to_ascii().to_ascii_lowercase())
        {
            reply.services.push(SocketAddr::new(*address, srv.port));
        }
    }
    reply.addresses.sort();
    reply.services.sort();
    Ok(reply)
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(a) => Some(a.0.into()),
        _ => None, // a foreign enum: of the rest nothing has an address
    }
}

/// Distinct enough for a client that asks one question per socket.
fn rand_id() -> u16 {
    use std::hash::{BuildHasher, Hasher};
    let hash = std::collections::hash_map::RandomState::new().build_hasher().finish();
    u16::try_from(hash & 0xffff).expect("16 bits")
}
