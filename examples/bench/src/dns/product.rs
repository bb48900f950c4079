//! The product's server in a process of its own: this program once more, in a mode that no user sees.

use crate::dns::{
    pinned::{Cores, Server},
    zone,
};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{
    env,
    io::{BufRead, BufReader, Write, stdin},
    net::{Ipv4Addr, SocketAddr},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use taffeta_dns_answer::Snapshot;
use taffeta_dns_server::{DnsServer, ForwardConfig, Responder, Sockets, Upstreams};

/// Tells such a process what to serve.
const SPEC: &str = "TAFFETA_BENCH_SERVES";
/// How often the zone changes, if it does: 100 times a second.
const CHANGE_EVERY: Duration = Duration::from_millis(10);

/// What is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) services: u32,
    /// Who is asked about names of others.
    pub(crate) upstream: Option<SocketAddr>,
    /// Whether the zone changes 100 times a second from the start.
    pub(crate) changes: bool,
}

impl Spec {
    /// A zone with so many services, which does not change by itself.
    pub(crate) fn with(services: u32) -> Self {
        Self { services, upstream: None, changes: false }
    }
}

/// The product's server.
pub(crate) struct Product {
    pub(crate) server: Server,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Product {
    /// Starts it, with all of it on the core of servers.
    pub(crate) fn start(cores: Cores, spec: &Spec) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(SPEC, serde_json::to_string(spec)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Server::start(cores, &mut command, nowhere)?;
        let to = server.child.stdin.take().context("piped")?;
        let mut from = BufReader::new(server.child.stdout.take().context("piped")?);
        server.address = line(&mut from)?.parse().context("the server did not say where it listens")?;
        Ok(Self { server, to, from })
    }

    /// Has it apply the next change.
    pub(crate) fn change(&mut self) -> Result<()> {
        self.to.write_all(b"\n").context("the server has ended")
    }

    /// When it began to apply the change that it was told last.
    pub(crate) fn changed_at(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(line(&mut self.from)?.parse()?))
    }
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// The time since some moment that is the same for all processes of this machine.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().expect("after boot"), now.tv_nsec.try_into().expect("below a second"))
}

/// What this process has to serve, if it is such a one.
pub(crate) fn product_to_serve() -> Option<String> {
    env::var(SPEC).ok()
}

/// Serves until whoever started this process ends.
pub(crate) fn serve(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone::input(spec.services))));
    let server = DnsServer::bind((Ipv4Addr::LOCALHOST, 0).into(), responder(&spec, snapshot.clone()))?;
    println!("{}", server.local_addr());
    let mut changer = Changer { snapshot, services: spec.services, number: 0 };
    if spec.changes {
        std::thread::spawn(move || changer.run());
        stdin().lines().for_each(drop);
    } else {
        stdin().lines().for_each(|_| println!("{}", changer.apply().as_nanos()));
    }
    Ok(())
}

fn responder(spec: &Spec, snapshot: Arc<ArcSwap<Snapshot>>) -> Arc<Responder> {
    let upstreams = spec.upstream.map_or(Upstreams::Nobody, |upstream| Upstreams::Listed(vec![upstream]));
    let forward = ForwardConfig::new(upstreams, Vec::new());
    Arc::new(Responder::new(snapshot, forward, Arc::new(Sockets), 1))
}

/// Applies changes, as a node does with what it hears.
struct Changer {
    snapshot: Arc<ArcSwap<Snapshot>>,
    services: u32,
    number: u32,
}

impl Changer {
    /// The next change; gives when it began.
    fn apply(&mut self) -> Duration {
        self.number += 1;
        let before = self.snapshot.load_full();
        let change = zone::change(&before, self.services, self.number);
        let start = now();
        self.snapshot.store(Arc::new(before.changed(change)));
        start
    }

    fn run(&mut self) {
        let start = Instant::now();
        loop {
            self.apply();
            let next = start + CHANGE_EVERY * self.number;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
