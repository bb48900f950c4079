use crate::{
    tests::{DEADLINE, LOCAL, framed, question, responder_with, zone},
    *,
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use std::{net::IpAddr, path::Path, process::Stdio, sync::Arc};
use taffeta_dns_answer::{Node, SnapshotInput};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

/// Machines of the zone: their records take several messages, and more than 64 KiB.
const MACHINES: usize = 6000;

fn large(machines: usize) -> SnapshotInput {
    let node = |i: usize| Node {
        name: format!("machine-{i}").into(),
        address: IpAddr::from([10, 9, (i >> 8) as u8, i as u8]),
        up: true,
        is_leader: false,
        is_voter: false,
        zone: "a".into(),
        distance: None,
    };
    let input = zone(3);
    SnapshotInput { nodes: input.nodes.iter().cloned().chain((0..machines).map(node)).collect(), ..input }
}

fn permitted(input: SnapshotInput) -> Arc<Responder> {
    let transfer = vec!["127.0.0.1".parse().unwrap()];
    responder_with(input, DnsConfig { transfer, ..DnsConfig::default() })
}

fn serve(input: SnapshotInput) -> DnsServer {
    DnsServer::bind((LOCAL, 0).into(), permitted(input)).unwrap()
}

async fn read_message(stream: &mut TcpStream) -> (Message, usize) {
    let read = async {
        let len = usize::from(stream.read_u16().await.unwrap());
        let mut message = vec![0; len];
        stream.read_exact(&mut message).await.unwrap();
        (Message::from_vec(&message).unwrap(), len)
    };
    timeout(DEADLINE, read).await.expect("a message in time")
}

/// All messages up to the second SOA, with their lengths.
async fn transfer(stream: &mut TcpStream, query: &Message) -> Vec<(Message, usize)> {
    stream.write_all(&framed(query)).await.unwrap();
    let mut messages = Vec::new();
    let mut starts = 0;
    while starts < 2 {
        let (message, len) = read_message(stream).await;
        assert_eq!((message.metadata.id, message.metadata.response_code), (query.metadata.id, ResponseCode::NoError));
        starts += message.answers.iter().filter(|r| r.record_type() == RecordType::SOA).count();
        messages.push((message, len));
    }
    messages
}

#[tokio::test]
async fn zone_comes_whole_in_messages_of_16_kib() {
    let server = serve(large(MACHINES));
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        let messages = transfer(&mut stream, &question("FABRIC.internal.", record_type, Some(1232))).await;
        assert!(messages.len() > 4, "{}", messages.len());
        assert!(messages.iter().all(|(m, len)| *len <= 16 * 1024 && m.metadata.authoritative && m.edns.is_some()));
        assert!(messages.iter().map(|(_, len)| len).sum::<usize>() > 65536);
        let asked: Vec<usize> = messages.iter().map(|(m, _)| m.queries.len()).collect();
        assert_eq!((asked[0], asked[1..].iter().sum::<usize>()), (1, 0));
        let records: Vec<&Record> = messages.iter().flat_map(|(m, _)| &m.answers).collect();
        assert_eq!(records[0], records[records.len() - 1]);
        let machine = |r: &&&Record| r.record_type() == RecordType::A && r.name.to_ascii().starts_with("machine-");
        assert_eq!(records.iter().filter(machine).count(), MACHINES);
        let web = |r: &&&Record| r.name.to_ascii() == "web.shop.fabric.internal.";
        assert!(records.iter().filter(web).count() >= 4, "addresses, SRV and text of a service");
    }
}

#[tokio::test]
async fn connection_goes_on_after_a_transfer_between_other_queries() {
    let server = serve(large(MACHINES));
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let before = question("web.shop.fabric.internal.", RecordType::A, None);
    let after = question("web.shop.fabric.internal.", RecordType::AAAA, None);
    stream.write_all(&framed(&before)).await.unwrap();
    assert_eq!(read_message(&mut stream).await.0.metadata.id, before.metadata.id);
    let zone = question("fabric.internal.", RecordType::AXFR, None);
    stream.write_all(&[framed(&before), framed(&zone), framed(&after)].concat()).await.unwrap();
    assert_eq!(read_message(&mut stream).await.0.metadata.id, before.metadata.id);
    let mut starts = 0;
    while starts < 2 {
        let message = read_message(&mut stream).await.0;
        starts += message.answers.iter().filter(|r| r.record_type() == RecordType::SOA).count();
    }
    assert_eq!(read_message(&mut stream).await.0.metadata.id, after.metadata.id);
}

