use crate::*;
use arc_swap::ArcSwap;
use futures::FutureExt;
use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};
use taffeta_dns_answer::{Instance, Node, Service, ServiceDns, Snapshot, SnapshotInput};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const FOREIGN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// `web` has one IPv4 and one IPv6 instance, `crowd` has `n` IPv4 ones, `idle` none.
pub(crate) fn zone(n: u8) -> SnapshotInput {
    let instance = |service: &str, label: String, address: IpAddr| Instance {
        app: "shop".into(),
        service: service.into(),
        label: label.into(),
        node: "n1".into(),
        address,
        ports: vec![("http".into(), 31000)],
        tags: vec!["blue".into()],
        serving: true,
        version: 1,
        weight: 10,
        suspected: false,
    };
    let crowd = (1..=n).map(|i| instance("crowd", i.to_string(), [10, 2, 0, i].into()));
    let web =
        [instance("web", "1".into(), [10, 1, 0, 1].into()), instance("web", "2".into(), "fd00::2".parse().unwrap())];
    SnapshotInput {
        ready: true,
        serial: 9,
        instances: web.into_iter().chain(crowd).collect(),
        services: vec![Service {
            app: "shop".into(),
            service: "idle".into(),
            ports: vec!["http".into()],
            dns: ServiceDns::default(),
        }],
        nodes: vec![Node {
            name: "n1".into(),
            address: LOCAL,
            up: true,
            is_leader: true,
            is_voter: true,
            zone: "a".into(),
            distance: Some(0),
        }],
        ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1")
    }
}

pub(crate) fn responder(input: SnapshotInput) -> Arc<Responder> {
    responder_with(input, DnsConfig::default())
}

pub(crate) fn responder_with(input: SnapshotInput, config: DnsConfig) -> Arc<Responder> {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(input)));
    let forward = ForwardConfig::new(Upstreams::Nobody, Vec::new());
    Arc::new(Responder::new(snapshot, forward, Arc::new(Sockets), 1).configured(config))
}

pub(crate) fn serve(input: SnapshotInput) -> DnsServer {
    DnsServer::bind((LOCAL, 0).into(), responder(input)).unwrap()
}

pub(crate) fn question(name: &str, record_type: RecordType, edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message.edns = edns.map(|size| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns
    });
    message
}

pub(crate) async fn by_udp(server: SocketAddr, query: &Message) -> (Message, usize) {
    let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = vec![0; 65535];
    let len = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("a reply in time").unwrap();
    let reply = Message::from_vec(&buffer[..len]).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    (reply, len)
}

pub(crate) fn framed(query: &Message) -> Vec<u8> {
    let bytes = query.to_vec().unwrap();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes[..]].concat()
}

pub(crate) async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let read = async {
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        Message::from_vec(&reply).unwrap()
    };
    timeout(DEADLINE, read).await.expect("a reply in time")
}

pub(crate) async fn by_tcp(server: SocketAddr, query: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&framed(query)).await.unwrap();
    read_reply(&mut stream).await
}

pub(crate) async fn respond(responder: &Responder, query: &Message, client: IpAddr) -> Message {
    let reply = responder.respond(&query.to_vec().unwrap(), client, Transport::Udp).await;
    Message::from_vec(&reply.expect("a reply")).unwrap()
}

pub(crate) fn ede(reply: &Message) -> Option<u16> {
    let EdnsOption::Unknown(15, bytes) = reply.edns.as_ref()?.option(EdnsCode::Unknown(15))? else { return None };
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(crate) fn texts(reply: &Message) -> BTreeSet<String> {
    reply.answers.iter().map(|r| r.data.to_string()).collect()
}

pub(crate) fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.iter().map(|t| t.to_string()).collect()
}

