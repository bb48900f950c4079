//! What `recover` shows, for people and as JSON, which another survivor compares itself with.

use super::Held;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taffeta_model::{ClusterId, NodeId, NodeName};
use taffeta_store::{Position, Stretch};

/// A place in the log; the later one, by term and then by index, is of whoever knows more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PositionView {
    /// The leader's term.
    pub term: u64,
    /// The number of the entry.
    pub index: u64,
}

impl From<Position> for PositionView {
    fn from(at: Position) -> Self {
        Self { term: at.term, index: at.index }
    }
}

/// Entries of one term, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StretchView {
    /// Their term.
    pub term: u64,
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
}

impl From<Stretch> for StretchView {
    fn from(s: Stretch) -> Self {
        Self { term: s.term, first: s.first, last: s.last }
    }
}

/// A member by its id and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Its id.
    pub id: String,
    /// Its name; the id if the state does not know it.
    pub name: String,
}

/// What the folder of a stopped node knows. What its entries say counts whether or not they are committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyView {
    /// Name of the node.
    pub name: String,
    /// Its id.
    pub node: String,
    /// The cluster.
    pub cluster: String,
    /// The generation.
    pub generation: u64,
    /// Whether it holds the CA key, as voters do.
    pub holds_ca: bool,
    /// Highest term that it has voted in.
    pub term: u64,
    /// Its last entry.
    pub last: Option<PositionView>,
    /// The newest that it knew to be committed; more may be.
    pub committed: Option<PositionView>,
    /// What its snapshot covers.
    pub snapshot: Option<PositionView>,
    /// The entries that it holds.
    pub log: Vec<StretchView>,
    /// The voters.
    pub voters: Vec<MemberEntry>,
    /// Those who followed without a vote.
    pub learners: Vec<MemberEntry>,
    /// All members.
    pub members: Vec<MemberEntry>,
    /// Versions of the apps by name.
    pub apps: BTreeMap<String, u64>,
    /// Ids of the join tokens.
    pub tokens: Vec<String>,
    /// How many tasks there are.
    pub tasks: usize,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// The node that is the only voter now.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// The generation that has begun.
    pub generation: u64,
    /// Where its log begins.
    pub at: PositionView,
}

impl SurveyView {
    /// Highest term that it knows of.
    pub(super) fn highest_term(&self) -> u64 {
        self.term.max(self.last.map_or(0, |at| at.term))
    }
}

impl Held {
    pub(super) fn view(&self) -> SurveyView {
        let survey = self.offline.survey();
        let state = &survey.state;
        let named = |id: &NodeId| {
            let name = state.members.get(id).map_or_else(|| id.to_string(), |m| m.name.to_string());
            MemberEntry { id: id.to_string(), name }
        };
        SurveyView {
            name: self.owner.settings.name.to_string(),
            node: self.owner.node().to_string(),
            cluster: cluster(self.owner.membership.cluster),
            generation: state.generation,
            holds_ca: self.authority().is_some(),
            term: survey.term,
            last: survey.last.map(Into::into),
            committed: survey.committed.map(Into::into),
            snapshot: survey.covered.map(Into::into),
            log: survey.log.iter().map(|s| (*s).into()).collect(),
            voters: survey.voters.iter().map(named).collect(),
            learners: survey.learners.iter().map(named).collect(),
            members: state.members.keys().map(named).collect(),
            apps: state.apps.iter().map(|(name, app)| (name.to_string(), app.version)).collect(),
            tokens: state.tokens.keys().map(ToString::to_string).collect(),
            tasks: state.tasks.len(),
        }
    }
}

fn cluster(id: ClusterId) -> String {
    id.to_string()
}
