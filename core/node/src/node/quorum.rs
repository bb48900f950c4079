//! Who leads, and which voters are missing: what a request waits for, and what it is told where there is no quorum.
//!
//! Left out: how a leader is elected, which is the store's; who becomes a voter, which is `voters`'.

use super::Core;
use crate::api::{ApiError, ErrorCode};
use std::time::Duration;
use taffeta_model::{Liveness, NodeId};
use taffeta_store::voters::majority;
use tokio::time::timeout;

/// How long a request waits for a leader to be elected before it is refused.
const LEADER_WAIT: Duration = Duration::from_secs(3);

impl Core {
    /// The leader, or why there is none.
    pub(crate) async fn wait_for_leader(&self) -> Result<NodeId, ApiError> {
        if let Some((leader, _)) = self.consensus.borrow().leader {
            return Ok(leader);
        }
        let mut consensus = self.consensus.subscribe();
        let known = timeout(LEADER_WAIT, consensus.wait_for(|c| c.leader.is_some())).await;
        match known {
            Ok(Ok(consensus)) => Ok(consensus.leader.expect("waited for it").0),
            Ok(Err(_)) | Err(_) => Err(self.no_quorum()),
        }
    }

    /// The refusal that says who is missing, since when, and what to do.
    pub(crate) fn no_quorum(&self) -> ApiError {
        let voters = self.consensus.borrow().voters.clone();
        let missing = self.missing_voters();
        let names = |ids: &[NodeId]| ids.iter().map(|id| self.name_of(*id)).collect::<Vec<_>>().join(", ");
        if voters.is_empty() {
            return ApiError::new(ErrorCode::NoQuorum, "no leader is known, and no member that could name the voters")
                .help("nothing was changed. Are other machines of the cluster running, and does UDP reach them?");
        }
        let needed = majority(voters.len());
        let there = voters.len() - missing.len();
        let message = if there >= needed {
            format!("no leader is known; the voters are {}", names(&voters))
        } else {
            let since: Vec<String> = missing.iter().map(|id| self.absence(*id)).collect();
            format!(
                "no majority of the voters answers: missing {} of {}; {needed} of {} are needed",
                since.join(", "),
                names(&voters),
                voters.len()
            )
        };
        let help = if there >= needed {
            "nothing was changed; running tasks and DNS go on. Try again in a moment"
        } else {
            "nothing was changed; running tasks and DNS go on. Start the missing machines, then try again; if they are lost \
             for good, `taffeta recover` on a machine that is left gives the others a quorum again"
        };
        ApiError::new(ErrorCode::NoQuorum, message).help(help)
    }

    /// Voters that do not answer as far as the ring tells.
    pub(crate) fn missing_voters(&self) -> Vec<NodeId> {
        let ring = self.ring.state();
        let silent = |id: &NodeId| *id != self.me && ring.liveness(*id) != Some(Liveness::Alive);
        self.consensus.borrow().voters.iter().copied().filter(silent).collect()
    }

    /// Name of a node that is missing, and since when it is.
    pub(crate) fn absence(&self, node: NodeId) -> String {
        let name = self.name_of(node);
        match self.ring.state().members.get(&node) {
            Some(member) => {
                let since = member.suspect_since.unwrap_or(member.since);
                let word = match member.liveness {
                    Liveness::Alive | Liveness::Suspect => "silent",
                    Liveness::Down => "down",
                    Liveness::Left => "stopped",
                };
                format!("{name} ({word} for {} s)", self.now().since(since).as_secs())
            }
            None => format!("{name} (not met since this node started)"),
        }
    }
}
