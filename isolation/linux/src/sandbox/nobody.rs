//! Being nobody on the machine: a user namespace that knows one user and one group.
//!
//! It is the program's alone. All else that the task has, its view of the files above all, belongs to the machine's root,
//! so that the task has no rights over it, whatever it is inside.

use super::init::end;
use crate::{
    confine::resolve,
    sys::{self, Birth, New, SingleThread},
};
use rustix::{
    process::{Gid, Pid, Signal, Uid, getpid, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};
use taffeta_isolation_plan::TaskSpec;

/// Root, for a task that names no user.
const ROOT: u32 = 0;

/// The namespace, and who a task is inside.
#[derive(Debug)]
pub(crate) struct Nobody {
    namespace: OwnedFd,
    uid: u32,
    gid: u32,
}

impl Nobody {
    /// Makes one in which the task's user is `id` on the machine. The namespace lives as long as somebody is in it, or this.
    pub(super) fn make(alone: SingleThread, spec: &TaskSpec, id: u32) -> io::Result<Self> {
        let (uid, gid) = inside(spec)?;
        let birth = Birth { new: vec![New::User], ..Birth::default() };
        let parent = getpid();
        let born = birth.give(alone, |_| {
            // Not even the run's lock, which this process would keep if the shim were killed now.
            let _ = sys::close_all_but(&[]);
            let told = set_parent_process_death_signal(Some(Signal::KILL));
            // A parent that died before that call will never send it.
            if told.is_err() || getppid() != Some(parent) { 1 } else { sys::sleep_for_ever() }
        })?;
        let process = format!("/proc/{}", number(born.pid));
        let made = fs::write(format!("{process}/uid_map"), format!("{uid} {id} 1"))
            .and_then(|()| fs::write(format!("{process}/gid_map"), format!("{gid} {id} 1")))
            .and_then(|()| File::open(format!("{process}/ns/user")));
        end(born.pid, &born.fd);
        Ok(Self { namespace: made?.into(), uid, gid })
    }

    /// The one in which a process is. The caller makes sure that the number is still the process's.
    pub(crate) fn of(process: u32, spec: &TaskSpec) -> io::Result<Self> {
        let (uid, gid) = inside(spec)?;
        let namespace = File::open(format!("/proc/{process}/ns/user"))?.into();
        Ok(Self { namespace, uid, gid })
    }

    /// The namespace, whose ids own what is the task's.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Becomes the task's user.
    pub(super) fn become_it(&self) -> io::Result<()> {
        move_into_link_name_space(self.namespace(), Some(LinkNameSpaceType::User))?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[])?; // no other group exists inside
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }
}

fn inside(spec: &TaskSpec) -> io::Result<(u32, u32)> {
    let ids = spec.user.as_ref().map(resolve).transpose()?;
    Ok(ids.map_or((ROOT, ROOT), |ids| (ids.uid, ids.gid)))
}

/// The number of a process, for paths below `/proc`.
pub(super) fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
