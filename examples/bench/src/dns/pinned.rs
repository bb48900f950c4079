//! Servers on a core of their own, and what they use of it.

use anyhow::{Context, Result, bail};
use rustix::{
    process::{setpriority_process, setsid},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// So that what else the machine does waits, rather than servers and load.
const PRIORITY: i32 = -15;
/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// The cores of servers and of whoever loads them.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// The first and the last of those that this process may use, and moves this thread to the latter.
    pub(crate) fn split() -> Result<Self> {
        let ours = sched_getaffinity(None).context("which cores may be used?")?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| ours.is_set(*cpu));
        let server = usable.next().context("no core may be used")?;
        let load = usable.next_back().unwrap_or(server);
        if load == server {
            eprintln!("there is only one core: servers and load share it, so figures are high");
        }
        go_first();
        let cores = Self { server, load };
        move_to(load)?;
        Ok(cores)
    }
}

/// Has all that this process starts run before others. Who may not has figures with more noise.
fn go_first() {
    let _ = setpriority_process(None, PRIORITY);
    // Where the kernel shares the cores between sessions first (sched(7), autogroup), ours counts, once we have one.
    let _ = setsid();
    let _ = fs::write("/proc/self/autogroup", PRIORITY.to_string());
}

fn move_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).context("cannot move to a core")
}

/// A running server, ended when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it on the core of servers; all that it starts stays there.
    pub(crate) fn start(cores: Cores, command: &mut Command, address: SocketAddr) -> Result<Self> {
        // A child begins where the thread is that starts it.
        move_to(cores.server)?;
        let child = command.spawn();
        move_to(cores.load)?;
        Ok(Self { child: child.with_context(|| format!("cannot start {command:?}"))?, address })
    }

    /// Waits until it replies to a question.
    pub(crate) fn wait_for(&mut self, question: &[u8], is_right: impl Fn(&[u8]) -> bool) -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let start = Instant::now();
        let mut reply = [0; 4096];
        while start.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server at {} ended: {status}", self.address);
            }
            let sent = socket.send_to(question, self.address);
            match sent.and_then(|_| socket.recv(&mut reply)) {
                Ok(len) if is_right(&reply[..len]) => return Ok(()),
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        bail!("the server at {} does not answer as it should", self.address)
    }

    /// What it has used of its core: of all its threads, in the kernel too.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().unwrap_or_default().parse::<u64>().context("schedstat")?;
        }
        Ok(Duration::from_nanos(sum))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, for a server that cannot choose one itself.
pub(crate) fn free_address() -> Result<SocketAddr> {
    for _ in 0..16 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free for both UDP and TCP")
}

/// Whether a program is there; if not, says which package has it.
pub(crate) fn is_installed(program: &str, package: &str) -> bool {
    let there = Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("{program} is not installed (Debian package {package}), so there is nothing to compare with");
    }
    there
}
