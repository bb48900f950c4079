//! The end of an exclusive task's lease, as its shim keeps to it.
//!
//! The shim needs nobody for this: neither the agent, which may be dead or stopped, nor the network. The clock goes on while
//! the machine is suspended, and the timer is due at once when it wakes.

use rustix::{
    io::read,
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    },
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};
use taffeta_model::BootMillis;

/// Now, since the machine was booted, the time included that it was suspended.
pub(crate) fn boot_time() -> BootMillis {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let millis = tv_sec.saturating_mul(1_000).saturating_add(tv_nsec / 1_000_000);
    BootMillis(u64::try_from(millis).unwrap_or_default())
}

/// What is to be done to the task now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// It is told to end, once.
    Terminate,
    /// It is killed, again and again until nothing is left.
    Kill,
}

/// The lease of one task.
#[derive(Debug)]
pub(crate) struct Lease {
    until: BootMillis,
    grace: Duration,
    told: bool,
    timer: OwnedFd,
}

impl Lease {
    /// A lease until then, of which the last `grace` is for the task to end by itself.
    pub(crate) fn new(until: BootMillis, grace: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let lease = Self { until, grace, told: false, timer };
        lease.set()?;
        Ok(lease)
    }

    /// Readable when something may be due.
    pub(crate) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Whether the task was told to end, or killed.
    pub(crate) fn has_ended(&self) -> bool {
        self.told
    }

    /// Lets it end later.
    pub(crate) fn extend(&mut self, until: BootMillis) -> io::Result<()> {
        self.until = until.max(self.until);
        self.set()
    }

    /// What is due now.
    pub(crate) fn due(&mut self) -> Due {
        let mut times = [0; 8];
        while read(&self.timer, &mut times).is_ok_and(|n| n > 0) {}
        let left = self.until.left(boot_time());
        if left.is_zero() {
            self.told = true;
            return Due::Kill;
        }
        if left > self.grace || self.told {
            return Due::Nothing;
        }
        self.told = true;
        let _ = self.set(); // the other time of the two; a timer that was set once can be set again
        Due::Terminate
    }

    fn set(&self) -> io::Result<()> {
        let before = if self.told { Duration::ZERO } else { self.grace };
        let at = Duration::from_millis(self.until.0).saturating_sub(before).max(Duration::from_millis(1)); // 0 means never
        let it_value =
            Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(at.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
