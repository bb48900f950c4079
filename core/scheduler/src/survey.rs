//! What the state and the ring say together, before anything is decided: each job with its tasks and where they stand.

use crate::{Observed, RingView};
use std::collections::BTreeMap;
use taffeta_model::{AppName, Exit, Fence, Job, JobKind, JobName, Liveness, NodeId, Phase, Place, State, Task, TaskId};

/// Every job in the order of its name, with its tasks in the order of their indexes.
pub(crate) struct Survey<'a> {
    pub(crate) jobs: Vec<JobSurvey<'a>>,
    index: BTreeMap<(&'a AppName, &'a JobName), usize>,
}

/// One job.
pub(crate) struct JobSurvey<'a> {
    pub(crate) app: &'a AppName,
    pub(crate) job: &'a Job,
    /// Revision that its tasks should be of.
    pub(crate) revision: u64,
    pub(crate) tasks: Vec<TaskSurvey<'a>>,
}

/// One task.
pub(crate) struct TaskSurvey<'a> {
    pub(crate) id: &'a TaskId,
    pub(crate) task: &'a Task,
    pub(crate) standing: Standing<'a>,
}

/// Where a task stands.
#[derive(Clone, Copy)]
pub(crate) enum Standing<'a> {
    /// On no machine. `anew` unless it lost a machine: it was never placed, or it is a batch task that runs again.
    Waiting { anew: bool },
    /// Ended for good (batch).
    Ended(&'a Exit),
    /// On a machine, which is alive or not, with its report about this very placement.
    On { node: NodeId, alive: bool, report: Option<&'a Observed> },
}

impl<'a> Survey<'a> {
    pub(crate) fn new(state: &'a State, ring: &'a RingView) -> Self {
        let mut jobs = Vec::new();
        let mut index = BTreeMap::new();
        for (app, deployed) in &state.apps {
            for (name, job) in &deployed.app.jobs {
                let revision = deployed.revisions.get(name).copied().unwrap_or_default();
                index.insert((app, name), jobs.len());
                jobs.push(JobSurvey { app, job, revision, tasks: vec![] });
            }
        }
        let mut survey = Self { jobs, index };
        let mut last: Option<(&TaskId, usize)> = None;
        for (id, task) in &state.tasks {
            // Tasks of one job follow each other: the job is looked up once.
            let same = last.filter(|(was, _)| was.job == id.job && was.app == id.app).map(|(_, job)| job);
            let Some(job) = same.or_else(|| survey.index.get(&(&id.app, &id.job)).copied()) else { continue };
            survey.jobs[job].tasks.push(TaskSurvey { id, task, standing: standing(id, task, ring) });
            last = Some((id, job));
        }
        survey
    }

    pub(crate) fn job(&self, app: &AppName, name: &JobName) -> Option<&JobSurvey<'a>> {
        self.index.get(&(app, name)).map(|job| &self.jobs[*job])
    }
}

impl JobSurvey<'_> {
    /// Whether instances serve somebody, so that they must not all be replaced at once.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self.job.kind, JobKind::Service)
    }

    /// Whether the task works on a machine that is alive.
    pub(crate) fn serves(&self, task: &TaskSurvey<'_>) -> bool {
        let Standing::On { alive: true, report: Some(report), .. } = task.standing else { return false };
        match report.phase {
            Phase::Healthy => true,
            Phase::Running => self.job.health.is_none(),
            Phase::Starting | Phase::Unhealthy | Phase::Stopping | Phase::Finished | Phase::Failed => false,
        }
    }
}

impl Standing<'_> {
    pub(crate) fn node(&self) -> Option<NodeId> {
        match self {
            Self::On { node, .. } => Some(*node),
            Self::Waiting { .. } | Self::Ended(_) => None,
        }
    }
}

fn standing<'a>(id: &TaskId, task: &'a Task, ring: &'a RingView) -> Standing<'a> {
    match &task.place {
        Place::Waiting { last } => Standing::Waiting { anew: last.is_none() },
        Place::Ended { exit, .. } => Standing::Ended(exit),
        Place::On { node, fence } => Standing::On {
            node: *node,
            alive: ring.members.get(node).is_some_and(|view| view.liveness == Liveness::Alive),
            report: report(id, *node, *fence, ring),
        },
    }
}

/// The node's report about this placement; an older one is about a process that is on its way out.
fn report<'a>(id: &TaskId, node: NodeId, fence: Fence, ring: &'a RingView) -> Option<&'a Observed> {
    ring.observed.get(id)?.iter().find(|report| report.node == node && report.fence == fence)
}
