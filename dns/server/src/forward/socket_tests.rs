use super::script::{a, ask, ask_a, listed, responder};
use crate::{
    tests::{LOCAL, ede, question, texts},
    *,
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata::NULL},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn own_server_is_never_an_upstream() {
    // A port that is free for UDP may be taken for TCP.
    let mut bound = None;
    for _ in 0..20 {
        let free = UdpSocket::bind((LOCAL, 0)).await.unwrap().local_addr().unwrap();
        let r = responder(listed(&[free]), Arc::new(Sockets));
        if let Ok(server) = DnsServer::bind(free, r.clone()) {
            bound = Some((free, r, server));
            break;
        }
    }
    let (free, r, server) = bound.expect("a free port");
    assert_eq!(server.local_addr(), free);
    assert_eq!(ede(&ask_a(&r, "www.example.com.").await), Some(22));
    assert_eq!(r.forward_counts().loops, 0);
}

#[tokio::test]
async fn resolv_conf_is_read_and_the_stub_is_looked_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (resolv_conf, behind_stub) = (folder.path().join("a"), folder.path().join("b"));
    let upstreams = Upstreams::System { resolv_conf: resolv_conf.clone(), behind_stub: behind_stub.clone() };
    let read = async || upstreams.read(|u| u.ip() == LOCAL).await.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(read().await.is_empty(), "no file");
    let many = "# x\nsearch a.b\nnameserver 192.0.2.1\nnameserver fe80::1%7\n nameserver 2001:db8::1\nnameserver\nnameserver fe80::2%nosuch0\nnameserver fe80::3%lo\n";
    std::fs::write(&resolv_conf, many).unwrap();
    let loopback = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    let zoned = format!("[fe80::3%{}]:53", loopback.trim());
    assert_eq!(read().await, ["192.0.2.1:53", "[fe80::1%7]:53", "[2001:db8::1]:53", &zoned]);
    std::fs::write(&behind_stub, "nameserver 192.0.2.9\n").unwrap();
    for elsewhere in ["127.0.0.53", "127.0.0.54", "127.0.0.1"] {
        std::fs::write(&resolv_conf, format!("nameserver {elsewhere}\noptions edns0\n")).unwrap();
        assert_eq!(read().await, ["192.0.2.9:53"], "{elsewhere}");
    }
    std::fs::remove_file(&behind_stub).unwrap();
    assert!(read().await.is_empty(), "ourselves are nobody");
    std::fs::write(&resolv_conf, "nameserver 127.0.0.53\n").unwrap();
    assert_eq!(read().await, ["127.0.0.53:53"], "nothing behind it: the stub itself");
}

/// What a real upstream on loopback does with a query by UDP; by TCP it gives 100 records.
#[derive(Clone, Copy)]
enum Udp {
    /// A forgery, then the truth; cut short if the name begins with `big`.
    Forged,
    /// Nothing but forgeries and noise.
    Lies,
}

async fn real_upstream(does: Udp) -> SocketAddr {
    let tcp = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
            let query = &buffer[..len];
            let mut other_id = strange(query, 9);
            other_id.metadata.id ^= 1;
            let mut packets = vec![other_id.to_vec().unwrap()];
            let mut reply = strange(query, 1);
            reply.metadata.truncation = reply.queries[0].name().to_string().starts_with("big");
            match does {
                Udp::Forged => packets.push(reply.to_vec().unwrap()),
                Udp::Lies => packets.extend([query.to_vec(), other_name(query), query[..9].to_vec(), Vec::new()]),
            }
            for packet in packets {
                udp.send_to(&packet, from).await.unwrap();
            }
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

/// Records of a type that nobody knows.
fn strange(query: &[u8], count: u8) -> Message {
    let mut reply = Message::from_vec(query).unwrap().into_response();
    let name = reply.queries[0].name().clone();
    for i in 0..count {
        let data = RData::Unknown { code: RecordType::Unknown(65280), rdata: NULL::with(vec![i; 20]) };
        reply.add_answer(Record::from_rdata(name.clone(), 60, data));
    }
    reply
}

fn other_name(query: &[u8]) -> Vec<u8> {
    let mut reply = Message::from_vec(query).unwrap().into_response();
    reply.queries[0].set_name(hickory_proto::rr::Name::from_ascii("evil.example.").unwrap());
    a(&mut reply, 9, 9);
    reply.to_vec().unwrap()
}

#[tokio::test]
async fn real_sockets_relay_unknown_types_and_ignore_forgeries() {
    let r = responder(listed(&[real_upstream(Udp::Forged).await]), Arc::new(Sockets));
    for _ in 0..2 {
        let reply = ask(&r, &question("a.example.", RecordType::Unknown(65280), None), Transport::Udp).await;
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].record_type(), RecordType::Unknown(65280));
        let reply = ask(&r, &question("big.example.", RecordType::Unknown(65280), None), Transport::Tcp).await;
        assert_eq!(texts(&reply).len(), 100);
    }
    assert_eq!(r.forward_counts().hits, 2);
}

