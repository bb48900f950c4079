//! A bounded group for what loads the machine on purpose, beside those of the tasks: what is taken is counted there, and
//! if memory runs out there, nobody else pays for it.

use crate::{group::Groups, hierarchy::Hierarchies, limits, usage::number};
use rustix::io::write;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::{Cgroups, Controller, Limits, Permitted, Quota};

/// Begins the name of such a group. No run is called so, and whoever looks for groups without a run spares it.
pub(crate) const PREFIX: &str = "chaos+";

/// Length of a period of the processors' quota.
const PERIOD_US: u64 = 100_000;
/// Most groups one inside the other that are looked at for a limit of memory.
const DEPTH_MAX: usize = 32;

/// The group of one load. It can be written down before it is made, for whoever is to remove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadGroup {
    path: String,
    groups: Groups,
}

/// What a load may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadBounds {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processor time, in percent of one processor; 0: as much as everybody.
    pub cpu_percent: u64,
    /// Processes.
    pub processes: u32,
}

impl LoadGroup {
    /// Where the group of this name would be, inside of the node's own. If the machine has none in which memory can be
    /// bounded, says why.
    pub fn plan(permitted: &Permitted, name: &str) -> Result<Self, String> {
        let have = match &permitted.cgroups {
            Cgroups::None { why } => return Err(format!("no cgroup can be made: {why}")),
            Cgroups::V1(have) | Cgroups::Hybrid(have) | Cgroups::V2(have) => have,
        };
        if !have.contains(&Controller::Memory) {
            return Err("the cgroup controller `memory` cannot be used here".into());
        }
        let path = format!("{}/{PREFIX}{name}", permitted.group_parent);
        let mut groups = Hierarchies::find().groups(&path, &permitted.cgroups);
        // A group of v1 without processors of its own lets nobody in.
        groups.0.remove(Controller::CpuSet.v1_name());
        Ok(Self { path, groups })
    }

    /// Where it is below the roots of the hierarchies: `taffeta/NODE/chaos+NAME`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes it with these bounds. Safe to repeat. Fails, and leaves nothing, if memory would not be bounded.
    pub fn make(&self, bounds: LoadBounds) -> io::Result<()> {
        let percent = if bounds.cpu_percent == 0 { 100 } else { bounds.cpu_percent };
        let cpu_shares = (percent * 1_024 / 100).clamp(2, 262_144);
        let quota = Quota { quota_us: bounds.cpu_percent * PERIOD_US / 100, period_us: PERIOD_US };
        let limits = Limits {
            cpu_shares,
            cpu_weight: percent.clamp(1, 10_000),
            cpu_quota: (bounds.cpu_percent > 0).then_some(quota),
            memory_bytes: bounds.memory_bytes,
            pids_max: bounds.processes,
            cpuset: None,
            io_weight: None,
        };
        let gaps = limits::make_and_limit(&self.groups, &limits)?;
        // What is swapped away harms nobody: there is room for it, or it is not done.
        let unbounded = |gap: &String| gap.starts_with("memory: the limit of") && !gap.contains("the limit of swap");
        match gaps.into_iter().find(unbounded) {
            None => Ok(()),
            Some(gap) => {
                let _ = self.groups.remove();
                Err(io::Error::other(gap))
            }
        }
    }

    /// Moves this process, which has one thread, into it.
    pub fn enter(&self) -> io::Result<()> {
        for entry in self.groups.open_entries()? {
            write(entry, b"0")?;
        }
        Ok(())
    }

    /// Ends what is inside and removes it; nothing if it is not there.
    pub fn remove(&self) -> io::Result<()> {
        if !self.groups.exists() {
            return Ok(());
        }
        if !self.groups.kill_until_empty() {
            return Err(io::Error::other(format!("{}: something in it cannot be ended", self.path)));
        }
        self.groups.remove()
    }

    /// Bytes of memory that may be taken in it before the limit of a group above is met; `None` if none has one.
    pub fn room_above(&self) -> Option<u64> {
        let (folder, is_v1) = match (self.groups.v1("memory"), self.groups.unified()) {
            (Some(v1), _) => (v1, true),
            (None, Some(v2)) => (v2, false),
            (None, None) => return None,
        };
        room(folder.parent()?, is_v1)
    }
}

