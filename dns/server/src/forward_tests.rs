use crate::{
    tests::{FOREIGN, LOCAL, ede, question, texts, zone},
    *,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata::NULL},
};
use proptest::prelude::*;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use taffeta_dns_answer::Snapshot;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::Instant,
};

fn responder(config: ForwardConfig, exchange: Arc<dyn Exchange>) -> Responder {
    Responder::new(Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(0)))), config, exchange, 7)
}

fn listed(upstreams: &[SocketAddr]) -> ForwardConfig {
    ForwardConfig::new(Upstreams::Listed(upstreams.to_vec()), Vec::new())
}

async fn ask(r: &Responder, query: &Message, transport: Transport) -> Message {
    let reply = r.respond(&query.to_vec().unwrap(), LOCAL, transport).await.expect("a reply");
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    reply
}

fn a(reply: &mut Message, last: u8) {
    let name = reply.queries[0].name().clone();
    reply.add_answer(Record::from_rdata(name, 300, RData::A(Ipv4Addr::new(203, 0, 113, last).into())));
}

/// A network of scripted upstreams; the last octet of the address says how each behaves. Notes who was asked, and how.
#[derive(Default)]
struct Script {
    asked: Mutex<Vec<(u8, Transport)>>,
}

const ANSWERS: u8 = 1;
const FAILS: u8 = 2;
const IS_SILENT: u8 = 3;
const DENIES: u8 = 4;
const CUTS: u8 = 5;
const FOLDS_CASE: u8 = 6;
const IS_GONE: u8 = 7;

fn upstream(behaviour: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, behaviour], 53))
}

impl Script {
    fn asked(&self) -> Vec<u8> {
        self.asked.lock().unwrap().iter().map(|a| a.0).collect()
    }

    async fn reply(&self, upstream: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        let IpAddr::V4(v4) = upstream.ip() else { panic!("{upstream}") };
        let behaviour = v4.octets()[3];
        self.asked.lock().unwrap().push((behaviour, transport));
        let query = Message::from_vec(query).unwrap();
        let mut reply = query.clone().into_response();
        reply.metadata.authoritative = true;
        match behaviour {
            ANSWERS => a(&mut reply, 1),
            FAILS => reply.metadata.response_code = ResponseCode::ServFail,
            IS_SILENT => std::future::pending().await,
            DENIES => reply.metadata.response_code = ResponseCode::NXDomain,
            CUTS if transport == Transport::Udp => reply.metadata.truncation = true,
            CUTS => (1..=250).for_each(|i| a(&mut reply, i)),
            FOLDS_CASE => {
                let folded = reply.queries[0].name().to_lowercase();
                reply.queries[0].set_name(folded);
                a(&mut reply, 6);
            }
            IS_GONE => return Err(io::ErrorKind::ConnectionRefused.into()),
            other => panic!("no behaviour {other}"),
        }
        Ok(reply.to_vec().unwrap())
    }
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

fn scripted(behaviours: &[u8]) -> (Responder, Arc<Script>) {
    let script = Arc::new(Script::default());
    let upstreams: Vec<_> = behaviours.iter().map(|b| upstream(*b)).collect();
    (responder(listed(&upstreams), script.clone()), script)
}

#[tokio::test]
async fn other_names_are_relayed_without_authority() {
    let (r, _) = scripted(&[ANSWERS]);
    let reply = ask(&r, &question("www.example.com.", RecordType::A, Some(1232)), Transport::Udp).await;
    assert_eq!(reply.answers[0].data.to_string(), "203.0.113.1");
    assert_eq!(reply.answers[0].ttl, 300);
    assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired && !reply.metadata.authoritative);
    let own = ask(&r, &question("web.shop.fabric.internal.", RecordType::A, None), Transport::Udp).await;
    assert!(own.metadata.authoritative && own.metadata.recursion_available);
}

#[tokio::test]
async fn foreign_clients_are_refused_what_is_not_ours() {
    let (r, script) = scripted(&[ANSWERS]);
    let query = question("www.example.com.", RecordType::A, Some(1232)).to_vec().unwrap();
    let reply = Message::from_vec(&r.respond(&query, FOREIGN, Transport::Udp).await.unwrap()).unwrap();
    assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::Refused, Some(18)));
    assert!(!reply.metadata.recursion_available);
    assert!(script.asked().is_empty());
    let own = question("web.shop.fabric.internal.", RecordType::A, None).to_vec().unwrap();
    let own = Message::from_vec(&r.respond(&own, FOREIGN, Transport::Udp).await.unwrap()).unwrap();
    assert_eq!(own.answers.len(), 1);
    assert!(!own.metadata.recursion_available);
}

