//! The journal of faults: what is to be undone, on the node's disk before anything is done.
//!
//! `ID.json` says what is done and until when; it is written once, by the agent. `ID.told` says what became of it, by
//! whoever does it: the keeper or the agent. `ID.end` asks for its end before its time. `ID.heard` is there when the agent
//! has told of its end, which it may have slept through.

use crate::api::{FaultState, FaultView};
use crate::events::rfc3339;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use taffeta_chaos_plan::Fault;
use taffeta_isolation_linux::LoadGroup;
use taffeta_model::UnixMillis;

/// Folder of the journal in the data folder.
pub(crate) const FOLDER: &str = "chaos";

/// Version of a record; those of another one are undone as far as they can be read.
pub(crate) const VERSION: u32 = 1;

/// Faults that are remembered when they are over: an operator's afternoon.
const REMEMBERED_MAX: usize = 100;

/// What is done, and so what is to be undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// A table of nftables of our own.
    Table {
        /// `ip` or `ip6`.
        family: String,
        /// Its name.
        name: String,
        /// What it is made of, where `TIMEOUT` stands for the time that is left.
        rules: String,
    },
    /// The agent is killed, and started again at the end; with `machine` its tasks and their shims die, too.
    Kill {
        /// Whether.
        machine: bool,
    },
    /// The agent is told to end, and started again at the end.
    Stop,
    /// The agent stands still.
    Pause,
    /// Everything of a run stands still.
    Freeze {
        /// Its folder.
        run: PathBuf,
    },
    /// The main process of a run is killed: an instant.
    KillTask {
        /// Its folder.
        run: PathBuf,
    },
    /// Processes that compute.
    Burn {
        /// How many.
        workers: u32,
        /// How much of a core each.
        percent: u32,
        /// Where they are bounded, if they can be.
        #[serde(default)]
        group: Option<LoadGroup>,
    },
    /// A process that holds memory.
    Hold {
        /// How much.
        bytes: u64,
        /// Where it is bounded, if it can be.
        #[serde(default)]
        group: Option<LoadGroup>,
    },
    /// A file that takes the room of the data folder's own file system.
    Fill {
        /// Where it is.
        file: PathBuf,
    },
    /// Done by the agent to itself: its socket, its clock, its files, its DNS.
    Inside,
    /// The node is drained.
    Drain,
    /// The leadership is handed over: an instant.
    HandOver,
}

impl Deed {
    /// Whether the keeper does it; else the agent.
    pub(crate) fn is_keepers(&self) -> bool {
        match self {
            Self::Table { .. } | Self::Kill { .. } | Self::Stop | Self::Pause => true,
            Self::Freeze { .. } | Self::KillTask { .. } | Self::Burn { .. } | Self::Hold { .. } | Self::Fill { .. } => {
                true
            }
            Self::Inside | Self::Drain | Self::HandOver => false,
        }
    }

    /// Whether the agent cannot answer any more once it is done.
    pub(crate) fn silences_agent(&self) -> bool {
        matches!(self, Self::Kill { .. } | Self::Stop | Self::Pause)
    }
}

/// A process that a recycled number cannot be mistaken for, within one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

impl Process {
    /// The process that has this number now, unless it is dead and only waits to be reaped.
    pub(crate) fn look_up(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the state, field 3, follows the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let dead = matches!(fields.next(), Some("Z" | "X") | None);
        let start = fields.nth(18)?.parse().ok()?;
        (!dead).then_some(Self { pid, start })
    }

    /// Whether it still lives.
    pub(crate) fn lives(&self) -> bool {
        Self::look_up(self.pid).as_ref() == Some(self)
    }
}

/// A fault as it is kept. Times are milliseconds of CLOCK_BOOTTIME, which no fault of a clock can change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) run: String,
    pub(crate) node: String,
    pub(crate) fault: Fault,
    pub(crate) backend: String,
    pub(crate) commands: Vec<String>,
    #[serde(default)]
    pub(crate) peers: Vec<String>,
    /// Where the other ends of a network fault are; everybody if empty.
    #[serde(default)]
    pub(crate) ends: Vec<std::net::SocketAddr>,
    #[serde(default)]
    pub(crate) task: Option<String>,
    /// Names the boot that the times are of.
    pub(crate) boot: String,
    pub(crate) begins: u64,
    pub(crate) until: u64,
    /// The same for people, in milliseconds since 1970.
    pub(crate) begun_at: u64,
    pub(crate) ends_at: u64,
    /// The agent at that time.
    pub(crate) agent: Process,
    pub(crate) deed: Deed,
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) state: FaultState,
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// When it ended, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) ended_at: Option<u64>,
}

impl Told {
    pub(crate) fn active() -> Self {
        Self { state: FaultState::Active, error: None, ended_at: None }
    }

    pub(crate) fn undone(error: Option<String>) -> Self {
        Self { state: FaultState::Undone, error, ended_at: Some(unix_millis()) }
    }

    pub(crate) fn not_undone(why: impl Into<String>) -> Self {
        Self { state: FaultState::NotUndone, error: Some(why.into()), ended_at: None }
    }
}

