//! Machines and clusters of them.

use crate::{
    http::get,
    place::{Place, Places, folder, subnet},
    sweep::{kill_all, kill_groups, nodes_of, processes_of, remove_groups, signal, sweep, sweep_nodes},
    verb::{Output, verb},
    wait::{eventually, within},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The ports that all machines of a cluster use, each on its own address.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// QUIC.
    pub fabric: u16,
    /// HTTP.
    pub http: u16,
    /// DNS.
    pub dns: u16,
}

impl Ports {
    /// Those of a node that is told nothing else.
    pub const DEFAULT: Self = Self { fabric: 7400, http: 7480, dns: 7453 };

    /// Says which of them is taken on an address, and why it cannot be had.
    fn try_bind(self, address: IpAddr) -> Result<(), String> {
        let udp = |port| (port, UdpSocket::bind((address, port)).map(drop));
        let tcp = |port| (port, TcpListener::bind((address, port)).map(drop));
        let mut tried = [udp(self.fabric), tcp(self.http), udp(self.dns), tcp(self.dns)].into_iter();
        tried.try_for_each(|(port, bound)| bound.map_err(|e| format!("{address}:{port}: {e}")))
    }
}

/// Several machines, cleaned up when dropped, also by a failing test.
pub struct Cluster {
    binary: PathBuf,
    root: PathBuf,
    places: Places,
    ports: Ports,
    admin: Arc<OnceLock<String>>,
    /// The machines by index from 0: `n1`, `n2`, ...
    pub machines: Vec<Machine>,
}

/// One machine.
pub struct Machine {
    /// `n1`, ...
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its data folder.
    pub data: PathBuf,
    under: Vec<String>,
    ports: Ports,
    binary: PathBuf,
    admin: Arc<OnceLock<String>>,
    process: Option<Child>,
    /// The ids of the nodes that were seen in its data folder, which may be gone by the end.
    nodes: BTreeSet<String>,
}

/// Where ports of clusters are: neither among those that are given to tasks, nor among those that the kernel gives to
/// whoever asks for any, who may come while a machine is down that is to have its port again.
const PORTS: std::ops::Range<u16> = 10_000..19_000;

/// A port that nobody uses on any address, for UDP and TCP.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        // Each test process begins elsewhere.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (number % PORTS.len() as u32) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port was found");
}