#[tokio::test]
async fn every_type_is_answered_over_udp_and_tcp() {
    let server = serve(zone(0));
    let cases = [
        ("web.shop.fabric.internal.", RecordType::A, set(["10.1.0.1"])),
        ("web.shop.fabric.internal.", RecordType::AAAA, set(["fd00::2"])),
        ("web.shop.fabric.internal.", RecordType::TXT, set(["blue"])),
        ("1.web.shop.fabric.internal.", RecordType::SRV, set(["0 10 31000 1.web.shop.fabric.internal."])),
        ("fabric.internal.", RecordType::NS, set(["n1.node.fabric.internal."])),
        (
            "fabric.internal.",
            RecordType::SOA,
            set(["n1.node.fabric.internal. hostmaster.fabric.internal. 9 60 10 3600 1"]),
        ),
        ("1.0.1.10.in-addr.arpa.", RecordType::PTR, set(["1.web.shop.fabric.internal."])),
    ];
    for (name, record_type, expected) in cases {
        let query = question(name, record_type, None);
        for reply in [by_udp(server.local_addr(), &query).await.0, by_tcp(server.local_addr(), &query).await] {
            assert_eq!(texts(&reply), expected, "{name} {record_type}");
            assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
            assert!(!reply.metadata.recursion_available && !reply.metadata.authentic_data);
            assert!(reply.answers.iter().all(|r| r.ttl == 1));
            assert!(reply.edns.is_none(), "no OPT unless asked with one");
        }
    }
}

#[tokio::test]
async fn srv_carries_all_target_addresses() {
    let server = serve(zone(0));
    let (reply, _) =
        by_udp(server.local_addr(), &question("_http._tcp.web.shop.fabric.internal.", RecordType::SRV, None)).await;
    assert_eq!(reply.answers.len(), 2);
    let more: BTreeSet<_> = reply.additionals.iter().map(|r| r.data.to_string()).collect();
    assert_eq!(more, set(["10.1.0.1", "fd00::2"]));
}

#[tokio::test]
async fn missing_type_is_nodata_and_missing_name_is_nxdomain() {
    let r = responder(zone(0));
    let cases = [
        ("1.web.shop.fabric.internal.", RecordType::AAAA, ResponseCode::NoError),
        ("idle.shop.fabric.internal.", RecordType::A, ResponseCode::NoError),
        ("shop.fabric.internal.", RecordType::A, ResponseCode::NoError),
        ("web.shop.fabric.internal.", RecordType::Unknown(65280), ResponseCode::NoError),
        ("nope.shop.fabric.internal.", RecordType::A, ResponseCode::NXDomain),
    ];
    for (name, record_type, code) in cases {
        let reply = respond(&r, &question(name, record_type, None), FOREIGN).await;
        assert_eq!(reply.metadata.response_code, code, "{name}");
        assert!(reply.metadata.authoritative && reply.answers.is_empty());
        assert!(matches!(reply.authorities[..], [ref soa] if soa.ttl == 1 && soa.record_type() == RecordType::SOA));
    }
}

#[tokio::test]
async fn case_of_the_question_is_echoed_byte_for_byte() {
    let query = question("WeB.ShOp.fAbRiC.iNtErNaL.", RecordType::A, None).to_vec().unwrap();
    let reply = responder(zone(0)).respond(&query, LOCAL, Transport::Udp).await.unwrap();
    assert_eq!(reply[12..query.len()], query[12..]);
    assert_eq!(reply[query.len()..][..2], [0xc0, 12], "the owner is compressed against the question");
}

#[tokio::test]
async fn answer_that_does_not_fit_is_truncated_empty_and_whole_over_tcp() {
    let server = serve(zone(90));
    for (edns, limit) in [(None, 512), (Some(65535), 1232), (Some(100), 512)] {
        let query = question("crowd.shop.fabric.internal.", RecordType::A, edns);
        let (reply, len) = by_udp(server.local_addr(), &query).await;
        assert!(reply.metadata.truncation && reply.answers.is_empty() && reply.authorities.is_empty(), "{limit}");
        assert!(len < limit);
        assert_eq!(reply.queries.len(), 1);
        assert_eq!(reply.edns.map(|e| e.max_payload()), edns.map(|_| 1232), "OPT is kept");
        let whole = by_tcp(server.local_addr(), &query).await;
        assert!(!whole.metadata.truncation);
        assert_eq!(texts(&whole).len(), 90);
    }
}

