//! Bringing faults about.

use super::{Abort, Runner, fresh_id};
use crate::{
    blast::{Blast, Hit, silenced},
    fleet::Fleet,
    format::{Activity, Strike},
    targets::Struck,
    timeline::Span,
};
use serde_json::{Value as Json, json};
use std::time::Duration;
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

/// What a node is about to be asked for.
struct Asked {
    request: FaultRequest,
    silences: Vec<String>,
    /// Whether it is over as soon as it is done.
    is_instant: bool,
}

impl Runner {
    /// Strikes, and returns as soon as the faults are on; one by one, when all of them are over.
    pub(super) async fn strike(&self, activity: &Activity, strike: &Strike) -> Result<Json, Abort> {
        let told = |why: String| Abort(format!("{}: {why}", activity.name));
        let mut fleet = self.gather().await.map_err(told)?;
        let struck = self.aim(activity, strike, &fleet).map_err(told)?;
        let mut views = vec![];
        for (turn, hits) in struck.turns(strike).into_iter().enumerate() {
            // The machine before is ready; the others may not have noticed yet, and then its vote does not count.
            let patience = if turn == 0 { Duration::ZERO } else { READY_MAX };
            let until = self.scene.now() + patience;
            let asked = loop {
                if turn > 0 {
                    fleet = self.gather().await.map_err(told)?;
                }
                match self.commit(activity, strike, &hits, &fleet) {
                    Err(_) if self.scene.now() < until => sleep(LOOK_EVERY).await,
                    asked => break asked.map_err(told)?,
                }
            };
            let began = self.scene.now();
            // All at once: machines that are to die together are not to see each other die. What counts as begun is asked
            // for, even if the run ends meanwhile: then it is undone.
            let asked = asked.into_iter().map(|asked| {
                let runner = self.clone();
                tokio::spawn(async move { runner.begin(asked).await })
            });
            let mut failed = None;
            for one in asked.collect::<Vec<_>>() {
                match one.await.map_err(|e| told(e.to_string())).flatten() {
                    Ok(view) => views.push(view),
                    Err(why) => failed = failed.or(Some(why)),
                }
            }
            if let Some(why) = failed {
                return Err(why);
            }
            if strike.one_by_one {
                sleep((began + strike.lasts).saturating_sub(self.scene.now())).await;
                self.wait_ready(&views[views.len() - 1].node).await.map_err(told)?;
            }
        }
        Ok(json!({"seed": self.options.seed, "nodes": struck.nodes, "faults": views}))
    }

    /// The cluster as it is, unless no fault may begin in it.
    async fn gather(&self) -> Result<Fleet, String> {
        let fleet = self.fabric.fleet_of(&self.scene.silent(), Duration::from_secs(3), true).await;
        let fleet = fleet.map_err(|e| e.message)?;
        match &fleet.blocked {
            Some(blocked) => Err(format!("faults are blocked by {}: {}", blocked.by, blocked.reason)),
            None => Ok(fleet),
        }
    }

    fn aim(&self, activity: &Activity, strike: &Strike, fleet: &Fleet) -> Result<Struck, String> {
        let mut faults = self.faults();
        let key = (activity.name.clone(), strike.to_string());
        let before = faults.drawn.get(&key).map(Vec::as_slice);
        let struck = strike.aim(fleet, self.options.seed, &activity.name, before)?;
        faults.drawn.entry(key).or_insert_with(|| struck.nodes.clone());
        Ok(struck)
    }

    /// Counts faults as begun, if they leave a quorum. In one piece: of two strikes at once, one counts the other. From
    /// before they are asked for they count, as an answer may be lost.
    fn commit(&self, activity: &Activity, strike: &Strike, hits: &[Hit], fleet: &Fleet) -> Result<Vec<Asked>, String> {
        let mut faults = self.faults();
        // Those of others count as well, and those of ours that no node tells of, as it is dead.
        let mut on = fleet.active_hits();
        on.extend(faults.begun.iter().filter(|begun| !begun.undone).map(|begun| begun.hit.clone()));
        let votes = Blast::of(&[on.as_slice(), hits].concat(), fleet).votes;
        if votes.are_too_few() && !self.options.limits.allow_quorum_loss {
            return Err(format!("the quorum would break now: {} of {} voters would be left", votes.left, votes.of));
        }
        let mut silent: Vec<String> = silenced(hits, fleet).into_iter().collect();
        let now = self.scene.now();
        let mut asked = vec![];
        for hit in hits {
            // Of a partition, the first of its faults stands for all.
            let silences: Vec<String> = match hit.fault.kind() {
                FaultKind::Partition => std::mem::take(&mut silent),
                _ => silent.iter().filter(|node| **node == hit.node).cloned().collect(), // each its own machine
            };
            let (id, due) = (fresh_id(), now + strike.lasts);
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
            let begun = Begun { id: id.clone(), hit: hit.clone(), due, silences: silences.clone(), undone: false };
            faults.begun.push(begun);
            let request = FaultRequest {
                id,
                run: self.run.clone(),
                node: hit.node.clone(),
                fault: hit.fault,
                lasts_ms: u64::try_from(strike.lasts.as_millis()).unwrap_or(u64::MAX).max(1),
                peers: hit.peers.clone(),
                task: hit.task.clone(),
                dry_run: false,
            };
            asked.push(Asked { request, silences, is_instant: strike.is_instant() });
        }
        Ok(asked)
    }

    /// One fault on one machine.
    async fn begin(&self, asked: Asked) -> Result<FaultView, Abort> {
        let Asked { request, silences, is_instant } = asked;
        let id = request.id.clone();
        match self.fabric.inject(&request).await {
            Ok(view) => {
                self.note(&id, |span| span.backend.clone_from(&view.backend));
                if is_instant {
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
