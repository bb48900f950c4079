//! What cgroups this machine permits, and making one with limits that are in force, not merely asked for: each is read
//! back from the kernel after it was set.

use crate::{
    group::{Groups, UNIFIED, subfolders},
    hierarchy::Hierarchies,
    load_group, processors,
    usage::number,
};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};
use taffeta_isolation_plan::{Cgroups, Controller, IoWeight, Limits, Measures, Memory, Permitted};
use taffeta_model::CpuSet;

/// Tries to make a group that another node's agent of this machine may be removing, as the last of its tasks is gone.
const TRIES: u32 = 20;

/// Finds out by making the node's own group, which stays: its tasks get theirs inside.
pub(crate) fn probe(hierarchies: &Hierarchies, node_id: &str) -> Permitted {
    let group_parent = format!("taffeta/{node_id}");
    let root = rustix::process::geteuid().is_root();
    let cgroups = if hierarchies.v1.is_empty() {
        probe_v2(hierarchies, &group_parent)
    } else {
        probe_v1(hierarchies, &group_parent)
    };
    let memory = Memory::Nowhere { why: "it was not looked for".into() };
    Permitted { root, cgroups, group_parent, memory, measures: Measures::default() }
}

fn probe_v1(hierarchies: &Hierarchies, parent: &str) -> Cgroups {
    let mut have = BTreeSet::new();
    let mut why = String::from("no cgroup hierarchy is mounted");
    for (controller, root) in &hierarchies.v1 {
        match make(&root.join(parent)) {
            Ok(()) => {
                have.insert(*controller);
            }
            Err(e) => why = e,
        }
    }
    let tracked = hierarchies.unified.as_ref().is_some_and(|root| make(&root.join(parent)).is_ok());
    match (have.is_empty(), tracked) {
        (true, _) => Cgroups::None { why },
        (false, true) => Cgroups::Hybrid(have),
        (false, false) => Cgroups::V1(have),
    }
}

fn probe_v2(hierarchies: &Hierarchies, parent: &str) -> Cgroups {
    let Some(root) = &hierarchies.unified else {
        return Cgroups::None { why: "no cgroup hierarchy is mounted".into() };
    };
    let folder = root.join(parent);
    let offered = controllers_of(root);
    for _ in 0..TRIES {
        if let Err(why) = make(&folder) {
            return Cgroups::None { why };
        }
        // Each on its own: the kernel may refuse one, as `cpu` where a process of real-time priority runs.
        for outer in [root, &root.join("taffeta"), &folder] {
            for controller in &offered {
                let _ = write(&outer.join("cgroup.subtree_control"), &format!("+{controller}"));
            }
        }
        let have = controllers_passed_on(&folder);
        if !have.is_empty() || offered.is_empty() {
            return Cgroups::V2(have);
        }
        sleep(Duration::from_millis(1)); // a folder on the way may have been made anew just now
    }
    Cgroups::V2(controllers_passed_on(&folder))
}

pub(crate) fn controllers_of(group: &Path) -> BTreeSet<Controller> {
    listed(&group.join("cgroup.controllers"))
}

fn controllers_passed_on(group: &Path) -> BTreeSet<Controller> {
    listed(&group.join("cgroup.subtree_control"))
}

fn listed(file: &Path) -> BTreeSet<Controller> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let have = |c: &Controller| text.split_whitespace().any(|name| name == c.name());
    Controller::UNIFIED.into_iter().filter(have).collect()
}

/// Makes a group and those above it, and sees whether groups can be made inside.
fn make(folder: &Path) -> Result<(), String> {
    let mut made = Ok(());
    for _ in 0..TRIES {
        made = fs::create_dir_all(folder).and_then(|()| writable(folder));
        match &made {
            Err(e) if e.kind() == ErrorKind::NotFound => sleep(Duration::from_millis(1)),
            Ok(()) | Err(_) => break,
        }
    }
    made.map_err(|e| format!("{}: {e}", folder.display()))
}