#[tokio::test]
async fn answer_of_up_to_1232_bytes_goes_by_udp_with_edns() {
    let server = serve(zone(60));
    let (reply, len) =
        by_udp(server.local_addr(), &question("crowd.shop.fabric.internal.", RecordType::A, Some(4096))).await;
    assert!(!reply.metadata.truncation && len > 512 && len <= 1232);
    assert_eq!(reply.answers.len(), 60);
}

#[tokio::test]
async fn additional_records_that_do_not_fit_go_without_tc() {
    let server = serve(zone(20));
    let query = question("_http._tcp.crowd.shop.fabric.internal.", RecordType::SRV, Some(1232));
    let (reply, len) = by_udp(server.local_addr(), &query).await;
    assert!(!reply.metadata.truncation && len <= 1232 && reply.edns.is_some());
    assert_eq!(reply.answers.len(), 20);
    assert!((1..20).contains(&reply.additionals.len()), "{}", reply.additionals.len());
    assert_eq!(by_tcp(server.local_addr(), &query).await.additionals.len(), 20);
}

#[tokio::test]
async fn malformed_queries_are_formerr() {
    let r = responder(zone(0));
    let good = question("web.shop.fabric.internal.", RecordType::A, Some(1232)).to_vec().unwrap();
    let mut two = question("web.shop.fabric.internal.", RecordType::A, None);
    two.add_query(Query::query(Name::from_ascii("a.").unwrap(), RecordType::A));
    let mut none = question("a.", RecordType::A, None);
    none.queries.clear();
    let mut two_opts = good.clone();
    two_opts[11] = 2;
    two_opts.extend_from_slice(&good[good.len() - 11..]);
    let cut = good[..20].to_vec();
    for packet in [two.to_vec().unwrap(), none.to_vec().unwrap(), two_opts, cut] {
        let reply = r.respond(&packet, LOCAL, Transport::Udp).await.unwrap();
        assert_eq!((&reply[..2], reply[3] & 0xf), (&packet[..2], 1), "{packet:?}");
        assert_eq!(reply[2], 0x81, "a reply, with RD as it came");
    }
}

#[tokio::test]
async fn other_opcodes_are_notimp_and_replies_are_dropped() {
    let r = responder(zone(0));
    for opcode in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let mut query = question("fabric.internal.", RecordType::SOA, None);
        query.metadata.op_code = opcode;
        let reply = respond(&r, &query, LOCAL).await;
        assert_eq!((reply.metadata.response_code, reply.metadata.op_code), (ResponseCode::NotImp, opcode));
    }
    let reply = question("fabric.internal.", RecordType::SOA, None).into_response().to_vec().unwrap();
    assert_eq!(r.respond(&reply, LOCAL, Transport::Udp).await, None);
    assert_eq!(r.respond(&[0; 11], LOCAL, Transport::Udp).await, None);
}

#[tokio::test]
async fn any_is_one_rrset() {
    let reply =
        respond(&responder(zone(0)), &question("web.shop.fabric.internal.", RecordType::ANY, None), LOCAL).await;
    assert_eq!(texts(&reply), set(["10.1.0.1"]));
}

#[tokio::test]
async fn stale_and_unready_views_are_told_by_extended_errors() {
    let query = question("web.shop.fabric.internal.", RecordType::A, Some(1232));
    let stale = respond(&responder(SnapshotInput { stale: true, ..zone(0) }), &query, LOCAL).await;
    assert_eq!((ede(&stale), texts(&stale)), (Some(3), set(["10.1.0.1"])));
    let unready = respond(&responder(SnapshotInput { ready: false, ..zone(0) }), &query, LOCAL).await;
    assert_eq!((ede(&unready), unready.metadata.response_code), (Some(14), ResponseCode::ServFail));
    let fine = respond(&responder(zone(0)), &query, LOCAL).await;
    assert_eq!(ede(&fine), None);
}