impl Cluster {
    /// A cluster without machines. `binary` is the `taffeta` under test.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let ports = Ports { fabric: free_port(), http: free_port(), dns: free_port() };
        Self::at(binary, folder(), Places::Loopback(subnet()), ports)
    }

    /// A cluster for `count` machines where people's own would be: on 127.0.0.1 and following, with the default ports.
    /// If one of them is taken, says which.
    pub fn on_defaults(binary: impl Into<PathBuf>, count: usize) -> Result<Self, String> {
        let (places, ports) = (Places::Loopback([0, 0]), Ports::DEFAULT);
        (1..=count).try_for_each(|index| ports.try_bind(places.place(index).address))?;
        Ok(Self::at(binary, folder(), places, ports))
    }

    /// A cluster for as many machines as there are places, with the default ports; the folder is an empty one.
    pub(crate) fn among(binary: impl Into<PathBuf>, folder: PathBuf, places: Vec<Place>) -> Self {
        Self::at(binary, folder, Places::Given(places), Ports::DEFAULT)
    }

    fn at(binary: impl Into<PathBuf>, root: PathBuf, places: Places, ports: Ports) -> Self {
        Self { binary: binary.into(), root, places, ports, admin: Arc::default(), machines: vec![] }
    }

    /// A folder of the cluster's own, removed with it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Starts the first machine and then `count - 1` that join it, all at once.
    pub fn start(&mut self, count: usize) {
        self.start_paced(count, count);
    }

    /// The same with at most `at_once` machines on their way at any time; a machine has arrived when its API answers.
    /// Gives the moment at which the last one was started.
    pub fn start_paced(&mut self, count: usize, at_once: usize) -> Instant {
        (0..count).for_each(|_| self.add());
        let first = self.machines[0].fabric();
        self.create(&[]);
        let token = self.invitation();
        let mut last = Instant::now();
        let mut on_their_way: Vec<usize> = vec![];
        for index in 1..count {
            within(Duration::from_secs(60), "the machines that were started arrive", || {
                on_their_way.retain(|i| !self.machines[*i].has_arrived());
                let late = on_their_way.iter().map(|i| self.machines[*i].name.as_str());
                if on_their_way.len() < at_once { Ok(()) } else { Err(late.collect::<Vec<_>>().join(", ")) }
            });
            last = Instant::now();
            self.machines[index].up(&["--join", &first.to_string(), "--token", &token]);
            on_their_way.push(index);
        }
        last
    }

    /// Starts a machine for each of these lists of further flags: the first one, then those that join it.
    pub fn start_each(&mut self, flags: &[&[&str]]) {
        let Some((first, others)) = flags.split_first() else { return };
        self.add();
        self.create(first);
        others.iter().for_each(|more| self.join(more));
    }

    /// Starts one more machine, which joins the first one, with these further flags.
    pub fn join(&mut self, more: &[&str]) {
        let (first, token) = (self.machines[0].fabric().to_string(), self.invitation());
        self.add();
        let newest = self.machines.len() - 1;
        self.machines[newest].up(&[&["--join", &first, "--token", &token], more].concat());
    }

    /// Starts the first machine, with these further flags.
    fn create(&mut self, more: &[&str]) {
        self.machines[0].up(more);
        if !self.machines[0].address.is_loopback() {
            let path = self.machines[0].data.join("admin.token");
            let (token, _) =
                within(Duration::from_secs(15), "the first machine writes the administrator's token", || {
                    let token = fs::read_to_string(&path).map_err(|e| e.to_string())?;
                    if token.trim().is_empty() { Err("it is empty".into()) } else { Ok(token.trim().to_owned()) }
                });
            self.admin.set(token).expect("a cluster is created once");
        }
    }

    /// The administrator's token, if the machines want one.
    pub fn token(&self) -> Option<&str> {
        self.admin.get().map(String::as_str)
    }

    /// A join token.
    fn invitation(&self) -> String {
        let token = within(Duration::from_secs(15), "a token from the first machine", || {
            let output = self.machines[0].run(&["token", "create"]);
            if output.code == 0 { Ok(output.stdout.trim().to_owned()) } else { Err(output.stderr) }
        });
        token.0
    }

    /// One more machine, which is not started.
    fn add(&mut self) {
        let index = self.machines.len() + 1;
        let name = format!("n{index}");
        let Place { address, under } = self.places.place(index);
        self.machines.push(Machine {
            data: self.root.join(&name),
            name,
            address,
            under,
            ports: self.ports,
            binary: self.binary.clone(),
            admin: self.admin.clone(),
            process: None,
            nodes: BTreeSet::new(),
        });
    }

    /// One more machine, not started yet, with a copy of this data folder (small files, no folders in it).
    pub fn adopt(&mut self, folder: &Path) {
        self.add();
        let data = &self.machines[self.machines.len() - 1].data;
        fs::create_dir_all(data).expect("a folder");
        for entry in fs::read_dir(folder).expect("a data folder") {
            let entry = entry.expect("a file");
            fs::copy(entry.path(), data.join(entry.file_name())).expect("a copy");
        }
    }

    /// kill -9 of several nodes in the same moment, which is given. For machines without tasks: those would live on.
    pub fn kill_at_once(&mut self, indexes: &[usize]) -> Instant {
        let moment = Instant::now();
        for index in indexes {
            if let Some(pid) = self.machines[*index].pid() {
                signal(pid as i32, Signal::KILL);
            }
        }
        indexes.iter().for_each(|index| self.machines[*index].kill_agent());
        moment
    }

    /// Machines whose process runs.
    pub fn running(&mut self) -> Vec<usize> {
        (0..self.machines.len()).filter(|i| self.machines[*i].is_running()).collect()
    }

    /// Index of the machine of this name.
    pub fn index(&self, name: &str) -> usize {
        self.machines.iter().position(|m| m.name == name).unwrap_or_else(|| panic!("no machine {name}"))
    }

    /// Waits until each running machine says that it is ready.
    pub fn wait_ready(&mut self) {
        for index in self.running() {
            let machine = &self.machines[index];
            eventually(&format!("{} is ready", machine.name), || machine.run(&["status"]).code == 0);
        }
    }

    /// Ids of all processes that belong to any machine.
    pub fn processes(&self) -> BTreeSet<i32> {
        processes_of(&self.root)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = (300 / self.machines.len().max(1)).clamp(5, 60);
            for machine in &self.machines {
                let log = fs::read_to_string(machine.log()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(lines).collect();
                eprintln!("--- {} (last lines) ---", machine.name);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        for machine in &mut self.machines {
            machine.kill();
            sweep_nodes(&machine.data, &machine.nodes);
        }
        sweep(&self.root);
    }
}

impl Machine {
    /// Starts the node; `more` are further flags of `taffeta up`.
    pub fn up(&mut self, more: &[&str]) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let errors = log.try_clone().expect("a file");
        let at = |port: u16| SocketAddr::new(self.address, port).to_string();
        let mut command = self.command();
        command.args(["up", "--name", &self.name, "--best-effort", "--data"]).arg(&self.data);
        if self.address.is_loopback() {
            command.arg("--api-open");
        }
        command.args([
            "--address",
            &at(self.ports.fabric),
            "--http",
            &at(self.ports.http),
            "--dns",
            &at(self.ports.dns),
        ]);
        command.args(more).stdin(Stdio::null()).stdout(log).stderr(errors);
        command.env_remove("TAFFETA_API").env_remove("TAFFETA_TOKEN");
        self.process = Some(command.spawn().expect("the binary starts"));
    }

    /// Its binary, where it runs.
    fn command(&self) -> Command {
        let Some((program, arguments)) = self.under.split_first() else { return Command::new(&self.binary) };
        let mut command = Command::new(program);
        command.args(arguments).arg(&self.binary);
        command
    }

    /// The administrator's token, if it wants one.
    pub(crate) fn token(&self) -> Option<&str> {
        self.admin.get().map(String::as_str)
    }

    /// Starts it again from its data folder, with no other flag.
    pub fn up_again(&mut self) {
        self.up_with(&[]);
    }

    /// The same with these variables in its environment.
    pub fn up_with(&mut self, variables: &[(&str, &str)]) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let errors = log.try_clone().expect("a file");
        let mut command = self.command();
        command.arg("up").arg("--data").arg(&self.data).stdin(Stdio::null()).stdout(log).stderr(errors);
        command.envs(variables.iter().copied());
        self.process = Some(command.spawn().expect("the binary starts"));
    }

    /// Where its DNS listens.
    pub fn dns(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.dns)
    }

    /// Where its HTTP API listens.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.http)
    }

    /// The fabric's own port.
    pub fn fabric(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.fabric)
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Runs a verb of the command line against this machine's API.
    pub fn run(&self, args: &[&str]) -> Output {
        verb(&self.binary, self.http(), self.token(), args)
    }

    /// A reading verb's JSON; an error in words if it failed.
    pub fn try_json(&self, args: &[&str]) -> Result<Value, String> {
        let output = self.run(&[args, &["-o", "json"]].concat());
        if output.code != 0 {
            return Err(format!("exit {}: {}", output.code, output.stderr));
        }
        serde_json::from_str(&output.stdout).map_err(|e| e.to_string())
    }

    /// Whether its API answers: it has joined. Panics if its node has ended instead.
    fn has_arrived(&mut self) -> bool {
        assert!(self.is_running(), "{} has ended, see {}", self.name, self.log().display());
        get(self.http(), "/health").is_ok_and(|(status, _)| status == 200)
    }

    /// Whether its node runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| matches!(p.try_wait(), Ok(None)))
    }

    /// Process id of its node.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// kill -9 of the node alone: its shims and tasks go on.
    pub fn kill_agent(&mut self) {
        self.nodes.extend(self.node_id());
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// kill -9 of the node, its shims and its tasks: the machine is dead, and with it went what its kernel knew.
    pub fn kill(&mut self) {
        // Stopped first, so that nothing starts anything while the rest is killed.
        if let Some(process) = &self.process {
            signal(process.id() as i32, Signal::STOP);
        }
        let nodes = nodes_of(&self.data);
        kill_all(&self.data);
        self.kill_agent();
        within(Duration::from_secs(30), "the machine is dead", || {
            kill_all(&self.data);
            nodes.iter().for_each(|node| kill_groups(node));
            let left = processes_of(&self.data);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} live")) }
        });
        nodes.iter().for_each(|node| remove_groups(node));
        self.nodes.extend(nodes);
    }

    /// Tells the node to end, as systemd would, and does not wait for it.
    pub fn tell_to_end(&self) {
        if let Some(process) = &self.process {
            signal(process.id() as i32, Signal::TERM);
        }
    }

    /// Ends the node as systemd would, and waits for it; gives its exit code.
    pub fn terminate(&mut self) -> i32 {
        self.tell_to_end();
        let Some(mut process) = self.process.take() else { return 0 };
        let (code, _) = within(Duration::from_secs(30), "the node ends on SIGTERM", || match process.try_wait() {
            Ok(Some(status)) => Ok(status.code().unwrap_or(128)),
            Ok(None) => Err("it runs".into()),
            Err(e) => Err(e.to_string()),
        });
        code
    }

    /// The node's id, as its tasks' cgroup is named.
    pub fn node_id(&self) -> Option<String> {
        let text = fs::read_to_string(self.data.join("node.id")).ok()?;
        Some(text.trim().to_owned())
    }
}
