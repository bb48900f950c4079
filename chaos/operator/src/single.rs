//! What is asked for by itself, without an experiment: a fault, a probe, the commands of a plan.

use crate::{
    blast::{Blast, Hit},
    fabric::Fabric,
    fleet::Fleet,
    format::{Activity, CONFIRM_USUAL, Look, Place, Provider, Strike, read_tolerance},
    plan::{Limits, Plan},
    probe::{find, is_tolerated},
    run::fresh_id,
    text::Wrong,
};
use serde_json::Value as Json;
use std::time::{Duration, Instant};
use taffeta_node::api::{ApiError, ErrorCode, FaultRequest, FaultState, FaultView};
use tokio::{task::JoinSet, time::sleep};

/// Pause between two looks at a fault that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// One fault, wished for by itself.
#[derive(Clone, Debug)]
pub struct Single {
    /// What and where.
    pub strike: Strike,
    /// Name of the run that it belongs to.
    pub run: String,
    /// Decides, with the seed, who is drawn.
    pub name: String,
    /// Decides, with the name, who is drawn.
    pub seed: u64,
    /// What a person allows.
    pub limits: Limits,
    /// Only tell what would be done.
    pub dry_run: bool,
}

fn refused(why: String) -> ApiError {
    ApiError::new(ErrorCode::Conflict, why)
}

/// Why a fault that was wished for by itself is not on, or was on and is not known to be over.
#[derive(Debug)]
pub enum NotInjected {
    /// It was refused, or could not be brought about; what was begun on other machines is undone.
    Failed(ApiError),
    /// It is not confirmed that these are undone, in words.
    NotHealed(String),
}

impl From<ApiError> for NotInjected {
    fn from(e: ApiError) -> Self {
        Self::Failed(e)
    }
}