#[tokio::test]
async fn addresses_of_this_machine_are_local_clients() {
    let config = ForwardConfig { own_addresses: vec![FOREIGN], ..listed(&[upstream(ANSWERS)]) };
    let r = responder(config, Arc::new(Script::default()));
    let query = question("www.example.com.", RecordType::A, None).to_vec().unwrap();
    for client in ["192.0.2.7", "::ffff:192.0.2.7", "127.8.8.8", "::1"] {
        let reply = r.respond(&query, client.parse().unwrap(), Transport::Udp).await.unwrap();
        assert_eq!(reply[3] & 0xf, 0, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_and_silent_upstreams_are_passed_over() {
    for bad in [FAILS, IS_SILENT, IS_GONE] {
        let (r, script) = scripted(&[bad, ANSWERS]);
        let query = question("www.example.com.", RecordType::A, None);
        assert_eq!(ask(&r, &query, Transport::Udp).await.answers.len(), 1);
        assert_eq!(script.asked(), [bad, ANSWERS]);
        ask(&r, &query, Transport::Udp).await;
        assert_eq!(script.asked(), [bad, ANSWERS, ANSWERS], "the one that answered is asked first from now on");
    }
}

#[tokio::test]
async fn nxdomain_is_final() {
    let (r, script) = scripted(&[DENIES, ANSWERS]);
    let reply = ask(&r, &question("www.example.com.", RecordType::A, None), Transport::Udp).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(script.asked(), [DENIES]);
}

#[tokio::test]
async fn servfail_of_all_is_relayed_after_one_round() {
    let (r, script) = scripted(&[FAILS, FAILS]);
    let reply = ask(&r, &question("www.example.com.", RecordType::A, None), Transport::Udp).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(script.asked(), [FAILS, FAILS]);
}

#[tokio::test(start_paused = true)]
async fn silence_of_all_is_servfail_within_the_budget() {
    let (r, script) = scripted(&[IS_SILENT, IS_SILENT, IS_SILENT]);
    let start = Instant::now();
    let reply = ask(&r, &question("www.example.com.", RecordType::A, Some(1232)), Transport::Udp).await;
    assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::ServFail, Some(22)));
    assert!(start.elapsed() <= Duration::from_millis(3001), "{:?}", start.elapsed());
    // The third time-out and the end of the budget fall together, so a fourth may have been begun.
    assert!((3..=4).contains(&script.asked().len()));
    let (r, script) = scripted(&[IS_SILENT]);
    ask(&r, &question("www.example.com.", RecordType::A, None), Transport::Udp).await;
    assert_eq!(script.asked().len(), 2, "a lone one is asked twice");
}

#[tokio::test]
async fn truncated_reply_goes_back_by_udp_and_is_fetched_whole_for_tcp() {
    let (r, script) = scripted(&[CUTS]);
    let query = question("www.example.com.", RecordType::A, Some(1232));
    assert!(ask(&r, &query, Transport::Udp).await.metadata.truncation);
    let whole = ask(&r, &query, Transport::Tcp).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 250);
    let transports: Vec<_> = script.asked.lock().unwrap().iter().map(|a| a.1).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Udp, Transport::Tcp]);
}

#[tokio::test]
async fn case_is_restored_when_the_upstream_folds_it() {
    let (r, _) = scripted(&[FOLDS_CASE]);
    let query = question("wWw.ExAmPlE.CoM.", RecordType::A, None).to_vec().unwrap();
    let reply = r.respond(&query, LOCAL, Transport::Udp).await.unwrap();
    assert_eq!(reply[12..query.len()], query[12..]);
}

#[tokio::test]
async fn without_an_upstream_it_is_servfail_with_a_reason() {
    let r = responder(listed(&[]), Arc::new(Script::default()));
    let reply = ask(&r, &question("www.example.com.", RecordType::A, Some(1232)), Transport::Udp).await;
    assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::ServFail, Some(22)));
}