/// A fault with what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// `None` until somebody has begun.
    pub(crate) told: Option<Told>,
    /// Whether it is to end before its time.
    pub(crate) to_end: bool,
}

impl Entry {
    /// Whether all is as before.
    pub(crate) fn is_over(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.state == FaultState::Undone)
    }

    /// Whether it is to be over by now.
    pub(crate) fn is_due(&self, now: u64, boot: &str) -> bool {
        self.to_end || self.record.boot != boot || now >= self.record.until
    }

    /// For people.
    pub(crate) fn view(&self) -> FaultView {
        let Record { id, run, node, fault, backend, commands, peers, task, begun_at, ends_at, .. } = &self.record;
        let told = self.told.clone();
        let (state, error, ended) =
            told.map_or((FaultState::Active, None, None), |told| (told.state, told.error, told.ended_at));
        FaultView {
            id: id.clone(),
            run: run.clone(),
            node: node.clone(),
            fault: *fault,
            backend: backend.clone(),
            commands: commands.clone(),
            peers: peers.clone(),
            task: task.clone(),
            begun_at: rfc3339(UnixMillis(*begun_at)),
            ends_at: rfc3339(UnixMillis(ended.unwrap_or(*ends_at))),
            state,
            error,
        }
    }
}

/// The journal of one node.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// Names the folder; [`Self::make`] makes it.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes the folder, readable by its owner alone: the agent's environment lies in there.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// All faults, the one that began first at the top. What cannot be read is left out; the kernel's own time-outs end
    /// what it did.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries_of(&self.ids())
    }

    /// Names of all faults.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json").filter(|id| is_id(id)).map(String::from)
        });
        ids.collect()
    }

    /// The faults of these names.
    pub(crate) fn entries_of<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = ids.into_iter().filter_map(|id| self.entry(id)).collect();
        entries.sort_by(|a, b| (a.record.begun_at, &a.record.id).cmp(&(b.record.begun_at, &b.record.id)));
        entries
    }

    /// One of them.
    pub(crate) fn entry(&self, id: &str) -> Option<Entry> {
        let record: Record = self.read(&format!("{id}.json"))?;
        let told = self.read(&format!("{id}.told"));
        let to_end = self.path(&format!("{id}.end")).exists();
        Some(Entry { record, told, to_end })
    }

    /// Keeps a fault that is about to be brought about. Nothing may be done before this has returned.
    pub(crate) fn add(&self, record: &Record) -> io::Result<()> {
        self.prune();
        self.forget(&record.id); // what became of one of this name that cannot be read any more
        self.write(&format!("{}.json", record.id), record)
    }

    /// Says what became of it.
    pub(crate) fn tell(&self, id: &str, told: &Told) -> io::Result<()> {
        self.write(&format!("{id}.told"), told)
    }

    /// Asks for its end. By an empty file, for which there is room on a full disk, too.
    pub(crate) fn ask_for_end(&self, id: &str) -> io::Result<()> {
        self.write_bytes(&format!("{id}.end"), b"")
    }

    /// Notes that its end was told.
    pub(crate) fn hear(&self, id: &str) -> io::Result<()> {
        self.write_bytes(&format!("{id}.heard"), b"")
    }

    /// Whether that was noted.
    pub(crate) fn is_heard(&self, id: &str) -> bool {
        self.path(&format!("{id}.heard")).exists()
    }

    /// Forgets the oldest of those that are over, and what a process that is dead was writing.
    fn prune(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(writer);
            if pid.is_some_and(|pid| Process::look_up(pid).is_none()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let over: Vec<Entry> = self.entries().into_iter().filter(Entry::is_over).collect();
        for entry in over.iter().take(over.len().saturating_sub(REMEMBERED_MAX - 1)) {
            self.forget(&entry.record.id);
        }
    }

    fn forget(&self, id: &str) {
        for kind in ["json", "told", "end", "heard"] {
            let _ = fs::remove_file(self.path(&format!("{id}.{kind}")));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file of the folder; `None` if it is not there or of no use.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    /// Durable and whole when it returns: the old contents or the new, nothing between.
    pub(crate) fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.write_bytes(name, &serde_json::to_vec(value)?)
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Two threads of this process may write the same file at the same time.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let partial = self.path(&format!(".{name}.{}.{number}", std::process::id()));
        let written = write_new(&partial, bytes).and_then(|()| fs::rename(&partial, self.path(name)));
        if let Err(e) = written {
            let _ = fs::remove_file(&partial); // which takes room where there is none
            return Err(e);
        }
        File::open(&self.folder)?.sync_all()
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The process that is writing a file of which this is the name of the unfinished part.
fn writer(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix('.')?.rsplit('.');
    let _number: u64 = parts.next()?.parse().ok()?;
    parts.next()?.parse().ok()
}

/// Whether a client may choose this id: it names files and tables.
pub(crate) fn is_id(id: &str) -> bool {
    (8..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Milliseconds of CLOCK_BOOTTIME.
pub(crate) fn boot_millis() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's date, which no fault of the node's clock changes.
pub(crate) fn unix_millis() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Realtime)).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Names this boot of the machine; empty where the kernel does not tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

#[cfg(test)]
mod tests;
