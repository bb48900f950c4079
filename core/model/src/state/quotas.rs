//! What teams may use of the pool, and how it is shared when it is short.

use super::State;
use crate::{CUSTOM_MAX, Fence, Refusal, Resources, TeamName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most teams that have a quota.
pub const QUOTAS_MAX: usize = 1_000;

/// The share of a team that says nothing about it.
pub const SHARE_DEFAULT: u32 = 1;

/// The largest share.
pub const SHARE_MAX: u32 = 1_000;

/// What the tasks of a team's apps may ask for together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// At most this; `u64::MAX` (ports: `u32::MAX`) where there is no limit.
    pub limit: Resources,
    /// At most this of countable resources; one that is not named has no limit.
    pub custom: BTreeMap<String, u64>,
    /// When room is short and priorities are equal, a team gets this many parts of the pool, 1 to [`SHARE_MAX`].
    pub share: u32,
}

impl State {
    pub(super) fn set_quota(&mut self, at: Fence, team: &TeamName, quota: &Quota) -> Result<(), Refusal> {
        let invalid = |field: &str, message: String| Err(Refusal::Invalid { field: field.into(), message });
        if !(1..=SHARE_MAX).contains(&quota.share) {
            return invalid("share", format!("{}; expected 1 to {SHARE_MAX}", quota.share));
        }
        if quota.custom.len() > CUSTOM_MAX {
            return invalid("resources", format!("{}; at most {CUSTOM_MAX} are limited", quota.custom.len()));
        }
        if !self.quotas.contains_key(team) && self.quotas.len() >= QUOTAS_MAX {
            return Err(Refusal::Full(QUOTAS_MAX, "quotas".into()));
        }
        self.pool_fence = at;
        self.quotas.insert(team.clone(), quota.clone());
        Ok(())
    }

    pub(super) fn remove_quota(&mut self, at: Fence, team: &TeamName) -> Result<(), Refusal> {
        self.quotas.remove(team).ok_or_else(|| Refusal::UnknownQuota(team.clone()))?;
        self.pool_fence = at;
        Ok(())
    }
}

impl Quota {
    /// No limit, and the share of those without a quota.
    pub fn unlimited() -> Self {
        let limit = Resources { cpus: crate::Cpus(u64::MAX), memory: u64::MAX, disk: u64::MAX, ports: u32::MAX };
        Self { limit, custom: BTreeMap::new(), share: SHARE_DEFAULT }
    }
}
