//! Maintenance windows: machines that are drained from time to time, by the date.

use crate::{machines::MachineId, mirror::Scheduler};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Maintenance, Millis, UnixMillis, Window};

/// The windows of all machines.
#[derive(Default)]
pub(crate) struct Windows {
    of: BTreeMap<MachineId, Vec<(Maintenance, Option<Window>)>>,
    /// When a machine is to be looked at next.
    edges: BTreeSet<(UnixMillis, MachineId)>,
    /// The date at which it was looked last.
    looked: UnixMillis,
}

impl Windows {
    /// Reads the windows of a machine.
    pub(crate) fn read(&mut self, at: MachineId, windows: &[Maintenance]) {
        let known = self.of.get(&at).map_or(&[][..], Vec::as_slice);
        if known.iter().map(|(known, _)| known).eq(windows) {
            return;
        }
        // One that cannot be read, since it comes from a node with newer time zones, is never open here.
        let compiled = windows.iter().map(|window| (window.clone(), window.window().ok())).collect();
        self.of.insert(at, compiled);
        self.edges.retain(|(_, known)| *known != at);
        self.edges.insert((UnixMillis::default(), at));
    }

    /// The machine is none any more.
    pub(crate) fn forget(&mut self, at: MachineId) {
        if self.of.remove(&at).is_some() {
            self.edges.retain(|(_, known)| *known != at);
        }
    }

    /// Machines whose windows may have opened or closed.
    fn due(&mut self, date: UnixMillis) -> Vec<MachineId> {
        if date < self.looked {
            // The clock was set back: what was open may not be, and the other way round.
            self.edges = self.of.keys().map(|at| (UnixMillis::default(), *at)).collect();
        }
        self.looked = date;
        let later = self.edges.split_off(&(UnixMillis(date.0.saturating_add(1)), MachineId::MIN));
        std::mem::replace(&mut self.edges, later).into_iter().map(|(_, at)| at).collect()
    }
}

impl Scheduler {
    /// Opens and closes windows. Gives when that is to be done again, by the leader's time.
    pub(crate) fn read_windows(&mut self, now: Millis, date: UnixMillis) -> Option<Millis> {
        if self.windows.of.is_empty() || date == UnixMillis::default() {
            return None;
        }
        for at in self.windows.due(date) {
            let windows = self.windows.of.get(&at).into_iter().flatten().filter_map(|(_, window)| window.as_ref());
            let (mut until, mut next): (Option<UnixMillis>, Option<UnixMillis>) = (None, None);
            for window in windows {
                until = until.max(window.open_until(date));
                next = next.into_iter().chain(window.next_edge(date)).min();
            }
            self.windows.edges.extend(next.map(|next| (next, at)));
            self.maintain(at, until);
        }
        let (next, _) = self.windows.edges.first()?;
        Some(now + Duration::from_millis(next.0.saturating_sub(date.0)))
    }
}
