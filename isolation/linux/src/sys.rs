//! The system calls that neither the standard library nor rustix wraps, each behind a safe function.
#![allow(unsafe_code, reason = "fork, signal masks and what runs between fork and exec have no safe form")]

mod clone;
mod mounts;

pub(crate) use clone::{Birth, Born, New};
pub(crate) use mounts::{Attributes, Which};

use rustix::{
    fs::Mode,
    io::{Errno, FdFlags, fcntl_setfd, write},
    mount::{MountPropagationFlags, mount_change},
    process::{Pid, Signal, chdir, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid, umask},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
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

/// Proof that this process has one thread, so that a copy of it may run any code: with more, a lock that another holds
/// would stay locked in the copy for ever. Nothing in a process that has looked may start a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleThread(());

impl SingleThread {
    /// Looks.
    pub(crate) fn check() -> io::Result<Self> {
        let threads = fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            return Err(io::Error::other(format!("the shim must be alone in its process, found {threads} threads")));
        }
        Ok(Self(()))
    }
}

/// Forks.
pub(crate) fn fork(_alone: SingleThread) -> io::Result<Fork> {
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

/// Lets the kernel reap children by itself, whoever becomes one.
pub(crate) fn reap_unseen() {
    // SAFETY: SIG_IGN is no handler of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Does nothing until a signal ends this process.
pub(crate) fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing, and touches nothing of this process.
        unsafe { libc::pause() };
    }
}

/// Closes all files of this process above the standard three, but these. The process must never use one of the others
/// again, nor drop what owns it.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let ends = kept.iter().map(|fd| fd.saturating_sub(1)).chain([u32::MAX]);
    let begins = std::iter::once(3).chain(kept.iter().map(|fd| fd + 1));
    for (first, last) in begins.zip(ends) {
        // SAFETY: no pointer is passed; by this function's contract nothing here relies on these files any more.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes a file in this process, which is a copy of the one that owns it, and ends without ever using or dropping it.
pub(crate) fn close_in_copy(file: BorrowedFd<'_>) {
    // SAFETY: by this function's contract nothing in this process relies on the file any more.
    unsafe { libc::close(file.as_raw_fd()) };
}

/// Gives the calling process these namespaces of its own; a new one of process ids is for its children.
pub(crate) fn part_from(kinds: &[New]) -> io::Result<()> {
    let flag = |new: &New| match new {
        New::User => UnshareFlags::NEWUSER,
        New::Pid => UnshareFlags::NEWPID,
        New::Mount => UnshareFlags::NEWNS,
        New::Ipc => UnshareFlags::NEWIPC,
        New::Uts => UnshareFlags::NEWUTS,
    };
    let flags = kinds.iter().map(flag).collect::<UnshareFlags>();
    // SAFETY: no file descriptor changes its meaning by any of these.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// Blocks every signal, and gives a file from which they are read.
pub(crate) fn all_signals() -> io::Result<OwnedFd> {
    // SAFETY: `mask` is written by sigfillset before it is read, and outlives the calls; the returned number is a file that
    // nobody else owns, and is checked first.
    unsafe {
        let mut mask = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut mask);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Signals that have come, as far as a process sent them: what a terminal sends goes to all that it has.
pub(crate) fn signals_sent(from: &OwnedFd) -> Vec<i32> {
    let mut sent = vec![];
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    while rustix::io::read(from, &mut info).is_ok_and(|n| n == info.len()) {
        // SAFETY: the kernel has filled all of it, any bytes are valid in this structure of integers, and reading it
        // unaligned asks nothing of the array.
        let info = unsafe { std::ptr::read_unaligned(info.as_ptr().cast::<libc::signalfd_siginfo>()) };
        if info.ssi_code <= 0 {
            sent.extend(i32::try_from(info.ssi_signo));
        }
    }
    sent
}

/// Ends this process as one that the signal has ended.
pub(crate) fn end_by(signal: i32) -> ! {
    reset_signals();
    // SAFETY: sends a signal to this process; the default action of those that end processes ends it.
    unsafe {
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}

/// Lets a command have this file beside the standard three, under the same number.
pub(crate) fn lend(command: &mut Command, file: OwnedFd) {
    // SAFETY: the hook makes one system call.
    unsafe { command.pre_exec(move || Ok(fcntl_setfd(&file, FdFlags::empty())?)) };
}

/// The file of this number, which [`lend`] has given to this process; it goes no further.
pub(crate) fn borrowed(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the number comes from the command line that the agent has made; nothing else in this process owns it.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&file, FdFlags::CLOEXEC)?;
    Ok(file)
}

/// Gives up the terminal that this session has, so that another can have it.
pub(crate) fn leave_terminal() {
    // SAFETY: no pointer is passed. What is no terminal, or another session's, gives an error and stays as it was.
    unsafe { libc::ioctl(0, libc::TIOCNOTTY) };
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
    part_from(&[New::Mount])?;
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

/// Makes `command` do this as the last thing before it becomes the program. The command must be one that is executed in
/// this process, which has one thread.
pub(crate) fn before_exec(command: &mut Command, last: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: `CommandExt::exec` forks nothing: the hook runs in this process, where any code may run.
    unsafe { command.pre_exec(last) };
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
pub(crate) fn reset_signals() {
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
