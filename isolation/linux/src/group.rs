//! The cgroups of one run: enter, kill, count, remove. Limits are set elsewhere (`limits`).

use crate::population::Population;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// How deep a task may have nested groups of its own inside ours: enough for a container engine inside a task.
const DEPTH_MAX: usize = 8;

/// The name under which the folder of a v2 group is listed: the only one of a task on v2, and the one that kills and
/// tells who is left on a hybrid machine.
pub(crate) const UNIFIED: &str = "unified";

/// Pause before a group is looked at again that was killed and is not empty.
const AGAIN: Duration = Duration::from_millis(10);

/// The folders of a group, by v1 controller or [`UNIFIED`]. Empty where there are no cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups(pub(crate) BTreeMap<String, PathBuf>);

impl Groups {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The v2 folder, into which a process can be born.
    pub(crate) fn unified(&self) -> Option<&Path> {
        self.0.get(UNIFIED).map(PathBuf::as_path)
    }

    /// The folder of a v1 controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Path> {
        self.0.get(controller).filter(|_| controller != UNIFIED).map(PathBuf::as_path)
    }

    /// The distinct folders: v1 controllers may share one.
    pub(crate) fn folders(&self) -> BTreeSet<&Path> {
        self.0.values().map(PathBuf::as_path).collect()
    }

    fn v1_folders(&self) -> BTreeSet<&Path> {
        self.0.iter().filter(|(name, _)| *name != UNIFIED).map(|(_, folder)| folder.as_path()).collect()
    }

    /// Opens the files through which a process of one thread enters by writing `0`.
    pub(crate) fn open_entries(&self) -> io::Result<Vec<OwnedFd>> {
        // On v1 `tasks`, which moves the writing thread alone: for a whole process the kernel waits until no thread
        // anywhere is being made, some 7 ms (`cgroup_threadgroup_rwsem`). v2 has no such file.
        let v1 = self.v1_folders().into_iter().map(|folder| folder.join("tasks"));
        let all = v1.chain(self.unified().map(|folder| folder.join("cgroup.procs")));
        let open = |path: PathBuf| {
            let file = OpenOptions::new().write(true).open(&path);
            file.map(OwnedFd::from).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        all.map(open).collect()
    }

    /// All processes in these folders, nested groups included.
    fn members_of<'a>(folders: impl IntoIterator<Item = &'a Path>) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for folder in folders {
            collect_members(folder, DEPTH_MAX, &mut all);
        }
        all
    }

    /// All processes in the groups, nested ones included.
    fn members(&self) -> BTreeSet<u32> {
        Self::members_of(self.folders())
    }

    /// Whether no process is left in any of them. A group that does not exist is empty.
    pub(crate) fn is_empty(&self) -> bool {
        match self.population() {
            // The others are looked at all the same: a task with the right to may have left that one.
            Some(population) => !population.look() && Self::members_of(self.v1_folders()).is_empty(),
            None => self.members().is_empty(),
        }
    }

    /// What tells when the group becomes empty; `None` where that has to be looked for.
    pub(crate) fn population(&self) -> Option<Population> {
        Population::open(self.unified()?)
    }

    /// Sends SIGKILL to everything inside, once. Whoever needs them gone repeats it until [`Groups::is_empty`].
    pub(crate) fn kill(&self) {
        let killed = self.unified().is_some_and(|unified| fs::write(unified.join("cgroup.kill"), "1").is_ok());
        if killed {
            // Nothing in it could fork away. What is left is in another of the folders alone.
            let elsewhere = Self::members_of(self.v1_folders());
            if elsewhere.is_empty() || elsewhere.is_subset(&Self::members_of(self.unified())) {
                return self.thaw(); // one who was killed may have left it frozen, and on v1 the frozen do not die
            }
        }
        // A frozen group cannot fork while it is walked; the walk is repeated, so a freeze that takes long costs nothing.
        self.freeze();
        self.kill_members();
        self.thaw(); // v1 delivers the kill only then
    }

    /// Whether everything inside can be stopped.
    pub(crate) fn can_freeze(&self) -> bool {
        self.v1("freezer").is_some() || self.unified().is_some_and(|unified| unified.join("cgroup.freeze").exists())
    }

    /// Stops everything inside and waits a moment until it has; nothing where that cannot be done.
    pub(crate) fn freeze(&self) {
        let stopped = |file: &Path, word: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(word));
        let (file, stop, look, word) = match (self.v1("freezer"), self.unified()) {
            (Some(v1), _) => (v1.join("freezer.state"), "FROZEN", v1.join("freezer.state"), "FROZEN"),
            (None, Some(v2)) => (v2.join("cgroup.freeze"), "1", v2.join("cgroup.events"), "frozen 1"),
            (None, None) => return,
        };
        let written = fs::write(file, stop).is_ok();
        for _ in 0..20 {
            if !written || stopped(&look, word) {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn thaw(&self) {
        let _ = match (self.v1("freezer"), self.unified()) {
            (Some(v1), _) => fs::write(v1.join("freezer.state"), "THAWED"),
            (None, Some(v2)) => fs::write(v2.join("cgroup.freeze"), "0"),
            (None, None) => Ok(()),
        };
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
        let population = self.population();
        for _ in 0..1000 {
            if self.is_empty() {
                return true;
            }
            self.kill();
            match population.as_ref().filter(|population| population.look()) {
                Some(population) => population.wait(AGAIN),
                None => sleep(AGAIN),
            }
        }
        self.is_empty()
    }

    /// Removes the groups, which must be empty; tries for a second, as the kernel lets go of the dead a little late.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..100 {
            last = self.folders().into_iter().try_for_each(|folder| remove_tree(folder, DEPTH_MAX));
            if last.is_ok() {
                break;
            }
            sleep(AGAIN);
        }
        last
    }

    /// Whether any of the folders exists.
    pub(crate) fn exists(&self) -> bool {
        self.0.values().any(|folder| folder.exists())
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
