//! Which files a task may do what with, in the terms of landlock: paths, and rights to all that lies below them.
//!
//! Where the task has a view of the files of its own, this is a second wall behind it. Where it has none, because the
//! machine permits none or the app wants none, this is the only one.

use crate::{MountSource, SECRETS_FOLDER, TaskSpec};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use taffeta_model::Measure;

/// Where any program may write.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Where devices are.
const DEV: &str = "/dev";

/// Where the kernel is told what to do; writable to root as far as nobody forbids it.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// Devices that do no harm, for where `/dev` is the machine's own.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// What a strict task may read: programs, libraries, settings, and what the kernel tells. The settings of the resolver are
/// often a link to elsewhere.
const PROGRAMS: [&str; 14] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/etc",
    "/etc/resolv.conf",
    "/opt",
    "/nix",
    "/gnu",
    "/proc",
    "/sys",
];

/// Files by what may be done with them. What no rule permits is refused; making devices never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAccess {
    /// The rules. A path that does not exist is passed over.
    pub rules: Vec<FileRule>,
    /// Absolute paths of which nothing may be reached by a rule for them or for a folder above them.
    pub hidden: Vec<PathBuf>,
    /// Absolute paths to which no rule for a folder above them applies, but those for themselves do.
    pub apart: Vec<PathBuf>,
    /// Whether it may signal only what it started itself.
    pub scope_signals: bool,
    /// Whether it may connect only to those abstract sockets that it made itself.
    pub scope_sockets: bool,
}

/// A rule for a file, or for a folder and all that is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// As the task sees it.
    pub path: PathBuf,
    /// What is permitted.
    pub right: FileRight,
}

/// What may be done with files. Each but the first includes reading, listing and executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRight {
    /// See what is in folders.
    List,
    /// Nothing else.
    Read,
    /// Write to what is there.
    WriteThere,
    /// Write to what is there, and control it if it is a device.
    Device,
    /// The same for each file that is in the folder when the task starts, but for block devices: on disks lies what all
    /// other rules keep from the task. The folder itself can be listed.
    DeviceButDisks,
    /// Make, change and remove all but devices.
    Write,
}

/// What of the task's view is there already, by other means.
pub(super) struct View<'a> {
    /// What was asked for.
    pub(super) wanted: &'a BTreeSet<Measure>,
    /// What of it is done. Without its own mounts nothing else about files is.
    pub(super) done: &'a BTreeSet<Measure>,
    /// Whether it is to read programs and libraries alone.
    pub(super) strict: bool,
    /// The folders and files that are to be hidden, and are not by other means.
    pub(super) hidden: &'a [PathBuf],
}

impl FileAccess {
    pub(super) fn new(spec: &TaskSpec, view: &View<'_>) -> Self {
        let done = |measure| view.done.contains(&Measure::MountNamespace) && view.done.contains(&measure);
        let wanted = |measure| view.wanted.contains(&measure);
        let mut rules = vec![];
        let mut rule = |path: &Path, right| rules.push(FileRule { path: path.to_owned(), right });
        if !wanted(Measure::ReadOnlyRoot) {
            rule(Path::new("/"), FileRight::Write);
        } else if view.strict {
            PROGRAMS.iter().for_each(|path| rule(Path::new(path), FileRight::Read));
        } else {
            rule(Path::new("/"), FileRight::Read);
        }
        SCRATCH.iter().for_each(|path| rule(Path::new(path), FileRight::Write));
        let mut apart = vec![];
        if done(Measure::PrivateDevices) {
            rule(Path::new(DEV), FileRight::Device);
        } else {
            apart.push(DEV.into());
            if wanted(Measure::PrivateDevices) {
                DEVICES.iter().for_each(|path| rule(Path::new(path), FileRight::Device));
            } else {
                rule(Path::new(DEV), FileRight::DeviceButDisks);
            }
        }
        // A process changes its own affairs there; which folder is its own nobody knows before it exists.
        if !wanted(Measure::MaskedProc) || done(Measure::MaskedProc) {
            rule(Path::new("/proc"), FileRight::WriteThere);
        } else {
            apart.extend(KERNEL.map(PathBuf::from));
            KERNEL.iter().for_each(|path| rule(Path::new(path), FileRight::Read));
        }
        if done(Measure::HiddenFolders) {
            rule(Path::new("/run"), FileRight::Write); // its own, and empty
        }
        rule(&spec.work(), FileRight::Write);
        rule(&spec.folder.join(SECRETS_FOLDER), FileRight::Read);
        spec.links.values().for_each(|path| rule(path, FileRight::Write));
        for mount in &spec.mounts {
            let memory = matches!(mount.source, MountSource::Tmpfs { .. });
            rule(&mount.at, if mount.read_only && !memory { FileRight::Read } else { FileRight::Write });
        }
        Self { rules, hidden: view.hidden.to_vec(), apart, scope_signals: true, scope_sockets: true }
    }
}
