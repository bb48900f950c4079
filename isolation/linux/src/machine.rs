//! Performing and undoing the steps of a start. Blocking; the executor calls it away from the runtime's threads.

use crate::{
    group::Groups,
    hierarchy::Hierarchies,
    leftover::kill_marked,
    limits,
    lock::RunLock,
    record::{EXIT_FILE, ExitRecord, LAUNCH_FILE, Launch, STATE_FILE, StateRecord, VERSION, read_record, write_record},
    remove::remove_all,
    secrets,
    settle::Settled,
    unpack::unpack,
};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};
use taffeta_isolation_plan::{
    InvalidSpec, Permitted, StartError, Started, Step, TaskSecrets, TaskSpec, Undo, WORK_FOLDER, group_path, plan, undo,
};
use taffeta_model::{Exit, UnixMillis};

/// Pause before it is looked again whether a shim has ended.
const AGAIN: Duration = Duration::from_millis(10);

/// For ten seconds: a start waits for a disk, on a machine that is busy with others.
const STOP_ROUNDS_MAX: usize = 1_000;

/// The machine on which tasks run: where their folders are and what it permits.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Absolute, without links.
    pub(crate) tasks_root: PathBuf,
    pub(crate) shim: PathBuf,
    pub(crate) best_effort: bool,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) permitted: Permitted,
}

impl Machine {
    pub(crate) fn folder(&self, run_id: &str) -> PathBuf {
        self.tasks_root.join(run_id)
    }

    /// Where the run's groups are: as its start found them, or as this start would.
    pub(crate) fn groups(&self, run_id: &str) -> Groups {
        let launch: Option<Launch> = read_record(&self.folder(run_id).join(LAUNCH_FILE)).ok().flatten();
        let derived = || self.hierarchies.everywhere(&group_path(&self.permitted, run_id));
        launch.map(|launch| launch.groups).unwrap_or_else(derived)
    }

    /// Starts a run, or returns the one that runs under this id.
    pub(crate) fn start(&self, spec: &TaskSpec) -> Result<Started, StartError> {
        let steps = plan(spec, &self.permitted)?;
        if spec.folder != self.folder(&spec.run_id) {
            return Err(InvalidSpec::Folder(spec.folder.clone()).into());
        }
        let gaps = spec.not_isolated(&self.permitted);
        if !gaps.is_empty() && !self.best_effort {
            return Err(StartError::NotIsolated(gaps));
        }
        match self.settle(&spec.run_id).map_err(|e| failed(&spec.folder, &e))? {
            Settled::Unknown => {}
            Settled::NeverRan(lock) => self.remove(&spec.run_id, Some(lock)).map_err(|e| failed(&spec.folder, &e))?,
            Settled::Starting => return Err(StartError::Failed(format!("run `{}` is being started", spec.run_id))),
            Settled::Running(state) => return Ok(self.started(&state)),
            Settled::Ended(record) => {
                return Err(StartError::AlreadyRan { run_id: spec.run_id.clone(), exit: record.exit() });
            }
        }
        self.perform(spec, &steps, gaps)
    }

    fn started(&self, state: &StateRecord) -> Started {
        let launch: Option<Launch> = read_record(&self.folder(&state.run_id).join(LAUNCH_FILE)).ok().flatten();
        told(state, launch.map(|launch| launch.not_isolated).unwrap_or_default())
    }

    fn perform(&self, spec: &TaskSpec, steps: &[Step], gaps: Vec<String>) -> Result<Started, StartError> {
        let mut launch = Launch {
            version: VERSION,
            groups: Groups::default(),
            not_isolated: gaps,
            secrets: None,
            sandbox: None,
            program: self.shim.clone(),
        };
        let mut state = None;
        for (done, step) in steps.iter().enumerate() {
            let (to_undo, result) = match step {
                Step::MakeFolder { path, mode } => (done, make_folder(path, *mode).map_err(|e| failed(path, &e))),
                Step::WriteFile { path, body, mode } => {
                    (done + 1, write_file(path, body, *mode).map_err(|e| failed(path, &e)))
                }
                Step::MakeLink { path, to } => (done + 1, symlink(to, path).map_err(|e| failed(path, &e))),
                Step::CopyFile { title, from, path, mode } => {
                    (done + 1, copy_file(from, path, *mode).map_err(|e| failed_to("be copied", title, &e)))
                }
                Step::Unpack { title, from, folder, bytes_max } => {
                    (done + 1, unpack(from, folder, *bytes_max).map_err(|e| failed_to("be unpacked", title, &e)))
                }
                Step::CreateGroup { path, limits } => (done + 1, self.create_group(path, limits, &mut launch)),
                Step::PlaceSecrets { at, .. } => {
                    launch.secrets = Some(at.clone());
                    (done + 1, Ok(()))
                }
                Step::SetApart { sandbox } => {
                    launch.sandbox = Some(sandbox.clone());
                    (done + 1, Ok(()))
                }
                Step::StartShim { folder } => {
                    let started = self.start_shim(folder, &launch, &spec.secrets);
                    (done + 1, started.map(|started| state = Some(started)))
                }
            };
            if let Err(e) = result {
                let back = undo(&steps[..to_undo]);
                if let Err(left) = self.take_back(&spec.run_id, &back, None) {
                    tracing::error!(run = spec.run_id, error = %left, "a failed start left something behind");
                }
                return Err(e);
            }
        }
        let state: StateRecord = state.expect("every plan ends with the shim");
        for gap in &state.gaps {
            tracing::warn!(run = spec.run_id, gap, "a task is not isolated as asked");
        }
        Ok(told(&state, launch.not_isolated))
    }

