//! What a new process does to itself before it becomes a program inside a sandbox, be it the task's own or one beside it.

use super::{
    Doors,
    init::{Owner, furnish, namespaces},
    nobody::Nobody,
};
use crate::{
    confine::{Calls, Confinement, Ids},
    sys::{self, New},
};
use rustix::{
    fs::{Mode, fchown},
    io::Errno,
    process::{
        DumpableBehavior, Pid, Signal, Uid, chdir, getppid, ioctl_tiocsctty, set_dumpable_behavior,
        set_parent_process_death_signal, setsid, umask,
    },
    stdio::stdin,
    termios::isatty,
    thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces},
};
use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};
use taffeta_isolation_plan::{Confine, Identity, Namespace, Sandbox, TaskSpec};

/// Where the namespaces of the sandbox are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// Those of this process, the first of the task's pid namespace. The program begins inside that already.
    Of(BorrowedFd<'a>),
    /// Nowhere yet: the program makes them. There is no pid namespace among them.
    New,
    /// Those of this process, but for the view of the files: that is the shim's, which has the task's secrets.
    Mounts {
        /// The view.
        mounts: BorrowedFd<'a>,
        /// The process.
        host: BorrowedFd<'a>,
    },
    /// There are none.
    Here,
}

/// A program to be.
pub(crate) struct Program<'a> {
    pub(crate) spec: &'a TaskSpec,
    pub(crate) sandbox: &'a Sandbox,
    /// What it may still do.
    pub(crate) confine: Confine,
    /// Program and arguments.
    pub(crate) run: &'a [String],
    /// Its secrets among its variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Through which it enters its groups.
    pub(crate) doors: Doors,
    /// Its user, as the machine's own files tell: those that it sees may say something else.
    pub(crate) ids: Option<Ids>,
    /// If it is nobody on the machine.
    pub(crate) nobody: Option<&'a Nobody>,
    /// Standard output and error, with nothing to read; `None`: its parent's.
    pub(crate) outputs: Option<(OwnedFd, OwnedFd)>,
    /// Whether it leads a session of its own.
    pub(crate) leads: bool,
    /// The parent whose death is to end it, where that can be known: outside of pid namespaces.
    pub(crate) dies_with: Option<Pid>,
}

/// Why a process has not become the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// There is no such program.
    Absent(String),
    /// The program is there, and cannot be executed.
    Unfit(String),
    /// It cannot be run as asked.
    Program(String),
    /// The sandbox could not be made or entered.
    Sandbox(String),
}

