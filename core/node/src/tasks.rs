//! Drives the agent's machine: assigned sets, exits and health checks in, processes and records out.

use crate::{
    around::{Provisions, Surroundings},
    fetch::FetchFailure,
    folder::{Folder, file, save},
    host_paths::HostLooks,
    machine::Offer,
    node::guarded,
    shelf::Shelf,
    volumes::{Made, VolumeFolders, sizes_of},
    wire::VolumeUse,
    world::Prober,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use taffeta_agent::{
    Accepted, Action, Agent, AgentConfig, FoundRun, FoundState, Grant, Needs, RunId, StartFailure, TaskPlace, expand,
    task_env,
};
use taffeta_isolation_plan::{
    Executor, Found, FoundState as OnDisk, PATH_DEFAULT, SECRETS_FOLDER, StartError, Started, TaskSecrets, TaskSpec,
};
use taffeta_model::{
    Assigned, AssignedSet, BootMillis, Bug, Exit, Fence, HealthProbe, Job, Measure, Millis, NodeName, Secret,
    SecretName, TaskId, TaskRecord, UnixMillis, VolumeId, VolumeName, planted,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Events that wait for the driver. Each comes of an action, of which a run has a few at most.
const INBOX_MAX: usize = 4_096;
/// SIGTERM.
const TERMINATE: i32 = 15;
/// Names the folder in which a task finds its secrets.
const SECRETS_VARIABLE: &str = "TAFFETA_SECRETS";
/// Begins the name of the variable that names the folder of a volume.
const VOLUME_VARIABLE: &str = "TAFFETA_VOLUME_";
/// The ports of a run, by name, as they are kept with it: `http=31022,admin=9000`.
const PORTS_VARIABLE: &str = "TAFFETA_PORTS";
/// Ports below need a right of root's to be listened on (`ip_unprivileged_port_start` of Linux, as it is by default).
const FREE_PORTS: u16 = 1024;

enum Input {
    Assigned(AssignedSet, bool, oneshot::Sender<bool>),
    Started(RunId, u32, UnixMillis, Vec<String>),
    Doing(RunId, String),
    StartFailed(RunId, StartFailure),
    Exited(RunId, Exit, Option<String>),
    Checked(RunId, Result<(), String>),
    Forgotten(RunId),
    RunsOf(TaskId, oneshot::Sender<Vec<RunId>>),
    Granted(Vec<Grant>, Vec<TaskId>),
}

/// Talks to the driver. Clones talk to one.
#[derive(Clone)]
pub(crate) struct Tasks {
    inbox: mpsc::Sender<Input>,
    records: watch::Receiver<Arc<Vec<TaskRecord>>>,
    obeyed: watch::Receiver<Obeyed>,
    needs: watch::Receiver<Needs>,
    volumes: VolumeFolders,
}

/// What the agent obeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Obeyed {
    /// Fence of the newest set.
    pub(crate) fence: Option<Fence>,
    /// Whether a leader has confirmed a set since the start.
    pub(crate) confirmed: bool,
}

impl Tasks {
    /// A set was pulled. Returns when it is stored and obeyed, or refused: whoever pulls then asks for what is newer.
    /// Gives whether it is obeyed.
    pub(crate) async fn accept(&self, set: AssignedSet, confirmed: bool) -> bool {
        let (sender, receiver) = oneshot::channel();
        let _ = self.inbox.send(Input::Assigned(set, confirmed, sender)).await;
        receiver.await.unwrap_or(false)
    }

    /// The records as they change.
    pub(crate) fn records(&self) -> watch::Receiver<Arc<Vec<TaskRecord>>> {
        self.records.clone()
    }

    /// What is obeyed.
    pub(crate) fn obeyed(&self) -> Obeyed {
        *self.obeyed.borrow()
    }

    /// What the leader has to be asked and told about exclusive tasks.
    pub(crate) fn needs(&self) -> watch::Receiver<Needs> {
        self.needs.clone()
    }

    /// Leases were granted, and the leader knows what it was told.
    pub(crate) async fn granted(&self, grants: Vec<Grant>, known: Vec<TaskId>) {
        let _ = self.inbox.send(Input::Granted(grants, known)).await;
    }

    /// Volumes that are kept here though nobody has them any more.
    pub(crate) fn left_volumes(&self) -> Vec<String> {
        self.volumes.left()
    }

    /// What tasks have asked for, by volume.
    pub(crate) fn volume_sizes(&self) -> BTreeMap<Made, u64> {
        self.volumes.sizes()
    }

    /// What the volumes of this machine take of its disk.
    pub(crate) async fn volumes_taken(&self) -> Vec<VolumeUse> {
        self.volumes.taken().await
    }

    /// The runs of a task whose logs are there, the newest last.
    pub(crate) async fn runs_of(&self, task: TaskId) -> Vec<RunId> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.inbox.send(Input::RunsOf(task, sender)).await;
        receiver.await.unwrap_or_default()
    }
}

