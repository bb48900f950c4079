//! What a task finds around itself, put together before it is started: names, files of the machine, memory, fetched files.

use crate::{
    fetch::{FetchFailure, Fetcher, Held},
    task_dns::resolv_conf,
    task_options::HostPaths,
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use taffeta_isolation_plan::{Fetched, MountPoint, MountSource, Placed, RESOLV_FILE};
use taffeta_model::{AppName, Fetch, Job};
use tokio::time::Instant;

/// How often it is told how far a download is: each time it travels with the task's record through the ring.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Where every program looks for its resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What this node gives to its tasks. Clones give the same.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) fetcher: Fetcher,
    /// Where tasks are answered on port 53.
    pub(crate) names: Option<IpAddr>,
    pub(crate) domain: String,
    pub(crate) host_paths: HostPaths,
    /// The node's own data folder; `None` in a world without disks.
    pub(crate) data: Option<PathBuf>,
}

/// Fetched files: how they are placed, and what keeps them until they are.
#[derive(Default)]
pub(crate) struct Provisions {
    pub(crate) fetched: Vec<Fetched>,
    _held: Vec<Held>,
}

impl Surroundings {
    /// Downloads what the job asks for. `tell` is called now and then with how far that is.
    pub(crate) async fn provide(&self, job: &Job, tell: &(dyn Fn(String) + Sync)) -> Result<Provisions, FetchFailure> {
        let told = Mutex::new(Instant::now());
        let seldom = |words: String| {
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.elapsed() >= TELL_EVERY {
                *told = Instant::now();
                tell(words);
            }
        };
        let mut provisions = Provisions::default();
        for fetch in &job.fetch {
            let held = self.fetcher.get(fetch, &seldom).await?;
            let (title, from) = (fetch.title().to_owned(), held.path().to_owned());
            provisions.fetched.push(Fetched { title, from, placed: self.placed(fetch) });
            provisions._held.push(held);
        }
        Ok(provisions)
    }

    fn placed(&self, fetch: &Fetch) -> Placed {
        match (&fetch.name, fetch.unpack) {
            (name, true) => Placed::Unpack { name: name.clone(), bytes_max: self.fetcher.unpacked_max() },
            (name, false) => Placed::Copy {
                name: name.clone().unwrap_or_else(|| fetch.title().into()),
                executable: fetch.executable,
            },
        }
    }

    /// What its `/etc/resolv.conf` says; `None` where the node does not answer tasks, or nothing can be put there.
    pub(crate) fn resolv_conf(&self, app: &AppName) -> Option<String> {
        let server = self.names.filter(|_| Path::new(RESOLV_CONF).exists())?;
        Some(resolv_conf(server, app, &self.domain))
    }

    /// All that is mounted for a run in this folder, outer places first; `hosts` is where the job's host paths lead, in their
    /// order. The error says for people what cannot be.
    pub(crate) fn mounts(
        &self,
        job: &Job,
        volume: Option<&Path>,
        hosts: &[PathBuf],
        (folder, has_resolv_conf): (&Path, bool),
    ) -> Result<Vec<MountPoint>, String> {
        let host = |at: &str, from: PathBuf, read_only| MountPoint {
            at: at.into(),
            source: MountSource::Host(from),
            read_only,
        };
        let mut mounts: Vec<MountPoint> = vec![];
        let at = job.volume.as_ref().and_then(|volume| volume.at.as_ref());
        mounts.extend(at.zip(volume).map(|(at, path)| host(at.as_str(), path.to_owned(), false)));
        let given = job.mounts.iter().zip(hosts);
        mounts.extend(given.map(|(mount, from)| host(mount.at.as_str(), from.clone(), mount.read_only)));
        mounts.extend(job.tmpfs.iter().map(|tmpfs| MountPoint {
            at: tmpfs.at.as_str().into(),
            source: MountSource::Tmpfs { bytes: tmpfs.bytes },
            read_only: false,
        }));
        mounts.sort_by(|a, b| a.at.cmp(&b.at));
        if let Some(data) = &self.data
            && let Some(mount) = mounts.iter().find(|mount| mount.at.starts_with(data) || data.starts_with(&mount.at))
        {
            return Err(format!(
                "{} would hide the task's own folder, which is in {}",
                mount.at.display(),
                data.display()
            ));
        }
        // First: whatever the task mounts at or above the same place comes over it.
        let resolv_conf = has_resolv_conf.then(|| host(RESOLV_CONF, folder.join(RESOLV_FILE), true));
        Ok(resolv_conf.into_iter().chain(mounts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::FetchLimits;
    use taffeta_model::{JobKind, Tmpfs, Volume};

    fn surroundings() -> Surroundings {
        let limits = FetchLimits { file: 1, all: 1, time: Duration::ZERO };
        Surroundings {
            fetcher: Fetcher::new(None, limits),
            names: Some("127.84.0.1".parse().unwrap()),
            domain: "fabric.internal".into(),
            host_paths: HostPaths::read(&["/usr:ro".into()]).unwrap(),
            data: Some("/var/lib/taffeta".into()),
        }
    }

    fn job() -> Job {
        let path = |text: &str| text.parse().unwrap();
        let volume = Volume { name: "data".parse().unwrap(), size: 1, at: Some(path("/srv/data")) };
        let tmpfs = vec![Tmpfs { at: path("/srv"), bytes: 4096 }];
        let mounts = vec![taffeta_model::HostMount { host: path("/usr"), at: path("/opt/usr"), read_only: true }];
        Job { volume: Some(volume), tmpfs, mounts, ..Job::new(JobKind::Service) }
    }

    #[test]
    fn outer_places_are_mounted_before_inner_ones_and_names_before_all() {
        let folder = Path::new("/var/lib/taffeta/tasks/r");
        let hosts = [PathBuf::from("/usr")];
        let mounts = surroundings().mounts(&job(), Some(Path::new("/v")), &hosts, (folder, true)).unwrap();
        let at: Vec<_> = mounts.iter().map(|mount| mount.at.to_str().unwrap()).collect();
        assert_eq!(at, ["/etc/resolv.conf", "/opt/usr", "/srv", "/srv/data"]);
        assert_eq!(mounts[0].source, MountSource::Host(folder.join("resolv.conf")));
        assert!(mounts[0].read_only && mounts[1].read_only && !mounts[3].read_only);
        let without = surroundings().mounts(&job(), None, &hosts, (folder, false)).unwrap();
        assert_eq!(without.len(), 2, "a world without volumes");
    }

    #[test]
    fn nothing_is_mounted_over_the_tasks_own_folder() {
        let folder = Path::new("/var/lib/taffeta/tasks/r");
        for at in ["/var", "/var/lib/taffeta", "/var/lib/taffeta/tasks/r/work"] {
            let job = Job { tmpfs: vec![Tmpfs { at: at.parse().unwrap(), bytes: 4096 }], ..Job::new(JobKind::Service) };
            let refused = surroundings().mounts(&job, None, &[], (folder, false)).unwrap_err();
            assert!(refused.contains("would hide the task's own folder"), "{refused}");
        }
    }
}
