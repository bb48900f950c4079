//! What is kept on disk about a run, and how it gets there whole.

use crate::{
    ending::{Ending, Exhausted},
    group::Groups,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use taffeta_isolation_plan::{SPEC_FILE, Sandbox, SecretsAt};
use taffeta_model::{Exit, UnixMillis};

/// Version of the files below and of the control protocol; a new agent must read what an older shim wrote.
pub(crate) const VERSION: u32 = 1;

/// Held by the shim as long as it lives.
pub(crate) const LOCK_FILE: &str = "lock";
/// What the shim is to start in: see [`Launch`]. Without it a shim refuses to start anything.
pub(crate) const LAUNCH_FILE: &str = "launch.json";
/// See [`StateRecord`].
pub(crate) const STATE_FILE: &str = "state.json";
/// See [`ExitRecord`].
pub(crate) const EXIT_FILE: &str = "exit.json";
/// The shim's socket.
pub(crate) const SOCKET: &str = "ctl.sock";

/// What the agent tells the shim beyond the spec.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) version: u32,
    /// The groups that were made for the task.
    pub(crate) groups: Groups,
    /// What is not isolated, in words.
    pub(crate) not_isolated: Vec<String>,
    /// Where the shim puts the task's secrets; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secrets: Option<SecretsAt>,
    /// How the task is set apart; `None` in what an agent wrote that knew of no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<Sandbox>,
    /// The program whose `shim` verb is [`crate::shim_main`].
    #[serde(default = "this_program")]
    pub(crate) program: PathBuf,
}

/// This program itself, also after its file was replaced.
pub(crate) fn this_program() -> PathBuf {
    "/proc/self/exe".into()
}

/// Who runs: on disk before the start counts as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    pub(crate) version: u32,
    pub(crate) run_id: String,
    pub(crate) boot_id: String,
    pub(crate) shim: Process,
    pub(crate) task: Process,
    /// The first process of the task's pid namespace, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<Process>,
    /// Milliseconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) groups: Groups,
    /// What turned out not to be in force when the program began, in words; beside [`Launch::not_isolated`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<String>,
}

impl StateRecord {
    /// Whether this process of the record is there now. Its number may be another's by now, and after another boot the
    /// time of its start, too.
    pub(crate) fn lives(&self, process: Process) -> bool {
        Process::look_up(process.pid) == Some(process) && boot_id().is_ok_and(|id| id == self.boot_id)
    }
}

/// A process that a recycled number cannot be mistaken for, within one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

/// How it ended. Exactly one of `code`, `signal`, `oom`, `not_started` and `lost` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) version: u32,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) oom: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_started: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) lost: bool,
    /// With `lost`: it was ended as its lease had run out. An older agent takes it for lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) lease: bool,
    /// With `oom`: what was full; `None` as well from an older shim, which did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exhausted: Option<Exhausted>,
    /// With `oom`: the limit in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_max: Option<u64>,
    /// Of a task that failed: how many of its forks were refused, and at which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forks_refused: Option<(u64, u64)>,
}

impl ExitRecord {
    pub(crate) fn new(exit: &Exit, at: UnixMillis) -> Self {
        let record = Self { version: VERSION, at: at.0, ..Self::default() };
        match exit {
            Exit::Code(code) => Self { code: Some(*code), ..record },
            Exit::Signal(signal) => Self { signal: Some(*signal), ..record },
            Exit::NotStarted(why) => Self { not_started: Some(why.clone()), ..record },
            Exit::OutOfMemory => Self { oom: true, ..record },
            Exit::LeaseEnded => Self { lost: true, lease: true, ..record },
            Exit::Lost | Exit::Deadline => Self { lost: true, ..record }, // no process ends by a deadline: it is stopped
        }
    }

    /// The record with what the counters say about such an end.
    pub(crate) fn with(self, ending: &Ending) -> Self {
        let (exhausted, memory_max) = if self.oom { (ending.exhausted, ending.memory_max) } else { (None, None) };
        let failed = !self.exit().is_success() && ending.forks_refused > 0;
        let forks_refused = ending.pids_max.filter(|_| failed).map(|max| (ending.forks_refused, max));
        Self { exhausted, memory_max, forks_refused, ..self }
    }