impl Program<'_> {
    /// Enters the groups, waits until `go` says that the namespaces are ready, and becomes the program; `note` is told before
    /// what will not be in force of what it is to give up, in words. Returns only if it could not. To be called in a process
    /// of its own, of one thread.
    pub(crate) fn become_it(
        self,
        place: Place<'_>,
        in_group: bool,
        go: impl FnOnce() -> io::Result<()>,
        note: impl FnOnce(&[String]),
    ) -> Stuck {
        match self.enter(place, in_group, go, note) {
            Ok(command) => execute(command),
            Err(stuck) => stuck,
        }
    }

    /// The v2 group in which its process can be born. A file of its own, as the program's goes into the process.
    pub(crate) fn birthplace(&self) -> io::Result<Option<OwnedFd>> {
        self.doors.birthplace().map(|fd| fd.try_clone_to_owned()).transpose()
    }

    /// The files that it needs until then.
    pub(super) fn files<'a>(&'a self, place: Place<'a>) -> Vec<BorrowedFd<'a>> {
        let place = match place {
            Place::Of(host) => vec![host],
            Place::Mounts { mounts, host } => vec![mounts, host],
            Place::New | Place::Here => vec![],
        };
        let outputs = self.outputs.iter().flat_map(|(stdout, stderr)| [stdout.as_fd(), stderr.as_fd()]);
        self.doors.files().chain(place).chain(outputs).chain(self.nobody.map(Nobody::namespace)).collect()
    }

    fn enter(
        mut self,
        place: Place<'_>,
        in_group: bool,
        go: impl FnOnce() -> io::Result<()>,
        note: impl FnOnce(&[String]),
    ) -> Result<Command, Stuck> {
        match place {
            // No process that is there may look into this one, which still has files and rights of the machine's.
            Place::Of(_) | Place::Mounts { .. } => {
                set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
            }
            Place::New | Place::Here => {} // it is the first
        }
        let entered = self.doors.enter(in_group).map_err(io::Error::from);
        entered.map_err(|e| Stuck::Sandbox(format!("cannot enter its cgroups: {e}")))?;
        // While others make the namespaces: it takes half a millisecond.
        let calls = Calls::compile(&self.confine).map_err(|e| Stuck::Program(e.to_string()))?;
        go().map_err(|e| Stuck::Sandbox(e.to_string()))?;
        self.join(place)?;
        if let Some(outputs) = self.outputs.take() {
            let taken = take_up(&outputs).and_then(|()| self.give_outputs(&outputs));
            taken.map_err(|e| Stuck::Sandbox(format!("cannot take up its outputs: {e}")))?;
        }
        // What it may still do is worked out here, where its paths mean what they will mean to it, and its outputs are its own.
        let prepared =
            Confinement::prepare(&self.confine, self.ids.as_ref(), calls).map_err(|e| Stuck::Program(e.to_string()))?;
        let (confinement, gaps) = prepared;
        note(&gaps);
        chdir(self.spec.work()).map_err(|e| Stuck::Program(cannot_run(&self.run[0], e.into())))?;
        if let Some(nobody) = self.nobody {
            nobody.become_it().map_err(|e| Stuck::Sandbox(format!("cannot enter its user namespace: {e}")))?;
        }
        if self.leads {
            setsid().map_err(|e| Stuck::Sandbox(format!("cannot begin a session: {e}")))?;
            // Only its leader can have a terminal for a session, and only one that sees itself in it can lead it well.
            let terminal = if isatty(stdin()) { ioctl_tiocsctty(stdin()) } else { Ok(()) };
            terminal.map_err(|e| Stuck::Sandbox(format!("cannot take up its terminal: {e}")))?;
        }
        umask(Mode::from_raw_mode(0o022));
        sys::reset_signals();
        Ok(self.command(confinement))
    }

    /// Whoever it is, it may open its outputs by their names, as `/dev/stdout`.
    fn give_outputs(&self, (stdout, stderr): &(OwnedFd, OwnedFd)) -> io::Result<()> {
        match self.sandbox.identity {
            Identity::Unprivileged(id) => {
                let uid = Some(Uid::from_raw(id));
                Ok(fchown(stdout, uid, None).and_then(|()| fchown(stderr, uid, None))?)
            }
            Identity::Machine | Identity::Agent => Ok(()),
        }
    }

    fn join(&self, place: Place<'_>) -> Result<(), Stuck> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |e: Errno| Stuck::Sandbox(format!("cannot enter {what}: {}", io::Error::from(e)))
        };
        let join = |host: BorrowedFd<'_>| match joined(self.sandbox) {
            kinds if kinds.is_empty() => Ok(()),
            kinds => move_into_thread_name_spaces(host, kinds).map_err(failed("its namespaces")),
        };
        match place {
            Place::Of(host) => join(host),
            Place::New => {
                let owner = Owner::this();
                let kinds: Vec<New> = namespaces(self.sandbox);
                sys::part_from(&kinds).map_err(|e| Stuck::Sandbox(format!("cannot make its namespaces: {e}")))?;
                furnish(self.sandbox, owner, self.nobody.map(Nobody::namespace)).map_err(Stuck::Sandbox)
            }
            Place::Mounts { mounts, host } => {
                join(host)?;
                move_into_link_name_space(mounts, Some(LinkNameSpaceType::Mount))
                    .map_err(failed("the view of its secrets"))
            }
            Place::Here => Ok(()),
        }
    }

    fn command(self, confinement: Confinement) -> Command {
        let (program, args) = self.run.split_first().expect("a spec without a program is refused");
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.spec.environment()).envs(self.variables);
        let dies_with = self.dies_with;
        sys::before_exec(&mut command, move || {
            confinement.apply().map_err(|stuck| io::Error::other(stuck.to_string()))?;
            // Not before, as becoming another user undoes it.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // A parent that died before that call will never send it. Inside a pid namespace its first process does.
            if dies_with.is_none_or(|parent| getppid() == Some(parent)) { Ok(()) } else { Err(Errno::SRCH.into()) }
        });
        command
    }
}

