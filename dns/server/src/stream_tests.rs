use crate::{
    tests::{DEADLINE, LOCAL, framed, question, read_reply, responder, set, texts, zone},
    *,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use taffeta_dns_answer::Snapshot;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};

const WEB: &str = "web.shop.fabric.internal.";

fn serve_with(limits: ServeLimits) -> DnsServer {
    DnsServer::bind_with((LOCAL, 0).into(), responder(zone(90)), limits).unwrap()
}

/// From another address of loopback than the others use.
async fn connect_from(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(source), 0).into()).unwrap();
    socket.connect(server).await.unwrap()
}

async fn is_served(stream: &mut TcpStream) -> bool {
    let query = question(WEB, RecordType::A, None);
    if stream.write_all(&framed(&query)).await.is_err() {
        return false;
    }
    let mut len = [0; 2];
    if !matches!(timeout(DEADLINE, stream.read_exact(&mut len)).await.expect("served or closed"), Ok(2)) {
        return false;
    }
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply).await.unwrap();
    texts(&Message::from_vec(&reply).unwrap()) == set(["10.1.0.1"])
}

async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    assert_eq!(rest, []);
}

/// An upstream that answers when it is permitted to, and counts.
struct Gated {
    gate: Semaphore,
    asked: AtomicUsize,
}

#[async_trait]
impl Exchange for Gated {
    async fn udp(&self, _: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = Message::from_vec(query).unwrap().into_response();
        // Probes for loops are none of ours.
        if reply.queries[0].query_type() != RecordType::HINFO {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
        }
        reply.metadata.response_code = ResponseCode::NXDomain;
        Ok(reply.to_vec().unwrap())
    }

    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp(upstream, query).await
    }
}

fn gated(limits: ServeLimits) -> (DnsServer, Arc<Gated>) {
    let gated = Arc::new(Gated { gate: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(0))));
    let mut forward = ForwardConfig::new(Upstreams::Listed(vec!["192.0.2.53:53".parse().unwrap()]), Vec::new());
    (forward.attempt_timeout, forward.budget, forward.attempts) = (DEADLINE, DEADLINE, 1);
    let responder = Arc::new(Responder::new(snapshot, forward, gated.clone(), 1));
    (DnsServer::bind_with((LOCAL, 0).into(), responder, limits).unwrap(), gated)
}

