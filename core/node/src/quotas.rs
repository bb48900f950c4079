//! Quotas as people set and see them.

use crate::{
    api::{ApiError, ErrorCode, LimitsView, QuotaRequest, QuotaView},
    node::Core,
    view::resources,
};
use std::collections::BTreeMap;
use taffeta_model::{Cpus, Quota, Resources, SHARE_DEFAULT, TeamName, check_resource_name};

/// More cores than any cluster has: a larger number is a slip.
const CPUS_MAX: f64 = 1e9;

/// What tasks have asked for together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    pub(crate) resources: Resources,
    pub(crate) custom: BTreeMap<String, u64>,
    pub(crate) tasks: usize,
}

impl Used {
    pub(crate) fn add(&mut self, job: &taffeta_model::Job) {
        self.resources += job.demand();
        self.tasks += 1;
        for (name, count) in &job.custom {
            let known = self.custom.entry(name.clone()).or_default();
            *known = known.saturating_add(*count);
        }
    }
}

impl Core {
    /// The quotas, by team.
    pub(crate) fn quotas_view(&self) -> Vec<QuotaView> {
        self.store.read(|state| {
            let mut used: BTreeMap<&TeamName, Used> = BTreeMap::new();
            for (id, task) in &state.tasks {
                let app = state.apps.get(&id.app);
                let team = app.and_then(|app| app.app.team.as_ref()).filter(|team| state.quotas.contains_key(*team));
                if let (Some(team), Some(job), Some(_)) = (team, state.job(id), task.node()) {
                    used.entry(team).or_default().add(job);
                }
            }
            let view = |(team, quota): (&TeamName, &Quota)| view(team, quota, used.remove(team).unwrap_or_default());
            state.quotas.iter().map(view).collect()
        })
    }
}

pub(crate) fn view(team: &TeamName, quota: &Quota, used: Used) -> QuotaView {
    let none = Quota::unlimited().limit;
    let Resources { cpus, memory, disk, .. } = quota.limit;
    let limits = LimitsView {
        cpus: Some(cpus).filter(|cpus| *cpus != none.cpus).map(|cpus| cpus.0 as f64 / 1000.0),
        memory: Some(memory).filter(|memory| *memory != none.memory),
        disk: Some(disk).filter(|disk| *disk != none.disk),
        custom: quota.custom.clone(),
    };
    let (tasks, used) = (used.tasks, resources(&used.resources, &used.custom));
    QuotaView { team: team.to_string(), limits, used, share: quota.share, tasks }
}

/// What is wished, checked as far as the state does not.
pub(crate) fn read(request: QuotaRequest) -> Result<Quota, ApiError> {
    let invalid = |field: &str, why: String| ApiError::new(ErrorCode::Invalid, why).field(field);
    let mut quota = Quota::unlimited();
    if let Some(cpus) = request.cpus {
        if !(0.0..=CPUS_MAX).contains(&cpus) {
            return Err(invalid("cpus", format!("{cpus} is no number of processors")));
        }
        quota.limit.cpus = Cpus((cpus * 1000.0).round() as u64);
    }
    quota.limit.memory = request.memory.unwrap_or(quota.limit.memory);
    quota.limit.disk = request.disk.unwrap_or(quota.limit.disk);
    for name in request.custom.keys() {
        check_resource_name(name).map_err(|why| invalid(&format!("custom.{name}"), why))?;
    }
    quota.custom = request.custom;
    quota.share = request.share.unwrap_or(SHARE_DEFAULT);
    Ok(quota)
}

#[cfg(test)]
mod tests {
    use super::{Used, read, view};
    use crate::api::{LimitsView, QuotaRequest};
    use taffeta_model::TeamName;

    #[test]
    fn what_is_left_out_has_no_limit() {
        let team = TeamName::new("red").unwrap();
        let custom = [("gpu".to_owned(), 2)].into();
        let request = QuotaRequest { cpus: Some(0.25), custom, ..QuotaRequest::default() };
        let shown = view(&team, &read(request.clone()).unwrap(), Used::default());
        let limits = LimitsView { cpus: Some(0.25), memory: None, disk: None, custom: request.custom };
        assert_eq!((shown.limits, shown.share), (limits, 1));
    }

    #[test]
    fn what_is_no_amount_or_no_name_is_refused_with_its_field() {
        for cpus in [-1.0, f64::NAN, f64::INFINITY, 1e10] {
            let refused = read(QuotaRequest { cpus: Some(cpus), ..QuotaRequest::default() }).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("cpus"), "{cpus}");
        }
        let custom = [("cpus".to_owned(), 2)].into();
        let refused = read(QuotaRequest { custom, ..QuotaRequest::default() }).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("custom.cpus"));
    }
}
