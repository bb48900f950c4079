//! How the machine's files become what a task sees.
//!
//! The task keeps the machine's own tree, as its programs and libraries are there; what is mounted over it makes the tree
//! read-only, hides what is not for the task, and gives it what is its own. The order matters: what is hidden by one step
//! may come back by a later one, which finds it as it was before the first.

use crate::{Memory, MountPoint, MountSource, Permitted, SECRETS_FOLDER, SecretsAt, TaskSpec};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};
use taffeta_model::{Measure, Profile};

/// Smallest size of a private tmpfs in bytes, however little memory a task has.
const TMPFS_BYTES_MIN: u64 = 1 << 20;

/// Size of a tmpfs that only holds mount points, in bytes: a page for each folder of a deep path.
const COVER_BYTES: u64 = 1 << 20;

/// Of the folder that daemons use for their sockets and files of process ids, what programs need to find names.
const RESOLVERS: [&str; 3] = ["/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];

/// What only administrators of the machine have any use for. A task that is root could read it, as its owner.
const SECRETS_OF_MACHINE: [&str; 6] =
    ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/root/.ssh", "/etc/sudoers.d"];

/// What no task may read of the kernel: the masked paths of OCI engines (moby's `DefaultMaskedPaths`), and the file
/// systems below `/sys` which those do not mount at all.
const MASKED: [&str; 18] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// What no task may change of the kernel: their read-only paths, and `/sys` with the cgroups in it.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"];

/// Memory that programs share.
const SHARED: &str = "/dev/shm";

/// One thing to do to the files that a task sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViewStep {
    /// Nothing that is mounted can be written to any more.
    Seal {
        /// Whether device files still work.
        devices: bool,
    },
    /// Memory that is empty at the start and gone at the end.
    Tmpfs {
        /// Where.
        at: PathBuf,
        /// Its size.
        bytes: u64,
        /// Permission bits.
        mode: u32,
        /// Whether it is left out where there is no such folder.
        optional: bool,
    },
    /// A file or folder of the machine, as it was before the first step.
    Bind(Bind),
    /// A symbolic link.
    Link {
        /// Where.
        at: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// Nothing more can be made in this tmpfs.
    Close {
        /// Where it is.
        at: PathBuf,
    },
    /// A `/dev` with the devices that any program may use.
    Devices {
        /// Size of `/dev/shm`; `None`: the machine's own.
        shm_bytes: Option<u64>,
    },
    /// A `/proc` of the task's own processes.
    Proc,
    /// Nothing is to be read there. Left out where there is nothing.
    Mask {
        /// Where.
        at: PathBuf,
    },
    /// Nothing can be written there. Left out where there is nothing.
    ReadOnly {
        /// Where.
        at: PathBuf,
    },
}

/// See [`ViewStep::Bind`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// What.
    pub from: PathBuf,
    /// Where the task finds it.
    pub at: PathBuf,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// Whether it is the task's own: what root owns on the disk is the task's, whoever that is on the machine.
    pub own: bool,
    /// Whether it is left out where there is no such thing.
    pub optional: bool,
}

impl ViewStep {
    /// Whether nothing of the machine's is to be seen at this path after it, but what comes back by another step.
    pub(crate) fn hides(&self, path: &Path) -> bool {
        match self {
            Self::Tmpfs { at, .. } | Self::Mask { at } => path.starts_with(at),
            Self::Devices { shm_bytes } => {
                path.starts_with("/dev") && (shm_bytes.is_some() || !path.starts_with(SHARED))
            }
            Self::Seal { .. }
            | Self::Bind(_)
            | Self::Link { .. }
            | Self::Close { .. }
            | Self::Proc
            | Self::ReadOnly { .. } => false,
        }
    }
}

