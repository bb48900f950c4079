//! Which files of the machine a task may see: what its operator has allowed, and never the node's own data.

use crate::task_options::{HostPath, HostPaths};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{HostMount, Job};
use tokio::{sync::Mutex, time::timeout};

/// How long a file system may take to say where a path leads. One whose server is gone (NFS) says nothing for ever.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// Looks where host paths lead, away from the runtime's threads. Clones take turns with one another.
#[derive(Clone)]
pub(crate) struct HostLooks {
    allowed: Arc<HostPaths>,
    /// The node's own data folder; `None` in a world without disks.
    own: Option<PathBuf>,
    /// One look at a time below each allowed path: a file system that hangs holds one thread, not one more for each start.
    turns: Vec<Arc<Mutex<()>>>,
}

impl HostLooks {
    pub(crate) fn new(allowed: HostPaths, own: Option<PathBuf>) -> Self {
        let turns = allowed.0.iter().map(|_| Arc::default()).collect();
        Self { allowed: Arc::new(allowed), own, turns }
    }

    /// Where the host paths of a job's mounts really are, in their order; else for people what is not allowed, or not there.
    pub(crate) async fn find(&self, job: &Job) -> Result<Vec<PathBuf>, String> {
        let mut found = vec![];
        for mount in &job.mounts {
            found.push(self.look(mount).await?);
        }
        Ok(found)
    }

    #[expect(clippy::disallowed_methods, reason = "simulated machines have no files: they end at the first line")]
    async fn look(&self, mount: &HostMount) -> Result<PathBuf, String> {
        let own = self.own.clone().ok_or("this machine has no files to be mounted")?;
        let turn = Arc::clone(&self.turns[naming(&self.allowed, mount)?]);
        let (allowed, mount, host) = (Arc::clone(&self.allowed), mount.clone(), &mount.host);
        let looked = async move {
            let turn = turn.lock_owned().await;
            let look = move || {
                let _turn = turn; // held to the end of the look, also if nobody waits for that any more
                permit(&allowed, &own, &mount)
            };
            tokio::task::spawn_blocking(look).await
        };
        match timeout(LOOK_LIMIT, looked).await {
            Ok(Ok(permitted)) => permitted,
            Ok(Err(e)) => Err(format!("the host path {host} of this machine: {e}")),
            Err(_) => Err(format!(
                "the host path {host} of this machine: its file system has not answered for {} s",
                LOOK_LIMIT.as_secs()
            )),
        }
    }
}

/// Which of the allowed paths names this one first; else, for people, that none does.
fn naming(HostPaths(allowed): &HostPaths, mount: &HostMount) -> Result<usize, String> {
    allowed.iter().position(|allowed| mount.host.is_within(&allowed.path)).ok_or_else(|| {
        let (host, flag) = (&mount.host, flag(mount));
        format!("the host path {host} is not allowed on this machine: its operator allows it by `taffeta up {flag}`")
    })
}

/// What would allow it.
fn flag(mount: &HostMount) -> String {
    let host = &mount.host;
    if mount.read_only { format!("--allow-host-path {host}:ro") } else { format!("--allow-host-path {host}") }
}

