//! etcd of three members, with its defaults, on the same disk.

use super::{
    NODES, VALUE_BYTES,
    grpc::{Channel, Value, field, put_bytes},
    load::{Target, Writer},
};
use anyhow::{Context, Result, ensure};
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long it may take until it can be written to.
const START_MAX: Duration = Duration::from_secs(30);
/// Clients that share a connection: etcd's own client has one connection for all of a process, its benchmark one for some
/// ten clients.
const CLIENTS_PER_CONNECTION: usize = 8;

/// The members; killed when dropped.
pub(crate) struct Etcd {
    members: Vec<Child>,
    leader: SocketAddr,
}

impl Etcd {
    /// Starts them, with their data below this folder.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let ports = free_ports(NODES * 2)?;
        let (clients, peers) = ports.split_at(NODES);
        let url = |address: &SocketAddr| format!("http://{address}");
        let all: Vec<String> =
            peers.iter().enumerate().map(|(index, peer)| format!("e{index}={}", url(peer))).collect();
        let (all, mut members) = (all.join(","), vec![]);
        for (index, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let name = format!("e{index}");
            let mut command = Command::new("etcd");
            command.args(["--name", &name, "--logger", "zap", "--log-level", "error", "--initial-cluster", &all]);
            command.arg("--data-dir").arg(folder.join(&name));
            command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
            command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            members.push(command.spawn().context("`etcd` cannot be started")?);
        }
        let mut etcd = Self { members, leader: clients[0] };
        let deadline = Instant::now() + START_MAX;
        loop {
            match find_leader(clients).await {
                Ok(leader) => break etcd.leader = leader,
                Err(why) if Instant::now() >= deadline => return Err(why.context("etcd has no leader")),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        Ok(etcd)
    }

    /// The members' processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.members.iter().map(Child::id)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// The member that says of itself that it leads, once it takes a write.
async fn find_leader(clients: &[SocketAddr]) -> Result<SocketAddr> {
    for client in clients {
        let mut channel = Channel::connect(*client).await?;
        let status = channel.call("/etcdserverpb.Maintenance/Status", &[]).await?;
        // StatusResponse: 1 is the header, of which 2 is the answering member; 4 is the leader.
        let Some(Value::Bytes(header)) = field(&status, 1) else { continue };
        if field(header, 2).is_some() && field(header, 2) == field(&status, 4) {
            Client { channel, key: "first".into() }.write(&[b'x'; VALUE_BYTES]).await?;
            return Ok(*client);
        }
    }
    anyhow::bail!("no member says that it leads")
}

fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()?;
    ensure!(addresses.len() == count, "no free ports");
    Ok(addresses)
}

impl Target for Etcd {
    type Writer = Client;

    async fn writers(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = vec![];
        let mut channel = Channel::connect(self.leader).await?;
        for number in 0..count {
            if number > 0 && number % CLIENTS_PER_CONNECTION == 0 {
                channel = Channel::connect(self.leader).await?;
            }
            clients.push(Client { channel: channel.clone(), key: format!("b{number}") });
        }
        Ok(clients)
    }
}

/// One client with its key.
pub(crate) struct Client {
    channel: Channel,
    key: String,
}

impl Writer for Client {
    async fn write(&mut self, value: &[u8; VALUE_BYTES]) -> Result<()> {
        // PutRequest: 1 is the key, 2 the value.
        let mut message = Vec::with_capacity(VALUE_BYTES + 32);
        put_bytes(&mut message, 1, self.key.as_bytes());
        put_bytes(&mut message, 2, value);
        self.channel.call("/etcdserverpb.KV/Put", &message).await.map(drop)
    }
}
