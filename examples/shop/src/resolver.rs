//! A client for the fabric's DNS that keeps nothing: each request asks anew, so that a machine that died a second ago
//! is no longer among the answers. It leaves out caches, search lists and CNAME, which the fabric's zone has no use for.

use crate::order::{Dice, in_order};
use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::SRV},
    serialize::binary::DecodeError,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Time for one try, over UDP or TCP.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);
/// Tries over UDP: the server is on this machine, so that one lost packet is rare and two are an outage.
const TRIES: usize = 2;
/// Largest reply asked for over UDP, safe from fragmentation (DNS flag day 2020).
const UDP_BYTES_MAX: u16 = 1232;

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name of its host as SRV gives it, without the dot at its end.
    pub(crate) host: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Why a name has no targets. Asking again is always safe.
#[derive(Debug, Error)]
pub(crate) enum ResolveError {
    /// Not a name that DNS can carry: the app's or the domain's name is wrong.
    #[error("`{0}` is not a DNS name")]
    NotAName(String),
    /// NXDOMAIN: no such service is deployed.
    #[error("the name does not exist")]
    NoSuchName,
    /// NODATA: the service is known, but has no healthy instance now.
    #[error("no healthy instance")]
    NoInstance,
    /// Another answer than one about the name.
    #[error("the DNS server answered {0}")]
    Refused(ResponseCode),
    /// The server is silent.
    #[error("the DNS server {0} did not answer, asked {TRIES} times")]
    NoAnswer(SocketAddr),
    /// The server cannot be reached.
    #[error("cannot ask the DNS server {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The server's TCP answer is not DNS; such a UDP packet is ignored, as anybody may have sent it.
    #[error("the DNS server {0} sent what is not an answer")]
    Unreadable(SocketAddr, #[source] Option<DecodeError>),
}

/// Asks one DNS server.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    server: SocketAddr,
}

impl Resolver {
    /// Asks `server`.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server }
    }

    /// The first `most` targets of the SRV name, in the order in which to try them. Addresses come from the additional
    /// section; for a target that is not there they are asked for.
    pub(crate) async fn targets(&self, name: &str, most: usize, dice: &Dice) -> Result<Vec<Target>, ResolveError> {
        let name = parse(name)?;
        let reply = self.ask(&name, RecordType::SRV).await?;
        let mut targets = Vec::with_capacity(most);
        let mut failed = ResolveError::NoInstance;
        for srv in in_order(services(&reply, &name), dice).into_iter().take(most) {
            match self.ip_of(&srv.target, &reply.additionals).await {
                Ok(ip) => targets.push(Target {
                    host: srv.target.to_ascii().trim_end_matches('.').into(),
                    address: SocketAddr::new(ip, srv.port),
                }),
                Err(e) => failed = e, // another target may still do
            }
        }
        if targets.is_empty() { Err(failed) } else { Ok(targets) }
    }

    async fn ip_of(&self, host: &Name, additionals: &[Record]) -> Result<IpAddr, ResolveError> {
        if let Some(ip) = ip_in(additionals, host) {
            return Ok(ip);
        }
        for kind in [RecordType::A, RecordType::AAAA] {
            if let Some(ip) = ip_in(&self.ask(host, kind).await?.answers, host) {
                return Ok(ip);
            }
        }
        Err(ResolveError::NoInstance)
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, ResolveError> {
        let query = question(name, kind);
        let bytes = query.to_vec().map_err(|_| ResolveError::NotAName(name.to_ascii()))?;
        let mut failed = ResolveError::NoAnswer(self.server);
        for _ in 0..TRIES {
            match timeout(TRY_TIMEOUT, self.ask_udp(&query, &bytes)).await {
                Ok(Ok(reply)) if reply.metadata.truncation => {
                    let reply = timeout(TRY_TIMEOUT, self.ask_tcp(&query, &bytes)).await;
                    return checked(reply.map_err(|_| ResolveError::NoAnswer(self.server))??);
                }
                Ok(Ok(reply)) => return checked(reply),
                Ok(Err(e)) => failed = ResolveError::Unreachable(self.server, e),
                Err(_) => failed = ResolveError::NoAnswer(self.server),
            }
        }
        Err(failed)
    }

    /// Waits for the reply to `query` and passes over anything else; the caller limits the time.
    async fn ask_udp(&self, query: &Message, bytes: &[u8]) -> io::Result<Message> {
        let any: IpAddr =
            if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?; // a fresh port each time: harder to guess
        socket.connect(self.server).await?;
        socket.send(bytes).await?;
        let mut buffer = [0; UDP_BYTES_MAX as usize];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match Message::from_vec(&buffer[..length]) {
                Ok(reply) if answers(&reply, query) => return Ok(reply),
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn ask_tcp(&self, query: &Message, bytes: &[u8]) -> Result<Message, ResolveError> {
        let reply = exchange_tcp(self.server, bytes).await.map_err(|e| ResolveError::Unreachable(self.server, e))?;
        let reply = Message::from_vec(&reply).map_err(|e| ResolveError::Unreadable(self.server, Some(e)))?;
        if answers(&reply, query) { Ok(reply) } else { Err(ResolveError::Unreadable(self.server, None)) }
    }
}

/// One length-prefixed message each way (RFC 7766); the prefix bounds the reply to 64 KiB.
async fn exchange_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

fn parse(name: &str) -> Result<Name, ResolveError> {
    let mut parsed = Name::from_ascii(name).map_err(|_| ResolveError::NotAName(name.into()))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn question(name: &Name, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    query.set_edns(edns);
    query
}

/// Whether `reply` is meant for `query`: what does not repeat id and question was sent by somebody else, or late.
fn answers(reply: &Message, query: &Message) -> bool {
    reply.metadata.message_type == MessageType::Response
        && reply.metadata.id == query.metadata.id
        && reply.queries == query.queries
}

fn checked(reply: Message) -> Result<Message, ResolveError> {
    if reply.metadata.response_code == ResponseCode::NoError {
        Ok(reply)
    } else if reply.metadata.response_code == ResponseCode::NXDomain {
        Err(ResolveError::NoSuchName)
    } else {
        Err(ResolveError::Refused(reply.metadata.response_code))
    }
}

/// The SRV records of `name`; a target of `.` says that the service is not offered (RFC 2782).
fn services<'a>(reply: &'a Message, name: &Name) -> Vec<&'a SRV> {
    let records = reply.answers.iter().filter(|record| record.name == *name);
    let services = records.filter_map(|record| if let RData::SRV(srv) = &record.data { Some(srv) } else { None });
    services.filter(|srv| !srv.target.is_root()).collect()
}

fn ip_in(records: &[Record], host: &Name) -> Option<IpAddr> {
    records.iter().filter(|record| record.name == *host).find_map(|record| record.data.ip_addr())
}

#[cfg(test)]
mod tests;
