//! What this machine can do to set tasks apart, found out by doing it.
//!
//! In a process of its own, `shim probe`: what is tried cannot be taken back by the one that tries.

use super::{
    init::{Init, Owner, furnish, namespaces, reap},
    nobody::Nobody,
};
use crate::{
    confine,
    remove::remove_all,
    secrets,
    sys::{self, Birth, SingleThread},
};
use rustix::{
    mount::{UnmountFlags, unmount},
    pipe::{PipeFlags, pipe_with},
    process::geteuid,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};
use taffeta_isolation_plan::{
    Cgroups, Identity, Measures, Memory, Namespace, Permitted, SECRETS_FOLDER, Sandbox, TaskSpec, WORK_FOLDER, rests_on,
};
use taffeta_model::{Isolation, Measure, Profile, Secret, SecretName};

/// The word after `shim` on the command line; the folder of a run begins with a slash.
pub(crate) const PROBE: &str = "probe";

/// Begins the names of the folders in which it is tried; no run has such a name.
const TRIAL: &str = ".probe-";

/// How often it is tried anew: one process or folder that could not be made says nothing of the machine.
const TRIES: u32 = 3;

/// Why a task of a node that is not root is not nobody: what it is inside, its user, it is outside.
const TAKES_ROOT: &str = "the node is not root, and can give its tasks no other ids than its own";

/// Finds out what can be had on this machine, for tasks whose folders lie in `tasks_root`. `program` is the one whose `shim`
/// verb is [`crate::shim_main`]. Takes some ten milliseconds.
pub(crate) fn measures(program: &Path, tasks_root: &Path) -> Measures {
    let lacking = (1..TRIES).find_map(|_| ask(program, tasks_root).ok()).map_or_else(|| ask(program, tasks_root), Ok);
    // What a process does to itself takes no other process to be found out, and no folder.
    let lacking = lacking.unwrap_or_else(|e| {
        let why = format!("it could not be tried: {e}");
        let made = Measure::ALL.into_iter().filter(|measure| is_made(*measure));
        refused().into_iter().chain(made.map(|measure| (measure, why.clone()))).collect()
    });
    let mut partial = confine::remarks();
    partial.retain(|measure, _| !lacking.contains_key(measure));
    Measures { lacking, partial, ..Measures::default() }
}

/// What a process cannot do to itself here, and why.
fn refused() -> BTreeMap<Measure, String> {
    confine::probe().into_iter().filter_map(|(measure, had)| Some((measure, had.err()?))).collect()
}

fn ask(program: &Path, tasks_root: &Path) -> io::Result<BTreeMap<Measure, String>> {
    let mut command = Command::new(program);
    command.arg0("taffeta").arg("shim").arg(PROBE).arg(tasks_root).env_clear();
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{} ({})", said.trim(), output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `shim probe FOLDER`: prints what is lacking, and why.
pub(crate) fn probe_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(tasks_root) = args.next().map(PathBuf::from) else { return ExitCode::from(2) };
    // What another process of this number has left that was killed is in nobody's way.
    let mut made = Err(io::ErrorKind::AlreadyExists.into());
    for n in 0..TRIES {
        let folder = tasks_root.join(format!("{TRIAL}{}-{n}", std::process::id()));
        made = fs::create_dir(&folder).map(|()| folder);
        if made.is_ok() {
            break;
        }
    }
    let told = made.and_then(|folder| {
        let tried = Trial::new(&folder).map(|trial| trial.lacking());
        let _ = unmount(folder.join(SECRETS_FOLDER), UnmountFlags::DETACH);
        let _ = remove_all(&folder);
        Ok(serde_json::to_writer(io::stdout(), &tried?)?)
    });
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", tasks_root.display());
            ExitCode::FAILURE
        }
    }
}

/// Removes what a trial has left that was killed. One that still goes on has nobody who would hear of it.
pub(crate) fn sweep_trials(tasks_root: &Path) {
    for entry in fs::read_dir(tasks_root).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(TRIAL)) {
            let _ = remove_all(&entry.path());
        }
    }
}

struct Trial {
    alone: SingleThread,
    spec: TaskSpec,
    permitted: Permitted,
}

