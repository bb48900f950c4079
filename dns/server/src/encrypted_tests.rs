use crate::{
    tests::{DEADLINE, LOCAL, framed, question, read_reply, responder, set, texts, zone},
    *,
};
use hickory_proto::{
    op::Message,
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use std::{net::SocketAddr, process::Output, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const WEB: &str = "web.shop.fabric.internal.";
const HOST: &str = "dns.test";

struct World {
    server: EncryptedServer,
    certificate: CertificateDer<'static>,
    pem: String,
}

fn world(limits: ServeLimits) -> World {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let tls = EncryptedConfig::tls(vec![certificate.clone()], key).unwrap();
    let any: Option<SocketAddr> = Some((LOCAL, 0).into());
    let config = EncryptedConfig { dot: any, doh: any, doq: any, limits, ..EncryptedConfig::new(tls) };
    let server = EncryptedServer::bind(&config, &responder(zone(90))).unwrap();
    World { server, certificate, pem: made.cert.pem() }
}

impl World {
    fn client(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        client
    }

    async fn by_tls(&self, server: SocketAddr, protocols: &[&str]) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(server).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        TlsConnector::from(Arc::new(self.client(protocols))).connect(name, tcp).await.unwrap()
    }

    async fn by_quic(&self) -> (quinn::Endpoint, quinn::Connection) {
        let endpoint = quinn::Endpoint::client((LOCAL, 0).into()).unwrap();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.client(&["doq"])).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let server = self.server.doq_addr().unwrap();
        let connection = endpoint.connect_with(config, server, HOST).unwrap().await.unwrap();
        (endpoint, connection)
    }
}

fn ask(record_type: RecordType, id: u16) -> Message {
    let mut query = question(WEB, record_type, Some(1232));
    query.metadata.id = id;
    query
}

async fn ask_by_quic(connection: &quinn::Connection, frame: &[u8]) -> Option<Message> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(frame).await.ok()?;
    send.finish().ok()?;
    let reply = timeout(DEADLINE, receive.read_to_end(65537)).await.expect("a reply in time").ok()?;
    Some(Message::from_vec(&reply[2..]).unwrap())
}

/// `None`, loudly, if the program is not there.
async fn run(package: &str, program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).output().await {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {program} does not run ({error}); Debian has it in {package}");
            None
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn dot_pipelines_like_tcp() {
    let world = world(ServeLimits::encrypted());
    let mut stream = world.by_tls(world.server.dot_addr().unwrap(), &["dot"]).await;
    let queries: Vec<Message> = (0..300).map(|id| ask(RecordType::A, id)).collect();
    stream.write_all(&queries.iter().flat_map(framed).collect::<Vec<u8>>()).await.unwrap();
    for query in &queries {
        let reply = read_reply(&mut stream).await;
        assert_eq!(reply.metadata.id, query.metadata.id);
        assert_eq!(texts(&reply), set(["10.1.0.1"]));
    }
}

#[tokio::test]
async fn replies_are_padded_to_blocks_where_nobody_can_read_them() {
    let world = world(ServeLimits::encrypted());
    let mut stream = world.by_tls(world.server.dot_addr().unwrap(), &["dot"]).await;
    for (name, blocks) in [(WEB, 1), ("nope.shop.fabric.internal.", 1), ("crowd.shop.fabric.internal.", 4)] {
        let mut query = question(name, RecordType::A, Some(1232));
        query.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(12, vec![0; 7]));
        stream.write_all(&framed(&query)).await.unwrap();
        assert_eq!(stream.read_u16().await.unwrap(), blocks * 468);
        let mut reply = vec![0; usize::from(blocks) * 468];
        stream.read_exact(&mut reply).await.unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert!(reply.edns.unwrap().option(EdnsCode::Padding).is_some());
    }
    // Not without being asked, and not in the clear.
    stream.write_all(&framed(&ask(RecordType::A, 1))).await.unwrap();
    assert!(stream.read_u16().await.unwrap() < 468);
    let mut query = ask(RecordType::A, 1);
    query.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(12, vec![0; 7]));
    let clear = responder(zone(0)).respond(&query.to_vec().unwrap(), LOCAL, Transport::Tcp).await.unwrap();
    assert!(clear.len() < 468);
}

