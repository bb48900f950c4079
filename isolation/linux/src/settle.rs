//! Finding out what has become of a run, and making it final where nobody else does.

use crate::{
    limits,
    lock::RunLock,
    machine::{Machine, kill_all},
    record::{EXIT_FILE, ExitRecord, Kept, STATE_FILE, StateRecord, boot_id, date, read_exit, read_record, write_exit},
    sandbox, secrets,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, io, thread::sleep, time::Duration};
use taffeta_isolation_plan::{ActError, Found, FoundState, SPEC_FILE, TaskSpec, WORK_FOLDER, check_name};
use taffeta_model::{Exit, UnixMillis};

/// What has become of a run.
#[derive(Debug)]
pub(crate) enum Settled {
    /// There is no such run.
    Unknown,
    /// It has a shim, which has not yet said that the task runs.
    Starting,
    /// It runs.
    Running(StateRecord),
    /// It has ended, or was lost; nothing of it runs.
    Ended(ExitRecord),
    /// Its agent died before there was a process; nothing of it runs, and nothing can while the lock is held.
    NeverRan(RunLock),
}

impl Machine {
    /// Looks, and when the shim has died without a word, kills what it left and records the run as lost.
    pub(crate) fn settle(&self, run_id: &str) -> io::Result<Settled> {
        let folder = self.folder(run_id);
        if check_name(run_id).is_err() || !folder.is_dir() {
            return Ok(Settled::Unknown);
        }
        if let Some(record) = read_record(&folder.join(EXIT_FILE))? {
            return Ok(Settled::Ended(record));
        }
        let Some(lock) = RunLock::try_take(&folder)? else {
            let state = read_record(&folder.join(STATE_FILE))?;
            return Ok(state.map_or(Settled::Starting, Settled::Running));
        };
        // Free: no shim lives, and none can begin. It may have ended properly between the two looks.
        if let Some(record) = read_exit(&folder)? {
            return Ok(Settled::Ended(record));
        }
        let state: Option<StateRecord> = read_record(&folder.join(STATE_FILE))?;
        let this_boot = boot_id()?;
        if state.as_ref().is_none_or(|state| state.boot_id == this_boot) {
            kill_all(&self.groups(run_id), &folder.join(WORK_FOLDER)); // a reboot has killed already
        }
        if state.is_none() {
            return Ok(Settled::NeverRan(lock));
        }
        secrets::remove(&folder)?;
        let record = ExitRecord::new(&Exit::Lost, date());
        write_exit(&folder, &record)?;
        Ok(Settled::Ended(record))
    }

    /// Removes a run that has ended.
    pub(crate) fn forget(&self, run_id: &str) -> Result<(), ActError> {
        let failed = |e: io::Error| ActError::Failed(format!("run `{run_id}` cannot be removed: {e}"));
        match self.settle(run_id).map_err(failed)? {
            Settled::Unknown => Ok(()),
            Settled::Starting | Settled::Running(_) => Err(ActError::Running(run_id.to_owned())),
            Settled::Ended(_) => self.remove(run_id, None).map_err(failed),
            Settled::NeverRan(lock) => self.remove(run_id, Some(lock)).map_err(failed),
        }
    }

    /// Kills a shim that does not answer, and what is in its groups; the next look finds the run lost.
    pub(crate) fn kill_with_shim(&self, state: &StateRecord) {
        self.groups(&state.run_id).kill();
        let Ok(number) = i32::try_from(state.shim.pid) else { return };
        let Some(fd) = Pid::from_raw(number).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
        // Compared after opening: if the number is still the shim's now, the open file is the shim's, too.
        if state.lives(state.shim) {
            let _ = pidfd_send_signal(&fd, Signal::KILL);
        }
    }

