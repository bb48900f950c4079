//! What is published about one task.

use crate::{
    AgentConfig,
    agent::Standing,
    run::{Run, Stage},
    slot::{Course, Slot, Wanted},
};
use taffeta_model::{JobKind, Phase, TaskId, TaskRecord, WEIGHT_DEFAULT};

/// The record of a task; `None` if the node has no more of it than a folder to remove.
pub(crate) fn record(config: &AgentConfig, standing: Standing, task: &TaskId, slot: &Slot) -> Option<TaskRecord> {
    match (slot.runs.last(), &slot.wanted) {
        (Some(run), wanted) => Some(of_run(config, task, run, wanted.as_ref())),
        (None, Some(wanted)) => Some(of_waiting(config, standing, task, wanted)),
        (None, None) => None,
    }
}

fn of_run(config: &AgentConfig, task: &TaskId, run: &Run, wanted: Option<&Wanted>) -> TaskRecord {
    let (phase, serving, mut reason) = match &run.stage {
        Stage::Starting => (Phase::Starting, false, run.doing.clone()),
        Stage::Up { vitals, .. } => vitals.describe(),
        Stage::Draining { why, .. } | Stage::Terminating { why, .. } | Stage::Killed { why, .. } => {
            (Phase::Stopping, false, why.words())
        }
    };
    if !run.not_isolated.is_empty() {
        let separator = if reason.is_empty() { "" } else { "; " };
        reason += &format!("{separator}not fully isolated"); // the node says what is missing, once
    }
    let assigned = run.assigned.as_deref();
    let hidden = wanted.is_some_and(|wanted| wanted.assigned.fence == run.fence && wanted.assigned.hidden);
    TaskRecord {
        task: task.clone(),
        instance: task.index.to_string().into(),
        // A run of which no set has told what it is serves nobody, so that nothing depends on the guess.
        kind: assigned.map_or(JobKind::Service, |a| a.job.kind),
        fence: run.fence,
        version: assigned.map_or(0, |a| a.version),
        phase,
        serving: serving && !hidden,
        address: config.address,
        ports: run.ports.iter().map(|(name, port)| (name.into(), *port)).collect(),
        tags: assigned.map_or_else(Vec::new, |a| a.job.tags.iter().map(Into::into).collect()),
        weight: assigned.map_or(WEIGHT_DEFAULT, |a| a.job.dns.weight),
        pid: run.pid,
        restarts: run.restart,
        started_at: run.started_at,
        exit: wanted.filter(|w| w.assigned.fence == run.fence).and_then(|w| w.exit.clone()),
        reason,
    }
}

fn of_waiting(config: &AgentConfig, standing: Standing, task: &TaskId, wanted: &Wanted) -> TaskRecord {
    let succeeded = wanted.exit.as_ref().is_some_and(|exit| exit.is_success());
    let phase = match wanted.course {
        Course::Start(_) | Course::Blocked => Phase::Starting,
        Course::Over if succeeded => Phase::Finished,
        Course::Over => Phase::Failed,
    };
    let unconfirmed = matches!(standing, Standing::Unconfirmed(_)) && phase == Phase::Starting;
    let reason = if unconfirmed && wanted.reason.is_empty() {
        "waits for a leader to confirm that it still belongs here".into()
    } else {
        wanted.reason.clone()
    };
    TaskRecord {
        task: task.clone(),
        instance: task.index.to_string().into(),
        kind: wanted.assigned.job.kind,
        fence: wanted.assigned.fence,
        version: wanted.assigned.version,
        phase,
        serving: false,
        address: config.address,
        ports: vec![],
        tags: wanted.assigned.job.tags.iter().map(Into::into).collect(),
        weight: wanted.assigned.job.dns.weight,
        pid: None,
        restarts: wanted.restarts(),
        started_at: None,
        exit: wanted.exit.clone(),
        reason,
    }
}
