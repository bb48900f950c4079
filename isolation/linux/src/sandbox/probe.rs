//! What this machine can do to set tasks apart, found out by doing it.
//!
//! In a process of its own, `shim probe`: what is tried cannot be taken back by the one that tries.

use super::{
    init::{Init, Owner, furnish, namespaces, reap},
    nobody::Nobody,
};
use crate::{
    confine,
    sys::{self, Birth, SingleThread},
};
use rustix::{
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
    Cgroups, Identity, Measures, Memory, Namespace, Permitted, Sandbox, TaskSpec, WORK_FOLDER, rests_on,
};
use taffeta_model::{Isolation, Measure, Profile};

/// The word after `shim` on the command line; the folder of a run begins with a slash.
pub(crate) const PROBE: &str = "probe";

/// Begins the names of the folders in which it is tried; no run has such a name.
const TRIAL: &str = ".probe-";

/// Finds out what can be had on this machine, for tasks whose folders lie in `tasks_root`. `program` is the one whose `shim`
/// verb is [`crate::shim_main`]. Takes some ten milliseconds.
pub(crate) fn measures(program: &Path, tasks_root: &Path, hidden: &[PathBuf], shown: &[PathBuf]) -> Measures {
    let lacking = ask(program, tasks_root).unwrap_or_else(|e| {
        let why = format!("it could not be tried: {e}");
        Measure::ALL.into_iter().map(|measure| (measure, why.clone())).collect()
    });
    let mut partial = confine::remarks();
    partial.retain(|measure, _| !lacking.contains_key(measure));
    Measures { lacking, partial, hidden: hidden.to_vec(), shown: shown.to_vec() }
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
    let folder = tasks_root.join(format!("{TRIAL}{}", std::process::id()));
    let tried = Trial::new(&folder).map(|trial| trial.lacking());
    let _ = fs::remove_dir_all(&folder);
    let told = tried.and_then(|lacking| Ok(serde_json::to_writer(io::stdout(), &lacking)?));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", folder.display());
            ExitCode::FAILURE
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
        fs::create_dir(folder)?;
        fs::create_dir(folder.join(WORK_FOLDER))?;
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
        Ok(Self { alone, spec: serde_json::from_value(spec)?, permitted })
    }

    fn lacking(&self) -> BTreeMap<Measure, String> {
        let refused = confine::probe().into_iter().filter_map(|(measure, had)| Some((measure, had.err()?)));
        let mut lacking: BTreeMap<Measure, String> = refused.collect();
        let mut all = Profile::Strict.measures();
        all.retain(|measure| is_made(*measure));
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
