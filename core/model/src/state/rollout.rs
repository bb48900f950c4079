//! The way from one version of an app to the next, and back.

use super::{AppState, State, Task, apps::with_counts_as_scaled, runs::deployed_runs};
use crate::{App, AppName, Fence, JobName, Refusal, SecretPins, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most versions that are kept of an app besides the present one.
pub const KEPT_MAX: usize = 5;

/// Most bytes of shipped files in the kept versions of one app; the newest is kept in any case, as tasks may run it.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// How far the present version has got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whether nothing is replaced for now.
    pub paused: bool,
    /// Jobs whose newer version may take the place of the one before everywhere.
    pub promoted: BTreeSet<JobName>,
    /// Jobs all of whose instances have worked in the present version.
    pub settled: BTreeSet<JobName>,
    /// Why the present version came back, if it did.
    pub returned: Option<String>,
}

/// A version before the present one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As it was deployed, with the counts as scaled.
    pub app: Arc<App>,
    /// Its number.
    pub version: u64,
    /// When it was deployed.
    pub deployed_at: UnixMillis,
    /// As in [`AppState::revisions`].
    pub revisions: BTreeMap<JobName, u64>,
    /// As in [`AppState::secrets`].
    pub secrets: BTreeMap<JobName, SecretPins>,
    /// Why it was given up, if it was.
    pub failed: Option<String>,
    /// As in [`Rollout::promoted`], when the next version came.
    pub promoted: BTreeSet<JobName>,
}

impl Rollout {
    /// That of a version whose jobs have these revisions.
    pub(super) fn of(old: Option<&AppState>, revisions: &BTreeMap<JobName, u64>) -> Self {
        let mut rollout = Self::default();
        let Some(old) = old else { return rollout };
        let same = |job: &&JobName| old.revisions.get(*job) == revisions.get(*job);
        rollout.promoted = old.rollout.promoted.iter().filter(same).cloned().collect();
        rollout.settled = old.rollout.settled.iter().filter(same).cloned().collect();
        rollout
    }
}

impl AppState {
    /// What tasks of this revision of a job are: the app, its version, its secrets. The present one if it is not known any
    /// more, or only a restart has made it another.
    pub fn definition(&self, job: &JobName, revision: u64) -> (&App, u64, &BTreeMap<JobName, SecretPins>) {
        match self.kept_with(job, revision) {
            Some(kept) => (&kept.app, kept.version, &kept.secrets),
            None => (&self.app, self.version, &self.secrets),
        }
    }

    /// The kept versions of what comes next, this one included. It has none itself any more.
    pub(super) fn keep(&mut self) -> Vec<Kept> {
        let mut kept = vec![self.to_keep(None)];
        kept.append(&mut self.kept);
        trimmed(kept)
    }

