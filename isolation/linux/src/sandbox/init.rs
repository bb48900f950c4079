//! The first process of a task's pid namespace: a copy of the shim that makes the task's view of the files, and then sleeps.
//!
//! It starts nothing. The task's program is the shim's own child, made inside the namespace afterwards, so that the shim
//! gets its exit status first hand and no signal has to be passed on. What the program leaves behind becomes init's, whose
//! dead the kernel reaps; and when init dies, as it does with the shim, the kernel kills all that is in the namespace.

use super::view;
use crate::sys::{self, Birth, Born, New, SingleThread};
use rustix::{
    fs::Mode,
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        Gid, Pid, Signal, Uid, WaitOptions, getegid, geteuid, pidfd_send_signal, set_parent_process_death_signal,
        umask, waitpid,
    },
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};
use taffeta_isolation_plan::{Identity, Namespace, Sandbox};

/// What it says when all is ready.
const READY: &str = "ready";

/// The process, and the pipe on which it tells how it went.
#[derive(Debug)]
pub(super) struct Init {
    born: Born,
    news: File,
}

impl Init {
    /// Makes it. It works on by itself; see [`Init::ready`]. `ids` is the user namespace whose ids own what is the task's.
    pub(super) fn make(alone: SingleThread, sandbox: &Sandbox, ids: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let (news, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        let birth = Birth { new: namespaces(sandbox), ..Birth::default() };
        let owner = Owner::this();
        let born = birth.give(alone, |_| live(sandbox, owner, ids, tell))?;
        Ok(Self { born, news: news.into() })
    }

    /// Waits until the namespaces are as they will be; the error says what could not be done.
    pub(super) fn ready(&mut self) -> Result<(), String> {
        let mut told = String::new();
        self.news.read_to_string(&mut told).map_err(|e| e.to_string())?;
        match told.as_str() {
            READY => Ok(()),
            "" => Err("the first process of its pid namespace died".into()),
            why => Err(why.into()),
        }
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.born.fd
    }

    pub(super) fn pid(&self) -> Pid {
        self.born.pid
    }

    /// In a copy of the shim that never comes back to this: the shim alone hears init's news, or init would not notice that
    /// the shim was killed before it could be told.
    pub(super) fn leave_news(&self) {
        sys::close_in_copy(self.news.as_fd());
    }

    pub(super) fn into_born(self) -> Born {
        self.born
    }

    /// Kills it, and with it all that is in its namespace.
    pub(super) fn end(self) {
        end(self.born.pid, &self.born.fd);
    }
}

/// Kills a child and reaps it.
pub(super) fn end(pid: Pid, fd: &OwnedFd) {
    let _ = pidfd_send_signal(fd, Signal::KILL);
    reap(pid);
}

/// Waits until a child has ended, and lets go of it.
pub(super) fn reap(pid: Pid) {
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

/// All namespaces of the sandbox, in a user namespace if it takes that to have them.
pub(super) fn namespaces(sandbox: &Sandbox) -> Vec<New> {
    let kind = |namespace: &Namespace| match namespace {
        Namespace::Pid => New::Pid,
        Namespace::Mount => New::Mount,
        Namespace::Ipc => New::Ipc,
        Namespace::Uts => New::Uts,
    };
    let user = match sandbox.identity {
        Identity::Agent => Some(New::User),
        Identity::Machine | Identity::Unprivileged(_) => None, // the latter is for the program alone
    };
    user.into_iter().chain(sandbox.namespaces.iter().map(kind)).collect()
}

/// Who a process is before it is in a user namespace, where it is nobody at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    pub(super) fn this() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }

    /// Maps its user and group to themselves: the one mapping that needs no rights (`user_namespaces(7)`).
    fn keep_ids(self) -> io::Result<()> {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {0} 1", self.uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{0} {0} 1", self.gid.as_raw()))
    }
}

/// Makes the namespaces that the calling process has just begun ready for the program.
pub(super) fn furnish(sandbox: &Sandbox, owner: Owner, ids: Option<BorrowedFd<'_>>) -> Result<(), String> {
    umask(Mode::empty()); // modes are meant as they are written
    match sandbox.identity {
        Identity::Agent => owner.keep_ids().map_err(|e| format!("cannot keep its user in a user namespace: {e}"))?,
        Identity::Machine | Identity::Unprivileged(_) => {}
    }
    if sandbox.has(Namespace::Mount) { view::perform(&sandbox.view, ids) } else { Ok(()) }
}

fn live(sandbox: &Sandbox, owner: Owner, ids: Option<BorrowedFd<'_>>, tell: OwnedFd) -> i32 {
    let kept: Vec<_> = [Some(tell.as_fd()), ids].into_iter().flatten().collect();
    let begun = sys::close_all_but(&kept).and_then(|()| {
        rustix::thread::set_name(c"taffeta-init")?;
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    });
    let made = begun.map_err(|e| e.to_string()).and_then(|()| furnish(sandbox, owner, ids));
    let news = made.as_ref().map_or_else(String::as_str, |()| READY);
    let mut tell = File::from(tell);
    // A shim that died before its death would be told has left a pipe without a reader.
    if tell.write_all(news.as_bytes()).is_err() || made.is_err() {
        return 1;
    }
    drop(tell);
    let _ = sys::close_all_but(&[]);
    sys::reap_unseen();
    sys::sleep_for_ever()
}