#[tokio::test]
async fn half_open_handshakes_end_and_keep_nobody_out() {
    let limits = ServeLimits {
        connections_max: 8,
        connections_per_client_max: 8,
        whole_query: Duration::from_millis(300),
        ..ServeLimits::encrypted()
    };
    let world = world(limits);
    for address in [world.server.dot_addr().unwrap(), world.server.doh_addr().unwrap()] {
        let mut open = Vec::new();
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // A record of TLS that says it will be long, and is not.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
            open.push(stream);
        }
        drop(world.by_tls(address, &[]).await);
        for stream in &mut open {
            let end = timeout(DEADLINE, stream.read(&mut [0; 64])).await.expect("closed in time");
            assert!(matches!(end, Ok(0..=64) | Err(_)));
        }
    }
}

#[tokio::test]
async fn noise_ends_its_connection_and_nothing_else() {
    let world = world(ServeLimits::encrypted());
    let (dot, doh) = (world.server.dot_addr().unwrap(), world.server.doh_addr().unwrap());
    let noise = |n: u64| -> Vec<u8> {
        (0..2000).map(|i| (n.wrapping_mul(6364136223846793005).wrapping_add(i * i * 1442695) >> 7) as u8).collect()
    };
    for n in 0..20 {
        for address in [dot, doh] {
            let mut bare = TcpStream::connect(address).await.unwrap();
            let _ = bare.write_all(&noise(n)).await;
            for protocols in [&["dot"][..], &["h2"], &["http/1.1"]] {
                if (address == dot) != (protocols == ["dot"]) {
                    continue;
                }
                let mut within = world.by_tls(address, protocols).await;
                let _ = within.write_all(&noise(n)).await;
                let _ = within.flush().await;
            }
        }
    }
    let mut stream = world.by_tls(dot, &["dot"]).await;
    stream.write_all(&framed(&ask(RecordType::A, 1))).await.unwrap();
    assert_eq!(texts(&read_reply(&mut stream).await), set(["10.1.0.1"]));
}

#[tokio::test]
async fn idle_https_connection_is_closed() {
    let world = world(ServeLimits { idle: Duration::from_millis(100), ..ServeLimits::encrypted() });
    for protocol in ["h2", "http/1.1"] {
        let mut stream = world.by_tls(world.server.doh_addr().unwrap(), &[protocol]).await;
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    }
}

#[tokio::test]
async fn doq_answers_each_query_on_its_own_stream() {
    let world = world(ServeLimits::encrypted());
    let (_endpoint, connection) = world.by_quic().await;
    let queries = (0..200).map(|_| framed(&ask(RecordType::A, 0)));
    let replies = futures::future::join_all(queries.map(async |frame| ask_by_quic(&connection, &frame).await)).await;
    for reply in replies {
        let reply = reply.expect("a reply");
        assert_eq!((reply.metadata.id, texts(&reply)), (0, set(["10.1.0.1"])));
    }
}

#[tokio::test]
async fn doq_closes_on_what_it_forbids() {
    let world = world(ServeLimits::encrypted());
    let mut keepalive = ask(RecordType::A, 0);
    keepalive.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(11, vec![]));
    let good = framed(&ask(RecordType::A, 0));
    let longer = [&good[..], &[0]].concat();
    let shorter = good[..good.len() - 1].to_vec();
    let reply = framed(&ask(RecordType::A, 0).into_response());
    for frame in [framed(&ask(RecordType::A, 7)), framed(&keepalive), longer, shorter, reply, vec![]] {
        let (_endpoint, connection) = world.by_quic().await;
        assert!(ask_by_quic(&connection, &frame).await.is_none(), "{frame:?}");
        let closed = timeout(DEADLINE, connection.closed()).await.expect("closed in time");
        let quinn::ConnectionError::ApplicationClosed(close) = &closed else { panic!("{closed}") };
        assert_eq!(u64::from(close.error_code), 2);
    }
    let (_endpoint, connection) = world.by_quic().await;
    assert!(ask_by_quic(&connection, &good).await.is_some());
}

