//! The sandbox of a task: namespaces, a view of the files, and a program that gives up what it need not have.
//!
//! The order of a start, in the shim: a process that becomes the first of the pid namespace makes the view, while another,
//! inside that namespace already, enters the cgroups, which can take the kernel ten milliseconds. When the view is there,
//! the latter joins it and becomes the program. What is to be done is data of `taffeta-isolation-plan`.

mod devices;
mod init;
mod nobody;
mod points;
mod probe;
mod program;
mod view;

pub(crate) use nobody::Nobody;
pub(crate) use probe::{PROBE, measures, probe_main, sweep_trials};
pub(crate) use program::{Place, Program, Stuck, joined_by_parent};

use crate::{
    confine::{self, Ids},
    group::{Groups, UNIFIED},
    sys::{self, Birth, Born, SingleThread},
};
use init::{Init, end, reap};
use nobody::number;
use program::{decode_told, encode_gaps};
use rustix::{
    io::{Errno, write},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, geteuid, getpid, pidfd_open, pidfd_send_signal},
    thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};
use taffeta_isolation_plan::{Confine, Identity, InForce, Namespace, Sandbox, TaskSpec};
use taffeta_model::Measure;

/// A task that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its program.
    pub(crate) task: Born,
    /// The first process of its pid namespace.
    pub(crate) init: Option<Born>,
    /// What is not in force of its isolation although the machine could do it, in words.
    pub(crate) gaps: Vec<String>,
}

/// What a task is started with.
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a TaskSpec,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) groups: &'a Groups,
    /// Its secrets among its variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Standard output and error.
    pub(crate) outputs: (OwnedFd, OwnedFd),
}

impl From<io::Error> for Stuck {
    fn from(e: io::Error) -> Self {
        Self::Sandbox(e.to_string())
    }
}

impl Start<'_> {
    /// Starts the task. After an error nothing of it is left. `begins` is told of its process, and of the first one of its
    /// pid namespace, before its program begins; if that fails, it does not.
    pub(crate) fn start(self, begins: impl FnOnce(Pid, Option<Pid>) -> io::Result<()>) -> Result<Running, Stuck> {
        let alone = SingleThread::check()?;
        let Start { spec, sandbox, groups, variables, outputs } = self;
        let ids = spec.user.as_ref().map(confine::resolve).transpose().map_err(|e| Stuck::Program(e.to_string()))?;
        match &ids {
            Some(ids) => confine::give(spec, ids)?,
            // Root that may not disregard permissions finds its way into nothing that was another user's before.
            None if geteuid().is_root() && sandbox.measures.contains(&Measure::Capabilities) => {
                confine::give_volumes(spec, &Ids::ROOT)?;
            }
            None => {}
        }
        let nobody = match sandbox.identity {
            Identity::Unprivileged(id) => Some(Nobody::make(alone, spec, id)?),
            Identity::Machine | Identity::Agent => None,
        };
        let doors = Doors::open(groups)?;
        let pids = sandbox.has(Namespace::Pid);
        let init = if pids { Some(Init::make(alone, sandbox, nobody.as_ref().map(Nobody::namespace))?) } else { None };
        let program = Program {
            spec,
            sandbox,
            confine: confine_of(spec, sandbox, Confine::of),
            run: &spec.run,
            variables,
            doors,
            ids,
            nobody: nobody.as_ref(),
            outputs: Some(outputs),
            leads: true,
            dies_with: (!pids).then(getpid),
        };
        launch(alone, program, init, begins)
    }
}

/// What a process of the task may still do. One that is nobody on the machine becomes its user by its namespace.
pub(crate) fn confine_of(
    spec: &TaskSpec,
    sandbox: &Sandbox,
    of: impl FnOnce(&TaskSpec, &InForce) -> Confine,
) -> Confine {
    let mut confine = of(spec, &sandbox.in_force());
    match sandbox.identity {
        Identity::Unprivileged(_) => confine.user = None,
        Identity::Machine | Identity::Agent => {}
    }
    confine
}

/// The ways into a run's groups.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The v2 group, in which a process can be born, and its `cgroup.procs`.
    unified: Option<(OwnedFd, OwnedFd)>,
    /// The `cgroup.procs` of the others.
    others: Vec<OwnedFd>,
}

impl Doors {
    pub(crate) fn open(groups: &Groups) -> io::Result<Self> {
        let (unified, others) = groups.0.iter().partition::<BTreeMap<_, _>, _>(|(name, _)| *name == UNIFIED);
        let owned = |part: BTreeMap<&String, &PathBuf>| {
            Groups(part.into_iter().map(|(name, folder)| (name.clone(), folder.clone())).collect())
        };
        let folder = unified.values().next().map(File::open).transpose()?;
        let door = owned(unified).open_entries()?.pop();
        Ok(Self { unified: folder.map(OwnedFd::from).zip(door), others: owned(others).open_entries()? })
    }

    /// The group in which a process can be born.
    fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|(folder, _)| folder.as_fd())
    }

    fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.others.iter().chain(self.unified.as_ref().map(|(_, door)| door)).map(AsFd::as_fd)
    }

    /// Puts the calling process into the groups. `born` says that it was born in the v2 group.
    fn enter(&self, born: bool) -> Result<(), Errno> {
        let unified = self.unified.as_ref().map(|(_, door)| door).filter(|_| !born);
        for door in unified.into_iter().chain(&self.others) {
            write(door, b"0")?; // "0" is the writer itself: no process is ever outside of its group
        }
        Ok(())
    }
}

