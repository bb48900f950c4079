//! One short task after the other, in turns with what else runs programs apart from a machine.

use super::peers::{Peer, Peers};
use crate::figure::{Beside, Figure, Report, median};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, MountPoint, MountSource, RESOLV_FILE, TaskSecrets, TaskSpec};
use taffeta_model::{Exit, Isolation, LogBounds};
use tokio::runtime::Runtime;

/// What is promised: so many times what crun takes.
const RATIO_MAX: f64 = 1.3;
/// Rounds before those that count.
const WARM_UP: u32 = 5;
/// The limits of the task, and of crun's container.
pub(super) const MEMORY_BYTES: u64 = 64 << 20;
pub(super) const PIDS_MAX: u32 = 50;
pub(super) const CPUS_MILLI: u64 = 250;

/// What is run: a program of the machine that does nothing.
pub(super) const PROGRAM: &str = "true";

pub(super) fn run(rounds: u32, binary: &Path, report: &mut Report) -> Result<()> {
    let ours = Ours::new(binary)?;
    let mut peers = Peers::find(&ours.folder, &ours.node_id)?;
    let (mut exits, mut removals) = (vec![], vec![]);
    let mut theirs: BTreeMap<Peer, Vec<f64>> = BTreeMap::new();
    for round in 0..WARM_UP + rounds {
        let counts = round >= WARM_UP;
        // Each begins a round in turn, so that nobody always comes after the same other.
        let first = usize::try_from(round).unwrap_or_default() % 3;
        let turns = [None, Some(Peer::Crun), Some(Peer::Bwrap)];
        for turn in turns.iter().cycle().skip(first).take(turns.len()) {
            match turn {
                None => {
                    let turn = ours.turn(round)?;
                    if counts {
                        exits.push(millis(turn.exit));
                        removals.push(millis(turn.removed));
                    }
                }
                Some(peer) => {
                    let time = peers.turn(*peer);
                    theirs.entry(*peer).or_default().extend(time.filter(|_| counts).map(millis));
                }
            }
        }
    }
    ours.tidy();
    let beside = |peer: Peer, own: &[f64]| {
        let theirs = theirs.get(&peer).filter(|times| !times.is_empty())?;
        Some(Beside { value: median(theirs), ratio: median(own) / median(theirs) })
    };
    let exit = Figure::new("plain_true", median(&exits), "ms");
    report.tell(exit.at_most(RATIO_MAX).beside(Peer::Crun.name(), beside(Peer::Crun, &exits)));
    let removed = Figure::new("plain_true_removed", median(&removals), "ms");
    report.tell(removed.beside(Peer::Crun.name(), beside(Peer::Crun, &removals)));
    let exit = Figure::new("plain_true_bwrap", median(&exits), "ms");
    report.tell(exit.beside(Peer::Bwrap.name(), beside(Peer::Bwrap, &exits)));
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The product: the executor that an agent has, with its shim.
struct Ours {
    folder: PathBuf,
    node_id: String,
    executor: LinuxExecutor,
    runtime: Runtime,
}

/// How long a task took from the call that starts it.
struct Turn {
    /// Until its exit was told.
    exit: Duration,
    /// Until it was forgotten: its groups, outputs and records removed.
    removed: Duration,
}

impl Ours {
    fn new(binary: &Path) -> Result<Self> {
        let folder = env::temp_dir().canonicalize()?.join("isolation");
        fs::create_dir(&folder)?;
        let node_id = format!("bench-{}", std::process::id());
        // By this name the groups are removed after an end in the middle: see `guard`.
        fs::write(folder.join("node.id"), &node_id)?;
        let mut config = LinuxConfig::new(folder.join("tasks"), &node_id);
        config.shim = binary.to_owned();
        config.best_effort = true;
        config.hidden = vec![folder.clone()];
        config.shown = binary.parent().map(Path::to_owned).into_iter().collect();
        let executor = LinuxExecutor::new(config).context("no tasks can be run here")?;
        for gap in executor.not_isolated() {
            eprintln!("the product does less here than `standard` is: {gap}");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self { folder, node_id, executor, runtime })
    }

    fn turn(&self, round: u32) -> Result<Turn> {
        let run_id = format!("true-{round}");
        let spec = self.spec(&run_id);
        self.runtime.block_on(async {
            let begin = Instant::now();
            self.executor.start(spec).await.context("the task was not started")?;
            let exit = self.executor.wait(&run_id).await;
            let exited = begin.elapsed();
            ensure!(exit == Exit::Code(0), "`{PROGRAM}` ended otherwise: {exit}");
            self.executor.forget(&run_id).await.context("the task cannot be removed")?;
            Ok(Turn { exit: exited, removed: begin.elapsed() })
        })
    }

    /// As an agent makes it of a job that says nothing but what to run.
    fn spec(&self, run_id: &str) -> TaskSpec {
        let folder = self.executor.folder(run_id);
        let resolver = MountPoint {
            at: "/etc/resolv.conf".into(),
            source: MountSource::Host(folder.join(RESOLV_FILE)),
            read_only: true,
        };
        let variables = [("TAFFETA_APP", "bench"), ("TAFFETA_TASK", "bench/true.1"), ("TAFFETA_NODE", "n1")];
        TaskSpec {
            task: "bench/true.1".into(),
            run_id: run_id.into(),
            run: vec![PROGRAM.into()],
            env: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            folder,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            mounts: Path::new("/etc/resolv.conf").exists().then_some(resolver).into_iter().collect(),
            resolv_conf: Some(
                "nameserver 127.0.0.1\nsearch bench.fabric.internal fabric.internal\noptions ndots:1\n".into(),
            ),
            fetched: vec![],
            cpus_milli: CPUS_MILLI,
            cpu_quota: false,
            cpuset: None,
            io_weight: None,
            memory_bytes: MEMORY_BYTES,
            pids_max: PIDS_MAX,
            grace: Duration::from_secs(5),
            logs: LogBounds::default(),
            lease: None,
            isolation: Isolation::default(),
            user: None,
            rlimits: BTreeMap::new(),
            low_port: false,
            secrets: TaskSecrets::default(),
        }
    }

    fn tidy(&self) {
        self.runtime.block_on(self.executor.tidy());
    }
}