#[tokio::test(start_paused = true)]
async fn questions_beyond_the_bound_are_shed_at_once() {
    let config = ForwardConfig { in_flight_max: 2, ..listed(&[upstream(IS_SILENT)]) };
    let r = Arc::new(responder(config, Arc::new(Script::default())));
    let query = question("www.example.com.", RecordType::A, Some(1232)).to_vec().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (r, query) = (r.clone(), query.clone());
            tokio::spawn(async move { r.respond(&query, LOCAL, Transport::Udp).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let start = Instant::now();
    let shed = Message::from_vec(&r.respond(&query, LOCAL, Transport::Udp).await.unwrap()).unwrap();
    assert_eq!((shed.metadata.response_code, ede(&shed)), (ResponseCode::ServFail, Some(0)));
    assert_eq!(start.elapsed(), Duration::ZERO);
    for task in waiting {
        task.await.unwrap();
    }
    let after = Message::from_vec(&r.respond(&query, LOCAL, Transport::Udp).await.unwrap()).unwrap();
    assert_eq!(ede(&after), Some(22), "places are given back");
}

#[tokio::test]
async fn own_server_is_never_an_upstream() {
    let script = Arc::new(Script::default());
    let own = SocketAddr::from((LOCAL, 0));
    let probe = UdpSocket::bind(own).await.unwrap().local_addr().unwrap();
    let r = Arc::new(responder(listed(&[probe]), script.clone()));
    let server = DnsServer::bind(probe, r.clone()).unwrap();
    assert_eq!(server.local_addr(), probe);
    let reply = ask(&r, &question("www.example.com.", RecordType::A, Some(1232)), Transport::Udp).await;
    assert_eq!(ede(&reply), Some(22));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn resolv_conf_is_read_and_the_stub_is_looked_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (resolv_conf, behind_stub) = (folder.path().join("a"), folder.path().join("b"));
    let upstreams = Upstreams::System { resolv_conf: resolv_conf.clone(), behind_stub: behind_stub.clone() };
    assert!(upstreams.read().await.is_empty(), "no file");
    let many = "# x\nsearch a.b\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n nameserver 2001:db8::1\nnameserver\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
    std::fs::write(&resolv_conf, many).unwrap();
    let expected: Vec<SocketAddr> =
        ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"].map(|a| a.parse().unwrap()).to_vec();
    assert_eq!(upstreams.read().await, expected);
    std::fs::write(&resolv_conf, "nameserver 127.0.0.53\noptions edns0\n").unwrap();
    assert_eq!(upstreams.read().await, ["127.0.0.53:53".parse().unwrap()], "nothing behind it: the stub itself");
    std::fs::write(&behind_stub, "nameserver 192.0.2.9\n").unwrap();
    assert_eq!(upstreams.read().await, ["192.0.2.9:53".parse().unwrap()]);
}

/// A real upstream on loopback: first a forgery by UDP, then the truth; TCP on the same port gives the whole.
async fn real_upstream() -> SocketAddr {
    let tcp = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let strange = |query: &[u8], count: u8| {
        let mut reply = Message::from_vec(query).unwrap().into_response();
        let name = reply.queries[0].name().clone();
        for i in 0..count {
            let data = RData::Unknown { code: RecordType::Unknown(65280), rdata: NULL::with(vec![i; 20]) };
            reply.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        reply
    };
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
            let mut forged = strange(&buffer[..len], 9);
            forged.metadata.id ^= 1;
            udp.send_to(&forged.to_vec().unwrap(), from).await.unwrap();
            let mut reply = strange(&buffer[..len], 1);
            reply.metadata.truncation = reply.queries[0].name().to_string().starts_with("big");
            udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let reply = strange(&query, 100).to_vec().unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn real_sockets_relay_unknown_types_and_ignore_forgeries() {
    let r = responder(listed(&[real_upstream().await]), Arc::new(Sockets));
    let reply = ask(&r, &question("a.example.", RecordType::Unknown(65280), None), Transport::Udp).await;
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].record_type(), RecordType::Unknown(65280));
    let reply = ask(&r, &question("big.example.", RecordType::Unknown(65280), None), Transport::Tcp).await;
    assert_eq!(texts(&reply).len(), 100);
}

#[tokio::test]
async fn slow_upstream_does_not_hold_up_our_own_names() {
    let silent = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let r = Arc::new(responder(listed(&[silent.local_addr().unwrap()]), Arc::new(Sockets)));
    let server = DnsServer::bind((LOCAL, 0).into(), r).unwrap();
    let client = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let (slow, fast) =
        (question("www.example.com.", RecordType::A, None), question("web.shop.fabric.internal.", RecordType::A, None));
    client.send_to(&slow.to_vec().unwrap(), server.local_addr()).await.unwrap();
    // The upstream has the question, so the relay is under way.
    let mut buffer = [0; 1500];
    silent.recv(&mut buffer).await.unwrap();
    client.send_to(&fast.to_vec().unwrap(), server.local_addr()).await.unwrap();
    let len = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(Message::from_vec(&buffer[..len]).unwrap().metadata.id, fast.metadata.id);
}

/// An upstream whose reply passes for one by its id, QR and question, and is arbitrary otherwise.
struct Hostile(Vec<u8>);

#[async_trait]
impl Exchange for Hostile {
    async fn udp(&self, _: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = self.0.clone();
        let header = reply.len().min(2);
        reply[..header].copy_from_slice(&query[..header]);
        if let Some(flags) = reply.get_mut(2) {
            *flags |= 0x80;
        }
        if self.0.first().is_some_and(|b| b % 2 == 0) && reply.len() >= query.len() {
            reply[4..6].copy_from_slice(&[0, 1]);
            reply[12..query.len()].copy_from_slice(&query[12..]);
        }
        Ok(reply)
    }
    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp(upstream, query).await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_reply_of_an_upstream_makes_it_panic_or_exceed_the_limit(
        noise in prop::collection::vec(any::<u8>(), 0..1400), edns in any::<Option<u16>>(), tcp in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let r = responder(listed(&[upstream(ANSWERS)]), Arc::new(Hostile(noise)));
        let query = question("www.example.com.", RecordType::A, edns).to_vec().unwrap();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let reply = runtime.block_on(r.respond(&query, LOCAL, transport)).expect("a reply");
        prop_assert!(reply[..2] == query[..2] && reply[2] & 0x80 != 0);
        prop_assert!(tcp || reply.len() <= usize::from(edns.unwrap_or(512).clamp(512, 1232)));
    }
}