#[tokio::test]
async fn kdig_agrees_over_tls_https_and_quic() {
    let world = world(ServeLimits::encrypted());
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &world.pem).unwrap();
    let (ca, host) = (format!("+tls-ca={}", ca.path().display()), format!("+tls-hostname={HOST}"));
    let (dot, doh, doq) = (world.server.dot_addr(), world.server.doh_addr(), world.server.doq_addr());
    let ways: [(&[&str], _); 4] =
        [(&["+tls"], dot), (&["+https"], doh), (&["+https", "+https-get"], doh), (&["+quic"], doq)];
    for (way, address) in ways {
        let port = address.unwrap().port().to_string();
        let args = [&["@127.0.0.1", "-p", &port, "+padding", "+timeout=5", "+retry=0"], way, &[&ca, &host]].concat();
        for (name, expected) in [(WEB, 1), ("crowd.shop.fabric.internal.", 90)] {
            let args = [&args[..], &[name, "A"]].concat();
            let Some(output) = run("knot-dnsutils", "kdig", &args).await else { return };
            let text = stdout(&output);
            let error = String::from_utf8_lossy(&output.stderr);
            if way == ["+quic"] && !text.contains("(QUIC)") && error.contains("@") && !error.contains("(QUIC)") {
                eprintln!("SKIPPED: this kdig has no QUIC (Debian has one with it from 13 on)");
                continue;
            }
            assert!(text.contains(&format!("ANSWER: {expected};")), "{way:?} {text} {error}");
            assert!(!text.contains("WARNING") && !error.contains("WARNING"), "{way:?} {text} {error}");
        }
    }
}

#[tokio::test]
async fn dnspython_agrees_over_quic() {
    let world = world(ServeLimits::encrypted());
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &world.pem).unwrap();
    let port = world.server.doq_addr().unwrap().port();
    let script = format!(
        "import dns.message, dns.query\n\
         q = dns.message.make_query('{WEB}', 'A', use_edns=0)\n\
         r = dns.query.quic(q, '127.0.0.1', timeout=5, port={port}, verify='{}', server_hostname='{HOST}')\n\
         print(r.answer[0][0])",
        ca.path().display()
    );
    let packages = "python3-dnspython and, from 13 on, python3-aioquic";
    let Some(output) = run(packages, "python3", &["-c", &script]).await else { return };
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("ModuleNotFoundError") || error.contains("NoDOQ") {
        eprintln!("SKIPPED: no module for DNS over QUIC; Debian has it in {packages}");
        return;
    }
    assert_eq!(stdout(&output), "10.1.0.1\n", "{error}");
}

#[tokio::test]
async fn curl_resolves_names_and_speaks_both_versions_of_http() {
    let world = world(ServeLimits::encrypted());
    let port = world.server.doh_addr().unwrap().port();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &world.pem).unwrap();
    let (ca, url) = (ca.path().display().to_string(), format!("https://{HOST}:{port}/dns-query"));
    let at = format!("{HOST}:{port}:127.0.0.1");
    let query = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(query.path(), ask(RecordType::A, 0).to_vec().unwrap()).unwrap();
    let body = format!("@{}", query.path().display());
    for (flag, version) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200 OK")] {
        let media_type = "content-type: application/dns-message";
        let args = ["-sSi", "--cacert", &ca, "--resolve", &at, flag, "-H", media_type, "--data-binary", &body, &url];
        let Some(output) = run("curl", "curl", &args).await else { return };
        let text = stdout(&output).to_ascii_lowercase();
        assert!(text.starts_with(&version.to_ascii_lowercase()), "{text} {output:?}");
        assert!(text.contains("cache-control: max-age=1\r\n") && text.contains(media_type), "{text}");
    }
    // A name of the fabric, resolved by our HTTPS, for a service that does not run: it is found, and refuses.
    let args = ["-sSv", "--doh-insecure", "--resolve", &at, "--doh-url", &url, "--connect-timeout", "1"];
    let args = [&args[..], &["http://n1.node.fabric.internal:1/"]].concat();
    let Some(output) = run("curl", "curl", &args).await else { return };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("127.0.0.1") && output.status.code() == Some(7), "{error}");
}

#[tokio::test]
async fn shut_down_frees_the_ports() {
    let world = world(ServeLimits::encrypted());
    let dot = world.server.dot_addr().unwrap();
    let mut stream = world.by_tls(dot, &["dot"]).await;
    world.server.shut_down().await;
    assert!(matches!(timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("cut in time"), Ok(0) | Err(_)));
    serve::listen_tcp(dot).expect("free again");
}