impl fmt::Display for ViewStep {
    /// Follows `cannot`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal { .. } => f.write_str("make the machine's files read-only"),
            Self::Tmpfs { at, .. } => write!(f, "mount a private {}", at.display()),
            Self::Bind(Bind { from, at, .. }) if from == at => write!(f, "show {}", at.display()),
            Self::Bind(Bind { from, at, .. }) => write!(f, "show {} at {}", from.display(), at.display()),
            Self::Link { at, .. } => write!(f, "make the link {}", at.display()),
            Self::Close { at } => write!(f, "make {} read-only", at.display()),
            Self::Devices { .. } => f.write_str("make a private /dev"),
            Self::Proc => f.write_str("mount a private /proc"),
            Self::Mask { at } => write!(f, "mask {}", at.display()),
            Self::ReadOnly { at } => write!(f, "make {} read-only", at.display()),
        }
    }
}

/// The steps for a task that has a mount namespace, and of the other measures these.
pub(crate) fn view(spec: &TaskSpec, permitted: &Permitted, measures: &BTreeSet<Measure>) -> Vec<ViewStep> {
    let has = |measure| measures.contains(&measure);
    let (sealed, tmp, hiding) = (has(Measure::ReadOnlyRoot), has(Measure::PrivateTmp), has(Measure::HiddenFolders));
    let memory = shared_memory(permitted);
    let own_shared = tmp || memory == Some(Path::new(SHARED)); // where secrets are it cannot be the machine's
    let half = (spec.memory_bytes / 2).max(TMPFS_BYTES_MIN); // the kernel's own default for a machine
    let mut steps = vec![];
    if sealed {
        steps.push(ViewStep::Seal { devices: !has(Measure::PrivateDevices) });
    }
    if has(Measure::PrivateDevices) {
        steps.push(ViewStep::Devices { shm_bytes: own_shared.then_some(half) });
    } else if own_shared {
        steps.push(tmpfs(SHARED, half, 0o1777));
    } else if sealed {
        steps.push(back(SHARED, false));
    }
    for at in ["/tmp", "/var/tmp"] {
        match (tmp, sealed) {
            (true, _) => steps.push(tmpfs(at, half, 0o1777)),
            (false, true) => steps.push(back(at, false)),
            (false, false) => {}
        }
    }
    if hiding {
        // A socket below /run would let a task have anything done by a daemon that takes it for root.
        steps.push(tmpfs("/run", half, 0o755));
        steps.extend(RESOLVERS.map(|at| back(at, true)));
        steps.extend(SECRETS_OF_MACHINE.map(|at| ViewStep::Mask { at: at.into() }));
    }
    let private = [("/tmp", tmp), ("/var/tmp", tmp), (SHARED, own_shared), ("/run", hiding)];
    let private: Vec<&Path> = private.into_iter().filter(|(_, done)| *done).map(|(at, _)| Path::new(at)).collect();
    steps.extend(hide(spec, permitted, &private));
    steps.extend(permitted.measures.masked.iter().map(|at| ViewStep::Mask { at: at.clone() }));
    // In a user namespace the kernel permits only that of its own processes.
    if has(Measure::PidNamespace) || (has(Measure::MaskedProc) && permitted.root) {
        steps.push(ViewStep::Proc);
    }
    if has(Measure::MaskedProc) {
        steps.extend(MASKED.map(|at| ViewStep::Mask { at: at.into() }));
        let sys = |at: &&str| !sealed || *at != "/sys"; // which is sealed with the rest
        steps.extend(READ_ONLY.into_iter().filter(sys).map(|at| ViewStep::ReadOnly { at: at.into() }));
    }
    let strict = spec.isolation.profile == Some(Profile::Strict);
    for point in &spec.mounts {
        steps.push(asked(point, permitted, strict));
        steps.extend(masked_below(point, permitted));
    }
    steps
}

/// The folder of the machine in which secrets of tasks are, if it is one.
fn shared_memory(permitted: &Permitted) -> Option<&Path> {
    match &permitted.memory {
        Memory::Folder(folder) => Some(folder),
        Memory::Private | Memory::Nowhere { .. } => None,
    }
}

