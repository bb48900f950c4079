//! What is asked for by itself, without an experiment: a fault, a probe, the commands of a plan.

use crate::{
    blast::{Blast, Hit},
    fabric::Fabric,
    fleet::Fleet,
    format::{Activity, Look, Place, Provider, Strike, read_tolerance},
    plan::{Limits, Plan},
    probe::{find, is_tolerated},
    run::fresh_id,
    text::Wrong,
};
use serde_json::Value as Json;
use std::time::{Duration, Instant};
use taffeta_node::api::{ApiError, ErrorCode, FaultRequest, FaultState, FaultView};
use tokio::time::sleep;

/// Pause between two looks at a fault that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long after its deadline a fault may take to be confirmed undone.
const CONFIRM_MAX: Duration = Duration::from_secs(45);

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

/// Brings it about, and returns as soon as it is on everywhere; one by one, when it is over everywhere. If one machine
/// refuses, what was begun on others is undone.
pub async fn inject(fabric: &Fabric, single: &Single) -> Result<Vec<FaultView>, ApiError> {
    let fleet = fabric.fleet().await?;
    let hits = aim(single, &fleet)?;
    let mut views: Vec<FaultView> = vec![];
    for hit in hits {
        let begun = fabric.inject(&request(&hit, single)).await;
        match begun {
            Ok(view) => views.push(view),
            Err(e) => {
                for view in views.iter().filter(|_| !single.dry_run) {
                    let _ = fabric.undo(&view.node, &view.id).await; // its deadline ends it all the same
                }
                return Err(ApiError { message: format!("{}: {}", hit.node, e.message), ..e });
            }
        }
        if single.strike.one_by_one && !single.dry_run {
            wait_undone(fabric, &views[views.len() - 1], single.strike.lasts).await?;
        }
    }
    Ok(views)
}

fn aim(single: &Single, fleet: &Fleet) -> Result<Vec<Hit>, ApiError> {
    let strike = &single.strike;
    if let Some(blocked) = fleet.blocked.as_ref().filter(|_| !single.dry_run) {
        return Err(refused(format!("faults are refused since {} ({}): {}", blocked.at, blocked.by, blocked.reason))
            .help("`taffeta chaos allow` lifts it"));
    }
    let struck = strike.aim(fleet, single.seed, &single.name).map_err(refused)?;
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
async fn wait_undone(fabric: &Fabric, begun: &FaultView, lasts: Duration) -> Result<(), ApiError> {
    let until = Instant::now() + lasts + CONFIRM_MAX;
    while Instant::now() < until {
        sleep(LOOK_EVERY).await;
        let Ok(chaos) = fabric.chaos().await else { continue };
        let undone = chaos.faults.iter().any(|view| view.id == begun.id && view.state == FaultState::Undone);
        let ready = match fabric.client(&begun.node) {
            Some(api) => api.status().await.is_ok_and(|status| status.ready),
            None => true,
        };
        if undone && ready {
            return Ok(());
        }
    }
    let why = format!("nobody confirms that {} at {} is undone", begun.fault, begun.node);
    Err(ApiError::new(ErrorCode::Timeout, why).help("see `taffeta chaos status`"))
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