    /// The same in words, to follow those of the exit.
    pub(crate) fn words(&self) -> Option<String> {
        let limit = self.memory_max.map(|bytes| format!(" of {}", size(bytes))).unwrap_or_default();
        let memory = self.exhausted.map(|exhausted| match exhausted {
            Exhausted::Limit => format!("its limit{limit} was reached"),
            Exhausted::Inner => "the limit of a group that it has made itself was reached".into(),
            Exhausted::Machine => format!("the machine had no memory left; its own limit{limit} was not reached"),
        });
        let forks = self.forks_refused.map(|(refused, max)| {
            let times = if refused == 1 { "once".into() } else { format!("{refused} times") };
            format!("{times} it could start no process, having the {max} that it may have")
        });
        let words: Vec<String> = memory.into_iter().chain(forks).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.lease {
            return Exit::LeaseEnded;
        }
        match (self.oom, self.code, self.signal, &self.not_started) {
            (true, ..) => Exit::OutOfMemory,
            (false, Some(code), ..) => Exit::Code(code),
            (false, None, Some(signal), _) => Exit::Signal(signal),
            (false, None, None, Some(why)) => Exit::NotStarted(why.clone()),
            (false, None, None, None) => Exit::Lost,
        }
    }
}

impl Process {
    /// The process that has this number now; `None` if there is none.
    pub(crate) fn look_up(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the state, field 3, follows the last one.
        let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start })
    }
}

/// `64 MiB`; bytes if it is no whole number of KiB.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

/// Names this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The date: it goes into records for people, nothing is decided by it.
pub(crate) fn date() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a record so that nobody ever reads half of it, readable for its owner alone. After a power cut it may be gone or
/// torn: [`read_record`] takes both for no record, which is right for all that dies with the machine's processes.
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let draft = draft(path);
    write_draft(&draft, &serde_json::to_vec(record)?)?;
    fs::rename(&draft, path)
}

/// Where a record is written before it has its name.
fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn write_draft(draft: &Path, body: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(body)?;
    Ok(file)
}

/// `exit.json`: the one record that survives a power cut, and so keeps what the others said.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept<R> {
    #[serde(flatten)]
    pub(crate) record: R,
    /// What was asked for; `None` in what an older shim wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spec: Option<serde_json::Value>,
}

/// Makes the end of a run final. It is on the disk under the name of its draft before it gets its own, by which it is told:
/// a file system has to write its journal once for that, and twice to make the other name last, too.
pub(crate) fn write_exit(folder: &Path, record: &ExitRecord) -> io::Result<()> {
    let path = folder.join(EXIT_FILE);
    let draft = draft(&path);
    let spec = read_record(&folder.join(SPEC_FILE))?;
    write_draft(&draft, &serde_json::to_vec(&Kept { record, spec })?)?.sync_all()?;
    File::open(folder)?.sync_all()?;
    fs::rename(&draft, &path)
}

/// How a run ended of which nothing runs any more, after a power cut as well. A draft that is whole was all that its writer
/// had to write. While a shim lives, only what has its name counts: a draft may not be on the disk yet.
pub(crate) fn read_exit<T: DeserializeOwned>(folder: &Path) -> io::Result<Option<T>> {
    let path = folder.join(EXIT_FILE);
    match read_record(&path)? {
        Some(record) => Ok(Some(record)),
        None => read_record(&draft(&path)),
    }
}

/// Reads a record; `None` if there is no such file, or if a power cut has left only a part of it.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    match serde_json::from_slice(&bytes) {
        Ok(record) => Ok(Some(record)),
        // Blocks that were never written read as zeros. What parses and does not fit is of another release: no accident.
        Err(e) if e.is_eof() || bytes.contains(&0) => {
            tracing::warn!(file = %path.display(), "a record was torn by a power cut");
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}
