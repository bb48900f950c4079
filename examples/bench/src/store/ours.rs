//! Writes to the product: a deploy of an app without instances, whose environment holds the value. A real verb of the
//! public API, over a kept connection to the leader for each client.

use super::{
    VALUE_BYTES,
    load::{Target, Writer},
};
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use taffeta_harness::{Cluster, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where the leader listens.
pub(crate) struct Ours {
    leader: SocketAddr,
}

impl Ours {
    /// Finds the leader.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let (name, _) = within(std::time::Duration::from_secs(30), "a leader", || {
            let leader = cluster.machines[0].try_json(&["leader"])?;
            leader["name"].as_str().map(str::to_owned).ok_or_else(|| "no leader".to_owned())
        });
        Ok(Self { leader: cluster.machines[cluster.index(&name)].http() })
    }
}

impl Target for Ours {
    type Writer = Client;

    async fn writers(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = vec![];
        for number in 0..count {
            clients.push(Client::connect(self.leader, number).await?);
        }
        Ok(clients)
    }
}

/// One connection, and the request that goes over it, of which only the value changes.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    value_at: usize,
    reply: Vec<u8>,
}

impl Client {
    async fn connect(leader: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(leader).await.context("the leader's API")?;
        stream.set_nodelay(true)?;
        let before = format!("app = \"b{number}\"\n[batch.w]\nrun = [\"true\"]\ncount = 0\nenv = {{ V = \"");
        let (length, after) = (before.len() + VALUE_BYTES + 4, "\" }\n");
        let head = format!(
            "POST /v1/apps HTTP/1.1\r\nHost: {leader}\r\nContent-Type: application/toml\r\nContent-Length: {length}\r\n\r\n"
        );
        let value_at = head.len() + before.len();
        let request = [head.as_bytes(), before.as_bytes(), &[b'x'; VALUE_BYTES], after.as_bytes()].concat();
        Ok(Self { stream, request, value_at, reply: Vec::with_capacity(4096) })
    }

    /// Reads one reply; an error unless it is a 200.
    async fn read_reply(&mut self) -> Result<()> {
        self.reply.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.reply).await? > 0, "the connection was closed");
            let Some(head) = find(&self.reply, b"\r\n\r\n") else { continue };
            let length = length(&self.reply[..head]).context("a reply without a length")?;
            if self.reply.len() < head + 4 + length {
                continue;
            }
            if self.reply.starts_with(b"HTTP/1.1 200") {
                return Ok(());
            }
            bail!("{}", String::from_utf8_lossy(&self.reply));
        }
    }
}

impl Writer for Client {
    async fn write(&mut self, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.request[self.value_at..self.value_at + VALUE_BYTES].copy_from_slice(value);
        self.stream.write_all(&self.request).await?;
        self.read_reply().await
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}