/// Bytes of memory that this process may still take before the limit of its group, or of one above, is met; `None` if none
/// has one.
pub fn own_room() -> Option<u64> {
    let hierarchies = Hierarchies::find();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // `4:memory:/a/b`, and `0::/a/b` for the unified one.
    let paths = own.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let inner = path.trim_start_matches('/');
        let v1 = hierarchies.v1.get(&Controller::Memory).filter(|_| controllers.split(',').any(|c| c == "memory"));
        let v2 = hierarchies.unified.as_ref().filter(|_| controllers.is_empty());
        v1.map(|root| (root.join(inner), true)).or_else(|| Some((v2?.join(inner), false)))
    });
    paths.filter_map(|(folder, is_v1): (PathBuf, bool)| room(&folder, is_v1)).min()
}

/// The least that any of these groups may still take, from the inner one to the outermost.
fn room(inner: &Path, is_v1: bool) -> Option<u64> {
    let (limit, used) =
        if is_v1 { ("memory.limit_in_bytes", "memory.usage_in_bytes") } else { ("memory.max", "memory.current") };
    let left = |folder: &Path| {
        let limit = number(&folder.join(limit)).filter(|limit| *limit < 1 << 60)?; // v1 writes "none" as a huge number
        Some(limit.saturating_sub(number(&folder.join(used))?))
    };
    inner.ancestors().take(DEPTH_MAX).filter_map(left).min()
}

/// Whether tasks of this machine get a group that can be frozen.
pub fn can_freeze(permitted: &Permitted) -> bool {
    Hierarchies::find().groups(&permitted.group_parent, &permitted.cgroups).can_freeze()
}

/// The controllers that groups are made for, by where their folders are.
pub(crate) fn controllers(groups: &Groups) -> (BTreeSet<Controller>, bool) {
    let v1: BTreeSet<Controller> =
        Controller::ALL.into_iter().filter(|controller| groups.v1(controller.v1_name()).is_some()).collect();
    match (v1.is_empty(), groups.unified()) {
        (true, Some(unified)) => (limits::controllers_of(unified), false),
        (true, None) | (false, _) => (v1, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::probe;
    use std::process::{Command, Stdio};

    #[test]
    fn the_least_room_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let set = |at: &Path, limit: &str, used: &str| {
            fs::write(at.join("memory.max"), limit).unwrap();
            fs::write(at.join("memory.current"), used).unwrap();
        };
        set(&inner, "max\n", "5\n");
        assert_eq!(room(&inner, false), None);
        set(&root.path().join("a"), "1000\n", "400\n");
        assert_eq!(room(&inner, false), Some(600));
        set(&inner, "100\n", "400\n");
        assert_eq!(room(&inner, false), Some(0), "used beyond a limit that was lowered");
    }

    #[test]
    fn what_a_load_takes_beyond_its_bound_ends_it_alone() {
        let permitted = probe(&Hierarchies::find(), &format!("load-{}", std::process::id()));
        let group = match LoadGroup::plan(&permitted, "test") {
            Ok(group) => group,
            Err(why) => return eprintln!("SKIPPED: {why}"),
        };
        let bounds = LoadBounds { memory_bytes: 24 << 20, cpu_percent: 50, processes: 4 };
        group.make(bounds).unwrap();
        group.make(bounds).unwrap(); // again
        assert!(group.path().ends_with("/chaos+test"), "{}", group.path());
        // A shell that is moved there before it takes anything: what it asks for is twice what it may have.
        let greedy = "read go; head -c 48m /dev/zero | tail -c 48m >/dev/null; echo $?";
        let mut shell =
            Command::new("sh").args(["-c", greedy]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        for folder in group.groups.folders() {
            fs::write(folder.join("cgroup.procs"), shell.id().to_string()).unwrap();
        }
        io::Write::write_all(&mut shell.stdin.take().unwrap(), b"go\n").unwrap();
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_ne!(said, "0", "it has had more than its bound: {output:?}");
        group.remove().unwrap();
        group.remove().unwrap(); // again
        assert!(!group.groups.exists());
        for folder in Hierarchies::find().everywhere(&permitted.group_parent).folders() {
            let _ = fs::remove_dir(folder);
        }
    }
}