fn launch(
    alone: SingleThread,
    program: Program<'_>,
    init: Option<Init>,
    begins: impl FnOnce(Pid, Option<Pid>) -> io::Result<()>,
) -> Result<Running, Stuck> {
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let born = give_birth(alone, program, init.as_ref(), wait, tell);
    let mut init = init;
    let task = match born {
        Ok(task) => task,
        Err(e) => {
            // No such process: the first one of the sandbox is dead already, and has told why.
            let dead = init.as_mut().filter(|_| e.raw_os_error() == Some(Errno::SRCH.raw_os_error()));
            let why = dead.and_then(|init| init.ready().err());
            let why = why.unwrap_or_else(|| format!("cannot make its process: {e}"));
            return Err(give_up(init, None, Stuck::Sandbox(why)));
        }
    };
    if let Some(Err(why)) = init.as_mut().map(Init::ready) {
        return Err(give_up(init, Some(task), Stuck::Sandbox(why)));
    }
    if let Err(e) = begins(task.pid, init.as_ref().map(Init::pid)) {
        return Err(give_up(init, Some(task), e.into()));
    }
    let mut go = File::from(go);
    let _ = go.write_all(b"g"); // a process that is gone is noticed at once
    drop(go);
    let mut why = String::new();
    File::from(told).read_to_string(&mut why)?;
    match decode_told(&why) {
        (gaps, None) => Ok(Running { task, init: init.map(Init::into_born), gaps }),
        (_, Some(stuck)) => Err(give_up(init, Some(task), stuck)),
    }
}

/// Makes the process that is to be the program; it waits until it reads something from `wait`.
fn give_birth(
    alone: SingleThread,
    program: Program<'_>,
    init: Option<&Init>,
    wait: OwnedFd,
    tell: OwnedFd,
) -> io::Result<Born> {
    let place = match init {
        Some(init) => Place::Of(init.fd().as_fd()),
        None if program.sandbox.namespaces.is_empty() => Place::Here,
        None => Place::New,
    };
    let sandbox = program.sandbox;
    // The group outlives the program's hold on it, which goes into the process.
    let group = program.birthplace()?;
    let birth = Birth { group: group.as_ref().map(AsFd::as_fd), ..Birth::default() };
    let life = move |in_group: bool| {
        let mut kept = program.files(place);
        kept.extend([wait.as_fd(), tell.as_fd()]);
        let closed = sys::close_all_but(&kept);
        let mut tell = File::from(tell);
        // A shim that died reads no more, and the process dies with it.
        let mut tell = |words: &str| drop(tell.write_all(words.as_bytes()));
        let stuck = match closed {
            Ok(()) => program.become_it(place, in_group, || waits(wait), |gaps| tell(&encode_gaps(gaps))),
            Err(e) => e.into(),
        };
        tell(&stuck.encode());
        1
    };
    match init {
        None => birth.give(alone, life),
        Some(init) => give_birth_inside(alone, birth, init, joined_by_parent(sandbox), life),
    }
}

/// A process is born into the pid namespace that its mother has chosen for her children, which does not change her own. This
/// process can choose, and take it back, as long as that is all that is to be chosen.
fn give_birth_inside(
    alone: SingleThread,
    birth: Birth<'_>,
    init: &Init,
    joined: ThreadNameSpaceType,
    life: impl FnOnce(bool) -> i32,
) -> io::Result<Born> {
    if joined != ThreadNameSpaceType::PROCESS_ID {
        return give_birth_by_mother(alone, birth, init, joined, life);
    }
    let own = File::open("/proc/self/ns/pid")?;
    move_into_thread_name_spaces(init.fd().as_fd(), joined)?;
    let born = birth.give(alone, life);
    let _ = move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID)); // it has no other children
    born
}

/// In a user namespace, which nobody leaves, there is a mother for it, who makes it her sibling, a child of this process, and
/// ends.
fn give_birth_by_mother(
    alone: SingleThread,
    birth: Birth<'_>,
    init: &Init,
    joined: ThreadNameSpaceType,
    life: impl FnOnce(bool) -> i32,
) -> io::Result<Born> {
    let (heard, say) = pipe_with(PipeFlags::CLOEXEC)?;
    let mother = Birth::default().give(alone, |_| {
        init.leave_news();
        let joined = move_into_thread_name_spaces(init.fd().as_fd(), joined).map_err(io::Error::from);
        let born = joined.and_then(|()| Birth { sibling: true, ..birth }.give(alone, life));
        let told = match &born {
            Ok(child) => number(child.pid).to_ne_bytes().to_vec(),
            Err(e) => e.raw_os_error().unwrap_or_default().wrapping_neg().to_ne_bytes().to_vec(),
        };
        let _ = File::from(say).write_all(&told);
        0
    })?;
    reap(mother.pid);
    let mut told = [0; 4];
    File::from(heard).read_exact(&mut told)?;
    let told = i32::from_ne_bytes(told);
    let pid =
        Pid::from_raw(told).filter(|_| told > 0).ok_or_else(|| io::Error::from_raw_os_error(told.wrapping_neg()))?;
    // A child of this process, which has not reaped it: the number is its own.
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(Born { pid, fd })
}

fn waits(wait: OwnedFd) -> io::Result<()> {
    let mut word = [0];
    let read = File::from(wait).read(&mut word)?;
    if read == 1 { Ok(()) } else { Err(io::Error::other("the shim died before the task ran")) }
}

/// Leaves nothing of a start that failed.
fn give_up(init: Option<Init>, task: Option<Born>, why: Stuck) -> Stuck {
    // Init is not dead before its namespace is empty, which takes that its dead are reaped.
    if let Some(init) = &init {
        let _ = pidfd_send_signal(init.fd(), Signal::KILL);
    }
    if let Some(task) = task {
        end(task.pid, &task.fd);
    }
    if let Some(init) = init {
        init.end();
    }
    why
}
