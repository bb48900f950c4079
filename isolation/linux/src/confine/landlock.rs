//! The wall around files, and around processes and abstract sockets where the kernel knows of that.
#![allow(unsafe_code, reason = "the crate's own last call allocates, and so may not run between fork and exec")]

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::{
    fs::{FileType, fstat},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    ptr,
};
use taffeta_isolation_plan::{FileAccess, FileRight, FileRule};

/// The newest version of the rights to files that are asked for.
const FILES: ABI = ABI::V5;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const ASK_VERSION: u32 = 1;

/// Most rules of one task. Where folders are hidden by naming all that lies beside them, a folder with more entries than
/// that is out of bounds as a whole: each rule takes a system call and some memory of the kernel's.
const RULES_MAX: usize = 4_096;

/// What older kernels lack, by the version that brought it.
const LACKS: [(i64, &str); 3] = [
    (3, "files outside may be truncated (the kernel is older than 6.2)"),
    (5, "devices outside may be controlled (the kernel is older than 6.10)"),
    (6, "processes outside may be signalled, and abstract sockets reached (the kernel is older than 6.12)"),
];

/// Makes the rules; `None` where the kernel knows none.
pub(super) fn prepare(access: &FileAccess, gaps: &mut Vec<String>) -> io::Result<Option<OwnedFd>> {
    if let Err(why) = probe() {
        gaps.push(format!("landlock: {why}"));
        return Ok(None);
    }
    let mut ruleset = ruleset(access).map_err(io::Error::other)?;
    let plain = access.hidden.is_empty() && access.apart.is_empty();
    let rules = if plain { access.rules.clone() } else { around(access, gaps) };
    for FileRule { path, right } in &rules {
        match PathFd::new(path) {
            Ok(file) => ruleset = add(ruleset, file, *right).map_err(io::Error::other)?,
            // What is not there, or out of reach already, needs no rule.
            Err(_) => continue,
        }
    }
    Ok(ruleset.into())
}

fn ruleset(access: &FileAccess) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut scopes = BitFlags::<Scope>::empty();
    if access.scope_signals {
        scopes |= Scope::Signal;
    }
    if access.scope_sockets {
        scopes |= Scope::AbstractUnixSocket;
    }
    let ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(FILES))?;
    if scopes.is_empty() { ruleset.create() } else { ruleset.scope(scopes)?.create() }
}

fn add(ruleset: RulesetCreated, file: impl AsFd, right: FileRight) -> Result<RulesetCreated, landlock::RulesetError> {
    let folder = fstat(&file).is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::Directory);
    let fits = if folder { AccessFs::from_all(FILES) } else { AccessFs::from_file(FILES) };
    ruleset.add_rule(PathBeneath::new(file, rights(right) & fits))
}