#[tokio::test]
async fn lies_are_not_believed_and_the_next_upstream_is_asked() {
    let (liar, honest) = (real_upstream(Udp::Lies).await, real_upstream(Udp::Forged).await);
    let unknown = question("a.example.", RecordType::Unknown(65280), Some(1232));
    let r = responder(listed(&[liar, honest]), Arc::new(Sockets));
    assert_eq!(ask(&r, &unknown, Transport::Udp).await.answers.len(), 1);
    let r = responder(ForwardConfig { budget: Duration::from_millis(300), ..listed(&[liar]) }, Arc::new(Sockets));
    assert_eq!(ask(&r, &unknown, Transport::Udp).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn slow_upstream_does_not_hold_up_our_own_names() {
    let silent = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let r = responder(listed(&[silent.local_addr().unwrap()]), Arc::new(Sockets));
    let server = DnsServer::bind((LOCAL, 0).into(), r).unwrap();
    let client = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let (slow, fast) =
        (question("www.example.com.", RecordType::A, None), question("web.shop.fabric.internal.", RecordType::A, None));
    client.send_to(&slow.to_vec().unwrap(), server.local_addr()).await.unwrap();
    // The upstream has the question (and not just a probe), so the relay is under way.
    let mut buffer = [0; 1500];
    while !buffer.windows(8).any(|w| w == b"\x07example") {
        silent.recv(&mut buffer).await.unwrap();
    }
    client.send_to(&fast.to_vec().unwrap(), server.local_addr()).await.unwrap();
    let len = tokio::time::timeout(DEADLINE, client.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(Message::from_vec(&buffer[..len]).unwrap().metadata.id, fast.metadata.id);
}

#[tokio::test]
async fn two_real_servers_that_point_at_each_other_go_on_serving() {
    // Another test may be given one of the ports in between, but not time after time.
    let mut tries = 0;
    let (one, two, _servers) = loop {
        tries += 1;
        let free = UdpSocket::bind((LOCAL, 0)).await.unwrap().local_addr().unwrap();
        let other_free = UdpSocket::bind((LOCAL, 0)).await.unwrap().local_addr().unwrap();
        let one = responder(listed(&[other_free]), Arc::new(Sockets));
        let two = responder(listed(&[free]), Arc::new(Sockets));
        match (DnsServer::bind(free, one.clone()), DnsServer::bind(other_free, two.clone())) {
            (Ok(first), Ok(second)) => break (one, two, (first, second)),
            (first, second) => assert!(tries < 5, "{:?} {:?}", first.err(), second.err()),
        }
    };
    let found = async {
        while one.forward_counts().loops + two.forward_counts().loops == 0 {
            for r in [&one, &two] {
                ask_a(r, "www.example.com.").await;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("one of them finds out; then it goes round no more");
    assert_eq!(ede(&ask_a(&one, "other.example.com.").await), Some(22));
    assert_eq!(ask_a(&one, "web.shop.fabric.internal.").await.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_of_the_server_answer_from_the_cache() {
    let r = responder(listed(&[real_upstream(Udp::Forged).await]), Arc::new(Sockets));
    let server = DnsServer::bind((LOCAL, 0).into(), r.clone()).unwrap();
    let client = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let query = question("a.example.", RecordType::Unknown(65280), Some(1232)).to_vec().unwrap();
    for _ in 0..5 {
        client.send_to(&query, server.local_addr()).await.unwrap();
        let mut buffer = [0; 1500];
        let len = tokio::time::timeout(DEADLINE, client.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(Message::from_vec(&buffer[..len]).unwrap().answers.len(), 1);
    }
    assert_eq!((r.forward_counts().misses, r.forward_counts().hits), (1, 4));
    // A thread counts a batch after it has sent its replies.
    let counted = async {
        while (server.counts().relayed, server.counts().cached) != (1, 4) {
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(DEADLINE, counted).await;
    assert!(counted.is_ok(), "{:?}", server.counts());
}
