//! What is left on the machine of a node of which nothing should be.

use crate::support::Bench;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Everything that is left, in words. Namespaces are not looked for: one is kept by a process that is in it or by a mount,
/// and those are. Nor are sockets: each lies in a run's folder, or belongs to a process.
pub(crate) fn leftovers(bench: &Bench, mark: &str) -> Vec<String> {
    let data = bench.root.parent().unwrap();
    let mut all: Vec<String> = ours(data, mark, &mut BTreeSet::new())
        .into_iter()
        .map(|process| format!("process {} ({})", process.pid, process.name))
        .collect();
    all.extend(groups(&bench.node_id).iter().map(|folder| format!("group {}", folder.display())));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = data.display().to_string();
    all.extend(mounts.lines().filter(|line| line.contains(&below)).map(|line| format!("mount {line}")));
    all.extend(entries(&bench.root).map(|path| format!("folder {}", path.display())));
    let prefix = format!("taffeta-{}-", bench.node_id);
    let secrets = entries(Path::new("/dev/shm")).filter(|path| name(path).starts_with(&prefix));
    all.extend(secrets.map(|path| format!("secrets {}", path.display())));
    let devices = entries(Path::new("/sys/block")).filter(|device| {
        fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| file.starts_with(&below))
    });
    all.extend(devices.map(|device| format!("loop device {}", name(&device))));
    all
}

/// The node's groups, in whatever hierarchy.
pub(crate) fn groups(node_id: &str) -> Vec<PathBuf> {
    let groups = hierarchies().into_iter().map(|root| root.join("taffeta").join(node_id));
    groups.filter(|group| group.exists()).collect()
}

/// Where hierarchies of cgroups are mounted, of either version.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroups = mounts.filter(|fields| fields.get(2).is_some_and(|kind| matches!(*kind, "cgroup" | "cgroup2")));
    cgroups.map(|fields| PathBuf::from(fields[1])).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A process of the node's.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// As the kernel has it: `taffeta-shim` for a shim and its copies, `taffeta-init`.
    pub(crate) name: String,
    /// The run that it belongs to.
    pub(crate) run: Option<String>,
    /// Whether it is a copy of the program that supervises, and not the task's.
    pub(crate) supervises: bool,
}

/// All processes that have a path below `data` in their command line or environment, or this mark among their arguments:
/// agents, what tries the machine out, starters, shims, inits and tasks.
/// Those that are found to be others' are put into `foreign`, and not looked at again.
pub(crate) fn ours(data: &Path, mark: &str, foreign: &mut BTreeSet<u32>) -> Vec<Process> {
    let numbers = entries(Path::new("/proc")).filter_map(|path| name(&path).parse().ok());
    let all: Vec<u32> = numbers.filter(|pid| !foreign.contains(pid)).collect();
    let found = |pid: u32| {
        let process = look(pid, data, mark);
        if process.is_none() {
            foreign.insert(pid);
        }
        process
    };
    all.into_iter().filter_map(found).collect()
}

fn look(pid: u32, data: &Path, mark: &str) -> Option<Process> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let below = [data.as_os_str().as_bytes(), b"/"].concat();
    let holds = |bytes: &[u8]| bytes.windows(below.len()).any(|window| window == below);
    let line = read("cmdline");
    let args: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let (by_line, marked) = (holds(&line), args.contains(&mark.as_bytes()));
    if !by_line && !marked && !holds(&read("environ")) {
        return None;
    }
    let supervises = by_line && args.get(1).is_some_and(|verb| *verb == b"shim");
    let folder = match supervises {
        true => args.get(2).filter(|folder| folder.starts_with(b"/")).map(|folder| folder.to_vec()),
        false => task_folder(&read("environ")),
    };
    let run = folder.map(|folder| name(Path::new(std::ffi::OsStr::from_bytes(&folder))));
    let comm = String::from_utf8_lossy(&read("comm")).trim().to_owned();
    Some(Process { pid, name: comm, run, supervises })
}

/// The folder of the run whose task has this environment.
fn task_folder(environment: &[u8]) -> Option<Vec<u8>> {
    let variable = environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"TAFFETA_TASK_DIR="))?;
    Some(Path::new(std::ffi::OsStr::from_bytes(variable)).parent()?.as_os_str().as_bytes().to_vec())
}

impl Process {
    /// kill -9, if the number is still its own.
    pub(crate) fn kill(&self, data: &Path, mark: &str) {
        let Some(number) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(held) = pidfd_open(number, PidfdFlags::empty()) else { return };
        if look(self.pid, data, mark).is_some() {
            let _ = pidfd_send_signal(&held, Signal::KILL);
        }
    }
}