/// What every task of this node is told.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: NodeName,
    pub(crate) address: IpAddr,
    pub(crate) dns: Option<SocketAddr>,
    /// Folder of this binary, first in the search path of tasks.
    pub(crate) programs: Option<PathBuf>,
}

/// What the driver needs.
pub(crate) struct TasksDriver {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) folder: Arc<dyn Folder>,
    pub(crate) place: Place,
    pub(crate) around: Surroundings,
    /// As in [`AgentConfig::drain`].
    pub(crate) drain: Duration,
    pub(crate) offer: Offer,
    pub(crate) epoch: Instant,
    /// Told when the node cannot go on.
    pub(crate) failed: watch::Sender<Option<String>>,
}

impl TasksDriver {
    /// Finds what an earlier process left, and starts the driver.
    pub(crate) async fn spawn(self, persisted: Option<AssignedSet>, loops: &mut JoinSet<()>) -> Tasks {
        let found = self.executor.recover().await;
        let runs: Vec<FoundRun> = found.into_iter().filter_map(found_run).collect();
        let alive: Vec<RunId> =
            runs.iter().filter(|r| matches!(r.state, FoundState::Running { .. })).map(|r| r.run.clone()).collect();
        let now = now(self.epoch);
        let Offer { capacity, custom } = self.offer;
        let config = AgentConfig { address: self.place.address, drain: self.drain, capacity, custom };
        let volumes = VolumeFolders::spawn(self.folder.volumes(), persisted.as_ref(), &self.failed, loops);
        let wanted = watch::Sender::new(persisted.as_ref().map(placements).unwrap_or_default());
        let agent = Agent::recover(now, config, runs, persisted);
        let (inbox, inputs) = mpsc::channel(INBOX_MAX);
        let (records, records_seen) = watch::channel(Arc::new(agent.records()));
        let (obeyed, obeyed_seen) = watch::channel(Obeyed { fence: agent.obeyed(), confirmed: false });
        let (needs, needs_seen) = watch::channel(agent.needs());
        let hands = Hands {
            executor: self.executor,
            prober: self.prober,
            shelf: self.shelf,
            place: self.place,
            host_paths: HostLooks::new(self.around.host_paths.clone(), self.around.data.clone()),
            around: self.around,
            wanted: wanted.subscribe(),
            inbox: inbox.clone(),
            volumes: volumes.clone(),
        };
        for run in alive {
            tracing::info!(run = run.as_str(), "a running task was taken up again");
            hands.watch_exit(run);
        }
        let driver = Driver { agent, hands, folder: self.folder, epoch: self.epoch, wanted, records, obeyed, needs };
        loops.spawn(guarded("tasks", self.failed, driver.run(inputs)));
        Tasks { inbox, records: records_seen, obeyed: obeyed_seen, needs: needs_seen, volumes }
    }
}

struct Driver {
    agent: Agent,
    hands: Hands,
    folder: Arc<dyn Folder>,
    epoch: Instant,
    /// Placements that are to run here.
    wanted: watch::Sender<BTreeMap<TaskId, Fence>>,
    records: watch::Sender<Arc<Vec<TaskRecord>>>,
    obeyed: watch::Sender<Obeyed>,
    needs: watch::Sender<Needs>,
}