#[tokio::test]
async fn new_snapshot_is_answered_from_at_once() {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(0))));
    let forward = ForwardConfig::new(Upstreams::Nobody, Vec::new());
    let r = Responder::new(snapshot.clone(), forward, Arc::new(Sockets), 1);
    let query = question("crowd.shop.fabric.internal.", RecordType::A, None);
    assert_eq!(respond(&r, &query, LOCAL).await.metadata.response_code, ResponseCode::NXDomain);
    snapshot.store(Arc::new(Snapshot::build(zone(1))));
    assert_eq!(texts(&respond(&r, &query, LOCAL).await), set(["10.2.0.1"]));
}

#[tokio::test]
async fn port_in_use_says_which_and_what_to_do() {
    let server = serve(zone(0));
    let error = DnsServer::bind(server.local_addr(), responder(zone(0))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&server.local_addr().to_string()) && text.contains("--dns"), "{text}");
    // Another test may have the same port for TCP, but not time after time.
    for _ in 0..5 {
        let taken = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let error = DnsServer::bind(taken.local_addr().unwrap(), responder(zone(0))).unwrap_err();
        if error.protocol == "UDP" {
            return;
        }
    }
    panic!("never told of UDP");
}

#[tokio::test]
async fn shut_down_frees_the_port() {
    // Another test may be given the port in between, but not time after time.
    for _ in 0..5 {
        let server = serve(zone(0));
        let address = server.local_addr();
        by_tcp(address, &question("fabric.internal.", RecordType::SOA, None)).await;
        server.shut_down().await;
        if DnsServer::bind(address, responder(zone(0))).is_ok() {
            return;
        }
    }
    panic!("never free again");
}

#[tokio::test]
async fn dig_agrees() {
    let server = serve(zone(90));
    let port = server.local_addr().port().to_string();
    let dig = async |args: &[&str]| {
        let mut command = tokio::process::Command::new("dig");
        command.args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=5"]).args(args);
        command.output().await.map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    };
    let Ok(plain) = dig(&["+short", "web.shop.fabric.internal", "A"]).await else {
        eprintln!("SKIPPED dig_agrees: dig is not installed (Debian: bind9-dnsutils)");
        return;
    };
    assert_eq!(plain, "10.1.0.1\n");
    assert_eq!(dig(&["+short", "+tcp", "web.shop.fabric.internal", "AAAA"]).await.unwrap(), "fd00::2\n");
    let srv = dig(&["+short", "_http._tcp.web.shop.fabric.internal", "SRV"]).await.unwrap();
    assert_eq!(srv.lines().count(), 2, "{srv}");
    let whole = dig(&["crowd.shop.fabric.internal", "A"]).await.unwrap();
    assert!(whole.contains("ANSWER: 90"), "dig comes back by TCP: {whole}");
    let negative = dig(&["nope.fabric.internal", "A"]).await.unwrap();
    assert!(negative.contains("status: NXDOMAIN") && negative.contains("flags: qr aa rd"), "{negative}");
    let ready = dig(&["+short", "_services._dns-sd._udp.fabric.internal", "PTR"]).await.unwrap();
    assert_eq!(ready, "_http._tcp.fabric.internal.\n");
    let everything = [whole, negative, dig(&["fabric.internal", "SOA"]).await.unwrap()].concat();
    assert!(!everything.contains("WARNING: Message parser"), "{everything}");
}

static TARGET: LazyLock<Arc<Responder>> = LazyLock::new(|| responder(zone(40)));

