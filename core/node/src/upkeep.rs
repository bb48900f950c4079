//! Volumes and maintenance windows: what people are told of them and may say.

use crate::{
    api::{ApiError, ErrorCode, MaintenanceRequest, MaintenanceView, VolumeView},
    events::rfc3339,
    node::Core,
};
use std::time::Duration;
use taffeta_model::{Maintenance, Millis, NodeId, Schedule, State, UnixMillis, VolumeId, WINDOW_MAX, WINDOW_MIN};

impl Core {
    /// The volumes, by task and name.
    pub(crate) fn volumes_view(&self) -> Vec<VolumeView> {
        self.store.read(|state| {
            let view = |(id, volume): (&VolumeId, &taffeta_model::VolumeState)| VolumeView {
                task: id.task.to_string(),
                name: id.name.to_string(),
                node: state.members.get(&volume.node).map(|member| member.name.to_string()),
                size: volume.size,
                used: None,
                over: false,
                limit: None,
                state: word(state, id).into(),
                born: volume.born.to_string(),
            };
            state.volumes.iter().map(view).collect()
        })
    }

    /// The maintenance windows, by machine.
    pub(crate) fn maintenance_view(&self) -> Vec<MaintenanceView> {
        let date = self.clock.date();
        let mut views: Vec<MaintenanceView> = self.store.read(|state| {
            let windows = state.members.values().flat_map(|member| member.maintenance.iter().map(move |w| (member, w)));
            windows.map(|(member, window)| view(member.name.as_str(), window, date)).collect()
        });
        views.sort_by(|a, b| (&a.node, &a.schedule).cmp(&(&b.node, &b.schedule)));
        views
    }

    /// Until when a machine gets new tasks last, as it was not there several times lately.
    pub(crate) fn unsteady_until(&self, id: NodeId) -> Option<UnixMillis> {
        let (until, now) = (*self.ring.state().unsteady.get(&id)?, self.now());
        (now < until).then(|| self.clock.date() + until.since(now))
    }

    /// Whether it does.
    pub(crate) fn is_unsteady(&self, id: NodeId, now: Millis) -> bool {
        self.ring.state().unsteady.get(&id).is_some_and(|until| now < *until)
    }
}

/// Whether a task uses the volume, waits for it, or neither.
fn word(state: &State, id: &VolumeId) -> &'static str {
    let has = |job: Option<&taffeta_model::Job>| {
        job.and_then(|job| job.volume.as_ref()).is_some_and(|volume| volume.name == id.name)
    };
    match state.tasks.get(&id.task) {
        Some(task) if task.node().is_some() && has(state.job_of(&id.task)) => "used",
        Some(_) if has(state.job(&id.task)) => "awaited",
        Some(_) | None => "kept",
    }
}

fn view(node: &str, maintenance: &Maintenance, date: UnixMillis) -> MaintenanceView {
    let Maintenance { schedule, length, .. } = maintenance;
    let window = maintenance.window().ok();
    MaintenanceView {
        node: node.into(),
        schedule: schedule.text().into(),
        zone: schedule.timezone().map(Into::into),
        seconds: length.as_secs(),
        open_until: window.as_ref().and_then(|window| window.open_until(date)).map(rfc3339),
        next: window.as_ref().and_then(|window| window.next(date)).map(rfc3339),
    }
}

/// What is wished, checked as far as the state does not.
pub(crate) fn read(request: &MaintenanceRequest, date: UnixMillis) -> Result<Maintenance, ApiError> {
    let invalid = |field: &str, why: String| ApiError::new(ErrorCode::Invalid, why).field(field);
    let schedule = Schedule::new(&request.schedule, request.zone.as_deref());
    let schedule = schedule.map_err(|why| invalid("schedule", why.to_string()))?;
    let calendar = schedule.calendar(date).map_err(|why| invalid("schedule", why.to_string()))?;
    calendar.check(date).map_err(|why| invalid("schedule", format!("the window never opens: {why}")))?;
    let length = Duration::from_secs(request.seconds);
    if !(WINDOW_MIN..=WINDOW_MAX).contains(&length) {
        let why = format!("{} s; a window takes at least a minute and at most a week (168h)", request.seconds);
        return Err(invalid("seconds", why));
    }
    Ok(Maintenance { schedule, since: date, length })
}

#[cfg(test)]
mod tests {
    use super::{MaintenanceRequest, UnixMillis, read, view};

    /// 2026-11-22T00:00:00Z, a Sunday.
    const MIDNIGHT: UnixMillis = UnixMillis(1_795_305_600_000);

    fn request(schedule: &str, zone: Option<&str>, seconds: u64) -> MaintenanceRequest {
        MaintenanceRequest { schedule: schedule.into(), zone: zone.map(Into::into), seconds }
    }

    #[test]
    fn a_window_is_told_as_it_was_set_and_when_it_is_open() {
        let asked = request("0 2 * * 0", Some("Europe/Berlin"), 7200);
        let shown = view("n1", &read(&asked, MIDNIGHT).unwrap(), MIDNIGHT);
        assert_eq!((shown.schedule.as_str(), shown.zone.as_deref()), ("0 2 * * 0", Some("Europe/Berlin")));
        assert_eq!((shown.open_until, shown.next.as_deref()), (None, Some("2026-11-22T01:00:00.000Z")));
        let inside = UnixMillis(MIDNIGHT.0 + 3_600_000);
        let shown = view("n1", &read(&asked, MIDNIGHT).unwrap(), inside);
        assert_eq!(shown.open_until.as_deref(), Some("2026-11-22T03:00:00.000Z"));
        assert_eq!(shown.next.as_deref(), Some("2026-11-29T01:00:00.000Z"));
    }

    #[test]
    fn what_never_opens_or_is_no_window_is_refused_with_its_field() {
        for (asked, field) in [
            (request("0 25 * * *", None, 60), "schedule"),
            (request("0 2 * * 0", Some("Europe/Atlantis"), 60), "schedule"),
            (request("0 2 30 2 *", None, 60), "schedule"),
            (request("R2/2020-01-01T00:00:00Z/P1D", None, 60), "schedule"),
            (request("0 2 * * 0", None, 0), "seconds"),
            (request("0 2 * * 0", None, 604_801), "seconds"),
        ] {
            let refused = read(&asked, MIDNIGHT).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some(field), "{asked:?}");
        }
    }
}
