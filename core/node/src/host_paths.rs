//! Which files of the machine a task may see: what its operator has allowed, and never the node's own data.

use crate::task_options::{HostPath, HostPaths};
use std::{
    fs,
    path::{Path, PathBuf},
};
use taffeta_model::HostMount;

/// Where the path really is, if it may be mounted as the task asks; else why not, for people.
///
/// The answer holds no link any more. Whoever mounts it has to follow none either (`RESOLVE_NO_SYMLINKS`): a task that may
/// write below an allowed path could otherwise put a link there between this look and the mount.
pub(crate) fn permit(allowed: &HostPaths, own: &Path, mount: &HostMount) -> Result<PathBuf, String> {
    let HostPaths(allowed) = allowed;
    let host = &mount.host;
    let named = |HostPath { path, .. }: &&HostPath| host.is_within(path);
    let flag =
        if mount.read_only { format!("--allow-host-path {host}:ro") } else { format!("--allow-host-path {host}") };
    // Before the disk is touched: whether a path exists is told only to those who may see it.
    if !allowed.iter().any(|path| named(&path)) {
        return Err(format!(
            "the host path {host} is not allowed on this machine: its operator allows it by `taffeta up {flag}`"
        ));
    }
    let real = fs::canonicalize(host).map_err(|e| format!("the host path {host} of this machine: {e}"))?;
    let covers = |HostPath { path, .. }: &&HostPath| fs::canonicalize(path).is_ok_and(|root| real.starts_with(root));
    let covering: Vec<&HostPath> = allowed.iter().filter(covers).collect();
    if covering.is_empty() {
        return Err(format!("the host path {host} leads to {}, which is not allowed on this machine", real.display()));
    }
    if !mount.read_only && covering.iter().all(|path| path.read_only) {
        return Err(format!(
            "the host path {host} is only to be read on this machine: say `read_only = true`, or its operator allows \
             more by `taffeta up {flag}`"
        ));
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
}
