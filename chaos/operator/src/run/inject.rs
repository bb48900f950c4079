//! Bringing faults about.

use super::{Abort, Runner, fresh_id};
use crate::{
    blast::{Blast, Hit},
    fleet::Fleet,
    format::{Activity, Place, Strike},
    timeline::Span,
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, time::Duration};
use taffeta_chaos_plan::FaultKind;
use taffeta_node::api::{ApiError, ErrorCode, FaultRequest, FaultState, FaultView};
use tokio::time::sleep;

/// How long a node may take, in a strike one by one, until it is ready again.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a machine that is to be silenced may go on answering.
const GONE_MAX: Duration = Duration::from_secs(3);
/// Pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A fault that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) hit: Hit,
    /// When it is over at the latest, since the start of the run.
    pub(crate) due: Duration,
    /// The machines that it silences.
    pub(crate) silences: Vec<String>,
    /// Whether it is known to be undone.
    pub(crate) undone: bool,
}

impl Runner {
    /// Strikes, and returns as soon as the faults are on; one by one, when all of them are over.
    pub(super) async fn strike(&self, activity: &Activity, strike: &Strike) -> Result<Json, Abort> {
        let fleet = self.fabric.fleet_of(&self.scene.silent(), Duration::from_secs(3), true).await;
        let fleet = fleet.map_err(|e| Abort(format!("{}: {}", activity.name, e.message)))?;
        let told = |why: String| Abort(format!("{}: {why}", activity.name));
        if let Some(blocked) = &fleet.blocked {
            return Err(told(format!("faults are blocked by {}: {}", blocked.by, blocked.reason)));
        }
        let struck = strike.aim(&fleet, self.options.seed, &activity.name).map_err(told)?;
        let nodes = {
            let mut faults = self.faults();
            let drawn = faults.drawn.entry(activity.name.clone()).or_insert_with(|| struck.nodes.clone());
            if struck.drawn { drawn.clone() } else { struck.nodes.clone() }
        };
        let task = match &strike.place {
            Place::Task(task) => Some(task.clone()),
            Place::Nodes { .. } => None,
        };
        let hit = |node: &String| Hit {
            node: node.clone(),
            fault: strike.fault,
            peers: struck.peers.clone(),
            task: task.clone(),
        };
        let hits: Vec<Hit> = nodes.iter().map(hit).collect();
        // Those of others count as well, and those of ours that no node tells of, as it is dead.
        let mut on = fleet.active_hits();
        on.extend(self.faults().begun.iter().filter(|begun| !begun.undone).map(|begun| begun.hit.clone()));
        let together: Vec<Vec<Hit>> =
            if strike.one_by_one { hits.iter().map(|hit| vec![hit.clone()]).collect() } else { vec![hits.clone()] };
        for hits in &together {
            let votes = Blast::of(&[on.clone(), hits.clone()].concat(), &fleet).votes;
            if votes.are_too_few() && !self.options.limits.allow_quorum_loss {
                return Err(told(format!(
                    "the quorum would break now: {} of {} voters would be left",
                    votes.left, votes.of
                )));
            }
        }
        let mut views = vec![];
        for hits in together {
            let began = self.scene.now();
            let mut silences = silenced(strike, &hits, &fleet);
            let mut begun = vec![];
            for hit in hits {
                // Of a partition, the first of its faults stands for all.
                let by_this = match strike.fault.kind() {
                    FaultKind::Partition => std::mem::take(&mut silences),
                    _ => silences.iter().filter(|node| **node == hit.node).cloned().collect(), // each its own machine
                };
                let (runner, activity, strike) = (self.clone(), activity.clone(), strike.clone());
                begun.push(tokio::spawn(async move { runner.begin(&activity, &strike, hit, by_this).await }));
            }
            // All at once: machines that are to die together are not to see each other die.
            for one in begun {
                views.push(one.await.map_err(|e| told(e.to_string()))??);
            }
            if strike.one_by_one {
                sleep((began + strike.lasts).saturating_sub(self.scene.now())).await;
                self.wait_ready(&views[views.len() - 1].node).await.map_err(told)?;
            }
        }
        Ok(json!({"seed": self.options.seed, "nodes": nodes, "faults": views}))
    }