impl Driver {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut published = self.agent.revision();
        loop {
            for action in self.agent.reconcile(now(self.epoch)) {
                self.hands.perform(action);
            }
            if self.agent.revision() != published {
                published = self.agent.revision();
                self.records.send_replace(Arc::new(self.agent.records()));
            }
            let needs = self.agent.needs();
            self.needs.send_if_modified(|known| {
                let changed = *known != needs && !(known.is_empty() && needs.is_empty());
                *known = needs;
                changed
            });
            let due = self.agent.next_wake().map(|at| self.epoch + Duration::from_millis(at.0));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                () = sleep_until(due.unwrap_or(self.epoch)), if due.is_some() => {}
            }
        }
    }

    fn take(&mut self, input: Input) {
        let now = now(self.epoch);
        match input {
            Input::Assigned(set, confirmed, done) => {
                let _ = done.send(self.accept(now, set, confirmed));
            }
            Input::Started(run, pid, at, not_isolated) => {
                self.agent.handle_started(now, &run, pid, at, not_isolated);
            }
            Input::Doing(run, words) => self.agent.handle_doing(&run, words),
            Input::StartFailed(run, failure) => self.agent.handle_start_failed(now, &run, failure),
            Input::Exited(run, exit, words) => {
                tracing::info!(run = run.as_str(), %exit, words = words.as_deref().unwrap_or_default(), "a task ended");
                self.agent.handle_exit(now, &run, exit, words);
            }
            Input::Checked(run, outcome) => self.agent.handle_check(now, &run, outcome),
            Input::Forgotten(run) => self.agent.handle_forgotten(&run),
            Input::Granted(grants, known) => self.agent.handle_grants(&grants, &known),
            Input::RunsOf(task, reply) => {
                let _ = reply.send(self.agent.runs_of(&task));
            }
        }
    }

    /// A set is stored before it is obeyed: after a restart the node must not obey an older one.
    fn accept(&mut self, now: Millis, set: AssignedSet, confirmed: bool) -> bool {
        let fence = set.fence;
        if self.agent.obeyed().is_none_or(|obeyed| fence > obeyed)
            && !planted(Bug::ForgetObeyed)
            && let Err(error) = save(&*self.folder, file::ASSIGNED, &set)
        {
            tracing::error!(%error, "an assigned set could not be stored, and is not obeyed until it can");
            return false;
        }
        self.hands.shelf.keep_only(&set);
        let stands = confirmed || self.obeyed.borrow().confirmed;
        let volumes = set.volumes.clone().filter(|_| stands);
        let (wanted, sizes) = (placements(&set), sizes_of(&set));
        match self.agent.accept(now, set, confirmed) {
            Ok(Accepted::New | Accepted::Same) => {}
            Err(stale) => {
                tracing::warn!(%stale, "an assigned set was refused");
                return false;
            }
        }
        self.wanted.send_replace(wanted);
        self.hands.volumes.note_sizes(sizes);
        self.hands.volumes.take(&AssignedSet { fence, volumes, ..AssignedSet::default() });
        self.obeyed.send_modify(|o| {
            *o = Obeyed { fence: Some(fence), confirmed: o.confirmed || confirmed };
        });
        true
    }
}

/// Performs actions, each in a task of its own, and reports what came of them.
#[derive(Clone)]
struct Hands {
    executor: Arc<dyn Executor>,
    prober: Arc<dyn Prober>,
    shelf: Arc<Shelf>,
    place: Place,
    host_paths: HostLooks,
    around: Surroundings,
    wanted: watch::Receiver<BTreeMap<TaskId, Fence>>,
    inbox: mpsc::Sender<Input>,
    volumes: VolumeFolders,
}

impl Hands {
    fn perform(&self, action: Action) {
        let hands = self.clone();
        tokio::spawn(async move {
            match action {
                Action::Start { run, task, assigned, ports, lease } => {
                    hands.start(run, &task, &assigned, (ports, lease)).await;
                }
                Action::Extend { run, until } => {
                    if let Err(error) = hands.executor.extend(run.as_str(), until).await {
                        tracing::warn!(run = run.as_str(), %error, "its lease could not be extended");
                    }
                }
                Action::Check { run, probe, ports, timeout } => hands.check(run, probe, &ports, timeout).await,
                Action::Terminate { run } => {
                    if let Err(error) = hands.executor.signal(run.as_str(), TERMINATE).await {
                        tracing::debug!(run = run.as_str(), %error, "SIGTERM not sent");
                    }
                }
                Action::Kill { run } => {
                    if let Err(error) = hands.executor.kill(run.as_str()).await {
                        tracing::warn!(run = run.as_str(), %error, "a task could not be killed");
                    }
                }
                Action::Forget { run } => hands.forget(run).await,
            }
        });
    }