/// Brings it about on all machines at once, and returns as soon as it is on everywhere; one by one, when it is over
/// everywhere. If one machine refuses, what was begun on others is undone.
pub async fn inject(fabric: &Fabric, single: &Single) -> Result<Vec<FaultView>, NotInjected> {
    let fleet = fabric.fleet().await?;
    let hits = aim(single, &fleet)?;
    let mut views: Vec<FaultView> = vec![];
    let alone = single.strike.one_by_one && !single.dry_run;
    for hits in hits.chunks(if alone { 1 } else { hits.len().max(1) }) {
        let mut begun = JoinSet::new();
        for (index, hit) in hits.iter().enumerate() {
            let (fabric, request) = (fabric.clone(), request(hit, single));
            begun.spawn(async move { (index, fabric.inject(&request).await.map_err(|e| (request, e))) });
        }
        let mut begun = begun.join_all().await;
        begun.sort_by_key(|(index, _)| *index);
        let mut failed = None;
        for (_, one) in begun {
            match one {
                Ok(view) => views.push(view),
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        if let Some((request, e)) = failed {
            if !single.dry_run {
                take_back(fabric, &views, &request, &e).await?;
            }
            return Err(ApiError { message: format!("{}: {}", request.node, e.message), ..e }.into());
        }
        if alone {
            wait_undone(fabric, &views[views.len() - 1], single.strike.lasts).await?;
        }
    }
    Ok(views)
}

/// Undoes what was begun, and what may have been.
async fn take_back(
    fabric: &Fabric,
    begun: &[FaultView],
    failed: &FaultRequest,
    why: &ApiError,
) -> Result<(), NotInjected> {
    let perhaps = why.code.may_pass().then_some((&failed.node, &failed.id));
    let mut left = vec![];
    for (node, id) in begun.iter().map(|view| (&view.node, &view.id)).chain(perhaps) {
        match fabric.undo(node, id).await {
            Ok(Some(view)) if view.state != FaultState::Undone => left.push(format!("{} at {node}", failed.fault)),
            Ok(Some(_) | None) => {}
            Err(e) => left.push(format!("{} at {node} ({})", failed.fault, e.message)),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let all = left.join(", ");
    Err(NotInjected::NotHealed(format!(
        "{}: {}; and it is not confirmed that all is undone: {all}",
        failed.node, why.message
    )))
}

fn aim(single: &Single, fleet: &Fleet) -> Result<Vec<Hit>, ApiError> {
    let strike = &single.strike;
    if let Some(blocked) = fleet.blocked.as_ref().filter(|_| !single.dry_run) {
        return Err(refused(format!("faults are refused since {} ({}): {}", blocked.at, blocked.by, blocked.reason))
            .help("`taffeta chaos allow` lifts it"));
    }
    let struck = strike.aim(fleet, single.seed, &single.name, None).map_err(refused)?;
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
    let hits: Vec<Hit> = struck.nodes.iter().map(hit).collect();
    let on = fleet.active_hits();
    let together: Vec<&[Hit]> = if strike.one_by_one { hits.chunks(1).collect() } else { vec![&hits] };
    for hits in together {
        let votes = Blast::of(&[on.as_slice(), hits].concat(), fleet).votes;
        if votes.are_too_few() && !single.limits.allow_quorum_loss {
            let why = format!(
                "the quorum would break: {} of {} voters would be left, {} are needed",
                votes.left, votes.of, votes.needed
            );
            return Err(refused(why).help("--allow-quorum-loss allows it"));
        }
    }
    Ok(hits)
}

fn request(hit: &Hit, single: &Single) -> FaultRequest {
    FaultRequest {
        id: fresh_id(),
        run: single.run.clone(),
        node: hit.node.clone(),
        fault: hit.fault,
        lasts_ms: u64::try_from(single.strike.lasts.as_millis()).unwrap_or(u64::MAX).max(1),
        peers: hit.peers.clone(),
        task: hit.task.clone(),
        dry_run: single.dry_run,
    }
}

/// Waits until it is over and its machine is ready again.
async fn wait_undone(fabric: &Fabric, begun: &FaultView, lasts: Duration) -> Result<(), NotInjected> {
    let until = Instant::now() + lasts + CONFIRM_USUAL;
    while Instant::now() < until {
        sleep(LOOK_EVERY).await;
        let Ok(chaos) = fabric.chaos().await else { continue };
        let undone = chaos.faults.iter().any(|view| view.id == begun.id && view.state == FaultState::Undone);
        let ready = match fabric.client(&begun.node) {
            Some(api) => api.status().await.is_ok_and(|status| status.ready && status.node == begun.node),
            // Only the others can tell.
            None => fabric.view().await.is_ok_and(|fleet| fleet.alive().contains(&begun.node.as_str())),
        };
        if undone && ready {
            return Ok(());
        }
    }
    Err(NotInjected::NotHealed(format!("nobody confirms that {} at {} is undone", begun.fault, begun.node)))
}

/// What a probe finds, or why nothing, and whether that is tolerated. Fails if the tolerance is none.
pub async fn ask(
    fabric: &Fabric,
    look: Look,
    tolerance: Option<&str>,
) -> Result<(Result<Json, String>, Option<bool>), Wrong> {
    let tolerance = tolerance.map(read_tolerance).transpose()?;
    let probe = Activity {
        name: "probe".into(),
        is_probe: true,
        provider: Provider::Look(look),
        tolerance: None,
        background: false,
        before: Duration::ZERO,
        after: Duration::ZERO,
        place: (String::new(), 1),
        source: Json::Null,
    };
    let found = find(&probe, fabric).await;
    let met = match (&found, &tolerance) {
        (Ok(value), Some(tolerance)) => Some(is_tolerated(tolerance, value, fabric).await),
        (Ok(_) | Err(_), _) => None,
    };
    Ok((found, met))
}

impl Plan {
    /// Asks the machines what they would do, command by command, without doing it.
    pub async fn ask_commands(&mut self, fabric: &Fabric) {
        for strike in &mut self.strikes {
            let lasts_ms = (strike.lasts_s * 1e3) as u64;
            for planned in strike.hits.iter_mut().filter(|planned| planned.refused.is_none()) {
                let Some(hit) = &planned.hit else { continue };
                let request = FaultRequest {
                    id: fresh_id(),
                    run: "plan".into(),
                    node: hit.node.clone(),
                    fault: hit.fault,
                    lasts_ms: lasts_ms.max(1),
                    peers: hit.peers.clone(),
                    task: hit.task.clone(),
                    dry_run: true,
                };
                match fabric.inject(&request).await {
                    Ok(view) => {
                        planned.backend = view.backend;
                        planned.commands = view.commands;
                    }
                    Err(e) => {
                        self.refusals.push(format!("{}: {}: {}", strike.name, hit.node, e.message));
                        planned.refused = Some(e.message);
                    }
                }
            }
        }
    }
}
