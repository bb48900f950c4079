//! What Foca wants done, collected as values.

use crate::Identity;
use foca::{Notification, Runtime, Timer};
use std::time::Duration;

/// Collects what one call into Foca wants done.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) sends: Vec<(Identity, Vec<u8>)>,
    pub(crate) timers: Vec<(Timer<Identity>, Duration)>,
    /// Foca learnt that its identity is down, and is silent until it gets another.
    pub(crate) defunct: bool,
}

impl Runtime<Identity> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::Defunct => self.defunct = true,
            // The codec sees all of these pass, and suspicion, which has no notification.
            Notification::MemberUp(_)
            | Notification::MemberDown(_)
            | Notification::Rename(_, _)
            | Notification::Active
            | Notification::Idle
            | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}
