//! Commands about secrets. A job is given the versions that were newest when it was deployed, changed or restarted;
//! older versions are kept as long as a job has them.

use super::State;
use crate::{
    App, AppName, Envelope, Fence, Job, JobName, NodeId, Place, Refusal, SECRETS_BYTES_MAX, SECRETS_MAX, SecretName,
    SecretPins, SecretState, SecretVersion, UnixMillis, app_file::nearest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl State {
    /// The version that the next [`crate::Command::SetSecret`] of this name must carry. A version is never used twice
    /// for one name, also if the secret was removed in between.
    pub fn next_secret_version(&self, name: &SecretName) -> u64 {
        let newest = self.secrets.get(name).map_or(self.secrets_removed, |secret| secret.newest);
        newest.saturating_add(1)
    }

    pub(super) fn set_secret(
        &mut self,
        name: &SecretName,
        version: u64,
        (bytes, envelope): (u32, &Envelope),
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        if version != self.next_secret_version(name) {
            return Err(Refusal::Outdated); // somebody else has set it meanwhile
        }
        if !envelope.fits() {
            let message = format!("at most {} bytes are kept", crate::SECRET_BYTES_MAX);
            return Err(Refusal::Invalid { field: "value".into(), message });
        }
        if !self.secrets.contains_key(name) && self.secrets.len() >= SECRETS_MAX {
            return Err(Refusal::Full(SECRETS_MAX, "secrets".into()));
        }
        let pinned = self.pinned(name);
        let kept = |n: &SecretName, version: u64| n != name || pinned.contains(&version);
        let versions = self.secrets.iter().flat_map(|(n, s)| s.versions.iter().map(move |(v, held)| (n, *v, held)));
        let total: usize =
            versions.filter(|(n, v, _)| kept(n, *v)).map(|(_, _, held)| held.envelope.sealed.len()).sum();
        if total + envelope.sealed.len() > SECRETS_BYTES_MAX {
            return Err(Refusal::Full(SECRETS_BYTES_MAX, "bytes of secrets".into()));
        }
        let secret = self.secrets.entry(name.clone()).or_default();
        secret.versions.retain(|version, _| pinned.contains(version));
        secret.versions.insert(version, SecretVersion { envelope: envelope.clone(), bytes, changed: now });
        secret.newest = version;
        Ok(())
    }

    pub(super) fn remove_secret(&mut self, name: &SecretName, force: bool) -> Result<(), Refusal> {
        let Some(secret) = self.secrets.get(name) else { return Err(self.unknown_secret(name)) };
        let users: Vec<String> =
            self.secret_users(name).into_iter().map(|(app, job, _)| format!("{app}/{job}")).collect();
        if !force && !users.is_empty() {
            return Err(Refusal::SecretInUse { name: name.clone(), users });
        }
        self.secrets_removed = self.secrets_removed.max(secret.newest);
        self.secrets.remove(name);
        Ok(())
    }

    /// The jobs that have the secret, each with the version.
    pub fn secret_users(&self, name: &SecretName) -> Vec<(AppName, JobName, u64)> {
        let apps = self.apps.iter();
        let jobs = apps.flat_map(|(app, state)| state.secrets.iter().map(move |(job, pins)| (app, job, pins)));
        jobs.filter_map(|(app, job, pins)| Some((app.clone(), job.clone(), *pins.get(name)?))).collect()
    }

    fn pinned(&self, name: &SecretName) -> BTreeSet<u64> {
        // What older versions had is kept for tasks that still run them, and for the way back.
        let kept = self.apps.values().flat_map(|app| app.kept.iter().flat_map(|kept| kept.secrets.values()));
        let pins = self.apps.values().flat_map(|app| app.secrets.values()).chain(kept);
        pins.filter_map(|pins| pins.get(name).copied()).collect()
    }

    /// Refuses an app that names a secret which is not there. The field is that of the job.
    pub fn check_secrets(&self, app: &App) -> Result<(), Refusal> {
        for (name, job) in &app.jobs {
            let named = job.secrets.iter().map(|secret| ("secrets", secret));
            let mut named = named.chain(job.secret_env.values().map(|secret| ("secret_env", secret)));
            if let Some((field, missing)) = named.find(|(_, secret)| !self.secrets.contains_key(*secret)) {
                let field = format!("{}.{name}.{field}", job.kind.table());
                return Err(Refusal::Invalid { field, message: self.unknown_secret(missing).to_string() });
            }
        }
        Ok(())
    }

    fn unknown_secret(&self, name: &SecretName) -> Refusal {
        let known: Vec<&str> = self.secrets.keys().map(SecretName::as_str).collect();
        let nearest = Some(nearest(name.as_str(), &known)).filter(|nearest| !nearest.is_empty());
        Refusal::UnknownSecret { name: name.clone(), nearest: nearest.map(String::from) }
    }

    /// The newest versions of what a job names.
    pub(super) fn newest_secrets(&self, job: &Job) -> SecretPins {
        let version = |name: SecretName| self.secrets.get(&name).map(|secret| (name.clone(), secret.newest));
        job.all_secrets().into_iter().filter_map(version).collect()
    }

    /// The versions of all jobs of a newly deployed app: what is kept of the old one's jobs, the newest elsewhere.
    pub(super) fn pins_of(
        &self,
        at: Fence,
        app: &App,
        revisions: &BTreeMap<JobName, u64>,
    ) -> BTreeMap<JobName, SecretPins> {
        let old = self.apps.get(&app.name);
        let pins = |(name, job): (&JobName, &Arc<Job>)| {
            let is_new = revisions.get(name) == Some(&at.index);
            let kept = old.and_then(|old| old.secrets.get(name)).filter(|_| !is_new);
            (name.clone(), kept.cloned().unwrap_or_else(|| self.newest_secrets(job)))
        };
        app.jobs.iter().map(pins).filter(|(_, pins)| !pins.is_empty()).collect()
    }

    /// Gives one job, or all of an app, the newest versions.
    pub(super) fn renew_pins(&mut self, app: &AppName, only: Option<&JobName>) {
        let Some(state) = self.apps.get(app) else { return };
        let jobs = state.app.jobs.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        // A secret that was removed by force stays as it was: the machines that have it go on with it.
        let renewed = |(name, job): (&JobName, &Arc<Job>)| {
            let mut pins = state.secrets.get(name)?.clone();
            pins.extend(self.newest_secrets(job));
            (state.secrets.get(name) != Some(&pins)).then(|| (name.clone(), pins))
        };
        let renewed: Vec<_> = jobs.filter_map(renewed).collect();
        if let Some(state) = self.apps.get_mut(app) {
            state.secrets.extend(renewed);
        }
    }

    /// What the tasks that are placed on a node use: nothing else is given to it.
    pub fn secrets_of(&self, node: NodeId) -> BTreeSet<(SecretName, u64)> {
        let here = self.tasks.of_machine(node).filter(|(_, task)| matches!(task.place, Place::On { .. }));
        let pins =
            here.filter_map(|(id, task)| self.apps.get(&id.app)?.definition(&id.job, task.revision).2.get(&id.job));
        pins.flatten().map(|(name, version)| (name.clone(), *version)).collect()
    }

    /// One version of a secret, encrypted.
    pub fn secret(&self, name: &SecretName, version: u64) -> Option<&SecretVersion> {
        self.secrets.get(name)?.versions.get(&version)
    }
}

impl SecretState {
    /// The newest version.
    pub fn newest(&self) -> Option<&SecretVersion> {
        self.versions.get(&self.newest)
    }
}
