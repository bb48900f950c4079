//! Asking a node's DNS as a client would: a question over UDP, no cache.

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use taffeta_node::DOMAIN;
use tokio::{net::UdpSocket, time::timeout};

/// Largest reply asked for over UDP, safe from fragmentation (DNS flag day 2020).
const REPLY_BYTES_MAX: u16 = 1232;

/// The DNS name of `service/app`.
pub fn name_of(service: &str) -> String {
    let (job, app) = service.split_once('/').unwrap_or((service, ""));
    format!("{job}.{app}.{DOMAIN}")
}

/// The instances that a server gives for a name (SRV with their addresses); the error says in short why there are none.
pub async fn instances(server: SocketAddr, name: &str, limit: Duration) -> Result<BTreeSet<SocketAddr>, String> {
    let query = question(name)?;
    let reply = timeout(limit, ask(server, &query)).await.map_err(|_| "no answer".to_owned())?;
    let reply = reply.map_err(|e| e.to_string())?;
    match reply.metadata.response_code {
        // A name without instances may not be there at all.
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(read(&reply)),
        code => Err(code.to_string()), // a foreign enum
    }
}

fn question(name: &str) -> Result<Message, String> {
    let mut name = Name::from_ascii(name).map_err(|e| e.to_string())?;
    name.set_fqdn(true);
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, RecordType::SRV));
    let mut edns = Edns::new();
    edns.set_max_payload(REPLY_BYTES_MAX);
    query.set_edns(edns);
    Ok(query)
}

async fn ask(server: SocketAddr, query: &Message) -> io::Result<Message> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec().map_err(io::Error::other)?).await?;
    let mut buffer = [0; REPLY_BYTES_MAX as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else was sent by somebody else, or late.
        match Message::from_vec(&buffer[..length]) {
            Ok(reply)
                if reply.metadata.message_type == MessageType::Response
                    && reply.metadata.id == query.metadata.id
                    && reply.queries == query.queries =>
            {
                return Ok(reply);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

fn read(reply: &Message) -> BTreeSet<SocketAddr> {
    let mut addresses: BTreeMap<String, IpAddr> = BTreeMap::new();
    for record in &reply.additionals {
        let address = match &record.data {
            RData::A(a) => a.0.into(),
            RData::AAAA(a) => a.0.into(),
            _ => continue, // a foreign enum: of the rest nothing has an address
        };
        addresses.insert(record.name.to_ascii().to_ascii_lowercase(), address);
    }
    let mut found = BTreeSet::new();
    for record in &reply.answers {
        if let RData::SRV(srv) = &record.data
            && let Some(address) = addresses.get(&srv.target.to_ascii().to_ascii_lowercase())
        {
            found.insert(SocketAddr::new(*address, srv.port));
        }
    }
    found
}