/// Takes the node's folders away, whatever is loosened, and gives the task back what is its own. Of what every task may
/// read, that which some other step covers (`private` are what the ones before have covered) is shown again, unless it would
/// show what is to be hidden, too, or the machine's own `/tmp`.
fn hide(spec: &TaskSpec, permitted: &Permitted, private: &[&Path]) -> Vec<ViewStep> {
    let can = !permitted.measures.lacking.contains_key(&Measure::HiddenFolders);
    let memory = shared_memory(permitted).filter(|folder| !private.iter().any(|above| folder.starts_with(above)));
    let hidden = permitted.measures.hidden.iter().map(PathBuf::as_path).chain(memory);
    let hidden: Vec<&Path> = hidden.filter(|_| can).collect();
    let within = |path: &Path| hidden.iter().any(|above| path.starts_with(above));
    let covers: Vec<&Path> = hidden.iter().chain(private).copied().collect();
    let kept =
        |path: &Path| covers.iter().copied().chain(SECRETS_OF_MACHINE.map(Path::new)).all(|at| !at.starts_with(path));
    let again = |path: &&PathBuf| covers.iter().any(|above| path.starts_with(above)) && kept(path);
    let mut seen: Vec<&PathBuf> = vec![];
    for path in permitted.measures.shown.iter().filter(again) {
        if !seen.iter().any(|above| path.starts_with(above)) {
            seen.push(path);
        }
    }
    let (inner, outer): (Vec<&PathBuf>, Vec<_>) = seen.into_iter().partition(|path| within(path));
    let shown = |path: &PathBuf| ViewStep::Bind(Bind { optional: true, ..bind(path, true, false) });
    let mut steps: Vec<ViewStep> = outer.into_iter().map(shown).collect();
    let cover = |at: &&Path| ViewStep::Tmpfs { at: at.to_path_buf(), bytes: COVER_BYTES, mode: 0o711, optional: false };
    steps.extend(hidden.iter().map(cover));
    steps.extend(inner.into_iter().map(shown));
    steps.push(ViewStep::Bind(bind(&spec.work(), false, true)));
    let secrets = spec.folder.join(SECRETS_FOLDER);
    match spec.secrets_at(permitted) {
        None => {}
        Some(SecretsAt::Private | SecretsAt::Disk) => steps.push(ViewStep::Bind(bind(&secrets, true, true))),
        Some(SecretsAt::Memory(memory)) => {
            steps.push(ViewStep::Bind(bind(&memory, true, true)));
            if within(&secrets) {
                steps.push(ViewStep::Link { at: secrets, to: memory });
            }
        }
    }
    steps.extend(spec.links.values().map(|to| ViewStep::Bind(bind(to, false, true))));
    steps.extend(hidden.iter().map(|at| ViewStep::Close { at: at.to_path_buf() }));
    steps
}

/// What is masked, where a folder that the app mounts would show it once more.
fn masked_below(point: &MountPoint, permitted: &Permitted) -> Vec<ViewStep> {
    let from = match &point.source {
        MountSource::Host(from) => from,
        MountSource::Tmpfs { .. } => return vec![],
    };
    let at = |masked: &PathBuf| {
        let rest = masked.strip_prefix(from).ok()?;
        Some(if rest.as_os_str().is_empty() { point.at.clone() } else { point.at.join(rest) })
    };
    permitted.measures.masked.iter().filter_map(at).map(|at| ViewStep::Mask { at }).collect()
}

/// What the app asked for. In `strict` what is not the node's own is read-only.
fn asked(point: &MountPoint, permitted: &Permitted, strict: bool) -> ViewStep {
    match &point.source {
        MountSource::Host(from) => {
            let own = permitted.measures.hidden.iter().any(|above| from.starts_with(above));
            let read_only = point.read_only || (strict && !own);
            ViewStep::Bind(Bind { from: from.clone(), at: point.at.clone(), read_only, own, optional: false })
        }
        MountSource::Tmpfs { bytes } => {
            ViewStep::Tmpfs { at: point.at.clone(), bytes: *bytes, mode: 0o1777, optional: false }
        }
    }
}

fn tmpfs(at: &str, bytes: u64, mode: u32) -> ViewStep {
    ViewStep::Tmpfs { at: at.into(), bytes, mode, optional: true }
}

fn back(at: &str, read_only: bool) -> ViewStep {
    ViewStep::Bind(Bind { optional: true, ..bind(Path::new(at), read_only, false) })
}

fn bind(path: &Path, read_only: bool, own: bool) -> Bind {
    Bind { from: path.into(), at: path.into(), read_only, own, optional: false }
}
