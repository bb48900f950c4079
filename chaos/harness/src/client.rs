//! An HTTP client that keeps its connection, and knows of a request that failed whether it can have been heard.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest reply in bytes: a mebibyte is many times what tests ask for.
const BODY_MAX: usize = 1 << 20;

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// There was no connection: nobody heard the request.
    NotSent(String),
    /// It was sent, in part at least: somebody may have heard it, and done what it says.
    Sent(String),
}

/// One connection to one server, made when it is needed and again after it broke.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    limit: Duration,
    token: Option<String>,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that waits so long for each reply.
    pub fn new(server: SocketAddr, limit: Duration) -> Self {
        Self { server, limit, token: None, connection: None }
    }

    /// The same that shows a token, if there is one.
    pub fn showing(self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self }
    }

    /// Whom it asks.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sends a request and gives status and body of the reply. A body has a media type.
    pub fn request(&mut self, method: &str, path: &str, body: Option<(&str, &str)>) -> Result<(u16, String), NoReply> {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => self.connect().map_err(|e| NoReply::NotSent(format!("{}: {e}", self.server)))?,
        };
        let sent = |e: std::io::Error| NoReply::Sent(format!("{}: {e}", self.server));
        let (media, text) = body.unwrap_or_default();
        let media = if media.is_empty() { String::new() } else { format!("Content-Type: {media}\r\n") };
        let token = self.token.as_ref().map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{token}{media}Content-Length: {}\r\n\r\n{text}",
            self.server,
            text.len()
        );
        connection.get_mut().write_all(request.as_bytes()).map_err(sent)?;
        let reply = read_reply(&mut connection).map_err(sent)?;
        self.connection = Some(connection);
        Ok(reply)
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.server, self.limit)?;
        stream.set_read_timeout(Some(self.limit))?;
        stream.set_write_timeout(Some(self.limit))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }
}

fn read_reply(connection: &mut BufReader<TcpStream>) -> std::io::Result<(u16, String)> {
    let broken = |what: &str| std::io::Error::other(what.to_owned());
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| broken("not an HTTP reply"))?;
    let mut length = 0;
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(broken("the reply broke off"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| broken("a length that is no number"))?;
        }
    }
    if length > BODY_MAX {
        return Err(broken("the reply is too long"));
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
