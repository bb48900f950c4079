//! Secrets of a run: from the agent through a pipe to the shim, and by it into memory that its task can read.
//!
//! As root the memory is a tmpfs in a view of the file system that only the shim and its task have: nobody else can open
//! it by its path, and it goes with the last of the two, whatever ends them. Elsewhere it is a folder on a tmpfs of the
//! machine, which the shim removes at the end, and the agent if the shim could not.

use crate::{
    record::{LAUNCH_FILE, Launch, STATE_FILE, StateRecord, read_record},
    remove::remove_all,
    sys,
};
use rustix::{
    fs::{Access, OFlags, access, statfs},
    io::Errno,
    mount::{MountFlags, mount},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env,
    ffi::{CStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStringExt,
            fs::{DirBuilderExt, OpenOptionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
    thread,
};
use taffeta_isolation_plan::{Memory, Permitted, SECRETS_FOLDER, SecretsAt, TaskSecrets};

/// Most bytes that an agent sends: 32 secrets of 64 KiB, and their names.
const CARRIED_BYTES_MAX: u64 = 4 << 20;

/// The variables, for checks that are run beside the task: `NAME=VALUE`, each ended by a zero byte. No secret can have
/// this name.
const VARIABLES_FILE: &str = ".environment";

/// `f_type` of a tmpfs and of a ramfs, as `statfs` tells it.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Room of a private tmpfs: all that one task may have, its pages rounded up. Not to be swapped out where the kernel
/// knows how (since 6.4).
const OPTIONS: [&CStr; 2] = [c"mode=0700,size=8m,nr_inodes=256,noswap", c"mode=0700,size=8m,nr_inodes=256"];

/// The values on their way to the shim.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Carried {
    files: Vec<(String, Vec<u8>)>,
    env: BTreeMap<String, Vec<u8>>,
}

impl Carried {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.env.is_empty()
    }

    /// As they go into a process's environment.
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let variable = |(name, value): (&String, &Vec<u8>)| (name.into(), OsString::from_vec(value.clone()));
        self.env.iter().map(variable).collect()
    }
}

/// What goes through the pipe.
pub(crate) fn encode(given: &TaskSecrets) -> Vec<u8> {
    let files = given.files.iter().map(|(name, value)| (name.to_string(), value.expose().to_vec())).collect();
    let env = given.env.iter().map(|(name, value)| (name.clone(), value.expose().to_vec())).collect();
    postcard::to_stdvec(&Carried { files, env }).expect("plain data can be encoded")
}

/// Reads what came through the pipe. Nothing is no secret, if `launch.json` names none; else it is what an agent has sent
/// that was killed before.
pub(crate) fn read(pipe: impl Read) -> io::Result<Carried> {
    let mut bytes = vec![];
    pipe.take(CARRIED_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(Carried::default());
    }
    postcard::from_bytes(&bytes).map_err(|_| io::Error::other("the secrets did not arrive whole"))
}

/// Where this machine can keep files in memory. Tried out, in a thread that is gone afterwards with all it has mounted.
pub(crate) fn probe(tasks_root: &Path) -> Memory {
    let folder = tasks_root.to_path_buf();
    let tried = thread::Builder::new().name("taffeta-probe".into()).spawn(move || mount_private(&folder));
    let tried = tried.and_then(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("the probe failed"))));
    let Err(refused) = tried else { return Memory::Private };
    let candidates = [Some(PathBuf::from("/dev/shm")), env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)];
    match candidates.into_iter().flatten().find(|folder| is_memory(folder)) {
        Some(folder) => Memory::Folder(folder),
        None => Memory::Nowhere {
            why: format!(
                "no tmpfs can be mounted: {refused}; neither /dev/shm nor $XDG_RUNTIME_DIR is one that can be written to"
            ),
        },
    }
}

