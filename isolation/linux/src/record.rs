//! What is kept on disk about a run, and how it gets there whole.

use crate::group::Groups;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use taffeta_isolation_plan::SecretsAt;
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
}

/// Who runs: on disk before the start counts as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    pub(crate) version: u32,
    pub(crate) run_id: String,
    pub(crate) boot_id: String,
    pub(crate) shim: Process,
    pub(crate) task: Process,
    /// Milliseconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) groups: Groups,
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

/// Names this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The date: it goes into records for people, nothing is decided by it.
pub(crate) fn date() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a file so that after a crash at any point there is either the old one or the new one, whole.
pub(crate) fn write_durably(path: &Path, body: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let draft = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&draft)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// Writes a record durably, readable for its owner alone.
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> io::Result<()> {
    write_durably(path, &serde_json::to_vec(record)?, 0o600)
}

/// Reads a record; `None` if there is no such file.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