fn take_up((stdout, stderr): &(OwnedFd, OwnedFd)) -> io::Result<()> {
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(stdout)?;
    Ok(rustix::stdio::dup2_stderr(stderr)?)
}

/// The namespaces of a running sandbox that a process joins which is in its pid namespace, and user namespace, already.
fn joined(sandbox: &Sandbox) -> ThreadNameSpaceType {
    let kind = |namespace: &Namespace| match namespace {
        Namespace::Pid => ThreadNameSpaceType::empty(),
        Namespace::Mount => ThreadNameSpaceType::MOUNT,
        Namespace::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
        Namespace::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
    };
    sandbox.namespaces.iter().map(kind).collect()
}

/// The namespaces that a process joins so that its children are in the task's pid namespace.
pub(crate) fn joined_by_parent(sandbox: &Sandbox) -> ThreadNameSpaceType {
    let pids = if sandbox.has(Namespace::Pid) { ThreadNameSpaceType::PROCESS_ID } else { ThreadNameSpaceType::empty() };
    match sandbox.identity {
        Identity::Agent => ThreadNameSpaceType::USER | pids,
        Identity::Machine | Identity::Unprivileged(_) => pids,
    }
}

fn execute(mut command: Command) -> Stuck {
    let program = command.get_program().to_string_lossy().into_owned();
    let e = command.exec();
    let unfit = matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory)
        || Errno::from_io_error(&e) == Some(Errno::NOEXEC);
    match e.kind() {
        io::ErrorKind::NotFound => Stuck::Absent(cannot_run(&program, e)),
        _ if unfit => Stuck::Unfit(cannot_run(&program, e)),
        _ => Stuck::Program(cannot_run(&program, e)),
    }
}

fn cannot_run(program: &str, e: io::Error) -> String {
    format!("cannot run `{program}`: {e}")
}

/// Begins a line that tells what is not in force, before what [`Stuck::encode`] makes or nothing.
const GAP: char = 'G';

/// As it goes through the pipe before the program begins.
pub(super) fn encode_gaps(gaps: &[String]) -> String {
    gaps.iter().map(|gap| format!("{GAP}{}\n", gap.replace('\n', " "))).collect()
}

/// What came through in all: what is not in force, and why there is no program if there is none.
pub(super) fn decode_told(told: &str) -> (Vec<String>, Option<Stuck>) {
    let (mut gaps, mut rest) = (vec![], told);
    while let Some((gap, after)) = rest.strip_prefix(GAP).and_then(|line| line.split_once('\n')) {
        gaps.push(gap.to_owned());
        rest = after;
    }
    (gaps, Stuck::decode(rest))
}

impl Stuck {
    /// As it goes through a pipe.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Absent(why) => format!("A{why}"),
            Self::Unfit(why) => format!("U{why}"),
            Self::Program(why) => format!("P{why}"),
            Self::Sandbox(why) => format!("S{why}"),
        }
    }

    /// What came through; `None` for nothing, which is what a process leaves that has become the program.
    pub(crate) fn decode(told: &str) -> Option<Self> {
        match told.split_at_checked(1)? {
            ("A", why) => Some(Self::Absent(why.into())),
            ("U", why) => Some(Self::Unfit(why.into())),
            ("P", why) => Some(Self::Program(why.into())),
            (_, why) => Some(Self::Sandbox(why.into())),
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::Unfit(why) | Self::Program(why) | Self::Sandbox(why) => f.write_str(why),
        }
    }
}
