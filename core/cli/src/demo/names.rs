//! Asking a node's DNS as a user would: a question over UDP.

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RecordType},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::UdpSocket, time::timeout};

/// Time for an answer; the caller asks again anyway.
const LIMIT: Duration = Duration::from_millis(500);
/// Largest reply asked for over UDP, safe from fragmentation (DNS flag day 2020).
const REPLY_BYTES_MAX: u16 = 1232;

/// The number of SRV records that a server gives for a name; the error says in short why there are none.
pub(super) async fn count_srv(server: SocketAddr, name: &str) -> Result<usize, String> {
    let query = question(name)?;
    let reply = timeout(LIMIT, ask(server, &query)).await.map_err(|_| "no answer".to_owned())?;
    let reply = reply.map_err(|e| e.to_string())?;
    match reply.metadata.response_code {
        ResponseCode::NoError => {
            Ok(reply.answers.iter().filter(|record| record.data.record_type() == RecordType::SRV).count())
        }
        code => Err(code.to_string()),
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
