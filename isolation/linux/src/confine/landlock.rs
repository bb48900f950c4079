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
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
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
    let rules = if access.hidden.is_empty() { access.rules.clone() } else { around_hidden(access, gaps) };
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
        FileRight::Read => read,
        FileRight::WriteThere => there,
        FileRight::Device => there | AccessFs::IoctlDev,
        FileRight::Write => {
            AccessFs::from_all(FILES) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
    }
}

/// The rules, with each for a folder above a hidden one replaced by rules for all else in it: landlock can only add.
fn around_hidden(access: &FileAccess, gaps: &mut Vec<String>) -> Vec<FileRule> {
    let hidden: BTreeSet<PathBuf> =
        access.hidden.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect();
    let mut rules = vec![];
    for FileRule { path, right } in &access.rules {
        let Ok(path) = fs::canonicalize(path) else { continue };
        split(path, *right, &hidden, &mut rules);
    }
    if rules.len() > RULES_MAX {
        gaps.push(format!(
            "landlock: {} files and folders lie beside the hidden ones; the task reaches {RULES_MAX}",
            rules.len()
        ));
        // Those that were named come first in what is kept: the rest is what was found by looking.
        rules.sort_by_key(|rule| !access.rules.contains(rule));
        rules.truncate(RULES_MAX);
    }
    gaps.push(
        "hidden-folders: held by landlock alone, which leaves sockets in them open to whom their permissions let in"
            .into(),
    );
    rules
}

/// Goes down towards what is hidden, and permits what lies beside the way.
fn split(path: PathBuf, right: FileRight, hidden: &BTreeSet<PathBuf>, rules: &mut Vec<FileRule>) {
    if hidden.contains(&path) {
        return;
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(&path)) {
        rules.push(FileRule { path, right });
        return;
    }
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        // A link leads to something that has a rule of its own, or has none.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) && rules.len() <= RULES_MAX {
            split(entry.path(), right, hidden, rules);
        }
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
