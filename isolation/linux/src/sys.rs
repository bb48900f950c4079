//! The system calls that neither the standard library nor rustix wraps, each behind a safe function.
#![allow(unsafe_code, reason = "fork, signal masks and what runs between fork and exec have no safe form")]

use rustix::{
    fs::Mode,
    io::{Errno, write},
    mount::{MountPropagationFlags, mount_change},
    process::{Pid, Signal, chdir, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid, umask},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
};
use tokio::io::unix::AsyncFd;

/// Which side of [`fork`] this is.
pub(crate) enum Fork {
    /// The caller.
    Parent,
    /// The new process.
    Child,
}

/// Closes all files but the standard three. Only for a process that has just begun and opened nothing itself.
pub(crate) fn close_inherited_files() -> io::Result<()> {
    // SAFETY: no pointer is passed. Nothing in this process owns a file above 2 yet: `shim_main` calls this first.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Forks, unless there is more than one thread: then a lock held by another would stay locked in the child for ever.
pub(crate) fn fork() -> io::Result<Fork> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("the shim must be alone in its process, found {threads} threads")));
    }
    // SAFETY: there is one thread, so the child is a full copy and may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Ignores the signals that must not end a supervisor.
pub(crate) fn ignore_hangups() {
    for signal in [libc::SIGHUP, libc::SIGPIPE, libc::SIGINT] {
        // SAFETY: SIG_IGN is no handler of ours; there is nothing that could run at a bad time.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Turns SIGCHLD into a file that becomes readable, so that one `poll` sees everything.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: `mask` is written by sigemptyset before it is read, and outlives the calls; the returned number is a file
    // that nobody else owns, and is checked first.
    unsafe {
        let mut mask = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// What a new process does to itself before it becomes the program.
pub(crate) struct Entry {
    /// The `cgroup.procs` files it enters, opened for writing before the fork.
    pub(crate) groups: Vec<OwnedFd>,
    /// The parent whose death is to kill it.
    pub(crate) dies_with: Option<Pid>,
    /// The mounts that it is to see, if not its parent's.
    pub(crate) mounts: Option<Mounts>,
}

/// Another process's view of the file system, and the folder in which to be there.
pub(crate) struct Mounts {
    of: OwnedFd,
    folder: CString,
}

impl Mounts {
    /// `of` is a `/proc/PID/ns/mnt`, opened.
    pub(crate) fn new(of: OwnedFd, folder: &Path) -> io::Result<Self> {
        Ok(Self { of, folder: CString::new(folder.as_os_str().as_bytes())? })
    }
}

/// Gives the calling thread, and what it starts, a view of the file system of its own: what is mounted in it from now on
/// is seen by nobody else, and goes with the last process that sees it. What others mount is still seen.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: only the mount table is unshared (and with it the working folder of this thread); no file descriptor
    // changes its meaning.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

impl Entry {
    /// Makes `command` do so.
    pub(crate) fn install(self, command: &mut Command) {
        // SAFETY: the hook makes system calls only. It neither allocates nor locks, so it may run between fork and exec of
        // a process with many threads.
        unsafe { command.pre_exec(move || self.enter().map_err(io::Error::from)) };
    }

    fn enter(&self) -> Result<(), Errno> {
        if let Some(parent) = self.dies_with {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // A parent that died before that call will never send it.
            if getppid() != Some(parent) {
                return Err(Errno::SRCH);
            }
        }
        for procs in &self.groups {
            write(procs, b"0")?; // "0" is the writer itself: no process is ever outside of its group
        }
        if let Some(Mounts { of, folder }) = &self.mounts {
            move_into_link_name_space(of.as_fd(), Some(LinkNameSpaceType::Mount))?;
            chdir(folder.as_c_str())?; // it leads to the root of what is seen now
        }
        setsid()?;
        umask(Mode::from_raw_mode(0o022));
        reset_signals();
        Ok(())
    }
}

/// Gives every signal its default action and blocks none: both are inherited through exec.
fn reset_signals() {
    /// Bytes of the kernel's signal set.
    const SET_BYTES: usize = 8;
    // The kernel's `struct sigaction` for "the default": handler, flags, restorer and mask are all zero.
    let default = [0u64; 4];
    // SAFETY: `default` and `mask` are whole, initialised and outlive the calls, which only read them. The plain system
    // call is used because the C library hides two signals from its own. SIGKILL and SIGSTOP give an error, rightly.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), SET_BYTES);
        }
        let mut mask = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
    }
}

/// Gives `command` this terminal as its own. It must lead a session of its own by then, as [`Entry`] makes it.
pub(crate) fn take_terminal(command: &mut Command, terminal: OwnedFd) {
    // SAFETY: the hook makes one system call. It neither allocates nor locks, so it may run between fork and exec of a process
    // with many threads. The file is moved into it, and open in the child as it is here.
    unsafe { command.pre_exec(move || Ok(ioctl_tiocsctty(&terminal)?)) };
}

/// Lets the runtime that this is called in watch a file.
pub(crate) fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the file that it says, and stays that, as long as it lives.
    Ok(unsafe { AsyncFd::register(file)? })
}
