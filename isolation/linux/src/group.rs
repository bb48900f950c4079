//! The cgroups of one run: enter, kill, count, remove. Limits are set elsewhere (`limits`).

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// How deep a task may have nested groups of its own inside ours: enough for a container engine inside a task.
const DEPTH_MAX: usize = 8;

/// The name under which the only folder of a v2 group is listed.
pub(crate) const UNIFIED: &str = "unified";

/// The folders of a group by controller; v2 has one, called `unified`. Empty where there are no cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups(pub(crate) BTreeMap<String, PathBuf>);

impl Groups {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The distinct folders: v1 controllers may share one.
    pub(crate) fn folders(&self) -> BTreeSet<&Path> {
        self.0.values().map(PathBuf::as_path).collect()
    }

    /// Opens the files through which a process enters.
    pub(crate) fn open_entries(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |folder: &Path| {
            let path = folder.join("cgroup.procs");
            let file = OpenOptions::new().write(true).open(&path);
            file.map(OwnedFd::from).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        self.folders().into_iter().map(open).collect()
    }

    /// Where "is anything left" is answered best: where nothing can move out unseen, else anywhere.
    fn tracking(&self) -> Option<&Path> {
        let named = [UNIFIED, "freezer", "pids"].iter().find_map(|name| self.0.get(*name));
        named.or_else(|| self.0.values().next()).map(PathBuf::as_path)
    }

    /// All processes in the groups, nested ones included.
    fn members(&self) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for folder in self.folders() {
            collect_members(folder, DEPTH_MAX, &mut all);
        }
        all
    }

    /// Whether no process is left. A group that does not exist is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// Sends SIGKILL to everything inside, once. Whoever needs them gone repeats it until [`Groups::is_empty`].
    pub(crate) fn kill(&self) {
        if let Some(unified) = self.0.get(UNIFIED)
            && fs::write(unified.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        // A frozen group cannot fork while it is walked; the walk is repeated, so a freeze that takes long costs nothing.
        let state = self.0.get("freezer").map(|folder| folder.join("freezer.state"));
        if let Some(state) = &state {
            let _ = fs::write(state, "FROZEN");
            for _ in 0..20 {
                if fs::read_to_string(state).is_ok_and(|s| s.trim() == "FROZEN") {
                    break;
                }
                sleep(Duration::from_millis(1));
            }
        }
        self.kill_members();
        if let Some(state) = &state {
            let _ = fs::write(state, "THAWED"); // v1 delivers the kill only then
        }
    }

    /// A number read from a list may be another process's by the time it is used. So: open what has the number now, look
    /// whether the number is still listed, and only then signal through the open file, which no other process can inherit.
    fn kill_members(&self) {
        let number = |pid: &u32| Pid::from_raw(i32::try_from(*pid).ok()?);
        let open = |pid: u32| Some((pid, pidfd_open(number(&pid)?, PidfdFlags::empty()).ok()?));
        let opened: Vec<_> = self.members().into_iter().filter_map(open).collect();
        let still = self.members();
        for (pid, fd) in &opened {
            if still.contains(pid) {
                let _ = pidfd_send_signal(fd, Signal::KILL);
            }
        }
    }

    /// Kills until nothing is left; false if something survived ten seconds, as a process that hangs inside the kernel.
    pub(crate) fn kill_until_empty(&self) -> bool {
        for _ in 0..1000 {
            if self.is_empty() {
                return true;
            }
            self.kill();
            sleep(Duration::from_millis(10));
        }
        self.is_empty()
    }

    /// How many processes of the group the kernel has killed for memory; 0 where that is not counted.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match (self.0.get("memory"), self.0.get(UNIFIED)) {
            (Some(v1), _) => v1.join("memory.oom_control"),
            (None, Some(v2)) => v2.join("memory.events"),
            (None, None) => return 0,
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
        text.lines().find_map(count).unwrap_or(0)
    }

    /// A file that becomes readable when the memory limit is hit; v1 only: on v2 the kernel itself kills the whole group.
    pub(crate) fn watch_oom(&self) -> Option<OwnedFd> {
        use rustix::event::{EventfdFlags, eventfd};
        use std::os::fd::AsRawFd;
        let folder = self.0.get("memory")?;
        let control = File::open(folder.join("memory.oom_control")).ok()?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        fs::write(folder.join("cgroup.event_control"), line).ok()?;
        Some(event)
    }

    /// Removes the groups, which must be empty; tries for a second, as the kernel lets go of the dead a little late.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..100 {
            last = self.folders().into_iter().try_for_each(|folder| remove_tree(folder, DEPTH_MAX));
            if last.is_ok() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        last
    }

    /// Whether any of the folders exists.
    pub(crate) fn exists(&self) -> bool {
        self.tracking().is_some() && self.0.values().any(|folder| folder.exists())
    }
}

fn collect_members(folder: &Path, depth: usize, all: &mut BTreeSet<u32>) {
    let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) else { return };
    all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    if depth > 0 {
        subfolders(folder).iter().for_each(|inner| collect_members(inner, depth - 1, all));
    }
}

fn remove_tree(folder: &Path, depth: usize) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) if depth > 0 => {
            for inner in subfolders(folder) {
                remove_tree(&inner, depth - 1)?;
            }
        }
        done => return done,
    }
    fs::remove_dir(folder)
}

/// The groups inside a group.
pub(crate) fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
