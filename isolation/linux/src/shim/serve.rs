//! The shim's life while the task runs: one loop over everything that can happen.

use super::logs::Logs;
use crate::{
    control::{Action, LINE_BYTES_MAX, Reply, line, parse},
    ending::{Ending, OutOfMemory, oom_kills},
    lease::{Due, Lease},
    leftover::kill_children,
    population::Population,
    record::{ExitRecord, SOCKET, StateRecord, VERSION, date, write_exit},
    sandbox::Running,
    secrets,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_send_signal, wait},
};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::Duration,
};
use taffeta_model::{BootMillis, Exit, UnixMillis};

/// Most connections at once: an agent holds one to watch and opens a short one for each request.
const CONNECTIONS_MAX: usize = 32;

/// How often something is tried again that no file announces.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// The same where a file announces it, in case that what was announced did not help.
const TICK_LONG: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Ticks to wait after the memory limit was hit for the kernel to count the kill: two seconds. It may also make room.
const OOM_TICKS: u32 = 100;

/// One running task.
#[derive(Debug)]
pub(super) struct Shim {
    folder: PathBuf,
    state: StateRecord,
    /// The main process; it is what `state.task` numbers.
    task: OwnedFd,
    /// The first process of its pid namespace: with it dies all that is in there.
    init: Option<OwnedFd>,
    listener: UnixListener,
    signals: OwnedFd,
    oom: Option<OutOfMemory>,
    oom_ticks: u32,
    /// Tells when nothing is left in the groups, where they have a v2 folder.
    population: Option<Population>,
    /// What it said last: any change since then wakes the loop.
    inside: bool,
    /// Whether its lease has ended: it is killed in each round until it has.
    killing: bool,
    lease: Option<Lease>,
    /// How the main process ended. While this is `None` it has not been reaped, and its number is its own.
    ended: Option<(WaitStatus, UnixMillis)>,
    connections: Vec<Connection>,
    logs: Logs,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// At most one line.
    input: Vec<u8>,
    watches: bool,
}

impl Shim {
    pub(super) fn new(
        folder: PathBuf,
        state: StateRecord,
        running: Running,
        listener: UnixListener,
        signals: OwnedFd,
        oom: Option<OutOfMemory>,
        (lease, logs): (Option<Lease>, Logs),
    ) -> Self {
        let population = state.groups.population();
        Self {
            folder,
            state,
            task: running.task.fd,
            init: running.init.map(|init| init.fd),
            listener,
            signals,
            oom,
            oom_ticks: 0,
            population,
            inside: false,
            killing: false,
            lease,
            ended: None,
            connections: vec![],
            logs,
        }
    }

    /// Returns when the task has ended, nothing of it is left, and that is on disk. All files are non-blocking, so each
    /// round simply tries all of them.
    pub(super) fn run(mut self) -> ExitCode {
        loop {
            self.sleep();
            self.inside = self.population.as_ref().is_some_and(Population::look);
            let alone = self.reap();
            self.check_memory();
            self.check_lease();
            self.logs.pump(date());
            if let Some((status, at)) = self.ended {
                self.kill_namespace();
                if alone && self.state.groups.is_empty() {
                    return self.finish(status, at);
                }
                self.state.groups.kill();
                kill_children();
            }
            self.accept();
            self.serve();
        }
    }

    fn sleep(&self) {
        let watched = self.connections.iter().map(|c| c.stream.as_fd());
        let files = [self.signals.as_fd(), self.listener.as_fd()].into_iter();
        let files = files.chain(self.oom.as_ref().map(AsFd::as_fd)).chain(self.lease.as_ref().map(Lease::timer));
        let files = files.chain(watched).chain(self.logs.pipes());
        let mut files: Vec<_> = files.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        files.extend(self.population.as_ref().map(Population::watched));
        let hurries = self.oom_ticks > 0 || self.logs.is_slowed_down();
        let waits_for_end = self.ended.is_some() || self.killing;
        let tick = match waits_for_end && self.inside && !hurries {
            true => Some(&TICK_LONG), // the group says when it is empty
            false => (hurries || waits_for_end).then_some(&TICK),
        };
        let _ = poll(&mut files, tick); // an interruption is a round without news
    }

    /// Collects the dead; true if no child is left, dead or alive.
    fn reap(&mut self) -> bool {
        let mut news = [0u8; 512]; // what exactly was signalled does not matter: one signal may stand for many
        while read(&self.signals, &mut news).is_ok_and(|n| n > 0) {}
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == self.state.task.pid => {
                    if self.ended.is_none() {
                        self.ended = Some((status, date()));
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true, // ECHILD
            }
        }
    }

    /// On v1 the kernel kills one process of a group that is out of memory; the rest would stay, half a task.
    fn check_memory(&mut self) {
        if self.oom.as_mut().is_some_and(OutOfMemory::news) {
            self.oom_ticks = OOM_TICKS;
        }
        if self.oom_ticks > 0 {
            self.oom_ticks -= 1;
            if oom_kills(&self.state.groups) > 0 {
                self.oom_ticks = 0;
                self.kill();
            }
        }
    }

