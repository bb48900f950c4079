//! Groups of processes (cgroup v2): all of one is killed in one moment, or stands still.

use crate::{
    sweep::{CLUSTER, owner_is_gone},
    wait::within,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What a process that is to be in a group is started under: it goes there, and becomes what follows.
const JOIN: &str = r#"echo $$ > "$0" && exec "$@""#;
/// How long the kernel may take to end killed processes, and to let go of them, on a busy machine.
const END_MAX: Duration = Duration::from_secs(10);

/// A group, removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// A group of a machine of the cluster with this folder; why there is none, if it cannot be made.
    pub(crate) fn new(cluster: &Path, machine: &str) -> Result<Self, String> {
        let root = unified().ok_or("no cgroup v2 is mounted")?;
        let cluster = cluster.file_name().ok_or("a cluster's folder has a name")?;
        let folder = root.join(cluster).join(machine);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let group = Self(folder);
        if !group.0.join("cgroup.kill").exists() {
            return Err("cgroups cannot be killed at once by this kernel (5.14 can)".into());
        }
        Ok(group)
    }

    /// What a command is appended to that is to run in the group.
    pub(crate) fn under(&self) -> [String; 4] {
        let entry = self.0.join("cgroup.procs");
        ["sh", "-c", JOIN, &entry.to_string_lossy()].map(str::to_owned)
    }

    /// Kills all of it in one moment, and does not wait.
    pub(crate) fn strike(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1"); // if it is gone nothing is in it
    }

    /// Kills all of it in one moment, waits until it is empty, and puts an empty group in its place. The kernel (6.18)
    /// remembers that a group was killed, and kills what one of its later processes starts right into another group, as a node
    /// does its tasks: it takes the difference of what it remembers of both for a killing that the new process has missed.
    pub(crate) fn kill(&self) {
        remove(&self.0);
        fs::create_dir(&self.0).expect("there was one");
    }

    /// Lets all of it stand still, or go on, and waits until it does.
    pub(crate) fn freeze(&self, frozen: bool) {
        let word = if frozen { "1" } else { "0" };
        fs::write(self.0.join("cgroup.freeze"), word).expect("every group can be frozen");
        within(END_MAX, "the group stands still or goes on", || {
            let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
            if events.contains(&format!("frozen {word}")) { Ok(()) } else { Err(events) }
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.0);
        let _ = self.0.parent().map(fs::remove_dir); // stays while other machines have groups
    }
}

/// Where cgroups of version 2 are.
fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&"cgroup2"));
    found.map(|fields| fields[1].into())
}

/// Kills what is in a group, which has no inner ones, and removes it.
fn remove(folder: &Path) {
    let _ = fs::write(folder.join("cgroup.kill"), "1");
    within(END_MAX, "the group is removed", || match fs::remove_dir(folder) {
        Err(e) if folder.exists() => Err(format!("{}: {e}", folder.display())),
        Ok(()) | Err(_) => Ok(()),
    });
}

/// Removes the groups of a cluster.
pub(crate) fn remove_groups_of(cluster: &Path) {
    let (Some(root), Some(name)) = (unified(), cluster.file_name()) else { return };
    if name.to_string_lossy().starts_with(CLUSTER) {
        remove_with_inner(&root.join(name));
    }
}

/// Removes the groups of clusters whose process is no more.
pub(crate) fn remove_orphans() {
    let entries = unified().and_then(|root| fs::read_dir(root).ok()).into_iter().flatten().flatten();
    let orphans = entries.filter(|e| e.file_name().to_string_lossy().strip_prefix(CLUSTER).is_some_and(owner_is_gone));
    orphans.for_each(|orphan| remove_with_inner(&orphan.path()));
}

fn remove_with_inner(folder: &Path) {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten();
    inner.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).for_each(|e| remove(&e.path()));
    if folder.exists() {
        remove(folder);
    }
}