    fn create_group(
        &self,
        path: &str,
        limits: &taffeta_isolation_plan::Limits,
        launch: &mut Launch,
    ) -> Result<(), StartError> {
        let made = limits::create(&self.hierarchies, path, limits, &self.permitted.cgroups);
        let (groups, gaps) = made.map_err(|e| StartError::Failed(e.to_string()))?;
        if !gaps.is_empty() && !self.best_effort {
            return Err(StartError::NotIsolated(gaps));
        }
        launch.groups = groups;
        launch.not_isolated.extend(gaps);
        Ok(())
    }

    /// Starts the shim, and waits until it has told how that went. No time limit: it waits for a disk, as would any other call.
    fn start_shim(&self, folder: &Path, launch: &Launch, given: &TaskSecrets) -> Result<StateRecord, StartError> {
        write_record(&folder.join(LAUNCH_FILE), launch).map_err(|e| failed(folder, &e))?;
        let mut command = Command::new(&self.shim);
        command.arg0("taffeta").arg("shim").arg(folder).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        command.stdin(if given.is_empty() { Stdio::null() } else { Stdio::piped() });
        let mut starter = command.spawn().map_err(|e| failed(&self.shim, &e))?;
        if let Some(mut pipe) = starter.stdin.take() {
            // A starter that is gone says so by its status.
            let _ = pipe.write_all(&secrets::encode(given));
        }
        let output = starter.wait_with_output().map_err(|e| failed(&self.shim, &e))?;
        let exit: Option<ExitRecord> = read_record(&folder.join(EXIT_FILE)).map_err(|e| failed(folder, &e))?;
        if let Some(Exit::NotStarted(why)) = exit.map(|record| record.exit()) {
            return Err(StartError::NotStarted(why));
        }
        // The shim may have been killed after it had done its work: the file decides, not what it said.
        let state: Option<StateRecord> = read_record(&folder.join(STATE_FILE)).map_err(|e| failed(folder, &e))?;
        state.ok_or_else(|| {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = if why.is_empty() { "it died before the task ran".into() } else { why };
            StartError::Failed(format!("the shim did not start ({}): {why}", output.status))
        })
    }

    /// Removes all that there is of a run. `lock` is its lock if the caller holds it.
    pub(crate) fn remove(&self, run_id: &str, lock: Option<RunLock>) -> io::Result<()> {
        let folder = self.folder(run_id);
        let all = [
            Undo::StopTask { folder: folder.clone() },
            Undo::RemoveSecrets { folder: folder.clone() },
            Undo::RemoveGroup { path: group_path(&self.permitted, run_id) },
            Undo::RemoveFolder { path: folder },
        ];
        self.take_back(run_id, &all, lock)
    }

    fn take_back(&self, run_id: &str, back: &[Undo], lock: Option<RunLock>) -> io::Result<()> {
        let groups = self.groups(run_id); // while the file that names them is still there
        let mut lock = lock; // held to the end: no shim that comes late may start what is being removed
        for step in back {
            match step {
                Undo::StopTask { folder } => lock = Some(stop_task(&groups, folder, lock)?),
                Undo::RemoveSecrets { folder } => secrets::remove(folder)?,
                Undo::RemoveGroup { .. } => groups.remove()?,
                Undo::RemoveFolder { path } => remove_folder(path)?,
            }
        }
        Ok(())
    }
}

/// A start, as it is told to the agent.
fn told(state: &StateRecord, mut not_isolated: Vec<String>) -> Started {
    not_isolated.extend(state.gaps.iter().cloned());
    Started { pid: state.task.pid, started_at: UnixMillis(state.started_at), not_isolated }
}

/// Kills what there is of a task until its shim has ended, too: one that is just starting may have it run only now. The lock
/// of the run, if the caller has it, proves that there is none.
fn stop_task(groups: &Groups, folder: &Path, lock: Option<RunLock>) -> io::Result<RunLock> {
    let work = folder.join(WORK_FOLDER);
    let mut lock = lock;
    for _ in 0..STOP_ROUNDS_MAX {
        if lock.is_none() {
            lock = RunLock::try_take(folder)?;
        }
        kill_all(groups, &work);
        if let Some(lock) = lock.take() {
            return Ok(lock);
        }
        sleep(AGAIN);
    }
    Err(io::Error::other("its shim does not end"))
}

/// Kills what runs in the groups, or, where there are none, what carries the folder's mark.
pub(crate) fn kill_all(groups: &Groups, work: &Path) {
    let done = if groups.is_none() || !groups.exists() { kill_marked(work) } else { groups.kill_until_empty() };
    if !done {
        tracing::error!(work = %work.display(), "processes of a task survive SIGKILL: they hang inside the kernel");
    }
}

fn failed(path: &Path, e: &io::Error) -> StartError {
    StartError::Failed(format!("{}: {e}", path.display()))
}

fn failed_to(what: &str, title: &str, e: &io::Error) -> StartError {
    StartError::Failed(format!("{title} cannot {what}: {e}"))
}

/// A copy, so that nothing the task does to it reaches what others get; the file system may share the blocks.
fn copy_file(from: &Path, path: &Path, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)) // whatever the umask is
}

fn write_file(path: &Path, body: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    file.write_all(body)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Removes a run's folder. The launch file goes first: a shim that comes late starts nothing without it, though it may
/// leave its lock file behind while we walk, so the walk is repeated. Then the state: one without its exit, which the walk may
/// take first, would read as lost.
fn remove_folder(path: &Path) -> io::Result<()> {
    for first in [LAUNCH_FILE, STATE_FILE] {
        let _ = fs::remove_file(path.join(first));
    }
    let mut last = Ok(());
    for _ in 0..50 {
        last = match remove_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if last.is_ok() {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    last
}