#[tokio::test]
async fn pipelined_queries_are_all_answered() {
    let server = serve_with(ServeLimits::default());
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let queries: Vec<Message> =
        (0..1000).map(|i| question(&format!("n{i}.shop.fabric.internal."), RecordType::A, None)).collect();
    let bytes: Vec<u8> = queries.iter().flat_map(framed).collect();
    let (mut read, mut write) = stream.split();
    let send = async { write.write_all(&bytes).await.unwrap() };
    let receive = async {
        for query in &queries {
            let reply = read_reply(&mut read).await;
            assert_eq!((reply.metadata.id, &reply.queries), (query.metadata.id, &query.queries));
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn replies_of_one_batch_come_in_one_segment() {
    let server = serve_with(ServeLimits::default());
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let bytes: Vec<u8> = (0..10).flat_map(|_| framed(&question(WEB, RecordType::A, None))).collect();
    stream.write_all(&bytes).await.unwrap();
    let mut buffer = [0; 4096];
    let len = timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
    let first = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
    assert_eq!(len, 10 * (first + 2));
}

#[tokio::test]
async fn query_in_pieces_is_answered_when_it_is_whole() {
    let server = serve_with(ServeLimits::default());
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    for byte in framed(&question(WEB, RecordType::A, None)) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(texts(&read_reply(&mut stream).await), set(["10.1.0.1"]));
}

#[tokio::test]
async fn own_names_overtake_relayed_ones() {
    let (server, upstream) = gated(ServeLimits::default());
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let foreign = question("example.org.", RecordType::A, None);
    let own = question(WEB, RecordType::A, None);
    stream.write_all(&[framed(&foreign), framed(&own)].concat()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.metadata.id, own.metadata.id);
    upstream.gate.add_permits(1);
    assert_eq!(read_reply(&mut stream).await.metadata.id, foreign.metadata.id);
}

#[tokio::test]
async fn relayed_queries_of_a_connection_are_bounded_and_all_answered() {
    let (server, upstream) = gated(ServeLimits { in_flight_max: 8, ..ServeLimits::default() });
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let queries: Vec<Message> = (0..30).map(|i| question(&format!("n{i}.example.org."), RecordType::A, None)).collect();
    stream.write_all(&queries.iter().flat_map(framed).collect::<Vec<u8>>()).await.unwrap();
    // The upstream lets one through at a time: each reply makes room for one question.
    let mut ids = BTreeSet::new();
    for answered in 0..queries.len() {
        let asked = upstream.asked.load(Ordering::SeqCst);
        assert!(asked <= answered + 8, "{asked} asked, {answered} answered");
        upstream.gate.add_permits(1);
        ids.insert(read_reply(&mut stream).await.metadata.id);
    }
    assert_eq!(ids, queries.iter().map(|q| q.metadata.id).collect());
}

#[tokio::test]
async fn client_that_closes_its_side_still_gets_what_it_asked() {
    let (server, upstream) = gated(ServeLimits::default());
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (foreign, own) = (question("example.org.", RecordType::A, None), question(WEB, RecordType::A, None));
    stream.write_all(&[framed(&foreign), framed(&own)].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_reply(&mut stream).await.metadata.id, own.metadata.id);
    upstream.gate.add_permits(1);
    assert_eq!(read_reply(&mut stream).await.metadata.id, foreign.metadata.id);
    is_closed(&mut stream).await;
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = serve_with(ServeLimits { idle: Duration::from_millis(50), ..ServeLimits::default() });
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    is_closed(&mut stream).await;
}

#[tokio::test]
async fn query_that_trickles_in_is_given_up() {
    let server = serve_with(ServeLimits { whole_query: Duration::from_millis(100), ..ServeLimits::default() });
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    // Never idle for long, and never whole.
    let trickle = async {
        stream.write_all(&[0xff, 0xff]).await?;
        loop {
            stream.write_all(&[0]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended: io::Result<()> = timeout(DEADLINE, trickle).await.expect("closed in time");
    ended.unwrap_err();
}

#[tokio::test]
async fn client_that_does_not_read_is_closed() {
    let server = serve_with(ServeLimits { idle: Duration::from_millis(200), ..ServeLimits::default() });
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    // Each reply is thirty times as long as its query, so the replies fill all buffers first.
    let bytes: Vec<u8> =
        (0..500).flat_map(|_| framed(&question("crowd.shop.fabric.internal.", RecordType::A, None))).collect();
    let flood = async {
        loop {
            stream.write_all(&bytes).await?;
        }
    };
    let ended: io::Result<()> = timeout(DEADLINE, flood).await.expect("closed in time");
    ended.unwrap_err();
    assert!(is_served(&mut TcpStream::connect(server.local_addr()).await.unwrap()).await);
}

#[tokio::test]
async fn newcomer_takes_the_place_of_the_longest_idle() {
    let limits = ServeLimits { connections_max: 3, connections_per_client_max: 3, ..ServeLimits::default() };
    let server = serve_with(limits);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        assert!(is_served(&mut stream).await);
        held.push(stream);
    }
    assert!(is_served(&mut held[0]).await, "so the second has idled longest");
    let mut newcomer = TcpStream::connect(server.local_addr()).await.unwrap();
    assert!(is_served(&mut newcomer).await);
    is_closed(&mut held.remove(1)).await;
    for stream in &mut held {
        assert!(is_served(stream).await);
    }
}

#[tokio::test]
async fn one_client_cannot_take_all_places() {
    let limits = ServeLimits { connections_max: 8, connections_per_client_max: 2, ..ServeLimits::default() };
    let server = serve_with(limits);
    let mut other = connect_from([127, 0, 0, 2], server.local_addr()).await;
    assert!(is_served(&mut other).await);
    let mut greedy = Vec::new();
    for _ in 0..20 {
        greedy.push(TcpStream::connect(server.local_addr()).await.unwrap());
    }
    assert!(is_served(greedy.last_mut().unwrap()).await);
    is_closed(&mut greedy[0]).await;
    assert!(is_served(&mut other).await, "idle for longest, but not of the greedy one");
}

#[tokio::test]
async fn what_is_no_query_ends_the_connection() {
    let server = serve_with(ServeLimits::default());
    for bytes in [&[0, 0][..], &[0, 3, 1, 2, 3], &[0, 12, 1, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        is_closed(&mut stream).await;
    }
}

#[tokio::test]
async fn noise_harms_nobody_and_holds_no_memory() {
    let server = serve_with(ServeLimits { whole_query: Duration::from_millis(100), ..ServeLimits::default() });
    let mut faithful = connect_from([127, 0, 0, 2], server.local_addr()).await;
    let mut state = 1_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        (0..len).map(next).collect()
    };
    for round in 0..300 {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        // Every other one begins with the length of a short message, so that its noise is read as a query.
        let bytes = if round % 2 == 0 { [&[0, 40][..], &noise(40), &noise(500)].concat() } else { noise(3000) };
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        if round % 10 == 0 {
            assert!(is_served(&mut faithful).await);
        }
    }
    assert!(is_served(&mut faithful).await);
}

#[tokio::test]
async fn stuck_upstream_touches_no_other_connection() {
    let (server, upstream) = gated(ServeLimits::default());
    let mut stuck = TcpStream::connect(server.local_addr()).await.unwrap();
    let queries = (0..100).map(|i| question(&format!("n{i}.example.org."), RecordType::A, None));
    stuck.write_all(&queries.flat_map(|q| framed(&q)).collect::<Vec<u8>>()).await.unwrap();
    let mut other = TcpStream::connect(server.local_addr()).await.unwrap();
    for _ in 0..100 {
        assert!(is_served(&mut other).await);
    }
    assert!(upstream.asked.load(Ordering::SeqCst) <= 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn replies_do_not_depend_on_how_queries_are_cut(pieces in prop::collection::vec(1..200_usize, 1..40), names in 1..300_u16) {
        let responder = responder(zone(0));
        let query = |i: u16| {
            let mut query = question(&format!("n{i}.shop.fabric.internal."), RecordType::A, None);
            query.metadata.id = i;
            query
        };
        let bytes: Vec<u8> = (0..names).flat_map(|i| framed(&query(i))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let replies = runtime.block_on(async {
            let (mut client, served) = tokio::io::duplex(97);
            let limits = ServeLimits::default();
            let place = places::Places::new(limits).enter(LOCAL).unwrap();
            let serve = stream::serve_stream(served, LOCAL, Transport::Tcp, &responder, limits, &place);
            let (mut read, mut write) = tokio::io::split(&mut client);
            let send = async {
                let mut rest = &bytes[..];
                for piece in pieces.iter().cycle() {
                    let (now, later) = rest.split_at((*piece).min(rest.len()));
                    write.write_all(now).await.unwrap();
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                write.shutdown().await.unwrap();
            };
            let receive = async {
                let mut replies = Vec::new();
                read.read_to_end(&mut replies).await.unwrap();
                replies
            };
            tokio::join!(serve, send, receive).2
        });
        let mut rest = &replies[..];
        for i in 0..names {
            let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let reply = Message::from_vec(&rest[2..2 + len]).unwrap();
            prop_assert_eq!((reply.metadata.id, reply.metadata.response_code), (i, ResponseCode::NXDomain));
            rest = &rest[2 + len..];
        }
        prop_assert!(rest.is_empty());
    }
}
