//! A DNS server on real sockets whose answers a test decides, packet by packet.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, rdata::SRV},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// In a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// Runs until dropped.
pub(crate) struct FakeDns {
    /// Where it listens, with UDP and TCP.
    pub(crate) address: SocketAddr,
    /// Number of queries so far.
    pub(crate) asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// Gives the packets to send back for one query; none is silence.
type Answer = dyn Fn(&Message, Via) -> Vec<Message> + Send + Sync;

impl FakeDns {
    pub(crate) async fn start(answer: impl Fn(&Message, Via) -> Vec<Message> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(answer);
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, answer.clone(), asked.clone()));
        tasks.spawn(serve_tcp(tcp, answer, asked.clone()));
        Self { address, asked, _tasks: tasks }
    }

    /// Answers every SRV question with these targets and their addresses; other names do not exist.
    pub(crate) async fn with_services(services: Vec<(&'static str, Vec<SocketAddr>)>) -> Self {
        Self::start(move |query, _| {
            let asked = query.queries[0].name().to_ascii();
            let Some((_, targets)) = services.iter().find(|(name, _)| asked == *name) else {
                return vec![failure(query, ResponseCode::NXDomain)];
            };
            let mut reply = reply_to(query);
            for (index, target) in targets.iter().enumerate() {
                let host = format!("{}.host.example.", index + 1);
                // The first has the best priority, so that a test knows the order.
                add_target(&mut reply, u16::try_from(index).unwrap(), 0, target.port(), &host);
                if let SocketAddr::V4(v4) = target {
                    reply.add_additional(a(&host, *v4.ip()));
                }
            }
            vec![reply]
        })
        .await
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// UDP and TCP on one port; the port that UDP got may be taken for TCP, so several are tried.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, answer: Arc<Answer>, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        asked.fetch_add(1, Ordering::SeqCst);
        for reply in answer(&query, Via::Udp) {
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, answer: Arc<Answer>, asked: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        asked.fetch_add(1, Ordering::SeqCst);
        serve_connection(stream, &*answer).await;
    }
}

async fn serve_connection(mut stream: TcpStream, answer: &Answer) {
    let mut query = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut query).await.unwrap();
    for reply in answer(&Message::from_vec(&query).unwrap(), Via::Tcp) {
        let bytes = reply.to_vec().unwrap();
        stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
}

pub(crate) fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.add_queries(query.queries.clone());
    reply
}

pub(crate) fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut reply = reply_to(query);
    reply.metadata.response_code = code;
    reply
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// Adds an SRV record for the name that was asked.
pub(crate) fn add_target(reply: &mut Message, priority: u16, weight: u16, port: u16, host: &str) {
    let owner = reply.queries[0].name().clone();
    let srv = SRV::new(priority, weight, port, name(host));
    reply.add_answer(Record::from_rdata(owner, 1, RData::SRV(srv)));
}

pub(crate) fn a(host: &str, address: Ipv4Addr) -> Record {
    Record::from_rdata(name(host), 1, RData::A(address.into()))
}
