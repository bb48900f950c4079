use super::{
    batch::{Batch, REPLY_MAX},
    *,
};
use crate::{
    tests::{question, texts, zone},
    *,
};
use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_dns_answer::{Snapshot, SnapshotInput};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DEADLINE: Duration = Duration::from_secs(10);

fn serve_with(input: SnapshotInput, config: UdpConfig) -> (DnsServer, Arc<ArcSwap<Snapshot>>) {
    serve_at((LOCAL, 0).into(), input, config)
}

fn serve_at(at: SocketAddr, input: SnapshotInput, config: UdpConfig) -> (DnsServer, Arc<ArcSwap<Snapshot>>) {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(input)));
    let forward = ForwardConfig::new(Upstreams::Nobody, Vec::new());
    let responder = Arc::new(Responder::new(snapshot.clone(), forward, Arc::new(Sockets), 1));
    (DnsServer::bind_configured(at, responder, ServeLimits::default(), config).unwrap(), snapshot)
}

fn threads(threads: usize) -> UdpConfig {
    UdpConfig { threads, ..UdpConfig::default() }
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(server).unwrap();
    socket
}

fn ask(socket: &UdpSocket, query: &[u8]) -> Message {
    socket.send(query).unwrap();
    receive(socket)
}

fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("a reply in time");
    Message::from_vec(&buffer[..len]).unwrap()
}

fn web() -> Vec<u8> {
    question("web.shop.fabric.internal.", RecordType::A, Some(1232)).to_vec().unwrap()
}

/// Counts are written after the batch was sent.
fn wait_for(server: &DnsServer, what: impl Fn(&DnsCounts) -> bool) -> DnsCounts {
    for _ in 0..1_000_000 {
        let counts = server.counts();
        if what(&counts) {
            return counts;
        }
        std::thread::yield_now();
    }
    panic!("{:?}", server.counts());
}

#[tokio::test]
async fn every_thread_answers_fast_and_full() {
    let (server, _) = serve_with(zone(0), threads(4));
    let rare = question("web.shop.fabric.internal.", RecordType::ANY, None).to_vec().unwrap();
    // Each client is bound to one socket of the port.
    for _ in 0..64 {
        let client = client(server.local_addr());
        assert_eq!(texts(&ask(&client, &web())).len(), 1);
        assert_eq!(texts(&ask(&client, &rare)).len(), 1);
    }
    let counts = wait_for(&server, |c| c.by_rcode[0] == 128);
    assert_eq!((counts.queries, counts.fast, counts.full, counts.by_rcode[0]), (128, 64, 64, 128));
}