#[expect(clippy::unnecessary_cast, reason = "another type on other machines")]
fn is_memory(folder: &Path) -> bool {
    let in_memory = statfs(folder).is_ok_and(|about| IN_MEMORY.contains(&(about.f_type as i64)));
    folder.is_absolute() && in_memory && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Mounts a tmpfs where nobody but this thread, and what it starts, can see it.
pub(crate) fn mount_private(at: &Path) -> io::Result<()> {
    sys::own_mounts()?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let tried = OPTIONS.iter().map(|options| mount("taffeta-secrets", at, "tmpfs", flags, *options));
    let mut last = Err(Errno::INVAL);
    for result in tried {
        last = result;
        if last != Err(Errno::INVAL) {
            break; // only an option that is not known is worth another try
        }
    }
    Ok(last?)
}

/// Puts the values where the task finds them. Called in the shim, before there is a task.
pub(crate) fn place(run: &Path, at: &SecretsAt, carried: &Carried) -> io::Result<()> {
    let folder = run.join(SECRETS_FOLDER);
    match at {
        SecretsAt::Private => {
            make_folder(&folder)?;
            mount_private(&folder)?;
        }
        SecretsAt::Memory(memory) => {
            if memory.symlink_metadata().is_ok() {
                remove_all(memory)?; // of an earlier try; another user's cannot be removed, and is not used
            }
            // The link first: by it the folder is found again, should this process die in between.
            symlink(memory, &folder)?;
            make_folder(memory)?;
        }
        SecretsAt::Disk => make_folder(&folder)?,
    }
    for (name, value) in &carried.files {
        write(&folder.join(name), value)?;
    }
    match at {
        SecretsAt::Private | SecretsAt::Memory(_) if !carried.env.is_empty() => {
            let line = |(name, value): (&String, &Vec<u8>)| [name.as_bytes(), b"=", value, b"\0"].concat();
            write(&folder.join(VARIABLES_FILE), &carried.env.iter().flat_map(line).collect::<Vec<u8>>())
        }
        SecretsAt::Private | SecretsAt::Memory(_) | SecretsAt::Disk => Ok(()),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    OpenOptions::new().create_new(true).write(true).mode(0o400).open(path)?.write_all(value)
}

/// Removes the secrets of a run whose task has ended. No error if there are none. What was private has gone already.
pub(crate) fn remove(run: &Path) -> io::Result<()> {
    let folder = run.join(SECRETS_FOLDER);
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // In the shim's own view it is a mount, which goes with the shim.
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        done => done,
    };
    match fs::read_link(&folder) {
        Ok(memory) => {
            gone(remove_all(&memory))?;
            gone(fs::remove_file(&folder))
        }
        Err(_) => gone(remove_all(&folder)),
    }
}

/// Removes this node's secrets whose run has no folder any more.
pub(crate) fn sweep(permitted: &Permitted, exists: impl Fn(&str) -> bool) {
    let Memory::Folder(memory) = &permitted.memory else { return };
    let prefix = permitted.memory_prefix();
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run_id = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if run_id.is_some_and(|run_id| !exists(run_id))
            && let Err(error) = remove_all(&entry.path())
        {
            tracing::error!(folder = %entry.path().display(), %error, "secrets of a run that is no more cannot be removed");
        }
    }
}

/// What a program has to be given that is run beside the task.
#[derive(Default)]
pub(crate) struct Inside {
    /// The secrets that the task has as variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The view of the file system in which the task's secrets are.
    pub(crate) mounts: Option<OwnedFd>,
}

/// Looks where the secrets of a running task are.
pub(crate) fn inside(run: &Path) -> io::Result<Inside> {
    let launch: Option<Launch> = read_record(&run.join(LAUNCH_FILE))?;
    let folder = run.join(SECRETS_FOLDER);
    match launch.and_then(|launch| launch.secrets) {
        None | Some(SecretsAt::Disk) => Ok(Inside::default()),
        Some(SecretsAt::Memory(memory)) => Ok(Inside { variables: read_variables(&memory)?, mounts: None }),
        Some(SecretsAt::Private) => {
            let state: Option<StateRecord> = read_record(&run.join(STATE_FILE))?;
            let state = state.ok_or(io::ErrorKind::NotFound)?;
            let shim = state.shim;
            let mounts = File::open(format!("/proc/{}/ns/mnt", shim.pid))?;
            let seen = Path::new("/proc")
                .join(shim.pid.to_string())
                .join("root")
                .join(folder.strip_prefix("/").unwrap_or(&folder));
            let variables = read_variables(&seen)?;
            // Compared after all was opened: if the number is still the shim's, so was what was read.
            if !state.lives(shim) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(Inside { variables, mounts: Some(mounts.into()) })
        }
    }
}

/// The task may have written to the folder: what is no plain file of ours is not read, and no more than there can be.
fn read_variables(folder: &Path) -> io::Result<Vec<(OsString, OsString)>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut bytes = vec![];
    match OpenOptions::new().read(true).custom_flags(flags).open(folder.join(VARIABLES_FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
        Ok(file) if !file.metadata()?.is_file() => return Err(Errno::INVAL.into()),
        Ok(file) => {
            file.take(CARRIED_BYTES_MAX).read_to_end(&mut bytes)?;
        }
    }
    let split = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec())))
    };
    Ok(bytes.split(|byte| *byte == 0).filter_map(split).collect())
}