fn writable(folder: &Path) -> io::Result<()> {
    Ok(accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// The groups of runs inside the node's own, by name; with all the folders that have it, in whatever hierarchy.
pub(crate) fn groups_of_node(hierarchies: &Hierarchies, permitted: &Permitted) -> BTreeMap<String, Groups> {
    let mut found: BTreeMap<String, Groups> = BTreeMap::new();
    for (controller, folder) in hierarchies.everywhere(&permitted.group_parent).0 {
        for inner in subfolders(&folder) {
            let Some(name) = inner.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
            if name.starts_with(load_group::PREFIX) {
                continue; // no run's, and removed by whoever has made it
            }
            found.entry(name).or_default().0.insert(controller.clone(), inner);
        }
    }
    found
}

/// Makes the group and sets the limits. Gives where it lies and, in words, which limits are not in force.
pub(crate) fn create(
    hierarchies: &Hierarchies,
    path: &str,
    limits: &Limits,
    cgroups: &Cgroups,
) -> io::Result<(Groups, Vec<String>)> {
    let mut groups = hierarchies.groups(path, cgroups);
    if limits.cpuset.is_none() {
        // A group of v1 without processors of its own lets nobody in, and all tasks would have to be given some.
        groups.0.remove(Controller::CpuSet.v1_name());
    }
    for folder in groups.folders() {
        make(folder).map_err(|why| io::Error::other(format!("cannot make the cgroup {why}")))?;
    }
    let Some(have) = cgroups.controllers() else { return Ok((groups, vec![])) };
    let v1 = !hierarchies.v1.is_empty();
    let mut limiter = Limiter { groups: &groups, have, v1, gaps: vec![] };
    limiter.limit_cpu(limits);
    limiter.limit_memory(limits);
    limiter.limit_pids(limits);
    limiter.limit_io(limits.io_weight);
    let confined = limits.cpuset.as_ref().is_none_or(|wanted| limiter.confine_to(hierarchies, wanted));
    let gaps = limiter.gaps;
    let useless = (!confined && v1).then(|| groups.0.remove(Controller::CpuSet.v1_name())).flatten();
    if let Some(folder) = useless {
        fs::remove_dir(&folder)?; // it has no processors: whoever starts the task regardless could not let it in
    }
    Ok((groups, gaps))
}

/// Makes groups that were planned before, and sets the limits but for processors and disks. Gives in words which are not in
/// force.
pub(crate) fn make_and_limit(groups: &Groups, limits: &Limits) -> io::Result<Vec<String>> {
    for folder in groups.folders() {
        make(folder).map_err(|why| io::Error::other(format!("cannot make the cgroup {why}")))?;
    }
    let (have, v1) = load_group::controllers(groups);
    let mut limiter = Limiter { groups, have: &have, v1, gaps: vec![] };
    limiter.limit_cpu(limits);
    limiter.limit_memory(limits);
    limiter.limit_pids(limits);
    Ok(limiter.gaps)
}

/// Sets the limits of one group, and notes which are not in force. What the machine has no controller for is known
/// before, and left out.
struct Limiter<'a> {
    groups: &'a Groups,
    have: &'a BTreeSet<Controller>,
    v1: bool,
    gaps: Vec<String>,
}

impl Limiter<'_> {
    /// The folder in which a controller's files are.
    fn folder(&self, controller: Controller) -> Option<PathBuf> {
        let name = if self.v1 { controller.v1_name() } else { UNIFIED };
        self.groups.0.get(name).filter(|_| self.have.contains(&controller)).cloned()
    }

    fn limit_cpu(&mut self, limits: &Limits) {
        let Some(folder) = self.folder(Controller::Cpu) else { return };
        if self.v1 {
            self.set("cpu: the weight", &folder.join("cpu.shares"), limits.cpu_shares);
        } else {
            self.set("cpu: the weight", &folder.join("cpu.weight"), limits.cpu_weight);
        }
        match limits.cpu_quota {
            Some(quota) if self.v1 => {
                self.set("cpu: the period", &folder.join("cpu.cfs_period_us"), quota.period_us);
                self.set("cpu: the quota in microseconds", &folder.join("cpu.cfs_quota_us"), quota.quota_us);
            }
            Some(quota) => {
                let both = format!("{} {}", quota.quota_us, quota.period_us);
                self.set("cpu: the quota in microseconds", &folder.join("cpu.max"), both);
            }
            None => {}
        }
    }

    fn limit_memory(&mut self, limits: &Limits) {
        let Some(folder) = self.folder(Controller::Memory) else { return };
        let page = rustix::param::page_size() as u64;
        let bytes = limits.memory_bytes / page * page; // the kernel counts in pages
        let (limit, swap, swapped) = if self.v1 {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes) // the second is the sum of both
        } else {
            ("memory.max", "memory.swap.max", 0)
        };
        self.set("memory: the limit", &folder.join(limit), bytes);
        // Without the file swap is not counted, which is nothing to the machine that has none.
        if folder.join(swap).exists() || swaps() {
            self.set("memory: the limit of swap", &folder.join(swap), swapped);
        }
        if !self.v1 {
            // A task of which one process was killed for memory is half dead: all of it goes. The shim does so on v1.
            self.set("memory: the end of the whole task at its limit", &folder.join("memory.oom.group"), 1);
        }
    }

    fn limit_pids(&mut self, limits: &Limits) {
        if let Some(folder) = self.folder(Controller::Pids) {
            self.set("pids: the limit", &folder.join("pids.max"), limits.pids_max);
        }
    }

    fn limit_io(&mut self, wanted: Option<IoWeight>) {
        let (Some(wanted), Some(folder)) = (wanted, self.folder(Controller::Io)) else { return };
        let files = match self.v1 {
            true => [("blkio.bfq.weight", wanted.bfq, "[bfq]"), ("blkio.weight", wanted.cfq, "[cfq]")],
            false => [("io.bfq.weight", wanted.bfq, "[bfq]"), ("io.weight", wanted.cost, "")],
        };
        let present = files.iter().filter(|(name, ..)| folder.join(name).exists());
        let present: Vec<_> = present.collect();
        for (name, weight, _) in &present {
            self.set("io: the weight", &folder.join(name), weight);
        }
        if !present.iter().any(|(_, _, scheduler)| is_heeded(&folder, scheduler)) {
            let why = "no disk of this machine has the scheduler `bfq` or a cost model (io.cost.qos)";
            self.gaps.push(format!("io: the weight of {} is not in force: {why}", wanted.cost));
        }
    }

    /// Whether that was possible; without the controller there is nothing to do.
    fn confine_to(&mut self, hierarchies: &Hierarchies, wanted: &CpuSet) -> bool {
        let root = if self.v1 { hierarchies.v1.get(&Controller::CpuSet) } else { hierarchies.unified.as_ref() };
        let (Some(root), Some(folder)) = (root, self.folder(Controller::CpuSet)) else { return true };
        let done = processors::confine(root, &folder, wanted, self.v1);
        let failed = |why| format!("cpuset: the processors {wanted} cannot be given: {why}");
        self.gaps.extend(done.as_ref().err().map(failed));
        done.is_ok()
    }

    /// Writes a limit and reads it back.
    fn set(&mut self, what: &str, file: &Path, wanted: impl ToString) {
        let wanted = wanted.to_string();
        let set = write(file, &wanted);
        let is = fs::read_to_string(file).map(|text| text.trim().to_owned());
        // `io.weight` says `default 100`, where others may follow for single disks.
        let fits = |is: &String| is.lines().next().map(|line| line.trim_start_matches("default ")) == Some(&*wanted);
        let name = file.file_name().unwrap_or_default().display();
        let why = match (is, set) {
            (Ok(is), _) if fits(&is) => return,
            (_, Err(e)) if e.kind() == ErrorKind::NotFound => format!("this kernel has no {name}"),
            (_, Err(e)) => format!("{name}: {e}"),
            (Ok(is), Ok(())) => format!("{name} says {is}"),
            (Err(e), Ok(())) => format!("{name} cannot be read back: {e}"),
        };
        self.gaps.push(format!("{what} of {wanted} is not in force: {why}"));
    }
}

/// Writes to a file of the kernel's, which is not to be made.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// Whether the machine moves memory to a disk.
fn swaps() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1) // the first line is a heading
}

/// Whether any disk orders its requests by this scheduler, given as its file shows it; or, for "", by a model of cost.
fn is_heeded(group: &Path, scheduler: &str) -> bool {
    if scheduler.is_empty() {
        // Only the root has the file: the groups above ours lead there.
        let qos = group.ancestors().find_map(|above| fs::read_to_string(above.join("io.cost.qos")).ok());
        return qos.is_some_and(|text| text.contains("enable=1"));
    }
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    // A loop device without a file has no size.
    let disks = disks.filter(|disk| number(&disk.path().join("size")).is_some_and(|size| size > 0));
    let mut schedulers = disks.filter_map(|disk| fs::read_to_string(disk.path().join("queue/scheduler")).ok());
    schedulers.any(|text| text.contains(scheduler))
}

#[cfg(test)]
mod tests;