impl Trial {
    fn new(folder: &Path) -> io::Result<Self> {
        let alone = SingleThread::check()?;
        fs::create_dir(folder.join(WORK_FOLDER))?;
        let secrets = folder.join(SECRETS_FOLDER);
        fs::create_dir(&secrets)?;
        let spec = serde_json::json!({
            "task": "probe", "run_id": "probe", "run": ["true"], "env": {}, "folder": folder, "files": {}, "cpus_milli": 1,
            "cpu_quota": false, "memory_bytes": 16 << 20, "pids_max": 8, "grace": { "secs": 0, "nanos": 0 }
        });
        let measures = Measures { hidden: vec![folder.into()], ..Measures::default() };
        let permitted = Permitted {
            root: geteuid().is_root(),
            cgroups: Cgroups::None { why: String::new() },
            group_parent: String::new(),
            memory: Memory::Private,
            measures,
        };
        let mut spec: TaskSpec = serde_json::from_value(spec)?;
        // Where its secrets would be on a tmpfs, the task has to see that, too: not each kernel can map the owners there.
        if secrets::mount_private(&secrets).is_ok() {
            let name = SecretName::new("probe").map_err(io::Error::other)?;
            spec.secrets.files.insert(name, Secret::new(vec![]));
        }
        Ok(Self { alone, spec, permitted })
    }

    fn lacking(&self) -> BTreeMap<Measure, String> {
        let mut lacking = refused();
        let mut all = Profile::Strict.measures();
        all.retain(|measure| is_made(*measure));
        if !self.permitted.root {
            all.remove(&Measure::UserNamespace);
            lacking.insert(Measure::UserNamespace, TAKES_ROOT.into());
        }
        if self.try_to(&all).is_ok() {
            return lacking; // one try instead of one for each
        }
        for measure in all {
            let with = rests_on(measure).into_iter().chain(needed(measure)).chain([measure]).collect();
            if let Err(why) = self.try_to(&with) {
                lacking.insert(measure, why);
            }
        }
        lacking
    }

    fn try_to(&self, measures: &BTreeSet<Measure>) -> Result<(), String> {
        let without = Measure::ALL.into_iter().filter(|measure| !measures.contains(measure)).collect();
        let isolation = Isolation { profile: Some(Profile::Strict), without };
        let spec = TaskSpec { isolation, ..self.spec.clone() };
        let sandbox = Sandbox::of(&spec, &self.permitted);
        let nobody = match sandbox.identity {
            Identity::Unprivileged(id) => Some(Nobody::make(self.alone, &spec, id).map_err(|e| e.to_string())?),
            Identity::Machine | Identity::Agent => None,
        };
        if sandbox.has(Namespace::Pid) {
            let init = Init::make(self.alone, &sandbox, nobody.as_ref().map(Nobody::namespace));
            let mut init = init.map_err(|e| e.to_string())?;
            let ready = init.ready();
            init.end();
            ready
        } else {
            self.try_alone(&sandbox, nobody.as_ref())
        }
    }

    /// Without a pid namespace a process parts by itself.
    fn try_alone(&self, sandbox: &Sandbox, nobody: Option<&Nobody>) -> Result<(), String> {
        let (told, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let owner = Owner::this();
        let born = Birth::default().give(self.alone, move |_| {
            let parted = sys::part_from(&namespaces(sandbox)).map_err(|e| e.to_string());
            let made = parted.and_then(|()| furnish(sandbox, owner, nobody.map(Nobody::namespace)));
            let _ = File::from(tell).write_all(made.err().unwrap_or_default().as_bytes());
            0
        });
        let born = born.map_err(|e| e.to_string())?;
        let mut why = String::new();
        File::from(told).read_to_string(&mut why).map_err(|e| e.to_string())?;
        reap(born.pid);
        if why.is_empty() { Ok(()) } else { Err(why) }
    }
}

/// Whether it is made for a task, not given up by it.
fn is_made(measure: Measure) -> bool {
    match measure {
        Measure::PidNamespace
        | Measure::MountNamespace
        | Measure::IpcNamespace
        | Measure::UtsNamespace
        | Measure::UserNamespace
        | Measure::ReadOnlyRoot
        | Measure::PrivateTmp
        | Measure::MaskedProc
        | Measure::PrivateDevices
        | Measure::HiddenFolders => true,
        Measure::NoNewPrivs | Measure::Capabilities | Measure::Seccomp | Measure::Landlock | Measure::CoreDumps => {
            false
        }
    }
}

/// What else is tried with it: a pid namespace is of no use without a `/proc` of its own, and being nobody takes files whose
/// owner can be mapped.
fn needed(measure: Measure) -> Option<Measure> {
    match measure {
        Measure::PidNamespace | Measure::UserNamespace => Some(Measure::MountNamespace),
        Measure::MountNamespace
        | Measure::IpcNamespace
        | Measure::UtsNamespace
        | Measure::ReadOnlyRoot
        | Measure::PrivateTmp
        | Measure::MaskedProc
        | Measure::PrivateDevices
        | Measure::HiddenFolders
        | Measure::NoNewPrivs
        | Measure::Capabilities
        | Measure::Seccomp
        | Measure::Landlock
        | Measure::CoreDumps => None,
    }
}
