//! What each team uses, against what it may use, and who comes first when room is short.

use crate::{machines::share, mirror::Spec};
use std::collections::BTreeMap;
use taffeta_model::{Bug, Quota, Resources, SHARE_DEFAULT, TeamName, planted};

/// Usage by team; apps without a team are one that has no quota.
#[derive(Default)]
pub(crate) struct Teams {
    quotas: BTreeMap<TeamName, Quota>,
    used: BTreeMap<Option<TeamName>, Used>,
}

#[derive(Default)]
struct Used {
    resources: Resources,
    custom: BTreeMap<String, u64>,
    tasks: usize,
}

/// What of a quota would be exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverQuota {
    pub(crate) team: TeamName,
    /// What tasks of the team may still take.
    pub(crate) free: Resources,
    /// The first countable resource that is short, with what is left of it.
    pub(crate) custom: Option<(String, u64)>,
}

impl Teams {
    /// Reads the quotas; gives whether any is another.
    pub(crate) fn read(&mut self, quotas: &BTreeMap<TeamName, Quota>) -> bool {
        let changed = self.quotas != *quotas;
        if changed {
            self.quotas.clone_from(quotas);
        }
        changed
    }

    pub(crate) fn put(&mut self, spec: &Spec) {
        let used = self.used.entry(spec.team.clone()).or_default();
        used.resources += spec.resources;
        used.tasks += 1;
        for (name, count) in &spec.custom {
            *used.custom.entry(name.clone()).or_default() += count;
        }
    }

    pub(crate) fn lift(&mut self, spec: &Spec) {
        let Some(used) = self.used.get_mut(&spec.team) else { return };
        used.resources -= spec.resources;
        used.tasks -= 1;
        for (name, count) in &spec.custom {
            if let Some(known) = used.custom.get_mut(name) {
                *known = known.saturating_sub(*count);
            }
        }
        if used.tasks == 0 {
            self.used.remove(&spec.team);
        }
    }

    /// What stands against one more task of this kind.
    pub(crate) fn over(&self, spec: &Spec) -> Option<OverQuota> {
        let team = spec.team.as_ref()?;
        let quota = self.quotas.get(team)?;
        let none = Used::default();
        let used = self.used.get(&spec.team).unwrap_or(&none);
        let mut free = quota.limit;
        free -= used.resources;
        let left = |name: &String| {
            let limit = quota.custom.get(name)?;
            Some(limit.saturating_sub(used.custom.get(name).copied().unwrap_or_default()))
        };
        let short = |(name, count): &(String, u64)| left(name).filter(|left| left < count).map(|n| (name.clone(), n));
        let custom = spec.custom.iter().find_map(short);
        let over = !free.fits(&spec.resources) || custom.is_some();
        (over && !planted(Bug::ExceedQuota)).then(|| OverQuota { team: team.clone(), free, custom })
    }

    /// What the team has of the pool, by the resource that it has most of, divided by its share: the smaller, the more
    /// it is due (dominant resource fairness; Ghodsi et al., NSDI 2011).
    pub(crate) fn dominance(&self, team: Option<&TeamName>, pool: &Resources) -> u64 {
        let share_of = team.and_then(|team| self.quotas.get(team)).map_or(SHARE_DEFAULT, |quota| quota.share);
        let used = self.used.get(&team.cloned()).map_or(0, |used| share(&used.resources, pool));
        used.saturating_mul(1_000) / u64::from(share_of.max(1))
    }
}
