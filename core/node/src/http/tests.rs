//! The server with a backend that is made up, over real sockets.

mod access;
mod fake;
mod page;
mod routes;
mod serving;
mod streams;

use super::{HttpConfig, HttpServer};
use crate::client::{ApiClient, ApiTarget};
use fake::{Fake, TOKEN};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait in these tests is longer; each ends as soon as what it waits for is there.
const DEADLINE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A server on a free port.
struct Running {
    server: HttpServer,
    fake: Arc<Fake>,
    addr: SocketAddr,
}

fn run(open: bool) -> Running {
    run_with(HttpConfig { listen: Some(loopback()), open, ..HttpConfig::default() })
}

fn run_with(config: HttpConfig) -> Running {
    let fake = Arc::new(Fake::new());
    let server = HttpServer::bind(config, fake.clone()).unwrap();
    let addr = server.local_addr().unwrap();
    Running { server, fake, addr }
}

impl Running {
    fn client(&self) -> ApiClient {
        ApiClient::new(ApiTarget::Http(format!("http://{}", self.addr)), Some(TOKEN.into())).unwrap()
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// `code` of an error's body.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

/// Sends a request as text: what a client of ours would never send must be answered too.
async fn raw(addr: SocketAddr, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut text = format!("{request_line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|h| h.starts_with("Host:")) {
        text.push_str(&format!("Host: {addr}\r\n"));
    }
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.into(), body: body.into() }
}

/// The same with the right token.
async fn with_token(addr: SocketAddr, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let authorization = format!("Authorization: Bearer {TOKEN}");
    let headers: Vec<&str> = headers.iter().copied().chain([authorization.as_str()]).collect();
    raw(addr, request_line, &headers, body).await
}