    fn check_lease(&mut self) {
        match self.lease.as_mut().filter(|_| self.ended.is_none()).map_or(Due::Nothing, Lease::due) {
            Due::Nothing => {}
            Due::Terminate => drop(pidfd_send_signal(&self.task, Signal::TERM)),
            Due::Kill => {
                self.killing = true;
                self.kill();
            }
        }
    }

    fn kill_namespace(&self) {
        if let Some(init) = &self.init {
            let _ = pidfd_send_signal(init, Signal::KILL);
        }
    }

    fn kill(&self) {
        if self.ended.is_some() {
            return; // every round kills already
        }
        self.kill_namespace();
        self.state.groups.kill();
        if self.state.groups.is_none() {
            // The rest of the tree is met when the main process has gone. Its number is its own: see `ended`.
            let group = i32::try_from(self.state.task.pid).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        }
        let _ = pidfd_send_signal(&self.task, Signal::KILL);
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.connections.len() < CONNECTIONS_MAX && stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { stream, input: vec![], watches: false });
            }
        }
    }

    fn serve(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        connections.retain_mut(|connection| match connection.receive() {
            Received::Nothing => true,
            Received::Gone => false,
            Received::Line(line) => self.answer(connection, &line),
        });
        self.connections = connections;
    }

    /// Does what was asked; false if the connection is done with.
    fn answer(&mut self, connection: &mut Connection, request: &[u8]) -> bool {
        let done = parse(request).and_then(|action| {
            match action {
                Action::Status => {}
                Action::Watch => connection.watches = true,
                Action::Kill => self.kill(),
                Action::Signal { n } => self.signal(n)?,
                Action::Extend { until } => self.extend(BootMillis(until))?,
            }
            Ok(())
        });
        let pid = (done.is_ok() && self.ended.is_none()).then_some(self.state.task.pid);
        connection.send(&Reply { v: VERSION, pid, exit: None, error: done.err() })
    }

    fn signal(&self, n: i32) -> Result<(), String> {
        let signal = Signal::from_named_raw(n).ok_or_else(|| format!("{n} is no signal"))?;
        pidfd_send_signal(&self.task, signal).map_err(|e| match e {
            Errno::SRCH => "the task has ended".into(),
            other => other.to_string(),
        })
    }

    fn extend(&mut self, until: BootMillis) -> Result<(), String> {
        let lease = self.lease.as_mut().ok_or("the task has no lease")?;
        lease.extend(until).map_err(|e| e.to_string())
    }

    fn finish(mut self, status: WaitStatus, at: UnixMillis) -> ExitCode {
        // Read now, as the counters go with the group; never guessed from the signal.
        let ending = Ending::read(&self.state.groups, self.oom.as_mut().is_some_and(OutOfMemory::heard));
        let by_lease = self.lease.as_ref().is_some_and(Lease::has_ended);
        let exit = match (status.exit_status(), status.terminating_signal()) {
            // Also with a status of its own: it was told to end, and did.
            _ if by_lease => Exit::LeaseEnded,
            (Some(0), _) => Exit::Code(0),
            _ if ending.exhausted.is_some() => Exit::OutOfMemory,
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Lost,
        };
        // Before the end is told: nobody reads them any more. What stays goes with the folder.
        let _ = secrets::remove(&self.folder);
        // What it wrote is there in full when its end is told; of what cannot be stored, the amount.
        self.logs.drain(date());
        let record = ExitRecord::new(&exit, at).with(&ending);
        // A full disk may have room again; a folder that is gone takes the run with it.
        while let Err(e) = write_exit(&self.folder, &record) {
            if e.kind() == ErrorKind::NotFound {
                return ExitCode::FAILURE;
            }
            sleep(Duration::from_secs(1));
            self.logs.settle(date());
        }
        let last = Reply { v: VERSION, exit: Some(record), ..Reply::default() };
        self.connections.iter_mut().filter(|c| c.watches).for_each(|c| {
            c.send(&last);
        });
        let _ = fs::remove_file(self.folder.join(SOCKET));
        ExitCode::SUCCESS
    }
}

enum Received {
    Nothing,
    Gone,
    Line(Vec<u8>),
}

impl Connection {
    fn receive(&mut self) -> Received {
        let mut bytes = [0u8; LINE_BYTES_MAX];
        match self.stream.read(&mut bytes) {
            Ok(0) => Received::Gone,
            Ok(n) => {
                self.input.extend_from_slice(&bytes[..n]);
                match self.input.iter().position(|b| *b == b'\n') {
                    Some(end) => Received::Line(self.input.drain(..=end).collect()),
                    None if self.input.len() > LINE_BYTES_MAX => Received::Gone,
                    None => Received::Nothing,
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Received::Nothing,
            Err(_) => Received::Gone,
        }
    }

    /// False if the other side has gone, or reads so slowly that a line does not fit into its buffer.
    fn send(&mut self, reply: &Reply) -> bool {
        self.stream.write_all(&line(reply)).is_ok()
    }
}
