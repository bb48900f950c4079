//! Who is met by the sweep, and who is not.

use super::{is_node_or_shim, is_task, marked, node_ids, sweep};
use std::{
    fs,
    process::{Child, Command, Stdio},
};
use taffeta_net::NodeKey;

const INSIDE: &[u8] = b"/tmp/taffeta-demo-x/";

fn command_line(args: &[&str]) -> Vec<u8> {
    args.join("\0").into_bytes()
}

#[test]
fn nodes_and_shims_of_the_folder_are_met_and_nobody_else() {
    for ours in [
        &["taffeta", "up", "--data", "/tmp/taffeta-demo-x/n2/", "--name", "n2"][..],
        &["/usr/bin/taffeta", "up", "--data=/tmp/taffeta-demo-x/n2"],
        &["taffeta", "--api", "http://a", "up", "--data", "/tmp/taffeta-demo-x/n2/"],
        &["/proc/self/exe", "shim", "/tmp/taffeta-demo-x/n1/tasks/shop.web.1"],
    ] {
        assert!(is_node_or_shim(&command_line(ours), INSIDE), "{ours:?}");
    }
    for foreign in [
        &["tail", "-f", "/tmp/taffeta-demo-x/n1.log"][..],
        &["taffeta", "up", "--data", "/tmp/taffeta-demo-xy/n1/"],
        &["taffeta", "up", "--data", "/var/lib/taffeta"],
        &["up", "/tmp/taffeta-demo-x/n1/"],
        &[],
    ] {
        assert!(!is_node_or_shim(&command_line(foreign), INSIDE), "{foreign:?}");
    }
}

#[test]
fn tasks_are_known_by_their_folder() {
    assert!(is_task(b"A=1\0TAFFETA_TASK_DIR=/tmp/taffeta-demo-x/n1/tasks/a/work\0B=2\0", INSIDE));
    assert!(!is_task(b"TAFFETA_TASK_DIR=/tmp/taffeta-demo-y/n1/tasks/a/work\0", INSIDE));
    assert!(!is_task(b"NOTE=TAFFETA_TASK_DIR=/tmp/taffeta-demo-x/n1/\0", INSIDE));
}

/// A process of ours, ended also when an assertion fails.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        // One that the sweep has reaped is nobody's any more: its number may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn sleeper(variable: &str, value: &str) -> Sleeper {
    Sleeper(Command::new("sleep").arg("600").env(variable, value).stdout(Stdio::null()).spawn().unwrap())
}

#[test]
fn the_sweep_kills_what_is_marked_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let mut ours = sleeper("TAFFETA_TASK_DIR", &format!("{}/n1/tasks/a/work", path.display()));
    let mut foreign = sleeper("SOMETHING_ELSE", &path.display().to_string());
    assert_eq!(marked(&path).into_iter().collect::<Vec<_>>(), [ours.0.id()]);
    sweep(&path).unwrap();
    assert!(marked(&path).is_empty());
    // The sweep reaps whatever it can, so the process may be gone without a status for us.
    assert!(ours.0.try_wait().map_or(true, |status| status.is_some()));
    assert!(foreign.0.try_wait().unwrap().is_none(), "it is no business of the demo's");
}

#[test]
fn a_nodes_id_is_known_as_soon_as_its_key_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("n1")).unwrap();
    fs::create_dir_all(folder.path().join("n2")).unwrap();
    fs::write(folder.path().join("n2/node.key"), [7; 32]).unwrap();
    assert_eq!(node_ids(folder.path()), [NodeKey::from_seed([7; 32]).public().node_id()]);
}
