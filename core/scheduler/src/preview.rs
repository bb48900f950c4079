//! What a deploy would do: the deploy and all the plans behind it, carried out on a copy.

use crate::{Observed, RingView, Scheduler, Waiting, leases, plan::Pace};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use taffeta_model::{
    App, AppName, Command, Exit, Fence, JobKind, Liveness, Millis, NodeId, Outcome, Phase, Place, Refusal, State, Task,
    TaskId,
};

/// Most turns that a preview looks ahead: enough for a chain of as many jobs as an app may have, and for as many
/// placements as there may be tasks.
const TURNS_MAX: usize = 1_000;

/// What a deploy would change, by task of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// One entry for each task that is, or would be.
    pub tasks: BTreeMap<TaskId, Change>,
}

/// What a deploy would do to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, or waited before, and would be placed.
    Create {
        /// The machine.
        node: NodeId,
    },
    /// It would stay as it is.
    Keep {
        /// The machine that it is on, or ended on.
        node: NodeId,
    },
    /// It would be replaced: another version, another machine, or a batch task that runs again.
    Update {
        /// The machine on which it would be afterwards.
        node: NodeId,
    },
    /// It would end.
    Remove {
        /// The machine that it is on, or ended on; `None` if it waits.
        node: Option<NodeId>,
    },
    /// It would wait, or go on in its older version.
    Wait {
        /// For what.
        reason: Waiting,
    },
}

/// Tells what deploying the app would do; changes nothing. It looks ahead over the whole rollout and assumes that all
/// goes well: instances get healthy, batch tasks end with success, and no machine dies or comes back.
///
/// The error is the refusal that the deploy would meet.
pub fn preview(now: Millis, state: &State, ring: &RingView, app: &App) -> Result<Preview, Refusal> {
    let mut ahead = state.clone();
    apply(&mut ahead, &Command::Deploy { app: Arc::new(app.clone()), now: ring.date() })?;
    let reasons = look_ahead(now, &mut ahead, ring.clone(), &app.name);
    let of_app = |state: &State| state.tasks.keys().filter(|id| id.app == app.name).cloned().collect::<BTreeSet<_>>();
    let ids: BTreeSet<TaskId> = of_app(state).union(&of_app(&ahead)).cloned().collect();
    let tasks = ids.into_iter().filter_map(|id| {
        let wanted = ahead.apps.get(&id.app).and_then(|deployed| deployed.revisions.get(&id.job)).copied();
        let change = change(state.tasks.get(&id), ahead.tasks.get(&id), wanted, reasons.get(&id))?;
        Some((id, change))
    });
    Ok(Preview { tasks: tasks.collect() })
}

/// Carries out plans until there is nothing left to do; gives why tasks wait then.
fn look_ahead(now: Millis, state: &mut State, mut ring: RingView, app: &AppName) -> BTreeMap<TaskId, Waiting> {
    let mut scheduler = Scheduler::new();
    let mut waiting = BTreeMap::new();
    for _ in 0..TURNS_MAX {
        all_goes_well(now, state, &mut ring, app);
        let ended = leases::ended(state, app);
        if !ended.is_empty() {
            let _ = apply(state, &Command::Release(ended));
        }
        scheduler.read(now, state, &mut ring);
        let plan = scheduler.plan_at(now, &ring, Pace::AllAtOnce);
        waiting = plan.waiting.get(app).map(|of_app| (**of_app).clone()).unwrap_or_default();
        if plan.commands.is_empty() {
            break;
        }
        for command in &plan.commands {
            // The copy is nobody else's: what was planned for it is not refused, and if it were, the next turn tells.
            let _ = apply(state, command);
        }
    }
    waiting
}

/// Reports every task of the app on a machine that is alive as working, or as finished. Other apps stay as they are:
/// when their batch tasks end is not ours to tell.
fn all_goes_well(now: Millis, state: &State, ring: &mut RingView, app: &AppName) {
    for (id, task) in state.tasks.of_app(app) {
        let (Place::On { node, fence }, Some(job)) = (&task.place, state.job(id)) else { continue };
        if ring.member(*node).is_none_or(|view| view.liveness != Liveness::Alive) {
            continue;
        }
        let (phase, exit) = match job.kind {
            JobKind::Service | JobKind::Daemon => (Phase::Healthy, None),
            JobKind::Batch { .. } | JobKind::Cron { .. } => (Phase::Finished, Some(Exit::Code(0))),
        };
        ring.report(id, Observed { node: *node, fence: *fence, phase, exit, serving: true, since: now });
    }
}

fn apply(state: &mut State, command: &Command) -> Result<(), Refusal> {
    let at = Fence { index: state.applied.index + 1, ..state.applied };
    match state.apply(at, command) {
        Outcome::Done(_) => Ok(()),
        Outcome::Refused(refusal) => Err(refusal),
    }
}

fn change(
    before: Option<&Task>,
    after: Option<&Task>,
    wanted: Option<u64>,
    reason: Option<&Waiting>,
) -> Option<Change> {
    let node = |task: &Task| match task.place {
        Place::On { node, .. } | Place::Ended { node, .. } => Some(node),
        Place::Waiting { .. } => None,
    };
    let Some(after) = after else { return Some(Change::Remove { node: before.and_then(node) }) };
    if let Some(reason) = reason {
        return Some(Change::Wait { reason: reason.clone() });
    }
    let to = node(after)?;
    // On a machine that is away it will be replaced when that is back, or has been given up.
    let outdated = matches!(after.place, Place::On { .. }) && Some(after.revision) != wanted;
    Some(match before.filter(|before| node(before).is_some()) {
        None => Change::Create { node: to },
        Some(before) if before.attempt == after.attempt && !outdated => Change::Keep { node: to },
        Some(_) => Change::Update { node: to },
    })
}
