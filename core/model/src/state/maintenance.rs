//! Maintenance windows: times at which a machine counts as drained, again and again.

use super::{Member, State};
use crate::{Calendar, Fence, InvalidSchedule, NodeId, Refusal, Schedule, UnixMillis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most windows of one machine: each is looked at whenever one of them begins or ends.
pub const WINDOWS_MAX: usize = 4;

/// The shortest window: below it tasks would move for nothing.
pub const WINDOW_MIN: Duration = Duration::from_secs(60);

/// The longest window; what takes longer is a drain.
pub const WINDOW_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A window that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// When it begins.
    pub schedule: Schedule,
    /// When it was set: a repetition without a start begins here.
    pub since: UnixMillis,
    /// How long it is, [`WINDOW_MIN`] to [`WINDOW_MAX`].
    pub length: Duration,
}

/// A window whose instants can be asked for.
#[derive(Clone, Debug)]
pub struct Window {
    calendar: Calendar,
    length: Duration,
}

impl Maintenance {
    /// Fails only if it was stored by a node with another time zone database.
    pub fn window(&self) -> Result<Window, InvalidSchedule> {
        Ok(Window { calendar: self.schedule.calendar(self.since)?, length: self.length })
    }
}

impl Window {
    /// When the window that is open at that date ends.
    pub fn open_until(&self, date: UnixMillis) -> Option<UnixMillis> {
        let longest = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        let begun = self.calendar.last(UnixMillis(date.0.saturating_sub(longest)), date)?;
        Some(begun + self.length)
    }

    /// When the next one begins.
    pub fn next(&self, date: UnixMillis) -> Option<UnixMillis> {
        self.calendar.next_after(date)
    }

    /// When it opens or closes next.
    pub fn next_edge(&self, date: UnixMillis) -> Option<UnixMillis> {
        self.open_until(date).or_else(|| self.next(date))
    }
}

impl Member {
    /// When the maintenance window ends that is open at that date, if one is.
    pub fn maintained_until(&self, date: UnixMillis) -> Option<UnixMillis> {
        let windows = self.maintenance.iter().filter_map(|window| window.window().ok());
        windows.filter_map(|window| window.open_until(date)).max()
    }
}

impl State {
    /// Adds a window, or ends all of them. One of the same schedule takes the place of the one before.
    pub(super) fn maintain(&mut self, at: Fence, node: NodeId, window: Option<&Maintenance>) -> Result<(), Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::UnknownMember(node))?;
        let Some(window) = window else {
            member.maintenance.clear();
            self.pool_fence = at;
            return Ok(());
        };
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&window.length) {
            let message = format!("{:?}; expected at least a minute and at most a week (168h)", window.length);
            return Err(Refusal::Invalid { field: "for".into(), message });
        }
        let same = member.maintenance.iter().position(|known| known.schedule == window.schedule);
        if same.is_none() && member.maintenance.len() >= WINDOWS_MAX {
            return Err(Refusal::Full(WINDOWS_MAX, format!("maintenance windows of {}", member.name)));
        }
        member.maintenance.retain(|known| known.schedule != window.schedule);
        member.maintenance.push(window.clone());
        self.pool_fence = at;
        Ok(())
    }
}