fn packets() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let names =
        prop::sample::select(vec!["web.shop.fabric.internal.", "_http._tcp.crowd.shop.fabric.internal.", "a.b."]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let damaged = (names, any::<u16>(), any::<Option<u16>>(), edits, any::<prop::sample::Index>(), any::<bool>());
    let damaged = damaged.prop_map(|(name, record_type, edns, edits, cut, do_cut)| {
        let mut bytes = question(name, RecordType::from(record_type), edns).to_vec().unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(if do_cut { cut.index(bytes.len()) } else { bytes.len() });
        bytes
    });
    prop_oneof![noise, damaged]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_bytes_make_it_panic_or_reply_out_of_form(packet in packets(), foreign in any::<bool>(), tcp in any::<bool>()) {
        let (client, transport) = (if foreign { FOREIGN } else { LOCAL }, if tcp { Transport::Tcp } else { Transport::Udp });
        let reply = TARGET.respond(&packet, client, transport).now_or_never().expect("nothing to wait for");
        if let Some(reply) = reply {
            prop_assert!(reply[..2] == packet[..2] && reply[2] & 0x80 != 0);
            prop_assert!(tcp || reply.len() <= 1232);
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
    }
}

#[tokio::test]
async fn a_completing_server_answers_for_names_that_lack_the_domain() {
    let plain = responder(zone(1));
    let completing = Arc::new(plain.completing());
    let asked = question("Web.Shop.", RecordType::A, None);
    assert_eq!(respond(&plain, &asked, LOCAL).await.metadata.response_code, ResponseCode::Refused, "nobody to ask");
    let server = DnsServer::bind((LOCAL, 0).into(), Arc::clone(&completing)).unwrap();
    let (udp, tcp) = (by_udp(server.local_addr(), &asked).await.0, by_tcp(server.local_addr(), &asked).await);
    for reply in [udp, tcp] {
        assert_eq!(texts(&reply), set(["10.1.0.1"]));
        let owner = reply.answers[0].name.to_ascii();
        assert!(owner.eq_ignore_ascii_case("web.shop."), "the record is of the name that was asked: {owner}");
    }
    let of = |name: &str| {
        let (asked, completing) = (question(name, RecordType::A, None), Arc::clone(&completing));
        async move { respond(&completing, &asked, LOCAL).await }
    };
    assert_eq!(texts(&of("1.web.shop.").await), set(["10.1.0.1"]));
    let idle = of("idle.shop.").await;
    assert_eq!((idle.metadata.response_code, idle.answers.len()), (ResponseCode::NoError, 0), "it has no instance");
    for name in ["no-such.shop.", "web.", "web.shop.example."] {
        assert_eq!(of(name).await.metadata.response_code, ResponseCode::Refused, "{name} is for the upstream");
    }
}

#[tokio::test]
async fn sockets_hold_their_port_until_they_are_served() {
    let config = UdpConfig { threads: 1, ..UdpConfig::default() };
    let sockets = DnsSockets::bind((LOCAL, 0).into(), &config).unwrap();
    let address = sockets.local_addr();
    assert!(DnsSockets::bind(address, &config).is_err(), "it is taken");
    let server = DnsServer::serve(sockets, responder(zone(1)), ServeLimits::default(), config).unwrap();
    let asked = question("web.shop.fabric.internal.", RecordType::A, None);
    assert_eq!(texts(&by_udp(address, &asked).await.0), set(["10.1.0.1"]));
    server.shut_down().await;
}

#[tokio::test]
async fn questions_fail_on_purpose_until_the_experiment_ends() {
    let responder = responder(zone(3));
    let server = DnsServer::bind((LOCAL, 0).into(), Arc::clone(&responder)).unwrap();
    let address = server.local_addr();
    let query = question("web.shop.fabric.internal.", RecordType::A, None);
    let until = tokio::time::Instant::now() + DEADLINE;
    responder.fail(Some(Failing { fraction: 1.0, servfail: true, until }));
    for reply in
        [by_udp(address, &query).await.0, by_tcp(address, &query).await, respond(&responder, &query, LOCAL).await]
    {
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
    // A share of them: neither none nor all.
    responder.fail(Some(Failing { fraction: 0.5, servfail: true, until }));
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(by_udp(address, &query).await.0.metadata.response_code == ResponseCode::ServFail);
    }
    assert!((20..=80).contains(&failed), "{failed} of 100");
    // Silence.
    responder.fail(Some(Failing { fraction: 1.0, servfail: false, until }));
    let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), address).await.unwrap();
    let silence = timeout(Duration::from_millis(200), socket.recv(&mut [0; 512])).await;
    assert!(silence.is_err());
    assert!(responder.completing().respond(&query.to_vec().unwrap(), LOCAL, Transport::Udp).await.is_none());
    // Its end comes by itself.
    responder.fail(Some(Failing { fraction: 1.0, servfail: true, until: tokio::time::Instant::now() }));
    assert_eq!(by_udp(address, &query).await.0.metadata.response_code, ResponseCode::NoError);
    server.shut_down().await;
}