fn rights(right: FileRight) -> BitFlags<AccessFs> {
    let read = AccessFs::from_read(FILES);
    let there = read | AccessFs::WriteFile | AccessFs::Truncate;
    match right {
        FileRight::List => AccessFs::ReadDir.into(),
        FileRight::Read => read,
        FileRight::WriteThere => there,
        FileRight::Device | FileRight::DeviceButDisks => there | AccessFs::IoctlDev,
        FileRight::Write => {
            AccessFs::from_all(FILES) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
    }
}

/// The rules, with each for a folder above what it must not reach replaced by rules for all else in it: landlock can only
/// add.
fn around(access: &FileAccess, gaps: &mut Vec<String>) -> Vec<FileRule> {
    let places = |paths: &[PathBuf]| {
        paths.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect::<BTreeSet<_>>()
    };
    let mut found = Around { hidden: places(&access.hidden), apart: places(&access.apart), rules: vec![] };
    for FileRule { path, right } in &access.rules {
        let Ok(path) = fs::canonicalize(path) else { continue };
        match right {
            FileRight::DeviceButDisks => found.but_disks(&path),
            FileRight::List | FileRight::Read | FileRight::WriteThere | FileRight::Device | FileRight::Write => {
                found.split(path, *right);
            }
        }
    }
    let mut rules = found.rules;
    if rules.len() > RULES_MAX {
        gaps.push(format!(
            "landlock: {} files and folders lie beside the hidden ones; the task reaches {RULES_MAX}",
            rules.len()
        ));
        // Those that were named come first in what is kept: the rest is what was found by looking.
        rules.sort_by_key(|rule| !access.rules.contains(rule));
        rules.truncate(RULES_MAX);
    }
    if !access.hidden.is_empty() {
        gaps.push(
            "hidden-folders: held by landlock alone, which leaves sockets in them open to whom their permissions let in"
                .into(),
        );
    }
    rules
}

/// Finding the rules that lead around something.
struct Around {
    hidden: BTreeSet<PathBuf>,
    apart: BTreeSet<PathBuf>,
    rules: Vec<FileRule>,
}

impl Around {
    /// Goes down towards what is not to be reached, and permits what lies beside the way.
    fn split(&mut self, path: PathBuf, right: FileRight) {
        if self.hidden.contains(&path) {
            return;
        }
        let below = |other: &PathBuf| *other != path && other.starts_with(&path);
        if !self.hidden.iter().chain(&self.apart).any(below) {
            self.rules.push(FileRule { path, right });
            return;
        }
        // Where nothing is secret that names would tell of.
        if self.hidden.is_empty() {
            self.rules.push(FileRule { path: path.clone(), right: FileRight::List });
        }
        for (entry, _) in self.entries(&path) {
            if !self.apart.contains(&entry) {
                self.split(entry, right);
            }
        }
    }

    /// Permits each file of a folder of devices but the disks. Other file systems that are mounted there have none.
    fn but_disks(&mut self, folder: &Path) {
        let file_system = |path: &Path| fs::symlink_metadata(path).map(|about| about.dev()).ok();
        let own = file_system(folder);
        self.rules.push(FileRule { path: folder.into(), right: FileRight::List });
        for (entry, kind) in self.entries(folder) {
            if kind.is_dir() && file_system(&entry) == own {
                self.but_disks(&entry);
            } else if !kind.is_block_device() {
                self.split(entry, FileRight::Device);
            }
        }
    }

    /// What is in a folder, but for links: they lead to something that has a rule of its own, or has none. No more than fit.
    fn entries(&self, folder: &Path) -> Vec<(PathBuf, fs::FileType)> {
        let room = (RULES_MAX + 1).saturating_sub(self.rules.len());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let entries = entries.filter_map(|entry| Some((entry.path(), entry.file_type().ok()?)));
        entries.filter(|(_, kind)| !kind.is_symlink()).take(room).collect()
    }
}

/// Restricts this thread, and all that it starts, for good.
pub(super) fn restrict(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: two numbers are passed, of which the first is an open file.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if done == 0 { Ok(()) } else { Err(last()) }
}

/// Whether this machine knows landlock.
pub(super) fn probe() -> Result<(), String> {
    match version() {
        Ok(_) => Ok(()),
        Err(Errno::OPNOTSUPP) => {
            Err("the kernel has landlock but was booted without it; add it to `lsm=` on its command line".into())
        }
        Err(Errno::NOSYS) => Err("the kernel has no landlock; it came with Linux 5.13".into()),
        Err(other) => Err(format!("the kernel does not say which it has ({other})")),
    }
}

/// The version of the kernel's landlock.
fn version() -> Result<i64, Errno> {
    // SAFETY: with this flag the call reads nothing and makes nothing: it gives a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, ASK_VERSION) };
    if version < 0 { Err(last()) } else { Ok(version) }
}

/// `errno` of the call before.
fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// What the kernel's landlock does not hold, in words; empty if it holds all, or there is none.
pub(super) fn missing() -> Vec<String> {
    let version = version().unwrap_or(0);
    LACKS.iter().filter(|(since, _)| (1..*since).contains(&version)).map(|(_, what)| (*what).to_owned()).collect()
}