#[tokio::test]
async fn zone_is_refused_to_all_but_the_permitted() {
    let nobody = DnsServer::bind((LOCAL, 0).into(), responder_with(zone(0), DnsConfig::default())).unwrap();
    let elsewhere = DnsConfig { transfer: vec!["10.0.0.0/8".parse().unwrap()], ..DnsConfig::default() };
    let elsewhere = DnsServer::bind((LOCAL, 0).into(), responder_with(zone(0), elsewhere)).unwrap();
    let everywhere = serve(zone(0));
    let unready = serve(SnapshotInput { ready: false, ..zone(0) });
    let cases = [
        (&nobody, "fabric.internal."),
        (&elsewhere, "fabric.internal."),
        (&everywhere, "shop.fabric.internal."),
        (&everywhere, "example.org."),
        (&everywhere, "."),
        (&unready, "fabric.internal."),
    ];
    for (server, name) in cases {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(&framed(&question(name, RecordType::AXFR, None))).await.unwrap();
        let (reply, _) = read_message(&mut stream).await;
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::Refused, 0), "{name}");
    }
}

#[test]
fn networks_hold_what_their_prefix_says() {
    let holds = |network: &str, address: &str| {
        let network: Network = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
    assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
    assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3") && !holds("10.0.0.0/8", "fd00::1"));
    assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "::2"));
    assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe00::1") && holds("::/0", "fe80::1"));
    for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "host"] {
        assert!(text.parse::<Network>().unwrap_err().to_string().contains("10.0.0.0/8"), "{text}");
    }
}

#[tokio::test]
async fn dig_gets_the_zone() {
    let server = serve(large(MACHINES));
    let port = server.local_addr().port().to_string();
    for program in ["dig", "kdig"] {
        let mut command = Command::new(program);
        command.args(["@127.0.0.1", "-p", &port, "+noall", "+answer", "fabric.internal", "AXFR"]);
        let Ok(output) = command.output().await else {
            eprintln!("SKIPPED: {program} is not installed (Debian: bind9-dnsutils, knot-dnsutils)");
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.matches("\tSOA\t").count(), 2, "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("machine-")).count(), MACHINES, "{program}");
    }
}

fn knot_config(folder: &Path, primary: u16, own: u16) -> String {
    let folder = folder.display();
    format!(
        "server:\n  rundir: {folder}\n  listen: 127.0.0.1@{own}\n\
         database:\n  storage: {folder}\n\
         remote:\n  - id: us\n    address: 127.0.0.1@{primary}\n\
         zone:\n  - domain: fabric.internal\n    storage: {folder}\n    master: us\n"
    )
}

#[tokio::test]
async fn knot_is_a_secondary() {
    let server = serve(large(MACHINES));
    let folder = tempfile::tempdir().unwrap();
    // Freed at once for Knot to take: no other way to give it a port that is free.
    let own = std::net::UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap();
    let config = folder.path().join("knot.conf");
    std::fs::write(&config, knot_config(folder.path(), server.local_addr().port(), own.port())).unwrap();
    let mut knot = Command::new("knotd");
    knot.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(_knot) = knot.spawn() else {
        eprintln!("SKIPPED: knotd is not installed (Debian: knot)");
        return;
    };
    let query = question("machine-4321.node.fabric.internal.", RecordType::A, None).to_vec().unwrap();
    let transferred = async {
        loop {
            // Until it has the zone, it is silent or fails.
            let reply = timeout(std::time::Duration::from_millis(200), Sockets.udp(own, &query)).await;
            let reply = reply.ok().and_then(Result::ok).and_then(|r| Message::from_vec(&r).ok());
            if let Some(record) = reply.as_ref().and_then(|r| r.answers.first()) {
                break record.data.to_string();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // It has threads to start and a zone of thousands of records to take in, and asks again only after seconds.
    assert_eq!(timeout(4 * DEADLINE, transferred).await.expect("transferred in time"), "10.9.16.225");
}