    /// One fault on one machine. From before it is asked for it counts as begun: an answer may be lost.
    async fn begin(
        &self,
        activity: &Activity,
        strike: &Strike,
        hit: Hit,
        silences: Vec<String>,
    ) -> Result<FaultView, Abort> {
        let now = self.scene.now();
        let (id, due) = (fresh_id(), now + strike.lasts);
        let request = FaultRequest {
            id: id.clone(),
            run: self.run.clone(),
            node: hit.node.clone(),
            fault: hit.fault,
            lasts_ms: u64::try_from(strike.lasts.as_millis()).unwrap_or(u64::MAX).max(1),
            peers: hit.peers.clone(),
            task: hit.task.clone(),
            dry_run: false,
        };
        let span = Span {
            id: id.clone(),
            name: activity.name.clone(),
            fault: hit.fault.to_string(),
            node: hit.node.clone(),
            backend: String::new(),
            begun_s: now.as_secs_f64(),
            due_s: due.as_secs_f64(),
            undone_s: None,
            silences: silences.clone(),
            error: None,
        };
        silences.iter().for_each(|node| self.scene.silence(node));
        self.scene.timeline().faults.push(span);
        self.faults().begun.push(Begun { id: id.clone(), hit, due, silences: silences.clone(), undone: false });
        match self.fabric.inject(&request).await {
            Ok(view) => {
                self.note(&id, |span| span.backend.clone_from(&view.backend));
                if strike.is_instant() {
                    self.mark_undone(&id);
                }
                Ok(view)
            }
            Err(e) if !silences.is_empty() && may_be_on(&e) && self.is_gone(&request.node).await => {
                // It was quicker than its answer; whether it was, its node tells when it is back.
                self.note(&id, |span| span.error = Some(format!("the answer was lost: {}", e.message)));
                Ok(unanswered(&request))
            }
            Err(e) => {
                let why = format!("{} at {}: {}", request.fault, request.node, e.message);
                if !may_be_on(&e) {
                    self.mark_undone(&id);
                }
                self.note(&id, |span| span.error = Some(e.message.clone()));
                Err(Abort(why))
            }
        }
    }

    /// Whether a machine has just stopped answering.
    async fn is_gone(&self, node: &str) -> bool {
        let until = self.scene.now() + GONE_MAX;
        while self.scene.now() < until {
            let gone = match self.fabric.client(node) {
                Some(api) => api.time_limit(Duration::from_secs(1)).health().await.is_err(),
                // Only the others can tell.
                None => self.fabric.view().await.is_ok_and(|fleet| !fleet.alive().contains(&node)),
            };
            if gone {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Waits until a machine is a member that can be given tasks again.
    async fn wait_ready(&self, node: &str) -> Result<(), String> {
        let until = self.scene.now() + READY_MAX;
        while self.scene.now() < until {
            let undone = self.faults().begun.iter().filter(|begun| begun.hit.node == node).all(|begun| begun.undone);
            let own = match self.fabric.client(node) {
                Some(api) => {
                    let status = api.time_limit(Duration::from_secs(1)).status().await;
                    status.is_ok_and(|status| status.ready && status.node == node)
                }
                // Only the others can tell.
                None => self.fabric.view().await.is_ok_and(|fleet| fleet.alive().contains(&node)),
            };
            if undone && own {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        Err(format!("{node} is not ready again within {} s", READY_MAX.as_secs()))
    }

    /// Changes what is told of a fault.
    pub(super) fn note(&self, id: &str, change: impl FnOnce(&mut Span)) {
        if let Some(span) = self.scene.timeline().faults.iter_mut().find(|span| span.id == id) {
            change(span);
        }
    }

    /// A fault is known to be over.
    pub(super) fn mark_undone(&self, id: &str) {
        let now = self.scene.now();
        let mut faults = self.faults();
        let Some(begun) = faults.begun.iter_mut().find(|begun| begun.id == id && !begun.undone) else { return };
        begun.undone = true;
        begun.silences.iter().for_each(|node| self.scene.let_speak(node));
        drop(faults);
        self.note(id, |span| span.undone_s = Some(now.as_secs_f64()));
    }
}

/// Whoever refuses has done nothing; whoever did not answer may have.
fn may_be_on(e: &ApiError) -> bool {
    matches!(e.code, ErrorCode::Timeout | ErrorCode::Failed)
}

/// What is told of a fault whose machine could not tell.
fn unanswered(request: &FaultRequest) -> FaultView {
    FaultView {
        id: request.id.clone(),
        run: request.run.clone(),
        node: request.node.clone(),
        fault: request.fault,
        backend: String::new(),
        commands: vec![],
        peers: request.peers.clone(),
        task: request.task.clone(),
        begun_at: String::new(),
        ends_at: String::new(),
        state: FaultState::Active,
        error: Some("the machine was gone before it could answer".into()),
    }
}

/// The machines that neither serve nor vote while these are on: of a partition the side that cannot write, that is the
/// one with fewer voters.
fn silenced(strike: &Strike, hits: &[Hit], fleet: &Fleet) -> Vec<String> {
    let struck: BTreeSet<&String> = hits.iter().map(|hit| &hit.node).collect();
    if !strike.silences() {
        return vec![];
    }
    let inside = fleet.voters.iter().filter(|voter| struck.contains(voter)).count();
    let cut = strike.fault.kind() == FaultKind::Partition;
    if cut && inside > fleet.voters.len() / 2 {
        return fleet.machines.keys().filter(|name| !struck.contains(name)).cloned().collect();
    }
    struck.into_iter().cloned().collect()
}
