//! What this node believes of each other member, and how it shows.

use crate::{Identity, codec::FAREWELL};
use serde::{Deserialize, Serialize};
use taffeta_model::{Liveness, Millis, NodeId};

/// One member as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Its newest identity.
    pub identity: Identity,
    /// What the ring thinks of it.
    pub liveness: Liveness,
    /// When it came to be so, on this node's clock.
    pub since: Millis,
    /// When it was first suspected: set while it is suspect or down, kept from one to the other, cleared by its return.
    pub suspect_since: Option<Millis>,
}

/// A member that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Who.
    pub id: NodeId,
    /// What it was; `None` if it was not known.
    pub before: Option<Liveness>,
    /// What it is; `None` if it was forgotten. The same as before if only its incarnation or address changed.
    pub after: Option<Liveness>,
    /// Its newest identity.
    pub identity: Identity,
}

/// What one node tells another about a member on a join or push-pull stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFact {
    /// Who.
    pub identity: Identity,
    /// How many suspicions it has refuted in this incarnation.
    pub refutations: u16,
    /// What the sender believes.
    pub liveness: Liveness,
}

impl MemberState {
    /// A member that has been alive since then.
    pub fn known(identity: Identity, since: Millis) -> Self {
        Self { identity, liveness: Liveness::Alive, since, suspect_since: None }
    }

    /// The state after a new verdict at `now`. The first suspicion counts, not the verdict that follows from it.
    pub(crate) fn next(before: Option<&Self>, now: Millis, identity: Identity, liveness: Liveness) -> Self {
        let since = before.filter(|b| b.liveness == liveness).map_or(now, |b| b.since);
        let suspect_since = match liveness {
            Liveness::Alive | Liveness::Left => None,
            Liveness::Suspect | Liveness::Down => before.and_then(|b| b.suspect_since).or(Some(now)),
        };
        Self { identity, liveness, since, suspect_since }
    }
}

impl MemberFact {
    pub(crate) fn to_foca(self) -> foca::Member<Identity> {
        let state = match self.liveness {
            Liveness::Alive => foca::State::Alive,
            Liveness::Suspect => foca::State::Suspect,
            Liveness::Down | Liveness::Left => foca::State::Down,
        };
        let refutations = if self.liveness == Liveness::Left { FAREWELL } else { self.refutations };
        foca::Member::new(self.identity, refutations, state)
    }
}