    async fn start(
        &self,
        run: RunId,
        task: &TaskId,
        assigned: &Assigned,
        (ports, lease): (Vec<(String, u16)>, Option<BootMillis>),
    ) {
        // First, as it may take long: what is found out below should hold when the process is made.
        let provisions = match self.provide(&run, task, assigned).await {
            Ok(provisions) => provisions,
            Err(failure) => return self.report(Input::StartFailed(run, failure)).await,
        };
        let checked = ports.iter().filter(|_| !planted(Bug::SamePortTwice));
        let taken: Vec<u16> = checked.map(|(_, port)| *port).filter(|port| !self.prober.is_free(*port)).collect();
        if !taken.is_empty() {
            return self.report(Input::StartFailed(run, StartFailure::PortTaken(taken))).await;
        }
        let secrets = match self.shelf.get(&assigned.secrets).await {
            Ok(values) => task_secrets(assigned, &values),
            Err(why) => {
                tracing::warn!(run = run.as_str(), why, "a task waits for its secrets");
                return self.report(Input::StartFailed(run, StartFailure::Withheld(why))).await;
            }
        };
        let volume = match self.volume(task, assigned).await {
            Ok(volume) => volume,
            Err(why) => {
                tracing::warn!(run = run.as_str(), why, "a task waits for its volume");
                return self.report(Input::StartFailed(run, StartFailure::Withheld(why))).await;
            }
        };
        let hosts = self.host_paths.find(&assigned.job).await;
        let spec = match hosts.and_then(|hosts| self.spec(&run, task, assigned, &ports, volume, &hosts)) {
            Ok(spec) => TaskSpec { secrets, lease, fetched: provisions.fetched.clone(), ..spec },
            Err(why) => {
                tracing::warn!(run = run.as_str(), why, "a task cannot be given what it asks for");
                return self.report(Input::StartFailed(run, StartFailure::Withheld(why))).await;
            }
        };
        match self.executor.start(spec).await {
            Ok(Started { pid, started_at, not_isolated }) => {
                tracing::info!(run = run.as_str(), pid, "a task was started");
                self.watch_exit(run.clone());
                self.report(Input::Started(run, pid, started_at, not_isolated)).await;
            }
            Err(StartError::AlreadyRan { exit, .. }) => self.report_end(run, exit).await,
            Err(error) if lease.is_some_and(|end| end.left(self.executor.boot_time()) <= assigned.job.grace) => {
                tracing::warn!(run = run.as_str(), %error, "a task was not started in the time of its lease");
                self.report(Input::StartFailed(run, StartFailure::Withheld("its lease ended too early".into()))).await;
            }
            Err(error) => {
                tracing::warn!(run = run.as_str(), %error, "a task could not be started");
                self.report(Input::StartFailed(run, StartFailure::NotStarted(error.to_string()))).await;
            }
        }
    }

    /// Downloads what the task needs, until it is not wanted here any more.
    async fn provide(&self, run: &RunId, task: &TaskId, assigned: &Assigned) -> Result<Provisions, StartFailure> {
        if assigned.job.fetch.is_empty() {
            return Ok(Provisions::default());
        }
        let tell = |words| {
            let _ = self.inbox.try_send(Input::Doing(run.clone(), words)); // the next one says more
        };
        let (mut wanted, fence) = (self.wanted.clone(), assigned.fence);
        tokio::select! {
            provided = self.around.provide(&assigned.job, &tell) => provided.map_err(|failure| {
                tracing::warn!(run = run.as_str(), %failure, "a task waits for a file");
                match failure {
                    FetchFailure::Passing(why) => StartFailure::Withheld(why),
                    FetchFailure::Lasting(why) => StartFailure::NotStarted(why),
                }
            }),
            _ = wanted.wait_for(|wanted| wanted.get(task) != Some(&fence)) => {
                Err(StartFailure::Withheld("not wanted here any more".into()))
            }
        }
    }

