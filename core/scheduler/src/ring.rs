//! What the leader knows about machines and tasks beyond the replicated state. All times are on the leader's clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};
use taffeta_model::{Exit, Fence, Liveness, Millis, NodeId, Phase, TaskId, UnixMillis};

/// The leader's view of the ring and of what nodes report. It remembers what was changed since the last plan, so that
/// planning looks at that alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingView {
    members: BTreeMap<NodeId, MemberView>,
    unseen_dead: BTreeSet<NodeId>,
    observed: BTreeMap<TaskId, Vec<Observed>>,
    leader_since: Millis,
    date: UnixMillis,
    changes: Changes,
}

/// What was changed since the last plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) members: BTreeSet<NodeId>,
    pub(crate) tasks: BTreeSet<TaskId>,
}

/// One member as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// What the ring thinks of it.
    pub liveness: Liveness,
    /// When this liveness began. Suspicion counts from the first one: a member that goes from suspect to down keeps the
    /// time at which it was suspected.
    pub since: Millis,
    /// Whether the leader's own probes failed too, also through another voter. What the ring says is hearsay: it alone
    /// moves no task.
    pub confirmed_dead: bool,
    /// Whether it was suspected or down several times lately: it gets new tasks last.
    pub avoided: bool,
}

/// One report of a node about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The node that reports.
    pub node: NodeId,
    /// The placement that the report is about.
    pub fence: Fence,
    /// What the task does.
    pub phase: Phase,
    /// How its last process ended.
    pub exit: Option<Exit>,
    /// Whether DNS is to give it out, by what its node says.
    pub serving: bool,
    /// When the leader first saw this phase.
    pub since: Millis,
}

impl Observed {
    /// Whether its process was made, or could not be: until then what it needs may be on its way.
    pub(crate) fn has_begun(&self) -> bool {
        self.phase != Phase::Starting || self.exit.is_some()
    }
}

impl RingView {
    /// A view of nothing, of a node that begins to lead.
    pub fn new(leader_since: Millis) -> Self {
        Self { leader_since, ..Self::default() }
    }

    /// When this node began to lead.
    pub fn leader_since(&self) -> Millis {
        self.leader_since
    }

    /// The date by the leader's clock, which says when cron jobs are due; 1970 if nobody has told it, and no run begins or ends
    /// until then.
    pub fn date(&self) -> UnixMillis {
        self.date
    }

    /// What the ring says of a member. One of the state that it has said nothing about counts as unseen: it gets no task,
    /// and it is dead only long after the leader began.
    pub fn member(&self, node: NodeId) -> Option<MemberView> {
        self.members.get(&node).copied()
    }

    /// The members that the ring has told about.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, MemberView)> {
        self.members.iter().map(|(id, view)| (*id, *view))
    }

    /// Whether the leader's own probes, also through another voter, failed to reach a member that the ring has not told
    /// about.
    pub fn is_unseen_dead(&self, node: NodeId) -> bool {
        self.unseen_dead.contains(&node)
    }

    /// What nodes report about a task. Only a report whose fence is that of the task's placement counts.
    pub fn reports(&self, task: &TaskId) -> &[Observed] {
        self.observed.get(task).map_or(&[], Vec::as_slice)
    }

    /// The date now, to be told before each plan.
    pub fn see_date(&mut self, date: UnixMillis) {
        self.date = date;
    }

    /// The ring says this of a member; `None`: nothing any more.
    pub fn see(&mut self, node: NodeId, view: Option<MemberView>) {
        let before = match view {
            Some(view) => self.members.insert(node, view),
            None => self.members.remove(&node),
        };
        if before != view {
            self.changes.members.insert(node);
        }
    }

    /// Members of which the ring says nothing and whom the leader's probes did not reach.
    pub fn see_unseen_dead(&mut self, dead: BTreeSet<NodeId>) {
        if self.unseen_dead != dead {
            self.changes.members.extend(self.unseen_dead.symmetric_difference(&dead));
            self.unseen_dead = dead;
        }
    }

    /// A node reports a task; it takes the place of what this node said of this task before. If it says the same, it has
    /// said so since then.
    pub fn report(&mut self, task: &TaskId, report: Observed) {
        let reports = self.observed.entry(task.clone()).or_default();
        match reports.iter_mut().find(|known| known.node == report.node) {
            Some(known) => {
                let same = Observed { since: known.since, serving: known.serving, ..report.clone() } == *known;
                if same && known.serving == report.serving {
                    return;
                }
                *known = if same { Observed { since: known.since, ..report } } else { report };
            }
            None => reports.push(report),
        }
        self.changes.tasks.insert(task.clone());
    }

    /// A node reports a task no more.
    pub fn withdraw(&mut self, task: &TaskId, node: NodeId) {
        let Some(reports) = self.observed.get_mut(task) else { return };
        let before = reports.len();
        reports.retain(|known| known.node != node);
        if reports.len() != before {
            self.changes.tasks.insert(task.clone());
        }
        if self.observed.get(task).is_some_and(Vec::is_empty) {
            self.observed.remove(task);
        }
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        mem::take(&mut self.changes)
    }
}