    /// Everything that an earlier agent left; what was never started, and groups without a run, are removed.
    pub(crate) fn recover(&self) -> Vec<Found> {
        let entries = fs::read_dir(&self.tasks_root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut runs: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
        runs.sort();
        let found = runs.iter().filter_map(|run_id| {
            let found = self.recover_one(run_id);
            found.unwrap_or_else(|e| {
                tracing::error!(run = run_id, error = %e, "a run of an earlier agent cannot be recovered");
                None
            })
        });
        let found = found.collect();
        self.sweep();
        found
    }

    fn recover_one(&self, run_id: &str) -> io::Result<Option<Found>> {
        let Some(spec) = self.spec(run_id)? else {
            // It is there before anything runs, and what has ended keeps it for good: nothing of value is lost with the rest.
            let lock = RunLock::try_take(&self.folder(run_id))?.ok_or_else(|| {
                io::Error::other(format!("its {SPEC_FILE} is gone while its shim runs: `kill` the shim to end it"))
            })?;
            tracing::warn!(run = run_id, "removing a run that was never begun");
            return self.remove(run_id, Some(lock)).map(|()| None);
        };
        let state = match self.settle_started(run_id)? {
            Settled::Unknown | Settled::Starting => return Ok(None),
            Settled::NeverRan(lock) => return self.remove(run_id, Some(lock)).map(|()| None),
            Settled::Running(state) => {
                FoundState::Running { pid: state.task.pid, started_at: UnixMillis(state.started_at) }
            }
            Settled::Ended(record) => match record.exit() {
                Exit::Lost | Exit::Deadline => FoundState::Lost,
                exit @ (Exit::Code(_)
                | Exit::Signal(_)
                | Exit::NotStarted(_)
                | Exit::OutOfMemory
                | Exit::LeaseEnded) => FoundState::Exited { exit, at: UnixMillis(record.at), words: record.words() },
            },
        };
        Ok(Some(Found { run_id: run_id.to_owned(), spec, state }))
    }

    /// What was asked for, if that is known. What is there and cannot be read may be read by another release, or at another
    /// time: no reason to end what runs.
    fn spec(&self, run_id: &str) -> io::Result<Option<TaskSpec>> {
        let folder = self.folder(run_id);
        let kept = || {
            let kept: Kept<ExitRecord> = read_exit(&folder).ok()??;
            serde_json::from_value(kept.spec?).ok()
        };
        match read_record(&folder.join(SPEC_FILE)) {
            Ok(Some(spec)) => Ok(Some(spec)),
            Ok(None) => Ok(kept()),
            Err(e) => kept().map(Some).ok_or_else(|| io::Error::new(e.kind(), format!("{SPEC_FILE}: {e}"))),
        }
    }

    /// Like `settle`, but waits up to ten seconds for a shim that an agent started just before it was killed.
    fn settle_started(&self, run_id: &str) -> io::Result<Settled> {
        for _ in 0..500 {
            match self.settle(run_id)? {
                Settled::Starting => sleep(Duration::from_millis(20)),
                known => return Ok(known),
            }
        }
        tracing::error!(run = run_id, "its shim hangs in its start; killing what it has started");
        self.remove(run_id, None).map(|()| Settled::Unknown)
    }

    /// Kills and removes groups of this node whose run has no folder, and secrets likewise.
    fn sweep(&self) {
        sandbox::sweep_trials(&self.tasks_root);
        secrets::sweep(&self.permitted, |run_id| self.folder(run_id).exists());
        for (name, groups) in limits::groups_of_node(&self.hierarchies, &self.permitted) {
            if !self.folder(&name).exists() {
                tracing::warn!(run = name, "removing a cgroup that belongs to no run");
                groups.kill_until_empty();
                if let Err(e) = groups.remove() {
                    tracing::error!(run = name, error = %e, "its cgroup cannot be removed");
                }
            }
        }
    }

    /// Removes the node's own groups if no task's group is inside.
    pub(crate) fn tidy(&self) {
        let node = self.hierarchies.everywhere(&self.permitted.group_parent);
        for folder in node.folders() {
            if fs::remove_dir(folder).is_ok() {
                let _ = folder.parent().map(fs::remove_dir); // fails while another node of this machine needs it
            }
        }
    }
}