    /// The folder of the task's volume and its name, if it has one.
    async fn volume(&self, task: &TaskId, assigned: &Assigned) -> Result<Option<(VolumeName, PathBuf)>, String> {
        let (Some(volume), Some(born)) = (&assigned.job.volume, assigned.volume) else { return Ok(None) };
        let id = VolumeId { task: task.clone(), name: volume.name.clone() };
        let path = self.volumes.ready(&id, born, volume.size).await;
        let path = path.map_err(|e| format!("its volume `{}`: {e}", volume.name))?;
        Ok(path.map(|path| (id.name, path)))
    }

    /// Whether the job's tasks have a view of the files of their own, in which something can be mounted; if not, why.
    fn has_own_view(&self, job: &Job) -> Result<(), String> {
        let (measures, needed) = (&self.executor.permitted().measures, Measure::MountNamespace);
        if measures.in_force(&job.isolation).contains(&needed) {
            return Ok(());
        }
        let why = measures.lacking.get(&needed).map_or("the job does without", String::as_str);
        Err(format!("nothing can be mounted without the measure {needed}: {why}"))
    }

    fn spec(
        &self,
        run: &RunId,
        task: &TaskId,
        assigned: &Assigned,
        ports: &[(String, u16)],
        volume: Option<(VolumeName, PathBuf)>,
        hosts: &[PathBuf],
    ) -> Result<TaskSpec, String> {
        let folder = self.executor.folder(run.as_str());
        let work = folder.join(taffeta_isolation_plan::WORK_FOLDER);
        let place = TaskPlace {
            node: self.place.node.clone(),
            address: self.place.address,
            dns: self.place.dns,
            task_dir: work.display().to_string(),
        };
        let mut env = task_env(task, assigned, ports, &place);
        let listed: Vec<String> = ports.iter().map(|(name, port)| format!("{name}={port}")).collect();
        env.insert(PORTS_VARIABLE.into(), listed.join(","));
        if let Some(programs) = &self.place.programs {
            env.entry("PATH".into()).or_insert_with(|| format!("{}:{PATH_DEFAULT}", programs.display()));
        }
        if let Some((name, path)) = &volume {
            let name = name.as_str().to_ascii_uppercase().replace('-', "_");
            env.insert(format!("{VOLUME_VARIABLE}{name}"), path.display().to_string());
        }
        let job = &assigned.job;
        if !job.secrets.is_empty() {
            env.insert(SECRETS_VARIABLE.into(), folder.join(SECRETS_FOLDER).display().to_string());
        }
        let sees = self.has_own_view(&assigned.job);
        let resolv_conf = self.around.resolv_conf(&task.app).filter(|_| sees.is_ok());
        let data = volume.as_ref().map(|(_, path)| path.as_path());
        let mounts = self.around.mounts(job, data, hosts, (&folder, resolv_conf.is_some()))?;
        if !mounts.is_empty() {
            sees?; // whoever relies on what is mounted must not run without
        }
        Ok(TaskSpec {
            task: task.to_string(),
            run_id: run.as_str().into(),
            // What is given for one run alone is given as it is.
            run: job.run.iter().map(|arg| expand(arg, &env)).chain(assigned.args.iter().cloned()).collect(),
            env,
            folder,
            files: assigned.files.clone(),
            links: volume.into_iter().map(|(name, path)| (name.into(), path)).collect(),
            mounts,
            resolv_conf,
            fetched: vec![],
            cpus_milli: job.resources.cpus.0,
            cpu_quota: job.cpu_quota,
            cpuset: job.cpuset.clone(),
            io_weight: job.io_weight,
            memory_bytes: job.resources.memory,
            pids_max: job.pids_max,
            grace: job.grace,
            logs: job.logs,
            lease: None,
            isolation: job.isolation.clone(),
            user: job.user.clone(),
            rlimits: job.rlimits.clone(),
            low_port: ports.iter().any(|(_, port)| *port < FREE_PORTS),
            secrets: TaskSecrets::default(),
        })
    }

    fn watch_exit(&self, run: RunId) {
        let hands = self.clone();
        tokio::spawn(async move {
            let exit = hands.executor.wait(run.as_str()).await;
            hands.report_end(run, exit).await;
        });
    }