/// Where the path really is, if it may be mounted as the task asks; else why not, for people.
///
/// The answer holds no link any more. Whoever mounts it has to follow none either (`RESOLVE_NO_SYMLINKS`): a task that may
/// write below an allowed path could otherwise put a link there between this look and the mount.
fn permit(allowed: &HostPaths, own: &Path, mount: &HostMount) -> Result<PathBuf, String> {
    // Before the disk is touched: whether a path exists is told only to those who may see it.
    naming(allowed, mount)?;
    let HostPaths(allowed) = allowed;
    let host = &mount.host;
    let real = fs::canonicalize(host).map_err(|e| format!("the host path {host} of this machine: {e}"))?;
    let covers = |allowed: &HostPath| fs::canonicalize(&allowed.path).is_ok_and(|root| real.starts_with(root));
    let suffices = |allowed: &HostPath| (mount.read_only || !allowed.read_only) && covers(allowed);
    // Those that name it first, which mostly do: the others may be on a file system that does not answer.
    let (near, far): (Vec<&HostPath>, Vec<&HostPath>) = allowed.iter().partition(|path| host.is_within(&path.path));
    if !near.iter().chain(&far).any(|path| suffices(path)) {
        return Err(if allowed.iter().any(covers) {
            format!(
                "the host path {host} is only to be read on this machine: say `read_only = true`, or its operator \
                 allows more by `taffeta up {}`",
                flag(mount)
            )
        } else {
            format!("the host path {host} leads to {}, which is not allowed on this machine", real.display())
        });
    }
    let own = fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
    if real.starts_with(&own) || own.starts_with(&real) {
        return Err(format!("the host path {host} holds the node's own data, or is a part of it"));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use taffeta_model::JobKind;

    struct Bench {
        root: tempfile::TempDir,
    }

    impl Bench {
        /// `srv/site` and `srv/out`, which leads to `etc`; `data` is the node's.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for folder in ["srv/site", "etc", "data/tasks"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            symlink("../etc", root.path().join("srv/out")).unwrap();
            symlink("srv", root.path().join("www")).unwrap();
            Self { root }
        }

        fn permit(&self, allowed: &[&str], host: &str, read_only: bool) -> Result<PathBuf, String> {
            let root = fs::canonicalize(self.root.path()).unwrap();
            let at = |path: &str| root.join(path).display().to_string();
            let allowed: Vec<String> = allowed.iter().map(|path| at(path)).collect();
            let host = at(host).parse().unwrap();
            let mount = HostMount { host, at: "/x".parse().unwrap(), read_only };
            let found = permit(&HostPaths::read(&allowed).unwrap(), &root.join("data"), &mount)?;
            Ok(found.strip_prefix(&root).unwrap().to_owned())
        }
    }

    #[test]
    fn what_lies_below_an_allowed_path_is_permitted_and_nothing_else() {
        let bench = Bench::new();
        assert_eq!(bench.permit(&["srv"], "srv/site", false), Ok("srv/site".into()));
        assert_eq!(bench.permit(&["srv/site"], "srv/site", true), Ok("srv/site".into()));
        let refused = bench.permit(&[], "srv/site", true).unwrap_err();
        assert!(refused.contains("--allow-host-path") && refused.contains(":ro"), "{refused}");
        assert!(bench.permit(&["srv/site"], "srv", true).unwrap_err().contains("is not allowed"));
        assert!(bench.permit(&["srv"], "srv/none", true).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_link_is_followed_only_to_what_is_allowed_too() {
        let bench = Bench::new();
        assert!(bench.permit(&["srv"], "srv/out", true).unwrap_err().contains("leads to"));
        assert_eq!(bench.permit(&["srv", "etc"], "srv/out", true), Ok("etc".into()));
        assert_eq!(
            bench.permit(&["www"], "www/site", true),
            Ok("srv/site".into()),
            "the allowed path is a link itself"
        );
    }

    #[test]
    fn what_may_only_be_read_is_not_given_to_be_written() {
        let bench = Bench::new();
        assert!(bench.permit(&["srv:ro"], "srv/site", false).unwrap_err().contains("`read_only = true`"));
        assert_eq!(bench.permit(&["srv:ro"], "srv/site", true), Ok("srv/site".into()));
        assert_eq!(bench.permit(&["srv:ro", "srv/site"], "srv/site", false), Ok("srv/site".into()));
    }

    #[test]
    fn the_nodes_own_data_is_never_given() {
        let bench = Bench::new();
        assert!(bench.permit(&["data"], "data/tasks", true).unwrap_err().contains("the node's own data"));
        symlink("data", bench.root.path().join("alias")).unwrap();
        assert!(bench.permit(&["alias"], "alias", true).unwrap_err().contains("the node's own data"));
    }

    fn reading(host: &str) -> Job {
        let mounts = vec![HostMount { host: host.parse().unwrap(), at: "/x".parse().unwrap(), read_only: true }];
        Job { mounts, ..Job::new(JobKind::Service) }
    }

    #[tokio::test]
    async fn what_the_operator_has_not_allowed_is_refused_in_words() {
        let looks = HostLooks::new(HostPaths::read(&["/usr:ro".into()]).unwrap(), Some("/var/lib/taffeta".into()));
        let refused = looks.find(&reading("/etc")).await.unwrap_err();
        assert!(refused.contains("/etc is not allowed") && refused.contains("--allow-host-path /etc:ro"), "{refused}");
        assert_eq!(looks.find(&reading("/usr")).await, Ok(vec![fs::canonicalize("/usr").unwrap()]));
        let nowhere = HostLooks::new(HostPaths::default(), None).find(&reading("/usr")).await;
        assert!(nowhere.unwrap_err().contains("no files to be mounted"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_holds_up_what_is_below_it_alone_and_not_for_ever() {
        let bench = Bench::new();
        let path = |of: &str| bench.root.path().join(of).display().to_string();
        let allowed = HostPaths::read(&[path("etc"), path("srv")]).unwrap();
        let looks = HostLooks::new(allowed, Some(bench.root.path().join("data")));
        let hangs = looks.turns[0].lock().await;
        let refused = looks.find(&reading(&path("etc"))).await.unwrap_err();
        assert!(refused.contains("has not answered for 10 s"), "{refused}");
        looks.find(&reading(&path("srv/site"))).await.unwrap();
        drop(hangs);
        looks.find(&reading(&path("etc"))).await.unwrap();
    }
}
