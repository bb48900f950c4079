//! A network of scripted upstreams, and a responder in front of it.

use crate::{
    tests::{LOCAL, question, zone},
    *,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{SOA, opt::EdnsOption},
    },
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use taffeta_dns_answer::Snapshot;
use tokio::time::sleep;

/// What an upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Answer,
    AnswerAfter(Duration),
    Fail,
    Refuse,
    FailAsBogus,
    Nothing,
    Deny,
    DenyWithoutProof,
    Cut,
    FoldCase,
    NotExist,
    NotKnowEdns,
    AnswerAnother,
    Babble,
}

pub(super) fn upstream(at: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, at], 53))
}

/// Upstream number n is at the address with that last octet. Notes who was asked, and how.
pub(crate) struct Script {
    does: Mutex<Vec<Does>>,
    asked: Mutex<Vec<(u8, Transport)>>,
    pub(super) ttl: u32,
}

impl Script {
    pub(super) fn new(does: &[Does]) -> Arc<Self> {
        Arc::new(Self { does: Mutex::new(does.to_vec()), asked: Mutex::default(), ttl: 300 })
    }

    /// Who was asked about anything but probes, in order.
    pub(super) fn asked(&self) -> Vec<u8> {
        self.asked.lock().unwrap().iter().map(|a| a.0).collect()
    }

    pub(super) fn asked_by(&self) -> Vec<Transport> {
        self.asked.lock().unwrap().iter().map(|a| a.1).collect()
    }

    pub(super) fn becomes(&self, at: u8, does: Does) {
        self.does.lock().unwrap()[usize::from(at)] = does;
    }

    async fn reply(&self, upstream: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        let SocketAddr::V4(v4) = upstream else { panic!("{upstream}") };
        let at = v4.ip().octets()[3];
        let does = self.does.lock().unwrap()[usize::from(at)];
        let query = Message::from_vec(query).unwrap();
        let mut reply = query.clone().into_response();
        reply.metadata.authoritative = true;
        reply.metadata.authentic_data = true;
        reply.edns = query.edns.as_ref().map(|_| Edns::new());
        if query.queries[0].query_type() == RecordType::HINFO {
            reply.metadata.response_code = ResponseCode::NXDomain;
            return Ok(reply.to_vec().unwrap());
        }
        self.asked.lock().unwrap().push((at, transport));
        match does {
            Does::Answer => a(&mut reply, self.ttl, at),
            Does::AnswerAfter(time) => {
                sleep(time).await;
                a(&mut reply, self.ttl, at);
            }
            Does::Fail => reply.metadata.response_code = ResponseCode::ServFail,
            Does::Refuse => reply.metadata.response_code = ResponseCode::Refused,
            Does::FailAsBogus => {
                reply.metadata.response_code = ResponseCode::ServFail;
                let error = EdnsOption::Unknown(15, [&[0, 6], &b"no"[..]].concat());
                reply.edns.as_mut().unwrap().options_mut().insert(error);
            }
            Does::Nothing => std::future::pending().await,
            Does::Deny => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                soa(&mut reply, self.ttl);
            }
            Does::DenyWithoutProof => reply.metadata.response_code = ResponseCode::NXDomain,
            Does::Cut if transport == Transport::Udp => reply.metadata.truncation = true,
            Does::Cut => (1..=250).for_each(|i| a(&mut reply, self.ttl, i)),
            Does::FoldCase => {
                let folded = reply.queries[0].name().to_lowercase();
                reply.queries[0].set_name(folded);
                a(&mut reply, self.ttl, at);
            }
            Does::NotExist => return Err(io::ErrorKind::ConnectionRefused.into()),
            Does::NotKnowEdns if query.edns.is_some() => {
                reply.edns = None;
                reply.metadata.response_code = ResponseCode::FormErr;
            }
            Does::NotKnowEdns => a(&mut reply, self.ttl, at),
            Does::AnswerAnother => {
                reply.queries[0].set_name(Name::from_ascii("other.example.").unwrap());
                a(&mut reply, self.ttl, at);
            }
            Does::Babble => {
                let mut bytes = reply.to_vec().unwrap();
                bytes[7] = 9;
                return Ok(bytes);
            }
        }
        Ok(reply.to_vec().unwrap())
    }
}

pub(super) fn a(reply: &mut Message, ttl: u32, last: u8) {
    let name = reply.queries[0].name().clone();
    reply.add_answer(Record::from_rdata(name, ttl, RData::A(Ipv4Addr::new(203, 0, 113, last).into())));
}

/// With a minimum of 60 s.
fn soa(reply: &mut Message, ttl: u32) {
    let name = Name::from_ascii("example.com.").unwrap();
    let data = RData::SOA(SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, 60));
    reply.add_authority(Record::from_rdata(name, ttl, data));
}

#[async_trait]
impl Exchange for Script {
    async fn udp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.reply(upstream, query, Transport::Udp).await
    }
    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.reply(upstream, query, Transport::Tcp).await
    }
}

pub(super) fn responder(config: ForwardConfig, exchange: Arc<dyn Exchange>) -> Arc<Responder> {
    Arc::new(Responder::new(Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(0)))), config, exchange, 7))
}

pub(super) fn listed(upstreams: &[SocketAddr]) -> ForwardConfig {
    ForwardConfig::new(Upstreams::Listed(upstreams.to_vec()), Vec::new())
}

/// Upstreams 0, 1 ... that do this.
pub(super) fn scripted(does: &[Does]) -> (Arc<Responder>, Arc<Script>) {
    let script = Script::new(does);
    (responder(listed_for(does), script.clone()), script)
}

/// One upstream that answers, and a responder with this configuration.
pub(crate) fn scripted_with(config: DnsConfig) -> (Arc<Responder>, Arc<Script>) {
    let script = Script::new(&[Does::Answer]);
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(0))));
    let responder = Responder::new(snapshot, listed(&[upstream(0)]), script.clone(), 7).configured(config);
    (Arc::new(responder), script)
}

pub(super) fn listed_for(does: &[Does]) -> ForwardConfig {
    listed(&(0..does.len()).map(|at| upstream(u8::try_from(at).unwrap())).collect::<Vec<_>>())
}

pub(super) async fn ask(r: &Responder, query: &Message, transport: Transport) -> Message {
    let reply = r.respond(&query.to_vec().unwrap(), LOCAL, transport).await.expect("a reply");
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    reply
}

/// An A question by UDP with EDNS.
pub(super) async fn ask_a(r: &Responder, name: &str) -> Message {
    ask(r, &question(name, RecordType::A, Some(1232)), Transport::Udp).await
}