    fn to_keep(&self, failed: Option<String>) -> Kept {
        Kept {
            app: Arc::clone(&self.app),
            version: self.version,
            deployed_at: self.deployed_at,
            revisions: self.revisions.clone(),
            secrets: self.secrets.clone(),
            failed,
            promoted: self.rollout.promoted.clone(),
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<JobName, u32> {
        self.app.jobs.iter().map(|(name, job)| (name.clone(), job.count)).collect()
    }

    /// Whether DNS is not to give the task out: it came beside those of the version before, which serve on, and its own was
    /// never promoted. A later version with a higher count counts it among its own, and it stays unseen.
    pub(super) fn is_hidden(&self, id: &TaskId, task: &Task) -> bool {
        let (app, _, _) = self.definition(&id.job, task.revision);
        let beside = app.jobs.get(&id.job).is_some_and(|job| job.update.blue_green && id.index > job.count);
        beside && !self.was_promoted(&id.job, task.revision)
    }

    /// Whether the version with this revision of a job was promoted, as [`AppState::definition`] finds it.
    pub fn was_promoted(&self, job: &JobName, revision: u64) -> bool {
        self.kept_with(job, revision).map_or(&self.rollout.promoted, |kept| &kept.promoted).contains(job)
    }

    /// The kept version that tasks of this revision are of; `None`: the present one.
    fn kept_with(&self, job: &JobName, revision: u64) -> Option<&Kept> {
        let earlier = self.revisions.get(job) != Some(&revision);
        self.kept.iter().find(|kept| earlier && kept.revisions.get(job) == Some(&revision))
    }
}

fn trimmed(mut kept: Vec<Kept>) -> Vec<Kept> {
    let mut bytes = 0;
    let mut number = 0;
    kept.retain(|kept| {
        bytes += kept.app.files.values().map(|file| file.body.len()).sum::<usize>();
        number += 1;
        number == 1 || (number <= KEPT_MAX && bytes <= KEPT_BYTES_MAX)
    });
    kept
}

impl State {
    /// Goes back to a kept version, by default the newest that was not given up. Tasks that still run it stay as they are;
    /// batch jobs do not run again.
    pub(super) fn rollback(
        &mut self,
        at: Fence,
        app: &AppName,
        seen_version: Option<u64>,
        to: Option<u64>,
        reason: Option<&str>,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let old = self.apps.get(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        if seen_version.is_some_and(|seen| seen != old.version) {
            return Err(Refusal::Outdated);
        }
        let wanted = |kept: &&Kept| to.map_or_else(|| kept.failed.is_none(), |to| kept.version == to);
        let Some(back) = old.kept.iter().find(wanted).cloned() else {
            let versions = old.kept.iter().map(|kept| kept.version).collect();
            return Err(Refusal::NoSuchVersion { app: app.clone(), wanted: to, kept: versions });
        };
        if let Err(why) = self.may_come_back(app, &back) {
            if reason.is_none() {
                return Err(why);
            }
            // The scheduler is not to ask again and again.
            let returned =
                Some(format!("version {} stays, as version {} cannot come back: {why}", old.version, back.version));
            if let Some(state) = self.apps.get_mut(app) {
                state.rollout.returned = returned;
                state.touched = at;
            }
            return Ok(());
        }
        let mut revisions = back.revisions.clone();
        for (name, job) in back.app.jobs.iter().filter(|(_, job)| job.kind.is_batch()) {
            let same = old.app.jobs.get(name).is_some_and(|now| now.kind == job.kind);
            if let Some(present) = old.revisions.get(name).filter(|_| same) {
                revisions.insert(name.clone(), *present);
            }
        }
        let mut kept = vec![old.to_keep(Some(reason.unwrap_or("rolled back by hand").to_owned()))];
        kept.extend(old.kept.iter().filter(|kept| kept.version != back.version).cloned());
        let returned = match reason {
            Some(reason) => format!("version {} is back: {reason}", back.version),
            None => format!("version {} is back, by hand", back.version),
        };
        let rollout = Rollout {
            promoted: back.app.jobs.keys().cloned().collect(),
            returned: Some(returned),
            ..Rollout::default()
        };
        let (counts, version) = (old.counts(), old.version + 1);
        let runs = deployed_runs(at, Some(old), &back.app, &revisions, now);
        let deployed = AppState {
            app: with_counts_as_scaled(&back.app, Some(old)),
            version,
            deployed_at: now,
            revisions,
            secrets: back.secrets,
            rollout,
            kept: trimmed(kept),
            runs,
            touched: at,
        };
        self.apps.insert(app.clone(), deployed);
        self.fit_tasks(at, app, &counts);
        self.touch_app(at, app);
        self.directory_fence = at;
        Ok(())
    }

    fn may_come_back(&self, app: &AppName, back: &Kept) -> Result<(), Refusal> {
        self.check_secrets(&back.app)?;
        let others = self.tasks.len() - self.tasks.of_app(app).count();
        if others + back.app.jobs.values().map(|job| job.count as usize).sum::<usize>() > super::TASKS_MAX {
            return Err(Refusal::Full(super::TASKS_MAX, "tasks".into()));
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, at: Fence, app: &AppName, on: bool) -> Result<(), Refusal> {
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        state.rollout.paused = on;
        state.touched = at;
        Ok(())
    }

    pub(super) fn promote(
        &mut self,
        at: Fence,
        app: &AppName,
        job: Option<&JobName>,
        seen_version: Option<u64>,
    ) -> Result<(), Refusal> {
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        if seen_version.is_some_and(|seen| seen != state.version) {
            return Err(Refusal::Outdated);
        }
        if let Some(job) = job.filter(|job| !state.app.jobs.contains_key(*job)) {
            return Err(Refusal::UnknownJob(app.clone(), job.clone()));
        }
        let named = |name: &&JobName| job.is_none_or(|job| job == *name);
        state.rollout.promoted.extend(state.app.jobs.keys().filter(named).cloned());
        state.touched = at;
        self.touch_app(at, app); // those that came beside the others are seen from now on
        Ok(())
    }

    pub(super) fn settle(&mut self, at: Fence, app: &AppName, job: &JobName, seen_version: u64) -> Result<(), Refusal> {
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        if state.version != seen_version {
            return Err(Refusal::Outdated);
        }
        let known = state.app.jobs.get(job).is_some_and(|job| !job.kind.is_batch());
        if known && state.rollout.settled.insert(job.clone()) {
            state.rollout.promoted.insert(job.clone()); // there is no version before it any more
            state.touched = at;
        }
        Ok(())
    }
}
