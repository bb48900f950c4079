//! An HTTP client as small as can be: one GET, one connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(3);

/// GET of a path; status and body, or why there was no reply within three seconds.
pub fn get(server: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect_timeout(&server, LIMIT).map_err(|e| format!("{server}: {e}"))?;
    stream.set_read_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(|e| match e.kind() {
        ErrorKind::WouldBlock => format!("{server} has not replied within {LIMIT:?}"),
        _ => format!("{server}: {e}"), // a foreign enum
    })?;
    let status = reply.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("not an HTTP reply")?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}
