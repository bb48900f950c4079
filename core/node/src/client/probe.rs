//! Health checks from outside of the task: does it answer?
//!
//! Spoken by hand rather than through a client: a probe runs each second for each task, needs one line of the answer,
//! and must neither follow nor store what a sick task sends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest first line of an answer; `HTTP/1.1 200 ` and a reason need a tenth of it.
const FIRST_LINE_BYTES_MAX: usize = 512;

/// How much, and for how long, the rest of the answer is taken and thrown away once the verdict is known. Closing at
/// once would reset the connection under a service that still writes, which many log as an error.
const REST_BYTES_MAX: usize = 16 << 10;
const REST_TIME_MAX: Duration = Duration::from_millis(100);

/// Whether `GET path` at `addr` answers with a status of 200 to 399 within `limit`. The error is a short reason, such as
/// `HTTP 503`, `connection refused` or `no answer within 500ms`.
pub async fn http_probe(addr: SocketAddr, path: &str, limit: Duration) -> Result<(), String> {
    if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(format!("`{path}` is not a path: it must begin with / and have no spaces"));
    }
    let asked = async {
        let mut stream = TcpStream::connect(addr).await.map_err(|e| reason(&e))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: taffeta-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(|e| reason(&e))?;
        let status = read_status(&mut stream).await?;
        Ok::<_, String>((stream, status))
    };
    let (stream, status) = timeout(limit, asked).await.map_err(|_| late(limit))??;
    let _ = timeout(REST_TIME_MAX.min(limit), discard_rest(stream)).await;
    if (200..=399).contains(&status) { Ok(()) } else { Err(format!("HTTP {status}")) }
}

/// Whether `addr` accepts a connection within `limit`. The error is a short reason.
pub async fn tcp_probe(addr: SocketAddr, limit: Duration) -> Result<(), String> {
    match timeout(limit, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(reason(&e)),
        Err(_) => Err(late(limit)),
    }
}

async fn read_status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut head = [0; FIRST_LINE_BYTES_MAX];
    let mut filled = 0;
    while filled < head.len() && !head[..filled].contains(&b'\n') {
        match stream.read(&mut head[filled..]).await {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => return Err(reason(&e)),
        }
    }
    if filled == 0 {
        return Err("connection closed without an answer".into());
    }
    parse_status(&head[..filled]).ok_or_else(|| "the answer is not HTTP".into())
}

/// `HTTP/1.x NNN`, then a space or the line's end.
fn parse_status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let (digits, after) = rest.split_at_checked(3)?;
    let ends = matches!(after.first(), Some(b' ' | b'\r' | b'\n'));
    let digits = std::str::from_utf8(digits).ok().filter(|d| ends && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

async fn discard_rest(mut stream: TcpStream) {
    let mut sink = [0; 2048];
    let mut taken = 0;
    while taken < REST_BYTES_MAX {
        match stream.read(&mut sink).await {
            Ok(0) | Err(_) => return,
            Ok(n) => taken += n,
        }
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".into(),
        _ => e.to_string(),
    }
}
