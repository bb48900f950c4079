//! Machines that let themselves be hurt, for the tests that hurt them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use crate::support::{Turn, alone, binary, in_company};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use taffeta_chaos_plan::Fault;
use taffeta_harness::{Cluster, Disk, within};
use taffeta_node::{
    api::{ApiError, FaultRequest, FaultState, FaultView},
    client::{ApiClient, ApiTarget},
};

/// A generous deadline for what is not measured.
pub(crate) const SOON: Duration = Duration::from_secs(30);

const THREE: [&[&str]; 3] = [&["--chaos"], &["--chaos"], &["--chaos"]];

/// Machines that let themselves be hurt, and that leave nothing in the kernel, also when a test fails.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: tokio::runtime::Runtime,
    count: std::cell::Cell<u64>,
    /// After the machines that use them.
    _disks: Vec<Disk>,
    _turn: Turn,
}

impl Drop for Bed {
    fn drop(&mut self) {
        for machine in &self.cluster.machines {
            taffeta_node::heal(&machine.data);
        }
    }
}

impl Bed {
    /// Machines with these flags each; ready, and all knowing each other. Other tests may run beside this one.
    pub(crate) fn start(flags: &[&[&str]]) -> Self {
        Self::started(Cluster::new(binary()), flags, vec![], Turn::InCompany(in_company()))
    }

    /// The same, for what is measured to some percent.
    pub(crate) fn start_alone(flags: &[&[&str]]) -> Self {
        Self::started(Cluster::new(binary()), flags, vec![], Turn::Alone(alone()))
    }

    /// One machine whose data folder is a disk of its own; `None`, said aloud, where none can be made.
    pub(crate) fn on_disk(flags: &[&str]) -> Option<Self> {
        Self::on_disks(&[flags])
    }

    /// Machines with these flags each, whose data folders are disks of their own; `None`, said aloud, where none can be made.
    pub(crate) fn on_disks(flags: &[&[&str]]) -> Option<Self> {
        let turn = Turn::InCompany(in_company());
        let cluster = Cluster::new(binary());
        let folders = (1..=flags.len()).map(|number| cluster.root().join(format!("n{number}")));
        let disks: Result<Vec<Disk>, String> = folders.map(|folder| Disk::mount(&folder, 40)).collect();
        match disks {
            Ok(disks) => Some(Self::started(cluster, flags, disks, turn)),
            Err(why) => {
                eprintln!("SKIPPED: no disk can be made here: {why}");
                None
            }
        }
    }

