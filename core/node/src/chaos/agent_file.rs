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
        let process = Process::look_up(std::process::id());
        let process = process.ok_or_else(|| io::Error::other("/proc does not tell of this process"))?;
        let mut args = env::args_os().map(|arg| arg.to_string_lossy().into_owned());
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(Self {
            process,
            is_ready: false,
            program: env::current_exe()?,
            name: args.next().unwrap_or_else(|| "taffeta".into()),
            args: args.collect(),
            env: env::vars_os().filter_map(text).collect(),
            folder: env::current_dir()?,
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
        command.current_dir(&self.folder).stdin(Stdio::null()).process_group(0).spawn()
    }
}

/// Whether some process holds the data folder: an agent is there. It is not tried by taking the lock, as an agent that
/// starts at that moment would be turned away.
pub(crate) fn is_held(data: &Path) -> bool {
    let Ok(lock) = fs::metadata(data.join("lock")) else { return false };
    let Ok(locks) = fs::File::open("/proc/locks") else { return false };
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`; what waits has a `->` in second place.
    let is_it = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, place) = (fields.next(), fields.nth(3));
        let inode = place.and_then(|place| place.rsplit(':').next()).and_then(|inode| inode.parse::<u64>().ok());
        kind == Some("FLOCK") && inode == Some(lock.ino())
    };
    BufReader::new(locks).lines().map_while(Result::ok).any(|line| is_it(&line))
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
    }
}