    async fn check(&self, run: RunId, probe: HealthProbe, ports: &[(String, u16)], limit: Duration) {
        let address = |name: &str| {
            let port = ports.iter().find(|(known, _)| known == name).map(|(_, port)| *port);
            port.map(|port| SocketAddr::new(self.place.address, port)).ok_or_else(|| format!("no port `{name}`"))
        };
        let outcome = match &probe {
            HealthProbe::Http { path, port } => match address(port) {
                Ok(address) => self.prober.http(address, path, limit).await,
                Err(why) => Err(why),
            },
            HealthProbe::Tcp { port } => match address(port) {
                Ok(address) => self.prober.tcp(address, limit).await,
                Err(why) => Err(why),
            },
            HealthProbe::Run { run: command } => {
                let values: BTreeMap<String, String> = ports
                    .iter()
                    .map(|(name, port)| {
                        (format!("PORT_{}", name.to_ascii_uppercase().replace('-', "_")), port.to_string())
                    })
                    .collect();
                let command: Vec<String> = command.iter().map(|arg| expand(arg, &values)).collect();
                let passed = self.executor.run_check(run.as_str(), &command, limit).await;
                if passed { Ok(()) } else { Err("the check's command failed or took too long".into()) }
            }
        };
        self.report(Input::Checked(run, outcome)).await;
    }

    async fn forget(&self, run: RunId) {
        // What cannot be removed now is tried again: the folder would otherwise stay until the next start.
        for attempt in 0..10u64 {
            match self.executor.forget(run.as_str()).await {
                Ok(()) => break,
                Err(error) if attempt == 9 => tracing::warn!(run = run.as_str(), %error, "a run's folder stays"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100 << attempt.min(5))).await,
            }
        }
        self.report(Input::Forgotten(run)).await;
    }

    async fn report_end(&self, run: RunId, exit: Exit) {
        let words = self.executor.end_words(run.as_str()).await;
        self.report(Input::Exited(run, exit, words)).await;
    }

    async fn report(&self, input: Input) {
        let _ = self.inbox.send(input).await; // the driver ends with the process only
    }
}

/// The values as the job wants them. They never come among the arguments: what a program is started with is seen by all.
fn task_secrets(assigned: &Assigned, values: &BTreeMap<SecretName, Secret>) -> TaskSecrets {
    let value = |name: &SecretName| values.get(name).cloned();
    let file = |name: &SecretName| Some((name.clone(), value(name)?));
    let variable = |(variable, name): (&String, &SecretName)| Some((variable.clone(), value(name)?));
    let Job { secrets, secret_env, .. } = &assigned.job;
    TaskSecrets {
        files: secrets.iter().filter_map(file).collect(),
        env: secret_env.iter().filter_map(variable).collect(),
    }
}

/// What a set wants to run, by task.
fn placements(set: &AssignedSet) -> BTreeMap<TaskId, Fence> {
    let runs = set.tasks.iter().filter(|(_, assigned)| assigned.ended.is_none());
    runs.map(|(task, assigned)| (task.clone(), assigned.fence)).collect()
}

fn found_run(found: Found) -> Option<FoundRun> {
    let run: RunId = match RunId::try_from(found.run_id.clone()) {
        Ok(run) => run,
        Err(error) => {
            tracing::warn!(%error, "a folder among the runs is not ours");
            return None;
        }
    };
    let listed = found.spec.env.get(PORTS_VARIABLE).map(String::as_str).unwrap_or_default();
    let port = |entry: &str| {
        let (name, port) = entry.split_once('=')?;
        Some((name.to_owned(), port.parse().ok()?))
    };
    let (state, words) = match found.state {
        OnDisk::Running { pid, started_at } => (FoundState::Running { pid, started_at }, None),
        OnDisk::Exited { exit, words, .. } => (FoundState::Exited { exit }, words),
        OnDisk::Lost => (FoundState::Lost, None),
    };
    let (ports, exclusive) = (listed.split(',').filter_map(port).collect(), found.spec.lease.is_some());
    Some(FoundRun { run, ports, exclusive, state, words })
}

fn now(epoch: Instant) -> Millis {
    Millis(u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
}