    pub(crate) fn started(mut cluster: Cluster, flags: &[&[&str]], disks: Vec<Disk>, turn: Turn) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        cluster.start_each(flags);
        cluster.wait_ready();
        let bed = Self { cluster, runtime, count: std::cell::Cell::new(0), _disks: disks, _turn: turn };
        bed.all_alive();
        bed
    }

    pub(crate) fn three() -> Self {
        Self::voting(Self::start(&THREE))
    }

    pub(crate) fn three_alone() -> Self {
        Self::voting(Self::start_alone(&THREE))
    }

    fn voting(bed: Self) -> Self {
        bed.cluster.wait_voters(3);
        bed
    }

    pub(crate) fn all_alive(&self) {
        for index in 0..self.cluster.machines.len() {
            within(SOON, "all see all", || self.counts(index, self.cluster.machines.len()));
        }
    }

    /// Whether a machine sees so many alive.
    pub(crate) fn counts(&self, machine: usize, alive: usize) -> Result<(), String> {
        let status = self.runtime.block_on(self.client(machine).status()).map_err(|e| e.to_string())?;
        if status.nodes.alive == alive { Ok(()) } else { Err(format!("{:?}", status.nodes)) }
    }

    pub(crate) fn client(&self, machine: usize) -> ApiClient {
        let url = format!("http://{}", self.cluster.machines[machine].http());
        ApiClient::new(ApiTarget::Http(url), None).expect("a client").time_limit(Duration::from_secs(20))
    }

    pub(crate) fn data(&self, machine: usize) -> &Path {
        &self.cluster.machines[machine].data
    }

    pub(crate) fn token(&self, machine: usize) -> String {
        fs::read_to_string(self.data(machine).join("chaos.token")).expect("a node that has opted in has a token")
    }

    pub(crate) fn request(&self, machine: usize, fault: Fault, lasts: Duration) -> FaultRequest {
        self.count.set(self.count.get() + 1);
        FaultRequest {
            id: format!("{:08x}", self.count.get()),
            run: "test".into(),
            node: self.cluster.machines[machine].name.clone(),
            fault,
            lasts_ms: lasts.as_millis() as u64,
            peers: vec![],
            task: None,
            dry_run: false,
        }
    }

    /// Asks a machine for a fault, with the token of the struck one.
    pub(crate) fn try_begin(&self, through: usize, request: &FaultRequest) -> Result<FaultView, ApiError> {
        let index = self.cluster.index(&request.node);
        let client = self.client(through);
        self.runtime.block_on(client.inject(request, &self.token(index)))
    }

    /// A fault that begins, asked for at the struck machine.
    pub(crate) fn begin(&self, machine: usize, fault: Fault, lasts_ms: u64) -> FaultView {
        let request = self.request(machine, fault, Duration::from_millis(lasts_ms));
        self.begin_as(&request)
    }

    pub(crate) fn begin_as(&self, request: &FaultRequest) -> FaultView {
        let view =
            self.try_begin(self.cluster.index(&request.node), request).unwrap_or_else(|e| panic!("{request:?}: {e:?}"));
        assert_eq!(view.state, FaultState::Active, "{view:?}");
        view
    }

    /// What a machine says of a fault, wherever that is.
    pub(crate) fn look(&self, through: usize, id: &str) -> Result<FaultView, String> {
        let chaos = self.runtime.block_on(self.client(through).chaos()).map_err(|e| e.to_string())?;
        let found = chaos.faults.iter().find(|fault| fault.id == id).cloned();
        found.ok_or_else(|| format!("{id} is not among {:?}", chaos.faults))
    }

    /// Waits until a fault is undone without an error: at most `late` after its end.
    pub(crate) fn undone(&self, through: usize, fault: &FaultView, late: Duration) {
        within(late, &format!("{} is undone", fault.fault), || {
            let view = self.look(through, &fault.id)?;
            let healed = view.state == FaultState::Undone && view.error.is_none();
            if healed { Ok(()) } else { Err(format!("{view:?}")) }
        });
    }

    /// The agent that holds the machine's folder now.
    pub(crate) fn agent(&self, machine: usize) -> u32 {
        let text = fs::read_to_string(self.data(machine).join("chaos/agent.json")).unwrap_or_default();
        let agent: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        agent["process"]["pid"].as_u64().unwrap_or_default() as u32
    }
}

/// Process ids whose command line has these words in it.
pub(crate) fn processes(words: &[&str]) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has_all = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args: Vec<_> = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
        words.iter().all(|word| args.iter().any(|arg| arg == word))
    };
    pids.filter(has_all).collect()
}

pub(crate) fn keepers(data: &Path) -> Vec<i32> {
    processes(&["keeper", &data.join("chaos").to_string_lossy()])
}

/// The state of a process, as `S` or `T`; `Z` and nothing are dead.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim().chars().next().filter(|state| *state != 'Z')
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).expect("a pid"), signal);
}

pub(crate) fn ours_in_nft() -> Option<String> {
    let output = Command::new("nft").args(["list", "tables"]).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A task that counts in a file.
pub(crate) const COUNTER: &str = r#"
app = "count"
[service.up]
run = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > next; mv next count; sleep 0.05; done"]
cpus = 0.05
"#;

/// The counter's run: its machine and working folder.
pub(crate) fn counter(bed: &Bed) -> (usize, PathBuf) {
    let file = bed.cluster.root().join("count.toml");
    fs::write(&file, COUNTER).expect("a file");
    bed.cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    let found = within(SOON, "the counter counts", || {
        for machine in 0..bed.cluster.machines.len() {
            let runs = fs::read_dir(bed.data(machine).join("tasks")).into_iter().flatten().flatten();
            for run in runs {
                let count = run.path().join("work/count");
                if count.exists() {
                    return Ok((machine, count));
                }
            }
        }
        Err("no run has a file `work/count`".into())
    });
    found.0
}
