//! What this node can tell people, put together from the state, the ring, the catalogue and the consensus.

use crate::{
    api::{
        ApiError, AppView, BoundsView, ErrorCode, JobView, LeaderView, NodeCounts, NodeView, PlanStep, PlanView,
        ResourcesView, Role, RunView, ServiceInstanceView, ServiceView, StatusView, TaskView, TokenEntry, WhyView,
    },
    consensus::Consensus,
    events::rfc3339,
    gossip::Sets,
    node::{Core, refused},
    quotas::Used,
    wire::Query,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use taffeta_model::{
    App, AppName, AppState, Cause, ClusterId, Job, JobKind, JobName, Liveness, NodeId, Past, Place, Refusal, Resources,
    Runs, State, Task, TaskId, TaskRecord, Token, TokenId,
};
use taffeta_scheduler::{Change, Waiting, impossible, preview};
use taffeta_store::voters::majority;

impl Core {
    /// Answers a reading request from what is known here.
    pub(crate) fn read_here(&self, query: Query) -> Result<Vec<u8>, ApiError> {
        fn document<T: Serialize>(value: &T) -> Result<Vec<u8>, ApiError> {
            serde_json::to_vec(value).map_err(|e| ApiError::new(ErrorCode::Failed, e.to_string()))
        }
        match query {
            Query::Nodes => document(&self.nodes_view()),
            Query::Apps => document(&self.apps_view()),
            Query::Tasks(app) => document(&self.tasks_view(app.as_ref())),
            Query::Why(task) => document(&self.why_view(&task)?),
            Query::Plan(app) => document(&self.plan_view(&app)?),
            Query::Status => document(&self.status_view()),
            Query::Tokens => document(&self.tokens_view()),
            Query::Secrets => document(&self.secrets_view()),
            Query::Quotas => document(&self.quotas_view()),
            Query::Volumes => document(&self.volumes_view()),
            Query::Maintenance => document(&self.maintenance_view()),
        }
    }

    /// The join tokens, the one that ends first at the top.
    fn tokens_view(&self) -> Vec<TokenEntry> {
        self.store.read(|state| {
            let mut all: Vec<_> = state.tokens.iter().collect();
            all.sort_by_key(|(_, token)| token.expires);
            let entry = |(id, token): (&TokenId, &Token)| TokenEntry {
                id: id.to_string(),
                role: token.role.as_str().into(),
                expires_at: rfc3339(token.expires),
                uses_left: token.uses.map(|uses| uses.saturating_sub(token.used)),
                used: token.used,
                created_at: rfc3339(token.created),
            };
            all.into_iter().map(entry).collect()
        })
    }

    /// Whether the replicated state is here and up to date but for moments; only voters and learners have it.
    pub(crate) fn has_state(&self) -> bool {
        !self.consensus.borrow().outside && self.store.read(|state| state.cluster != ClusterId::default())
    }

    /// What the ring thinks of a node; `None` if it was not met since this node started.
    pub(crate) fn met(&self, id: NodeId) -> Option<Liveness> {
        if id == self.me { Some(Liveness::Alive) } else { self.ring.state().liveness(id) }
    }

    /// The same, where a node that was not met is as good as down.
    pub(crate) fn liveness(&self, id: NodeId) -> Liveness {
        self.met(id).unwrap_or(Liveness::Down)
    }

    pub(crate) fn leader_view(&self) -> Option<LeaderView> {
        let (id, term) = self.consensus.borrow().leader?;
        let address = if id == self.me { Some(self.settings.advertise) } else { self.net().address(id) };
        Some(LeaderView {
            name: self.name_of(id),
            id: id.to_string(),
            term,
            address: address.map(|a| a.to_string()).unwrap_or_default(),
        })
    }

    pub(crate) fn nodes_view(&self) -> Vec<NodeView> {
        let (consensus, sets) = (self.consensus.borrow().clone(), self.gossip.sets());
        let directory = Arc::clone(&self.directory.borrow());
        let date = self.clock.date();
        let (mut loads, drained, maintained) = self.store.read(|state| {
            let drained = state.members.values().filter(|member| member.draining).map(|member| member.id);
            let until = state.members.values().filter_map(|m| Some((m.id, m.maintained_until(date)?)));
            let maintained: BTreeMap<NodeId, String> = until.map(|(id, until)| (id, rfc3339(until))).collect();
            (loads(state), drained.collect::<BTreeSet<NodeId>>(), maintained)
        });
        let role = |id: &NodeId| match () {
            () if consensus.leader.is_some_and(|(leader, _)| leader == *id) => Role::Leader,
            () if consensus.voters.contains(id) => Role::Voter,
            () if consensus.learners.contains(id) => Role::Learner,
            () => Role::Member,
        };
        let mut views: Vec<NodeView> = directory
            .members
            .iter()
            .map(|(id, member)| {
                let info = if *id == self.me { Some(&self.info) } else { sets.get(id).map(|set| &set.info) };
                let used = loads.remove(id).unwrap_or_default();
                let mut view = NodeView {
                    id: id.to_string(),
                    name: member.name.to_string(),
                    address: info.map_or(member.address, |i| i.address).to_string(),
                    zone: info.map(|i| i.zone.clone()).unwrap_or_default(),
                    state: liveness_word(self.liveness(*id)).into(),
                    draining: false,
                    maintained_until: maintained.get(id).cloned(),
                    unsteady_until: self.unsteady_until(*id).map(rfc3339),
                    role: role(id),
                    rtt_ms: self.net().round_trip(*id).map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
                    generation: consensus.generation,
                    attributes: info.map(|i| i.attributes.clone()).unwrap_or_default(),
                    resources: info.map(|i| resources(&i.capacity, &i.custom)).unwrap_or_default(),
                    used: resources(&used.resources, &used.custom),
                    tasks: used.tasks,
                    version: info.map(|i| i.version.clone()).unwrap_or_default(),
                    http: info.and_then(|i| i.http).map(|a| a.to_string()),
                    dns: info.and_then(|i| i.dns).map(|a| a.to_string()),
                    not_isolated: info.map(|i| i.not_isolated.clone()).unwrap_or_default(),
                };
                view.become_drained(drained.contains(id) || maintained.contains_key(id));
                view
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    pub(crate) fn status_view(&self) -> StatusView {
        let consensus = self.consensus.borrow().clone();
        let directory = Arc::clone(&self.directory.borrow());
        let mut nodes = NodeCounts::default();
        for id in directory.members.keys() {
            match self.liveness(*id) {
                Liveness::Alive => nodes.alive += 1,
                Liveness::Suspect => nodes.suspect += 1,
                Liveness::Down => nodes.down += 1,
                Liveness::Left => {}
            }
        }
        let mut tasks = BTreeMap::new();
        for view in self.tasks_view(None) {
            *tasks.entry(view.state).or_insert(0) += 1;
        }
        let names = |ids: &[NodeId]| {
            let mut names: Vec<String> = ids.iter().map(|id| self.name_of(*id)).collect();
            names.sort();
            names
        };
        let voters = names(&consensus.voters);
        let known = directory.members.contains_key(&self.me);
        let mut notes = self.info.not_isolated.clone();
        if self.clock.date() > self.credentials.ends() {
            let ended = rfc3339(self.credentials.ends());
            notes.push(format!("this node's certificate ended at {ended}; nobody who holds the CA has renewed it yet"));
        }
        if consensus.leader.is_none() {
            notes.push(self.no_quorum().message);
        } else {
            notes.extend(self.voters_note(&consensus, directory.members.len()));
        }
        if self.store.disk_full_since().is_some() {
            notes.push(self.disk_full().message);
        }
        let left = self.tasks.left_volumes();
        if !left.is_empty() {
            notes.push(format!(
                "volumes of an earlier generation are kept here though nobody has them any more: {}; remove their folders \
                 below `volumes` in the data folder if they are not needed",
                left.join(", ")
            ));
        }
        StatusView {
            cluster: self.cluster.to_string(),
            generation: consensus.generation,
            leader: consensus.leader.map(|(id, _)| self.name_of(id)),
            quorum: consensus.leader.is_some(),
            nodes,
            apps: directory.apps.len(),
            tasks,
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.name().to_string(),
            ready: known && self.tasks.obeyed().confirmed && consensus.leader.is_some(),
            voters,
            standbys: names(&consensus.learners),
            missing_voters: names(&self.missing_voters()),
            notes,
            chaos: self.active_faults(),
            chaos_blocked: self.chaos_block().is_some(),
        }
    }

    /// What a death would mean, where an operator might think otherwise.
    fn voters_note(&self, consensus: &Consensus, members: usize) -> Option<String> {
        let missing = self.missing_voters();
        match consensus.voters.as_slice() {
            [only] if members > 1 => {
                let only = self.name_of(*only);
                Some(format!(
                    "1 of {members} machines votes: if {only} dies, changes wait until it is back or `taffeta recover`"
                ))
            }
            voters if !missing.is_empty() => {
                let absent: Vec<String> = missing.iter().map(|id| self.absence(*id)).collect();
                let spare = (voters.len() - missing.len()).saturating_sub(majority(voters.len()));
                let more = match spare {
                    0 => "no further one may be lost, or changes wait".into(),
                    more => format!("{more} more may be lost before changes wait"),
                };
                let (number, of) = (missing.len(), voters.len());
                Some(format!("{number} of {of} voters do not answer: {}; {more}", absent.join(", ")))
            }
            _ => None,
        }
    }

    /// The tasks: by the state where it is here, else by what their nodes publish.
    pub(crate) fn tasks_view(&self, app: Option<&AppName>) -> Vec<TaskView> {
        let sets = self.gossip.sets();
        let wanted = |id: &TaskId| app.is_none_or(|app| id.app == *app);
        if self.has_state() {
            return self.store.read(|state| {
                let tasks = state.tasks.iter().filter(|(id, _)| wanted(id));
                let mut views: Vec<TaskView> = tasks.map(|(id, task)| self.task_view(state, id, task, &sets)).collect();
                // What was taken out of the state, and is still on its way to its end.
                let ending = |r: &TaskRecord| r.task.index > 0 && !state.tasks.contains_key(&r.task) && wanted(&r.task);
                let leftover =
                    records(&sets).filter(|(owner, r)| ending(r) && self.liveness(*owner) == Liveness::Alive);
                views.extend(leftover.map(|(owner, record)| self.view_of_record(record, owner)));
                views
            });
        }
        let mut newest: BTreeMap<TaskId, (NodeId, TaskRecord)> = BTreeMap::new();
        for (owner, record) in records(&sets).filter(|(_, r)| r.task.index > 0 && wanted(&r.task)) {
            let newer = newest.get(&record.task).is_none_or(|(_, known)| known.fence < record.fence);
            if newer {
                newest.insert(record.task.clone(), (owner, record.clone()));
            }
        }
        newest.into_values().map(|(owner, record)| self.view_of_record(&record, owner)).collect()
    }

    fn task_view(&self, state: &State, id: &TaskId, task: &Task, sets: &Sets) -> TaskView {
        let mut view = blank(id, state.job(id).map(|job| job.kind));
        let waits = self.waiting.load();
        let waits = waits.get(&id.app).and_then(|app| app.get(id));
        match &task.place {
            Place::Waiting { .. } => {
                view.state = "waiting".into();
                view.reason = waits.map_or_else(|| "waits for its turn".into(), ToString::to_string);
            }
            Place::Ended { node, exit, .. } => {
                view.node = Some(self.name_of(*node));
                view.state = if exit.is_success() { "finished" } else { "failed" }.into();
                view.exit_code = exit.code();
                view.reason = exit.to_string();
            }
            Place::On { node, fence } => {
                let record = sets.get(node).and_then(|set| set.records.iter().find(|r| r.task == *id));
                match record.filter(|r| r.fence == *fence) {
                    Some(record) => view = self.view_of_record(record, *node),
                    None => {
                        view.node = Some(self.name_of(*node));
                        view.state = "starting".into();
                        view.reason = "placed; its machine has not reported yet".into();
                    }
                }
                if let Some(held @ (Waiting::Drained(_) | Waiting::Outdated(_))) = waits {
                    let separator = if view.reason.is_empty() { "" } else { "; " };
                    view.reason += &format!("{separator}{held}");
                }
                if matches!(self.liveness(*node), Liveness::Down | Liveness::Left) && *node != self.me {
                    view.state = "lost".into();
                    view.reason =
                        format!("its machine {} does not answer; it will be placed again", self.name_of(*node));
                }
            }
        }
        view
    }

    fn view_of_record(&self, record: &TaskRecord, owner: NodeId) -> TaskView {
        let mut view = blank(&record.task, Some(record.kind));
        view.state = record.phase.to_string();
        view.node = Some(self.name_of(owner));
        view.address = Some(record.address.to_string());
        view.ports = record.ports.iter().map(|(name, port)| (name.to_string(), *port)).collect();
        view.pid = record.pid;
        view.restarts = record.restarts;
        view.started_at = record.started_at.map(rfc3339);
        view.exit_code = record.exit.as_ref().and_then(taffeta_model::Exit::code);
        view.reason = record.reason.clone();
        view
    }

    pub(crate) fn apps_view(&self) -> Vec<AppView> {
        let tasks = self.tasks_view(None);
        self.store.read(|state| {
            let jobs = |deployed: &AppState| -> Vec<JobView> {
                let app = &deployed.app;
                let ready = |job: &str| {
                    // Those beside the others for an update do not make up for them.
                    let count = app.jobs.iter().find(|(name, _)| name.as_str() == job).map(|(_, job)| match job.kind {
                        JobKind::Daemon => u32::MAX,
                        JobKind::Service | JobKind::Batch { .. } | JobKind::Cron { .. } => job.count,
                    });
                    let within = |t: &&TaskView| count.is_some_and(|count| t.index <= count);
                    let of_job = tasks.iter().filter(|t| t.app == app.name.as_str() && t.service == job).filter(within);
                    of_job.filter(|t| is_ready(state, app, t)).count()
                };
                let all = app.jobs.iter();
                let count = |name: &JobName, job: &Job| match job.kind {
                    // As many as there are machines that match.
                    JobKind::Daemon => {
                        tasks.iter().filter(|t| t.app == app.name.as_str() && t.service == name.as_str()).count() as u32
                    }
                    JobKind::Service | JobKind::Batch { .. } | JobKind::Cron { .. } => job.count,
                };
                let recurring = app.recurring();
                all.map(|(name, job)| {
                    let count = count(name, job);
                    let runs = deployed.runs.get(name);
                    let next = runs.and_then(|runs| runs.next(job).ok().flatten());
                    JobView {
                        name: name.to_string(),
                        kind: job.kind.table().into(),
                        count,
                        // What runs again and again is as it should be, whether or not a run is under way.
                        ready: if recurring.contains(name) {
                            count
                        } else {
                            u32::try_from(ready(name.as_str())).unwrap_or(u32::MAX)
                        },
                        revision: deployed.revisions.get(name).copied().unwrap_or_default(),
                        next: next.map(rfc3339),
                        autoscale: job.autoscale.as_ref().map(|scale| BoundsView { min: scale.min, max: scale.max }),
                        runs: runs.map(run_views).unwrap_or_default(),
                    }
                })
                .collect()
            };
            let apps = state.apps.iter();
            apps.map(|(name, deployed)| {
                let jobs = jobs(deployed);
                AppView {
                    app: name.to_string(),
                    version: deployed.version,
                    deployed_at: rfc3339(deployed.deployed_at),
                    healthy: jobs.iter().all(|job| job.ready >= job.count),
                    paused: deployed.rollout.paused,
                    versions: deployed.kept.iter().map(|kept| kept.version).collect(),
                    returned: deployed.rollout.returned.clone(),
                    jobs,
                }
            })
            .collect()
        })
    }

    pub(crate) fn services_view(&self) -> Vec<ServiceView> {
        let (directory, sets) = (Arc::clone(&self.directory.borrow()), self.gossip.sets());
        let mut services: BTreeMap<(String, String), Vec<ServiceInstanceView>> = BTreeMap::new();
        for (app, jobs) in &directory.apps {
            for (job, _) in jobs.iter().filter(|(_, entry)| !entry.kind.is_batch()) {
                services.entry((app.to_string(), job.to_string())).or_default();
            }
        }
        for (owner, record) in records(&sets).filter(|(_, r)| !r.kind.is_batch()) {
            let key = (record.task.app.to_string(), record.task.job.to_string());
            services.entry(key).or_default().push(ServiceInstanceView {
                instance: record.instance.to_string(),
                node: self.name_of(owner),
                address: record.address.to_string(),
                ports: record.ports.iter().map(|(name, port)| (name.to_string(), *port)).collect(),
                state: record.phase.to_string(),
                serving: record.serving && self.liveness(owner) == Liveness::Alive,
            });
        }
        let view = |((app, service), mut instances): ((String, String), Vec<ServiceInstanceView>)| {
            instances.sort_by(|a, b| (&a.instance, &a.node).cmp(&(&b.instance, &b.node)));
            let name = format!("{service}.{app}.{}", self.domain);
            ServiceView { service, app, name, instances }
        };
        services.into_iter().map(view).collect()
    }

    pub(crate) fn why_view(&self, id: &TaskId) -> Result<WhyView, ApiError> {
        let views = self.tasks_view(Some(&id.app));
        let view = views.into_iter().find(|t| t.service == id.job.as_str() && t.index == id.index);
        let view = view.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no task `{id}`")).help("`taffeta ps` lists them")
        })?;
        let mut reasons: Vec<String> = [view.reason.clone()].into_iter().filter(|r| !r.is_empty()).collect();
        if let Some(node) = &view.node {
            reasons.push(format!("it is on {node}"));
            let is_it = |(_, member): &(&NodeId, &taffeta_model::DirectoryMember)| member.name.as_str() == node;
            let id = self.directory.borrow().members.iter().find(is_it).map(|(id, _)| *id);
            if let Some(until) = id.and_then(|id| self.unsteady_until(id)) {
                let until = rfc3339(until);
                reasons.push(format!(
                    "{node} went and came back several times lately: it gets new tasks last until {until}"
                ));
            }
        }
        if view.restarts > 0 {
            reasons.push(format!("it was restarted {} times there", view.restarts));
        }
        let sets = self.gossip.sets();
        let last = records(&sets).filter(|(_, r)| r.task == *id).max_by_key(|(_, r)| r.fence);
        if let Some(exit) = last.and_then(|(_, r)| r.exit.clone()).filter(|_| view.state != "finished") {
            reasons.push(format!("its last process {exit}"));
        }
        let history = self
            .store
            .read(|state| state.tasks.get(id).map(|task| (task.attempt, task.moved_from, task.cause.clone())));
        let (attempt, moved_from, cause) = history.unwrap_or_default();
        let from = moved_from.map(|from| self.name_of(from));
        match (&cause, from) {
            (Cause::Waited, None) => {}
            (Cause::Waited, Some(from)) => reasons.push(format!("it was on {from} before")),
            (Cause::MachineLost, Some(from)) => {
                reasons.push(format!("it was moved away from {from}, which did not answer"));
            }
            (Cause::Outdated, Some(from)) => {
                reasons.push(format!("it was moved away from {from}, which did not take its newer version"));
            }
            (Cause::Drained, Some(from)) => reasons.push(format!("it was moved away from {from}, which is drained")),
            (Cause::MachineRemoved, _) => reasons.push("its machine was removed from the cluster".into()),
            (Cause::Preempted { by }, _) => {
                reasons.push(format!("it made way for {by}, which is of a higher priority"));
            }
            (Cause::Surplus, _) | (Cause::MachineLost | Cause::Outdated | Cause::Drained, None) => {}
        }
        if attempt > 1 {
            reasons.push(format!("it has been placed {attempt} times"));
        }
        Ok(WhyView { task: id.to_string(), state: view.state, node: view.node, reasons, usage: None })
    }

    pub(crate) fn plan_view(&self, app: &App) -> Result<PlanView, ApiError> {
        self.check_schedules(app, self.clock.date())?;
        let view = self.ring_view();
        let now = self.now();
        let planned = self.store.read(|state| {
            state.check_secrets(app)?;
            Ok((preview(now, state, &view, app)?, impossible(state, app)))
        });
        let (planned, impossible) = planned.map_err(|why: Refusal| refused(&why))?;
        let step = |(id, change): (TaskId, Change)| {
            let (action, node, reason) = match change {
                Change::Create { node } => ("create", Some(node), String::new()),
                Change::Keep { node } => ("keep", Some(node), String::new()),
                Change::Update { node } => ("update", Some(node), String::new()),
                Change::Remove { node } => ("remove", node, String::new()),
                Change::Wait { reason } => ("wait", None, reason.to_string()),
            };
            PlanStep { task: id.short(), action: action.into(), node: node.map(|n| self.name_of(n)), reason }
        };
        let warnings = impossible.iter().map(ToString::to_string).collect();
        Ok(PlanView { app: app.name.to_string(), steps: planned.tasks.into_iter().map(step).collect(), warnings })
    }
}

/// All records with their owners.
pub(crate) fn records(sets: &Sets) -> impl Iterator<Item = (NodeId, &TaskRecord)> {
    sets.iter().flat_map(|(owner, set)| set.records.iter().map(move |record| (*owner, &**record)))
}

fn blank(id: &TaskId, kind: Option<JobKind>) -> TaskView {
    TaskView {
        task: id.short(),
        app: id.app.to_string(),
        service: id.job.to_string(),
        index: id.index,
        kind: kind.map(|k| k.table()).unwrap_or_default().into(),
        state: String::new(),
        node: None,
        address: None,
        ports: BTreeMap::new(),
        pid: None,
        restarts: 0,
        started_at: None,
        exit_code: None,
        reason: String::new(),
    }
}

/// The newest first.
fn run_views(runs: &Runs) -> Vec<RunView> {
    let current = runs.current.as_ref().map(|run| RunView {
        what: run.trigger.to_string(),
        started_at: run.started.map(rfc3339),
        ended_at: None,
        result: if run.started.is_some() { "running" } else { "waits for a machine" }.into(),
    });
    let queued = runs.queue.iter().rev().map(|slot| RunView {
        what: format!("due {}", rfc3339(*slot)),
        started_at: None,
        ended_at: None,
        result: "waits for the run before it".into(),
    });
    let past = runs.history.iter().rev().map(|past| match past {
        Past::Ran { trigger, started, ended, end } => RunView {
            what: trigger.to_string(),
            started_at: started.map(rfc3339),
            ended_at: Some(rfc3339(*ended)),
            result: end.to_string(),
        },
        Past::Missed { first, last, count, why } => {
            let last = if *count == 1 { String::new() } else { format!(" to {} ({count})", rfc3339(*last)) };
            let what = format!("due {}{last}", rfc3339(*first));
            RunView { what, started_at: None, ended_at: None, result: format!("missed: {why}") }
        }
    });
    queued.chain(current).chain(past).collect()
}

fn is_ready(state: &State, app: &App, task: &TaskView) -> bool {
    let checked = app.jobs.iter().any(|(name, job)| name.as_str() == task.service && job.health.is_some());
    let id = format!("{}/{}", task.app, task.task).parse::<TaskId>();
    let current = id.ok().is_some_and(|id| {
        let wanted = state.apps.get(&id.app).and_then(|a| a.revisions.get(&id.job)).copied();
        state.tasks.get(&id).is_some_and(|t| Some(t.revision) == wanted)
    });
    current && matches!((task.state.as_str(), checked), ("healthy" | "finished", _) | ("running", false))
}

fn loads(state: &State) -> BTreeMap<NodeId, Used> {
    let mut loads: BTreeMap<NodeId, Used> = BTreeMap::new();
    for (id, task) in &state.tasks {
        if let (Some(node), Some(job)) = (task.node(), state.job_of(id)) {
            loads.entry(node).or_default().add(job);
        }
    }
    // What is there without its task takes its room all the same.
    for (id, volume) in state.volumes.iter() {
        let on = state.tasks.get(&id.task).and_then(Task::node) == Some(volume.node);
        let has = state.job_of(&id.task).and_then(|job| job.volume.as_ref()).is_some_and(|known| known.name == id.name);
        if !(on && has) {
            let disk = &mut loads.entry(volume.node).or_default().resources.disk;
            *disk = disk.saturating_add(volume.size);
        }
    }
    loads
}

pub(crate) fn liveness_word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Down => "down",
        Liveness::Left => "left",
    }
}

pub(crate) fn resources(r: &Resources, custom: &BTreeMap<String, u64>) -> ResourcesView {
    ResourcesView { cpus: r.cpus.0 as f64 / 1000.0, memory: r.memory, disk: r.disk, custom: custom.clone() }
}