#[tokio::test]
async fn replies_of_a_socket_never_go_back_to_an_older_snapshot() {
    let (server, snapshot) = serve_with(zone(0), threads(2));
    let stop = Arc::new(AtomicBool::new(false));
    let soa = question("fabric.internal.", RecordType::SOA, Some(1232)).to_vec().unwrap();
    let absent = question("nope.fabric.internal.", RecordType::A, Some(1232)).to_vec().unwrap();
    let swapping = {
        let stop = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the server's threads are real")]
        std::thread::spawn(move || {
            for serial in 10.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let next = taffeta_dns_answer::Change { serial, ..snapshot.load().no_change() };
                snapshot.store(Arc::new(snapshot.load().changed(next)));
                std::thread::yield_now();
            }
        })
    };
    let clients: Vec<UdpSocket> = (0..4).map(|_| client(server.local_addr())).collect();
    let mut newest = [0; 4];
    for _ in 0..200 {
        for (client, newest) in clients.iter().zip(&mut newest) {
            // The apex takes the full path, the name that is absent the fast one: both in one batch.
            for i in 0..16 {
                client.send(if i % 2 == 0 { &soa } else { &absent }).unwrap();
            }
            for _ in 0..16 {
                let reply = receive(client);
                let records = reply.answers.iter().chain(&reply.authorities);
                let serial = records
                    .filter_map(
                        |r| if let hickory_proto::rr::RData::SOA(soa) = &r.data { Some(soa.serial) } else { None },
                    )
                    .next();
                let serial = serial.expect("an SOA");
                assert!(serial >= *newest, "{serial} after {newest}");
                *newest = serial;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(newest.iter().all(|serial| *serial > 10), "the snapshots did change: {newest:?}");
}

#[tokio::test]
async fn port_is_free_when_the_server_is_dropped_or_shut_down() {
    for _ in 0..20 {
        let (server, _) = serve_with(zone(0), threads(3));
        let address = server.local_addr();
        ask(&client(address), &web());
        drop(server);
        UdpSocket::bind(address).expect("free");
        let (server, _) = serve_with(zone(0), threads(3));
        let address = server.local_addr();
        ask(&client(address), &web());
        server.shut_down().await;
        UdpSocket::bind(address).expect("free");
    }
}

#[tokio::test]
async fn reply_comes_from_the_address_that_was_asked() {
    let (server, _) = serve_at(([0, 0, 0, 0], 0).into(), zone(0), threads(2));
    let port = server.local_addr().port();
    for last in [1, 2, 77] {
        // A connected socket takes what comes from its peer alone.
        let client = client(([127, 0, 0, last], port).into());
        assert_eq!(texts(&ask(&client, &web())).len(), 1);
        let rare = question("web.shop.fabric.internal.", RecordType::ANY, None).to_vec().unwrap();
        assert_eq!(texts(&ask(&client, &rare)).len(), 1);
    }
    let Ok(six) = UdpSocket::bind("[::1]:0") else {
        eprintln!("SKIPPED the IPv6 part: this machine has no ::1");
        return;
    };
    let (server, _) = serve_at("[::]:0".parse().unwrap(), zone(0), threads(2));
    six.set_read_timeout(Some(DEADLINE)).unwrap();
    six.connect(("::1", server.local_addr().port())).unwrap();
    assert_eq!(texts(&ask(&six, &web())).len(), 1);
    let four = client(([127, 0, 0, 3], server.local_addr().port()).into());
    assert_eq!(texts(&ask(&four, &web())).len(), 1);
}

#[tokio::test]
async fn client_that_is_far_gets_its_rate_and_then_short_replies_or_none() {
    let config = UdpConfig { replies_per_second: 10, loopback_is_far: true, ..threads(1) };
    let (server, _) = serve_with(zone(0), config);
    let client = client(server.local_addr());
    for _ in 0..200 {
        client.send(&web()).unwrap();
    }
    let counts = wait_for(&server, |c| c.by_rcode[0] == 200);
    assert!(counts.limited >= 80 && counts.slipped >= 80, "{counts:?}");
    let sent = 200 - counts.limited;
    let replies: Vec<Message> = (0..sent).map(|_| receive(&client)).collect();
    let short: Vec<&Message> = replies.iter().filter(|r| r.metadata.truncation).collect();
    assert_eq!(short.len() as u64, counts.slipped);
    for reply in short {
        assert!(reply.answers.is_empty() && reply.edns.is_some() && reply.queries.len() == 1);
        assert!(reply.to_vec().unwrap().len() <= web().len());
    }
    // Another kind has tokens of its own.
    let absent = question("nope.fabric.internal.", RecordType::A, None).to_vec().unwrap();
    assert_eq!(ask(&client, &absent).metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn client_that_is_here_has_no_limit() {
    let (server, _) = serve_with(zone(0), UdpConfig { replies_per_second: 1, ..threads(1) });
    let client = client(server.local_addr());
    assert!((0..50).all(|_| !ask(&client, &web()).metadata.truncation));
}

#[tokio::test]
async fn noise_is_survived_and_counted() {
    let (server, _) = serve_with(zone(0), threads(1));
    let client = client(server.local_addr());
    client.send(&[]).unwrap();
    client.send(&[0xff; 5]).unwrap();
    client.send(&[0; 6000]).unwrap();
    let mut reply = web();
    reply[2] |= 0x80;
    client.send(&reply).unwrap();
    assert_eq!(texts(&ask(&self::client(server.local_addr()), &web())).len(), 1);
    let counts = wait_for(&server, |c| c.by_rcode[0] == 1);
    assert_eq!((counts.fast, counts.silent, counts.full), (1, 3, 1));
}

/// A real flood beside a real client, bounded in number: the client is answered.
#[tokio::test]
async fn client_is_answered_beside_a_flood() {
    let (server, _) = serve_with(zone(0), threads(1));
    let address = server.local_addr();
    #[expect(clippy::disallowed_methods, reason = "the server's threads are real")]
    let flood = std::thread::spawn(move || {
        let socket = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
        socket.connect(address).unwrap();
        let query = web();
        for _ in 0..200_000 {
            // A full queue is what a flood is for.
            let _ = socket.send(&query);
        }
    });
    let client = client(address);
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = [0; 4096];
    let mut answered = 0;
    for _ in 0..100 {
        client.send(&web()).unwrap();
        answered += u32::from(client.recv(&mut buffer).is_ok());
    }
    flood.join().unwrap();
    assert!(answered >= 90, "{answered} of 100; {:?}", server.counts());
}

#[test]
fn batch_goes_one_by_one_where_the_system_knows_nothing_else() {
    let server = UdpSocket::bind((LOCAL, 0)).unwrap();
    let bound = server.local_addr().unwrap();
    let stopped = AtomicBool::new(false);
    for mut batch in [Batch::new(bound), Batch::plain(bound)] {
        let client = client(bound);
        client.send(b"one").unwrap();
        client.send(b"two").unwrap();
        let mut came = 0;
        while came < 2 {
            let count = batch.receive(&server, &stopped).unwrap().count;
            for position in 0..count {
                let (query, envelope, out) = batch.exchange(position);
                assert_eq!(query.len(), 3);
                out[..3].copy_from_slice(query);
                envelope.reply_len = 3;
            }
            assert_eq!(batch.send(&server, count), 0);
            came += count;
        }
        let mut buffer = [0; REPLY_MAX];
        assert_eq!(client.recv(&mut buffer).map(|len| buffer[..len].to_vec()).unwrap(), b"one");
        assert_eq!(client.recv(&mut buffer).map(|len| buffer[..len].to_vec()).unwrap(), b"two");
    }
}
