//! How the agent was started, so that the keeper can start it again as it was.

use super::journal::{Journal, Process};
use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// In the journal's folder.
pub(crate) const FILE: &str = "agent.json";

/// The working folder of an agent whose own is no more.
const ROOT: &str = "/";

/// Arguments, environment and working folder of the newest agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) process: Process,
    /// Whether it has come up.
    #[serde(default)]
    pub(crate) is_ready: bool,
    program: PathBuf,
    name: String,
    args: Vec<String>,
    /// Variables that are text; others cannot be the fabric's.
    env: Vec<(String, String)>,
    folder: PathBuf,
}

impl Agent {
    /// This process.
    pub(crate) fn own() -> io::Result<Self> {
        let mut args = env::args_os().map(|arg| arg.to_string_lossy().into_owned());
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(Self {
            process: this()?,
            is_ready: false,
            program: env::current_exe()?,
            name: args.next().unwrap_or_else(|| "taffeta".into()),
            args: args.collect(),
            env: env::vars_os().filter_map(text).collect(),
            folder: env::current_dir().unwrap_or_else(|_| ROOT.into()), // it was removed
        })
    }

    /// The newest one.
    pub(crate) fn load(journal: &Journal) -> Option<Self> {
        journal.read(FILE)
    }

    pub(crate) fn save(&self, journal: &Journal) -> io::Result<()> {
        journal.write(FILE, self)
    }

    /// Starts it again, with the outputs of this process, which are the agent's own.
    pub(crate) fn start(&self) -> io::Result<Child> {
        // The file may have been replaced by an upgrade; this process is of the same program then.
        let program = if self.program.is_file() { self.program.as_path() } else { Path::new("/proc/self/exe") };
        let mut command = Command::new(program);
        command.arg0(&self.name).args(&self.args).env_clear().envs(self.env.iter().cloned());
        let folder = if self.folder.is_dir() { self.folder.as_path() } else { Path::new(ROOT) };
        command.current_dir(folder).stdin(Stdio::null()).process_group(0).spawn()
    }
}

/// This process.
pub(crate) fn this() -> io::Result<Process> {
    Process::look_up(std::process::id()).ok_or_else(|| io::Error::other("/proc does not tell of this process"))
}

/// Whether some process holds the data folder: an agent is there. It is not tried by taking the lock, as an agent that
/// starts at that moment would be turned away.
///
/// Files of two disks may have the same number, and the device that `/proc/locks` names is not on all file systems the one
/// that a file tells of itself. So it only says who holds such a number, and what that process has open decides. Of one
/// that may not be looked at it is taken that it holds another file: an agent too many is turned away by the lock.
pub(crate) fn is_held(data: &Path) -> bool {
    let Ok(lock) = fs::metadata(data.join("lock")) else { return false };
    let Ok(locks) = fs::File::open("/proc/locks") else { return false };
    let mut lines = BufReader::new(locks).lines().map_while(Result::ok);
    lines.any(|line| holder(&line, lock.ino()).is_some_and(|pid| has_open(pid, &lock)))
}

/// The process that holds a file of this number, by a line of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`. A lock that is waited for has a `->` before its kind.
fn holder(line: &str, inode: u64) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    let (kind, pid, place) = (fields.next()?, fields.nth(2)?, fields.next()?);
    let same = place.rsplit(':').next().and_then(|number| number.parse().ok()) == Some(inode);
    if kind == "FLOCK" && same { pid.parse().ok() } else { None }
}

/// Whether a process has this very file open.
fn has_open(pid: u32, file: &fs::Metadata) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open = open.filter_map(|entry| fs::metadata(entry.path()).ok());
    open.any(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};

    #[test]
    fn a_folder_is_held_as_long_as_its_lock_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_held(folder.path()));
        let lock = fs::File::create(folder.path().join("lock")).unwrap();
        assert!(!is_held(folder.path()));
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        assert!(is_held(folder.path()));
        drop(lock);
        assert!(!is_held(folder.path()));
    }

    #[test]
    fn a_lock_is_told_by_who_holds_it_and_not_by_who_waits() {
        let held = "1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF";
        assert_eq!(holder(held, 5678), Some(1234));
        for (line, inode) in [
            (held, 12),
            ("1: -> FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF", 5678),
            ("2: POSIX  ADVISORY  WRITE 1234 fe:01:5678 0 EOF", 5678),
            ("3: FLOCK  ADVISORY  WRITE", 5678),
            ("", 5678),
        ] {
            assert_eq!(holder(line, inode), None, "{line}");
        }
    }

    #[test]
    fn a_file_of_the_same_number_on_another_disk_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let lock = fs::File::create(folder.path().join("lock")).unwrap();
        let about = lock.metadata().unwrap();
        assert!(has_open(own, &about));
        // The kernel's own file systems are devices of their own.
        let elsewhere = fs::metadata("/proc/version").unwrap();
        assert_ne!(about.dev(), elsewhere.dev());
        assert!(!has_open(own, &elsewhere));
        drop(lock);
        assert!(!has_open(own, &about));
        assert!(!has_open(u32::MAX, &about), "nobody has this number");
    }

    #[test]
    fn an_agent_is_started_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent {
            process: Process::look_up(std::process::id()).unwrap(),
            is_ready: true,
            program: "/bin/sh".into(),
            name: "renamed".into(),
            args: vec!["-c".into(), "echo $0 $ONLY $HOME > said".into(), "x y".into()],
            env: vec![("ONLY".into(), "this".into())],
            folder: folder.path().into(),
        };
        assert!(agent.start().unwrap().wait().unwrap().success());
        assert_eq!(fs::read_to_string(folder.path().join("said")).unwrap(), "x y this\n");
        // Its working folder is no more.
        let said = folder.path().join("where");
        let say = format!("pwd > {}", said.display());
        let agent = Agent { folder: folder.path().join("gone"), args: vec!["-c".into(), say], ..agent };
        assert!(agent.start().unwrap().wait().unwrap().success());
        assert_eq!(fs::read_to_string(said).unwrap(), "/\n");
    }
}
