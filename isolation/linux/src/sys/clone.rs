//! Making processes with what only clone3(2) gives at once: namespaces, a cgroup, a sibling's place, a file to know it by.

use super::SingleThread;
use rustix::process::Pid;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`, since 5.7.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Status of a process whose life panicked: what Rust's own processes end with.
const PANICKED: i32 = 101;

/// A namespace that a new process begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum New {
    User,
    Pid,
    Mount,
    Ipc,
    Uts,
}

impl New {
    fn flag(self) -> u64 {
        u64::from(
            match self {
                Self::User => libc::CLONE_NEWUSER,
                Self::Pid => libc::CLONE_NEWPID,
                Self::Mount => libc::CLONE_NEWNS,
                Self::Ipc => libc::CLONE_NEWIPC,
                Self::Uts => libc::CLONE_NEWUTS,
            }
            .cast_unsigned(),
        )
    }
}

/// What a new process is to have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Birth<'a> {
    /// Namespaces of its own.
    pub(crate) new: Vec<New>,
    /// The v2 cgroup in which it begins, as an open folder.
    pub(crate) group: Option<BorrowedFd<'a>>,
    /// Whether it is a child of the caller's parent, not of the caller.
    pub(crate) sibling: bool,
}

/// A new process. Its number is its own until its parent has reaped it.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: Pid,
    pub(crate) fd: OwnedFd,
}

impl Birth<'_> {
    /// Makes the process, which lives `life` and ends with its status; a panic ends it, too. `life` is told whether the
    /// process was born in the group: a kernel that does not know how makes it all the same.
    pub(crate) fn give(self, alone: SingleThread, life: impl FnOnce(bool) -> i32) -> io::Result<Born> {
        if self.group.is_none() {
            return self.try_to(alone)?.lead(|| life(false));
        }
        match self.try_to(alone) {
            Ok(side) => side.lead(|| life(true)),
            Err(_) => Birth { group: None, ..self }.try_to(alone)?.lead(|| life(false)),
        }
    }

    fn try_to(&self, _alone: SingleThread) -> io::Result<Side> {
        let mut pidfd: libc::c_int = -1;
        // SAFETY: all zero is a valid `clone_args`: integers, of which 0 means "not asked for".
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags =
            self.new.iter().fold(u64::from(libc::CLONE_PIDFD.cast_unsigned()), |flags, new| flags | new.flag());
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
        if self.sibling {
            args.flags |= u64::from(libc::CLONE_PARENT.cast_unsigned());
            args.exit_signal = 0; // the kernel wants none here, and takes the caller's
        }
        if let Some(group) = self.group {
            args.flags |= INTO_CGROUP;
            args.cgroup = u64::from(group.as_raw_fd().cast_unsigned());
        }
        // SAFETY: without CLONE_VM the child has a copy of everything, its stack included, and as this process has one
        // thread (`SingleThread`), no lock is held in the copy: it may run any code. `args` and `pidfd` outlive the call.
        match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(Side::Child),
            pid => {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                let pid = pid.expect("the kernel gives positive process ids");
                // SAFETY: with CLONE_PIDFD the kernel has stored the number of a new file, which nobody else owns.
                Ok(Side::Parent(Born { pid, fd: unsafe { OwnedFd::from_raw_fd(pidfd) } }))
            }
        }
    }
}

/// Where a clone3(2) has returned.
enum Side {
    Parent(Born),
    Child,
}

impl Side {
    /// In the child this does not return.
    fn lead(self, life: impl FnOnce() -> i32) -> io::Result<Born> {
        match self {
            Self::Parent(born) => Ok(born),
            Self::Child => {
                let status = catch_unwind(AssertUnwindSafe(life)).unwrap_or(PANICKED);
                // SAFETY: ends the process without running what the parent has yet to run at its own exit.
                unsafe { libc::_exit(status) }
            }
        }
    }
}
