//! Processes of tasks that nobody knows, where the cluster's machines are this very one, as in a demo.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use taffeta_node::api::TaskView;

/// A task's process: its folder, task and machine, as its environment tells.
struct Found {
    pid: u32,
    folder: PathBuf,
    task: String,
    node: String,
}

/// The processes below the nodes' folders that are of no task that is to run there, in words; `None` if no task's
/// process can be seen from here.
pub(super) fn orphans(tasks: &[TaskView]) -> Option<Vec<String>> {
    let processes: Vec<Found> = all_processes();
    let by_pid: BTreeMap<u32, &Found> = processes.iter().map(|found| (found.pid, found)).collect();
    let known = tasks.iter().filter_map(|view| by_pid.get(&view.pid?).filter(|found| found.task == id(view)));
    // The folder of the node, and the one above it if that is named like the node: there are its neighbours.
    let roots: BTreeSet<&Path> = known.filter_map(|found| root(found)).collect();
    if roots.is_empty() {
        return None;
    }
    let expected: BTreeSet<(String, String)> =
        tasks.iter().filter_map(|view| Some((id(view), view.node.clone()?))).collect();
    let ours = processes.iter().filter(|found| roots.iter().any(|root| found.folder.starts_with(root)));
    let orphan = |found: &&Found| !expected.contains(&(found.task.clone(), found.node.clone()));
    let words = |found: &Found| format!("{} on {} (process {})", found.task, found.node, found.pid);
    let ours: Vec<&Found> = ours.collect();
    let mut left: Vec<String> = ours.iter().copied().filter(orphan).map(words).collect();
    // Two folders of one task on one machine: it runs twice.
    let mut folders: BTreeMap<(&str, &str), BTreeSet<&Path>> = BTreeMap::new();
    for found in &ours {
        folders.entry((&found.task, &found.node)).or_default().insert(&found.folder);
    }
    left.extend(
        folders.iter().filter(|(_, all)| all.len() > 1).map(|((task, node), _)| format!("{task} twice on {node}")),
    );
    Some(left)
}

fn id(view: &TaskView) -> String {
    format!("{}/{}", view.app, view.task)
}

fn root(found: &Found) -> Option<&Path> {
    let data =
        found.folder.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "tasks"))?.parent()?;
    let named = data.file_name().is_some_and(|name| name == found.node.as_str());
    if named { data.parent() } else { Some(data) }
}

fn all_processes() -> Vec<Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| found(pid, &fs::read(format!("/proc/{pid}/environ")).ok()?)).collect()
}

fn found(pid: u32, environment: &[u8]) -> Option<Found> {
    let value = |name: &str| {
        let variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.filter_map(|v| v.strip_prefix(name)?.strip_prefix('=').map(String::from)).next()
    };
    Some(Found {
        pid,
        folder: value("TAFFETA_TASK_DIR")?.into(),
        task: value("TAFFETA_TASK")?,
        node: value("TAFFETA_NODE")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{found, root};
    use std::path::Path;

    #[test]
    fn a_task_is_told_by_its_environment_and_its_cluster_by_its_folder() {
        let environment =
            b"A=1\0TAFFETA_TASK_DIR=/tmp/demo/n1/tasks/a/work\0TAFFETA_TASK=shop/web.2\0TAFFETA_NODE=n1\0";
        let web = found(7, environment).unwrap();
        assert_eq!((web.task.as_str(), root(&web)), ("shop/web.2", Some(Path::new("/tmp/demo"))));
        let other =
            found(7, &[environment.as_slice(), b"X=\0"].concat()).map(|f| super::Found { node: "web-1".into(), ..f });
        assert_eq!(root(&other.unwrap()), Some(Path::new("/tmp/demo/n1")));
        assert!(found(7, b"TAFFETA_TASK=shop/web.2\0").is_none());
    }
}
